/* One connection: reading, phases and deadlines. */
#include "base/cleanup.h"
#include "base/log.h"
#include "net/connection.h"

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void input_drop(struct connection *c)
{
    server_charge(c->server, &c->in_charged, 0);
    buf_deinit(&c->in);
    c->in_at = 0;
}

/* ---- birth and death ---- */

static void on_closed(uv_handle_t *handle)
{
    struct connection *c = CONTAINER_OF((uv_tcp_t *)handle, struct connection, tcp);
    struct server *s = c->server;
    free(c);
    s->handles--;
    server_connection_freed(s);
}

void connection_open(struct listener *l)
{
    struct server *s = l->server;
    struct connection *c = xcalloc(1, sizeof(*c));
    c->server = s;
    c->listener = l;
    uv_tcp_init(s->uv, &c->tcp);
    s->handles++;
    server_slot_take(s, c);
    if (uv_accept((uv_stream_t *)&l->tcp, (uv_stream_t *)&c->tcp) != 0 ||
        s->connections > s->limits.connections_max || s->draining ||
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0) {
        connection_close(c);
        return;
    }
    c->reading = true;
    uv_tcp_nodelay(&c->tcp, 1);
    c->head_deadline_number = c->number + 1;
    deadline_set(&s->head_deadlines, &c->read_deadline);
}

void connection_close(struct connection *c)
{
    if (c->closed)
        return;
    c->closed = true;
    deadline_clear(&c->read_deadline);
    deadline_clear(&c->write_deadline);
    output_unqueue(c);
    output_discard(c);
    server_slot_release(c->server, c);
    input_drop(c);
    if (c->request)
        request_free(steal(c->request));
    uv_close((uv_handle_t *)&c->tcp, on_closed);
    /* Last, because these call out. */
    if (c->intake)
        intake_closed(c);
    if (c->stream)
        stream_closed(c);
    if (c->socket)
        socket_closed(c);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct connection *c = req->data;
    free(req);
    if (!c->closed && (status < 0 || c->eof))
        connection_close(c);
}

/* A close while bytes of the client are unread resets the connection and may destroy our answer on its way. */
void connection_linger(struct connection *c)
{
    if (c->closed || c->phase == PHASE_LINGER)
        return;
    c->phase = PHASE_LINGER;
    input_drop(c);
    uv_shutdown_t *req = xmalloc(sizeof(*req));
    req->data = c;
    if (uv_shutdown(req, (uv_stream_t *)&c->tcp, on_shutdown) != 0) {
        free(req);
        connection_close(c);
        return;
    }
    deadline_set(&c->server->linger_deadlines, &c->read_deadline);
    c->paused = false;
    connection_read_update(c);
}

/* ---- requests ---- */

static void request_start(struct connection *c)
{
    struct server *s = c->server;
    struct request *r = request_new(s);
    c->number++;
    c->phase = PHASE_HEAD;
    c->request = r;
    r->listener = c->listener;
    r->slot = c->slot;
    r->generation = c->generation;
    r->number = c->number;
    r->started_ns = loop_now_ns(s->loop);
    http_parser_start(&c->parser, &r->head, s->limits.head_max);
}

void connection_fail(struct connection *c, int status, const char *detail)
{
    struct request *r = steal(c->request);
    r->head.keep_alive = false;
    c->phase = PHASE_BUSY;
    request_reply_detail(r, status, detail);
}

static bool request_charge(struct connection *c)
{
    struct request *r = c->request;
    if (!r) /* its handler has it already, and the body is not kept */
        return true;
    if (server_charge(c->server, &r->charged, r->head.text.n + r->head.body.n))
        return true;
    connection_fail(c, 503, "Too many requests are being received");
    return false;
}

static size_t request_read(struct connection *c, const char *data, size_t n)
{
    enum http_event event;
    if (c->phase == PHASE_IDLE)
        request_start(c);
    size_t used = http_parse(&c->parser, str_make(data, n), &event);
    if (event == HTTP_EVENT_BAD && c->intake) {
        intake_fail(c, c->parser.status, c->parser.problem);
        return n;
    }
    if (event == HTTP_EVENT_BAD) {
        connection_fail(c, c->parser.status, c->parser.problem);
        return n;
    }
    if (!request_charge(c))
        return n;
    if (event == HTTP_EVENT_HEAD) {
        c->phase = PHASE_BODY;
        c->body_started_ms = uv_now(c->server->uv);
        dispatch_head(c);
        if (c->closed || c->phase != PHASE_BODY || used < n)
            return used;
        /* Without a body the request is complete already, though there is no byte left to say so. */
        http_parse(&c->parser, STR(""), &event);
    }
    if (event == HTTP_EVENT_DONE && c->intake)
        intake_end(c);
    else if (event == HTTP_EVENT_DONE)
        dispatch_request(c);
    return used;
}

