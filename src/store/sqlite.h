/* sqlite: what the files of the SQLite backend share.
 *
 *   sqlite.c         open, close, the table of functions, the queue's entrance
 *   sqlite_writer.c  the writer thread: groups, failures, checkpoints
 *   sqlite_rows.c    what the writer knows about conversations: tokens, next seq, owners
 *   sqlite_apply.c   one function per kind of job
 *   sqlite_slices.c  delete, copy and blobs, a slice at a time
 *   sqlite_block.c   the compact description of 256 events
 *   sqlite_read.c    the readers' connections; rows, documents, blobs
 *   sqlite_events.c  pages, filters, usage
 *   sqlite_db.c, sqlite_schema.c, sqlite_wal.c  connections, the file, the file layer
 *
 * Writing: every change is a job. Jobs wait in one queue in the order of submission; the writer takes what waits,
 * applies it in one transaction, and calls back after the commit. A job checks before it writes: against the cached row,
 * in memory. So a refused job costs nothing and no savepoints are needed; if SQL fails in the middle of a job, the group
 * is rolled back and run again without that job.
 *
 * Owners: the directory is locked by one process, so every owner is in this process and every owner of a former one is
 * dead. Tokens are in the database (they only grow); owners and leases are in memory. */
#pragma once
#include "base/map.h"
#include "base/thread.h"
#include "base/vec.h"
#include "store/sqlite_db.h"
#include <stdatomic.h>

/* Pages in the log at which it is copied into the database: a longer log merges more versions of a page before they are
 * copied, a shorter one keeps the pause short. While nothing waits a smaller one is worth the moment. */
#define CHECKPOINT_BUSY 3000
#define CHECKPOINT_IDLE 2000

#define GROUP_JOBS_MAX 500                /* rows of a group, about: a job on the writer is short */
#define GROUP_BYTES_MAX (4 * 1024 * 1024) /* the same in bytes; a larger single job is a group of its own */
#define READERS_MAX 4                     /* connections for reading; more readers wait for one of them */
#define NUMBER_MAX ((int64_t)INT32_MAX)   /* conversation numbers: the upper half of a key */

/* ---- rows (sqlite_rows.c): the writer thread's own ---- */

struct row_values {
    uint64_t token, last_commit;
    uint32_t next_seq, branch, next_usage;
    int64_t leaf_seq, updated_us;
    int status;
    bool gone;
    uint64_t owner; /* hash of its name; 0: none */
};

struct row {
    int64_t number;
    struct row_values now;
    struct row_values before; /* at the start of the group, if touched */
    bool touched, got_events;
    /* Commits submitted up to here fail: one before them failed, and they were made believing in it. */
    uint64_t fail_through;
};

struct owner_lease {
    uint64_t owner, until_ns;
};

struct rows {
    struct map_u64 *map;
    VEC(struct row *) touched;
    VEC(struct owner_lease) leases;
    size_t sweep_at;
};

void rows_init(struct rows *r);
void rows_deinit(struct rows *r);
/* `*row` NULL: no such conversation. False: the database failed. */
bool rows_get(struct rows *r, struct db *d, int64_t number, struct row **row, struct err **e);
struct row *rows_cached(struct rows *r, int64_t number);
void rows_touch(struct rows *r, struct row *row); /* before the first change in a group */
void rows_rollback(struct rows *r);
void rows_settle(struct rows *r); /* after the commit: forgets what is gone or not needed */
void rows_lease(struct rows *r, uint64_t owner, uint64_t until_ns);
bool rows_owner_lives(const struct rows *r, uint64_t owner, uint64_t now_ns);

/* ---- jobs ---- */

enum job_kind {
    JOB_COMMIT,
    JOB_CREATE,
    JOB_CLAIM,
    JOB_RENEW,
    JOB_RELEASE,
    JOB_DELETE,
    JOB_COPY,
    JOB_PUBLISH,
    JOB_BLOB_PUT,
    JOB_DOC_PUT,
    JOB_DOC_DELETE,
    JOB_REFUSED, /* by store.c already; only to be answered */
};

