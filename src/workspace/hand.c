/* The table of hands and the calls. */
#include "workspace/hand.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "workspace/internal.h"
#include "workspace/local.h"
#include <assert.h>

#define DATA_FRAME_MAX (16 * 1024)         /* small, so that calls take turns */
#define CREDIT_BATCH (64 * 1024)           /* taken bytes are given back in pieces of this size */
#define EXTRA_MAX (WIRE_PAYLOAD_MAX - 512) /* the environment goes into the one frame of HELLO */

/* --- the table ------------------------------------------------------------------------------ */

struct hands *hands_new(struct loop *loop, const struct hands_config *config, struct err **e)
{
    autobuf extra = {0};
    for (const char *const *p = config->env; p && *p; p++)
        wire_add_str(&extra, F_ENV, str_from(*p));
    if (extra.n > EXTRA_MAX) {
        err_set(e, ERR_TOO_LARGE, "the configured environment has more than %d bytes", EXTRA_MAX);
        return NULL;
    }
    struct hands *h = xcalloc(1, sizeof(*h));
    h->loop = loop;
    h->program = str_dup(str_from(config->program));
    h->host = str_dup(config->host ? str_from(config->host) : STR("localhost"));
    h->addresses = address_book_new();
    h->env = local_environment();
    h->idle_ms = config->idle_ms;
    h->extra = extra;
    extra = (struct buf){0};
    h->by_id = map_new();
    h->calls = map_u64_new();
    return h;
}

void hands_close(struct hands *h, void (*done)(void *arg), void *arg)
{
    h->closing = true;
    h->closed = done;
    h->closed_arg = arg;
    /* Callbacks of the calls that end run in between; the list itself changes only in a later turn of the loop. */
    for (struct hand *one = h->all; one; one = hand_next(one))
        hand_stop(one, "the server is ending");
    if (!h->all) {
        h->closed = NULL;
        loop_call(h->loop, done, arg);
    }
}

void hands_free(struct hands *h)
{
    if (!h)
        return;
    map_free(h->by_id);
    map_u64_free(h->calls);
    local_environment_free(h->env);
    buf_deinit(&h->extra);
    address_book_free(h->addresses);
    free(h->program);
    free(h->host);
    free(h);
}

/* --- the end of calls ----------------------------------------------------------------------- */

/* Exactly once for each call: it is out of every table before its owner hears of it. */
static void call_end(struct hands *h, struct hand_call *c, struct str fields, const struct err *e)
{
    if (c->hand)
        hand_unlink(c);
    map_u64_remove(h->calls, c->number);
    loop_timer_cancel(h->loop, c->timer);
    if (c->callbacks->on_done)
        c->callbacks->on_done(c->arg, fields, e);
    buf_deinit(&c->input);
    buf_deinit(&c->result);
    free(c);
}

static void call_end_with(struct hands *h, struct hand_call *c, enum err_kind kind, const char *why)
{
    autoerr e = NULL;
    err_set(&e, kind, "%s", why);
    call_end(h, c, STR_NONE, e);
}

void hand_calls_gone(struct hands *hands, struct hand *h, const char *why)
{
    struct hand_call *c;
    while ((c = hand_first_call(h)))
        call_end_with(hands, c, c->cancelled ? ERR_CANCELLED : ERR_GONE, why);
}

static void call_send_cancel(struct hand_call *c)
{
    wire_add_control(hand_output(c->hand), WIRE_CANCEL, c->id);
    hand_flush(c->hand);
}

/* --- frames from the hand ------------------------------------------------------------------- */

/* A RESULT may end in the middle of a callback's own calls: nothing is touched behind call_end. */
static bool on_result(struct hands *h, struct hand_call *c, const struct wire_frame *f, struct err **e)
{
    size_t *assembling = hand_assembling(c->hand);
    struct str fields = f->payload;
    autobuf whole = {0};
    if (c->result.n || f->flags & WIRE_MORE) {
        if (c->result.n + f->payload.n > WIRE_MESSAGE_MAX || *assembling + f->payload.n > HAND_ASSEMBLING_MAX)
            return err_set(e, ERR_INVALID, "its result is too large");
        buf_add(&c->result, f->payload);
        *assembling += f->payload.n;
        if (f->flags & WIRE_MORE)
            return true;
        *assembling -= c->result.n;
        whole = c->result;
        c->result = (struct buf){0};
        fields = buf_str(&whole);
    }
    if (!wire_fields_valid(fields))
        return err_set(e, ERR_INVALID, "its result is malformed");
    if (c->cancelled && wire_get_int(fields, F_STATUS, WIRE_IO) == WIRE_CANCELLED)
        call_end_with(h, c, ERR_CANCELLED, "the call was cancelled");
    else
        call_end(h, c, fields, NULL);
    return true;
}

