/* connection: what server.c, connection.c, output.c, dispatch.c, response.c, stream.c and socket.c share. Nobody
 * outside these files includes it. Everything here belongs to the loop thread, except a `struct request` while its
 * holder has it.
 *
 * A connection is a small struct: while it is idle it has no buffer, no request and no timer of its own. */
#pragma once
#include "base/map.h"
#include "base/vec.h"
#include "net/access.h"
#include "net/deadline.h"
#include "net/http.h"
#include "net/router.h"
#include "net/server.h"
#include "net/websocket.h"
#include <stdatomic.h>

#define READ_BUFFER_BYTES (64 * 1024) /* one for all connections */
#define INPUT_MAX (64 * 1024)         /* pipelined bytes kept; past it the connection is not read */
#define DISCARD_MAX (64 * 1024) /* body of a refused request that is read to keep the connection usable */
#define DECODE_INLINE_MAX (64 * 1024)       /* larger bodies are decoded by a worker */
#define RECEIVED_MAX (512ull * 1024 * 1024) /* bytes of unfinished input, over all connections */
#define ANSWER_SMALL (1024 * 1024)          /* answers up to this size are sent however much waits */
#define LINGER_MS 2000 /* how long we read what a client still sends after we closed our side */
#define LINGER_BYTES (1024 * 1024)
#define SOCKET_PING_MS 25000
#define SOCKET_SILENCE_MS 35000       /* after the ping: 60 s in all */
#define SOCKET_CLOSE_MS 5000          /* for the client's half of the closing handshake */
#define STREAM_MAX (16 * 1024 * 1024) /* a writer that ignores STREAM_HIGH is cut off here */
#define IDLE_REQUESTS_MAX 16          /* request structs kept for reuse */

struct connection;
struct intake;
struct socket;
struct stream;

/* ---- output ---- */

#define OUT_HEAD_MAX 22 /* a frame header or a chunk header */

/* A piece to be sent: a short head and a body that is shared, owned or absent. */
struct out_item {
    const char *p;
    size_t n;
    struct bytes *shared;
    char *owned;
    uint8_t head[OUT_HEAD_MAX];
    uint8_t head_n, head_at;
};

/* Items in order. At most one write is with libuv; then the rest waits here. */
struct output {
    VEC(struct out_item) items;
    size_t first;       /* of items: those before it are gone */
    size_t bytes;       /* unsent, with those that libuv has */
    size_t charged;     /* of server.sending */
    uint64_t submitted; /* to libuv or the kernel, ever */
    bool writing;
};

/* ---- requests ---- */

struct request {
    struct loop_message message; /* on its way to the loop */
    struct server *server;
    struct listener *listener;
    uint32_t slot, generation, number; /* of the connection, and the request on it */
    struct http_head head;
    enum http_method method; /* HTTP_METHODS for one that no route has */
    bool head_only;          /* HEAD */
    bool cors;               /* the Origin is allowed: say so in the answer */
    bool counted;            /* in server.parked */
    bool fallback;
    int refused; /* status decided from the head; 0: go on */
    const char *refused_detail;
    size_t charged; /* bytes of server.received */
    uint64_t started_ns;
    struct str path; /* decoded, without root_path */
    const struct route *route;
    struct str params[ROUTE_PARAMS_MAX];
    struct arena *arena;
    void *args;
    struct json_doc *json;
    /* The answer. */
    int status;
    struct buf headers; /* "name: value\r\n" lines */
    struct buf body;
    struct bytes *shared;
    struct stream *stream;
    struct request *next_idle;
};

struct request *request_new(struct server *s);
void request_free(struct request *r); /* loop thread */

/* ---- connections ---- */

enum phase {
    PHASE_IDLE,    /* between requests */
    PHASE_HEAD,    /* reading a request's head */
    PHASE_BODY,    /* reading its body */
    PHASE_BUSY,    /* the request is with its handler */
    PHASE_SENDING, /* the answer is being written, or streamed */
    PHASE_SOCKET,  /* a WebSocket */
    PHASE_LINGER,  /* our side is closed; what still comes is dropped */
};

struct connection {
    uv_tcp_t tcp;
    struct server *server;
    struct listener *listener;
    uint32_t slot, generation;
    uint32_t number;               /* of the current request */
    uint32_t head_deadline_number; /* the request that the head's deadline was set for */
    enum phase phase;
    bool closed, feeding, paused, reading, eof, close_after, flush_queued, shutting;
    struct connection *flush_next, **flush_prev;
    struct http_parser parser;
    struct request *request; /* being read; NULL once its handler has it */
    struct deadline read_deadline, write_deadline;
    uint64_t body_started_ms;
    uint64_t write_mark; /* output_sent when the write deadline was set: more later means progress */
    size_t lingered;
    struct buf in; /* bytes that wait for the current request to end */
    size_t in_at, in_charged;
    struct output out;
    struct intake *intake; /* of a body that its handler takes in pieces */
    struct stream *stream;
    struct socket *socket;
};

