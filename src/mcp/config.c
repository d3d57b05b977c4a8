#include "mcp/config.h"
#include "base/base64.h"
#include "base/cleanup.h"
#include "json/writer.h"

struct decoding {
    struct str name; /* of the server */
    const struct json_value *v;
    struct arena *arena;
    struct err **e;
};

static bool wrong(const struct decoding *d, const char *field, const char *what)
{
    return err_set(d->e, ERR_INVALID, "mcp_config.%.*s%s%s %s", STR_ARG(str_sub(d->name, 0, MCP_NAME_MAX)),
                   *field ? "." : "", field, what);
}

static bool text_decode(const struct decoding *d, const char *key, struct str *out)
{
    const struct json_value *v = json_get(d->v, key);
    if (json_is_null(v))
        return true;
    if (json_type(v) != JSON_STRING)
        return wrong(d, key, "should be a string");
    if (json_str(v).n > MCP_TEXT_MAX || str_find_char(json_str(v), '\0') >= 0)
        return wrong(d, key, "is too long or contains a NUL");
    *out = arena_str(d->arena, json_str(v));
    return true;
}

static bool is_scalar(const struct json_value *v)
{
    enum json_type t = json_type(v);
    return t == JSON_STRING || t == JSON_INT || t == JSON_FLOAT || t == JSON_BOOL;
}

/* Numbers and truth values are what people write for variables; they are meant as text. */
static struct str scalar_text(struct arena *arena, const struct json_value *v)
{
    autobuf b = {0};
    if (json_type(v) == JSON_STRING)
        return arena_str(arena, json_str(v));
    json_add(&b, v);
    return arena_str(arena, buf_str(&b));
}

static bool list_decode(const struct decoding *d, const char *key, struct mcp_texts *out)
{
    const struct json_value *v = json_get(d->v, key);
    if (json_is_null(v))
        return true;
    if (json_type(v) != JSON_ARRAY || json_count(v) > MCP_TEXTS_MAX)
        return wrong(d, key, "should be a list of strings");
    struct str *at = arena_alloc(d->arena, (json_count(v) + 1) * sizeof(*at));
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        if (!is_scalar(it.value) || json_str(it.value).n > MCP_TEXT_MAX ||
            str_find_char(json_str(it.value), '\0') >= 0)
            return wrong(d, key, "should be a list of strings");
        at[it.index] = scalar_text(d->arena, it.value);
    }
    *out = (struct mcp_texts){at, json_count(v)};
    return true;
}

/* An object of texts as "key<between>value"; null stands for a value that is not there. */
static bool map_decode(const struct decoding *d, const struct json_value *parent, const char *key,
                       const char *between, struct mcp_texts *out)
{
    const struct json_value *v = json_get(parent, key);
    if (json_is_null(v))
        return true;
    if (json_type(v) != JSON_OBJECT || json_count(v) + out->n > MCP_TEXTS_MAX)
        return wrong(d, key, "should be an object of strings");
    struct str *at = arena_alloc(d->arena, (out->n + json_count(v) + 1) * sizeof(*at));
    size_t n = out->n;
    if (n > 0)
        memcpy(at, out->at, n * sizeof(*at));
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        if (json_is_null(it.value))
            continue;
        if (!is_scalar(it.value) || it.key.n == 0 || it.key.n > MCP_TEXT_MAX ||
            json_str(it.value).n > MCP_TEXT_MAX)
            return wrong(d, key, "should be an object of strings");
        struct str value = scalar_text(d->arena, it.value);
        at[n++] = arena_printf(d->arena, "%.*s%s%.*s", STR_ARG(it.key), between, STR_ARG(value));
    }
    *out = (struct mcp_texts){at, n};
    return true;
}

static void header_add(const struct decoding *d, struct mcp_server_config *out, struct str header)
{
    struct str *at = arena_alloc(d->arena, (out->headers.n + 1) * sizeof(*at));
    if (out->headers.n > 0)
        memcpy(at, out->headers.at, out->headers.n * sizeof(*at));
    at[out->headers.n] = header;
    out->headers = (struct mcp_texts){at, out->headers.n + 1};
}

