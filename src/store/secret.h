/* secret: values at rest are Fernet tokens in the reference's format (AES-128-CBC + HMAC-SHA256, URL-safe base64, key =
 * SHA-256 of the secret key's text). Immutable after creation; any thread. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct secrets;

struct secrets_config {
    struct str configured;  /* secret_key, or STR_NONE */
    struct str session_key; /* first session key: reads what Python wrote; never used to write; or STR_NONE */
    /* <data>/handsd.key: read if there, made (0600, with a warning) if no key is configured. */
    const char *generated_path;
};
struct secrets *secrets_new(const struct secrets_config *config, struct err **e);
void secrets_free(struct secrets *s);
void secrets_seal(const struct secrets *s, struct str value, struct buf *token);
/* Tries the configured key, the generated key, the session key. False when none opens it. `value` may be anything:
 * a text that does not look like a token (`gAAAA…`) is false too. */
bool secrets_open(const struct secrets *s, struct str token, struct buf *value);
bool secrets_is_token(struct str text);
