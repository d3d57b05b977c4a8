/* The words of the terminal tool, for the model. */
#include "agent/tools/terminal.h"
#include "base/utf8.h"
#include <ctype.h>

#define WAYS_ON                                                                                                       \
    "To go on: send an empty `command` to wait and see more output; send text to the running program, or a key such " \
    "as C-c, C-z or C-d to interrupt it, with `is_input`=`true`; or give later commands a longer `timeout`."
#define STATE_LOST "variables, jobs and background processes of the earlier one are gone"
#define LITERAL_SHOWN 60 /* characters of a literal that the error repeats */
#define COMMAND_SHOWN 200

static void text_add(struct buf *out, struct str text)
{
    if (utf8_valid(text))
        buf_add(out, text);
    else
        utf8_scrub(out, text);
}

static void output_add(const struct terminal_facts *f, const struct mask *mask, struct buf *out)
{
    autobuf masked = {0};
    /* The next call may show the rest of what is being printed, this one what the last did not. */
    bool cut_before = f->continued || f->kind == TERMINAL_OCCUPIED;
    bool cut_behind =
        f->kind == TERMINAL_SOFT_TIMEOUT || f->kind == TERMINAL_HARD_TIMEOUT || f->kind == TERMINAL_OCCUPIED;
    if (f->elided > 0) {
        /* A secret may lie across the edges of what was left out. */
        struct str head = mask_without_pieces(mask, f->head, cut_before, false);
        struct str tail = mask_without_pieces(mask, f->tail, false, cut_behind);
        if (head.n < f->head.n)
            buf_add(&masked, STR(MASK_TEXT));
        mask_apply_head(mask, head, &masked);
        buf_addf(&masked, "\n[… %lld bytes of output were not kept …]\n", (long long)f->elided);
        mask_apply_tail(mask, tail, &masked);
        if (tail.n < f->tail.n)
            buf_add(&masked, STR(MASK_TEXT));
    } else if (f->tail.n > 0) {
        autobuf joined = {0};
        buf_add(&joined, f->head);
        buf_add(&joined, f->tail);
        mask_apply_cut(mask, buf_str(&joined), cut_before, cut_behind, &masked);
    } else {
        mask_apply_cut(mask, f->head, cut_before, cut_behind, &masked);
    }
    text_add(out, str_trim_right(buf_str(&masked)));
}

void terminal_output(const struct terminal_facts *f, const struct mask *mask, struct buf *out)
{
    if (f->kind == TERMINAL_NOTHING_RUNNING) {
        buf_add(out, f->is_input ? STR("No command is running that could take input.")
                                 : STR("No command is running whose output could be fetched."));
        return;
    }
    if (f->reset) {
        buf_add(out, STR("The terminal was reset: a new shell has started; " STATE_LOST "."));
        if (f->kind == TERMINAL_RESET)
            return;
        buf_add(out, STR("\n\n"));
    }
    output_add(f, mask, out);
}

void terminal_prefix(const struct terminal_facts *f, struct buf *out)
{
    if (f->fresh && f->seen && !f->reset)
        buf_add(out, STR("[A new shell was started for this command; " STATE_LOST ".]\n"));
    if (f->kind == TERMINAL_OCCUPIED)
        buf_add(out, STR("[Below is output of the previous command, which is still running.]\n"));
    else if (f->continued)
        buf_add(out, STR("[Below is the output of the previous command that was not shown yet.]\n"));
}

/* C-c, CTRL-c, CTRL+c: the letter, or 0. */
static char control_key(struct str command)
{
    static const struct str beginnings[] = {STR_INIT("C-"), STR_INIT("CTRL-"), STR_INIT("CTRL+")};
    for (size_t i = 0; i < ARRAY_LEN(beginnings); i++) {
        struct str b = beginnings[i];
        if (command.n == b.n + 1 && str_starts_nocase(command, b) && isalpha((unsigned char)command.p[b.n]))
            return (char)toupper((unsigned char)command.p[b.n]);
    }
    return 0;
}

static void suffix_completed(const struct terminal_facts *f, struct buf *out)
{
    char key = f->is_input ? control_key(f->command) : 0;
    if (f->exit_code == -1) {
        buf_add(out, STR("\n[The command ended, but its exit code is unknown; "
                         "its output may have disturbed the prompt.]"));
        return;
    }
    buf_addf(out, "\n[The command completed with exit code %lld.", (long long)f->exit_code);
    if (key)
        buf_addf(out, " CTRL+%c was sent.", key);
    buf_add_char(out, ']');
}

/* As Python writes a float: 1.0, 2.5. */
static void seconds_add(struct buf *out, double seconds)
{
    struct json_writer w = json_writer(out);
    jw_float(&w, seconds);
}

