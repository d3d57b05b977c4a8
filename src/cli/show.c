#include "cli/show.h"
#include "base/path.h"
#include "base/utf8.h"
#include "cli/show_internal.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct show *show_new(bool json)
{
    struct show *s = xcalloc(1, sizeof(*s));
    s->json = json;
    s->console = console_new(json ? STDERR_FILENO : STDOUT_FILENO);
    s->glyphs = console_glyphs(s->console);
    s->started_ns = s->waiting_ns = clock_mono_ns();
    return s;
}

void show_free(struct show *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->open.n; i++)
        json_doc_free(s->open.at[i].doc);
    vec_deinit(&s->open);
    buf_deinit(&s->workspace);
    buf_deinit(&s->said);
    buf_deinit(&s->rest);
    buf_deinit(&s->reasoning);
    buf_deinit(&s->last);
    buf_deinit(&s->complaint);
    console_free(s->console);
    free(s);
}

struct console *show_console(struct show *s)
{
    return s->console;
}

int show_gone(const struct show *s)
{
    return s->gone ? s->gone : console_gone(s->console);
}

/* ---- blocks ---- */

void show_line(struct show *s, enum style style, const char *first, struct str marked)
{
    autobuf text = {0};
    text_style(&text, style);
    buf_add(&text, marked);
    text_style(&text, STYLE_NONE);
    console_print(s->console, first, "  ", buf_str(&text), true);
}

void show_shorten(const struct show *s, struct buf *marked)
{
    unsigned width = console_width(s->console);
    size_t max = width == CONSOLE_WIDTH_NONE ? SHOW_LINE_CELLS : (size_t)width * SHOW_LINE_ROWS;
    size_t cells = text_cells(buf_str(marked));
    if (cells <= max)
        return;
    autobuf more = {0};
    buf_addf(&more, " %s %zu columns in all", s->glyphs->more, cells);
    text_cut(marked, max, more.p);
}

static void print_styled(struct show *s, const struct block *b, const char *first, struct str text)
{
    autobuf marked = {0};
    text_style(&marked, b->style);
    buf_add(&marked, text);
    text_style(&marked, STYLE_NONE);
    if (b->max > 0)
        show_shorten(s, &marked);
    console_print(s->console, first, b->next, buf_str(&marked), b->words);
}

void show_block(struct show *s, const struct block *b, struct str raw)
{
    autobuf clean = {0};
    text_add(&clean, str_trim_right(raw));
    struct str rest = buf_str(&clean), line;
    size_t lines = 1, at = 0;
    if (str_trim(rest).n == 0)
        return;
    for (size_t i = 0; i < rest.n; i++)
        lines += rest.p[i] == '\n';
    size_t max = b->max > 0 && lines > b->max ? b->max : lines;
    size_t head = b->ends ? max / 2 : max, tail = max - head;
    for (; str_split(&rest, '\n', &line); at++) {
        if (at < head || at >= lines - tail) {
            print_styled(s, b, at == 0 ? b->first : b->next, line);
        } else if (at == head) {
            autobuf left = {0};
            buf_addf(&left, "%s %zu more line%s", s->glyphs->more, lines - max, lines - max == 1 ? "" : "s");
            print_styled(s, &(struct block){.next = b->next, .style = STYLE_DIM}, b->next, buf_str(&left));
        }
    }
}

void show_texts(struct buf *out, const struct json_value *content)
{
    for (struct json_iter it = json_iter(content); json_next(&it);) {
        struct str text = json_get_str(it.value, "text");
        if (out->n > 0 && text.n > 0)
            buf_add_char(out, '\n');
        buf_add(out, text);
    }
}

void show_duration(struct buf *out, uint64_t ns, bool exact)
{
    double s = (double)ns / (double)NS_PER_S;
    unsigned long long whole = ns / NS_PER_S;
    if (s < 60 && exact)
        buf_addf(out, s < 10 ? "%.2f s" : "%.1f s", s);
    else if (s < 60)
        buf_addf(out, "%llu s", whole);
    else if (s < 3600)
        buf_addf(out, "%llu min %02llu s", whole / 60, whole % 60);
    else
        buf_addf(out, "%llu h %02llu min", whole / 3600, whole / 60 % 60);
}

struct str show_path(const struct show *s, struct str path)
{
    struct str root = buf_str(&s->workspace);
    if (root.n == 0 || !str_starts(path, root) || path.n <= root.n + 1 || path.p[root.n] != '/')
        return path;
    return str_sub(path, root.n + 1, path.n);
}

/* ---- an answer that is streamed ---- */

