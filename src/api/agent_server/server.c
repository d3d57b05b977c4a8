/* The server itself: probes, facts about it. None of these needs a key. */
#include "agent/tool.h"
#include "api/agent_server/app.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define TITLE "OpenHands Agent Server" /* marker: clients and tests look for it */

static void get_ok(struct request *r, const void *args)
{
    (void)args;
    autobuf body = {0};
    buf_add(&body, STR("{\"status\":\"ok\"}"));
    request_reply_json(r, 200, &body);
}

/* It listens only once everything is there. */
static void get_ready(struct request *r, const void *args)
{
    (void)args;
    autobuf body = {0};
    buf_add(&body, STR("{\"status\":\"ready\"}"));
    request_reply_json(r, 200, &body);
}

static double seconds_since(uint64_t ns)
{
    uint64_t now = clock_mono_ns();
    return ns && now > ns ? (double)(now - ns) / (double)NS_PER_S : 0;
}

static void write_info(const struct api *a, struct json_writer *w)
{
    uint64_t last = server_last_request_ns(a->config.server);
    jw_object(w);
    jw_member_float(w, "uptime", seconds_since(a->started_ns));
    jw_member_float(w, "idle_time", seconds_since(last ? last : a->started_ns));
    jw_member_cstr(w, "title", TITLE);
    jw_member_cstr(w, "version", AGENT_SERVER_API_VERSION);
    jw_member_cstr(w, "sdk_version", AGENT_SERVER_API_VERSION);
    jw_member_cstr(w, "tools_version", AGENT_SERVER_API_VERSION);
    jw_member_cstr(w, "workspace_version", AGENT_SERVER_API_VERSION);
    jw_member_cstr(w, "build_git_sha", a->config.build_git_sha ? a->config.build_git_sha : "unknown");
    jw_member_cstr(w, "build_git_ref", a->config.build_git_ref ? a->config.build_git_ref : "unknown");
    jw_member_cstr(w, "python_version", "none");
    jw_key(w, "usable_tools");
    jw_array(w);
    for (size_t i = 0; tool_at(i); i++)
        if (!tool_at(i)->is_default && !tool_at(i)->is_automatic)
            jw_cstr(w, tool_at(i)->name);
    jw_array_end(w);
    if (a->config.runtime_idle_timeout_seconds > 0)
        jw_member_float(w, "runtime_idle_timeout_seconds", a->config.runtime_idle_timeout_seconds);
    else
        jw_member_null(w, "runtime_idle_timeout_seconds");
    jw_key(w, "capabilities");
    jw_array(w);
    jw_array_end(w);
    if (a->config.command_max_seconds > 0)
        jw_member_float(w, "max_foreground_terminal_timeout_seconds", a->config.command_max_seconds);
    else
        jw_member_null(w, "max_foreground_terminal_timeout_seconds");
    jw_member_cstr(w, "docs", "/docs");
    jw_member_cstr(w, "redoc", "/redoc");
    jw_member_cstr(w, "server", "handsd " HANDSD_VERSION);
    jw_object_end(w);
}

static void get_info(struct request *r, const void *args)
{
    (void)args;
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    write_info(app_of(r), &w);
    request_reply_json(r, 200, &body);
}

/* ---- the table ---- */

static const struct route_response status_responses[] = {
    {.status = 200,
     .description = "It is well.",
     .ref =
         "{\"type\":\"object\",\"properties\":{\"status\":{\"type\":\"string\"}},\"required\":[\"status\"]}"}};
static const struct route_response info_responses[] = {
    {.status = 200, .description = "Facts about the server.", .ref = "ServerInfo"}};

#define PROBE                                                                                     \
    .tag = "Server Details", .flags = ROUTE_PUBLIC | ROUTE_INLINE, .responses = status_responses, \
    .response_count = 1
#define INFO                                                                                    \
    .tag = "Server Details", .flags = ROUTE_PUBLIC | ROUTE_INLINE, .responses = info_responses, \
    .response_count = 1
static const struct route routes[] = {
    {.method = HTTP_GET_,
     .path = "/alive",
     .handle = get_ok,
     .summary = "Does the process live?",
     .operation = "alive_alive_get",
     PROBE},
    {.method = HTTP_GET_,
     .path = "/health",
     .handle = get_ok,
     .summary = "Is the server well?",
     .operation = "health_health_get",
     PROBE},
    {.method = HTTP_GET_,
     .path = "/ready",
     .handle = get_ready,
     .summary = "Does it take requests?",
     .operation = "ready_ready_get",
     PROBE},
    {.method = HTTP_GET_,
     .path = "/server_info",
     .handle = get_info,
     .summary = "Get facts about the server",
     .operation = "get_server_info_server_info_get",
     INFO},
    {.method = HTTP_GET_,
     .path = "/",
     .handle = get_info,
     .summary = "Get facts about the server",
     .operation = "get_server_info__get",
     INFO},
};
const struct route_table server_routes = {routes, ARRAY_LEN(routes)};
