/* multipart/form-data: what comes out must not depend on how the bytes come in. */
#include "base/cleanup.h"
#include "net/multipart.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TYPE "multipart/form-data; boundary=XyZ"

struct seen {
    struct buf log;
    size_t stop_after; /* parts; 0: never */
    size_t parts;
};

static bool on_part(void *arg, const struct multipart_part *p)
{
    struct seen *s = arg;
    buf_addf(&s->log, "[%.*s|%.*s|%.*s:", STR_ARG(p->name), STR_ARG(p->file_name), STR_ARG(p->content_type));
    return ++s->parts != s->stop_after;
}

static bool on_data(void *arg, struct str data)
{
    struct seen *s = arg;
    assert_true(data.n > 0);
    buf_add(&s->log, data);
    return true;
}

static bool on_part_end(void *arg)
{
    struct seen *s = arg;
    buf_add(&s->log, STR("]"));
    return true;
}

static const struct multipart_callbacks callbacks = {on_part, on_data, on_part_end};

static bool decode(const char *type, struct str body, size_t piece, struct seen *s, struct err **e)
{
    struct multipart m;
    *s = (struct seen){.stop_after = s->stop_after};
    bool ok = multipart_init(&m, str_from(type), &callbacks, s, e);
    for (size_t at = 0; ok && at < body.n; at += piece)
        ok = multipart_feed(&m, str_sub(body, at, at + piece), e);
    ok = ok && multipart_end(&m, e);
    multipart_deinit(&m);
    return ok;
}

/* In every size of pieces. */
static void assert_decodes(const char *type, const char *body, const char *expected)
{
    for (size_t piece = 1; piece <= strlen(body); piece++) {
        autoerr e = NULL;
        struct seen s = {0};
        if (!decode(type, str_from(body), piece, &s, &e))
            fail_msg("in pieces of %zu: %s", piece, err_text(e));
        assert_string_equal(s.log.p ? s.log.p : "", expected);
        buf_deinit(&s.log);
    }
}

static void assert_bad(const char *type, struct str body, enum err_kind kind)
{
    static const size_t pieces[] = {1, 7, 1 << 20};
    for (size_t i = 0; i < 3; i++) {
        autoerr e = NULL;
        struct seen s = {0};
        assert_false(decode(type, body, pieces[i], &s, &e));
        assert_non_null(e);
        assert_int_equal(e->kind, kind);
        buf_deinit(&s.log);
    }
}

#define FILE_HEAD \
    "Content-Disposition: form-data; name=\"file\"; filename=\"a b.txt\"\r\nContent-Type: text/plain\r\n\r\n"

static void test_parts(void **state)
{
    (void)state;
    assert_decodes(TYPE,
                   "--XyZ\r\n" FILE_HEAD "hello\r\nworld\r\n--XyZ\r\n"
                   "content-disposition: form-data; name=other\r\n\r\n\r\n--XyZ--\r\nignored",
                   "[file|a b.txt|text/plain:hello\r\nworld][other||:]");
    assert_decodes(TYPE, "--XyZ--", "");
    assert_decodes("Multipart/Form-Data;charset=utf-8; boundary=\"X y\"", "--X y\r\n\r\nanonymous\r\n--X y--",
                   "[||:anonymous]");
    /* A preamble, blanks behind the boundary, a part whose empty line is the boundary's. */
    assert_decodes(TYPE, "preamble\r\n--XyZ \t\r\nX-Other: 1\r\n\r\n--XyZ--\r\n", "[||:]");
}

static void test_what_almost_is_the_boundary_is_content(void **state)
{
    (void)state;
    assert_decodes(TYPE, "--XyZ\r\n\r\n\r\r\n-\r\n--Xy\r\n--XyY\r\r\n\r\n--XyZ--",
                   "[||:\r\r\n-\r\n--Xy\r\n--XyY\r\r\n]");
    assert_decodes(TYPE, "--XyZ\r\n\r\n--XyY\r\n--XyZ--", "[||:--XyY]");
    assert_decodes(TYPE, "--Xy\r\n--XyZ\r\n\r\na--XyZ\n--XyZ\r\n--XyZ--", "[||:a--XyZ\n--XyZ]");
}

static void test_names(void **state)
{
    (void)state;
    assert_decodes(
        TYPE,
        "--XyZ\r\nContent-Disposition: form-data; name=\"a;\\\"b\"; filename=\"C:\\dir\\x\"\r\n\r\n1\r\n--XyZ--",
        "[a;\"b|C:\\dir\\x|:1]");
    assert_decodes(TYPE,
                   "--XyZ\r\nContent-Disposition: form-data; filename*=UTF-8''x; name=f\r\n\r\n1\r\n--XyZ--",
                   "[f|x|:1]");
    assert_decodes(TYPE, "--XyZ\r\nContent-Disposition: form-data; name=\"f; filename=x\r\n\r\n1\r\n--XyZ--",
                   "[f; filename=x||:1]");
}

