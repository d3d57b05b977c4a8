/* clock: ISO text in a fixed zone (Europe/Berlin by rule, so that no zone files are needed). */
#include "base/clock.h"
#include "base/thread.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static const int64_t second = 1000000;

static int64_t parsed(const char *text)
{
    int64_t us = -1;
    if (!clock_parse(str_from(text), &us))
        fail_msg("not accepted: %s", text);
    return us;
}

static void check_utc(int64_t us, const char *expected)
{
    char out[CLOCK_TEXT_MAX];
    struct str text = clock_format_utc(us, out);
    assert_string_equal(out, expected);
    assert_int_equal(text.n, strlen(expected));
}

static void check_local(const char *utc, const char *expected)
{
    char out[CLOCK_TEXT_MAX];
    clock_format_local(parsed(utc), out);
    assert_string_equal(out, expected);
}

static void utc_text(void **state)
{
    (void)state;
    check_utc(0, "1970-01-01T00:00:00.000000Z");
    check_utc(-1, "1969-12-31T23:59:59.999999Z");
    check_utc(1787502894123456, "2026-08-23T16:34:54.123456Z");
    check_utc(951782400 * second, "2000-02-29T00:00:00.000000Z");
    check_utc(4107542399 * second, "2100-02-28T23:59:59.000000Z");
    check_utc(4107542400 * second, "2100-03-01T00:00:00.000000Z");
    /* Far away: the buffer holds every possible year. */
    char out[CLOCK_TEXT_MAX];
    assert_true(clock_format_utc(INT64_MAX, out).n < CLOCK_TEXT_MAX);
    assert_true(clock_format_utc(INT64_MIN, out).n < CLOCK_TEXT_MAX);
    assert_true(clock_format_local(INT64_MAX, out).n < CLOCK_TEXT_MAX);
}

static void utc_agrees_with_libc(void **state)
{
    (void)state;
    for (int64_t s = -70000000000; s < 250000000000; s += 86400 * 97 + 12345) {
        char ours[CLOCK_TEXT_MAX], theirs[64];
        time_t at = (time_t)s;
        struct tm tm;
        gmtime_r(&at, &tm);
        size_t n = strftime(theirs, sizeof(theirs), "-%m-%dT%H:%M:%S.000000Z", &tm);
        struct str text = clock_format_utc(s * second, ours);
        assert_true(text.n > n);
        assert_string_equal(text.p + text.n - n, theirs);
        assert_int_equal(strtol(ours, NULL, 10), tm.tm_year + 1900);
        if (tm.tm_year + 1900 >= 1 && tm.tm_year + 1900 <= 9999)
            assert_true(parsed(ours) == s * second);
    }
}

/* The offset is remembered per minute: across a change, forwards, backwards and back again, it must be right. */
static void local_text_across_changes(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        check_local("2026-03-29T00:59:59.999999Z", "2026-03-29T01:59:59.999999");
        check_local("2026-03-29T01:00:00Z", "2026-03-29T03:00:00.000000");
        check_local("2026-10-25T00:59:59Z", "2026-10-25T02:59:59.000000");
        check_local("2026-10-25T01:00:00Z", "2026-10-25T02:00:00.000000");
        check_local("2026-10-25T00:59:00Z", "2026-10-25T02:59:00.000000");
        check_local("1969-12-31T23:59:59.5Z", "1970-01-01T00:59:59.500000");
    }
}

