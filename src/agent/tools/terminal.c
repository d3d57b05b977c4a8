/* The terminal tool: one call to the hand's named terminal, then the observation's fields. The words are in
 * terminal_text.c. */
#include "agent/tools/terminal.h"
#include "base/utf8.h"
#include <ctype.h>

#define FACT_PATH_MAX 4095    /* bytes of a path that the hand tells */
#define FACT_NAME_MAX 256     /* bytes of a user's or a host's name */
#define TIMEOUT_MAX_S 1e7     /* seconds; more is as good as none */
#define ANSWER_SLACK_MS 30000 /* the hand answers at its own timeout; past this much more it is given up */

struct terminal_arguments {
    struct str command;
    bool is_input, reset, timeout_given;
    double timeout;
};

static const struct json_field fields[] = {
    {.name = "command",
     .type = FIELD_STR,
     .offset = offsetof(struct terminal_arguments, command),
     .flags = FIELD_REQUIRED,
     .doc =
         "The shell command. With `is_input` the text for the program that is running, or a key: C-c, C-d, C-z, "
         "ENTER, TAB, ESC, UP, DOWN … Empty: wait for more output of the command that is running."},
    {.name = "is_input",
     .type = FIELD_BOOL,
     .offset = offsetof(struct terminal_arguments, is_input),
     .doc = "True if `command` is input for the program that is running, not a new command."},
    {.name = "timeout",
     .type = FIELD_FLOAT,
     .offset = offsetof(struct terminal_arguments, timeout),
     .given = offsetof(struct terminal_arguments, timeout_given),
     .min = 0,
     .max = INT64_MAX,
     .doc =
         "Longest time to wait, in seconds. Give it for commands that may be silent for long; without it you get "
         "control back after 30 seconds without new output."},
    {.name = "reset",
     .type = FIELD_BOOL,
     .offset = offsetof(struct terminal_arguments, reset),
     .doc =
         "True to start a new shell first, when the old one does not respond. Not together with `is_input`."},
};

static const struct json_schema schema = {
    .name = "TerminalAction",
    .size = sizeof(struct terminal_arguments),
    .fields = fields,
    .count = ARRAY_LEN(fields),
    .forbid_extra = true,
};

/* --- the call --- */

static bool is_name(struct str s)
{
    if (s.n == 0 || isdigit((unsigned char)s.p[0]))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '_')
            return false;
    }
    return true;
}

/* A command gets the secrets that it names, and no others. */
static void add_secrets(const struct mask *mask, struct str command, struct buf *out)
{
    for (size_t i = 0; i < mask_count(mask); i++) {
        struct str name = mask_name(mask, i);
        if (!is_name(name) || mask_value(mask, i).n == 0 || str_find_nocase(command, name) < 0)
            continue;
        autobuf pair = {0};
        buf_add(&pair, name);
        buf_add_char(&pair, '=');
        buf_add(&pair, mask_value(mask, i));
        wire_add_str(out, F_ENV, buf_str(&pair));
        explicit_bzero(pair.p, pair.n);
    }
}

void terminal_name(const struct agent_host *host, struct buf *out)
{
    buf_addf(out, "main-%.*s", STR_ARG(host->conversation));
}

static uint64_t call_write(const struct tool_run *run, const struct terminal_arguments *a, struct buf *out)
{
    char key[UUID_DASHED_LEN + 1];
    struct str cwd = run->host->last_cwd(run->host->arg);
    autobuf name = {0};
    terminal_name(run->host, &name);
    wire_add_str(out, F_KEY, uuid_dashed(&run->action_id, key));
    wire_add_str(out, F_NAME, buf_str(&name));
    wire_add_str(out, F_COMMAND, a->command);
    wire_add_int(out, F_INPUT, a->is_input);
    wire_add_int(out, F_RESET, a->reset);
    wire_add_str(out, F_CWD, cwd.n > 0 ? cwd : run->host->hand.working_dir);
    if (!a->is_input)
        add_secrets(run->host->mask(run->host->arg), a->command, out);
    if (!a->timeout_given) {
        wire_add_int(out, F_SOFT_TIMEOUT_MS, TERMINAL_SOFT_S * 1000);
        wire_add_int(out, F_CALL_MAX_MS, TERMINAL_CALL_MAX_MS);
        return TERMINAL_CALL_MAX_MS + ANSWER_SLACK_MS;
    }
    uint64_t ms = (uint64_t)((a->timeout < TIMEOUT_MAX_S ? a->timeout : TIMEOUT_MAX_S) * 1000);
    wire_add_int(out, F_TIMEOUT_MS, (int64_t)(ms ? ms : 1));
    return ms + ANSWER_SLACK_MS;
}

/* A short text for the metadata; one that is too long or holds control characters is no fact. */
static struct str fact(const struct tool_run *run, struct str result, enum wire_field tag, size_t max)
{
    struct str s = wire_get_str(result, tag);
    bool ok = s.n <= max;
    for (size_t i = 0; ok && i < s.n; i++)
        ok = !iscntrl((unsigned char)s.p[i]);
    s = ok ? tool_masked(run, s) : STR_NONE;
    return s.n <= max ? s : STR_NONE; /* U+FFFD is longer than the byte that it stands for */
}

