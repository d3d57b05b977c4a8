/* POST /api/conversations: a new conversation, or one that is there already. */
#include "agent/analyzer/analyzer.h"
#include "api/agent_server/app.h"
#include "api/agent_server/start.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/utf8.h"

#define WORKING_DIR_MAX 4096 /* bytes: PATH_MAX */
#define SUFFIX_MAX 32768     /* characters, of agent_launch_additions */
#define SPAN_NAME_MAX 128
#define TAGS_MAX 100               /* per conversation */
#define TAG_VALUE_MAX 256          /* characters */
#define SECRETS_MAX 1000           /* per request */
#define SECRET_NAME_MAX 256        /* bytes */
#define SECRET_VALUE_MAX (1 << 20) /* bytes */
#define MAX_ITERATIONS 500
/* Bytes of JSON of the agent, and of each other part that is kept with a conversation: every answer that shows the
 * conversation has it. */
#define PART_BYTES_MAX (2 * 1024 * 1024)

/* ---- the request ---- */

static const struct json_field workspace_fields[] = {
    {.name = "working_dir",
     .type = FIELD_STR,
     .offset = offsetof(struct start_workspace, working_dir),
     .flags = FIELD_REQUIRED,
     .min = 1,
     .max = WORKING_DIR_MAX,
     .doc = "Directory that the agent works in; made if it is missing."},
    {.name = "kind",
     .type = FIELD_STR,
     .offset = offsetof(struct start_workspace, kind),
     .default_str = "LocalWorkspace",
     .doc = "LocalWorkspace."},
    {.name = "git_init",
     .type = FIELD_BOOL,
     .offset = offsetof(struct start_workspace, git_init),
     .default_int = 1,
     .doc = "Make the directory a git repository, if it lies in none."},
};
static const struct json_schema workspace_schema = {
    .name = "LocalWorkspace",
    .size = sizeof(struct start_workspace),
    .fields = workspace_fields,
    .count = sizeof(workspace_fields) / sizeof(workspace_fields[0]),
};

static const struct json_field additions_fields[] = {
    {.name = "system_message_suffix_append",
     .type = FIELD_STR,
     .offset = offsetof(struct start_additions, suffix),
     .min = 0,
     .max = SUFFIX_MAX,
     .doc = "Text put behind the agent's system message suffix."},
};
static const struct json_schema additions_schema = {
    .name = "AgentLaunchAdditions",
    .size = sizeof(struct start_additions),
    .fields = additions_fields,
    .count = 1,
    .forbid_extra = true,
};

