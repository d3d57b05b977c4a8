/* The HTTP server's limits: parked requests, deadlines, slow clients, streams, the end. */
#include "net_client.h"
#include "base/clock.h"
#include "net/connection.h"

#define SHORT_MS 150 /* deadlines of the tests that wait for one */

/* ---- parked requests ---- */

struct counts {
    struct running *run;
    size_t connections, parked;
};

static void counts_read(void *arg)
{
    struct counts *c = arg;
    c->connections = c->run->fixture.server->connections;
    c->parked = server_parked(c->run->fixture.server);
}

/* The loop learns of a closed connection by an event of its own: ask until it has. */
static void await_connections(struct running *run, size_t n)
{
    struct counts c = {.run = run};
    do {
        on_loop(run, counts_read, &c);
    } while (c.connections != n);
}

static void await_parked(struct running *run)
{
    bool parked;
    do {
        thread_lock(&run->fixture.lock);
        parked = run->fixture.parked != NULL;
        thread_unlock(&run->fixture.lock);
    } while (!parked);
}

static void test_a_parked_request_delays_nobody_and_is_answered(void **state)
{
    struct running *run = *state;
    autofd int fd = client_open(run);
    autobuf in = {0};
    client_send(fd, STR(GET("/park") GET("/public")));
    shutdown(fd, SHUT_WR); /* still wants the answers */
    await_parked(run);
    assert_refused(run, GET("/public"), 200, NULL);
    assert_refused(run, POST("/release", "", ""), 204, NULL);
    autoanswer parked = client_answer(fd, &in);
    assert_int_equal(parked.status, 200);
    assert_contains(parked.body, "released");
    autoanswer next = client_answer(fd, &in);
    assert_int_equal(next.body_n, 3000);
    assert_true(client_at_end(fd, &in));
}

static void test_the_answer_for_a_client_that_has_gone_is_dropped(void **state)
{
    struct running *run = *state;
    int fd = client_open(run);
    client_send(fd, STR(GET("/park")));
    await_parked(run);
    const struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    await_connections(run, 0);
    autofd int other = client_open(run); /* takes the slot */
    autobuf in = {0};
    client_send(other, STR(POST("/release", "", "")));
    autoanswer a = client_answer(other, &in);
    assert_int_equal(a.status, 204);
    struct counts c = {.run = run};
    on_loop(run, counts_read, &c);
    assert_int_equal(c.parked, 0);
    client_send(other, STR(GET("/public")));
    autoanswer next = client_answer(other, &in);
    assert_int_equal(next.body_n, 3000);
}

static void test_past_the_parked_limit_503(void **state)
{
    (void)state;
    struct running run;
    running_start(&run, &(struct server_limits){.parked_max = 1}, NULL);
    autofd int fd = client_open(&run);
    client_send(fd, STR(GET("/park")));
    await_parked(&run);
    autoanswer a = client_ask(&run, GET("/public"));
    assert_int_equal(a.status, 503);
    assert_contains(a.head, "retry-after: 1\r\n");
    running_stop(&run);
}

static void test_past_the_connection_limit_connections_are_closed(void **state)
{
    (void)state;
    struct running run;
    running_start(&run, &(struct server_limits){.connections_max = 2}, NULL);
    autofd int first = client_open(&run);
    autofd int second = client_open(&run);
    autobuf in = {0};
    client_send(first, STR(GET("/public")));
    autoanswer a = client_answer(first, &in);
    client_send(second, STR(GET("/public")));
    autoanswer b = client_answer(second, &in);
    autofd int third = client_open(&run);
    assert_true(client_at_end(third, &in));
    client_send(first, STR(GET("/public")));
    autoanswer c = client_answer(first, &in);
    assert_int_equal(c.status, 200);
    running_stop(&run);
}

/* ---- deadlines ---- */

static void test_deadlines(void **state)
{
    (void)state;
    struct running run;
    running_start(
        &run,
        &(struct server_limits){.head_ms = SHORT_MS, .body_idle_ms = SHORT_MS, .keep_alive_ms = SHORT_MS},
        NULL);
    uint64_t started = clock_mono_ns();
    autofd int silent = client_open(&run), head = client_open(&run), body = client_open(&run),
               idle = client_open(&run);
    autobuf in = {0};
    client_send(head, STR("GET /public HTTP/1.1\r\nHost: loc"));
    client_send(body, STR(POST("/echo", "Content-Length: 10\r\n", "hello")));
    client_send(idle, STR(GET("/public")));
    autoanswer a = client_answer(idle, &in);
    assert_int_equal(a.status, 200);
    assert_true(client_at_end(silent, &in));
    assert_true(client_at_end(idle, &in));
    autoanswer late_head = client_answer(head, &in);
    assert_int_equal(late_head.status, 408);
    autoanswer late_body = client_answer(body, &in);
    assert_int_equal(late_body.status, 408);
    assert_true(clock_mono_ns() - started >= (SHORT_MS - 10) * NS_PER_MS);
    running_stop(&run);
}