static size_t connection_consume(struct connection *c, char *data, size_t n)
{
    size_t used = 0;
    c->feeding = true;
    while (used < n && !c->closed) {
        if (c->phase == PHASE_SOCKET)
            used += socket_read(c, data + used, n - used);
        else if (c->phase == PHASE_LINGER)
            used = n;
        else if (c->phase <= PHASE_BODY && !intake_full(c))
            used += request_read(c, data + used, n - used);
        else
            break;
    }
    c->feeding = false;
    return used;
}

/* ---- deadlines ---- */

static bool body_too_slow(const struct connection *c)
{
    const struct server *s = c->server;
    uint64_t ms = uv_now(s->uv) - c->body_started_ms - intake_waited_ms(c);
    return ms > s->limits.body_idle_ms && c->parser.body_n < ms * s->limits.body_rate_min / 1000;
}

static void body_fail(struct connection *c, const char *problem)
{
    if (c->intake)
        intake_fail(c, 408, problem);
    else
        connection_fail(c, 408, problem);
}

/* After each piece of input or output: the deadline that fits where we stand. */
static void connection_settle(struct connection *c)
{
    struct server *s = c->server;
    if (c->closed)
        return;
    connection_read_update(c);
    if (c->eof && (c->phase <= PHASE_BODY || c->phase == PHASE_SOCKET)) {
        connection_close(c);
        return;
    }
    switch (c->phase) {
    case PHASE_IDLE:
        if (c->number == 0)
            break; /* the first request's head is due since the connection was made */
        if (s->draining) {
            connection_linger(c);
            break;
        }
        deadline_set(&s->idle_deadlines, &c->read_deadline);
        break;
    case PHASE_HEAD:
        if (c->head_deadline_number != c->number) {
            c->head_deadline_number = c->number;
            deadline_set(&s->head_deadlines, &c->read_deadline);
        }
        break;
    case PHASE_BODY:
        if (intake_full(c))
            deadline_clear(&c->read_deadline);
        else if (body_too_slow(c))
            body_fail(c, "The request's body comes too slowly");
        else
            deadline_set(&s->body_deadlines, &c->read_deadline);
        break;
    case PHASE_BUSY:
    case PHASE_SENDING: deadline_clear(&c->read_deadline); break;
    case PHASE_SOCKET:
        if (!socket_is_closing(c))
            deadline_set(&s->ping_deadlines, &c->read_deadline);
        break;
    case PHASE_LINGER: break;
    }
}

static void on_read_expired(struct deadline *d)
{
    struct connection *c = CONTAINER_OF(d, struct connection, read_deadline);
    if (c->phase == PHASE_HEAD)
        connection_fail(c, 408, "The request's head did not come in time");
    else if (c->phase == PHASE_BODY)
        body_fail(c, "The request's body did not come in time");
    else
        connection_close(c);
}

static void on_ping_due(struct deadline *d)
{
    struct connection *c = CONTAINER_OF(d, struct connection, read_deadline);
    socket_ping_due(c);
    if (!c->closed)
        deadline_set(&c->server->silence_deadlines, &c->read_deadline);
}

static void on_write_expired(struct deadline *d)
{
    struct connection *c = CONTAINER_OF(d, struct connection, write_deadline);
    const struct server_limits *limits = &c->server->limits;
    uint64_t sent = output_sent(c), least = limits->write_idle_ms * limits->write_rate_min / 1000;
    if (sent > c->write_mark && sent - c->write_mark >= least) {
        c->write_mark = sent;
        deadline_set(&c->server->write_deadlines, &c->write_deadline);
        return;
    }
    log_debug("a client did not read what was sent, or too slowly: connection closed");
    connection_close(c);
}

struct queue_entry {
    struct deadline_queue *queue;
    uint64_t ms;
    void (*expired)(struct deadline *d);
};

#define QUEUES 8

