/* configuration: the server's configuration: one table of keys, each with its place in `struct configuration`, default and
 * documentation. Values come from the environment (OH_<KEY>), else from the JSON file of the Python server, else from
 * the table. Made once before threads start; immutable. */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#define CONFIGURATION_FILE_MAX (4 * 1024 * 1024) /* bytes of the JSON file */
#define CONFIGURATION_LIST_MAX 1000              /* items of a list */

struct text_list {
    const struct str *at;
    size_t n;
};

struct configuration {
    struct arena *arena; /* all text */
    struct text_list session_api_keys, allow_cors_origins, allowed_hosts;
    struct str secret_key, allow_cors_origin_regex, web_url, conversations_path, database_url, workspace_path;
    struct str feedback_url;
    const char *key_source; /* what gave session_api_keys; NULL: nothing */
    struct text_list later; /* keys that were given a value but are not used yet */
    struct str session_key; /* the first session key wherever it came from: reads what Python wrote */
    double conversation_idle_ttl_seconds;
    double request_head_timeout_seconds, request_body_timeout_seconds, keep_alive_timeout_seconds;
    bool enable_vscode, enable_vnc;
    int64_t vscode_port;
    struct str vscode_base_path;
    int64_t request_body_max_bytes, max_connections, worker_threads;
    struct str log_level;
};

/* `path`: the file, or NULL for OPENHANDS_AGENT_SERVER_CONFIG_PATH or the default place, where it may be missing. */
struct configuration *configuration_load(const char *path, struct err **e);
/* Tells the log, once, where the session keys come from and which keys have no effect yet. */
void configuration_log(const struct configuration *c);
/* False for a word that is no level. */
bool configuration_apply_log_level(const struct configuration *c);
void configuration_free(struct configuration *c);
/* docs/configuration.md */
void configuration_write_docs(struct buf *out);
