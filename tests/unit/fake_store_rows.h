/* fake_store_rows: what the two files of fake_store share. */
#pragma once
#include "fake_store.h"
#include "fake_wait.h"
#include "base/thread.h"
#include "base/vec.h"

struct row {
    int64_t number;
    bool deleted;
    struct uuid id;
    enum store_kind kind;
    int status;
    int64_t created_us, updated_us;
    uint32_t next_seq, branch;
    int64_t leaf_seq;
    struct str title, state, config, place; /* in the store's arena, like all texts here */
    uint64_t token;                         /* 0: nobody's */
    struct str owner;
    VEC(struct store_item) events; /* json: the whole; side unused */
    VEC(struct str) reduced, search;
    VEC(struct store_usage) usage;
    VEC(struct store_branch) branches;
    VEC(uint64_t) done_commits;
};

struct doc_entry {
    struct str space, key, value;
};
struct blob_entry {
    int64_t number;
    struct uuid id;
    struct bytes *content;
};

struct job {
    struct job *next;
    void (*run)(struct store *s, struct job *job);
    struct store_commit *commit;
    struct store_create create;
    int64_t number;
    uint64_t token;
    uint32_t to;
    struct str owner;
    struct uuid id;
    struct bytes *content;
    struct str space, key, value;
    void (*done_number)(void *arg, int64_t number, const struct err *e);
    void (*done_token)(void *arg, uint64_t token, const struct err *e);
    void (*done)(void *arg, const struct err *e);
    void *arg;
};

struct store {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    struct arena *arena;
    struct job *first, **last;
    bool stopping, working, stalled, released, fail_reads;
    unsigned busy, commits, deletes;
    uint64_t last_token;
    VEC(struct row *) rows;
    VEC(struct fake_plan) plans;
    VEC(struct doc_entry) docs;
    VEC(struct blob_entry) blobs;
    struct store_stats stats;
};

/* Under the lock. */
struct row *fake_row(struct store *s, int64_t number);
struct row *fake_row_by_id(struct store *s, const struct uuid *id);
void fake_job_add(struct store *s, struct job job);
struct str fake_keep(struct store *s, struct str text);
