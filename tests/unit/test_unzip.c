/* The reader of zip archives: ours, those of other programs, and those that lie. */
#include "zip_fixture.h"
#include "zip/unzip.h"

/* Bytes of the records, and places in them. */
#define LOCAL_BYTES 30
#define CENTRAL_BYTES 46
#define CENTRAL_FLAGS 8
#define CENTRAL_METHOD 10
#define CENTRAL_CRC 16
#define CENTRAL_PACKED 20
#define CENTRAL_SIZE 24
#define CENTRAL_NAME 28
#define CENTRAL_OFFSET 42
#define END_DISK 4
#define END_HERE 8
#define END_COUNT 10
#define END_SIZE 12
#define END_OFFSET 16
#define END_COMMENT 20
#define LOCATOR_BYTES 20
#define END64_BYTES 56

#define HELLO_4 "hello hello hello hello "
#define HELLO_20 HELLO_4 HELLO_4 HELLO_4 HELLO_4 HELLO_4

/* ---- archives ---- */

static void add(struct zip *z, const char *name, uint64_t most, struct str content)
{
    const struct zip_entry one = {.name = str_from(name), .mode = FILE_MODE, .most = most};
    assert_true(zip_begin(z, &one) && zip_data(z, content) && zip_finish(z));
}

static void add_whole(struct zip *z, const char *name, unsigned mode, const char *content)
{
    const struct zip_entry one = {.name = str_from(name), .mode = mode};
    assert_true(zip_add(z, &one, str_from(content)));
}

static void end(struct zip *z, const char *comment)
{
    assert_true(zip_end(z, str_from(comment)));
    zip_free(z);
}

/* "d/a" deflated, "b" stored. */
static void make_two(struct buf *out)
{
    struct zip *z = zip_new(into_buf, out, 0);
    add(z, "d/a", 100, STR("hello hello hello hello"));
    add_whole(z, "b", FILE_MODE, "stored");
    end(z, "");
}

static void put(struct buf *b, size_t at, size_t n, uint64_t v)
{
    assert_true(at + n <= b->n);
    for (size_t i = 0; i < n; i++)
        b->p[at + i] = (char)(v >> 8 * i);
}

/* Of an archive without a comment. */
static size_t directory_of(const struct buf *b)
{
    return (size_t)number(b, b->n - END_BYTES + END_OFFSET, 4);
}

static void sample(const char *name, struct buf *out)
{
    autobuf path = {0};
    const char *corpus = getenv("HANDSD_CORPUS");
    buf_addf(&path, "%s/unzip/%s", corpus ? corpus : "fuzz/corpus", name);
    FILE *f = fopen(path.p, "re");
    assert_non_null(f);
    out->n += fread(buf_reserve(out, 4096), 1, 4096, f);
    fclose(f);
}

/* ---- what is read ---- */

struct seen {
    struct buf log; /* name=content; where the content is short */
    size_t files, pieces;
    uint64_t bytes;
    struct buf last; /* a name */
    size_t stop_at;  /* pieces, if not 0 */
};

static bool on_file(void *arg, struct str name, struct str piece, struct err **e)
{
    struct seen *s = arg;
    assert_true(piece.n <= UNZIP_PIECE);
    if (++s->pieces == s->stop_at)
        return err_set(e, ERR_IO, "the disk is full");
    s->bytes += piece.n;
    if (s->files > 0 && piece.n > 0 && str_eq(name, buf_str(&s->last)))
        return true;
    s->files++;
    buf_clear(&s->last);
    buf_add(&s->last, name);
    if (piece.n < 1000 && s->log.n < 1000) {
        buf_add(&s->log, name);
        buf_addf(&s->log, "=%.*s;", STR_ARG(piece));
    }
    return true;
}

static void seen_deinit(struct seen *s)
{
    buf_deinit(&s->log);
    buf_deinit(&s->last);
}
#define autoseen __attribute__((cleanup(seen_deinit))) struct seen

static void reads(const struct buf *zip, const char *log)
{
    autoseen s = {0};
    autoerr e = NULL;
    if (!unzip_files(buf_str(zip), on_file, &s, &e))
        fail_msg("%s", err_text(e));
    assert_string_equal(buf_str(&s.log).p, log);
}

/* Returns the bytes that came before the error, of which `says` is a part. */
static uint64_t refuses(const struct buf *zip, enum err_kind kind, const char *says)
{
    autoseen s = {0};
    autoerr e = NULL;
    /* A copy without a byte behind it, so that a sanitizer sees a read too far. */
    autofree char *copy = xmalloc(zip->n);
    memcpy(copy, zip->p, zip->n);
    assert_false(unzip_files(str_make(copy, zip->n), on_file, &s, &e));
    assert_int_equal(e->kind, kind);
    if (!strstr(e->text, says))
        fail_msg("%s (not: %s)", e->text, says);
    return s.bytes;
}

