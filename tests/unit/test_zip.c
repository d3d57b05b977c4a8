/* The writer of zip archives: what tests with files cannot reach, that is zip64 and the edges of times and names. */
#include "zip_fixture.h"
#include <zlib.h>

#define LOCATOR_BYTES 20
#define END64_BYTES 56

static struct zip_entry entry(const char *name, uint64_t most)
{
    return (struct zip_entry){.name = str_from(name), .mode = FILE_MODE, .time_s = 1000000001, .most = most};
}

static void add(struct zip *z, const char *name, uint64_t most, const char *content)
{
    const struct zip_entry one = entry(name, most);
    assert_true(zip_begin(z, &one));
    assert_true(zip_data(z, str_from(content)));
    assert_true(zip_finish(z));
}

static struct str unpacked(struct str packed, char *into, size_t room)
{
    z_stream s = {.next_in = (unsigned char *)(uintptr_t)packed.p,
                  .avail_in = (unsigned)packed.n,
                  .next_out = (unsigned char *)into,
                  .avail_out = (unsigned)room};
    assert_int_equal(inflateInit2(&s, -MAX_WBITS), Z_OK);
    assert_int_equal(inflate(&s, Z_FINISH), Z_STREAM_END);
    struct str out = str_make(into, s.total_out);
    inflateEnd(&s);
    return out;
}

static void plain(void **state)
{
    (void)state;
    autobuf out = {0};
    char content[64];
    struct zip *z = zip_new(into_buf, &out, 0);
    add(z, "a", 100, "hello");
    assert_true(zip_end(z, STR("a comment")));
    zip_free(z);
    assert_int_equal(number(&out, 0, 4), 0x04034b50);
    assert_int_equal(number(&out, 4, 2), 20);          /* version */
    assert_int_equal(number(&out, 6, 2), 1u << 3);     /* a descriptor, and no UTF-8 */
    assert_int_equal(number(&out, 10, 4), 0x2b290dd4); /* 2001-09-09 01:46:40 */
    assert_int_equal(number(&out, 14, 4), 0);
    size_t data = 30 + 1 + 9, end = out.n - END_BYTES - 9;
    size_t directory = (size_t)number(&out, end + 16, 4);
    size_t packed = (size_t)number(&out, directory + 20, 4);
    assert_int_equal(number(&out, directory, 4), 0x02014b50);
    assert_int_equal(number(&out, directory + 24, 4), 5);
    assert_int_equal(number(&out, directory + 38, 4), (uint64_t)FILE_MODE << 16);
    assert_int_equal(directory, data + packed + 16);
    assert_int_equal(number(&out, data + packed, 4), 0x08074b50);
    assert_int_equal(number(&out, data + packed + 4, 4), crc32(0, (const unsigned char *)"hello", 5));
    assert_int_equal(number(&out, data + packed + 12, 4), 5);
    struct str back = unpacked(str_make(out.p + data, packed), content, sizeof(content));
    assert_true(str_eq(back, STR("hello")));
    assert_int_equal(number(&out, end, 4), 0x06054b50);
    assert_int_equal(number(&out, end + 10, 2), 1);
    assert_int_equal(number(&out, end + 20, 2), 9);
}

/* What may get large has wide sizes behind it, also when it stays small. */
static void large_entries(void **state)
{
    (void)state;
    autobuf out = {0};
    struct zip *z = zip_new(into_buf, &out, 0);
    add(z, "a", 5 * GB, "hello");
    assert_true(zip_end(z, STR("")));
    zip_free(z);
    assert_int_equal(number(&out, 4, 2), 45);
    assert_int_equal(number(&out, 18, 4), 0xFFFFFFFF);
    assert_int_equal(number(&out, 22, 4), 0xFFFFFFFF);
    assert_int_equal(number(&out, 31, 2), 1);
    assert_int_equal(number(&out, 33, 2), 16);
    size_t end = out.n - END_BYTES, directory = (size_t)number(&out, end + 16, 4);
    assert_int_equal(number(&out, directory - 24, 4), 0x08074b50);
    assert_int_equal(number(&out, directory - 8, 8), 5);
    assert_int_equal(number(&out, directory + 24, 4), 5);
}

/* `at` bytes stand before the first entry. */
static void offsets_past_4_gb(void **state)
{
    (void)state;
    autobuf out = {0};
    uint64_t at = 6 * GB;
    struct zip *z = zip_new(into_buf, &out, at);
    add(z, "a", 100, "hello");
    assert_true(zip_end(z, STR("")));
    zip_free(z);
    size_t end = out.n - END_BYTES, locator = end - LOCATOR_BYTES, end64 = locator - END64_BYTES;
    assert_int_equal(number(&out, end + 16, 4), 0xFFFFFFFF);
    assert_int_equal(number(&out, locator, 4), 0x07064b50);
    assert_int_equal(number(&out, locator + 8, 8), at + end64);
    assert_int_equal(number(&out, end64, 4), 0x06064b50);
    assert_int_equal(number(&out, end64 + 32, 8), 1);
    size_t directory = (size_t)(number(&out, end64 + 48, 8) - at);
    assert_int_equal(number(&out, directory, 4), 0x02014b50);
    assert_int_equal(number(&out, directory + 42, 4), 0xFFFFFFFF);
    assert_int_equal(number(&out, directory + 47, 2), 1); /* the extra field behind the name */
    assert_int_equal(number(&out, directory + 49, 2), 8);
    assert_int_equal(number(&out, directory + 51, 8), at);
}

