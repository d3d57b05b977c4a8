/* Output of a connection: what the kernel does not take at once waits in order, one write at a time with libuv. */
#include "base/cleanup.h"
#include "net/connection.h"

/* Pieces of one writev: a head and a body each. */
#define WRITE_ITEMS_MAX 64

struct write {
    uv_write_t req;
    struct connection *connection;
    size_t count, bytes;
    struct out_item items[];
};

static void output_flush_queued(struct server *s);

static void on_flush(uv_idle_t *idle)
{
    output_flush_queued(CONTAINER_OF(idle, struct server, flusher));
}

static void item_release(struct out_item *item)
{
    bytes_unref(item->shared);
    free(item->owned);
}

static size_t item_left(const struct out_item *item)
{
    return item->n + item->head_n - item->head_at;
}

/* After each change of `out.bytes`. */
static void output_charge(struct connection *c)
{
    size_t now = c->phase == PHASE_SOCKET ? 0 : c->out.bytes;
    c->server->sending += now - c->out.charged;
    c->out.charged = now;
}

void output_add(struct connection *c, struct out_item item)
{
    vec_push(&c->out.items, item);
    c->out.bytes += item_left(&item);
    output_charge(c);
}

void output_discard(struct connection *c)
{
    for (size_t i = c->out.first; i < c->out.items.n; i++)
        item_release(&c->out.items.at[i]);
    vec_deinit(&c->out.items);
    c->out.first = 0;
    c->out.bytes = 0;
    output_charge(c);
}

/* Forgets what has been sent of the first items. */
static void output_advance(struct output *out, size_t n)
{
    out->bytes -= n;
    out->submitted += n;
    while (out->first < out->items.n) {
        struct out_item *item = &out->items.at[out->first];
        size_t head = (size_t)(item->head_n - item->head_at), take = n < head ? n : head;
        item->head_at = (uint8_t)(item->head_at + take);
        n -= take;
        take = n < item->n ? n : item->n;
        if (take > 0) /* the end of a chunked answer is a head alone */
            item->p += take;
        item->n -= take;
        n -= take;
        if (item_left(item) > 0)
            return;
        item_release(item);
        out->first++;
    }
    vec_deinit(&out->items); /* an idle connection keeps no memory for output */
    out->first = 0;
}

static unsigned bufs_fill(const struct out_item *items, size_t count, uv_buf_t *bufs)
{
    unsigned n = 0;
    for (size_t i = 0; i < count; i++) {
        const struct out_item *item = &items[i];
        if (item->head_n > item->head_at)
            bufs[n++] =
                uv_buf_init((char *)item->head + item->head_at, (unsigned)(item->head_n - item->head_at));
        if (item->n > 0)
            bufs[n++] = uv_buf_init((char *)item->p, (unsigned)item->n);
    }
    return n;
}

static void on_written(uv_write_t *req, int status)
{
    struct write *w = CONTAINER_OF(req, struct write, req);
    struct connection *c = w->connection;
    for (size_t i = 0; i < w->count; i++)
        item_release(&w->items[i]);
    size_t bytes = w->bytes;
    free(w);
    c->out.writing = false;
    if (c->closed)
        return;
    if (status < 0) {
        connection_close(c);
        return;
    }
    c->out.bytes -= bytes;
    output_charge(c);
    output_flush(c);
}

uint64_t output_sent(const struct connection *c)
{
    return c->out.submitted - uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
}

