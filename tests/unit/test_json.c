/* json: what is parsed, what is refused and where, typed access. */
#include "json/json.h"
#include "json/writer.h"
#include "base/utf8.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct json_doc *parsed(const char *text)
{
    autoerr e = NULL;
    struct json_doc *doc = json_parse(str_from(text), NULL, &e);
    if (!doc)
        fail_msg("%s: %s", text, err_text(e));
    return doc;
}

static void access_by_type(void **state)
{
    (void)state;
    autojson doc = parsed(
        " {\"s\":\"x\\u0000y\",\"t\":true,\"n\":null,\"i\":-7,\"f\":2.0,\"g\":2.5,\"a\":[1,2],\"o\":{}} \n");
    const struct json_value *v = json_root(doc);
    assert_int_equal(json_type(v), JSON_OBJECT);
    assert_int_equal(json_count(v), 8);
    assert_int_equal(json_get_str(v, "s").n, 3);
    assert_true(json_get_bool(v, "t", false));
    assert_true(json_is_null(json_get(v, "n")));
    assert_int_equal(json_type(json_get(v, "n")), JSON_NULL);
    assert_int_equal(json_get_int(v, "i", 0), -7);
    assert_int_equal(json_get_int(v, "f", 0), 2);
    assert_int_equal(json_get_int(v, "g", 99), 99);
    assert_true(json_get_float(v, "g", 0) == 2.5);
    assert_true(json_get_float(v, "i", 0) == -7);
    assert_int_equal(json_count(json_get(v, "a")), 2);
    assert_int_equal(json_type(json_get(v, "o")), JSON_OBJECT);
    /* Asking for what it is not. */
    assert_null(json_get_str(v, "i").p);
    assert_null(json_get_str(v, "missing").p);
    assert_true(json_get_bool(v, "s", true));
    assert_int_equal(json_get_int(v, "s", 5), 5);
    assert_int_equal(json_get_int(v, "t", 5), 5);
    assert_null(json_get(json_get(v, "a"), "x"));
    assert_null(json_get_str_key(v, STR_NONE));
    assert_int_equal(json_type(NULL), JSON_ABSENT);
    assert_true(json_is_null(NULL));
    assert_int_equal(json_count(NULL), 0);
    assert_int_equal(json_count(json_get(v, "s")), 0);
    assert_null(json_root(NULL));
    json_doc_free(NULL);
}

static void numbers(void **state)
{
    (void)state;
    autojson doc =
        parsed("[9223372036854775807,-9223372036854775808,9223372036854775808,18446744073709551616,"
               "1e999,-0.0,9223372036854775808.0,-9223372036854775808.0,1e18,0]");
    const struct json_value *at[10];
    for (struct json_iter it = json_iter(json_root(doc)); json_next(&it);)
        at[it.index] = it.value;
    assert_true(json_int(at[0], 0) == INT64_MAX);
    assert_true(json_int(at[1], 0) == INT64_MIN);
    assert_int_equal(json_int(at[2], 42), 42);
    assert_int_equal(json_type(at[2]), JSON_INT);
    assert_int_equal(json_int(at[3], 42), 42);
    assert_int_equal(json_type(at[3]), JSON_INT);
    assert_true(json_float(at[3], 0) == 0x1p64);
    assert_int_equal(json_type(at[4]), JSON_FLOAT);
    assert_true(json_float(at[4], -1) == -1); /* no infinity comes out of here */
    assert_int_equal(json_int(at[4], 42), 42);
    assert_true(signbit(json_float(at[5], 1)));
    assert_int_equal(json_int(at[6], 42), 42);
    assert_true(json_int(at[7], 0) == INT64_MIN);
    assert_int_equal(json_int(at[8], 0), 1000000000000000000);
    /* What came in goes out, digit by digit. */
    autobuf out = {0};
    json_add(&out, json_root(doc));
    assert_string_equal(out.p,
                        "[9223372036854775807,-9223372036854775808,9223372036854775808,18446744073709551616,"
                        "1e999,-0.0,9.223372036854776e+18,-9.223372036854776e+18,1e+18,0]");
}

static void refuse(struct str text, size_t expected_offset, const char *word)
{
    autoerr e = NULL;
    size_t offset = 12345;
    assert_null(json_parse(text, &offset, &e));
    assert_int_equal(e->kind, ERR_INVALID);
    if (offset != expected_offset || !strstr(e->text, word))
        fail_msg("%.*s: offset %zu, text %s", STR_ARG(text), offset, e->text);
    char place[40];
    snprintf(place, sizeof(place), "byte %zu", expected_offset);
    assert_non_null(strstr(e->text, place));
    assert_null(json_parse(text, NULL, NULL));
}

