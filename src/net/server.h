/* server: HTTP/1.1 and WebSocket listeners with a table of routes.
 *
 * The loop thread owns every connection. A request, once its head and body are complete and decoded, becomes a
 * `struct request` of its own (arena, decoded arguments, a ticket naming connection slot, generation and request
 * number). Exactly one party holds it at a time; keeping it is *parking* it. It ends with exactly one request_reply…
 * call, from any thread: the answer travels to the loop and is dropped there if the connection has gone. Nothing outside
 * the loop ever holds a pointer to a connection or a socket.
 *
 * Before routing: request-smuggling and framing errors (400, close), Origin (403), Host (403), key (401), limits.
 * One request at a time per connection; pipelined ones wait in the connection's buffer.
 * Limits are in server_limits; each has a documented default. */
#pragma once
#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/pool.h"
#include "json/schema.h"
#include "net/loop.h"

struct server;   /* one or more listeners sharing limits, loop, workers */
struct listener; /* one address with one route table */
struct request;

enum http_method { HTTP_GET_, HTTP_POST_, HTTP_PUT_, HTTP_PATCH_, HTTP_DELETE_, HTTP_METHODS };

struct server_limits {
    uint64_t head_ms;        /* 10 s absolute for a request's head */
    uint64_t body_idle_ms;   /* 30 s without a byte of the body */
    uint64_t body_rate_min;  /* bytes per second over the whole body after the first 30 s; 1 KiB/s */
    uint64_t keep_alive_ms;  /* 75 s between requests */
    uint64_t write_idle_ms;  /* 60 s in which less than write_rate_min of an answer was taken */
    uint64_t write_rate_min; /* bytes per second over such a time; 1 KiB/s */
    size_t head_max;         /* 64 KiB */
    size_t headers_max;      /* 100 */
    size_t body_max;         /* 16 MiB unless the route says otherwise */
    size_t connections_max;  /* 20,000; further ones are closed at accept */
    size_t parked_max;       /* 10,000 requests being handled; past that 503 with Retry-After */
    size_t sending_max; /* 512 MiB of answers waiting for slow clients; past it 503 instead of long ones */
    size_t socket_message_max; /* 1 MiB from a client; larger: close 1009 */
    size_t socket_buffer_max;  /* 2 MiB waiting to be sent on one socket; socket_send refuses past it */
};
extern const struct server_limits server_limits_default;

struct server_config {
    struct loop *loop;
    struct pool *pool;
    struct server_limits limits; /* all zero members take the default */
};

struct server *server_new(const struct server_config *config);
/* Stops accepting; lets requests in progress end (at most `ms`), closes sockets with 1001, then calls `done` on the
 * loop. Loop thread. */
void server_drain(struct server *s, uint64_t ms, void (*done)(void *arg), void *arg);
/* After the loop has ended and the pool is freed (a request answered later would find no server), before loop_free. */
void server_free(struct server *s);

/* ---- routes ---- */

#define ROUTE_PUBLIC 1u /* no key needed */
#define ROUTE_INLINE 2u /* the handler runs on the loop and never blocks; otherwise on a worker */
#define ROUTE_SOCKET \
    4u /* WebSocket upgrade; the handler runs on the loop; the key is the handler's business */
#define ROUTE_BODY_OPTIONAL 8u  /* an empty body decodes as {} */
#define ROUTE_RAW_BODY 16u      /* any content type; request_body gives the bytes */
#define ROUTE_BODY_ANY_JSON 32u /* JSON of any type without a schema: request_json gives it (batch GETs) */
#define ROUTE_HIDDEN 64u        /* not in the OpenAPI document */
#define ROUTE_STREAM_BODY 128u  /* the handler runs on the loop, before the body: see request_body_read */

struct route_response {
    int status;
    const char *description;
    const struct json_schema *schema; /* NULL: {} or `ref` */
    const char *ref; /* name of a component written by hand in the dialect's table, or inline JSON Schema */
    const char *content_type; /* NULL: application/json */
};

struct route {
    enum http_method method;
    const char *path; /* "/api/conversations/{conversation_id}/run"; "{name:path}" takes the rest */
    void (*handle)(struct request *r, const void *args);
    const char *summary;
    const char *tag;
    const char *operation; /* operationId */
    unsigned flags;
    size_t args_size; /* C struct that path, query and body decode into; at most 4 KiB */
    const struct json_field *path_fields, *query_fields; /* offsets in the args struct */
    size_t path_count, query_count;
    const struct json_schema *body; /* its fields' offsets count from body_offset in the args struct */
    size_t body_offset;
    size_t body_max; /* 0: the server's; without a bound with ROUTE_STREAM_BODY */
    const char
        *body_type; /* media type of the body for the OpenAPI document; NULL: JSON, or octets when raw */
    const struct route_response *responses;
    size_t response_count;
};

struct listener_config {
    const char *host;
    int port;         /* 0: any free one */
    const char *name; /* "agent-server" */
    const struct route *routes;
    size_t route_count;
    void *app;              /* request_app */
    const struct str *keys; /* session keys; none: open */
    size_t key_count;
    /* Allowed besides the own and loopback ones: full origins, as configured; a bare host name allows every scheme and
     * port of it (DOCKER_HOST_ADDR), "*" every origin but `null`. */
    const struct str *origins;
    size_t origin_count;
    struct str origin_regex; /* PCRE2, whole match, or STR_NONE */
    /* Host names accepted when no key is configured, besides loopback and the bound one. */
    const struct str *hosts;
    size_t host_count;
    struct str root_path; /* path of web_url, stripped from targets that have it; or STR_NONE */
    /* For targets that match no route: true if it took the request (static files, docs). May be NULL. */
    bool (*fallback)(struct request *r);
};

