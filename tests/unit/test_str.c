/* str and path: comparison, search, numbers, lexical file names. */
#include "base/path.h"
#include "base/str.h"
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define assert_str(actual, expected)                                          \
    do {                                                                      \
        struct str actual_ = (actual);                                        \
        assert_int_equal(actual_.n, strlen(expected));                        \
        assert_memory_equal(actual_.n ? actual_.p : "", expected, actual_.n); \
    } while (0)

static void compare(void **state)
{
    (void)state;
    assert_true(str_cmp(STR("a"), STR("b")) < 0);
    assert_true(str_cmp(STR("a"), STR("ab")) < 0);
    assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
    assert_int_equal(str_cmp(STR("ab"), STR("ab")), 0);
    assert_int_equal(str_cmp(STR_NONE, STR("")), 0);
    assert_true(str_eq_nocase(STR("Content-Length"), STR("content-LENGTH")));
    /* '@' and '`' differ by the bit that tells cases apart, but are no letters. */
    assert_false(str_eq_nocase(STR("@"), STR("`")));
    assert_false(str_eq_nocase(STR("\xc4"), STR("\xe4")));
    assert_true(str_eq_secret(STR("key"), STR("key")));
    assert_false(str_eq_secret(STR("key"), STR("kez")));
    assert_false(str_eq_secret(STR("key"), STR("ke")));
    assert_true(str_starts(STR("abc"), STR("")));
    assert_true(str_starts_nocase(STR("Bearer x"), STR("bearer ")));
    assert_false(str_starts(STR("a"), STR("abc")));
    assert_true(str_ends(STR("a.tar.gz"), STR(".gz")));
    assert_false(str_ends(STR("gz"), STR(".gz")));
}

static void search(void **state)
{
    (void)state;
    assert_int_equal(str_find(STR("abcabc"), STR("ca")), 2);
    assert_int_equal(str_find(STR("abc"), STR("")), 0);
    assert_int_equal(str_find(STR_NONE, STR("")), 0);
    assert_int_equal(str_find(STR("abc"), STR("abcd")), -1);
    assert_int_equal(str_find(str_make("a\0b", 3), str_make("\0b", 2)), 1);
    assert_int_equal(str_find_nocase(STR("The Quick"), STR("quick")), 4);
    assert_int_equal(str_find_nocase(STR("xx THE VERY LONG NEEDLE yy"), STR("the very long needle")), 3);
    assert_int_equal(str_find_nocase(STR("xx the very long needl"), STR("the very long needle")), -1);
    assert_int_equal(str_find_char(STR("a/b/c"), '/'), 1);
    assert_int_equal(str_rfind_char(STR("a/b/c"), '/'), 3);
    assert_int_equal(str_find_char(STR_NONE, '/'), -1);
    assert_str(str_sub(STR("hello"), 1, 3), "el");
    assert_str(str_sub(STR("hello"), 4, 100), "o");
    assert_str(str_sub(STR("hello"), 100, 2), "");
    assert_null(str_sub(STR_NONE, 0, 5).p);
    assert_str(str_trim(STR(" \t\r\n\v\f x y \n")), "x y");
    assert_str(str_trim(STR("  ")), "");
}

static void split(void **state)
{
    (void)state;
    struct str rest = STR("a,,b,"), part;
    static const char *const expected[] = {"a", "", "b", ""};
    for (size_t i = 0; i < 4; i++) {
        assert_true(str_split(&rest, ',', &part));
        assert_str(part, expected[i]);
    }
    assert_false(str_split(&rest, ',', &part));
    rest = STR(""); /* present and empty: one empty part */
    assert_true(str_split(&rest, ',', &part));
    assert_false(str_split(&rest, ',', &part));
}

static void integers(void **state)
{
    (void)state;
    int64_t i;
    uint64_t u;
    assert_true(str_to_i64(STR("-9223372036854775808"), &i));
    assert_true(i == INT64_MIN);
    assert_true(str_to_i64(STR("9223372036854775807"), &i));
    assert_true(i == INT64_MAX);
    assert_true(str_to_u64(STR("18446744073709551615"), &u));
    assert_true(u == UINT64_MAX);
    static const char *const bad_i64[] = {
        "",    "-",   "+1",      " 1", "1 ", "0x1", "9223372036854775808", "-9223372036854775809",
        "--1", "1.0", "\xd9\xa1"};
    for (size_t k = 0; k < sizeof(bad_i64) / sizeof(bad_i64[0]); k++)
        assert_false(str_to_i64(str_from(bad_i64[k]), &i));
    assert_false(str_to_u64(STR("18446744073709551616"), &u));
    assert_false(str_to_u64(STR("99999999999999999999999"), &u));
    assert_false(str_to_u64(STR("-0"), &u));
    assert_false(str_to_u64(str_make("1\0", 2), &u));
}

