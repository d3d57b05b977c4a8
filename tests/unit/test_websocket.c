/* WebSocket frames by themselves, and sockets of the server over real connections. */
#include "net_client.h"
#include "net/websocket.h"

/* ---- frames ---- */

static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};

static void frame_add(struct buf *out, unsigned first, struct str payload)
{
    buf_add_char(out, (char)first);
    if (payload.n < 126) {
        buf_add_char(out, (char)(0x80 | payload.n));
    } else if (payload.n < 65536) {
        buf_add_char(out, (char)(0x80 | 126));
        buf_add_char(out, (char)(payload.n >> 8));
        buf_add_char(out, (char)payload.n);
    } else {
        buf_add_char(out, (char)(0x80 | 127));
        for (int shift = 56; shift >= 0; shift -= 8)
            buf_add_char(out, (char)(payload.n >> shift));
    }
    buf_add_bytes(out, mask, 4);
    for (size_t i = 0; i < payload.n; i++)
        buf_add_char(out, (char)(payload.p[i] ^ (char)mask[i & 3]));
}

#define FIN 0x80u

/* Reads `bytes` in pieces of `step` and writes what happened: "text(abc) ping() close(1000,bye) error(1002)". */
static void events_write(struct str bytes, size_t step, size_t max, struct buf *out)
{
    static const char *const names[] = {
        [WS_EVENT_MESSAGE] = "text", [WS_EVENT_PING] = "ping",   [WS_EVENT_PONG] = "pong",
        [WS_EVENT_CLOSE] = "close",  [WS_EVENT_ERROR] = "error", [WS_EVENT_MORE] = "",
    };
    struct ws_reader reader;
    ws_reader_init(&reader, max);
    autofree char *copy = str_dup(bytes);
    bool ended = false;
    for (size_t at = 0; at < bytes.n && !ended; at += step) {
        size_t n = bytes.n - at < step ? bytes.n - at : step, used = 0;
        struct ws_event event;
        do {
            used += ws_read(&reader, copy + at + used, n - used, &event);
            assert_true(used <= n);
            if (event.kind == WS_EVENT_MORE)
                break;
            buf_addf(out, "%s(", names[event.kind]);
            if (event.code)
                buf_addf(out, "%d%s", event.code, event.payload.n ? "," : "");
            buf_add(out, event.payload);
            buf_add_cstr(out, ") ");
            ended = event.kind == WS_EVENT_ERROR;
        } while (!ended);
        if (event.kind == WS_EVENT_MORE)
            assert_int_equal(used, n);
    }
    ws_reader_deinit(&reader);
    buf_add_char(out, '\0');
}

static void assert_events(const struct buf *bytes, size_t max, const char *expected)
{
    static const size_t steps[] = {1, 2, 3, 7, 100000};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        autobuf out = {0};
        events_write(buf_str(bytes), steps[i], max, &out);
        assert_string_equal(out.p, expected);
    }
}

static void test_whole_and_fragmented_messages(void **state)
{
    (void)state;
    autobuf b = {0};
    frame_add(&b, FIN | WS_TEXT, STR("hello"));
    frame_add(&b, FIN | WS_TEXT, STR(""));
    frame_add(&b, WS_TEXT, STR("a"));
    frame_add(&b, FIN | WS_PING, STR("p"));
    frame_add(&b, WS_CONTINUATION, STR(""));
    frame_add(&b, WS_CONTINUATION, STR("b\xc3")); /* a character across fragments */
    frame_add(&b, FIN | WS_CONTINUATION, STR("\xa4"));
    frame_add(&b, FIN | WS_BINARY, STR("bin"));
    frame_add(&b, FIN | WS_PONG, STR(""));
    frame_add(&b, FIN | WS_CLOSE,
              STR("\x03\xe8"
                  "bye"));
    assert_events(&b, 100, "text(hello) text() ping(p) text(ab\xc3\xa4) text(bin) pong() close(1000,bye) ");
}