struct slot {
    struct connection *connection; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
};

struct listener {
    uv_tcp_t tcp;
    struct server *server;
    struct listener *next;
    int port;
    struct router *router;
    struct access *access;
    /* Pointers into it are valid during server_listen only, but for routes and app. */
    struct listener_config config;
    char *root_path; /* without a slash at the end; "" for none */
    bool closed;
};

struct server {
    struct loop *loop;
    uv_loop_t *uv;
    struct pool *pool;
    struct server_limits limits;
    struct listener *listeners;
    VEC(struct slot) slots;
    uint32_t free_slot; /* index + 1; 0: none */
    size_t connections, parked;
    size_t received; /* bytes kept of heads, bodies, pipelined requests and fragmented messages */
    size_t sending;  /* unsent bytes of answers; sockets have their own bound, and share what they send */
    size_t handles;  /* libuv handles that are not closed yet */
    char *read_buffer;
    struct buf scratch; /* the head of the answer that is being written */
    struct request *idle_requests;
    size_t idle_count;
    struct deadline_queue head_deadlines, body_deadlines, idle_deadlines, write_deadlines, linger_deadlines,
        ping_deadlines, silence_deadlines, close_deadlines;
    uv_idle_t flusher; /* writes what a turn of the loop has queued, before the loop sleeps */
    struct connection *flush_first;
    struct map_u64 *streams;
    _Atomic uint64_t next_stream;
    _Atomic uint64_t last_request_ns;
    uint64_t date_second;
    char date[40];
    bool draining, drained;
    uint64_t drain_timer;
    void (*drain_done)(void *arg);
    void *drain_arg;
};

/* server.c */
struct connection *server_connection(const struct server *s, uint32_t slot, uint32_t generation);
void server_slot_take(struct server *s, struct connection *c);
void server_slot_release(struct server *s, struct connection *c);
void server_connection_freed(struct server *s);

/* connection.c */
void server_deadlines_init(struct server *s);
void server_deadlines_close(struct server *s);
void connection_open(struct listener *l);
void connection_close(struct connection *c); /* at once; harmless when closed */
/* The answer is wholly with the kernel: on to the next request, or the end. */
void connection_answered(struct connection *c);
/* Refuses the request that is being read and ends the connection. */
void connection_fail(struct connection *c, int status, const char *detail);
void connection_resume(struct connection *c); /* looks at the bytes that waited */
void connection_linger(struct connection *c); /* closes our side, then drops what comes for a while */

void connection_read_update(struct connection *c); /* reads, or not, as the buffers and the intake want it */

/* Counts what is kept of input: `*charged` becomes `now`. False when the server has too much of it. */
bool server_charge(struct server *s, size_t *charged, size_t now);

/* output.c */
void output_add(struct connection *c, struct out_item item); /* takes what the item holds */
void output_flush(struct connection *c);
void output_flush_soon(struct connection *c); /* before the loop sleeps */
void output_discard(struct connection *c);
uint64_t output_sent(const struct connection *c); /* bytes that libuv has given to the kernel, ever */
void output_unqueue(struct connection *c);
/* All, or what the kernel takes, of two pieces; returns the bytes taken, SIZE_MAX when the connection is dead. */
size_t output_try(struct connection *c, struct str head, struct str body);
void output_written(struct connection *c); /* connection.c: some output has gone */

/* dispatch.c */
void dispatch_head(struct connection *c);
void dispatch_request(struct connection *c);
void dispatch_continue(struct connection *c); /* 100 */
void dispatch_stream(struct connection *c);   /* the head of a request whose body comes in pieces */

/* intake.c */
void intake_begin(struct connection *c);
bool intake_full(const struct connection *c); /* nothing may be read now */
/* Waiting for the handler is no fault of the client: this long of the time since the body began. */
uint64_t intake_waited_ms(const struct connection *c);
void intake_data(void *connection, struct str data);
void intake_end(struct connection *c);
void intake_fail(struct connection *c, int status, const char *problem);
void intake_closed(struct connection *c);
/* An answer: true if it is kept for later, and not to be sent now. */
bool intake_answer(struct connection *c, struct request *r);

/* response.c */
void response_head_write(struct connection *c, const struct request *r, int64_t length, bool chunked);
void response_answer(struct request *r); /* any thread: brings the request to the loop and ends it */
void response_later(struct request *r);  /* the same in a later turn of the loop */
void response_log(const struct request *r);

/* stream.c */
void stream_begin(struct connection *c, struct request *r); /* c is NULL when the connection has gone */
void stream_output_written(struct connection *c);
void stream_closed(struct connection *c);

/* socket.c */
size_t socket_read(struct connection *c, char *data, size_t n);
void socket_output_written(struct connection *c);
void socket_ping_due(struct connection *c);
void socket_closed(struct connection *c);
void socket_close_connection(struct connection *c, int code, const char *reason);
bool socket_is_closing(const struct connection *c);
bool socket_handshake_valid(struct request *r); /* answers and returns false otherwise */
