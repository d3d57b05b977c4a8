#include "api/legacy/app.h"

static const struct route_table *const tables[] = {
    &legacy_conversation_routes, &legacy_create_routes, &legacy_event_routes,   &legacy_feedback_routes,
    &legacy_file_routes,         &legacy_git_routes,    &legacy_runtime_routes, &legacy_server_routes,
    &legacy_trajectory_routes,   &legacy_upload_routes, &legacy_zip_routes,     &swagger_ui_routes,
};

const struct dialect legacy_dialect = {
    .title = "OpenHands",
    .version = LEGACY_API_VERSION,
    .description = "OpenHands: Code Less, Make More",
    .tables = tables,
    .table_count = ARRAY_LEN(tables),
    .components = legacy_components,
};
