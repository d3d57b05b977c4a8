/* The kinds of events, and what is common to all. */
#include "agent/event.h"
#include "api/api.h"
#include "api/legacy/projector.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "conversation/side.h"

#define REASONS_MAX 1000 /* skills named by one message */

/* ---- writing one ---- */

struct str projector_text(const struct json_value *v, const char *key)
{
    struct str s = json_get_str(v, key);
    return s.p ? s : STR("");
}

void projector_texts(const struct json_value *contents, const char *between, struct buf *out)
{
    bool any = false;
    for (struct json_iter it = json_iter(contents); json_next(&it);) {
        struct str text = json_get_str(it.value, "text");
        if (!text.p)
            continue;
        if (any)
            buf_add_cstr(out, between);
        buf_add(out, text);
        any = true;
    }
}

/* Those that a status confirms are shown behind the user's word for it. */
static int64_t confirmed_id(const struct projector *p)
{
    int64_t at[2] = {0, SIDE_CONFIRMED_MAX};
    for (struct json_iter it = json_iter(json_get(p->side, "again")); json_next(&it) && it.index < 2;)
        at[it.index] = json_int(it.value, -1);
    bool ok = at[0] > 0 && at[0] < (int64_t)p->seq && at[1] >= 0 && at[1] < SIDE_CONFIRMED_MAX;
    return ok ? projection_id((uint32_t)at[0], 1 + (unsigned)at[1]) : 0;
}

int64_t projector_cause(const struct projector *p)
{
    int64_t again = confirmed_id(p);
    if (again > 0)
        return again;
    int64_t seq = json_get_int(p->side, "cause", 0);
    return seq > 0 && seq < (int64_t)p->seq ? projection_id((uint32_t)seq, 0) : 0;
}

static int64_t count_of(const struct json_value *usage, const char *key)
{
    int64_t n = json_get_int(usage, key, 0);
    return n > 0 ? n : 0;
}

/* What the conversation has used up to and with this answer of the model. */
static void write_usage(const struct projector *p, struct json_writer *w)
{
    const struct json_value *usage = json_get(p->side, "usage");
    if (json_type(usage) != JSON_OBJECT)
        return;
    jw_key(w, "llm_metrics");
    jw_object(w);
    jw_member_float(w, "accumulated_cost", json_get_float(usage, "cost", 0));
    jw_member_null(w, "max_budget_per_task");
    jw_key(w, "accumulated_token_usage");
    jw_object(w);
    jw_member_str(w, "model", projector_text(usage, "model"));
    jw_member_int(w, "prompt_tokens", count_of(usage, "prompt"));
    jw_member_int(w, "completion_tokens", count_of(usage, "completion"));
    jw_member_int(w, "cache_read_tokens", count_of(usage, "cache_read"));
    jw_member_int(w, "cache_write_tokens", count_of(usage, "cache_write"));
    jw_member_int(w, "context_window", count_of(usage, "context_window"));
    jw_member_int(w, "per_turn_token", count_of(usage, "per_turn"));
    jw_member_cstr(w, "response_id", "");
    jw_object_end(w);
    jw_member_raw(w, "costs", STR("[]"));
    jw_member_raw(w, "response_latencies", STR("[]"));
    jw_member_raw(w, "token_usages", STR("[]"));
    jw_object_end(w);
}

/* The part of the model's answer that made this call. */
static void write_choice(const struct projector *p, struct json_writer *w)
{
    const struct json_value *call = json_get(p->event, "tool_call");
    autobuf thought = {0};
    projector_texts(json_get(p->event, "thought"), "\n", &thought);
    jw_object(w);
    jw_member_cstr(w, "finish_reason", "tool_calls");
    jw_member_int(w, "index", 0);
    jw_key(w, "message");
    jw_object(w);
    jw_member_str(w, "content", buf_str(&thought));
    jw_member_cstr(w, "role", "assistant");
    jw_key(w, "tool_calls");
    jw_array(w);
    jw_object(w);
    jw_key(w, "function");
    jw_object(w);
    jw_member_str(w, "arguments", projector_text(call, "arguments"));
    jw_member_str(w, "name", projector_text(p->event, "tool_name"));
    jw_object_end(w);
    jw_member_str(w, "id", projector_text(p->event, "tool_call_id"));
    jw_member_cstr(w, "type", "function");
    jw_object_end(w);
    jw_array_end(w);
    jw_member_null(w, "function_call");
    jw_object_end(w);
    jw_object_end(w);
}

