/* append: stamps drafts, queues one commit, and makes it visible when it is durable. */
#include "base/clock.h"
#include "conversation/internal.h"

struct append { /* one commit under way */
    struct store_commit commit;
    struct conversation *conversation; /* a reference */
    struct state *next;                /* what is true once it is durable */
    struct store_event *events;
    enum event_kind *kinds;
    size_t count;
    struct buf state_text;
    struct store_usage usage;
    conversation_done done;
    void *arg;
};

struct state *committed_get(struct conversation *c)
{
    struct state *s = NULL;
    WITH_LOCK(&c->snapshot_lock)
    s = state_ref(c->committed);
    return s;
}

static void append_free(struct append *a)
{
    for (size_t i = 0; i < a->count; i++) {
        bytes_unref(a->events[i].json);
        bytes_unref(a->events[i].reduced);
        free((char *)a->events[i].search_text.p);
        free((char *)a->events[i].side.p);
    }
    free(a->events);
    free(a->kinds);
    buf_deinit(&a->state_text);
    free((char *)a->usage.usage_id.p);
    free((char *)a->usage.model.p);
    free((char *)a->usage.response_id.p);
    state_unref(a->next);
    conversation_unref(a->conversation);
    free(a);
}

static void publish(struct conversation *c, struct append *a)
{
    WITH_LOCK(&c->snapshot_lock)
    {
        for (size_t i = 0; i < a->count; i++)
            tail_push(c, (struct tail_item){
                             .seq = a->commit.expected_seq + (uint32_t)i,
                             .kind = a->kinds[i],
                             .on_branch = a->events[i].on_branch,
                             .json = bytes_ref(a->events[i].json),
                             .reduced = bytes_ref(a->events[i].reduced),
                         });
        state_unref(c->committed);
        c->committed = state_ref(a->next);
        bytes_unref(c->info);
        c->info = NULL;
    }
    conversation_notify(c);
}

static void close_lost_sockets(void *arg)
{
    struct conversation *c = arg;
    conversation_mend_stop(c);
    subscriptions_close_all(c, 1012, "the conversation moved");
    conversation_unref(c);
}

/* Another owner has it: nothing here may act for it any more, and its clients come back by themselves. */
static void abandon(struct conversation *c)
{
    conversations_drop(c);
    loop_call(c->service->config.loop, close_lost_sockets, conversation_ref(c));
}

/* Under the append lock. True when the conversation has just been lost. */
static bool settle(struct conversation *c, bool ok, bool lost)
{
    bool abandoned = lost && !c->lost && !c->deleted;
    c->outstanding--;
    if (!ok)
        c->poisoned = true;
    if (lost) {
        c->lost = true;
        if (c->run)
            run_interrupt(c->run);
    }
    if (c->poisoned && c->outstanding == 0) {
        state_unref(c->pending);
        c->pending = committed_get(c);
        c->poisoned = false;
        side_drop_from(&c->side, c->pending->next_seq);
    }
    run_settle(c);
    return abandoned;
}

/* Writer thread. */
static void commit_done(struct store_commit *commit, enum store_result result, const struct err *why)
{
    struct append *a = CONTAINER_OF(commit, struct append, commit);
    struct conversation *c = a->conversation;
    bool ok = result == STORE_DONE || result == STORE_ALREADY_DONE, abandoned = false;
    autoerr e = NULL;
    if (ok)
        publish(c, a);
    else if (result == STORE_LOST)
        err_set(&e, ERR_LOST, "another owner has this conversation");
    else
        err_set(&e, why && why->kind == ERR_BUSY ? ERR_BUSY : ERR_IO, "%s",
                why ? why->text : "the store refused the write");
    WITH_LOCK(&c->lock)
    abandoned = settle(c, ok, result == STORE_LOST);
    if (abandoned)
        abandon(c);
    if (a->done)
        a->done(a->arg, e);
    append_free(a);
}

static struct str own(struct str s)
{
    return (struct str){str_dup(s), s.n};
}

/* Clients order events by the text of their timestamps, so neither a clock that is set back nor the end of summer time may
 * show in them; and a fraction of zero would be left out by Python, which makes the text shorter. */
