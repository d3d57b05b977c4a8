/* The terminal, driven through build/hand as the mind drives it. */
#include "hand_peer.h"
#include "base/utf8.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* ASK(p, "command") */

/* --- asking ------------------------------------------------------------------------------------- */

struct ask {
    const char *command;
    struct str text; /* instead of command */
    bool input, reset;
    int hard_ms, soft_ms, most_ms; /* 0: absent */
    const char *cwd, *name;
    const char *env[3];
};

static uint32_t begin(struct peer *p, const struct ask *a)
{
    struct buf fields = {0};
    wire_add_str(&fields, F_NAME, str_from(a->name ? a->name : "t"));
    wire_add_str(&fields, F_COMMAND, a->text.p ? a->text : str_from(a->command));
    if (a->input)
        wire_add_int(&fields, F_INPUT, 1);
    if (a->reset)
        wire_add_int(&fields, F_RESET, 1);
    if (a->hard_ms)
        wire_add_int(&fields, F_TIMEOUT_MS, a->hard_ms);
    if (a->soft_ms)
        wire_add_int(&fields, F_SOFT_TIMEOUT_MS, a->soft_ms);
    if (a->most_ms)
        wire_add_int(&fields, F_CALL_MAX_MS, a->most_ms);
    if (a->cwd)
        wire_add_str(&fields, F_CWD, str_from(a->cwd));
    for (size_t i = 0; i < ARRAY_LEN(a->env); i++)
        if (a->env[i])
            wire_add_str(&fields, F_ENV, str_from(a->env[i]));
    return peer_begin(p, OP_TERMINAL, &fields);
}

#define ASK(p, ...) peer_wait((p), begin((p), &(struct ask){__VA_ARGS__}))

static struct str field(const struct outcome *o, enum wire_field tag)
{
    return wire_get_str(buf_str(&o->result), tag);
}

static void assert_kind(const struct outcome *o, enum wire_terminal kind)
{
    assert_status(o, WIRE_OK);
    if (outcome_int(o, F_KIND) != (int64_t)kind)
        fail_msg("kind %d, not %d: %.*s", (int)outcome_int(o, F_KIND), (int)kind, STR_ARG(field(o, F_TEXT)));
}

static void assert_output(const struct outcome *o, const char *expected)
{
    struct str text = field(o, F_TEXT);
    if (!str_eq(text, str_from(expected)))
        fail_msg("output is \"%.*s\", not \"%s\"", STR_ARG(text), expected);
}

static void assert_contains(const struct outcome *o, const char *part)
{
    struct str text = field(o, F_TEXT);
    if (str_find(text, str_from(part)) < 0)
        fail_msg("output is \"%.*s\", without \"%s\"", STR_ARG(text), part);
}

static void assert_lacks(const struct outcome *o, const char *part)
{
    struct str text = field(o, F_TEXT);
    if (str_find(text, str_from(part)) >= 0)
        fail_msg("output is \"%.*s\", with \"%s\"", STR_ARG(text), part);
}

/* The command ends with this exit code and this output. */
static void assert_runs(struct peer *p, const char *command, int code, const char *output)
{
    struct outcome *o = ASK(p, command);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_output(o, output);
    assert_int_equal(outcome_int(o, F_EXIT_CODE), code);
}

static int64_t shell_pid(struct peer *p)
{
    int64_t pid = 0;
    struct outcome *o = ASK(p, "echo $$");
    assert_kind(o, TERMINAL_COMPLETED);
    assert_true(str_to_i64(field(o, F_TEXT), &pid));
    return pid;
}

static int setup(void **state)
{
    *state = peer_new();
    return 0;
}

static int teardown(void **state)
{
    peer_free(*state, 0);
    return 0;
}

/* --- the ordinary ------------------------------------------------------------------------------- */