static void round_trip(void **state)
{
    (void)state;
    autobuf out = {0};
    struct zip *z = zip_new(into_buf, &out, 0);
    add_whole(z, "d/", S_IFDIR | 0755, "");
    add(z, "d/a", 100, STR("hello"));
    add(z, "empty", 100, STR(""));
    add(z, "wide", 5 * GB, STR("small"));
    add_whole(z, "stored", FILE_MODE, "as it is");
    add_whole(z, "nothing", FILE_MODE, "");
    add_whole(z, "link", S_IFLNK | 0777, "d/a");
    add_whole(z, "fifo", S_IFIFO | 0644, "");
    add_whole(z, "caf\xc3\xa9", FILE_MODE, "u");
    end(z, "a comment");
    reads(&out, "d/a=hello;empty=;wide=small;stored=as it is;nothing=;caf\xc3\xa9=u;");
}

static void nothing_in_it(void **state)
{
    (void)state;
    autobuf out = {0};
    end(zip_new(into_buf, &out, 0), "");
    reads(&out, "");
}

static void pieces(void **state)
{
    (void)state;
    const size_t n = 3 * UNZIP_PIECE + 7;
    autobuf out = {0}, content = {0};
    autoseen s = {0};
    for (uint32_t v = 1; content.n < n; v = v * 1664525 + 1013904223)
        buf_add_char(&content, (char)(v >> 24));
    struct zip *z = zip_new(into_buf, &out, 0);
    const struct zip_entry stored = {.name = STR("stored"), .mode = FILE_MODE};
    add(z, "deflated", n, buf_str(&content));
    add(z, "exact", n, str_sub(buf_str(&content), 0, 2 * UNZIP_PIECE));
    assert_true(zip_add(z, &stored, buf_str(&content)));
    end(z, "");
    assert_true(unzip_files(buf_str(&out), on_file, &s, NULL));
    assert_int_equal(s.files, 3);
    assert_int_equal(s.pieces, 4 + 2 + 4);
    assert_int_equal(s.bytes, 2 * n + 2 * UNZIP_PIECE);
}

static void more_than_65535_entries(void **state)
{
    (void)state;
    autobuf out = {0};
    autoseen s = {0};
    char name[16];
    struct zip *z = zip_new(into_buf, &out, 0);
    for (int i = 0; i < 70000; i++) {
        snprintf(name, sizeof(name), "%d", i);
        add_whole(z, name, FILE_MODE, "");
    }
    end(z, "");
    assert_true(unzip_files(buf_str(&out), on_file, &s, NULL));
    assert_int_equal(s.files, 70000);
    assert_string_equal(s.last.p, "69999");
}

