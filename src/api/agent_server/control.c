/* What makes a conversation act: run, pause, interrupt, secrets, the confirmation policy; and its final answer. */
#include "api/agent_server/app.h"
#include "api/agent_server/start.h"
#include "base/cleanup.h"

#define FINISH_PAGE 20      /* actions fetched at once in search of the last finish call */
#define FINISH_SCAN_MAX 500 /* actions looked at; one further back is not the answer to what was asked last */

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

/* The newest of the agent's events that are of one kind, from `from` back (-1: from the end). */
static bool agents_events(struct request *r, int64_t number, enum event_kind kind, int64_t from, size_t max,
                          struct arena *arena, struct store_item **items, size_t *n, int64_t *next,
                          struct err **e)
{
    struct store_filter filter = {
        .kind = (int)kind,
        .source = SOURCE_AGENT,
        .since_us = INT64_MIN,
        .until_us = INT64_MAX,
        .descending = true,
        .from_seq = from,
        .limit = max,
        .bytes_max = STORE_PAGE_BYTES,
    };
    return store_search(conversations_store(conversations_of(r)), number, &filter, arena, items, n, next, e);
}

static void add_message_text(const struct store_item *item, struct buf *out)
{
    autojson doc = json_parse_trusted(item->json, NULL);
    const struct json_value *content = json_get(json_get(json_root(doc), "llm_message"), "content");
    for (struct json_iter it = json_iter(content); json_next(&it);)
        buf_add(out, json_get_str(it.value, "text"));
}

static bool add_finish_text(const struct store_item *item, struct buf *out)
{
    if (str_find(item->json, STR("\"FinishAction\"")) < 0)
        return false;
    autojson doc = json_parse_trusted(item->json, NULL);
    const struct json_value *action = json_get(json_root(doc), "action");
    if (!str_is(json_get_str(action, "kind"), "FinishAction"))
        return false;
    buf_add(out, json_get_str(action, "message"));
    return true;
}

/* A finish call that is newer than event `after`: its message goes to `out`. */
static bool find_finish(struct request *r, int64_t number, int64_t after, struct buf *out, bool *found,
                        struct err **e)
{
    int64_t next = -1;
    size_t seen = 0;
    do {
        autoarena arena = arena_new();
        struct store_item *items;
        size_t n = 0;
        if (!agents_events(r, number, EVENT_ACTION, next, FINISH_PAGE, arena, &items, &n, &next, e))
            return false;
        for (size_t i = 0; i < n && !*found; i++) {
            if ((int64_t)items[i].seq <= after)
                return true;
            *found = add_finish_text(&items[i], out);
        }
        seen += n;
    } while (!*found && next > after && seen < FINISH_SCAN_MAX);
    return true;
}

/* The message of the last finish call, or the text of the agent's last message: whichever is newer. */
static bool find_response(struct request *r, const struct uuid *id, struct buf *out, struct err **e)
{
    autoarena arena = arena_new();
    struct store_item *message;
    size_t messages = 0;
    int64_t number, next;
    bool found = false;
    if (!conversations_number(conversations_of(r), id, &number, e) ||
        !agents_events(r, number, EVENT_MESSAGE, -1, 1, arena, &message, &messages, &next, e) ||
        !find_finish(r, number, messages > 0 ? (int64_t)message->seq : -1, out, &found, e))
        return false;
    if (!found && messages > 0)
        add_message_text(message, out);
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