static void test_runs_commands(void **state)
{
    struct peer *p = *state;
    struct outcome *o = ASK(p, "echo hello", .cwd = "/usr");
    assert_kind(o, TERMINAL_COMPLETED);
    assert_output(o, "hello");
    assert_int_equal(outcome_int(o, F_FRESH), 1);
    assert_true(str_is(field(o, F_CWD), "/usr"));
    assert_true(field(o, F_HOST).n > 0);
    assert_runs(p, "false", 1, "");
    assert_runs(p, "echo $?", 0, "1");
    assert_runs(p, "x=5; cd /; f() { echo in f; return 7; }", 0, "");
    assert_runs(p, "f", 7, "in f");
    assert_runs(p, "echo $? $x $PWD", 0, "7 5 /");
    assert_runs(p, "printf 'a\\tb\\n\\n  c'", 0, "a\tb\n\n  c");
    o = ASK(p, "echo err >&2; nosuchcommand");
    assert_output(o, "err\nbash: nosuchcommand: command not found");
    assert_int_equal(outcome_int(o, F_EXIT_CODE), 127);
    assert_int_equal(outcome_int(o, F_FRESH), INT64_MIN);
    assert_true(str_is(field(o, F_CWD), "/"));
}

static void test_several_statements_and_lines(void **state)
{
    struct peer *p = *state;
    assert_runs(p, "echo a\necho b\n\n# nothing\nfor i in 1 2; do\n  echo $i\ndone", 0, "a\nb\n1\n2");
    assert_runs(p, "alias ll='echo listing'\nll x", 0, "listing x");
    assert_runs(p, "cat <<'END' | tr a-z A-Z\nsome $text\nEND\necho done", 0, "SOME $TEXT\ndone");
    assert_runs(p, "echo 'it'\\''s' \"a\nb\"", 0, "it's a\nb");
    assert_runs(p, "echo $PAGER $GIT_PAGER", 0, "cat cat");
}

static void test_reports_background_process(void **state)
{
    struct peer *p = *state;
    uint64_t start = now_ms();
    struct outcome *o = ASK(p, "sleep 1000 &");
    assert_kind(o, TERMINAL_COMPLETED);
    int64_t pid = outcome_int(o, F_PID);
    assert_true(pid > 1);
    assert_true(process_lives((pid_t)pid));
    o = ASK(
        p,
        "setsid sleep 1000 >/dev/null 2>&1 & (trap '' HUP; sleep 1000) & nohup sleep 1000 >/dev/null & echo started");
    assert_kind(o, TERMINAL_COMPLETED);
    assert_contains(o, "started");
    assert_true(now_ms() - start < 2000);
}

static void test_finds_python(void **state)
{
    struct peer *p = *state;
    char dir[] = "/tmp/handsd-python-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char command[256], expected[64];
    snprintf(command, sizeof(command), "printf '#!/bin/sh\\n' >%s/python; chmod +x %s/python; PATH=%s:$PATH",
             dir, dir, dir);
    snprintf(expected, sizeof(expected), "%s/python", dir);
    struct outcome *o = ASK(p, command);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_true(str_is(field(o, F_PYTHON), expected));
    snprintf(command, sizeof(command), "rm -r %s", dir);
    o = ASK(p, command);
    assert_false(str_is(field(o, F_PYTHON), expected));
}

static void test_exports_secrets_silently(void **state)
{
    struct peer *p = *state;
    struct outcome *o = ASK(p, "echo \"<$KEY>\"", .env = {"KEY=it's $HOME \"x\"\nline", "EMPTY="});
    assert_kind(o, TERMINAL_COMPLETED);
    assert_output(o, "<it's $HOME \"x\"\nline>");
    assert_runs(p, "sh -c 'echo \"$KEY\"' | head -1", 0, "it's $HOME \"x\"");
    o = ASK(p, "set -xv; true", .env = {"OTHER=hidden-value"});
    assert_lacks(o, "hidden-value");
    o = ASK(p, "history", .env = {"OTHER=hidden-value"});
    assert_lacks(o, "hidden-value");
    assert_lacks(o, "6973");
    assert_status(ASK(p, "true", .env = {"A B=1"}), WIRE_INVALID);
    assert_status(ASK(p, "true", .env = {"1A=1"}), WIRE_INVALID);
    o = ASK(p, "false", .env = {"PATH2=1"});
    assert_int_equal(outcome_int(o, F_EXIT_CODE), 1);
    o = ASK(p, "echo $?", .env = {"PATH2=1"});
    assert_contains(o, "1");
}

