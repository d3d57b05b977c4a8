/* import_internal: what the files of an import share. */
#pragma once
#include "base/thread.h"
#include "conversation/import.h"
#include "conversation/import_cost.h"
#include "conversation/import_event.h"
#include "conversation/import_tree.h"
#include "conversation/open_actions.h"
#include "conversation/side.h"
#include "conversation/state.h"

/* One commit: so many events, or about so many bytes. */
#define IMPORT_BATCH_EVENTS 200
#define IMPORT_BATCH_BYTES (1024 * 1024)
#define IMPORT_BATCHES_MAX 4 /* in the store's queue */

struct import_batch {
    struct store_commit commit;
    struct import *import;
    VEC(struct store_event) events;
    VEC(struct store_usage) usage;
    VEC(struct store_branch) branches;
    size_t bytes;
};

struct import {
    struct import_target target;
    struct uuid id;
    struct import_notes notes;
    struct buf problem;
    /* what base_state.json and meta.json say */
    struct json_doc *state_doc, *meta_doc;
    const struct json_value *state, *meta;
    struct config *config;
    struct doc *doc;
    enum status status;
    int64_t created_us, updated_us; /* 0: as the events say */
    /* the log */
    struct import_clock clock;
    struct import_tree tree;
    struct open_actions open; /* of all branches together */
    struct side_tracker side;
    struct import_costs *costs;
    struct import_batch *batch;
    uint32_t next_seq, queued_branches;
    int64_t last_node; /* where a log stands that does not say; -1: nowhere */
    struct uuid leaf_id;
    bool broken; /* cannot be finished */
    /* the store */
    int64_t number; /* 0: no row yet */
    uint64_t token;
    bool published;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned outstanding;
    struct err *failed; /* of a commit */
};

/* import_state.c: decodes the two files. */
bool import_state_read(struct import *m, int64_t changed_us, struct err **e);
/* Model calls, into the batch; queues it when it is full. */
bool import_usage(struct import *m, struct err **e);

/* import_commit.c */
/* Queues what the batch has, making the row first; waits while too much is queued. */
bool import_flush(struct import *m, struct err **e);
bool import_settle(struct import *m, struct err **e); /* waits until all of it is stored */
bool import_publish(struct import *m, struct err **e);
void import_discard(struct import *m);
struct import_batch *import_batch_get(struct import *m);
void import_batch_free(struct import_batch *b);
