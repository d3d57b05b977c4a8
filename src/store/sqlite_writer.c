#include "store/sqlite.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

/* Readers at work keep the log from starting over; past this many pages they are made to pause for a moment. */
#define CHECKPOINT_FORCED 16000
/* After a failure of the disk, writes are refused for so long; then the next one is the probe. */
#define REFUSE_NS (1 * NS_PER_S)

/* ---- transactions ---- */

bool writer_begin(struct sqlite_store *s, struct err **e)
{
    if (!s->in_transaction)
        s->in_transaction = db_run(&s->db, e, STMT_BEGIN, "");
    return s->in_transaction;
}

void writer_rollback(struct sqlite_store *s)
{
    /* SQLite has rolled back by itself after some failures. */
    if (s->in_transaction && !sqlite3_get_autocommit(s->db.handle))
        db_run(&s->db, NULL, STMT_ROLLBACK, "");
    s->in_transaction = false;
    rows_rollback(&s->rows);
}

static void writer_recovered(struct sqlite_store *s)
{
    if (s->failing)
        log_info("writes succeed again");
    s->failing = false;
    atomic_store(&s->refuse_until, 0);
}

bool writer_end(struct sqlite_store *s, struct err **e)
{
    if (!s->in_transaction)
        return true;
    if (!db_run(&s->db, e, STMT_COMMIT, "")) {
        writer_rollback(s);
        return false;
    }
    s->in_transaction = false;
    writer_recovered(s);
    return true;
}

void writer_failed(struct sqlite_store *s, const struct err *e)
{
    if (!e || e->kind != ERR_IO)
        return;
    if (!s->failing)
        log_error("writes are refused: %s", e->text);
    s->failing = true;
    atomic_store(&s->refuse_until, sqlite_clock_ns(s) + REFUSE_NS);
}

/* ---- groups ---- */

static void job_answer(struct job *job)
{
    if (job->kind == JOB_COMMIT)
        job->commit->done(job->commit, job->result, job->error);
    else
        task_answer(job->task, job->error);
    err_free(job->error);
}

/* Later commits of that conversation that wait already were made in the belief that this one succeeds. */
static void job_mark_followers(struct sqlite_store *s, const struct job *job)
{
    struct row *row = rows_cached(&s->rows, job->commit->number);
    if (!row)
        return;
    WITH_LOCK(&s->lock)
    row->fail_through = s->serial;
}

static void job_fail(struct job *job, const struct err *e)
{
    err_free(job->error);
    job->error = err_copy(e);
    job->result = STORE_FAILED;
    job->excluded = true;
}

/* Applies all jobs; `*bad` is the one at which SQL failed, or `n` when the commit itself did. */
static bool group_try(struct sqlite_store *s, struct job *jobs, size_t n, size_t *bad, struct err **e)
{
    for (*bad = 0; *bad < n; ++*bad) {
        struct job *job = &jobs[*bad];
        if (job->excluded)
            continue;
        err_free(steal(job->error)); /* of an earlier try */
        if (!apply_job(s, job, e))
            return false;
        if (job->kind == JOB_COMMIT && job->result == STORE_FAILED)
            job_mark_followers(s, job);
    }
    return writer_end(s, e);
}

static void group_write(struct sqlite_store *s, struct job *jobs, size_t n)
{
    for (;;) {
        autoerr e = NULL;
        size_t bad;
        if (group_try(s, jobs, n, &bad, &e))
            return;
        writer_rollback(s);
        writer_failed(s, e);
        bool all = bad == n || e->kind == ERR_IO;
        for (size_t i = all ? 0 : bad; i < (all ? n : bad + 1); i++) {
            if (jobs[i].excluded)
                continue;
            job_fail(&jobs[i], e);
            if (jobs[i].kind == JOB_COMMIT)
                job_mark_followers(s, &jobs[i]);
        }
        if (all)
            return;
    }
}

static void group_count(struct sqlite_store *s, const struct job *jobs, size_t n)
{
    size_t commits = 0, events = 0;
    for (size_t i = 0; i < n; i++) {
        if (jobs[i].kind != JOB_COMMIT || jobs[i].result != STORE_DONE)
            continue;
        commits++;
        events += jobs[i].commit->event_count;
    }
    atomic_fetch_add_explicit(&s->groups, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->commits, commits, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->events, events, memory_order_relaxed);
}

/* A copy or a large blob is answered when its last slice is done. */
static bool job_goes_on(struct sqlite_store *s, struct job *job)
{
    struct work *w = job->task && job->result == STORE_DONE ? steal(job->task->work) : NULL;
    if (!w)
        return false;
    w->task = job->kind == JOB_DELETE ? NULL : job->task;
    slices_add(s, w);
    return w->task != NULL;
}

