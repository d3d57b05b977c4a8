/* The stream to the mind: frames in, calls, and their frames out in turns. */
#include "hand/env.h"
#include "hand/process.h"
#include <errno.h>

#define DATA_FRAME_MAX (16 * 1024)         /* small, so that turns are short */
#define OUT_FILL (64 * 1024)               /* how far writing runs ahead of the turns */
#define CHANNEL_WAITING_MAX (256 * 1024)   /* unsent DATA of a call, whatever credit it has */
#define WAITING_MAX (32u * 1024 * 1024)    /* unsent bytes of all; past it nothing more is read */
#define ASSEMBLING_MAX (64u * 1024 * 1024) /* unfinished CALL messages together */
#define READ_MAX (64 * 1024)               /* of one turn */
#define STREAMS 3

/* A call and what it has not sent yet. The call ends with call_done; the channel when its RESULT is on its way. */
struct channel {
    struct call call;
    bool started; /* the whole CALL has come */
    bool done;    /* call_done was called: only `unsent` is left */
    bool repeats; /* waits for the running call with the same key */
    bool starved; /* wanted to send more than it was allowed to */
    uint64_t credit[STREAMS];
    uint64_t input_credit; /* how much stdin the mind may still send */
    bool input_ended;
    struct buf unsent; /* whole frames */
    size_t unsent_at;
    struct channel *next, *previous; /* in the ring; NULL: not in it */
};

static void protocol_error(struct hand *h, const char *why)
{
    hand_stop(h, 1, why);
}

/* --- the ring: whoever has something to send ------------------------------------------------ */

static void ring_add(struct stream_state *s, struct channel *c)
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

static void channel_free(struct channel *c)
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
    ring_add(s, c);
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
static void channel_feed(struct channel *c)
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