static void more_than_65535_entries(void **state)
{
    (void)state;
    autobuf out = {0};
    char name[16];
    struct zip *z = zip_new(into_buf, &out, 0);
    for (int i = 0; i < 70000; i++) {
        snprintf(name, sizeof(name), "%d", i);
        const struct zip_entry one = entry(name, 0);
        assert_true(zip_add(z, &one, STR("")));
    }
    assert_int_equal(zip_count(z), 70000);
    assert_true(zip_end(z, STR("")));
    zip_free(z);
    size_t end = out.n - END_BYTES, end64 = end - LOCATOR_BYTES - END64_BYTES;
    assert_int_equal(number(&out, end + 10, 2), 0xFFFF);
    assert_int_equal(number(&out, end64 + 24, 8), 70000);
    assert_int_equal(number(&out, end64 + 32, 8), 70000);
}

static void names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool utf8;
    } cases[] = {{"plain", false}, {"caf\xc3\xa9", true}, {"caf\xe9", false}, {"\xff\xc3\xa9", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autobuf out = {0};
        struct zip *z = zip_new(into_buf, &out, 0);
        const struct zip_entry one = entry(cases[i].name, 0);
        assert_true(zip_add(z, &one, STR("x")) && zip_end(z, STR("")));
        zip_free(z);
        assert_int_equal(number(&out, 6, 2), cases[i].utf8 ? 1u << 11 : 0);
        assert_memory_equal(out.p + 30, cases[i].name, strlen(cases[i].name));
    }
}

static void times(void **state)
{
    (void)state;
    static const struct {
        int64_t time_s;
        uint64_t date, time, extra;
    } cases[] = {
        {0, 1 << 5 | 1, 0, 9},
        {INT64_MIN, 1 << 5 | 1, 0, 0},
        {951782400, 20 << 9 | 2 << 5 | 29, 0, 9},                         /* 2000-02-29 */
        {4107542399, 120 << 9 | 2 << 5 | 28, 23 << 11 | 59 << 5 | 29, 0}, /* 2100 has no leap day */
        {INT64_MAX, 127 << 9 | 12 << 5 | 31, 23 << 11 | 59 << 5 | 29, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autobuf out = {0};
        struct zip *z = zip_new(into_buf, &out, 0);
        struct zip_entry one = entry("a", 0);
        one.time_s = cases[i].time_s;
        assert_true(zip_add(z, &one, STR("")) && zip_end(z, STR("")));
        zip_free(z);
        assert_int_equal(number(&out, 10, 2), cases[i].time);
        assert_int_equal(number(&out, 12, 2), cases[i].date);
        assert_int_equal(number(&out, 28, 2), cases[i].extra);
    }
}

static void no_more_than_was_said(void **state)
{
    (void)state;
    autobuf out = {0};
    struct zip *z = zip_new(into_buf, &out, 0);
    add(z, "a", 3, "hello");
    assert_true(zip_end(z, STR("")));
    zip_free(z);
    size_t directory = (size_t)number(&out, out.n - END_BYTES + 16, 4);
    assert_int_equal(number(&out, directory + 24, 4), 3);
}

static bool refuses(void *arg, struct str data)
{
    (void)data;
    ++*(int *)arg;
    return false;
}

static void nobody_reads(void **state)
{
    (void)state;
    int calls = 0;
    struct zip *z = zip_new(refuses, &calls, 0);
    autobuf content = {0};
    for (int i = 0; i < 200000; i++)
        buf_addf(&content, "%d", i * 7919);
    const struct zip_entry one = entry("a", content.n);
    assert_true(zip_begin(z, &one)); /* it is collected first */
    assert_false(zip_data(z, buf_str(&content)));
    assert_false(zip_finish(z));
    assert_false(zip_add(z, &one, STR("")));
    assert_false(zip_end(z, STR("")));
    assert_int_equal(calls, 1);
    zip_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),
        cmocka_unit_test(large_entries),
        cmocka_unit_test(offsets_past_4_gb),
        cmocka_unit_test(more_than_65535_entries),
        cmocka_unit_test(names),
        cmocka_unit_test(times),
        cmocka_unit_test(no_more_than_was_said),
        cmocka_unit_test(nobody_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
