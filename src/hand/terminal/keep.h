/* terminal_keep: output of any length in bounded memory: the first KEEP_HEAD bytes, the last KEEP_TAIL bytes and the
 * number of bytes between them; and, once it is longer than the head, the whole in a file without a name, up to
 * KEEP_WHOLE_MAX. A zeroed `struct keep` is empty and valid. The text that goes in is valid UTF-8, and so is each part that
 * comes out. */
#pragma once
#include "base/buf.h"

#define KEEP_HEAD ((size_t)256 * 1024)
#define KEEP_TAIL ((size_t)768 * 1024)
#define KEEP_WHOLE_MAX ((uint64_t)64 * 1024 * 1024) /* bytes of disk; what is longer has no whole */

struct keep {
    struct buf head;
    struct buf tail;  /* grows up to KEEP_TAIL, from then on a ring */
    size_t start;     /* of the ring: its oldest byte */
    uint64_t dropped; /* bytes that fell out of the ring */
    int whole;        /* a file; 0: none yet, -1: there cannot be one */
    uint64_t whole_n;
};

struct output {
    struct buf head, tail;
    uint64_t elided; /* bytes between the two */
    int whole;       /* a file with all of it, if anything is elided; 0: none */
    uint64_t whole_n;
};
void output_deinit(struct output *o);

void keep_add(struct keep *k, struct str text);
/* Adds the kept text to `out->head`; if bytes were left out, what follows them goes to `out->tail`, and their number is
 * told. Empties `k`. */
void keep_take(struct keep *k, struct output *out);
void keep_deinit(struct keep *k);
