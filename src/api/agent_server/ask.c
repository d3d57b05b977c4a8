/* What asks a model beside the agent's work, or changes what it works with: questions, titles, condensation, the security
 * analyzer. */
#include "api/agent_server/app.h"
#include "api/agent_server/start.h"
#include "base/cleanup.h"

#define TITLE_LENGTH 50
#define TITLE_LENGTH_MAX 200

static void missing_conversation(struct request *r, const void *args)
{
    (void)args;
    request_reply_detail(r, 404, "Conversation not found");
}

/* One text under a name of its own; ends the act. */
static void act_end_text(struct act *a, const char *name, struct str text, const struct err *e)
{
    if (e) {
        act_end(a, e);
        return;
    }
    struct conversation *c = a->conversation;
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_member_str(&w, name, text.p ? text : STR(""));
    jw_object_end(&w);
    request_reply_json(a->request, 200, &body);
    conversation_unref(c);
}

/* ---- POST /{id}/ask_agent ---- */

struct ask_body {
    struct str question;
};
struct ask_args {
    struct uuid id;
    struct ask_body body;
};
static const struct json_field ask_fields[] = {{
    .name = "question",
    .type = FIELD_STR,
    .offset = offsetof(struct ask_body, question),
    .flags = FIELD_REQUIRED,
    .doc = "What to ask.",
}};
static const struct json_schema ask_schema = {
    .name = "AskAgentRequest", .size = sizeof(struct ask_body), .fields = ask_fields, .count = 1};

static void ask_told(void *arg, struct str text, const struct err *e)
{
    act_end_text(arg, "response", text, e);
}

static void ask_run(struct act *a)
{
    const struct ask_args *args = a->args;
    conversation_ask(a->conversation, args->body.question, ask_told, a);
}

static void ask_agent(struct request *r, const void *args)
{
    act_start(&(struct act){.request = r, .args = args, .run = ask_run, .missing = missing_conversation});
}

/* ---- POST /{id}/generate_title ---- */

struct title_body {
    int64_t max_length;
    const struct json_value *llm;
};
struct title_args {
    struct uuid id;
    struct title_body body;
};
static const struct json_field title_fields[] = {
    {
        .name = "max_length",
        .type = FIELD_INT,
        .offset = offsetof(struct title_body, max_length),
        .default_int = TITLE_LENGTH,
        .min = 1,
        .max = TITLE_LENGTH_MAX,
        .doc = "Most characters of the title.",
    },
    {
        .name = "llm",
        .type = FIELD_OBJECT,
        .offset = offsetof(struct title_body, llm),
        .doc = "A model to write it; the agent's unless given.",
    },
};
static const struct json_schema title_schema = {.name = "GenerateTitleRequest",
                                                .size = sizeof(struct title_body),
                                                .fields = title_fields,
                                                .count = ARRAY_LEN(title_fields)};

static void title_told(void *arg, struct str text, const struct err *e)
{
    act_end_text(arg, "title", text, e);
}

static void title_run(struct act *a)
{
    const struct title_args *args = a->args;
    conversation_make_title(a->conversation, args->body.llm, args->body.max_length, title_told, a);
}

static void generate_title(struct request *r, const void *args)
{
    act_start(&(struct act){.request = r, .args = args, .run = title_run, .missing = missing_conversation});
}

/* ---- POST /{id}/condense ---- */

static void condense_run(struct act *a)
{
    conversation_condense(a->conversation, act_success, a);
}

static void condense(struct request *r, const void *args)
{
    act_start(
        &(struct act){.request = r, .args = args, .run = condense_run, .missing = missing_conversation});
}

/* ---- POST /{id}/security_analyzer ---- */

struct analyzer_body {
    const struct json_value *analyzer;
};
struct analyzer_args {
    struct uuid id;
    struct analyzer_body body;
};
static const struct json_field analyzer_fields[] = {{
    .name = "security_analyzer",
    .type = FIELD_ANY,
    .offset = offsetof(struct analyzer_body, analyzer),
    .doc = "What judges the risk of actions, by its `kind`; null: nothing does.",
    .json_schema = "{\"type\":[\"object\",\"null\"]}",
}};
static const struct json_schema analyzer_schema = {.name = "SetSecurityAnalyzerRequest",
                                                   .size = sizeof(struct analyzer_body),
                                                   .fields = analyzer_fields,
                                                   .count = 1};

