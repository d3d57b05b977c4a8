/* OP_GLOB and OP_GREP of a real hand, and the pattern language itself. */
#include "hand_peer.h"
#include "hand/search/glob_pattern.h"
#include "hand/search/grep.h"
#include <time.h>

static char dir[64];

static int start(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/test-search-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    return folder_remove(dir);
}

/* Makes a file, and what is above it, that was last changed `age` seconds before now. */
static void put(const char *name, struct str content, int age)
{
    autobuf path = {0};
    buf_addf(&path, "%s/%s", dir, name);
    for (char *slash = path.p + strlen(dir) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(path.p, 0755);
        *slash = '/';
    }
    FILE *f = fopen(path.p, "w");
    assert_non_null(f);
    fwrite(content.p, 1, content.n, f);
    fclose(f);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec -= age;
    assert_int_equal(utimensat(AT_FDCWD, path.p, (struct timespec[]){now, now}, 0), 0);
}

static struct outcome *search(struct peer *p, enum wire_op op, const char *path, const char *pattern,
                              const char *include)
{
    struct buf fields = {0};
    wire_add_str(&fields, F_CWD, str_from(dir));
    if (path)
        wire_add_str(&fields, F_PATH, str_from(path));
    wire_add_str(&fields, F_PATTERN, str_from(pattern));
    if (include)
        wire_add_str(&fields, F_INCLUDE, str_from(include));
    return peer_call(p, op, &fields);
}

/* The paths found, below the directory, in order, with a comma behind each. */
static char *found(const struct outcome *o)
{
    autobuf names = {0};
    autoerr e = NULL;
    struct wire_fields f = {buf_str(&o->result)};
    enum wire_field tag;
    struct str value;
    assert_status(o, WIRE_OK);
    while (wire_fields_next(&f, &tag, &value, &e)) {
        if (tag != F_ITEM)
            continue;
        assert_true(str_starts(value, str_from(dir)));
        buf_add(&names, str_sub(value, strlen(dir) + 1, value.n));
        buf_add_char(&names, ',');
    }
    return (char *)buf_take(&names).p;
}

static void check(const struct outcome *o, const char *expected)
{
    autofree char *names = found(o);
    assert_string_equal(names, expected);
}

static void test_pattern(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path;
        bool match;
    } cases[] = {
        {"*.c", "a.c", true},
        {"*.c", "x/y/a.c", true},
        {"./*.c", "x/a.c", false},
        {"src/*.c", "src/a.c", true},
        {"src/*.c", "src/x/a.c", false},
        {"src/**/*.c", "src/a.c", true},
        {"src/**/*.c", "src/x/y/a.c", true},
        {"**/x/**", "a/x/b", true},
        {"**/x/**/z/**/q", "a/x/b/z/c/z/q", true},
        {"a?c", "abc", true},
        {"a?c",
         "a\xc3\xa9"
         "c",
         true},
        {"a?c",
         "a\xff"
         "c",
         true},
        {"a?c", "ac", false},
        {"[a-c]x", "bx", true},
        {"[!a-c]x", "bx", false},
        {"[^a-c]x", "dx", true},
        {"[]]x", "]x", true},
        {"[x", "[x", true},
        {"*.{js,ts{,x}}", "a.tsx", true},
        {"*.{js,ts{,x}}", "a.ts", true},
        {"*.{js,ts{,x}}", "a.jsx", false},
        {"{src,lib}/*.c", "lib/a.c", true},
        {"{a", "{a", true},
        {"a\\*b", "a*b", true},
        {"a\\*b", "axb", false},
        {"docs/", "docs/a/b", true},
        {"a*b*c*d", "axxbxxcxxd", true},
        {"a*b*c*d", "axxbxxcxx", false},
        {"*", "x/.hidden", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autoerr e = NULL;
        struct glob *g = glob_new(str_from(cases[i].pattern), &e);
        assert_non_null(g);
        if (glob_match(g, str_from(cases[i].path)) != cases[i].match)
            fail_msg("%s and %s", cases[i].pattern, cases[i].path);
        glob_free(g);
    }
}