static void floats(void **state)
{
    (void)state;
    double v;
    assert_true(str_to_f64(STR("-1.5e3"), &v));
    assert_true(v == -1500);
    assert_true(str_to_f64(STR(".5"), &v) && v == 0.5);
    assert_true(str_to_f64(STR("5."), &v) && v == 5);
    assert_true(str_to_f64(STR("1e-400"), &v) && v == 0);
    static const char *const bad[] = {"",   ".",   "-",     "nan", "inf", "-inf", "0x1p3",
                                      "1e", "1e+", "1e400", " 1",  "1 ",  "1,5",  "+1"};
    for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
        assert_false(str_to_f64(str_from(bad[k]), &v));
    assert_false(str_to_f64(str_make("1\0", 2), &v));
    char *digits = malloc(5000); /* longer than the limit: refused, not cut */
    memset(digits, '1', 5000);
    assert_false(str_to_f64(str_make(digits, 5000), &v));
    free(digits);
}

static void hash(void **state)
{
    (void)state;
    assert_true(str_hash(STR("a")) == str_hash(STR("a")));
    assert_true(str_hash(STR("a")) != str_hash(STR("b")));
    /* Lengths count: no two of these are the same key. */
    assert_true(str_hash(str_make("\0", 1)) != str_hash(str_make("\0\0", 2)));
    assert_true(str_hash(STR("12345678")) != str_hash(str_make("12345678\0", 9)));
}

static void check_normal(const char *path, const char *expected)
{
    autobuf out = {0};
    path_normalize(&out, str_from(path));
    assert_string_equal(out.p, expected);
}

static void path_forms(void **state)
{
    (void)state;
    check_normal("/a/./b//c/", "/a/b/c");
    check_normal("/../../etc/passwd", "/etc/passwd");
    check_normal("/a/b/../../..", "/");
    check_normal("a/../..", "..");
    check_normal("a/../../b", "../b");
    check_normal("../../x/..", "../..");
    check_normal("", ".");
    check_normal("./", ".");
    check_normal("a/..", ".");
    check_normal("//", "/");
    check_normal("/...", "/...");

    autobuf joined = {0};
    buf_add(&joined, STR("keep "));
    path_join(&joined, STR("/a"), STR("b"));
    assert_string_equal(joined.p, "keep /a/b");
    path_normalize(&joined, STR("../x"));
    assert_string_equal(joined.p, "keep /a/b../x");
    buf_clear(&joined);
    path_join(&joined, STR("/a/"), STR("/b"));
    assert_string_equal(joined.p, "/b");
    buf_clear(&joined);
    path_join(&joined, STR(""), STR("b"));
    assert_string_equal(joined.p, "b");
}

static void path_parts(void **state)
{
    (void)state;
    assert_str(path_base(STR("/a/b")), "b");
    assert_str(path_base(STR("/a/b/")), "b");
    assert_str(path_base(STR("/")), "");
    assert_str(path_base(STR("b")), "b");
    assert_str(path_dir(STR("/a/b")), "/a");
    assert_str(path_dir(STR("/a")), "/");
    assert_str(path_dir(STR("/")), "/");
    assert_str(path_dir(STR("a")), ".");
    assert_str(path_dir(STR("a//b/")), "a");
    assert_str(path_extension(STR("/x.y/a.tar.gz")), ".gz");
    assert_str(path_extension(STR("/x.y/name")), "");
    assert_str(path_extension(STR(".bashrc")), "");
    assert_str(path_extension(STR(".a.txt")), ".txt");
    assert_str(path_extension(STR("name.")), "");
    assert_true(path_is_beneath(STR("/w"), STR("/w")));
    assert_true(path_is_beneath(STR("/w"), STR("/w/x")));
    assert_true(path_is_beneath(STR("/w/"), STR("/w/x")));
    assert_true(path_is_beneath(STR("/"), STR("/x")));
    assert_true(path_is_beneath(STR("/"), STR("/")));
    assert_false(path_is_beneath(STR("/w"), STR("/work")));
    assert_false(path_is_beneath(STR("/w/x"), STR("/w")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compare),    cmocka_unit_test(search),     cmocka_unit_test(split),
        cmocka_unit_test(integers),   cmocka_unit_test(floats),     cmocka_unit_test(hash),
        cmocka_unit_test(path_forms), cmocka_unit_test(path_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