static void queues_list(struct server *s, struct queue_entry out[QUEUES])
{
    const struct server_limits *l = &s->limits;
    const struct queue_entry all[QUEUES] = {
        {&s->head_deadlines, l->head_ms, on_read_expired},
        {&s->body_deadlines, l->body_idle_ms, on_read_expired},
        {&s->idle_deadlines, l->keep_alive_ms, on_read_expired},
        {&s->linger_deadlines, LINGER_MS, on_read_expired},
        {&s->silence_deadlines, SOCKET_SILENCE_MS, on_read_expired},
        {&s->close_deadlines, SOCKET_CLOSE_MS, on_read_expired},
        {&s->ping_deadlines, SOCKET_PING_MS, on_ping_due},
        {&s->write_deadlines, l->write_idle_ms, on_write_expired},
    };
    memcpy(out, all, sizeof(all));
}

void server_deadlines_init(struct server *s)
{
    struct queue_entry queues[QUEUES];
    queues_list(s, queues);
    for (size_t i = 0; i < QUEUES; i++)
        deadline_queue_init(queues[i].queue, s->uv, queues[i].ms, queues[i].expired);
    for (size_t i = 0; i < QUEUES; i++) {
        queues[i].queue->timer.data = s;
        s->handles++;
    }
}

static void on_queue_closed(uv_handle_t *handle)
{
    ((struct server *)handle->data)->handles--;
}

void server_deadlines_close(struct server *s)
{
    struct queue_entry queues[QUEUES];
    queues_list(s, queues);
    for (size_t i = 0; i < QUEUES; i++)
        uv_close((uv_handle_t *)&queues[i].queue->timer, on_queue_closed);
}

/* ---- input ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct connection *c = CONTAINER_OF((uv_tcp_t *)handle, struct connection, tcp);
    *buf = uv_buf_init(c->server->read_buffer, READ_BUFFER_BYTES);
}

void connection_read_update(struct connection *c)
{
    bool wanted = !c->closed && !c->eof && !c->paused && !intake_full(c);
    if (wanted == c->reading)
        return;
    c->reading = wanted;
    if (wanted)
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    else
        uv_read_stop((uv_stream_t *)&c->tcp);
}

/* Keeps what cannot be looked at before the current request has ended. */
static void input_keep(struct connection *c, const char *data, size_t n)
{
    buf_consume(&c->in, c->in_at); /* or it would hold all that a client ever sent that keeps some waiting */
    c->in_at = 0;
    buf_add_bytes(&c->in, data, n);
    if (!server_charge(c->server, &c->in_charged, c->in.n)) {
        connection_close(c);
        return;
    }
    if (c->in.n >= INPUT_MAX)
        c->paused = true;
    connection_read_update(c);
}

void connection_resume(struct connection *c)
{
    if (c->feeding || c->closed)
        return;
    while (c->in.n > c->in_at && !c->closed) {
        size_t used = connection_consume(c, c->in.p + c->in_at, c->in.n - c->in_at);
        if (c->closed)
            return;
        if (used == 0)
            break;
        c->in_at = c->in_at + used > c->in.n ? c->in.n : c->in_at + used;
    }
    if (c->in_at >= c->in.n) {
        input_drop(c);
        c->paused = false;
    }
    connection_read_update(c);
    connection_settle(c);
}

static void input_end(struct connection *c, bool clean)
{
    /* Who has sent his request may close his side and still wait for the answer. */
    if (clean && (c->phase == PHASE_BUSY || c->phase == PHASE_SENDING)) {
        c->eof = true;
        return;
    }
    connection_close(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = CONTAINER_OF((uv_tcp_t *)stream, struct connection, tcp);
    if (n == 0)
        return;
    if (n < 0) {
        input_end(c, n == UV_EOF);
        return;
    }
    if (c->phase == PHASE_LINGER) {
        c->lingered += (size_t)n;
        if (c->lingered > LINGER_BYTES)
            connection_close(c);
        return;
    }
    if (c->in.n > c->in_at) {
        input_keep(c, buf->base, (size_t)n);
        connection_resume(c);
        return;
    }
    size_t used = connection_consume(c, buf->base, (size_t)n);
    if (c->closed)
        return;
    if (used < (size_t)n)
        input_keep(c, buf->base + used, (size_t)n - used);
    connection_settle(c);
}

/* ---- output ---- */

void connection_answered(struct connection *c)
{
    if (c->closed)
        return;
    if (c->close_after || (c->eof && c->in.n == c->in_at)) {
        connection_linger(c);
        return;
    }
    c->phase = PHASE_IDLE;
    connection_resume(c);
}

void output_written(struct connection *c)
{
    if (c->phase == PHASE_SOCKET)
        socket_output_written(c);
    else if (c->stream)
        stream_output_written(c);
    else if (c->phase == PHASE_SENDING && c->out.bytes == 0)
        connection_answered(c);
}
