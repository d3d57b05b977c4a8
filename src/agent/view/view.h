/* view: what the model gets to see of the active path, and what is open on it. Built from events in path order at the
 * start of a run and kept by its thread only; it holds nothing that the log does not have.
 *
 * Each tool result is placed directly behind its call, whatever the log's order; a call id seen before is replaced by a
 * fresh one. Condensations hide what they forget and put their summary in. */
#pragma once
#include "agent/event.h"
#include "llm/llm.h"

struct view;

struct view_action { /* borrowed from the view until it changes */
    struct uuid id;
    struct str tool_name, tool_call_id, security_risk;
    const struct json_value *event;  /* the ActionEvent */
    const struct json_value *action; /* its action object; never null for an open action */
};

struct view *view_new(void);
void view_free(struct view *v);
/* Adds the next event of the path. State updates and other events without a place in it are ignored. Text that does not
 * parse (it is ours) is ERR_INTERNAL. */
bool view_add(struct view *v, enum event_kind kind, struct str json, struct err **e);
uint64_t view_turns(const struct view *v); /* assistant answers so far (distinct llm_response_id) */
/* Actions without a result, in call order. */
size_t view_open(const struct view *v);
void view_open_get(const struct view *v, size_t index, struct view_action *out);
/* Messages for the model, in the arena (texts borrowed from the view). `max_chars` cuts each tool text in the middle. */
void view_messages(const struct view *v, int64_t max_chars, struct arena *arena,
                   const struct llm_message **messages, size_t *n);

/* view_hooks.c: what the log says of hooks. The oldest message of the user that no UserPromptSubmit hook has seen, with its
 * texts in a row; was the newest message blocked, with nothing after it; and has SessionStart been. */
bool view_prompt_next(const struct view *v, struct uuid *id, struct buf *text);
bool view_prompt_blocked(const struct view *v);
bool view_session_started(const struct view *v);

/* Stuck detection over the last 20 events behind the last user message (reference §7.7). */
enum stuck { STUCK_NO, STUCK_NUDGE, STUCK_YES };
/* For STUCK_NUDGE and STUCK_YES `why` gets a text for the model or the log. */
enum stuck view_stuck(const struct view *v, struct buf *why);