static void bearer_add(const struct decoding *d, struct mcp_server_config *out, struct str token)
{
    if (token.n > 0)
        header_add(d, out, arena_printf(d->arena, "Authorization: Bearer %.*s", STR_ARG(token)));
}

static void basic_add(const struct decoding *d, struct mcp_server_config *out, struct str user,
                      struct str password)
{
    autobuf pair = {0}, text = {0};
    buf_addf(&pair, "%.*s:%.*s", STR_ARG(user), STR_ARG(password));
    base64_encode(&text, buf_str(&pair));
    header_add(d, out, arena_printf(d->arena, "Authorization: Basic %.*s", STR_ARG(buf_str(&text))));
}

static bool auth_decode(const struct decoding *d, struct mcp_server_config *out)
{
    const struct json_value *auth = json_get(d->v, "auth");
    struct str text = json_str(auth), strategy = json_get_str(auth, "strategy");
    struct str value = json_get_str(auth, "value"), header = json_get_str(auth, "header_name");
    if (json_is_null(auth) || str_is(strategy, "none"))
        return true;
    if (text.n > MCP_TEXT_MAX || value.n > MCP_TEXT_MAX || header.n > MCP_TEXT_MAX)
        return wrong(d, "auth", "is too long");
    if (str_is(text, "oauth") || str_is(strategy, "oauth2"))
        out->oauth = true;
    else if (text.p)
        bearer_add(d, out, text);
    else if (str_is(strategy, "api_key") && header.n > 0 && value.n > 0)
        header_add(d, out, arena_printf(d->arena, "%.*s: %.*s", STR_ARG(header), STR_ARG(value)));
    else if (str_is(strategy, "api_key") || str_is(strategy, "bearer"))
        bearer_add(d, out, value);
    else if (str_is(strategy, "basic"))
        basic_add(d, out, json_get_str(auth, "username"), json_get_str(auth, "password"));
    else if (str_is(strategy, "header"))
        return map_decode(d, auth, "headers", ": ", &out->headers);
    else
        return wrong(d, "auth.strategy", "should be none, api_key, bearer, basic, header or oauth2");
    return true;
}

/* An address that has a part /sse is one of the older kind. */
static bool url_is_sse(struct str url)
{
    ssize_t query = str_find_char(url, '?');
    struct str path = query < 0 ? url : str_sub(url, 0, (size_t)query);
    return str_ends(path, STR("/sse")) || str_find(path, STR("/sse/")) >= 0;
}

static bool kind_decode(const struct decoding *d, struct mcp_server_config *out)
{
    static const struct {
        const char *name;
        enum mcp_transport_kind kind;
    } kinds[] = {{"stdio", MCP_STDIO},          {"http", MCP_HTTP},
                 {"shttp", MCP_HTTP},           {"streamable-http", MCP_HTTP},
                 {"streamable_http", MCP_HTTP}, {"sse", MCP_SSE}};
    struct str name = json_get_str(d->v, "transport");
    if (!name.p)
        name = json_get_str(d->v, "type");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_is(name, kinds[i].name))
            out->kind = kinds[i].kind;
    if (name.p && !out->kind)
        return wrong(d, "transport", "should be stdio, http, streamable-http or sse");
    if (!out->kind)
        out->kind = out->url.n == 0 ? MCP_STDIO : url_is_sse(out->url) ? MCP_SSE : MCP_HTTP;
    if (out->kind == MCP_STDIO && out->command.n == 0)
        return wrong(d, "command", "is missing (or `url`)");
    if (out->kind != MCP_STDIO && out->url.n == 0)
        return wrong(d, "url", "is missing");
    return true;
}

