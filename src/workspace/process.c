/* One hand: its process, its stream, its life. */
#include "base/cleanup.h"
#include "base/log.h"
#include "workspace/internal.h"
#include "workspace/local.h"
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define READ_MAX (64 * 1024) /* of one turn of the loop */
#define LAST_READS 64        /* of a process that has ended: its socket holds less than that */
#define MESSAGE_LOG_MAX 200  /* bytes of a hand's complaint that go to the log */

struct hand {
    struct hands *hands;
    struct hand *next, *previous;
    struct uuid id;
    struct started process;
    uv_poll_t stream, end; /* the socket; the pidfd */
    unsigned open_handles;
    uint64_t timer; /* greeting, then pings, then the kill */
    struct wire_reader reader;
    struct buf out;
    size_t out_at;
    struct hand_call *calls;
    size_t calls_n, assembling;
    struct map_u64 *by_wire_id;
    uint32_t last_id;
    unsigned silent_pings, messages; /* of its own complaints, those that came */
    bool pong_waits;                 /* in `out`: one answer is enough for all pings until it is taken */
    bool greeted;
    bool stopped;            /* takes no calls; its stream is closed or closing */
    bool stream_over, ended; /* nothing more comes; the process was reaped */
    bool listed;             /* in hands->by_id */
};

static struct str id_key(const struct uuid *id)
{
    return str_make(id->b, sizeof(id->b));
}

/* --- the end -------------------------------------------------------------------------------- */

/* As process 1 we inherit what loses its parent; no one else waits for it. */
static void strangers_reap(void)
{
    if (getpid() == 1)
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
}

static void hand_unlist(struct hand *h)
{
    if (h->listed) {
        map_remove(h->hands->by_id, id_key(&h->id));
        h->hands->count--;
    }
    h->listed = false;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct hand *h = handle->data;
    struct hands *hands = h->hands;
    if (--h->open_handles)
        return;
    close(h->process.stream);
    close(h->process.pidfd);
    if (h->next)
        h->next->previous = h->previous;
    *(h->previous ? &h->previous->next : &hands->all) = h->next;
    wire_reader_deinit(&h->reader);
    buf_deinit(&h->out);
    map_u64_free(h->by_wire_id);
    free(h);
    if (hands->closing && !hands->all && hands->closed) {
        void (*closed)(void *) = hands->closed;
        hands->closed = NULL;
        closed(hands->closed_arg);
    }
}

/* When nothing can come any more, neither bytes nor the end. */
static void hand_finish(struct hand *h)
{
    if (!h->stream_over || !h->ended || uv_is_closing((uv_handle_t *)&h->stream))
        return;
    loop_timer_cancel(h->hands->loop, h->timer);
    uv_close((uv_handle_t *)&h->stream, on_handle_closed);
    uv_close((uv_handle_t *)&h->end, on_handle_closed);
}

static void hand_kill(void *arg)
{
    struct hand *h = arg;
    h->timer = 0;
    if (!h->ended) {
        syscall(SYS_pidfd_send_signal, h->process.pidfd, SIGKILL, NULL, 0);
        if (getpid() != 1) /* not reaped yet, so the number is still its own */
            kill(-h->process.pid, SIGKILL);
    }
}

static void stream_stop(struct hand *h)
{
    if (h->stream_over)
        return;
    h->stream_over = true;
    uv_poll_stop(&h->stream);
    shutdown(h->process.stream, SHUT_RDWR);
}

static void hand_end_calls(struct hand *h, const char *why)
{
    hand_unlist(h);
    h->stopped = true;
    hand_calls_gone(h->hands, h, why);
}

void hand_stop(struct hand *h, const char *why)
{
    bool first = !h->stopped;
    hand_end_calls(h, why);
    stream_stop(h);
    if (first && !h->ended) {
        loop_timer_cancel(h->hands->loop, h->timer);
        h->timer = loop_timer(h->hands->loop, HAND_STOP_MS, hand_kill, h);
    }
    hand_finish(h);
}

