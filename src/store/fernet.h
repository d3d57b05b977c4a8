/* fernet: the token format of https://github.com/fernet/spec: version 0x80, 64-bit time, IV, AES-128-CBC, HMAC-SHA256,
 * all in URL-safe base64. Any thread. */
#pragma once
#include "base/buf.h"

#define FERNET_KEY_BYTES 32 /* 16 for signing, 16 for encryption */
#define FERNET_IV_BYTES 16

void fernet_seal(const uint8_t key[FERNET_KEY_BYTES], uint64_t time_s, const uint8_t iv[FERNET_IV_BYTES],
                 struct str value, struct buf *token);
/* False when the token is damaged or of another key. Its age does not matter here. Adds to `value`. */
bool fernet_open(const uint8_t key[FERNET_KEY_BYTES], struct str token, struct buf *value);
/* Derives the key of a secret text as the reference does: SHA-256. */
void fernet_key(struct str secret, uint8_t key[FERNET_KEY_BYTES]);
