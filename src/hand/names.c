/* Things with a name that outlive calls, and the end of everything the hand has. */
#include "hand/env.h"
#include "hand/process.h"

void *hand_named(struct hand *h, enum hand_kind kind, struct str name)
{
    struct named *n = h->named[kind] ? map_get(h->named[kind], name) : NULL;
    return n ? n->value : NULL;
}

static void named_free(struct named *n)
{
    if (n && n->free)
        n->free(n->value);
    free(n);
}

void hand_name(struct hand *h, enum hand_kind kind, struct str name, void *value, void (*free)(void *value))
{
    struct named *n = xmalloc(sizeof(*n));
    *n = (struct named){value, free};
    if (!h->named[kind])
        h->named[kind] = map_new();
    named_free(map_put(h->named[kind], name, n));
}

void hand_unname(struct hand *h, enum hand_kind kind, struct str name)
{
    if (h->named[kind])
        named_free(map_remove(h->named[kind], name));
}

void hand_free(struct hand *h)
{
    stream_deinit(h);
    for (size_t kind = 0; kind < HAND_KINDS; kind++) {
        size_t cursor = 0;
        void *value;
        while (h->named[kind] && map_next(h->named[kind], &cursor, NULL, &value))
            named_free(value);
        if (h->named[kind])
            map_free(h->named[kind]);
    }
    spawns_free(h);
    keepers_free(h);
    environment_free(h->environment);
    loop_state_deinit(h);
    free(h);
}
