#include "base/uuid.h"
#include "base/map.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void forms(void **state)
{
    (void)state;
    static const char *const same[] = {"0123456789abcdef0123456789abcdef",
                                       "0123456789ABCDEF0123456789ABCDEF",
                                       "01234567-89ab-cdef-0123-456789abcdef",
                                       "01234567-89AB-CDEF-0123-456789abcdef",
                                       "{01234567-89ab-cdef-0123-456789abcdef}",
                                       "{0123456789abcdef0123456789abcdef}",
                                       "urn:uuid:01234567-89ab-cdef-0123-456789abcdef",
                                       "URN:UUID:01234567-89ab-cdef-0123-456789abcdef"};
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        struct uuid id;
        char dashed[UUID_DASHED_LEN + 1], hex[UUID_HEX_LEN + 1];
        assert_true(uuid_parse(str_from(same[i]), &id));
        assert_string_equal(uuid_dashed(&id, dashed).p, "01234567-89ab-cdef-0123-456789abcdef");
        assert_string_equal(uuid_hex(&id, hex).p, "0123456789abcdef0123456789abcdef");
    }
}

static void refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "{}",
                                      "0123456789abcdef0123456789abcde",
                                      "0123456789abcdef0123456789abcdef0",
                                      "0123456789abcdef0123456789abcdeg",
                                      "012345678-9ab-cdef-0123-456789abcdef",
                                      "0123456789ab-cdef-0123-4567-89abcdef",
                                      "01234567-89ab-cdef-0123-456789abcde-",
                                      "{01234567-89ab-cdef-0123-456789abcdef",
                                      "0x23456789abcdef0123456789abcdef",
                                      "+1234567-89ab-cdef-0123-456789abcdef",
                                      " 0123456789abcdef0123456789abcdef",
                                      "urn:01234567-89ab-cdef-0123-456789abcdef"};
    struct uuid id = {{7}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (uuid_parse(str_from(bad[i]), &id))
            fail_msg("accepted: %s", bad[i]);
    assert_false(uuid_parse(STR_NONE, &id));
    assert_false(uuid_parse(str_make("0123456789abcdef0123456789abcd\0f", 32), &id));
    assert_int_equal(id.b[0], 7);
}

static void random_ones(void **state)
{
    (void)state;
    struct map *seen = map_new();
    for (int i = 0; i < 5000; i++) {
        struct uuid id = uuid_random();
        char hex[UUID_HEX_LEN + 1];
        assert_int_equal(id.b[6] >> 4, 4);
        assert_int_equal(id.b[8] >> 6, 2);
        assert_null(map_put(seen, uuid_hex(&id, hex), seen));
    }
    map_free(seen);
    struct uuid zero = {{0}}, one = uuid_random();
    assert_true(uuid_is_zero(&zero));
    assert_false(uuid_is_zero(&one));
    assert_true(uuid_eq(&one, &one));
    assert_false(uuid_eq(&one, &zero));
}

/* A fork has its parent's memory, but must not draw its ids. */
static void forks_differ(void **state)
{
    (void)state;
    uuid_random();
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct uuid id = uuid_random();
        _exit(write(ends[1], &id, sizeof(id)) == sizeof(id) ? 0 : 1);
    }
    struct uuid mine = uuid_random(), theirs;
    assert_int_equal(read(ends[0], &theirs, sizeof(theirs)), sizeof(theirs));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_false(uuid_eq(&mine, &theirs));
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(forms), cmocka_unit_test(refused),
                                       cmocka_unit_test(random_ones), cmocka_unit_test(forks_differ)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