static void credit_give(struct hand_call *c, enum wire_stream stream, uint32_t bytes)
{
    wire_add_credit(hand_output(c->hand), c->id, stream, bytes);
    c->credit[stream] += bytes;
}

static bool on_data(struct hand_call *c, const struct wire_frame *f, struct err **e)
{
    enum wire_stream stream = (enum wire_stream)f->flags;
    if (stream == WIRE_STDIN || f->payload.n > c->credit[stream])
        return err_set(e, ERR_INVALID, "it sends more data than it may");
    c->credit[stream] -= (uint32_t)f->payload.n;
    if (c->auto_credit) {
        c->owed[stream] += (uint32_t)f->payload.n;
        if (c->owed[stream] >= CREDIT_BATCH) {
            credit_give(c, stream, c->owed[stream]);
            c->owed[stream] = 0;
        }
    }
    if (c->callbacks->on_data)
        c->callbacks->on_data(c->arg, stream, f->payload);
    return true;
}

/* Sends stdin as far as credit goes. */
static void input_send(struct hand_call *c)
{
    size_t n = c->input.n < c->input_credit ? c->input.n : (size_t)c->input_credit;
    for (size_t at = 0; at < n;) {
        size_t piece = n - at < DATA_FRAME_MAX ? n - at : DATA_FRAME_MAX;
        wire_add_data(hand_output(c->hand), c->id, WIRE_STDIN, str_make(c->input.p + at, piece));
        at += piece;
    }
    c->input_credit -= n;
    c->input_sent += n;
    buf_consume(&c->input, n);
    if (c->input.n == 0 && c->input_end && !c->input_ended) {
        c->input_ended = true;
        wire_add_end(hand_output(c->hand), c->id, WIRE_STDIN);
    }
    hand_flush(c->hand);
}

/* Says how much the owner may have handed over by now: a hand may give more credit than we would keep of its input. */
static void room_tell(struct hand_call *c)
{
    uint64_t room = c->input_credit < HAND_INPUT_MAX ? c->input_credit : HAND_INPUT_MAX;
    if (c->input.n == 0 && !c->input_end && room && c->callbacks->on_writable)
        c->callbacks->on_writable(c->arg, c->input_sent + room);
}

static bool on_credit(struct hand_call *c, const struct wire_frame *f, struct err **e)
{
    if (f->flags != WIRE_STDIN)
        return err_set(e, ERR_INVALID, "it gives credit for a stream of its own");
    c->input_credit += wire_credit_bytes(f);
    input_send(c);
    room_tell(c);
    return true;
}

bool hand_call_frame(struct hands *hands, struct hand *h, const struct wire_frame *f, struct err **e)
{
    struct hand_call *c = hand_call_of(h, f->call);
    if (!c) {
        if (!hand_was_issued(h, f->call))
            return err_set(e, ERR_INVALID, "it answers a call that was never made");
        return true; /* given up here already, by a deadline */
    }
    switch (f->type) {
    case WIRE_RESULT: return on_result(hands, c, f, e);
    case WIRE_DATA: return on_data(c, f, e);
    case WIRE_CREDIT: return on_credit(c, f, e);
    case WIRE_END:
        if (c->callbacks->on_end)
            c->callbacks->on_end(c->arg, (enum wire_stream)f->flags);
        return true;
    case WIRE_NOTE:
        if (!wire_fields_valid(f->payload))
            return err_set(e, ERR_INVALID, "its note is malformed");
        if (c->callbacks->on_note)
            c->callbacks->on_note(c->arg, f->payload);
        return true;
    case WIRE_HELLO:
    case WIRE_CALL:
    case WIRE_CANCEL:
    case WIRE_PING:
    case WIRE_PONG:
    default: return true; /* process.c has taken them */
    }
}

