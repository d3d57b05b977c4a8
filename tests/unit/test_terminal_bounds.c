/* The terminal, driven through build/hand: floods of output, time, cancelling, ends and limits. */
#include "terminal_fixture.h"

static long peer_memory_kb(const struct peer *p)
{
    char path[64], line[256];
    long kb = -1;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)p->pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "VmHWM: %ld", &kb) == 1)
            break;
    fclose(f);
    return kb;
}

static void test_huge_output(void **state)
{
    struct peer *p = *state;
    ASK(p, "true");
    long before = peer_memory_kb(p);
    uint64_t start = now_ms();
    struct outcome *o =
        ASK(p, "echo first; head -c 100000000 /dev/zero | tr '\\0' x | fold -w 99; echo last");
    printf("100 MB: %llu ms\n", (unsigned long long)(now_ms() - start));
    assert_kind(o, TERMINAL_COMPLETED);
    struct str head = field(o, F_TEXT), tail = field(o, F_TAIL);
    assert_int_equal(head.n, 256 * 1024);
    assert_true(tail.n > 760 * 1024 && tail.n <= 768 * 1024);
    assert_true(str_starts(head, STR("first\nxxx")));
    if (!str_ends(tail, STR("xlast")))
        fail_msg("ends with %.*s", STR_ARG(str_sub(tail, tail.n - 300, tail.n)));
    /* 100 MB, a newline per 99, and the two words; what was trimmed at the end is one byte. */
    uint64_t total = 100000000 + (100000000 + 98) / 99 + 6 + 5 - 1;
    uint64_t seen = head.n + tail.n + 1 + (uint64_t)outcome_int(o, F_ELIDED);
    assert_true(seen >= total - 2 && seen <= total + 2);
    printf("memory: %ld kB more\n", peer_memory_kb(p) - before);
    assert_true(peer_memory_kb(p) - before < 16 * 1024);
    /* One line without an end, and zeros. */
    o = ASK(p,
            "head -c 5000000 /dev/zero | tr '\\0' y; head -c 5000000 /dev/zero; head -c 300000 /dev/urandom");
    assert_kind(o, TERMINAL_COMPLETED);
    assert_true(outcome_int(o, F_ELIDED) > 3000000);
    assert_true(utf8_valid(field(o, F_TEXT)));
    assert_true(utf8_valid(field(o, F_TAIL)));
    assert_runs(p, "echo ok", 0, "ok");
}

/* What is cleared is kept, but not in the page. */
/* Each call reads the whole from its beginning, at its own pace. */
static void test_whole_output_for_several(void **state)
{
    struct peer *p = *state;
    struct outcome *o = ASK(p, "seq -w 300000");
    assert_kind(o, TERMINAL_COMPLETED);
    uint64_t size = (uint64_t)outcome_int(o, F_SIZE);
    assert_true(outcome_int(o, F_ELIDED) > 0 && size > 2000000);
    struct buf fields[2] = {{0}, {0}};
    struct outcome *of[2];
    for (size_t i = 0; i < 2; i++) {
        wire_add_str(&fields[i], F_NAME, STR("t"));
        of[i] = &p->calls[peer_begin(p, OP_TERMINAL_OUTPUT, &fields[i]) % PEER_CALLS];
    }
    while (!of[0]->done || !of[1]->done)
        assert_true(peer_pump(p, PEER_DEADLINE_MS));
    for (size_t i = 0; i < 2; i++) {
        assert_status(of[i], WIRE_OK);
        assert_int_equal(of[i]->out.n, size);
        assert_true(str_starts(buf_str(&of[i]->out), STR("000001\n000002\n")));
    }
    assert_true(str_eq(buf_str(&of[0]->out), buf_str(&of[1]->out)));
}

static void test_erasing_is_bounded(void **state)
{
    struct peer *p = *state;
    ASK(p, "true");
    long before = peer_memory_kb(p);
    assert_kind(ASK(p, "yes \"$(printf '\\033[2J\\033[200H')\" | tr -d '\\n' | head -c 2000000"),
                TERMINAL_COMPLETED);
    assert_true(peer_memory_kb(p) - before < 16 * 1024);
    assert_runs(p, "echo ok", 0, "ok");
}

