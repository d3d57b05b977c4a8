/* store: the event log, and what else lasts. Backends: sqlite.c now, postgres.c later; one conformance test runs on each.
 *
 * What is stored is immutable text: an event is serialised once by its maker and never parsed here. The key of an event
 * is conversation number << 32 | seq; numbers are never reused, seq is dense from 0.
 *
 * Threads: any thread may call anything, except that the reads block on the disk, so the loop thread never calls them.
 * Commits are queued (bounded) and done by one writer thread as groups, `synchronous=FULL`; `done` runs on the writer
 * thread and must not block. No job on the writer is longer than 20 ms or 500 rows: delete and copy are sliced and
 * invisible until complete.
 * Failure: disk full and I/O errors fail what was asked and nothing else (ERR_IO); reads go on. A lost owner gets
 * ERR_LOST. Nothing acknowledged is ever lost. */
#pragma once
#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/uuid.h"

#define STORE_QUEUE_BYTES_MAX (64 * 1024 * 1024) /* waiting commits of all conversations; past it ERR_BUSY */
#define STORE_PAGE_BYTES (256 * 1024)            /* a page of a cursor: as many events as fit, at least one */
#define STORE_LIST_MAX 100                       /* conversations, events of one filtered page */
#define STORE_BLOB_MAX (64 * 1024 * 1024)
#define STORE_DOC_MAX (4 * 1024 * 1024)
#define STORE_LEASE_MS 45000

struct store;

struct store_config {
    /* Of the database file; its directory is made (0700) and locked (flock): one owner process. */
    const char *path;
    bool synchronous_off; /* tests and benches of other things only */
};

/* Opens or creates. ERR_CONFLICT: another process owns the directory. ERR_INVALID: not ours, or of a newer version. */
struct store *store_open(const struct store_config *config, struct err **e);
void store_close(struct store *s); /* commits what is queued, checkpoints, joins */

/* ---- conversations (and streams: the bash service's events are the same thing) ---- */

/* STORE_UNFINISHED: what is being written in many commits (an import) and is no conversation before store_publish. Nobody
 * who does not know its number finds it; what a crash leaves of one is deleted at the next opening. */
enum store_kind { STORE_CONVERSATION = 0, STORE_STREAM = 1, STORE_UNFINISHED = 2 };

/* The row. `state` is a small JSON text that the owner rewrites with commits; `config` a larger one that changes rarely
 * (both opaque here). Texts are in the reader's arena. */
struct store_row {
    int64_t number;
    struct uuid id;
    enum store_kind kind;
    int status; /* the owner's numbering */
    int64_t created_us, updated_us;
    uint32_t next_seq;
    int64_t leaf_seq; /* -1: none */
    uint32_t branch;  /* of the leaf */
    struct str title; /* STR_NONE: null */
    struct str state, config;
};

struct store_create {
    struct uuid id;
    enum store_kind kind;
    int status;
    int64_t created_us;
    struct str state, config, title;
    struct str place; /* by which store_find_place finds it: an absolute path; or STR_NONE */
};
/* Creates a row; durable when it returns. ERR_CONFLICT when the id exists. Blocks for a commit: never on a worker or
 * the loop, so use the asynchronous form there. */
void store_create(struct store *s, const struct store_create *c,
                  void (*done)(void *arg, int64_t number, const struct err *e), void *arg);

/* Reads (blocking on the disk). ERR_NOT_FOUND. */
bool store_get(struct store *s, const struct uuid *id, struct arena *arena, struct store_row *row,
               struct err **e);

enum store_order { STORE_CREATED_ASC, STORE_CREATED_DESC, STORE_UPDATED_ASC, STORE_UPDATED_DESC };
struct store_list {
    enum store_kind kind;
    int status; /* -1: any */
    enum store_order order;
    const struct uuid *from; /* first item (inclusive), or NULL */
    size_t skip;             /* so many items are passed over first */
    size_t limit;            /* ≤ STORE_LIST_MAX */
};
/* `*next` is the first item of the next page; `*more` says whether there is one. */
bool store_list(struct store *s, const struct store_list *query, struct arena *arena, struct store_row **rows,
                size_t *n, struct uuid *next, bool *more, struct err **e);
bool store_count(struct store *s, enum store_kind kind, int status, int64_t *count, struct err **e);
/* The youngest row made with one of these places; the first place that has any decides. ERR_NOT_FOUND. A copy has its
 * source's place. */
