/* The terminal, driven through build/hand as the mind drives it: commands, input, keys, prompts. */
#include "terminal_fixture.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
