/* Taking events into a view. Each event is parsed once, when it is added; what the model needs of it is kept as pointers
 * into the parsed text. Results keep only their text, since an edit's observation is much larger than what is said of it. */
#include "agent/view/items.h"
#include "base/base64.h"
#include "base/utf8.h"
#include <stdlib.h>

struct view *view_new(void)
{
    struct view *v = xcalloc(1, sizeof(*v));
    v->calls = map_new();
    v->built = xcalloc(1, sizeof(*v->built));
    return v;
}

void item_free(struct item *i)
{
    json_doc_free(i->doc);
    buf_deinit(&i->text);
    buf_deinit(&i->cut);
    free(i->parts);
    free(i->shown);
    free(i->calls);
    free(i);
}

void view_free(struct view *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->items.n; i++)
        item_free(v->items.at[i]);
    vec_deinit(&v->items);
    vec_deinit(&v->open);
    vec_deinit(&v->prompts);
    map_free(v->calls);
    vec_deinit(&v->built->messages);
    free(v->built);
    buf_deinit(&v->tasks);
    buf_deinit(&v->error_tool);
    buf_deinit(&v->error_text);
    free(v);
}

/* --- parts --- */

void item_part_add(struct item *i, struct llm_part part)
{
    if (i->part_count >= i->part_cap) { /* a message may have 100,000 images */
        i->part_cap = i->part_count ? 2 * i->part_count : 1;
        i->parts = xrealloc(i->parts, i->part_cap * sizeof(*i->parts));
    }
    i->parts[i->part_count++] = part;
}

/* Adds the texts and images of a content array. */
static void parts_add(struct item *i, const struct json_value *content)
{
    for (struct json_iter it = json_iter(content); json_next(&it);) {
        bool cache = json_get_bool(it.value, "cache_prompt", false);
        struct str text = json_get_str(it.value, "text");
        if (text.n > 0)
            item_part_add(i, (struct llm_part){.type = LLM_TEXT, .text = text, .cache_prompt = cache});
        for (struct json_iter url = json_iter(json_get(it.value, "image_urls")); json_next(&url);)
            item_part_add(
                i, (struct llm_part){.type = LLM_IMAGE, .text = json_str(url.value), .cache_prompt = cache});
    }
}

static bool parts_have_image(const struct item *i)
{
    for (size_t at = 0; at < i->part_count; at++) {
        if (i->parts[at].type == LLM_IMAGE)
            return true;
    }
    return false;
}

/* --- one function per kind --- */

static struct item *item_new(struct view *v, enum event_kind kind, struct json_doc *doc)
{
    struct item *i = xcalloc(1, sizeof(*i));
    i->kind = kind;
    i->doc = doc;
    i->event = json_root(doc);
    uuid_parse(json_get_str(i->event, "id"), &i->id);
    vec_push(&v->items, i);
    return i;
}

/* Only its texts are kept: the tools that the event lists are most of it, and a model gets those from elsewhere. */
static void add_system_prompt(struct view *v, struct json_doc *doc)
{
    struct item *i = item_new(v, EVENT_SYSTEM_PROMPT, doc);
    i->role = LLM_SYSTEM;
    const struct json_value *blocks[] = {json_get(i->event, "system_prompt"),
                                         json_get(i->event, "dynamic_context")};
    size_t bytes = 0;
    for (size_t at = 0; at < ARRAY_LEN(blocks); at++)
        bytes += json_get_str(blocks[at], "text").n;
    buf_reserve(&i->text, bytes); /* so that the texts stay where they are */
    for (size_t at = 0; at < ARRAY_LEN(blocks); at++) {
        struct str text = json_get_str(blocks[at], "text");
        if (text.n == 0)
            continue;
        struct str kept = {i->text.p + i->text.n, text.n};
        buf_add(&i->text, text);
        item_part_add(i, (struct llm_part){LLM_TEXT, kept, json_get_bool(blocks[at], "cache_prompt", false)});
    }
    i->event = NULL;
    json_doc_free(steal(i->doc));
    /* A newer prompt takes the place of the older one. */
    for (size_t at = 0; v->has_system && at + 1 < v->items.n; at++) {
        if (v->items.at[at]->kind != EVENT_SYSTEM_PROMPT)
            continue;
        item_free(v->items.at[at]);
        v->items.at[at] = i;
        v->items.n--;
        v->built->settled_items = v->built->settled_messages = 0;
        return;
    }
    v->has_system = true;
}

