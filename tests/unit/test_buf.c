/* buf, bytes, arena, err, vec: what owns memory. */
#include "base/arena.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/vec.h"
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void buf_builds(void **state)
{
    (void)state;
    autobuf b = {0};
    assert_int_equal(buf_str(&b).n, 0);
    assert_non_null(buf_str(&b).p);
    buf_add(&b, STR_NONE);
    buf_add_u64(&b, UINT64_MAX);
    buf_add_char(&b, ' ');
    buf_add_i64(&b, INT64_MIN);
    buf_add_char(&b, ' ');
    buf_add_i64(&b, 0);
    assert_string_equal(b.p, "18446744073709551615 -9223372036854775808 0");
    buf_clear(&b);
    assert_string_equal(b.p, "");
    for (int i = 0; i < 1000; i++)
        buf_add_bytes(&b, "ab", 2);
    assert_int_equal(b.n, 2000);
    assert_int_equal(strlen(b.p), 2000);
}

static void buf_formats(void **state)
{
    (void)state;
    autobuf b = {0};
    char wide[5001];
    memset(wide, 'x', 5000);
    wide[5000] = '\0';
    buf_addf(&b, "<%s>", wide); /* does not fit at the first try */
    buf_addf(&b, "%d", 7);
    assert_int_equal(b.n, 5003);
    assert_string_equal(b.p + 5001, ">7");
}

static void buf_edits(void **state)
{
    (void)state;
    autobuf b = {0};
    buf_add_cstr(&b, "hello world");
    buf_consume(&b, 6);
    assert_string_equal(b.p, "world");
    buf_insert(&b, 0, STR("the "));
    assert_string_equal(b.p, "the world");
    buf_insert(&b, 100, STR("!"));
    assert_string_equal(b.p, "the world!");
    buf_insert(&b, 3, STR(""));
    buf_truncate(&b, 3);
    buf_truncate(&b, 100);
    assert_string_equal(b.p, "the");
    buf_consume(&b, 100);
    assert_string_equal(b.p, "");
    memcpy(buf_reserve(&b, 100), "0123456789", 10);
    b.n += 10;
    struct str taken = buf_take(&b);
    assert_string_equal(taken.p, "0123456789");
    free((char *)taken.p);
    assert_null(b.p);
    taken = buf_take(&b); /* even an empty one gives text */
    assert_string_equal(taken.p, "");
    free((char *)taken.p);
    buf_consume(&b, 5);
    buf_clear(&b);
    buf_truncate(&b, 0);
}

static void bytes_share(void **state)
{
    (void)state;
    autobuf b = {0};
    buf_add_cstr(&b, "event");
    autobytes one = bytes_take(&b);
    assert_int_equal(b.n, 0);
    assert_string_equal(one->p, "event");
    struct bytes *two = bytes_ref(one);
    assert_ptr_equal(one, two);
    bytes_unref(two);
    assert_int_equal(bytes_str(one).n, 5);
    assert_null(bytes_str(NULL).p);
    assert_null(bytes_ref(NULL));
    bytes_unref(NULL);
    autobytes empty = bytes_new(STR_NONE);
    assert_string_equal(empty->p, "");
}

static void arena_holds(void **state)
{
    (void)state;
    autoarena a = arena_new();
    assert_int_equal(arena_size(a), 0);
    unsigned char *seen[200];
    for (size_t i = 0; i < 200; i++) {
        size_t n = 1 + i * 7 % 900;
        seen[i] = arena_alloc(a, n);
        assert_int_equal((uintptr_t)seen[i] % _Alignof(max_align_t), 0);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(seen[i][k], 0);
        memset(seen[i], (int)i, n);
    }
    /* A large piece does not waste the small one that is being filled. */
    char *before = arena_alloc(a, 16);
    memset(arena_alloc(a, 1000000), 1, 1000000);
    char *after = arena_alloc(a, 16);
    assert_ptr_equal(after, before + 16);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(seen[i][i * 7 % 900], i);
    assert_true(arena_size(a) >= 1000000 && arena_size(a) < 1300000);

    assert_null(arena_str(a, STR_NONE).p);
    assert_string_equal(arena_str(a, STR("")).p, "");
    assert_string_equal(arena_cstr(a, str_make("abcdef", 3)), "abc");
    struct str text = arena_printf(a, "%s-%d", "x", 42);
    assert_int_equal(text.n, 4);
    assert_string_equal(text.p, "x-42");
    arena_free(NULL);
}

static void err_tells(void **state)
{
    (void)state;
    autoerr e = NULL;
    assert_false(err_set(NULL, ERR_INVALID, "nobody asks"));
    assert_false(err_prefix(&e, "nothing set"));
    assert_null(e);
    assert_false(err_set(&e, ERR_TOO_LARGE, "body over %d bytes", 10));
    assert_false(err_set(&e, ERR_INTERNAL, "a second one"));
    assert_int_equal(e->kind, ERR_TOO_LARGE);
    assert_string_equal(e->text, "body over 10 bytes");
    assert_false(err_prefix(&e, "POST %s", "/x"));
    assert_string_equal(err_text(e), "POST /x: body over 10 bytes");
    err_set_code(&e, "LLMError");
    err_set_code(&e, "LLMRateLimitError");
    autoerr copy = err_copy(e);
    assert_string_equal(copy->code, "LLMRateLimitError");
    assert_string_equal(copy->text, e->text);
    assert_string_equal(err_text(NULL), "unknown error");
    assert_null(err_copy(NULL));
    err_set_code(NULL, "x");
}

static void err_from_errno(void **state)
{
    (void)state;
    static const struct {
        int number;
        enum err_kind kind;
    } cases[] = {
        {ENOSPC, ERR_IO}, {EDQUOT, ERR_IO}, {EIO, ERR_IO}, {ENOENT, ERR_NOT_FOUND}, {EACCES, ERR_FORBIDDEN}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autoerr e = NULL;
        errno = cases[i].number;
        assert_false(err_errno(&e, ERR_FORBIDDEN, "open %s", "f"));
        assert_int_equal(e->kind, cases[i].kind);
        assert_int_equal(strncmp(e->text, "open f: ", 8), 0);
        assert_true(strlen(e->text) > 10);
    }
    autoerr odd = NULL;
    errno = 99999;
    err_errno(&odd, ERR_INTERNAL, "x");
    assert_string_equal(odd->text, "x: unknown error");
}

static void vec_grows(void **state)
{
    (void)state;
    VEC(int) v = {0};
    for (int i = 0; i < 100; i++)
        vec_push(&v, i);
    vec_remove(&v, 0);
    vec_remove(&v, 98);
    assert_int_equal(v.n, 98);
    assert_int_equal(v.at[0], 1);
    assert_int_equal(v.at[97], 98);
    vec_deinit(&v);
    assert_null(v.at);
}

static char *make_stolen(void)
{
    autofree char *p = str_dup(STR("kept"));
    return steal(p);
}

static void steal_keeps(void **state)
{
    (void)state;
    autofree char *p = make_stolen();
    assert_string_equal(p, "kept");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_builds),  cmocka_unit_test(buf_formats),    cmocka_unit_test(buf_edits),
        cmocka_unit_test(bytes_share), cmocka_unit_test(arena_holds),    cmocka_unit_test(err_tells),
        cmocka_unit_test(vec_grows),   cmocka_unit_test(err_from_errno), cmocka_unit_test(steal_keeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
