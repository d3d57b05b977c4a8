/* The stream to the mind, outwards: what calls send, in turns, and how they end. */
#include "hand/channel.h"
#include "hand/env.h"
#include <errno.h>

#define DATA_FRAME_MAX (16 * 1024)       /* small, so that turns are short */
#define OUT_FILL (64 * 1024)             /* how far writing runs ahead of the turns */
#define CHANNEL_WAITING_MAX (256 * 1024) /* unsent DATA of a call, whatever credit it has */
#define WAITING_MAX (32u * 1024 * 1024)  /* unsent bytes of all; past it nothing more is read */

/* --- the ring: whoever has something to send ------------------------------------------------ */

void channel_ring_add(struct stream_state *s, struct channel *c)
{
    if (c->next)
        return;
    if (!s->ring) {
        s->ring = c->next = c->previous = c;
        return;
    }
    c->next = s->ring;
    c->previous = s->ring->previous;
    c->previous->next = c->next->previous = c;
}

static void ring_remove(struct stream_state *s, struct channel *c)
{
    if (!c->next)
        return;
    if (s->ring == c)
        s->ring = c->next == c ? NULL : c->next;
    c->previous->next = c->next;
    c->next->previous = c->previous;
    c->next = c->previous = NULL;
}

static size_t channel_waiting(const struct channel *c)
{
    return c->unsent.n - c->unsent_at;
}

void channel_free(struct channel *c)
{
    buf_deinit(&c->unsent);
    buf_deinit(&c->call.fields);
    free(c);
}

static struct channel *channel_of(const struct call *c)
{
    return CONTAINER_OF(c, struct channel, call);
}

/* Call after adding frames to `c->unsent`, with its size from before. */
static void channel_added(struct channel *c, size_t before)
{
    struct stream_state *s = &c->call.hand->stream;
    s->waiting += c->unsent.n - before;
    channel_ring_add(s, c);
}

/* --- writing -------------------------------------------------------------------------------- */

/* Moves the frame at the front of a channel to the output. */
static void channel_speak(struct hand *h, struct channel *c)
{
    struct stream_state *s = &h->stream;
    const unsigned char *p = (const unsigned char *)c->unsent.p + c->unsent_at;
    size_t n = 4 + ((size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24);
    buf_add_bytes(&s->out, p, n);
    c->unsent_at += n;
    s->waiting -= n;
    if (channel_waiting(c) == 0) {
        buf_clear(&c->unsent);
        c->unsent_at = 0;
        ring_remove(s, c);
        if (c->done)
            channel_free(c);
    } else {
        s->ring = c->next;
        if (c->unsent_at > CHANNEL_WAITING_MAX) {
            buf_consume(&c->unsent, c->unsent_at);
            c->unsent_at = 0;
        }
    }
}

/* Tells a call that wanted more than it was allowed to that there is room now. */
void channel_feed(struct channel *c)
{
    if (!c->starved || c->done || !c->started || channel_waiting(c) > CHANNEL_WAITING_MAX / 2)
        return;
    c->starved = false;
    if (c->call.on_credit)
        c->call.on_credit(&c->call);
}

static void output_fill(struct hand *h)
{
    struct stream_state *s = &h->stream;
    if (s->control.n) {
        buf_add(&s->out, buf_str(&s->control));
        s->waiting -= s->control.n;
        buf_clear(&s->control);
    }
    while (s->ring && s->out.n - s->out_at < OUT_FILL) {
        struct channel *c = s->ring;
        uint32_t id = c->call.id;
        bool was_done = c->done;
        channel_speak(h, c);
        if (!was_done && (c = map_u64_get(s->calls, id)))
            channel_feed(c);
    }
}

void stream_flush(struct hand *h)
{
    struct stream_state *s = &h->stream;
    if (s->out_fd < 0)
        return;
    for (;;) {
        output_fill(h);
        if (s->out_at == s->out.n)
            break;
        ssize_t n = write(s->out_fd, s->out.p + s->out_at, s->out.n - s->out_at);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno != EAGAIN && !h->stopping)
                hand_stop(h, 0, NULL); /* nobody listens any more */
            break;
        }
        s->out_at += (size_t)n;
        if (s->out_at == s->out.n) {
            buf_clear(&s->out);
            s->out_at = 0;
        } else if (s->out_at > OUT_FILL) {
            buf_consume(&s->out, s->out_at);
            s->out_at = 0;
        }
    }
    s->writing = s->out.n > s->out_at;
    hand_watch_events(h, s->out_watch, s->writing && !h->stopping ? POLLOUT : 0);
    s->paused = s->waiting > WAITING_MAX;
    hand_watch_events(h, s->in_watch, s->paused || h->stopping ? 0 : POLLIN);
}

