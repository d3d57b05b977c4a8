/* Tools of MCP servers: their names and schemas, and one call with what is made of its result. */
#include "agent/mcp_tools.h"
#include "agent/internal.h"
#include "base/utf8.h"
#include "base/vec.h"

#define TEXT_MAX 50000                    /* characters of a result that the model gets; the whole is saved */
#define IMAGES_MAX 16                     /* of one result */
#define IMAGE_BYTES_MAX (6 * 1024 * 1024) /* base64 text of all images of one result */
#define HASH_LENGTH 8

struct mcp_tool {
    struct mcp *mcp;
    size_t server;
    struct str name; /* as the server knows it */
};

struct mcp_toolbox {
    struct mcp *mcp; /* a reference */
    struct arena *arena;
    VEC(const struct tool *) tools;
};

/* --- names --- */

void mcp_name_add(struct buf *out, struct str name)
{
    size_t from = out->n;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                    c == '-';
        buf_add_char(out, fine ? c : '_');
    }
    if (out->n - from <= MCP_NAME_SHOWN_MAX)
        return;
    /* The end tells apart what begins alike; the same in every process. */
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < name.n; i++)
        hash = (hash ^ (unsigned char)name.p[i]) * 16777619u;
    buf_truncate(out, from + MCP_NAME_SHOWN_MAX - HASH_LENGTH - 1);
    buf_addf(out, "_%08x", hash);
}

static struct str shown_name(const struct mcp_toolbox *b, size_t server, struct str name)
{
    autobuf whole = {0}, out = {0};
    if (mcp_count(b->mcp) > 1)
        buf_addf(&whole, "%.*s_", STR_ARG(mcp_name(b->mcp, server)));
    buf_add(&whole, name);
    mcp_name_add(&out, buf_str(&whole));
    return arena_str(b->arena, buf_str(&out));
}

/* --- a result --- */

struct outcome {
    struct buf text;
    unsigned images;
    struct tool_result *result;
};

static void paragraph(struct outcome *o, struct str text)
{
    if (o->text.n > 0 && text.n > 0)
        buf_add_char(&o->text, '\n');
    buf_add(&o->text, text);
}

static void remark(struct outcome *o, const char *what, struct str of, struct str mime)
{
    autobuf text = {0};
    buf_addf(&text, "[%s", what);
    if (of.n > 0)
        buf_addf(&text, " %.*s", STR_ARG(of));
    if (mime.n > 0)
        buf_addf(&text, " (%.*s)", STR_ARG(mime));
    buf_add_char(&text, ']');
    paragraph(o, buf_str(&text));
}

static bool is_base64(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
              c == '/' || c == '='))
            return false;
    }
    return s.n > 0;
}

static void image_add(struct outcome *o, struct str data, struct str mime)
{
    static const char *const kinds[] = {"image/png", "image/jpeg", "image/gif", "image/webp"};
    struct buf *images = &o->result->image;
    size_t i = 0;
    while (i < ARRAY_LEN(kinds) && !str_is(mime, kinds[i]))
        i++;
    if (i == ARRAY_LEN(kinds) || !is_base64(data))
        return remark(o, "an image that cannot be shown", STR_NONE, mime);
    if (o->images == IMAGES_MAX || images->n + data.n > IMAGE_BYTES_MAX)
        return remark(o, "an image was left out: the result has too many or too large ones", STR_NONE, mime);
    o->images++;
    buf_addf(images, "%sdata:%s;base64,", images->n ? "\n" : "", kinds[i]);
    buf_add(images, data);
}

static void resource_add(struct outcome *o, const struct json_value *resource)
{
    struct str text = json_get_str(resource, "text"), uri = json_get_str(resource, "uri");
    struct str mime = json_get_str(resource, "mimeType"), blob = json_get_str(resource, "blob");
    if (text.p) {
        remark(o, "resource", uri, mime);
        paragraph(o, text);
    } else if (str_starts(mime, STR("image/"))) {
        image_add(o, blob, mime);
    } else {
        remark(o, "a resource that is no text was left out:", uri, mime);
    }
}

