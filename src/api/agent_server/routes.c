#include "api/agent_server/app.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "net/openapi.h"

#define TITLE "OpenHands Agent Server"

static const struct route_table *const tables[] = {
    &server_routes, &start_routes,       &conversation_routes, &control_routes, &event_routes, &ask_routes,
    &tool_routes,   &bash_routes,        &git_routes,          &file_routes,    &vscode_routes,
    &socket_routes, &bash_socket_routes, &trajectory_routes,
};

static const char *const method_names[HTTP_METHODS] = {
    [HTTP_GET_] = "GET",     [HTTP_POST_] = "POST",     [HTTP_PUT_] = "PUT",
    [HTTP_PATCH_] = "PATCH", [HTTP_DELETE_] = "DELETE",
};

static void add_html(struct buf *out, const char *text)
{
    for (; text && *text; text++) {
        switch (*text) {
        case '<': buf_add(out, STR("&lt;")); break;
        case '>': buf_add(out, STR("&gt;")); break;
        case '&': buf_add(out, STR("&amp;")); break;
        default: buf_add_char(out, *text); break;
        }
    }
}

/* A plain page: what there is, from the same table that routes. */
static struct bytes *make_docs(const struct agent_server *a)
{
    autobuf page = {0};
    const char *tag = "";
    buf_add(
        &page,
        STR("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" TITLE "</title>\n"
            "<style>body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
            "td{padding:.2em 1em .2em 0;vertical-align:top}code{white-space:nowrap}</style></head>\n"
            "<body><h1>" TITLE "</h1>\n<p>handsd " HANDSD_VERSION
            ". The machine-readable description is <a href=\"openapi.json\">openapi.json</a>; where keys are "
            "configured, send one as <code>X-Session-API-Key</code>.</p>\n"));
    for (size_t i = 0; i < a->route_count; i++) {
        const struct route *route = &a->routes[i];
        if (route->flags & ROUTE_HIDDEN)
            continue;
        if (strcmp(tag, route->tag) != 0) {
            if (*tag)
                buf_add(&page, STR("</table>\n"));
            tag = route->tag;
            buf_add(&page, STR("<h2>"));
            add_html(&page, tag);
            buf_add(&page, STR("</h2>\n<table>\n"));
        }
        buf_addf(&page, "<tr><td>%s</td><td><code>",
                 route->flags & ROUTE_SOCKET ? "WebSocket" : method_names[route->method]);
        add_html(&page, route->path);
        buf_add(&page, STR("</code></td><td>"));
        add_html(&page, route->summary);
        buf_add(&page, STR("</td></tr>\n"));
    }
    buf_add(&page, STR("</table></body></html>\n"));
    return bytes_take(&page);
}

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
    a->docs = make_docs(a);
    return a;
}

void agent_server_free(struct agent_server *a)
{
    if (!a)
        return;
    bytes_unref(a->openapi);
    bytes_unref(a->docs);
    free(a->routes);
    free(a);
}

const struct route *agent_server_routes(const struct agent_server *a, size_t *count)
{
    *count = a->route_count;
    return a->routes;
}