/* What of it is not printed yet. */
static void say_rest(struct show *s)
{
    if (s->rest.n > 0) {
        autobuf first = {0};
        buf_addf(&first, "%s ", s->said_some ? " " : s->glyphs->bullet);
        console_print(s->console, first.p, "  ", buf_str(&s->rest), true);
        s->said_some = true;
    }
    buf_clear(&s->rest);
}

void show_said(struct show *s)
{
    say_rest(s);
    buf_clear(&s->said);
    buf_clear(&s->reasoning);
    s->said_some = false;
}

/* Whole lines are printed as they become so; the last one lives at the bottom. */
static void say(struct show *s, struct str text)
{
    if (s->said.n == 0) {
        while (text.n > 0 && (text.p[0] == '\n' || text.p[0] == ' '))
            text = str_sub(text, 1, text.n);
        if (text.n > 0)
            console_gap(s->console);
    }
    buf_add(&s->said, text);
    text_add(&s->rest, text);
    struct str rest = buf_str(&s->rest), line;
    size_t room = console_width(s->console) - 2;
    while (text_take_line(&rest, room, true, &line)) {
        autobuf first = {0};
        buf_addf(&first, "%s ", s->said_some ? " " : s->glyphs->bullet);
        console_print(s->console, first.p, "  ", line, true);
        s->said_some = true;
    }
    buf_consume(&s->rest, s->rest.n - rest.n);
}

static void show_delta(struct show *s, const struct json_value *event)
{
    if (!console_is_live(s->console))
        return;
    buf_add(&s->reasoning, json_get_str(event, "reasoning_content"));
    struct str content = json_get_str(event, "content");
    if (content.n > 0)
        say(s, content);
}

/* An agent's words, of which some may stand there already. */
static void show_words(struct show *s, struct str text, enum style style, const char *glyph)
{
    struct str said = str_trim(buf_str(&s->said));
    text = str_trim(text);
    if (said.n > 0 && str_starts(text, said)) {
        struct str more = str_sub(text, said.n, text.n);
        if (more.n > 0)
            say(s, more);
        show_said(s);
        return;
    }
    show_said(s);
    if (text.n == 0)
        return;
    autobuf first = {0};
    buf_addf(&first, "%s ", glyph);
    console_gap(s->console);
    show_block(s, &(struct block){.first = first.p, .next = "  ", .style = style, .words = true}, text);
}

static void show_reasoning(struct show *s, struct str reasoning)
{
    if (str_trim(reasoning).n == 0)
        return;
    console_gap(s->console);
    show_block(
        s,
        &(struct block){
            .first = "  ", .next = "  ", .style = STYLE_DIM, .max = SHOW_REASONING_LINES, .words = true},
        str_trim(reasoning));
}

/* ---- actions that wait for their result ---- */

static void open_add(struct show *s, const struct json_value *event, bool now)
{
    autobuf text = {0};
    json_add(&text, event);
    struct json_doc *doc = json_parse_trusted(buf_str(&text), NULL);
    if (!doc)
        return;
    if (s->open.n == SHOW_OPEN_MAX) {
        json_doc_free(s->open.at[0].doc);
        vec_remove(&s->open, 0);
    }
    vec_push(&s->open, (struct open_action){doc, now ? clock_mono_ns() : 0});
}

/* The open action that an event answers; SIZE_MAX if none does. */
static size_t open_find(const struct show *s, const struct json_value *event)
{
    struct str action = json_get_str(event, "action_id"), call = json_get_str(event, "tool_call_id");
    for (size_t i = 0; i < s->open.n; i++) {
        const struct json_value *one = json_root(s->open.at[i].doc);
        if (action.p ? str_eq(action, json_get_str(one, "id"))
                     : str_eq(call, json_get_str(one, "tool_call_id")))
            return i;
    }
    return SIZE_MAX;
}

static void open_remove(struct show *s, size_t at)
{
    if (at >= s->open.n)
        return;
    json_doc_free(s->open.at[at].doc);
    vec_remove(&s->open, at);
    s->waiting_ns = clock_mono_ns();
}

/* ---- events ---- */

static void event_action(struct show *s, const struct json_value *event)
{
    autobuf thought = {0};
    show_texts(&thought, json_get(event, "thought"));
    if (s->said.n == 0)
        show_reasoning(s, json_get_str(event, "reasoning_content"));
    if (thought.n > 0 || s->said.n > 0)
        show_words(s, buf_str(&thought), STYLE_NONE, s->glyphs->bullet);
    else if (s->open.n <= 1)
        console_gap(s->console);
    show_action(s, event);
    buf_clear(&s->last);
    buf_add(&s->last, json_get_str(event, "id"));
}