#define AT(member) .offset = offsetof(struct start_args, member)
static const struct json_field start_fields[] = {
    {.name = "workspace",
     .type = FIELD_OBJECT,
     AT(workspace),
     .flags = FIELD_REQUIRED,
     .schema = &workspace_schema,
     .doc = "Where the agent works."},
    {.name = "agent",
     .type = FIELD_OBJECT,
     AT(agent_checked),
     .schema = &agent_schema,
     .doc = "The agent: its model, tools and prompt parts."},
    {.name = "agent_settings",
     .type = FIELD_OBJECT,
     AT(settings_checked),
     .schema = &settings_schema,
     .doc = "Settings that an agent is made from, in place of `agent`."},
    {.name = "agent_profile_id",
     .type = FIELD_UUID,
     AT(agent_profile_id),
     .given = offsetof(struct start_args, has_profile),
     .doc = "A stored agent profile, in place of the other two."},
    {.name = "conversation_id",
     .type = FIELD_UUID,
     AT(conversation_id),
     .doc = "Id for it; if it exists, that conversation is the answer."},
    {.name = "parent_conversation_id",
     .type = FIELD_UUID,
     AT(parent),
     .given = offsetof(struct start_args, has_parent),
     .doc = "The conversation that this one belongs to."},
    {.name = "worktree", .type = FIELD_BOOL, AT(worktree), .doc = "Work in a git worktree of its own."},
    {.name = "confirmation_policy",
     .type = FIELD_OBJECT,
     AT(confirmation_policy),
     .doc = "When to ask before acting; {\"kind\": \"NeverConfirm\"} by default."},
    {.name = "security_analyzer",
     .type = FIELD_OBJECT,
     AT(security_analyzer),
     .doc = "Who judges an action's risk."},
    {.name = "initial_message",
     .type = FIELD_OBJECT,
     AT(initial_message),
     .doc = "A first message; the agent starts to work on it at once."},
    {.name = "max_iterations",
     .type = FIELD_INT,
     AT(max_iterations),
     .default_int = MAX_ITERATIONS,
     .min = 1,
     .max = INT64_MAX,
     .doc = "Most steps of one run."},
    {.name = "stuck_detection",
     .type = FIELD_BOOL,
     AT(stuck_detection),
     .default_int = 1,
     .doc = "End a run that goes in circles."},
    {.name = "secrets",
     .type = FIELD_OBJECT,
     AT(secrets),
     .doc =
         "Names and values (or sources of values) that the agent's commands get as environment variables."},
    {.name = "secrets_encrypted",
     .type = FIELD_BOOL,
     AT(secrets_encrypted),
     .doc = "Secrets inside the agent are tokens of this server."},
    {.name = "tool_module_qualnames", .type = FIELD_OBJECT, AT(ignored), .doc = "Accepted and not used."},
    {.name = "client_tools",
     .type = FIELD_ANY,
     AT(client_tools),
     .doc = "Tools that the client carries out.",
     .json_schema = "{\"type\":\"array\",\"items\":{\"type\":\"object\"}}"},
    {.name = "agent_definitions",
     .type = FIELD_ANY,
     AT(agent_definitions),
     .doc = "Definitions of sub-agents.",
     .json_schema = "{\"type\":\"array\",\"items\":{\"type\":\"object\"}}"},
    {.name = "plugins",
     .type = FIELD_ANY,
     AT(plugins),
     .doc = "Plugins to load.",
     .json_schema = "{\"type\":\"array\",\"items\":{\"type\":\"object\"}}"},
    {.name = "hook_config",
     .type = FIELD_OBJECT,
     AT(hook_config),
     .doc = "Commands to run at certain moments."},
    {.name = "agent_launch_additions",
     .type = FIELD_OBJECT,
     AT(additions),
     .schema = &additions_schema,
     .doc = "What this deployment adds to the agent."},
    {.name = "tags", .type = FIELD_OBJECT, AT(tags), .doc = "Short texts by lower-case names."},
    {.name = "user_id", .type = FIELD_STR, AT(user_id), .doc = "Accepted and not used."},
    {.name = "observability_metadata", .type = FIELD_OBJECT, AT(ignored), .doc = "Accepted and not used."},
    {.name = "observability_tags",
     .type = FIELD_ANY,
     AT(observability_tags),
     .doc = "Accepted and not used.",
     .json_schema = "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}"},
    {.name = "observability_span_name",
     .type = FIELD_STR,
     AT(span_name),
     .default_str = "conversation",
     .min = 1,
     .max = SPAN_NAME_MAX,
     .doc = "Accepted and not used."},
    {.name = "autotitle",
     .type = FIELD_BOOL,
     AT(autotitle),
     .default_int = 1,
     .doc = "Make a title from the first message."},
    {.name = "title_llm_profile", .type = FIELD_STR, AT(title_llm_profile), .doc = "Accepted and not used."},
};
static const struct json_schema start_schema = {
    .name = "StartConversationRequest",
    .size = sizeof(struct start_args),
    .fields = start_fields,
    .count = sizeof(start_fields) / sizeof(start_fields[0]),
};

/* ---- checks that a table cannot express ---- */

struct check {
    struct json_problems *problems;
    struct json_path body;
    bool ok;
};

static void wrong(struct check *c, const char *field, const struct json_value *value, const char *type,
                  const char *message)
{
    struct json_path path = {.parent = &c->body, .name = str_from(field)};
    json_problem_at(c->problems, &path, type, str_from(message), &(struct json_input){.value = value},
                    STR_NONE);
    c->ok = false;
}

