/* The HTTP server over real connections. tests/net/test_raw_http.py has the malformed requests. */
#include "net_client.h"
#include "base/clock.h"
#include "net/http.h"

/* ---- answers and connections ---- */

static void test_pipelined_requests_are_answered_in_order(void **state)
{
    struct running *run = *state;
    autofd int fd = client_open(run);
    autobuf in = {0};
    client_send(fd, STR(GET("/items/search?limit=1") GET("/worker") GET("/items/search?limit=3")
                            GET("/big?n=200000") GET("/items/search?limit=5")));
    static const size_t lengths[] = {0, 3000, 0, 200000, 0};
    static const char *const bodies[] = {"{\"limit\":1,", NULL, "{\"limit\":3,", NULL, "{\"limit\":5,"};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        autoanswer a = client_answer(fd, &in);
        assert_int_equal(a.status, 200);
        if (bodies[i])
            assert_contains(a.body, bodies[i]);
        else
            assert_int_equal(a.body_n, lengths[i]);
    }
}

static void test_connection_close_and_http10_end_the_connection(void **state)
{
    struct running *run = *state;
    static const char *const requests[] = {
        GET_WITH("/public", "Connection: close\r\n"),
        "GET /public HTTP/1.0\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        autofd int fd = client_open(run);
        autobuf in = {0};
        client_send(fd, str_from(requests[i]));
        autoanswer a = client_answer(fd, &in);
        assert_int_equal(a.status, 200);
        assert_contains(a.head, "connection: close");
        assert_true(client_at_end(fd, &in));
    }
}

static void test_head_and_options(void **state)
{
    struct running *run = *state;
    autofd int fd = client_open(run);
    autobuf in = {0};
    client_send(fd, STR("HEAD /public HTTP/1.1\r\nHost: localhost\r\n\r\n"
                        "HEAD /stream?n=5 HTTP/1.1\r\nHost: localhost\r\n\r\n"
                        "OPTIONS /items HTTP/1.1\r\nHost: localhost\r\n\r\n" GET("/public")));
    autoanswer head = client_answer_to(fd, &in, true);
    assert_int_equal(head.status, 200);
    assert_contains(head.head, "content-length: 3000");
    autoanswer stream = client_answer_to(fd, &in, true);
    assert_int_equal(stream.status, 200);
    autoanswer options = client_answer(fd, &in);
    assert_int_equal(options.status, 204);
    assert_contains(options.head, "allow: POST, OPTIONS");
    autoanswer get = client_answer(fd, &in);
    assert_int_equal(get.body_n, 3000);
}

static void test_routing(void **state)
{
    struct running *run = *state;
    assert_refused(run, GET("/nope"), 404, "{\"detail\":\"Not Found\"}");
    assert_refused(run, GET("/items"), 405, "{\"detail\":\"Method Not Allowed\"}");
    assert_refused(run, GET("/items/"), 307, NULL);
    assert_refused(run, GET("/socket"), 404, NULL); /* not a WebSocket */
    assert_refused(run, GET("/fallback"), 200, "from the fallback");
    assert_refused(run, GET("/files/a/b%20c/"), 200, "a/b c/");
    /* The literal before the parameter, the parameter where the literal lacks the method. */
    assert_refused(run, GET("/items/search"), 200, "\"limit\":100");
    assert_refused(run, "DELETE /items/search HTTP/1.1\r\nHost: localhost\r\n\r\n", 422, "uuid_parsing");
    autoanswer a = client_ask(run, GET("/tools?a=%20b"));
    assert_int_equal(a.status, 307);
    assert_contains(a.head, "location: /tools/?a=%20b\r\n");
    assert_refused(run, GET("//evil.example/tools"), 404, NULL);
}

/* ---- decoding ---- */

static void test_path_and_query_come_decoded(void **state)
{
    struct running *run = *state;
    assert_refused(run, GET("/items/search?limit=7&kind=a+b%26&ids=x&ids=y&ids=z"), 200,
                   "{\"limit\":7,\"kind\":\"a b&\",\"ids\":3}");
    assert_refused(run, GET("/items/0123456789ABCDEF0123456789abcdef"), 200,
                   "\"id\":\"01234567-89ab-cdef-0123-456789abcdef\"");
    assert_refused(run, GET("/items/search?limit=101"), 422, "\"loc\":[\"query\",\"limit\"]");
    assert_refused(run, GET("/items/search?limit=many"), 422, "int_parsing");
    assert_refused(run, GET("/items/zz"), 422, "\"loc\":[\"path\",\"item_id\"]");
}

