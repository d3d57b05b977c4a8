/* outward: calls over a real connection to the tests' model server in its own process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/thread.h"
#include "net/outward.h"
#include "model_server.h"

static struct model_server server;
static struct outward *outward;

/* One call and what came of it. */
struct call {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int done;
    int status;
    enum err_kind kind;
    bool failed, connected;
    char *error;
    struct buf body, headers;
    int heads;
    bool refuse; /* the data */
    uint64_t done_ns;
};

static void call_init(struct call *c)
{
    *c = (struct call){0};
    pthread_mutex_init(&c->lock, NULL);
    thread_cond_init(&c->changed);
}

static void call_deinit(struct call *c)
{
    free(c->error);
    buf_deinit(&c->body);
    buf_deinit(&c->headers);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
}

static void on_headers(void *arg, int status, struct str headers)
{
    struct call *c = arg;
    (void)status;
    buf_clear(&c->headers);
    buf_add(&c->headers, headers);
    c->heads++;
}

static bool on_data(void *arg, struct str data)
{
    struct call *c = arg;
    bool more = false;
    WITH_LOCK(&c->lock)
    {
        buf_add(&c->body, data);
        more = !c->refuse;
        pthread_cond_broadcast(&c->changed);
    }
    return more;
}

static void on_done(void *arg, const struct outward_result *result)
{
    struct call *c = arg;
    WITH_LOCK(&c->lock)
    {
        c->done++;
        c->status = result->status;
        c->failed = result->error != NULL;
        c->connected = result->connected;
        if (result->error) {
            c->kind = result->error->kind;
            c->error = strdup(result->error->text);
        }
        c->done_ns = clock_mono_ns();
        pthread_cond_broadcast(&c->changed);
    }
}

static uint64_t start(struct call *c, struct outward_request r, const char *path)
{
    autobuf url = {0};
    buf_addf(&url, "%s%s", server.base, path);
    if (!r.url.p)
        r.url = buf_str(&url);
    if (!r.method.p)
        r.method = STR("GET");
    if (!r.body_max)
        r.body_max = 1 << 20;
    r.on_headers = on_headers;
    r.on_data = on_data;
    r.on_done = on_done;
    r.arg = c;
    return outward_start(outward, &r);
}

static void wait_done(struct call *c)
{
    WITH_LOCK(&c->lock)
    while (!c->done)
        assert_true(thread_cond_wait(&c->changed, &c->lock, clock_mono_ns() + 20 * NS_PER_S));
    assert_int_equal(c->done, 1);
}

static void wait_data(struct call *c)
{
    WITH_LOCK(&c->lock)
    while (c->body.n == 0)
        assert_true(thread_cond_wait(&c->changed, &c->lock, clock_mono_ns() + 20 * NS_PER_S));
}

/* Runs one call to its end. */
static void run(struct call *c, struct outward_request r, const char *path)
{
    call_init(c);
    start(c, r, path);
    wait_done(c);
}

#define CHAT(more) STR("{\"model\":\"m\",\"messages\":[]" more "}")
#define POST(text) ((struct outward_request){.method = STR("POST"), .body = text})

static void test_get(void **state)
{
    (void)state;
    struct call c;
    run(&c, (struct outward_request){0}, "/v1/models");
    assert_false(c.failed);
    assert_int_equal(c.status, 200);
    assert_int_equal(c.heads, 1);
    assert_true(str_is(outward_header(buf_str(&c.headers), STR("content-TYPE")), "application/json"));
    assert_null(outward_header(buf_str(&c.headers), STR("X-None")).p);
    assert_true(str_find(buf_str(&c.body), STR("test-model")) > 0);
    assert_true(c.connected);
    call_deinit(&c);
}

