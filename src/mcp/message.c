#include "mcp/message.h"
#include "base/cleanup.h"
#include "base/utf8.h"

#define TOOL_NAME_MAX 256                 /* bytes */
#define TOOL_DESCRIPTION_MAX (16 * 1024)  /* bytes; the rest is cut */
#define TOOL_SCHEMA_MAX (128 * 1024)      /* bytes; a tool with a larger one is left out */
#define TOOLS_BYTES_MAX (2 * 1024 * 1024) /* of all tools of a server; further ones are left out */
#define CURSOR_MAX 4096                   /* bytes */

/* --- documents --- */

struct mcp_doc *mcp_doc_take(struct json_doc *doc)
{
    struct mcp_doc *d = xcalloc(1, sizeof(*d));
    d->refs = 1;
    d->doc = doc;
    return d;
}

struct mcp_doc *mcp_doc_ref(struct mcp_doc *d)
{
    atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
    return d;
}

void mcp_doc_unref(struct mcp_doc *d)
{
    if (!d || atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) != 1)
        return;
    json_doc_free(d->doc);
    free(d);
}

/* --- messages --- */

static const struct json_value *object_or_none(const struct json_value *v)
{
    return json_type(v) == JSON_OBJECT ? v : NULL;
}

bool mcp_message_decode(const struct json_value *v, struct mcp_message *out, struct err **e)
{
    *out = (struct mcp_message){0};
    if (json_type(v) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "a message is no object");
    if (!str_is(json_get_str(v, "jsonrpc"), "2.0"))
        return err_set(e, ERR_INVALID, "a message is not JSON-RPC 2.0");
    const struct json_value *method = json_get(v, "method"), *id = json_get(v, "id");
    out->id = json_is_null(id) ? NULL : id;
    if (method) {
        out->method = json_str(method);
        out->params = object_or_none(json_get(v, "params"));
        out->kind = out->id ? MCP_REQUEST : MCP_NOTIFICATION;
        if (out->method.n == 0)
            return err_set(e, ERR_INVALID, "a message's method is no text");
        return true;
    }
    out->kind = MCP_RESPONSE;
    out->error = object_or_none(json_get(v, "error"));
    out->result = object_or_none(json_get(v, "result"));
    if (!out->error && !out->result)
        return err_set(e, ERR_INVALID, "a response has neither a result nor an error");
    return true;
}

int64_t mcp_message_number(const struct mcp_message *m)
{
    int64_t number = json_int(m->id, -1);
    if (json_type(m->id) == JSON_STRING && !str_to_i64(json_str(m->id), &number))
        return -1;
    return number > 0 ? number : -1;
}

/* Valid UTF-8 of at most `max` bytes. */
static void text_add(struct buf *out, struct str text, size_t max)
{
    struct str head = str_sub(text, 0, max);
    autobuf valid = {0};
    if (!utf8_valid(text)) {
        utf8_scrub(&valid, head);
        head = buf_str(&valid);
    }
    buf_add(out, utf8_prefix_bytes(text.n > max && valid.n == 0 ? text : head, max));
}

void mcp_error_text(const struct json_value *error, struct buf *out)
{
    struct str message = json_get_str(error, "message");
    if (message.n > 0)
        text_add(out, message, MCP_ERROR_MAX);
    else
        buf_add(out, STR("an error without a message"));
    if (json_type(json_get(error, "code")) == JSON_INT)
        buf_addf(out, " (code %lld)", (long long)json_get_int(error, "code", 0));
}

/* --- tools --- */

struct mcp_tool_list *mcp_tool_list_new(void)
{
    struct mcp_tool_list *l = xcalloc(1, sizeof(*l));
    l->refs = 1;
    l->arena = arena_new();
    return l;
}

struct mcp_tool_list *mcp_tool_list_ref(struct mcp_tool_list *l)
{
    if (l)
        atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

void mcp_tool_list_unref(struct mcp_tool_list *l)
{
    if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    arena_free(l->arena);
    free(l);
}

static bool tool_same(const struct mcp_tool_info *a, const struct mcp_tool_info *b)
{
    return str_eq(a->name, b->name) && str_eq(a->title, b->title) && str_eq(a->description, b->description) &&
           str_eq(a->schema, b->schema) && a->read_only == b->read_only && a->destructive == b->destructive &&
           a->idempotent == b->idempotent && a->open_world == b->open_world;
}

bool mcp_tool_lists_equal(const struct mcp_tool_list *a, const struct mcp_tool_list *b)
{
    if (!a || !b || a->n != b->n)
        return a == b;
    for (size_t i = 0; i < a->n; i++)
        if (!tool_same(&a->at[i], &b->at[i]))
            return false;
    return true;
}

static bool tool_known(const struct mcp_tool_list *list, struct str name)
{
    for (size_t i = 0; i < list->n; i++)
        if (str_eq(list->at[i].name, name))
            return true;
    return false;
}

static void tool_add(struct mcp_tool_list *list, const struct json_value *v)
{
    struct str name = json_get_str(v, "name");
    const struct json_value *schema = json_get(v, "inputSchema"), *hints = json_get(v, "annotations");
    autobuf text = {0}, description = {0};
    if (name.n == 0 || name.n > TOOL_NAME_MAX || json_type(schema) != JSON_OBJECT || tool_known(list, name))
        return;
    json_add(&text, schema);
    text_add(&description, json_get_str(v, "description"), TOOL_DESCRIPTION_MAX);
    size_t bytes = name.n + text.n + description.n;
    if (text.n > TOOL_SCHEMA_MAX || list->bytes + bytes > TOOLS_BYTES_MAX || list->n == MCP_TOOLS_MAX)
        return;
    struct str title = json_get_str(v, "title");
    if (title.n == 0)
        title = json_get_str(hints, "title");
    list->bytes += bytes;
    list->at[list->n++] = (struct mcp_tool_info){
        .name = arena_str(list->arena, name),
        .title = arena_str(list->arena, utf8_prefix_bytes(title, TOOL_NAME_MAX)),
        .description = arena_str(list->arena, buf_str(&description)),
        .schema = arena_str(list->arena, buf_str(&text)),
        .read_only = json_get_bool(hints, "readOnlyHint", false),
        .destructive = json_get_bool(hints, "destructiveHint", true),
        .idempotent = json_get_bool(hints, "idempotentHint", false),
        .open_world = json_get_bool(hints, "openWorldHint", true),
    };
}

bool mcp_tools_add(struct mcp_tool_list *list, const struct json_value *result, struct str *cursor,
                   struct err **e)
{
    const struct json_value *tools = json_get(result, "tools");
    if (json_type(tools) != JSON_ARRAY)
        return err_set(e, ERR_UPSTREAM, "its list of tools is no list");
    for (struct json_iter it = json_iter(tools); json_next(&it);)
        tool_add(list, it.value);
    *cursor = json_get_str(result, "nextCursor");
    if (cursor->n > CURSOR_MAX)
        return err_set(e, ERR_UPSTREAM, "its list of tools has a cursor of more than %d bytes", CURSOR_MAX);
    return true;
}