static void block_add(struct outcome *o, const struct json_value *block)
{
    struct str type = json_get_str(block, "type"), mime = json_get_str(block, "mimeType");
    if (str_is(type, "text"))
        paragraph(o, json_get_str(block, "text"));
    else if (str_is(type, "image"))
        image_add(o, json_get_str(block, "data"), mime);
    else if (str_is(type, "resource"))
        resource_add(o, json_get(block, "resource"));
    else if (str_is(type, "resource_link"))
        remark(o, "resource at", json_get_str(block, "uri"), json_get_str(block, "name"));
    else
        remark(o, "content that cannot be shown was left out", STR_NONE, mime);
}

static void result_read(const struct json_value *answer, struct outcome *o)
{
    const struct json_value *content = json_get(answer, "content");
    const struct json_value *structured = json_get(answer, "structuredContent");
    o->result->is_error = json_get_bool(answer, "isError", false);
    for (struct json_iter it = json_iter(json_type(content) == JSON_ARRAY ? content : NULL); json_next(&it);)
        block_add(o, it.value);
    if (o->text.n == 0 && o->images == 0 && !json_is_null(structured))
        json_add(&o->text, structured);
    if (o->text.n == 0 && o->images == 0)
        buf_add(&o->text, STR("(The tool answered nothing.)"));
}

/* Masked as a whole before it is cut; what is cut is saved on the hand's side first, unless somebody
 * interrupts: the tool has run, and its result counts all the same. */
static void text_give(const struct tool_run *run, struct str text, struct buf *out)
{
    struct str whole = tool_masked(run, text);
    autobuf dir = {0}, name = {0}, notice = {0};
    autoerr why = NULL;
    char id[UUID_HEX_LEN + 1];
    if (whole.n <= TEXT_MAX || utf8_count(whole) <= TEXT_MAX) {
        buf_add(out, whole);
        return;
    }
    buf_addf(&name, "mcp_output_%.*s.txt", STR_ARG(str_sub(uuid_hex(&run->action_id, id), 0, 8)));
    bool saved = output_keep(run, buf_str(&name), whole, &dir, &why);
    buf_add(&notice, STR("\n[… the result is too long and was clipped here"));
    if (saved)
        buf_addf(&notice, "; all of it is in %.*s/%.*s", STR_ARG(buf_str(&dir)), STR_ARG(buf_str(&name)));
    buf_add(&notice, STR(" …]\n"));
    text_cut_middle(whole, TEXT_MAX, buf_str(&notice), out);
}

/* --- a call --- */

struct str mcp_secret(const void *mask, struct str name)
{
    for (size_t i = 0; i < mask_count(mask); i++)
        if (str_eq(mask_name(mask, i), name) && mask_value(mask, i).n > 0)
            return mask_value(mask, i);
    return STR_NONE;
}

void mcp_error_show(const struct mask *mask, struct str text, struct buf *out)
{
    autobuf masked = {0}, valid = {0};
    mask_apply(mask, text, &masked);
    utf8_scrub(&valid, buf_str(&masked));
    struct str head = utf8_prefix_bytes(buf_str(&valid), MCP_ERROR_SHOWN);
    buf_add(out, head);
    if (head.n < valid.n)
        buf_add(out, STR("…"));
}

static void observation_write(const struct tool_run *run, struct tool_result *result)
{
    struct json_writer w = json_writer(&result->observation);
    w.depth = 1;
    jw_member_cstr(&w, "tool_name", run->tool->name);
}

/* Secrets are put in by their names, as in the terminal; nothing else is touched. False: interrupted. */
static bool arguments_write(const struct tool_run *run, const struct json_value *data, struct buf *out,
                            struct buf *remarks, struct err **e)
{
    const struct agent_host *host = run->host;
    autobuf text = {0};
    if (json_type(data) != JSON_OBJECT) {
        buf_add(out, STR("{}"));
        return true;
    }
    json_add(&text, data);
    if (host->lookup && str_find_char(buf_str(&text), '$') >= 0 &&
        !host->lookup(host->arg, host->mailbox, buf_str(&text), false, remarks, e))
        return false;
    mcp_expand_json(data, mcp_secret, host->mask(host->arg), false, true, out);
    return true;
}

