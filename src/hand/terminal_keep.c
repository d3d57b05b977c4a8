#include "hand/terminal_keep.h"
#include "base/utf8.h"

static void keep_ring_add(struct keep *k, struct str text)
{
    size_t room = KEEP_TAIL - k->tail.n;
    if (room) {
        struct str first = str_sub(text, 0, room);
        buf_add(&k->tail, first);
        text = str_sub(text, first.n, text.n);
    }
    if (text.n > KEEP_TAIL) {
        k->dropped += text.n - KEEP_TAIL;
        text = str_sub(text, text.n - KEEP_TAIL, text.n);
    }
    while (text.n) {
        struct str piece = str_sub(text, 0, KEEP_TAIL - k->start);
        memcpy(k->tail.p + k->start, piece.p, piece.n);
        k->start = (k->start + piece.n) % KEEP_TAIL;
        k->dropped += piece.n;
        text = str_sub(text, piece.n, text.n);
    }
}

void keep_add(struct keep *k, struct str text)
{
    /* Once a byte went to the tail, the head is closed: it may be a few bytes short so as not to split a character. */
    if (k->tail.n == 0 && k->head.n < KEEP_HEAD) {
        struct str first = utf8_prefix_bytes(text, KEEP_HEAD - k->head.n);
        buf_add(&k->head, first);
        text = str_sub(text, first.n, text.n);
    }
    if (text.n)
        keep_ring_add(k, text);
}

uint64_t keep_take(struct keep *k, struct buf *head, struct buf *tail)
{
    uint64_t dropped = k->dropped;
    struct buf *out = dropped ? tail : head;
    buf_add(head, buf_str(&k->head));
    struct str old = str_sub(buf_str(&k->tail), k->start, k->tail.n);
    struct str new = str_sub(buf_str(&k->tail), 0, k->start);
    size_t skip = 0; /* the ring may begin inside a character */
    while (dropped && skip < old.n && ((unsigned char)old.p[skip] & 0xc0) == 0x80)
        skip++;
    buf_add(out, str_sub(old, skip, old.n));
    /* Only when the old part was nothing but the rest of a character can the new one begin inside it, too. */
    size_t more = 0;
    while (dropped && skip == old.n && more < new.n && ((unsigned char)new.p[more] & 0xc0) == 0x80)
        more++;
    buf_add(out, str_sub(new, more, new.n));
    dropped += dropped ? skip + more : 0;
    keep_deinit(k);
    return dropped;
}

void keep_deinit(struct keep *k)
{
    buf_deinit(&k->head);
    buf_deinit(&k->tail);
    k->start = 0;
    k->dropped = 0;
}