/* Binds and listens. A busy port is ERR_CONFLICT. Loop thread or before the loop runs. */
struct listener *server_listen(struct server *s, const struct listener_config *config, struct err **e);
int listener_port(const struct listener *l);

/* ---- requests: any thread, by whoever holds it ---- */

void *request_app(const struct request *r);
struct server *request_server(const struct request *r);
struct arena *request_arena(struct request *r);
bool request_head_only(const struct request *r);       /* HEAD: a body of the answer is not sent */
struct str request_path(const struct request *r);      /* decoded, without root_path and query */
struct str request_root_path(const struct request *r); /* the listener's, without a slash at its end */
struct str request_header(const struct request *r, const char *name); /* case-insensitive; STR_NONE */
struct str request_body(const struct request *r);
const struct json_value *request_json(const struct request *r); /* the parsed body or NULL */
bool request_has_json(const struct request *r);                 /* its content type is that of JSON */
bool request_https(const struct request *r);                    /* X-Forwarded-Proto */
/* Constant time over all keys; true if none is set. */
bool request_key_valid(const struct request *r, struct str key);

void request_set_header(struct request *r, struct str name, struct str value); /* of the answer */
/* Each of these ends the request. The body is moved in. */
void request_reply(struct request *r, int status, const char *content_type, struct buf *body);
/* Takes one reference of `body`. */
void request_reply_bytes(struct request *r, int status, const char *content_type, struct bytes *body);
void request_reply_json(struct request *r, int status, struct buf *body);
void request_reply_empty(struct request *r, int status);
void request_reply_detail(struct request *r, int status, const char *detail);         /* {"detail":"…"} */
void request_reply_problems(struct request *r, const struct json_problems *problems); /* 422 */
/* By the one table of error kinds: < 500 {"detail"}, ≥ 500 {"detail":"Internal Server Error","exception":"503: …"},
 * 503 with Retry-After. */
void request_reply_error(struct request *r, const struct err *e);
int err_http_status(const struct err *e); /* by that table */

/* Bodies in pieces: routes with ROUTE_STREAM_BODY, loop thread only. Their handler gets the request when its head is
 * there; it answers, or calls request_body_read once, now or later, and answers when it likes. Until then, and while
 * BODY_AHEAD_MAX bytes are with the reader that it has not given back by request_body_taken, the connection is not read.
 * `on_data` is at most 64 KiB. `on_end` comes once, last, unless the request has been answered before: with an error when
 * the rest will not come (the client went away, was too slow, broke the framing); the request is to be answered then
 * too, and what the client did wrong goes before that answer. An answer before the end of the body ends the
 * connection, unless little is left to come. */
#define BODY_AHEAD_MAX (256 * 1024)
struct body_callbacks {
    void (*on_data)(void *arg, struct str data);
    void (*on_end)(void *arg, const struct err *e); /* NULL: that was all */
};
void request_body_read(struct request *r, const struct body_callbacks *callbacks, void *arg);
void request_body_taken(struct request *r, size_t n);

/* Streaming answers, chunked. After begin the request is gone; the stream is named by a number. Any thread. `on_room`
 * (loop thread) comes when fewer than STREAM_LOW bytes wait; write no more than STREAM_HIGH ahead. `on_closed` (loop
 * thread) comes exactly once, last. on_room comes only after something was written since it came last, so the first
 * write is the caller's; but on_closed may come before request_stream returns. */
#define STREAM_LOW (64 * 1024)
#define STREAM_HIGH (512 * 1024)
uint64_t request_stream(struct request *r, int status, const char *content_type,
                        int64_t length /* -1: chunked */, void (*on_room)(void *arg),
                        void (*on_closed)(void *arg), void *arg);
void server_stream_write(struct server *s, uint64_t stream, struct bytes *data); /* takes one ref */
/* Not `whole`: aborted, the connection is cut. */
void server_stream_end(struct server *s, uint64_t stream, bool whole);

/* ---- sockets: loop thread only ---- */

/* Names a socket: slot and generation; 0 is none. Every call with a dead one is harmless. */
struct socket_callbacks {
    /* Whole, valid UTF-8; binary counts as text. */
    void (*on_text)(void *arg, uint64_t socket, struct str message);
    void (*on_room)(void *arg, uint64_t socket);  /* the send queue is empty again */
    void (*on_close)(void *arg, uint64_t socket); /* exactly once, whoever closed */
};

/* Answers the upgrade with 101. The request is gone. */
uint64_t request_accept_socket(struct request *r, const struct socket_callbacks *callbacks, void *arg);
/* Refuses it with an HTTP status. (A close before accept is 403 on the wire.) */
void request_refuse_socket(struct request *r, int status);
/* Sends one text frame; takes one ref. False when dead or when socket_buffer_max is reached. */
bool socket_send(struct server *s, uint64_t socket, struct bytes *text);
size_t socket_pending(const struct server *s, uint64_t socket); /* bytes not yet taken by the kernel */
void socket_close(struct server *s, uint64_t socket, int code, const char *reason);
/* Pings are answered at once. The server itself pings an idle socket every 25 s and drops it after 60 s of silence. */

/* Counts for /server_info and tests. Loop thread. */
size_t server_parked(const struct server *s);
uint64_t server_last_request_ns(const struct server *s); /* atomic; for idle_time */
