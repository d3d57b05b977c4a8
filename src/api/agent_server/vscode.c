/* VS Code and the desktop: where they are, if they are. This server starts neither, so there is no URL. */
#include "api/agent_server/app.h"
#include "base/cleanup.h"

#define OFF " is disabled in configuration"
#define UNAVAILABLE(what, key) \
    "{\"detail\":\"Internal Server Error\",\"exception\":\"503: " what OFF ". Set " key "=true to enable.\"}"

static void reply_text(struct request *r, int status, struct str json)
{
    autobuf body = {0};
    buf_add(&body, json);
    request_reply_json(r, status, &body);
}

static void get_vscode_url(struct request *r, const void *args)
{
    (void)args;
    if (app_of(r)->config.enable_vscode)
        reply_text(r, 200, STR("{\"url\":null}"));
    else
        reply_text(r, 503, STR(UNAVAILABLE("VSCode", "enable_vscode")));
}

static void get_vscode_status(struct request *r, const void *args)
{
    (void)args;
    if (app_of(r)->config.enable_vscode)
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

struct url_args {
    struct str base_url, workspace_dir;
};
#define AT(member) .offset = offsetof(struct url_args, member)
static const struct json_field vscode_fields[] = {
    {.name = "base_url",
     .type = FIELD_STR,
     AT(base_url),
     .default_str = "http://localhost:8001",
     .doc = "Where it can be reached."},
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
    {.status = 200, .description = "Its URL; null where none runs.", .ref = "VSCodeUrlResponse"},
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
     .summary = "Get the URL of VS Code",
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
