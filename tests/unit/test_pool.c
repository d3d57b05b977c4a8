/* pool and thread. */
#include "base/clock.h"
#include "base/pool.h"
#include "base/thread.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void count_up(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void everything_runs(void **state)
{
    (void)state;
    atomic_int count = 0;
    struct pool *p = pool_new(4, 10000);
    for (int i = 0; i < 5000; i++)
        assert_true(pool_submit(p, count_up, &count, NULL));
    pool_free(p); /* runs what is queued */
    assert_int_equal(count, 5000);
    pool_free(NULL);
}

/* A gate that keeps workers busy until it is opened. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int waiting;
    bool open;
    atomic_int passed;
};

static void gate_init(struct gate *g)
{
    *g = (struct gate){.lock = PTHREAD_MUTEX_INITIALIZER};
    thread_cond_init(&g->changed);
}

static void pass_gate(void *arg)
{
    struct gate *g = arg;
    WITH_LOCK(&g->lock)
    {
        g->waiting++;
        pthread_cond_broadcast(&g->changed);
        while (!g->open)
            thread_cond_wait(&g->changed, &g->lock, 0);
    }
    atomic_fetch_add(&g->passed, 1);
}

static void await_workers(struct gate *g, int count)
{
    WITH_LOCK(&g->lock)
    while (g->waiting < count)
        thread_cond_wait(&g->changed, &g->lock, 0);
}

static void open_gate(struct gate *g)
{
    WITH_LOCK(&g->lock)
    {
        g->open = true;
        pthread_cond_broadcast(&g->changed);
    }
}

static void full_queue_refuses(void **state)
{
    (void)state;
    struct gate gate;
    gate_init(&gate);
    struct pool *p = pool_new(2, 3);
    pool_submit_always(p, pass_gate, &gate);
    pool_submit_always(p, pass_gate, &gate);
    await_workers(&gate, 2);
    for (int i = 0; i < 3; i++)
        assert_true(pool_submit(p, pass_gate, &gate, NULL));
    autoerr e = NULL;
    assert_false(pool_submit(p, pass_gate, &gate, &e));
    assert_int_equal(e->kind, ERR_BUSY);
    assert_non_null(strstr(e->text, "3"));
    pool_submit_always(p, pass_gate, &gate); /* never refused */
    open_gate(&gate);
    pool_free(p);
    assert_int_equal(gate.passed, 6);
}

static void long_jobs_leave_a_worker(void **state)
{
    (void)state;
    struct gate gate, short_gate;
    gate_init(&gate);
    gate_init(&short_gate);
    open_gate(&short_gate);
    struct pool *p = pool_new(2, 3);
    for (int i = 0; i < 5; i++)
        pool_submit_long(p, pass_gate, &gate);
    await_workers(&gate, 1);
    for (int i = 0; i < 20; i++)
        pool_submit_always(p, pass_gate, &short_gate);
    await_workers(&short_gate, 20); /* behind five long ones, and done before them */
    assert_int_equal(gate.waiting, 1);
    open_gate(&gate);
    pool_free(p);
    assert_int_equal(gate.passed, 5);

    p = pool_new(1, 3); /* a single one does everything */
    pool_submit_long(p, pass_gate, &gate);
    pool_submit_long(p, pass_gate, &gate);
    pool_free(p);
    assert_int_equal(gate.passed, 7);
}

struct nested {
    struct pool *pool;
    atomic_int *count;
};

static void submit_more(void *arg)
{
    struct nested *n = arg;
    for (int i = 0; i < 10; i++)
        pool_submit_always(n->pool, count_up, n->count);
}

static void jobs_may_submit_while_it_ends(void **state)
{
    (void)state;
    atomic_int count = 0;
    struct nested nested = {.pool = pool_new(2, 1), .count = &count};
    for (int i = 0; i < 20; i++)
        pool_submit_always(nested.pool, submit_more, &nested);
    pool_free(nested.pool);
    assert_int_equal(count, 200);
}

struct seen {
    sigset_t mask;
    char name[16];
    size_t stack;
};

static void look(void *arg)
{
    struct seen *seen = arg;
    pthread_attr_t attr;
    pthread_sigmask(SIG_SETMASK, NULL, &seen->mask);
    pthread_getname_np(pthread_self(), seen->name, sizeof(seen->name));
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstacksize(&attr, &seen->stack);
    pthread_attr_destroy(&attr);
}

static void thread_setup(void **state)
{
    (void)state;
    struct seen seen;
    pthread_t thread;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_true(thread_start(&thread, "a name that is too long", THREAD_STACK_BYTES, look, &seen, NULL));
    pthread_join(thread, NULL);
    assert_string_equal(seen.name, "a name that is ");
    assert_true(seen.stack >= THREAD_STACK_BYTES && seen.stack < THREAD_STACK_BYTES + 65536);
    static const int blocked[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE, SIGALRM, SIGUSR1, SIGWINCH};
    for (size_t i = 0; i < sizeof(blocked) / sizeof(blocked[0]); i++)
        assert_true(sigismember(&seen.mask, blocked[i]));
    assert_false(sigismember(&seen.mask, SIGSEGV));
    pthread_sigmask(SIG_SETMASK, NULL, &after); /* ours is as it was */
    assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

static void detached_threads_run(void **state)
{
    (void)state;
    struct gate gate;
    gate_init(&gate);
    assert_true(thread_start(NULL, "detached", 1, pass_gate, &gate, NULL)); /* a tiny stack is raised */
    await_workers(&gate, 1);
    WITH_LOCK(&gate.lock)
    gate.open = true; /* it ends by itself; nothing of it is read after that */
    pthread_mutex_lock(&gate.lock);
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    while (!atomic_load(&gate.passed))
        sched_yield();
}

static void waits_end_at_their_deadline(void **state)
{
    (void)state;
    struct gate gate;
    gate_init(&gate);
    uint64_t deadline = clock_mono_ns() + 20 * NS_PER_MS;
    WITH_LOCK(&gate.lock)
    while (thread_cond_wait(&gate.changed, &gate.lock, deadline))
        ;
    assert_true(clock_mono_ns() >= deadline);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_runs),
        cmocka_unit_test(full_queue_refuses),
        cmocka_unit_test(long_jobs_leave_a_worker),
        cmocka_unit_test(jobs_may_submit_while_it_ends),
        cmocka_unit_test(thread_setup),
        cmocka_unit_test(detached_threads_run),
        cmocka_unit_test(waits_end_at_their_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
