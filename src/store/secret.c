#include "store/secret.h"
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/uuid.h"
#include "store/fernet.h"
#include <sys/stat.h>

#define KEY_FILE_MAX 4096
#define GENERATED_BYTES 32
/* Version byte and the zero upper bytes of the time give every token these letters until the year 2106. */
#define TOKEN_START STR("gAAAA")
#define TOKEN_LEAST 100 /* letters of the token of an empty value */

enum { KEY_CONFIGURED, KEY_GENERATED, KEY_SESSION, KEY_COUNT };

struct secrets {
    char *texts[KEY_COUNT]; /* NULL: absent */
    size_t lengths[KEY_COUNT];
};

static void secrets_set(struct secrets *s, int which, struct str text)
{
    if (text.n == 0)
        return;
    s->texts[which] = str_dup(text);
    s->lengths[which] = text.n;
}

static bool key_file_check(const char *path, struct err **e)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return err_errno(e, ERR_IO, "%s", path);
    if (info.st_mode & (S_IRWXG | S_IRWXO))
        log_warn("%s can be read by others; make it 0600", path);
    return true;
}

/* The file holds one line. */
static bool key_file_read(struct secrets *s, const char *path, bool *found, struct err **e)
{
    autobuf text = {0};
    autoerr why = NULL;
    *found = file_read(path, KEY_FILE_MAX, &text, &why);
    if (!*found)
        return why->kind == ERR_NOT_FOUND || err_set(e, why->kind, "%s", why->text);
    struct str line = str_trim(buf_str(&text));
    if (line.n == 0)
        return err_set(e, ERR_INVALID, "%s is empty: without its key the stored secrets stay closed", path);
    secrets_set(s, KEY_GENERATED, line);
    explicit_bzero(text.p, text.n);
    return key_file_check(path, e);
}

static bool key_file_make(struct secrets *s, const char *path, struct err **e)
{
    uint8_t raw[GENERATED_BYTES];
    random_bytes(raw, sizeof(raw));
    autobuf text = {0};
    base64url_encode(&text, str_make(raw, sizeof(raw)));
    secrets_set(s, KEY_GENERATED, buf_str(&text));
    buf_add_char(&text, '\n');
    bool ok = file_write_atomic(path, buf_str(&text), 0600, e);
    explicit_bzero(raw, sizeof(raw));
    explicit_bzero(text.p, text.n);
    if (ok)
        log_warn(
            "no secret_key is configured: secrets are stored under a key made in %s; keep that file with the data",
            path);
    return ok;
}

struct secrets *secrets_new(const struct secrets_config *config, struct err **e)
{
    struct secrets *s = xcalloc(1, sizeof(*s));
    bool found = false;
    secrets_set(s, KEY_CONFIGURED, config->configured);
    secrets_set(s, KEY_SESSION, config->session_key);
    bool ok = !config->generated_path || key_file_read(s, config->generated_path, &found, e);
    if (ok && !found && config->configured.n == 0)
        ok = config->generated_path ? key_file_make(s, config->generated_path, e)
                                    : err_set(e, ERR_INVALID, "no key to store secrets under");
    if (ok)
        return s;
    secrets_free(s);
    return NULL;
}

void secrets_free(struct secrets *s)
{
    if (!s)
        return;
    for (int i = 0; i < KEY_COUNT; i++) {
        if (s->texts[i])
            explicit_bzero(s->texts[i], s->lengths[i]);
        free(s->texts[i]);
    }
    free(s);
}

/* Derived anew each time: that takes a microsecond, and keeps the crypto library out of a server that has no secrets. */
static void secrets_key(const struct secrets *s, int which, uint8_t key[FERNET_KEY_BYTES])
{
    fernet_key(str_make(s->texts[which], s->lengths[which]), key);
}

void secrets_seal(const struct secrets *s, struct str value, struct buf *token)
{
    uint8_t key[FERNET_KEY_BYTES], iv[FERNET_IV_BYTES];
    secrets_key(s, s->texts[KEY_CONFIGURED] ? KEY_CONFIGURED : KEY_GENERATED, key);
    random_bytes(iv, sizeof(iv));
    fernet_seal(key, (uint64_t)(clock_wall_us() / 1000000), iv, value, token);
    explicit_bzero(key, sizeof(key));
}

bool secrets_is_token(struct str text)
{
    return text.n >= TOKEN_LEAST && str_starts(text, TOKEN_START);
}

bool secrets_open(const struct secrets *s, struct str token, struct buf *value)
{
    bool ok = false;
    for (int i = 0; i < KEY_COUNT && !ok && secrets_is_token(token); i++) {
        uint8_t key[FERNET_KEY_BYTES];
        if (!s->texts[i])
            continue;
        secrets_key(s, i, key);
        ok = fernet_open(key, token, value);
        explicit_bzero(key, sizeof(key));
    }
    return ok;
}
