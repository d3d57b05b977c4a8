#include "cli/configuration.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/vec.h"
#include "cli/environment.h"
#include "json/json.h"
#include <ctype.h>
#include <stdio.h>

#define DEFAULT_FILE "workspace/openhands_agent_server_config.json"

enum type {
    TYPE_TEXT,
    TYPE_LIST,   /* of texts */
    TYPE_NUMBER, /* double */
    TYPE_INT,    /* int64_t */
    TYPE_BOOL,
    TYPE_UNUSED, /* any value: a key of the Python server that changes nothing here */
    TYPE_LATER,  /* the same, but somebody who sets it relies on it: there is a warning */
};

struct key {
    const char *name;
    enum type type;
    size_t offset;
    const char *fallback; /* as text; NULL: none */
    double min, max;      /* NUMBER, INT */
    const char *doc;
};

#define AT(member) offsetof(struct configuration, member)
#define UNUSED(name, doc)                     \
    {                                         \
        name, TYPE_UNUSED, 0, NULL, 0, 0, doc \
    }
#define LATER(name)                                                                      \
    {                                                                                    \
        name, TYPE_LATER, 0, NULL, 0, 0, "Accepted; not used yet, which a warning says." \
    }
static const struct key keys[] = {
    {"session_api_keys", TYPE_LIST, AT(session_api_keys), NULL, 0, 0,
     "Keys, one of which every request to `/api` and every socket must send. None: whoever reaches the port may use it. "
     "`SESSION_API_KEY` is the key where neither file nor `OH_SESSION_API_KEYS_0` gives one; an empty list gives none."},
    {"secret_key", TYPE_TEXT, AT(secret_key), NULL, 0, 0,
     "What secrets are encrypted with in the database. Without it a key is made at the first start, in `handsd.key` in "
     "the data directory."},
    {"allow_cors_origins", TYPE_LIST, AT(allow_cors_origins), NULL, 0, 0,
     "Origins of web pages that may call the server, besides its own and those of this machine."},
    {"allow_cors_origin_regex", TYPE_TEXT, AT(allow_cors_origin_regex), NULL, 0, 0,
     "The same as a regular expression for the whole origin."},
    {"allowed_hosts", TYPE_LIST, AT(allowed_hosts), NULL, 0, 0,
     "Host names under which the server may be called when no key is set, besides this machine's."},
    {"web_url", TYPE_TEXT, AT(web_url), NULL, 0, 0,
     "URL under which a reverse proxy shows the server; its path is taken off requests."},
    {"conversations_path", TYPE_TEXT, AT(conversations_path), "workspace/conversations", 0, 0,
     "Directory of the database, `handsd.db`, and of what lies beside it. `--data` overrides it."},
    {"database_url", TYPE_TEXT, AT(database_url), NULL, 0, 0,
     "`sqlite:///DIR/handsd.db`, in place of the directory above."},
    LATER("static_files_path"),
    {"conversation_idle_ttl_seconds", TYPE_NUMBER, AT(conversation_idle_ttl_seconds), "1200", 0, 1e9,
     "A conversation that nobody uses leaves memory, and its shells end, after this long. 0: never."},
    {"request_head_timeout_seconds", TYPE_NUMBER, AT(request_head_timeout_seconds), "10", 0.1, 3600,
     "Time for a request's first line and headers."},
    {"request_body_timeout_seconds", TYPE_NUMBER, AT(request_body_timeout_seconds), "30", 0.1, 3600,
     "Time without a byte of a request's body."},
    {"keep_alive_timeout_seconds", TYPE_NUMBER, AT(keep_alive_timeout_seconds), "75", 0.1, 86400,
     "Time that a connection stays open between requests."},
    {"request_body_max_bytes", TYPE_INT, AT(request_body_max_bytes), "16777216", 1024, 1 << 30,
     "Largest body of a request, where a route does not say otherwise."},
    {"max_connections", TYPE_INT, AT(max_connections), "20000", 1, 1000000, "Connections at once."},
    {"worker_threads", TYPE_INT, AT(worker_threads), "0", 0, 64,
     "Threads for short jobs. 0: 2 to 4, by the number of cores."},
    {"log_level", TYPE_TEXT, AT(log_level), "info", 0, 0,
     "`error`, `warn`, `info` or `debug`. `DEBUG=1` is `debug`."},
    {"workspace_path", TYPE_TEXT, AT(workspace_path), "workspace/project", 0, 0,
     "Directory below which conversations of the 0.53 API get a workspace of their own, named like the conversation."},
    {"feedback_url", TYPE_TEXT, AT(feedback_url), NULL, 0, 0,
     "An http or https address that feedback given on the 0.53 API is sent to, with the conversation it is about. Without it, "
     "feedback is kept in the database only."},
    UNUSED("conversation_worktree_root", "Accepted; not used yet."),
    UNUSED("bash_events_dir", "Accepted; the events of commands are in the database."),
    LATER("bash_events_retention_seconds"),
    LATER("webhooks"),
    {"enable_vscode", TYPE_BOOL, AT(enable_vscode), "true", 0, 0,
     "Whether a request for its URL starts VS Code, if `openvscode-server` or `code-server` is installed. It listens on "
     "this machine's loopback address and asks for a token, which is in the URL (for `code-server`: its password)."},
    {"vscode_port", TYPE_INT, AT(vscode_port), "8001", 0, 65535,
     "Port of the VS Code of `/api/vscode/url`. 0: any free one, as for the conversations of the 0.53 API."},
    {"vscode_base_path", TYPE_TEXT, AT(vscode_base_path), NULL, 0, 0,
     "Path under which a reverse proxy shows that VS Code."},
    {"enable_vnc", TYPE_BOOL, AT(enable_vnc), "false", 0, 0,
     "Whether `/api/desktop` says that there may be a desktop. There is none here, so there is no URL."},
    UNUSED("preload_tools", "Accepted; there is nothing to load."),
    UNUSED("max_concurrent_runs", "Accepted; runs are not limited by it, as in the Python server."),
    UNUSED("registered_marketplaces", "Accepted; not used yet."),
    LATER("deferred_init"),
    UNUSED("lease_ttl_seconds", "Accepted; the lease is 45 s."),
    UNUSED("telemetry", "Accepted; nothing is ever sent."),
};

