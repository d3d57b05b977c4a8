/* VS Code, which the first request for its URL starts, in the server's own hand; and the desktop, which nothing starts, so that
 * it has no URL. */
#include "api/agent_server/app.h"
#include "api/hand_request.h"
#include "api/vscode_url.h"
#include "base/cleanup.h"
#include "base/log.h"

#define OFF " is disabled in configuration"
#define UNAVAILABLE(what, key) \
    "{\"detail\":\"Internal Server Error\",\"exception\":\"503: " what OFF ". Set " key "=true to enable.\"}"

static void reply_text(struct request *r, int status, struct str json)
{
    autobuf body = {0};
    buf_add(&body, json);
    request_reply_json(r, status, &body);
}

struct url_args {
    struct str base_url, workspace_dir;
};

/* One that cannot be started has no URL either; why is in the log. */
static void show_vscode_url(struct request *r, struct str url, const struct err *e)
{
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    if (e)
        log_warn("there is no URL of VS Code: %s", err_text(e));
    jw_object(&w);
    if (url.p)
        jw_member_str(&w, "url", url);
    else
        jw_member_null(&w, "url");
    jw_object_end(&w);
    request_reply_json(r, 200, &body);
}

static void get_vscode_url(struct request *r, const void *argsp)
{
    const struct url_args *args = argsp;
    const struct api_config *config = &app_of(r)->config;
    const struct hand_spec hand = conversations_own_hand();
    if (!config->enable_vscode)
        reply_text(r, 503, STR(UNAVAILABLE("VSCode", "enable_vscode")));
    else if (effect_allowed(r))
        vscode_url_get(r,
                       &(struct vscode_url){.hand = &hand,
                                            .port = config->vscode_port,
                                            .base_url = args->base_url,
                                            .base_path = config->vscode_base_path,
                                            .folder = hand_request_path(r, args->workspace_dir, false)},
                       show_vscode_url);
}

static void get_vscode_status(struct request *r, const void *args)
{
    (void)args;
    const struct hand_spec hand = conversations_own_hand();
    if (app_of(r)->config.enable_vscode && vscode_runs(app_of(r)->config.vscodes, &hand.id))
        reply_text(r, 200, STR("{\"running\":true,\"enabled\":true}"));
    else if (app_of(r)->config.enable_vscode)
        reply_text(r, 200, STR("{\"running\":false,\"enabled\":true}"));
    else
        reply_text(r, 200, STR("{\"running\":false,\"enabled\":false,\"message\":\"VSCode" OFF "\"}"));
}

static void get_desktop_url(struct request *r, const void *args)
{
    (void)args;
    if (app_of(r)->config.enable_vnc)
        reply_text(r, 200, STR("{\"url\":null}"));
    else
        reply_text(r, 503, STR(UNAVAILABLE("Desktop", "enable_vnc")));
}

/* ---- the table ---- */

#define AT(member) .offset = offsetof(struct url_args, member)
static const struct json_field vscode_fields[] = {
    {.name = "base_url",
     .type = FIELD_STR,
     AT(base_url),
     .doc = "Where clients reach its port; without it, this machine's name for itself and the port."},
    {.name = "workspace_dir",
     .type = FIELD_STR,
     AT(workspace_dir),
     .default_str = "workspace",
     .doc = "The folder that it opens."},
};
static const struct json_field desktop_fields[] = {
    {.name = "base_url",
     .type = FIELD_STR,
     AT(base_url),
     .default_str = "http://localhost:8002",
     .doc = "Where it can be reached."},
};

static const struct route_response vscode_responses[] = {
    {.status = 200,
     .description = "Its URL; null where none is installed or can run.",
     .ref = "VSCodeUrlResponse"},
    {.status = 503, .description = "It is switched off.", .ref = "Error"}};
static const struct route_response status_responses[] = {
    {.status = 200,
     .description = "Whether it runs, and whether it may.",
     .ref =
         "{\"type\":\"object\",\"additionalProperties\":{\"anyOf\":[{\"type\":\"boolean\"},{\"type\":\"string\"}]}}"}};
static const struct route_response desktop_responses[] = {
    {.status = 200, .description = "Its URL; null where none runs.", .ref = "DesktopUrlResponse"},
    {.status = 503, .description = "It is switched off.", .ref = "Error"}};

static const struct route routes[] = {
    {.method = HTTP_GET_,
     .path = "/api/vscode/url",
     .handle = get_vscode_url,
     .summary = "Get the URL of VS Code, which is started",
     .tag = "VSCode",
     .operation = "get_vscode_url_api_vscode_url_get",
     .flags = ROUTE_INLINE,
     .args_size = sizeof(struct url_args),
     .query_fields = vscode_fields,
     .query_count = ARRAY_LEN(vscode_fields),
     .responses = vscode_responses,
     .response_count = ARRAY_LEN(vscode_responses)},
    {.method = HTTP_GET_,
     .path = "/api/vscode/status",
     .handle = get_vscode_status,
     .summary = "Does VS Code run?",
     .tag = "VSCode",
     .operation = "get_vscode_status_api_vscode_status_get",
     .flags = ROUTE_INLINE,
     .responses = status_responses,
     .response_count = ARRAY_LEN(status_responses)},
    {.method = HTTP_GET_,
     .path = "/api/desktop/url",
     .handle = get_desktop_url,
     .summary = "Get the URL of the desktop",
     .tag = "Desktop",
     .operation = "get_desktop_url_api_desktop_url_get",
     .flags = ROUTE_INLINE,
     .args_size = sizeof(struct url_args),
     .query_fields = desktop_fields,
     .query_count = ARRAY_LEN(desktop_fields),
     .responses = desktop_responses,
     .response_count = ARRAY_LEN(desktop_responses)},
};
const struct route_table vscode_routes = {routes, ARRAY_LEN(routes)};
