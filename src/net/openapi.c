#include "net/openapi.h"
#include "base/cleanup.h"
#include "base/vec.h"
#include "net/router.h"

#define VALIDATION_STATUS 422

static const struct openapi_component validation_components[] = {
    {"HTTPValidationError",
     "{\"properties\":{\"detail\":{\"items\":{\"$ref\":\"#/components/schemas/ValidationError\"},\"type\":\"array\","
     "\"title\":\"Detail\"}},\"type\":\"object\",\"title\":\"HTTPValidationError\"}"},
    {"ValidationError",
     "{\"properties\":{\"loc\":{\"items\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]},\"type\":\"array\","
     "\"title\":\"Location\"},\"msg\":{\"type\":\"string\",\"title\":\"Message\"},\"type\":{\"type\":\"string\","
     "\"title\":\"Error Type\"}},\"type\":\"object\",\"required\":[\"loc\",\"msg\",\"type\"],\"title\":\"ValidationError\"}"},
};

struct document {
    struct json_writer w;
    const struct openapi_info *info;
    VEC(const struct json_schema *) schemas; /* each once, in order of use */
};

static bool is_shown(const struct route *route)
{
    return !(route->flags & (ROUTE_HIDDEN | ROUTE_SOCKET));
}

static void schema_ref(struct document *d, const char *name)
{
    autobuf path = {0};
    buf_addf(&path, "#/components/schemas/%s", name);
    jw_object(&d->w);
    jw_member_str(&d->w, "$ref", buf_str(&path));
    jw_object_end(&d->w);
}

/* A reference, and a note to write the component at the end. Schemas without a name stand in place. */
static void schema_use(struct document *d, const struct json_schema *schema)
{
    if (!schema->name) {
        json_schema_write(schema, &d->w);
        return;
    }
    bool known = false;
    for (size_t i = 0; i < d->schemas.n; i++)
        known |= strcmp(d->schemas.at[i]->name, schema->name) == 0;
    if (!known)
        vec_push(&d->schemas, schema);
    schema_ref(d, schema->name);
}

static void content_write(struct document *d, const char *type, const struct json_schema *schema,
                          const char *ref)
{
    struct json_writer *w = &d->w;
    jw_key(w, "content");
    jw_object(w);
    jw_key(w, type);
    jw_object(w);
    jw_key(w, "schema");
    if (schema)
        schema_use(d, schema);
    else if (ref && ref[0] == '{')
        jw_raw(w, str_from(ref));
    else if (ref)
        schema_ref(d, ref);
    else
        jw_raw(w, STR("{}"));
    jw_object_end(w);
    jw_object_end(w);
}

static void parameters_write(struct document *d, const struct json_field *fields, size_t count,
                             const char *in)
{
    struct json_writer *w = &d->w;
    for (size_t i = 0; i < count; i++) {
        jw_object(w);
        jw_member_cstr(w, "name", fields[i].name);
        jw_member_cstr(w, "in", in);
        jw_member_bool(w, "required", strcmp(in, "path") == 0 || (fields[i].flags & FIELD_REQUIRED));
        if (fields[i].doc)
            jw_member_cstr(w, "description", fields[i].doc);
        jw_key(w, "schema");
        json_field_schema_write(&fields[i], w);
        jw_object_end(w);
    }
}

static void body_write(struct document *d, const struct route *route)
{
    struct json_writer *w = &d->w;
    bool raw = (route->flags & (ROUTE_RAW_BODY | ROUTE_STREAM_BODY)) != 0;
    if (!route->body && !raw && !(route->flags & ROUTE_BODY_ANY_JSON))
        return;
    const char *type = route->body_type ? route->body_type
                       : raw            ? "application/octet-stream"
                                        : "application/json";
    jw_key(w, "requestBody");
    jw_object(w);
    if (route->body && !(route->flags & ROUTE_BODY_OPTIONAL))
        jw_member_bool(w, "required", true);
    content_write(d, type, route->body, NULL);
    jw_object_end(w);
}

static void response_write(struct document *d, int status, const char *description, const char *content_type,
                           const struct json_schema *schema, const char *ref)
{
    struct json_writer *w = &d->w;
    autobuf key = {0};
    buf_addf(&key, "%d", status);
    jw_key_str(w, buf_str(&key));
    jw_object(w);
    jw_member_cstr(w, "description", description);
    if (content_type)
        content_write(d, content_type, schema, ref);
    jw_object_end(w);
}

static void responses_write(struct document *d, const struct route *route)
{
    struct json_writer *w = &d->w;
    bool validates =
        route->path_count + route->query_count > 0 || route->body || (route->flags & ROUTE_BODY_ANY_JSON);
    bool described = false;
    jw_key(w, "responses");
    jw_object(w);
    for (size_t i = 0; i < route->response_count; i++) {
        const struct route_response *r = &route->responses[i];
        bool success = r->status >= 200 && r->status < 300;
        bool with_content = r->schema || r->ref || (success && r->status != 204);
        const char *type = r->content_type ? r->content_type : "application/json";
        response_write(d, r->status, r->description ? r->description : "Successful Response",
                       with_content ? type : NULL, r->schema, r->ref);
        described |= success;
        validates = validates && r->status != VALIDATION_STATUS;
    }
    if (!described)
        response_write(d, 200, "Successful Response", "application/json", NULL, NULL);
    if (validates)
        response_write(d, VALIDATION_STATUS, "Validation Error", "application/json", NULL,
                       "HTTPValidationError");
    jw_object_end(w);
}