/* A head that comes in drops is due at the same time as any other. */
static void test_dripping_does_not_move_the_heads_deadline(void **state)
{
    (void)state;
    struct running run;
    running_start(&run, &(struct server_limits){.head_ms = SHORT_MS}, NULL);
    autofd int fd = client_open(&run);
    autobuf in = {0};
    client_send(fd, STR("GET /public HTTP/1.1\r\nHost: localhost\r\nX-Long: "));
    uint64_t started = clock_mono_ns();
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    while (poll(&wait, 1, SHORT_MS / 10) == 0)
        client_send(fd, STR("x"));
    uint64_t ms = (clock_mono_ns() - started) / NS_PER_MS;
    assert_true(ms < CLIENT_TIMEOUT_S * 1000);
    autoanswer a = client_answer(fd, &in);
    assert_int_equal(a.status, 408);
    running_stop(&run);
}

static void test_a_client_that_does_not_read_is_dropped(void **state)
{
    (void)state;
    struct running run;
    running_start(&run, &(struct server_limits){.write_idle_ms = SHORT_MS}, NULL);
    autofd int fd = client_open(&run);
    autobuf in = {0};
    client_send(fd, STR(GET("/big?n=60000000")));
    await_connections(&run, 1);
    await_connections(&run, 0);
    autoanswer a = client_answer(fd, &in);
    assert_int_equal(a.status, 0); /* cut */
    running_stop(&run);
}

/* Some progress is not enough: an answer may not be held for hours. */
static void test_a_client_that_reads_too_slowly_is_dropped(void **state)
{
    (void)state;
    struct running run;
    running_start(&run, &(struct server_limits){.write_idle_ms = SHORT_MS, .write_rate_min = 200000000},
                  NULL);
    autofd int fd = client_open(&run);
    autobuf in = {0};
    client_send(fd, STR(GET("/big?n=60000000")));
    while (client_more(fd, &in) && in.n < 60000000)
        poll(NULL, 0, 10); /* reads on, slowly */
    assert_true(in.n < 60000000);
    running_stop(&run);
}

static void test_long_answers_wait_for_slow_clients(void **state)
{
    (void)state;
    struct running run;
    running_start(&run, &(struct server_limits){.sending_max = 64000000}, NULL);
    int slow = client_open(&run);
    client_send(slow, STR(GET("/big?n=60000000")));
    autobuf first = {0};
    assert_true(client_more(slow, &first)); /* the rest waits now */
    autofd int fd = client_open(&run);
    autobuf in = {0};
    client_send(fd, STR(GET("/big?n=30000000") GET("/big?n=1000000")));
    autoanswer refused = client_answer(fd, &in);
    assert_int_equal(refused.status, 503);
    assert_contains(refused.head, "retry-after: 1");
    assert_contains(refused.body, "Too many long answers");
    autoanswer small = client_answer(fd, &in);
    assert_int_equal(small.body_n, 1000000);
    close(slow);
    await_connections(&run, 1);
    client_send(fd, STR(GET("/big?n=30000000")));
    autoanswer large = client_answer(fd, &in);
    assert_int_equal(large.body_n, 30000000);
    running_stop(&run);
}

