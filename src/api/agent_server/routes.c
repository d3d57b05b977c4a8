#include "api/agent_server/app.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "net/openapi.h"

#define TITLE "OpenHands Agent Server"

static const struct route_table *const tables[] = {
    &server_routes, &start_routes, &conversation_routes, &control_routes,    &ask_routes,   &event_routes,
    &tool_routes,   &bash_routes,  &git_routes,          &file_routes,       &hook_routes,  &vscode_routes,
    &socket_routes, &docs_routes,  &bash_socket_routes,  &trajectory_routes, &skill_routes, &workspace_routes,
};

static struct bytes *make_openapi(const struct agent_server *a)
{
    autobuf text = {0};
    struct openapi_info info = {
        .title = TITLE,
        .description = "REST and WebSocket interface of a server that runs coding agents.",
        .version = AGENT_SERVER_API_VERSION,
        .key_header = "X-Session-API-Key",
        .components = agent_server_components,
        .component_count = agent_server_component_count,
    };
    openapi_write(&info, a->routes, a->route_count, &text);
    return bytes_take(&text);
}

struct agent_server *agent_server_new(const struct agent_server_config *config)
{
    struct agent_server *a = xcalloc(1, sizeof(*a));
    size_t n = 0;
    a->config = *config;
    a->started_ns = clock_mono_ns();
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        a->route_count += tables[i]->count;
    a->routes = xcalloc(a->route_count, sizeof(*a->routes));
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        memcpy(a->routes + n, tables[i]->routes, tables[i]->count * sizeof(*a->routes));
        n += tables[i]->count;
    }
    a->openapi = make_openapi(a);
    docs_make(a);
    return a;
}

void agent_server_free(struct agent_server *a)
{
    if (!a)
        return;
    bytes_unref(a->openapi);
    docs_free(a);
    free(a->routes);
    free(a);
}

const struct route *agent_server_routes(const struct agent_server *a, size_t *count)
{
    *count = a->route_count;
    return a->routes;
}