static void parse_local(void **state)
{
    (void)state;
    assert_true(parsed("2026-07-01T12:00:00") == parsed("2026-07-01T10:00:00Z"));
    assert_true(parsed("2026-01-01 12:00") == parsed("2026-01-01T11:00:00Z"));
    assert_true(parsed("2026-07-01") == parsed("2026-06-30T22:00:00Z"));
    /* Twice there: the first. Never there: counted with the offset of before. Both as Python does. */
    assert_true(parsed("2026-10-25T02:30:00") == parsed("2026-10-25T00:30:00Z"));
    assert_true(parsed("2026-10-25T03:00:00") == parsed("2026-10-25T02:00:00Z"));
    assert_true(parsed("2026-10-25T01:59:59") == parsed("2026-10-24T23:59:59Z"));
    assert_true(parsed("2026-03-29T02:30:00") == parsed("2026-03-29T01:30:00Z"));
    assert_true(parsed("2026-03-29T01:59:59") == parsed("2026-03-29T00:59:59Z"));
    assert_true(parsed("2026-03-29T03:00:00") == parsed("2026-03-29T01:00:00Z"));
    /* What is written as local time is read back, twice-there hours aside. */
    for (int64_t us = 1767222000 * second; us < 1800000000 * second; us += 3571 * second) {
        char out[CLOCK_TEXT_MAX];
        clock_format_local(us, out);
        int64_t again = parsed(out);
        assert_true(again == us || again == us - 3600 * second);
    }
}

static void parse_zones(void **state)
{
    (void)state;
    int64_t noon = parsed("2026-08-22T12:00:00Z");
    static const char *const same[] = {"2026-08-22T12:00Z",         "2026-08-22 12:00:00.000z",
                                       "2026-08-22T14:00:00+02:00", "2026-08-22T14:00:00+02",
                                       "2026-08-22T14:00:00+0200",  "2026-08-22T06:30:00-05:30",
                                       "2026-08-23T11:59:00+23:59", "2026-08-22t12:00:00.0000009Z"};
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        assert_true(parsed(same[i]) == noon);
    assert_true(parsed("2026-08-22T12:00:00.5Z") == noon + 500000);
    assert_true(parsed("2026-08-22T12:00:00.123456789Z") == noon + 123456);
}

static void parse_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "2026",
                                      "2026-08",
                                      "2026-8-22",
                                      "2026-13-01",
                                      "2026-00-01",
                                      "2026-01-00",
                                      "2026-02-29",
                                      "2100-02-29",
                                      "2026-04-31",
                                      "0000-01-01",
                                      "2026-08-22T",
                                      "2026-08-22T12",
                                      "2026-08-22T24:00",
                                      "2026-08-22T12:60",
                                      "2026-08-22T12:00:60",
                                      "2026-08-22T12:00:00.",
                                      "2026-08-22T12:00:00.Z",
                                      "2026-08-22T12:00:00+",
                                      "2026-08-22T12:00:00+2",
                                      "2026-08-22T12:00:00+24:00",
                                      "2026-08-22T12:00:00+02:60",
                                      "2026-08-22T12:00:00+02:",
                                      "2026-08-22T12:00:00ZZ",
                                      "2026-08-22T12:00:00Z ",
                                      " 2026-08-22",
                                      "2026-08-22Z",
                                      "-026-08-22",
                                      "2026-08-22X12:00"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t us = 7;
        if (clock_parse(str_from(bad[i]), &us))
            fail_msg("accepted: %s", bad[i]);
        assert_true(us == 7);
    }
}

static void in_thread(void *arg)
{
    char *out = arg;
    clock_format_local(parsed("2026-07-01T00:00:00Z"), out);
}

static void threads_format_too(void **state)
{
    (void)state;
    char out[CLOCK_TEXT_MAX];
    pthread_t thread;
    assert_true(thread_start(&thread, "format", THREAD_STACK_BYTES, in_thread, out, NULL));
    pthread_join(thread, NULL);
    assert_string_equal(out, "2026-07-01T02:00:00.000000");
}

static void clocks_advance(void **state)
{
    (void)state;
    uint64_t before = clock_mono_ns();
    assert_true(clock_mono_ns() >= before);
    assert_true(clock_wall_us() > parsed("2020-01-01T00:00:00Z"));
}

int main(void)
{
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    clock_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utc_text),
        cmocka_unit_test(utc_agrees_with_libc),
        cmocka_unit_test(local_text_across_changes),
        cmocka_unit_test(parse_local),
        cmocka_unit_test(parse_zones),
        cmocka_unit_test(parse_refuses),
        cmocka_unit_test(threads_format_too),
        cmocka_unit_test(clocks_advance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