static void add_message(struct view *v, struct json_doc *doc)
{
    struct item *i = item_new(v, EVENT_MESSAGE, doc);
    const struct json_value *message = json_get(i->event, "llm_message");
    struct str source = json_get_str(i->event, "source");
    i->role = str_is(json_get_str(message, "role"), "assistant") ? LLM_ASSISTANT : LLM_USER;
    i->reasoning = json_get_str(message, "reasoning_content");
    parts_add(i, json_get(message, "content"));
    parts_add(i, json_get(i->event, "extended_content"));
    v->last = NULL;
    v->prompt_blocked = false;
    if (str_is(source, "user"))
        vec_push(&v->prompts, i->id);
    v->condense_requests = 0;
    if (str_is(source, "agent")) {
        v->turns += json_get_str(i->event, "llm_response_id").n > 0;
        v->image_asked = false;
    } else if (i->role == LLM_USER) {
        v->image_asked |= parts_have_image(i);
    }
}

/* A call id that was there before names two calls; the model's provider would refuse that. The new one is derived from the
 * event, so that it stays the same whenever the view is built again. */
static struct str call_id_fresh(struct item *i)
{
    char hex[UUID_HEX_LEN + 1];
    buf_add(&i->text, STR("call_"));
    buf_add(&i->text, str_sub(uuid_hex(&i->id, hex), 0, 24));
    return buf_str(&i->text);
}

/* Providers take back only arguments that are a JSON object; an answer that was cut off gave something else. */
static struct str arguments_shown(struct item *i, struct str arguments)
{
    autojson doc = i->action ? NULL : json_parse(arguments, NULL, NULL);
    if (i->action || json_type(json_root(doc)) == JSON_OBJECT)
        return arguments;
    struct json_writer w = json_writer(&i->cut);
    jw_object(&w);
    jw_member_str(&w, "unparsed", arguments.p ? arguments : STR(""));
    jw_object_end(&w);
    return buf_str(&i->cut);
}

static void add_action(struct view *v, struct json_doc *doc)
{
    struct item *i = item_new(v, EVENT_ACTION, doc);
    const struct json_value *call = json_get(i->event, "tool_call");
    const struct json_value *action = json_get(i->event, "action");
    i->role = LLM_ASSISTANT;
    i->reasoning = json_get_str(i->event, "reasoning_content");
    i->action = json_is_null(action) ? NULL : action;
    i->event_call_id = json_get_str(i->event, "tool_call_id");
    i->response_id = json_get_str(i->event, "llm_response_id");
    i->call = (struct llm_call){
        .id = map_get(v->calls, i->event_call_id) ? call_id_fresh(i) : i->event_call_id,
        .name = json_get_str(call, "name"),
        .arguments = arguments_shown(i, json_get_str(call, "arguments")),
    };
    if (i->call.name.n == 0)
        i->call.name = json_get_str(i->event, "tool_name");
    parts_add(i, json_get(i->event, "thought"));
    v->condense_requests = 0;
    map_put(v->calls, i->event_call_id, v);
    /* Calls of one answer follow each other; that a provider repeats response ids must not join two answers. */
    if (v->last && str_eq(v->last->response_id, i->response_id)) {
        v->last->next = i;
    } else {
        i->head = true;
        v->turns++;
    }
    v->last = i;
    v->image_asked = false;
    if (i->action)
        vec_push(&v->open, i);
}

/* The call that a result answers: by the action's id where the event has it, else by the call's id; ids repeat across the
 * log, so only calls without a result count, newest first. */
static struct item *action_find(struct view *v, const struct json_value *event)
{
    struct uuid id = {{0}};
    bool by_id = uuid_parse(json_get_str(event, "action_id"), &id);
    struct str call_id = json_get_str(event, "tool_call_id");
    for (size_t at = v->items.n; at-- > 0;) {
        struct item *i = v->items.at[at];
        if (i->kind != EVENT_ACTION || i->result)
            continue;
        if (by_id ? uuid_eq(&i->id, &id) : str_eq(i->event_call_id, call_id))
            return i;
    }
    return NULL;
}

static void open_remove(struct view *v, const struct item *i)
{
    for (size_t at = 0; at < v->open.n; at++) {
        if (v->open.at[at] == i) {
            vec_remove(&v->open, at);
            return;
        }
    }
}

static void result_text(struct item *i, enum event_kind kind)
{
    if (kind == EVENT_OBSERVATION) {
        observation_text(json_get(i->event, "observation"), &i->text);
        for (struct json_iter it = json_iter(json_get(i->event, "extended_content")); json_next(&it);) {
            buf_add(&i->text, i->text.n > 0 ? STR("\n\n") : STR(""));
            buf_add(&i->text, json_get_str(it.value, "text"));
        }
    } else if (kind == EVENT_AGENT_ERROR) {
        buf_add(&i->text, json_get_str(i->event, "error"));
    } else {
        struct str reason = json_get_str(i->event, "rejection_reason");
        buf_add(&i->text, STR("The call was rejected and has not been executed. Reason: "));
        buf_add(&i->text, reason.n > 0 ? reason : STR("none given."));
    }
}