/* --- calls: what other threads ask, done on the loop ---------------------------------------- */

enum request_kind {
    REQUEST_CALL,
    REQUEST_CREDIT,
    REQUEST_SEND,
    REQUEST_SEND_END,
    REQUEST_CANCEL,
    REQUEST_END_HAND
};

struct request {
    struct loop_message message;
    struct hands *hands;
    enum request_kind kind;
    uint64_t number;
    struct uuid id;
    uint64_t token, timeout_ms;
    bool auto_credit, alive_only;
    const struct hand_callbacks *callbacks;
    void *arg;
    struct buf data; /* a CALL's fields, or stdin */
    enum wire_stream stream;
    uint32_t bytes;
};

static void on_call_timeout(void *arg)
{
    struct hand_call *c = arg;
    c->timer = 0;
    if (!c->cancelled)
        call_send_cancel(c);
    call_end_with(hand_hands(c->hand), c, c->cancelled ? ERR_CANCELLED : ERR_TIMEOUT,
                  c->cancelled ? "the call was cancelled" : "the call took too long");
}

static bool call_start(struct hands *h, struct hand_call *c, struct request *r, struct err **e)
{
    if (h->closing)
        return err_set(e, ERR_GONE, "the server is ending");
    if (r->data.n > WIRE_MESSAGE_MAX)
        return err_set(e, ERR_TOO_LARGE, "a call has at most %d bytes", WIRE_MESSAGE_MAX);
    struct hand *hand = r->alive_only ? hand_find(h, &r->id) : hand_find_or_start(h, &r->id, r->token, e);
    if (!hand)
        return err_set(e, ERR_GONE, "the hand has ended");
    if (hand_open_calls(hand) >= WIRE_CALLS_MAX)
        return err_set(e, ERR_BUSY, "%d calls are open on this hand already", WIRE_CALLS_MAX);
    if (hand_waiting(hand) + r->data.n > HAND_OUTPUT_MAX)
        return err_set(e, ERR_BUSY, "the hand does not take its calls");
    c->id = hand_next_id(hand);
    hand_link(hand, c);
    for (size_t i = 0; i < HAND_STREAMS; i++)
        c->credit[i] = WIRE_CREDIT_INITIAL;
    c->input_credit = WIRE_CREDIT_INITIAL;
    if (r->timeout_ms)
        c->timer = loop_timer(h->loop, r->timeout_ms, on_call_timeout, c);
    wire_add_message(hand_output(hand), WIRE_CALL, c->id, buf_str(&r->data));
    hand_flush(hand);
    return true;
}

static void do_call(struct hands *h, struct request *r)
{
    autoerr e = NULL;
    struct hand_call *c = xcalloc(1, sizeof(*c));
    c->number = r->number;
    c->callbacks = r->callbacks;
    c->arg = r->arg;
    c->auto_credit = r->auto_credit;
    map_u64_put(h->calls, c->number, c);
    if (!call_start(h, c, r, &e))
        call_end(h, c, STR_NONE, e);
}

static void do_send(struct hands *h, struct hand_call *c, struct request *r)
{
    if (c->input_end)
        return;
    if (c->input.n + r->data.n > HAND_INPUT_MAX ||
        hand_waiting(c->hand) + c->input.n + r->data.n > HAND_OUTPUT_MAX) {
        call_send_cancel(c);
        return call_end_with(h, c, ERR_BUSY, "the process does not take its input");
    }
    bool more = c->input_credit > HAND_INPUT_MAX; /* than the owner has been told */
    buf_add(&c->input, buf_str(&r->data));
    input_send(c);
    if (more)
        room_tell(c);
}

static void do_cancel(struct hands *h, struct hand_call *c)
{
    if (c->cancelled)
        return;
    c->cancelled = true;
    call_send_cancel(c);
    loop_timer_cancel(h->loop, c->timer);
    c->timer = loop_timer(h->loop, HAND_CANCEL_MS, on_call_timeout, c);
}

static void do_credit(struct hand_call *c, struct request *r)
{
    if (c->auto_credit || r->bytes > UINT32_MAX - c->credit[r->stream])
        return;
    credit_give(c, r->stream, r->bytes);
    hand_flush(c->hand);
}

