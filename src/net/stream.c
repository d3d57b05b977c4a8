/* Streaming answers. A stream is named by a number; its connection is looked up on the loop. Every write goes through
 * the loop's queue, also from the loop itself, so that pieces keep the order in which they were written. */
#include "base/cleanup.h"
#include "base/log.h"
#include "net/connection.h"
#include <stdio.h>

struct stream {
    uint64_t id;
    struct connection *connection;
    void (*on_room)(void *arg);
    void (*on_closed)(void *arg);
    void *arg;
    int64_t length;
    uint64_t left; /* of length */
    bool chunked, head_only, any, ended;
    bool
        room_due; /* something was written since on_room came last; so it cannot come before the name is known */
};

struct stream_message {
    struct loop_message message;
    struct server *server;
    uint64_t id;
    struct bytes *data; /* NULL: the end */
    bool whole;
};

uint64_t request_stream(struct request *r, int status, const char *content_type, int64_t length,
                        void (*on_room)(void *arg), void (*on_closed)(void *arg), void *arg)
{
    struct stream *st = xcalloc(1, sizeof(*st));
    uint64_t id = atomic_fetch_add_explicit(&r->server->next_stream, 1, memory_order_relaxed);
    *st = (struct stream){.id = id, .on_room = on_room, .on_closed = on_closed, .arg = arg, .length = length};
    r->stream = st;
    r->status = status;
    if (content_type)
        request_set_header(r, STR("content-type"), str_from(content_type));
    response_answer(r);
    return id; /* not st->id: the loop may have ended the stream already */
}

static void stream_free(struct stream *st)
{
    if (st->on_closed)
        st->on_closed(st->arg);
    free(st);
}

static void stream_room(struct connection *c)
{
    struct stream *st = c->stream;
    if (!st->room_due || st->ended || c->out.bytes >= STREAM_LOW)
        return;
    st->room_due = false;
    if (st->on_room)
        st->on_room(st->arg);
}

void stream_begin(struct connection *c, struct request *r)
{
    struct stream *st = steal(r->stream);
    if (!c) {
        request_free(r);
        stream_free(st);
        return;
    }
    st->head_only = r->head_only || r->status == 204 || r->status == 304;
    st->chunked = st->length < 0 && !r->head.http10 && !st->head_only;
    st->left = st->length < 0 ? 0 : (uint64_t)st->length;
    /* Without a length HTTP/1.0 knows only the connection's end. */
    c->close_after = c->close_after || !r->head.keep_alive || c->server->draining ||
                     (st->length < 0 && !st->chunked && !st->head_only);
    response_head_write(c, r, st->length, st->chunked);
    response_log(r);
    request_free(r);
    st->connection = c;
    c->stream = st;
    c->phase = PHASE_SENDING;
    map_u64_put(c->server->streams, st->id, st);
    struct str head = buf_str(&c->server->scratch);
    char *copy = str_dup(head);
    output_add(c, (struct out_item){.p = copy, .n = head.n, .owned = copy});
    output_flush(c);
}

/* The chunk header also ends the chunk before. */
static struct out_item chunk_item(struct stream *st, struct bytes *data)
{
    struct out_item item = {.p = data->p, .n = data->n, .shared = data};
    if (st->chunked)
        item.head_n = (uint8_t)snprintf((char *)item.head, sizeof(item.head), "%s%zx\r\n",
                                        st->any ? "\r\n" : "", data->n);
    st->any = true;
    return item;
}

static void stream_put(struct connection *c, struct bytes *data)
{
    struct stream *st = c->stream;
    st->room_due = true;
    if (st->ended || data->n == 0 || st->head_only) {
        bytes_unref(data);
        output_flush_soon(c);
        return;
    }
    if (st->length >= 0 && data->n > st->left) {
        log_error("a stream has more bytes than announced");
        bytes_unref(data);
        connection_close(c);
        return;
    }
    st->left -= st->length >= 0 ? data->n : 0;
    output_add(c, chunk_item(st, data));
    if (c->out.bytes > STREAM_MAX) {
        log_error("a stream's writer does not wait for room");
        connection_close(c);
        return;
    }
    output_flush_soon(c);
}

static void stream_finish(struct connection *c, bool whole)
{
    struct stream *st = c->stream;
    if (!whole || (st->left > 0 && !st->head_only)) {
        connection_close(c);
        return;
    }
    st->ended = true;
    if (st->chunked) {
        struct out_item item = {0};
        item.head_n =
            (uint8_t)snprintf((char *)item.head, sizeof(item.head), "%s0\r\n\r\n", st->any ? "\r\n" : "");
        output_add(c, item);
    }
    output_flush_soon(c);
}

void stream_output_written(struct connection *c)
{
    struct stream *st = c->stream;
    if (!st->ended) {
        stream_room(c);
        return;
    }
    if (c->out.bytes > 0)
        return;
    c->stream = NULL;
    map_u64_remove(c->server->streams, st->id);
    connection_answered(c);
    stream_free(st);
}

void stream_closed(struct connection *c)
{
    struct stream *st = steal(c->stream);
    map_u64_remove(c->server->streams, st->id);
    stream_free(st);
}

/* ---- from any thread ---- */

static void stream_message_run(struct loop_message *message)
{
    struct stream_message *m = CONTAINER_OF(message, struct stream_message, message);
    struct stream *st = map_u64_get(m->server->streams, m->id);
    if (!st)
        bytes_unref(m->data);
    else if (m->data)
        stream_put(st->connection, m->data);
    else
        stream_finish(st->connection, m->whole);
    free(m);
}

static void stream_post(struct server *s, uint64_t stream, struct bytes *data, bool whole)
{
    struct stream_message *m = xmalloc(sizeof(*m));
    *m = (struct stream_message){
        .message.run = stream_message_run, .server = s, .id = stream, .data = data, .whole = whole};
    loop_post(s->loop, &m->message);
}

void server_stream_write(struct server *s, uint64_t stream, struct bytes *data)
{
    stream_post(s, stream, data, false);
}

void server_stream_end(struct server *s, uint64_t stream, bool whole)
{
    stream_post(s, stream, NULL, whole);
}