static void note_tasks(struct view *v, const struct json_value *event)
{
    const struct json_value *observation = json_get(event, "observation");
    const struct json_value *list = json_get(observation, "task_list");
    if (!str_is(json_get_str(observation, "kind"), "TaskTrackerObservation") ||
        json_type(list) != JSON_ARRAY || json_get_bool(observation, "is_error", false))
        return;
    buf_clear(&v->tasks);
    json_add(&v->tasks, list);
}

static void add_result(struct view *v, enum event_kind kind, struct json_doc *doc)
{
    const struct json_value *event = json_root(doc);
    struct item *action = action_find(v, event);
    if (!action) { /* its call was forgotten, or there never was one */
        json_doc_free(doc);
        return;
    }
    struct item *i = item_new(v, kind, doc);
    v->last = NULL;
    i->role = LLM_TOOL;
    i->of = action;
    action->result = i;
    open_remove(v, action);
    result_text(i, kind);
    if (i->text.n == 0) /* some providers refuse an empty text */
        buf_add(&i->text, STR("(no output)"));
    item_part_add(i, (struct llm_part){.type = LLM_TEXT, .text = buf_str(&i->text)});
    const struct json_value *observation = json_get(event, "observation");
    v->terminal_seen |= str_is(json_get_str(observation, "kind"), "TerminalObservation");
    for (struct json_iter it = json_iter(json_get(observation, "content")); json_next(&it);) {
        for (struct json_iter url = json_iter(json_get(it.value, "image_urls")); json_next(&url);)
            item_part_add(i, (struct llm_part){.type = LLM_IMAGE, .text = json_str(url.value)});
    }
    i->event = NULL;
    if (!parts_have_image(i)) {
        json_doc_free(i->doc);
        i->doc = NULL;
    }
}

bool view_add(struct view *v, enum event_kind kind, struct str json, struct err **e)
{
    if (kind == EVENT_STATE_UPDATE || kind == EVENT_STREAMING_DELTA || kind == EVENT_SERVER_ERROR)
        return true;
    struct json_doc *doc = json_parse_trusted(json, e);
    if (!doc) {
        if (e && *e)
            (*e)->kind = ERR_INTERNAL;
        return err_prefix(e, "an event of the log cannot be read");
    }
    view_trace(v, kind, json_root(doc));
    if (kind == EVENT_OBSERVATION)
        note_tasks(v, json_root(doc));
    switch (kind) {
    case EVENT_SYSTEM_PROMPT: add_system_prompt(v, doc); break;
    case EVENT_MESSAGE: add_message(v, doc); break;
    case EVENT_ACTION: add_action(v, doc); break;
    case EVENT_OBSERVATION:
    case EVENT_AGENT_ERROR:
    case EVENT_USER_REJECT: add_result(v, kind, doc); break;
    case EVENT_CONDENSATION: view_condense(v, doc); break;
    case EVENT_HOOK_EXECUTION: view_hook(v, doc); break;
    case EVENT_CONDENSATION_REQUEST:
        v->condense_requested = true;
        v->condense_requests++;
        json_doc_free(doc);
        break;
    case EVENT_PAUSE:
    case EVENT_INTERRUPT:
    case EVENT_STATE_UPDATE:
    case EVENT_CONVERSATION_ERROR:
    case EVENT_LLM_COMPLETION_LOG:
    case EVENT_TOKEN:
    case EVENT_STREAMING_DELTA:
    case EVENT_SERVER_ERROR:
    case EVENT_ACP_TOOL_CALL:
    case EVENT_KINDS: json_doc_free(doc); break;
    }
    return true;
}

/* --- looking --- */

uint64_t view_turns(const struct view *v)
{
    return v->turns;
}

size_t view_open(const struct view *v)
{
    return v->open.n;
}

void view_open_get(const struct view *v, size_t index, struct view_action *out)
{
    const struct item *i = v->open.at[index];
    *out = (struct view_action){
        .id = i->id,
        .tool_name = json_get_str(i->event, "tool_name"),
        .tool_call_id = i->event_call_id,
        .security_risk = json_get_str(i->event, "security_risk"),
        .event = i->event,
        .action = i->action,
    };
}

bool view_call_seen(const struct view *v, struct str call_id)
{
    return map_get(v->calls, call_id) != NULL;
}

bool view_image_asked(const struct view *v)
{
    return v->image_asked;
}

struct str view_tasks(const struct view *v)
{
    return buf_str(&v->tasks);
}

bool view_terminal_seen(const struct view *v)
{
    return v->terminal_seen;
}
