/* Two silences: no calls for a while, which the mind is told, and nothing heard at all, which ends a remote hand. */
#include "hand/process.h"
#include "hand/terminal/terminal.h"

static void idle_over(void *arg)
{
    struct hand *h = arg;
    h->stream.idle_timer = 0;
    if (h->stream.open == 0 && keepers_alone(h) && !terminals_busy(h)) {
        size_t before = h->stream.control.n;
        wire_add_message(&h->stream.control, WIRE_NOTE, 0, STR_NONE);
        h->stream.waiting += h->stream.control.n - before;
    }
    idle_arm(h); /* the mind decides; ask it again if it keeps us */
}

void idle_arm(struct hand *h)
{
    struct stream_state *s = &h->stream;
    if (s->idle_ms && s->open == 0 && !s->idle_timer)
        s->idle_timer = hand_timer(h, s->idle_ms, idle_over, h);
}

static void linger_over(void *arg)
{
    struct hand *h = arg;
    struct stream_state *s = &h->stream;
    uint64_t silent = hand_now_ms() - s->heard_ms;
    s->linger_timer = 0;
    if (silent >= s->linger_ms)
        hand_stop(h, 0, "nothing was heard for too long");
    else
        s->linger_timer = hand_timer(h, s->linger_ms - silent, linger_over, h);
}

void idle_disarm(struct hand *h)
{
    hand_timer_cancel(h, h->stream.idle_timer);
    h->stream.idle_timer = 0;
}

void linger_arm(struct hand *h)
{
    if (h->stream.linger_ms)
        h->stream.linger_timer = hand_timer(h, h->stream.linger_ms, linger_over, h);
}