/* --- what could break the prompt ------------------------------------------------------------------ */

static void test_survives_changed_prompts(void **state)
{
    struct peer *p = *state;
    int64_t pid = shell_pid(p);
    assert_runs(p, "PS1='hello> '; PROMPT_COMMAND='echo prompt'; PS2='more '", 0, "");
    assert_runs(p, "echo a", 0, "a");
    assert_runs(p, "unset PS1 PROMPT_COMMAND PWD PATH2; false", 1, "");
    assert_runs(p, "cd /tmp; echo b", 0, "b");
    assert_runs(p, "printf() { echo no; }; read() { echo no; }; export() { echo no; }", 0, "");
    assert_runs(p, "echo c", 0, "c");
    assert_runs(p, "unset -f printf read export; alias printf='echo no' read='echo no'", 0, "");
    assert_runs(p, "echo d", 0, "d");
    assert_runs(p, "set -u; echo e", 0, "e");
    assert_runs(p, "set -o posix; set -f; IFS=x; shopt -u promptvars; echo f", 0, "f");
    assert_runs(p, "exec 2>/dev/null; echo g", 0, "g");
    assert_runs(p, "exec 2>&1; echo h", 0, "h");
    assert_runs(p, "trap 'echo dbg >/dev/null' DEBUG; trap 'true' ERR RETURN; echo i", 0, "i");
    assert_runs(p, "exec 3>&1 >/dev/null; echo swallowed", 0, "");
    assert_runs(p, "exec >&3; echo j", 0, "j");
    assert_int_equal(shell_pid(p), pid);
}

static void test_is_silent_under_trace(void **state)
{
    struct peer *p = *state;
    assert_runs(p, "set -x", 0, "");
    struct outcome *o = ASK(p, "echo a; false");
    assert_contains(o, "echo a\na\n");
    assert_lacks(o, "/proc/self");
    assert_lacks(o, "__hand");
    assert_lacks(o, "6973");
    assert_int_equal(outcome_int(o, F_EXIT_CODE), 1);
    ASK(p, "set -v; set +x");
    o = ASK(p, "echo b");
    assert_contains(o, "b");
    assert_lacks(o, "/proc/self");
    assert_lacks(o, "6973");
    ASK(p, "set +xv");
    assert_runs(p, "echo c", 0, "c");
}

static void test_errexit(void **state)
{
    struct peer *p = *state;
    int64_t pid = shell_pid(p);
    assert_runs(p, "set -e", 0, "");
    assert_runs(p, "false; echo on", 0, "on");
    assert_int_equal(shell_pid(p), pid);
    /* In one command it means what it says: the shell ends. */
    struct outcome *o = ASK(p, "set -e; cd /; false; echo not reached");
    assert_kind(o, TERMINAL_SHELL_ENDED);
    assert_int_equal(outcome_int(o, F_EXIT_CODE), 1);
    assert_output(o, "");
    o = ASK(p, "echo again", .cwd = "/usr/lib");
    assert_kind(o, TERMINAL_COMPLETED);
    assert_int_equal(outcome_int(o, F_FRESH), 1);
    assert_output(o, "again");
    assert_true(str_is(field(o, F_CWD), "/usr/lib"));
}

