/* Results of calls that had an idempotency key, in a ring: the oldest is forgotten first. */
#include "hand/process.h"

struct remembered *remembered_find(struct hand *h, struct str key)
{
    for (size_t i = 0; i < REMEMBERED_MAX; i++) {
        struct remembered *r = &h->stream.remembered[i];
        if (r->key && str_eq(str_make(r->key, r->key_n), key))
            return r;
    }
    return NULL;
}

static void remembered_drop(struct hand *h, struct remembered *r)
{
    h->stream.remembered_bytes -= r->result.n;
    buf_deinit(&r->result);
    r->kept = false;
}

void remembered_add(struct hand *h, struct str key, struct str result)
{
    struct stream_state *s = &h->stream;
    struct remembered *r = &s->remembered[s->remembered_next];
    remembered_drop(h, r);
    free(r->key);
    r->key = str_dup(key);
    r->key_n = key.n;
    r->kept = result.n <= REMEMBERED_RESULT_MAX;
    if (r->kept)
        buf_add(&r->result, result);
    s->remembered_bytes += r->result.n;
    s->remembered_next = (s->remembered_next + 1) % REMEMBERED_MAX;
    for (size_t i = s->remembered_next; s->remembered_bytes > REMEMBERED_BYTES_MAX;
         i = (i + 1) % REMEMBERED_MAX)
        remembered_drop(h, &s->remembered[i]);
}

void remembered_free(struct hand *h)
{
    for (size_t i = 0; i < REMEMBERED_MAX; i++) {
        buf_deinit(&h->stream.remembered[i].result);
        free(h->stream.remembered[i].key);
    }
}