/* Nor do escape sequences keep the hand from its other work. */
static void test_escape_sequences_block_nothing(void **state)
{
    static const char *const floods[] = {"A", "200L", "1J", "1@", "H"};
    struct peer *p = *state;
    for (size_t i = 0; i < ARRAY_LEN(floods); i++) {
        char command[256];
        snprintf(
            command, sizeof(command),
            "printf '%s'; head -c 250000 /dev/zero | tr '\\0' x; yes \"$(printf '\\033[%s')\" | tr -d '\\n'",
            i == 1 ? "\\033[?1049h" : "", floods[i]);
        uint32_t id = begin(p, &(struct ask){command});
        uint64_t end = now_ms() + 300, worst = 0;
        while (now_ms() < end) {
            unsigned pongs = p->pongs;
            uint64_t start = now_ms();
            peer_control(p, WIRE_PING, 0);
            peer_until(p, p->pongs > pongs);
            worst = now_ms() - start > worst ? now_ms() - start : worst;
        }
        peer_control(p, WIRE_CANCEL, id);
        peer_wait(p, id);
        printf("ESC [ %s: %llu ms\n", floods[i], (unsigned long long)worst);
        assert_true(worst < 2000); /* it was many seconds; a loaded machine needs room */
    }
}

static void test_endless_output(void **state)
{
    struct peer *p = *state;
    uint64_t start = now_ms();
    struct outcome *o = ASK(p, "yes", .hard_ms = 700);
    assert_kind(o, TERMINAL_HARD_TIMEOUT);
    assert_true(now_ms() - start >= 700);
    assert_true(field(o, F_TEXT).n > 0);
    o = ASK(p, "C-c", .input = true, .hard_ms = 5000);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_int_equal(outcome_int(o, F_CONTINUED), 1);
    assert_runs(p, "echo ok", 0, "ok");
}

static void test_output_between_commands(void **state)
{
    struct peer *p = *state;
    assert_runs(p, "(sleep 0.3; echo from the background) &", 0, "");
    struct outcome *o = ASK(p, "sleep 0.6; echo mine");
    assert_kind(o, TERMINAL_COMPLETED);
    assert_contains(o, "from the background\n");
    assert_contains(o, "mine");
    /* The rest of a command that ended unobserved comes with the next call. */
    o = ASK(p, "echo early; sleep 0.4; echo late; exit_code() { return 9; }; exit_code", .soft_ms = 100);
    assert_kind(o, TERMINAL_SOFT_TIMEOUT);
    assert_output(o, "early");
    assert_kind(ASK(p, "sleep 1", .name = "other"), TERMINAL_COMPLETED);
    o = ASK(p, "");
    assert_kind(o, TERMINAL_COMPLETED);
    assert_output(o, "late");
    assert_int_equal(outcome_int(o, F_EXIT_CODE), 9);
    assert_int_equal(outcome_int(o, F_CONTINUED), 1);
    o = ASK(p, "sleep 0.3; echo unseen", .soft_ms = 100);
    assert_kind(ASK(p, "sleep 0.6", .name = "other"), TERMINAL_COMPLETED);
    o = ASK(p, "echo seen");
    assert_output(o, "unseen\nseen");
    assert_int_equal(outcome_int(o, F_CONTINUED), 1);
}

/* --- time ------------------------------------------------------------------------------------------- */

/* What prints for ever never falls silent: such a call ends by the bound that the caller sets for it. */
static void test_noise_has_an_end(void **state)
{
    struct peer *p = *state;
    struct outcome *o = ASK(p, "while :; do echo noise; sleep 0.05; done", .soft_ms = 500, .most_ms = 1000);
    assert_kind(o, TERMINAL_HARD_TIMEOUT);
    assert_contains(o, "noise");
}

/* None before its time; how late they may be is not for a test on a machine that has other things to do. */
static void test_timeouts_last_as_long_as_they_are(void **state)
{
    struct peer *p = *state;
    ASK(p, "true");
    uint64_t start = now_ms();
    struct outcome *o = ASK(p, "echo a; sleep 0.4; echo b; sleep 1000", .soft_ms = 600);
    assert_kind(o, TERMINAL_SOFT_TIMEOUT);
    assert_output(o, "a\nb");
    assert_true(now_ms() - start >= 1000);
    /* A hard timeout switches the soft one off. */
    start = now_ms();
    o = ASK(p, "", .soft_ms = 100, .hard_ms = 800);
    assert_kind(o, TERMINAL_HARD_TIMEOUT);
    assert_output(o, "");
    assert_true(now_ms() - start >= 800);
    o = ASK(p, "C-c", .input = true, .soft_ms = 5000);
    assert_kind(o, TERMINAL_COMPLETED);
}

