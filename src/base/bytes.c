#include "base/bytes.h"
#include "base/cleanup.h"

struct bytes *bytes_new(struct str content)
{
    struct bytes *b = xmalloc(sizeof(*b) + content.n + 1);
    atomic_init(&b->refs, 1);
    b->n = content.n;
    if (content.n)
        memcpy(b->p, content.p, content.n);
    b->p[content.n] = '\0';
    return b;
}

struct bytes *bytes_take(struct buf *b)
{
    struct bytes *content = bytes_new(buf_str(b));
    buf_deinit(b);
    return content;
}

struct bytes *bytes_ref(struct bytes *b)
{
    if (b)
        atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void bytes_unref(struct bytes *b)
{
    /* acq_rel: the thread that frees must see what the others did with their references. */
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        free(b);
}

void bytes_cleanup(struct bytes **b)
{
    bytes_unref(*b);
}
