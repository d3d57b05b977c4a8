/* api: the dialects. Each turns requests of one listener into calls of conversation/ and its answers into that dialect's
 * JSON: decode, call, encode, nothing else.
 *
 * Ownership: a dialect borrows everything in its configuration, which outlives it. Its handlers keep no state of their
 * own besides the sockets' authentication and queues, which belong to the loop thread.
 * Threads: new and free before and after the loop runs; handlers as their route says (ROUTE_INLINE: loop, else worker). */
#pragma once
#include "base/pool.h"
#include "bash/bash.h"
#include "conversation/conversation.h"
#include "net/loop.h"
#include "net/server.h"
#include "net/static.h"
#include "workspace/vscode.h"

/* The releases of OpenHands whose wire this is. Clients compare the first before they use a feature. */
#define AGENT_SERVER_API_VERSION "1.43.1"
#define LEGACY_API_VERSION "0.53.0"

struct api;     /* one dialect at work */
struct dialect; /* what is constant about one: its tables */

extern const struct dialect agent_server_dialect; /* port 8000 */
extern const struct dialect legacy_dialect;       /* port 3000: OpenHands 0.53 */

struct api_config {
    struct conversations *conversations;
    struct bash *bash;
    struct pool *pool;
    struct loop *loop;
    struct server *server;
    struct outward *outward;
    /* Session keys, as for the listener: sockets may send one as their first message. */
    const struct str *keys;
    size_t key_count;
    const char *(*env)(const char *name);      /* configured environment: LLM_MODEL and others */
    struct str working_dir;                    /* absolute: what a relative workspace is relative to */
    struct str root_path;                      /* path of web_url, or STR_NONE */
    struct str workspace_path;                 /* absolute: below it conversations of 0.53 get theirs */
    struct str feedback_url;                   /* where feedback is sent; empty: nowhere */
    const struct static_files *swagger_files;  /* for /docs; NULL: it is a plain list */
    const char *build_git_sha, *build_git_ref; /* shown in /server_info; NULL: "unknown" */
    double command_max_seconds;                /* likewise: longest timeout of an agent's command */
    double runtime_idle_timeout_seconds;       /* shown in /server_info; 0: null */
    bool enable_vscode, enable_vnc;            /* as configured */
    struct vscodes *vscodes;
    int vscode_port; /* of the server's own VS Code; 0: any free one */
    struct str vscode_base_path;
};

struct api *api_new(const struct dialect *dialect, const struct api_config *config);
void api_free(struct api *a); /* after the loop has ended */
/* The whole table, for server_listen; lives as long as the dialect. */
const struct route *api_routes(const struct api *a, size_t *count);
