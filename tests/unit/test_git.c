/* Git operations, driven through build/hand as the mind drives it: that nothing waits for git, and what git may not do.
 * What the answers mean is tested through the routes (tests/api/test_git.py). */
#include "hand_peer.h"

static struct peer *peer;
static char root[] = "/tmp/handsd-git-XXXXXX";

static void shell(const char *script)
{
    char command[4096];
    snprintf(
        command, sizeof(command),
        "cd %s && export HOME=%s GIT_CONFIG_NOSYSTEM=1 && "
        "git() { command git -c user.name=a -c user.email=a@b -c init.defaultBranch=main \"$@\"; } && { %s; } >&2",
        root, root, script);
    if (system(command) != 0) // NOLINT(cert-env33-c): our own script
        fail_msg("failed: %s", script);
}

static uint32_t begin(enum wire_op op, const char *path, const char *ref, int64_t ms)
{
    struct buf fields = {0};
    wire_add_str(&fields, F_CWD, str_from(root));
    wire_add_str(&fields, F_PATH, str_from(path));
    if (ref)
        wire_add_str(&fields, F_REF, str_from(ref));
    if (ms)
        wire_add_int(&fields, F_TIMEOUT_MS, ms);
    return peer_begin(peer, op, &fields);
}

static struct outcome *ask(enum wire_op op, const char *path, const char *ref)
{
    return peer_wait(peer, begin(op, path, ref, 0));
}

/* The items as `A path|U path`. */
static const char *items(const struct outcome *o)
{
    static char text[4096];
    struct wire_fields f = {buf_str(&o->result)};
    enum wire_field tag;
    struct str value;
    size_t n = 0;
    text[0] = '\0';
    while (wire_fields_next(&f, &tag, &value, NULL))
        if (tag == F_ITEM)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s %.*s", n ? "|" : "",
                                  STR_ARG(wire_get_str(value, F_KIND)), STR_ARG(wire_get_str(value, F_PATH)));
    return text;
}

static void assert_message(const struct outcome *o, const char *part)
{
    struct str message = wire_get_str(buf_str(&o->result), F_MESSAGE);
    if (str_find(message, str_from(part)) < 0)
        fail_msg("said \"%.*s\", not \"%s\"", STR_ARG(message), part);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(root))
        return -1;
    peer = peer_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    peer_free(peer, 0);
    return folder_remove(root);
}

/* --- tests ---------------------------------------------------------------------------------------- */

static void test_changes_and_diff(void **state)
{
    (void)state;
    shell("git init -q plain && cd plain && printf 'one\\n' >a && git add a && git commit -qm first && "
          "printf 'two\\n' >a && printf x >\"$(printf 'b\\377')\"");
    struct outcome *o = ask(OP_GIT_CHANGES, "plain", NULL);
    assert_status(o, WIRE_OK);
    assert_string_equal(items(o), "U a|A b\377"); /* bytes, as they are */
    o = ask(OP_GIT_DIFF, "plain/a", "HEAD");
    assert_status(o, WIRE_OK);
    assert_true(str_is(wire_get_str(buf_str(&o->result), F_OLD), "one"));
    assert_true(str_is(wire_get_str(buf_str(&o->result), F_NEW), "two"));
    o = ask(OP_GIT_LOG, "plain", NULL);
    assert_status(o, WIRE_OK);
    assert_int_equal(outcome_int(o, F_TRUNCATED), 0);
    assert_status(ask(OP_GIT_DIFF, "plain/missing", NULL), WIRE_INVALID);
    assert_status(ask(OP_GIT_DIFF, "plain", NULL), WIRE_INVALID);
    assert_status(ask(OP_GIT_CHANGES, "plain", "--cached"), WIRE_INVALID);
    assert_status(ask(OP_GIT_CHANGES, "missing", NULL), WIRE_NOT_FOUND);
    assert_status(ask(OP_GIT_CHANGES, "plain/a", NULL), WIRE_NOT_FOUND);
}

static void test_other_hash(void **state)
{
    (void)state;
    shell("git init -q --object-format=sha256 sha256 && cd sha256 && printf x >a && git add a");
    struct outcome *o = ask(OP_GIT_CHANGES, "sha256", NULL);
    assert_status(o, WIRE_OK);
    assert_string_equal(items(o), "A a");
    shell("cd sha256 && git commit -qm first && printf y >a");
    assert_string_equal(items(ask(OP_GIT_CHANGES, "sha256", NULL)), "U a");
}

