/* outward: the one thread that owns every outgoing connection (models, webhooks, MCP over HTTP, Docker): libcurl's multi
 * interface, one pool of connections, one CA store. libcurl is opened (dlopen) at the first call: merely linking it
 * costs 8 MB before main.
 *
 * Threads: start and cancel from any thread. Callbacks run on the outward thread and must not block.
 * Limits: http and https (and a unix socket) only; no redirect is followed unless `redirects` > 0, and then never with
 * credentials to another host; the body is bounded by `body_max`; OUTWARD_CALLS_MAX calls at once (more: ERR_BUSY).
 * Failure: on_done comes exactly once; a cancelled call ends within 100 ms with ERR_CANCELLED. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#define OUTWARD_CALLS_MAX 20000
#define OUTWARD_HEADERS_MAX (64 * 1024) /* bytes of response headers */

struct outward;

struct outward *outward_new(void);
void outward_free(struct outward *o); /* cancels all calls, delivers their on_done, joins */

struct outward_result {
    int status;         /* HTTP status, 0 when there was no answer */
    struct str headers; /* "Name: value\r\n" lines, valid during the callback */
    /* Transport failure (ERR_UPSTREAM, ERR_TIMEOUT, ERR_CANCELLED, ERR_TOO_LARGE) or NULL. */
    const struct err *error;
    bool connected; /* false: the request certainly never reached the other side */
    double seconds; /* from start to end */
};

struct outward_request {
    struct str method; /* "POST" */
    struct str url;
    const struct str *headers; /* "Name: value" */
    size_t header_count;
    struct str body;
    struct str unix_socket;      /* path, or STR_NONE */
    uint64_t connect_timeout_ms; /* 0: 10 s */
    uint64_t timeout_ms;         /* whole call, 0: none */
    uint64_t idle_timeout_ms;    /* no byte for so long, 0: none */
    size_t body_max;             /* most bytes of the answer's body */
    unsigned redirects;
    /* Headers are complete; may be NULL. */
    void (*on_headers)(void *arg, int status, struct str headers);
    /* A piece of the body, as it came. False ends the call (ERR_CANCELLED). */
    bool (*on_data)(void *arg, struct str data);
    void (*on_done)(void *arg, const struct outward_result *result);
    void *arg;
};

/* Copies the request and starts it; returns its number (never 0, never reused). on_done comes even if it cannot be
 * started. */
uint64_t outward_start(struct outward *o, const struct outward_request *request);
void outward_cancel(struct outward *o, uint64_t call); /* harmless for one that has ended */
/* Value of a header in `headers` (case-insensitive), or STR_NONE. */
struct str outward_header(struct str headers, struct str name);
