/* Names of kinds, sources and statuses; drafts and their bodies. */
#include "agent/internal.h"
#include "base/clock.h"
#include <stdlib.h>

/* The module is what older clients put in front of a kind when they filter by it. */
static const struct {
    const char *name, *module;
} kinds[EVENT_KINDS] = {
    [EVENT_SYSTEM_PROMPT] = {"SystemPromptEvent", "openhands.sdk.event.llm_convertible.system"},
    [EVENT_MESSAGE] = {"MessageEvent", "openhands.sdk.event.llm_convertible.message"},
    [EVENT_ACTION] = {"ActionEvent", "openhands.sdk.event.llm_convertible.action"},
    [EVENT_OBSERVATION] = {"ObservationEvent", "openhands.sdk.event.llm_convertible.observation"},
    [EVENT_AGENT_ERROR] = {"AgentErrorEvent", "openhands.sdk.event.llm_convertible.observation"},
    [EVENT_USER_REJECT] = {"UserRejectObservation", "openhands.sdk.event.llm_convertible.observation"},
    [EVENT_PAUSE] = {"PauseEvent", "openhands.sdk.event.user_action"},
    [EVENT_INTERRUPT] = {"InterruptEvent", "openhands.sdk.event.user_action"},
    [EVENT_CONDENSATION] = {"Condensation", "openhands.sdk.event.condenser"},
    [EVENT_CONDENSATION_REQUEST] = {"CondensationRequest", "openhands.sdk.event.condenser"},
    [EVENT_STATE_UPDATE] = {"ConversationStateUpdateEvent", "openhands.sdk.event.conversation_state"},
    [EVENT_CONVERSATION_ERROR] = {"ConversationErrorEvent", "openhands.sdk.event.conversation_error"},
    [EVENT_HOOK_EXECUTION] = {"HookExecutionEvent", "openhands.sdk.event.hook_execution"},
    [EVENT_LLM_COMPLETION_LOG] = {"LLMCompletionLogEvent", "openhands.sdk.event.llm_completion_log"},
    [EVENT_TOKEN] = {"TokenEvent", "openhands.sdk.event.token"},
    [EVENT_STREAMING_DELTA] = {"StreamingDeltaEvent", "openhands.sdk.event.streaming_delta"},
    [EVENT_SERVER_ERROR] = {"ServerErrorEvent", "openhands.agent_server.models"},
    [EVENT_ACP_TOOL_CALL] = {"ACPToolCallEvent", "openhands.sdk.event.acp_tool_call"},
};

static const char *const sources[] = {
    [SOURCE_AGENT] = "agent",
    [SOURCE_USER] = "user",
    [SOURCE_ENVIRONMENT] = "environment",
    [SOURCE_HOOK] = "hook",
};

static const char *const statuses[] = {
    [STATUS_IDLE] = "idle",         [STATUS_RUNNING] = "running",
    [STATUS_PAUSED] = "paused",     [STATUS_WAITING_FOR_CONFIRMATION] = "waiting_for_confirmation",
    [STATUS_FINISHED] = "finished", [STATUS_ERROR] = "error",
    [STATUS_STUCK] = "stuck",       [STATUS_DELETING] = "deleting",
};

const char *event_kind_name(enum event_kind kind)
{
    return kind > 0 && kind < EVENT_KINDS ? kinds[kind].name : NULL;
}

enum event_kind event_kind_parse(struct str name)
{
    ssize_t dot = str_rfind_char(name, '.');
    struct str module = dot >= 0 ? str_sub(name, 0, (size_t)dot) : STR_NONE;
    struct str bare = str_sub(name, (size_t)(dot + 1), name.n);
    for (int i = 1; i < EVENT_KINDS; i++) {
        if (str_is(bare, kinds[i].name))
            return !module.p || str_is(module, kinds[i].module) ? (enum event_kind)i : 0;
    }
    return 0;
}

static int name_find(const char *const *names, size_t n, struct str name)
{
    for (size_t i = 1; i < n; i++) {
        if (str_is(name, names[i]))
            return (int)i;
    }
    return 0;
}

const char *event_source_name(enum event_source source)
{
    return source > 0 && source < ARRAY_LEN(sources) ? sources[source] : NULL;
}

enum event_source event_source_parse(struct str name)
{
    return (enum event_source)name_find(sources, ARRAY_LEN(sources), name);
}