/* A hand that broke the protocol is not asked to end. */
static void hand_condemn(struct hand *h, const char *why)
{
    char id[UUID_HEX_LEN + 1];
    log_warn("hand %s: %s; it is killed", uuid_hex(&h->id, id).p, why);
    hand_stop(h, why);
    loop_timer_cancel(h->hands->loop, h->timer);
    hand_kill(h); /* its end is seen on the pidfd */
}

/* --- pings ---------------------------------------------------------------------------------- */

static void on_ping_time(void *arg)
{
    struct hand *h = arg;
    h->timer = 0;
    strangers_reap();
    if (!h->greeted)
        return hand_condemn(h, "it did not greet in time");
    /* Counted, not timed: a clock that jumped or a stopped server is not the hand's silence. */
    if (h->silent_pings++ >= HAND_SILENT_PINGS)
        return hand_condemn(h, "it does not answer");
    wire_add_control(&h->out, WIRE_PING, 0);
    h->timer = loop_timer(h->hands->loop, WIRE_PING_S * 1000, on_ping_time, h);
    hand_flush(h);
}

/* --- reading -------------------------------------------------------------------------------- */

static bool on_hello(struct hand *h, const struct wire_frame *f, struct err **e)
{
    int64_t min = wire_get_int(f->payload, F_VERSION_MIN, 0);
    int64_t max = wire_get_int(f->payload, F_VERSION_MAX, 0);
    if (h->greeted || !wire_fields_valid(f->payload) || min > WIRE_VERSION_MAX || max < WIRE_VERSION_MIN)
        return err_set(e, ERR_INVALID, "it greets twice or in another version");
    h->greeted = true;
    loop_timer_cancel(h->hands->loop, h->timer);
    h->timer = loop_timer(h->hands->loop, WIRE_PING_S * 1000, on_ping_time, h);
    return true;
}

static void message_log(struct hand *h, struct str message)
{
    autobuf text = {0};
    if (h->messages == HAND_MESSAGES_MAX)
        return;
    for (size_t i = 0; i < message.n && i < MESSAGE_LOG_MAX; i++)
        buf_add_char(&text, message.p[i] < ' ' || message.p[i] > '~' ? '?' : message.p[i]);
    bool last = ++h->messages == HAND_MESSAGES_MAX;
    log_info("a hand says: %.*s%s", STR_ARG(buf_str(&text)),
             last ? " (no more of its messages are logged)" : "");
}

static bool on_own_note(struct hand *h, const struct wire_frame *f, struct err **e)
{
    if (!wire_fields_valid(f->payload))
        return err_set(e, ERR_INVALID, "its note is malformed");
    struct str message = wire_get_str(f->payload, F_MESSAGE);
    if (message.p) {
        message_log(h, message);
    } else if (h->hands->idle_ms && h->calls_n == 0) {
        hand_stop(h, "the hand was idle"); /* no call is open, so none is lost */
    }
    return true;
}

static void pong_add(struct hand *h)
{
    if (!h->pong_waits)
        wire_add_control(&h->out, WIRE_PONG, 0);
    h->pong_waits = true;
}

static bool on_frame(struct hand *h, const struct wire_frame *f, struct err **e)
{
    if (!h->greeted && f->type != WIRE_HELLO)
        return err_set(e, ERR_INVALID, "it does not begin with a greeting");
    switch (f->type) {
    case WIRE_HELLO: return on_hello(h, f, e);
    case WIRE_PONG: return true;
    case WIRE_PING: pong_add(h); return true;
    case WIRE_NOTE:
        if (f->call == 0)
            return on_own_note(h, f, e);
        return hand_call_frame(h->hands, h, f, e);
    case WIRE_RESULT:
    case WIRE_DATA:
    case WIRE_END:
    case WIRE_CREDIT: return hand_call_frame(h->hands, h, f, e);
    case WIRE_CALL:
    case WIRE_CANCEL:
    default: return err_set(e, ERR_INVALID, "it sends what only a mind sends");
    }
}

