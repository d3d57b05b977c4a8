/* From the view to messages: only structs are copied, texts stay where they are, and what cannot change any more is kept
 * from one turn to the next. */
#include "agent/view/items.h"
#include "base/utf8.h"
#include <stdlib.h>

#define CUT_NOTICE "\n[… part of this result was left out because of its length …]\n"

static struct llm_message *message_new(struct built *b)
{
    vec_push(&b->messages, (struct llm_message){0});
    return &b->messages.at[b->messages.n - 1];
}

/* Messages of the user in a row are one: some providers refuse them otherwise. The first of them holds the parts of all;
 * such a row is always made anew from its first message, because nothing settles behind a message of the user. */
static void emit_user(struct built *b, struct item *i)
{
    struct llm_message *last = b->messages.n > 0 ? &b->messages.at[b->messages.n - 1] : NULL;
    if (!last || last->role != LLM_USER) {
        *message_new(b) =
            (struct llm_message){.role = LLM_USER, .parts = i->parts, .part_count = i->part_count};
        b->first_user = i;
        return;
    }
    struct item *first = b->first_user;
    size_t n = last->part_count + i->part_count;
    if (n > first->shown_cap) {
        first->shown_cap = 2 * n;
        first->shown = xrealloc(first->shown, first->shown_cap * sizeof(*first->shown));
    }
    if (last->part_count == first->part_count)
        memcpy(first->shown, first->parts, first->part_count * sizeof(*first->shown));
    memcpy(first->shown + last->part_count, i->parts, i->part_count * sizeof(*first->shown));
    last->parts = first->shown;
    last->part_count = n;
}

static void emit_message(struct built *b, struct item *i)
{
    if (i->part_count == 0) /* an empty answer: what the environment said to it tells enough */
        return;
    if (i->role == LLM_USER)
        emit_user(b, i);
    else
        *message_new(b) = (struct llm_message){
            .role = i->role, .parts = i->parts, .part_count = i->part_count, .reasoning = i->reasoning};
}

/* Cuts are made once and kept with the item. */
static const struct llm_part *result_parts(int64_t max_chars, struct item *result)
{
    struct str text = result->parts[0].text;
    if (max_chars <= 0 || text.n <= (uint64_t)max_chars)
        return result->parts;
    if (result->cut_max != max_chars) {
        buf_clear(&result->cut);
        text_cut_middle(text, (size_t)max_chars, STR(CUT_NOTICE), &result->cut);
        result->cut_max = max_chars;
        result->shown = xrealloc(result->shown, result->part_count * sizeof(*result->shown));
        memcpy(result->shown, result->parts, result->part_count * sizeof(*result->shown));
        result->shown[0].text = buf_str(&result->cut);
    }
    return result->shown;
}

/* One answer with its calls, and each result directly behind. Calls that have no result (yet) are not shown: no provider
 * takes them. */
static void emit_answer(struct built *b, struct item *head)
{
    size_t calls_n = 0, at = 0;
    const struct item *spoken = NULL;
    struct str reasoning = STR_NONE;
    for (const struct item *i = head; i; i = i->next) {
        calls_n += i->result != NULL;
        spoken = spoken || i->part_count == 0 ? spoken : i;
        reasoning = reasoning.p ? reasoning : i->reasoning;
    }
    if (calls_n == 0 && !spoken)
        return;
    head->calls = xrealloc(head->calls, calls_n * sizeof(*head->calls));
    for (const struct item *i = head; i; i = i->next) {
        if (i->result)
            head->calls[at++] = i->call;
    }
    *message_new(b) = (struct llm_message){
        .role = LLM_ASSISTANT,
        .parts = spoken ? spoken->parts : NULL,
        .part_count = spoken ? spoken->part_count : 0,
        .calls = head->calls,
        .call_count = calls_n,
        .reasoning = reasoning,
    };
    for (const struct item *i = head; i; i = i->next) {
        if (!i->result)
            continue;
        *message_new(b) = (struct llm_message){
            .role = LLM_TOOL,
            .parts = result_parts(b->max_chars, i->result),
            .part_count = i->result->part_count,
            .tool_call_id = i->call.id,
            .name = i->call.name,
        };
    }
}

static bool is_complete(const struct item *head)
{
    for (const struct item *i = head; i; i = i->next) {
        if (!i->result)
            return false;
    }
    return true;
}

void view_messages(const struct view *v, int64_t max_chars, struct arena *arena,
                   const struct llm_message **messages, size_t *n)
{
    (void)arena; /* the view keeps them: they stand until it changes */
    struct built *b = v->built;
    bool settling = true;
    if (b->max_chars != max_chars)
        b->settled_items = b->settled_messages = 0;
    b->max_chars = max_chars;
    b->messages.n = b->settled_messages;
    for (size_t at = b->settled_items; at < v->items.n; at++) {
        struct item *i = v->items.at[at];
        bool is_answer = i->kind == EVENT_ACTION;
        if (is_answer ? !i->head : i->role == LLM_TOOL)
            continue;
        /* Everything in front is complete, and nothing can be merged with it any more. */
        if (settling && b->messages.n > 0 && b->messages.at[b->messages.n - 1].role != LLM_USER) {
            b->settled_items = at;
            b->settled_messages = b->messages.n;
        }
        if (is_answer)
            emit_answer(b, i);
        else
            emit_message(b, i);
        settling &= !is_answer || is_complete(i);
    }
    *messages = b->messages.at;
    *n = b->messages.n;
}
