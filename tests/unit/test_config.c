#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "cli/configuration.h"
#include "cli/environment.h"
#include <stdio.h>
#include <stdlib.h>

extern char **environ;

/* The environment is taken once per process, so all tests share these. */
static void prepare(void)
{
    log_set_level(LOG_ERROR);
    clearenv();
    setenv("OH_SESSION_API_KEYS_0", "first", 1);
    setenv("OH_SESSION_API_KEYS_1", "second", 1);
    setenv("OH_ALLOW_CORS_ORIGINS", "[\"https://a.example\",\"\",\"https://b.example\"]", 1);
    setenv("OH_SECRET_KEY_IS_NONE", "true", 1);
    setenv("OH_SECRET_KEY", "not taken", 1);
    setenv("OH_MAX_CONNECTIONS", "7", 1);
    setenv("OH_CONVERSATION_IDLE_TTL_SECONDS", "0.5", 1);
    setenv("LLM_API_KEY", "sk-in-the-environment", 1);
    setenv("EMPTY", "", 1);
    setenv("PATH", "/bin", 1);
}

static char *write_file(const char *text)
{
    static char path[] = "/tmp/handsd-config-XXXXXX";
    snprintf(path, sizeof(path), "/tmp/handsd-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(fd_write_all(fd, str_from(text), NULL));
    close(fd);
    return path;
}

static struct configuration *load(const char *text, struct err **e)
{
    char *path = write_file(text);
    struct configuration *c = configuration_load(path, e);
    unlink(path);
    return c;
}

static void test_secrets_are_taken_out_of_the_environment(void **state)
{
    (void)state;
    char *shown = getenv("LLM_API_KEY");
    assert_string_equal(shown, "sk-in-the-environment");
    environment_take();
    assert_int_equal(shown[0], 0); /* the bytes that /proc shows */
    assert_null(getenv("LLM_API_KEY"));
    assert_null(getenv("OH_SESSION_API_KEYS_0"));
    assert_string_equal(getenv("PATH"), "/bin");
    assert_string_equal(environment_value("LLM_API_KEY"), "sk-in-the-environment");
    assert_null(environment_value("EMPTY"));
    assert_null(environment_value("NOWHERE"));
    size_t cursor = 0, n = 0;
    struct str name, value;
    while (environment_next(STR("OH_SESSION"), &cursor, &name, &value))
        n++;
    assert_int_equal(n, 2);
}

static void test_the_environment_wins_over_the_file(void **state)
{
    (void)state;
    autoerr e = NULL;
    environment_take();
    struct configuration *c =
        load("{\"session_api_keys\":[\"from file\"],\"max_connections\":9,\"secret_key\":\"from file\","
             "\"web_url\":\"https://w.example\",\"worker_threads\":\"3\",\"webhooks\":[{}]}",
             &e);
    assert_non_null(c);
    assert_int_equal(c->session_api_keys.n, 2);
    assert_true(str_is(c->session_api_keys.at[1], "second"));
    assert_true(str_is(c->session_key, "first"));
    assert_int_equal(c->allow_cors_origins.n, 2);
    assert_true(str_is(c->allow_cors_origins.at[1], "https://b.example"));
    assert_int_equal(c->max_connections, 7);
    assert_int_equal(c->worker_threads, 3);
    assert_true(c->conversation_idle_ttl_seconds == 0.5);
    assert_null(c->secret_key.p);
    assert_true(str_is(c->web_url, "https://w.example"));
    assert_true(str_is(c->conversations_path, "workspace/conversations"));
    assert_int_equal(c->allowed_hosts.n, 0);
    configuration_free(c);
}

static void test_what_is_wrong_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"[]", "JSON object"},
        {"{", "/tmp/handsd-config"},
        {"{\"allowed_hosts\":\"x\"}", "allowed_hosts"},
        {"{\"allowed_hosts\":[1]}", "allowed_hosts"},
        {"{\"worker_threads\":65}", "worker_threads"},
        {"{\"worker_threads\":1.5}", "worker_threads"},
        {"{\"keep_alive_timeout_seconds\":\"soon\"}", "keep_alive_timeout_seconds"},
        {"{\"web_url\":5}", "web_url"},
    };
    environment_take();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autoerr e = NULL;
        assert_null(load(cases[i].text, &e));
        assert_non_null(strstr(err_text(e), cases[i].word));
    }
}

static void test_nulls_and_unknown_keys_are_no_errors(void **state)
{
    (void)state;
    autoerr e = NULL;
    environment_take();
    struct configuration *c =
        load("{\"web_url\":null,\"worker_threads\":null,\"telemetry\":{\"a\":[1]},\"zzz\":1}", &e);
    assert_non_null(c);
    assert_null(c->web_url.p);
    assert_int_equal(c->worker_threads, 0);
    configuration_free(c);
}

static void test_docs_name_every_key(void **state)
{
    (void)state;
    autobuf text = {0};
    configuration_write_docs(&text);
    assert_true(str_find(buf_str(&text), STR("| `session_api_keys` | list of texts | none |")) > 0);
    assert_true(str_find(buf_str(&text), STR("`workspace/conversations`")) > 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secrets_are_taken_out_of_the_environment),
        cmocka_unit_test(test_the_environment_wins_over_the_file),
        cmocka_unit_test(test_what_is_wrong_is_named),
        cmocka_unit_test(test_nulls_and_unknown_keys_are_no_errors),
        cmocka_unit_test(test_docs_name_every_key),
    };
    prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
