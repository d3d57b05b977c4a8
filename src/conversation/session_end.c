/* session_end: SessionEnd hooks. A session is open from a conversation's first run in this process until it is deleted, leaves
 * memory, or the server ends. Nobody waits for these hooks but the server's own end, and that not for long. They run one
 * after the other by callbacks on the loop. What they did is in the log, unless the conversation is gone. */
#include "agent/hook/run.h"
#include "base/log.h"
#include "conversation/internal.h"

#define CLOSE_MS 1000  /* that the server's end waits for them */
#define CLOSE_MAX 1000 /* sessions ended at once then; further ones just end */

struct session_end {
    struct conversation *c; /* a reference */
    struct config *config;  /* likewise */
    struct mask *mask;      /* likewise */
    struct arena *arena;
    const struct hook *const *hooks;
    size_t n, next;
    struct hand_spec hand;
    bool own_hand; /* that hand is for this alone */
    struct buf input;
    struct event_drafts drafts;
    bool closing; /* the server's end waits */
    char id[UUID_DASHED_LEN + 1];
};

static const struct hook_call session_call = {.event = HOOK_SESSION_END};

static void closed(struct conversations *s)
{
    void (*done)(void *arg) = steal(s->closed);
    loop_timer_cancel(s->config.loop, s->ends_timer);
    s->ends_timer = 0;
    if (done)
        done(s->closed_arg);
}

static void session_append(struct session_end *end)
{
    autoerr e = NULL;
    struct conversation *c = end->c;
    bool gone = false;
    if (atomic_load(&c->service->closing) && !c->service->closed)
        return; /* nobody waits any more, and the store may be gone */
    WITH_LOCK(&c->lock)
    {
        gone = c->deleted || c->lost;
        if (!gone)
            append_locked(c, end->drafts.at, end->drafts.n, NULL, NULL, NULL, NULL, &e);
    }
    if (e)
        log_warn("conversation %s: its SessionEnd hooks could not be recorded: %s", end->id, e->text);
}

static void session_over(struct session_end *end)
{
    struct conversations *s = end->c->service;
    bool last = end->closing && --s->ends == 0;
    if (end->drafts.n > 0)
        session_append(end);
    if (end->own_hand)
        hand_end(s->config.hands, &end->hand.id);
    event_drafts_deinit(&end->drafts);
    buf_deinit(&end->input);
    arena_free(end->arena);
    mask_unref(end->mask);
    config_unref(end->config);
    conversation_unref(end->c);
    free(end);
    if (last)
        closed(s);
}

static void session_go_on(struct session_end *end);

static void hook_over(void *arg, struct hand_spawn *spawn, const struct err *e)
{
    struct session_end *end = arg;
    const struct hook *hook = end->hooks[end->next++];
    struct hook_result r = {0};
    hook_result_take(&r, hook, spawn, e, end->mask);
    r.blocked = false; /* the end cannot be held up */
    hook_draft_add(hook, &session_call, &r, end->mask, &end->drafts);
    hook_result_deinit(&r);
    session_go_on(end);
}

/* A hook that is not waited for, or that is no command. */
static void hook_passed(struct session_end *end, const struct hook *hook)
{
    struct hook_result r = {.success = hook->async, .exit_code = hook->async ? 0 : -1};
    if (!hook->async)
        buf_add_cstr(&r.error, HOOK_UNSUPPORTED);
    hook_draft_add(hook, &session_call, &r, end->mask, &end->drafts);
    hook_result_deinit(&r);
}

static void session_go_on(struct session_end *end)
{
    struct hands *hands = end->c->service->config.hands;
    for (; end->next < end->n; end->next++) {
        const struct hook *hook = end->hooks[end->next];
        struct hand_spawn spawn = {.input = buf_str(&end->input),
                                   .timeout_ms = (uint64_t)hook->timeout_s * 1000,
                                   .output_max = hook->async ? 0 : HOOK_OUTPUT_MAX};
        autobuf fields = {0};
        if (hook->type == HOOK_COMMAND) {
            hook_spawn_fields(&fields, hook->command, hook->async, str_from(end->id), end->hand.working_dir,
                              HOOK_SESSION_END, STR_NONE);
            hand_spawn_start(hands, &end->hand, &fields, &spawn, hook->async ? NULL : hook_over, end);
            if (!hook->async)
                return;
        }
        hook_passed(end, hook);
    }
    session_over(end);
}

static void session_begin(void *arg)
{
    session_go_on(arg);
}

/* NULL: there is nothing to run. */
static struct session_end *session_new(struct conversation *c, bool deleted)
{
    struct state *state = NULL;
    if (!atomic_exchange(&c->session_open, false))
        return NULL;
    struct session_end *end = xcalloc(1, sizeof(*end));
    end->c = conversation_ref(c);
    end->arena = arena_new();
    state = committed_get(c);
    end->config = config_ref(state->config);
    state_unref(state);
    end->mask = conversation_mask(c, end->config);
    end->hooks = hook_config_select(end->config->hooks, HOOK_SESSION_END, STR_NONE, end->arena, &end->n);
    uuid_dashed(&c->id, end->id);
    /* The hand of a deleted conversation ends with it, and its id may be used anew at once. */
    end->own_hand = deleted;
    end->hand =
        (struct hand_spec){.id = deleted ? uuid_random() : c->id, .working_dir = end->config->working_dir};
    WITH_LOCK(&c->lock)
    end->hand.owner_token = c->token;
    hook_input_write(&session_call, str_from(end->id), end->hand.working_dir, &end->input);
    return end;
}

bool session_end(struct conversation *c, bool deleted)
{
    struct session_end *end = session_new(c, deleted);
    if (end)
        loop_call(c->service->config.loop, session_begin, end);
    return end != NULL;
}

/* ---- the server's end ---- */

static void close_expired(void *arg)
{
    struct conversations *s = arg;
    log_warn("%zu conversations' SessionEnd hooks were not done in time", s->ends);
    closed(s);
}

void sessions_close(struct conversations *s)
{
    VEC(struct session_end *) ends = {0};
    WITH_LOCK(&s->lock)
    {
        size_t cursor = 0;
        void *value;
        while (ends.n < CLOSE_MAX && map_next(s->open, &cursor, NULL, &value)) {
            struct conversation *c = value;
            struct session_end *end = c->ready ? session_new(c, false) : NULL;
            if (end)
                vec_push(&ends, end);
        }
    }
    if (ends.n == 0) {
        closed(s);
        return;
    }
    s->ends = ends.n;
    s->ends_timer = loop_timer(s->config.loop, CLOSE_MS, close_expired, s);
    for (size_t i = 0; i < ends.n; i++) {
        ends.at[i]->closing = true;
        loop_call(s->config.loop, session_begin, ends.at[i]);
    }
    vec_deinit(&ends);
}
