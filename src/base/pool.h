/* pool: a few worker threads for short jobs (store reads, decoding, compression). No job waits for a commit, a hand, a
 * model or a client. Any thread may submit. The queue is bounded: a full one refuses, and the caller answers 503. */
#pragma once
#include "base/err.h"
#include <stddef.h>

struct pool;

/* `threads` workers, at most `queue_max` waiting jobs. */
struct pool *pool_new(unsigned threads, size_t queue_max);
void pool_free(struct pool *p); /* runs what is queued, then joins */
/* Runs `fn(arg)` on a worker. False (ERR_BUSY) when the queue is full. */
bool pool_submit(struct pool *p, void (*fn)(void *), void *arg, struct err **e);
/* The same without the bound, for work whose refusal would lose something (its producers are bounded themselves). */
void pool_submit_always(struct pool *p, void (*fn)(void *), void *arg);
/* For jobs of a tenth of a second, such as packing megabytes: of several workers one is left to the others' jobs. Not
 * bounded. */
void pool_submit_long(struct pool *p, void (*fn)(void *), void *arg);
