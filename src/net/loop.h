/* loop: the one thread that owns every inbound socket, every timer and the mind's end of every hand (libuv).
 * It never blocks. Others reach it by one queue, drained completely per wake-up but at most LOOP_BATCH messages a turn,
 * so that timers and sockets run between. Messages of one thread arrive in the order they were posted. */
#pragma once
#include "base/err.h"
#include <stdint.h>
#include <uv.h>

#define LOOP_BATCH 256

struct loop;

struct loop *loop_new(struct err **e);
void loop_run(struct loop *l);              /* on the loop thread, until loop_stop */
void loop_stop(struct loop *l);             /* any thread: loop_run returns once the queue is empty */
void loop_free(struct loop *l);             /* after loop_run; closes what is left */
uv_loop_t *loop_uv(struct loop *l);         /* loop thread only */
bool loop_is_current(const struct loop *l); /* are we on its thread? */

/* A message. Embed it in what you post so that posting allocates nothing; `run` may free it. */
struct loop_message {
    struct loop_message *next;
    void (*run)(struct loop_message *self);
};
void loop_post(struct loop *l, struct loop_message *m);           /* any thread; never fails, never blocks */
void loop_call(struct loop *l, void (*fn)(void *arg), void *arg); /* the same with an allocated message */

/* One-shot timers by number, so that no one holds a pointer to a dead one. Loop thread. */
uint64_t loop_timer(struct loop *l, uint64_t ms, void (*fn)(void *arg), void *arg);
void loop_timer_cancel(struct loop *l, uint64_t timer); /* harmless for one that has fired */
uint64_t loop_now_ns(const struct loop *l);
