/* The file editor, driven through build/hand as the mind drives it. */
#include "hand_peer.h"
#include "base/fd.h"
#include "base/utf8.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* EDIT("view", "name") */

static struct peer *peer;
static char root[] = "/tmp/handsd-edit-XXXXXX";

/* --- asking ------------------------------------------------------------------------------------- */

struct ask {
    const char *command, *path; /* in the test's directory unless absolute */
    const char *text, *old, *new;
    int64_t line; /* insert_line + 1 */
    int64_t first, last;
    int64_t limit;
    const char *cwd, *name;
};

static char *place(const char *name)
{
    static char path[16][8192];
    static unsigned at;
    char *p = path[at++ % 16];
    snprintf(p, sizeof(path[0]), name[0] == '/' ? "%.0s%s" : "%s/%s", root, name);
    return p;
}

static void add(struct buf *fields, enum wire_field tag, const char *value)
{
    if (value)
        wire_add_str(fields, tag, str_from(value));
}

static struct outcome *edit(const struct ask *a)
{
    struct buf fields = {0};
    add(&fields, F_NAME, a->name ? a->name : "h");
    add(&fields, F_COMMAND, a->command);
    add(&fields, F_PATH, a->path && strncmp(a->path, "./", 2) == 0 ? a->path + 2 : place(a->path));
    add(&fields, F_TEXT, a->text);
    add(&fields, F_OLD, a->old);
    add(&fields, F_NEW, a->new);
    add(&fields, F_CWD, a->cwd);
    if (a->line)
        wire_add_int(&fields, F_LINE, a->line - 1);
    if (a->first) {
        wire_add_int(&fields, F_OFFSET, a->first);
        wire_add_int(&fields, F_LIMIT, a->last);
    }
    if (a->limit)
        wire_add_int(&fields, F_LIMIT, a->limit);
    return peer_call(peer, OP_EDIT, &fields);
}

#define EDIT(...) edit(&(struct ask){__VA_ARGS__})

static struct str field(const struct outcome *o, enum wire_field tag)
{
    return wire_get_str(buf_str(&o->result), tag);
}

static void assert_says(const struct outcome *o, bool error, const char *part)
{
    struct str text = field(o, F_TEXT);
    assert_status(o, WIRE_OK);
    if ((outcome_int(o, F_IS_ERROR) == 1) != error || str_find(text, str_from(part)) < 0)
        fail_msg("said \"%.*s\", not \"%s\"", STR_ARG(text), part);
    assert_true(utf8_valid(text));
}

static void write_bytes(const char *name, struct str bytes)
{
    FILE *f = fopen(place(name), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.p, 1, bytes.n, f), bytes.n);
    fclose(f);
}

static void assert_bytes(const char *name, struct str bytes)
{
    autobuf content = {0};
    assert_true(file_read(place(name), 64 * 1024 * 1024, &content, NULL));
    if (!str_eq(buf_str(&content), bytes))
        fail_msg("%s contains \"%.*s\"", name, STR_ARG(buf_str(&content)));
}

static unsigned mode_of(const char *name)
{
    struct stat st;
    assert_int_equal(stat(place(name), &st), 0);
    return st.st_mode & 07777;
}

static int setup(void **state)
{
    (void)state;
    peer = peer_new();
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    peer_free(peer, 0);
    return folder_remove(root);
}

/* --- tests ---------------------------------------------------------------------------------------- */

static void test_create(void **state)
{
    (void)state;
    struct outcome *o = EDIT("create", "new.txt", .text = "one\ntwo\n");
    assert_says(o, false, "new.txt");
    assert_int_equal(outcome_int(o, F_PREV_EXIST), 0);
    assert_true(str_is(field(o, F_NEW), "one\ntwo\n"));
    assert_false(wire_has(buf_str(&o->result), F_OLD));
    assert_bytes("new.txt", STR("one\ntwo\n"));
    assert_int_equal(mode_of("new.txt"), 0600);
    assert_says(EDIT("create", "new.txt", .text = "x"), true, "exists already");
    assert_says(EDIT("create", "other.txt"), true, "`file_text` is required");
    assert_says(EDIT("create", "no/such/dir.txt", .text = "x"), true, "cannot write");
    /* Undo right after create gives the same text; then there is nothing left. */
    assert_says(EDIT("undo_edit", "new.txt"), false, "     2\ttwo\n");
    assert_says(EDIT("undo_edit", "new.txt"), true, "no edit");
    assert_says(EDIT("create", "empty", .text = ""), false, "empty");
    assert_says(EDIT("view", "empty"), false, "     1\t\n");
}

