#include "base/pool.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/thread.h"

struct job {
    struct job *next;
    void (*fn)(void *);
    void *arg;
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job *first, **last;
    size_t queued, queue_max;
    bool stopping;
    unsigned thread_count;
    pthread_t threads[];
};

static struct job *pool_take(struct pool *p)
{
    struct job *job = NULL;
    WITH_LOCK(&p->lock)
    {
        while (!p->first && !p->stopping)
            thread_cond_wait(&p->wake, &p->lock, 0);
        job = p->first;
        if (job) {
            p->first = job->next;
            if (!p->first)
                p->last = &p->first;
            p->queued--;
        }
    }
    return job;
}

static void pool_main(void *arg)
{
    struct pool *p = arg;
    for (struct job *job; (job = pool_take(p));) {
        void (*fn)(void *) = job->fn;
        void *fn_arg = job->arg;
        free(job);
        fn(fn_arg);
    }
}

struct pool *pool_new(unsigned threads, size_t queue_max)
{
    struct pool *p = xcalloc(1, sizeof(*p) + threads * sizeof(p->threads[0]));
    pthread_mutex_init(&p->lock, NULL);
    thread_cond_init(&p->wake);
    p->last = &p->first;
    p->queue_max = queue_max;
    for (; p->thread_count < threads; p->thread_count++) {
        autoerr err = NULL;
        if (!thread_start(&p->threads[p->thread_count], "worker", THREAD_STACK_BYTES, pool_main, p, &err)) {
            /* Fewer workers are slower; none would leave every caller waiting. */
            log_error("%s", err_text(err));
            if (p->thread_count == 0)
                abort();
            break;
        }
    }
    return p;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    WITH_LOCK(&p->lock)
    {
        p->stopping = true;
        pthread_cond_broadcast(&p->wake);
    }
    for (unsigned i = 0; i < p->thread_count; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static bool pool_put(struct pool *p, void (*fn)(void *), void *arg, bool bounded)
{
    struct job *job = xmalloc(sizeof(*job));
    *job = (struct job){.fn = fn, .arg = arg};
    bool full = false;
    WITH_LOCK(&p->lock)
    {
        full = bounded && p->queued >= p->queue_max;
        if (!full) {
            *p->last = job;
            p->last = &job->next;
            p->queued++;
            pthread_cond_signal(&p->wake);
        }
    }
    if (full)
        free(job);
    return !full;
}

bool pool_submit(struct pool *p, void (*fn)(void *), void *arg, struct err **e)
{
    if (pool_put(p, fn, arg, true))
        return true;
    return err_set(e, ERR_BUSY, "the server is busy: %zu jobs are waiting already", p->queue_max);
}

void pool_submit_always(struct pool *p, void (*fn)(void *), void *arg)
{
    pool_put(p, fn, arg, false);
}