/* No pattern takes long, and braces do not multiply without end. */
static void test_pattern_bounds(void **state)
{
    (void)state;
    autobuf stars = {0}, text = {0}, braces = {0};
    autoerr e = NULL;
    for (int i = 0; i < 1000; i++) {
        buf_add(&stars, STR("*a"));
        buf_add(&text, STR("a"));
    }
    buf_add_char(&stars, 'b');
    struct glob *g = glob_new(buf_str(&stars), &e);
    assert_false(glob_match(g, buf_str(&text)));
    glob_free(g);
    for (int i = 0; i < 500; i++)
        buf_add(&braces, STR("{a,b}"));
    assert_null(glob_new(buf_str(&braces), &e));
    assert_non_null(strstr(err_text(e), "256"));
}

static void test_prefix(void **state)
{
    (void)state;
    autoerr e = NULL;
    struct glob *g = glob_new(STR("src/*/x.c"), &e);
    assert_true(glob_may_contain(g, STR("src")));
    assert_true(glob_may_contain(g, STR("src/a")));
    assert_false(glob_may_contain(g, STR("src/a/b")));
    assert_false(glob_may_contain(g, STR("lib")));
    glob_free(g);
    g = glob_new(STR("**/.git*/x/node_modules"), &e);
    assert_true(glob_names(g, STR(".github")));
    assert_false(glob_names(g, STR(".cache")));
    assert_true(glob_names(g, STR("node_modules")));
    glob_free(g);
}

static void test_glob(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    put("old.py", STR(""), 30);
    put("src/new.py", STR(""), 10);
    put("src/deep/mid.py", STR(""), 20);
    put("src/notes.txt", STR(""), 5);
    put(".hidden/x.py", STR(""), 1);
    put("node_modules/pkg/x.py", STR(""), 1);
    put(".git/config.py", STR(""), 1);
    check(search(p, OP_GLOB, NULL, "*.py", NULL), "src/new.py,src/deep/mid.py,old.py,");
    check(search(p, OP_GLOB, NULL, "src/*.py", NULL), "src/new.py,");
    check(search(p, OP_GLOB, "src", "**/*.py", NULL), "src/new.py,src/deep/mid.py,");
    check(search(p, OP_GLOB, NULL, ".hidden/*", NULL), ".hidden/x.py,");
    check(search(p, OP_GLOB, NULL, "node_modules/**/*.py", NULL), "node_modules/pkg/x.py,");
    check(search(p, OP_GLOB, NULL, "nothing*", NULL), "");
    autobuf absolute = {0};
    buf_addf(&absolute, "%s/src/*.txt", dir);
    check(search(p, OP_GLOB, NULL, absolute.p, NULL), "src/notes.txt,");
    struct outcome *o = search(p, OP_GLOB, "src/deep", "../*.txt", NULL);
    check(o, "src/notes.txt,");
    assert_true(str_ends(wire_get_str(buf_str(&o->result), F_PATH), STR("/src")));
    assert_status(search(p, OP_GLOB, "missing", "*", NULL), WIRE_NOT_FOUND);
    assert_status(search(p, OP_GLOB, "old.py", "*", NULL), WIRE_NOT_DIR);
    peer_free(p, 0);
}