/* Variables that are no keys of the file. */
static const struct {
    const char *name, *doc;
} variables[] = {
    {"OPENHANDS_AGENT_SERVER_CONFIG_PATH",
     "The JSON file, when `--config` does not name one; else `" DEFAULT_FILE "`, if it is there."},
    {"SESSION_API_KEY", "A session key, where no other is configured."},
    {"LLM_MODEL, LLM_API_KEY, LLM_BASE_URL",
     "Defaults of `handsd run`, and the settings of conversations that are made over the 0.53 API."},
    {"ALLOW_SET_CONVERSATION_ID", "`1`: who makes a conversation over the 0.53 API may choose its id."},
    {"OPENAI_BASE_URL, OPENAI_API_BASE, OPENAI_API_KEY",
     "The address where a conversation's model names none; the key where it names none, for that address and "
     "OpenAI's own only."},
    {"DOCKER_HOST_ADDR", "A further host whose pages may call the server and under which it may be called."},
    {"OPENHANDS_BUILD_GIT_SHA, OPENHANDS_BUILD_GIT_REF", "Shown in `/server_info`."},
    {"OH_RUNTIME_IDLE_TIMEOUT_SECONDS",
     "After how long the machine around the server is stopped when idle: shown in `/server_info`, and an agent may ask for "
     "a command's timeout of nine tenths of it at most."},
    {"HANDSD_HAND", "The hand program, when it does not lie beside `handsd`."},
};

/* ---- values ---- */

struct loading {
    struct configuration *config;
    const struct json_value *file;
};

static void *place(struct loading *l, const struct key *key)
{
    return (char *)l->config + key->offset;
}