static void test_long_messages(void **state)
{
    (void)state;
    static const size_t lengths[] = {125, 126, 65535, 65536, 200000};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        autobuf payload = {0}, frame = {0}, expected = {0};
        memset(buf_reserve(&payload, lengths[i]), 'x', lengths[i]);
        payload.n += lengths[i];
        frame_add(&frame, FIN | WS_TEXT, buf_str(&payload));
        buf_addf(&expected, "text(%s) ", payload.p);
        assert_events(&frame, lengths[i], expected.p);
        assert_events(&frame, lengths[i] - 1, "error(1009) ");
    }
}

static void test_bad_frames(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        struct str bytes;
        const char *expected;
    } cases[] = {
        {"unmasked", STR_INIT("\x81\x05hello"), "error(1002) "},
        {"reserved bit (compression)", STR_INIT("\xc1\x80\0\0\0\0"), "error(1002) "},
        {"reserved opcode", STR_INIT("\x83\x80\0\0\0\0"), "error(1002) "},
        {"reserved control opcode", STR_INIT("\x8b\x80\0\0\0\0"), "error(1002) "},
        {"fragmented ping", STR_INIT("\x09\x80\0\0\0\0"), "error(1002) "},
        {"ping of 126 bytes", STR_INIT("\x89\xfe\0\x7e\0\0\0\0"), "error(1002) "},
        {"continuation of nothing", STR_INIT("\x80\x80\0\0\0\0"), "error(1002) "},
        {"text inside a fragmented text", STR_INIT("\x01\x80\0\0\0\0\x81\x80\0\0\0\0"), "error(1002) "},
        {"16-bit length for 5 bytes", STR_INIT("\x81\xfe\0\x05\0\0\0\0"), "error(1002) "},
        {"64-bit length for 126 bytes", STR_INIT("\x81\xff\0\0\0\0\0\0\0\x7e\0\0\0\0"), "error(1002) "},
        {"length with the top bit", STR_INIT("\x81\xff\x80\0\0\0\0\0\0\0\0\0\0\0"), "error(1002) "},
        {"length of 2^62", STR_INIT("\x81\xff\x40\0\0\0\0\0\0\0\0\0\0\0"), "error(1009) "},
        {"not UTF-8", STR_INIT("\x81\x81\0\0\0\0\xff"), "error(1007) "},
        {"cut character", STR_INIT("\x81\x81\0\0\0\0\xc3"), "error(1007) "},
        {"surrogate", STR_INIT("\x81\x83\0\0\0\0\xed\xa0\x80"), "error(1007) "},
        {"not UTF-8 in the first fragment", STR_INIT("\x01\x81\0\0\0\0\xff"), "error(1007) "},
        {"close of one byte", STR_INIT("\x88\x81\0\0\0\0\x03"), "error(1002) "},
        {"close with 1005", STR_INIT("\x88\x82\0\0\0\0\x03\xed"), "error(1002) "},
        {"close with 999", STR_INIT("\x88\x82\0\0\0\0\x03\xe7"), "error(1002) "},
        {"close with 65535", STR_INIT("\x88\x82\0\0\0\0\xff\xff"), "error(1002) "},
        {"close with a bad reason", STR_INIT("\x88\x83\0\0\0\0\x03\xe8\xff"), "error(1007) "},
        {"close without code", STR_INIT("\x88\x80\0\0\0\0"), "close(1005) "},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autobuf b = {0};
        buf_add(&b, cases[i].bytes);
        for (size_t step = 1; step < 20; step++) {
            autobuf out = {0};
            events_write(buf_str(&b), step, 1000, &out);
            if (strcmp(out.p, cases[i].expected) != 0)
                fail_msg("%s: %s", cases[i].why, out.p);
        }
    }
}

static void test_too_large_in_fragments(void **state)
{
    (void)state;
    autobuf b = {0};
    for (int i = 0; i < 3; i++)
        frame_add(&b, i == 0 ? WS_TEXT : WS_CONTINUATION, STR("1234567890"));
    assert_events(&b, 25, "error(1009) ");
}