int64_t append_later_than(int64_t last_us, int64_t now_us)
{
    int64_t us = now_us > last_us ? now_us : last_us + 1;
    return us % 1000000 == 0 ? us + 1 : us;
}

/* Stamps draft `i`: id, time, parent, text. */
static void stamp(struct append *a, size_t i, struct event_draft *d)
{
    struct state *s = a->next;
    struct store_event *ev = &a->events[i];
    int64_t now = append_later_than(s->last_us, clock_wall_us()),
            local = append_later_than(s->last_local_us, clock_local_us(now));
    s->last_us = now;
    s->last_local_us = local;
    if (uuid_is_zero(&d->id))
        d->id = uuid_random();
    char parent_text[UUID_DASHED_LEN + 1];
    struct str parent = s->leaf_seq >= 0 ? uuid_dashed(&s->leaf, parent_text) : STR_NONE;

    autobuf text = {0};
    buf_reserve(&text, d->body.n + 256);
    event_write(&text, d, buf_str(&d->body), &d->id, local, parent);
    *ev = (struct store_event){
        .id = d->id,
        .kind = (uint8_t)d->kind,
        .source = (uint8_t)d->source,
        .time_us = now,
        .branch = s->branch,
        .on_branch = d->on_branch,
        .json = bytes_take(&text),
    };
    if (ev->json->n > EVENT_SOCKET_MAX) {
        if (d->reduced.n == 0)
            event_draft_reduce(d);
        event_write(&text, d, buf_str(&d->reduced), &d->id, local, parent);
        ev->reduced = bytes_take(&text);
    }
    if (d->search_text.n > 0)
        ev->search_text = own(buf_str(&d->search_text));
    a->kinds[i] = d->kind;
    if (d->on_branch) {
        s->leaf = d->id;
        s->leaf_seq = s->next_seq;
    }
    s->next_seq++;
}

/* Under the append lock, once event `i` is stamped: what the other dialect needs beside it. */
static void add_side(struct append *a, size_t i, const struct event_draft *d,
                     const struct side_commit *commit)
{
    autobuf side = {0};
    side_write(&a->conversation->side, commit, d, a->commit.expected_seq + (uint32_t)i, &side);
    if (side.n > 0)
        a->events[i].side = buf_take(&side);
}

static void add_delta(struct append *a, const struct state *old)
{
    struct state *s = a->next;
    struct store_delta *d = &a->commit.delta;
    d->set = STORE_SET_LEAF | STORE_TOUCH;
    d->leaf_seq = s->leaf_seq;
    d->branch = s->branch;
    d->updated_us = s->updated_us = clock_wall_us();
    if (s->status != old->status) {
        d->set |= STORE_SET_STATUS;
        d->status = (int)s->status;
    }
    if (s->doc != old->doc) {
        doc_write(s->doc, &a->state_text);
        d->set |= STORE_SET_STATE | STORE_SET_TITLE;
        d->state = buf_str(&a->state_text);
        d->title = bytes_str(s->doc->title);
    }
    if (s->config != old->config) {
        d->set |= STORE_SET_CONFIG;
        d->config = bytes_str(s->config->stored);
    }
}

static void add_usage(struct append *a, const struct append_usage *u)
{
    struct state *s = a->next;
    a->usage = (struct store_usage){
        .usage_id = own(u->usage_id),
        .model = own(u->model),
        .response_id = own(u->usage->response_id),
        .cost = u->usage->cost,
        .seconds = u->usage->seconds,
        .prompt = u->usage->prompt_tokens,
        .completion = u->usage->completion_tokens,
        .cache_read = u->usage->cache_read_tokens,
        .cache_write = u->usage->cache_write_tokens,
        .reasoning = u->usage->reasoning_tokens,
        .context_window = u->usage->context_window,
        .time_us = clock_wall_us(),
    };
    a->commit.usage = &a->usage;
    a->commit.usage_count = 1;
    state_set_stats(s, stats_add(s->stats, u->usage_id, u->model, u->usage));
}

