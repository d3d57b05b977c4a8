/* mcp: a conversation's MCP servers. Each is a process that the hand starts (stdio) or an address that the outward thread
 * calls (streamable HTTP, and the older SSE); each stands alone, so that one that is dead, slow or mad hurts nobody else.
 *
 * Threads: everything that a server says is handled on the loop thread (large messages are parsed on a worker). The
 * functions below may be called by any thread; those that take a mailbox wait in it, on a run's own thread.
 * Life: nothing runs until mcp_start. A server that fails or ends keeps its list of tools, and is started again, with a
 * new `initialize`, by the next call of one of them; the list does not change by that.
 * Limits: MCP_SERVERS_MAX servers, MCP_TOOLS_MAX tools each; see message.h and client.h for those of what they say. */
#pragma once
#include "base/mailbox.h"
#include "base/pool.h"
#include "json/json.h"
#include "net/loop.h"
#include "net/outward.h"
#include "workspace/hand.h"
#include <stdatomic.h>

#define MCP_SERVERS_MAX 32
#define MCP_TOOLS_MAX 200
#define MCP_START_MS 30000   /* for a server to be ready, unless its configuration gives a `timeout` */
#define MCP_CALL_MS 300000   /* for a tool to answer, likewise */
#define MCP_ERROR_SHOWN 3000 /* bytes of an error to be shown, once secrets are hidden in it */
#define MCP_TIMEOUT_MAX 3600 /* seconds that a configuration may give */

struct mcp_context {
    struct loop *loop;
    struct pool *pool;
    struct hands *hands;
    struct outward *outward;
};

struct mcp_tool_info {
    struct str name, title, description; /* as the server gives them; UTF-8, bounded */
    struct str schema;                   /* inputSchema, JSON of an object */
    bool read_only, destructive, idempotent, open_world;
};
struct mcp_tool_list { /* immutable once given out; counted */
    atomic_uint refs;
    struct arena *arena;
    struct mcp_tool_info at[MCP_TOOLS_MAX];
    size_t n, bytes;
};
struct mcp_tool_list *mcp_tool_list_ref(struct mcp_tool_list *l);
void mcp_tool_list_unref(struct mcp_tool_list *l); /* NULL is allowed */

struct mcp_doc { /* a counted document */
    atomic_uint refs;
    struct json_doc *doc;
};
struct mcp_doc *mcp_doc_ref(struct mcp_doc *d);
void mcp_doc_unref(struct mcp_doc *d); /* NULL is allowed */

/* ---- configuration ---- */

/* Checks an agent's `mcp_config` ({name: server} or {"mcpServers": {name: server}}) and adds {name: server} as JSON to
 * `servers`, those that are not enabled left out; nothing if there are none. ERR_INVALID names the field. */
bool mcp_config_check(const struct json_value *config, struct buf *servers, struct err **e);
/* Adds `text` with each ${NAME} that `lookup` knows replaced; with `defaults` also ${NAME:-otherwise}, and with `bare`
 * $NAME too. What nobody knows stays as it is. */
typedef struct str mcp_lookup(const void *arg, struct str name); /* STR_NONE: unknown */
void mcp_expand(struct str text, mcp_lookup *lookup, const void *arg, bool defaults, bool bare,
                struct buf *out);
/* The same for all strings of a value, and the names of members. */
void mcp_expand_json(const struct json_value *v, mcp_lookup *lookup, const void *arg, bool defaults,
                     bool bare, struct buf *out);

/* ---- servers ---- */

struct mcp;

/* `servers` as of mcp_config_check, expanded. `hand` is copied. */
struct mcp *mcp_new(const struct mcp_context *context, const struct hand_spec *hand, struct str servers,
                    struct err **e);
struct mcp *mcp_ref(struct mcp *m);
void mcp_unref(struct mcp *m); /* NULL is allowed */
/* Ends all of them; calls under way fail. Nothing starts afterwards. */
void mcp_close(struct mcp *m);
/* Was it made from this text? */
bool mcp_is_of(const struct mcp *m, struct str servers);

/* Starts those that have no tools yet and are not being started. Does not wait. */
void mcp_start(struct mcp *m);
size_t mcp_count(const struct mcp *m);
struct str mcp_name(const struct mcp *m, size_t index);
uint64_t mcp_generation(struct mcp *m);                       /* grows when a list of tools changes */
struct mcp_tool_list *mcp_tools(struct mcp *m, size_t index); /* a reference; NULL: not known yet */
/* Waits until no list of tools is being read again and, with `starts`, no server is starting any more, or until
 * `deadline_ns` (0: their own deadlines). One thread at a time. False: cancelled. */
bool mcp_wait(struct mcp *m, bool starts, struct mailbox *mailbox, uint64_t deadline_ns, struct err **e);
/* The next failure that nobody was told of: `*index` is the server's. `why` carries the code. False: there is none. */
bool mcp_take_failure(struct mcp *m, size_t *index, struct err **why);

/* Calls a tool by the server's own name and waits for the result (an object, valid as long as the document). The server
 * is started if it has to be. ERR_CANCELLED: the mailbox was cancelled, and the server is told. ERR_GONE: it ended while
 * it worked, or cannot be started; ERR_TIMEOUT; ERR_UPSTREAM: it answered with an error. */
bool mcp_call(struct mcp *m, size_t index, struct str tool, struct str arguments, struct mailbox *mailbox,
              struct mcp_doc **doc, const struct json_value **result, struct err **e);
