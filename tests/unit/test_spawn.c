/* OP_SPAWN and the files of a hand, driven by a stranger. */
#include "hand_peer.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

static struct outcome *spawn_with(struct peer *p, const char *command, enum wire_field tag, struct str value)
{
    struct buf fields = {0};
    wire_add_str(&fields, F_COMMAND, str_from(command));
    wire_add_str(&fields, tag, value);
    return peer_call(p, OP_SPAWN, &fields);
}

static void streams_and_exit_codes(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    struct outcome *o = peer_wait(p, peer_spawn(p, "echo out; echo err >&2; exit 7"));
    assert_status(o, WIRE_OK);
    assert_text(&o->out, "out\n");
    assert_text(&o->err, "err\n");
    assert_int_equal(outcome_int(o, F_EXIT_CODE), 7);
    o = peer_wait(p, peer_spawn(p, "kill -SEGV $$"));
    assert_int_equal(outcome_int(o, F_EXIT_CODE), -SIGSEGV);

    struct buf fields = {0};
    wire_add_str(&fields, F_ARG, STR("printf"));
    wire_add_str(&fields, F_ARG, STR("[%s]"));
    wire_add_str(&fields, F_ARG, STR("a  b"));
    wire_add_str(&fields, F_ARG, STR(""));
    o = peer_call(p, OP_SPAWN, &fields);
    assert_text(&o->out, "[a  b][]");
    peer_free(p, 0);
}

static void stdin_flows_with_credit(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    uint32_t id = peer_spawn(p, "cat");
    autofree char *chunk = xmalloc(50000);
    struct buf sent = {0};
    for (int i = 0; i < 40; i++) { /* 2 MB, far more than the first credit */
        memset(chunk, 'a' + i % 26, 50000);
        buf_add_bytes(&sent, chunk, 50000);
        peer_until(p, p->calls[id].input_credit >= 50000);
        peer_input(p, id, str_make(chunk, 50000), i == 39);
    }
    struct outcome *o = peer_wait(p, id);
    assert_status(o, WIRE_OK);
    assert_true(str_eq(buf_str(&o->out), buf_str(&sent)));
    buf_deinit(&sent);

    /* A process that does not read takes nothing, and one that closes its input hangs nobody. */
    id = peer_spawn(p, "exec <&-; read x; echo closed");
    peer_input(p, id, str_make(chunk, 50000), false);
    peer_input(p, id, str_make(chunk, 50000), true);
    assert_text(&peer_wait(p, id)->out, "closed\n");
    o = spawn_with(p, "cat; echo end", F_INPUT, str_make("\0\0\0\0\0\0\0\0", 8));
    assert_text(&o->out, "end\n");
    peer_free(p, 0);
}

static void what_cannot_start_says_why(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    struct outcome *o = spawn_with(p, "true", F_CWD, STR("/no/such/place"));
    assert_status(o, WIRE_NOT_FOUND);
    assert_true(str_find(wire_get_str(buf_str(&o->result), F_MESSAGE), STR("/no/such/place")) >= 0);
    assert_status(spawn_with(p, "true", F_CWD, STR("/etc/passwd")), WIRE_NOT_FOUND);
    assert_status(spawn_with(p, "true", F_CWD, STR("/tmp\0/x")), WIRE_INVALID);
    static const char *const programs[] = {"no-such-program", "/no/such/program"};
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        struct buf fields = {0};
        wire_add_str(&fields, F_ARG, str_from(programs[i]));
        assert_status(peer_call(p, OP_SPAWN, &fields), WIRE_NOT_FOUND);
    }
    o = spawn_with(p, "pwd", F_CWD, STR("/usr"));
    assert_text(&o->out, "/usr\n");
    peer_free(p, 0);
}