/* Where a status change's own event goes: behind the events that led to it, but in front of the one that explains it. */
static size_t status_place(const struct event_draft *drafts, size_t n)
{
    if (n == 0)
        return 0;
    enum event_kind last = drafts[n - 1].kind;
    bool explains = last == EVENT_CONVERSATION_ERROR || last == EVENT_PAUSE || last == EVENT_INTERRUPT;
    return explains ? n - 1 : n;
}

static void status_draft(struct event_draft *d, enum status status)
{
    char json[40];
    event_draft_init(d, EVENT_STATE_UPDATE, SOURCE_ENVIRONMENT);
    snprintf(json, sizeof json, "\"%s\"", status_name(status));
    event_state_update_body(d, "execution_status", str_from(json));
}

static bool may_append(const struct conversation *c, struct err **e)
{
    if (c->poisoned)
        return err_set(e, ERR_IO, "the store refuses writes");
    if (c->lost || c->deleted)
        return err_set(e, c->deleted ? ERR_NOT_FOUND : ERR_LOST, "the conversation is gone");
    return true;
}

static struct append *append_new(struct conversation *c, struct state *next, size_t count)
{
    struct append *a = xcalloc(1, sizeof *a);
    a->conversation = conversation_ref(c);
    a->next = next;
    a->count = count;
    a->events = xcalloc(a->count ? a->count : 1, sizeof a->events[0]);
    a->kinds = xcalloc(a->count ? a->count : 1, sizeof a->kinds[0]);
    a->commit = (struct store_commit){
        .number = c->number,
        .token = c->token,
        .expected_seq = next->next_seq,
        .events = a->events,
        .event_count = a->count,
        .done = commit_done,
    };
    random_bytes(&a->commit.commit_id, sizeof a->commit.commit_id);
    return a;
}

/* The drafts, and among them the event of a status that changes. */
static void stamp_all(struct append *a, struct event_draft *drafts, size_t n)
{
    const struct state *pending = a->conversation->pending, *next = a->next;
    struct side_commit side = {drafts, n, pending->status, next->status, next->stats};
    size_t status_at = a->count > n ? status_place(drafts, n) : SIZE_MAX;
    for (size_t i = 0, draft = 0; i < a->count; i++) {
        struct event_draft status = {0}, *d = &status;
        if (i == status_at)
            status_draft(&status, next->status);
        else
            d = &drafts[draft++];
        stamp(a, i, d);
        add_side(a, i, d, &side);
        if (d == &status)
            event_draft_deinit(d);
    }
}

bool append_locked(struct conversation *c, struct event_draft *drafts, size_t n, struct state *next,
                   const struct append_usage *usage, conversation_done done, void *arg, struct err **e)
{
    if (!next)
        next = state_copy(c->pending);
    if (!may_append(c, e)) {
        state_unref(next);
        return false;
    }
    struct append *a = append_new(c, next, n + (next->status != c->pending->status ? 1 : 0));
    a->done = done;
    a->arg = arg;
    if (usage && usage->usage)
        add_usage(a, usage);
    stamp_all(a, drafts, n);
    add_delta(a, c->pending);

    /* The writer may be done with the commit before we look again: nothing of `a` is used behind this call. */
    struct state *queued = state_ref(a->next);
    c->outstanding++;
    uint32_t first_seq = a->commit.expected_seq;
    if (!store_commit(c->service->config.store, &a->commit, e)) {
        c->outstanding--;
        side_drop_from(&c->side, first_seq);
        state_unref(queued);
        append_free(a);
        return false;
    }
    state_unref(c->pending);
    c->pending = queued;
    for (size_t i = 0; i < n; i++)
        event_draft_deinit(&drafts[i]);
    return true;
}

static void wake(void *arg)
{
    struct conversation *c = arg;
    atomic_store(&c->notify_posted, false);
    subscriptions_wake(c);
    conversation_unref(c);
}

void conversation_notify(struct conversation *c)
{
    if (!atomic_exchange(&c->notify_posted, true))
        loop_call(c->service->config.loop, wake, conversation_ref(c));
}
