/* OP_PATCH of a real hand, and the making of texts without one. */
#include "hand_peer.h"
#include "base/fd.h"
#include "hand/patch/patch.h"

static char dir[64];

static int start(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/test-patch-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    return folder_remove(dir);
}

/* --- texts ---------------------------------------------------------------------------------- */

/* What `hunks` make of `text`, or the error. */
static char *applied(const char *text, const char *hunks, int64_t *fuzz)
{
    autobuf whole = {0}, out = {0};
    autoerr e = NULL;
    struct patch p = {0};
    *fuzz = 0;
    buf_addf(&whole, "*** Begin Patch\n*** Update File: f\n%s*** End Patch\n", hunks);
    if (!patch_parse(&p, buf_str(&whole), &e) ||
        !patch_apply(&p.actions.at[0], str_from(text), NULL, &out, fuzz, &e)) {
        buf_clear(&out);
        buf_add_cstr(&out, err_text(e));
    }
    patch_deinit(&p);
    return (char *)buf_take(&out).p;
}

static void becomes(const char *text, const char *hunks, const char *expected, int64_t expected_fuzz)
{
    int64_t fuzz;
    autofree char *result = applied(text, hunks, &fuzz);
    assert_string_equal(result, expected);
    assert_int_equal(fuzz, expected_fuzz);
}

static void refused(const char *text, const char *hunks, const char *why)
{
    int64_t fuzz;
    autofree char *result = applied(text, hunks, &fuzz);
    if (!strstr(result, why))
        fail_msg("%s", result);
}

static void test_texts(void **state)
{
    (void)state;
    becomes("a\nb\nc\n", "@@\n a\n-b\n+B\n c\n", "a\nB\nc\n", 0);
    becomes("a\nb\nc\n", " a\n-b\n+B\n", "a\nB\nc\n", 0); /* the first hunk may do without @@ */
    becomes("a\nb\nc\nd\ne\n", "@@\n-a\n+A\n@@\n d\n-e\n+E\n", "A\nb\nc\nd\nE\n", 0);
    becomes("x\n\ny\n", "@@\n x\n\n-y\n+z\n", "x\n\nz\n", 0); /* an empty line is empty context */
    becomes("", "@@\n+new\n", "new\n", 0);
    becomes("a\nb", "@@\n-b\n+c\n", "a\nc", 0); /* no newline at the end stays none */
    becomes("a", "@@\n a\n+b\n", "a\nb", 0);
    becomes("a\n", "@@\n a\n+b\n", "a\nb\n", 0);
    becomes("a\nb\n", "@@\n-a\n-b\n", "", 0);
}

static void test_fuzz(void **state)
{
    (void)state;
    becomes("a\ncontext   \nend\n", "@@\n context\n-end\n+END\n", "a\ncontext   \nEND\n", 1);
    becomes("a\n    context\nend\n", "@@\n context\n-end\n+END\n", "a\n    context\nEND\n", 100);
    becomes("x\na\nx\na\n", "@@\n-a\n+b\n*** End of File\n", "x\na\nx\nb\n", 0);
    becomes("a\nx\n", "@@\n-a\n+b\n*** End of File\n", "b\nx\n", 10000);
    becomes("a\n", "@@\n+last\n*** End of File\n", "a\nlast\n", 0);
    refused("a\nb\n", "@@\n-c\n+d\n", "These lines do not stand in f");
    refused("l1\nl2\nl3\nl4\n", "@@\n l1\n-l2\n+x\n l3\n@@\n l3\n+y\n l4\n", "behind line 3");
}

static void test_anchors(void **state)
{
    (void)state;
    const char *text = "class A:\n  def f():\n    pass\nclass B:\n  def f():\n    pass\n";
    becomes(text, "@@ class B:\n   def f():\n-    pass\n+    return\n",
            "class A:\n  def f():\n    pass\nclass B:\n  def f():\n    return\n", 0);
    becomes(text, "@@ class B\n@@   def f():\n-    pass\n+    return\n",
            "class A:\n  def f():\n    pass\nclass B:\n  def f():\n    return\n", 1);
    becomes(text, "@@ class B:\n+  x = 1\n",
            "class A:\n  def f():\n    pass\nclass B:\n  x = 1\n  def f():\n    pass\n", 0);
    becomes("a\nb\n", "@@ -1,2 +1,2 @@\n a\n-b\n+c\n", "a\nc\n",
            0); /* as in another format; the lines say enough */
    refused(text, "@@ class C:\n-    pass\n+    return\n", "class C:");
}

