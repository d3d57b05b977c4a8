/* From the view to messages: only structs are copied, texts stay where they are. */
#include "agent/view_items.h"
#include "base/utf8.h"

#define CUT_NOTICE "\n[… part of this result was left out because of its length …]\n"

struct output {
    struct arena *arena;
    struct llm_message *messages;
    size_t n;
    int64_t max_chars;
};

/* Two messages of the user in a row are one: some providers refuse them otherwise. */
static void emit_user(struct output *o, const struct item *i)
{
    struct llm_message *last = o->n > 0 ? &o->messages[o->n - 1] : NULL;
    if (!last || last->role != LLM_USER) {
        o->messages[o->n++] = (struct llm_message){.role = LLM_USER, .parts = i->parts, .part_count = i->part_count};
        return;
    }
    struct llm_part *parts = arena_alloc(o->arena, (last->part_count + i->part_count) * sizeof(*parts));
    memcpy(parts, last->parts, last->part_count * sizeof(*parts));
    memcpy(parts + last->part_count, i->parts, i->part_count * sizeof(*parts));
    last->parts = parts;
    last->part_count += i->part_count;
}

static void emit_message(struct output *o, const struct item *i)
{
    if (i->part_count == 0) /* an empty answer: what the environment said to it tells enough */
        return;
    if (i->role == LLM_USER)
        emit_user(o, i);
    else
        o->messages[o->n++] = (struct llm_message){
            .role = i->role, .parts = i->parts, .part_count = i->part_count, .reasoning = i->reasoning};
}

/* Cuts are made once and kept with the item. */
static const struct llm_part *result_parts(struct output *o, struct item *result)
{
    struct str text = result->parts[0].text;
    if (o->max_chars <= 0 || text.n <= (uint64_t)o->max_chars)
        return result->parts;
    if (result->cut_max != o->max_chars) {
        buf_clear(&result->cut);
        text_cut_middle(text, (size_t)o->max_chars, STR(CUT_NOTICE), &result->cut);
        result->cut_max = o->max_chars;
    }
    struct llm_part *parts = arena_alloc(o->arena, result->part_count * sizeof(*parts));
    memcpy(parts, result->parts, result->part_count * sizeof(*parts));
    parts[0].text = buf_str(&result->cut);
    return parts;
}

/* One answer with its calls, and each result directly behind. Calls that have no result (yet) are not shown: no provider
 * takes them. */
static void emit_answer(struct output *o, const struct item *head)
{
    size_t calls_n = 0, part_count = 0;
    struct str reasoning = STR_NONE;
    const struct llm_part *parts = NULL;
    for (const struct item *i = head; i; i = i->next) {
        calls_n += i->result != NULL;
        if (!parts && i->part_count > 0) {
            parts = i->parts;
            part_count = i->part_count;
        }
        if (!reasoning.p)
            reasoning = i->reasoning;
    }
    if (calls_n == 0 && part_count == 0)
        return;
    struct llm_call *calls = arena_alloc(o->arena, calls_n * sizeof(*calls));
    size_t at = 0;
    for (const struct item *i = head; i; i = i->next) {
        if (i->result)
            calls[at++] = i->call;
    }
    o->messages[o->n++] = (struct llm_message){
        .role = LLM_ASSISTANT,
        .parts = parts,
        .part_count = part_count,
        .calls = calls,
        .call_count = calls_n,
        .reasoning = reasoning,
    };
    for (const struct item *i = head; i; i = i->next) {
        if (!i->result)
            continue;
        o->messages[o->n++] = (struct llm_message){
            .role = LLM_TOOL,
            .parts = result_parts(o, i->result),
            .part_count = i->result->part_count,
            .tool_call_id = i->call.id,
            .name = i->call.name,
        };
    }
}

void view_messages(const struct view *v, int64_t max_chars, struct arena *arena, const struct llm_message **messages,
                   size_t *n)
{
    /* Each item gives at most one message: an answer's comes from its first call, those of its results from them. */
    struct output o = {.arena = arena, .max_chars = max_chars};
    o.messages = arena_alloc(arena, (v->items.n + 1) * sizeof(*o.messages));
    for (size_t at = 0; at < v->items.n; at++) {
        const struct item *i = v->items.at[at];
        if (i->kind == EVENT_ACTION && i->head)
            emit_answer(&o, i);
        else if (i->kind != EVENT_ACTION && i->role != LLM_TOOL)
            emit_message(&o, i);
    }
    *messages = o.messages;
    *n = o.n;
}