/* Arguments of a job that is not a commit; owned. */
struct task {
    int64_t number;
    uint64_t token, owner, lease_until;
    uint32_t to;
    struct uuid id;
    enum store_kind kind;
    int status;
    int64_t created_us;
    struct str state, config, title, place, space, key; /* in `texts` */
    char *texts;
    struct bytes *content;
    void (*done_number)(void *arg, int64_t number, const struct err *e);
    void (*done_token)(void *arg, uint64_t token, const struct err *e);
    void (*done)(void *arg, const struct err *e);
    void *arg;
    int64_t answer;    /* number or token */
    struct work *work; /* made by a copy or blob, handed to the slices after the commit */
};

struct job {
    enum job_kind kind;
    bool excluded; /* failed in this group; not applied again */
    enum store_result result;
    struct err *error;
    uint64_t serial; /* of submission */
    size_t bytes;
    struct store_commit *commit;
    struct task *task;
};

void task_free(struct task *t);
void task_answer(struct task *t, const struct err *e); /* calls back and frees */

/* ---- work in slices (sqlite_slices.c) ---- */

enum work_kind {
    WORK_DELETE = 1, /* what is left of a conversation */
    WORK_COPY = 2,
    WORK_CONTENT = 3, /* content of blobs that nothing refers to */
    WORK_BLOB = 4,    /* in memory only; in the table it is WORK_CONTENT until it is complete */
};

struct work {
    struct work *next;
    int64_t id;
    enum work_kind kind;
    int64_t number; /* conversation, or content */
    int64_t source;
    int64_t upto, at;
    bool abandoned;    /* its caller was told that it failed: to be turned into a delete */
    struct task *task; /* who is to be told; NULL after a restart */
};

struct sqlite_store {
    struct store base;
    char *path;
    int dir_fd; /* holds the lock */
    bool dir_made;
    const char *vfs;
    bool nosync;

    /* the queue */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    VEC(struct job) queue;
    uint64_t serial;
    bool writer_waits, closing;
    atomic_size_t queue_bytes; /* waiting and being written */
    atomic_uint_fast64_t
        refuse_until; /* 0: writes are accepted; else they are refused until then (monotonic ns) */

    /* the writer's own */
    pthread_t writer;
    struct db db;
    struct rows rows;
    struct buf scratch;
    bool in_transaction, failing;
    int wal_pages;
    atomic_int checkpoint_idle, checkpoint_busy; /* pages at which the log is copied; tests make them small */
    int checkpoint_at; /* after a checkpoint that readers kept from finishing: not again before so many pages */
    struct work *works, **works_last;
    int64_t next_work;
    bool vacuum; /* free pages may be worth returning */
    void (*watch_fn)(void *arg, int64_t number, uint32_t next_seq);
    void *watch_arg;
    atomic_uint_fast64_t groups, commits, events, clock_skew_ns;

    /* readers */
    pthread_mutex_t readers_lock;
    pthread_cond_t readers_wake;
    struct reader *readers[READERS_MAX];
    size_t readers_free, readers_made;
    pthread_rwlock_t
        gate; /* held shared by reads; exclusively to make a log that outgrew its limit start over */
};

static inline struct sqlite_store *sqlite_of(struct store *s)
{
    return (struct sqlite_store *)s;
}

uint64_t sqlite_clock_ns(struct sqlite_store *s); /* of the leases */

/* sqlite_writer.c */
void writer_sync_mode(struct sqlite_store *s, bool on);
void writer_main(void *arg);
bool writer_begin(struct sqlite_store *s, struct err **e); /* a transaction, if none is open */
bool writer_end(struct sqlite_store *s, struct err **e);   /* commits; rolls back on failure */
void writer_rollback(struct sqlite_store *s);
void writer_failed(struct sqlite_store *s, const struct err *e); /* refuses writes for a while after ERR_IO */

