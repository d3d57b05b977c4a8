#include "conversation/side.h"
#include "base/cleanup.h"
#include "base/utf8.h"

/* ---- calls without a result ---- */

#define CALLS_KEPT 64   /* so many are no reason to look for those that are over … */
#define SEQ_SETTLED 256 /* … which are those with a result so long ago */

void side_deinit(struct side_tracker *t)
{
    for (size_t i = 0; i < t->calls.n; i++)
        free(t->calls.at[i].call_id);
    vec_deinit(&t->calls);
}

static void remove_at(struct side_tracker *t, size_t i)
{
    free(t->calls.at[i].call_id);
    vec_remove(&t->calls, i);
}

void side_drop_from(struct side_tracker *t, uint32_t seq)
{
    for (size_t i = t->calls.n; i-- > 0;) {
        struct side_call *c = &t->calls.at[i];
        if (c->seq >= seq) {
            remove_at(t, i);
            continue;
        }
        if (c->closed_by >= seq)
            c->closed_by = 0;
        if (c->confirmed_by >= seq)
            c->confirmed_by = 0;
    }
}

static void note(struct side_tracker *t, const struct uuid *id, struct str call_id, struct str tool_name,
                 uint32_t seq)
{
    for (size_t i = t->calls.n; t->calls.n >= CALLS_KEPT && i-- > 0;)
        if (t->calls.at[i].closed_by && t->calls.at[i].closed_by + SEQ_SETTLED < seq)
            remove_at(t, i);
    if (t->calls.n >= SIDE_CALLS_MAX)
        remove_at(t, 0);
    vec_push(&t->calls, (struct side_call){.id = *id,
                                           .call_id = str_dup(call_id),
                                           .seq = seq,
                                           .is_command = str_is(tool_name, "terminal")});
}

void side_note_open(struct side_tracker *t, const struct uuid *id, struct str call_id, struct str tool_name,
                    uint32_t seq)
{
    autobuf escaped = {0};
    json_escape(&escaped, call_id, false);
    note(t, id, buf_str(&escaped), tool_name, seq);
}

/* The text of a member that stands behind all that strangers may have written: an unescaped quote cannot be in a text, so
 * the last `"key":"` of a body is that member. Parsing megabytes is nothing to do under a lock. */
static struct str last_member(struct str body, const char *mark)
{
    struct str found = STR_NONE, rest = body;
    for (ssize_t at; (at = str_find(rest, str_from(mark))) >= 0;)
        found = rest = str_sub(rest, (size_t)at + strlen(mark), rest.n);
    size_t n = 0;
    while (n < found.n && found.p[n] != '"')
        n += found.p[n] == '\\' && n + 1 < found.n ? 2 : 1;
    return found.p ? str_sub(found, 0, n) : STR_NONE;
}

/* The call that the result at `seq` answers; NULL: not known. */
static const struct side_call *close_call(struct side_tracker *t, const struct event_draft *d, uint32_t seq)
{
    struct uuid id;
    struct str body = buf_str(&d->body);
    bool by_id = uuid_parse(last_member(body, "\"action_id\":\""), &id);
    struct str call = by_id ? STR_NONE : last_member(body, "\"tool_call_id\":\"");
    for (size_t i = 0; i < t->calls.n; i++) {
        struct side_call *c = &t->calls.at[i];
        bool is = d->answers ? c->seq == d->answers : by_id ? uuid_eq(&c->id, &id) : str_is(call, c->call_id);
        if (!is || c->closed_by)
            continue;
        c->closed_by = seq;
        return c;
    }
    return NULL;
}

/* ---- the record ---- */

static void write_usage(struct json_writer *w, const struct stats *stats)
{
    struct usage_total sum = {0};
    for (size_t i = 0; stats && i < stats->n; i++) {
        sum.cost += stats->at[i].cost;
        sum.prompt += stats->at[i].prompt;
        sum.completion += stats->at[i].completion;
        sum.cache_read += stats->at[i].cache_read;
        sum.cache_write += stats->at[i].cache_write;
    }
    if (!stats || stats->n == 0)
        return;
    const struct usage_total *first = &stats->at[0]; /* the agent's own */
    jw_key(w, "usage");
    jw_object(w);
    jw_member_str(w, "model", first->model);
    jw_member_float(w, "cost", sum.cost);
    jw_member_int(w, "prompt", sum.prompt);
    jw_member_int(w, "completion", sum.completion);
    jw_member_int(w, "cache_read", sum.cache_read);
    jw_member_int(w, "cache_write", sum.cache_write);
    jw_member_int(w, "context_window", first->context_window);
    jw_member_int(w, "per_turn", first->per_turn);
    jw_object_end(w);
}

static void write_action(const struct side_commit *commit, struct json_writer *w)
{
    int64_t calls = 0;
    for (size_t i = 0; i < commit->n; i++)
        calls += commit->drafts[i].kind == EVENT_ACTION;
    if (calls > 1)
        jw_member_int(w, "calls", calls);
    if (commit->after == STATUS_WAITING_FOR_CONFIRMATION)
        jw_member_bool(w, "confirm", true);
    write_usage(w, commit->stats);
}

