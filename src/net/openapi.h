/* openapi: the OpenAPI 3.1 document of a listener, made from its route table. */
#pragma once
#include "net/server.h"

struct openapi_component {
    const char *name;
    const char *json; /* JSON Schema text */
};
struct openapi_info {
    const char *title, *description, *version;
    struct str server_path;                     /* path below which the routes lie for clients, or STR_NONE */
    const char *key_header;                     /* security scheme, "X-Session-API-Key" */
    const struct openapi_component *components; /* those that no json_schema describes */
    size_t component_count;
};
void openapi_write(const struct openapi_info *info, const struct route *routes, size_t count,
                   struct buf *out);
