/* The stream from the mind: frames in, and the calls that begin with them. */
#include "hand/channel.h"
#include "hand/env.h"
#include <errno.h>

#define ASSEMBLING_MAX (64u * 1024 * 1024) /* unfinished CALL messages together */
#define READ_MAX (64 * 1024)               /* of one turn */

static void protocol_error(struct hand *h, const char *why)
{
    hand_stop(h, 1, why);
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
        for (size_t i = 0; i < CHANNEL_STREAMS; i++)
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

static void on_writable(void *arg, short revents)
{
    (void)arg; /* the next turn begins with stream_flush */
    (void)revents;
}

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
        channel_ring_add(s, c);
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