static void test_paths(void **state)
{
    (void)state;
    write_bytes("there.txt", STR("x\n"));
    assert_says(EDIT("view", "./there.txt"), true, "must be absolute");
    assert_says(EDIT("view", "./there.txt", .cwd = root), true, place("there.txt"));
    assert_says(EDIT("view", "missing"), true, "does not exist");
    /* As seen from the top of the project. */
    assert_says(EDIT("view", "/there.txt", .cwd = root), true, place("there.txt"));
    assert_true(str_find(field(EDIT("view", "/no.txt", .cwd = root), F_TEXT), STR("Perhaps")) < 0);
    assert_says(EDIT("str_replace", "missing", .old = "a", .new = "b"), true, "does not exist");
    assert_says(EDIT("insert", "/tmp", .line = 1, .new = "b"), true, "is a directory");
    assert_says(EDIT("create", "/tmp", .text = "b"), true, "exists already");
    assert_says(EDIT("frobnicate", "there.txt"), true, "no command");
    write_bytes("with space\nand newline", STR("odd\n"));
    assert_says(EDIT("str_replace", "with space\nand newline", .old = "odd", .new = "even"), false, "even");
    assert_bytes("with space\nand newline", STR("even\n"));
    write_bytes("not-utf8-\xff", STR("x\n"));
    assert_says(EDIT("view", "not-utf8-\xff"), false, "     1\tx\n");
    autobuf deep = {0};
    for (unsigned i = 0; i < 3000; i++)
        buf_add(&deep, STR("/x"));
    assert_says(EDIT("view", deep.p), true, "cannot be reached");
}

static void test_view(void **state)
{
    (void)state;
    write_bytes("v.txt", STR("a\nb\nc\nd\ne"));
    struct outcome *o = EDIT("view", "v.txt");
    assert_says(o, false, ":\n     1\ta\n     2\tb\n     3\tc\n     4\td\n     5\te\n");
    assert_int_equal(outcome_int(o, F_PREV_EXIST), 1);
    write_bytes("w.txt", STR("a\n"));
    assert_says(EDIT("view", "w.txt"), false, "     1\ta\n     2\t\n");
    o = EDIT("view", "v.txt", .first = 2, .last = 3);
    assert_true(str_ends(field(o, F_TEXT), STR(":\n     2\tb\n     3\tc\n")));
    assert_true(str_ends(field(EDIT("view", "v.txt", .first = 4, .last = -1), F_TEXT),
                         STR("     4\td\n     5\te\n")));
    assert_says(EDIT("view", "v.txt", .first = 4, .last = 9), false, "up to 5");
    assert_says(EDIT("view", "v.txt", .first = 6, .last = 9), true, "within [1, 5]");
    assert_says(EDIT("view", "v.txt", .first = 3, .last = 2), true, "not be less than its first, 3");
    assert_says(EDIT("view", "v.txt", .first = -3, .last = 2), true, "within [1, 5]");
    assert_says(EDIT("view", root, .first = 1, .last = 2), true, "directory");
}

static void test_view_is_clipped(void **state)
{
    (void)state;
    autobuf big = {0};
    for (unsigned i = 0; i < 100000; i++)
        buf_addf(&big, "line %u żółw\n", i);
    write_bytes("big.txt", buf_str(&big));
    struct outcome *o = EDIT("view", "big.txt");
    assert_says(o, false, "clipped");
    struct str text = field(o, F_TEXT);
    assert_true(utf8_count(text) <= 16000 + 200);
    assert_says(o, false, "     1\tline 0");
    assert_says(o, false, "line 99999");
    o = EDIT("view", "big.txt", .limit = 500);
    assert_true(utf8_count(field(o, F_TEXT)) <= 700);
}

static void test_view_directory(void **state)
{
    (void)state;
    mkdir(place("d"), 0755);
    mkdir(place("d/sub"), 0755);
    mkdir(place("d/sub/deep"), 0755);
    mkdir(place("d/.hidden"), 0755);
    write_bytes("d/a.txt", STR("x"));
    write_bytes("d/sub/b.txt", STR("x"));
    write_bytes("d/sub/deep/c.txt", STR("x"));
    write_bytes("d/.env", STR("x"));
    write_bytes("d/.hidden/x", STR("x"));
    assert_int_equal(symlink("sub", place("d/link")), 0);
    struct outcome *o = EDIT("view", "d");
    autobuf expected = {0};
    const char *d = place("d");
    buf_addf(
        &expected,
        "%s/\n%s/a.txt\n%s/link/\n%s/link/b.txt\n%s/link/deep/\n%s/sub/\n%s/sub/b.txt\n%s/sub/deep/\n\n(2 hidden",
        d, d, d, d, d, d, d, d);
    assert_says(o, false, expected.p);
    assert_true(str_find(field(o, F_TEXT), STR("c.txt")) < 0);
    assert_says(EDIT("view", "/"), false, "\n/usr/\n");
}

