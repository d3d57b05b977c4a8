/* POST /api/conversations. While no settings are stored, the server's LLM_MODEL, LLM_API_KEY and LLM_BASE_URL are them. */
#include "api/legacy/create.h"
#include "api/legacy/info.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "llm/llm.h"

#define MAX_ITERATIONS 500
#define NAME_MAX_CHARS 1000    /* characters of a repository, a branch, a title: each answer shows them */
#define INSTRUCTIONS_MAX 32768 /* characters */
#define IMAGES_MAX 100

/* ---- the request ---- */

static const char *const task_types[] = {"MERGE_CONFLICTS",
                                         "FAILING_CHECKS",
                                         "UNRESOLVED_COMMENTS",
                                         "OPEN_ISSUE",
                                         "OPEN_PR",
                                         "CREATE_MICROAGENT",
                                         NULL};

#define TASK(member) .offset = offsetof(struct legacy_task, member), .flags = FIELD_REQUIRED
static const struct json_field task_fields[] = {
    {.name = "git_provider",
     .type = FIELD_ENUM,
     TASK(provider),
     .names = legacy_providers,
     .doc = "Where the repository is."},
    {.name = "task_type", .type = FIELD_ENUM, TASK(type), .names = task_types, .doc = "What is to be done."},
    {.name = "repo", .type = FIELD_STR, TASK(repo), .max = NAME_MAX_CHARS, .doc = "owner/name."},
    {.name = "issue_number", .type = FIELD_INT, TASK(number), .doc = "Of the issue or pull request."},
    {.name = "title", .type = FIELD_STR, TASK(title), .max = NAME_MAX_CHARS, .doc = "Its title."},
};
static const struct json_schema task_schema = {.name = "SuggestedTask",
                                               .size = sizeof(struct legacy_task),
                                               .fields = task_fields,
                                               .count = ARRAY_LEN(task_fields)};

struct microagent {
    struct str repo, title;
    int provider;
    bool has_provider;
};
#define MICROAGENT(member) .offset = offsetof(struct microagent, member)
static const struct json_field microagent_fields[] = {
    {.name = "repo",
     .type = FIELD_STR,
     MICROAGENT(repo),
     .flags = FIELD_REQUIRED,
     .max = NAME_MAX_CHARS,
     .doc = "owner/name."},
    {.name = "git_provider",
     .type = FIELD_ENUM,
     MICROAGENT(provider),
     .given = offsetof(struct microagent, has_provider),
     .names = legacy_providers,
     .doc = "Where the repository is."},
    {.name = "title", .type = FIELD_STR, MICROAGENT(title), .max = NAME_MAX_CHARS, .doc = "Its title."},
};
static const struct json_schema microagent_schema = {.name = "CreateMicroagent",
                                                     .size = sizeof(struct microagent),
                                                     .fields = microagent_fields,
                                                     .count = ARRAY_LEN(microagent_fields)};

struct create_body {
    struct str repository, branch, message, replay, instructions;
    int provider;
    bool has_provider;
    struct json_list images; /* of struct str */
    const struct legacy_task *task;
    const struct microagent *microagent;
    const struct legacy_mcp *mcp;
    struct str id;
};
#define BODY(member) .offset = offsetof(struct create_body, member)
static const struct json_field create_fields[] = {
    {.name = "repository",
     .type = FIELD_STR,
     BODY(repository),
     .max = NAME_MAX_CHARS,
     .doc = "owner/name. This server has no access to repositories of a git host; it is refused."},
    {.name = "git_provider",
     .type = FIELD_ENUM,
     BODY(provider),
     .given = offsetof(struct create_body, has_provider),
     .names = legacy_providers,
     .doc = "Where the repository is."},
    {.name = "selected_branch",
     .type = FIELD_STR,
     BODY(branch),
     .max = NAME_MAX_CHARS,
     .doc = "Branch of the repository."},
    {.name = "initial_user_msg",
     .type = FIELD_STR,
     BODY(message),
     .doc = "A first message; the agent starts to work on it at once."},
    {.name = "image_urls",
     .type = FIELD_ARRAY,
     .item = FIELD_STR,
     BODY(images),
     .max = IMAGES_MAX,
     .doc = "Images of that message, by http or data URL."},
    {.name = "replay_json",
     .type = FIELD_STR,
     BODY(replay),
     .doc = "This server replays no trajectories; it is refused."},
    {.name = "suggested_task",
     .type = FIELD_OBJECT,
     BODY(task),
     .schema = &task_schema,
     .doc = "A task that is put into words as the first message."},
    {.name = "create_microagent",
     .type = FIELD_OBJECT,
     BODY(microagent),
     .schema = &microagent_schema,
     .doc = "The repository that a microagent is to be written for."},
    {.name = "conversation_instructions",
     .type = FIELD_STR,
     BODY(instructions),
     .max = INSTRUCTIONS_MAX,
     .doc = "Text put behind the agent's system message."},
    {.name = "mcp_config",
     .type = FIELD_OBJECT,
     BODY(mcp),
     .schema = &legacy_mcp_schema,
     .doc = "MCP servers whose tools the agent gets."},
    {.name = "conversation_id",
     .type = FIELD_STR,
     BODY(id),
     .doc = "Id for it, where ALLOW_SET_CONVERSATION_ID=1; if it exists, that conversation is joined.",
     .json_schema = "{\"type\":\"string\",\"title\":\"Conversation Id\"}"},
};
static const struct json_schema create_schema = {
    .name = "InitSessionRequest",
    .size = sizeof(struct create_body),
    .fields = create_fields,
    .count = ARRAY_LEN(create_fields),
    .forbid_extra = true,
};

