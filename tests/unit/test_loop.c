#include "base/clock.h"
#include "net/deadline.h"
#include "net/loop.h"
#include "base/cleanup.h"
#include "base/thread.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define POSTERS 4
#define PER_POSTER 20000
#define DEADLINE_MS 20
#define DEADLINE_MORE 5

struct count {
    struct loop *loop;
    uint64_t seen[POSTERS];
    unsigned total;
    bool in_order, on_loop;
};

struct numbered {
    struct loop_message message;
    struct count *count;
    unsigned poster;
    uint64_t number;
};

static void numbered_run(struct loop_message *m)
{
    struct numbered *one = CONTAINER_OF(m, struct numbered, message);
    struct count *c = one->count;
    c->in_order = c->in_order && one->number == c->seen[one->poster] + 1;
    c->on_loop = c->on_loop && loop_is_current(c->loop);
    c->seen[one->poster] = one->number;
    if (++c->total == POSTERS * PER_POSTER)
        loop_stop(c->loop);
    free(one);
}

struct poster {
    struct count *count;
    unsigned index;
};

static void poster_main(void *arg)
{
    struct poster *p = arg;
    for (uint64_t i = 1; i <= PER_POSTER; i++) {
        struct numbered *one = xcalloc(1, sizeof(*one));
        *one = (struct numbered){
            .message.run = numbered_run, .count = p->count, .poster = p->index, .number = i};
        loop_post(p->count->loop, &one->message);
    }
}

static void test_messages_of_each_thread_arrive_in_order(void **state)
{
    (void)state;
    struct loop *l = loop_new(NULL);
    struct count count = {.loop = l, .in_order = true, .on_loop = true};
    struct poster posters[POSTERS];
    pthread_t threads[POSTERS];
    assert_false(loop_is_current(l));
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){&count, i};
        assert_true(thread_start(&threads[i], "poster", 256 * 1024, poster_main, &posters[i], NULL));
    }
    loop_run(l);
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(count.total, POSTERS * PER_POSTER);
    assert_true(count.in_order);
    assert_true(count.on_loop);
    loop_free(l);
}

struct flood {
    struct loop *loop;
    uint64_t messages, at_timer;
};

/* A message that posts itself again keeps the queue full for ever. */
static void flood_again(void *arg)
{
    struct flood *f = arg;
    f->messages++;
    if (f->at_timer == 0)
        loop_call(f->loop, flood_again, f);
}

static void flood_timer(void *arg)
{
    struct flood *f = arg;
    f->at_timer = f->messages;
    loop_stop(f->loop);
}

static void test_timers_run_beside_a_full_queue(void **state)
{
    (void)state;
    struct flood f = {.loop = loop_new(NULL)};
    for (int i = 0; i < LOOP_BATCH * 2; i++)
        loop_call(f.loop, flood_again, &f);
    loop_timer(f.loop, 10, flood_timer, &f);
    loop_run(f.loop);
    assert_true(f.at_timer > LOOP_BATCH);
    loop_free(f.loop);
}

static void add_one(void *arg)
{
    (*(int *)arg)++;
}

static void stop(void *arg)
{
    loop_stop(arg);
}

static void test_cancelled_and_stale_timers_do_nothing(void **state)
{
    (void)state;
    struct loop *l = loop_new(NULL);
    int fired = 0, second = 0;
    uint64_t gone = loop_timer(l, 5, add_one, &fired);
    loop_timer_cancel(l, gone);
    uint64_t kept = loop_timer(l, 5, add_one, &second); /* takes the slot again */
    loop_timer_cancel(l, gone);
    loop_timer_cancel(l, 0);
    loop_timer_cancel(l, UINT64_MAX);
    assert_int_not_equal(gone, kept);
    loop_timer(l, 30, stop, l);
    loop_run(l);
    assert_int_equal(fired, 0);
    assert_int_equal(second, 1);
    loop_timer_cancel(l, kept);
    loop_free(l);
}

static void test_stop_runs_what_was_posted_before(void **state)
{
    (void)state;
    struct loop *l = loop_new(NULL);
    int ran = 0;
    for (int i = 0; i < 3 * LOOP_BATCH; i++)
        loop_call(l, add_one, &ran);
    loop_stop(l);
    loop_run(l);
    assert_int_equal(ran, 3 * LOOP_BATCH);
    loop_call(l, add_one, &ran);
    loop_free(l); /* still runs it: a message may own something */
    assert_int_equal(ran, 3 * LOOP_BATCH + 1);
}

/* ---- deadlines ---- */

struct watched {
    struct deadline deadline;
    struct loop *loop;
    int *order;
    int index, expired_as;
};

static void on_expired(struct deadline *d)
{
    struct watched *w = CONTAINER_OF(d, struct watched, deadline);
    assert_null(d->queue);
    w->expired_as = ++*w->order;
    if (w->index == DEADLINE_MORE - 1)
        loop_stop(w->loop);
}

static void test_deadlines_expire_in_order_unless_cleared(void **state)
{
    (void)state;
    struct loop *l = loop_new(NULL);
    struct deadline_queue queue;
    int order = 0;
    struct watched watched[DEADLINE_MORE] = {0};
    deadline_queue_init(&queue, loop_uv(l), DEADLINE_MS, on_expired);
    uint64_t started = clock_mono_ns();
    for (int i = 0; i < DEADLINE_MORE; i++) {
        watched[i] = (struct watched){.loop = l, .order = &order, .index = i};
        deadline_set(&queue, &watched[i].deadline);
    }
    deadline_clear(&watched[1].deadline);
    deadline_clear(&watched[1].deadline);
    deadline_set(&queue, &watched[0].deadline); /* again: to the end of the queue */
    deadline_set(&queue, &watched[DEADLINE_MORE - 1].deadline);
    loop_run(l);
    assert_true(clock_mono_ns() - started >= (DEADLINE_MS - 2) * NS_PER_MS);
    assert_int_equal(watched[1].expired_as, 0);
    assert_int_equal(watched[2].expired_as, 1);
    assert_int_equal(watched[3].expired_as, 2);
    assert_int_equal(watched[0].expired_as, 3);
    assert_int_equal(watched[4].expired_as, 4);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_of_each_thread_arrive_in_order),
        cmocka_unit_test(test_timers_run_beside_a_full_queue),
        cmocka_unit_test(test_cancelled_and_stale_timers_do_nothing),
        cmocka_unit_test(test_stop_runs_what_was_posted_before),
        cmocka_unit_test(test_deadlines_expire_in_order_unless_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
