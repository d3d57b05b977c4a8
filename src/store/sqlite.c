#include "store/sqlite.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "store/dir_lock.h"
#include "store/sqlite_schema.h"
#include "store/sqlite_wal.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* Page caches: the writer's holds the tails of the conversations that run. It fills only with use. */
#define WRITER_CACHE_KB 4096
#define JOB_OVERHEAD 256     /* counted for each waiting job beside its texts */
#define DIRECTORIES_SYNCED 8 /* levels up from a new data directory */

/* ---- tasks ---- */

void task_free(struct task *t)
{
    if (!t)
        return;
    bytes_unref(t->content);
    free(t->texts);
    free(t->work); /* if it was never handed to the slices */
    free(t);
}

void task_answer(struct task *t, const struct err *e)
{
    if (t->done_number)
        t->done_number(t->arg, e ? 0 : t->answer, e);
    else if (t->done_token)
        t->done_token(t->arg, e ? 0 : (uint64_t)t->answer, e);
    else if (t->done)
        t->done(t->arg, e);
    task_free(t);
}

/* Copies the texts that `fields` point at into memory of the task. */
static void task_keep(struct task *t, struct str *const fields[], size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += fields[i]->n;
    char *at = t->texts = xmalloc(size + 1);
    for (size_t i = 0; i < n; i++) {
        if (!fields[i]->p)
            continue;
        memcpy(at, fields[i]->p, fields[i]->n);
        fields[i]->p = at;
        at += fields[i]->n;
    }
}

/* ---- the queue's entrance ---- */

static bool queue_refuses(struct sqlite_store *s, size_t bytes, struct err **e)
{
    uint64_t until = atomic_load(&s->refuse_until);
    if (until && sqlite_clock_ns(s) < until)
        return !err_set(e, ERR_IO, "the disk refused the last write; writes are refused for a moment");
    size_t waiting = atomic_load(&s->queue_bytes);
    /* A single large job is let in when nothing waits. */
    if (waiting > 0 && waiting + bytes > STORE_QUEUE_BYTES_MAX)
        return !err_set(e, ERR_BUSY, "%zu bytes wait to be written already", waiting);
    return false;
}

static void queue_add(struct sqlite_store *s, struct job *job)
{
    atomic_fetch_add(&s->queue_bytes, job->bytes);
    bool wake = false;
    WITH_LOCK(&s->lock)
    {
        job->serial = ++s->serial;
        vec_push(&s->queue, *job);
        wake = s->writer_waits;
        s->writer_waits = false;
    }
    if (wake)
        pthread_cond_signal(&s->wake);
}

/* A refused task is answered by the writer thread like any other, so that its caller may hold locks here. */
static void queue_add_task(struct sqlite_store *s, enum job_kind kind, struct task *t, size_t bytes)
{
    struct job job = {.kind = kind, .task = t, .bytes = bytes + JOB_OVERHEAD};
    if (kind != JOB_RENEW && kind != JOB_RELEASE && queue_refuses(s, job.bytes, &job.error)) {
        job.excluded = true;
        job.result = STORE_FAILED;
    }
    queue_add(s, &job);
}

static void sqlite_refuse(struct store *store, struct err *e,
                          void (*done_number)(void *arg, int64_t number, const struct err *e),
                          void (*done_token)(void *arg, uint64_t token, const struct err *e),
                          void (*done)(void *arg, const struct err *e), void *arg)
{
    struct task *t = xcalloc(1, sizeof(*t));
    *t = (struct task){.done_number = done_number, .done_token = done_token, .done = done, .arg = arg};
    struct job job = {.kind = JOB_REFUSED, .task = t, .excluded = true, .result = STORE_FAILED, .error = e};
    queue_add(sqlite_of(store), &job);
}

static size_t commit_bytes(const struct store_commit *c)
{
    size_t n = JOB_OVERHEAD + c->delta.state.n + c->delta.config.n + c->delta.title.n;
    for (size_t i = 0; i < c->event_count; i++) {
        const struct store_event *event = &c->events[i];
        n += JOB_OVERHEAD + event->json->n + bytes_str(event->reduced).n + event->search_text.n +
             event->side.n;
    }
    return n + c->usage_count * JOB_OVERHEAD;
}

