#include "api/agent_server/app.h"

static const struct route_table *const tables[] = {
    &server_routes,     &start_routes,     &conversation_routes, &control_routes, &ask_routes,
    &event_routes,      &tool_routes,      &bash_routes,         &git_routes,     &file_routes,
    &hook_routes,       &vscode_routes,    &socket_routes,       &skill_routes,   &bash_socket_routes,
    &trajectory_routes, &workspace_routes,
};

const struct dialect agent_server_dialect = {
    .title = "OpenHands Agent Server", /* marker: clients and tests look for it */
    .version = AGENT_SERVER_API_VERSION,
    .description = "REST and WebSocket interface of a server that runs coding agents.",
    .tables = tables,
    .table_count = ARRAY_LEN(tables),
    .components = agent_server_components,
};
