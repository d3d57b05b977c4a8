/* transport: how messages reach one server. Loop thread only. After `close` no event comes any more and the transport
 * frees itself when what it has under way has ended. */
#pragma once
#include "mcp/config.h"

#define MCP_STDERR_MAX 2000 /* bytes of a server's standard error that are kept for the error */

struct mcp_transport_events {
    /* A message; moved in. */
    void (*message)(void *arg, struct buf *text);
    /* The answer to this request cannot come; the connection stands. */
    void (*failed)(void *arg, int64_t request, const struct err *why);
    /* The connection has ended; `close` is still to be called. ERR_GONE: not by the server's doing. */
    void (*ended)(void *arg, const struct err *why);
};

struct mcp_transport; /* the beginning of each kind's own struct */
struct mcp_transport_kind_ops {
    /* `request`: number of the request in `json`, or 0. */
    void (*send)(struct mcp_transport *t, struct str json, int64_t request);
    void (*cancel)(struct mcp_transport *t, int64_t request); /* nobody waits for its answer */
    void (*agreed)(struct mcp_transport *t, struct str version);
    void (*close)(struct mcp_transport *t);
};
struct mcp_transport {
    const struct mcp_transport_kind_ops *ops;
    const struct mcp_transport_events *events; /* NULL once closed */
    void *arg;
};

struct mcp_transport *mcp_stdio_new(const struct mcp_context *context, const struct hand_spec *hand,
                                    const struct mcp_server_config *config,
                                    const struct mcp_transport_events *events, void *arg);
/* For MCP_HTTP and MCP_SSE. */
struct mcp_transport *mcp_http_new(const struct mcp_context *context, const struct mcp_server_config *config,
                                   const struct mcp_transport_events *events, void *arg);