/* Callbacks first, then the watcher, so that what a conversation shows as committed is never behind its subscribers. */
static void group_announce(struct sqlite_store *s, struct job *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!job_goes_on(s, &jobs[i]))
            job_answer(&jobs[i]);
    }
    void (*watch)(void *, int64_t, uint32_t) = NULL;
    void *watch_arg = NULL;
    WITH_LOCK(&s->lock)
    {
        watch = s->watch_fn;
        watch_arg = s->watch_arg;
    }
    for (size_t i = 0; watch && i < s->rows.touched.n; i++) {
        struct row *row = s->rows.touched.at[i];
        if (row->got_events && !row->now.gone)
            watch(watch_arg, row->number, row->now.next_seq);
    }
    rows_settle(&s->rows);
}

static void group_run(struct sqlite_store *s, struct job *jobs, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += jobs[i].bytes;
    group_write(s, jobs, n);
    group_count(s, jobs, n);
    atomic_fetch_sub(&s->queue_bytes, bytes);
    group_announce(s, jobs, n);
}

/* ---- checkpoints ---- */

static int wal_grown(void *arg, sqlite3 *handle, const char *name, int pages)
{
    (void)handle, (void)name;
    ((struct sqlite_store *)arg)->wal_pages = pages;
    return SQLITE_OK;
}

/* The file layer leaves out the syncs of the log when none are wanted; those of a checkpoint are left out here. Never off
 * during commits: the file layer writes what it has gathered when it is told to sync. */
void writer_sync_mode(struct sqlite_store *s, bool on)
{
    if (s->nosync && s->db.handle)
        db_exec(&s->db, on ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=OFF", NULL);
}

static void checkpoint_run(struct sqlite_store *s, int mode)
{
    int pages = 0, copied = 0;
    writer_sync_mode(s, false);
    int code = sqlite3_wal_checkpoint_v2(s->db.handle, NULL, mode, &pages, &copied);
    writer_sync_mode(s, true);
    if (code != SQLITE_OK && code != SQLITE_BUSY)
        log_warn("checkpoint of the database: %s", sqlite3_errmsg(s->db.handle));
    bool complete = code == SQLITE_OK && pages == copied;
    s->checkpoint_at = complete ? 0 : s->wal_pages + CHECKPOINT_IDLE;
    if (complete)
        s->wal_pages = 0; /* the next write starts the log over */
}

static void checkpoint_maybe(struct sqlite_store *s, bool idle)
{
    if (s->wal_pages >= CHECKPOINT_FORCED) {
        pthread_rwlock_wrlock(&s->gate);
        checkpoint_run(s, SQLITE_CHECKPOINT_TRUNCATE);
        pthread_rwlock_unlock(&s->gate);
    } else if (s->wal_pages >= atomic_load(idle ? &s->checkpoint_idle : &s->checkpoint_busy) &&
               s->wal_pages >= s->checkpoint_at) {
        checkpoint_run(s, SQLITE_CHECKPOINT_PASSIVE);
    }
}

/* ---- the thread ---- */

static size_t group_size(const struct job *jobs, size_t n)
{
    size_t rows = 0, bytes = 0, i = 0;
    while (i < n && (i == 0 || (rows < GROUP_JOBS_MAX && bytes < GROUP_BYTES_MAX))) {
        rows += 1 + (jobs[i].commit ? jobs[i].commit->event_count : 0);
        bytes += jobs[i++].bytes;
    }
    return i;
}

/* False at the end. */
static bool writer_wait(struct sqlite_store *s, struct job **jobs, size_t *n, size_t *cap)
{
    bool go = true;
    WITH_LOCK(&s->lock)
    {
        while (s->queue.n == 0 && !s->closing && !slices_due(s)) {
            s->writer_waits = true;
            thread_cond_wait(&s->wake, &s->lock, 0);
        }
        s->writer_waits = false;
        go = s->queue.n > 0 || !s->closing;
        /* The emptied array goes back as the next queue. */
        struct job *emptied = *jobs;
        size_t emptied_cap = *cap;
        *jobs = s->queue.at;
        *n = s->queue.n;
        *cap = s->queue.cap;
        s->queue.at = emptied;
        s->queue.n = 0;
        s->queue.cap = emptied_cap;
    }
    return go;
}

static bool writer_idle(struct sqlite_store *s)
{
    bool idle = false;
    WITH_LOCK(&s->lock)
    idle = s->queue.n == 0;
    return idle;
}

void writer_main(void *arg)
{
    struct sqlite_store *s = arg;
    struct job *jobs = NULL;
    size_t n = 0, cap = 0;
    sqlite3_wal_hook(s->db.handle, wal_grown, s);
    while (writer_wait(s, &jobs, &n, &cap)) {
        for (size_t from = 0, size; from < n; from += size) {
            size = group_size(jobs + from, n - from);
            group_run(s, jobs + from, size);
            if (from + size < n)
                checkpoint_maybe(s, false);
        }
        slices_step(s);
        checkpoint_maybe(s, writer_idle(s));
    }
    slices_cancel(s);
    free(jobs);
}
