/* ask: questions beside the run. A worker reads the history and starts the model call; its answer comes on the outward
 * thread. Nothing waits: neither a run nor a worker. */
#include "conversation/turn.h"

#define ASK_USAGE_ID "ask-agent-llm"
#define ASK_ATTEMPTS 4 /* a server that refuses optional parameters names one at a time */

struct ask {
    struct conversation *c; /* a reference */
    struct llm *llm;        /* a reference once it was asked */
    struct mask *mask;
    struct buf question;
    unsigned attempt;
    uint64_t aside;
    conversation_told done;
    void *arg;
};

static void ask_end(struct ask *k, struct str text, const struct err *e)
{
    k->done(k->arg, text, e);
    llm_unref(k->llm);
    mask_unref(k->mask);
    conversation_unref(k->c);
    buf_deinit(&k->question);
    free(k);
}

static void ask_begin(void *arg);

/* Outward thread (or the worker's, for a scripted model). */
static void ask_answered(void *arg, const struct llm_answer *answer, const struct err *e)
{
    struct ask *k = arg;
    autobuf text = {0};
    autoerr shown = NULL;
    aside_end(k->c->service, k->aside);
    bool closing = atomic_load(&k->c->service->closing); /* then there may be no workers any more */
    if (!answer && e->kind == ERR_CONFLICT && k->attempt < ASK_ATTEMPTS && !closing) {
        pool_submit_always(k->c->service->config.pool, ask_begin, k);
        return;
    }
    if (answer) {
        conversation_note_usage(k->c, k->llm, STR(ASK_USAGE_ID), &answer->usage);
        mask_apply(k->mask, str_trim(answer->text), &text);
        if (text.n == 0)
            err_set(&shown, ERR_UPSTREAM, "the model gave no answer in words");
    } else {
        mask_apply(k->mask, str_from(err_text(e)), &text);
        err_set(&shown, e->kind == ERR_INVALID ? ERR_UPSTREAM : e->kind, "%.*s", STR_ARG(buf_str(&text)));
    }
    ask_end(k, buf_str(&text), shown);
}

/* Reads the active path as a run does, without being one. *worker* */
static struct view *view_now(struct conversation *c, struct state *now, struct err **e)
{
    struct turn t = {.c = c, .config = now->config, .view = view_new()};
    bool ok = turn_read_path(&t, now->branch, now->next_seq, e);
    buf_deinit(&t.cwd);
    if (ok)
        return t.view;
    view_free(t.view);
    return NULL;
}

static void ask_model(struct ask *k, struct agent *agent, const struct view *view)
{
    char id[UUID_DASHED_LEN + 1];
    autoarena arena = arena_new();
    struct llm_request request;
    agent_ask(agent, view, buf_str(&k->question), arena, &request);
    request.conversation = uuid_dashed(&k->c->id, id);
    struct conversations *s = k->c->service;
    uint64_t aside = k->aside = aside_begin(s);
    aside_started(s, aside, llm_start(k->llm, &s->config.llm, &request, ask_answered, k));
}

static void ask_begin(void *arg)
{
    struct ask *k = arg;
    autoerr e = NULL;
    struct state *now = committed_get(k->c);
    struct agent *agent = agent_ref(now->config->agent);
    struct view *view = agent ? view_now(k->c, now, &e) : NULL;
    if (!agent && now->config->problem)
        e = err_copy(now->config->problem);
    mask_unref(k->mask);
    k->mask = conversation_mask(k->c, now->config);
    k->attempt++;
    if (view) {
        llm_unref(k->llm);
        k->llm = llm_ref(agent_llm(agent));
        ask_model(k, agent, view); /* `k` may be gone now */
    } else {
        err_set(&e, ERR_INVALID, "the agent's configuration cannot be used");
        ask_end(k, STR_NONE, e);
    }
    view_free(view);
    agent_unref(agent);
    state_unref(now);
}

void conversation_ask(struct conversation *c, struct str question, conversation_told done, void *arg)
{
    struct ask *k = xcalloc(1, sizeof(*k));
    k->c = conversation_ref(c);
    k->done = done;
    k->arg = arg;
    buf_add(&k->question, question);
    ask_begin(k);
}
