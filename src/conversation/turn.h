/* turn: what a run thread works with, and the parts of its work that have files of their own. The thread's alone. */
#pragma once
#include "conversation/internal.h"

struct turn { /* the thread's own */
    struct run *run;
    struct conversation *c;
    struct config *config; /* of this run: a reference, so that texts in it live as long */
    struct state *state;   /* committed, as of the last look */
    struct agent *agent;
    struct view *view;
    struct bytes *analyzer_json; /* of the present step … */
    struct analyzer *analyzer;   /* … made of it when it changed */
    pthread_mutex_t mask_lock;
    VEC(struct mask *) masks;      /* those given to the agent in this run, latest last; under mask_lock */
    VEC(struct mask *) mask_parts; /* what they were made of; the latest's parts are: */
    struct mask *mask_config, *mask_looked_up;
    VEC(char *) looked_up; /* names of secrets fetched in this run; under mask_lock */
    uint32_t view_seq;     /* next event the view wants */
    uint32_t step_seq;     /* view_seq when the present step began */
    uint64_t stats_serial; /* likewise: deltas of this step belong to it */
    struct buf cwd;        /* of the last terminal result on the path */
    struct agent_host host;
    struct mcp *mcp; /* of this run: a reference, or NULL */
    struct mcp_toolbox *toolbox, *toolbox_before;
    uint64_t toolbox_generation;
    bool mcp_waited; /* its first step has given the servers a moment */
    int64_t iterations;
    atomic_bool saved; /* a tool has saved an output */
    bool finishing;    /* the agent has finished, if its Stop hooks agree */
    /* What hooks have blocked and no commit has recorded: values for the doc, or NULL. */
    struct bytes *blocked_actions, *blocked_messages;
    char id[UUID_DASHED_LEN + 1];
};

/* path.c: the view of the active path. */
bool turn_read_path(struct turn *t, uint32_t branch, uint32_t to, struct err **e);
/* Keeps the directory of a terminal result, for a shell that starts anew. What cannot be one (a hand may have said
 * anything) is passed over. */
void turn_note_cwd(struct turn *t, enum event_kind kind, struct str json);
/* Brings the view up to what is committed: the run's own events, and messages that came meanwhile. */
bool turn_catch_up(struct turn *t, struct err **e);

/* turn_append.c: commits drafts (ended either way, also on failure) and waits for it. A full queue makes a run wait
 * (requests get 503). */
bool turn_append(struct turn *t, struct event_draft *drafts, size_t n, const struct agent_update *update,
                 struct err **e);

/* mcp.c: the servers of the agent, and what the next step may use of them. Failures of servers become events; an error is
 * one of the run. */
bool turn_mcp_begin(struct turn *t, struct err **e);
bool turn_mcp_step(struct turn *t, struct err **e);
void turn_mcp_end(struct turn *t);

/* rules.c: puts skills whose path patterns match into the drafts of observations. The names that have come in so far, or NULL
 * if there are no more than before. */
struct bytes *rules_apply(const struct turn *t, struct event_draft *drafts, size_t n);

/* turn_host.c: fills t->host, by which the agent acts. */
void turn_host_init(struct turn *t);

/* hooks.c: hooks at the beginning of a step: SessionStart, and UserPromptSubmit for new messages of the user. */
bool turn_hooks_begin(struct turn *t, struct err **e);
/* Would `update` finish the run while there are Stop hooks to ask? Then `held` is the same without that. */
bool turn_hooks_hold(struct turn *t, const struct agent_update *update, struct agent_update *held);
/* After a step: asks the Stop hooks if the agent has finished, and finishes, or tells it why not. */
bool turn_hooks_stop(struct turn *t, struct err **e);
/* host.blocked */
void turn_hooks_blocked(void *arg, enum hook_event event, const struct uuid *id, struct str reason);
/* Drafts of the state updates that go with what was blocked since the last commit; and the doc's part of it. */
size_t turn_hooks_updates(struct turn *t, struct event_draft drafts[static 2]);
void turn_hooks_apply(struct turn *t, struct state *next);
void turn_hooks_clear(struct turn *t);

/* lookup.c, any thread that runs a tool: host.mask and host.lookup. */
struct mask *turn_mask(struct turn *t);
bool turn_lookup(void *arg, struct mailbox *mailbox, struct str text, bool seen, struct buf *remarks,
                 struct err **e);
void turn_lookup_clear(struct turn *t);