static void test_an_absolute_target_keeps_its_query(void **state)
{
    (void)state;
    static const char *const targets[][3] = {
        {"http://localhost?a=%62", "/", "a=%62"},
        {"http://localhost/?a=b", "/", "a=b"},
        {"http://localhost/%61?a=b", "/a", "a=b"},
        {"http://localhost", "/", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct http_head head;
        struct http_parser parser;
        enum http_event event;
        autobuf text = {0};
        buf_addf(&text, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", targets[i][0]);
        http_head_init(&head, 10);
        http_parser_start(&parser, &head, 1000);
        http_parse(&parser, buf_str(&text), &event);
        assert_int_equal(event, HTTP_EVENT_HEAD);
        assert_true(str_is(head.path, targets[i][1]));
        assert_true(targets[i][2] ? str_is(head.query, targets[i][2]) : !head.query.p);
        http_head_deinit(&head);
    }
}

static void test_a_slow_reader_gets_everything(void **state)
{
    struct running *run = *state;
    autofd int fd = client_open(run);
    int small = 128 * 1024; /* far less than the answer */
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    autobuf in = {0};
    client_send(fd, STR(GET("/big?n=5000000") GET("/public")));
    autoanswer a = client_answer(fd, &in);
    assert_int_equal(a.body_n, 5000000);
    autoanswer b = client_answer(fd, &in);
    assert_int_equal(b.body_n, 3000);
}

/* ---- streams ---- */

static void await_streams_closed(struct running *run, int n)
{
    int closed;
    do {
        thread_lock(&run->fixture.lock);
        closed = run->fixture.streams_closed;
        thread_unlock(&run->fixture.lock);
    } while (closed != n);
}

static void test_streams(void **state)
{
    (void)state;
    struct running run;
    running_start(&run, NULL, NULL);
    autofd int fd = client_open(&run);
    autobuf in = {0};
    client_send(fd,
                STR(GET("/stream?n=50000") GET("/stream?n=2&length=14") GET("/stream?n=0") GET("/public")));
    autoanswer lines = client_answer(fd, &in);
    assert_int_equal(lines.status, 200);
    struct str rest = str_make(lines.body, lines.body_n), line;
    for (int i = 0; i < 50000; i++) {
        char expected[32];
        snprintf(expected, sizeof(expected), "line %d", i);
        assert_true(str_split(&rest, '\n', &line) && str_is(line, expected));
    }
    autoanswer fixed = client_answer(fd, &in);
    assert_contains(fixed.head, "content-length: 14");
    assert_string_equal(fixed.body, "line 0\nline 1\n");
    autoanswer empty = client_answer(fd, &in);
    assert_int_equal(empty.status, 200);
    assert_int_equal(empty.body_n, 0);
    autoanswer next = client_answer(fd, &in);
    assert_int_equal(next.body_n, 3000);
    await_streams_closed(&run, 3);
    running_stop(&run);
}

static void test_broken_streams(void **state)
{
    (void)state;
    struct running run;
    running_start(&run, NULL, NULL);
    static const char *const requests[] = {
        GET("/stream?n=10&abort=1"),  /* the writer gives up */
        GET("/stream?n=2&length=15"), /* less than announced */
        GET("/stream?n=2&length=13"), /* more than announced */
    };
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        autoanswer a = client_ask(&run, requests[i]);
        assert_int_equal(a.status, 0);
    }
    await_streams_closed(&run, 3);
    /* The reader gives up. */
    int fd = client_open(&run);
    autobuf in = {0};
    client_send(fd, STR(GET("/stream?n=100000000")));
    assert_true(client_more(fd, &in));
    close(fd);
    await_streams_closed(&run, 4);
    /* HTTP/1.0 has no chunks: the end of the connection is the end. */
    autofd int old = client_open(&run);
    buf_clear(&in);
    client_send(old, STR("GET /stream?n=2 HTTP/1.0\r\nHost: localhost\r\n\r\n"));
    while (client_more(old, &in))
        ;
    assert_true(str_ends(buf_str(&in), STR("\r\n\r\nline 0\nline 1\n")));
    await_streams_closed(&run, 5);
    running_stop(&run);
}

/* ---- drain ---- */

static void drained(void *arg)
{
    struct running *run = arg;
    loop_stop(run->fixture.loop);
}

static void drain(void *arg)
{
    struct running *run = arg;
    server_drain(run->fixture.server, 10000, drained, run);
}

static void test_drain_lets_requests_end(void **state)
{
    (void)state;
    struct running run;
    running_start(&run, NULL, NULL);
    autofd int idle = client_open(&run), busy = client_open(&run);
    autobuf in = {0};
    client_send(idle, STR(GET("/public")));
    autoanswer a = client_answer(idle, &in);
    client_send(busy, STR(GET("/park") GET("/public")));
    await_parked(&run);
    on_loop(&run, drain, &run);
    assert_true(client_at_end(idle, &in));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)run.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_not_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    thread_lock(&run.fixture.lock);
    struct request *parked = run.fixture.parked;
    run.fixture.parked = NULL;
    thread_unlock(&run.fixture.lock);
    request_reply_detail(parked, 200, "released");
    autoanswer last = client_answer(busy, &in);
    assert_int_equal(last.status, 200);
    assert_contains(last.head, "connection: close");
    assert_true(client_at_end(busy, &in)); /* what was pipelined behind is not begun */
    pthread_join(run.thread, NULL);        /* drained() has stopped the loop */
    fixture_end(&run.fixture);
}