static void refuses(void **state)
{
    (void)state;
    refuse(STR(""), 0, "empty");
    refuse(STR_NONE, 0, "empty");
    refuse(STR("{\"a\":1,}"), 6, "");
    refuse(STR("[1,]"), 2, "");
    refuse(STR("[1] x"), 4, "");
    refuse(STR("{\"a\" 1}"), 5, "");
    refuse(STR("[01]"), 1, "");
    refuse(STR("[+1]"), 1, "");
    refuse(STR("[NaN]"), 1, "");
    refuse(STR("['a']"), 1, "");
    refuse(STR("[\"a\nb\"]"), 3, "");
    refuse(STR("[\"\xff\"]"), 2, "");
    refuse(STR("[\"\xed\xa0\x80\"]"), 2, "");
    refuse(str_make("[1]\0", 4), 3, "");
    refuse(STR("// x\n1"), 0, "");
    refuse(STR("[\"abc"), 5, "");
}

static void refuses_duplicate_keys(void **state)
{
    (void)state;
    refuse(STR("{\"a\":1,\"b\":2,\"a\":3}"), 14, "\"a\" is given twice");
    refuse(STR("[{},{\"x\":{\"key\":1,\"key\":1}}]"), 19, "\"key\" is given twice");
    refuse(STR("{\"a\":1,\"\\u0061\":2}"), 8, "\"a\"");
    refuse(STR("{\"\":1,\"\":2}"), 7, "twice");
    /* The same keys in different objects, and NULs that only seem to end a key. */
    autojson fine = parsed("{\"a\":{\"a\":1},\"b\":{\"a\":1},\"a\\u0000\":1,\"a\\u0000b\":1}");
    assert_non_null(fine);
    /* Our own texts are not looked through. */
    autojson trusted = json_parse_trusted(STR("{\"a\":1,\"a\":2}"), NULL);
    assert_non_null(trusted);

    for (size_t count = 2; count < 3000; count = count * 3 / 2 + 1) {
        autobuf text = {0};
        buf_add_char(&text, '{');
        for (size_t i = 0; i < count; i++)
            buf_addf(&text, "%s\"k%zu\":[]", i ? "," : "", i);
        size_t place = text.n + 2;
        autojson unique = NULL;
        buf_add_char(&text, '}');
        unique = parsed(text.p);
        assert_int_equal(json_count(json_root(unique)), count);
        buf_truncate(&text, text.n - 1);
        buf_addf(&text, ",\"k%zu\":0}", count / 2);
        refuse(buf_str(&text), place, "is given twice");
    }
}

static struct str nested(struct buf *text, size_t depth, char open, char close)
{
    buf_clear(text);
    buf_add_cstr(text, "\n"); /* places count from the start of the text */
    for (size_t i = 0; i < depth; i++) {
        buf_add_char(text, open);
        if (open == '{' && i + 1 < depth)
            buf_add_cstr(text, "\"[{\\\"\":");
    }
    for (size_t i = 0; i < depth; i++)
        buf_add_char(text, close);
    return buf_str(text);
}

static void refuses_depth(void **state)
{
    (void)state;
    autobuf text = {0};
    autojson arrays = json_parse(nested(&text, JSON_DEPTH_MAX, '[', ']'), NULL, NULL);
    assert_non_null(arrays);
    autojson objects = json_parse(nested(&text, JSON_DEPTH_MAX, '{', '}'), NULL, NULL);
    assert_non_null(objects);
    refuse(nested(&text, JSON_DEPTH_MAX + 1, '[', ']'), 1 + JSON_DEPTH_MAX, "deeper than 64");
    refuse(nested(&text, JSON_DEPTH_MAX + 1, '{', '}'), 1 + JSON_DEPTH_MAX * 8, "deeper than 64");
    refuse(nested(&text, 100000, '[', ']'), 1 + JSON_DEPTH_MAX, "deeper than 64");
    autoerr e = NULL;
    assert_null(json_parse_trusted(nested(&text, 100000, '[', ']'), &e)); /* the reader recurses there, too */
    /* Depth counts open containers, not containers. */
    autobuf wide = {0};
    buf_add_cstr(&wide, "[");
    for (int i = 0; i < 500; i++)
        buf_add_cstr(&wide, "[[],{}],");
    buf_add_cstr(&wide, "0]");
    autojson many = json_parse(buf_str(&wide), NULL, NULL);
    assert_int_equal(json_count(json_root(many)), 501);
}