static void check_list(struct check *c, const char *field, const struct json_value *v, enum json_type item,
                       const char *type, const char *message)
{
    struct json_path path = {.parent = &c->body, .name = str_from(field)};
    if (json_is_null(v))
        return;
    if (json_type(v) != JSON_ARRAY) {
        wrong(c, field, v, "list_type", "Input should be a list");
        return;
    }
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        struct json_path one = {.parent = &path, .index = it.index};
        if (json_type(it.value) == item)
            continue;
        json_problem_at(c->problems, &one, type, str_from(message), &(struct json_input){.value = it.value},
                        STR_NONE);
        c->ok = false;
    }
}

bool tags_check(const struct json_value *tags, const struct json_path *body, struct json_problems *problems)
{
    struct json_path path = {.parent = body, .name = STR("tags")};
    bool ok = true;
    if (json_count(tags) > TAGS_MAX) {
        problem_value(problems, &path, NULL, "there are more than 100 tags");
        return false;
    }
    for (struct json_iter it = json_iter(tags); json_next(&it);) {
        struct json_path one = {.parent = &path, .name = it.key};
        bool good = it.key.n > 0 && it.key.n <= TAG_VALUE_MAX;
        for (size_t i = 0; i < it.key.n; i++)
            good &= (it.key.p[i] >= 'a' && it.key.p[i] <= 'z') || (it.key.p[i] >= '0' && it.key.p[i] <= '9');
        if (!good)
            problem_value(problems, &one, it.value, "a tag's name consists of lower-case letters and digits");
        else if (json_type(it.value) != JSON_STRING)
            json_problem_at(problems, &one, "string_type", STR("Input should be a string"),
                            &(struct json_input){.value = it.value}, STR_NONE);
        else if (utf8_count(json_str(it.value)) > TAG_VALUE_MAX)
            problem_value(problems, &one, it.value, "a tag's value has at most 256 characters");
        else
            continue;
        ok = false;
    }
    return ok;
}

static bool check_secret(const struct json_value *v, const struct json_path *path,
                         struct json_problems *problems)
{
    enum json_type type = json_type(v);
    struct str text = type == JSON_OBJECT ? json_get_str(v, "value") : json_str(v);
    const struct json_value *value = json_get(v, "value");
    struct str kind = json_get_str(v, "kind");
    if (type != JSON_OBJECT && type != JSON_STRING && type != JSON_NULL)
        problem_value(problems, path, v,
                      "a secret is a text or an object that says where its value comes from");
    else if (text.n > SECRET_VALUE_MAX)
        problem_value(problems, path, NULL, "a secret has at most 1 MiB");
    else if (kind.p && !str_is(kind, "StaticSecret") && !str_is(kind, "LookupSecret"))
        json_problem_at(problems, path, "union_tag_invalid",
                        STR("Input tag 'kind' should be 'StaticSecret' or 'LookupSecret'"), NULL, STR_NONE);
    else if (!json_is_null(value) && json_type(value) != JSON_STRING)
        problem_value(problems, path, v, "a secret's value is a text");
    else if (kind.p && str_is(kind, "LookupSecret") && !json_get_str(v, "url").p)
        problem_value(problems, path, v, "a LookupSecret needs a url");
    else
        return true;
    return false;
}

bool secrets_check(const struct json_value *secrets, const struct json_path *body,
                   struct json_problems *problems)
{
    struct json_path path = {.parent = body, .name = STR("secrets")};
    bool ok = true;
    if (json_count(secrets) > SECRETS_MAX) {
        problem_value(problems, &path, NULL, "there are more than 1000 secrets");
        return false;
    }
    for (struct json_iter it = json_iter(secrets); json_next(&it);) {
        struct json_path one = {.parent = &path, .name = it.key};
        if (it.key.n == 0 || it.key.n > SECRET_NAME_MAX || str_find_char(it.key, '=') >= 0 ||
            str_find_char(it.key, '\0') >= 0) {
            problem_value(problems, &path, NULL, "a secret's name has 1 to 256 bytes, without = and NUL");
            ok = false;
        } else {
            ok &= check_secret(it.value, &one, problems);
        }
    }
    return ok;
}

bool analyzer_check(const struct json_value *v, const struct json_path *path, struct json_problems *problems)
{
    autoerr e = NULL;
    struct analyzer *analyzer = json_is_null(v) ? NULL : analyzer_new(v, &e);
    analyzer_free(analyzer);
    if (!e)
        return true;
    if (e->code)
        json_problem_at(problems, path, "union_tag_invalid", str_from(err_text(e)),
                        &(struct json_input){.value = v}, STR_NONE);
    else
        problem_value(problems, path, v, err_text(e));
    return false;
}