static void test_shell_that_ends(void **state)
{
    static const struct {
        const char *command;
        int code;
        const char *output;
    } cases[] = {
        {"echo bye; exit 3", 3, "bye"},
        {"exec echo replaced", 0, "replaced"},
        {"echo x; kill -9 $$", -SIGKILL, "x"},
        {"(sleep 1000; true) & disown; exit", 0, ""},
        {"trap 'echo leaving' EXIT; exit 4", 4, "leaving"},
        {"seq 1 200000 | tail -1; exit 5", 5, "200000"},
    };
    struct peer *p = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct outcome *o = ASK(p, cases[i].command);
        assert_kind(o, TERMINAL_SHELL_ENDED);
        assert_int_equal(outcome_int(o, F_EXIT_CODE), cases[i].code);
        assert_output(o, cases[i].output);
        o = ASK(p, "");
        assert_kind(o, TERMINAL_NOTHING_RUNNING);
    }
    struct outcome *o = ASK(p, "exec bash --norc -i", .soft_ms = 300);
    assert_kind(o, TERMINAL_SOFT_TIMEOUT);
    o = ASK(p, "exit 6", .input = true);
    assert_kind(o, TERMINAL_SHELL_ENDED);
    assert_int_equal(outcome_int(o, F_EXIT_CODE), 6);
    assert_runs(p, "echo alive", 0, "alive");
}

/* The shell dies between two calls. */
static void test_shell_killed_while_idle(void **state)
{
    struct peer *p = *state;
    pid_t pid = (pid_t)shell_pid(p);
    kill(pid, SIGKILL);
    assert_true(process_ends(pid, 5000));
    struct outcome *o = ASK(p, "echo next");
    assert_kind(o, TERMINAL_COMPLETED);
    assert_output(o, "next");
    assert_int_equal(outcome_int(o, F_FRESH), 1);
}

static void test_unfinished_syntax(void **state)
{
    static const char *const cases[] = {
        "echo 'abc",
        "echo \"abc",
        "if true; then echo x",
        "for i in 1 2",
        "echo $(",
        "echo `date",
        "( echo",
        "{ echo",
        "case x in",
        ")",
        "done",
        "echo a |",
        "echo a &&",
        "f() {",
        "echo ${x",
    };
    struct peer *p = *state;
    int64_t pid = shell_pid(p);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct outcome *o = ASK(p, cases[i]);
        assert_kind(o, TERMINAL_COMPLETED);
        assert_int_not_equal(outcome_int(o, F_EXIT_CODE), 0);
        assert_true(field(o, F_TEXT).n > 0);
    }
    struct outcome *o = ASK(p, "cat <<END\nnever ended");
    assert_kind(o, TERMINAL_COMPLETED);
    assert_contains(o, "never ended");
    assert_runs(p, "echo end with backslash\\", 0, "end with backslash");
    assert_int_equal(shell_pid(p), pid);
}

static void test_long_commands(void **state)
{
    struct peer *p = *state;
    static const size_t sizes[] = {4000, 4090, 4100, 9000, 70000, 1000000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        autobuf command = {0};
        buf_add(&command, STR("x='"));
        for (size_t n = 0; n < sizes[i]; n++)
            buf_add_char(&command, 'y');
        buf_add(&command, STR("'; echo ${#x}"));
        struct outcome *o = ASK(p, .text = buf_str(&command));
        assert_kind(o, TERMINAL_COMPLETED);
        char expected[32];
        snprintf(expected, sizeof(expected), "%zu", sizes[i]);
        assert_output(o, expected);
    }
    autobuf lines = {0};
    buf_add(&lines, STR("cat <<'END' | wc -l\n"));
    for (unsigned i = 0; i < 50000; i++)
        buf_addf(&lines, "line %u 'of' \"many\"\n", i);
    buf_add(&lines, STR("END"));
    struct outcome *o = ASK(p, .text = buf_str(&lines));
    assert_kind(o, TERMINAL_COMPLETED);
    assert_output(o, "50000");
    o = ASK(p, .text = STR("echo a\0b"));
    assert_status(o, WIRE_INVALID);
}

/* --- programs that want something ------------------------------------------------------------------- */

