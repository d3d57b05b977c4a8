/* internal: what mcp.c (the set, for other threads) and server.c (one server, loop thread) share. */
#pragma once
#include "base/thread.h"
#include "mcp/client.h"
#include "mcp/transport.h"

#define MCP_PARSE_INLINE_MAX (64 * 1024) /* bytes of a message; larger ones are parsed on a worker */
#define MCP_PARSING_MAX \
    (2 * MCP_MESSAGE_MAX)   /* bytes on their way through workers; past it the server is given up */
#define MCP_GARBAGE_MAX 100 /* lines of a server that are no messages */
#define MCP_UNASKED_MAX (4 * 1024 * 1024) /* bytes that nobody asked for, in … */
#define MCP_UNASKED_S 10                  /* … this many seconds */
#define MCP_CALLS_MAX 64                  /* calls of one server that wait or are under way */

enum mcp_state {
    MCP_IDLE,     /* not started, or ended without a fault */
    MCP_STARTING, /* from the moment that a start was asked for */
    MCP_READY,
    MCP_FAILED, /* may be started again */
};

struct mcp_call { /* between begin and end the loop's, then the mailbox's */
    struct mail mail;
    struct mailbox *mailbox;
    struct mcp *mcp; /* a reference */
    struct mcp_server *server;
    struct mcp_call *next, **link;
    uint64_t number, timer;
    struct buf tool, arguments;
    int64_t request; /* 0: not sent yet */
    struct mcp_doc *doc;
    const struct json_value *result;
    struct err *error;
};

struct mcp_server {
    struct mcp *mcp;
    struct mcp_server_config config;
    /* loop */
    struct mcp_client client;
    struct mcp_transport *transport; /* NULL: not running */
    uint64_t epoch;                  /* of the transport; grows */
    uint64_t start_timer;            /* of the start, or of reading the list again */
    struct mcp_call *calls, **calls_end;
    size_t call_count;
    size_t parsing; /* bytes that workers have */
    unsigned garbage;
    uint64_t unasked, unasked_since_ns;
    /* under the set's lock */
    enum mcp_state state;
    struct mcp_tool_list *tools; /* NULL: not known yet */
    bool listing;                /* READY, and its list is being read again */
    struct err *failure;         /* that nobody was told of */
};

struct mcp {
    atomic_uint refs;
    struct mcp_context context;
    struct hand_spec hand; /* working_dir is in the arena */
    struct arena *arena;
    struct str source;
    size_t count;
    struct mcp_server *servers;
    bool closed; /* loop */
    atomic_uint_fast64_t last_call;
    pthread_mutex_t lock;
    bool closing; /* no start any more */
    uint64_t generation;
    struct mailbox *watcher; /* is told when nothing is on its way any more */
    uint64_t watcher_tag;
    bool watcher_starts;
};

/* server.c, loop */
void server_start(struct mcp_server *s); /* state is STARTING */
void server_call(struct mcp_server *s, struct mcp_call *call);
void server_cancel(struct mcp_server *s, uint64_t number); /* nobody waits for this call */
void server_close(struct mcp_server *s);
void mcp_call_end(struct mcp_call *call, struct mcp_doc *doc, const struct json_value *result,
                  const struct err *e);
/* mcp.c, any thread: publishes; `why` (or NULL) is copied. */
void server_publish(struct mcp_server *s, enum mcp_state state, const struct err *why);
void server_publish_listing(struct mcp_server *s, bool listing);
