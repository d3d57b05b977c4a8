/* terminal_keep: output of any length in bounded memory: the first KEEP_HEAD bytes, the last KEEP_TAIL bytes and the
 * number of bytes between them. A zeroed `struct keep` is empty and valid. The text that goes in is valid UTF-8, and so
 * is each part that comes out. */
#pragma once
#include "base/buf.h"

#define KEEP_HEAD ((size_t)256 * 1024)
#define KEEP_TAIL ((size_t)768 * 1024)

struct keep {
    struct buf head;
    struct buf tail;  /* grows up to KEEP_TAIL, from then on a ring */
    size_t start;     /* of the ring: its oldest byte */
    uint64_t dropped; /* bytes that fell out of the ring */
};

void keep_add(struct keep *k, struct str text);
/* Adds the kept text to `head`; if bytes were left out, what follows them goes to `tail`. Returns how many were left
 * out. Empties `k`. */
uint64_t keep_take(struct keep *k, struct buf *head, struct buf *tail);
void keep_deinit(struct keep *k);
