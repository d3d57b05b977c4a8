#include "base/clock.h"
#include "hand/process.h"
#include <errno.h>
#include <limits.h>

uint64_t hand_now_ms(void)
{
    return clock_mono_ns() / NS_PER_MS;
}

/* --- watches -------------------------------------------------------------------------------- */

static struct watch *watch_find(struct hand *h, uint64_t id)
{
    uint32_t slot = (uint32_t)id;
    if (slot == 0 || slot > h->loop.watches.n)
        return NULL;
    struct watch *w = &h->loop.watches.at[slot - 1];
    return w->fn && w->generation == (uint32_t)(id >> 32) ? w : NULL;
}

uint64_t hand_watch(struct hand *h, int fd, short events, hand_fd_fn fn, void *arg)
{
    size_t slot = 0;
    while (slot < h->loop.watches.n && h->loop.watches.at[slot].fn)
        slot++;
    if (slot == h->loop.watches.n)
        vec_push(&h->loop.watches, (struct watch){0});
    struct watch *w = &h->loop.watches.at[slot];
    *w = (struct watch){fn, arg, fd, events, w->generation + 1};
    return (uint64_t)w->generation << 32 | (slot + 1);
}

void hand_watch_events(struct hand *h, uint64_t watch, short events)
{
    struct watch *w = watch_find(h, watch);
    if (w)
        w->events = events;
}

void hand_unwatch(struct hand *h, uint64_t watch)
{
    struct watch *w = watch_find(h, watch);
    if (w)
        w->fn = NULL;
}

/* --- timers --------------------------------------------------------------------------------- */

uint64_t hand_timer(struct hand *h, uint64_t ms, void (*fn)(void *arg), void *arg)
{
    uint64_t now = hand_now_ms();
    uint64_t due = ms > UINT64_MAX - now ? UINT64_MAX : now + ms;
    vec_push(&h->loop.timers, (struct timer){++h->loop.last_timer, due, fn, arg});
    return h->loop.last_timer;
}

void hand_timer_cancel(struct hand *h, uint64_t timer)
{
    for (size_t i = 0; timer && i < h->loop.timers.n; i++)
        if (h->loop.timers.at[i].id == timer) {
            vec_remove(&h->loop.timers, i);
            return;
        }
}

/* The due timer that was set first, of those that stood when the turn began: a timer that sets itself again cannot
 * keep the loop from its watches. */
static bool timers_take(struct hand *h, uint64_t now, uint64_t newest, struct timer *out)
{
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < h->loop.timers.n; i++) {
        const struct timer *t = &h->loop.timers.at[i];
        if (t->due_ms <= now && t->id <= newest &&
            (best == SIZE_MAX || t->due_ms < h->loop.timers.at[best].due_ms))
            best = i;
    }
    if (best == SIZE_MAX)
        return false;
    *out = h->loop.timers.at[best];
    vec_remove(&h->loop.timers, best);
    return true;
}

static void timers_run(struct hand *h)
{
    uint64_t now = hand_now_ms();
    uint64_t newest = h->loop.last_timer;
    struct timer t;
    while (timers_take(h, now, newest, &t))
        t.fn(t.arg);
}

static int timers_wait_ms(const struct hand *h)
{
    uint64_t due = UINT64_MAX;
    for (size_t i = 0; i < h->loop.timers.n; i++)
        if (h->loop.timers.at[i].due_ms < due)
            due = h->loop.timers.at[i].due_ms;
    if (due == UINT64_MAX)
        return -1;
    uint64_t now = hand_now_ms();
    if (due <= now)
        return 0;
    return due - now > INT_MAX ? INT_MAX : (int)(due - now);
}

/* --- turns ---------------------------------------------------------------------------------- */

static void watches_collect(struct hand *h)
{
    h->loop.polled.n = h->loop.polled_ids.n = 0;
    for (size_t i = 0; i < h->loop.watches.n; i++) {
        const struct watch *w = &h->loop.watches.at[i];
        if (!w->fn || !w->events) /* a paused one is left out: POLLHUP cannot be masked */
            continue;
        vec_push(&h->loop.polled, (struct pollfd){.fd = w->fd, .events = w->events});
        vec_push(&h->loop.polled_ids, (uint64_t)w->generation << 32 | (i + 1));
    }
}

static void watches_dispatch(struct hand *h)
{
    for (size_t i = 0; i < h->loop.polled.n; i++) {
        short revents = h->loop.polled.at[i].revents;
        if (!revents)
            continue;
        /* An earlier callback of this turn may have ended or paused it. */
        const struct watch *w = watch_find(h, h->loop.polled_ids.at[i]);
        if (w && w->events)
            w->fn(w->arg, revents);
    }
}

void hand_run(struct hand *h)
{
    while (!h->ended) {
        stream_flush(h);
        watches_collect(h);
        int n = poll(h->loop.polled.at, h->loop.polled.n, timers_wait_ms(h));
        if (n < 0 && errno != EINTR)
            abort();
        if (n > 0)
            watches_dispatch(h);
        timers_run(h);
    }
    stream_flush(h);
}

void loop_state_deinit(struct hand *h)
{
    vec_deinit(&h->loop.watches);
    vec_deinit(&h->loop.polled);
    vec_deinit(&h->loop.polled_ids);
    vec_deinit(&h->loop.timers);
}