static void test_json_bodies(void **state)
{
    struct running *run = *state;
    assert_refused(run,
                   POST("/items", JSON_TYPE "Content-Length: 26\r\n", "{\"name\":\"abc\",\"count\":100}"),
                   201, "{\"name\":\"abc\",\"count\":100,");
    assert_refused(run,
                   POST("/inline",
                        "Content-Type: application/x+json; charset=utf-8\r\nContent-Length: 14\r\n",
                        "{\"name\":\"abc\"}"),
                   201, "{\"name\":\"abc\",\"bytes\":14,");
    assert_refused(run,
                   POST("/items", JSON_TYPE "Transfer-Encoding: chunked\r\n",
                        "7\r\n{\"name\"\r\n7\r\n:\"abc\"}\r\n0\r\nTrailer: x\r\n\r\n"),
                   201, "{\"name\":\"abc\",\"bytes\":14,");
    assert_refused(run, POST("/items", JSON_TYPE "Content-Length: 2\r\n", "{}"), 422,
                   "{\"type\":\"missing\",\"loc\":[\"body\",\"name\"]");
    assert_refused(
        run, POST("/items", JSON_TYPE "Content-Length: 8\r\n", "{\"name\":"), 422,
        "{\"detail\":[{\"type\":\"json_invalid\",\"loc\":[\"body\",8],\"msg\":\"JSON decode error\"");
    assert_refused(run, POST("/items", JSON_TYPE "Content-Length: 0\r\n", ""), 422,
                   "{\"type\":\"missing\",\"loc\":[\"body\"]");
    assert_refused(run, POST("/items", JSON_TYPE "Content-Length: 1\r\n", "5"), 422, "model_attributes_type");
    assert_refused(
        run, "GET /batch HTTP/1.1\r\nHost: localhost\r\n" JSON_TYPE "Content-Length: 9\r\n\r\n[\"a\",\"b\"]",
        200, "[\"a\",\"b\"]");
}

/* What a page of a stranger can send without asking is never JSON. */
static void test_other_content_types_are_not_json(void **state)
{
    struct running *run = *state;
    static const char *const types[] = {
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: text/plain; a=application/json\r\n",
        "Content-Type: application/jsonp\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        autobuf request = {0};
        buf_addf(&request,
                 "POST /items HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: 14\r\n\r\n{\"name\":\"abc\"}",
                 types[i]);
        assert_refused(run, request.p, 422, "model_attributes_type");
    }
}

static void test_large_bodies(void **state)
{
    struct running *run = *state;
    static const char *const paths[] = {"/inline", "/items"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        autofd int fd = client_open(run);
        autobuf in = {0}, request = {0}, body = {0};
        buf_add_cstr(&body, "{\"name\":\"abc\",\"other\":\"");
        memset(buf_reserve(&body, 3000000), 'x', 3000000);
        body.n += 3000000;
        buf_add_cstr(&body, "\"}");
        buf_addf(&request, "POST %s HTTP/1.1\r\nHost: localhost\r\n" JSON_TYPE "Content-Length: %zu\r\n\r\n",
                 paths[i], body.n);
        client_send(fd, buf_str(&request));
        client_send(fd, buf_str(&body));
        autoanswer a = client_answer(fd, &in);
        assert_int_equal(a.status, 201);
        assert_contains(a.body, "\"bytes\":3000025");
    }
}

static void test_body_limit_of_a_route(void **state)
{
    struct running *run = *state;
    autobuf request = {0};
    buf_addf(&request, "POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%0*d",
             FIXTURE_SMALL_MAX, FIXTURE_SMALL_MAX, 1);
    assert_refused(run, request.p, 200, "0001");
    assert_refused(run, POST("/small", "Content-Length: 101\r\n", ""), 413, NULL);
    buf_clear(&request);
    buf_addf(
        &request,
        "POST /small HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n%0101d\r\n0\r\n\r\n",
        1);
    assert_refused(run, request.p, 413, NULL);
    /* A client that asks first is told before it sends. */
    assert_refused(run, POST("/small", "Expect: 100-continue\r\nContent-Length: 101\r\n", ""), 413, NULL);
}