static void test_input(void **state)
{
    struct peer *p = *state;
    struct outcome *o = ASK(p, "read -p 'name? ' n; echo \"hello $n\"", .soft_ms = 200);
    assert_kind(o, TERMINAL_SOFT_TIMEOUT);
    assert_output(o, "name?");
    assert_int_equal(outcome_int(o, F_EXIT_CODE), -1);
    o = ASK(p, "ls", .soft_ms = 200);
    assert_kind(o, TERMINAL_OCCUPIED);
    assert_int_equal(outcome_int(o, F_CONTINUED), 1);
    o = ASK(p, "World", .input = true, .soft_ms = 5000);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_contains(o, "hello World");
    assert_lacks(o, "name?");
    assert_int_equal(outcome_int(o, F_CONTINUED), 1);
    o = ASK(p, "more", .input = true);
    assert_kind(o, TERMINAL_NOTHING_RUNNING);
    o = ASK(p, "");
    assert_kind(o, TERMINAL_NOTHING_RUNNING);
    assert_int_equal(outcome_int(o, F_CONTINUED), INT64_MIN);
    o = ASK(p, "cat", .soft_ms = 200);
    assert_kind(o, TERMINAL_SOFT_TIMEOUT);
    o = ASK(p, "one\ntwo", .input = true, .soft_ms = 200);
    assert_kind(o, TERMINAL_SOFT_TIMEOUT);
    assert_contains(o, "two");
    o = ASK(p, "C-d", .input = true);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_int_equal(outcome_int(o, F_EXIT_CODE), 0);
    assert_status(ASK(p, "x", .input = true, .reset = true), WIRE_INVALID);
}

/* Input that its program never reads is no command. */
static void test_unread_input_is_dropped(void **state)
{
    struct peer *p = *state;
    struct outcome *o = ASK(p, "sleep 0.5", .soft_ms = 100);
    assert_kind(o, TERMINAL_SOFT_TIMEOUT);
    o = ASK(p, "touch /tmp/handsd-typed-ahead", .input = true);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_runs(p, "ls /tmp/handsd-typed-ahead 2>/dev/null", 2, "");
    o = ASK(p, "sleep 0.3", .soft_ms = 100);
    autobuf partial = {0};
    wire_add_str(&partial, F_NAME, STR("t"));
    o = ASK(p, "C-v", .input = true, .soft_ms = 5000);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_runs(p, "echo fine", 0, "fine");
}

static void test_special_keys(void **state)
{
    static const struct {
        const char *key, *hex;
    } cases[] = {
        {"C-a", "01"},      {"CTRL-b", "02"},     {"ctrl+e", "05"},     {"ENTER", "0d"},
        {"tab", "09"},      {"BS", "7f"},         {"ESC", "1b"},        {"UP", "1b5b41"},
        {"DOWN", "1b5b42"}, {"LEFT", "1b5b44"},   {"RIGHT", "1b5b43"},  {"HOME", "1b5b48"},
        {"END", "1b5b46"},  {"PGUP", "1b5b357e"}, {"PGDN", "1b5b367e"}, {"C-x", "18"},
        {"C-]", "1d"},      {"x", "780d"},
    };
    struct peer *p = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char command[256];
        snprintf(command, sizeof(command),
                 "stty raw -echo; echo ready; head -c %zu | od -An -tx1 | tr -d ' \\n'; stty sane; echo",
                 strlen(cases[i].hex) / 2);
        struct outcome *o = ASK(p, command, .soft_ms = 150);
        assert_kind(o, TERMINAL_SOFT_TIMEOUT);
        assert_output(o, "ready");
        o = ASK(p, cases[i].key, .input = true, .soft_ms = 5000);
        assert_kind(o, TERMINAL_COMPLETED);
        assert_output(o, cases[i].hex);
    }
}