static void test_post_sends_body_and_headers(void **state)
{
    (void)state;
    model_server_script(&server, "[{\"text\":\"hello\"}]");
    struct str headers[] = {STR_INIT("Content-Type: application/json"), STR_INIT("X-Key: secret")};
    struct call c;
    struct outward_request r = POST(CHAT(",\"x\":\"\303\244\""));
    r.headers = headers;
    r.header_count = 2;
    run(&c, r, "/v1/chat/completions");
    assert_int_equal(c.status, 200);
    autojson seen = model_server_requests(&server, 1, 0);
    const struct json_value *request = json_at(json_root(seen), 0);
    assert_true(str_is(json_get_str(json_get(request, "body"), "x"), "\303\244"));
    assert_true(str_is(json_get_str(json_get(request, "headers"), "x-key"), "secret"));
    assert_null(json_get(json_get(request, "headers"), "expect"));
    call_deinit(&c);
}

static void test_gzip_is_undone(void **state)
{
    (void)state;
    model_server_script(&server, "[{\"text\":\"squeezed\",\"gzip\":true}]");
    struct call c;
    run(&c, POST(CHAT("")), "/v1/chat/completions");
    assert_true(str_find(buf_str(&c.body), STR("squeezed")) > 0);
    call_deinit(&c);
}

static void test_cancel_is_fast(void **state)
{
    (void)state;
    model_server_script(&server, "[{\"hang\":true}]");
    struct call c;
    call_init(&c);
    uint64_t id = start(&c, POST(CHAT("")), "/v1/chat/completions");
    json_doc_free(model_server_requests(&server, 1, 0)); /* the request is there, the answer is not */
    uint64_t before = clock_mono_ns();
    outward_cancel(outward, id);
    wait_done(&c);
    assert_true(c.failed);
    assert_int_equal(c.kind, ERR_CANCELLED);
    assert_true(c.connected);
    assert_true(c.done_ns - before < 100 * NS_PER_MS);
    json_doc_free(model_server_requests(&server, 1, 1)); /* the connection was closed too */
    outward_cancel(outward, id);
    outward_cancel(outward, 999999);
    call_deinit(&c);
}

static void test_many_at_once(void **state)
{
    (void)state;
    enum { CALLS = 100 };
    model_server_script(&server, "{\"answers\":[],\"default\":{\"text\":\"one of many\",\"delay\":0.05}}");
    static struct call calls[CALLS];
    for (int i = 0; i < CALLS; i++) {
        call_init(&calls[i]);
        start(&calls[i], POST(CHAT("")), "/v1/chat/completions");
    }
    for (int i = 0; i < CALLS; i++) {
        wait_done(&calls[i]);
        assert_int_equal(calls[i].status, 200);
        call_deinit(&calls[i]);
    }
}

static void test_limits(void **state)
{
    (void)state;
    struct call c;
    model_server_script(&server, "[{\"text\":\"0123456789012345678901234567890123456789\"}]");
    struct outward_request r = POST(CHAT(""));
    r.body_max = 40;
    run(&c, r, "/v1/chat/completions");
    assert_int_equal(c.kind, ERR_TOO_LARGE);
    assert_true(c.body.n <= 40);
    call_deinit(&c);

    autobuf script = {0};
    buf_add_cstr(&script, "[{\"text\":\"\",\"headers\":{\"X-Large\":\"");
    for (int i = 0; i < OUTWARD_HEADERS_MAX; i++)
        buf_add_char(&script, 'x');
    buf_add_cstr(&script, "\"}}]");
    model_server_script(&server, script.p);
    run(&c, POST(CHAT("")), "/v1/chat/completions");
    assert_int_equal(c.kind, ERR_TOO_LARGE);
    call_deinit(&c);
}