static void test_timeouts_come_in_order(void **state)
{
    struct peer *p = *state;
    static const char *const names[] = {"a", "b", "c", "d"};
    static const int ms[] = {700, 250, 550, 400}; /* 150 ms apart */
    uint32_t calls[ARRAY_LEN(names)];
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        ASK(p, "true", .name = names[i]);
    uint64_t start = now_ms();
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        calls[i] = begin(p, &(struct ask){"sleep 1000", .name = names[i], .hard_ms = ms[i]});
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_kind(peer_wait(p, calls[i]), TERMINAL_HARD_TIMEOUT);
    assert_true(now_ms() - start >= 700);
    assert_true(p->calls[calls[1]].place < p->calls[calls[3]].place);
    assert_true(p->calls[calls[3]].place < p->calls[calls[2]].place);
    assert_true(p->calls[calls[2]].place < p->calls[calls[0]].place);
}

/* How long one takes is measured by bench/server.bench terminal. */
static void test_many_commands(void **state)
{
    struct peer *p = *state;
    for (unsigned i = 0; i < 500; i++) {
        char command[32], number[16];
        snprintf(number, sizeof(number), "%u", i);
        snprintf(command, sizeof(command), "echo %u", i);
        assert_runs(p, command, 0, number);
    }
}

/* --- ending things ----------------------------------------------------------------------------------- */

static void test_shell_ends_at_any_moment(void **state)
{
    struct peer *p = *state;
    for (int ms = 0; ms < 8; ms++) {
        uint32_t id = begin(p, &(struct ask){ms % 2 ? "exit 3" : "kill -9 $$"});
        peer_pump(p, ms);
        struct buf fields = {0};
        wire_add_str(&fields, F_NAME, STR("t"));
        assert_status(peer_call(p, OP_TERMINAL_CLOSE, &fields), WIRE_OK);
        struct outcome *o = peer_wait(p, id);
        assert_true(outcome_int(o, F_STATUS) == WIRE_CANCELLED ||
                    outcome_int(o, F_KIND) == TERMINAL_SHELL_ENDED);
    }
    assert_runs(p, "echo ok", 0, "ok");
}

static void test_input_flood(void **state)
{
    struct peer *p = *state;
    autobuf big = {0};
    for (unsigned i = 0; i < 1000000; i++)
        buf_add_char(&big, i % 100 == 99 ? '\n' : 'z');
    ASK(p, "stty -echo; sleep 1000", .soft_ms = 50);
    bool refused = false;
    for (unsigned i = 0; i < 8 && !refused; i++)
        refused =
            outcome_int(ASK(p, .text = buf_str(&big), .input = true, .soft_ms = 10), F_STATUS) == WIRE_BUSY;
    assert_true(refused);
    assert_kind(ASK(p, "C-c", .input = true, .soft_ms = 5000), TERMINAL_COMPLETED);
    assert_runs(p, "echo ok", 0, "ok");
}

#define CANCEL_LATEST_MS 5000 /* within 1 s by the protocol; a loaded machine needs room */

static uint64_t cancel(struct peer *p, const char *command, struct outcome **out)
{
    uint32_t id = begin(p, &(struct ask){command});
    peer_pump(p, 200);
    uint64_t start = now_ms();
    peer_control(p, WIRE_CANCEL, id);
    *out = peer_wait(p, id);
    return now_ms() - start;
}

static void test_cancel(void **state)
{
    static const struct {
        const char *command;
        bool survives;
    } cases[] = {
        {"sleep 1000", true},
        {"sleep 1000\necho after", true},
        {"while :; do sleep 0.01; done", true},
        {"trap '' INT; while :; do :; done", false},
        {"sh -c 'trap \"\" INT TERM; while :; do sleep 1; done'", true},
        {"while :; do sh -c 'trap \"\" INT; sleep 1000'; done", true},
        {"stty raw; sleep 1000", true},
        {"yes", true},
        {"cat", true},
        {"read x", true},
        {"PROMPT_COMMAND=; sleep 1000", true},
    };
    struct peer *p = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct outcome *o;
        int64_t pid = shell_pid(p);
        uint64_t took = cancel(p, cases[i].command, &o);
        if (outcome_int(o, F_STATUS) != WIRE_CANCELLED)
            fail_msg("%s: not cancelled: %.*s", cases[i].command, STR_ARG(field(o, F_TEXT)));
        if (took >= CANCEL_LATEST_MS)
            fail_msg("%s: cancelled after %llu ms", cases[i].command, (unsigned long long)took);
        assert_runs(p, "echo ok", 0, "ok");
        if (cases[i].survives && shell_pid(p) != pid)
            fail_msg("%s: the shell did not survive its cancellation", cases[i].command);
        assert_runs(p, "trap - INT", 0, "");
    }
}