static void event_message(struct show *s, const struct json_value *event)
{
    const struct json_value *message = json_get(event, "llm_message");
    struct str source = json_get_str(event, "source");
    autobuf text = {0}, first = {0};
    show_texts(&text, json_get(message, "content"));
    if (str_is(source, "agent")) {
        if (s->said.n == 0)
            show_reasoning(s, json_get_str(message, "reasoning_content"));
        show_words(s, buf_str(&text), STYLE_NONE, s->glyphs->bullet);
        return;
    }
    show_said(s);
    console_gap(s->console);
    bool user = str_is(source, "user");
    buf_addf(&first, "%s ", user ? s->glyphs->user : s->glyphs->bullet);
    show_block(s,
               &(struct block){.first = first.p,
                               .next = "  ",
                               .style = user ? STYLE_CYAN : STYLE_DIM,
                               .max = SHOW_TASK_LINES,
                               .words = true},
               buf_str(&text));
    autobuf skills = {0};
    for (struct json_iter it = json_iter(json_get(event, "activated_skills")); json_next(&it);) {
        buf_add_cstr(&skills, it.index > 0 ? ", " : "skills: ");
        text_add(&skills, json_str(it.value));
    }
    if (skills.n > 0)
        show_line(s, STYLE_DIM, "  ", buf_str(&skills));
}

static void event_result(struct show *s, const struct json_value *event, struct str kind)
{
    size_t at = open_find(s, event);
    const struct json_value *action = at < s->open.n ? json_root(s->open.at[at].doc) : NULL;
    show_said(s);
    if (str_is(kind, "UserRejectObservation"))
        show_rejected(s, event);
    else if (str_is(kind, "AgentErrorEvent"))
        show_failure(s, "", event);
    else
        show_result(s, event, action, action ? s->open.at[at].started_ns : 0,
                    !str_eq(json_get_str(action, "id"), buf_str(&s->last)));
    buf_clear(&s->last);
}

static void show_readable(struct show *s, const struct json_value *event, struct str kind)
{
    if (str_is(kind, "ActionEvent"))
        event_action(s, event);
    else if (str_is(kind, "ObservationEvent") || str_is(kind, "UserRejectObservation") ||
             str_is(kind, "AgentErrorEvent"))
        event_result(s, event, kind);
    else if (str_is(kind, "MessageEvent"))
        event_message(s, event);
    else if (str_is(kind, "StreamingDeltaEvent"))
        show_delta(s, event);
    else if (str_is(kind, "ConversationErrorEvent") || str_is(kind, "ServerErrorEvent"))
        show_failure(s, "error: ", event);
    else if (str_is(kind, "HookExecutionEvent"))
        show_hook(s, event);
    else if (str_is(kind, "Condensation"))
        show_condensation(s, event);
    else if (str_is(kind, "InterruptEvent"))
        show_note(s, STYLE_YELLOW, "interrupted");
    else if (str_is(kind, "PauseEvent") && !s->wish)
        show_note(s, STYLE_YELLOW, "paused");
}

/* ---- what is counted ---- */

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

static void take_policy(struct show *s, const struct json_value *policy)
{
    if (policy)
        s->careful = !str_is(json_get_str(policy, "kind"), "NeverConfirm");
}

void show_take_state(struct show *s, const struct json_value *state)
{
    struct str dir = json_get_str(json_get(state, "workspace"), "working_dir");
    if (json_get(state, "stats"))
        take_stats(s, json_get(state, "stats"));
    take_policy(s, json_get(state, "confirmation_policy"));
    if (dir.n > 0) {
        buf_clear(&s->workspace);
        buf_add(&s->workspace, dir);
    }
}

static void take_update(struct show *s, const struct json_value *event)
{
    struct str key = json_get_str(event, "key");
    const struct json_value *value = json_get(event, "value");
    if (str_is(key, "stats"))
        take_stats(s, value);
    else if (str_is(key, "full_state"))
        show_take_state(s, value);
    else if (str_is(key, "confirmation_policy"))
        take_policy(s, value);
    else if (str_is(key, "execution_status") && str_is(json_str(value), "running")) {
        s->waiting_ns = clock_mono_ns();
        buf_clear(&s->complaint);
        for (size_t i = 0; i < s->open.n; i++) /* while the user was asked, nothing ran */
            s->open.at[i].started_ns = s->waiting_ns;
    }
}

/* Live only: not of the log, and so of no use to a program that reads lines. */
static bool is_of_log(const struct json_value *event, struct str kind)
{
    return !str_is(kind, "StreamingDeltaEvent") && !str_is(json_get_str(event, "key"), "full_state");
}

static bool answers_action(struct str kind)
{
    return str_is(kind, "ObservationEvent") || str_is(kind, "UserRejectObservation") ||
           str_is(kind, "AgentErrorEvent");
}