static void test_line_ends(void **state)
{
    (void)state;
    becomes("a\r\nb\r\nc\r\n", "@@\n a\n-b\n+B\n+B2\n c\n", "a\r\nB\r\nB2\r\nc\r\n", 0);
    becomes("a\r\nb\nc\n", "@@\r\n a\r\n-b\r\n+B\r\n", "a\r\nB\nc\n", 0);
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"", "must begin"},
        {"*** Begin Patch\n", "does not end"},
        {"*** Begin Patch\n*** End Patch", "changes no file"},
        {"*** Begin Patch\nhello\n*** End Patch", "Line 2"},
        {"*** Begin Patch\n*** Add File: a\nb\n*** End Patch", "must begin with `+`"},
        {"*** Begin Patch\n*** Add File:\n+b\n*** End Patch", "a path is missing"},
        {"*** Begin Patch\n*** Update File: a\n*** End Patch", "changes nothing"},
        {"*** Begin Patch\n*** Update File: a\n@@\n*** End Patch", "has no lines"},
        {"*** Begin Patch\n*** Update File: a\n@@\nx\n*** End Patch", "must begin with a blank"},
        {"*** Begin Patch\n*** Update File: a\n@@\n-x\n", "does not end"},
        {"*** Begin Patch\n*** Delete File: a\n*** End Patch\nmore", "nothing may follow"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        autoerr e = NULL;
        struct patch p = {0};
        assert_false(patch_parse(&p, str_from(bad[i][0]), &e));
        if (!strstr(err_text(e), bad[i][1]))
            fail_msg("%s: %s", bad[i][0], err_text(e));
        patch_deinit(&p);
    }
}

/* --- files ---------------------------------------------------------------------------------- */

static char *at(const char *name)
{
    autobuf path = {0};
    buf_addf(&path, "%s/%s", dir, name);
    return (char *)buf_take(&path).p;
}