static bool timeout_decode(const struct decoding *d, struct mcp_server_config *out)
{
    const struct json_value *v = json_get(d->v, "timeout");
    double seconds = json_float(v, 0);
    out->start_ms = MCP_START_MS;
    out->call_ms = MCP_CALL_MS;
    if (json_is_null(v))
        return true;
    if ((json_type(v) != JSON_INT && json_type(v) != JSON_FLOAT) || !(seconds > 0))
        return wrong(d, "timeout", "should be a number of seconds");
    seconds = seconds < MCP_TIMEOUT_MAX ? seconds : MCP_TIMEOUT_MAX;
    out->start_ms = out->call_ms = (uint64_t)(seconds * 1000) + 1;
    return true;
}

bool mcp_server_decode(struct str name, const struct json_value *v, struct arena *arena,
                       struct mcp_server_config *out, struct err **e)
{
    struct decoding d = {name, v, arena, e};
    *out = (struct mcp_server_config){.name = arena_str(arena, name)};
    if (json_type(v) != JSON_OBJECT)
        return wrong(&d, "", "should be an object");
    if (name.n == 0 || name.n > MCP_NAME_MAX)
        return err_set(e, ERR_INVALID, "mcp_config: a server's name has 1 to %d bytes", MCP_NAME_MAX);
    out->enabled = json_get_bool(v, "enabled", true);
    return text_decode(&d, "command", &out->command) && text_decode(&d, "cwd", &out->cwd) &&
           text_decode(&d, "url", &out->url) && list_decode(&d, "args", &out->args) &&
           map_decode(&d, v, "env", "=", &out->env) && map_decode(&d, v, "headers", ": ", &out->headers) &&
           kind_decode(&d, out) && auth_decode(&d, out) && timeout_decode(&d, out);
}

bool mcp_config_check(const struct json_value *config, struct buf *servers, struct err **e)
{
    autoarena arena = arena_new();
    const struct json_value *wrapped = json_get(config, "mcpServers");
    const struct json_value *map = wrapped ? wrapped : config;
    if (json_is_null(map))
        return true;
    if (json_type(map) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "mcp_config should be an object of servers");
    if (json_count(map) > MCP_SERVERS_MAX)
        return err_set(e, ERR_INVALID, "mcp_config has more than %d servers", MCP_SERVERS_MAX);
    size_t enabled = 0;
    struct json_writer w = json_writer(servers);
    for (struct json_iter it = json_iter(map); json_next(&it);) {
        struct mcp_server_config one;
        if (!mcp_server_decode(it.key, it.value, arena, &one, e))
            return false;
        if (!one.enabled)
            continue;
        if (enabled++ == 0)
            jw_object(&w);
        jw_key_str(&w, it.key);
        jw_value(&w, it.value);
    }
    if (enabled > 0)
        jw_object_end(&w);
    return true;
}

#define HIDDEN "<secret-hidden>" /* marker: what masked values look like everywhere */
#define HIDDEN_MIN 8             /* bytes; shorter values would hide ordinary text */

static struct str value_behind(struct str pair, struct str between)
{
    ssize_t at = str_find(pair, between);
    struct str value = at < 0 ? STR_NONE : str_sub(pair, (size_t)at + between.n, pair.n);
    ssize_t space = str_find_char(value, ' ');
    bool scheme = str_starts(value, STR("Bearer ")) || str_starts(value, STR("Basic "));
    return scheme ? str_sub(value, (size_t)space + 1, value.n) : value;
}

/* Length of the longest value that begins `text`; 0: none. */
static size_t value_at(const struct mcp_texts *texts, struct str between, struct str text)
{
    size_t longest = 0;
    for (size_t i = 0; i < texts->n; i++) {
        struct str value = value_behind(texts->at[i], between);
        if (value.n >= HIDDEN_MIN && value.n > longest && str_starts(text, value))
            longest = value.n;
    }
    return longest;
}

void mcp_hide(const struct mcp_server_config *config, struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.n;) {
        struct str rest = str_sub(text, i, text.n);
        size_t n = value_at(&config->env, STR("="), rest), m = value_at(&config->headers, STR(": "), rest);
        n = n > m ? n : m;
        if (n > 0)
            buf_add(out, STR(HIDDEN));
        else
            buf_add_char(out, text.p[i]);
        i += n > 0 ? n : 1;
    }
}
