/* Bodies that a handler takes in pieces, over real connections. */
#include "net_client.h"
#include "base/clock.h"

#define SHORT_MS 150
#define BIG (8 * 1024 * 1024)

/* Polls with growing pauses for a condition that another thread makes true. */
static void await_count(_Atomic uint64_t *at, uint64_t least)
{
    for (int i = 0; atomic_load(at) < least; i++) {
        if (i == CLIENT_TIMEOUT_S * 100)
            fail_msg("%llu of %llu", (unsigned long long)atomic_load(at), (unsigned long long)least);
        poll(NULL, 0, 10);
    }
}

static void send_zeros(int fd, size_t n)
{
    autofree char *zeros = xcalloc(1, 65536);
    for (size_t at = 0; at < n; at += 65536)
        client_send(fd, str_make(zeros, n - at < 65536 ? n - at : 65536));
}

static void send_head(int fd, const char *query, size_t length)
{
    autobuf head = {0};
    buf_addf(&head, "POST /body%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n", query, length);
    client_send(fd, buf_str(&head));
}

static void test_pieces_add_up_and_the_connection_goes_on(void **state)
{
    struct running *run = *state;
    autofd int fd = client_open(run);
    autobuf in = {0};
    client_send(fd, STR(POST("/body", "Content-Length: 5\r\n", "hello") POST(
                        "/body", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
                            POST("/body", "Content-Length: 0\r\n", "") POST("/body", "", "")
                                GET("/items/search?limit=3")));
    static const char *const expected[] = {"bytes: 5", "bytes: 7", "bytes: 0", "bytes: 0", "\"limit\":3"};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        autoanswer a = client_answer(fd, &in);
        assert_int_equal(a.status, 200);
        assert_contains(a.body, expected[i]);
    }
    send_head(fd, "", BIG);
    send_zeros(fd, BIG);
    autoanswer a = client_answer(fd, &in);
    assert_contains(a.body, "bytes: 8388608");
}

/* A reader that takes nothing holds what it may hold, for as long as it likes, and delays nobody. */
static void test_a_stalled_reader_stops_the_client(void **state)
{
    (void)state;
    static const char *const ways[] = {"?do=stall", "?do=never"};
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        struct running run;
        running_start(&run, &(struct server_limits){.body_idle_ms = SHORT_MS, .body_rate_min = 1 << 20},
                      NULL);
        autofd int fd = client_open(&run);
        autobuf in = {0};
        int size = 65536;
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        send_head(fd, ways[i], 1 << 30);
        /* As much as goes, until nothing has gone for longer than the deadlines of a slow client. */
        autofree char *zeros = xcalloc(1, 65536);
        size_t sent = 0;
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        while (poll(&wait, 1, SHORT_MS * 3) == 1) {
            ssize_t n = send(fd, zeros, 65536, MSG_NOSIGNAL | MSG_DONTWAIT);
            assert_true(n > 0 || errno == EAGAIN);
            sent += n > 0 ? (size_t)n : 0;
            assert_true(sent < 64 * 1024 * 1024); /* the kernel's buffers, and no more */
        }
        uint64_t held = atomic_load(&run.fixture.body_bytes);
        assert_true(held <= BODY_AHEAD_MAX + 128 * 1024);
        autoanswer other = client_ask(&run, GET("/page"));
        assert_int_equal(other.status, 200);
        autoanswer room = client_ask(&run, POST("/room", "Content-Length: 0\r\n", ""));
        assert_int_equal(room.status, 204);
        await_count(&run.fixture.body_bytes, held + 128 * 1024); /* it flows again */
        close(steal_fd(fd));
        await_count(&run.fixture.body_errors, 1); /* and its end is told */
        running_stop(&run);
    }
}