static void put(const char *name, const char *content, unsigned mode)
{
    autofree char *path = at(name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(content, f);
    fclose(f);
    chmod(path, mode);
}

static bool there(const char *name)
{
    autofree char *path = at(name);
    return access(path, F_OK) == 0;
}

static void holds(const char *name, const char *expected)
{
    autofree char *path = at(name);
    autobuf content = {0};
    autoerr e = NULL;
    if (!file_read(path, 1 << 20, &content, &e))
        fail_msg("%s", err_text(e));
    assert_string_equal(content.p ? content.p : "", expected);
}

static struct outcome *patch(struct peer *p, const char *body)
{
    autobuf text = {0};
    struct buf fields = {0};
    buf_addf(&text, "*** Begin Patch\n%s*** End Patch", body);
    wire_add_str(&fields, F_ROOT, str_from(dir));
    wire_add_str(&fields, F_TEXT, buf_str(&text));
    return peer_call(p, OP_PATCH, &fields);
}

static void fails(struct peer *p, const char *body, const char *why)
{
    struct outcome *o = patch(p, body);
    assert_status(o, WIRE_OK);
    assert_int_equal(outcome_int(o, F_IS_ERROR), 1);
    struct str text = wire_get_str(buf_str(&o->result), F_TEXT);
    if (str_find(text, str_from(why)) < 0)
        fail_msg("%.*s", STR_ARG(text));
}

/* PATH:KIND:NAME:OLD:NEW for each file. */
static void works(struct peer *p, const char *body, const char *expected)
{
    struct outcome *o = patch(p, body);
    autobuf said = {0};
    autoerr e = NULL;
    struct wire_fields f = {buf_str(&o->result)};
    enum wire_field tag;
    struct str value;
    assert_status(o, WIRE_OK);
    if (outcome_int(o, F_IS_ERROR) == 1)
        fail_msg("%.*s", STR_ARG(wire_get_str(buf_str(&o->result), F_TEXT)));
    while (wire_fields_next(&f, &tag, &value, &e)) {
        static const enum wire_field parts[] = {F_PATH, F_KIND, F_NAME, F_OLD, F_NEW};
        for (size_t i = 0; tag == F_ITEM && i < ARRAY_LEN(parts); i++)
            buf_addf(&said, "%.*s%s", STR_ARG(wire_get_str(value, parts[i])), i < 4 ? ":" : "\n");
    }
    assert_string_equal(said.p, expected);
}

/* Nothing else than what a test made is there: no temporary file was left. */
static void only(const char *expected)
{
    char command[256], line[512] = "";
    snprintf(command, sizeof(command), "cd %s; find . -mindepth 1 | LC_ALL=C sort | tr '\\n' ' '", dir);
    FILE *f = popen(command, "r");
    line[fread(line, 1, sizeof(line) - 1, f)] = '\0';
    pclose(f);
    assert_string_equal(line, expected);
}

static void clear(void)
{
    assert_int_equal(folder_remove(dir), 0);
    assert_int_equal(mkdir(dir, 0700), 0);
}

static void test_files(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    struct stat st;
    clear();
    works(p, "*** Add File: a/b/new.txt\n+one\n+two\n", "a/b/new.txt:a:::one\ntwo\n\n");
    holds("a/b/new.txt", "one\ntwo\n");
    put("run.sh", "#!/bin/sh\necho 1\n", 0754);
    put("gone.txt", "bye\n", 0600);
    works(
        p,
        "*** Update File: run.sh\n@@\n-echo 1\n+echo 2\n*** Delete File: gone.txt\n*** Update File: a/b/new.txt\n"
        "*** Move to: moved/new.txt\n@@\n one\n+1.5\n two\n",
        "run.sh:u::#!/bin/sh\necho 1\n:#!/bin/sh\necho 2\n\ngone.txt:d::bye\n:\n"
        "a/b/new.txt:u:moved/new.txt:one\ntwo\n:one\n1.5\ntwo\n\n");
    autofree char *script = at("run.sh");
    assert_int_equal(stat(script, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0754);
    holds("moved/new.txt", "one\n1.5\ntwo\n");
    only("./a ./a/b ./moved ./moved/new.txt ./run.sh ");
    works(p, "*** Add File: run.sh\n+new\n", "run.sh:u::#!/bin/sh\necho 2\n:new\n\n"); /* it was there */
    works(p, "*** Update File: run.sh\n*** Move to: walk.sh\n", "run.sh:u:walk.sh:new\n:new\n\n");
    autobuf absolute = {0};
    buf_addf(&absolute, "*** Delete File: %s/walk.sh\n", dir);
    works(p, absolute.p, "walk.sh:d::new\n:\n");
    peer_free(p, 0);
}

static void test_all_or_nothing(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    clear();
    put("a.txt", "a\n", 0600);
    put("b.txt", "b\n", 0600);
    fails(p,
          "*** Update File: a.txt\n@@\n-a\n+A\n*** Add File: n/new\n+x\n*** Update File: b.txt\n@@\n-c\n+C\n",
          "do not stand in b.txt");
    fails(p, "*** Add File: n/m/new\n+x\n*** Add File: a.txt/x\n+x\n", "a.txt/x");
    fails(p, "*** Update File: a.txt\n@@\n-a\n+A\n*** Delete File: missing\n", "no file missing");
    fails(p, "*** Add File: d\n+1\n*** Add File: ./d\n+2\n", "twice");
    fails(p, "*** Update File: a.txt\n*** Move to: b.txt\n", "something is there already");
    holds("a.txt", "a\n");
    only("./a.txt ./b.txt ");
    peer_free(p, 0);
}

static void test_confined(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    clear();
    autofree char *link = at("link"), *out = at("out"), *fifo = at("fifo"), *inner = at("inner"),
                  *sub = at("sub");
    assert_int_equal(symlink("/etc", out), 0);
    assert_int_equal(symlink("../outside.txt", link), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(mkdir(sub, 0755), 0);
    put("sub/target", "t\n", 0640);
    assert_int_equal(symlink("sub/target", inner), 0);
    static const char *const bad[] = {
        "*** Add File: ../x\n+x\n",
        "*** Add File: /etc/x\n+x\n",
        "*** Add File: a/../../x\n+x\n",
        "*** Delete File: out/passwd\n",
        "*** Update File: link\n@@\n-x\n+y\n",
        "*** Add File: out/x\n+x\n",
        "*** Update File: sub/target\n*** Move to: ../x\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        fails(p, bad[i], "leads out of the working directory");
    fails(p, "*** Update File: fifo\n@@\n-x\n+y\n", "not a regular file");
    fails(p, "*** Delete File: sub\n", "sub cannot be used");
    fails(p, "*** Update File: inner\n@@\n-t\n+T\n*** Update File: sub/target\n@@\n-t\n+U\n", "twice");
    works(p, "*** Update File: inner\n@@\n-t\n+T\n", "inner:u::t\n:T\n\n");
    holds("sub/target", "T\n");
    struct stat st;
    assert_int_equal(lstat(inner, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    works(p, "*** Delete File: inner\n", "inner:d::T\n:\n");
    assert_true(there("sub/target"));
    peer_free(p, 0);
}

static void test_encodings(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    clear();
    put("latin", "caf\xe9\nx\n", 0600);
    put("bom", "\xef\xbb\xbfone\r\ntwo\r\n", 0600);
    patch(p, "*** Update File: latin\n@@\n caf\xc3\xa9\n-x\n+\xc3\xbc\n");
    holds("latin", "caf\xe9\n\xfc\n");
    patch(p, "*** Update File: bom\n@@\n-one\n+1\n");
    holds("bom", "\xef\xbb\xbf"
                 "1\r\ntwo\r\n");
    autofree char *path = at("binary");
    autoerr e = NULL;
    assert_true(file_write_atomic(path, str_make("a\0b\n\x01\x02", 6), 0600, &e));
    fails(p, "*** Update File: binary\n@@\n-a\n+b\n", "no text");
    patch(p, "*** Delete File: binary\n");
    assert_false(there("binary"));
    peer_free(p, 0);
}

/* Contents that are too long are left out of the result, never out of the files. */
static void test_large(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    clear();
    autobuf text = {0};
    while (text.n < 300000)
        buf_add(&text, STR("a line of some length\n"));
    buf_add(&text, STR("last\n"));
    put("large", text.p, 0600);
    struct outcome *o = patch(p, "*** Update File: large\n@@\n-last\n+LAST\n");
    struct str item = wire_get_str(buf_str(&o->result), F_ITEM);
    assert_true(str_is(wire_get_str(item, F_PATH), "large"));
    assert_false(wire_has(item, F_OLD));
    assert_false(wire_has(item, F_NEW));
    autofree char *path = at("large");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, (off_t)text.n);
    peer_free(p, 0);
}

/* Patience, a cancel, and nothing changed. */
static void test_cancel(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    clear();
    autobuf text = {0}, body = {0};
    struct buf fields = {0};
    for (int i = 0; i < 400000; i++)
        buf_add(&text, STR("same\n"));
    put("slow", text.p, 0600);
    buf_add_cstr(&body, "*** Begin Patch\n*** Update File: slow\n@@\n");
    for (int i = 0; i < 100000; i++)
        buf_add(&body, STR(" same\n"));
    buf_add_cstr(&body, "-other\n*** End Patch");
    wire_add_str(&fields, F_ROOT, str_from(dir));
    wire_add_str(&fields, F_TEXT, buf_str(&body));
    uint32_t slow = peer_begin(p, OP_PATCH, &fields);
    works(p, "*** Add File: meanwhile\n+x\n", "meanwhile:a:::x\n\n");
    peer_control(p, WIRE_CANCEL, slow);
    uint64_t before = now_ms();
    assert_status(peer_wait(p, slow), WIRE_CANCELLED);
    assert_true(now_ms() - before < 1500);
    only("./meanwhile ./slow ");
    peer_free(p, 0);
}

int main(void)
{
    clock_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),          cmocka_unit_test(test_fuzz),
        cmocka_unit_test(test_anchors),        cmocka_unit_test(test_line_ends),
        cmocka_unit_test(test_malformed),      cmocka_unit_test(test_files),
        cmocka_unit_test(test_all_or_nothing), cmocka_unit_test(test_confined),
        cmocka_unit_test(test_encodings),      cmocka_unit_test(test_large),
        cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
