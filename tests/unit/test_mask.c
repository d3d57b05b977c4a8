#include "agent_fixture.h"

static struct mask *make(const char *const *values, size_t n)
{
    struct str names[8], texts[8];
    for (size_t i = 0; i < n; i++) {
        names[i] = STR("NAME");
        texts[i] = S(values[i]);
    }
    return mask_new(names, texts, n);
}

static void check(const char *const *values, size_t n, const char *text, const char *expected)
{
    struct mask *m = make(values, n);
    autobuf once = {0}, twice = {0};
    bool hit = mask_apply(m, S(text), &once);
    assert_string_equal(once.p ? once.p : "", expected);
    assert_int_equal(hit, strcmp(text, expected) != 0);
    mask_apply(m, buf_str(&once), &twice);
    assert_string_equal(twice.p ? twice.p : "", expected);
    mask_unref(m);
}

#define CHECK(text, expected, ...) \
    check((const char *const[]){__VA_ARGS__}, ARRAY_LEN(((const char *const[]){__VA_ARGS__})), text, expected)

static void test_values(void **state)
{
    (void)state;
    CHECK("token=s3cret!", "token=<secret-hidden>", "s3cret!");
    CHECK("", "", "s3cret!");
    CHECK("nothing here", "nothing here", "s3cret!");
    CHECK("s3cret!s3cret!", "<secret-hidden><secret-hidden>", "s3cret!");
    CHECK("abc abcd", "abc <secret-hidden>", "abc", "abcd"); /* three bytes are too short to hide */
    CHECK("longer-secret", "<secret-hidden>", "long", "longer-secret"); /* the longest wins */
    CHECK("abcdefxyz", "<secret-hidden>", "abcdef", "defxyz");          /* overlapping ones vanish together */
    CHECK("secret", "<secret-hidden>", "secret");                       /* and masking stays stable */
}

static void test_facts(void **state)
{
    (void)state;
    struct mask *m = make((const char *const[]){"abcdef", "xy"}, 2);
    assert_int_equal(mask_count(m), 2);
    assert_int_equal(mask_longest(m), 6);
    assert_true(str_is(mask_value(m, 1), "xy"));
    assert_ptr_equal(mask_ref(m), m);
    mask_unref(m);
    assert_true(str_is(mask_name(m, 0), "NAME"));
    mask_unref(m);
    mask_unref(NULL);
    assert_int_equal(mask_longest(NULL), 0);
    autobuf out = {0};
    assert_false(mask_apply(NULL, STR("x"), &out));
    assert_string_equal(out.p, "x");
}

/* However a text is split, what goes out in pieces is what masking the whole gives. */
static void test_pieces(void **state)
{
    (void)state;
    static const char text[] =
        "before s3cret! and öther-secret, s3cre t, abcdefxyz s3cret!s3cret! end s3cret";
    struct fake f;
    fake_init(&f);
    mask_unref(f.mask);
    f.mask = make((const char *const[]){"s3cret!", "öther-secret", "abcdef", "defxyz"}, 4);
    autobuf expected = {0};
    mask_apply(f.mask, S(text), &expected);
    for (size_t step = 1; step < 12; step++) {
        struct delta_mask d;
        buf_clear(&f.deltas);
        delta_mask_init(&d, &f.host);
        for (size_t at = 0; at < sizeof(text) - 1; at += step)
            delta_mask_add(&d, str_sub(S(text), at, at + step), STR_NONE);
        delta_mask_flush(&d);
        assert_string_equal(f.deltas.p, expected.p);
        delta_mask_deinit(&d);
    }
    fake_deinit(&f);
}

/* A value pasted from a file ends with a line feed, and outputs do not; keys of many lines are numbered and wrapped. */
static void test_white_space_and_lines(void **state)
{
    (void)state;
    static const char key[] = "-----BEGIN KEY-----\r\n  bG9uZyBsaW5lIG9uZQ==\nshort\n-----END KEY-----\n";
    CHECK("token=s3cret!", "token=<secret-hidden>", " s3cret!\n");
    CHECK("token= s3cret!\n.", "token=<secret-hidden>.", " s3cret!\n");
    CHECK("abc", "abc", "abc\n");
    CHECK("     1\t-----BEGIN KEY-----\n     2\tbG9uZyBsaW5lIG9uZQ==\n     3\tshort\n",
          "     1\t<secret-hidden>\n     2\t<secret-hidden>\n     3\tshort\n", key);
    CHECK(key, "<secret-hidden>", key);
    struct mask *m = make((const char *const[]){key}, 1);
    assert_int_equal(mask_count(m), 1);
    assert_true(str_is(mask_value(m, 0), key)); /* commands get it as it is */
    mask_unref(m);
}

/* What overlaps a piece of a secret at an edge goes with it. */
static void test_pieces_overlap(void **state)
{
    (void)state;
    struct mask *m = make((const char *const[]){"xxabcd", "abcdefgh", "efghyyyy"}, 3);
    autobuf before = {0}, behind = {0};
    mask_apply_cut(m, STR("abcdefgh rest"), true, false, &before);
    assert_string_equal(before.p, "<secret-hidden> rest");
    mask_apply_cut(m, STR("rest abcdefgh"), false, true, &behind);
    assert_string_equal(behind.p, "rest <secret-hidden>");
    mask_unref(m);
}

/* Half a secret at the edge of what was left out must not show. */
static void test_edges(void **state)
{
    (void)state;
    struct mask *m = make((const char *const[]){"s3cret-value"}, 1);
    autobuf head = {0}, tail = {0};
    mask_apply_head(m, STR("first line and s3cret-va"), &head);
    assert_lacks(head.p, "s3c");
    assert_has(head.p, "first line");
    mask_apply_tail(m, STR("ret-value and the last line, which is long enough"), &tail);
    assert_lacks(tail.p, "ret-v");
    assert_has(tail.p, "last line");
    buf_clear(&tail);
    mask_apply_tail(m, STR("12345s3cret-value rest"), &tail);
    assert_string_equal(tail.p, " rest");
    mask_unref(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_white_space_and_lines),
        cmocka_unit_test(test_pieces_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