static void facts_read(const struct tool_run *run, struct str result, struct terminal_facts *f)
{
    f->kind = (enum wire_terminal)wire_get_int(result, F_KIND, TERMINAL_COMPLETED);
    f->head = wire_get_str(result, F_TEXT);
    f->tail = wire_get_str(result, F_TAIL);
    f->elided = wire_get_int(result, F_ELIDED, 0);
    f->has_whole = wire_get_int(result, F_SIZE, 0) > 0;
    f->exit_code = wire_get_int(result, F_EXIT_CODE, -1);
    f->pid = wire_get_int(result, F_PID, -1);
    f->user = fact(run, result, F_USER, FACT_NAME_MAX);
    f->host = fact(run, result, F_HOST, FACT_NAME_MAX);
    f->python = fact(run, result, F_PYTHON, FACT_PATH_MAX);
    f->cwd = fact(run, result, F_CWD, FACT_PATH_MAX);
    if (!str_starts(f->cwd, STR("/")))
        f->cwd = STR_NONE;
    f->fresh = wire_get_int(result, F_FRESH, 0) == 1;
    f->continued = wire_get_int(result, F_CONTINUED, 0) == 1;
    if (f->kind != TERMINAL_COMPLETED && f->kind != TERMINAL_SHELL_ENDED && f->kind != TERMINAL_RESET)
        f->exit_code = -1;
}

/* --- the observation --- */

static void metadata_write(struct json_writer *w, const struct terminal_facts *f, struct str prefix,
                           struct str suffix)
{
    jw_key(w, "metadata");
    jw_object(w);
    jw_member_int(w, "exit_code", f->exit_code);
    jw_member_int(w, "pid", f->pid);
    if (f->user.n > 0)
        jw_member_str(w, "username", f->user);
    if (f->host.n > 0)
        jw_member_str(w, "hostname", f->host);
    if (f->cwd.n > 0)
        jw_member_str(w, "working_dir", f->cwd);
    if (f->python.n > 0)
        jw_member_str(w, "py_interpreter_path", f->python);
    jw_member_str(w, "prefix", prefix);
    jw_member_str(w, "suffix", suffix);
    jw_object_end(w);
}

static void observation_write(const struct tool_run *run, const struct terminal_arguments *a,
                              const struct terminal_facts *f, struct str saved_dir, struct str remarks,
                              struct tool_result *result)
{
    autobuf prefix = {0}, suffix = {0}, command = {0};
    if (a->reset)
        buf_add(&command, a->command.n > 0 ? STR("[RESET] ") : STR("[RESET]"));
    buf_add(&command, tool_masked(run, a->command));
    buf_add(&prefix, tool_masked(run, remarks));
    terminal_prefix(f, &prefix);
    terminal_suffix(f, &suffix);
    struct json_writer w = json_writer(&result->observation);
    w.depth = 1;
    jw_member_str(&w, "command", buf_str(&command));
    if (!f->refused)
        jw_member_int(&w, "exit_code", f->exit_code);
    jw_member_bool(&w, "timeout", false);
    metadata_write(&w, f, buf_str(&prefix), buf_str(&suffix));
    if (saved_dir.n > 0)
        jw_member_str(&w, "full_output_save_dir", saved_dir);
}

/* The whole text, masked; what is too long for the model is saved where it can read it. */
static void output_write(const struct tool_run *run, const struct terminal_facts *f,
                         struct tool_result *result, struct buf *saved_dir)
{
    autobuf whole = {0}, dir = {0}, name = {0}, path = {0}, notice = {0};
    char id[UUID_HEX_LEN + 1];
    terminal_output(f, run->host->mask(run->host->arg), &whole);
    if (whole.n <= TERMINAL_OUTPUT_MAX || utf8_count(buf_str(&whole)) <= TERMINAL_OUTPUT_MAX) {
        buf_add(&result->text, buf_str(&whole));
        return;
    }
    autoerr why = NULL;
    buf_addf(&name, "terminal_output_%.*s.txt", STR_ARG(str_sub(uuid_hex(&run->action_id, id), 0, 8)));
    bool saved = f->elided > 0 && f->has_whole && output_keep(run, buf_str(&name), STR_NONE, &dir, &why);
    if (!saved && !why)
        saved = output_keep(run, buf_str(&name), buf_str(&whole), &dir, &why);
    /* Not saved, perhaps since somebody interrupts: the command has run, and its result counts all the same. */
    if (saved) {
        buf_addf(&path, "%.*s/%.*s", STR_ARG(buf_str(&dir)), STR_ARG(buf_str(&name)));
        buf_add(saved_dir, buf_str(&dir));
    }
    terminal_notice(buf_str(&whole), buf_str(&path), &notice);
    text_cut_middle(buf_str(&whole), TERMINAL_OUTPUT_MAX, buf_str(&notice), &result->text);
}