static void test_password_prompt(void **state)
{
    struct peer *p = *state;
    struct outcome *o =
        ASK(p, "read -s -p 'Password: ' pw </dev/tty; echo; echo \"got ${#pw}\"", .soft_ms = 200);
    assert_kind(o, TERMINAL_SOFT_TIMEOUT);
    assert_output(o, "Password:");
    o = ASK(p, "hidden", .input = true, .soft_ms = 5000);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_lacks(o, "hidden");
    assert_contains(o, "got 6");
    o = ASK(p, "read -s -p 'Password: ' pw </dev/tty", .soft_ms = 200);
    assert_kind(o, TERMINAL_SOFT_TIMEOUT);
    o = ASK(p, "C-c", .input = true, .soft_ms = 5000);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_int_equal(outcome_int(o, F_EXIT_CODE), 130);
}

/* Full-screen programs return at the soft timeout and can be left. */
static void test_pagers_and_editors(void **state)
{
    static const struct {
        const char *program, *command, *shows;
        const char *leave[2];
        const char *fallback; /* always there */
    } cases[] = {
        {"less", "seq 1 1000 | less", "100", {"q", NULL}, NULL},
        {"vi", "vi -u NONE /etc/passwd", "root:", {"ESC", ":q!"}, NULL},
        {"more", "seq 1 1000 | more", "100", {"q", NULL}, NULL},
        {"top", "top -d 100", "PID", {"q", NULL}, NULL},
    };
    struct peer *p = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char which[64];
        snprintf(which, sizeof(which), "command -v %s >/dev/null", cases[i].program);
        if (outcome_int(ASK(p, which), F_EXIT_CODE) != 0)
            continue;
        struct outcome *o = ASK(p, cases[i].command, .soft_ms = 700);
        assert_kind(o, TERMINAL_SOFT_TIMEOUT);
        assert_contains(o, cases[i].shows);
        assert_lacks(o, "\033");
        for (size_t k = 0; k < 2 && cases[i].leave[k]; k++)
            o = ASK(p, cases[i].leave[k], .input = true, .soft_ms = 700);
        if (outcome_int(o, F_KIND) != TERMINAL_COMPLETED)
            o = ASK(p, "q", .input = true, .soft_ms = 2000);
        assert_kind(o, TERMINAL_COMPLETED);
        assert_runs(p, "echo back", 0, "back");
    }
}

static void test_control_keys(void **state)
{
    struct peer *p = *state;
    int64_t pid = shell_pid(p);
    struct outcome *o = ASK(p, "sleep 1000\necho not this", .soft_ms = 100);
    assert_kind(o, TERMINAL_SOFT_TIMEOUT);
    o = ASK(p, "C-c", .input = true, .soft_ms = 5000);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_int_equal(outcome_int(o, F_EXIT_CODE), 130);
    assert_lacks(o, "not this");
    ASK(p, "while :; do :; done", .soft_ms = 100);
    o = ASK(p, "C-c", .input = true, .soft_ms = 5000);
    assert_kind(o, TERMINAL_COMPLETED);
    ASK(p, "sleep 1000", .soft_ms = 100);
    o = ASK(p, "C-z", .input = true, .soft_ms = 5000);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_int_equal(outcome_int(o, F_EXIT_CODE), 148);
    o = ASK(p, "fg", .soft_ms = 100);
    assert_kind(o, TERMINAL_SOFT_TIMEOUT);
    o = ASK(p, "C-\\", .input = true, .soft_ms = 5000);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_int_equal(outcome_int(o, F_EXIT_CODE), 131);
    /* Stop and go keys do nothing to the flow of output. */
    ASK(p, "sleep 0.3; echo out", .soft_ms = 50);
    o = ASK(p, "C-s", .input = true, .soft_ms = 5000);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_contains(o, "out");
    assert_int_equal(shell_pid(p), pid);
}

/* Ctrl-C hits while a command has changed the prompt. */
static void test_interrupt_repairs_prompt(void **state)
{
    struct peer *p = *state;
    int64_t pid = shell_pid(p);
    ASK(p, "PROMPT_COMMAND=; PS1='$ '; sleep 1000", .soft_ms = 100);
    struct outcome *o = ASK(p, "C-c", .input = true, .soft_ms = 5000);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_runs(p, "echo repaired", 0, "repaired");
    ASK(p, "PROMPT_COMMAND='PS1=x'; unset PS1; sleep 1000", .soft_ms = 100);
    uint32_t id = begin(p, &(struct ask){""});
    struct buf name = {0};
    wire_add_str(&name, F_NAME, STR("t"));
    assert_status(peer_call(p, OP_TERMINAL_INTERRUPT, &name), WIRE_OK);
    assert_kind(peer_wait(p, id), TERMINAL_COMPLETED);
    assert_int_equal(shell_pid(p), pid);
}

