/* live: which conversations are in use, as clients of 0.53 see it: made, started or acted upon in this process, and not
 * stopped since. It is memory of the process: after a restart none is. Two generations of a set, so that what was used last
 * is known however many there were. */
#include "conversation/internal.h"

#define LIVE_MAX \
    50000 /* ids of one generation, some 4 MB; then the older one is forgotten: those show as stopped */

struct live {
    pthread_mutex_t lock;
    struct map *young, *old; /* 16 bytes of id → itself */
};

struct live *live_new(void)
{
    struct live *l = xcalloc(1, sizeof(*l));
    pthread_mutex_init(&l->lock, NULL);
    l->young = map_new();
    l->old = map_new();
    return l;
}

void live_free(struct live *l)
{
    map_free(l->young);
    map_free(l->old);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static struct str key_of(const struct uuid *id)
{
    return str_make(id->b, sizeof(id->b));
}

bool live_add(struct live *l, const struct uuid *id)
{
    bool was = false;
    WITH_LOCK(&l->lock)
    {
        was = map_get(l->young, key_of(id)) || map_get(l->old, key_of(id));
        if (map_count(l->young) >= LIVE_MAX) {
            map_free(l->old);
            l->old = l->young;
            l->young = map_new();
        }
        map_put(l->young, key_of(id), l);
    }
    return was;
}

bool live_remove(struct live *l, const struct uuid *id)
{
    bool was = false;
    WITH_LOCK(&l->lock)
    {
        void *young = map_remove(l->young, key_of(id)), *old = map_remove(l->old, key_of(id));
        was = young || old;
    }
    return was;
}

static bool live_has(struct live *l, const struct uuid *id)
{
    bool has = false;
    WITH_LOCK(&l->lock)
    has = map_get(l->young, key_of(id)) || map_get(l->old, key_of(id));
    return has;
}

bool conversations_live(struct conversations *s, const struct uuid *id, size_t *sockets)
{
    size_t count = 0;
    WITH_LOCK(&s->lock)
    {
        struct conversation *c = sockets ? map_get(s->open, key_of(id)) : NULL;
        count = c ? atomic_load(&c->subscriber_count) : 0;
    }
    if (sockets)
        *sockets = count;
    return live_has(s->live, id);
}

bool conversation_start(struct conversation *c)
{
    return live_add(c->service->live, &c->id);
}

void conversation_end_session(struct conversation *c)
{
    session_end(c, true);
    conversation_mcp_close(c);
    hand_end(c->service->config.hands, &c->id);
}

void conversation_end_hand_again(struct conversation *c)
{
    WITH_LOCK(&c->lock)
    if (!live_has(c->service->live, &c->id))
        hand_end(c->service->config.hands, &c->id);
}

/* Under the append lock: what starts a run makes its conversation live under the same lock. */
static bool stop_run(struct conversation *c)
{
    if (!live_remove(c->service->live, &c->id))
        return false;
    c->wish_seq = -1; /* what was asked for before is cancelled, too */
    if (c->run && condense_only(c->run))
        mailbox_cancel(c->run->mailbox);
    else if (c->run)
        run_interrupt(c->run);
    if (c->run)
        c->run->hand_ended = true;
    return true;
}

bool conversations_stop(struct conversations *s, const struct uuid *id)
{
    bool was = false;
    struct conversation *c = conversations_peek(s, id);
    if (c) {
        WITH_LOCK(&c->lock)
        was = stop_run(c);
        if (was)
            conversation_end_session(c);
        conversation_unref(c);
    } else {
        was = live_remove(s->live, id);
        if (was) /* it has left memory; a process that it started may still be there */
            hand_end(s->config.hands, id);
    }
    return was;
}
