/* internal: what the files of conversation/ share. Lock order: registry lock, then a conversation's append lock, then
 * its snapshot lock; the store's queue and the loop's are inside all of them. */
#pragma once
#include "conversation/conversation.h"
#include "conversation/state.h"
#include "base/map.h"
#include "base/thread.h"
#include "base/vec.h"

struct waiter { /* of an open that is under way */
    struct waiter *next;
    void (*done)(void *arg, struct conversation *c, const struct err *e);
    void *arg;
};

struct conversations {
    struct conversations_config config;
    char owner[33];           /* names this process in claims */
    pthread_mutex_t lock;     /* registry */
    struct map *open;         /* 16 bytes of id → struct conversation (opening or ready) */
    atomic_size_t tail_bytes; /* of all tails */
    atomic_size_t runs;       /* threads */
    atomic_bool closing;
    uint64_t sweep_timer;      /* loop: eviction */
    uint64_t renew_timer;      /* loop: leases */
    void (*closed)(void *arg); /* loop: set by conversations_close */
    void *closed_arg;
};

/* Recent committed events, for sockets and runs. */
struct tail_item {
    uint32_t seq;
    enum event_kind kind;
    bool on_branch;
    struct bytes *json, *reduced;
};
struct tail {
    VEC(struct tail_item) items; /* dense in seq */
    size_t head;                 /* items before it are gone */
    size_t bytes;
};

struct run {                           /* one run thread */
    struct conversation *conversation; /* a reference */
    struct mailbox *mailbox;
    uint64_t answered_ns; /* when the request that started it was answered */
};

struct conversation {
    atomic_uint refs;
    struct conversations *service;
    struct uuid id;
    int64_t number;
    uint64_t token;
    /* registry lock */
    bool ready;
    struct waiter *waiters;
    uint64_t used_ns; /* last use, for eviction */
    /* append lock */
    pthread_mutex_t lock;
    struct state *pending;
    unsigned outstanding; /* commits in the store's queue */
    bool poisoned;        /* one of them failed; pending is set back when the last has answered */
    bool lost, deleted;
    struct run *run;  /* the run thread, or one that starts when its commit is done */
    int64_t wish_seq; /* a message at this seq asked for a run; -1: none. A step that began before it may not
                                      end the run */
    bool interrupt;   /* the run is being cancelled */
    bool pause_instead; /* … for shutdown: a PauseEvent, not an InterruptEvent */
    /* snapshot lock */
    pthread_mutex_t snapshot_lock;
    struct state *committed;
    struct bytes *info; /* of `committed`, made when asked for */
    struct tail tail;
    /* loop */
    struct subscription *subscribers;
    size_t subscriber_count;
    atomic_bool notify_posted;
};

/* registry.c */
void conversations_drop(struct conversation *c); /* out of the registry: lost or deleted */

/* append.c: the one way to write. All under the append lock; `drafts` are emptied. `next` (a changed copy of pending, or
 * NULL) is taken. A changed status adds its state update event behind the drafts. `done` may be NULL. On false nothing
 * was queued and `done` is not called. */
struct append_usage {
    const struct llm_usage *usage;
    struct str model, usage_id;
};
bool append_locked(struct conversation *c, struct event_draft *drafts, size_t n, struct state *next,
                   const struct append_usage *usage, conversation_done done, void *arg, struct err **e);
struct state *committed_get(struct conversation *c); /* a reference */
/* Posts one wake-up of the conversation's subscriptions to the loop. */
void conversation_notify(struct conversation *c);

/* repair.c *worker*: makes the invariant true if it is not: open actions without a run get their errors, status RUNNING
 * without a run becomes ERROR. Queues a commit if needed; later appends go behind it. */
bool conversation_ensure_sound(struct conversation *c, struct err **e);
/* Open actions of the committed log since open_from: drafts that end them. `reason` NULL: rejected by the user. */
enum open_end { OPEN_CRASHED, OPEN_INTERRUPTED, OPEN_FAILED, OPEN_REJECTED };
typedef VEC(struct event_draft) draft_list;
bool open_actions_end(struct conversation *c, enum open_end how, struct str reason, draft_list *drafts,
                      struct err **e);
void draft_list_deinit(draft_list *l);

/* run.c */
/* Under the append lock: makes the run object; the thread starts with run_launch. */
struct run *run_new(struct conversation *c);
void run_launch(struct run *run); /* after its commit is durable and its request answered */
void run_drop(struct run *run);   /* its commit failed */

/* subscription.c, loop */
void subscriptions_wake(struct conversation *c);
void subscriptions_run_ended(struct conversation *c, uint64_t answered_ns);
void subscriptions_close_all(struct conversation *c);
void subscriptions_delta(struct conversation *c, struct bytes *frame); /* takes the reference */

/* tail.c, under the snapshot lock */
void tail_push(struct conversation *c, struct tail_item item);
const struct tail_item *tail_find(const struct tail *t, uint32_t seq); /* NULL: not in it */
void tail_clear(struct conversation *c);
