#include "net/deadline.h"
#include "base/cleanup.h"

static void on_timer(uv_timer_t *timer);

void deadline_queue_init(struct deadline_queue *q, uv_loop_t *uv, uint64_t ms,
                         void (*expired)(struct deadline *d))
{
    *q = (struct deadline_queue){.ms = ms, .expired = expired};
    uv_timer_init(uv, &q->timer);
}

void deadline_clear(struct deadline *d)
{
    struct deadline_queue *q = d->queue;
    if (!q)
        return;
    if (d->prev)
        d->prev->next = d->next;
    else
        q->first = d->next;
    if (d->next)
        d->next->prev = d->prev;
    else
        q->last = d->prev;
    *d = (struct deadline){0};
}

void deadline_set(struct deadline_queue *q, struct deadline *d)
{
    deadline_clear(d);
    d->queue = q;
    d->at = uv_now(q->timer.loop) + q->ms;
    d->prev = q->last;
    if (q->last)
        q->last->next = d;
    else
        q->first = d;
    q->last = d;
    /* A running timer is due no later than this one; when it fires it looks at the first deadline again. */
    if (!uv_is_active((uv_handle_t *)&q->timer))
        uv_timer_start(&q->timer, on_timer, q->ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct deadline_queue *q = CONTAINER_OF(timer, struct deadline_queue, timer);
    uint64_t now = uv_now(timer->loop);
    while (q->first && q->first->at <= now) {
        struct deadline *d = q->first;
        deadline_clear(d);
        q->expired(d);
    }
    if (q->first)
        uv_timer_start(timer, on_timer, q->first->at - now, 0);
}
