/* view_items: how a view is made inside; private to view.c, view_messages.c, condensation.c and stuck.c. */
#pragma once
#include "agent/internal.h"
#include "base/map.h"
#include "base/vec.h"

/* One model-visible event of the path. Texts are borrowed from `doc` or from `text`. */
struct item {
    enum event_kind kind; /* EVENT_CONDENSATION: its summary */
    enum llm_role role;
    struct uuid id;
    struct json_doc *doc; /* NULL for results and system prompts, whose text is in `text` */
    struct buf text;
    struct llm_part *parts;      /* owned */
    size_t part_count, part_cap; /* room of `parts`; 0: not known */
    struct str reasoning;
    /* Actions: the call as the model gets it, and where its result is. */
    struct llm_call call;
    struct str event_call_id, response_id;
    const struct json_value *event, *action;
    struct item *result;
    struct item *next;      /* the answer's next call */
    bool head;              /* first call of its answer */
    struct llm_call *calls; /* of a head: all calls of the answer that have a result; owned */
    /* Results: the action they belong to. */
    struct item *of;
    struct buf cut; /* results: parts[0] cut to `cut_max` characters, made when first asked for;
                                actions: arguments as shown when they are no JSON object */
    int64_t cut_max;
    struct llm_part *shown; /* parts as a message shows them when not as they are: merged or cut; owned */
    size_t shown_cap;
    bool forgotten;
};

/* Messages made before. What is settled cannot change any more, so that a turn costs what is new, not what is old. */
struct built {
    VEC(struct llm_message) messages;
    size_t settled_items, settled_messages;
    int64_t max_chars;
    struct item *first_user; /* of the newest message, if that is the user's */
};

/* What stuck detection remembers of an event. */
struct trace {
    enum event_kind kind;
    enum event_source source;
    uint64_t hash; /* of what the reference compares; 0 for kinds that are only counted */
};
#define TRACES_MAX 20 /* the window of reference §7.7 */

struct view {
    VEC(struct item *) items;
    VEC(struct item *) open;
    struct built *built;
    struct map *calls; /* call ids seen, as a set */
    struct item *last; /* newest item if it is an action, for grouping calls into answers */
    uint64_t turns;
    bool has_system, image_asked, terminal_seen;
    struct buf tasks; /* newest task list, as JSON; it outlives condensations */
    /* Hooks: messages of the user that none has seen; whether the newest of all was blocked and nothing came since. */
    VEC(struct uuid) prompts;
    bool session_started, prompt_blocked;
    /* A ring: `traced` events were ever put in since the last user message. */
    struct trace traces[TRACES_MAX];
    size_t traced;
    struct buf error_tool, error_text; /* of the newest AgentErrorEvent */
    bool condense_requested;           /* a CondensationRequest that no Condensation has followed */
    unsigned condense_requests;        /* since the agent's last answer or the user's last message */
    size_t condense_wait; /* items before which a condensation that failed is not tried again by itself */
};

void item_free(struct item *i);
void item_part_add(struct item *i, struct llm_part part);
/* view_hooks.c. Takes `doc`. */
void view_hook(struct view *v, struct json_doc *doc);
/* What a Condensation calls it: its event's id, or for a summary that of its condensation with an ending. */
#define SUMMARY_ENDING "-summary"
#define ITEM_NAME_MAX (UUID_DASHED_LEN + sizeof(SUMMARY_ENDING))
struct str item_name(const struct item *i, char text[ITEM_NAME_MAX]);
/* condensation.c: hides what a Condensation forgets and puts its summary in. Takes `doc`. */
void view_condense(struct view *v, struct json_doc *doc);
/* stuck.c */
void view_trace(struct view *v, enum event_kind kind, const struct json_value *event);