const char *status_name(enum status status)
{
    return status > 0 && status < ARRAY_LEN(statuses) ? statuses[status] : NULL;
}

enum status status_parse(struct str name)
{
    return (enum status)name_find(statuses, ARRAY_LEN(statuses), name);
}

/* --- drafts --- */

void event_draft_init(struct event_draft *d, enum event_kind kind, enum event_source source)
{
    *d = (struct event_draft){.kind = kind, .source = source, .on_branch = kind != EVENT_STATE_UPDATE};
}

void event_draft_deinit(struct event_draft *d)
{
    buf_deinit(&d->body);
    buf_deinit(&d->reduced);
    buf_deinit(&d->search_text);
}

void event_write(struct buf *out, const struct event_draft *d, struct str body, const struct uuid *id,
                 int64_t local_us, struct str parent)
{
    char id_text[UUID_DASHED_LEN + 1], time_text[CLOCK_TEXT_MAX];
    buf_reserve(out, body.n + 256);
    buf_add(out, STR("{\"id\":\""));
    buf_add(out, uuid_dashed(id, id_text));
    buf_add(out, STR("\",\"timestamp\":\""));
    buf_add(out, clock_format_naive(local_us, time_text));
    buf_add(out, STR("\",\"source\":\""));
    buf_add_cstr(out, event_source_name(d->source));
    if (parent.p) {
        buf_add(out, STR("\",\"parent_id\":\""));
        json_escape(out, parent, false);
    }
    buf_add(out, STR("\","));
    if (body.n > 0) {
        buf_add(out, body);
        buf_add_char(out, ',');
    }
    buf_add(out, STR("\"kind\":\""));
    buf_add_cstr(out, event_kind_name(d->kind));
    buf_add(out, STR("\"}"));
}

struct json_writer event_body_writer(struct event_draft *d)
{
    struct json_writer w = json_writer(&d->body);
    w.depth = 1; /* inside the event's braces, which event_write adds */
    return w;
}

/* --- bodies --- */

void event_text_content(struct json_writer *w, struct str text)
{
    jw_object(w);
    jw_member_bool(w, "cache_prompt", false);
    jw_member_cstr(w, "type", "text");
    jw_member_str(w, "text", text.p ? text : STR(""));
    jw_object_end(w);
}

static void message_write(struct event_draft *d, const char *role, struct str text, struct str reasoning,
                          struct str response_id)
{
    struct json_writer w = event_body_writer(d);
    jw_key(&w, "llm_message");
    jw_object(&w);
    jw_member_cstr(&w, "role", role);
    jw_key(&w, "content");
    jw_array(&w);
    if (text.n > 0)
        event_text_content(&w, text);
    jw_array_end(&w);
    if (reasoning.n > 0)
        jw_member_str(&w, "reasoning_content", reasoning);
    jw_member_raw(&w, "thinking_blocks", STR("[]"));
    jw_object_end(&w);
    if (response_id.n > 0)
        jw_member_str(&w, "llm_response_id", response_id);
    jw_member_raw(&w, "activated_skills", STR("[]"));
    jw_member_raw(&w, "extended_content", STR("[]"));
    buf_add(&d->search_text, text);
    event_draft_reduce(d);
}

void event_message_body(struct event_draft *d, const char *role, struct str text)
{
    message_write(d, role, text, STR_NONE, STR_NONE);
}

void event_answer_body(struct event_draft *d, struct str text, struct str reasoning, struct str response_id)
{
    message_write(d, "assistant", text, reasoning, response_id);
}

void event_state_update_body(struct event_draft *d, const char *key, struct str json_value)
{
    struct json_writer w = event_body_writer(d);
    d->on_branch = false;
    jw_member_cstr(&w, "key", key);
    jw_member_raw(&w, "value", json_value);
}

void event_reject_body(struct event_draft *d, struct str tool_name, struct str tool_call_id,
                       const struct uuid *action_id, struct str reason, const char *source)
{
    char id[UUID_DASHED_LEN + 1];
    struct json_writer w = event_body_writer(d);
    jw_member_str(&w, "tool_name", tool_name);
    jw_member_str(&w, "tool_call_id", tool_call_id);
    jw_member_str(&w, "rejection_reason", reason.n > 0 ? reason : STR("User rejected the action"));
    jw_member_cstr(&w, "rejection_source", source);
    jw_member_str(&w, "action_id", uuid_dashed(action_id, id));
    event_draft_reduce(d);
}
