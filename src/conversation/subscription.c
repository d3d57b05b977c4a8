/* subscription: a cursor and flags on a socket, never a queue. Loop thread only. When the socket has room it reads on
 * from the tail, or from the store by a worker if it fell behind; at the tail it is told the latest stats and, when one is
 * due, the full state. */
#include "base/clock.h"
#include "base/log.h"
#include "conversation/internal.h"

#define SUBSCRIPTION_AHEAD (256 * 1024) /* bytes given to a socket before it has taken them */

struct subscription {
    struct subscription *next, **link;
    struct conversation *c; /* a reference */
    uint64_t socket;
    uint32_t next_seq;     /* next event wanted */
    uint64_t stats_serial; /* of the last stats sent */
    bool state_due;        /* a full_state for the end of run due_run, not before due_ns */
    uint64_t due_run;
    uint64_t due_ns;
    uint64_t timer;
    bool reading;        /* a worker fetches a page */
    bool closed;         /* freed when the worker is back */
    struct bytes **page; /* fetched frames not sent yet */
    size_t page_n, page_at;
};

static void pump(struct subscription *sub);

static struct server *server_of(const struct subscription *sub)
{
    return sub->c->service->config.server;
}

/* ---- frames that are not in the log ---- */

static struct bytes *live_frame(enum event_kind kind, const char *key, struct str value)
{
    struct event_draft d;
    event_draft_init(&d, kind, SOURCE_ENVIRONMENT);
    event_state_update_body(&d, key, value);
    event_draft_reduce(&d);
    struct str body = buf_str(d.reduced.n > 0 ? &d.reduced : &d.body);
    struct uuid id = uuid_random();
    autobuf text = {0};
    event_write(&text, &d, body, &id, clock_local_us(clock_wall_us()), STR_NONE);
    event_draft_deinit(&d);
    return bytes_take(&text);
}

static struct bytes *make_full_state(struct conversation *c, const struct state *s)
{
    autobuf value = {0};
    state_write_full(s, c->service->config.conversations_path, &value);
    return live_frame(EVENT_STATE_UPDATE, "full_state", buf_str(&value));
}

static struct bytes *make_stats(const struct state *s)
{
    autobuf value = {0};
    struct json_writer w = json_writer(&value);
    stats_write(s->stats, false, &w);
    return live_frame(EVENT_STATE_UPDATE, "stats", buf_str(&value));
}

/* The two frames are made once per state for all sockets. One reference each. */
static void frames_for(struct conversation *c, struct state *s)
{
    if (c->frames_of == s)
        return;
    bytes_unref(steal(c->full_frame));
    bytes_unref(steal(c->stats_frame));
    state_unref(c->frames_of);
    c->frames_of = state_ref(s);
}

static struct bytes *full_state_frame(struct conversation *c, struct state *s)
{
    frames_for(c, s);
    if (!c->full_frame)
        c->full_frame = make_full_state(c, s);
    return bytes_ref(c->full_frame);
}

static struct bytes *stats_frame(struct conversation *c, struct state *s)
{
    frames_for(c, s);
    if (!c->stats_frame)
        c->stats_frame = make_stats(s);
    return bytes_ref(c->stats_frame);
}

void subscription_error(struct subscription *sub, const char *code, struct str detail)
{
    struct event_draft d;
    event_draft_init(&d, EVENT_SERVER_ERROR, SOURCE_ENVIRONMENT);
    struct json_writer w = json_writer(&d.body);
    w.depth = 1;
    jw_member_cstr(&w, "code", code);
    jw_member_str(&w, "detail", detail);
    struct uuid id = uuid_random();
    autobuf text = {0};
    event_write(&text, &d, buf_str(&d.body), &id, clock_local_us(clock_wall_us()), STR_NONE);
    event_draft_deinit(&d);
    socket_send(server_of(sub), sub->socket, bytes_take(&text));
}

/* ---- pages from the store ---- */

struct page_job {
    struct subscription *sub;
    struct conversation *c;
    uint32_t from, to;
    int64_t since_us; /* INT64_MIN: a page; otherwise: find where to begin */
    bool failed;
    struct bytes **frames;
    size_t n;
};

static void page_free(struct subscription *sub)
{
    for (; sub->page_at < sub->page_n; sub->page_at++)
        bytes_unref(sub->page[sub->page_at]);
    free(sub->page);
    sub->page = NULL;
    sub->page_n = sub->page_at = 0;
}

static void subscription_free(struct subscription *sub)
{
    page_free(sub);
    conversation_unref(sub->c);
    free(sub);
}

