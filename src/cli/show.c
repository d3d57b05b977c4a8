#include "cli/show.h"
#include "base/clock.h"
#include "base/utf8.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OUTPUT_LINES_MAX 40 /* of a command's output: the first half and the last */
#define ARGUMENTS_MAX 200   /* bytes of another tool's arguments */

#define DIM "\033[2m"
#define BOLD "\033[1m"
#define RED "\033[31m"
#define GREEN "\033[32m"
#define RESET "\033[0m"

void show_init(struct show *s, bool json)
{
    *s = (struct show){
        .json = json,
        .colour = !json && isatty(STDOUT_FILENO) && !getenv("NO_COLOR"),
        .started_ns = clock_mono_ns(),
    };
}

/* Control characters, and their two-byte forms, are left out: they could make a terminal do things. */
static void put_clean(struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == 0xc2 && i + 1 < text.n && (unsigned char)text.p[i + 1] < 0xa0)
            i++;
        else if (c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7f))
            putchar(c);
    }
}

static void put_line(const struct show *s, const char *style, const char *before, struct str text)
{
    fputs(s->colour ? style : "", stdout);
    fputs(before, stdout);
    put_clean(str_trim_right(text));
    fputs(s->colour ? RESET "\n" : "\n", stdout);
}

static size_t count_lines(struct str text)
{
    size_t n = text.n > 0;
    for (size_t i = 0; i + 1 < text.n; i++)
        n += text.p[i] == '\n';
    return n;
}

/* Indented; the middle of a long text is left out. */
static void put_output(const struct show *s, struct str text)
{
    text = str_trim_right(text);
    size_t lines = count_lines(text), at = 0, half = OUTPUT_LINES_MAX / 2;
    struct str rest = text, line;
    if (text.n == 0)
        return;
    while (str_split(&rest, '\n', &line)) {
        if (lines <= OUTPUT_LINES_MAX || at < half || at >= lines - half) {
            put_line(s, DIM, "  ", line);
        } else if (at == half) {
            char left_out[64];
            snprintf(left_out, sizeof(left_out), "  … %zu lines …", lines - 2 * half);
            put_line(s, DIM, left_out, STR(""));
        }
        at++;
    }
}

static void add_texts(struct buf *out, const struct json_value *content)
{
    for (struct json_iter it = json_iter(content); json_next(&it);) {
        struct str text = json_get_str(it.value, "text");
        if (out->n > 0 && text.n > 0)
            buf_add_char(out, '\n');
        buf_add(out, text);
    }
}

/* ---- events ---- */

static void show_action(struct show *s, const struct json_value *event)
{
    const struct json_value *action = json_get(event, "action");
    struct str kind = json_get_str(action, "kind"), tool = json_get_str(event, "tool_name");
    autobuf thought = {0};
    add_texts(&thought, json_get(event, "thought"));
    if (thought.n > 0)
        put_line(s, "", "", buf_str(&thought));
    s->steps++;
    s->action_ns = clock_mono_ns();
    if (str_is(kind, "TerminalAction")) {
        put_line(s, BOLD, json_get_bool(action, "is_input", false) ? "> " : "$ ",
                 json_get_str(action, "command"));
    } else if (str_is(kind, "FinishAction")) {
        put_line(s, GREEN, "", json_get_str(action, "message"));
    } else if (str_is(kind, "ThinkAction")) {
        put_line(s, DIM, "", json_get_str(action, "thought"));
    } else if (str_is(kind, "FileEditorAction")) {
        autobuf what = {0};
        buf_addf(&what, "%.*s %.*s", STR_ARG(json_get_str(action, "command")),
                 STR_ARG(json_get_str(action, "path")));
        put_line(s, BOLD, "edit: ", buf_str(&what));
    } else {
        autobuf what = {0};
        buf_addf(&what, "%.*s ", STR_ARG(tool));
        buf_add(&what,
                utf8_prefix_bytes(json_get_str(json_get(event, "tool_call"), "arguments"), ARGUMENTS_MAX));
        put_line(s, BOLD, "", buf_str(&what));
    }
}