static void the_environment_is_an_allow_list(void **state)
{
    (void)state;
    setenv("SESSION_API_KEY", "leak", 1);
    setenv("LLM_API_KEY", "leak", 1);
    struct peer *p = peer_start();
    struct buf more = {0};
    wire_add_str(&more, F_ENV, STR("GIVEN=by mind"));
    wire_add_str(&more, F_ENV, STR("=nameless"));
    wire_add_str(&more, F_ENV, STR("broken"));
    peer_greet(p, &more);
    struct outcome *o = spawn_with(p, "env; echo \"$EXTRA\"", F_ENV, STR("EXTRA=of the call"));
    assert_null(strstr(o->out.p, "leak"));
    assert_null(strstr(o->out.p, "broken"));
    assert_non_null(strstr(o->out.p, "AI_AGENT=openhands\n"));
    assert_non_null(strstr(o->out.p, "GIT_PAGER=cat\n"));
    assert_non_null(strstr(o->out.p, "PATH="));
    assert_non_null(strstr(o->out.p, "HOME="));
    assert_non_null(strstr(o->out.p, "GIVEN=by mind\n"));
    assert_non_null(strstr(o->out.p, "EXTRA=of the call\n"));
    peer_free(p, 0);
    unsetenv("SESSION_API_KEY");
    unsetenv("LLM_API_KEY");
}