static void test_replace(void **state)
{
    (void)state;
    write_bytes("r.py", STR("l1\nl2\nl3\nl4\nl5\nl6\nl7\nl8\nl9\nl10\nl11\n"));
    assert_int_equal(chmod(place("r.py"), 0751), 0);
    struct outcome *o = EDIT("str_replace", "r.py", .old = "l6\n", .new = "six\nseis\n");
    assert_says(o, false,
                ":\n     3\tl3\n     4\tl4\n     5\tl5\n     6\tsix\n     7\tseis\n     8\tl7\n     9\tl8\n"
                "    10\tl9\n    11\tl10\n    12\tl11\nReview");
    assert_int_equal(mode_of("r.py"), 0751);
    assert_true(str_is(field(o, F_OLD), "l1\nl2\nl3\nl4\nl5\nl6\nl7\nl8\nl9\nl10\nl11\n"));
    assert_true(str_starts(field(o, F_NEW), STR("l1\nl2\nl3\nl4\nl5\nsix\nseis\nl7\n")));
    assert_says(EDIT("str_replace", "r.py", .old = "l7"), true, "`new_str` is required");
    assert_says(EDIT("str_replace", "r.py", .new = "l7"), true, "`old_str` is required");
    assert_says(EDIT("str_replace", "r.py", .old = "l7", .new = "l7"), true, "must differ");
    assert_says(EDIT("str_replace", "r.py", .old = "nowhere", .new = "x"), true, "`nowhere` does not occur");
    assert_says(EDIT("str_replace", "r.py", .old = "", .new = "x"), true, "does not occur");
    assert_says(EDIT("str_replace", "r.py", .old = "l1", .new = "x"), true, "lines [1, 11, 12]");
    assert_says(EDIT("str_replace", "r.py", .old = "\n  six \n", .new = "SIX"), false, "     6\tSIX\n");
    assert_says(EDIT("str_replace", "r.py", .old = "SIX", .new = ""), false, "     6\t\n");
    write_bytes("over.txt", STR("aaa"));
    assert_says(EDIT("str_replace", "over.txt", .old = "aa", .new = "b"), false, "     1\tba\n");
}

static void test_insert(void **state)
{
    (void)state;
    write_bytes("i.txt", STR("a\nb"));
    assert_says(EDIT("insert", "i.txt", .line = 2, .new = "x"), false,
                "     1\ta\n     2\tx\n     3\tb\nReview");
    assert_bytes("i.txt", STR("a\nx\nb"));
    assert_says(EDIT("insert", "i.txt", .line = 1, .new = "top\n"), false,
                "     1\ttop\n     2\t\n     3\ta\n");
    assert_bytes("i.txt", STR("top\n\na\nx\nb"));
    assert_says(EDIT("insert", "i.txt", .line = 6, .new = "end"), false, "     6\tend\nReview");
    assert_bytes("i.txt", STR("top\n\na\nx\nb\nend\n"));
    assert_says(EDIT("insert", "i.txt", .line = 8, .new = "x"), true, "within [0, 6]");
    assert_says(EDIT("insert", "i.txt", .line = 1), true, "`new_str` is required");
    assert_says(EDIT("insert", "i.txt", .new = "x"), true, "`insert_line` is required");
    write_bytes("e.txt", STR(""));
    assert_says(EDIT("insert", "e.txt", .line = 1, .new = "x"), false, "     1\tx\n");
    assert_bytes("e.txt", STR("x\n"));
}

