/* open: how a conversation gets into memory: claim, load, repair, and the first message if its creation was cut off. */
#include "base/clock.h"
#include "base/log.h"
#include "conversation/load.h"
#include "conversation/open.h"

/* Under the registry lock: takes it out if it is the one that is there. */
static bool take_out(struct conversation *c)
{
    if (map_get(c->service->open, conversation_key(&c->id)) != c)
        return false;
    map_remove(c->service->open, conversation_key(&c->id));
    return true;
}

void conversations_drop(struct conversation *c)
{
    bool was_open = false;
    WITH_LOCK(&c->service->lock)
    was_open = take_out(c);
    if (was_open)
        conversation_unref(c);
}

/* Answers everybody who waits for an open, in the order they came; `e` NULL: it is ready. Ends the open's own
 * reference, which keeps `c` alive until here whatever a DELETE does. */
void open_end(struct conversation *c, const struct err *e)
{
    struct waiter *waiters = NULL;
    bool removed = false;
    WITH_LOCK(&c->service->lock)
    {
        waiters = steal(c->waiters);
        c->waiters_end = &c->waiters;
        c->ready = !e;
        c->used_ns = clock_mono_ns();
        removed = e && take_out(c);
    }
    while (waiters) {
        struct waiter *w = waiters;
        waiters = w->next;
        w->done(w->arg, e ? NULL : conversation_ref(c), e);
        free(w);
    }
    if (removed)
        conversation_unref(c);
    conversation_unref(c);
}

static void open_sent(void *arg, const struct err *e)
{
    open_end(arg, e);
}

/* Sound and claimed: at last the message it was created for, if the creation was cut off before. */
void open_finish(void *arg)
{
    conversation_send_initial(arg, open_sent, arg);
}

static void open_repair(void *arg)
{
    struct conversation *c = arg;
    bool repaired = false;
    autoerr e = NULL;
    if (lock_sound(c, &repaired, &e)) {
        thread_unlock(&c->lock);
    } else {
        open_end(c, e);
        return;
    }
    if (repaired) /* clients are shown the repaired state: the first frame of their sockets has to be true */
        conversation_mend(c);
    open_finish(c);
}

/* Loaded behind the claim: nobody else can have written since. */
static void open_load(void *arg)
{
    struct conversation *c = arg;
    autoarena arena = arena_new();
    struct store_row row;
    autoerr e = NULL;
    struct state *state = NULL;
    if (!store_get(c->service->config.store, &c->id, arena, &row, &e) || row.number != c->number ||
        !(state = load_state(&c->service->config, &row, &e))) {
        if (!e)
            err_set(&e, ERR_NOT_FOUND, "the conversation has been deleted");
        open_end(c, e);
        return;
    }
    open_set_state(c, state);
    if (!open_actions_track(c, &e)) {
        open_end(c, e);
        return;
    }
    open_repair(c);
}

/* The store's writer goes on when the workers of a server that ends have ended. */
void open_go_on(struct conversation *c, void (*step)(void *arg))
{
    autoerr e = NULL;
    if (atomic_load(&c->service->closing)) {
        err_set(&e, ERR_BUSY, "the server is shutting down");
        open_end(c, e);
    } else {
        pool_submit_always(c->service->config.pool, step, c);
    }
}

static void open_claimed(void *arg, uint64_t token, const struct err *e)
{
    struct conversation *c = arg;
    if (e) {
        open_end(c, e);
        return;
    }
    c->token = token;
    open_go_on(c, open_load);
}

void open_claim(void *arg)
{
    struct conversation *c = arg;
    struct conversations *s = c->service;
    autoarena arena = arena_new();
    struct store_row row;
    autoerr e = NULL;
    if (!store_get(s->config.store, &c->id, arena, &row, &e)) {
        open_end(c, e);
        return;
    }
    c->number = row.number;
    store_claim(s->config.store, c->number, str_from(s->owner), open_claimed, c);
}

/* Under the registry lock: the open conversation, with a reference, or NULL with `waiter` queued (and `*fresh` set, with
 * the open's own reference, when this caller has to start the open). */
struct conversation *open_enter(struct conversations *s, const struct uuid *id, struct waiter *waiter,
                                struct conversation **fresh)
{
    struct conversation *c = map_get(s->open, conversation_key(id));
    if (c && c->ready) {
        c->used_ns = clock_mono_ns();
        return conversation_ref(c);
    }
    if (!c) {
        c = conversation_new(s, id);
        map_put(s->open, conversation_key(id), c);
        *fresh = conversation_ref(c);
    }
    *c->waiters_end = waiter;
    c->waiters_end = &waiter->next;
    return NULL;
}

struct waiter *open_waiter(void (*done)(void *, struct conversation *, const struct err *), void *arg)
{
    struct waiter *w = xcalloc(1, sizeof(*w));
    w->done = done;
    w->arg = arg;
    return w;
}

void conversations_open(struct conversations *s, const struct uuid *id,
                        void (*done)(void *arg, struct conversation *c, const struct err *e), void *arg)
{
    struct conversation *c = NULL, *fresh = NULL;
    struct waiter *w = open_waiter(done, arg);
    WITH_LOCK(&s->lock)
    c = open_enter(s, id, w, &fresh);
    if (c) {
        free(w);
        done(arg, c, NULL);
    } else if (fresh) {
        pool_submit_always(s->config.pool, open_claim, fresh);
    }
}

struct conversation *conversations_peek(struct conversations *s, const struct uuid *id)
{
    struct conversation *found = NULL;
    WITH_LOCK(&s->lock)
    {
        struct conversation *c = map_get(s->open, conversation_key(id));
        if (c && c->ready) {
            c->used_ns = clock_mono_ns();
            found = conversation_ref(c);
        }
    }
    return found;
}