/* Signals, mask and descriptors are as a login shell has them. */
static void the_process_starts_clean(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    struct outcome *o =
        peer_wait(p, peer_spawn(p, "grep -E '^Sig(Blk|Ign):' /proc/self/status; ls /proc/self/fd; "
                                   "ulimit -Sn; exec 3>&1; ls -l /proc/$$/fd | grep -c socket"));
    assert_text(&o->out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n0\n1\n2\n3\n1024\n0\n");
    peer_free(p, 0);
}

static void a_timeout_ends_the_process(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    uint64_t start = now_ms();
    struct outcome *o =
        spawn_with(p, "echo before; sleep 100", F_TIMEOUT_MS, str_make("\x64\0\0\0\0\0\0\0", 8));
    assert_status(o, WIRE_TIMEOUT);
    assert_text(&o->out, "before\n");
    assert_true(now_ms() - start < 1000);
    start = now_ms();
    o = spawn_with(p, "trap 'echo no' TERM; while :; do sleep 0.05; done", F_TIMEOUT_MS,
                   str_make("\x64\0\0\0\0\0\0\0", 8));
    assert_status(o, WIRE_TIMEOUT);
    assert_int_equal(outcome_int(o, F_EXIT_CODE), -1);
    assert_true(now_ms() - start >= 1000 && now_ms() - start < 2500);
    peer_free(p, 0);
}

static void cancel_ends_it_within_a_second(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    uint32_t id = peer_spawn(p, "trap '' TERM INT HUP; echo up; while :; do sleep 0.05; done");
    peer_until(p, p->calls[id].out.n);
    uint64_t start = now_ms();
    peer_control(p, WIRE_CANCEL, id);
    peer_control(p, WIRE_CANCEL, id);
    assert_status(peer_wait(p, id), WIRE_CANCELLED);
    assert_true(now_ms() - start < 1000);
    peer_free(p, 0);
}

static long resident_kb(pid_t pid)
{
    char path[64], line[256];
    long kb = -1;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "VmRSS: %ld", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb;
}

static void a_flood_without_credit_stops_and_delays_nobody(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    uint32_t flood[8];
    for (size_t i = 0; i < ARRAY_LEN(flood); i++) {
        flood[i] = peer_spawn(p, "yes");
        p->calls[flood[i]].hold = true;
        peer_until(p, p->calls[flood[i]].received == WIRE_CREDIT_INITIAL);
    }
    long before = resident_kb(p->pid);
    for (int i = 0; i < 20; i++) {
        uint64_t start = now_ms();
        assert_status(peer_wait(p, peer_spawn(p, "true")), WIRE_OK);
        assert_true(now_ms() - start < 500);
    }
    for (size_t i = 0; i < ARRAY_LEN(flood); i++)
        assert_int_equal(p->calls[flood[i]].received, WIRE_CREDIT_INITIAL);
    assert_true(resident_kb(p->pid) - before < 1024);

    /* With credit it goes on, and others still get their turn. */
    p->calls[flood[0]].hold = false;
    struct buf credit = {0};
    wire_add_credit(&credit, flood[0], WIRE_STDOUT, WIRE_CREDIT_INITIAL);
    peer_send_buf(p, &credit);
    peer_until(p, p->calls[flood[0]].received > 10u * WIRE_CREDIT_INITIAL);
    assert_status(peer_wait(p, peer_spawn(p, "true")), WIRE_OK);
    peer_control(p, WIRE_CANCEL, flood[1]);
    assert_status(peer_wait(p, flood[1]), WIRE_CANCELLED);
    peer_free(p, 0);
}

/* Unlimited credit, but a mind that does not read: the hand must not collect what it cannot send. */
static void a_flood_to_a_stalled_reader_stays_small(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    uint32_t id = peer_spawn(p, "yes");
    peer_until(p, p->calls[id].note.n);
    struct buf credit = {0};
    for (int i = 0; i < 8; i++)
        wire_add_credit(&credit, id, WIRE_STDOUT, UINT32_MAX);
    peer_send_buf(p, &credit);
    p->calls[id].hold = true;
    poll(NULL, 0, 300); /* nothing to await: the point is that nothing happens */
    assert_true(resident_kb(p->pid) < 16 * 1024 || getenv("ASAN_OPTIONS"));
    assert_status(peer_wait(p, peer_spawn(p, "true")), WIRE_OK);
    peer_free(p, 0);
}

static void what_is_left_in_the_background_lives_on(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    uint64_t start = now_ms();
    struct outcome *o =
        peer_wait(p, peer_spawn(p, "(while :; do echo tick; sleep 0.01; done) & echo $! >&2; exit 0"));
    assert_status(o, WIRE_OK);
    assert_true(now_ms() - start < 2000);
    pid_t pid = (pid_t)strtol(o->err.p, NULL, 10);
    assert_true(pid > 1);
    assert_false(process_ends(pid, 200)); /* writing to its pipe does not kill it */
    peer_free(p, 0);
    assert_true(process_ends(pid, 1000));
}

/* --- files ---------------------------------------------------------------------------------- */

struct box {
    struct peer *p;
    char dir[32];
};

static struct outcome *file_call(struct box *b, enum wire_op op, const char *root, const char *path)
{
    struct buf fields = {0};
    if (root)
        wire_add_str(&fields, F_ROOT, str_from(root));
    else
        wire_add_str(&fields, F_CWD, str_from(b->dir));
    wire_add_str(&fields, F_PATH, str_from(path));
    return peer_call(b->p, op, &fields);
}

static struct box box_new(void)
{
    struct box b = {.p = peer_new(), .dir = "/tmp/test-files-XXXXXX"};
    assert_non_null(mkdtemp(b.dir));
    return b;
}

static void box_free(struct box *b)
{
    struct buf fields = {0};
    wire_add_str(&fields, F_ARG, STR("rm"));
    wire_add_str(&fields, F_ARG, STR("-rf"));
    wire_add_str(&fields, F_ARG, str_from(b->dir));
    assert_status(peer_call(b->p, OP_SPAWN, &fields), WIRE_OK);
    peer_free(b->p, 0);
}

static void files_are_written_whole_and_read_back(void **state)
{
    (void)state;
    struct box b = box_new();
    struct buf fields = {0};
    autofree char *data = xmalloc(1000000);
    for (size_t i = 0; i < 1000000; i++)
        data[i] = (char)(i * 7 >> 3);
    wire_add_str(&fields, F_CWD, str_from(b.dir));
    wire_add_str(&fields, F_PATH, STR("new/dir/file"));
    uint32_t id = peer_begin(b.p, OP_FILE_WRITE, &fields);
    for (size_t at = 0; at < 1000000; at += 100000) {
        peer_until(b.p, b.p->calls[id].input_credit >= 100000);
        peer_input(b.p, id, str_make(data + at, 100000), at == 900000);
    }
    assert_status(peer_wait(b.p, id), WIRE_OK);
    struct outcome *o = file_call(&b, OP_FILE_READ, NULL, "new/dir/file");
    assert_status(o, WIRE_OK);
    assert_int_equal(wire_get_int(buf_str(&o->note), F_SIZE, 0), 1000000);
    assert_true(str_eq(buf_str(&o->out), str_make(data, 1000000)));

    wire_add_str(&fields, F_CWD, str_from(b.dir));
    wire_add_str(&fields, F_PATH, STR("new/dir/file"));
    wire_add_int(&fields, F_OFFSET, 10);
    wire_add_int(&fields, F_LIMIT, 5);
    o = peer_call(b.p, OP_FILE_READ, &fields);
    assert_true(str_eq(buf_str(&o->out), str_make(data + 10, 5)));
    assert_int_equal(outcome_int(o, F_TRUNCATED), 1);

    o = file_call(&b, OP_FILE_STAT, NULL, "new");
    assert_true(str_is(wire_get_str(buf_str(&o->result), F_KIND), "d"));
    o = file_call(&b, OP_DIR_LIST, NULL, "new/dir");
    struct str item = wire_get_str(buf_str(&o->result), F_ITEM);
    assert_true(str_is(wire_get_str(item, F_NAME), "file"));
    assert_int_equal(wire_get_int(item, F_SIZE, 0), 1000000);
    assert_status(file_call(&b, OP_DIR_MAKE, NULL, "x/y/z"), WIRE_OK);
    assert_status(file_call(&b, OP_DIR_MAKE, NULL, "x/y/z"), WIRE_OK);
    assert_status(file_call(&b, OP_DIR_MAKE, NULL, "new/dir/file/z"), WIRE_NOT_DIR);
    box_free(&b);
}

static void what_is_no_regular_file_is_refused(void **state)
{
    (void)state;
    struct box b = box_new();
    char path[64];
    snprintf(path, sizeof(path), "%s/fifo", b.dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_status(file_call(&b, OP_FILE_READ, NULL, "fifo"), WIRE_REFUSED);
    assert_status(file_call(&b, OP_FILE_WRITE, NULL, "fifo"), WIRE_REFUSED);
    assert_status(file_call(&b, OP_FILE_READ, NULL, "/dev/zero"), WIRE_REFUSED);
    assert_status(file_call(&b, OP_FILE_READ, NULL, "."), WIRE_IS_DIR);
    assert_status(file_call(&b, OP_FILE_WRITE, NULL, "."), WIRE_IS_DIR);
    assert_status(file_call(&b, OP_FILE_READ, NULL, "missing"), WIRE_NOT_FOUND);
    assert_status(file_call(&b, OP_FILE_READ, NULL, "bad\n/missing"), WIRE_NOT_FOUND);
    assert_status(peer_call(b.p, OP_FILE_READ, NULL), WIRE_INVALID);
    box_free(&b);
}

static void a_root_is_never_left(void **state)
{
    (void)state;
    struct box b = box_new();
    struct outcome *o = peer_wait(
        b.p, ({
            struct buf fields = {0};
            wire_add_str(
                &fields, F_COMMAND,
                STR("mkdir -p in/deep out && echo secret >out/s && echo fine >in/f && ln -s ../out in/up && "
                    "ln -s /etc in/abs && ln -s ../f in/deep/ok && ln -s loop in/loop && ln -s deep/../f in/f2"));
            wire_add_str(&fields, F_CWD, str_from(b.dir));
            peer_begin(b.p, OP_SPAWN, &fields);
        }));
    assert_int_equal(outcome_int(o, F_EXIT_CODE), 0);
    char root[64], path[128];
    snprintf(root, sizeof(root), "%s/in", b.dir);
    static const struct {
        const char *path;
        enum wire_status status;
    } cases[] = {
        {"f", WIRE_OK},
        {"./deep/../f", WIRE_OK},
        {"deep/ok", WIRE_OK},
        {"f2", WIRE_OK},
        {"up/s", WIRE_REFUSED},
        {"../out/s", WIRE_REFUSED},
        {"abs/passwd", WIRE_REFUSED},
        {"loop", WIRE_REFUSED},
        {"/etc/passwd", WIRE_REFUSED},
        {"deep/../../out/s", WIRE_REFUSED},
        {"f/..", WIRE_NOT_DIR},
        {"no", WIRE_NOT_FOUND},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        o = file_call(&b, OP_FILE_READ, root, cases[i].path);
        if (outcome_int(o, F_STATUS) != (int64_t)cases[i].status)
            print_message("%s\n", cases[i].path);
        assert_status(o, cases[i].status);
    }
    snprintf(path, sizeof(path), "%s/f", root);
    assert_status(file_call(&b, OP_FILE_READ, root, path), WIRE_OK);
    assert_status(file_call(&b, OP_DIR_MAKE, root, "up/evil"), WIRE_REFUSED);
    assert_status(file_call(&b, OP_FILE_WRITE, root, "up/evil"), WIRE_REFUSED);
    assert_status(file_call(&b, OP_DIR_MAKE, root, "deep/new/er"), WIRE_OK);
    box_free(&b);
}

/* Old seccomp profiles answer ENOSYS or EPERM to system calls that they do not know. */
static void a_root_is_never_left_without_new_system_calls(void **state)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_linkat, 1, 0), /* as file systems without it */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {ARRAY_LEN(filter), filter};
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        skip();
    assert_int_equal(syscall(SYS_openat2, -1, NULL, NULL, 0), -1);
    assert_int_equal(errno, ENOSYS);
    a_root_is_never_left(state);
    the_process_starts_clean(state);
    files_are_written_whole_and_read_back(state);
}