static void request_run(struct loop_message *message)
{
    struct request *r = CONTAINER_OF(message, struct request, message);
    struct hands *h = r->hands;
    struct hand_call *c = r->kind == REQUEST_CALL ? NULL : map_u64_get(h->calls, r->number);
    struct hand *hand;
    switch (r->kind) {
    case REQUEST_CALL: do_call(h, r); break;
    case REQUEST_CREDIT:
        if (c)
            do_credit(c, r);
        break;
    case REQUEST_SEND:
        if (c)
            do_send(h, c, r);
        break;
    case REQUEST_SEND_END:
        if (c) {
            c->input_end = true;
            input_send(c);
        }
        break;
    case REQUEST_CANCEL:
        if (c)
            do_cancel(h, c);
        break;
    case REQUEST_END_HAND:
        if ((hand = hand_find(h, &r->id)))
            hand_stop(hand, "the hand was ended");
        break;
    }
    buf_deinit(&r->data);
    free(r);
}

static struct request *request_new(struct hands *h, enum request_kind kind, uint64_t number)
{
    struct request *r = xcalloc(1, sizeof(*r));
    r->message.run = request_run;
    r->hands = h;
    r->kind = kind;
    r->number = number;
    return r;
}

/* --- what any thread may call --------------------------------------------------------------- */

uint64_t hand_call_number(struct hands *h)
{
    return atomic_fetch_add(&h->last_number, 1) + 1;
}

uint64_t hands_last_call_ns(const struct hands *h)
{
    return atomic_load_explicit(&h->last_call_ns, memory_order_relaxed);
}

void hand_call_numbered(struct hands *h, uint64_t number, const struct hand_spec *hand, enum wire_op op,
                        struct buf *fields, uint64_t timeout_ms, bool auto_credit,
                        const struct hand_callbacks *callbacks, void *arg)
{
    struct request *r = request_new(h, REQUEST_CALL, number);
    atomic_store_explicit(&h->last_call_ns, clock_mono_ns(), memory_order_relaxed);
    r->id = hand->id;
    r->token = hand->owner_token;
    r->timeout_ms = timeout_ms;
    r->auto_credit = auto_credit;
    r->alive_only = op == OP_TERMINAL_INTERRUPT; /* in a new one nothing runs */
    r->callbacks = callbacks;
    r->arg = arg;
    wire_add_int(&r->data, F_OP, op);
    wire_add_int(&r->data, F_TOKEN, (int64_t)hand->owner_token);
    if (hand->working_dir.n && !(fields && wire_has(buf_str(fields), F_CWD)))
        wire_add_str(&r->data, F_CWD, hand->working_dir);
    if (fields) {
        buf_add(&r->data, buf_str(fields));
        buf_deinit(fields);
    }
    loop_post(h->loop, &r->message);
}

uint64_t hand_call(struct hands *h, const struct hand_spec *hand, enum wire_op op, struct buf *fields,
                   uint64_t timeout_ms, bool auto_credit, const struct hand_callbacks *callbacks, void *arg)
{
    uint64_t number = hand_call_number(h);
    hand_call_numbered(h, number, hand, op, fields, timeout_ms, auto_credit, callbacks, arg);
    return number;
}

void hand_credit(struct hands *h, uint64_t call, enum wire_stream stream, uint32_t bytes)
{
    struct request *r = request_new(h, REQUEST_CREDIT, call);
    assert(stream < HAND_STREAMS);
    r->stream = stream;
    r->bytes = bytes;
    loop_post(h->loop, &r->message);
}

void hand_send(struct hands *h, uint64_t call, struct buf *data)
{
    struct request *r = request_new(h, REQUEST_SEND, call);
    r->data = *data;
    *data = (struct buf){0};
    loop_post(h->loop, &r->message);
}

void hand_send_end(struct hands *h, uint64_t call)
{
    loop_post(h->loop, &request_new(h, REQUEST_SEND_END, call)->message);
}

void hand_cancel(struct hands *h, uint64_t call)
{
    loop_post(h->loop, &request_new(h, REQUEST_CANCEL, call)->message);
}

void hand_end(struct hands *h, const struct uuid *id)
{
    struct request *r = request_new(h, REQUEST_END_HAND, HAND_CALL_NONE);
    r->id = *id;
    loop_post(h->loop, &r->message);
}