/* ---- refusals ---- */

static void refuse(struct request *r, int status, const char *message, const char *msg_id)
{
    legacy_reply_outcome(r, status, &(struct legacy_outcome){.message = message, .msg_id = msg_id});
}

static bool check_id(struct request *r, const struct create_body *body, struct uuid *id)
{
    struct json_problems problems = {.arena = request_arena(r)};
    struct json_path top = {.name = STR("body")};
    struct json_path path = {.parent = &top, .name = STR("conversation_id")};
    const struct json_value *given = json_get(request_json(r), "conversation_id");
    struct json_input input = {.value = given};
    if (!given)
        return true;
    if (!str_is(str_from(app_of(r)->config.env("ALLOW_SET_CONVERSATION_ID")), "1"))
        json_problem_at(&problems, &path, "extra_forbidden", STR("Extra inputs are not permitted"), &input,
                        STR_NONE);
    else if (body->id.p && (!uuid_parse(body->id, id) || uuid_is_zero(id)))
        json_problem_at(&problems, &path, "uuid_parsing",
                        STR("Input should be 32 hexadecimal digits, with or without dashes"), &input,
                        STR_NONE);
    else
        return true;
    request_reply_problems(r, &problems);
    return false;
}

/* What a conversation cannot be made with here. */
static bool check_support(struct request *r, const struct create_body *body)
{
    struct str repository = body->repository;
    if (repository.n == 0 && !body->task && body->microagent)
        repository = body->microagent->repo;
    autobuf why = {0};
    buf_addf(&why, "Unable to access repo %.*s", STR_ARG(repository));
    if (repository.n > 0)
        refuse(r, 400, why.p, "STATUS$GIT_PROVIDER_AUTHENTICATION_ERROR");
    else if (body->replay.n > 0)
        refuse(r, 400, "This server does not replay trajectories", "CONFIGURATION$NOT_SUPPORTED");
    else
        return true;
    return false;
}

/* ---- the agent ---- */

/* The settings as the routes of 8000 take them: false when there are none, or no key where one is needed. */
static bool write_settings(struct request *r, const struct create_body *body, struct buf *out)
{
    const char *(*env)(const char *) = app_of(r)->config.env;
    const char *key = env("LLM_API_KEY"), *base = env("LLM_BASE_URL");
    struct str model = str_trim(str_from(env("LLM_MODEL")));
    if (model.n == 0) {
        refuse(r, 400, "Settings not found", "CONFIGURATION$SETTINGS_NOT_FOUND");
        return false;
    }
    struct json_writer w = json_writer(out);
    jw_object(&w);
    jw_key(&w, "llm");
    jw_object(&w);
    jw_member_str(&w, "model", model);
    if (key)
        jw_member_cstr(&w, "api_key", key);
    if (base)
        jw_member_cstr(&w, "base_url", base);
    jw_member_cstr(&w, "usage_id", "default");
    jw_object_end(&w);
    jw_member_raw(&w, "agent_context", STR("{\"load_project_skills\":true}"));
    if (body->mcp) {
        jw_key(&w, "mcp_config");
        legacy_mcp_write(body->mcp, &w);
    }
    jw_object_end(&w);
    return true;
}

/* A model that needs no key (a scripted one, one with an address of its own) is none to complain about. */
static bool check_key(struct request *r, const struct json_value *settings)
{
    autoerr e = NULL;
    struct llm *llm = llm_new(json_get(settings, "llm"), app_of(r)->config.env, &e);
    const struct err *problem = llm ? llm_problem(llm) : NULL;
    bool ok = !problem || !problem->code || strcmp(problem->code, "LLMAuthenticationError") != 0;
    llm_unref(llm);
    if (!ok)
        refuse(r, 400, "Error authenticating with the LLM provider. Please check your API key",
               "STATUS$ERROR_LLM_AUTHENTICATION");
    return ok;
}

static struct json_doc *make_agent(struct request *r, const struct create_body *body)
{
    autobuf text = {0};
    if (!write_settings(r, body, &text))
        return NULL;
    autojson settings = json_parse_trusted(buf_str(&text), NULL);
    return check_key(r, json_root(settings)) ? agent_make(body->instructions, NULL, json_root(settings))
                                             : NULL;
}

/* ---- what it begins with ---- */