static void check_who(struct check *c, const struct start_args *args, const struct json_value *request)
{
    const struct json_value *kind = json_get(json_get(request, "agent"), "kind");
    const struct json_value *settings_kind = json_get(json_get(request, "agent_settings"), "agent_kind");
    if (args->has_profile && (args->agent_checked || args->settings_checked)) {
        problem_value(c->problems, &c->body, NULL,
                      "`agent_profile_id` is mutually exclusive with `agent` and `agent_settings`");
        c->ok = false;
    } else if (args->has_profile) {
        wrong(c, "agent_profile_id", NULL, "value_error",
              "Value error, this server stores no agent profiles");
    } else if (args->agent_checked) {
        if (!json_is_null(kind) && !str_is(json_str(kind), "Agent"))
            wrong(c, "agent", kind, "union_tag_invalid", "Input tag 'kind' should be 'Agent'");
    } else if (!args->settings_checked) {
        problem_value(c->problems, &c->body, NULL,
                      "One of `agent`, `agent_settings`, or `agent_profile_id` must be provided");
        c->ok = false;
    } else if (!json_is_null(settings_kind) && !str_is(json_str(settings_kind), "openhands")) {
        wrong(c, "agent_settings", settings_kind, "union_tag_invalid",
              "Input tag 'agent_kind' should be 'openhands': this server runs no other agents");
    }
}

static void check_texts(struct check *c, const struct start_args *args)
{
    struct str name = args->span_name;
    bool good = true;
    for (size_t i = 0; i < name.n; i++)
        good &= str_find_char(STR("._:/-"), name.p[i]) >= 0 || (name.p[i] >= '0' && name.p[i] <= '9') ||
                (name.p[i] >= 'A' && name.p[i] <= 'Z') || (name.p[i] >= 'a' && name.p[i] <= 'z');
    if (!good)
        wrong(c, "observability_span_name", NULL, "string_pattern_mismatch",
              "String should consist of letters, digits and . _ : / -");
    if (!str_is(args->workspace->kind, "LocalWorkspace"))
        wrong(c, "workspace", NULL, "literal_error", "Input should be of kind 'LocalWorkspace'");
    if (str_find_char(args->workspace->working_dir, '\0') >= 0)
        wrong(c, "workspace", NULL, "value_error", "Value error, a path has no NUL");
}

static void check_sizes(struct check *c, struct request *r)
{
    static const char *const parts[] = {"agent", "agent_settings", "client_tools", "hook_config", "plugins"};
    if (request_body(r).n <= PART_BYTES_MAX)
        return;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        autobuf text = {0};
        const struct json_value *part = json_get(request_json(r), parts[i]);
        if (part)
            json_add(&text, part);
        if (text.n > PART_BYTES_MAX)
            wrong(c, parts[i], NULL, "too_long", "This has more than 2 MiB of JSON, the most there may be");
    }
}

static void start_check(struct check *c, const struct start_args *args, const struct json_value *request,
                        struct policy *policy, struct buf *message)
{
    struct json_path path = {.parent = &c->body, .name = STR("security_analyzer")};
    check_who(c, args, request);
    if (args->secrets_encrypted)
        wrong(c, "secrets_encrypted", NULL, "value_error",
              "Value error, this server hands out no encrypted secrets");
    check_texts(c, args);
    check_list(c, "client_tools", args->client_tools, JSON_OBJECT, "model_attributes_type",
               "Input should be an object");
    check_list(c, "agent_definitions", args->agent_definitions, JSON_OBJECT, "model_attributes_type",
               "Input should be an object");
    check_list(c, "plugins", args->plugins, JSON_OBJECT, "model_attributes_type",
               "Input should be an object");
    check_list(c, "observability_tags", args->observability_tags, JSON_STRING, "string_type",
               "Input should be a string");
    c->ok &= analyzer_check(args->security_analyzer, &path, c->problems);
    c->ok &= tags_check(args->tags, &c->body, c->problems);
    c->ok &= secrets_check(args->secrets, &c->body, c->problems);
    path.name = STR("hook_config");
    struct hook_config *hooks =
        args->hook_config ? hook_config_new(args->hook_config, &path, c->problems) : NULL;
    c->ok &= hooks || !args->hook_config;
    hook_config_free(hooks);
    path.name = STR("initial_message");
    if (args->initial_message)
        c->ok &= message_decode(args->initial_message, &path, false, c->problems, message);
    if (args->confirmation_policy)
        c->ok &= policy_decode(args->confirmation_policy, "body", policy, c->problems);
}