static void write_call(const struct projector *p, struct json_writer *w)
{
    struct str id = json_get_str(p->event, "tool_call_id");
    if (!id.p)
        return;
    jw_key(w, "tool_call_metadata");
    jw_object(w);
    jw_member_str(w, "function_name", projector_text(p->event, "tool_name"));
    jw_member_str(w, "tool_call_id", id);
    jw_key(w, "model_response");
    jw_object(w);
    jw_member_str(w, "id", projector_text(p->event, "llm_response_id"));
    jw_member_int(w, "created", 0);
    jw_member_str(w, "model", projector_text(json_get(p->side, "usage"), "model"));
    jw_member_cstr(w, "object", "chat.completion");
    jw_key(w, "choices");
    jw_array(w);
    if (json_type(json_get(p->event, "tool_call")) == JSON_OBJECT)
        write_choice(p, w);
    jw_array_end(w);
    jw_member_raw(w, "usage", STR("{}"));
    jw_object_end(w);
    int64_t calls = json_get_int(p->side, "calls", 1);
    jw_member_int(w, "total_calls_in_response", calls > 0 ? calls : 1);
    jw_object_end(w);
}

struct json_writer projector_begin(struct projector *p, const struct projected_head *head)
{
    struct projection *out = p->out;
    p->at[out->n].from = out->text.n;
    out->at[out->n] = (struct projected){
        .id = projection_id(p->seq, (unsigned)out->n),
        .source = head->source,
        .name = head->name,
        .is_observation = head->is_observation,
    };
    struct json_writer w = json_writer(&out->text);
    jw_object(&w);
    jw_member_int(&w, "id", out->at[out->n].id);
    if (out->timestamp.n > 0)
        jw_member_str(&w, "timestamp", buf_str(&out->timestamp));
    jw_member_cstr(&w, "source", head->source);
    jw_member_str(&w, "message", head->message.p ? head->message : STR(""));
    if (head->cause > 0)
        jw_member_int(&w, "cause", head->cause);
    jw_member_cstr(&w, head->is_observation ? "observation" : "action", head->name);
    if (head->is_call)
        write_call(p, &w);
    if (head->has_usage)
        write_usage(p, &w);
    return w;
}

void projector_end(struct projector *p, struct json_writer *w)
{
    jw_object_end(w);
    p->at[p->out->n].to = p->out->text.n;
    p->out->n++;
}

void projector_observation(struct projector *p, const struct projected_head *head, struct str content)
{
    struct json_writer w = projector_begin(p, head);
    if (head->is_observation) {
        jw_member_str(&w, "content", content);
        jw_member_raw(&w, "extras", STR("{}"));
    } else {
        jw_member_raw(&w, "args", STR("{}"));
    }
    projector_end(p, &w);
}

/* ---- states ---- */

static void state_changed(struct projector *p, const char *state, struct str reason)
{
    struct json_writer w = projector_begin(p, &(struct projected_head){.source = "environment",
                                                                       .name = "agent_state_changed",
                                                                       .is_observation = true});
    jw_member_cstr(&w, "content", "");
    jw_key(&w, "extras");
    jw_object(&w);
    jw_member_cstr(&w, "agent_state", state);
    jw_member_str(&w, "reason", reason.p ? reason : STR(""));
    jw_object_end(&w);
    projector_end(p, &w);
}

/* A client's wish, as an action of the user's. */
static void change_state(struct projector *p, const char *state)
{
    autobuf message = {0};
    buf_addf(&message, "Agent state changed to %s", state);
    struct json_writer w =
        projector_begin(p, &(struct projected_head){
                               .source = "user", .name = "change_agent_state", .message = buf_str(&message)});
    jw_key(&w, "args");
    jw_object(&w);
    jw_member_cstr(&w, "agent_state", state);
    jw_member_cstr(&w, "thought", "");
    jw_object_end(&w);
    projector_end(p, &w);
}