/* A command that leaves our script early, or spoils what it stands on, as a shell's first. */
static void test_first_command_leaves_early(void **state)
{
    static const struct {
        const char *command;
        int code;
    } cases[] = {
        {"return 3", 3},
        {"false || return 4; echo not this", 4},
        {"kill -INT $$", 130},
        {"PROMPT_COMMAND=x; PS1='$ '; kill -INT $$", 130},
        {"readonly __handsd_status=7; true", 0},
        {"command() { echo mine; }", 0},
        {"builtin() { return 1; }; unset -f builtin", 0},
        {"exec 255>&-", 0},
        {"readonly PROMPT_COMMAND PS1", 0},
    };
    struct peer *p = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char name[16];
        snprintf(name, sizeof(name), "early %zu", i);
        struct outcome *o = ASK(p, cases[i].command, .name = name, .soft_ms = 3000);
        if (outcome_int(o, F_KIND) != TERMINAL_COMPLETED || outcome_int(o, F_EXIT_CODE) != cases[i].code)
            fail_msg("%s: kind %d, exit code %d", cases[i].command, (int)outcome_int(o, F_KIND),
                     (int)outcome_int(o, F_EXIT_CODE));
        assert_lacks(o, "/proc/self");
        o = ASK(p, "echo hi", .name = name, .soft_ms = 3000);
        assert_kind(o, TERMINAL_COMPLETED);
        assert_output(o, "hi");
    }
}

/* Ctrl-C is not followed by anything that a program which ignores it could read. */
static void test_interrupt_types_nothing(void **state)
{
    struct peer *p = *state;
    ASK(p, "trap '' INT; read x; echo \"got:$x\"", .soft_ms = 100);
    assert_kind(ASK(p, "C-c", .input = true, .soft_ms = 600), TERMINAL_SOFT_TIMEOUT);
    struct outcome *o = ASK(p, "hello", .input = true, .soft_ms = 5000);
    assert_kind(o, TERMINAL_COMPLETED);
    assert_contains(o, "got:hello");
}

static void test_disordered_terminal_modes(void **state)
{
    struct peer *p = *state;
    assert_runs(p, "stty raw -echo", 0, "");
    assert_runs(p, "echo a; echo b", 0, "a\nb");
    assert_runs(p, "stty -icanon -opost olcuc 2>/dev/null; true", 0, "");
    assert_runs(p, "echo c", 0, "c");
    assert_runs(p, "printf '\\033[?1049h\\033[?1h\\033(0'", 0, "");
    assert_runs(p, "echo qqq", 0, "qqq");
    assert_runs(p, "printf '\\033]0;never ended'", 0, "");
    assert_runs(p, "printf '\\033P never ended'", 0, "");
    assert_runs(p, "printf '\\033[12;'", 0, "");
    assert_runs(p, "echo d", 0, "d");
}

/* --- output ----------------------------------------------------------------------------------------- */