void terminal_suffix(const struct terminal_facts *f, struct buf *out)
{
    if (f->refused)
        return;
    if (f->given_up) {
        buf_add(out, STR("\n[There was no end after "));
        seconds_add(out, f->timeout);
        buf_add(
            out,
            STR(" seconds, so the call was given up and the command told to stop; it may still run. " WAYS_ON
                " If the terminal stays occupied, use `reset`.]"));
        return;
    }
    switch (f->kind) {
    case TERMINAL_COMPLETED:
    case TERMINAL_INPUT_SENT: suffix_completed(f, out); break;
    case TERMINAL_SOFT_TIMEOUT:
        buf_addf(out, "\n[No new output for %d seconds; the command is still running. " WAYS_ON "]",
                 TERMINAL_SOFT_S);
        break;
    case TERMINAL_HARD_TIMEOUT:
        buf_add(out, STR("\n[The command timed out after "));
        seconds_add(out, f->timeout);
        buf_add(out, STR(" seconds; it is still running. " WAYS_ON "]"));
        break;
    case TERMINAL_OCCUPIED:
        buf_addf(
            out,
            "\n[`%.*s` was not run: the earlier command still occupies the terminal, and a new one has to wait for "
            "its end. " WAYS_ON "]",
            STR_ARG(utf8_prefix(f->command, COMMAND_SHOWN)));
        break;
    case TERMINAL_SHELL_ENDED:
        buf_add(out, STR("\n[The shell itself ended"));
        if (f->exit_code >= 0)
            buf_addf(out, " with exit code %lld", (long long)f->exit_code);
        buf_add(out, STR(". The next command gets a new one; " STATE_LOST ".]"));
        break;
    case TERMINAL_NOTHING_RUNNING:
    case TERMINAL_RESET: break;
    }
}

void terminal_notice(struct str whole, struct str path, struct buf *out)
{
    /* The line depends on how much the notice itself leaves room for; its length changes by a digit at most. */
    size_t line = 0;
    for (int round = 0; round < 2; round++) {
        buf_clear(out);
        buf_add(out, STR("\n[… the output is too long and was clipped here"));
        if (path.n > 0)
            buf_addf(out, "; all of it is in %.*s, where the clipped part starts at line %zu", STR_ARG(path),
                     line);
        buf_add(out, STR(" …]\n"));
        struct str head = text_cut_head(whole, TERMINAL_OUTPUT_MAX, utf8_count(buf_str(out)));
        line = 1;
        for (struct str rest = head; rest.n > 0; line++) {
            ssize_t at = str_find_char(rest, '\n');
            if (at < 0)
                break;
            rest = str_sub(rest, (size_t)at + 1, rest.n);
        }
    }
}

bool terminal_literal(struct str command, struct buf *out)
{
    const char *what = NULL;
    if (command.n < 2)
        return false;
    char first = command.p[0], second = command.p[1];
    if (first == '[' && second == '{')
        what = "a list of objects";
    else if (first == '[' && (second == '"' || second == '\''))
        what = "a list";
    else if (first == '[' && second == '[' && command.n > 2 && !isspace((unsigned char)command.p[2]))
        what = "a nested list";
    else if (first == '{' && (second == '"' || second == '\''))
        what = "an object";
    if (!what)
        return false;
    buf_addf(
        out,
        "`command` is %s (it begins with %.*s) and no shell command. Give the command as plain text, just as you "
        "would type it at a prompt.",
        what, STR_ARG(utf8_prefix(command, LITERAL_SHOWN)));
    return true;
}

/* --- from a stored observation --- */

static void line_add(struct buf *out, const char *what, struct str value)
{
    if (value.n > 0)
        buf_addf(out, "\n[%s: %.*s]", what, STR_ARG(value));
}

static void metadata_lines(const struct json_value *observation, struct buf *out)
{
    const struct json_value *metadata = json_get(observation, "metadata");
    int64_t exit_code = json_get_int(metadata, "exit_code", -1);
    line_add(out, "Working directory", json_get_str(metadata, "working_dir"));
    line_add(out, "Python", json_get_str(metadata, "py_interpreter_path"));
    if (exit_code != -1)
        buf_addf(out, "\n[Exit code: %lld]", (long long)exit_code);
}

void observation_text(const struct json_value *observation, struct buf *out)
{
    bool terminal = str_is(json_get_str(observation, "kind"), "TerminalObservation");
    const struct json_value *metadata = json_get(observation, "metadata");
    if (json_get_bool(observation, "is_error", false))
        buf_add(out, STR("[An error occurred during execution.]\n"));
    if (terminal)
        buf_add(out, json_get_str(metadata, "prefix"));
    bool more = false;
    for (struct json_iter it = json_iter(json_get(observation, "content")); json_next(&it);) {
        struct str text = json_get_str(it.value, "text");
        if (text.n > 0 && more)
            buf_add_char(out, '\n');
        buf_add(out, text);
        more |= text.n > 0;
    }
    if (terminal) {
        buf_add(out, json_get_str(metadata, "suffix"));
        metadata_lines(observation, out);
    }
}