static struct outcome *close_terminal(struct peer *p, const char *name)
{
    struct buf fields = {0};
    wire_add_str(&fields, F_NAME, str_from(name));
    return peer_call(p, OP_TERMINAL_CLOSE, &fields);
}

/* At any moment of a shell's beginning. */
static void test_cancel_at_the_start(void **state)
{
    struct peer *p = *state;
    for (int ms = 0; ms < 10; ms++) {
        uint32_t id = begin(p, &(struct ask){"sleep 1000", .reset = ms % 2});
        peer_pump(p, ms);
        uint64_t start = now_ms();
        peer_control(p, WIRE_CANCEL, id);
        assert_status(peer_wait(p, id), WIRE_CANCELLED);
        assert_true(now_ms() - start < 1500);
        if (ms % 3 == 0)
            assert_status(close_terminal(p, "t"), WIRE_OK);
    }
    assert_runs(p, "echo ok", 0, "ok");
}

/* Nobody waits any more for a call that is being cancelled: the next one waits for its end instead. */
static void test_a_call_behind_a_cancelled_one(void **state)
{
    static const char *const stubborn[] = {"sleep 1000", "sh -c 'trap \"\" INT; sleep 1000'",
                                           "trap '' INT; while :; do :; done"};
    struct peer *p = *state;
    for (size_t i = 0; i < ARRAY_LEN(stubborn); i++) {
        uint32_t old = begin(p, &(struct ask){stubborn[i]});
        peer_pump(p, 200);
        peer_control(p, WIRE_CANCEL, old);
        uint32_t next = begin(p, &(struct ask){"echo next"});
        assert_status(ASK(p, "echo another"), WIRE_BUSY);
        struct outcome *o = peer_wait(p, next);
        assert_kind(o, TERMINAL_COMPLETED);
        assert_output(o, "next");
        assert_true(p->calls[old].done);
        assert_runs(p, "trap - INT", 0, "");
    }
    uint32_t old = begin(p, &(struct ask){"sh -c 'trap \"\" INT; sleep 1000'"});
    peer_pump(p, 200);
    peer_control(p, WIRE_CANCEL, old);
    uint32_t unwanted = begin(p, &(struct ask){"echo unwanted"});
    peer_control(p, WIRE_CANCEL, unwanted);
    assert_status(peer_wait(p, unwanted), WIRE_CANCELLED);
    uint32_t closed = begin(p, &(struct ask){"echo closed"});
    assert_status(close_terminal(p, "t"), WIRE_OK);
    assert_status(peer_wait(p, closed), WIRE_CANCELLED);
    assert_runs(p, "echo ok", 0, "ok");
}

static void test_reset(void **state)
{
    struct peer *p = *state;
    assert_runs(p, "x=1; sleep 1000 & y=$!", 0, "");
    struct outcome *o = ASK(p, "echo $y");
    int64_t background = 0;
    assert_true(str_to_i64(field(o, F_TEXT), &background));
    ASK(p, "sleep 1000", .soft_ms = 50);
    uint64_t start = now_ms();
    o = ASK(p, "", .reset = true, .cwd = "/usr");
    assert_true(now_ms() - start < 1500);
    assert_kind(o, TERMINAL_RESET);
    assert_int_equal(outcome_int(o, F_FRESH), 1);
    assert_int_equal(outcome_int(o, F_EXIT_CODE), 0);
    assert_output(o, "");
    assert_true(str_is(field(o, F_CWD), "/usr"));
    assert_true(process_ends((pid_t)background, 100));
    assert_runs(p, "echo \"<$x>\"", 0, "<>");
    o = ASK(p, "echo with command", .reset = true);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_int_equal(outcome_int(o, F_FRESH), 1);
    assert_output(o, "with command");
    /* A directory that is gone: the nearest one that is left. */
    o = ASK(p, "pwd", .reset = true, .cwd = "/usr/no/such/directory");
    assert_output(o, "/usr");
}