bool store_find_place(struct store *s, const struct str *places, size_t n, struct uuid *id, struct err **e);
/* Ids with a status, oldest first, for repair after start. */
bool store_ids_with_status(struct store *s, int status, struct uuid *ids, size_t max, size_t *n,
                           struct err **e);

/* ---- ownership ---- */

/* Claims a conversation: the answer's token fences every later commit. Fails with ERR_LOST while another live owner
 * holds it (`owner` names the claimer; the same owner claims again freely and gets a new token). Asynchronous like a
 * commit. Leases run on the store's clock; an owner renews before STORE_LEASE_MS. */
void store_claim(struct store *s, int64_t number, struct str owner,
                 void (*done)(void *arg, uint64_t token, const struct err *e), void *arg);
void store_renew(struct store *s, struct str owner); /* all that this owner holds */
void store_release(struct store *s, int64_t number, uint64_t token);

/* ---- the one way to write ---- */

struct store_event {
    struct uuid id;        /* unique within its conversation */
    uint8_t kind, source;  /* the owner's numbering; for filters */
    int64_t time_us;       /* UTC, for filters */
    uint32_t branch;       /* 0: the root branch */
    bool on_branch;        /* false for state updates: not part of any path */
    struct bytes *json;    /* whole text; one reference is given with the commit */
    struct bytes *reduced; /* for sockets and pages when the whole is too large for them; or NULL */
    /* Text that the `body` filter looks in (messages), or STR_NONE; lower-cased by the store. */
    struct str search_text;
    struct str side; /* side record: what the other dialect needs; or STR_NONE */
};

struct store_usage { /* one model call */
    struct str usage_id, model, response_id;
    double cost, seconds;
    int64_t prompt, completion, cache_read, cache_write, reasoning, context_window, time_us;
};

struct store_branch { /* a new branch: leaves `parent` behind event `at_seq` (-1: before the first) */
    uint32_t branch, parent;
    int64_t at_seq;
};

#define STORE_SET_STATUS 1u
#define STORE_SET_LEAF 2u  /* leaf_seq and branch */
#define STORE_SET_TITLE 4u /* STR_NONE: null */
#define STORE_SET_STATE 8u
#define STORE_SET_CONFIG 16u
#define STORE_TOUCH 32u /* updated_us */

struct store_delta {
    unsigned set;
    int status;
    int64_t leaf_seq;
    uint32_t branch;
    struct str title, state, config; /* borrowed until done */
    int64_t updated_us;
};

enum store_result {
    STORE_DONE,
    STORE_ALREADY_DONE, /* a retry of a commit that had happened */
    STORE_LOST,         /* the token is not the owner's any more, or the row is gone */
    STORE_FAILED,       /* nothing of it happened; see the error */
};

/* Filled by the caller, which keeps it and everything it points to until `done`. Commits of one conversation are done in
 * the order submitted; when one fails, later ones of that conversation that were queued behind it fail too (their
 * expected_seq no longer fits), others in the group are unaffected. */
struct store_commit {
    int64_t number;
    uint64_t token;
    uint64_t commit_id;    /* random; recognises a retry */
    uint32_t expected_seq; /* seq of the first event; next_seq of the row when there are none */
    const struct store_event *events;
    size_t event_count; /* may be 0 */
    struct store_delta delta;
    const struct store_usage *usage;
    size_t usage_count;
    const struct store_branch *branches;
    size_t branch_count;
    void (*done)(struct store_commit *c, enum store_result result, const struct err *e); /* writer thread */
    void *arg;
    struct store_commit *next; /* the store's */
};
/* False (ERR_BUSY) when the queue is full, ERR_IO right away while the store refuses writes after a disk error and its
 * probe has not succeeded yet; then `done` is not called. */
bool store_commit(struct store *s, struct store_commit *c, struct err **e);

/* ---- reading events (blocking on the disk) ---- */

struct store_item {
    uint32_t seq;
    struct uuid id;
    uint8_t kind, source;
    int64_t time_us;
    uint32_t branch;
    bool on_branch, is_reduced;
    struct str json; /* reduced text where there is one, unless the whole was asked for */
    struct str side;
};

/* Events seq in [from, to) in order, at most `max` and about STORE_PAGE_BYTES. */
bool store_read(struct store *s, int64_t number, uint32_t from, uint32_t to, size_t max, bool whole,
                struct arena *arena, struct store_item **items, size_t *n, struct err **e);
