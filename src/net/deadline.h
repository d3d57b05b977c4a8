/* deadline: many deadlines of a few fixed lengths. All of one length lie in one queue, oldest first, behind a single
 * libuv timer, so that setting, moving and clearing one costs a few pointer moves and 20,000 idle connections cost no
 * timers. Loop thread only. */
#pragma once
#include "net/loop.h"

struct deadline_queue;

/* Embedded in what it watches; all zero is "not set". */
struct deadline {
    struct deadline *next, *prev;
    struct deadline_queue *queue;
    uint64_t at; /* ms on the loop's clock */
};

struct deadline_queue {
    uv_timer_t timer;
    struct deadline *first, *last;
    uint64_t ms;
    void (*expired)(struct deadline *d); /* the deadline is no longer set when this is called */
};

void deadline_queue_init(struct deadline_queue *q, uv_loop_t *uv, uint64_t ms,
                         void (*expired)(struct deadline *d));
/* (Re)starts `d`: it expires q->ms from now. */
void deadline_set(struct deadline_queue *q, struct deadline *d);
void deadline_clear(struct deadline *d);