static void test_timeouts(void **state)
{
    (void)state;
    struct call c;
    struct outward_request r = POST(CHAT(",\"stream\":true"));
    model_server_script(&server, "[{\"hang\":true}]");
    r.timeout_ms = 100;
    run(&c, r, "/v1/chat/completions");
    assert_int_equal(c.kind, ERR_TIMEOUT);
    call_deinit(&c);

    model_server_script(&server, "[{\"text\":\"some pieces and then silence\",\"pause\":30}]");
    r.timeout_ms = 0;
    r.idle_timeout_ms = 150;
    run(&c, r, "/v1/chat/completions");
    assert_int_equal(c.kind, ERR_TIMEOUT);
    assert_int_equal(c.status, 200);
    assert_true(c.body.n > 0);
    call_deinit(&c);

    /* Slow is not idle. */
    model_server_script(&server, "[{\"text\":\"steady\",\"piece\":1,\"pause\":0.06}]");
    run(&c, r, "/v1/chat/completions");
    assert_false(c.failed);
    assert_true(str_find(buf_str(&c.body), STR("[DONE]")) > 0);
    call_deinit(&c);
}

static void test_broken_connections(void **state)
{
    (void)state;
    struct call c;
    /* Every time: libcurl repeats a request itself when a kept connection dies before any answer. */
    static const char *const scripts[] = {"{\"reset\":true}", "{\"text\":\"some text\",\"cut\":\"middle\"}",
                                          "{\"text\":\"some text\",\"reset\":\"middle\"}"};
    for (size_t i = 0; i < 3; i++) {
        autobuf script = {0};
        buf_addf(&script, "{\"answers\":[],\"default\":%s}", scripts[i]);
        model_server_script(&server, script.p);
        run(&c, POST(CHAT("")), "/v1/chat/completions");
        assert_true(c.failed);
        assert_int_equal(c.kind, ERR_UPSTREAM);
        assert_true(c.connected);
        call_deinit(&c);
    }
    /* A port nobody listens on: bound, not listening. */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(to);
    assert_int_equal(bind(fd, (struct sockaddr *)&to, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&to, &size), 0);
    autobuf url = {0};
    buf_addf(&url, "http://127.0.0.1:%d/", ntohs(to.sin_port));
    run(&c, (struct outward_request){.url = buf_str(&url)}, "");
    assert_int_equal(c.kind, ERR_UPSTREAM);
    assert_false(c.connected);
    assert_int_equal(c.status, 0);
    call_deinit(&c);
    close(fd);
}

static void test_bad_requests(void **state)
{
    (void)state;
    struct str header[] = {STR_INIT("X-Key: a\r\nX-Other: b")};
    struct outward_request bad[] = {
        {.url = STR("ftp://127.0.0.1/")},
        {.url = STR("file:///etc/passwd")},
        {.url = STR("http://127.0.0.1/a b")},
        {.url = STR("http://[::bad/")},
        {.url = STR("")},
        {.method = STR("GET /\r\n")},
        {.headers = header, .header_count = 1},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct call c;
        run(&c, bad[i], "/v1/models");
        assert_true(c.failed);
        assert_int_equal(c.kind, ERR_INVALID);
        assert_false(c.connected);
        call_deinit(&c);
    }
}

/* Where the redirected request arrived, with its headers. */
static void redirect(const char *location, unsigned redirects, int expect_status, bool expect_key)
{
    model_server_script(&server, "[]");
    struct str headers[] = {STR_INIT("X-Key: secret"), STR_INIT("Authorization: Bearer secret"),
                            STR_INIT("Accept: text/plain")};
    autobuf path = {0};
    buf_addf(&path, "/status/302?location=%s", location);
    struct call c;
    run(&c, (struct outward_request){.headers = headers, .header_count = 3, .redirects = redirects}, path.p);
    assert_int_equal(c.status, expect_status);
    assert_int_equal(c.heads, 1);
    autojson seen = model_server_requests(&server, 1, 0);
    if (expect_status == 200) {
        const struct json_value *sent = json_get(json_at(json_root(seen), 1), "headers");
        assert_non_null(sent);
        assert_true((json_get(sent, "x-key") != NULL) == expect_key);
        assert_true((json_get(sent, "authorization") != NULL) == expect_key);
        assert_true(str_is(json_get_str(sent, "accept"), "text/plain"));
        assert_true(str_find(buf_str(&c.body), STR("test-model")) > 0);
        assert_true(str_find(buf_str(&c.body), STR("moved")) < 0);
    }
    call_deinit(&c);
}

