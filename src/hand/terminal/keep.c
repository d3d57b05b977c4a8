#include "hand/terminal/keep.h"
#include "base/fd.h"
#include "base/utf8.h"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void output_deinit(struct output *o)
{
    buf_deinit(&o->head);
    buf_deinit(&o->tail);
    if (o->whole > 0)
        close(o->whole);
    *o = (struct output){0};
}

static int nameless_file(void)
{
    char path[] = "/tmp/hand-output-XXXXXX";
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    fd = mkostemp(path, O_CLOEXEC); /* file systems without O_TMPFILE */
    if (fd >= 0)
        unlink(path);
    return fd;
}

static void whole_drop(struct keep *k)
{
    if (k->whole > 0)
        close(k->whole);
    k->whole = -1;
}

static void whole_add(struct keep *k, struct str text)
{
    if (k->whole < 0)
        return;
    if (k->whole == 0) {
        k->whole = nameless_file();
        if (k->whole > 0)
            whole_add(k, buf_str(&k->head));
    }
    k->whole_n += text.n;
    if (k->whole < 0 || k->whole_n > KEEP_WHOLE_MAX || !fd_write_all(k->whole, text, NULL))
        whole_drop(k);
}

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
    if (text.n) {
        whole_add(k, text);
        keep_ring_add(k, text);
    }
}

void keep_take(struct keep *k, struct output *o)
{
    uint64_t dropped = k->dropped;
    struct buf *out = dropped ? &o->tail : &o->head;
    buf_add(&o->head, buf_str(&k->head));
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
    o->elided = dropped + (dropped ? skip + more : 0);
    if (dropped && k->whole > 0) {
        o->whole = k->whole;
        o->whole_n = k->whole_n;
        k->whole = 0;
    }
    keep_deinit(k);
}

void keep_deinit(struct keep *k)
{
    buf_deinit(&k->head);
    buf_deinit(&k->tail);
    whole_drop(k);
    *k = (struct keep){0};
}