static bool refuse_literal(const struct tool_run *run, const struct terminal_arguments *a,
                           struct tool_result *result)
{
    if (a->is_input || !terminal_literal(tool_masked(run, a->command), &result->text))
        return false;
    struct terminal_facts f = {.exit_code = -1, .pid = -1, .refused = true};
    result->is_error = true;
    observation_write(run, a, &f, STR_NONE, STR_NONE, result);
    return true;
}

/* What runs this server may be stopped when nothing happens for too long: nobody may wait that long for one command. */
static bool refuse_timeout(const struct tool_run *run, const struct terminal_arguments *a,
                           struct tool_result *result)
{
    double max_s = run->host->command_max_s;
    if (!a->timeout_given || max_s <= 0 || a->timeout <= max_s)
        return false;
    buf_addf(
        &result->text,
        "A timeout of %.0f s is too long for a command in the foreground: here the limit is %.0f s. Ask for less, or "
        "start it in the background with its output in a file and look at that from time to time.",
        a->timeout, max_s);
    struct terminal_facts f = {.exit_code = -1, .pid = -1, .refused = true};
    result->is_error = true;
    observation_write(run, a, &f, STR_NONE, STR_NONE, result);
    return true;
}

static bool terminal_run(const struct tool_run *run, struct tool_result *result, struct err **e)
{
    struct terminal_arguments a = {
        .command = json_get_str(run->action, "command"),
        .is_input = json_get_bool(run->action, "is_input", false),
        .reset = json_get_bool(run->action, "reset", false),
        .timeout_given = !json_is_null(json_get(run->action, "timeout")),
        .timeout = json_get_float(run->action, "timeout", 0),
    };
    a.command = a.command.p ? str_trim(a.command) : STR("");
    if (a.reset && a.is_input)
        return err_set(
            e, ERR_INVALID,
            "`reset` and `is_input` cannot be combined: a new shell has no running program to send input to.");
    if (refuse_literal(run, &a, result) || refuse_timeout(run, &a, result))
        return true;

    autobuf call = {0}, answer = {0}, saved_dir = {0}, remarks = {0};
    autoerr why = NULL;
    bool used = CONTAINER_OF(run, struct execution, run)->terminal_seen;
    if (run->host->lookup && !a.is_input &&
        !run->host->lookup(run->host->arg, run->host->mailbox, a.command, used, &remarks, e))
        return false;
    uint64_t timeout_ms = call_write(run, &a, &call);
    bool ok = hand_call_wait(run->host->hands, &run->host->hand, OP_TERMINAL, &call, timeout_ms,
                             run->host->mailbox, &answer, NULL, 0, &why);
    struct terminal_facts f = {
        .command = tool_masked(run, a.command),
        .is_input = a.is_input,
        .reset = a.reset,
        .timeout = a.timeout_given ? a.timeout : TERMINAL_CALL_MAX_MS / 1000.0,
        .given_up = !ok && !a.timeout_given && why && why->kind == ERR_TIMEOUT,
    };
    if (!ok && !f.given_up)
        return tool_call_failed(e, why);
    if (ok && !tool_result_check(run, buf_str(&answer), e))
        return false;

    facts_read(run, buf_str(&answer), &f);
    f.seen = CONTAINER_OF(run, struct execution, run)->terminal_seen;
    result->is_error = f.kind == TERMINAL_NOTHING_RUNNING || f.kind == TERMINAL_OCCUPIED;
    output_write(run, &f, result, &saved_dir);
    observation_write(run, &a, &f, buf_str(&saved_dir), buf_str(&remarks), result);
    return true;
}

static void terminal_resource(const struct tool_run *run, struct buf *name)
{
    (void)run;
    buf_add(name, STR("terminal")); /* one shell */
}

const struct tool tool_terminal = {
    .name = "terminal",
    .kind = "TerminalTool",
    .alias = "BashTool",
    .action = "TerminalAction",
    .observation = "TerminalObservation",
    .description =
        "Runs a command in a shell that stays open between calls: working directory, variables and background jobs "
        "persist.\n"
        "* One command runs at a time. Chain what belongs together with && or ;, or give several lines.\n"
        "* A command that prints nothing new for 30 seconds goes on running and you get control back (exit code -1). Then "
        "send an empty `command` to see more of its output, input or a key such as C-c with `is_input`=true, or give a "
        "longer `timeout` beforehand.\n"
        "* Start servers and other long-running programs in the background with their output in a file: "
        "`python3 app.py > server.log 2>&1 &`.\n"
        "* Nobody sits at the terminal: prefer options that keep programs from asking or paging (`-y`, `--no-pager`).\n"
        "* Output over 30,000 characters is cut in the middle; the notice says where all of it is.\n"
        "* The value of a secret is in the variable of its name; it is set for commands that mention the name.",
    .parameters = &schema,
    .destructive = true,
    .open_world = true,
    .text_param = "command",
    .resource = terminal_resource,
    .run = terminal_run,
};
