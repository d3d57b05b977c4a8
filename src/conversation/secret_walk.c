#include "conversation/secret_walk.h"
#include "base/cleanup.h"

#define SECRETS_MAX 1000    /* in one registry */
#define SECRET_NAME_MAX 256 /* bytes */
#define SECRET_VALUE_MAX (256 * 1024)

/* Keys whose text is a secret wherever they stand in an agent. */
static const char *const secret_keys[] = {"api_key", "aws_access_key_id", "aws_secret_access_key",
                                          "aws_session_token", "auth_token"};
/* Keys of objects all of whose texts are secrets, where they stand in an MCP server. */
static const char *const secret_maps[] = {"env", "headers"};

/* Keys whose text is a secret in an MCP server or its `auth`. */
static const char *const mcp_keys[] = {"auth",         "value",         "password",
                                       "access_token", "refresh_token", "client_secret"};

enum place { PLACE_ANY, PLACE_MCP, PLACE_SECRET_MAP, PLACE_CONTEXT, PLACE_SOURCE };

static bool is_one_of(struct str key, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_is(key, names[i]))
            return true;
    return false;
}

static void note_unopened(struct secret_walk *walk, struct str name)
{
    if (walk->unopened.n == 0)
        buf_add(&walk->unopened, name);
}

static void write_adopted(struct secret_walk *walk, struct str name, struct str value, struct json_writer *w)
{
    autobuf plain = {0}, sealed = {0};
    bool is_token = secrets_is_token(value), opened = is_token && secrets_open(walk->secrets, value, &plain);
    if (is_token && !opened) {
        note_unopened(walk, name);
        jw_str(w, value);
        return;
    }
    secrets_seal(walk->secrets, opened ? buf_str(&plain) : value, &sealed);
    jw_str(w, buf_str(&sealed));
    if (plain.p)
        explicit_bzero(plain.p, plain.n);
}

static void write_secret(struct secret_walk *walk, struct str name, struct str value, struct json_writer *w)
{
    if (value.n == 0 || str_is(value, SECRET_SHOWN)) {
        jw_null(w);
        return;
    }
    autobuf out = {0};
    switch (walk->mode) {
    case SECRET_ADOPT: write_adopted(walk, name, value, w); return;
    case SECRET_SHOW: jw_cstr(w, SECRET_SHOWN); return;
    case SECRET_SEAL:
        secrets_seal(walk->secrets, value, &out);
        jw_str(w, buf_str(&out));
        return;
    case SECRET_OPEN:
        if (secrets_open(walk->secrets, value, &out)) {
            jw_str(w, buf_str(&out));
        } else {
            note_unopened(walk, name);
            jw_null(w);
        }
        return;
    }
}

static enum place place_below(enum place place, struct str key)
{
    if (str_is(key, "mcp_config") || str_is(key, "mcpServers"))
        return PLACE_MCP;
    if (str_is(key, "agent_context"))
        return PLACE_CONTEXT;
    if (place == PLACE_CONTEXT && str_is(key, "secrets"))
        return PLACE_SECRET_MAP;
    if (place == PLACE_MCP)
        return is_one_of(key, secret_maps, ARRAY_LEN(secret_maps)) ? PLACE_SECRET_MAP : PLACE_MCP;
    if (place == PLACE_SECRET_MAP)
        return PLACE_SOURCE;
    return PLACE_ANY;
}

static bool is_secret(enum place place, struct str key)
{
    if (place == PLACE_SECRET_MAP)
        return true;
    if (place == PLACE_SOURCE)
        return str_is(key, "value");
    if (place == PLACE_MCP && is_one_of(key, mcp_keys, ARRAY_LEN(mcp_keys)))
        return true;
    return is_one_of(key, secret_keys, ARRAY_LEN(secret_keys));
}

static void walk_value(struct secret_walk *walk, enum place place, const struct json_value *v,
                       struct json_writer *w);