/* RFC 5987: better than `filename`, unless it is malformed or in a charset that nobody uses. */
static void test_extended_names(void **state)
{
    (void)state;
    static const struct {
        const char *given, *file_name;
    } cases[] = {
        {"filename=old; filename*=utf-8''n%C3%A9w%20%3b%22.txt", "n\xc3\xa9w ;\".txt"},
        {"filename*=UTF-8'en'x%2Fy; filename=\"old\"", "x/y"},
        {"filename*=iso-8859-1''%e9t%E9", "\xc3\xa9t\xc3\xa9"},
        {"filename=old; filename*=koi8-r''%ff", "old"},
        {"filename=old; filename*=utf-8''100%", "old"},
        {"filename=old; filename*=utf-8''%4", "old"},
        {"filename=old; filename*=utf-8''%g0", "old"},
        {"filename=old; filename*=utf-8'x", "old"},
        {"filename=old; filename*=x", "old"},
        {"filename=old; filename*=utf-8''", ""},
        {"filename=old; filename*", "old"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autobuf body = {0}, expected = {0};
        buf_addf(&body, "--XyZ\r\nContent-Disposition: form-data; name=f; %s\r\n\r\n1\r\n--XyZ--",
                 cases[i].given);
        buf_addf(&expected, "[f|%s|:1]", cases[i].file_name);
        assert_decodes(TYPE, body.p, expected.p);
    }
}

static void test_types(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "text/plain",
        "multipart/mixed; boundary=a",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"a\tb\"",
        "multipart/form-data; boundary=\"a \"",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_bad(bad[i], STR("--a--"), ERR_INVALID);
    autobuf type = {0};
    buf_add(&type, STR("multipart/form-data; boundary="));
    for (int i = 0; i <= MULTIPART_BOUNDARY_MAX; i++)
        buf_add_char(&type, 'b');
    assert_bad(type.p, STR("--a--"), ERR_INVALID);
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "no boundary at all",
        "--XyZ",
        "--XyZ\r\n\r\ncut",
        "--XyZ\r\n\r\ncut\r\n--XyZ",
        "--XyZ\r\n\r\ncut\r\n--XyZ-",
        "--XyZ\n\r\nx\r\n--XyZ--",
        "--XyZx\r\n\r\nx\r\n--XyZ--",
        "--XyZ-x",
        "--XyZ\r\nno colon\r\n\r\nx\r\n--XyZ--",
        "--XyZ\r\n: no name\r\n\r\nx\r\n--XyZ--",
        "--XyZ\rx",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_bad(TYPE, str_from(bad[i]), ERR_INVALID);
}

static void test_bounds(void **state)
{
    (void)state;
    autobuf head = {0}, parts = {0}, preamble = {0};
    buf_add(&head, STR("--XyZ\r\nX-Long: "));
    for (int i = 0; i < MULTIPART_HEAD_MAX; i++)
        buf_add_char(&head, 'a');
    assert_bad(TYPE, buf_str(&head), ERR_TOO_LARGE);
    for (int i = 0; i <= MULTIPART_PARTS_MAX; i++)
        buf_add(&parts, STR("--XyZ\r\n\r\n\r\n"));
    assert_bad(TYPE, buf_str(&parts), ERR_TOO_LARGE);
    for (int i = 0; i <= MULTIPART_PREAMBLE_MAX; i++)
        buf_add_char(&preamble, ' ');
    assert_bad(TYPE, buf_str(&preamble), ERR_INVALID);
}

static void test_a_callback_can_end_it(void **state)
{
    (void)state;
    autoerr e = NULL;
    struct seen s = {.stop_after = 2};
    assert_false(decode(TYPE, STR("--XyZ\r\n\r\n1\r\n--XyZ\r\n\r\n2\r\n--XyZ--"), 100, &s, &e));
    assert_null(e);
    assert_string_equal(s.log.p, "[||:1][||:");
    buf_deinit(&s.log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),  cmocka_unit_test(test_what_almost_is_the_boundary_is_content),
        cmocka_unit_test(test_names),  cmocka_unit_test(test_extended_names),
        cmocka_unit_test(test_types),  cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_bounds), cmocka_unit_test(test_a_callback_can_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
