/* WebSockets of the server. Frames of one turn of the loop leave together; a socket that is idle has no queue. */
#include "base/cleanup.h"
#include "base/utf8.h"
#include "net/connection.h"

struct socket {
    struct ws_reader reader;
    struct socket_callbacks callbacks;
    void *arg;
    uint64_t name;
    size_t charged; /* of the server's input */
    bool close_sent, close_received;
    bool room_due; /* something was sent since on_room came last */
    bool pong_due;
    uint8_t pong_n;
    char pong[WS_CONTROL_MAX]; /* answer to the latest ping; an unsent older one is replaced */
};

static uint64_t socket_name(const struct connection *c)
{
    return (uint64_t)c->generation << 32 | (uint64_t)(c->slot + 1);
}

static struct connection *socket_find(const struct server *s, uint64_t socket)
{
    if ((uint32_t)socket == 0)
        return NULL;
    struct connection *c = server_connection(s, (uint32_t)socket - 1, (uint32_t)(socket >> 32));
    return c && c->socket ? c : NULL;
}

/* ---- the handshake ---- */

bool socket_handshake_valid(struct request *r)
{
    autobuf accept = {0};
    struct str key = request_header(r, "Sec-WebSocket-Key");
    if (!str_is(request_header(r, "Sec-WebSocket-Version"), "13")) {
        request_set_header(r, STR("sec-websocket-version"), STR("13"));
        request_reply_detail(r, 426, "The only supported WebSocket version is 13");
        return false;
    }
    if (!key.p || !ws_accept_write(&accept, key)) {
        request_reply_detail(r, 400, "Sec-WebSocket-Key is missing or malformed");
        return false;
    }
    return true;
}

uint64_t request_accept_socket(struct request *r, const struct socket_callbacks *callbacks, void *arg)
{
    struct connection *c = server_connection(r->server, r->slot, r->generation);
    if (!c || c->number != r->number) {
        request_free(r);
        return 0;
    }
    autobuf accept = {0};
    ws_accept_write(&accept, request_header(r, "Sec-WebSocket-Key"));
    struct buf *out = &c->server->scratch;
    buf_clear(out);
    buf_add(out, STR("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
                     "sec-websocket-accept: "));
    buf_add(out, buf_str(&accept));
    buf_add(out, STR("\r\n"));
    buf_add(out, buf_str(&r->headers));
    buf_add(out, STR("\r\n"));
    r->status = 101;
    response_log(r);
    request_free(r);
    struct socket *so = xcalloc(1, sizeof(*so));
    ws_reader_init(&so->reader, c->server->limits.socket_message_max);
    so->callbacks = *callbacks;
    so->arg = arg;
    so->name = socket_name(c);
    c->socket = so;
    c->phase = PHASE_SOCKET;
    uint64_t name = so->name;
    struct str head = buf_str(out);
    char *copy = str_dup(head);
    output_add(c, (struct out_item){.p = copy, .n = head.n, .owned = copy});
    output_flush_soon(c);
    if (c->server->draining)
        socket_close_connection(c, WS_CODE_AWAY, "The server is shutting down");
    connection_resume(c); /* frames that came with the request */
    return name;
}

void request_refuse_socket(struct request *r, int status)
{
    request_reply_detail(r, status, NULL);
}

/* ---- sending ---- */

static void frame_add(struct connection *c, enum ws_opcode opcode, struct bytes *payload)
{
    struct out_item item = {
        .p = payload ? payload->p : NULL, .n = payload ? payload->n : 0, .shared = payload};
    item.head_n = (uint8_t)ws_header_write(item.head, opcode, item.n);
    output_add(c, item);
    output_flush_soon(c);
}

bool socket_send(struct server *s, uint64_t socket, struct bytes *text)
{
    struct connection *c = socket_find(s, socket);
    if (!c || c->socket->close_sent || c->out.bytes + text->n > s->limits.socket_buffer_max) {
        bytes_unref(text);
        return false;
    }
    c->socket->room_due = true;
    frame_add(c, WS_TEXT, text);
    return true;
}