static void test_undo(void **state)
{
    (void)state;
    char old[16], new[16];
    write_bytes("u.txt", STR("v0\r\n"));
    for (unsigned i = 0; i < 12; i++) {
        snprintf(old, sizeof(old), "v%u", i);
        snprintf(new, sizeof(new), "v%u", i + 1);
        assert_says(EDIT("str_replace", "u.txt", .old = old, .new = new), false, new);
    }
    assert_bytes("u.txt", STR("v12\n"));
    assert_says(EDIT("undo_edit", "u.txt", .name = "another"), true, "no edit");
    for (unsigned i = 11; i >= 2; i--) {
        snprintf(old, sizeof(old), "     1\tv%u\n", i);
        struct outcome *o = EDIT("undo_edit", "u.txt");
        assert_says(o, false, old);
        assert_true(str_starts(field(o, F_OLD), STR("v")));
    }
    assert_says(EDIT("undo_edit", "u.txt"), true, "no edit");
    /* Another name of the same path is the same file. */
    write_bytes("same.txt", STR("a"));
    EDIT("str_replace", "same.txt", .old = "a", .new = "b");
    char twice[4096];
    snprintf(twice, sizeof(twice), "%s//./same.txt", root);
    assert_says(EDIT("undo_edit", twice), false, "     1\ta\n");
    /* The bytes come back, not only the text. */
    write_bytes("crlf.txt", STR("a\r\nb\r\n"));
    EDIT("str_replace", "crlf.txt", .old = "a\nb", .new = "c");
    assert_bytes("crlf.txt", STR("c\n"));
    EDIT("undo_edit", "crlf.txt");
    assert_bytes("crlf.txt", STR("a\r\nb\r\n"));
}