/* Codes that clients of 0.53 know by an id of their own, which they translate. */
static const struct {
    const char *code, *id;
} reasons[] = {
    {"LLMAuthenticationError", "STATUS$ERROR_LLM_AUTHENTICATION"},
    {"LLMContentPolicyViolationError", "STATUS$ERROR_LLM_CONTENT_POLICY_VIOLATION"},
    {"LLMInternalServerError", "STATUS$ERROR_LLM_INTERNAL_SERVER_ERROR"},
    {"LLMRateLimitError", "CHAT_INTERFACE$AGENT_RATE_LIMITED_STOPPED_MESSAGE"},
    {"LLMServiceUnavailableError", "STATUS$ERROR_LLM_SERVICE_UNAVAILABLE"},
};

static void write_reason(const struct event_draft *d, struct json_writer *w)
{
    autobuf text = {0};
    buf_add_char(&text, '{');
    buf_add(&text, buf_str(&d->body));
    buf_add_char(&text, '}');
    autojson doc = json_parse_trusted(buf_str(&text), NULL);
    struct str code = json_get_str(json_root(doc), "code"), detail = json_get_str(json_root(doc), "detail");
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (str_is(code, reasons[i].code)) {
            jw_member_cstr(w, "reason", reasons[i].id);
            return;
        }
    buf_clear(&text);
    buf_add(&text, code);
    if (code.n > 0 && detail.n > 0)
        buf_add(&text, STR(": "));
    buf_add(&text, detail);
    jw_member_str(w, "reason", utf8_prefix_bytes(buf_str(&text), SIDE_REASON_MAX));
}

/* The user's word for what waits: outside a step no other call is open. */
static void write_confirmed(struct side_tracker *t, uint32_t seq, struct json_writer *w)
{
    unsigned n = 0;
    jw_key(w, "confirmed");
    jw_array(w);
    for (size_t i = 0; i < t->calls.n && n < SIDE_CONFIRMED_MAX; i++) {
        struct side_call *c = &t->calls.at[i];
        if (c->closed_by || !c->is_command)
            continue;
        c->confirmed_by = seq;
        c->confirmed_place = n++;
        jw_int(w, c->seq);
    }
    jw_array_end(w);
}

static void write_result(struct side_tracker *t, const struct event_draft *d, uint32_t seq,
                         struct json_writer *w)
{
    const struct side_call *c = close_call(t, d, seq);
    uint32_t cause = c ? c->seq : d->answers;
    if (cause > 0)
        jw_member_int(w, "cause", cause);
    if (!c || !c->confirmed_by)
        return;
    jw_key(w, "again");
    jw_array(w);
    jw_int(w, c->confirmed_by);
    jw_int(w, c->confirmed_place);
    jw_array_end(w);
}

static void write_status(struct side_tracker *t, const struct side_commit *commit, uint32_t seq,
                         struct json_writer *w)
{
    jw_member_cstr(w, "was", status_name(commit->before));
    if (commit->before == STATUS_WAITING_FOR_CONFIRMATION && commit->after == STATUS_RUNNING)
        write_confirmed(t, seq, w);
    if (commit->after == STATUS_FINISHED && t->said)
        jw_member_bool(w, "said", true);
    for (size_t i = 0; i < commit->n; i++) {
        if (commit->drafts[i].kind == EVENT_INTERRUPT && commit->after == STATUS_PAUSED)
            jw_member_bool(w, "stopped", true);
        if (commit->drafts[i].kind == EVENT_CONVERSATION_ERROR && commit->after == STATUS_ERROR) {
            write_reason(&commit->drafts[i], w);
            return;
        }
    }
}

void side_write(struct side_tracker *t, const struct side_commit *commit, const struct event_draft *d,
                uint32_t seq, struct buf *out)
{
    struct json_writer w = json_writer(out);
    size_t before = out->n;
    jw_object(&w);
    size_t empty = out->n;
    if (d->kind == EVENT_ACTION) {
        note(t, &d->id, last_member(buf_str(&d->body), "\"tool_call_id\":\""),
             last_member(buf_str(&d->body), "\"tool_name\":\""), seq);
        write_action(commit, &w);
    } else if (d->kind == EVENT_OBSERVATION || d->kind == EVENT_AGENT_ERROR || d->kind == EVENT_USER_REJECT) {
        write_result(t, d, seq, &w);
    } else if (d->kind == EVENT_CONDENSATION || (d->kind == EVENT_MESSAGE && d->source == SOURCE_AGENT)) {
        write_usage(&w, commit->stats);
    } else if (d->kind == EVENT_STATE_UPDATE && commit->before != commit->after &&
               str_find(buf_str(&d->body), STR("\"key\":\"execution_status\"")) >= 0) {
        write_status(t, commit, seq, &w);
    }
    if (d->kind == EVENT_ACTION || d->kind == EVENT_MESSAGE)
        t->said = d->kind == EVENT_MESSAGE && d->source == SOURCE_AGENT;
    if (out->n == empty) {
        buf_truncate(out, before);
        return;
    }
    jw_object_end(&w);
}