static void analyzer_run(struct act *a)
{
    const struct analyzer_args *args = a->args;
    conversation_set_analyzer(a->conversation, args->body.analyzer, act_success, a);
}

static void set_analyzer(struct request *r, const void *argsp)
{
    const struct analyzer_args *args = argsp;
    struct json_problems problems = {.arena = request_arena(r)};
    struct json_path body = {.name = STR("body")};
    struct json_path path = {.parent = &body, .name = STR("security_analyzer")};
    const struct json_value *given = json_get(request_json(r), "security_analyzer");
    if (json_type(given) == JSON_ABSENT) /* null is an answer, silence is none */
        json_problem_add(&problems, "missing", "body", "security_analyzer", "Field required");
    else if (analyzer_check(given, &path, &problems)) {
        act_start(&(struct act){.request = r, .args = args, .run = analyzer_run});
        return;
    }
    request_reply_problems(r, &problems);
}

/* ---- the table ---- */

static const struct route_response ask_responses[] = {
    {.status = 200,
     .description = "What the model says.",
     .ref =
         "{\"type\":\"object\",\"properties\":{\"response\":{\"type\":\"string\"}},\"required\":[\"response\"]}"},
    {.status = 404, .description = "There is no such conversation.", .ref = "Error"},
    {.status = 502, .description = "The model failed, or said nothing.", .ref = "Error"},
};
static const struct route_response title_responses[] = {
    {.status = 200,
     .description = "The title.",
     .ref =
         "{\"type\":\"object\",\"properties\":{\"title\":{\"type\":\"string\"}},\"required\":[\"title\"]}"},
    {.status = 404, .description = "There is no such conversation.", .ref = "Error"},
};
static const struct route_response condense_responses[] = {
    {.status = 200, .description = "The history has been condensed.", .ref = "Success"},
    {.status = 404, .description = "There is no such conversation.", .ref = "Error"},
    {.status = 502, .description = "The summarising model failed; nothing has changed.", .ref = "Error"},
};

#define TAG .tag = "Conversations"
static const struct route routes[] = {
    {.method = HTTP_POST_,
     .path = "/api/conversations/{conversation_id}/security_analyzer",
     .handle = set_analyzer,
     .summary = "Say what judges the risk of actions",
     TAG,
     .operation =
         "set_conversation_security_analyzer_api_conversations__conversation_id__security_analyzer_post",
     .args_size = sizeof(struct analyzer_args),
     ID_PATH,
     .body = &analyzer_schema,
     .body_offset = offsetof(struct analyzer_args, body),
     .responses = success_or_404,
     .response_count = 2},
    {.method = HTTP_POST_,
     .path = "/api/conversations/{conversation_id}/generate_title",
     .handle = generate_title,
     .summary = "Make a title of the first message, without storing it",
     TAG,
     .operation = "generate_conversation_title_api_conversations__conversation_id__generate_title_post",
     .flags = ROUTE_BODY_OPTIONAL,
     .args_size = sizeof(struct title_args),
     ID_PATH,
     .body = &title_schema,
     .body_offset = offsetof(struct title_args, body),
     .responses = title_responses,
     .response_count = ARRAY_LEN(title_responses)},
    {.method = HTTP_POST_,
     .path = "/api/conversations/{conversation_id}/ask_agent",
     .handle = ask_agent,
     .summary = "Ask a question beside the agent's work",
     TAG,
     .operation = "ask_agent_api_conversations__conversation_id__ask_agent_post",
     .args_size = sizeof(struct ask_args),
     ID_PATH,
     .body = &ask_schema,
     .body_offset = offsetof(struct ask_args, body),
     .responses = ask_responses,
     .response_count = ARRAY_LEN(ask_responses)},
    {.method = HTTP_POST_,
     .path = "/api/conversations/{conversation_id}/condense",
     .handle = condense,
     .summary = "Condense the history now",
     TAG,
     .operation = "condense_conversation_api_conversations__conversation_id__condense_post",
     .args_size = sizeof(struct id_args),
     ID_PATH,
     .responses = condense_responses,
     .response_count = ARRAY_LEN(condense_responses)},
};
const struct route_table ask_routes = {routes, ARRAY_LEN(routes)};
