/* sse: the same events whatever the pieces, the line ends and the server's manners. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "net/sse.h"

struct log {
    struct buf text; /* "event|data;" per event */
    size_t stop_after;
    size_t n;
};

static bool on_event(void *arg, struct str event, struct str data)
{
    struct log *log = arg;
    buf_addf(&log->text, "%.*s|%.*s;", STR_ARG(event), STR_ARG(data));
    return ++log->n != log->stop_after;
}

/* Feeds `input` in pieces of `piece` bytes and compares what came. */
static void expect_pieces(struct str input, const char *events, size_t piece)
{
    struct sse s = {.data_max = 1000};
    struct log log = {0};
    struct err *e = NULL;
    for (size_t at = 0; at < input.n; at += piece)
        assert_true(sse_feed(&s, str_sub(input, at, at + piece), on_event, &log, &e));
    assert_true(sse_end(&s, on_event, &log, &e));
    buf_add_char(&log.text, 0);
    assert_string_equal(log.text.p, events);
    buf_deinit(&log.text);
    sse_deinit(&s);
}

static void expect(struct str input, const char *events)
{
    for (size_t piece = 1; piece <= input.n; piece++)
        expect_pieces(input, events, piece);
}

static void test_events(void **state)
{
    (void)state;
    expect(STR("data: one\n\ndata: two\n\n"), "|one;|two;");
    expect(STR("event: tick\ndata: a\ndata:b\ndata\n\n"), "tick|a\nb\n;");
    expect(STR("data:  two spaces\nid: 7\nretry: 10\nunknown: x\n\n"), "| two spaces;");
    expect(STR(": comment\n\n:\n\ndata: x\n\n"), "|x;");
    expect(STR("event: lonely\n\ndata: x\n\n"), "|x;");
    expect(STR("data:\n\n"), "|;");
}

static void test_line_ends(void **state)
{
    (void)state;
    expect(STR("data: one\r\n\r\ndata: two\r\n\r\n"), "|one;|two;");
    expect(STR("data: one\r\rdata: two\r\r"), "|one;|two;");
    expect(STR("data: one\r\n\ndata: two\n\r\n"), "|one;|two;");
}

static void test_end_without_blank_line(void **state)
{
    (void)state;
    expect(STR("data: one\n\ndata: [DONE]"), "|one;|[DONE];");
    expect(STR("data: one\n"), "|one;");
}

static void test_byte_order_mark(void **state)
{
    (void)state;
    expect(STR("\xEF\xBB\xBF"
               "data: one\n\n"),
           "|one;");
}

static void test_limit(void **state)
{
    (void)state;
    static const char *const inputs[] = {"data: 0123456789abcdef", "data: 012345678\ndata: 012345678\n\n",
                                         ": 01234567890123456789"};
    for (size_t i = 0; i < 3; i++) {
        struct sse s = {.data_max = 10};
        struct log log = {0};
        struct err *e = NULL;
        assert_false(sse_feed(&s, str_from(inputs[i]), on_event, &log, &e));
        assert_int_equal(e->kind, ERR_TOO_LARGE);
        assert_int_equal(log.n, 0);
        err_free(e);
        sse_deinit(&s);
    }
}

static void test_receiver_stops(void **state)
{
    (void)state;
    struct sse s = {.data_max = 100};
    struct log log = {.stop_after = 2};
    struct err *e = NULL;
    assert_false(sse_feed(&s, STR("data: 1\n\ndata: 2\n\ndata: 3\n\n"), on_event, &log, &e));
    assert_null(e);
    assert_int_equal(log.n, 2);
    buf_deinit(&log.text);
    sse_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),          cmocka_unit_test(test_line_ends),
        cmocka_unit_test(test_byte_order_mark), cmocka_unit_test(test_end_without_blank_line),
        cmocka_unit_test(test_limit),           cmocka_unit_test(test_receiver_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