static void test_cleans_output(void **state)
{
    static const struct {
        const char *printed, *output;
    } cases[] = {
        {"\\033[1;31mred\\033[0m", "red"},
        {"\\033]0;title\\007a\\033]8;;http://x\\033\\\\\\\\link\\033]8;;\\033\\\\\\\\", "alink"},
        {"\\033P1;2q#junk\\033\\\\\\\\b", "b"},
        {"\\033(Bc\\033)0d\\033[?25l\\033[?2004hcd\\033=\\033>", "cdcd"},
        {"\\033(0lqk\\033(B", "┌─┐"},
        {"10%%\\r20%%\\r100%%\\n", "100%"},
        {"downloading 5/10\\r\\033[Kdone\\n", "done"},
        {"abc\\b\\bX\\n", "aXc"},
        {"a\\000b\\000", "ab"},
        {"x\\377y\\303(", "x\xef\xbf\xbdy\xef\xbf\xbd("},
        {"\\342\\202\\254 \\360\\237\\230\\200", "€ 😀"},
        {"a\\007b\\016\\017c", "abc"},
        {"one\\ntwo\\n\\033[1A\\033[2Kchanged\\n", "one\nchanged"},
        {"one\\ntwo\\033[1A\\rONE\\033[1B\\rTWO\\n", "ONE\nTWO"},
        {"kept\\n\\033[H\\033[2J\\033[3Jafter", "kept\nafter"},
        {"\\033[?1049h\\033[2J\\033[5;5Hscreen\\033[?1049lmain", "main"},
        {"\\033[6n\\033[c\\033]11;?\\007ok", "ok"},
        {"tab\\there", "tab\there"},
        {"a\\r\\nb\\r\\r\\nc", "a\nb\nc"},
        {"abcdef\\033[3D\\033[Pxy\\033[1@Z", "abcxyZ"},
        {"\\033[999999999;99999999Hx", NULL},
        {"\\033[5Cright", "     right"},
    };
    struct peer *p = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char command[256];
        snprintf(command, sizeof(command), "printf \"%s\"", cases[i].printed);
        struct outcome *o = ASK(p, command);
        assert_kind(o, TERMINAL_COMPLETED);
        if (cases[i].output)
            assert_output(o, cases[i].output);
        assert_true(utf8_valid(field(o, F_TEXT)));
        assert_lacks(o, "\033");
    }
}

/* A command cannot pretend to have ended. */
static void test_marks_cannot_be_forged_by_accident(void **state)
{
    struct peer *p = *state;
    assert_runs(
        p,
        "printf '\\033]6973;;E0;;/\\007'; printf '\\033]6973;0123456789abcdef0123456789abcdef;E0;;\\007'; sleep 0.1; echo end",
        0, "end");
    struct outcome *o = ASK(p, "set; declare -p");
    assert_kind(o, TERMINAL_COMPLETED);
    assert_runs(p, "echo next", 0, "next");
    char dir[] = "/tmp/handsd-odd-XXXXXX";
    assert_non_null(mkdtemp(dir));
    autobuf command = {0};
    buf_addf(&command, "cd %s; mkdir $'a;b\\n\\a\\037\\033]c'; cd a*; pwd >/dev/null", dir);
    o = ASK(p, .text = buf_str(&command));
    assert_kind(o, TERMINAL_COMPLETED);
    autobuf expected = {0};
    buf_addf(&expected, "%s/a;b\n\a\037\033]c", dir);
    assert_true(str_eq(field(o, F_CWD), buf_str(&expected)));
    buf_clear(&command);
    buf_addf(&command, "cd /; rm -r %s", dir);
    o = ASK(p, .text = buf_str(&command));
    assert_true(str_is(field(o, F_CWD), "/"));
}

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
        T(test_runs_commands),
        T(test_several_statements_and_lines),
        T(test_reports_background_process),
        T(test_finds_python),
        T(test_exports_secrets_silently),
        T(test_survives_changed_prompts),
        T(test_is_silent_under_trace),
        T(test_errexit),
        T(test_shell_that_ends),
        T(test_shell_killed_while_idle),
        T(test_unfinished_syntax),
        T(test_long_commands),
        T(test_input),
        T(test_unread_input_is_dropped),
        T(test_special_keys),
        T(test_password_prompt),
        T(test_pagers_and_editors),
        T(test_control_keys),
        T(test_interrupt_repairs_prompt),
        T(test_first_command_leaves_early),
        T(test_interrupt_types_nothing),
        T(test_disordered_terminal_modes),
        T(test_cleans_output),
        T(test_marks_cannot_be_forged_by_accident),
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
