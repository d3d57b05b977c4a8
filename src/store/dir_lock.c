#include "store/dir_lock.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/thread.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

/* The kernel tells of a free lock only to somebody who sleeps on it without a deadline: a thread of its own. */
struct waiting {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int fd; /* a duplicate: the lock belongs to what both are open on */
    bool locked, abandoned;
};

static void waiting_free(struct waiting *w)
{
    close(w->fd);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}

static void wait_for_lock(void *arg)
{
    struct waiting *w = arg;
    bool abandoned = false, locked = false;
    while (!(locked = flock(w->fd, LOCK_EX) == 0) && errno == EINTR)
        ;
    WITH_LOCK(&w->mutex)
    {
        w->locked = locked;
        abandoned = w->abandoned;
        if (!abandoned)
            pthread_cond_signal(&w->changed);
        w->abandoned = true; /* whoever comes second frees it */
    }
    if (abandoned)
        waiting_free(w);
}

/* True when the lock came in time. */
static bool wait_bounded(int fd)
{
    struct waiting *w = xcalloc(1, sizeof(*w));
    pthread_mutex_init(&w->mutex, NULL);
    thread_cond_init(&w->changed);
    w->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (w->fd < 0 || !thread_start(NULL, "lock", THREAD_STACK_BYTES, wait_for_lock, w, NULL)) {
        waiting_free(w);
        return false;
    }
    uint64_t deadline = clock_mono_ns() + DIR_LOCK_WAIT_MS * NS_PER_MS;
    bool locked = false, finished = false;
    WITH_LOCK(&w->mutex)
    {
        while (!w->abandoned && thread_cond_wait(&w->changed, &w->mutex, deadline))
            ;
        locked = w->locked;
        finished = w->abandoned;
        w->abandoned = true;
    }
    if (finished)
        waiting_free(w);
    return locked;
}

bool dir_lock(int fd, const char *name, struct err **e)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno != EWOULDBLOCK)
        return err_errno(e, ERR_IO, "cannot lock %s", name);
    return wait_bounded(fd) || err_set(e, ERR_CONFLICT, "%s belongs to another running handsd", name);
}
