/* open_actions: which calls of a stretch of the log have no result yet. One thread. */
#pragma once
#include "agent/event.h"
#include "base/arena.h"
#include "base/vec.h"

#define OPEN_ACTIONS_MAX 10000 /* at once; the log of an agent never has so many */

struct open_action {
    struct uuid id;
    uint32_t seq;
    struct str tool_name, call_id; /* in the arena */
};
struct open_actions {
    struct arena *arena;
    VEC(struct open_action) list; /* in call order; one that gets its result leaves */
};
void open_actions_init(struct open_actions *o);
void open_actions_deinit(struct open_actions *o);
/* Takes the next event of the stretch. ERR_TOO_LARGE past OPEN_ACTIONS_MAX. */
bool open_actions_note(struct open_actions *o, uint32_t seq, enum event_kind kind,
                       const struct json_value *event, struct err **e);
/* Do events of this kind open or close anything? */
bool open_actions_concern(enum event_kind kind);