static void project_status(struct projector *p)
{
    enum status status = status_parse(json_get_str(p->event, "value"));
    bool waited = str_is(json_get_str(p->side, "was"), "waiting_for_confirmation");
    struct str reason = json_get_str(p->side, "reason");
    if (waited && (status == STATUS_RUNNING || status == STATUS_IDLE)) {
        const char *answer = status == STATUS_RUNNING ? "user_confirmed" : "user_rejected";
        change_state(p, answer);
        for (struct json_iter it = json_iter(json_get(p->side, "confirmed"));
             json_next(&it) && it.index < SIDE_CONFIRMED_MAX;)
            project_answered(p, json_int(it.value, -1), "confirmed");
        state_changed(p, answer, STR_NONE);
    }
    switch (status) {
    case STATUS_IDLE: state_changed(p, "awaiting_user_input", STR_NONE); break;
    case STATUS_RUNNING: state_changed(p, "running", STR_NONE); break;
    case STATUS_PAUSED:
        state_changed(p, json_get_bool(p->side, "stopped", false) ? "stopped" : "paused", STR_NONE);
        break;
    case STATUS_WAITING_FOR_CONFIRMATION: state_changed(p, "awaiting_user_confirmation", STR_NONE); break;
    case STATUS_FINISHED: /* an answer in words waits for the next question; only `finish` finishes */
        state_changed(p, json_get_bool(p->side, "said", false) ? "awaiting_user_input" : "finished",
                      STR_NONE);
        break;
    case STATUS_ERROR: state_changed(p, "error", reason); break;
    case STATUS_STUCK:
        state_changed(p, "error", STR("AgentStuckInLoopError: Agent got stuck in a loop"));
        break;
    case STATUS_DELETING: break;
    }
}

static void project_state_update(struct projector *p)
{
    if (str_is(json_get_str(p->event, "key"), "execution_status"))
        project_status(p);
}

/* ---- messages ---- */