static struct json_doc *make_origin(const struct create_body *body)
{
    int trigger = body->task         ? LEGACY_TRIGGER_TASK
                  : body->microagent ? LEGACY_TRIGGER_MICROAGENT
                                     : LEGACY_TRIGGER_GUI;
    const struct microagent *m = body->task ? NULL : body->microagent;
    autobuf text = {0};
    struct json_writer w = json_writer(&text);
    jw_object(&w);
    jw_member_cstr(&w, "trigger", legacy_triggers[trigger]);
    if (body->branch.p)
        jw_member_str(&w, "branch", body->branch);
    if (body->has_provider)
        jw_member_cstr(&w, "git_provider", legacy_providers[body->provider]);
    else if (m && m->has_provider)
        jw_member_cstr(&w, "git_provider", legacy_providers[m->provider]);
    jw_object_end(&w);
    return json_parse_trusted(buf_str(&text), NULL);
}

/* `text` is empty when there is none. */
static void write_message(const struct create_body *body, struct buf *text)
{
    autobuf task = {0};
    struct str words = body->message;
    if (body->task) {
        legacy_task_write(body->task, &task);
        words = buf_str(&task);
    }
    if (words.n > 0 || body->images.n > 0)
        legacy_message_write(words, STR_NONE, body->images.items, body->images.n, text);
}

/* ---- handling ---- */

struct creation {
    struct request *request;
    struct uuid id;
    struct bytes *message; /* for one that was there already; or NULL */
    struct conversation *conversation;
    bool was_live;
};

static void reply_created(struct creation *cr, const struct err *e)
{
    char hex[UUID_HEX_LEN + 1];
    struct request *r = cr->request;
    struct conversation *c = cr->conversation;
    bytes_unref(cr->message);
    if (e && e->kind == ERR_INVALID)
        reply_invalid(r, NULL, err_text(e));
    else if (e)
        legacy_reply_failed(r, "create", NULL, STR_NONE, e);
    else
        legacy_reply_outcome(
            r, 200,
            &(struct legacy_outcome){.id = uuid_hex(&cr->id, hex),
                                     .state = cr->was_live ? LEGACY_RUNNING : LEGACY_STARTING});
    conversation_unref(c);
}

static void joined(void *arg, const struct err *e)
{
    reply_created(arg, e);
}

static void join(void *arg)
{
    struct creation *cr = arg;
    autojson message = json_parse_trusted(bytes_str(cr->message), NULL);
    struct conversation *c = conversation_ref(cr->conversation);
    conversation_send(c, json_root(message), true, joined, cr);
    conversation_unref(c);
}

static void created(void *arg, struct conversation *c, bool is_new, const struct err *e)
{
    struct creation *cr = arg;
    cr->conversation = c;
    if (c && !is_new)
        cr->was_live = conversation_start(c);
    if (c && !is_new && cr->message)
        pool_submit_always(app_of(cr->request)->config.pool, join, cr);
    else
        reply_created(cr, e);
}

static void create(struct request *r, const struct create_body *body, const struct uuid *id,
                   const struct json_value *agent)
{
    char hex[UUID_HEX_LEN + 1];
    autobuf dir = {0}, message = {0};
    write_message(body, &message);
    if (message.n > CONVERSATION_MESSAGE_MAX) {
        refuse(r, 413, MESSAGE_TOO_LONG, "CONFIGURATION$MESSAGE_TOO_LONG");
        return;
    }
    autojson origin = make_origin(body);
    autojson first = message.n > 0 ? json_parse_trusted(buf_str(&message), NULL) : NULL;
    path_join(&dir, app_of(r)->config.workspace_path, uuid_hex(id, hex));
    struct creation *cr = ARENA_NEW(request_arena(r), struct creation);
    *cr = (struct creation){
        .request = r, .id = *id, .message = message.n > 0 ? bytes_new(buf_str(&message)) : NULL};
    conversations_create(conversations_of(r),
                         &(struct conversation_request){
                             .id = *id,
                             .agent = agent,
                             .working_dir = buf_str(&dir),
                             .git_init = true,
                             .policy = {.kind = POLICY_NEVER},
                             .initial_message = json_root(first),
                             .max_iterations = MAX_ITERATIONS,
                             .stuck_detection = true,
                             .autotitle = true,
                             .origin = json_root(origin),
                         },
                         created, cr);
}

static void new_conversation(struct request *r, const void *argsp)
{
    const struct create_body *body = argsp;
    struct uuid id = {{0}};
    if (!check_id(r, body, &id) || !legacy_mcp_check(r, body->mcp) || !check_support(r, body))
        return;
    autojson agent = make_agent(r, body);
    if (!agent)
        return;
    if (uuid_is_zero(&id))
        id = uuid_random();
    create(r, body, &id, json_root(agent));
}

static const struct route_response create_responses[] = {
    {.status = 200, .description = "A new conversation.", .ref = "ConversationResponse"},
    {.status = 400, .description = "It cannot be made; `msg_id` says why.", .ref = "ConversationError"},
};
static const struct route routes[] = {{
    .method = HTTP_POST_,
    .path = "/api/conversations",
    .handle = new_conversation,
    .summary = "New Conversation",
    .tag = "Conversations",
    .operation = "new_conversation_api_conversations_post",
    .args_size = sizeof(struct create_body),
    .body = &create_schema,
    .responses = create_responses,
    .response_count = ARRAY_LEN(create_responses),
}};
const struct route_table legacy_create_routes = {routes, 1};
