#include "store/fernet.h"
#include "base/base64.h"
#include "base/cleanup.h"
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#define VERSION 0x80
#define HEAD_BYTES (1 + 8 + FERNET_IV_BYTES)
#define BLOCK_BYTES 16
#define TOKEN_LEAST (HEAD_BYTES + BLOCK_BYTES + SHA256_DIGEST_LENGTH)
#define SIGNING_KEY 16          /* bytes; the encryption key is behind it */
#define VALUE_MAX (INT_MAX / 4) /* far beyond any document; keeps the int lengths of the library in range */

static void cipher_cleanup(EVP_CIPHER_CTX **c)
{
    EVP_CIPHER_CTX_free(*c);
}
#define autocipher __attribute__((cleanup(cipher_cleanup))) EVP_CIPHER_CTX *

/* The libraries fail here only when memory is out or they are not usable at all. */
static void must(bool ok)
{
    if (!ok)
        abort();
}

/* No configuration file is read: it could name engines to load. */
static void crypto_init(void)
{
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
}

void fernet_key(struct str secret, uint8_t key[FERNET_KEY_BYTES])
{
    crypto_init();
    must(EVP_Digest(secret.p ? secret.p : "", secret.n, key, NULL, EVP_sha256(), NULL) == 1);
}

static void token_sign(const uint8_t key[FERNET_KEY_BYTES], struct str data,
                       uint8_t mac[SHA256_DIGEST_LENGTH])
{
    unsigned n = SHA256_DIGEST_LENGTH;
    must(HMAC(EVP_sha256(), key, SIGNING_KEY, (const uint8_t *)data.p, data.n, mac, &n) != NULL);
}

void fernet_seal(const uint8_t key[FERNET_KEY_BYTES], uint64_t time_s, const uint8_t iv[FERNET_IV_BYTES],
                 struct str value, struct buf *token)
{
    crypto_init();
    must(value.n <= VALUE_MAX);
    autobuf raw = {0};
    uint8_t *p = (uint8_t *)buf_reserve(&raw, value.n + TOKEN_LEAST);
    *p = VERSION;
    for (int i = 0; i < 8; i++)
        p[1 + i] = (uint8_t)(time_s >> (56 - 8 * i));
    memcpy(p + 9, iv, FERNET_IV_BYTES);
    autocipher cipher = EVP_CIPHER_CTX_new();
    int n = 0, last = 0;
    must(cipher && EVP_EncryptInit_ex(cipher, EVP_aes_128_cbc(), NULL, key + SIGNING_KEY, iv) == 1 &&
         EVP_EncryptUpdate(cipher, p + HEAD_BYTES, &n, (const uint8_t *)(value.p ? value.p : ""),
                           (int)value.n) == 1 &&
         EVP_EncryptFinal_ex(cipher, p + HEAD_BYTES + n, &last) == 1);
    raw.n = (size_t)(HEAD_BYTES + n + last);
    token_sign(key, buf_str(&raw), p + raw.n);
    raw.n += SHA256_DIGEST_LENGTH;
    base64url_encode(token, buf_str(&raw));
}

bool fernet_open(const uint8_t key[FERNET_KEY_BYTES], struct str token, struct buf *value)
{
    crypto_init();
    autobuf raw = {0};
    if (token.n > VALUE_MAX || !base64_decode(&raw, token) || raw.n < TOKEN_LEAST ||
        (uint8_t)raw.p[0] != VERSION)
        return false;
    const uint8_t *p = (const uint8_t *)raw.p;
    size_t n = raw.n - SHA256_DIGEST_LENGTH;
    uint8_t mac[SHA256_DIGEST_LENGTH];
    token_sign(key, str_make(p, n), mac);
    if (CRYPTO_memcmp(mac, p + n, sizeof(mac)) != 0 || (n - HEAD_BYTES) % BLOCK_BYTES != 0)
        return false;
    autocipher cipher = EVP_CIPHER_CTX_new();
    uint8_t *out = (uint8_t *)buf_reserve(value, n);
    int got = 0, last = 0;
    bool ok = cipher && EVP_DecryptInit_ex(cipher, EVP_aes_128_cbc(), NULL, key + SIGNING_KEY, p + 9) == 1 &&
              EVP_DecryptUpdate(cipher, out, &got, p + HEAD_BYTES, (int)(n - HEAD_BYTES)) == 1 &&
              EVP_DecryptFinal_ex(cipher, out + got, &last) == 1;
    if (ok)
        value->n += (size_t)(got + last);
    value->p[value->n] = '\0';
    return ok;
}