static void test_close_ends_the_tree(void **state)
{
    struct peer *p = *state;
    struct outcome *o =
        ASK(p, "setsid sh -c 'trap \"\" TERM HUP INT; echo $$; while :; do sleep 1; done' & sleep 0.2");
    assert_kind(o, TERMINAL_COMPLETED);
    int64_t daemon = 0, shell = shell_pid(p);
    struct str first;
    struct str text = field(o, F_TEXT);
    assert_true(str_split(&text, '\n', &first) && str_to_i64(str_trim(first), &daemon));
    uint32_t waiting = begin(p, &(struct ask){"sleep 1000"});
    uint64_t start = now_ms();
    assert_status(close_terminal(p, "t"), WIRE_OK);
    assert_true(now_ms() - start < 1000);
    assert_status(peer_wait(p, waiting), WIRE_CANCELLED);
    assert_true(process_ends((pid_t)shell, 100));
    assert_true(process_ends((pid_t)daemon, 100));
    assert_status(close_terminal(p, "t"), WIRE_NOT_FOUND);
    assert_runs(p, "echo new", 0, "new");
}

/* What runs in the terminal has stopped what keeps it. */
static void test_stopped_keeper(void **state)
{
    struct peer *p = *state;
    ASK(p, "kill -STOP $PPID");
    uint64_t start = now_ms();
    struct outcome *o = ASK(p, "echo again", .reset = true);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_output(o, "again");
    assert_true(now_ms() - start < 2000);
    ASK(p, "kill -STOP $PPID");
    assert_status(close_terminal(p, "t"), WIRE_OK);
}

static void test_terminals_are_independent(void **state)
{
    struct peer *p = *state;
    uint32_t slow = begin(p, &(struct ask){"yes | head -c 3000000; sleep 0.5; echo slow", .name = "a"});
    struct outcome *o = ASK(p, "echo quick", .name = "b");
    assert_kind(o, TERMINAL_COMPLETED);
    assert_false(p->calls[slow].done);
    assert_status(ASK(p, "echo x", .name = "a"), WIRE_BUSY);
    o = peer_wait(p, slow);
    assert_kind(o, TERMINAL_COMPLETED);
    struct buf fields = {0};
    wire_add_str(&fields, F_NAME, STR("none"));
    assert_status(peer_call(p, OP_TERMINAL_INTERRUPT, &fields), WIRE_NOT_FOUND);
}

static void test_input_limits(void **state)
{
    struct peer *p = *state;
    autobuf big = {0};
    for (unsigned i = 0; i < 200000; i++)
        buf_add_char(&big, i % 100 == 99 ? '\n' : 'z');
    ASK(p, "cat >/dev/null", .soft_ms = 50);
    struct outcome *o = ASK(p, .text = buf_str(&big), .input = true, .soft_ms = 300);
    assert_kind(o, TERMINAL_SOFT_TIMEOUT);
    o = ASK(p, "C-d", .input = true, .soft_ms = 5000);
    assert_kind(o, TERMINAL_COMPLETED);
    /* Nobody reads it. */
    ASK(p, "sleep 1000", .soft_ms = 50);
    o = ASK(p, .text = buf_str(&big), .input = true, .soft_ms = 300);
    assert_kind(o, TERMINAL_SOFT_TIMEOUT);
    o = ASK(p, "C-c", .input = true, .soft_ms = 5000);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_runs(p, "echo ok", 0, "ok");
    ASK(p, "cat", .soft_ms = 50);
    buf_clear(&big);
    for (unsigned i = 0; i < 5000; i++)
        buf_add_char(&big, 'z');
    assert_status(ASK(p, .text = buf_str(&big), .input = true), WIRE_TOO_LARGE);
    assert_kind(ASK(p, "C-c", .input = true, .soft_ms = 5000), TERMINAL_COMPLETED);
}

int main(int argc, char **argv)
{
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_huge_output),
        T(test_whole_output_for_several),
        T(test_erasing_is_bounded),
        T(test_escape_sequences_block_nothing),
        T(test_endless_output),
        T(test_output_between_commands),
        T(test_timeouts_last_as_long_as_they_are),
        T(test_timeouts_come_in_order),
        T(test_noise_has_an_end),
        T(test_many_commands),
        T(test_cancel),
        T(test_cancel_at_the_start),
        T(test_a_call_behind_a_cancelled_one),
        T(test_shell_ends_at_any_moment),
        T(test_input_flood),
        T(test_reset),
        T(test_close_ends_the_tree),
        T(test_stopped_keeper),
        T(test_terminals_are_independent),
        T(test_input_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
