#include "test_store.h"
#include "base/fd.h"
#include "base/base64.h"
#include "store/fernet.h"
#include "store/secret.h"
#include <sys/stat.h>

/* Key, time and token of generate.json of the Fernet specification. */
static const char spec_key[] = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
static const char spec_token[] =
    "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

static void key_decode(const char *text, uint8_t key[FERNET_KEY_BYTES])
{
    autobuf raw = {0};
    assert_true(base64_decode(&raw, str_from(text)));
    assert_int_equal(raw.n, FERNET_KEY_BYTES);
    memcpy(key, raw.p, raw.n);
}

static void test_specification(void **state)
{
    (void)state;
    uint8_t key[FERNET_KEY_BYTES], iv[FERNET_IV_BYTES];
    key_decode(spec_key, key);
    for (uint8_t i = 0; i < sizeof(iv); i++)
        iv[i] = i;
    autobuf token = {0}, value = {0};
    fernet_seal(key, 499162800, iv, STR("hello"), &token);
    assert_string_equal(token.p, spec_token);
    assert_true(fernet_open(key, str_from(spec_token), &value));
    assert_string_equal(value.p, "hello");
}

/* invalid.json of the specification; the two about age do not concern us. */
static void test_specification_refused(void **state)
{
    (void)state;
    static const char *const tokens[] = {
        /* wrong signature */
        "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
        /* too short */
        "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==",
        /* not base64 */
        "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
        /* not a whole number of blocks */
        "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm",
        /* bad padding of the content */
        "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==",
        /* another initial vector: the padding comes out wrong */
        "gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2a6kBd-iX9b_qXQcw==",
        "",
        "gAAAAA",
    };
    uint8_t key[FERNET_KEY_BYTES];
    key_decode(spec_key, key);
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        autobuf value = {0};
        assert_false(fernet_open(key, str_from(tokens[i]), &value));
        assert_int_equal(value.n, 0);
    }
    /* Any changed letter is noticed. */
    for (size_t i = 0; i < sizeof(spec_token) - 3; i++) {
        autobuf value = {0};
        char changed[sizeof(spec_token)];
        memcpy(changed, spec_token, sizeof(changed));
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        assert_false(fernet_open(key, str_from(changed), &value));
    }
}

/* Made by Python's `cryptography`: key = SHA-256 of "my secret key". */
static void test_reference_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *token, *value;
    } cases[] = {
        {"gAAAAABrAhD4ZwUPlsPUFNxcFCyrjs9Yuxxg2TTGkZ5o5lRbfRRR4WAxEj6K82LBIJEFCknfr6hrPPR20FF4nUYaviaeVW9dFg==",
         "sk-test-123"},
        {"gAAAAABrAhD4NojMaAYAKpmFHgM977AiPFtxe-p4dvO724v8j4WN1g_d60r7A0K3VGfr5HP6R76T68M8YRiCnvEonGb6suN8-w==",
         ""},
        {"gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD8_3AIAqtXXppI449NjjVPF6-DKFmc5D-N9WBSUGsgRp4_mwHq4EHSnv-"
         "ebhOL0MapA8FDStNInWR1G5Ly3vm3k=",
         "xxxxxxxxxxxxxxxxcaf\xc3\xa9"},
    };
    /* As configured key, and as the session key that Python used when nothing was configured. */
    for (int session = 0; session < 2; session++) {
        struct secrets_config config = {.configured = session ? STR("another") : STR("my secret key"),
                                        .session_key = session ? STR("my secret key") : STR_NONE};
        struct secrets *s = secrets_new(&config, NULL);
        assert_non_null(s);
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            autobuf value = {0};
            assert_true(secrets_is_token(str_from(cases[i].token)));
            assert_true(secrets_open(s, str_from(cases[i].token), &value));
            assert_true(str_is(buf_str(&value), cases[i].value));
        }
        secrets_free(s);
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    struct secrets *s = secrets_new(&(struct secrets_config){.configured = STR("k")}, NULL);
    struct secrets *other = secrets_new(&(struct secrets_config){.configured = STR("l")}, NULL);
    for (size_t n = 0; n < 70; n++) {
        char text[70];
        memset(text, 'a', n);
        autobuf token = {0}, again = {0}, value = {0};
        secrets_seal(s, str_make(text, n), &token);
        secrets_seal(s, str_make(text, n), &again);
        assert_false(str_eq(buf_str(&token), buf_str(&again)));
        assert_true(secrets_is_token(buf_str(&token)));
        assert_false(secrets_open(other, buf_str(&token), &value));
        assert_true(secrets_open(s, buf_str(&token), &value));
        assert_true(str_eq(buf_str(&value), str_make(text, n)));
    }
    static const char *const plain[] = {"", "sk-live-1234", "gAAAAA", "gAAAAABrAhD4", "**********"};
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        autobuf value = {0};
        assert_false(secrets_is_token(str_from(plain[i])));
        assert_false(secrets_open(s, str_from(plain[i]), &value));
    }
    autobuf value = {0};
    assert_false(secrets_open(s, STR_NONE, &value));
    secrets_free(s);
    secrets_free(other);
}

/* Without a configured key one is made, once, for its owner only; later a configured one takes over and the old values
 * stay open. */
static void test_generated_key(void **state)
{
    (void)state;
    char dir[64], path[128];
    temp_dir(dir);
    snprintf(path, sizeof(path), "%s/handsd.key", dir);
    struct secrets *s =
        secrets_new(&(struct secrets_config){.session_key = STR("session"), .generated_path = path}, NULL);
    assert_non_null(s);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    autobuf token = {0}, value = {0}, newer = {0};
    secrets_seal(s, STR("v"), &token);
    secrets_free(s);

    s = secrets_new(&(struct secrets_config){.generated_path = path}, NULL);
    assert_true(secrets_open(s, buf_str(&token), &value));
    secrets_free(s);

    s = secrets_new(&(struct secrets_config){.configured = STR("mine"), .generated_path = path}, NULL);
    assert_true(secrets_open(s, buf_str(&token), &value));
    secrets_seal(s, STR("w"), &newer);
    secrets_free(s);

    /* What was written under the configured key does not depend on the file. */
    assert_int_equal(unlink(path), 0);
    s = secrets_new(&(struct secrets_config){.configured = STR("mine"), .generated_path = path}, NULL);
    assert_true(secrets_open(s, buf_str(&newer), &value));
    assert_false(secrets_open(s, buf_str(&token), &value));
    assert_true(str_is(buf_str(&value), "vvw"));
    assert_int_equal(access(path, F_OK), -1); /* not made when it is not needed */
    secrets_free(s);

    /* An emptied key file is an error, not a reason to make another key. */
    autoerr e = NULL;
    assert_true(file_write_atomic(path, STR(" \n"), 0600, NULL));
    assert_null(secrets_new(&(struct secrets_config){.generated_path = path}, &e));
    assert_non_null(strstr(e->text, path));
    assert_null(secrets_new(&(struct secrets_config){.session_key = STR("s")}, NULL));
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(test_specification),    cmocka_unit_test(test_specification_refused),
        cmocka_unit_test(test_reference_tokens), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_generated_key),
    };
    clock_init();
    return cmocka_run_group_tests(cases, NULL, NULL);
}