/* Loop: the worker is back. */
static void page_ready(void *arg)
{
    struct page_job *job = arg;
    struct subscription *sub = job->sub;
    sub->reading = false;
    if (job->since_us != INT64_MIN) {
        sub->next_seq = job->from;
    } else {
        sub->page = steal(job->frames);
        sub->page_n = job->n;
        sub->page_at = 0;
    }
    bool failed = job->failed;
    free(job->frames);
    free(job);
    if (sub->closed) {
        subscription_free(sub);
    } else if (failed) {
        /* The disk does not answer: the client comes back by itself. */
        socket_close(server_of(sub), sub->socket, 1011, "storage error");
    } else {
        pump(sub);
    }
}

static void find_since(struct page_job *job)
{
    struct store_filter filter = {
        .kind = -1,
        .source = -1,
        .since_us = job->since_us,
        .until_us = INT64_MAX,
        .from_seq = -1,
        .limit = 1,
    };
    autoarena arena = arena_new();
    struct store_item *items;
    size_t n = 0;
    int64_t next = -1;
    autoerr e = NULL;
    if (!store_search(job->c->service->config.store, job->c->number, &filter, arena, &items, &n, &next, &e))
        job->failed = true;
    else if (n > 0)
        job->from = items[0].seq;
}

static void read_page(struct page_job *job)
{
    autoarena arena = arena_new();
    struct store_item *items;
    size_t n = 0;
    autoerr e = NULL;
    if (!store_read(job->c->service->config.store, job->c->number, job->from, job->to, STORE_LIST_MAX, false,
                    arena, &items, &n, &e) ||
        n == 0) {
        log_warn("a page of events cannot be read: %s", err_text(e));
        job->failed = true;
        return;
    }
    job->frames = xcalloc(n, sizeof job->frames[0]);
    for (size_t i = 0; i < n; i++)
        job->frames[i] = bytes_new(items[i].json);
    job->n = n;
}

static void page_work(void *arg)
{
    struct page_job *job = arg;
    if (job->since_us != INT64_MIN)
        find_since(job);
    else
        read_page(job);
    loop_call(job->c->service->config.loop, page_ready, job);
}

static void start_reading(struct subscription *sub, uint32_t from, uint32_t to, int64_t since_us)
{
    struct page_job *job = xcalloc(1, sizeof *job);
    *job = (struct page_job){.sub = sub, .c = sub->c, .from = from, .to = to, .since_us = since_us};
    sub->reading = true;
    pool_submit_always(sub->c->service->config.pool, page_work, job);
}

/* ---- sending ---- */

static bool send_frame(struct subscription *sub, struct bytes *frame)
{
    return socket_send(server_of(sub), sub->socket, frame);
}

static struct bytes *tail_frame(struct conversation *c, uint32_t seq)
{
    struct bytes *frame = NULL;
    WITH_LOCK(&c->snapshot_lock)
    {
        const struct tail_item *i = tail_find(&c->tail, seq);
        if (i)
            frame = bytes_ref(i->reduced ? i->reduced : i->json);
    }
    return frame;
}

/* A frame that is refused would be a hole in what the client sees: it has to come back for it. */
static bool send_or_close(struct subscription *sub, struct bytes *frame)
{
    if (send_frame(sub, frame))
        return true;
    socket_close(server_of(sub), sub->socket, 1011, "a frame could not be sent");
    return false;
}

/* One event, from the page or the tail. False when there is none to be had now. */
static bool pump_event(struct subscription *sub, const struct state *s)
{
    struct bytes *frame = NULL;
    if (sub->page_at < sub->page_n) {
        frame = sub->page[sub->page_at++];
        if (sub->page_at == sub->page_n)
            page_free(sub);
    } else {
        frame = tail_frame(sub->c, sub->next_seq);
    }
    if (!frame) {
        start_reading(sub, sub->next_seq, s->next_seq, INT64_MIN);
        return false;
    }
    sub->next_seq++;
    return send_or_close(sub, frame);
}

static void due_fired(void *arg)
{
    struct subscription *sub = arg;
    sub->timer = 0;
    pump(sub);
}