static void iteration(void **state)
{
    (void)state;
    autojson doc = parsed("{\"a\":[1,[2,{}],3],\"b\":\"x\",\"c\":[]}");
    const struct json_value *v = json_root(doc);
    const char *keys = "abc";
    size_t seen = 0;
    for (struct json_iter it = json_iter(v); json_next(&it); seen++) {
        assert_int_equal(it.index, seen);
        assert_int_equal(it.key.n, 1);
        assert_int_equal(it.key.p[0], keys[seen]);
    }
    assert_int_equal(seen, 3);
    int64_t sum = 0;
    for (struct json_iter it = json_iter(json_get(v, "a")); json_next(&it);) {
        assert_null(it.key.p);
        sum += json_int(it.value, 10);
    }
    assert_int_equal(sum, 14);
    struct json_iter none = json_iter(json_get(v, "c"));
    assert_false(json_next(&none));
    assert_false(json_next(&none));
    none = json_iter(json_get(v, "b"));
    assert_false(json_next(&none));
    none = json_iter(NULL);
    assert_false(json_next(&none));
}

static bool same(const char *a, const char *b)
{
    autojson left = parsed(a);
    autojson right = parsed(b);
    bool equal = json_equal(json_root(left), json_root(right));
    assert_int_equal(equal, json_equal(json_root(right), json_root(left)));
    return equal;
}

static void equality(void **state)
{
    (void)state;
    assert_true(same("{\"a\":1,\"b\":[true,null,\"x\"]}", "{ \"b\":[true,null,\"\\u0078\"], \"a\":1.0 }"));
    assert_false(same("{\"a\":1}", "{\"b\":1}"));
    assert_false(same("{\"a\":null}", "{}"));
    assert_false(same("{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}"));
    assert_false(same("[1,2]", "[2,1]"));
    assert_false(same("[1]", "[1,1]"));
    assert_false(same("[]", "{}"));
    assert_false(same("true", "1"));
    assert_false(same("-1", "18446744073709551615"));
    assert_true(same("18446744073709551616", "18446744073709551616"));
    assert_false(same("18446744073709551616", "18446744073709551617"));
    assert_false(same("\"1\"", "1"));
    assert_true(json_equal(NULL, NULL));
    autobuf forwards = {0};
    autobuf backwards = {0};
    for (int i = 0; i < 500; i++) {
        buf_addf(&forwards, "%c\"k%d\":%d", i ? ',' : '{', i, i);
        buf_addf(&backwards, "%c\"k%d\":%d", i ? ',' : '{', 499 - i, 499 - i);
    }
    buf_add_char(&forwards, '}');
    buf_add_char(&backwards, '}');
    assert_true(same(forwards.p, backwards.p));
    backwards.p[backwards.n - 2] = '7';
    assert_false(same(forwards.p, backwards.p));
}

static void error_names_long_keys_shortly(void **state)
{
    (void)state;
    autobuf text = {0};
    buf_add_cstr(&text, "{");
    for (int twice = 0; twice < 2; twice++) {
        buf_add_cstr(&text, twice ? ",\"" : "\"");
        for (int i = 0; i < 50000; i++)
            buf_add_cstr(&text, "\xc3\xa4");
        buf_add_cstr(&text, "\":1");
    }
    buf_add_cstr(&text, "}");
    autoerr e = NULL;
    assert_null(json_parse(buf_str(&text), NULL, &e));
    assert_true(strlen(e->text) < 200);
    assert_true(utf8_valid(str_from(e->text)));
}

static void check_text(const char *json, const char *expected)
{
    autojson doc = parsed(json);
    if (!str_is(json_str(json_root(doc)), expected))
        fail_msg("%s", json);
}

/* Half an emoji is legal JSON and is sent by clients that cut text by UTF-16 units. */
static void lone_surrogates(void **state)
{
    (void)state;
    check_text("\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80");
    check_text("\"a\\ud83d\"", "a\xef\xbf\xbd");
    check_text("\"\\uDE00b\"", "\xef\xbf\xbd"
                               "b");
    check_text("\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80");
    check_text("\"\\ud83d\\n\\\\ude00\"", "\xef\xbf\xbd\n\\ude00");
    check_text("\"\\\\\\ud83d\\\\\"", "\\\xef\xbf\xbd\\");
    refuse(STR("[\"\\ud83d\",\"\\ud8\"]"), 11, "");
    refuse(STR("[\"\\ud83d\"}"), 9, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(access_by_type),
        cmocka_unit_test(numbers),
        cmocka_unit_test(refuses),
        cmocka_unit_test(lone_surrogates),
        cmocka_unit_test(refuses_duplicate_keys),
        cmocka_unit_test(refuses_depth),
        cmocka_unit_test(iteration),
        cmocka_unit_test(equality),
        cmocka_unit_test(error_names_long_keys_shortly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