size_t call_credit_left(const struct call *call, enum wire_stream stream)
{
    const struct channel *c = channel_of(call);
    size_t waiting = channel_waiting(c);
    size_t room = waiting < CHANNEL_WAITING_MAX ? CHANNEL_WAITING_MAX - waiting : 0;
    size_t left = c->credit[stream] < room ? (size_t)c->credit[stream] : room;
    if (left == 0)
        channel_of(call)->starved = true;
    return left;
}

size_t call_data(struct call *call, enum wire_stream stream, struct str data)
{
    struct channel *c = channel_of(call);
    size_t n = call_credit_left(call, stream);
    if (n > data.n)
        n = data.n;
    else if (n < data.n)
        c->starved = true;
    size_t before = c->unsent.n;
    for (size_t at = 0; at < n;) {
        size_t piece = n - at < DATA_FRAME_MAX ? n - at : DATA_FRAME_MAX;
        wire_add_data(&c->unsent, call->id, stream, str_make(data.p + at, piece));
        at += piece;
    }
    c->credit[stream] -= n;
    if (n)
        channel_added(c, before);
    return n;
}

void call_data_end(struct call *call, enum wire_stream stream)
{
    struct channel *c = channel_of(call);
    size_t before = c->unsent.n;
    wire_add_end(&c->unsent, call->id, stream);
    channel_added(c, before);
}

void call_note(struct call *call, struct buf *fields)
{
    struct channel *c = channel_of(call);
    size_t before = c->unsent.n;
    if (fields->n <= WIRE_PAYLOAD_MAX) {
        wire_add_message(&c->unsent, WIRE_NOTE, call->id, buf_str(fields));
        channel_added(c, before);
    }
    buf_deinit(fields);
}

void call_credit(struct call *call, uint32_t bytes)
{
    struct channel *c = channel_of(call);
    struct stream_state *s = &call->hand->stream;
    if (bytes == 0 || c->input_ended)
        return;
    size_t before = s->control.n;
    c->input_credit += bytes;
    wire_add_credit(&s->control, call->id, WIRE_STDIN, bytes);
    s->waiting += s->control.n - before;
}

/* --- results -------------------------------------------------------------------------------- */

/* Queues the RESULT and takes the call out of the table. */
void channel_result(struct channel *c, struct str result)
{
    struct hand *h = c->call.hand;
    size_t before = c->unsent.n;
    wire_add_message(&c->unsent, WIRE_RESULT, c->call.id, result);
    map_u64_remove(h->stream.calls, c->call.id);
    c->done = true;
    channel_added(c, before);
}

struct str channel_key(const struct channel *c)
{
    return wire_get_str(buf_str(&c->call.fields), F_KEY);
}

/* Gives the result to a call with the same key that came while the first one ran. */
static void repeats_answer(struct hand *h, struct str key, struct str result)
{
    for (;;) {
        struct channel *found = NULL;
        size_t cursor = 0;
        void *value;
        while (!found && map_u64_next(h->stream.calls, &cursor, NULL, &value)) {
            struct channel *c = value;
            if (c->repeats && str_eq(channel_key(c), key))
                found = c;
        }
        if (!found)
            return;
        h->stream.open--;
        channel_result(found, result);
    }
}

void call_done(struct call *call, enum wire_status status, struct buf *fields)
{
    struct hand *h = call->hand;
    struct channel *c = channel_of(call);
    autobuf result = {0};
    if (fields && fields->n > WIRE_MESSAGE_MAX - 64) {
        buf_deinit(fields);
        status = WIRE_TOO_LARGE;
    }
    wire_add_int(&result, F_STATUS, status);
    if (fields) {
        buf_add(&result, buf_str(fields));
        buf_deinit(fields);
    }
    autobuf key = {0};
    buf_add(&key, channel_key(c));
    void (*on_free)(struct call *) = call->on_free;
    call->on_input = NULL;
    call->on_input_end = call->on_credit = call->on_cancel = call->on_free = NULL;
    bool repeated = c->repeats;
    channel_result(c, buf_str(&result));
    h->stream.open--;
    if (on_free)
        on_free(call);
    if (key.n && !repeated) {
        remembered_add(h, buf_str(&key), buf_str(&result));
        repeats_answer(h, buf_str(&key), buf_str(&result));
    }
    idle_arm(h);
}

void call_fail(struct call *c, enum wire_status status, const char *fmt, ...)
{
    autobuf text = {0};
    autobuf fields = {0};
    va_list args;
    va_start(args, fmt);
    buf_vaddf(&text, fmt, args);
    va_end(args);
    wire_add_str(&fields, F_MESSAGE, buf_str(&text));
    call_done(c, status, &fields);
}
