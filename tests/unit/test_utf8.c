/* utf8, base64 and hex. */
#include "base/base64.h"
#include "base/utf8.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct str good[] = {
    STR_INIT(""),
    STR_INIT("plain ascii, longer than a word"),
    STR_INIT("\xc2\x80"),
    STR_INIT("\xdf\xbf"),
    STR_INIT("\xe0\xa0\x80"),
    STR_INIT("\xed\x9f\xbf"),
    STR_INIT("\xee\x80\x80"),
    STR_INIT("\xef\xbf\xbf"),
    STR_INIT("\xf0\x90\x80\x80"),
    STR_INIT("\xf4\x8f\xbf\xbf"),
    STR_INIT("a\0b"),
    STR_INIT("12345678\xc3\xa4"
             "1234567\xf0\x9f\x98\x80"),
};
/* With the text in which each bad sequence is replaced. */
static const struct {
    struct str text;
    const char *scrubbed;
} bad[] = {
    {STR_INIT("\x80"), "\xef\xbf\xbd"},
    {STR_INIT("a\xc3"), "a\xef\xbf\xbd"},
    {STR_INIT("\xc0\xaf"), "\xef\xbf\xbd\xef\xbf\xbd"},
    {STR_INIT("\xc1\xbf"), "\xef\xbf\xbd\xef\xbf\xbd"},
    {STR_INIT("\xe0\x9f\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {STR_INIT("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {STR_INIT("\xf0\x8f\xbf\xbf"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {STR_INIT("\xf4\x90\x80\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {STR_INIT("\xf5x"), "\xef\xbf\xbdx"},
    {STR_INIT("\xff"), "\xef\xbf\xbd"},
    {STR_INIT("\xe2\x82x"), "\xef\xbf\xbdx"},
    {STR_INIT("\xf0\x9f\x98"), "\xef\xbf\xbd"},
    {STR_INIT("12345678\xf0\x9f\xc3\xa4"), "12345678\xef\xbf\xbd\xc3\xa4"},
};

static bool check_in_pieces(struct str s, size_t piece)
{
    uint32_t state = 0;
    for (size_t at = 0; at < s.n; at += piece)
        if (!utf8_check(&state, str_sub(s, at, at + piece)))
            return false;
    return UTF8_CHECK_DONE(state);
}

static void validity(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(utf8_valid(good[i]));
        for (size_t piece = 1; piece < 10; piece++)
            assert_true(check_in_pieces(good[i], piece));
        autobuf out = {0};
        utf8_scrub(&out, good[i]);
        assert_true(str_eq(buf_str(&out), good[i]));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(utf8_valid(bad[i].text));
        for (size_t piece = 1; piece < 10; piece++)
            assert_false(check_in_pieces(bad[i].text, piece));
        autobuf out = {0};
        utf8_scrub(&out, bad[i].text);
        assert_string_equal(out.p, bad[i].scrubbed);
        assert_true(utf8_valid(buf_str(&out)));
    }
    uint32_t check = 0;
    assert_false(utf8_check(&check, STR("\xff")));
    assert_false(utf8_check(&check, STR("a"))); /* stays bad */
}

static void counting(void **state)
{
    (void)state;
    struct str s = STR("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z");
    assert_int_equal(utf8_count(s), 5);
    static const size_t ends[] = {0, 1, 3, 6, 10, 11, 11};
    for (size_t k = 0; k < 7; k++) {
        assert_int_equal(utf8_prefix(s, k).n, ends[k]);
        struct str suffix = utf8_suffix(s, k);
        assert_int_equal(utf8_count(suffix), k < 5 ? k : 5);
        assert_true(str_ends(s, suffix) && utf8_valid(suffix));
    }
    for (size_t max = 0; max <= s.n + 1; max++) {
        struct str cut = utf8_prefix_bytes(s, max);
        assert_true(cut.n <= max && utf8_valid(cut));
        assert_true(cut.n + 4 > max || cut.n == s.n); /* the largest such prefix */
    }
    /* A text that itself ends inside a character loses that, too. */
    assert_int_equal(utf8_prefix_bytes(STR("ab\xf0\x9f\x98"), 100).n, 2);
    /* Bytes that are no text are cut anywhere, but not eaten up. */
    assert_int_equal(utf8_prefix_bytes(STR("\x80\x80\x80\x80\x80\x80"), 5).n, 5);
    assert_null(utf8_prefix_bytes(STR_NONE, 5).p);
}

static void characters(void **state)
{
    (void)state;
    static const uint32_t points[] = {0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff};
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        autobuf out = {0};
        uint32_t back;
        utf8_add(&out, points[i]);
        assert_true(utf8_valid(buf_str(&out)));
        assert_int_equal(utf8_next(buf_str(&out), &back), out.n);
        assert_int_equal(back, points[i]);
    }
    autobuf out = {0};
    utf8_add(&out, 0xd800);
    utf8_add(&out, 0x110000);
    assert_string_equal(out.p, "\xef\xbf\xbd\xef\xbf\xbd");
    uint32_t c;
    assert_int_equal(utf8_next(STR(""), &c), 0);
    assert_int_equal(utf8_next(STR("\xf0\x9f\x98"), &c), 1);
    assert_int_equal(c, 0xfffd);
}

static void base64_text(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        autobuf text = {0};
        autobuf back = {0};
        base64_encode(&text, str_from(pairs[i][0]));
        assert_true(str_is(buf_str(&text), pairs[i][1]));
        assert_true(base64_decode(&back, buf_str(&text)));
        assert_true(str_is(buf_str(&back), pairs[i][0]));
        while (text.n > 0 && text.p[text.n - 1] == '=')
            buf_truncate(&text, text.n - 1);
        buf_clear(&back);
        assert_true(base64_decode(&back, buf_str(&text)));
        assert_true(str_is(buf_str(&back), pairs[i][0]));
    }
    autobuf standard = {0};
    autobuf url = {0};
    base64_encode(&standard, STR("\xfb\xff\xfe"));
    base64url_encode(&url, STR("\xfb\xff\xfe"));
    assert_string_equal(standard.p, "+//+");
    assert_string_equal(url.p, "-__-");
    unsigned char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (unsigned char)i;
    autobuf text = {0};
    autobuf back = {0};
    base64url_encode(&text, str_make(all, 256));
    assert_true(base64_decode(&back, buf_str(&text)));
    assert_int_equal(back.n, 256);
    assert_memory_equal(back.p, all, 256);
    autobuf hex = {0};
    hex_encode(&hex, str_make(all + 0x9e, 3));
    assert_string_equal(hex.p, "9e9fa0");
}

static void base64_refuses(void **state)
{
    (void)state;
    static const char *const refused[] = {"Z",    "Zg=",   "Zg===",    "=",     "==",
                                          "====", "Zm9v=", "Zm9v==",   "Zm 9v", "Zm9v\n",
                                          "Zh==", "Zm9=",  "Zg==Zg==", "Z=g=",  "Zm9\xc3"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        autobuf out = {0};
        buf_add_cstr(&out, "kept");
        if (base64_decode(&out, str_from(refused[i])))
            fail_msg("accepted: %s", refused[i]);
        assert_string_equal(out.p, "kept");
        assert_int_equal(out.n, 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(validity),    cmocka_unit_test(counting),       cmocka_unit_test(characters),
        cmocka_unit_test(base64_text), cmocka_unit_test(base64_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