/* ---- handling ---- */

static void started(void *arg, struct conversation *c, bool created, const struct err *e)
{
    struct request *r = arg;
    if (!c) {
        if (e->kind == ERR_INVALID)
            reply_invalid(r, "agent", err_text(e));
        else
            request_reply_error(r, e);
        return;
    }
    request_reply_bytes(r, created ? 201 : 200, "application/json", conversation_info(c));
    conversation_unref(c);
}

static bool parent_exists(struct request *r, const struct start_args *args)
{
    autoerr e = NULL;
    int64_t number;
    if (!args->has_parent || conversations_number(conversations_of(r), &args->parent, &number, &e))
        return true;
    if (e->kind == ERR_NOT_FOUND)
        reply_invalid(r, "parent_conversation_id", "there is no such conversation");
    else
        request_reply_error(r, e);
    return false;
}

static void start_conversation(struct request *r, const void *argsp)
{
    const struct start_args *args = argsp;
    struct json_problems problems = {.arena = request_arena(r)};
    struct check check = {.problems = &problems, .body = {.name = STR("body")}, .ok = true};
    struct policy policy = {.kind = POLICY_NEVER};
    autobuf message = {0};
    const struct json_value *request = request_json(r);
    check_sizes(&check, r);
    start_check(&check, args, request, &policy, &message);
    if (!check.ok) {
        request_reply_problems(r, &problems);
        return;
    }
    if (message.n > CONVERSATION_MESSAGE_MAX) {
        request_reply_detail(r, 413, MESSAGE_TOO_LONG);
        return;
    }
    if (!parent_exists(r, args))
        return;
    autojson message_doc = args->initial_message ? json_parse_trusted(buf_str(&message), NULL) : NULL;
    const struct json_value *agent = args->agent_checked ? json_get(request, "agent") : NULL;
    struct str suffix = args->additions ? args->additions->suffix : STR_NONE;
    autojson agent_doc = agent_make(suffix, agent, agent ? NULL : json_get(request, "agent_settings"));
    autobuf working_dir = {0};
    path_join(&working_dir, app_of(r)->config.working_dir, args->workspace->working_dir);
    conversations_create(conversations_of(r),
                         &(struct conversation_request){
                             .id = args->conversation_id,
                             .agent = agent_doc ? json_root(agent_doc) : agent,
                             .working_dir = buf_str(&working_dir),
                             .git_init = args->workspace->git_init,
                             .worktree = args->worktree,
                             .policy = policy,
                             .security_analyzer = args->security_analyzer,
                             .initial_message = json_root(message_doc),
                             .max_iterations = args->max_iterations,
                             .stuck_detection = args->stuck_detection,
                             .autotitle = args->autotitle,
                             .secrets = args->secrets,
                             .tags = args->tags,
                             .hook_config = args->hook_config,
                             .client_tools = args->client_tools,
                             .plugins = args->plugins,
                             .parent = args->has_parent ? &args->parent : NULL,
                         },
                         started, r);
}

static const struct route_response start_responses[] = {
    {.status = 201, .description = "A new conversation.", .ref = "ConversationInfo"},
    {.status = 200, .description = "One with this id was there already.", .ref = "ConversationInfo"},
};
static const struct route routes[] = {{
    .method = HTTP_POST_,
    .path = "/api/conversations",
    .handle = start_conversation,
    .summary = "Start a conversation, or attach to the one with the given id",
    .tag = "Conversations",
    .operation = "start_conversation_api_conversations_post",
    .args_size = sizeof(struct start_args),
    .body = &start_schema,
    .responses = start_responses,
    .response_count = 2,
}};
const struct route_table start_routes = {routes, 1};
