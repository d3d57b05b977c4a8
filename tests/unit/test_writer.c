/* writer: separators, escapes, numbers. */
#include "json/writer.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void write_all(struct json_writer *w)
{
    jw_object(w);
    jw_member_str(w, "s", STR("\xc3\xa4\"\n"));
    jw_member_cstr(w, "absent", NULL);
    jw_member_int(w, "i", -1);
    jw_member_float(w, "f", 1);
    jw_member_bool(w, "b", true);
    jw_member_null(w, "n");
    jw_member_raw(w, "r", STR("{\"x\":1}"));
    jw_key_str(w, STR("\xf0\x9f\x98\x80"));
    jw_array(w);
    jw_array(w);
    jw_array_end(w);
    jw_object(w);
    jw_object_end(w);
    jw_cstr(w, "");
    jw_array_end(w);
    jw_object_end(w);
}

static void both_styles(void **state)
{
    (void)state;
    autobuf compact = {0};
    autobuf python = {0};
    struct json_writer w = json_writer(&compact);
    write_all(&w);
    assert_string_equal(compact.p,
                        "{\"s\":\"\xc3\xa4\\\"\\n\",\"absent\":null,\"i\":-1,\"f\":1.0,\"b\":true,\"n\":null,"
                        "\"r\":{\"x\":1},\"\xf0\x9f\x98\x80\":[[],{},\"\"]}");
    w = json_writer_python(&python);
    write_all(&w);
    assert_string_equal(python.p,
                        "{\"s\": \"\\u00e4\\\"\\n\", \"absent\": null, \"i\": -1, \"f\": 1.0, \"b\": true, "
                        "\"n\": null, \"r\": {\"x\":1}, \"\\ud83d\\ude00\": [[], {}, \"\"]}");
}

static void escapes(void **state)
{
    (void)state;
    autobuf out = {0};
    json_escape(&out, str_make("\0\x01\b\t\n\v\f\r\x1f \"\\/\x7f", 14), false);
    assert_string_equal(out.p, "\\u0000\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f \\\"\\\\/\x7f");
    buf_clear(&out);
    json_escape(&out, STR("\x7f\xe2\x82\xac"), true);
    assert_string_equal(out.p, "\\u007f\\u20ac");
    buf_clear(&out);
    json_escape(&out, STR("a\xff\xc3"), false); /* never invalid UTF-8 */
    assert_string_equal(out.p, "a\xef\xbf\xbd\xef\xbf\xbd");
    buf_clear(&out);
    json_escape(&out, STR("a\xff"), true);
    assert_string_equal(out.p, "a\\ufffd");
    buf_clear(&out);
    json_escape(&out, STR_NONE, false);
    assert_int_equal(out.n, 0);
}

static void check_float(double v, const char *expected)
{
    autobuf out = {0};
    struct json_writer w = json_writer(&out);
    jw_float(&w, v);
    assert_string_equal(out.p, expected);
}

/* As Python's repr prints them. */
static void floats(void **state)
{
    (void)state;
    check_float(0, "0.0");
    check_float(-0.0, "-0.0");
    check_float(1, "1.0");
    check_float(-1.5, "-1.5");
    check_float(0.1, "0.1");
    check_float(0.1 + 0.2, "0.30000000000000004");
    check_float(1.0 / 3, "0.3333333333333333");
    check_float(100, "100.0");
    check_float(123456.789, "123456.789");
    check_float(0.0001, "0.0001");
    check_float(0.00012345, "0.00012345");
    check_float(0.00001, "1e-05");
    check_float(0.000012345, "1.2345e-05");
    check_float(1e15, "1000000000000000.0");
    check_float(1234567890123456.0, "1234567890123456.0");
    check_float(1e16, "1e+16");
    check_float(1.5e300, "1.5e+300");
    check_float(1e22, "1e+22");
    check_float(1e23, "1e+23");
    check_float(5e-324, "5e-324");
    check_float(DBL_MAX, "1.7976931348623157e+308");
    check_float(DBL_MIN, "2.2250738585072014e-308");
    check_float(NAN, "null");
    check_float(INFINITY, "null");
    uint64_t seed = 1;
    for (int i = 0; i < 20000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        double v;
        memcpy(&v, &seed, sizeof(v));
        if (!isfinite(v))
            continue;
        autobuf out = {0};
        struct json_writer w = json_writer(&out);
        jw_float(&w, v);
        assert_true(strtod(out.p, NULL) == v);
    }
}

static void values_round_trip(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[1,2.5,\"\xc3\xa4\\n\",null,true,{}],\"b\":{\"c\":[]},\"\":false}";
    autojson doc = json_parse(str_from(text), NULL, NULL);
    autobuf out = {0};
    json_add(&out, json_root(doc));
    assert_string_equal(out.p, text);
    buf_clear(&out);
    struct json_writer w = json_writer_python(&out);
    jw_value(&w, json_root(doc));
    assert_string_equal(out.p,
                        "{\"a\": [1, 2.5, \"\\u00e4\\n\", null, true, {}], \"b\": {\"c\": []}, \"\": false}");
    buf_clear(&out);
    json_add(&out, NULL);
    assert_string_equal(out.p, "null");
    buf_clear(&out);
    w = json_writer(&out);
    jw_object(&w);
    jw_member_value(&w, "v", json_get(json_root(doc), "b"));
    jw_member_raw(&w, "none", STR_NONE);
    jw_object_end(&w);
    assert_string_equal(out.p, "{\"v\":{\"c\":[]},\"none\":null}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_styles), cmocka_unit_test(escapes),
                                       cmocka_unit_test(floats), cmocka_unit_test(values_round_trip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