static void hand_read(struct hand *h)
{
    char data[READ_MAX];
    ssize_t n = read(h->process.stream, data, sizeof(data));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        return hand_stop(h, "the hand has died");
    h->silent_pings = 0;
    wire_reader_feed(&h->reader, str_make(data, (size_t)n));
    struct wire_frame f;
    autoerr e = NULL;
    while (!h->stopped && !e && wire_reader_next(&h->reader, &f, &e))
        on_frame(h, &f, &e);
    if (e)
        hand_condemn(h, err_text(e));
    else if (!h->stopped && hand_waiting(h) > HAND_OUTPUT_MAX + HAND_CONTROL_MAX)
        hand_condemn(h, "it does not take its output");
}

/* --- writing -------------------------------------------------------------------------------- */

static void on_stream(uv_poll_t *poll, int status, int events);

static bool hand_write(struct hand *h)
{
    bool ok = true;
    while (h->out_at < h->out.n) {
        ssize_t n = send(h->process.stream, h->out.p + h->out_at, h->out.n - h->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            ok = errno == EAGAIN;
            break;
        }
        h->out_at += (size_t)n;
    }
    if (h->out_at == h->out.n) {
        h->out_at = 0;
        h->pong_waits = false;
        if (h->out.cap > READ_MAX) /* a large call should not cost its memory for ever */
            buf_deinit(&h->out);
        else
            buf_clear(&h->out);
    } else if (h->out_at > h->out.n / 2) {
        /* One that is never empty should not grow by what was taken long ago. */
        buf_consume(&h->out, h->out_at);
        h->out_at = 0;
    }
    return ok;
}

/* A failed write is left to the reading side, which sees the end and what was said before it. */
void hand_flush(struct hand *h)
{
    if (h->stream_over)
        return;
    bool more = hand_write(h) && h->out.n > h->out_at;
    uv_poll_start(&h->stream, more ? UV_READABLE | UV_WRITABLE : UV_READABLE, on_stream);
}

static void on_stream(uv_poll_t *poll, int status, int events)
{
    struct hand *h = CONTAINER_OF(poll, struct hand, stream);
    if (status < 0)
        return hand_stop(h, "the hand has died");
    if (events & UV_READABLE)
        hand_read(h);
    hand_flush(h);
}

/* --- the process's end ---------------------------------------------------------------------- */

/* What it said last is still in the socket. */
static void hand_read_rest(struct hand *h)
{
    for (int i = 0; i < LAST_READS && !h->stream_over; i++)
        hand_read(h);
}

static void on_end(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct hand *h = CONTAINER_OF(poll, struct hand, end);
    uv_poll_stop(&h->end);
    waitpid(h->process.pid, NULL,
            WNOHANG); /* ECHILD when we are process 1 and it was reaped with the strangers */
    h->ended = true;
    strangers_reap();
    hand_read_rest(h);
    loop_timer_cancel(h->hands->loop, h->timer);
    h->timer = 0;
    hand_stop(h, "the hand has died"); /* also when something else keeps the other end of the stream open */
}

/* --- the beginning -------------------------------------------------------------------------- */

/* `addresses`: F_ENV fields that this hand has for itself. */
static void hand_greet(struct hand *h, uint64_t token, struct str addresses)
{
    autobuf hello = {0};
    char id[UUID_HEX_LEN + 1];
    wire_add_int(&hello, F_VERSION_MIN, WIRE_VERSION_MIN);
    wire_add_int(&hello, F_VERSION_MAX, WIRE_VERSION_MAX);
    wire_add_str(&hello, F_HAND_ID, uuid_hex(&h->id, id));
    wire_add_int(&hello, F_TOKEN, (int64_t)token);
    if (h->hands->idle_ms)
        wire_add_int(&hello, F_TIMEOUT_MS, (int64_t)h->hands->idle_ms);
    buf_add(&hello, buf_str(&h->hands->extra));
    buf_add(&hello, addresses);
    buf_add(&h->out, str_make(WIRE_MAGIC, WIRE_MAGIC_LEN));
    wire_add_message(&h->out, WIRE_HELLO, 0, buf_str(&hello));
}