static void operation_write(struct document *d, const struct route *route)
{
    static const char *const names[HTTP_METHODS] = {"get", "post", "put", "patch", "delete"};
    struct json_writer *w = &d->w;
    jw_key(w, names[route->method]);
    jw_object(w);
    if (route->tag) {
        jw_key(w, "tags");
        jw_array(w);
        jw_cstr(w, route->tag);
        jw_array_end(w);
    }
    if (route->summary)
        jw_member_cstr(w, "summary", route->summary);
    if (route->operation)
        jw_member_cstr(w, "operationId", route->operation);
    if (route->path_count + route->query_count > 0) {
        jw_key(w, "parameters");
        jw_array(w);
        parameters_write(d, route->path_fields, route->path_count, "path");
        parameters_write(d, route->query_fields, route->query_count, "query");
        jw_array_end(w);
    }
    body_write(d, route);
    responses_write(d, route);
    if (d->info->key_header && !(route->flags & ROUTE_PUBLIC))
        jw_member_raw(w, "security", STR("[{\"APIKeyHeader\":[]}]"));
    jw_object_end(w);
}

/* "{name:path}" is our router's business. */
static void path_key(struct document *d, const char *path)
{
    autobuf key = {0};
    struct str rest = str_from(path);
    ssize_t at;
    while ((at = str_find(rest, STR(":path}"))) >= 0) {
        buf_add(&key, str_sub(rest, 0, (size_t)at));
        rest = str_sub(rest, (size_t)at + 5, rest.n);
    }
    buf_add(&key, rest);
    jw_key_str(&d->w, buf_str(&key));
}

static void paths_write(struct document *d, const struct route *routes, size_t count)
{
    jw_key(&d->w, "paths");
    jw_object(&d->w);
    for (size_t i = 0; i < count; i++) {
        bool first = is_shown(&routes[i]);
        for (size_t k = 0; k < i; k++)
            first = first && !(is_shown(&routes[k]) && strcmp(routes[k].path, routes[i].path) == 0);
        if (!first)
            continue;
        path_key(d, routes[i].path);
        jw_object(&d->w);
        for (size_t k = i; k < count; k++)
            if (is_shown(&routes[k]) && strcmp(routes[k].path, routes[i].path) == 0)
                operation_write(d, &routes[k]);
        jw_object_end(&d->w);
    }
    jw_object_end(&d->w);
}

static void component_list_write(struct document *d, const struct openapi_component *components, size_t count)
{
    for (size_t i = 0; i < count; i++)
        jw_member_raw(&d->w, components[i].name, str_from(components[i].json));
}

static void components_write(struct document *d)
{
    struct json_writer *w = &d->w;
    jw_key(w, "components");
    jw_object(w);
    jw_key(w, "schemas");
    jw_object(w);
    for (size_t i = 0; i < d->schemas.n; i++) {
        jw_key(w, d->schemas.at[i]->name);
        json_schema_write(d->schemas.at[i], w);
    }
    component_list_write(d, d->info->components, d->info->component_count);
    component_list_write(d, validation_components, ARRAY_LEN(validation_components));
    jw_object_end(w);
    if (d->info->key_header) {
        jw_key(w, "securitySchemes");
        jw_object(w);
        jw_key(w, "APIKeyHeader");
        jw_object(w);
        jw_member_cstr(w, "type", "apiKey");
        jw_member_cstr(w, "in", "header");
        jw_member_cstr(w, "name", d->info->key_header);
        jw_object_end(w);
        jw_object_end(w);
    }
    jw_object_end(w);
}

void openapi_write(const struct openapi_info *info, const struct route *routes, size_t count, struct buf *out)
{
    struct document d = {.w = json_writer(out), .info = info};
    struct json_writer *w = &d.w;
    jw_object(w);
    jw_member_cstr(w, "openapi", "3.1.0");
    jw_key(w, "info");
    jw_object(w);
    jw_member_cstr(w, "title", info->title);
    if (info->description)
        jw_member_cstr(w, "description", info->description);
    jw_member_cstr(w, "version", info->version);
    jw_object_end(w);
    if (info->server_path.n > 0) {
        jw_key(w, "servers");
        jw_array(w);
        jw_object(w);
        jw_member_str(w, "url", info->server_path);
        jw_object_end(w);
        jw_array_end(w);
    }
    paths_write(&d, routes, count);
    components_write(&d);
    jw_object_end(w);
    vec_deinit(&d.schemas);
}
