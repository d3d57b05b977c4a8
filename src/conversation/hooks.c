/* hooks: where a conversation's hooks run. All but SessionEnd run on the run's own thread, at the places of its loop that
 * this file fills; those around a tool run with the tool (agent/hook/run.h). What the log says decides what has been run:
 * nothing about it is kept anywhere else. */
#include "agent/hook/run.h"
#include "conversation/turn.h"

#define BLOCKED_MAX 100 /* of each kind are kept in the state; older ones are in the log */
#define STOP_REASON "agent_finished"
#define GO_ON "A Stop hook does not let you finish yet: "

static bool has_hooks(const struct turn *t, enum hook_event event)
{
    autoarena arena = arena_new();
    size_t n = 0;
    if (t->config->hooks)
        hook_config_select(t->config->hooks, event, STR_NONE, arena, &n);
    return n > 0;
}

/* ---- what was blocked ---- */

/* `old` with one more, without the oldest if there are too many. */
static struct bytes *blocked_with(const struct bytes *old, const struct uuid *id, struct str reason)
{
    autojson doc = old ? json_parse_trusted(bytes_str(old), NULL) : NULL;
    size_t n = json_count(json_root(doc)), skip = n >= BLOCKED_MAX ? n + 1 - BLOCKED_MAX : 0;
    autobuf text = {0};
    char id_text[UUID_DASHED_LEN + 1];
    struct json_writer w = json_writer(&text);
    jw_object(&w);
    for (struct json_iter it = json_iter(json_root(doc)); json_next(&it);)
        if (it.index >= skip) {
            jw_key_str(&w, it.key);
            jw_value(&w, it.value);
        }
    jw_key_str(&w, uuid_dashed(id, id_text));
    jw_str(&w, reason);
    jw_object_end(&w);
    return bytes_take(&text);
}

void turn_hooks_blocked(void *arg, enum hook_event event, const struct uuid *id, struct str reason)
{
    struct turn *t = arg;
    bool action = event == HOOK_PRE_TOOL_USE;
    struct bytes **pending = action ? &t->blocked_actions : &t->blocked_messages;
    struct bytes *stored = action ? t->state->doc->blocked_actions : t->state->doc->blocked_messages;
    struct bytes *now = blocked_with(*pending ? *pending : stored, id, reason);
    bytes_unref(*pending);
    *pending = now;
}

size_t turn_hooks_updates(struct turn *t, struct event_draft drafts[static 2])
{
    const struct bytes *const values[] = {t->blocked_actions, t->blocked_messages};
    static const char *const keys[] = {"blocked_actions", "blocked_messages"};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        if (!values[i])
            continue;
        event_draft_init(&drafts[n], EVENT_STATE_UPDATE, SOURCE_ENVIRONMENT);
        event_state_update_body(&drafts[n++], keys[i], bytes_str(values[i]));
    }
    return n;
}

/* Under the append lock. */
void turn_hooks_apply(struct turn *t, struct state *next)
{
    if (!t->blocked_actions && !t->blocked_messages)
        return;
    struct doc *doc = doc_copy(next->doc);
    if (t->blocked_actions) {
        bytes_unref(doc->blocked_actions);
        doc->blocked_actions = bytes_ref(t->blocked_actions);
    }
    if (t->blocked_messages) {
        bytes_unref(doc->blocked_messages);
        doc->blocked_messages = bytes_ref(t->blocked_messages);
    }
    state_set_doc(next, doc);
}

void turn_hooks_clear(struct turn *t)
{
    bytes_unref(steal(t->blocked_actions));
    bytes_unref(steal(t->blocked_messages));
}

/* ---- the beginning of a step ---- */

/* Runs a moment's hooks and commits what they did, also when an interrupt cut them short. */
static bool run_and_append(struct turn *t, const struct hook_call *call, struct hook_verdict *verdict,
                           struct err **e)
{
    struct event_drafts drafts = {0};
    bool ok = hooks_run(&t->host, call, &drafts, verdict, e);
    if (ok && verdict->blocked && call->event == HOOK_USER_PROMPT_SUBMIT)
        turn_hooks_blocked(t, call->event, call->message_id, buf_str(&verdict->reason));
    if (drafts.n > 0)
        ok &= turn_append(t, drafts.at, drafts.n, NULL, ok ? e : NULL);
    event_drafts_deinit(&drafts);
    return ok;
}

static bool session_start(struct turn *t, struct err **e)
{
    if (view_session_started(t->view) || !has_hooks(t, HOOK_SESSION_START))
        return true;
    struct hook_verdict verdict = {0};
    struct hook_call call = {.event = HOOK_SESSION_START};
    bool ok = run_and_append(t, &call, &verdict, e);
    hook_verdict_deinit(&verdict);
    return ok;
}

static bool prompts_submit(struct turn *t, struct err **e)
{
    bool ok = true;
    if (!has_hooks(t, HOOK_USER_PROMPT_SUBMIT))
        return true;
    while (ok) {
        struct uuid id;
        autobuf message = {0};
        if (!view_prompt_next(t->view, &id, &message))
            break;
        struct hook_verdict verdict = {0};
        struct hook_call call = {
            .event = HOOK_USER_PROMPT_SUBMIT, .message = buf_str(&message), .message_id = &id};
        ok = run_and_append(t, &call, &verdict, e);
        hook_verdict_deinit(&verdict);
    }
    return ok;
}

bool turn_hooks_begin(struct turn *t, struct err **e)
{
    t->finishing = false;
    if (has_hooks(t, HOOK_SESSION_END))
        atomic_store(&t->c->session_open, true);
    return !t->config->hooks || (session_start(t, e) && prompts_submit(t, e));
}

/* ---- the end of a run ---- */

/* In the last iteration that the run has there is no other to go on with: its end is not asked about. */
bool turn_hooks_hold(struct turn *t, const struct agent_update *update, struct agent_update *held)
{
    if (!update || update->status != STATUS_FINISHED || t->iterations + 1 >= t->config->max_iterations ||
        !has_hooks(t, HOOK_STOP))
        return false;
    *held = *update;
    held->status = 0;
    t->finishing = true;
    return true;
}

bool turn_hooks_stop(struct turn *t, struct err **e)
{
    if (!t->finishing)
        return true;
    t->finishing = false;
    struct event_drafts drafts = {0};
    struct hook_verdict verdict = {0};
    struct hook_call call = {.event = HOOK_STOP, .reason = STR(STOP_REASON)};
    bool ok = hooks_run(&t->host, &call, &drafts, &verdict, e), denied = ok && verdict.blocked;
    if (denied) {
        autobuf text = {0};
        struct event_draft d;
        buf_add(&text, STR(GO_ON));
        buf_add(&text, buf_str(verdict.context.n > 0 ? &verdict.context : &verdict.reason));
        event_draft_init(&d, EVENT_MESSAGE, SOURCE_ENVIRONMENT);
        event_message_body(&d, "user", buf_str(&text));
        vec_push(&drafts, d);
    }
    struct agent_update update = {.status = ok && !denied ? STATUS_FINISHED : 0};
    if (drafts.n > 0 || update.status)
        ok &= turn_append(t, drafts.at, drafts.n, &update, ok ? e : NULL);
    event_drafts_deinit(&drafts);
    hook_verdict_deinit(&verdict);
    return ok;
}
