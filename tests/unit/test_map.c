/* map against a plain array that says what must be there. */
#include "base/map.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define KEYS 3000

static int values[KEYS];

static struct str key_of(int i, char out[32])
{
    snprintf(out, 32, "key %d", i);
    return str_from(out);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void text_keys(void **state)
{
    (void)state;
    struct map *m = map_new();
    bool there[KEYS] = {false};
    size_t count = 0;
    uint32_t seed = 1;
    char text[32];
    assert_null(map_get(m, STR("x")));
    assert_null(map_remove(m, STR("x")));
    /* Three rounds: mostly adding, mixed, mostly removing, so that it grows and shrinks. */
    for (int step = 0; step < 60000; step++) {
        int i = (int)(next_random(&seed) % KEYS);
        bool add = next_random(&seed) % 100 < (step < 20000 ? 80u : step < 40000 ? 50u : 5u);
        if (add) {
            assert_ptr_equal(map_put(m, key_of(i, text), &values[i]), there[i] ? &values[i] : NULL);
            count += !there[i];
        } else {
            assert_ptr_equal(map_remove(m, key_of(i, text)), there[i] ? &values[i] : NULL);
            count -= there[i];
        }
        there[i] = add;
        assert_int_equal(map_count(m), count);
        if (step % 5000 == 0)
            for (int k = 0; k < KEYS; k++)
                assert_ptr_equal(map_get(m, key_of(k, text)), there[k] ? &values[k] : NULL);
    }
    size_t cursor = 0, seen = 0;
    struct str key;
    void *value;
    while (map_next(m, &cursor, &key, &value)) {
        long i = (int *)value - values;
        assert_true(there[i]);
        assert_true(str_eq(key, key_of((int)i, text)));
        there[i] = false; /* each once */
        seen++;
    }
    assert_int_equal(seen, count);
    map_free(m);
}

static void odd_keys(void **state)
{
    (void)state;
    struct map *m = map_new();
    int a, b, c;
    assert_null(map_put(m, STR(""), &a));
    assert_null(map_put(m, str_make("\0", 1), &b));
    assert_null(map_put(m, str_make("\0\0", 2), &c));
    assert_ptr_equal(map_get(m, STR("")), &a);
    assert_ptr_equal(map_get(m, str_make("\0", 1)), &b);
    assert_ptr_equal(map_get(m, str_make("\0\0", 2)), &c);
    char key[] = "borrowed"; /* keys are copied */
    map_put(m, str_from(key), &a);
    memset(key, 'x', sizeof(key) - 1);
    assert_ptr_equal(map_get(m, STR("borrowed")), &a);
    assert_ptr_equal(map_put(m, STR("borrowed"), &b), &a);
    assert_ptr_equal(map_remove(m, STR("")), &a);
    assert_int_equal(map_count(m), 3);
    size_t cursor = 0;
    while (map_next(m, &cursor, NULL, NULL))
        ;
    map_free(m);
    map_free(NULL);
}

static void number_keys(void **state)
{
    (void)state;
    struct map_u64 *m = map_u64_new();
    bool there[KEYS] = {false};
    size_t count = 0;
    uint32_t seed = 7;
    assert_null(map_u64_get(m, 0));
    for (int step = 0; step < 60000; step++) {
        int i = (int)(next_random(&seed) % KEYS);
        uint64_t key = (uint64_t)i << 32; /* the low bits are all the same, as in event keys */
        bool add = next_random(&seed) % 100 < (step < 20000 ? 80u : step < 40000 ? 50u : 5u);
        void *old = add ? map_u64_put(m, key, &values[i]) : map_u64_remove(m, key);
        assert_ptr_equal(old, there[i] ? &values[i] : NULL);
        count = count + (add && !there[i]) - (!add && there[i]);
        there[i] = add;
        assert_int_equal(map_u64_count(m), count);
        if (step % 5000 == 0)
            for (int k = 0; k < KEYS; k++)
                assert_ptr_equal(map_u64_get(m, (uint64_t)k << 32), there[k] ? &values[k] : NULL);
    }
    size_t cursor = 0, seen = 0;
    uint64_t key;
    void *value;
    while (map_u64_next(m, &cursor, &key, &value)) {
        assert_ptr_equal(value, &values[key >> 32]);
        assert_true(there[key >> 32]);
        there[key >> 32] = false;
        seen++;
    }
    assert_int_equal(seen, count);
    assert_null(map_u64_put(m, UINT64_MAX, &values[1]));
    assert_ptr_equal(map_u64_get(m, UINT64_MAX), &values[1]);
    map_u64_free(m);
    map_u64_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(text_keys), cmocka_unit_test(odd_keys),
                                       cmocka_unit_test(number_keys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
