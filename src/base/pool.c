#include "base/pool.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/thread.h"

struct job {
    struct job *next;
    void (*fn)(void *);
    void *arg;
    uint64_t number; /* in the order in which they came */
    bool is_long;
};

struct queue {
    struct job *first, **last;
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct queue jobs, long_jobs;
    uint64_t numbers;
    size_t queued, queue_max; /* of `jobs` */
    unsigned long_running;
    bool stopping;
    unsigned thread_count;
    pthread_t threads[];
};

static void queue_put(struct queue *q, struct job *job)
{
    *q->last = job;
    q->last = &job->next;
}

static struct job *queue_take(struct queue *q)
{
    struct job *job = q->first;
    q->first = job->next;
    if (!q->first)
        q->last = &q->first;
    return job;
}

/* Under the lock: the oldest job that may run now. One worker is always left to the short ones, if there are two. */
static struct job *pool_next(struct pool *p)
{
    struct job *job = p->jobs.first, *waiting = p->long_jobs.first;
    bool may = waiting && (p->long_running == 0 || p->long_running + 1 < p->thread_count);
    if (may && (!job || waiting->number < job->number)) {
        p->long_running++;
        return queue_take(&p->long_jobs);
    }
    if (!job)
        return NULL;
    p->queued--;
    return queue_take(&p->jobs);
}

static struct job *pool_take(struct pool *p, bool was_long)
{
    struct job *job = NULL;
    WITH_LOCK(&p->lock)
    {
        p->long_running -= was_long;
        while (!(job = pool_next(p)) && !p->stopping)
            thread_cond_wait(&p->wake, &p->lock, 0);
    }
    return job;
}

static void pool_main(void *arg)
{
    struct pool *p = arg;
    bool is_long = false;
    for (struct job *job; (job = pool_take(p, is_long));) {
        void (*fn)(void *) = job->fn;
        void *fn_arg = job->arg;
        is_long = job->is_long;
        free(job);
        fn(fn_arg);
    }
}

struct pool *pool_new(unsigned threads, size_t queue_max)
{
    struct pool *p = xcalloc(1, sizeof(*p) + threads * sizeof(p->threads[0]));
    pthread_mutex_init(&p->lock, NULL);
    thread_cond_init(&p->wake);
    p->jobs.last = &p->jobs.first;
    p->long_jobs.last = &p->long_jobs.first;
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

static bool pool_put(struct pool *p, void (*fn)(void *), void *arg, bool bounded, bool is_long)
{
    struct job *job = xmalloc(sizeof(*job));
    *job = (struct job){.fn = fn, .arg = arg, .is_long = is_long};
    bool full = false;
    WITH_LOCK(&p->lock)
    {
        full = bounded && p->queued >= p->queue_max;
        if (!full) {
            job->number = p->numbers++;
            queue_put(is_long ? &p->long_jobs : &p->jobs, job);
            p->queued += !is_long;
            pthread_cond_signal(&p->wake);
        }
    }
    if (full)
        free(job);
    return !full;
}

bool pool_submit(struct pool *p, void (*fn)(void *), void *arg, struct err **e)
{
    if (pool_put(p, fn, arg, true, false))
        return true;
    return err_set(e, ERR_BUSY, "the server is busy: %zu jobs are waiting already", p->queue_max);
}

void pool_submit_always(struct pool *p, void (*fn)(void *), void *arg)
{
    pool_put(p, fn, arg, false, false);
}

void pool_submit_long(struct pool *p, void (*fn)(void *), void *arg)
{
    pool_put(p, fn, arg, false, true);
}