/* Names of any kind come back byte by byte; loops, FIFOs and what cannot be read hold nothing up. */
static void test_strange_trees(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    autobuf path = {0};
    put("odd/a b\nc\xff.q", STR("word\n"), 1);
    put("odd/sub/x.q", STR("word\n"), 2);
    buf_addf(&path, "%s/odd/sub/loop", dir);
    assert_int_equal(symlink("..", path.p), 0);
    buf_clear(&path);
    buf_addf(&path, "%s/odd/fifo.q", dir);
    assert_int_equal(mkfifo(path.p, 0600), 0);
    buf_clear(&path);
    buf_addf(&path, "%s/odd/link.q", dir);
    assert_int_equal(symlink("/dev/zero", path.p), 0);
    buf_clear(&path);
    buf_addf(&path, "%s/odd/file-link.q", dir);
    assert_int_equal(symlink("sub/x.q", path.p), 0);
    check(search(p, OP_GLOB, "odd", "*.q", NULL), "odd/a b\nc\xff.q,odd/file-link.q,odd/sub/x.q,");
    check(search(p, OP_GREP, "odd", "WORD", NULL), "odd/a b\nc\xff.q,odd/sub/x.q,");
    check(search(p, OP_GREP, "/proc/self", "nothing at all like this", NULL), "");
    peer_free(p, 0);
}

/* As ripgrep has it: what a repository ignores is passed over, unless it is asked for by name. */
static void test_gitignore(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    put("plain/.gitignore", STR("*.log\n"), 1); /* no repository: it says nothing */
    put("plain/a.log", STR("word\n"), 1);
    put("repo/.git/HEAD", STR(""), 1);
    put("repo/.gitignore", STR("# remark\n*.log\n/build/\nout/*.o\n!keep.log\ntrailing  \n{x}\n"), 1);
    put("repo/a.log", STR("word\n"), 1);
    put("repo/keep.log", STR("word\n"), 2);
    put("repo/build/b.txt", STR("word\n"), 1);
    put("repo/sub/build/c.txt", STR("word\n"), 3);
    put("repo/out/d.o", STR("word\n"), 1);
    put("repo/out/x/e.o", STR("word\n"), 4);
    put("repo/sub/.gitignore", STR("!a.log\ndeep/\n"), 1);
    put("repo/sub/a.log", STR("word\n"), 5);
    put("repo/sub/deep/f.txt", STR("word\n"), 1);
    put("repo/trailing", STR("word\n"), 1);
    put("repo/{x}", STR("word\n"), 1);
    if (access("/.git", F_OK) != 0 && access("/tmp/.git", F_OK) != 0)
        check(search(p, OP_GREP, "plain", "word", NULL), "plain/a.log,");
    check(search(p, OP_GREP, "repo", "word", NULL),
          "repo/keep.log,repo/sub/build/c.txt,repo/out/x/e.o,repo/sub/a.log,");
    check(search(p, OP_GREP, "repo/sub", "word", NULL), "repo/sub/build/c.txt,repo/sub/a.log,");
    check(search(p, OP_GREP, "repo/out", "word", NULL), "repo/out/x/e.o,");
    check(search(p, OP_GREP, "repo/build", "word", NULL), "repo/build/b.txt,");
    check(search(p, OP_GLOB, "repo", "*.log", NULL), "repo/a.log,repo/keep.log,repo/sub/a.log,");
    check(search(p, OP_GLOB, "repo", "*.txt", NULL), "repo/sub/build/c.txt,");
    check(search(p, OP_GLOB, "repo", "build/*.txt", NULL), "repo/build/b.txt,");
    peer_free(p, 0);
}

static void test_grep(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    put("g/one.c", STR("int Main(void)\n"), 3);
    put("g/two.c", STR("x\r\nmain\r\n"), 2);
    put("g/three.h", STR("main\n"), 1);
    put("g/binary.c", str_make("main\0\n", 6), 1);
    put("g/.env", STR("main\n"), 1);
    put("g/.git/config", STR("main\n"), 1);
    put("g/utf16.c", str_make("\xff\xfem\0a\0i\0n\0\n\0", 12), 4);
    put("g/latin.c", STR("caf\xe9 main\n"), 5);
    check(search(p, OP_GREP, "g", "main", NULL), "g/three.h,g/two.c,g/one.c,g/utf16.c,g/latin.c,");
    check(search(p, OP_GREP, "g", "main", "*.{c,cc}"), "g/two.c,g/one.c,g/utf16.c,g/latin.c,");
    check(search(p, OP_GREP, "g", "^main$", "*.c"), "g/two.c,g/utf16.c,");
    check(search(p, OP_GREP, "g", "main", ".e*"), "g/.env,");
    check(search(p, OP_GREP, "g", "x\\s+main", NULL), "");
    check(search(p, OP_GREP, "g", "\\bm\\w+\\(", NULL), "g/one.c,");
    struct outcome *o = search(p, OP_GREP, "g", "ma(in", NULL);
    assert_status(o, WIRE_INVALID);
    assert_true(wire_get_str(buf_str(&o->result), F_MESSAGE).n > 10);
    peer_free(p, 0);
}

