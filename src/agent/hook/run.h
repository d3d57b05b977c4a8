/* hook_run: running hooks on a conversation's thread. Each is a process in the workspace by the conversation's hand; the
 * thread waits for it in its mailbox, so that an interrupt ends it at once. Nothing here appends: what happened comes as
 * drafts of HookExecutionEvents, for the caller's next commit. */
#pragma once
#include "agent/agent.h"
#include "agent/hook/hook.h"
#include "workspace/spawn.h"

#define HOOK_UNSUPPORTED                                                                          \
    "This server runs hooks of type 'command' only: this one was not evaluated, and nothing was " \
    "blocked by it."

struct event_drafts { /* for vec.h */
    struct event_draft *at;
    size_t n, cap;
};
void event_drafts_deinit(struct event_drafts *d);

struct hook_verdict {
    size_t ran;         /* 0: there is no hook for this */
    bool blocked;       /* by the last one that ran, for moments at which a hook may block */
    struct buf reason;  /* why, never empty when blocked */
    struct buf context; /* all the hooks' additional contexts, a line feed between them */
};
void hook_verdict_deinit(struct hook_verdict *v);

/* Runs what the host's configuration has for this moment, one after the other, and stops at the first that blocks where
 * blocking means something. False only when interrupted (ERR_CANCELLED): the drafts of what ran until then are there. */
bool hooks_run(const struct agent_host *host, const struct hook_call *call, struct event_drafts *drafts,
               struct hook_verdict *verdict, struct err **e);

/* Around one tool call, on the thread that runs the tool. `before`: when a hook blocks, the call's result is among the
 * drafts, and `blocked` gets the reason. `after`: with the observation that the drafts end with. */
bool hooks_before_tool(const struct agent_host *host, const struct view_action *action,
                       struct event_drafts *drafts, struct buf *blocked, struct err **e);
bool hooks_after_tool(const struct agent_host *host, const struct view_action *action,
                      struct event_drafts *drafts, struct err **e);

/* The fields of a hook's process; `event` and `tool` (may be STR_NONE) for its environment. */
void hook_spawn_fields(struct buf *fields, struct str command, bool async, struct str conversation,
                       struct str working_dir, enum hook_event event, struct str tool);
/* What a process that was one hook's has come to; its outputs are taken. `why` may be NULL. */
void hook_result_take(struct hook_result *r, const struct hook *hook, struct hand_spawn *spawn,
                      const struct err *why, const struct mask *mask);
void hook_draft_add(const struct hook *hook, const struct hook_call *call, const struct hook_result *r,
                    const struct mask *mask, struct event_drafts *drafts);
