/* What makes a conversation act: run, pause, interrupt, secrets, the confirmation policy; and its final answer. */
#include "api/agent_server/app.h"
#include "api/agent_server/start.h"
#include "base/cleanup.h"

/* ---- run, pause, interrupt ---- */

static void run_answer(void *arg, const struct err *e)
{
    struct act *a = arg;
    struct err running = {.kind = ERR_CONFLICT,
                          .text =
                              (char[]){"Conversation already running. Wait for completion or pause first."}};
    act_end(a, e && e->kind == ERR_CONFLICT ? &running : e);
}

static void run_run(struct act *a)
{
    conversation_run(a->conversation, run_answer, a);
}

static void run_conversation(struct request *r, const void *args)
{
    act_start(&(struct act){.request = r, .args = args, .run = run_run});
}

static void pause_run(struct act *a)
{
    conversation_pause(a->conversation, act_success, a);
}

static void pause_conversation(struct request *r, const void *args)
{
    act_start(&(struct act){.request = r, .args = args, .run = pause_run, .missing = reply_missing_400});
}

static void interrupt_run(struct act *a)
{
    conversation_interrupt(a->conversation, act_success, a);
}

static void interrupt_conversation(struct request *r, const void *args)
{
    act_start(&(struct act){.request = r, .args = args, .run = interrupt_run, .missing = reply_missing_400});
}

/* ---- secrets, policy ---- */

struct secrets_body {
    const struct json_value *secrets;
};
struct secrets_args {
    struct uuid id;
    struct secrets_body body;
};
static const struct json_field secrets_fields[] = {{
    .name = "secrets",
    .type = FIELD_OBJECT,
    .offset = offsetof(struct secrets_body, secrets),
    .flags = FIELD_REQUIRED,
    .doc = "Secrets by name: a text, an object with a `value`, or a source of one.",
}};
static const struct json_schema secrets_schema = {.name = "UpdateSecretsRequest",
                                                  .size = sizeof(struct secrets_body),
                                                  .fields = secrets_fields,
                                                  .count = 1};

static void secrets_run(struct act *a)
{
    const struct secrets_args *args = a->args;
    conversation_set_secrets(a->conversation, args->body.secrets, act_success, a);
}

static void set_secrets(struct request *r, const void *argsp)
{
    const struct secrets_args *args = argsp;
    struct json_problems problems = {.arena = request_arena(r)};
    struct json_path body = {.name = STR("body")};
    if (secrets_check(args->body.secrets, &body, &problems))
        act_start(&(struct act){.request = r, .args = args, .run = secrets_run});
    else
        request_reply_problems(r, &problems);
}

struct policy_body {
    const struct json_value *policy;
};
struct policy_args {
    struct uuid id;
    struct policy_body body;
};
static const struct json_field policy_fields[] = {{
    .name = "policy",
    .type = FIELD_OBJECT,
    .offset = offsetof(struct policy_body, policy),
    .flags = FIELD_REQUIRED,
    .doc = "NeverConfirm, AlwaysConfirm or ConfirmRisky, by its `kind`.",
}};
static const struct json_schema policy_schema = {.name = "SetConfirmationPolicyRequest",
                                                 .size = sizeof(struct policy_body),
                                                 .fields = policy_fields,
                                                 .count = 1};

static void policy_run(struct act *a)
{
    const struct policy_args *args = a->args;
    struct policy policy = {.kind = POLICY_NEVER};
    policy_decode(args->body.policy, "body", &policy, NULL); /* set_policy found it good */
    conversation_set_policy(a->conversation, &policy, act_success, a);
}

static void set_policy(struct request *r, const void *argsp)
{
    const struct policy_args *args = argsp;
    struct json_problems problems = {.arena = request_arena(r)};
    struct policy policy;
    if (policy_decode(args->body.policy, "body", &policy, &problems))
        act_start(&(struct act){.request = r, .args = args, .run = policy_run});
    else
        request_reply_problems(r, &problems);
}

/* ---- GET /{id}/agent_final_response ---- */

/* The answer that an event holds, if it is one: a finish call's message or the text of an agent's message. */
static bool event_response(const struct store_item *item, struct buf *out)
{
    bool is_finish = item->kind == EVENT_ACTION && str_find(item->json, STR("\"FinishAction\"")) >= 0;
    if (!is_finish && item->kind != EVENT_MESSAGE)
        return false;
    autojson doc = json_parse_trusted(item->json, NULL);
    const struct json_value *event = json_root(doc);
    if (is_finish) {
        const struct json_value *action = json_get(event, "action");
        if (!str_is(json_get_str(action, "kind"), "FinishAction"))
            return false;
        buf_add(out, json_get_str(action, "message"));
        return true;
    }
    const struct json_value *content = json_get(json_get(event, "llm_message"), "content");
    for (struct json_iter it = json_iter(content); json_next(&it);)
        buf_add(out, json_get_str(it.value, "text"));
    return true;
}