static void test_a_client_that_leaves_is_told(void **state)
{
    struct running *run = *state;
    uint64_t before = atomic_load(&run->fixture.body_errors);
    {
        autofd int fd = client_open(run);
        send_head(fd, "", 1000);
        client_send(fd, STR("some of it"));
        await_count(&run->fixture.body_bytes, 1);
    }
    await_count(&run->fixture.body_errors, before + 1);
    {
        autofd int fd = client_open(run);
        client_send(fd, STR(POST("/body", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n")));
        shutdown(fd, SHUT_WR);
        await_count(&run->fixture.body_errors, before + 2);
    }
}

/* What the client did wrong goes before what the handler makes of it; nothing behind it is a request. */
static void test_broken_bodies(void **state)
{
    struct running *run = *state;
    static const struct {
        const char *request;
        int status;
    } cases[] = {
        {POST("/body", "Transfer-Encoding: chunked\r\n", "5\r\nhelloX\r\n") GET("/page"), 400},
        {POST("/body", "Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n") GET("/page"), 400},
        {POST("/body-small", "Transfer-Encoding: chunked\r\n", "80\r\n") GET("/page") GET("/page")
             GET("/page"),
         413},
        {POST("/body-small", "Content-Length: 101\r\n", ""), 413},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autofd int fd = client_open(run);
        autobuf in = {0};
        client_send(fd, str_from(cases[i].request));
        autoanswer a = client_answer(fd, &in);
        assert_int_equal(a.status, cases[i].status);
        assert_contains(a.head, "connection: close");
        assert_true(client_at_end(fd, &in));
    }
}

static void test_an_early_answer(void **state)
{
    struct running *run = *state;
    {
        /* Little is left: it is dropped, and the connection goes on. */
        autofd int fd = client_open(run);
        autobuf in = {0};
        client_send(
            fd, STR("POST /body?do=refuse HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n01234"));
        client_send(fd, STR("56789" GET("/page")));
        autoanswer a = client_answer(fd, &in);
        assert_int_equal(a.status, 400);
        autoanswer next = client_answer(fd, &in);
        assert_int_equal(next.status, 200);
        client_send(fd, STR(POST("/body?do=first", "Content-Length: 10\r\n", "0123456789") GET("/page")));
        autoanswer first = client_answer(fd, &in);
        assert_int_equal(first.status, 422);
        autoanswer after = client_answer(fd, &in);
        assert_int_equal(after.status, 200);
    }
    {
        /* Much is: the answer comes at once, then the end. */
        autofd int fd = client_open(run);
        autobuf in = {0};
        send_head(fd, "?do=refuse", 1 << 30);
        autoanswer a = client_answer(fd, &in);
        assert_int_equal(a.status, 400);
        assert_contains(a.head, "connection: close");
        assert_true(client_at_end(fd, &in));
    }
    {
        autofd int fd = client_open(run);
        autobuf in = {0};
        send_head(fd, "?do=first", 1 << 30);
        client_send(fd, STR("a piece"));
        autoanswer a = client_answer(fd, &in);
        assert_int_equal(a.status, 422);
        assert_true(client_at_end(fd, &in));
    }
}

static void test_expect_continue_waits_for_the_handler(void **state)
{
    struct running *run = *state;
    autofd int fd = client_open(run);
    autobuf in = {0};
    client_send(fd, STR(POST("/body", "Content-Length: 5\r\nExpect: 100-continue\r\n", "")));
    autoanswer go_on = client_answer(fd, &in);
    assert_int_equal(go_on.status, 100);
    client_send(fd, STR("hello"));
    autoanswer a = client_answer(fd, &in);
    assert_contains(a.body, "bytes: 5");
    client_send(fd, STR(POST("/body?do=refuse", "Content-Length: 5\r\nExpect: 100-continue\r\n", "")));
    autoanswer refused = client_answer(fd, &in);
    assert_int_equal(refused.status, 400);
    assert_true(client_at_end(fd, &in));
}

static void test_deadlines(void **state)
{
    (void)state;
    struct running run;
    running_start(&run, &(struct server_limits){.body_idle_ms = SHORT_MS, .body_rate_min = 1 << 20}, NULL);
    autofd int silent = client_open(&run), slow = client_open(&run);
    autobuf in = {0}, in_slow = {0};
    send_head(silent, "", 10);
    send_head(slow, "", 1 << 30);
    struct pollfd wait = {.fd = slow, .events = POLLIN};
    while (poll(&wait, 1, SHORT_MS / 10) == 0)
        client_send(slow, STR("x"));
    autoanswer late = client_answer(silent, &in);
    assert_int_equal(late.status, 408);
    autoanswer too_slow = client_answer(slow, &in_slow);
    assert_int_equal(too_slow.status, 408);
    running_stop(&run);
}

static void test_keys_and_limits_go_first(void **state)
{
    (void)state;
    struct running run;
    const struct str keys[] = {STR_INIT("key")};
    running_start(&run, &(struct server_limits){.parked_max = 1},
                  &(struct listener_config){.keys = keys, .key_count = 1});
    autoanswer a = client_ask(&run, POST("/body-small", "Content-Length: 5\r\n", "hello"));
    assert_int_equal(a.status, 401);
    autofd int first = client_open(&run);
    send_head(first, "", 10);
    client_send(first, STR("01234"));
    await_count(&run.fixture.body_bytes, 5);
    autoanswer busy = client_ask(&run, POST("/body", "Content-Length: 5\r\n", "hello"));
    assert_int_equal(busy.status, 503);
    client_send(first, STR("56789"));
    autobuf in = {0};
    autoanswer done = client_answer(first, &in);
    assert_contains(done.body, "bytes: 10");
    running_stop(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_add_up_and_the_connection_goes_on),
        cmocka_unit_test(test_a_stalled_reader_stops_the_client),
        cmocka_unit_test(test_a_client_that_leaves_is_told),
        cmocka_unit_test(test_broken_bodies),
        cmocka_unit_test(test_an_early_answer),
        cmocka_unit_test(test_expect_continue_waits_for_the_handler),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_keys_and_limits_go_first),
    };
    return cmocka_run_group_tests(tests, group_start, group_stop);
}
