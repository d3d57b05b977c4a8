/* /openapi.json, made of the route table; /docs, and /swagger-ui/ in dialects that have it: Swagger UI where its files were found,
 * else a plain list of routes; /redoc: always that list. Everything is our own: the pages work without the internet, and may
 * load nothing from elsewhere. */
#include "api/app.h"
#include "base/cleanup.h"
#include "net/static.h"

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

/* A page without a script: what there is, from the same table that routes. `root`: from the page to where /docs lies. */
static struct bytes *make_list(const struct api *a, const char *root)
{
    autobuf page = {0};
    const char *tag = "";
    buf_addf(&page,
             "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s</title>\n"
             "<style>body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
             "td{padding:.2em 1em .2em 0;vertical-align:top}code{white-space:nowrap}</style></head>\n"
             "<body><h1>%s</h1>\n",
             a->dialect->title, a->dialect->title);
    buf_addf(
        &page,
        "<p>handsd " HANDSD_VERSION
        ". The machine-readable description is <a href=\"%sopenapi.json\">openapi.json</a>; where keys are "
        "configured, send one as <code>X-Session-API-Key</code>.</p>\n",
        root);
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

/* Relative addresses, for servers that lie below a path. */
static struct bytes *make_swagger(const struct api *a, const char *root)
{
    autobuf page = {0};
    buf_addf(
        &page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s</title>\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<link rel=\"icon\" href=\"%sdocs/favicon-32x32.png\">\n"
        "<link rel=\"stylesheet\" href=\"%sdocs/swagger-ui.css\"></head>\n"
        "<body><div id=\"swagger-ui\"></div><noscript>This page needs JavaScript; <a href=\"%sredoc\">the list of "
        "routes</a> does not.</noscript>\n"
        "<script src=\"%sdocs/swagger-ui-bundle.js\"></script>\n<script src=\"%sdocs/begin.js\"></script></body></html>\n",
        a->dialect->title, root, root, root, root, root);
    return bytes_take(&page);
}

/* The document lies beside /docs, whichever page asks for it. */
static const char swagger_begin[] =
    "window.ui = SwaggerUIBundle({url: new URL(\"../openapi.json\", document.currentScript.src).href, dom_id: \"#swagger-ui\", deepLinking: true, "
    "validatorUrl: null});\n";

void docs_make(struct api *a)
{
    bool swagger = static_has(a->config.swagger_files, STR("swagger-ui-bundle.js"));
    a->list = make_list(a, "");
    a->docs = swagger ? make_swagger(a, "") : bytes_ref(a->list);
    a->docs_below = swagger ? make_swagger(a, "../") : make_list(a, "../");
}

void docs_free(struct api *a)
{
    bytes_unref(a->docs);
    bytes_unref(a->docs_below);
    bytes_unref(a->list);
}

/* ---- the routes ---- */

static void page_reply(struct request *r, struct bytes *page)
{
    /* Swagger UI draws some of its icons from data: addresses and styles a few elements in place. */
    request_set_header(r, STR("content-security-policy"),
                       STR("default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
                           "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"));
    request_reply_bytes(r, 200, "text/html; charset=utf-8", page);
}

static void get_openapi(struct request *r, const void *args)
{
    (void)args;
    request_reply_bytes(r, 200, "application/json", bytes_ref(app_of(r)->openapi));
}

static void get_docs(struct request *r, const void *args)
{
    (void)args;
    page_reply(r, bytes_ref(app_of(r)->docs));
}

static void get_docs_below(struct request *r, const void *args)
{
    (void)args;
    page_reply(r, bytes_ref(app_of(r)->docs_below));
}

static void get_list(struct request *r, const void *args)
{
    (void)args;
    page_reply(r, bytes_ref(app_of(r)->list));
}

struct asset_args {
    struct str path;
};
static const struct json_field asset_path[] = {
    {.name = "path", .type = FIELD_STR, .offset = offsetof(struct asset_args, path)}};

static void get_asset(struct request *r, const void *argsp)
{
    const struct asset_args *args = argsp;
    if (!str_is(args->path, "begin.js")) {
        static_reply(app_of(r)->config.swagger_files, r, args->path);
        return;
    }
    autobuf body = {0};
    buf_add_cstr(&body, swagger_begin);
    request_reply(r, 200, media_type_of(args->path), &body);
}

#define PAGE(flag) .flags = ROUTE_PUBLIC | ROUTE_HIDDEN | (flag)
static const struct route routes[] = {
    {.method = HTTP_GET_, .path = "/openapi.json", .handle = get_openapi, PAGE(ROUTE_INLINE)},
    {.method = HTTP_GET_, .path = "/docs", .handle = get_docs, PAGE(ROUTE_INLINE)},
    {.method = HTTP_GET_, .path = "/redoc", .handle = get_list, PAGE(ROUTE_INLINE)},
    {.method = HTTP_GET_,
     .path = "/docs/{path:path}",
     .handle = get_asset,
     PAGE(0),
     .args_size = sizeof(struct asset_args),
     .path_fields = asset_path,
     .path_count = 1},
};
const struct route_table docs_routes = {routes, ARRAY_LEN(routes)};

static const struct route swagger_ui[] = {
    {.method = HTTP_GET_, .path = "/swagger-ui/", .handle = get_docs_below, PAGE(ROUTE_INLINE)},
};
const struct route_table swagger_ui_routes = {swagger_ui, ARRAY_LEN(swagger_ui)};