/* Git opens what the configuration names: a FIFO holds it for ever. */
static void make_hanging(const char *name)
{
    char script[1024];
    snprintf(
        script, sizeof(script),
        "git init -q %s && cd %s && printf x >a && git add a && git commit -qm first && mkfifo .git/fifo && "
        "git config core.excludesFile \"$PWD/.git/fifo\"",
        name, name);
    shell(script);
}

static void test_git_that_hangs_is_ended(void **state)
{
    (void)state;
    make_hanging("hangs");
    uint32_t id = begin(OP_GIT_CHANGES, "hangs", NULL, 300);
    struct outcome *o = peer_wait(peer, id);
    assert_status(o, WIRE_INVALID);
    assert_message(o, "did not end within");
}

static void test_others_do_not_wait_and_cancel_ends_it(void **state)
{
    (void)state;
    make_hanging("held");
    shell("git init -q free && printf x >free/a");
    uint32_t held = begin(OP_GIT_CHANGES, "held", NULL, 0);
    struct buf fields = {0};
    wire_add_str(&fields, F_PATH, str_from(root));
    assert_status(peer_call(peer, OP_FILE_STAT, &fields), WIRE_OK);
    assert_string_equal(items(ask(OP_GIT_CHANGES, "free", NULL)), "A a");
    assert_false(peer->calls[held].done);
    uint64_t start = now_ms();
    peer_control(peer, WIRE_CANCEL, held);
    assert_status(peer_wait(peer, held), WIRE_CANCELLED);
    assert_true(now_ms() - start < 1000);
}

static void test_too_many_at_once(void **state)
{
    (void)state;
    enum { MANY = 70 };
    uint32_t ids[MANY];
    unsigned busy = 0, cancelled = 0;
    make_hanging("many");
    for (size_t i = 0; i < MANY; i++)
        ids[i] = begin(OP_GIT_CHANGES, "many", NULL, 0);
    for (size_t i = 0; i < MANY; i++)
        peer_control(peer, WIRE_CANCEL, ids[i]);
    for (size_t i = 0; i < MANY; i++) {
        struct outcome *o = peer_wait(peer, ids[i]);
        busy += outcome_int(o, F_STATUS) == WIRE_BUSY;
        cancelled += outcome_int(o, F_STATUS) == WIRE_CANCELLED;
    }
    assert_int_equal(busy, MANY - 64);
    assert_int_equal(cancelled, 64);
    assert_status(ask(OP_GIT_LOG, "many", NULL), WIRE_OK);
}

static void test_submodules_are_strangers_too(void **state)
{
    (void)state;
    shell(
        "git init -q part && cd part && printf x >a && git add a && git commit -qm first && cd .. && "
        "git init -q whole && cd whole && git -c protocol.file.allow=always submodule --quiet add ../part part && "
        "git commit -qm first && "
        "git -C part config core.fsmonitor \"touch $HOME/proof; false\" && "
        "git -C part config filter.x.clean \"touch $HOME/proof; cat\" && echo '* filter=x' >part/.gitattributes && "
        "printf y >part/a");
    struct outcome *o = ask(OP_GIT_CHANGES, "whole", NULL);
    assert_status(o, WIRE_OK);
    assert_string_equal(items(o), "A part/.gitattributes|U part/a");
    shell("test ! -e proof");
}

static void test_a_configuration_with_many_filters(void **state)
{
    (void)state;
    shell("git init -q filters && cd filters && "
          "for i in $(seq 200); do printf '[filter \"f%s\"]\\nclean=cat\\n' $i; done >>.git/config");
    struct outcome *o = ask(OP_GIT_CHANGES, "filters", NULL);
    assert_status(o, WIRE_INVALID);
    assert_message(o, "filters");
}

static void test_a_bare_repository_in_the_tree(void **state)
{
    (void)state;
    shell("git init -q --bare bare && git -C bare config core.fsmonitor \"touch $HOME/proof2\"");
    assert_status(ask(OP_GIT_CHANGES, "bare", NULL), WIRE_NOT_FOUND);
    shell("test ! -e proof2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes_and_diff),
        cmocka_unit_test(test_other_hash),
        cmocka_unit_test(test_git_that_hangs_is_ended),
        cmocka_unit_test(test_others_do_not_wait_and_cancel_ends_it),
        cmocka_unit_test(test_too_many_at_once),
        cmocka_unit_test(test_submodules_are_strangers_too),
        cmocka_unit_test(test_a_configuration_with_many_filters),
        cmocka_unit_test(test_a_bare_repository_in_the_tree),
    };
    return cmocka_run_group_tests_name("git", tests, setup, teardown);
}