static void test_encodings(void **state)
{
    (void)state;
    static const struct {
        struct str before, after;
        const char *old, *new;
    } cases[] = {
        {STR_INIT("caf\xe9 \x80\n"), STR_INIT("th\xe9 \x80\n"), "café", "thé"},
        {STR_INIT("caf\xe9\n"), STR_INIT("caf\xc3\xa9 \xe2\x98\x95\n"), "café", "café ☕"},
        {STR_INIT("\xef\xbb\xbfx = 1\n"), STR_INIT("\xef\xbb\xbfx = ż\n"), "1", "ż"},
        {STR_INIT("\xff\xfe"
                  "a\0b\0\n\0"),
         STR_INIT("\xff\xfe"
                  "a\0\x3d\xd8\x00\xde\n\0"),
         "b", "😀"},
        {STR_INIT("\xfe\xff\0a\0b\0\r\0\n"), STR_INIT("\xfe\xff\0a\0c\0\n"), "b", "c"},
        {STR_INIT("tab\tand \x1b[1m bell-free\n"), STR_INIT("tab\tor \x1b[1m bell-free\n"), "and", "or"},
        {STR_INIT("a\0b\0\n\0a\0a\0a\0"), STR_INIT("a\0\x7c\x01\n\0a\0a\0a\0"), "b",
         "ż"}, /* UTF-16 without a mark */
        {STR_INIT("\0a\0b\0\n\0a"), STR_INIT("\0a\0c\0\n\0a"), "b", "c"},
        {STR_INIT("\xc9t\xe9 cr\xe9\xe9"
                  "e\n"),
         STR_INIT("\xc9t\xe9 n\xe9"
                  "e\n"),
         "créée", "née"},
        {STR_INIT("lone\rreturn\r\n"), STR_INIT("lone\rRETURN\n"), "return", "RETURN"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        write_bytes("enc", cases[i].before);
        assert_says(EDIT("str_replace", "enc", .old = cases[i].old, .new = cases[i].new), false,
                    cases[i].new);
        assert_bytes("enc", cases[i].after);
    }
}

static void test_refuses_binary_and_huge(void **state)
{
    (void)state;
    write_bytes("bin", STR("\x7f"
                           "ELF\x02\x01\x01\0\0\0\0\0\xff\xfe\x03"));
    assert_says(EDIT("view", "bin"), true, "binary");
    assert_says(EDIT("str_replace", "bin", .old = "ELF", .new = "elf"), true, "binary");
    write_bytes("bin2", STR("\x93\x01\x02\x8d\x90"));
    assert_says(EDIT("view", "bin2"), true, "binary");
    /* In another encoding: Russian in Windows-1251, Chinese in GBK. Edited as Windows-1252 they would come back broken. */
    write_bytes("russian", STR("# \xef\xf0\xe8\xe2\xe5\xf2, \xec\xe8\xf0\n"));
    assert_says(EDIT("view", "russian"), true, "another encoding");
    write_bytes("chinese", STR("x = 1 # \xc4\xe3\xba\xc3\xca\xc0\xbd\xe7\n"));
    assert_says(EDIT("str_replace", "chinese", .old = "1", .new = "2"), true, "another encoding");
    write_bytes("huge", STR(""));
    assert_int_equal(truncate(place("huge"), 11 * 1024 * 1024 + 512 * 1024), 0);
    assert_says(EDIT("view", "huge"), true, "11.5 MB");
    assert_says(EDIT("view", "huge"), true, "at most 10 MB");
    autobuf big = {0};
    for (unsigned i = 0; i < 300000; i++)
        buf_add_char(&big, i % 80 ? 'a' : '\n');
    write_bytes("large", buf_str(&big));
    struct outcome *o = EDIT("insert", "large", .line = 1, .new = "x");
    assert_says(o, false, "     1\tx\n");
    assert_false(wire_has(buf_str(&o->result), F_OLD)); /* more than 256 KiB */
    assert_false(wire_has(buf_str(&o->result), F_NEW));
}

static void test_odd_files_do_not_hang(void **state)
{
    (void)state;
    uint64_t start = now_ms();
    assert_int_equal(mkfifo(place("fifo"), 0600), 0);
    assert_says(EDIT("view", "fifo"), true, "not a regular file");
    assert_says(EDIT("insert", "fifo", .line = 1, .new = "x"), true, "not a regular file");
    assert_says(EDIT("create", "fifo", .text = "x"), true, "exists already");
    assert_says(EDIT("view", "/dev/zero"), true, "not a regular file");
    assert_says(EDIT("view", "/dev/tty"), true, "cannot be opened");
    assert_says(EDIT("view", "/proc/self/status"), false, "Name:");
    assert_int_equal(symlink("loop", place("loop")), 0);
    assert_says(EDIT("view", "loop"), true, "cannot be reached");
    assert_int_equal(symlink("/dev/zero", place("zero")), 0);
    assert_says(EDIT("str_replace", "zero", .old = "a", .new = "b"), true, "not a regular file");
    assert_true(now_ms() - start < 5000);
}

static void test_links_are_followed(void **state)
{
    (void)state;
    struct stat st;
    mkdir(place("target"), 0755);
    write_bytes("target/real", STR("x\n"));
    assert_int_equal(symlink("target/real", place("link1")), 0);
    assert_int_equal(symlink(place("link1"), place("link2")), 0);
    assert_says(EDIT("str_replace", "link2", .old = "x", .new = "y"), false, "y");
    assert_bytes("target/real", STR("y\n"));
    assert_int_equal(lstat(place("link1"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(symlink("target/fresh", place("dangling")), 0);
    assert_says(EDIT("create", "dangling", .text = "new\n"), false, "created");
    assert_bytes("target/fresh", STR("new\n"));
}

static void test_no_temporary_files_stay(void **state)
{
    (void)state;
    mkdir(place("clean"), 0755);
    EDIT("create", "clean/a", .text = "1");
    EDIT("str_replace", "clean/a", .old = "1", .new = "2");
    struct outcome *o = EDIT("view", "clean");
    assert_true(str_find(field(o, F_TEXT), STR("hidden entr")) < 0);
}

static void test_images(void **state)
{
    (void)state;
    autobuf image = {0};
    buf_add(&image, STR("\x89PNG\r\n\x1a\n"));
    for (unsigned i = 0; i < 900000; i++)
        buf_add_char(&image, (char)(i * 7));
    write_bytes("pic.PNG", buf_str(&image));
    struct outcome *o = EDIT("view", "pic.PNG");
    assert_says(o, false, "pic.PNG");
    assert_true(str_is(field(o, F_IMAGE_TYPE), "image/png"));
    assert_true(str_eq(buf_str(&o->out), buf_str(&image)));
    assert_true(o->ended[WIRE_STDOUT]);
    write_bytes("small.jpg", STR("\xff\xd8\xff\xe0 tiny"));
    o = EDIT("view", "small.jpg");
    assert_true(str_is(field(o, F_IMAGE_TYPE), "image/jpeg"));
    assert_int_equal(o->out.n, 9);
    write_bytes("fake.png", STR("only text\n"));
    o = EDIT("view", "fake.png");
    assert_says(o, false, "     1\tonly text\n");
    assert_false(wire_has(buf_str(&o->result), F_IMAGE_TYPE));
}

int main(int argc, char **argv)
{
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_view),
        cmocka_unit_test(test_view_is_clipped),
        cmocka_unit_test(test_view_directory),
        cmocka_unit_test(test_replace),
        cmocka_unit_test(test_insert),
        cmocka_unit_test(test_undo),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_refuses_binary_and_huge),
        cmocka_unit_test(test_odd_files_do_not_hang),
        cmocka_unit_test(test_links_are_followed),
        cmocka_unit_test(test_no_temporary_files_stay),
        cmocka_unit_test(test_images),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