/* Events of one branch's own range: seq in [from, to), on that branch, in order, the whole text: what a model is shown. */
bool store_read_branch(struct store *s, int64_t number, uint32_t branch, uint32_t from, uint32_t to,
                       size_t max, struct arena *arena, struct store_item **items, size_t *n, struct err **e);
bool store_branches(struct store *s, int64_t number, struct arena *arena, struct store_branch **branches,
                    size_t *n, struct err **e);

struct store_filter {
    int kind, source;           /* -1: any */
    int64_t since_us, until_us; /* [since, until); INT64_MIN and INT64_MAX: open */
    struct str body;            /* case-insensitive substring of search_text; STR_NONE: any */
    bool descending;
    /* First candidate (inclusive) in the direction; -1: from the end that the order starts at. */
    int64_t from_seq;
    size_t skip;      /* so many matches are passed over first */
    size_t limit;     /* ≤ STORE_LIST_MAX */
    size_t bytes_max; /* stop early once this much text is in the page (at least one item); 0: none */
};
/* `*next_seq` is the first match of the next page or -1. */
bool store_search(struct store *s, int64_t number, const struct store_filter *filter, struct arena *arena,
                  struct store_item **items, size_t *n, int64_t *next_seq, struct err **e);
bool store_count_events(struct store *s, int64_t number, const struct store_filter *filter, int64_t *count,
                        struct err **e);
/* id → event; ERR_NOT_FOUND. */
bool store_find(struct store *s, int64_t number, const struct uuid *id, bool whole, struct arena *arena,
                struct store_item *item, struct err **e);

/* Sums per usage id, in order of first use. */
struct store_usage_sum {
    struct str usage_id, model, last_response_id;
    double cost;
    int64_t calls, prompt, completion, cache_read, cache_write, reasoning, context_window, last_prompt,
        last_completion;
};
bool store_usage_sums(struct store *s, int64_t number, struct arena *arena, struct store_usage_sum **sums,
                      size_t *n, struct err **e);
bool store_usage_read(struct store *s, int64_t number, size_t max, struct arena *arena,
                      struct store_usage **calls, size_t *n, struct err **e);

/* ---- delete and copy, in slices ---- */

/* The row vanishes at once (its id may be created again); events go in slices in the background, also after a restart. */
void store_delete(struct store *s, int64_t number, void (*done)(void *arg, const struct err *e), void *arg);
/* Copies events [0, to) into a new row that becomes visible when complete. */
void store_copy(struct store *s, int64_t from, uint32_t to, const struct store_create *into,
                void (*done)(void *arg, int64_t number, const struct err *e), void *arg);

/* Makes an unfinished row the conversation `id`, at once. `place` as for store_create. ERR_CONFLICT when the id exists,
 * ERR_LOST when the token is not the owner's, ERR_INVALID when the row is not unfinished. */
void store_publish(struct store *s, int64_t number, uint64_t token, const struct uuid *id, struct str place,
                   void (*done)(void *arg, const struct err *e), void *arg);

/* ---- blobs and documents ---- */

/* Content is durable when `done` is called. The id is made by the caller. Takes one reference of `content`. */
void store_blob_put(struct store *s, int64_t number, const struct uuid *id, struct bytes *content,
                    void (*done)(void *arg, const struct err *e), void *arg);
bool store_blob_get(struct store *s, int64_t number, const struct uuid *id, struct buf *out, struct err **e);

/* Key–value documents: settings, profiles, secrets, feedback. `space` and `key` ≤ 256 bytes. */
void store_doc_put(struct store *s, struct str space, struct str key, struct str value,
                   void (*done)(void *arg, const struct err *e), void *arg);
void store_doc_delete(struct store *s, struct str space, struct str key,
                      void (*done)(void *arg, const struct err *e), void *arg);
bool store_doc_get(struct store *s, struct str space, struct str key, struct buf *out, struct err **e);
bool store_doc_keys(struct store *s, struct str space, struct arena *arena, struct str **keys, size_t *n,
                    struct err **e);

/* `fn` runs on the writer thread after each group, once per conversation that got events in it. One watcher. */
void store_watch(struct store *s, void (*fn)(void *arg, int64_t number, uint32_t next_seq), void *arg);

/* For benches and /server_info. */
struct store_stats {
    uint64_t groups, commits, events;
    uint64_t writer_cpu_ns; /* of the writer thread */
};
void store_stats_get(struct store *s, struct store_stats *out);