static void hand_watch(struct hand *h)
{
    uv_loop_t *uv = loop_uv(h->hands->loop);
    if (uv_poll_init(uv, &h->stream, h->process.stream) != 0 ||
        uv_poll_init(uv, &h->end, h->process.pidfd) != 0)
        abort(); /* only without memory */
    h->stream.data = h->end.data = h;
    h->open_handles = 2;
    uv_poll_start(&h->end, UV_READABLE, on_end);
}

struct hand *hand_find(struct hands *hands, const struct uuid *id)
{
    return map_get(hands->by_id, id_key(id));
}

struct hand *hand_find_or_start(struct hands *hands, const struct uuid *id, uint64_t token, struct err **e)
{
    struct hand *h = hand_find(hands, id);
    struct started process;
    if (h)
        return h;
    if (hands->count >= HANDS_MAX) {
        err_set(e, ERR_BUSY, "%d hands are running already", HANDS_MAX);
        return NULL;
    }
    autobuf addresses = {0};
    address_environment(hands, id, &addresses);
    if (!local_start(hands->program, hands->env, &process, e))
        return NULL;
    h = xcalloc(1, sizeof(*h));
    *h = (struct hand){.hands = hands, .id = *id, .process = process, .next = hands->all, .listed = true};
    if (h->next)
        h->next->previous = h;
    hands->all = h;
    hands->count++;
    h->by_wire_id = map_u64_new();
    map_put(hands->by_id, id_key(id), h);
    hand_watch(h);
    h->timer = loop_timer(hands->loop, HAND_GREETING_MS, on_ping_time, h);
    hand_greet(h, token, buf_str(&addresses));
    hand_flush(h);
    return h;
}

/* --- what calls need ------------------------------------------------------------------------ */

struct buf *hand_output(struct hand *h)
{
    return &h->out;
}

size_t hand_waiting(const struct hand *h)
{
    return h->out.n - h->out_at;
}

uint32_t hand_next_id(struct hand *h)
{
    do {
        h->last_id++;
    } while (h->last_id == 0 || map_u64_get(h->by_wire_id, h->last_id));
    return h->last_id;
}

void hand_link(struct hand *h, struct hand_call *c)
{
    c->hand = h;
    c->next = h->calls;
    c->previous = NULL;
    if (c->next)
        c->next->previous = c;
    h->calls = c;
    h->calls_n++;
    map_u64_put(h->by_wire_id, c->id, c);
}

void hand_unlink(struct hand_call *c)
{
    struct hand *h = c->hand;
    if (c->next)
        c->next->previous = c->previous;
    *(c->previous ? &c->previous->next : &h->calls) = c->next;
    h->calls_n--;
    map_u64_remove(h->by_wire_id, c->id);
    h->assembling -= c->result.n;
}

size_t hand_open_calls(const struct hand *h)
{
    return h->calls_n;
}

struct hand_call *hand_call_of(struct hand *h, uint32_t id)
{
    return map_u64_get(h->by_wire_id, id);
}

struct hand_call *hand_first_call(struct hand *h)
{
    return h->calls;
}

bool hand_was_issued(const struct hand *h, uint32_t id)
{
    return id <= h->last_id;
}

size_t *hand_assembling(struct hand *h)
{
    return &h->assembling;
}

struct hand *hand_next(const struct hand *h)
{
    return h->next;
}

struct hands *hand_hands(const struct hand *h)
{
    return h->hands;
}
