/* What the command line prints: cleaning, measuring and wrapping of text, and the lines of a change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "cli/cells.h"
#include "cli/diff.h"
#include "cli/options.h"
#include "cli/text.h"

static void assert_cleaned(const char *raw, const char *wanted)
{
    struct buf out = {0};
    text_add(&out, str_from(raw));
    assert_string_equal(buf_str(&out).p, wanted);
    buf_deinit(&out);
}

static void test_cleaning(void **state)
{
    (void)state;
    assert_cleaned("plain \xc3\xa4", "plain \xc3\xa4");
    assert_cleaned("\033[2J\a\x7f", "^[[2J^G^?");
    assert_cleaned("a\r\nb\rc", "a\nb\nc");
    assert_cleaned("\tx\ta", "        x       a");
    assert_cleaned("\xc2\x9b"
                   "31m",
                   "\xef\xbf\xbd"
                   "31m"); /* CSI in its two-byte form */
    assert_cleaned("a\xe2\x80\xae"
                   "b",
                   "a\xef\xbf\xbd"
                   "b");                              /* right-to-left override */
    assert_cleaned("\002b \xff", "^Bb \xef\xbf\xbd"); /* a mark, and no UTF-8 */
}

static void test_cells(void **state)
{
    (void)state;
    assert_int_equal(cells_count(STR("abc")), 3);
    assert_int_equal(cells_count(STR("\xe6\x97\xa5\xe6\x9c\xac")), 4); /* two kanji */
    assert_int_equal(cells_count(STR("e\xcc\x81")), 1);                /* a combining accent */
    assert_int_equal(cells_count(STR("\xf0\x9f\x8e\x89")), 2);         /* an emoji */
    assert_int_equal(cells_count(STR("\xe2\x80\xa6\xe2\x94\x82")), 2); /* ellipsis, line */
}

static void assert_wrapped(const char *raw, size_t cells, bool words, const char *wanted)
{
    struct buf out = {0};
    struct str rest = str_from(raw), line;
    bool more;
    do {
        more = text_take_line(&rest, cells, words, &line);
        buf_add(&out, line);
        buf_add_char(&out, '|');
    } while (more);
    assert_string_equal(out.p, wanted);
    buf_deinit(&out);
}

static void test_wrapping(void **state)
{
    (void)state;
    assert_wrapped("one two three", 7, true, "one two|three|");
    assert_wrapped("one two three", 7, false, "one two| three|");
    assert_wrapped("unbreakable", 4, true, "unbr|eaka|ble|");
    assert_wrapped("  indented text", 10, true, "  indented|text|");
    assert_wrapped("a\n\nb", 9, true, "a||b|");
    assert_wrapped("", 5, true, "|");
    assert_wrapped("exact", 5, true, "exact|");
    assert_wrapped("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", 5, true, "\xe6\x97\xa5\xe6\x9c\xac|\xe8\xaa\x9e|");
    assert_wrapped("\xe6\x97\xa5\xe6\x9c\xac", 1, true, "\xe6\x97\xa5|\xe6\x9c\xac|");
    assert_wrapped("\002bbold\002a", 4, true, "\002bbold\002a|"); /* marks take no room */
}

static void test_cutting(void **state)
{
    (void)state;
    struct buf line = {0};
    buf_add_cstr(&line, "a long line");
    text_cut(&line, 20, "...");
    assert_string_equal(line.p, "a long line");
    text_cut(&line, 6, "...");
    assert_string_equal(line.p, "a l...\002a");
    assert_int_equal(text_cells(buf_str(&line)), 6);
    buf_clear(&line);
    text_add_first_line(&line, STR("  first\nsecond"), 20, "...");
    assert_string_equal(line.p, "first...");
    buf_deinit(&line);
}

static void assert_diff(const char *before, const char *after, const char *wanted)
{
    struct diff d = {0};
    struct buf out = {0};
    diff_make(&d, str_from(before), str_from(after), 1);
    for (size_t i = 0; i < d.lines.n; i++)
        buf_addf(&out, "%zu%c%.*s;", d.lines.at[i].number, " -+"[d.lines.at[i].kind],
                 STR_ARG(d.lines.at[i].text));
    assert_string_equal(buf_str(&out).p, wanted);
    buf_deinit(&out);
    diff_deinit(&d);
}

static void test_diff(void **state)
{
    (void)state;
    assert_diff("a\nb\n", "a\nb\n", "");
    assert_diff("", "a\nb\n", "1+a;2+b;");
    assert_diff("a\n", "", "1-a;");
    assert_diff("a\nb\nc\nd\n", "a\nb\nX\nd\n", "2 b;3-c;3+X;4 d;");
    assert_diff("1\n2\n3\n4\n5\n6\n7\n", "X\n2\n3\n4\n5\n6\nY\n", "1-1;1+X;2 2;6 6;7-7;7+Y;");
    assert_diff("a\nb", "a\nb\nc", "2 b;3+c;");
}

static void test_a_large_change_is_bounded(void **state)
{
    (void)state;
    struct buf before = {0}, after = {0};
    struct diff d = {0};
    for (int i = 0; i < 20000; i++) {
        buf_addf(&before, "old %d\n", i);
        buf_addf(&after, "new %d\n", i);
    }
    diff_make(&d, buf_str(&before), buf_str(&after), 2);
    assert_int_equal(d.added, 20000);
    assert_int_equal(d.removed, 20000);
    diff_deinit(&d);
    buf_deinit(&before);
    buf_deinit(&after);
}

static void test_words_that_look_alike(void **state)
{
    (void)state;
    assert_int_equal(options_distance(STR("serve"), STR("serve")), 0);
    assert_int_equal(options_distance(STR("srve"), STR("serve")), 1);
    assert_int_equal(options_distance(STR("modle"), STR("model")), 1);
    assert_int_equal(options_distance(STR(""), STR("run")), 3);
    assert_true(options_distance(STR("a-word-that-is-much-too-long-to-be-compared"), STR("run")) > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cleaning),
        cmocka_unit_test(test_cells),
        cmocka_unit_test(test_wrapping),
        cmocka_unit_test(test_cutting),
        cmocka_unit_test(test_diff),
        cmocka_unit_test(test_a_large_change_is_bounded),
        cmocka_unit_test(test_words_that_look_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