static void test_expect_continue(void **state)
{
    struct running *run = *state;
    autofd int fd = client_open(run);
    autobuf in = {0};
    client_send(fd, STR(POST("/small", "Expect: 100-continue\r\nContent-Length: 5\r\n", "")));
    autoanswer go_on = client_answer(fd, &in);
    assert_int_equal(go_on.status, 100);
    client_send(fd, STR("hello"));
    autoanswer a = client_answer(fd, &in);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "hello");
}

/* ---- errors ---- */

static void test_error_bodies(void **state)
{
    struct running *run = *state;
    assert_refused(run, GET("/error?kind=1"), 422, "{\"detail\":\"what happened\"}");
    assert_refused(run, GET("/error?kind=4"), 404, "{\"detail\":\"what happened\"}");
    assert_refused(run, GET("/error?kind=5"), 409, "{\"detail\":\"what happened\"}");
    assert_refused(run, GET("/error?kind=9"), 504,
                   "{\"detail\":\"Internal Server Error\",\"exception\":\"504: what happened\"}");
    autoanswer busy = client_ask(run, GET("/error?kind=7"));
    assert_int_equal(busy.status, 503);
    assert_contains(busy.head, "retry-after: 1\r\n");
    autoanswer own = client_ask(run, GET("/error?kind=7&own=1"));
    assert_int_equal(own.status, 503);
    assert_contains(own.head, "retry-after: 1\r\n");
    assert_null(strstr(strstr(own.head, "retry-after") + 1, "retry-after"));
    autoanswer bug = client_ask(run, GET("/error?kind=0"));
    assert_int_equal(bug.status, 500);
    assert_contains(bug.body, "\"exception\":\"what happened\",\"error_id\":\"");
}

static void test_header_values_cannot_end_their_line(void **state)
{
    struct running *run = *state;
    autoanswer a = client_ask(run, POST("/items", JSON_TYPE "Content-Length: 14\r\n", "{\"name\":\"abc\"}"));
    assert_contains(a.head, "x-strange: a  x-injected: 1\r\n");
}

/* ---- who may call ---- */

static void test_keys(void **state)
{
    (void)state;
    struct running run;
    const struct str keys[] = {STR_INIT("first key"), STR_INIT("second")};
    running_start(&run, NULL, &(struct listener_config){.keys = keys, .key_count = 2});
    assert_refused(&run, GET("/page"), 401, "{\"detail\":\"Unauthorized\"}");
    assert_refused(&run, GET_WITH("/page", "X-Session-API-Key: seconD\r\n"), 401, NULL);
    assert_refused(&run, GET_WITH("/page", "X-Session-API-Key: secon\r\n"), 401, NULL);
    assert_refused(&run, GET_WITH("/page", "x-session-api-key: first key\r\n"), 200, NULL);
    assert_refused(&run, GET_WITH("/page", "X-Session-API-Key: second\r\n"), 200, NULL);
    assert_refused(&run, GET("/page?session_api_key=second"), 401, NULL);
    assert_refused(&run, GET("/public"), 200, NULL);
    assert_refused(&run, GET("/nope"), 404, NULL);
    /* With a key any Host will do; a foreign page is refused all the same. */
    assert_refused(&run, "GET /public HTTP/1.1\r\nHost: any.example\r\n\r\n", 200, NULL);
    assert_refused(&run, "GET /public HTTP/1.1\r\nHost: any.example\r\nOrigin: http://any.example\r\n\r\n",
                   200, NULL);
    assert_refused(&run, "GET /public HTTP/1.1\r\nHost: any.example\r\nOrigin: http://other.example\r\n\r\n",
                   403, NULL);
    running_stop(&run);
}