/* As the Python server reads them. */
static bool set_bool(bool *to, struct str text, const struct key *key, const char *where, struct err **e)
{
    static const char *const words[][2] = {{"true", "false"}, {"1", "0"}, {"yes", "no"}, {"on", "off"}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        for (size_t k = 0; k < 2; k++)
            if (str_eq_nocase(str_trim(text), str_from(words[i][k]))) {
                *to = k == 0;
                return true;
            }
    return err_set(e, ERR_INVALID, "%s: %s must be true or false", where, key->name);
}

static bool set_text(struct loading *l, const struct key *key, struct str text, const char *where,
                     struct err **e)
{
    double number;
    switch (key->type) {
    case TYPE_TEXT:
        *(struct str *)place(l, key) = text.n > 0 ? arena_str(l->config->arena, text) : STR_NONE;
        return true;
    case TYPE_NUMBER:
    case TYPE_INT:
        if (!str_to_f64(str_trim(text), &number) || !(number >= key->min && number <= key->max) ||
            (key->type == TYPE_INT && number != (double)(int64_t)number))
            return err_set(e, ERR_INVALID, "%s: %s must be a %s from %g to %g", where, key->name,
                           key->type == TYPE_INT ? "whole number" : "number", key->min, key->max);
        if (key->type == TYPE_INT)
            *(int64_t *)place(l, key) = (int64_t)number;
        else
            *(double *)place(l, key) = number;
        return true;
    case TYPE_BOOL: return set_bool(place(l, key), text, key, where, e);
    case TYPE_LIST:
    case TYPE_UNUSED:
    case TYPE_LATER: return true;
    }
    return true;
}

static bool set_list(struct loading *l, const struct key *key, const struct json_value *v, const char *where,
                     struct err **e)
{
    struct text_list *list = place(l, key);
    if (json_type(v) != JSON_ARRAY || json_count(v) > CONFIGURATION_LIST_MAX)
        return err_set(e, ERR_INVALID, "%s: %s must be a list of at most %d texts", where, key->name,
                       CONFIGURATION_LIST_MAX);
    struct str *items = arena_alloc(l->config->arena, (json_count(v) + 1) * sizeof(*items));
    *list = (struct text_list){.at = items};
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        if (json_type(it.value) != JSON_STRING)
            return err_set(e, ERR_INVALID, "%s: %s must be a list of texts", where, key->name);
        if (json_str(it.value).n > 0)
            items[list->n++] = arena_str(l->config->arena, json_str(it.value));
    }
    return true;
}

static bool set_value(struct loading *l, const struct key *key, const struct json_value *v, const char *where,
                      struct err **e)
{
    enum json_type type = json_type(v);
    if (json_is_null(v))
        return true;
    if (key->type == TYPE_LIST)
        return set_list(l, key, v, where, e);
    if (type == JSON_STRING)
        return set_text(l, key, json_str(v), where, e);
    if (type == JSON_BOOL && key->type == TYPE_BOOL) {
        *(bool *)place(l, key) = json_bool(v, false);
        return true;
    }
    if ((type == JSON_INT || type == JSON_FLOAT) && key->type != TYPE_TEXT && key->type != TYPE_BOOL) {
        autobuf text = {0};
        json_add(&text, v);
        return set_text(l, key, buf_str(&text), where, e);
    }
    return err_set(e, ERR_INVALID, "%s: %s must be a %s", where, key->name,
                   key->type == TYPE_TEXT   ? "text"
                   : key->type == TYPE_BOOL ? "boolean"
                                            : "number");
}

/* ---- the environment: OH_<KEY>; lists as OH_<KEY>_0, _1 … or JSON; OH_<KEY>_IS_NONE=1 ---- */

static const char *variable(struct buf *name, const struct key *key, const char *suffix)
{
    buf_clear(name);
    buf_add(name, STR("OH_"));
    for (const char *p = key->name; *p; p++)
        buf_add_char(name, (char)toupper((unsigned char)*p));
    buf_add_cstr(name, suffix);
    return environment_value(name->p);
}

static bool is_true(const char *text)
{
    return text && (str_is(str_from(text), "1") || str_eq_nocase(str_from(text), STR("true")));
}