static void show_observation(struct show *s, const struct json_value *event)
{
    const struct json_value *o = json_get(event, "observation");
    struct str kind = json_get_str(o, "kind");
    autobuf text = {0}, end = {0};
    if (str_is(kind, "FinishObservation") || str_is(kind, "ThinkObservation"))
        return;
    add_texts(&text, json_get(o, "content"));
    put_output(s, buf_str(&text));
    double seconds = (double)(clock_mono_ns() - s->action_ns) / (double)NS_PER_S;
    if (!json_is_null(json_get(o, "exit_code"))) {
        int64_t code = json_get_int(o, "exit_code", 0);
        buf_addf(&end, "exit code %lld, %.2f s", (long long)code, seconds);
        put_line(s, code == 0 ? DIM : RED, "  ", buf_str(&end));
    } else if (json_get_bool(o, "is_error", false)) {
        buf_addf(&end, "failed, %.2f s", seconds);
        put_line(s, RED, "  ", buf_str(&end));
    }
}

static void show_message(struct show *s, const struct json_value *event)
{
    struct str source = json_get_str(event, "source");
    autobuf text = {0};
    add_texts(&text, json_get(json_get(event, "llm_message"), "content"));
    if (str_is(source, "agent"))
        put_line(s, GREEN, "", buf_str(&text));
    else if (str_is(source, "environment"))
        put_line(s, DIM, "note: ", buf_str(&text));
}

static void take_stats(struct show *s, const struct json_value *stats)
{
    const struct json_value *all = json_get(stats, "usage_to_metrics");
    s->cost = 0;
    s->tokens_in = s->tokens_out = 0;
    for (struct json_iter it = json_iter(all); json_next(&it);) {
        const struct json_value *tokens = json_get(it.value, "accumulated_token_usage");
        s->cost += json_get_float(it.value, "accumulated_cost", 0);
        s->tokens_in += json_get_int(tokens, "prompt_tokens", 0);
        s->tokens_out += json_get_int(tokens, "completion_tokens", 0);
    }
}

static void show_failure(struct show *s, const char *before, const struct json_value *event)
{
    autobuf text = {0};
    struct str code = json_get_str(event, "code");
    if (code.n > 0)
        buf_addf(&text, "%.*s: ", STR_ARG(code));
    buf_add(&text, json_get(event, "detail") ? json_get_str(event, "detail") : json_get_str(event, "error"));
    put_line(s, RED, before, buf_str(&text));
}

static void show_readable(struct show *s, const struct json_value *event, struct str kind)
{
    if (str_is(kind, "ActionEvent"))
        show_action(s, event);
    else if (str_is(kind, "ObservationEvent"))
        show_observation(s, event);
    else if (str_is(kind, "MessageEvent"))
        show_message(s, event);
    else if (str_is(kind, "AgentErrorEvent"))
        show_failure(s, "  ", event);
    else if (str_is(kind, "ConversationErrorEvent") || str_is(kind, "ServerErrorEvent"))
        show_failure(s, "error: ", event);
    else if (str_is(kind, "UserRejectObservation"))
        put_line(s, DIM, "  rejected: ", json_get_str(event, "rejection_reason"));
    else if (str_is(kind, "PauseEvent"))
        put_line(s, DIM, "paused", STR(""));
    else if (str_is(kind, "InterruptEvent"))
        put_line(s, DIM, "interrupted", STR(""));
}

void show_event(struct show *s, const struct json_value *event, struct str text)
{
    struct str kind = json_get_str(event, "kind");
    bool update = str_is(kind, "ConversationStateUpdateEvent");
    struct str key = json_get_str(event, "key");
    const struct json_value *value = json_get(event, "value");
    if (update && str_is(key, "stats"))
        take_stats(s, value);
    else if (update && str_is(key, "full_state") && json_get(value, "stats"))
        take_stats(s, json_get(value, "stats"));
    if (!s->json) {
        show_readable(s, event, kind);
    } else if (!(update && str_is(key, "full_state"))) { /* which is no event of the log */
        fwrite(text.p, 1, text.n, stdout);
        putchar('\n');
    }
    fflush(stdout);
}

void show_end(struct show *s, const char *status, struct str conversation)
{
    if (s->json)
        return;
    double seconds = (double)(clock_mono_ns() - s->started_ns) / (double)NS_PER_S;
    printf("%s%s in %.1f s: %u step%s, $%.4f, %lld tokens in, %lld out (conversation %.*s)%s\n",
           s->colour ? DIM : "", status, seconds, s->steps, s->steps == 1 ? "" : "s", s->cost,
           (long long)s->tokens_in, (long long)s->tokens_out, STR_ARG(conversation), s->colour ? RESET : "");
    fflush(stdout);
}

void show_note(struct show *s, const char *text)
{
    fprintf(s->json ? stderr : stdout, "%s\n", text);
    fflush(stdout);
}
