#include "net/loop.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include <pthread.h>
#include <stdatomic.h>

/* A timer's number is its slot and how often that slot was used before: a stale number finds a newer generation. */
struct timer {
    uv_timer_t uv;
    struct loop *loop;
    void (*fn)(void *arg);
    void *arg;
    uint32_t slot, generation;
    bool armed;
};

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    /* Posted messages, newest first: posting is one exchange; the loop takes all and turns them round. */
    _Atomic(struct loop_message *) posted;
    struct loop_message *ready; /* taken and in order, not yet run; loop thread only */
    struct loop_message *ready_last;
    bool stopping;
    VEC(struct timer *) timers;
    VEC(uint32_t) free_timers;
};

struct call {
    struct loop_message message;
    void (*fn)(void *arg);
    void *arg;
};

static _Thread_local const struct loop *current_loop;

static void on_wake(uv_async_t *async);

struct loop *loop_new(struct err **e)
{
    struct loop *l = xcalloc(1, sizeof(*l));
    int rc = uv_loop_init(&l->uv);
    if (rc == 0) {
        rc = uv_async_init(&l->uv, &l->wake, on_wake);
        if (rc != 0)
            uv_loop_close(&l->uv);
    }
    if (rc != 0) {
        err_set(e, ERR_IO, "cannot start the event loop: %s", uv_strerror(rc));
        free(l);
        return NULL;
    }
    return l;
}

void loop_run(struct loop *l)
{
    const struct loop *before = current_loop;
    current_loop = l;
    uv_run(&l->uv, UV_RUN_DEFAULT);
    l->stopping = false;
    current_loop = before;
}

uv_loop_t *loop_uv(struct loop *l)
{
    return &l->uv;
}

bool loop_is_current(const struct loop *l)
{
    return current_loop == l;
}

/* ---- messages ---- */

void loop_post(struct loop *l, struct loop_message *m)
{
    struct loop_message *head = atomic_load_explicit(&l->posted, memory_order_relaxed);
    do {
        m->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&l->posted, &head, m, memory_order_acq_rel,
                                                    memory_order_relaxed));
    /* Whoever finds the stack empty wakes the loop; the others ride along. `head` is the old one. */
    if (!head)
        uv_async_send(&l->wake);
}

static void call_run(struct loop_message *self)
{
    struct call *c = (struct call *)self;
    void (*fn)(void *) = c->fn;
    void *arg = c->arg;
    free(c);
    fn(arg);
}

void loop_call(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct call *c = xmalloc(sizeof(*c));
    *c = (struct call){.message.run = call_run, .fn = fn, .arg = arg};
    loop_post(l, &c->message);
}

/* Appends what was posted since, oldest first. */
static void messages_take(struct loop *l)
{
    struct loop_message *m = atomic_exchange_explicit(&l->posted, NULL, memory_order_acq_rel);
    struct loop_message *last = m, *in_order = NULL;
    while (m) {
        struct loop_message *next = m->next;
        m->next = in_order;
        in_order = m;
        m = next;
    }
    if (!in_order)
        return;
    if (l->ready)
        l->ready_last->next = in_order;
    else
        l->ready = in_order;
    l->ready_last = last;
}

static bool messages_run(struct loop *l, unsigned max)
{
    for (unsigned i = 0; i < max; i++) {
        if (!l->ready)
            messages_take(l);
        struct loop_message *m = l->ready;
        if (!m)
            return false;
        l->ready = m->next;
        m->run(m);
    }
    return true;
}

static void on_wake(uv_async_t *async)
{
    struct loop *l = CONTAINER_OF(async, struct loop, wake);
    bool more = messages_run(l, LOOP_BATCH);
    if (more)
        uv_async_send(&l->wake); /* the rest after the timers and sockets of the next turn */
    else if (l->stopping)
        uv_stop(&l->uv);
}

static void stop_run(struct loop_message *self)
{
    struct call *c = (struct call *)self;
    struct loop *l = c->arg;
    free(c);
    l->stopping = true;
}

void loop_stop(struct loop *l)
{
    struct call *c = xmalloc(sizeof(*c));
    *c = (struct call){.message.run = stop_run, .arg = l};
    loop_post(l, &c->message);
}

/* ---- timers ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    free(CONTAINER_OF((uv_timer_t *)handle, struct timer, uv));
}

static void timer_release(struct timer *t)
{
    t->armed = false;
    t->generation++;
    vec_push(&t->loop->free_timers, t->slot);
}

static void on_timer(uv_timer_t *uv)
{
    struct timer *t = CONTAINER_OF(uv, struct timer, uv);
    void (*fn)(void *) = t->fn;
    void *arg = t->arg;
    timer_release(t);
    fn(arg);
}

uint64_t loop_timer(struct loop *l, uint64_t ms, void (*fn)(void *arg), void *arg)
{
    struct timer *t;
    if (l->free_timers.n > 0) {
        t = l->timers.at[l->free_timers.at[--l->free_timers.n]];
    } else {
        t = xcalloc(1, sizeof(*t));
        t->loop = l;
        t->slot = (uint32_t)l->timers.n;
        t->generation = 1;
        uv_timer_init(&l->uv, &t->uv);
        vec_push(&l->timers, t);
    }
    t->fn = fn;
    t->arg = arg;
    t->armed = true;
    uv_update_time(&l->uv); /* a deadline counts from now, not from the start of this turn */
    uv_timer_start(&t->uv, on_timer, ms, 0);
    return (uint64_t)t->generation << 32 | t->slot;
}

void loop_timer_cancel(struct loop *l, uint64_t timer)
{
    uint32_t slot = (uint32_t)timer, generation = (uint32_t)(timer >> 32);
    if (timer == 0 || slot >= l->timers.n)
        return;
    struct timer *t = l->timers.at[slot];
    if (!t->armed || t->generation != generation)
        return;
    uv_timer_stop(&t->uv);
    timer_release(t);
}

uint64_t loop_now_ns(const struct loop *l)
{
    return uv_now(&l->uv) * NS_PER_MS;
}

/* ---- end ---- */

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    const struct loop *before = current_loop;
    current_loop = l;
    /* Messages that came after the end still own something: let them settle it. */
    while (messages_run(l, LOOP_BATCH))
        ;
    for (size_t i = 0; i < l->timers.n; i++)
        uv_close((uv_handle_t *)&l->timers.at[i]->uv, on_timer_closed);
    uv_walk(&l->uv, close_handle, NULL);
    while (uv_run(&l->uv, UV_RUN_NOWAIT) != 0)
        ;
    current_loop = before;
    if (uv_loop_close(&l->uv) != 0)
        log_error("the event loop ended with handles open");
    vec_deinit(&l->timers);
    vec_deinit(&l->free_timers);
    free(l);
}