void show_event(struct show *s, const struct json_value *event, struct str text)
{
    struct str kind = json_get_str(event, "kind");
    if (str_is(kind, "ConversationStateUpdateEvent"))
        take_update(s, event);
    if (str_is(kind, "ActionEvent")) {
        s->steps++;
        open_add(s, event, true);
    }
    if (!s->json) {
        show_readable(s, event, kind);
    } else if (is_of_log(event, kind)) {
        fwrite(text.p, 1, text.n, stdout);
        putchar('\n');
        if (fflush(stdout) != 0)
            s->gone = errno;
    }
    if (answers_action(kind))
        open_remove(s, open_find(s, event));
    show_tick(s);
}

void show_take_past(struct show *s, const struct json_value *event)
{
    struct str kind = json_get_str(event, "kind");
    if (str_is(kind, "ActionEvent"))
        open_add(s, event, false);
    else if (answers_action(kind))
        open_remove(s, open_find(s, event));
}

/* ---- beside the events ---- */

void show_tick(struct show *s)
{
    if (!s->json)
        show_live(s);
    console_flush(s->console);
}

void show_set_wish(struct show *s, const char *text)
{
    s->wish = text;
    show_tick(s);
}

void show_note(struct show *s, enum style style, const char *text)
{
    show_said(s);
    show_line(s, style, "", str_from(text));
    console_flush(s->console);
}

void show_notice(struct show *s, struct str text)
{
    autobuf clean = {0};
    if (console_width(s->console) == CONSOLE_WIDTH_NONE) {
        fprintf(stderr, "handsd: %.*s\n", STR_ARG(text));
        return;
    }
    show_said(s);
    text_add(&clean, text);
    show_line(s, STYLE_YELLOW, "", buf_str(&clean));
    show_tick(s);
}

void show_waiting_in_full(struct show *s)
{
    for (size_t i = 0; i < s->open.n; i++)
        event_action(s, json_root(s->open.at[i].doc));
}

void show_question(struct show *s)
{
    autobuf line = {0};
    console_set_live(s->console, STR(""), STR(""));
    console_gap(s->console);
    if (s->open.n == 1) {
        text_add_styled(&line, STYLE_BOLD, STR("Shall the agent do this?  "));
        show_risk(json_root(s->open.at[0].doc), true, &line);
        console_print(s->console, "", "", buf_str(&line), true);
        return;
    }
    text_style(&line, STYLE_BOLD);
    buf_addf(&line, "Shall the agent do these %zu?", s->open.n);
    text_style(&line, STYLE_NONE);
    console_print(s->console, "", "", buf_str(&line), true);
    for (size_t i = 0; i < s->open.n; i++) {
        const struct json_value *event = json_root(s->open.at[i].doc);
        autobuf first = {0};
        buf_clear(&line);
        buf_addf(&first, "  %zu. ", i + 1);
        show_action_title(s, event, SHOW_ARGUMENTS_CELLS, &line);
        buf_add_cstr(&line, "  ");
        show_risk(event, true, &line);
        console_print(s->console, first.p, "     ", buf_str(&line), true);
    }
}

/* As a person says it. */
static void add_status(struct buf *out, struct str status)
{
    size_t at = out->n;
    text_add(out, status);
    for (; at < out->n; at++)
        if (out->p[at] == '_')
            out->p[at] = ' ';
}

void show_end(struct show *s, struct str status, struct str conversation, const char *more)
{
    bool good = str_is(status, "finished"), asks = str_is(status, "waiting_for_confirmation");
    autobuf line = {0}, hint = {0};
    show_said(s);
    console_set_live(s->console, STR(""), STR(""));
    if (s->json) {
        console_flush(s->console);
        return;
    }
    text_style(&line, good ? STYLE_GREEN : asks || str_is(status, "paused") ? STYLE_YELLOW : STYLE_RED);
    add_status(&line, status);
    text_style(&line, STYLE_DIM);
    buf_addf(&line, " in %.1f s: %u step%s, $%.4f, %lld tokens in, %lld out (conversation %.*s)",
             (double)(clock_mono_ns() - s->started_ns) / (double)NS_PER_S, s->steps, s->steps == 1 ? "" : "s",
             s->cost, (long long)s->tokens_in, (long long)s->tokens_out, STR_ARG(conversation));
    text_style(&line, STYLE_NONE);
    console_gap(s->console);
    console_print(s->console, "", "  ", buf_str(&line), true);
    if (console_width(s->console) < CONSOLE_WIDTH_NONE) {
        buf_addf(&hint, "to go on: handsd run --resume %.*s%s",
                 (int)(conversation.n < 8 ? conversation.n : 8), conversation.p, more);
        show_line(s, STYLE_DIM, "", buf_str(&hint));
    }
    console_flush(s->console);
}
