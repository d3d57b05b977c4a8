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

/* The release of the OpenHands agent server whose wire this is. Clients compare it before they use a feature. */
#define AGENT_SERVER_API_VERSION "1.43.1"

struct agent_server; /* the dialect of port 8000 */

struct agent_server_config {
    struct conversations *conversations;
    struct bash *bash;
    struct pool *pool;
    struct loop *loop;
    struct server *server;
    /* Session keys, as for the listener: sockets may send one as their first message. */
    const struct str *keys;
    size_t key_count;
    struct str working_dir;                    /* absolute: what a relative workspace is relative to */
    const struct static_files *swagger_files;  /* for /docs; NULL: it is a plain list */
    const char *build_git_sha, *build_git_ref; /* shown in /server_info; NULL: "unknown" */
    double command_max_seconds;                /* likewise: longest timeout of an agent's command */
    double runtime_idle_timeout_seconds;       /* shown in /server_info; 0: null */
    bool enable_vscode, enable_vnc;            /* as configured; neither is started here */
};

struct agent_server *agent_server_new(const struct agent_server_config *config);
void agent_server_free(struct agent_server *a); /* after the loop has ended */
/* The whole table, for server_listen; lives as long as the dialect. */
const struct route *agent_server_routes(const struct agent_server *a, size_t *count);