static bool sqlite_commit(struct store *store, struct store_commit *c, struct err **e)
{
    struct sqlite_store *s = sqlite_of(store);
    struct job job = {.kind = JOB_COMMIT, .commit = c, .bytes = commit_bytes(c)};
    if (queue_refuses(s, job.bytes, e))
        return false;
    queue_add(s, &job);
    return true;
}

static struct task *task_from_create(const struct store_create *c,
                                     void (*done)(void *, int64_t, const struct err *), void *arg)
{
    struct task *t = xcalloc(1, sizeof(*t));
    *t = (struct task){.id = c->id,
                       .kind = c->kind,
                       .status = c->status,
                       .created_us = c->created_us,
                       .state = c->state.p ? c->state : STR(""),
                       .config = c->config.p ? c->config : STR(""),
                       .title = c->title,
                       .place = c->place,
                       .done_number = done,
                       .arg = arg};
    task_keep(t, (struct str *const[]){&t->state, &t->config, &t->title, &t->place}, 4);
    return t;
}

static void sqlite_create(struct store *store, const struct store_create *c,
                          void (*done)(void *arg, int64_t number, const struct err *e), void *arg)
{
    queue_add_task(sqlite_of(store), JOB_CREATE, task_from_create(c, done, arg),
                   c->state.n + c->config.n + c->title.n + c->place.n);
}

/* Owners are few and live in this process, so a keyed hash of the name stands for the name; 0 means nobody. */
static uint64_t owner_hash(struct str owner)
{
    uint64_t hash = str_hash(owner);
    return hash ? hash : 1;
}

static void sqlite_claim(struct store *store, int64_t number, struct str owner,
                         void (*done)(void *arg, uint64_t token, const struct err *e), void *arg)
{
    struct task *t = xcalloc(1, sizeof(*t));
    *t = (struct task){.number = number, .owner = owner_hash(owner), .done_token = done, .arg = arg};
    queue_add_task(sqlite_of(store), JOB_CLAIM, t, 0);
}

static void sqlite_renew(struct store *store, struct str owner)
{
    struct task *t = xcalloc(1, sizeof(*t));
    t->owner = owner_hash(owner);
    /* From now, not from when the writer gets to it. */
    t->lease_until = sqlite_clock_ns(sqlite_of(store)) + STORE_LEASE_MS * NS_PER_MS;
    queue_add_task(sqlite_of(store), JOB_RENEW, t, 0);
}

static void sqlite_release(struct store *store, int64_t number, uint64_t token)
{
    struct task *t = xcalloc(1, sizeof(*t));
    t->number = number;
    t->token = token;
    queue_add_task(sqlite_of(store), JOB_RELEASE, t, 0);
}

static void sqlite_delete(struct store *store, int64_t number, void (*done)(void *arg, const struct err *e),
                          void *arg)
{
    struct task *t = xcalloc(1, sizeof(*t));
    *t = (struct task){.number = number, .done = done, .arg = arg};
    queue_add_task(sqlite_of(store), JOB_DELETE, t, 0);
}

static void sqlite_copy(struct store *store, int64_t from, uint32_t to, const struct store_create *into,
                        void (*done)(void *arg, int64_t number, const struct err *e), void *arg)
{
    struct task *t = task_from_create(into, done, arg);
    t->number = from;
    t->to = to;
    queue_add_task(sqlite_of(store), JOB_COPY, t, into->state.n + into->config.n);
}

static void sqlite_publish(struct store *store, int64_t number, uint64_t token, const struct uuid *id,
                           struct str place, void (*done)(void *arg, const struct err *e), void *arg)
{
    struct task *t = xcalloc(1, sizeof(*t));
    *t = (struct task){.number = number, .token = token, .id = *id, .place = place, .done = done, .arg = arg};
    task_keep(t, (struct str *const[]){&t->place}, 1);
    queue_add_task(sqlite_of(store), JOB_PUBLISH, t, place.n);
}

static void sqlite_blob_put(struct store *store, int64_t number, const struct uuid *id, struct bytes *content,
                            void (*done)(void *arg, const struct err *e), void *arg)
{
    struct task *t = xcalloc(1, sizeof(*t));
    *t = (struct task){.number = number, .id = *id, .content = content, .done = done, .arg = arg};
    queue_add_task(sqlite_of(store), JOB_BLOB_PUT, t, content->n);
}