static void test_redirects(void **state)
{
    (void)state;
    char other[128];
    redirect("/v1/models", 0, 302, false);
    redirect("/v1/models", 1, 200, true);
    snprintf(other, sizeof(other), "http://localhost:%d/v1/models",
             server.port); /* another name, another host */
    redirect(other, 1, 200, false);
    redirect("/status/302?location=/v1/models", 1, 302, false);

    struct call c;
    run(&c, (struct outward_request){.redirects = 5}, "/status/302?location=file:///etc/passwd");
    assert_true(c.failed);
    assert_true(c.body.n == 0);
    call_deinit(&c);
    snprintf(other, sizeof(other), "/status/307?location=http://localhost:%d/v1/models", server.port);
    struct outward_request r = POST(STR("secret body"));
    r.redirects = 5;
    model_server_script(&server, "[]");
    run(&c, r, other);
    assert_true(c.failed);
    assert_int_equal(c.status, 307);
    autojson seen = model_server_requests(&server, 1, 0);
    assert_int_equal(json_count(json_root(seen)), 1);
    call_deinit(&c);
}

static void test_receiver_ends_it(void **state)
{
    (void)state;
    model_server_script(&server, "[{\"text\":\"a b c\",\"piece\":1,\"pause\":0.02}]");
    struct call c;
    call_init(&c);
    c.refuse = true;
    start(&c, POST(CHAT(",\"stream\":true")), "/v1/chat/completions");
    wait_done(&c);
    assert_int_equal(c.kind, ERR_CANCELLED);
    call_deinit(&c);
}

static void test_unix_socket(void **state)
{
    (void)state;
    char dir[] = "/tmp/test_outward.XXXXXX";
    assert_non_null(mkdtemp(dir));
    autobuf path = {0};
    buf_addf(&path, "%s/socket", dir);
    struct model_server local;
    model_server_start(&local, path.p);
    struct call c;
    run(&c, (struct outward_request){.url = STR("http://docker/v1/models"), .unix_socket = buf_str(&path)},
        "");
    assert_int_equal(c.status, 200);
    call_deinit(&c);
    model_server_stop(&local);
    unlink(path.p);
    rmdir(dir);
}

static void test_free_cancels(void **state)
{
    (void)state;
    model_server_script(&server, "[{\"hang\":true},{\"text\":\"slow\",\"piece\":1,\"pause\":10}]");
    struct outward *kept = outward;
    outward = outward_new();
    struct call hanging, streaming;
    call_init(&hanging);
    call_init(&streaming);
    start(&hanging, POST(CHAT("")), "/v1/chat/completions");
    json_doc_free(model_server_requests(&server, 1, 0));
    start(&streaming, POST(CHAT(",\"stream\":true")), "/v1/chat/completions");
    wait_data(&streaming);
    outward_free(outward);
    outward = kept;
    assert_int_equal(hanging.done, 1);
    assert_int_equal(hanging.kind, ERR_CANCELLED);
    assert_int_equal(streaming.done, 1);
    assert_int_equal(streaming.kind, ERR_CANCELLED);
    call_deinit(&hanging);
    call_deinit(&streaming);
    outward_free(outward_new()); /* never used: no thread, no libcurl */
}

static int setup(void **state)
{
    (void)state;
    clock_init();
    model_server_start(&server, NULL);
    outward = outward_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    outward_free(outward);
    model_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_post_sends_body_and_headers),
        cmocka_unit_test(test_gzip_is_undone),
        cmocka_unit_test(test_cancel_is_fast),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_broken_connections),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_redirects),
        cmocka_unit_test(test_receiver_ends_it),
        cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_free_cancels),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
