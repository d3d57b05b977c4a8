#include "base/thread.h"
#include "base/clock.h"
#include "base/cleanup.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define NAME_MAX_LEN 15 /* the kernel's limit */

struct start {
    void (*run)(void *);
    void *arg;
    char name[NAME_MAX_LEN + 1];
};

static void *thread_main(void *arg)
{
    struct start start = *(struct start *)arg;
    free(arg);
    pthread_setname_np(pthread_self(), start.name);
    start.run(start.arg);
    return NULL;
}

/* All but the signals by which a thread's own fault is reported. */
static void block_signals(sigset_t *before)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, before);
}

bool thread_start(pthread_t *out, const char *name, size_t stack_bytes, void (*run)(void *), void *arg,
                  struct err **e)
{
    struct start *start = xcalloc(1, sizeof(*start));
    start->run = run;
    start->arg = arg;
    snprintf(start->name, sizeof(start->name), "%s", name);

    pthread_attr_t attr;
    pthread_attr_init(&attr);
    long least = sysconf(_SC_THREAD_STACK_MIN);
    if (least > 0 && stack_bytes < (size_t)least)
        stack_bytes = (size_t)least;
    pthread_attr_setstacksize(&attr, stack_bytes);
    if (!out)
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);

    /* The new thread inherits the mask, so it never runs with a signal open. */
    sigset_t before;
    pthread_t thread;
    block_signals(&before);
    int failure = pthread_create(&thread, &attr, thread_main, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (failure) {
        free(start);
        errno = failure;
        return err_errno(e, ERR_BUSY, "cannot start thread %s", name);
    }
    if (out)
        *out = thread;
    return true;
}

pthread_mutex_t *thread_lock(pthread_mutex_t *m)
{
    if (pthread_mutex_lock(m) != 0)
        abort();
    return m;
}

void thread_unlock(pthread_mutex_t *m)
{
    if (pthread_mutex_unlock(m) != 0)
        abort();
}

void thread_cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (pthread_cond_init(c, &attr) != 0)
        abort();
    pthread_condattr_destroy(&attr);
}

bool thread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m, uint64_t deadline_ns)
{
    if (deadline_ns == 0) {
        if (pthread_cond_wait(c, m) != 0)
            abort();
        return true;
    }
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
                             .tv_nsec = (long)(deadline_ns % NS_PER_S)};
    int result = pthread_cond_timedwait(c, m, &until);
    if (result != 0 && result != ETIMEDOUT)
        abort();
    return result == 0;
}
