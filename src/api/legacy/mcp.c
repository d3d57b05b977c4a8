/* mcp_config of a new conversation: lists of servers by transport. The agent's form is {name: server}; those that are just
 * addresses here get names of their own. */
#include "api/legacy/create.h"
#include "base/cleanup.h"
#include "mcp/mcp.h"

struct url_server {
    struct str url, key;
};
#define URL_FIELDS                                                                            \
    {                                                                                         \
        {.name = "url",                                                                       \
         .type = FIELD_STR,                                                                   \
         .offset = offsetof(struct url_server, url),                                          \
         .flags = FIELD_REQUIRED,                                                             \
         .doc = "Its address."},                                                              \
        {                                                                                     \
            .name = "api_key", .type = FIELD_STR, .offset = offsetof(struct url_server, key), \
            .doc = "Sent as a bearer token."                                                  \
        }                                                                                     \
    }
static const struct json_field url_fields[] = URL_FIELDS;
static const struct json_schema sse_schema = {
    .name = "MCPSSEServerConfig", .size = sizeof(struct url_server), .fields = url_fields, .count = 2};
static const struct json_schema http_schema = {
    .name = "MCPSHTTPServerConfig", .size = sizeof(struct url_server), .fields = url_fields, .count = 2};

struct stdio_server {
    struct str name, command;
    struct json_list args; /* of struct str */
    const struct json_value *env;
};
#define STDIO(member) .offset = offsetof(struct stdio_server, member)
static const struct json_field stdio_fields[] = {
    {.name = "name", .type = FIELD_STR, STDIO(name), .flags = FIELD_REQUIRED, .doc = "Names its tools."},
    {.name = "command",
     .type = FIELD_STR,
     STDIO(command),
     .flags = FIELD_REQUIRED,
     .doc = "Program that is the server; it runs in the workspace."},
    {.name = "args", .type = FIELD_ARRAY, .item = FIELD_STR, STDIO(args), .doc = "Its arguments."},
    {.name = "env", .type = FIELD_OBJECT, STDIO(env), .doc = "Variables of its environment."},
};
static const struct json_schema stdio_schema = {.name = "MCPStdioServerConfig",
                                                .size = sizeof(struct stdio_server),
                                                .fields = stdio_fields,
                                                .count = ARRAY_LEN(stdio_fields)};

#define MCP(member) .type = FIELD_ARRAY, .offset = offsetof(struct legacy_mcp, member)
static const struct json_field mcp_fields[] = {
    {.name = "sse_servers", MCP(sse), .schema = &sse_schema, .doc = "Servers of the older kind over HTTP."},
    {.name = "stdio_servers", MCP(stdio), .schema = &stdio_schema, .doc = "Servers that are programs."},
    {.name = "shttp_servers", MCP(http), .schema = &http_schema, .doc = "Servers over streamable HTTP."},
};
const struct json_schema legacy_mcp_schema = {
    .name = "MCPConfig",
    .size = sizeof(struct legacy_mcp),
    .fields = mcp_fields,
    .count = ARRAY_LEN(mcp_fields),
    .forbid_extra = true,
};

bool legacy_mcp_check(struct request *r, const struct legacy_mcp *m)
{
    const struct stdio_server *s = m ? m->stdio.items : NULL;
    bool twice = false;
    if (m && m->stdio.n + m->sse.n + m->http.n > MCP_SERVERS_MAX) {
        reply_invalid(r, "mcp_config", "there are too many servers");
        return false;
    }
    for (size_t i = 0; m && i < m->stdio.n; i++)
        for (size_t k = 0; k < i; k++)
            twice |= str_eq(s[i].name, s[k].name);
    if (twice)
        reply_invalid(r, "mcp_config", "two servers have the same name");
    return !twice;
}

static void write_stdio(const struct stdio_server *s, struct json_writer *w)
{
    const struct str *args = s->args.items;
    jw_key_str(w, s->name);
    jw_object(w);
    jw_member_cstr(w, "transport", "stdio");
    jw_member_str(w, "command", s->command);
    jw_key(w, "args");
    jw_array(w);
    for (size_t i = 0; i < s->args.n; i++)
        jw_str(w, args[i]);
    jw_array_end(w);
    if (s->env)
        jw_member_value(w, "env", s->env);
    jw_object_end(w);
}

static bool name_taken(const struct legacy_mcp *m, struct str name)
{
    const struct stdio_server *s = m->stdio.items;
    for (size_t i = 0; i < m->stdio.n; i++)
        if (str_eq(s[i].name, name))
            return true;
    return false;
}

/* Names of their own: sse_1, sse_2 …; past those that a program has. */
static void write_urls(const struct legacy_mcp *m, const struct json_list *list, const char *prefix,
                       const char *transport, struct json_writer *w)
{
    const struct url_server *s = list->items;
    size_t number = 0;
    for (size_t i = 0; i < list->n; i++) {
        autobuf name = {0};
        do {
            buf_clear(&name);
            buf_addf(&name, "%s_%zu", prefix, ++number);
        } while (name_taken(m, buf_str(&name)));
        jw_key_str(w, buf_str(&name));
        jw_object(w);
        jw_member_cstr(w, "transport", transport);
        jw_member_str(w, "url", s[i].url);
        if (s[i].key.n > 0) {
            jw_key(w, "auth");
            jw_object(w);
            jw_member_cstr(w, "strategy", "bearer");
            jw_member_str(w, "value", s[i].key);
            jw_object_end(w);
        }
        jw_object_end(w);
    }
}

void legacy_mcp_write(const struct legacy_mcp *m, struct json_writer *w)
{
    const struct stdio_server *s = m->stdio.items;
    jw_object(w);
    jw_key(w, "mcpServers");
    jw_object(w);
    for (size_t i = 0; i < m->stdio.n; i++)
        write_stdio(&s[i], w);
    write_urls(m, &m->sse, "sse", "sse", w);
    write_urls(m, &m->http, "shttp", "http", w);
    jw_object_end(w);
    jw_object_end(w);
}
