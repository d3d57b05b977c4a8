/* condense: requests to shorten the history now. They wait at a run: the present one, which condenses between two steps, or
 * one that is started for this alone. */
#include "conversation/internal.h"

struct condense_wish {
    struct condense_wish *next;
    conversation_done done;
    void *arg;
};

struct condense_wish *condense_take(struct run *run)
{
    return steal(run->condense);
}

void condense_answer(struct condense_wish *wishes, const struct err *e)
{
    while (wishes) {
        struct condense_wish *w = wishes;
        wishes = w->next;
        w->done(w->arg, e);
        free(w);
    }
}

bool condense_only(const struct run *run)
{
    return run->launched && run->starts == 0 && run->joined == 0;
}

/* Under the append lock. `*launch`: a run that has to get its thread. */
static bool queue_wish(struct conversation *c, conversation_done done, void *arg, struct run **launch,
                       struct err **e)
{
    struct conversations *s = c->service;
    if (c->deleted || c->lost)
        return err_set(e, c->deleted ? ERR_NOT_FOUND : ERR_LOST, "the conversation is gone");
    const struct agent *agent = c->pending->config->agent;
    if (!agent || !agent_condenses(agent))
        return err_set(
            e, ERR_INVALID,
            "this conversation cannot be condensed: its agent has no condenser (LLMSummarizingCondenser)");
    if (!c->run && s->config.runs_max && atomic_load(&s->runs) >= s->config.runs_max)
        return err_set(e, ERR_TOO_MANY,
                       "%zu agents run already, as many as this machine's process limit allows",
                       s->config.runs_max);
    if (!c->run) {
        *launch = run_new(c);
        (*launch)->launched = true;
    }
    struct condense_wish *w = xcalloc(1, sizeof(*w));
    *w = (struct condense_wish){c->run->condense, done, arg};
    c->run->condense = w;
    return true;
}

void conversation_condense(struct conversation *c, conversation_done done, void *arg)
{
    autoerr e = NULL;
    struct run *launch = NULL;
    bool queued = false;
    if (lock_sound(c, NULL, &e)) {
        queued = queue_wish(c, done, arg, &launch, &e);
        thread_unlock(&c->lock);
    }
    if (launch)
        run_launch(launch);
    if (!queued)
        done(arg, e);
}