/* sqlite_apply.c: true: applied or refused (see job->result and job->error); false: SQL failed, roll back. */
bool apply_job(struct sqlite_store *s, struct job *job, struct err **e);
bool apply_new_number(struct sqlite_store *s, const char *counter, int64_t *number, struct err **e);
bool apply_id_taken(struct sqlite_store *s, const struct uuid *id, bool *taken, struct err **e);

/* sqlite_slices.c */
bool slices_load(struct sqlite_store *s, struct err **e); /* at start */
bool slices_due(const struct sqlite_store *s);
void slices_step(struct sqlite_store *s);
void slices_add(struct sqlite_store *s, struct work *w);
void slices_cancel(struct sqlite_store *s); /* at the end: tells who still waits */
bool apply_delete(struct sqlite_store *s, struct job *job, struct err **e);
bool apply_copy(struct sqlite_store *s, struct job *job, struct err **e);
bool apply_blob_put(struct sqlite_store *s, struct job *job, struct err **e);

/* sqlite_block.c: events [first, first + BLOCK_EVENTS) in columns */
#define BLOCK_EVENTS 256
struct block {
    uint32_t n;
    uint32_t hash[BLOCK_EVENTS];
    uint8_t kind[BLOCK_EVENTS], source[BLOCK_EVENTS];
    int64_t time_us[BLOCK_EVENTS];
};
uint32_t block_hash(const struct uuid *id);
/* Writes the row of a complete block. */
bool block_write(struct db *d, int64_t number, uint32_t first, struct err **e);
/* From its row, or from the events themselves if it is not complete yet. */
bool block_load(struct db *d, int64_t number, uint32_t first, struct block *b, struct err **e);

/* sqlite_read.c */
struct reader {
    struct db db;
    struct sqlite_store *store;
};
struct reader *reader_take(struct sqlite_store *s, struct err **e);
void reader_give(struct reader **r);
#define autoreader __attribute__((cleanup(reader_give))) struct reader *
void readers_close(struct sqlite_store *s);

bool read_get(struct store *s, const struct uuid *id, struct arena *arena, struct store_row *row,
              struct err **e);
bool read_list(struct store *s, const struct store_list *query, struct arena *arena, struct store_row **rows,
               size_t *n, struct uuid *next, bool *more, struct err **e);
bool read_count(struct store *s, enum store_kind kind, int status, int64_t *count, struct err **e);
bool read_find_place(struct store *s, const struct str *places, size_t n, struct uuid *id, struct err **e);
bool read_ids_with_status(struct store *s, int status, struct uuid *ids, size_t max, size_t *n,
                          struct err **e);
bool read_branches(struct store *s, int64_t number, struct arena *arena, struct store_branch **branches,
                   size_t *n, struct err **e);
bool read_blob(struct store *s, int64_t number, const struct uuid *id, struct buf *out, struct err **e);
bool read_doc(struct store *s, struct str space, struct str key, struct buf *out, struct err **e);
bool read_doc_keys(struct store *s, struct str space, struct arena *arena, struct str **keys, size_t *n,
                   struct err **e);
bool read_usage_sums(struct store *s, int64_t number, struct arena *arena, struct store_usage_sum **sums,
                     size_t *n, struct err **e);
bool read_usage(struct store *s, int64_t number, size_t max, struct arena *arena, struct store_usage **calls,
                size_t *n, struct err **e);

/* sqlite_events.c */
bool events_read(struct store *s, int64_t number, uint32_t from, uint32_t to, size_t max, bool whole,
                 struct arena *arena, struct store_item **items, size_t *n, struct err **e);
bool events_read_branch(struct store *s, int64_t number, uint32_t branch, uint32_t from, uint32_t to,
                        size_t max, struct arena *arena, struct store_item **items, size_t *n,
                        struct err **e);
bool events_search(struct store *s, int64_t number, const struct store_filter *filter, struct arena *arena,
                   struct store_item **items, size_t *n, int64_t *next_seq, struct err **e);
bool events_count(struct store *s, int64_t number, const struct store_filter *filter, int64_t *count,
                  struct err **e);
bool events_find(struct store *s, int64_t number, const struct uuid *id, bool whole, struct arena *arena,
                 struct store_item *item, struct err **e);