/* At the tail: what is due there. False when nothing more is to be done now. */
static bool pump_due(struct subscription *sub, struct state *s)
{
    if (sub->stats_serial != s->stats->serial) {
        sub->stats_serial = s->stats->serial;
        return send_or_close(sub, stats_frame(sub->c, s));
    }
    /* When a newer run has begun, its own end is the news. */
    if (sub->state_due && sub->due_run != atomic_load(&sub->c->run_number))
        sub->state_due = false;
    if (!sub->state_due)
        return false;
    uint64_t now = clock_mono_ns();
    if (now < sub->due_ns) {
        if (!sub->timer)
            sub->timer =
                loop_timer(sub->c->service->config.loop, (sub->due_ns - now) / NS_PER_MS + 1, due_fired, sub);
        return false;
    }
    sub->state_due = false;
    return send_or_close(sub, full_state_frame(sub->c, s));
}

static void pump(struct subscription *sub)
{
    if (sub->reading || sub->closed)
        return;
    struct state *s = committed_get(sub->c);
    bool more = true;
    while (more && socket_pending(server_of(sub), sub->socket) < SUBSCRIPTION_AHEAD)
        more = sub->next_seq < s->next_seq ? pump_event(sub, s) : pump_due(sub, s);
    state_unref(s);
}

/* ---- life ---- */

struct subscription *subscription_open(struct conversation *c, uint64_t socket, enum resend resend,
                                       int64_t since_us)
{
    bool gone = false;
    WITH_LOCK(&c->lock)
    gone = c->lost || c->deleted;
    if (gone || c->subscriber_count >= CONVERSATION_SUBSCRIBERS_MAX) {
        conversation_unref(c);
        return NULL;
    }
    struct subscription *sub = xcalloc(1, sizeof *sub);
    sub->c = c;
    sub->socket = socket;
    sub->next = c->subscribers;
    sub->link = &c->subscribers;
    if (sub->next)
        sub->next->link = &sub->next;
    c->subscribers = sub;
    c->subscriber_count++;

    struct state *s = committed_get(c);
    sub->next_seq = resend == RESEND_ALL ? 0 : s->next_seq;
    send_frame(sub, full_state_frame(c, s));
    if (resend == RESEND_SINCE)
        start_reading(sub, s->next_seq, s->next_seq, since_us);
    else
        pump(sub);
    state_unref(s);
    return sub;
}

void subscription_room(struct subscription *sub)
{
    pump(sub);
}

void subscription_close(struct subscription *sub)
{
    if (sub->next)
        sub->next->link = sub->link;
    *sub->link = sub->next;
    sub->c->subscriber_count--;
    if (sub->timer)
        loop_timer_cancel(sub->c->service->config.loop, sub->timer);
    sub->closed = true;
    if (!sub->reading)
        subscription_free(sub);
}

struct conversation *subscription_conversation(struct subscription *sub)
{
    return sub->c;
}

void subscriptions_wake(struct conversation *c)
{
    for (struct subscription *sub = c->subscribers, *next; sub; sub = next) {
        next = sub->next;
        pump(sub);
    }
}

static bool any_behind(const struct conversation *c, uint32_t next_seq)
{
    for (const struct subscription *sub = c->subscribers; sub; sub = sub->next)
        if (sub->next_seq < next_seq)
            return true;
    return false;
}

void subscriptions_run_ended(struct conversation *c, uint64_t run_number, uint64_t answered_ns)
{
    for (struct subscription *sub = c->subscribers; sub; sub = sub->next) {
        sub->state_due = true;
        sub->due_run = run_number;
        sub->due_ns = answered_ns + CONVERSATION_FULL_STATE_MS * NS_PER_MS;
        if (sub->timer)
            loop_timer_cancel(c->service->config.loop, sub->timer);
        sub->timer = 0;
    }
    subscriptions_wake(c);
    /* Nobody needs the tail of a conversation at rest: the memory is for those that run. */
    WITH_LOCK(&c->snapshot_lock)
    if (!any_behind(c, c->committed->next_seq))
        tail_clear(c);
}

void subscriptions_close_all(struct conversation *c, int code, const char *reason)
{
    for (struct subscription *sub = c->subscribers, *next; sub; sub = next) {
        next = sub->next;
        socket_close(server_of(sub), sub->socket, code, reason);
    }
}

void subscriptions_delta(struct conversation *c, struct bytes *frame, uint64_t serial)
{
    struct state *s = committed_get(c);
    for (struct subscription *sub = c->subscribers, *next; sub && s->stats->serial == serial; sub = next) {
        next = sub->next;
        pump(sub);
        if (!sub->reading && sub->next_seq == s->next_seq &&
            socket_pending(server_of(sub), sub->socket) < SUBSCRIPTION_AHEAD)
            send_frame(sub, bytes_ref(frame));
    }
    state_unref(s);
    bytes_unref(frame);
}