size_t socket_pending(const struct server *s, uint64_t socket)
{
    const struct connection *c = socket_find(s, socket);
    return c ? c->out.bytes : 0;
}

/* A pong waits for the kernel's room outside the queue: one at most, whatever the client pings. */
static void pong_flush(struct connection *c)
{
    struct socket *so = c->socket;
    if (!so->pong_due || c->out.writing || so->close_sent)
        return;
    so->pong_due = false;
    frame_add(c, WS_PONG, bytes_new(str_make(so->pong, so->pong_n)));
}

void socket_ping_due(struct connection *c)
{
    if (!c->socket->close_sent && !c->out.writing)
        frame_add(c, WS_PING, NULL);
}

void socket_output_written(struct connection *c)
{
    struct socket *so = c->socket;
    if (so->close_sent && c->out.bytes == 0) {
        if (!so->close_received)
            return;
        connection_linger(c);
        if (c->socket)
            socket_closed(c);
        return;
    }
    pong_flush(c);
    if (c->out.bytes > 0 || !so->room_due || so->close_sent)
        return;
    so->room_due = false;
    if (so->callbacks.on_room)
        so->callbacks.on_room(so->arg, so->name);
}

/* ---- closing ---- */

bool socket_is_closing(const struct connection *c)
{
    return c->socket->close_sent;
}

void socket_close_connection(struct connection *c, int code, const char *reason)
{
    struct socket *so = c->socket;
    if (so->close_sent)
        return;
    so->close_sent = true;
    autobuf payload = {0};
    if (code != WS_CODE_NONE) {
        buf_add_char(&payload, (char)(code >> 8));
        buf_add_char(&payload, (char)code);
        buf_add(&payload, utf8_prefix_bytes(str_from(reason ? reason : ""), WS_CONTROL_MAX - 2));
    }
    frame_add(c, WS_CLOSE, bytes_take(&payload));
    deadline_set(&c->server->close_deadlines, &c->read_deadline);
}

void socket_close(struct server *s, uint64_t socket, int code, const char *reason)
{
    struct connection *c = socket_find(s, socket);
    if (c)
        socket_close_connection(c, code, reason);
}

void socket_closed(struct connection *c)
{
    struct socket *so = steal(c->socket);
    ws_reader_deinit(&so->reader);
    server_charge(c->server, &so->charged, 0);
    if (so->callbacks.on_close)
        so->callbacks.on_close(so->arg, so->name);
    free(so);
}

/* ---- receiving ---- */

static void event_handle(struct connection *c, const struct ws_event *event)
{
    struct socket *so = c->socket;
    switch (event->kind) {
    case WS_EVENT_MESSAGE:
        if (!so->close_sent && so->callbacks.on_text)
            so->callbacks.on_text(so->arg, so->name, event->payload);
        break;
    case WS_EVENT_PING:
        so->pong_due = true;
        so->pong_n = (uint8_t)event->payload.n;
        memcpy(so->pong, event->payload.p, event->payload.n);
        pong_flush(c);
        break;
    case WS_EVENT_CLOSE:
        so->close_received = true;
        if (so->close_sent)
            output_flush_soon(c); /* ends the connection once all is written */
        socket_close_connection(c, event->code, NULL);
        break;
    case WS_EVENT_ERROR:
        so->close_received = true; /* nothing that follows can be understood */
        socket_close_connection(c, event->code, NULL);
        output_flush_soon(c);
        break;
    case WS_EVENT_PONG:
    case WS_EVENT_MORE: break;
    }
}

size_t socket_read(struct connection *c, char *data, size_t n)
{
    size_t used = 0;
    struct ws_event event;
    do {
        if (!c->socket || c->socket->close_received)
            return n;
        used += ws_read(&c->socket->reader, data + used, n - used, &event);
        event_handle(c, &event);
    } while (event.kind != WS_EVENT_MORE && !c->closed);
    if (c->socket && !server_charge(c->server, &c->socket->charged, c->socket->reader.message.n))
        socket_close_connection(c, WS_CODE_TRY_LATER, "The server has too much unfinished input");
    return n;
}