static void drain_short(void *arg)
{
    struct running *run = arg;
    server_drain(run->fixture.server, SHORT_MS, drained, run);
}

static void test_drain_ends_in_time(void **state)
{
    (void)state;
    struct running run;
    running_start(&run, NULL, NULL);
    autofd int fd = client_open(&run);
    autobuf in = {0};
    client_send(fd, STR(GET("/park")));
    await_parked(&run);
    on_loop(&run, drain_short, &run);
    assert_true(client_at_end(fd, &in));
    pthread_join(run.thread, NULL);
    fixture_end(&run.fixture);
}

/* ---- many at once ---- */

#define CLIENTS 4
#define PER_CLIENT 300
#define PIPELINED 5

static void client_main(void *arg)
{
    const struct running *run = arg;
    for (int i = 0; i < PER_CLIENT / 50; i++) {
        autofd int fd = client_open(run);
        autobuf in = {0};
        for (int k = 0; k < 50 / PIPELINED; k++) {
            client_send(fd, STR(GET("/worker") GET("/items/search") GET("/stream?n=20")
                                    POST("/items", JSON_TYPE "Content-Length: 14\r\n", "{\"name\":\"abc\"}")
                                        GET("/items/0123456789abcdef0123456789abcdef")));
            for (int n = 0; n < PIPELINED; n++) {
                autoanswer a = client_answer(fd, &in);
                assert_int_equal(a.status, n == 3 ? 201 : 200);
            }
        }
    }
}

static void test_answers_from_other_threads(void **state)
{
    struct running *run = *state;
    pthread_t threads[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++)
        assert_true(thread_start(&threads[i], "client", 1024 * 1024, client_main, run, NULL));
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
}

static void test_busy_port_is_a_conflict(void **state)
{
    struct running *run = *state;
    struct fixture second;
    autoerr e = NULL;
    fixture_start(&second, NULL, &(struct listener_config){.port = run->port}, &e);
    assert_null(second.listener);
    assert_int_equal(e->kind, ERR_CONFLICT);
    fixture_end(&second);
}

static void test_openapi(void **state)
{
    struct running *run = *state;
    autoanswer a = client_ask(run, GET("/openapi.json"));
    autojson doc = json_parse(str_make(a.body, a.body_n), NULL, NULL);
    const struct json_value *root = json_root(doc), *paths = json_get(root, "paths");
    assert_true(str_is(json_get_str(root, "openapi"), "3.1.0"));
    assert_null(json_get(paths, "/socket"));
    assert_null(json_get(paths, "/openapi.json"));
    assert_non_null(json_get(paths, "/files/{path}"));
    const struct json_value *item = json_get(paths, "/items/{item_id}");
    assert_non_null(json_get(item, "get"));
    assert_non_null(json_get(item, "delete"));
    const struct json_value *create = json_get(json_get(paths, "/items"), "post");
    assert_true(str_is(json_get_str(create, "operationId"), "create_item"));
    const struct json_value *responses = json_get(create, "responses");
    assert_non_null(json_get(responses, "201"));
    assert_non_null(json_get(responses, "404"));
    assert_non_null(json_get(responses, "422"));
    const struct json_value *schemas = json_get(json_get(root, "components"), "schemas");
    assert_non_null(json_get(schemas, "ItemRequest"));
    assert_non_null(json_get(schemas, "HTTPValidationError"));
    assert_non_null(json_get(schemas, "ValidationError"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_parked_request_delays_nobody_and_is_answered),
        cmocka_unit_test(test_the_answer_for_a_client_that_has_gone_is_dropped),
        cmocka_unit_test(test_past_the_parked_limit_503),
        cmocka_unit_test(test_past_the_connection_limit_connections_are_closed),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_dripping_does_not_move_the_heads_deadline),
        cmocka_unit_test(test_a_client_that_does_not_read_is_dropped),
        cmocka_unit_test(test_a_client_that_reads_too_slowly_is_dropped),
        cmocka_unit_test(test_long_answers_wait_for_slow_clients),
        cmocka_unit_test(test_an_absolute_target_keeps_its_query),
        cmocka_unit_test(test_a_slow_reader_gets_everything),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_broken_streams),
        cmocka_unit_test(test_drain_lets_requests_end),
        cmocka_unit_test(test_drain_ends_in_time),
        cmocka_unit_test(test_answers_from_other_threads),
        cmocka_unit_test(test_busy_port_is_a_conflict),
        cmocka_unit_test(test_openapi),
    };
    return cmocka_run_group_tests(tests, group_start, group_stop);
}