static bool mcp_run(const struct tool_run *run, struct tool_result *result, struct err **e)
{
    const struct mcp_tool *t = run->tool->data;
    const struct json_value *data = json_get(run->action, "data"), *answer = NULL;
    struct mcp_doc *doc = NULL;
    struct outcome o = {.result = result};
    autobuf arguments = {0}, remarks = {0};
    autoerr why = NULL;
    if (!arguments_write(run, data, &arguments, &remarks, e))
        return false;
    if (!mcp_call(t->mcp, t->server, t->name, buf_str(&arguments), run->host->mailbox, &doc, &answer, &why)) {
        autobuf text = {0};
        mcp_error_show(run->host->mask(run->host->arg), str_from(err_text(why)), &text);
        return err_set(e, why ? why->kind : ERR_INTERNAL, "The call of `%s` failed: %.*s.", run->tool->name,
                       STR_ARG(buf_str(&text)));
    }
    result_read(answer, &o);
    buf_insert(&o.text, 0, buf_str(&remarks));
    text_give(run, buf_str(&o.text), &result->text);
    buf_deinit(&o.text);
    mcp_doc_unref(doc);
    observation_write(run, result);
    return true;
}

/* --- toolboxes --- */

static bool toolbox_has(const struct mcp_toolbox *b, struct str name)
{
    for (size_t i = 0; i < b->tools.n; i++)
        if (str_is(name, b->tools.at[i]->name))
            return true;
    return false;
}

static void tool_make(struct mcp_toolbox *b, size_t server, const struct mcp_tool_info *info, struct str name)
{
    struct tool *tool = ARENA_NEW(b->arena, struct tool);
    struct mcp_tool *data = ARENA_NEW(b->arena, struct mcp_tool);
    autojson schema = json_parse_trusted(info->schema, NULL);
    autobuf plain = {0}, with_risk = {0};
    tool_schema_text(json_root(schema), false, &plain);
    tool_schema_text(json_root(schema), true, &with_risk);
    *data = (struct mcp_tool){b->mcp, server, arena_str(b->arena, info->name)};
    *tool = (struct tool){
        .name = name.p,
        .kind = "MCPToolDefinition",
        .action = "MCPToolAction",
        .observation = "MCPToolObservation",
        .description = info->description.n > 0 ? arena_str(b->arena, info->description).p
                                               : "The server says nothing about this tool.",
        .schema = {arena_str(b->arena, buf_str(&plain)), arena_str(b->arena, buf_str(&with_risk))},
        .data = data,
        .read_only = info->read_only,
        .destructive = info->destructive,
        .idempotent = info->idempotent,
        .open_world = info->open_world,
        .run = mcp_run,
    };
    vec_push(&b->tools, tool);
}

struct mcp_toolbox *mcp_toolbox_new(const struct agent *a, struct mcp *m)
{
    struct mcp_toolbox *b = xcalloc(1, sizeof(*b));
    b->mcp = mcp_ref(m);
    b->arena = arena_new();
    for (size_t server = 0; server < mcp_count(m); server++) {
        struct mcp_tool_list *list = mcp_tools(m, server);
        for (size_t i = 0; list && i < list->n; i++) {
            struct str name = shown_name(b, server, list->at[i].name);
            if (agent_filter_passes(a, name) && !toolbox_has(b, name))
                tool_make(b, server, &list->at[i], name);
        }
        mcp_tool_list_unref(list);
    }
    return b;
}

void mcp_toolbox_free(struct mcp_toolbox *b)
{
    if (!b)
        return;
    vec_deinit(&b->tools);
    arena_free(b->arena);
    mcp_unref(b->mcp);
    free(b);
}

const struct tool *const *mcp_toolbox_tools(const struct mcp_toolbox *b, size_t *n)
{
    *n = b->tools.n;
    return b->tools.at;
}