/* False with `*found` unset when the environment says nothing. */
static bool list_from_environment(struct loading *l, const struct key *key, bool *found, struct err **e)
{
    autobuf name = {0};
    const char *whole = variable(&name, key, "");
    if (whole) {
        *found = true;
        autojson doc = json_parse(str_from(whole), NULL, NULL);
        return set_list(l, key, json_root(doc), name.p, e);
    }
    VEC(struct str) items = {0};
    for (unsigned i = 0; i < CONFIGURATION_LIST_MAX; i++) {
        char suffix[16];
        snprintf(suffix, sizeof(suffix), "_%u", i);
        const char *one = variable(&name, key, suffix);
        if (!one)
            break;
        vec_push(&items, str_from(one));
    }
    if (items.n > 0) {
        struct text_list *list = place(l, key);
        struct str *at = arena_alloc(l->config->arena, items.n * sizeof(*at));
        memcpy(at, items.at, items.n * sizeof(*at));
        *list = (struct text_list){.at = at, .n = items.n};
        *found = true;
    }
    vec_deinit(&items);
    return true;
}

static bool load_key(struct loading *l, const struct key *key, struct err **e)
{
    autobuf name = {0};
    bool found = false;
    if (key->fallback && !set_text(l, key, str_from(key->fallback), "the table", e))
        return false;
    if (key->type == TYPE_UNUSED || key->type == TYPE_LATER || is_true(variable(&name, key, "_IS_NONE")))
        return true;
    if (key->type == TYPE_LIST) {
        if (!list_from_environment(l, key, &found, e))
            return false;
    } else {
        const char *text = variable(&name, key, "");
        found = text != NULL;
        if (text && !set_text(l, key, str_from(text), name.p, e))
            return false;
    }
    return found || set_value(l, key, json_get(l->file, key->name), "the configuration file", e);
}

/* ---- the file ---- */

static bool read_file(const char *path, struct json_doc **doc, struct err **e)
{
    const char *named = path ? path : environment_value("OPENHANDS_AGENT_SERVER_CONFIG_PATH");
    const char *file = named ? named : DEFAULT_FILE;
    autobuf text = {0};
    autoerr why = NULL;
    if (!file_read(file, CONFIGURATION_FILE_MAX, &text, &why)) {
        if (path || why->kind != ERR_NOT_FOUND)
            return err_set(e, why->kind, "%s", err_text(why));
        if (named)
            log_warn("there is no configuration file %s: going on without it", file);
        return true;
    }
    *doc = json_parse(buf_str(&text), NULL, e);
    if (!*doc)
        return err_prefix(e, "%s", file);
    if (json_type(json_root(*doc)) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "%s: not a JSON object", file);
    return true;
}

static void warn_unknown(const struct json_value *file)
{
    for (struct json_iter it = json_iter(file); json_next(&it);) {
        size_t i = 0;
        while (i < ARRAY_LEN(keys) && !str_is(it.key, keys[i].name))
            i++;
        if (i == ARRAY_LEN(keys))
            log_warn("the configuration file has an unknown key: %.*s", STR_ARG(it.key));
    }
}

/* Does it ask for anything? null, false, "", [] and {} do not. */
static bool asks(const struct json_value *v)
{
    switch (json_type(v)) {
    case JSON_ABSENT:
    case JSON_NULL: return false;
    case JSON_BOOL: return json_bool(v, false);
    case JSON_STRING: return json_str(v).n > 0;
    case JSON_ARRAY:
    case JSON_OBJECT: return json_count(v) > 0;
    case JSON_INT:
    case JSON_FLOAT: return true;
    }
    return false;
}

static bool is_asked(const struct key *key, const struct json_value *file)
{
    autobuf prefix = {0};
    size_t cursor = 0;
    struct str name, value;
    if (is_true(variable(&prefix, key, "_IS_NONE")))
        return false;
    variable(&prefix, key, ""); /* OH_WEBHOOKS, OH_WEBHOOKS_0_BASE_URL */
    while (environment_next(buf_str(&prefix), &cursor, &name, &value))
        if (value.n > 0 && (name.n == prefix.n || name.p[prefix.n] == '_'))
            return true;
    return asks(json_get(file, key->name));
}

