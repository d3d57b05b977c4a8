/* Which part of a view is forgotten: reasons, the tail that stays, and the places between which events may go. */
#include "agent/condenser/condenser.h"
#include "agent/view/items.h"

#define BYTES_PER_TOKEN 4
#define ITEM_TOKENS 4     /* what a message costs beside its text */
#define IMAGE_TOKENS 1000 /* providers count 85 to 1,600 */

static int64_t text_tokens(struct str text, int64_t max)
{
    size_t n = max > 0 && text.n > (uint64_t)max ? (size_t)max : text.n;
    return (int64_t)n / BYTES_PER_TOKEN;
}

static int64_t item_tokens(const struct item *i, int64_t max_chars)
{
    int64_t tokens = ITEM_TOKENS + text_tokens(i->reasoning, 0);
    for (size_t at = 0; at < i->part_count; at++) {
        if (i->parts[at].type == LLM_IMAGE)
            tokens += IMAGE_TOKENS;
        else
            tokens += text_tokens(i->parts[at].text, i->role == LLM_TOOL ? max_chars : 0);
    }
    return tokens + text_tokens(i->call.name, 0) + text_tokens(i->call.arguments, 0);
}

int64_t condense_tokens(const struct view *v, size_t from, size_t to, int64_t max_chars)
{
    int64_t tokens = 0;
    for (size_t at = from; at < to && at < v->items.n; at++)
        tokens += item_tokens(v->items.at[at], max_chars);
    return tokens;
}

unsigned condense_reasons(const struct view *v, const struct condense_limits *l, bool asked)
{
    unsigned reasons = asked || v->condense_requested ? CONDENSE_REQUEST : 0;
    if (v->items.n > (uint64_t)l->condenser->max_size)
        reasons |= CONDENSE_EVENTS;
    if (l->max_tokens > 0 && condense_tokens(v, 0, v->items.n, l->max_chars) + l->tool_tokens > l->max_tokens)
        reasons |= CONDENSE_TOKENS;
    return reasons;
}

/* --- boundaries: places where events may be taken away on one side without the other --- */

struct walk {
    size_t at, open; /* calls in front of `at` whose results are at it or behind */
    bool in_loop;    /* a model that thinks takes its calls and results only as a whole */
};

static bool thinks(const struct item *i)
{
    return i->kind == EVENT_ACTION && json_count(json_get(i->event, "thinking_blocks")) > 0;
}

static bool same_answer(const struct item *a, const struct item *b)
{
    return a->kind == EVENT_ACTION && b->kind == EVENT_ACTION && str_eq(a->response_id, b->response_id);
}

static bool is_boundary(const struct view *v, const struct walk *w)
{
    if (w->open > 0)
        return false;
    if (w->at == 0 || w->at >= v->items.n)
        return true;
    const struct item *before = v->items.at[w->at - 1], *i = v->items.at[w->at];
    bool inside = i->kind == EVENT_ACTION || i->role == LLM_TOOL;
    return !same_answer(before, i) && !(w->in_loop && inside && !thinks(i));
}

static void walk_on(const struct view *v, struct walk *w)
{
    const struct item *i = v->items.at[w->at++];
    if (i->kind == EVENT_ACTION) {
        /* One without a result that could still get one stays open to the end: nothing behind it is a boundary. */
        bool waits = i->result || i->action;
        w->open += waits;
        w->in_loop |= thinks(i);
    } else if (i->role == LLM_TOOL) {
        w->open -= i->of && w->open > 0;
    } else {
        w->in_loop = false;
    }
}

/* First boundary that is not before `least`; without one, the last there is. */
static size_t boundary(const struct view *v, size_t least)
{
    size_t found = 0;
    for (struct walk w = {0};; walk_on(v, &w)) {
        if (is_boundary(v, &w)) {
            found = w.at;
            if (w.at >= least)
                return found;
        }
        if (w.at == v->items.n)
            return found;
    }
}

/* --- how much --- */

static bool has_prompt_first(const struct view *v)
{
    return v->items.n > 0 && v->items.at[0]->kind == EVENT_SYSTEM_PROMPT;
}

/* Events that may stay at the end so that the rest takes less than half of the limit. */
static int64_t tail_for_tokens(const struct view *v, const struct condense_limits *l)
{
    size_t first = (size_t)l->condenser->keep_first;
    int64_t total = condense_tokens(v, 0, v->items.n, l->max_chars) + l->tool_tokens;
    int64_t reduction = total - l->max_tokens / 2;
    for (size_t at = first; at < v->items.n; at++) {
        reduction -= item_tokens(v->items.at[at], l->max_chars);
        if (reduction < 0)
            return (int64_t)(v->items.n - at) - 1;
    }
    return 0;
}

static int64_t tail_length(const struct view *v, const struct condense_limits *l, unsigned reasons)
{
    int64_t first = l->condenser->keep_first, tail = INT64_MAX;
    if (reasons & CONDENSE_REQUEST)
        tail = (int64_t)v->items.n / 2 - first - 1;
    if (reasons & CONDENSE_EVENTS && l->condenser->max_size / 2 - first - 1 < tail)
        tail = l->condenser->max_size / 2 - first - 1;
    if (reasons & CONDENSE_TOKENS) {
        int64_t tokens = tail_for_tokens(v, l);
        tail = tokens < tail ? tokens : tail;
    }
    return tail < 0 ? 0 : tail;
}

bool condense_range(const struct view *v, const struct condense_limits *l, unsigned reasons, size_t *from,
                    size_t *to)
{
    size_t n = v->items.n, tail = (size_t)tail_length(v, l, reasons);
    size_t first = (size_t)l->condenser->keep_first;
    if (first == 0 && has_prompt_first(v))
        first = 1;
    if (first >= n || tail >= n)
        return false;
    *from = boundary(v, first);
    *to = boundary(v, n - tail);
    return *from >= first && *to > *from &&
           (double)(*to - *from) >= (double)n * l->condenser->minimum_progress;
}

bool condense_everything(const struct view *v, size_t *from, size_t *to)
{
    *from = has_prompt_first(v) ? 1 : 0;
    *to = boundary(v, v->items.n);
    return *to > *from;
}