/* Python's zipfile (the second into a pipe, with sizes behind the files, one of them wide), and Info-ZIP (likewise). */
static void of_other_programs(void **state)
{
    (void)state;
    static const struct {
        const char *name, *log;
    } cases[] = {
        {"python", "d/a=" HELLO_20 ";caf\xc3\xa9=stored;e=;"},
        {"piped", "a=hello;b=" HELLO_20 ";"},
        {"zip", "a=" HELLO_20 ";d/b=x;"},
        {"streamed", "a=" HELLO_20 ";"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autobuf zip = {0};
        sample(cases[i].name, &zip);
        reads(&zip, cases[i].log);
    }
}

static void what_is_not_read(void **state)
{
    (void)state;
    static const struct {
        const char *name, *says;
    } cases[] = {{"encrypted", "a is encrypted"},
                 {"bzip2", "a is packed with bzip2"},
                 {"lzma", "a is packed with LZMA"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autobuf zip = {0};
        sample(cases[i].name, &zip);
        assert_int_equal(refuses(&zip, ERR_INVALID, cases[i].says), 0);
    }
    autobuf zip = {0};
    make_two(&zip);
    put(&zip, directory_of(&zip) + CENTRAL_METHOD, 2, 77);
    refuses(&zip, ERR_INVALID, "d/a is packed with an unknown method (77)");
    put(&zip, directory_of(&zip) + CENTRAL_FLAGS, 2, 1u << 5);
    refuses(&zip, ERR_INVALID, "is a patch");
}

static void cut_anywhere(void **state)
{
    (void)state;
    static const char *const names[] = {"python", "piped", "zip", "streamed"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        autobuf zip = {0};
        sample(names[i], &zip);
        while (zip.n > 0) {
            buf_truncate(&zip, zip.n - 1);
            refuses(&zip, ERR_INVALID, "it has no end record");
        }
    }
}

/* The same bytes with one of them missing: nothing is where it was. And each bit turned: what is read ends. */
static void damaged_anywhere(void **state)
{
    (void)state;
    static const char *const names[] = {"python", "piped", "zip", "streamed"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        autobuf zip = {0};
        sample(names[i], &zip);
        for (size_t at = 0; at < zip.n; at++) {
            autobuf shorter = {0};
            buf_add(&shorter, str_sub(buf_str(&zip), 0, at));
            buf_add(&shorter, str_sub(buf_str(&zip), at + 1, zip.n));
            refuses(&shorter, ERR_INVALID, "");
            for (unsigned bit = 0; bit < 8; bit++) {
                autoseen s = {0};
                autofree char *copy = xmalloc(zip.n);
                memcpy(copy, zip.p, zip.n);
                copy[at] = (char)(copy[at] ^ (1 << bit));
                unzip_files(str_make(copy, zip.n), on_file, &s, NULL);
                assert_true(s.bytes < 1000);
            }
        }
    }
}

static void content_that_is_not_as_said(void **state)
{
    (void)state;
    static const struct {
        size_t entry, at, n;
        uint64_t v;
        const char *says;
    } cases[] = {
        {0, CENTRAL_SIZE, 4, 22, "d/a is not as long"},
        {0, CENTRAL_SIZE, 4, 24, "d/a is not as long"},
        {0, CENTRAL_SIZE, 4, 0, "d/a is not as long"},
        {0, CENTRAL_CRC, 4, 1, "d/a has not the checksum"},
        {0, CENTRAL_PACKED, 4, 3, "d/a is damaged"},
        {0, CENTRAL_PACKED, 4, 0, "d/a is damaged"},
        {0, CENTRAL_PACKED, 4, 20, "d/a ends before"},
        {1, CENTRAL_SIZE, 4, 7, "b is not as long"},
        {1, CENTRAL_PACKED, 4, 5, "b is not as long"},
        {1, CENTRAL_CRC, 4, 1, "b has not the checksum"},
        {1, CENTRAL_PACKED, 4, 7, "b is not where"},
        {1, CENTRAL_OFFSET, 4, 0, "b is not where"},
        {1, CENTRAL_OFFSET, 4, 1, "b is not where"},
        {1, CENTRAL_OFFSET, 4, 0xFFFFFFFE, "b is not where"},
        {1, CENTRAL_OFFSET, 4, 0xFFFFFFFF, "is damaged"},
        {1, CENTRAL_METHOD, 2, 8, "b is not where"},
        {1, CENTRAL_NAME, 2, 2, ""},
        {1, CENTRAL_NAME, 2, 0, "is damaged"},
        {1, CENTRAL_NAME, 2, 0xFFFF, "directory is damaged"},
        {1, CENTRAL_BYTES, 1, 'c', "c is not where"},
        {1, 0, 4, 0, "directory is damaged"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autobuf zip = {0};
        make_two(&zip);
        size_t at = directory_of(&zip);
        if (cases[i].entry == 1) /* behind the first, its name and its time */
            at += CENTRAL_BYTES + 3 + 9;
        put(&zip, at + cases[i].at, cases[i].n, cases[i].v);
        refuses(&zip, ERR_INVALID, cases[i].says);
    }
}

/* The end record is believed no more than the rest. */
static void a_false_end(void **state)
{
    (void)state;
    static const struct {
        size_t at, n;
        uint64_t v;
        const char *says;
    } cases[] = {
        {END_DISK, 2, 1, "several parts"},
        {END_HERE, 2, 1, "several parts"},
        {END_SIZE, 4, 0xFFFFFFFE, "does not lie in it"},
        {END_SIZE, 4, 0xFFFFFFFF, "does not lie in it"},
        {END_OFFSET, 4, 0xFFFFFFFE, "does not lie in it"},
        {END_OFFSET, 4, 0, "does not lie in it"},
        {END_COMMENT, 2, 1, "no end record"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autobuf zip = {0};
        make_two(&zip);
        put(&zip, zip.n - END_BYTES + cases[i].at, cases[i].n, cases[i].v);
        if (cases[i].at == END_OFFSET && cases[i].v == 0)
            put(&zip, zip.n - END_BYTES + END_SIZE, 4, zip.n);
        refuses(&zip, ERR_INVALID, cases[i].says);
    }
    for (unsigned count = 1; count <= 3; count += 2) {
        autobuf zip = {0};
        make_two(&zip);
        put(&zip, zip.n - END_BYTES + END_HERE, 2, count);
        put(&zip, zip.n - END_BYTES + END_COUNT, 2, count);
        refuses(&zip, ERR_INVALID, count == 1 ? "more entries than it says" : "directory is damaged");
    }
}

/* A comment that looks like an end record, but does not end where the archive does. */
static void an_end_in_the_comment(void **state)
{
    (void)state;
    autobuf out = {0}, comment = {0};
    struct zip *z = zip_new(into_buf, &out, 0);
    add(z, "a", 100, STR("hello"));
    buf_add(&comment, STR("PK\5\6"));
    for (int i = 0; i < 40; i++)
        buf_add_char(&comment, ' ');
    end(z, comment.p);
    reads(&out, "a=hello;");
}

static void false_zip64(void **state)
{
    (void)state;
    static const struct {
        size_t at, n; /* behind the beginning of the wide end record */
        uint64_t v;
        const char *says;
    } cases[] = {
        {0, 4, 0, "end record for zip64"},
        {4, 8, 43, "end record for zip64"},
        {4, 8, UINT64_MAX, "end record for zip64"},
        {16, 4, 1, "several parts"},
        {24, 8, 1, "several parts"},
        {40, 8, UINT64_MAX, "does not lie in it"},
        {48, 8, UINT64_MAX, "does not lie in it"},
        {END64_BYTES + 8, 8, UINT64_MAX, "end record for zip64"},
        {END64_BYTES + 8, 8, 0, "end record for zip64"},
        {END64_BYTES + 16, 4, 2, "several parts"},
    };
    autobuf whole = {0};
    char name[16];
    struct zip *z = zip_new(into_buf, &whole, 0);
    for (int i = 0; i < 65535; i++) {
        snprintf(name, sizeof(name), "%d", i);
        add_whole(z, name, FILE_MODE, "");
    }
    end(z, "");
    size_t end64 = whole.n - END_BYTES - LOCATOR_BYTES - END64_BYTES;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autobuf zip = {0};
        buf_add(&zip, buf_str(&whole));
        put(&zip, end64 + cases[i].at, cases[i].n, cases[i].v);
        assert_int_equal(refuses(&zip, ERR_INVALID, cases[i].says), 0);
    }
    put(&whole, end64 + 24, 8, UNZIP_FILES_MAX + 1);
    put(&whole, end64 + 32, 8, UNZIP_FILES_MAX + 1);
    refuses(&whole, ERR_TOO_LARGE, "files");
}

/* 1,000 names for the same 2.5 MB of zeros. */
static void files_on_top_of_each_other(void **state)
{
    (void)state;
    const size_t n = 10 * UNZIP_PIECE;
    autobuf zip = {0}, record = {0};
    autofree char *zeros = xcalloc(1, n);
    struct zip *z = zip_new(into_buf, &zip, 0);
    add(z, "a", n, str_make(zeros, n));
    end(z, "");
    size_t directory = directory_of(&zip), record_n = zip.n - END_BYTES - directory;
    buf_add(&record, str_sub(buf_str(&zip), directory, directory + record_n));
    for (int i = 1; i < 1000; i++)
        buf_insert(&zip, directory, buf_str(&record));
    put(&zip, zip.n - END_BYTES + END_HERE, 2, 1000);
    put(&zip, zip.n - END_BYTES + END_COUNT, 2, 1000);
    put(&zip, zip.n - END_BYTES + END_SIZE, 4, 1000 * record_n);
    assert_int_equal(refuses(&zip, ERR_INVALID, "a overlaps"), n);
}

/* Its content is the archive itself. */
static void an_archive_in_itself(void **state)
{
    (void)state;
    autobuf zip = {0};
    struct zip *z = zip_new(into_buf, &zip, 0);
    add_whole(z, "a", FILE_MODE, "hello");
    end(z, "");
    put(&zip, directory_of(&zip) + CENTRAL_PACKED, 4, zip.n - LOCAL_BYTES - 10);
    put(&zip, directory_of(&zip) + CENTRAL_SIZE, 4, zip.n - LOCAL_BYTES - 10);
    assert_int_equal(refuses(&zip, ERR_INVALID, "a is not where"), 0);
}

static void bombs(void **state)
{
    (void)state;
    const size_t n = 10 * UNZIP_PIECE;
    autofree char *zeros = xcalloc(1, n);
    { /* It says 5 bytes and is 2.5 MB. */
        autobuf zip = {0};
        struct zip *z = zip_new(into_buf, &zip, 0);
        add(z, "a", n, str_make(zeros, n));
        end(z, "");
        put(&zip, directory_of(&zip) + CENTRAL_SIZE, 4, 5);
        assert_int_equal(refuses(&zip, ERR_INVALID, "a is not as long"), 0);
    }
    autobuf zip = {0};
    struct zip *z = zip_new(into_buf, &zip, 0);
    for (int i = 0; i < 5; i++)
        add(z, "a", n, STR("x"));
    end(z, "");
    for (size_t i = 0, at = directory_of(&zip); i < 5; i++, at += CENTRAL_BYTES + 1 + 9)
        put(&zip, at + CENTRAL_SIZE, 4, 0xFFFFFFF0);
    assert_int_equal(refuses(&zip, ERR_INVALID, "not as long"), 0);
}

/* One says that it is wider than all that may be, in a field of zip64. */
static void more_than_may_be(void **state)
{
    (void)state;
    autobuf zip = {0};
    struct zip *z = zip_new(into_buf, &zip, 0);
    const struct zip_entry one = {.name = STR("a"), .mode = FILE_MODE, .time_s = INT64_MAX, .most = 10};
    assert_true(zip_begin(z, &one) && zip_data(z, STR("x")) && zip_finish(z));
    end(z, "");
    size_t directory = directory_of(&zip);
    put(&zip, directory + CENTRAL_SIZE, 4, 0xFFFFFFFF);
    put(&zip, directory + 30, 2, 12);
    buf_insert(&zip, directory + CENTRAL_BYTES + 1, STR("\1\0\10\0\0\0\0\0\4\0\0\0"));
    put(&zip, zip.n - END_BYTES + END_SIZE, 4, CENTRAL_BYTES + 1 + 12);
    assert_int_equal(number(&zip, directory + CENTRAL_BYTES + 1 + 4, 8), UNZIP_BYTES_MAX);
    refuses(&zip, ERR_INVALID, "not as long");
    put(&zip, directory + CENTRAL_BYTES + 1 + 4, 8, UNZIP_BYTES_MAX + 1);
    assert_int_equal(refuses(&zip, ERR_TOO_LARGE, "16 GB"), 0);
    put(&zip, directory + CENTRAL_BYTES + 1 + 2, 2, 7); /* a field that is too short */
    refuses(&zip, ERR_INVALID, "is damaged");
}

static void names(void **state)
{
    (void)state;
    autobuf name = {0};
    for (int i = 0; i < UNZIP_NAME_MAX; i++)
        buf_add_char(&name, 'n');
    for (int longer = 0; longer < 2; longer++) {
        autobuf zip = {0};
        autoseen s = {0};
        struct zip *z = zip_new(into_buf, &zip, 0);
        add_whole(z, name.p, FILE_MODE, "");
        end(z, "");
        if (longer)
            refuses(&zip, ERR_TOO_LARGE, "name");
        else
            assert_true(unzip_files(buf_str(&zip), on_file, &s, NULL));
        buf_add_char(&name, 'n');
    }
    autobuf zip = {0};
    struct zip *z = zip_new(into_buf, &zip, 0);
    add_whole(z, "a\x1b[2J", FILE_MODE, "x");
    end(z, "");
    put(&zip, directory_of(&zip) + CENTRAL_CRC, 4, 0);
    refuses(&zip, ERR_INVALID, "a?[2J has not");
}

static void nobody_wants_it(void **state)
{
    (void)state;
    autobuf zip = {0};
    autoerr e = NULL;
    autoseen s = {.stop_at = 2};
    make_two(&zip);
    assert_false(unzip_files(buf_str(&zip), on_file, &s, &e));
    assert_int_equal(e->kind, ERR_IO);
    assert_string_equal(e->text, "the disk is full");
    assert_int_equal(s.pieces, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(nothing_in_it),
        cmocka_unit_test(pieces),
        cmocka_unit_test(more_than_65535_entries),
        cmocka_unit_test(of_other_programs),
        cmocka_unit_test(what_is_not_read),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(damaged_anywhere),
        cmocka_unit_test(content_that_is_not_as_said),
        cmocka_unit_test(a_false_end),
        cmocka_unit_test(an_end_in_the_comment),
        cmocka_unit_test(false_zip64),
        cmocka_unit_test(files_on_top_of_each_other),
        cmocka_unit_test(an_archive_in_itself),
        cmocka_unit_test(bombs),
        cmocka_unit_test(more_than_may_be),
        cmocka_unit_test(names),
        cmocka_unit_test(nobody_wants_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