static void sqlite_doc_put(struct store *store, struct str space, struct str key, struct str value,
                           void (*done)(void *arg, const struct err *e), void *arg)
{
    struct task *t = xcalloc(1, sizeof(*t));
    *t = (struct task){.space = space.p ? space : STR(""),
                       .key = key.p ? key : STR(""),
                       .state = value.p ? value : STR(""),
                       .done = done,
                       .arg = arg};
    task_keep(t, (struct str *const[]){&t->space, &t->key, &t->state}, 3);
    queue_add_task(sqlite_of(store), JOB_DOC_PUT, t, value.n);
}

static void sqlite_doc_delete(struct store *store, struct str space, struct str key,
                              void (*done)(void *arg, const struct err *e), void *arg)
{
    struct task *t = xcalloc(1, sizeof(*t));
    *t = (struct task){
        .space = space.p ? space : STR(""), .key = key.p ? key : STR(""), .done = done, .arg = arg};
    task_keep(t, (struct str *const[]){&t->space, &t->key}, 2);
    queue_add_task(sqlite_of(store), JOB_DOC_DELETE, t, 0);
}

/* ---- watch, statistics, the clock ---- */

static void sqlite_watch(struct store *store, void (*fn)(void *arg, int64_t number, uint32_t next_seq),
                         void *arg)
{
    struct sqlite_store *s = sqlite_of(store);
    WITH_LOCK(&s->lock)
    {
        s->watch_fn = fn;
        s->watch_arg = arg;
    }
}

static void sqlite_stats(struct store *store, struct store_stats *out)
{
    struct sqlite_store *s = sqlite_of(store);
    struct timespec cpu = {0};
    clockid_t clock;
    if (pthread_getcpuclockid(s->writer, &clock) == 0)
        clock_gettime(clock, &cpu);
    *out = (struct store_stats){
        .groups = atomic_load_explicit(&s->groups, memory_order_relaxed),
        .commits = atomic_load_explicit(&s->commits, memory_order_relaxed),
        .events = atomic_load_explicit(&s->events, memory_order_relaxed),
        .writer_cpu_ns = (uint64_t)cpu.tv_sec * NS_PER_S + (uint64_t)cpu.tv_nsec,
    };
}

uint64_t sqlite_clock_ns(struct sqlite_store *s)
{
    return clock_mono_ns() + atomic_load(&s->clock_skew_ns);
}

static void sqlite_clock_advance(struct store *store, uint64_t ms)
{
    atomic_fetch_add(&sqlite_of(store)->clock_skew_ns, ms * NS_PER_MS);
}

/* ---- open and close ---- */

static void sqlite_free(struct sqlite_store *s)
{
    readers_close(s);
    writer_sync_mode(s, false);
    db_close(&s->db); /* the last connection: copies the log into the database and empties it */
    if (s->dir_fd >= 0)
        close(s->dir_fd);
    rows_deinit(&s->rows);
    buf_deinit(&s->scratch);
    vec_deinit(&s->queue);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->readers_lock);
    pthread_cond_destroy(&s->readers_wake);
    pthread_rwlock_destroy(&s->gate);
    free(s->path);
    free(s);
}

static void sqlite_close(struct store *store)
{
    struct sqlite_store *s = sqlite_of(store);
    WITH_LOCK(&s->lock)
    s->closing = true;
    pthread_cond_signal(&s->wake);
    pthread_join(s->writer, NULL);
    sqlite_free(s);
}

static const struct store_backend sqlite_backend = {
    .name = "sqlite",
    .close = sqlite_close,
    .create = sqlite_create,
    .get = read_get,
    .list = read_list,
    .count = read_count,
    .find_place = read_find_place,
    .ids_with_status = read_ids_with_status,
    .claim = sqlite_claim,
    .renew = sqlite_renew,
    .release = sqlite_release,
    .commit = sqlite_commit,
    .read = events_read,
    .read_branch = events_read_branch,
    .branches = read_branches,
    .search = events_search,
    .count_events = events_count,
    .find = events_find,
    .usage_sums = read_usage_sums,
    .usage_read = read_usage,
    .delete = sqlite_delete,
    .copy = sqlite_copy,
    .publish = sqlite_publish,
    .blob_put = sqlite_blob_put,
    .blob_get = read_blob,
    .doc_put = sqlite_doc_put,
    .doc_delete = sqlite_doc_delete,
    .doc_get = read_doc,
    .doc_keys = read_doc_keys,
    .refuse = sqlite_refuse,
    .watch = sqlite_watch,
    .stats_get = sqlite_stats,
    .clock_advance = sqlite_clock_advance,
};