/* An image may have nothing at all: no /proc, no /dev/null, no shell, no libraries. */
static void an_empty_root_is_enough(void **state)
{
    (void)state;
    char dir[] = "/tmp/test-chroot-XXXXXX", program[64], command[4300];
    assert_non_null(mkdtemp(dir));
    snprintf(program, sizeof(program), "%s/hand", dir);
    snprintf(command, sizeof(command), "cp '%s' %s", hand_path(), program);
    struct peer *p = system(command) == 0 ? peer_start_in(dir, "/hand") : NULL;
    if (!p) { /* not root, or the program needs libraries (sanitizers) */
        unlink(program);
        rmdir(dir);
        skip();
    }
    peer_greet(p, NULL);
    struct buf fields = {0};
    wire_add_str(&fields, F_PATH, STR("/"));
    struct outcome *o = peer_call(p, OP_DIR_LIST, &fields);
    assert_true(str_is(wire_get_str(wire_get_str(buf_str(&o->result), F_ITEM), F_NAME), "hand"));
    wire_add_str(&fields, F_COMMAND, STR("true"));
    assert_status(peer_call(p, OP_SPAWN, &fields), WIRE_NOT_FOUND);
    wire_add_str(&fields, F_CWD, STR("/work"));
    wire_add_int(&fields, F_GIT_INIT, 1);
    assert_status(peer_call(p, OP_PREPARE, &fields), WIRE_OK);
    /* Without /proc a file that is written has a name from its beginning. */
    wire_add_str(&fields, F_PATH, STR("/work/file"));
    uint32_t id = peer_begin(p, OP_FILE_WRITE, &fields);
    peer_input(p, id, STR("content"), true);
    o = peer_wait(p, id);
    assert_status(o, WIRE_OK);
    assert_int_equal(outcome_int(o, F_SIZE), 7);
    wire_add_str(&fields, F_PATH, STR("/work"));
    o = peer_call(p, OP_DIR_LIST, &fields);
    assert_true(str_is(wire_get_str(wire_get_str(buf_str(&o->result), F_ITEM), F_NAME), "file"));
    /* The only program there is. */
    wire_add_str(&fields, F_ARG, STR("/hand"));
    id = peer_begin(p, OP_SPAWN, &fields);
    peer_until(p, p->calls[id].out.n);
    peer_input(p, id, STR_NONE, true);
    o = peer_wait(p, id);
    assert_int_equal(outcome_int(o, F_EXIT_CODE), 0);
    wire_add_str(&fields, F_ARG, STR("/hand"));
    id = peer_begin(p, OP_SPAWN, &fields);
    peer_until(p, p->calls[id].note.n);
    pid_t pid = (pid_t)wire_get_int(buf_str(&p->calls[id].note), F_PID, 0);
    peer_control(p, WIRE_CANCEL, id);
    assert_status(peer_wait(p, id), WIRE_CANCELLED);
    assert_true(process_ends(pid, 1000));
    peer_free(p, 0);
    unlink(program);
    snprintf(program, sizeof(program), "%s/work/file", dir);
    assert_int_equal(unlink(program), 0);
    snprintf(program, sizeof(program), "%s/work", dir);
    rmdir(program);
    assert_int_equal(rmdir(dir), 0);
}

