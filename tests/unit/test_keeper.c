/* No process outlives its hand: daemons, double forks and process groups of their own, however the hand ends. */
#include "hand_peer.h"

/* Prints the ids of a process in every corner that a tree can hide in, then stays. */
#define TREE                                                                               \
    "sleep 1001 & echo $!; "                                                               \
    "setsid sleep 1002 & echo $!; "                                                        \
    "(setsid sh -c '(sleep 1003 & echo $!) & wait' &) ; "                                  \
    "(trap '' TERM HUP INT; exec setsid sh -c 'echo $$; while :; do sleep 1004; done') & " \
    "setsid nohup sh -c 'setsid sleep 1005 & echo $!' 2>/dev/null & "                      \
    "sleep 0.1; echo end; sleep 1006"
#define TREE_PROCESSES 5

struct pids {
    pid_t at[TREE_PROCESSES];
};

static struct pids tree_start(struct peer *p, uint32_t *call)
{
    struct pids pids;
    *call = peer_spawn(p, TREE);
    peer_until(p, p->calls[*call].out.n && strstr(p->calls[*call].out.p, "end\n"));
    char *rest = p->calls[*call].out.p;
    for (size_t i = 0; i < TREE_PROCESSES; i++) {
        pids.at[i] = (pid_t)strtol(rest, &rest, 10);
        assert_true(pids.at[i] > 1);
        assert_true(process_lives(pids.at[i]));
    }
    return pids;
}

static void assert_all_end(const struct pids *pids, uint64_t since, uint64_t ms)
{
    for (size_t i = 0; i < TREE_PROCESSES; i++)
        if (!process_ends(pids->at[i], 5000))
            fail_msg("process %d of the tree lives on", (int)i);
    if (now_ms() - since > ms)
        fail_msg("it took %d ms", (int)(now_ms() - since));
}

static void a_cancelled_call_leaves_nothing(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    uint32_t call, other_call;
    struct pids pids = tree_start(p, &call);
    struct pids others = tree_start(p, &other_call);
    uint64_t start = now_ms();
    peer_control(p, WIRE_CANCEL, call);
    assert_status(peer_wait(p, call), WIRE_CANCELLED);
    assert_all_end(&pids, start, 1000);
    for (size_t i = 0; i < TREE_PROCESSES; i++)
        assert_true(process_lives(others.at[i])); /* alone */
    start = now_ms();
    peer_free(p, 0);
    assert_all_end(&others, start, 1000);
}

static void a_closed_stream_ends_everything(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    uint32_t call;
    struct pids pids = tree_start(p, &call);
    uint64_t start = now_ms();
    peer_free(p, 0);
    assert_all_end(&pids, start, 1000);
}

static void a_killed_hand_leaves_nothing(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    uint32_t a, b;
    struct pids first = tree_start(p, &a);
    struct pids second = tree_start(p, &b); /* whose keeper must not hold the first one's pipe open */
    uint64_t start = now_ms();
    kill(p->pid, SIGKILL);
    assert_all_end(&first, start, 1000);
    assert_all_end(&second, start, 1000);
    peer_free(p, -1);
}

static void a_killed_keeper_leaves_nothing(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    uint32_t call;
    struct pids pids = tree_start(p, &call);
    int64_t first = wire_get_int(buf_str(&p->calls[call].note), F_PID, 0);
    char path[64];
    int parent = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)first);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*d (%*[^)]) %*c %d", &parent), 1);
    fclose(f);
    assert_true(parent > 1 && parent != p->pid);
    uint64_t start = now_ms();
    kill(parent, SIGKILL);
    assert_int_equal(outcome_int(peer_wait(p, call), F_EXIT_CODE), -SIGKILL);
    assert_all_end(&pids, start, 1000);
    assert_status(peer_wait(p, peer_spawn(p, "true")), WIRE_OK); /* the hand goes on */
    peer_free(p, 0);
}

/* The mind is played by a child of the test, so that it can be killed. */
static void a_killed_mind_leaves_nothing(void **state)
{
    (void)state;
    int report[2];
    struct {
        struct pids pids;
        pid_t hand;
    } told;
    assert_int_equal(pipe2(report, O_CLOEXEC), 0);
    pid_t mind = fork();
    if (mind == 0) {
        struct peer *p = peer_new();
        uint32_t call;
        told.pids = tree_start(p, &call);
        told.hand = p->pid;
        if (write(report[1], &told, sizeof(told)) != sizeof(told))
            _exit(1);
        pause();
        _exit(0);
    }
    close(report[1]);
    assert_int_equal(read(report[0], &told, sizeof(told)), sizeof(told));
    close(report[0]);
    uint64_t start = now_ms();
    kill(mind, SIGKILL);
    waitpid(mind, NULL, 0);
    assert_true(process_ends(told.hand, 1500));
    assert_all_end(&told.pids, start, 1500);
}

