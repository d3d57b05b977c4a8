/* client: the state machine of one MCP connection, without I/O. It is told what the server sends and says what is to be
 * sent; deadlines are its owner's. One thread at a time.
 *
 * Versions 2025-06-18 down to 2024-11-05. It has no capabilities of its own: a server's `ping` is answered, `roots/list`
 * with none, everything else with "method not found". */
#pragma once
#include "mcp/message.h"

#define MCP_PENDING_MAX 256 /* requests under way */
#define MCP_PAGES_MAX 50    /* of one list of tools */
#define MCP_RELISTS_MAX 100 /* times that a server may say that its list has changed */

struct mcp_client_events {
    /* `request` is the number of a request, 0 for everything else. */
    void (*send)(void *arg, struct str json, int64_t request);
    void (*agreed)(void *arg, struct str version);
    void (*ready)(void *arg);                   /* initialised, and its tools are known */
    void (*listing)(void *arg, bool under_way); /* it is ready, and its list is being read again */
    /* A list of tools has come whole; the reference is given away. */
    void (*tools)(void *arg, struct mcp_tool_list *list);
    /* The end of a call: `e`, or `result` in `doc` (borrowed: take a reference). */
    void (*answered)(void *arg, int64_t request, struct mcp_doc *doc, const struct json_value *result,
                     const struct err *e);
    /* It breaks the protocol; nothing more will come of it. */
    void (*broken)(void *arg, const struct err *why);
};

enum mcp_phase { MCP_PHASE_NEW, MCP_PHASE_INITIALIZE, MCP_PHASE_LIST, MCP_PHASE_READY, MCP_PHASE_BROKEN };

enum mcp_asked { MCP_ASKED_INITIALIZE, MCP_ASKED_LIST, MCP_ASKED_CALL, MCP_GIVEN_UP };

struct mcp_pending {
    int64_t number;
    enum mcp_asked what;
};

struct mcp_client {
    const struct mcp_client_events *events;
    void *arg;
    enum mcp_phase phase;
    bool listed; /* its tools are known from before: they are not asked for */
    bool relist; /* the list has changed while it was being read */
    unsigned pages, relists;
    int64_t last; /* number of the last request */
    struct mcp_pending pending[MCP_PENDING_MAX];
    size_t pending_count;
    struct mcp_tool_list *list; /* being read */
    char version[16];           /* agreed; empty until then */
};

/* `listed`: its tools are known. */
void mcp_client_init(struct mcp_client *c, const struct mcp_client_events *events, void *arg, bool listed);
void mcp_client_deinit(struct mcp_client *c);
void mcp_client_start(struct mcp_client *c);
/* A document from the server: one message, or a list of them. True if an answer to a request of ours was among them.
 * What is no message is an error that the owner counts; the connection goes on. */
bool mcp_client_receive(struct mcp_client *c, struct mcp_doc *doc, struct err **e);
/* Calls a tool; `arguments` is JSON of an object. `*request` is set before anything is sent. False: too many are under
 * way. */
bool mcp_client_call(struct mcp_client *c, struct str tool, struct str arguments, int64_t *request);
/* Nobody waits for it any more: its answer will be ignored, and the server is told. */
void mcp_client_cancel(struct mcp_client *c, int64_t request, const char *reason);
/* Its list takes too long to be read again: the old one stays. */
void mcp_client_list_cancel(struct mcp_client *c);
/* It could not be sent, or its answer cannot come. */
void mcp_client_request_failed(struct mcp_client *c, int64_t request, const struct err *why);