static void walk_member(struct secret_walk *walk, enum place place, struct str key,
                        const struct json_value *v, struct json_writer *w)
{
    jw_key_str(w, key);
    if (json_type(v) == JSON_STRING && is_secret(place, key)) {
        write_secret(walk, key, json_str(v), w);
    } else if (walk->empty_skills && place == PLACE_CONTEXT && str_is(key, "skills")) {
        jw_array(w);
        jw_array_end(w);
    } else {
        walk_value(walk, place_below(place, key), v, w);
    }
}

static void walk_value(struct secret_walk *walk, enum place place, const struct json_value *v,
                       struct json_writer *w)
{
    if (json_type(v) == JSON_OBJECT) {
        jw_object(w);
        for (struct json_iter it = json_iter(v); json_next(&it);)
            walk_member(walk, place, it.key, it.value, w);
        jw_object_end(w);
    } else if (json_type(v) == JSON_ARRAY) {
        jw_array(w);
        for (struct json_iter it = json_iter(v); json_next(&it);)
            walk_value(walk, place, it.value, w);
        jw_array_end(w);
    } else {
        jw_value(w, v);
    }
}

void secret_walk_agent(struct secret_walk *walk, const struct json_value *agent, struct json_writer *w)
{
    jw_object(w);
    for (struct json_iter it = json_iter(agent); json_next(&it);)
        walk_member(walk, PLACE_ANY, it.key, it.value, w);
    /* Clients choose the class by `kind`; an agent without one is an Agent. */
    if (json_is_null(json_get(agent, "kind")))
        jw_member_cstr(w, "kind", "Agent");
    jw_object_end(w);
}

static bool check_source(struct str name, const struct json_value *v, struct err **e)
{
    if (name.n == 0 || name.n > SECRET_NAME_MAX)
        return err_set(e, ERR_INVALID, "a secret's name has 1 to %d bytes", SECRET_NAME_MAX);
    enum json_type type = json_type(v);
    if (type != JSON_STRING && type != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "secret %.*s: a text or a source object is expected", STR_ARG(name));
    struct str value = type == JSON_STRING ? json_str(v) : json_get_str(v, "value");
    if (value.n > SECRET_VALUE_MAX)
        return err_set(e, ERR_INVALID, "secret %.*s: the value has more than %d bytes", STR_ARG(name),
                       SECRET_VALUE_MAX);
    return true;
}

bool secret_walk_registry(struct secret_walk *walk, const struct json_value *registry, struct json_writer *w,
                          struct err **e)
{
    if (json_count(registry) > SECRETS_MAX)
        return err_set(e, ERR_INVALID, "more than %d secrets", SECRETS_MAX);
    jw_object(w);
    for (struct json_iter it = json_iter(registry); json_next(&it);) {
        if (!check_source(it.key, it.value, e))
            return false;
        jw_key_str(w, it.key);
        jw_object(w);
        bool is_text = json_type(it.value) == JSON_STRING;
        struct str kind = is_text ? STR_NONE : json_get_str(it.value, "kind");
        if (!kind.p)
            kind = !is_text && json_get_str(it.value, "url").p ? STR("LookupSecret") : STR("StaticSecret");
        if (is_text)
            jw_member_null(w, "description");
        for (struct json_iter m = json_iter(is_text ? NULL : it.value); json_next(&m);) {
            if (str_is(m.key, "kind") || str_is(m.key, "value"))
                continue;
            jw_key_str(w, m.key);
            walk_value(walk, str_is(m.key, "headers") ? PLACE_SECRET_MAP : PLACE_ANY, m.value, w);
        }
        if (str_is(kind, "StaticSecret")) {
            jw_key(w, "value");
            write_secret(walk, it.key, is_text ? json_str(it.value) : json_get_str(it.value, "value"), w);
        }
        jw_member_str(w, "kind", kind);
        jw_object_end(w);
    }
    jw_object_end(w);
    return true;
}
