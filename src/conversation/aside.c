/* aside: model calls beside the runs (titles, questions). They are known by number, because such a call may have ended by
 * the time that its start returns. */
#include "base/log.h"
#include "conversation/internal.h"

/* A call's number as a map keeps it: never NULL. */
static void *call_box(uint64_t call)
{
    return (void *)(uintptr_t)(call + 1);
}

static uint64_t call_of(const void *box)
{
    return (uint64_t)(uintptr_t)box - 1;
}

uint64_t aside_begin(struct conversations *s)
{
    uint64_t number = 0;
    WITH_LOCK(&s->lock)
    {
        number = ++s->aside_number;
        map_u64_put(s->asides, number, call_box(0));
    }
    return number;
}

void aside_started(struct conversations *s, uint64_t aside, uint64_t call)
{
    bool known = false;
    WITH_LOCK(&s->lock)
    {
        known = map_u64_get(s->asides, aside) != NULL;
        if (known)
            map_u64_put(s->asides, aside, call_box(call));
    }
    if (known && call && atomic_load(&s->closing))
        outward_cancel(s->config.llm.outward, call);
}

void aside_end(struct conversations *s, uint64_t aside)
{
    WITH_LOCK(&s->lock)
    map_u64_remove(s->asides, aside);
}

void asides_cancel(struct conversations *s)
{
    VEC(uint64_t) calls = {0};
    WITH_LOCK(&s->lock)
    {
        size_t cursor = 0;
        void *box;
        while (map_u64_next(s->asides, &cursor, NULL, &box))
            if (call_of(box))
                vec_push(&calls, call_of(box));
    }
    for (size_t i = 0; i < calls.n; i++)
        outward_cancel(s->config.llm.outward, calls.at[i]);
    vec_deinit(&calls);
}

void conversation_note_usage(struct conversation *c, const struct llm *llm, struct str usage_id,
                             const struct llm_usage *usage)
{
    autoerr e = NULL;
    struct append_usage u = {.usage = usage, .model = llm_model(llm), .usage_id = usage_id};
    if (usage->prompt_tokens == 0 && usage->completion_tokens == 0 && usage->cost == 0)
        return;
    WITH_LOCK(&c->lock)
    append_locked(c, NULL, 0, NULL, &u, NULL, NULL, &e);
    if (e)
        log_warn("what a model call beside the run cost could not be stored: %s", err_text(e));
}
