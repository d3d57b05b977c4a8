/* internal: what the files of conversation/ share. Lock order: registry lock, then a conversation's append lock, then
 * its snapshot lock; the store's queue and the loop's are inside all of them. */
#pragma once
#include "conversation/conversation.h"
#include "conversation/side.h"
#include "conversation/state.h"
#include "mcp/mcp.h"
#include "base/map.h"
#include "base/thread.h"
#include "base/vec.h"

struct waiter { /* of an open that is under way */
    struct waiter *next;
    void (*done)(void *arg, struct conversation *c, const struct err *e);
    void *arg;
};

struct aside {             /* a model call beside the runs */
    uint64_t number, call; /* `call`: what outward knows it by, once it does */
};

struct conversations {
    struct conversations_config config;
    char owner[33];           /* names this process in claims */
    pthread_mutex_t lock;     /* registry */
    struct map *open;         /* 16 bytes of id → struct conversation (opening or ready) */
    struct live *live;        /* ids of those in use: live.c */
    atomic_size_t tail_bytes; /* of all tails */
    atomic_size_t runs;       /* threads */
    atomic_bool closing;
    VEC(struct aside) asides; /* registry lock */
    uint64_t aside_number;
    uint64_t sweep_timer;      /* loop: eviction */
    uint64_t renew_timer;      /* loop: leases */
    size_t ends;               /* loop: SessionEnd hooks that the server's end waits for … */
    uint64_t ends_timer;       /* … until then */
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

/* One run: from the moment its start is queued until its thread has left. Everything but the constants is under the
 * append lock. */
struct run {
    struct conversation *conversation; /* a reference */
    /* Not reused in this conversation, but by the next one if this one only condenses: nobody hears of it then. */
    uint64_t number;
    struct mailbox *mailbox;
    bool settle_wanted;   /* the thread waits until nothing is outstanding */
    bool launched;        /* it has a thread */
    unsigned starts;      /* requests to run whose commits are under way or not yet answered */
    unsigned joined;      /* those that are durable */
    bool accepted;        /* started as the answer to a confirmation: may run open actions */
    bool interrupt;       /* cancelled; so is the mailbox */
    bool hand_ended;      /* meanwhile: a call that was on its way may have started it again */
    bool unrecorded;      /* its end could not be stored: the repair tells the sockets, not the run */
    uint64_t answered_ns; /* when the last request that started or joined it was answered */
    struct condense_wish
        *condense; /* who waits for a condensation; what is left at the end is answered then */
};

struct conversation {
    atomic_uint refs;
    struct conversations *service;
    struct uuid id;
    int64_t number;
    uint64_t token;
    /* registry lock */
    bool ready;
    struct waiter *waiters, **waiters_end;
    uint64_t used_ns; /* last use, for eviction */
    /* append lock */
    pthread_mutex_t lock;
    struct state *pending;
    unsigned outstanding; /* commits in the store's queue */
    bool poisoned;        /* one of them failed; pending is set back when the last has answered */
    bool lost, deleted;
    struct run *run;
    struct mcp *mcp;          /* servers of its agent, once a run has begun; or NULL */
    struct project *project;  /* what is read before the first event, or NULL */
    struct side_tracker side; /* for the records beside events */
    int64_t wish_seq;         /* a message at this seq asked for a run that may not have seen it; -1: none */
    bool mending;             /* a repair is on its way … */
    uint64_t mend_run;        /* … of what this run left: the end of a newer one is told by that one */
    atomic_uint_fast64_t run_number; /* of the latest run that clients know of; read anywhere */
    struct mask *looked_up;          /* values of secrets that were fetched; NULL: none */
    bool lookups_begun;              /* a command has been looked through for their names */
    atomic_bool session_open;        /* it has run since it was opened, and SessionEnd hooks have not */
    /* snapshot lock */
    pthread_mutex_t snapshot_lock;
    struct state *committed;
    struct bytes *info; /* of `committed`, made when asked for */
    struct tail tail;
    /* loop */
    struct subscription *subscribers;
    atomic_size_t subscriber_count; /* read anywhere */
    uint64_t mend_timer;            /* holds a reference while it runs */
    atomic_bool notify_posted;
    struct state *frames_of; /* what the two frames below were made from */
    struct bytes *full_frame, *stats_frame;
};

/* lookup.c: the secrets of `config` and what was ever fetched: a reference. Any thread, not under the append lock. */
struct mask *conversation_mask(struct conversation *c, const struct config *config);

/* session_end.c: SessionEnd hooks of a conversation that has run. False: there are none to wait for. Any thread; under no
 * lock but the registry's. */
bool session_end(struct conversation *c, bool deleted);
void sessions_close(struct conversations *s); /* loop, when no run is left: those of all, then s->closed */

/* live.c: ids of conversations in use. Its lock is inside all others. Any thread. */
struct live *live_new(void);
void live_free(struct live *l);
/* Was it there before? */
bool live_add(struct live *l, const struct uuid *id);
bool live_remove(struct live *l, const struct uuid *id);
/* SessionEnd hooks, MCP servers and the hand of a conversation that ends or is deleted. Any thread. */
void conversation_end_session(struct conversation *c);
void conversation_end_hand_again(struct conversation *c); /* unless it was started since */

/* mcp.c: ends the servers; the next run starts them again. Any thread. */
void conversation_mcp_close(struct conversation *c);

/* registry.c */
void conversations_drop(struct conversation *c); /* out of the registry: lost or deleted */

/* append.c: the one way to write. Under the append lock. `next` (a changed copy of pending, or NULL) is taken. A changed
 * status adds its state update event behind the drafts. `done` (may be NULL) runs without any lock when the commit is
 * durable or has failed (ERR_IO, ERR_LOST). On true the drafts are emptied; on false nothing was queued, the drafts stay
 * the caller's and `done` is not called. */
struct append_usage {
    const struct llm_usage *usage;
    struct str model, usage_id;
};
bool append_locked(struct conversation *c, struct event_draft *drafts, size_t n, struct state *next,
                   const struct append_usage *usage, conversation_done done, void *arg, struct err **e);
/* When what follows an event of `last_us` happens. */
int64_t append_later_than(int64_t last_us, int64_t now_us);
struct state *committed_get(struct conversation *c); /* a reference */
/* Posts one wake-up of the conversation's subscriptions to the loop. */
void conversation_notify(struct conversation *c);

typedef VEC(struct event_draft) draft_list;
void draft_list_deinit(draft_list *l);

/* repair.c *worker* */
enum open_end { OPEN_CRASHED, OPEN_INTERRUPTED, OPEN_FAILED, OPEN_REJECTED };
/* What a model or a person reads about a call that has no result; STR_NONE for OPEN_REJECTED. */
struct str open_end_text(enum open_end how);
/* Drafts that end the open actions of the committed log. `reason` for OPEN_REJECTED. */
bool open_actions_end(struct conversation *c, enum open_end how, struct str reason, draft_list *drafts,
                      struct err **e);
/* Tells the side tracker of the open actions of the log. Before the conversation is shared. */
bool open_actions_track(struct conversation *c, struct err **e);
/* Takes the append lock with the invariant true (see repair.c), queueing a repair in front if it was not; `repaired`
 * (may be NULL) tells. On false the lock is not held. */
bool lock_sound(struct conversation *c, bool *repaired, struct err **e);
/* The end of a run could not be recorded: repairs as soon as the store lets it, then tells the sockets. Any thread. */
void conversation_mend(struct conversation *c);
void conversation_mend_stop(struct conversation *c); /* loop; the next start repairs it */

/* control.c *worker*: the first message of a creation that was cut off; nothing if there is none. */
void conversation_send_initial(struct conversation *c, conversation_done done, void *arg);

/* condense.c */
struct condense_wish *condense_take(struct run *run); /* under the append lock */
void condense_answer(struct condense_wish *wishes, const struct err *e);
/* Is this a run that only condenses? Under the append lock. */
bool condense_only(const struct run *run);

/* aside.c: model calls beside the runs, so that a server that stops can end them. Any thread. */
uint64_t aside_begin(struct conversations *s);
void aside_started(struct conversations *s, uint64_t number, uint64_t call); /* what llm_start gave */
void aside_end(struct conversations *s, uint64_t number);
void asides_cancel(struct conversations *s); /* `closing` is set */
/* What such a call cost. */
void conversation_note_usage(struct conversation *c, const struct llm *llm, struct str usage_id,
                             const struct llm_usage *usage);
/* title.c: a title for the first message, by and by. Any thread. */
void conversation_title_begin(struct conversation *c);
/* project.c: files that the configuration asks for, read before the first event. */
bool project_missing(struct conversation *c);
/* Reads them if they are missing; `then` at once or later on a worker, in the order of the calls. */
void project_read(struct conversation *c, void (*then)(void *arg, const struct err *e), void *arg);
/* Under the append lock: the configuration that the next event goes with (borrowed), and the same put into the state that
 * is to be queued with it. */
struct config *project_config(struct conversation *c);
bool project_apply(struct conversation *c, struct state *next, struct err **e);
void project_free(struct project *p);

/* recall.c: skills that a user message mentions. */
struct recalled {
    const struct skill *skill;
    struct str word; /* that it was mentioned by */
};
struct recall {
    struct config *config; /* a reference: it has the skills */
    VEC(struct recalled) found;
};
void recall_init(struct recall *r, struct conversation *c, const struct json_value *message);
void recall_deinit(struct recall *r);
/* Writes the event's activated_skills and extended_content, for those that were not activated before; notes them. */
void recall_write(const struct recall *r, struct doc *doc, struct json_writer *w);
/* Notes skills that the model has loaded, by the observations about to be appended. */
void recall_note_invoked(struct state *next, const struct event_draft *drafts, size_t n);
/* JSON lists of names; NULL is empty. */
bool names_have(const struct bytes *names, struct str name);
struct bytes *names_add(const struct bytes *names, struct str name);

/* run.c */
struct run *run_new(struct conversation *c); /* under the append lock */
void run_launch(struct run *run);            /* once its commit is durable and its request answered */
void run_settle(struct conversation *c);     /* under the append lock: lets a waiting run look again */
void run_interrupt(struct run *run);         /* under the append lock */
/* Its start failed and it never had a thread; `run` is out of the conversation already. Not under the lock. */
void run_discard(struct run *run);

/* subscription.c, loop */
void subscriptions_wake(struct conversation *c);
void subscriptions_run_ended(struct conversation *c, uint64_t run_number, uint64_t answered_ns);
void subscriptions_close_all(struct conversation *c, int code, const char *reason);
/* Takes the reference. `serial` is that of the stats when the model was asked: a later one means that the answer is
 * stored, and the delta is late. */
void subscriptions_delta(struct conversation *c, struct bytes *frame, uint64_t serial);

/* tail.c, under the snapshot lock */
void tail_push(struct conversation *c, struct tail_item item);
const struct tail_item *tail_find(const struct tail *t, uint32_t seq); /* NULL: not in it */
void tail_clear(struct conversation *c);
