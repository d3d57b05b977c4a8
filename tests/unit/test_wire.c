/* Frames and fields: what is built is read back, however it arrives, and nothing else is accepted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "wire/wire.h"

static void start(struct wire_reader *r)
{
    *r = (struct wire_reader){0};
    wire_reader_feed(r, str_make(WIRE_MAGIC, WIRE_MAGIC_LEN));
}

/* A hand is a stranger: a status that is none of ours must not become one by being cut. */
static void a_strange_status_is_none(void **state)
{
    static const int64_t strange[] = {WIRE_STATUSES, -1, (int64_t)1 << 32, INT64_MIN};
    (void)state;
    assert_int_equal(wire_get_status(STR("")), WIRE_STATUSES);
    for (size_t i = 0; i < ARRAY_LEN(strange); i++) {
        autobuf b = {0};
        wire_add_int(&b, F_STATUS, strange[i]);
        assert_int_equal(wire_get_status(buf_str(&b)), WIRE_STATUSES);
    }
    autobuf b = {0};
    wire_add_int(&b, F_STATUS, WIRE_EXISTS);
    assert_int_equal(wire_get_status(buf_str(&b)), WIRE_EXISTS);
}

static void fields_are_read_back(void **state)
{
    (void)state;
    autobuf b = {0};
    wire_add_str(&b, F_PATH, STR("a/b"));
    wire_add_int(&b, F_SIZE, -5);
    wire_add_int(&b, F_SIZE, 6);
    wire_add_str(&b, (enum wire_field)60000, STR("from the future"));
    wire_add_str(&b, F_TEXT, STR(""));
    wire_add_int(&b, F_LIMIT, INT64_MIN);
    struct str f = buf_str(&b);
    assert_true(wire_fields_valid(f));
    assert_true(str_is(wire_get_str(f, F_PATH), "a/b"));
    assert_int_equal(wire_get_int(f, F_SIZE, 0), -5); /* the first of a list */
    assert_int_equal(wire_get_int(f, F_LIMIT, 0), INT64_MIN);
    assert_true(wire_has(f, F_TEXT) && wire_get_str(f, F_TEXT).n == 0);
    assert_false(wire_has(f, F_NAME));
    assert_null(wire_get_str(f, F_NAME).p);
    assert_int_equal(wire_get_int(f, F_NAME, 9), 9);
    assert_int_equal(wire_get_int(f, F_PATH, 9), 9); /* not 8 bytes */
    struct wire_fields all = {f};
    enum wire_field tag;
    struct str value;
    size_t n = 0;
    while (wire_fields_next(&all, &tag, &value, NULL))
        n++;
    assert_int_equal(n, 6);
    assert_true(wire_fields_valid(STR_NONE));
}

static void cut_fields_are_an_error(void **state)
{
    (void)state;
    autobuf b = {0};
    wire_add_str(&b, F_PATH, STR("abc"));
    for (size_t n = 1; n < b.n; n++) {
        autoerr e = NULL;
        struct wire_fields f = {str_make(b.p, n)};
        enum wire_field tag;
        struct str value;
        assert_false(wire_fields_next(&f, &tag, &value, &e));
        assert_non_null(e);
        assert_false(wire_fields_valid(str_make(b.p, n)));
        assert_null(wire_get_str(str_make(b.p, n), F_PATH).p);
    }
    assert_false(wire_fields_valid(STR("\x01\x00\xff\xff\xff\xff")));
}

/* Every kind of frame, fed byte by byte. */
static void frames_survive_any_cutting(void **state)
{
    (void)state;
    autobuf b = {0}, hello = {0};
    wire_add_int(&hello, F_VERSION_MIN, 1);
    buf_add(&b, STR("login banner \x89handsd-hanx\r\n"));
    buf_add(&b, str_make(WIRE_MAGIC, WIRE_MAGIC_LEN));
    wire_add_message(&b, WIRE_HELLO, 0, buf_str(&hello));
    wire_add_message(&b, WIRE_CALL, 7, buf_str(&hello));
    wire_add_data(&b, 7, WIRE_STDERR, STR("bytes"));
    wire_add_end(&b, 7, WIRE_STDOUT);
    wire_add_credit(&b, 7, WIRE_STDIN, 0xfedcba98);
    wire_add_control(&b, WIRE_CANCEL, 7);
    wire_add_message(&b, WIRE_NOTE, 7, STR_NONE);
    wire_add_message(&b, WIRE_RESULT, 0xffffffff, STR_NONE);
    wire_add_control(&b, WIRE_PING, 0);
    wire_add_control(&b, WIRE_PONG, 0);
    static const enum wire_type expected[] = {WIRE_HELLO,  WIRE_CALL, WIRE_DATA,   WIRE_END,  WIRE_CREDIT,
                                              WIRE_CANCEL, WIRE_NOTE, WIRE_RESULT, WIRE_PING, WIRE_PONG};
    for (size_t step = 1; step < 40; step += 6) {
        struct wire_reader r = {0};
        struct wire_frame f;
        autoerr e = NULL;
        size_t n = 0;
        for (size_t at = 0; at < b.n; at += step) {
            wire_reader_feed(&r, str_sub(buf_str(&b), at, at + step));
            while (wire_reader_next(&r, &f, &e)) {
                assert_true(n < ARRAY_LEN(expected));
                assert_int_equal(f.type, expected[n++]);
                if (f.type == WIRE_DATA)
                    assert_true(f.flags == WIRE_STDERR && f.call == 7 && str_is(f.payload, "bytes"));
                if (f.type == WIRE_CREDIT)
                    assert_true(wire_credit_bytes(&f) == 0xfedcba98);
                if (f.type == WIRE_RESULT)
                    assert_true(f.call == 0xffffffff);
            }
            assert_null(e);
        }
        assert_int_equal(n, ARRAY_LEN(expected));
        assert_int_equal(r.skipped, 29 - 2);
        wire_reader_deinit(&r);
    }
}

