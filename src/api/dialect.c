/* A dialect at work: its routes in one table, and the document that is made of them. */
#include "api/app.h"
#include "base/cleanup.h"
#include "base/clock.h"

static struct bytes *make_openapi(const struct api *a)
{
    autobuf text = {0};
    struct openapi_info info = {
        .title = a->dialect->title,
        .description = a->dialect->description,
        .version = a->dialect->version,
        .key_header = "X-Session-API-Key",
        .server_path = a->config.root_path,
        .components = a->dialect->components,
    };
    while (info.components && info.components[info.component_count].name)
        info.component_count++;
    openapi_write(&info, a->routes, a->route_count, &text);
    return bytes_take(&text);
}

static size_t add_table(struct api *a, size_t at, const struct route_table *table)
{
    memcpy(a->routes + at, table->routes, table->count * sizeof(*a->routes));
    return at + table->count;
}

struct api *api_new(const struct dialect *dialect, const struct api_config *config)
{
    struct api *a = xcalloc(1, sizeof(*a));
    size_t n = 0;
    a->config = *config;
    a->dialect = dialect;
    a->started_ns = clock_mono_ns();
    a->route_count = docs_routes.count;
    for (size_t i = 0; i < dialect->table_count; i++)
        a->route_count += dialect->tables[i]->count;
    a->routes = xcalloc(a->route_count, sizeof(*a->routes));
    n = add_table(a, 0, &docs_routes);
    for (size_t i = 0; i < dialect->table_count; i++)
        n = add_table(a, n, dialect->tables[i]);
    a->openapi = make_openapi(a);
    docs_make(a);
    return a;
}

void api_free(struct api *a)
{
    if (!a)
        return;
    bytes_unref(a->openapi);
    docs_free(a);
    free(a->routes);
    free(a);
}

const struct route *api_routes(const struct api *a, size_t *count)
{
    *count = a->route_count;
    return a->routes;
}