/* What the system prompt's tools look like to a model. */
static void write_tools(struct json_writer *w, const struct json_value *tools)
{
    jw_array(w);
    for (struct json_iter it = json_iter(tools); json_next(&it);) {
        jw_object(w);
        jw_member_cstr(w, "type", "function");
        jw_key(w, "function");
        jw_object(w);
        jw_member_str(w, "name", projector_text(it.value, "title"));
        jw_member_str(w, "description", projector_text(it.value, "description"));
        jw_object_end(w);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void project_system_prompt(struct projector *p)
{
    autobuf text = {0};
    struct str more = json_get_str(json_get(p->event, "dynamic_context"), "text");
    buf_add(&text, projector_text(json_get(p->event, "system_prompt"), "text"));
    if (more.n > 0) {
        buf_add(&text, STR("\n\n"));
        buf_add(&text, more);
    }
    if (p->seq == 0)
        state_changed(p, "loading", STR_NONE);
    struct json_writer w = projector_begin(
        p, &(struct projected_head){.source = "agent", .name = "system", .message = buf_str(&text)});
    jw_key(&w, "args");
    jw_object(&w);
    jw_member_str(&w, "content", buf_str(&text));
    jw_key(&w, "tools");
    write_tools(&w, json_get(p->event, "tools"));
    jw_member_cstr(&w, "openhands_version", LEGACY_API_VERSION);
    jw_member_cstr(&w, "agent_class", "CodeActAgent");
    jw_object_end(&w);
    projector_end(p, &w);
}

static const char *source_of(const struct projector *p)
{
    struct str source = json_get_str(p->event, "source");
    if (str_is(source, "agent"))
        return "agent";
    return str_is(source, "user") ? "user" : "environment";
}

static void write_image_urls(struct json_writer *w, const struct json_value *content)
{
    jw_array(w);
    for (struct json_iter it = json_iter(content); json_next(&it);)
        for (struct json_iter url = json_iter(json_get(it.value, "image_urls")); json_next(&url);)
            if (json_type(url.value) == JSON_STRING)
                jw_str(w, json_str(url.value));
    jw_array_end(w);
}

/* Skills that the message brought in, as what was recalled for it. Their texts come without names: they go to the first. */
static void project_recall(struct projector *p, struct str query)
{
    const struct json_value *skills = json_get(p->event, "activated_skills");
    const struct json_value *texts = json_get(p->event, "extended_content");
    if (json_type(skills) != JSON_ARRAY || json_count(skills) == 0 || json_count(skills) > REASONS_MAX)
        return;
    autobuf message = {0}, content = {0};
    size_t shown = query.n < 50 ? query.n : 50;
    while (shown < query.n && shown > 0 && ((unsigned char)query.p[shown] & 0xc0) == 0x80)
        shown--;
    buf_add(&message, STR("Retrieving content for: "));
    buf_add(&message, str_sub(query, 0, shown));
    projector_texts(texts, "\n\n", &content);
    int64_t cause = projection_id(p->seq, (unsigned)p->out->n);
    struct json_writer w = projector_begin(
        p, &(struct projected_head){.source = "user", .name = "recall", .message = buf_str(&message)});
    jw_key(&w, "args");
    jw_object(&w);
    jw_member_cstr(&w, "recall_type", "knowledge");
    jw_member_str(&w, "query", query);
    jw_member_cstr(&w, "thought", "");
    jw_object_end(&w);
    projector_end(p, &w);

    w = projector_begin(p, &(struct projected_head){.source = "environment",
                                                    .name = "recall",
                                                    .is_observation = true,
                                                    .cause = cause,
                                                    .message = STR("Added microagent knowledge")});
    jw_member_cstr(&w, "content", "Retrieved knowledge from microagents");
    jw_key(&w, "extras");
    jw_object(&w);
    jw_member_cstr(&w, "recall_type", "knowledge");
    static const char *const empty[] = {"repo_name", "repo_directory", "repo_branch", "repo_instructions"};
    for (size_t i = 0; i < ARRAY_LEN(empty); i++)
        jw_member_cstr(&w, empty[i], "");
    jw_member_raw(&w, "runtime_hosts", STR("{}"));
    jw_member_cstr(&w, "additional_agent_instructions", "");
    jw_member_cstr(&w, "date", "");
    jw_member_raw(&w, "custom_secrets_descriptions", STR("{}"));
    jw_member_cstr(&w, "conversation_instructions", "");
    jw_member_cstr(&w, "working_dir", "");
    jw_key(&w, "microagent_knowledge");
    jw_array(&w);
    for (struct json_iter it = json_iter(skills); json_next(&it);) {
        jw_object(&w);
        jw_member_str(&w, "name", json_str(it.value).p ? json_str(it.value) : STR(""));
        jw_member_cstr(&w, "trigger", "");
        jw_member_str(&w, "content", it.index == 0 ? buf_str(&content) : STR(""));
        jw_object_end(&w);
    }
    jw_array_end(&w);
    jw_object_end(&w);
    projector_end(p, &w);
}

static void project_message(struct projector *p)
{
    const struct json_value *content = json_get(json_get(p->event, "llm_message"), "content");
    const char *source = source_of(p);
    bool agent = str_is(str_from(source), "agent");
    autobuf text = {0};
    if (json_type(content) == JSON_STRING)
        buf_add(&text, json_str(content));
    projector_texts(content, "\n", &text);
    struct json_writer w = projector_begin(
        p, &(struct projected_head){
               .source = source, .name = "message", .has_usage = agent, .message = buf_str(&text)});
    jw_key(&w, "args");
    jw_object(&w);
    jw_member_str(&w, "content", buf_str(&text));
    if (agent) {
        jw_member_null(&w, "file_urls");
        jw_member_null(&w, "image_urls");
    } else {
        jw_member_raw(&w, "file_urls", STR("[]"));
        jw_key(&w, "image_urls");
        write_image_urls(&w, content);
    }
    jw_member_bool(&w, "wait_for_response", agent);
    jw_object_end(&w);
    projector_end(p, &w);
    if (!agent)
        project_recall(p, buf_str(&text));
}

/* ---- errors, rejections, condensations ---- */

static void project_error(struct projector *p, const char *source, struct str text, bool is_call)
{
    struct json_writer w = projector_begin(p, &(struct projected_head){.source = source,
                                                                       .name = "error",
                                                                       .is_observation = true,
                                                                       .is_call = is_call,
                                                                       .cause = projector_cause(p),
                                                                       .message = text});
    jw_member_str(&w, "content", text);
    jw_key(&w, "extras");
    jw_object(&w);
    jw_member_cstr(&w, "error_id", "");
    jw_object_end(&w);
    projector_end(p, &w);
}

static void project_agent_error(struct projector *p)
{
    project_error(p, "agent", projector_text(p->event, "error"), true);
}

static void project_conversation_error(struct projector *p)
{
    autobuf text = {0};
    struct str code = projector_text(p->event, "code"), detail = projector_text(p->event, "detail");
    buf_addf(&text, "%.*s%s", STR_ARG(code), code.n > 0 && detail.n > 0 ? ": " : "");
    buf_add(&text, detail);
    project_error(p, "environment", buf_str(&text), false);
}

static void project_rejection(struct projector *p)
{
    struct str reason = projector_text(p->event, "rejection_reason");
    bool again = project_answered(p, json_get_int(p->side, "cause", -1), "rejected");
    projector_observation(
        p,
        &(struct projected_head){.source = "agent",
                                 .name = "user_rejected",
                                 .is_observation = true,
                                 .is_call = true,
                                 .cause = again ? projection_id(p->seq, 0) : projector_cause(p),
                                 .message = reason},
        reason);
}

/* The first (`step` 1) or the last (-1) of the forgotten events that is one of the log: an earlier summary has a name of its
 * own there. -1: none, or not known. */
static int64_t forgotten_end(struct projector *p, int step)
{
    const struct json_value *ids = json_get(p->event, "forgotten_event_ids");
    struct uuid id;
    struct str found = STR_NONE;
    for (struct json_iter it = json_iter(ids); json_next(&it) && (step < 0 || !found.p);)
        if (uuid_parse(json_str(it.value), &id))
            found = json_str(it.value);
    return found.p ? projector_seq(p, found) : -1;
}

static void project_condensation(struct projector *p)
{
    struct str summary = json_get_str(p->event, "summary");
    const struct json_value *offset = json_get(p->event, "summary_offset");
    int64_t from = forgotten_end(p, 1), to = forgotten_end(p, -1);
    bool ranged = from >= 0 && to >= from;
    autobuf message = {0};
    if (summary.n > 0) {
        buf_add(&message, STR("Summary: "));
        buf_add(&message, summary);
    } else {
        buf_add(&message, STR("Earlier events are left out of what the model reads."));
    }
    struct json_writer w = projector_begin(
        p, &(struct projected_head){
               .source = "agent", .name = "condensation", .has_usage = true, .message = buf_str(&message)});
    jw_key(&w, "args");
    jw_object(&w);
    if (ranged) {
        jw_member_null(&w, "forgotten_event_ids");
        jw_member_int(&w, "forgotten_events_start_id", projection_id((uint32_t)from, 0));
        jw_member_int(&w, "forgotten_events_end_id", projection_id((uint32_t)to, PROJECTION_MAX - 1));
    } else {
        jw_member_raw(&w, "forgotten_event_ids", STR("[]"));
        jw_member_null(&w, "forgotten_events_start_id");
        jw_member_null(&w, "forgotten_events_end_id");
    }
    jw_member_str(&w, "summary", summary.n > 0 ? summary : STR_NONE);
    if (summary.n > 0)
        jw_member_int(&w, "summary_offset", json_int(offset, 0));
    else
        jw_member_null(&w, "summary_offset");
    jw_object_end(&w);
    projector_end(p, &w);
}

static void project_condensation_request(struct projector *p)
{
    projector_observation(
        p,
        &(struct projected_head){.source = "agent",
                                 .name = "condensation_request",
                                 .message = STR("What the model reads is to be shortened.")},
        STR_NONE);
}

static void project_pause(struct projector *p)
{
    change_state(p, "paused");
}

static void project_interrupt(struct projector *p)
{
    change_state(p, "stopped");
}

/* ---- the table ---- */

/* Kinds that are not here become nothing: logs, tokens, hooks, and what was not known when this was written. */
static void (*const by_kind[EVENT_KINDS])(struct projector *p) = {
    [EVENT_SYSTEM_PROMPT] = project_system_prompt,
    [EVENT_MESSAGE] = project_message,
    [EVENT_ACTION] = project_action,
    [EVENT_OBSERVATION] = project_observation,
    [EVENT_AGENT_ERROR] = project_agent_error,
    [EVENT_USER_REJECT] = project_rejection,
    [EVENT_PAUSE] = project_pause,
    [EVENT_INTERRUPT] = project_interrupt,
    [EVENT_CONDENSATION] = project_condensation,
    [EVENT_CONDENSATION_REQUEST] = project_condensation_request,
    [EVENT_STATE_UPDATE] = project_state_update,
    [EVENT_CONVERSATION_ERROR] = project_conversation_error,
};

bool projection_make(struct projection *p, const struct projection_log *log, struct str event,
                     struct str side, uint32_t seq, struct err **e)
{
    buf_clear(&p->text);
    buf_clear(&p->timestamp);
    p->n = 0;
    autojson doc = json_parse_trusted(event, NULL);
    autojson side_doc = side.n > 0 ? json_parse_trusted(side, NULL) : NULL;
    struct projector at = {
        .out = p, .event = json_root(doc), .side = json_root(side_doc), .seq = seq, .log = log, .e = e};
    enum event_kind kind = event_kind_parse(json_get_str(at.event, "kind"));
    if (kind >= EVENT_KINDS || !by_kind[kind])
        return true;
    buf_add(&p->timestamp, json_get_str(at.event, "timestamp"));
    by_kind[kind](&at);
    if (at.failed) {
        p->n = 0;
        return false;
    }
    for (size_t i = 0; i < p->n; i++) {
        p->at[i].json = str_sub(buf_str(&p->text), at.at[i].from, at.at[i].to);
        p->at[i].timestamp = p->timestamp.n > 0 ? buf_str(&p->timestamp) : STR_NONE;
    }
    return true;
}

void projection_deinit(struct projection *p)
{
    buf_deinit(&p->text);
    buf_deinit(&p->timestamp);
    p->n = 0;
}
