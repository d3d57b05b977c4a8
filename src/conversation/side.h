/* side: the small record that is stored beside an event for the dialect of 0.53 (api/legacy/projection.h reads it): what
 * cannot be seen in the event alone. A JSON object, often none:
 *
 *   cause          seq of the action that a result answers; again: [seq, i] if that was the i-th of the `confirmed` there
 *   calls          how many calls the model's answer made; confirm: they wait for the user's word
 *   usage          what the conversation has cost so far, with this answer: model, cost, tokens
 *   confirmed      seqs of the commands that a change of the status confirms
 *   was            the status before a change of it; said: the agent has answered in words; stopped: it was interrupted;
 *   reason         why it is an error
 *
 * A tracker knows the calls without a result; it is guarded by whatever guards the log (the append lock), and an import has
 * one of its own. Nothing in it lasts: what it does not know is left out. */
#pragma once
#include "agent/event.h"
#include "base/vec.h"
#include "conversation/state.h"

#define SIDE_CALLS_MAX 1000  /* remembered; older ones are forgotten */
#define SIDE_REASON_MAX 1000 /* bytes */
#define SIDE_CONFIRMED_MAX 8 /* commands of one answer */

struct side_call {
    struct uuid id;
    char *call_id;           /* as it stands in the JSON */
    uint32_t seq, closed_by; /* of its result, while that might not come to be; 0: it has none */
    bool is_command;
    uint32_t confirmed_by; /* seq of the change that did it; 0: none */
    unsigned confirmed_place;
};
struct side_tracker {
    VEC(struct side_call) calls;
    bool said; /* the agent's latest event is a message */
};
void side_deinit(struct side_tracker *t);
/* The events from `seq` on never came to be. */
void side_drop_from(struct side_tracker *t, uint32_t seq);
/* An action of the log that has no result yet. `call_id` in clear. */
void side_note_open(struct side_tracker *t, const struct uuid *id, struct str call_id, struct str tool_name,
                    uint32_t seq);

/* What one commit knows of all its events. */
struct side_commit {
    const struct event_draft *drafts;
    size_t n;
    enum status before, after;
    const struct stats *stats; /* with the commit's usage */
};
/* Adds the record of the event with `seq`, in the order of the log; nothing if it needs none. */
void side_write(struct side_tracker *t, const struct side_commit *commit, const struct event_draft *d,
                uint32_t seq, struct buf *out);