static void long_messages_are_split(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,     1, WIRE_PAYLOAD_MAX, WIRE_PAYLOAD_MAX + 1, 3 * WIRE_PAYLOAD_MAX,
                                   200001};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        autobuf text = {0}, out = {0}, back = {0};
        for (size_t k = 0; k < sizes[i]; k++)
            buf_add_char(&text, (char)(k * 31 >> 4));
        wire_add_message(&out, WIRE_CALL, 3, buf_str(&text));
        struct wire_reader r;
        struct wire_frame f;
        bool more = true;
        start(&r);
        wire_reader_feed(&r, buf_str(&out));
        while (wire_reader_next(&r, &f, NULL)) {
            assert_true(more);
            assert_true(f.payload.n <= WIRE_PAYLOAD_MAX);
            buf_add(&back, f.payload);
            more = f.flags & WIRE_MORE;
        }
        assert_false(more);
        assert_true(str_eq(buf_str(&back), buf_str(&text)));
        wire_reader_deinit(&r);
    }
}

static void what_is_too_large_is_refused_as_a_whole(void **state)
{
    (void)state;
    autobuf huge = {0}, fields = {0}, out = {0};
    memset(buf_reserve(&huge, WIRE_MESSAGE_MAX + 100), 'x', WIRE_MESSAGE_MAX + 100);
    huge.n = WIRE_MESSAGE_MAX + 100;
    wire_add_str(&fields, F_CWD, buf_str(&huge));
    wire_add_str(&fields, F_PATH, STR("a"));
    assert_true(wire_fields_valid(buf_str(&fields)));
    assert_false(wire_add_message(&out, WIRE_CALL, 1, buf_str(&fields)));
    assert_false(wire_add_message(&out, WIRE_NOTE, 1, str_make(huge.p, WIRE_PAYLOAD_MAX + 1)));
    assert_int_equal(out.n, 0);
    assert_true(wire_add_message(&out, WIRE_CALL, 1, str_make(huge.p, WIRE_MESSAGE_MAX)));
    assert_true(out.n > WIRE_MESSAGE_MAX);
}

static void the_banner_is_bounded(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        struct wire_reader r = {0};
        struct wire_frame f;
        autoerr e = NULL;
        autobuf banner = {0};
        while (banner.n < WIRE_BANNER_MAX + (size_t)over)
            buf_add_char(&banner, '\x89');
        wire_reader_feed(&r, buf_str(&banner));
        wire_reader_next(&r, &f, &e);
        assert_null(e);
        wire_reader_feed(&r, str_make(WIRE_MAGIC, WIRE_MAGIC_LEN));
        assert_false(wire_reader_next(&r, &f, &e));
        assert_int_equal(e != NULL, over);
        assert_int_equal(r.synced, !over);
        wire_reader_deinit(&r);
    }
    /* An endless one is not collected. */
    struct wire_reader r = {0};
    struct wire_frame f;
    autoerr e = NULL;
    char chunk[1000] = {0};
    for (int i = 0; i < 1000 && !e; i++) {
        wire_reader_feed(&r, str_make(chunk, sizeof(chunk)));
        wire_reader_next(&r, &f, &e);
        assert_true(r.in.n < 10000);
    }
    assert_non_null(e);
    wire_reader_deinit(&r);
}

static void malformed_frames_are_errors(void **state)
{
    (void)state;
    static const struct str bad[] = {
        STR_INIT("\x07\x00\x00\x00"),                                   /* shorter than a header */
        STR_INIT("\x01\x00\x01\x00"),                                   /* longer than allowed */
        STR_INIT("\x08\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00"),   /* type 0 */
        STR_INIT("\x08\x00\x00\x00\x0b\x00\x00\x00\x01\x00\x00\x00"),   /* type 11 */
        STR_INIT("\x08\x00\x00\x00\x09\x00\x01\x00\x00\x00\x00\x00"),   /* not zero */
        STR_INIT("\x08\x00\x00\x00\x02\x01\x00\x00\x01\x00\x00\x00"),   /* CALL with an unknown flag */
        STR_INIT("\x08\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00"),   /* CALL 0 */
        STR_INIT("\x08\x00\x00\x00\x01\x80\x00\x00\x00\x00\x00\x00"),   /* HELLO in pieces */
        STR_INIT("\x08\x00\x00\x00\x04\x03\x00\x00\x01\x00\x00\x00"),   /* stream 3 */
        STR_INIT("\x09\x00\x00\x00\x05\x00\x00\x00\x01\x00\x00\x00x"),  /* END with a payload */
        STR_INIT("\x0a\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x00xx"), /* CREDIT of two bytes */
        STR_INIT("\x08\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00"),   /* CANCEL of nothing */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct wire_reader r;
        struct wire_frame f;
        autoerr e = NULL;
        start(&r);
        wire_reader_feed(&r, bad[i]);
        assert_false(wire_reader_next(&r, &f, &e));
        assert_non_null(e);
        assert_int_equal(e->kind, ERR_INVALID);
        wire_reader_deinit(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_read_back),    cmocka_unit_test(a_strange_status_is_none),
        cmocka_unit_test(cut_fields_are_an_error), cmocka_unit_test(frames_survive_any_cutting),
        cmocka_unit_test(long_messages_are_split), cmocka_unit_test(what_is_too_large_is_refused_as_a_whole),
        cmocka_unit_test(the_banner_is_bounded),   cmocka_unit_test(malformed_frames_are_errors),
    };
    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
