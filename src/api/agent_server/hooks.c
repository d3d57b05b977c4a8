/* /api/hooks: the hooks that a project brings, read by the hand that serves its directory. They run only in conversations
 * that a client starts with them. */
#include "agent/hook/hook.h"
#include "api/agent_server/app.h"
#include "api/hand_request.h"
#include "base/cleanup.h"

#define READ_TIMEOUT_MS 30000
#define FILE_MAX (1024 * 1024) /* bytes of a hooks.json; a larger one counts as none */
#define FILE_PLACE "/.openhands/hooks.json"

struct hooks_args {
    struct str project_dir;
};

static void reply(struct request *r, const struct hook_config *config)
{
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_member_raw(&w, "hook_config", config ? hook_config_text(config) : STR("null"));
    jw_object_end(&w);
    request_reply_json(r, 200, &body);
}

/* A file that is wrong is none: whoever asks wants to know what would run. */
static void file_read(struct hand_request *h, struct str fields, struct str data)
{
    bool whole = wire_get_int(fields, F_TRUNCATED, 0) == 0;
    autojson doc = whole ? json_parse(data, NULL, NULL) : NULL;
    struct hook_config *config = doc ? hook_config_new(json_root(doc), NULL, NULL) : NULL;
    reply(h->request, config && !hook_config_is_empty(config) ? config : NULL);
    hook_config_free(config);
}

static void no_file(struct hand_request *h, enum wire_status status, struct str message)
{
    (void)status;
    (void)message;
    reply(h->request, NULL);
}

static void get_hooks(struct request *r, const void *argsp)
{
    static const struct hand_answer answer = {
        .timeout_ms = READ_TIMEOUT_MS, .data_max = FILE_MAX, .done = file_read, .refused = no_file};
    const struct hooks_args *args = argsp;
    if (args->project_dir.n == 0 || str_find_char(args->project_dir, '\0') >= 0) {
        reply(r, NULL);
        return;
    }
    autobuf fields = {0}, path = {0};
    struct str dir = hand_request_path(r, args->project_dir, false);
    buf_add(&path, dir);
    buf_add(&path, STR(FILE_PLACE));
    wire_add_str(&fields, F_PATH, buf_str(&path));
    wire_add_int(&fields, F_LIMIT, FILE_MAX);
    hand_request_one(r, args, dir, OP_FILE_READ, &fields, &answer);
}

static const struct json_field fields[] = {{.name = "project_dir",
                                            .type = FIELD_STR,
                                            .offset = offsetof(struct hooks_args, project_dir),
                                            .min = 0,
                                            .max = 4096,
                                            .doc = "The project's directory."}};
static const struct json_schema schema = {
    .name = "HooksRequest", .size = sizeof(struct hooks_args), .fields = fields, .count = 1};
static const struct route_response responses[] = {
    {.status = 200, .description = "What .openhands/hooks.json has, or null.", .ref = "HooksResponse"}};
static const struct route routes[] = {{
    .method = HTTP_POST_,
    .path = "/api/hooks",
    .handle = get_hooks,
    .summary = "The hooks of a project",
    .tag = "Hooks",
    .operation = "get_hooks_api_hooks_post",
    .args_size = sizeof(struct hooks_args),
    .body = &schema,
    .responses = responses,
    .response_count = 1,
}};
const struct route_table hook_routes = {routes, 1};
