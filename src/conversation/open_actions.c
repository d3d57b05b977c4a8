#include "conversation/open_actions.h"
#include "base/cleanup.h"

void open_actions_init(struct open_actions *o)
{
    *o = (struct open_actions){.arena = arena_new()};
}

void open_actions_deinit(struct open_actions *o)
{
    arena_free(o->arena);
    vec_deinit(&o->list);
}

bool open_actions_concern(enum event_kind kind)
{
    return kind == EVENT_ACTION || kind == EVENT_OBSERVATION || kind == EVENT_AGENT_ERROR ||
           kind == EVENT_USER_REJECT;
}

/* AgentErrorEvent names the call, not the action: the first open one with that call id is meant. */
static void action_close(struct open_actions *o, const struct json_value *event)
{
    struct uuid id;
    bool by_id = uuid_parse(json_get_str(event, "action_id"), &id);
    struct str call = json_get_str(event, "tool_call_id");
    for (size_t i = 0; i < o->list.n; i++) {
        const struct open_action *a = &o->list.at[i];
        if (by_id ? uuid_eq(&a->id, &id) : str_eq(a->call_id, call)) {
            vec_remove(&o->list, i);
            return;
        }
    }
}

bool open_actions_note(struct open_actions *o, uint32_t seq, enum event_kind kind,
                       const struct json_value *event, struct err **e)
{
    if (!open_actions_concern(kind))
        return true;
    if (kind != EVENT_ACTION) {
        action_close(o, event);
        return true;
    }
    if (json_is_null(json_get(event, "action")))
        return true;
    if (o->list.n == OPEN_ACTIONS_MAX)
        return err_set(e, ERR_TOO_LARGE, "more than %d calls without a result", OPEN_ACTIONS_MAX);
    struct open_action a = {
        .seq = seq,
        .tool_name = arena_str(o->arena, json_get_str(event, "tool_name")),
        .call_id = arena_str(o->arena, json_get_str(event, "tool_call_id")),
    };
    uuid_parse(json_get_str(event, "id"), &a.id);
    vec_push(&o->list, a);
    return true;
}
