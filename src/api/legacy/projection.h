/* projection: what a stored event is in the 0.53 dialect: 0 to PROJECTION_MAX events, by a pure function of its text, its
 * side record, its seq, and the events before it that it names. So the list, the trajectory, sockets and `cause` agree for
 * ever. docs/legacy-events.md has the table of what becomes what.
 *
 * What it does not know, or what is no event at all (import may bring anything), becomes nothing. Any thread. */
#pragma once
#include "store/store.h"

#define PROJECTION_MAX \
    16 /* events of one; its k-th has the id seq × PROJECTION_MAX + k: gaps are legal there */

/* The id of the action that a call becomes: always its first event. */
static inline int64_t projection_id(uint32_t seq, unsigned k)
{
    return (int64_t)seq * PROJECTION_MAX + k;
}

struct projected {
    int64_t id;
    const char *source; /* agent, user, environment */
    const char *name;   /* of the action or observation: run, message, agent_state_changed … */
    bool is_observation;
    struct str timestamp; /* local, without a zone; or STR_NONE */
    struct str json;
};

struct projection {
    struct buf text;      /* of all of them … */
    struct buf timestamp; /* … and the event's */
    size_t n;
    struct projected at[PROJECTION_MAX];
};
/* Where the events are that one names: the call that it answers, those that a condensation forgets. */
struct projection_log {
    struct store *store; /* NULL: nowhere; what they would tell is left out */
    int64_t number;
};
/* Fills `*p` anew; its texts are valid until the next call. A zeroed projection is empty. False only when the log cannot be
 * read. Blocks on the disk. */
bool projection_make(struct projection *p, const struct projection_log *log, struct str event,
                     struct str side, uint32_t seq, struct err **e);
void projection_deinit(struct projection *p);
#define autoprojection __attribute__((cleanup(projection_deinit))) struct projection
