/* aside: model calls beside the runs (titles, questions). They are known by number, because such a call may have ended by
 * the time that its start returns. */
#include "base/log.h"
#include "conversation/internal.h"

/* Under the registry lock. NULL: it has ended. */
static struct aside *find(struct conversations *s, uint64_t number)
{
    for (size_t i = 0; i < s->asides.n; i++)
        if (s->asides.at[i].number == number)
            return &s->asides.at[i];
    return NULL;
}

uint64_t aside_begin(struct conversations *s)
{
    uint64_t number = 0;
    WITH_LOCK(&s->lock)
    {
        number = ++s->aside_number;
        vec_push(&s->asides, (struct aside){.number = number});
    }
    return number;
}

void aside_started(struct conversations *s, uint64_t number, uint64_t call)
{
    struct aside *aside = NULL;
    WITH_LOCK(&s->lock)
    {
        aside = find(s, number);
        if (aside)
            aside->call = call;
    }
    if (aside && call && atomic_load(&s->closing))
        outward_cancel(s->config.llm.outward, call);
}

void aside_end(struct conversations *s, uint64_t number)
{
    WITH_LOCK(&s->lock)
    {
        struct aside *aside = find(s, number);
        if (aside)
            *aside = s->asides.at[--s->asides.n];
    }
}

void asides_cancel(struct conversations *s)
{
    VEC(uint64_t) calls = {0};
    WITH_LOCK(&s->lock)
    for (size_t i = 0; i < s->asides.n; i++)
        if (s->asides.at[i].call)
            vec_push(&calls, s->asides.at[i].call);
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