static bool directory_lock(struct sqlite_store *s, struct err **e)
{
    autofree char *dir = str_dup(path_dir(str_from(s->path)));
    s->dir_made = access(dir, F_OK) != 0;
    if (!dir_make(dir, 0700, e))
        return false;
    s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0)
        return err_errno(e, ERR_INVALID, "cannot open %s", dir);
    return dir_lock(s->dir_fd, dir, e);
}

static struct sqlite_store *sqlite_new(const struct store_config *config)
{
    struct sqlite_store *s = xcalloc(1, sizeof(*s));
    s->base.backend = &sqlite_backend;
    s->path = str_dup(str_from(config->path));
    s->dir_fd = -1;
    s->nosync = config->synchronous_off;
    s->vfs = config->synchronous_off ? WAL_VFS_NOSYNC : WAL_VFS;
    s->works_last = &s->works;
    atomic_init(&s->checkpoint_idle, CHECKPOINT_IDLE);
    atomic_init(&s->checkpoint_busy, CHECKPOINT_BUSY);
    pthread_mutex_init(&s->lock, NULL);
    thread_cond_init(&s->wake);
    pthread_mutex_init(&s->readers_lock, NULL);
    thread_cond_init(&s->readers_wake);
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&s->gate, &attr);
    pthread_rwlockattr_destroy(&attr);
    rows_init(&s->rows);
    return s;
}

/* The name of a new file must last as well as its content, and so must those of the directories made for it. */
static void directories_sync(int dir_fd, bool dir_made)
{
    autofd int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int levels = dir_made ? DIRECTORIES_SYNCED : 1; fd >= 0 && fsync(fd) == 0 && --levels > 0;) {
        int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(fd);
        fd = parent;
    }
}

/* An empty file is none: SQLite makes one of any name that it is asked to open. */
static bool file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && info.st_size > 0;
}

/* A log without its database would be played into the new one, which it does not fit. */
static bool file_alone(const char *path, struct err **e)
{
    static const char *const logs[] = {"-wal", "-journal"};
    for (size_t i = 0; i < ARRAY_LEN(logs); i++) {
        autobuf log = {0};
        buf_addf(&log, "%s%s", path, logs[i]);
        if (file_exists(log.p))
            return err_set(
                e, ERR_INVALID,
                "%s belongs to a database that is gone; put that back, or move the log away to start over",
                log.p);
    }
    return true;
}

static bool sqlite_open_file(struct sqlite_store *s, struct err **e)
{
    if (!wal_vfs_register())
        return err_set(e, ERR_INTERNAL, "SQLite lacks the file layer that the store needs");
    if (!file_exists(s->path)) {
        if (!file_alone(s->path, e) || !schema_make(s->path, s->vfs, e))
            return false;
        directories_sync(s->dir_fd, s->dir_made);
    }
    if (!db_open(&s->db, s->path, s->vfs, WRITER_CACHE_KB, e) || !schema_open(&s->db, s->path, e))
        return false;
    /* An emptied log stays: making and removing it would cost a sync of the directory each time. */
    int keep = 1;
    sqlite3_file_control(s->db.handle, NULL, SQLITE_FCNTL_PERSIST_WAL, &keep);
    return db_exec(&s->db, "PRAGMA journal_size_limit=0", e) && slices_load(s, e);
}

struct store *sqlite_open(const struct store_config *config, struct err **e)
{
    struct sqlite_store *s = sqlite_new(config);
    if (!directory_lock(s, e) || !sqlite_open_file(s, e) ||
        !thread_start(&s->writer, "store", THREAD_STACK_BYTES, writer_main, s, e)) {
        sqlite_free(s);
        return NULL;
    }
    return &s->base;
}