static void test_origins_and_hosts(void **state)
{
    (void)state;
    struct running run;
    const struct str origins[] = {STR_INIT("https://app.example/"), STR_INIT("build-host"),
                                  STR_INIT("null.example")};
    const struct str hosts[] = {STR_INIT("handsd.example")};
    running_start(&run, NULL,
                  &(struct listener_config){.origins = origins,
                                            .origin_count = 3,
                                            .origin_regex = STR("https://[a-z]+\\.apps\\.example"),
                                            .hosts = hosts,
                                            .host_count = 1});
    static const struct {
        const char *host, *origin;
        int status;
    } cases[] = {
        {"localhost", NULL, 200},
        {"LOCALHOST:1234", NULL, 200},
        {"127.0.0.1:99", NULL, 200},
        {"127.9.9.9", NULL, 200},
        {"[::1]:8000", NULL, 200},
        {"handsd.example", NULL, 200},
        {"handsd.example:8000", NULL, 200},
        {"rebound.example", NULL, 403},
        {"localhost.rebound.example", NULL, 403},
        {"10.1.2.3", NULL, 403},
        {"", NULL, 403},
        {"localhost", "http://localhost:3000", 200},
        {"localhost", "https://127.0.0.1", 200},
        {"localhost", "http://[::1]:3000", 200},
        {"localhost", "https://app.example", 200},
        {"localhost", "http://app.example", 403},
        {"localhost", "https://app.example:444", 403},
        {"localhost", "http://build-host:7777", 200},
        {"localhost", "https://one.apps.example", 200},
        {"localhost", "https://one.apps.example.evil", 403},
        {"localhost", "https://evil?https://one.apps.example", 403},
        {"localhost", "null", 403},
        {"localhost", "file://", 403},
        {"localhost", "", 403},
        {"localhost", "http://", 403},
        {"localhost", "chrome-extension://localhost", 403},
        {"handsd.example:8000", "http://handsd.example:8000", 200},
        {"handsd.example", "https://handsd.example", 200}, /* a proxy in front speaks TLS */
        {"handsd.example", "http://handsd.example:8001", 403},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autobuf request = {0};
        buf_addf(&request, "GET /public HTTP/1.1\r\nHost: %s\r\n", cases[i].host);
        if (cases[i].origin)
            buf_addf(&request, "Origin: %s\r\n", cases[i].origin);
        buf_add_cstr(&request, "\r\n");
        autoanswer a = client_ask(&run, request.p);
        if (a.status != cases[i].status)
            fail_msg("Host %s, Origin %s: %d", cases[i].host, cases[i].origin, a.status);
        assert_int_equal(strstr(a.head, "access-control-allow-origin") != NULL,
                         cases[i].origin && a.status == 200);
    }
    running_stop(&run);
}

static void test_preflight(void **state)
{
    struct running *run = *state;
    autoanswer a =
        client_ask(run, "OPTIONS /items HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:3000\r\n"
                        "Access-Control-Request-Method: POST\r\n"
                        "Access-Control-Request-Headers: content-type, x-session-api-key\r\n\r\n");
    assert_int_equal(a.status, 200);
    assert_contains(a.head, "access-control-allow-origin: http://localhost:3000\r\n");
    assert_contains(a.head, "access-control-allow-credentials: true\r\n");
    assert_contains(a.head, "access-control-allow-headers: content-type, x-session-api-key\r\n");
    assert_contains(a.head, "POST");
    assert_contains(a.head, "vary: Origin\r\n");
    assert_refused(run,
                   "OPTIONS /items HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n"
                   "Access-Control-Request-Method: POST\r\n\r\n",
                   403, NULL);
}

static void test_root_path(void **state)
{
    (void)state;
    struct running run;
    running_start(&run, NULL, &(struct listener_config){.root_path = STR("/proxy/handsd/")});
    assert_refused(&run, GET("/proxy/handsd/public"), 200, NULL);
    assert_refused(&run, GET("/public"), 200, NULL);
    assert_refused(&run, GET("/proxy/handsdpublic"), 404, NULL);
    autoanswer a = client_ask(&run, GET("/proxy/handsd/tools"));
    assert_contains(a.head, "location: /proxy/handsd/tools/\r\n");
    running_stop(&run);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipelined_requests_are_answered_in_order),
        cmocka_unit_test(test_connection_close_and_http10_end_the_connection),
        cmocka_unit_test(test_head_and_options),
        cmocka_unit_test(test_routing),
        cmocka_unit_test(test_path_and_query_come_decoded),
        cmocka_unit_test(test_json_bodies),
        cmocka_unit_test(test_other_content_types_are_not_json),
        cmocka_unit_test(test_large_bodies),
        cmocka_unit_test(test_body_limit_of_a_route),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_error_bodies),
        cmocka_unit_test(test_header_values_cannot_end_their_line),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_origins_and_hosts),
        cmocka_unit_test(test_preflight),
        cmocka_unit_test(test_root_path),
    };
    return cmocka_run_group_tests(tests, group_start, group_stop);
}