static void test_headers_that_we_write(void **state)
{
    (void)state;
    uint8_t h[WS_HEADER_MAX];
    assert_int_equal(ws_header_write(h, WS_TEXT, 125), 2);
    assert_memory_equal(h, "\x81\x7d", 2);
    assert_int_equal(ws_header_write(h, WS_TEXT, 126), 4);
    assert_memory_equal(h, "\x81\x7e\x00\x7e", 4);
    assert_int_equal(ws_header_write(h, WS_TEXT, 65535), 4);
    assert_int_equal(ws_header_write(h, WS_CLOSE, 65536), 10);
    assert_memory_equal(h, "\x88\x7f\0\0\0\0\0\1\0\0", 10);
    autobuf accept = {0};
    assert_true(ws_accept_write(&accept, STR("dGhlIHNhbXBsZSBub25jZQ==")));
    assert_string_equal(accept.p, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_false(ws_accept_write(&accept, STR("dGhlIHNhbXBsZSBub25jZQ=")));
    assert_false(ws_accept_write(&accept, STR("dGhlIHNhbXBsZSBub25j!!==")));
    assert_false(ws_accept_write(&accept, STR("")));
}

/* ---- sockets of the server ---- */

#define UPGRADE                                                                              \
    "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static int socket_open(const struct running *run, struct buf *in)
{
    int fd = client_open(run);
    client_send(fd, STR(GET_WITH("/socket", UPGRADE "Sec-WebSocket-Extensions: permessage-deflate\r\n")));
    autoanswer a = client_answer(fd, in);
    assert_int_equal(a.status, 101);
    assert_contains(a.head, "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
    assert_null(strcasestr(a.head, "extensions")); /* compression is declined */
    return fd;
}

/* Takes one frame from the server: its first byte, with the payload in `out`; -1 at the end. */
static int frame_take(int fd, struct buf *in, struct buf *out)
{
    size_t header = 2, n = 0;
    for (;;) {
        if (in->n >= 2) {
            unsigned length = (uint8_t)in->p[1];
            assert_true(length < 128); /* never masked */
            size_t bytes = length == 126 ? 2 : length == 127 ? 8 : 0;
            header = 2 + bytes;
            n = bytes ? 0 : length;
            if (in->n >= header) {
                for (size_t i = 0; i < bytes; i++)
                    n = n << 8 | (uint8_t)in->p[2 + i];
                if (in->n >= header + n)
                    break;
            }
        }
        if (!client_more(fd, in))
            return -1;
    }
    int first = (uint8_t)in->p[0];
    buf_clear(out);
    buf_add(out, str_make(in->p + header, n));
    buf_consume(in, header + n);
    return first;
}

static void assert_frame(int fd, struct buf *in, unsigned first, struct str payload)
{
    autobuf got = {0};
    assert_int_equal(frame_take(fd, in, &got), (int)first);
    assert_true(str_eq(buf_str(&got), payload));
}

static void send_frame(int fd, unsigned first, struct str payload)
{
    autobuf out = {0};
    frame_add(&out, first, payload);
    client_send(fd, buf_str(&out));
}

static void test_echo_ping_and_close(void **state)
{
    struct running *run = *state;
    autobuf in = {0};
    autofd int fd = socket_open(run, &in);
    send_frame(fd, FIN | WS_TEXT, STR("hello"));
    assert_frame(fd, &in, FIN | WS_TEXT, STR("hello"));
    send_frame(fd, WS_TEXT, STR("in "));
    send_frame(fd, FIN | WS_PING, STR("are you there"));
    assert_frame(fd, &in, FIN | WS_PONG, STR("are you there"));
    send_frame(fd, FIN | WS_CONTINUATION, STR("pieces"));
    assert_frame(fd, &in, FIN | WS_TEXT, STR("in pieces"));
    send_frame(fd, FIN | WS_CLOSE,
               STR("\x03\xe8"
                   "bye"));
    assert_frame(fd, &in, FIN | WS_CLOSE, STR("\x03\xe8"));
    assert_true(client_at_end(fd, &in));
}

static void test_frames_that_come_with_the_handshake(void **state)
{
    struct running *run = *state;
    autofd int fd = client_open(run);
    autobuf in = {0}, out = {0};
    buf_add_cstr(&out, GET("/public") GET_WITH("/socket", UPGRADE));
    frame_add(&out, FIN | WS_TEXT, STR("early"));
    frame_add(&out, FIN | WS_TEXT, STR("bird"));
    client_send(fd, buf_str(&out));
    autoanswer get = client_answer(fd, &in);
    assert_int_equal(get.body_n, 3000);
    autoanswer a = client_answer(fd, &in);
    assert_int_equal(a.status, 101);
    assert_frame(fd, &in, FIN | WS_TEXT, STR("early"));
    assert_frame(fd, &in, FIN | WS_TEXT, STR("bird"));
}

static void test_server_closes(void **state)
{
    struct running *run = *state;
    autobuf in = {0};
    autofd int fd = socket_open(run, &in);
    send_frame(fd, FIN | WS_TEXT, STR("close"));
    assert_frame(fd, &in, FIN | WS_CLOSE,
                 STR("\x0f\xa1"
                     "as asked"));
    send_frame(fd, FIN | WS_TEXT, STR("too late"));
    send_frame(fd, FIN | WS_CLOSE, STR("\x0f\xa1"));
    assert_true(client_at_end(fd, &in));
}

static void test_bad_frames_close_with_their_code(void **state)
{
    struct running *run = *state;
    static const struct {
        struct str bytes, code;
    } cases[] = {
        {STR_INIT("\x81\x05hello"), STR_INIT("\x03\xea")},
        {STR_INIT("\x81\x81\0\0\0\0\xff"), STR_INIT("\x03\xef")},
        {STR_INIT("\x81\xff\0\0\0\0\0\x10\0\x01\0\0\0\0"), STR_INIT("\x03\xf1")}, /* 1 MiB + 1 */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autobuf in = {0};
        autofd int fd = socket_open(run, &in);
        client_send(fd, cases[i].bytes);
        assert_frame(fd, &in, FIN | WS_CLOSE, cases[i].code);
        assert_true(client_at_end(fd, &in));
    }
}

static void test_handshakes_that_are_refused(void **state)
{
    struct running *run = *state;
    static const struct {
        const char *request;
        int status;
    } cases[] = {
        {GET_WITH("/socket", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n"
                             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
         426},
        {GET_WITH("/socket", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
         400},
        {GET_WITH("/socket", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Key: short\r\n"),
         400},
        {GET_WITH("/socket", UPGRADE "Origin: http://evil.example\r\n"), 403},
        {"GET /socket HTTP/1.1\r\nHost: rebound.example\r\n" UPGRADE "\r\n", 403},
        {GET_WITH("/socket", UPGRADE "Content-Length: 3\r\n") "abc", 404}, /* a body: no upgrade */
        {GET_WITH("/public", UPGRADE), 200},                               /* no socket's path: ignored */
        {GET_WITH("/nope", UPGRADE), 404},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autoanswer a = client_ask(run, cases[i].request);
        if (a.status != cases[i].status)
            fail_msg("%s: %d", cases[i].request, a.status);
    }
}

static void test_keys_are_the_handlers_business(void **state)
{
    (void)state;
    struct running run;
    const struct str keys[] = {STR_INIT("secret")};
    running_start(&run, NULL, &(struct listener_config){.keys = keys, .key_count = 1});
    autoanswer refused = client_ask(&run, GET_WITH("/socket?session_api_key=wrong", UPGRADE));
    assert_int_equal(refused.status, 403);
    autoanswer accepted = client_ask(&run, GET_WITH("/socket?session_api_key=secret", UPGRADE));
    assert_int_equal(accepted.status, 101);
    running_stop(&run);
}

/* More than the kernel takes: what was accepted arrives, whole and in order, and the rest was refused. */
static void test_a_slow_reader_is_bounded(void **state)
{
    struct running *run = *state;
    autobuf in = {0}, got = {0};
    autofd int fd = socket_open(run, &in);
    send_frame(fd, FIN | WS_TEXT, STR("flood 1000000"));
    send_frame(fd, FIN | WS_TEXT, STR("after"));
    size_t frames = 0;
    int first;
    while ((first = frame_take(fd, &in, &got)) == (int)(FIN | WS_TEXT) && got.n == 3000)
        frames++;
    assert_true(frames > 100 && frames <= 2 * 1024 * 1024 / 3000);
    /* The echo of "after" was refused too, unless the flood had left by then. */
    send_frame(fd, FIN | WS_TEXT, STR("still here"));
    if (got.n != 10)
        assert_frame(fd, &in, FIN | WS_TEXT, STR("still here"));
}

static void await_sockets_closed(struct running *run)
{
    bool equal;
    do {
        thread_lock(&run->fixture.lock);
        equal = run->fixture.sockets_open == run->fixture.sockets_closed;
        thread_unlock(&run->fixture.lock);
    } while (!equal);
}

static void test_on_close_comes_once_for_each(void **state)
{
    (void)state;
    struct running run;
    running_start(&run, NULL, NULL);
    for (int i = 0; i < 20; i++) {
        autobuf in = {0};
        autofd int fd = socket_open(&run, &in);
        if (i % 2)
            send_frame(fd, FIN | WS_CLOSE, STR("")); /* the others just vanish */
    }
    await_sockets_closed(&run);
    assert_int_equal(run.fixture.sockets_closed, 20);
    running_stop(&run);
}

static void no_drain_end(void *arg)
{
    struct running *run = arg;
    loop_stop(run->fixture.loop);
}

static void drain(void *arg)
{
    struct running *run = arg;
    server_drain(run->fixture.server, 10000, no_drain_end, run);
}

static void test_drain_closes_with_1001(void **state)
{
    (void)state;
    struct running run;
    running_start(&run, NULL, NULL);
    autobuf in = {0}, got = {0};
    autofd int fd = socket_open(&run, &in);
    on_loop(&run, drain, &run);
    assert_int_equal(frame_take(fd, &in, &got), (int)(FIN | WS_CLOSE));
    assert_true(str_starts(buf_str(&got), STR("\x03\xe9")));
    send_frame(fd, FIN | WS_CLOSE, STR("\x03\xe9"));
    assert_true(client_at_end(fd, &in));
    pthread_join(run.thread, NULL);
    assert_int_equal(run.fixture.sockets_closed, 1);
    fixture_end(&run.fixture);
}

static void use_dead_socket(void *arg)
{
    struct running *run = arg;
    struct server *s = run->fixture.server;
    uint64_t dead = run->fixture.last_socket;
    assert_false(socket_send(s, dead, bytes_new(STR("x"))));
    assert_false(socket_send(s, 0, bytes_new(STR("x"))));
    assert_false(socket_send(s, UINT64_MAX, bytes_new(STR("x"))));
    assert_int_equal(socket_pending(s, dead), 0);
    socket_close(s, dead, 1000, NULL);
}

static void test_calls_with_a_dead_socket_are_harmless(void **state)
{
    (void)state;
    struct running run;
    running_start(&run, NULL, NULL);
    {
        autobuf in = {0};
        autofd int fd = socket_open(&run, &in);
    }
    await_sockets_closed(&run);
    autoanswer a = client_ask(&run, GET("/public")); /* takes the slot */
    assert_int_equal(a.status, 200);
    on_loop(&run, use_dead_socket, &run);
    running_stop(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_and_fragmented_messages),
        cmocka_unit_test(test_long_messages),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_too_large_in_fragments),
        cmocka_unit_test(test_headers_that_we_write),
        cmocka_unit_test(test_echo_ping_and_close),
        cmocka_unit_test(test_frames_that_come_with_the_handshake),
        cmocka_unit_test(test_server_closes),
        cmocka_unit_test(test_bad_frames_close_with_their_code),
        cmocka_unit_test(test_handshakes_that_are_refused),
        cmocka_unit_test(test_keys_are_the_handlers_business),
        cmocka_unit_test(test_a_slow_reader_is_bounded),
        cmocka_unit_test(test_on_close_comes_once_for_each),
        cmocka_unit_test(test_drain_closes_with_1001),
        cmocka_unit_test(test_calls_with_a_dead_socket_are_harmless),
    };
    return cmocka_run_group_tests(tests, group_start, group_stop);
}