/* Hands the next items to libuv, which waits until the kernel takes them. */
static void output_submit(struct connection *c)
{
    struct output *out = &c->out;
    size_t count = out->items.n - out->first;
    if (count > WRITE_ITEMS_MAX)
        count = WRITE_ITEMS_MAX;
    if (count == 0)
        return;
    struct write *w = xmalloc(sizeof(*w) + count * sizeof(w->items[0]));
    w->connection = c;
    w->count = count;
    w->bytes = 0;
    memcpy(w->items, out->items.at + out->first, count * sizeof(w->items[0]));
    out->first += count;
    if (out->first == out->items.n) {
        vec_deinit(&out->items);
        out->first = 0;
    }
    for (size_t i = 0; i < count; i++)
        w->bytes += item_left(&w->items[i]);
    uv_buf_t bufs[WRITE_ITEMS_MAX * 2];
    unsigned n = bufs_fill(w->items, count, bufs);
    out->writing = true;
    out->submitted += w->bytes;
    if (uv_write(&w->req, (uv_stream_t *)&c->tcp, bufs, n, on_written) != 0) {
        out->writing = false;
        for (size_t i = 0; i < count; i++)
            item_release(&w->items[i]);
        free(w);
        connection_close(c);
        return;
    }
    if (!c->write_deadline.queue) {
        c->write_mark = output_sent(c);
        deadline_set(&c->server->write_deadlines, &c->write_deadline);
    }
}

void output_flush(struct connection *c)
{
    struct output *out = &c->out;
    output_unqueue(c);
    while (!c->closed && !out->writing && out->items.n > out->first) {
        uv_buf_t bufs[WRITE_ITEMS_MAX * 2];
        size_t count = out->items.n - out->first;
        if (count > WRITE_ITEMS_MAX)
            count = WRITE_ITEMS_MAX;
        unsigned n = bufs_fill(out->items.at + out->first, count, bufs);
        size_t whole = 0;
        for (unsigned i = 0; i < n; i++)
            whole += bufs[i].len;
        int rc = whole > 0 ? uv_try_write((uv_stream_t *)&c->tcp, bufs, n) : 0;
        if (rc < 0 && rc != UV_EAGAIN) {
            connection_close(c);
            return;
        }
        output_advance(out, rc < 0 ? 0 : (size_t)rc);
        output_charge(c);
        if (rc < 0 || (size_t)rc < whole)
            output_submit(c);
    }
    if (c->closed)
        return;
    if (!out->writing)
        deadline_clear(&c->write_deadline);
    output_written(c);
}

size_t output_try(struct connection *c, struct str head, struct str body)
{
    if (c->out.writing || c->out.items.n > c->out.first)
        return 0;
    uv_buf_t bufs[] = {uv_buf_init((char *)head.p, (unsigned)head.n),
                       uv_buf_init((char *)body.p, (unsigned)body.n)};
    int rc = uv_try_write((uv_stream_t *)&c->tcp, bufs, body.n > 0 ? 2 : 1);
    if (rc >= 0)
        return (size_t)rc;
    return rc == UV_EAGAIN ? 0 : SIZE_MAX;
}

/* ---- flushing once per turn ---- */

void output_flush_soon(struct connection *c)
{
    struct server *s = c->server;
    if (c->flush_queued || c->closed)
        return;
    if (!s->flush_first)
        uv_idle_start(&s->flusher, on_flush); /* runs before the loop sleeps, and keeps it from sleeping */
    c->flush_queued = true;
    c->flush_next = s->flush_first;
    c->flush_prev = &s->flush_first;
    if (c->flush_next)
        c->flush_next->flush_prev = &c->flush_next;
    s->flush_first = c;
}

void output_unqueue(struct connection *c)
{
    if (!c->flush_queued)
        return;
    c->flush_queued = false;
    *c->flush_prev = c->flush_next;
    if (c->flush_next)
        c->flush_next->flush_prev = c->flush_prev;
    c->flush_next = NULL;
    c->flush_prev = NULL;
}

/* What is queued while this runs is written in the next turn, so that a busy socket does not starve the others. */
static void output_flush_queued(struct server *s)
{
    struct connection *queue = s->flush_first;
    s->flush_first = NULL;
    if (queue)
        queue->flush_prev = &queue;
    while (queue)
        output_flush(queue); /* takes it out of the queue */
    if (!s->flush_first)
        uv_idle_stop(&s->flusher);
}