static void test_limits(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    struct buf fields = {0};
    char name[32];
    for (int i = 0; i < 101; i++) {
        snprintf(name, sizeof(name), "many/%d.m", i);
        put(name, STR("needle\n"), 1000 - i);
    }
    for (enum wire_op op = OP_GLOB; op <= OP_GREP; op++) {
        struct outcome *o = search(p, op, "many", op == OP_GLOB ? "*.m" : "needle", NULL);
        autofree char *names = found(o);
        assert_true(str_starts(str_from(names), STR("many/100.m,many/99.m,")));
        assert_null(strstr(names, "many/0.m"));
        assert_int_equal(outcome_int(o, F_TRUNCATED), 1);
    }
    wire_add_str(&fields, F_CWD, str_from(dir));
    wire_add_str(&fields, F_PATTERN, STR("many/*.m"));
    wire_add_int(&fields, F_LIMIT, 2);
    struct outcome *o = peer_call(p, OP_GLOB, &fields);
    check(o, "many/100.m,many/99.m,");
    assert_int_equal(outcome_int(o, F_TRUNCATED), 1);
    peer_free(p, 0);
}

/* An expression that would run for ever is given up, and says so; meanwhile the hand answers others, and a cancel ends it. */
static void test_hard_expression(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    autobuf text = {0};
    for (int i = 0; i < 100000; i++)
        buf_add(&text, STR("aaaaaaaaab"));
    put("hard/x.txt", buf_str(&text), 1);
    struct outcome *o = search(p, OP_GREP, "hard", "((a+)+)+(b(a+)+)+$c", NULL);
    assert_status(o, WIRE_OK);
    assert_int_equal(outcome_int(o, F_ELIDED), 1);
    struct buf fields = {0};
    wire_add_str(&fields, F_PATH, STR("/"));
    wire_add_str(&fields, F_PATTERN, STR("nothing contains this 7f3a"));
    uint32_t slow = peer_begin(p, OP_GREP, &fields);
    check(search(p, OP_GLOB, "hard", "*", NULL), "hard/x.txt,");
    peer_control(p, WIRE_CANCEL, slow);
    uint64_t before = now_ms();
    o = peer_wait(p, slow);
    assert_true(now_ms() - before < 1500);
    assert_true(outcome_int(o, F_STATUS) == WIRE_CANCELLED || outcome_int(o, F_STATUS) == WIRE_OK);
    peer_free(p, 0);
}

/* A search under way dies with the hand, and what a killed keeper leaves is told from it. */
static void test_ends_with_the_hand(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    struct buf fields = {0};
    wire_add_str(&fields, F_PATH, STR("/"));
    wire_add_str(&fields, F_PATTERN, STR("nothing contains this 7f3a"));
    peer_begin(p, OP_GREP, &fields);
    check(search(p, OP_GLOB, NULL, "no such file", NULL), "");
    peer_free(p, 0);
}

int main(void)
{
    clock_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pattern),
        cmocka_unit_test(test_pattern_bounds),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_gitignore), /* before the directory itself becomes a repository */
        cmocka_unit_test(test_glob),
        cmocka_unit_test(test_strange_trees),
        cmocka_unit_test(test_grep),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_hard_expression),
        cmocka_unit_test(test_ends_with_the_hand),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