static void collect_later(struct configuration *c, const struct json_value *file)
{
    struct str *names = arena_alloc(c->arena, ARRAY_LEN(keys) * sizeof(*names));
    c->later.at = names;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (keys[i].type == TYPE_LATER && is_asked(&keys[i], file))
            names[c->later.n++] = str_from(keys[i].name);
}

void configuration_log(const struct configuration *c)
{
    if (c->key_source)
        log_info("session keys: %zu, from %s", c->session_api_keys.n, c->key_source);
    for (size_t i = 0; i < c->later.n; i++)
        log_warn("%.*s is accepted, but not used yet", STR_ARG(c->later.at[i]));
}

static const char *key_source(void)
{
    return environment_value("OH_SESSION_API_KEYS") || environment_value("OH_SESSION_API_KEYS_0")
               ? "OH_SESSION_API_KEYS"
               : "the configuration file";
}

static void finish(struct configuration *c)
{
    const char *single = environment_value("SESSION_API_KEY");
    if (c->session_api_keys.n > 0) {
        c->key_source = key_source();
    } else if (single) { /* an empty list is no wish to be open to everybody */
        struct str *at = ARENA_NEW(c->arena, struct str);
        *at = arena_str(c->arena, str_from(single));
        c->session_api_keys = (struct text_list){.at = at, .n = 1};
        c->key_source = "SESSION_API_KEY";
    }
    if (single)
        c->session_key = arena_str(c->arena, str_from(single));
    else if (c->session_api_keys.n > 0)
        c->session_key = c->session_api_keys.at[0];
    if (is_true(environment_value("DEBUG")))
        c->log_level = STR("debug");
}

static bool load_all(struct configuration *c, const struct json_value *file, struct err **e)
{
    struct loading l = {.config = c, .file = file};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (!load_key(&l, &keys[i], e))
            return false;
    warn_unknown(file);
    collect_later(c, file);
    finish(c);
    return true;
}

struct configuration *configuration_load(const char *path, struct err **e)
{
    autojson doc = NULL;
    if (!read_file(path, &doc, e))
        return NULL;
    struct configuration *c = xcalloc(1, sizeof(*c));
    c->arena = arena_new();
    if (load_all(c, json_root(doc), e))
        return c;
    configuration_free(c);
    return NULL;
}

void configuration_free(struct configuration *c)
{
    if (!c)
        return;
    arena_free(c->arena);
    free(c);
}

bool configuration_apply_log_level(const struct configuration *c)
{
    static const char *const names[] = {
        [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!str_eq_nocase(c->log_level, str_from(names[i])))
            continue;
        log_set_level((enum log_level)i);
        return true;
    }
    log_warn("log_level %.*s is none of error, warn, info and debug", STR_ARG(c->log_level));
    return false;
}

/* ---- docs ---- */

void configuration_write_docs(struct buf *out)
{
    static const char *const types[] = {
        [TYPE_TEXT] = "text",        [TYPE_LIST] = "list of texts", [TYPE_NUMBER] = "number",
        [TYPE_INT] = "whole number", [TYPE_BOOL] = "true or false", [TYPE_UNUSED] = "any",
        [TYPE_LATER] = "any"};
    buf_add(
        out,
        STR("# Configuration\n\n"
            "Made by `handsd doctor --print-config-docs`; edit the table in `src/cli/configuration.c`, not this page.\n\n"
            "Each key can stand in the JSON file or in the environment, as `OH_` and its name in capitals; the "
            "environment wins. Lists are `OH_NAME_0`, `OH_NAME_1` … or JSON text; `OH_NAME_IS_NONE=1` is null.\n\n"
            "| key | type | default | meaning |\n|---|---|---|---|\n"));
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        buf_addf(out, "| `%s` | %s | %s%s%s | %s |\n", keys[i].name, types[keys[i].type],
                 keys[i].fallback ? "`" : "", keys[i].fallback ? keys[i].fallback : "none",
                 keys[i].fallback ? "`" : "", keys[i].doc);
    buf_add(out, STR("\n| variable | meaning |\n|---|---|\n"));
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        buf_addf(out, "| `%s` | %s |\n", variables[i].name, variables[i].doc);
}
