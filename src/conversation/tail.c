/* tail: the last committed events of a conversation, kept for its sockets and its run. A cache and nothing more: what
 * it lacks is in the store. */
#include "conversation/internal.h"

static size_t item_bytes(const struct tail_item *i)
{
    return sizeof *i + (i->json ? i->json->n : 0) + (i->reduced ? i->reduced->n : 0);
}

static void drop_first(struct conversation *c)
{
    struct tail *t = &c->tail;
    struct tail_item *i = &t->items.at[t->head++];
    size_t n = item_bytes(i);
    t->bytes -= n;
    atomic_fetch_sub(&c->service->tail_bytes, n);
    bytes_unref(i->json);
    bytes_unref(i->reduced);
}

/* Moves the live items to the front when most of the array is dead, so that pushing stays O(1) on average. */
static void compact(struct tail *t)
{
    if (t->head < 64 || t->head * 2 < t->items.n)
        return;
    memmove(t->items.at, t->items.at + t->head, (t->items.n - t->head) * sizeof t->items.at[0]);
    t->items.n -= t->head;
    t->head = 0;
}

void tail_push(struct conversation *c, struct tail_item item)
{
    struct tail *t = &c->tail;
    if (t->items.n > t->head && t->items.at[t->items.n - 1].seq + 1 != item.seq)
        tail_clear(c);
    vec_push(&t->items, item);
    t->bytes += item_bytes(&item);
    atomic_fetch_add(&c->service->tail_bytes, item_bytes(&item));
    while (t->items.n > t->head &&
           (t->bytes > CONVERSATION_TAIL_ONE || atomic_load(&c->service->tail_bytes) > CONVERSATION_TAIL_ALL))
        drop_first(c);
    compact(t);
}

const struct tail_item *tail_find(const struct tail *t, uint32_t seq)
{
    if (t->items.n == t->head || seq < t->items.at[t->head].seq)
        return NULL;
    size_t at = t->head + (seq - t->items.at[t->head].seq);
    return at < t->items.n ? &t->items.at[at] : NULL;
}

void tail_clear(struct conversation *c)
{
    while (c->tail.items.n > c->tail.head)
        drop_first(c);
    vec_deinit(&c->tail.items);
    c->tail.head = 0;
}