/* Processes that beget others as fast as they can, each in a session of its own. */
static void a_fork_bomb_is_ended(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    uint32_t call = peer_spawn(p, "ulimit -u 2000; "
                                  "f() { while :; do (setsid sleep 1007 &); (sleep 1008 &); done; }; "
                                  "f & f & (trap '' TERM; f) & echo up; wait");
    peer_until(p, p->calls[call].out.n);
    poll(NULL, 0, 100); /* let it grow */
    uint64_t start = now_ms();
    peer_control(p, WIRE_CANCEL, call);
    assert_status(peer_wait(p, call), WIRE_CANCELLED);
    assert_true(now_ms() - start < 3000);
    peer_free(p, 0);
    struct outcome seen = {0};
    p = peer_new();
    seen = *peer_wait(p, peer_spawn(p, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | "
                                       "grep -c 'sleep 100[78]' | grep -v '^0'; true"));
    assert_text(&seen.out, "");
    peer_free(p, 0);
}

static void a_stopped_process_is_ended(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    uint32_t call = peer_spawn(p, "sleep 1009 & kill -STOP $!; echo $!; wait");
    peer_until(p, p->calls[call].out.n);
    pid_t pid = (pid_t)strtol(p->calls[call].out.p, NULL, 10);
    peer_control(p, WIRE_CANCEL, call);
    assert_status(peer_wait(p, call), WIRE_CANCELLED);
    assert_true(process_ends(pid, 1000));
    peer_free(p, 0);
}

/* The tree has stopped its keeper; the hand ends orderly or is killed. */
static void a_stopped_keeper_leaves_nothing(void **state)
{
    (void)state;
    for (int killed = 0; killed < 2; killed++) {
        struct peer *p = peer_new();
        uint32_t call = peer_spawn(p, "sleep 1010 & echo $!; read go; kill -STOP $PPID; wait");
        peer_until(p, p->calls[call].out.n);
        peer_input(p, call, STR("go\n"), false);
        pid_t pid = (pid_t)strtol(p->calls[call].out.p, NULL, 10);
        poll(NULL, 0, 50); /* the keeper's stop cannot be seen from here */
        uint64_t start = now_ms();
        if (killed)
            kill(p->pid, SIGKILL);
        peer_free(p, killed ? -1 : 0);
        assert_true(process_ends(pid, 3000));
        assert_true(now_ms() - start < 2000);
    }
}

static void failed_starts_leave_no_zombie(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    for (int i = 0; i < 20; i++) {
        struct buf fields = {0};
        wire_add_str(&fields, F_ARG, STR("/proc/self/status")); /* no program */
        assert_status(peer_call(p, OP_SPAWN, &fields), WIRE_INVALID);
    }
    char path[64], children[4096];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)p->pid, (int)p->pid);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_int_equal(fread(children, 1, sizeof(children), f), 0);
    fclose(f);
    peer_free(p, 0);
}

static void thousands_of_spawns_leave_no_zombie(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    uint32_t ids[200];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = peer_spawn(p, "true");
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        assert_status(peer_wait(p, ids[i]), WIRE_OK);
    /* Keepers end by themselves when their tree is empty; the hand's children are then those of this very call. */
    char command[128];
    snprintf(command, sizeof(command), "cat /proc/%d/task/%d/children | wc -w", (int)p->pid, (int)p->pid);
    for (int tries = 0;; tries++) {
        struct outcome *o = peer_wait(p, peer_spawn(p, command));
        if (strtol(o->out.p, NULL, 10) <= 2)
            break;
        assert_true(tries < 50);
    }
    peer_free(p, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_call_leaves_nothing),
        cmocka_unit_test(a_closed_stream_ends_everything),
        cmocka_unit_test(a_killed_hand_leaves_nothing),
        cmocka_unit_test(a_killed_keeper_leaves_nothing),
        cmocka_unit_test(a_killed_mind_leaves_nothing),
        cmocka_unit_test(a_fork_bomb_is_ended),
        cmocka_unit_test(a_stopped_process_is_ended),
        cmocka_unit_test(a_stopped_keeper_leaves_nothing),
        cmocka_unit_test(failed_starts_leave_no_zombie),
        cmocka_unit_test(thousands_of_spawns_leave_no_zombie),
    };
    return cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
}