static void prepare_makes_the_directory_and_tells_facts(void **state)
{
    (void)state;
    struct box b = box_new();
    for (int i = 0; i < 2; i++) {
        struct buf fields = {0};
        char dir[64];
        snprintf(dir, sizeof(dir), "%s/a/b", b.dir);
        wire_add_str(&fields, F_CWD, str_from(dir));
        wire_add_int(&fields, F_GIT_INIT, 1);
        struct outcome *o = peer_call(b.p, OP_PREPARE, &fields);
        assert_status(o, WIRE_OK);
        assert_true(str_is(wire_get_str(buf_str(&o->result), F_CWD), dir));
        assert_true(wire_get_str(buf_str(&o->result), F_USER).n > 0);
        assert_true(wire_get_str(buf_str(&o->result), F_HOST).n > 0);
    }
    if (access("/usr/bin/git", X_OK) == 0 && access("/.git", F_OK) != 0 && access("/tmp/.git", F_OK) != 0)
        assert_status(file_call(&b, OP_FILE_STAT, NULL, "a/b/.git/HEAD"), WIRE_OK);
    /* Inside a repository none is made. */
    struct buf fields = {0};
    char dir[64];
    snprintf(dir, sizeof(dir), "%s/a/b/c", b.dir);
    wire_add_str(&fields, F_CWD, str_from(dir));
    wire_add_int(&fields, F_GIT_INIT, 1);
    assert_status(peer_call(b.p, OP_PREPARE, &fields), WIRE_OK);
    assert_status(file_call(&b, OP_FILE_STAT, NULL, "a/b/c/.git"), WIRE_NOT_FOUND);
    wire_add_str(&fields, F_CWD, STR("/proc/nowhere"));
    assert_status(peer_call(b.p, OP_PREPARE, &fields), WIRE_NOT_FOUND);
    box_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_and_exit_codes),
        cmocka_unit_test(stdin_flows_with_credit),
        cmocka_unit_test(what_cannot_start_says_why),
        cmocka_unit_test(the_environment_is_an_allow_list),
        cmocka_unit_test(the_process_starts_clean),
        cmocka_unit_test(a_timeout_ends_the_process),
        cmocka_unit_test(cancel_ends_it_within_a_second),
        cmocka_unit_test(a_flood_without_credit_stops_and_delays_nobody),
        cmocka_unit_test(a_flood_to_a_stalled_reader_stays_small),
        cmocka_unit_test(what_is_left_in_the_background_lives_on),
        cmocka_unit_test(files_are_written_whole_and_read_back),
        cmocka_unit_test(what_is_no_regular_file_is_refused),
        cmocka_unit_test(a_root_is_never_left),
        cmocka_unit_test(prepare_makes_the_directory_and_tells_facts),
        cmocka_unit_test(an_empty_root_is_enough),
        cmocka_unit_test(
            a_root_is_never_left_without_new_system_calls), /* last: a filter cannot be taken off */
    };
    return cmocka_run_group_tests_name("spawn", tests, NULL, NULL);
}
