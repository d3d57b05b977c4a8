/* Stuck detection: is the agent going round in circles? Events are compared by a hash of what the reference names, so that
 * looking costs nothing that grows with them. */
#include "agent/view/items.h"
#include "base/utf8.h"

#define EVENTS_MIN 3        /* fewer say nothing */
#define REPEATED 4          /* equal calls with equal results */
#define ERRORS_NUDGE 3      /* equal calls that fail: tell the agent … */
#define ERRORS_STUCK 4      /* … then stop */
#define MONOLOGUE 3         /* messages of the agent in a row */
#define ALTERNATING 6       /* A, B, A, B, A, B */
#define ERROR_SHOWN_MAX 500 /* bytes of the error in the nudge */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value + 0x9e3779b97f4a7c15ull + (hash << 6) + (hash >> 2);
    return hash * 0xff51afd7ed558ccdull;
}

static uint64_t value_hash(const struct json_value *v)
{
    uint64_t hash = (uint64_t)json_type(v) + 1, number;
    double f;
    switch (json_type(v)) {
    case JSON_STRING: return mix(hash, str_hash(json_str(v)));
    case JSON_INT: return mix(hash, (uint64_t)json_int(v, 0));
    case JSON_BOOL: return mix(hash, json_bool(v, false));
    case JSON_FLOAT:
        f = json_float(v, 0);
        memcpy(&number, &f, sizeof(number));
        return mix(hash, number);
    case JSON_ARRAY:
        for (struct json_iter it = json_iter(v); json_next(&it);)
            hash = mix(hash, value_hash(it.value));
        return hash;
    case JSON_OBJECT:
        for (struct json_iter it = json_iter(v); json_next(&it);)
            hash = mix(mix(hash, str_hash(it.key)), value_hash(it.value));
        return hash;
    case JSON_ABSENT:
    case JSON_NULL: break;
    }
    return hash;
}

static uint64_t event_hash(enum event_kind kind, const struct json_value *event)
{
    static const char *const compared[EVENT_KINDS][4] = {
        [EVENT_ACTION] = {"source", "thought", "action", "tool_name"},
        [EVENT_OBSERVATION] = {"source", "observation", "tool_name"},
        [EVENT_AGENT_ERROR] = {"source", "error"},
        [EVENT_USER_REJECT] = {"source", "rejection_reason", "tool_name"},
    };
    uint64_t hash = (uint64_t)kind;
    for (size_t i = 0; i < 4 && compared[kind][i]; i++)
        hash = mix(hash, value_hash(json_get(event, compared[kind][i])));
    return hash;
}

void view_trace(struct view *v, enum event_kind kind, const struct json_value *event)
{
    enum event_source source = event_source_parse(json_get_str(event, "source"));
    if (kind == EVENT_MESSAGE && source == SOURCE_USER) {
        v->traced = 0;
        return;
    }
    v->traces[v->traced++ % TRACES_MAX] = (struct trace){kind, source, event_hash(kind, event)};
    if (kind == EVENT_AGENT_ERROR) {
        buf_clear(&v->error_tool);
        buf_add(&v->error_tool, json_get_str(event, "tool_name"));
        buf_clear(&v->error_text);
        buf_add(&v->error_text, utf8_prefix_bytes(json_get_str(event, "error"), ERROR_SHOWN_MAX));
    }
}

/* The window, newest first, split as the rules need it. */
struct recent {
    const struct trace *actions[TRACES_MAX], *results[TRACES_MAX];
    size_t action_count, result_count, messages;
    bool error_last; /* the newest event is an AgentErrorEvent */
};

static void recent_read(const struct view *v, struct recent *r)
{
    size_t n = v->traced < TRACES_MAX ? v->traced : TRACES_MAX;
    bool monologue = true;
    for (size_t back = 1; back <= n; back++) {
        const struct trace *t = &v->traces[(v->traced - back) % TRACES_MAX];
        bool is_message = t->kind == EVENT_MESSAGE;
        if (t->kind == EVENT_ACTION)
            r->actions[r->action_count++] = t;
        else if (t->kind == EVENT_OBSERVATION || t->kind == EVENT_AGENT_ERROR || t->kind == EVENT_USER_REJECT)
            r->results[r->result_count++] = t;
        r->messages += monologue && is_message && t->source == SOURCE_AGENT;
        monologue &= is_message || t->kind == EVENT_CONDENSATION;
        if (back == 1)
            r->error_last = t->kind == EVENT_AGENT_ERROR;
    }
}

static bool all_equal(const struct trace *const *t, size_t n, size_t count, size_t step)
{
    if (n < count)
        return false;
    for (size_t i = step; i < count; i++) {
        if (t[i]->hash != t[i - step]->hash)
            return false;
    }
    return true;
}

/* Equal calls, newest first, that all ended in an error. */
static size_t errors_count(const struct recent *r)
{
    size_t n = 0;
    while (n < r->action_count && n < r->result_count && r->results[n]->kind == EVENT_AGENT_ERROR &&
           r->actions[n]->hash == r->actions[0]->hash)
        n++;
    return n;
}

enum stuck view_stuck(const struct view *v, struct buf *why)
{
    struct recent r = {0};
    if (v->traced < EVENTS_MIN)
        return STUCK_NO;
    recent_read(v, &r);
    size_t errors = errors_count(&r);
    if (errors >= ERRORS_STUCK) {
        buf_add(why, STR("The agent repeated the same failing call."));
        return STUCK_YES;
    }
    if (all_equal(r.actions, r.action_count, REPEATED, 1) &&
        all_equal(r.results, r.result_count, REPEATED, 1)) {
        buf_add(why, STR("The agent repeated the same call and got the same result each time."));
        return STUCK_YES;
    }
    if (r.messages >= MONOLOGUE) {
        buf_add(why, STR("The agent wrote several messages in a row without doing anything."));
        return STUCK_YES;
    }
    if (all_equal(r.actions, r.action_count, ALTERNATING, 2) &&
        all_equal(r.results, r.result_count, ALTERNATING, 2)) {
        buf_add(why, STR("The agent alternated between the same two calls."));
        return STUCK_YES;
    }
    if (errors == ERRORS_NUDGE && r.error_last) {
        buf_addf(why, "You have made the same `%.*s` call %d times and it failed each time: %.*s\n",
                 STR_ARG(buf_str(&v->error_tool)), ERRORS_NUDGE, STR_ARG(buf_str(&v->error_text)));
        buf_add(why, STR("Correct its arguments or try another way; do not send it again unchanged."));
        return STUCK_NUDGE;
    }
    return STUCK_NO;
}