static bool find_response(struct request *r, const struct uuid *id, struct buf *out, struct err **e)
{
    struct conversations *all = conversations_of(r);
    struct store *store = conversations_store(all);
    int64_t number, next = -1;
    if (!conversations_number(all, id, &number, e))
        return false;
    do {
        autoarena arena = arena_new();
        struct store_item *items;
        size_t n;
        struct store_filter filter = {
            .kind = -1,
            .source = SOURCE_AGENT,
            .since_us = INT64_MIN,
            .until_us = INT64_MAX,
            .descending = true,
            .from_seq = next,
            .limit = STORE_LIST_MAX,
            .bytes_max = STORE_PAGE_BYTES,
        };
        if (!store_search(store, number, &filter, arena, &items, &n, &next, e))
            return false;
        for (size_t i = 0; i < n; i++)
            if (event_response(&items[i], out))
                return true;
    } while (next >= 0);
    return true;
}

static void get_final_response(struct request *r, const void *argsp)
{
    const struct id_args *args = argsp;
    autoerr e = NULL;
    autobuf text = {0};
    if (!find_response(r, &args->id, &text, &e)) {
        if (e->kind == ERR_NOT_FOUND)
            reply_missing(r, args);
        else
            request_reply_error(r, e);
        return;
    }
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_member_str(&w, "response", buf_str(&text));
    jw_object_end(&w);
    request_reply_json(r, 200, &body);
}

/* ---- the table ---- */

static const struct route_response run_responses[] = {
    {.status = 200, .description = "The agent works, or is about to.", .ref = "Success"},
    {.status = 404, .description = "There is no such conversation.", .ref = "Error"},
    {.status = 409, .description = "It runs already.", .ref = "Error"},
};
static const struct route_response response_responses[] = {
    {.status = 200,
     .description = "The agent's last answer; empty when there is none yet.",
     .ref =
         "{\"type\":\"object\",\"properties\":{\"response\":{\"type\":\"string\"}},\"required\":[\"response\"]}"},
    {.status = 404, .description = "There is no such conversation.", .ref = "Error"},
};

#define TAG .tag = "Conversations"
static const struct route routes[] = {
    {.method = HTTP_POST_,
     .path = "/api/conversations/{conversation_id}/run",
     .handle = run_conversation,
     .summary = "Let the agent work; accepts what waits for confirmation",
     TAG,
     .operation = "run_conversation_api_conversations__conversation_id__run_post",
     .args_size = sizeof(struct id_args),
     ID_PATH,
     .responses = run_responses,
     .response_count = 3},
    {.method = HTTP_POST_,
     .path = "/api/conversations/{conversation_id}/pause",
     .handle = pause_conversation,
     .summary = "Pause after the present step",
     TAG,
     .operation = "pause_conversation_api_conversations__conversation_id__pause_post",
     .args_size = sizeof(struct id_args),
     ID_PATH,
     .responses = success_or_400,
     .response_count = 2},
    {.method = HTTP_POST_,
     .path = "/api/conversations/{conversation_id}/interrupt",
     .handle = interrupt_conversation,
     .summary = "Stop the present step at once",
     TAG,
     .operation = "interrupt_conversation_api_conversations__conversation_id__interrupt_post",
     .args_size = sizeof(struct id_args),
     ID_PATH,
     .responses = success_or_400,
     .response_count = 2},
    {.method = HTTP_POST_,
     .path = "/api/conversations/{conversation_id}/secrets",
     .handle = set_secrets,
     .summary = "Add or replace secrets",
     TAG,
     .operation = "update_conversation_secrets_api_conversations__conversation_id__secrets_post",
     .args_size = sizeof(struct secrets_args),
     ID_PATH,
     .body = &secrets_schema,
     .body_offset = offsetof(struct secrets_args, body),
     .responses = success_or_404,
     .response_count = 2},
    {.method = HTTP_POST_,
     .path = "/api/conversations/{conversation_id}/confirmation_policy",
     .handle = set_policy,
     .summary = "Say when the agent has to ask before it acts",
     TAG,
     .operation =
         "set_conversation_confirmation_policy_api_conversations__conversation_id__confirmation_policy_post",
     .args_size = sizeof(struct policy_args),
     ID_PATH,
     .body = &policy_schema,
     .body_offset = offsetof(struct policy_args, body),
     .responses = success_or_404,
     .response_count = 2},
    {.method = HTTP_GET_,
     .path = "/api/conversations/{conversation_id}/agent_final_response",
     .handle = get_final_response,
     .summary = "Get the agent's last answer",
     TAG,
     .operation = "get_agent_final_response_api_conversations__conversation_id__agent_final_response_get",
     .args_size = sizeof(struct id_args),
     ID_PATH,
     .responses = response_responses,
     .response_count = 2},
};
const struct route_table control_routes = {routes, ARRAY_LEN(routes)};
