/* What hooks have to do with the view: which messages of the user they have seen, what they add to one, and that a blocked
 * one is not for the model. */
#include "agent/view/items.h"

static struct item *message_find(const struct view *v, const struct uuid *id)
{
    for (size_t at = v->items.n; at-- > 0;) {
        struct item *i = v->items.at[at];
        if (i->kind == EVENT_MESSAGE && uuid_eq(&i->id, id))
            return i;
    }
    return NULL;
}

/* As one more text behind the message's own; what several hooks add is one text. */
static void context_add(struct view *v, struct item *i, struct str context)
{
    bool first = i->text.n == 0;
    if (!first && i->part_count == 0)
        return; /* it was dropped */
    if (!first)
        buf_add_char(&i->text, '\n');
    buf_add(&i->text, context);
    if (first)
        item_part_add(i, (struct llm_part){0});
    i->parts[i->part_count - 1] = (struct llm_part){.type = LLM_TEXT, .text = buf_str(&i->text)};
    v->built->settled_items = v->built->settled_messages = 0;
}

static void message_drop(struct view *v, struct item *i)
{
    i->part_count = 0; /* a message without parts is shown to nobody */
    v->image_asked = false;
    v->prompt_blocked = v->items.at[v->items.n - 1] == i;
    v->built->settled_items = v->built->settled_messages = 0;
}

static void prompt_seen(struct view *v, const struct json_value *event)
{
    struct uuid id;
    if (!uuid_parse(json_get_str(event, "message_id"), &id))
        return;
    for (size_t i = v->prompts.n; i-- > 0;)
        if (uuid_eq(&v->prompts.at[i], &id))
            vec_remove(&v->prompts, i);
    struct item *message = message_find(v, &id);
    struct str context = json_get_str(event, "additional_context");
    if (!message)
        return;
    if (json_get_bool(event, "blocked", false))
        message_drop(v, message);
    else if (context.n > 0 && message->part_count > 0)
        context_add(v, message, context);
}

void view_hook(struct view *v, struct json_doc *doc)
{
    struct str event = json_get_str(json_root(doc), "hook_event_type");
    v->session_started |= str_is(event, "SessionStart");
    if (str_is(event, "UserPromptSubmit"))
        prompt_seen(v, json_root(doc));
    json_doc_free(doc);
}

bool view_session_started(const struct view *v)
{
    return v->session_started;
}

bool view_prompt_blocked(const struct view *v)
{
    return v->prompt_blocked;
}

bool view_prompt_next(const struct view *v, struct uuid *id, struct buf *text)
{
    for (size_t at = 0; at < v->prompts.n; at++) {
        const struct item *i = message_find(v, &v->prompts.at[at]);
        if (!i)
            continue; /* forgotten meanwhile */
        *id = v->prompts.at[at];
        for (struct json_iter it = json_iter(json_get(json_get(i->event, "llm_message"), "content"));
             json_next(&it);)
            buf_add(text, json_get_str(it.value, "text"));
        return true;
    }
    return false;
}