static void on_writable(void *arg, short revents)
{
    (void)arg; /* the next turn begins with stream_flush */
    (void)revents;
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
static void channel_result(struct channel *c, struct str result)
{
    struct hand *h = c->call.hand;
    size_t before = c->unsent.n;
    wire_add_message(&c->unsent, WIRE_RESULT, c->call.id, result);
    map_u64_remove(h->stream.calls, c->call.id);
    c->done = true;
    channel_added(c, before);
}

static struct str channel_key(const struct channel *c)
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

/* --- calls ---------------------------------------------------------------------------------- */

static const struct operation *operation_find(const struct hand *h, int64_t op)
{
    for (size_t i = 0; i < h->operations_n; i++)
        if ((int64_t)h->operations[i].op == op)
            return &h->operations[i];
    return NULL;
}

/* Is the key's call known already? Then it is answered here, or waits for the first one's end. */
static bool call_repeated(struct channel *c, struct str key)
{
    struct hand *h = c->call.hand;
    const struct remembered *r = remembered_find(h, key);
    if (r && r->kept) {
        h->stream.open--;
        channel_result(c, buf_str(&r->result));
        return true;
    }
    c->repeats = true; /* so that its end is not remembered as the key's */
    if (r) {
        call_fail(&c->call, WIRE_REFUSED, "already run; its result was too large or too old to be kept");
        return true;
    }
    size_t cursor = 0;
    void *value;
    while (map_u64_next(h->stream.calls, &cursor, NULL, &value)) {
        const struct channel *other = value;
        if (other != c && other->started && !other->repeats && str_eq(channel_key(other), key))
            return true;
    }
    c->repeats = false;
    return false;
}

static void call_start(struct channel *c)
{
    struct hand *h = c->call.hand;
    struct str fields = buf_str(&c->call.fields);
    c->started = true;
    h->stream.assembling -= fields.n;
    h->stream.open++;
    idle_disarm(h);
    if (!wire_fields_valid(fields)) {
        buf_clear(&c->call.fields);
        call_fail(&c->call, WIRE_INVALID, "the call's fields are malformed");
        return;
    }
    struct str key = channel_key(c);
    uint64_t token = (uint64_t)wire_get_int(fields, F_TOKEN, (int64_t)h->stream.token);
    const struct operation *op = operation_find(h, wire_get_int(fields, F_OP, 0));
    c->repeats = true; /* refusals are nobody's first result */
    if (token < h->stream.token)
        return call_fail(&c->call, WIRE_REFUSED, "the call's owner token is older than one seen before");
    h->stream.token = token;
    if (h->stopping || h->stream.open > WIRE_CALLS_MAX)
        return call_fail(&c->call, WIRE_BUSY, h->stopping ? "the hand is ending" : "too many calls are open");
    if (key.n > KEY_MAX)
        return call_fail(&c->call, WIRE_INVALID, "an idempotency key has at most %d bytes", KEY_MAX);
    if (!op)
        return call_fail(&c->call, WIRE_UNSUPPORTED, "this hand does not know operation %lld",
                         (long long)wire_get_int(fields, F_OP, 0));
    c->repeats = false;
    if (key.n && call_repeated(c, key))
        return;
    c->call.op = op->op;
    op->start(&c->call);
}

static void on_call(struct hand *h, const struct wire_frame *f)
{
    struct stream_state *s = &h->stream;
    struct channel *c = map_u64_get(s->calls, f->call);
    if (c && c->started)
        return protocol_error(h, "a call's number was used twice");
    if (!c) {
        if (map_u64_count(s->calls) >= 2 * WIRE_CALLS_MAX)
            return protocol_error(h, "too many unfinished calls");
        c = xcalloc(1, sizeof(*c));
        c->call.hand = h;
        c->call.id = f->call;
        for (size_t i = 0; i < STREAMS; i++)
            c->credit[i] = WIRE_CREDIT_INITIAL;
        c->input_credit = WIRE_CREDIT_INITIAL;
        map_u64_put(s->calls, f->call, c);
    }
    s->assembling += f->payload.n;
    if (c->call.fields.n + f->payload.n > WIRE_MESSAGE_MAX || s->assembling > ASSEMBLING_MAX)
        return protocol_error(h, "a call's message is too large");
    buf_add(&c->call.fields, f->payload);
    if (!(f->flags & WIRE_MORE))
        call_start(c);
}

static void on_data(struct hand *h, struct channel *c, const struct wire_frame *f)
{
    if (f->flags != WIRE_STDIN || c->input_ended)
        return protocol_error(h, "data on a stream that takes none");
    if (f->payload.n > c->input_credit)
        return protocol_error(h, "more data than credit");
    c->input_credit -= f->payload.n;
    if (c->call.on_input)
        c->call.on_input(&c->call, f->payload);
}

static void on_input_end(struct channel *c)
{
    if (c->input_ended)
        return;
    c->input_ended = true;
    if (c->call.on_input_end)
        c->call.on_input_end(&c->call);
}

static void on_credit(struct channel *c, const struct wire_frame *f)
{
    c->credit[f->flags] += wire_credit_bytes(f);
    channel_feed(c);
}

static void on_cancel(struct channel *c)
{
    if (c->call.on_cancel)
        c->call.on_cancel(&c->call);
    else
        call_done(&c->call, WIRE_CANCELLED, NULL);
}

/* --- reading -------------------------------------------------------------------------------- */

static void on_hello(struct hand *h, const struct wire_frame *f)
{
    struct stream_state *s = &h->stream;
    if (s->greeted || !wire_fields_valid(f->payload))
        return protocol_error(h, "a second or malformed greeting");
    int64_t min = wire_get_int(f->payload, F_VERSION_MIN, 0);
    int64_t max = wire_get_int(f->payload, F_VERSION_MAX, 0);
    if (min > WIRE_VERSION_MAX || max < WIRE_VERSION_MIN)
        return protocol_error(h, "no common version of the protocol");
    s->greeted = true;
    s->token = (uint64_t)wire_get_int(f->payload, F_TOKEN, 0);
    int64_t idle = wire_get_int(f->payload, F_TIMEOUT_MS, 0);
    int64_t linger = wire_get_int(f->payload, F_SOFT_TIMEOUT_MS, 0);
    s->idle_ms = idle > 0 ? (uint64_t)idle : 0;
    s->linger_ms = linger > 0 ? (uint64_t)linger : 0;
    environment_set(h, f->payload);
    idle_arm(h);
    linger_arm(h);
}

/* A frame of an open call. */
static void on_call_frame(struct hand *h, const struct wire_frame *f)
{
    struct channel *c = map_u64_get(h->stream.calls, f->call);
    if (!c)
        return; /* it ended while this frame was on its way */
    if (!c->started)
        return protocol_error(h, "a frame for a call that is not complete");
    if (f->type == WIRE_DATA)
        on_data(h, c, f);
    else if (f->type == WIRE_END)
        on_input_end(c);
    else if (f->type == WIRE_CREDIT)
        on_credit(c, f);
    else
        on_cancel(c);
}

static void on_frame(struct hand *h, const struct wire_frame *f)
{
    struct stream_state *s = &h->stream;
    size_t before = s->control.n;
    if (!s->greeted && f->type != WIRE_HELLO)
        return protocol_error(h, "the stream does not begin with a greeting");
    switch (f->type) {
    case WIRE_HELLO: on_hello(h, f); break;
    case WIRE_CALL: on_call(h, f); break;
    case WIRE_DATA:
    case WIRE_END:
    case WIRE_CREDIT:
    case WIRE_CANCEL: on_call_frame(h, f); break;
    case WIRE_PING:
        wire_add_control(&s->control, WIRE_PONG, 0);
        s->waiting += s->control.n - before;
        break;
    case WIRE_PONG: break;
    case WIRE_RESULT:
    case WIRE_NOTE:
    default: protocol_error(h, "a frame that only a hand sends"); break;
    }
}

static void on_readable(void *arg, short revents)
{
    (void)revents;
    struct hand *h = arg;
    struct stream_state *s = &h->stream;
    char data[READ_MAX];
    ssize_t n = read(s->in_fd, data, sizeof(data));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        return hand_stop(h, 0, NULL);
    s->heard_ms = hand_now_ms();
    wire_reader_feed(&s->reader, str_make(data, (size_t)n));
    struct wire_frame f;
    autoerr e = NULL;
    while (!h->stopping && wire_reader_next(&s->reader, &f, &e))
        on_frame(h, &f);
    if (e)
        protocol_error(h, err_text(e));
}

/* --- beginning and end ---------------------------------------------------------------------- */

void stream_start(struct hand *h, int in_fd, int out_fd)
{
    struct stream_state *s = &h->stream;
    s->in_fd = in_fd;
    s->out_fd = out_fd;
    s->calls = map_u64_new();
    s->heard_ms = hand_now_ms();
    autobuf hello = {0};
    wire_add_int(&hello, F_VERSION_MIN, WIRE_VERSION_MIN);
    wire_add_int(&hello, F_VERSION_MAX, WIRE_VERSION_MAX);
    wire_add_int(&hello, F_PID, getpid());
    buf_add(&s->out, str_make(WIRE_MAGIC, WIRE_MAGIC_LEN));
    wire_add_message(&s->out, WIRE_HELLO, 0, buf_str(&hello));
    s->in_watch = hand_watch(h, in_fd, POLLIN, on_readable, h);
    s->out_watch = hand_watch(h, out_fd, 0, on_writable, h);
}

static void stop_over(void *arg)
{
    struct hand *h = arg;
    keepers_end(h, 0);
    h->ended = true; /* keepers end what is left by themselves when we are gone */
}

void hand_stop(struct hand *h, int exit_code, const char *why)
{
    struct stream_state *s = &h->stream;
    if (h->stopping)
        return;
    h->stopping = true;
    h->exit_code = exit_code;
    if (why) {
        autobuf note = {0};
        wire_add_str(&note, F_MESSAGE, str_from(why));
        size_t before = s->control.n;
        wire_add_message(&s->control, WIRE_NOTE, 0, buf_str(&note));
        s->waiting += s->control.n - before;
    }
    hand_watch_events(h, s->in_watch, 0);
    hand_timer(h, STOP_MS, stop_over, h);
    keepers_end(h, STOP_GRACE_MS);
}

void stream_deinit(struct hand *h)
{
    struct stream_state *s = &h->stream;
    size_t cursor = 0;
    void *value;
    while (map_u64_next(s->calls, &cursor, NULL, &value)) {
        struct channel *c = value;
        if (c->call.on_free)
            c->call.on_free(&c->call);
        ring_add(s, c);
    }
    struct channel *c = s->ring;
    if (c)
        c->previous->next = NULL; /* opens the circle */
    while (c) {
        struct channel *next = c->next;
        channel_free(c);
        c = next;
    }
    map_u64_free(s->calls);
    remembered_free(h);
    wire_reader_deinit(&s->reader);
    buf_deinit(&s->out);
    buf_deinit(&s->control);
}
