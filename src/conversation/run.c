/* run: the thread that exists while an agent runs. Straight-line code that keeps nothing the log and the state do not
 * have; it waits only in its mailbox. It leaves when, under the append lock, the status is not RUNNING any more. */
#include "base/clock.h"
#include "base/log.h"
#include "agent/analyzer/analyzer.h"
#include "conversation/turn.h"

#define SETTLE_TAG \
    UINT64_MAX /* mail: look again (run_settle); mailbox_tag counts up from 1 and never gets there */

/* ---- ends ---- */

/* Ends the run: results for open actions, the status, and the event that explains it, in one commit. False when that
 * could not be recorded: the store refuses, or the conversation is not ours any more. */
static bool end_with(struct turn *t, enum open_end how, enum status status, struct event_draft *last)
{
    autoerr e = NULL;
    draft_list drafts = {0};
    if (open_actions_end(t->c, how, STR_NONE, &drafts, &e)) {
        vec_push(&drafts, *last);
        struct agent_update update = {.status = status};
        turn_append(t, drafts.at, drafts.n, &update, &e);
        drafts.n = 0; /* ended either way */
    } else {
        event_draft_deinit(last);
    }
    draft_list_deinit(&drafts);
    if (e && e->kind != ERR_NOT_FOUND) /* deleted meanwhile: that is the end, too */
        log_warn("conversation %s: the end of a run could not be recorded: %s", t->id, e->text);
    return !e;
}

static bool end_failed(struct turn *t, const struct err *why)
{
    struct event_draft d;
    event_draft_init(&d, EVENT_CONVERSATION_ERROR, SOURCE_ENVIRONMENT);
    event_error_body(&d, why && why->code ? why->code : "RuntimeError", str_from(err_text(why)));
    return end_with(t, OPEN_FAILED, STATUS_ERROR, &d);
}

static bool end_max_iterations(struct turn *t)
{
    autoerr why = NULL;
    err_set(&why, ERR_INVALID,
            "The agent used all %lld iterations of this run (max_iterations) without finishing.",
            (long long)t->config->max_iterations);
    err_set_code(&why, "MaxIterationsReached");
    return end_failed(t, why);
}

/* Under the append lock: an interrupt asked for from now on is a new one. */
static void mailbox_renew(struct turn *t)
{
    struct mailbox *old = t->run->mailbox;
    t->run->interrupt = false;
    t->run->mailbox = t->host.mailbox = mailbox_new();
    mailbox_close(old);
    mailbox_unref(old);
}

/* An interrupt was asked for, and the step has been cancelled by now. At shutdown it is recorded as a pause. */
static bool end_interrupted(struct turn *t)
{
    struct event_draft d;
    bool closing = atomic_load(&t->c->service->closing);
    event_draft_init(&d, closing ? EVENT_PAUSE : EVENT_INTERRUPT, SOURCE_USER);
    WITH_LOCK(&t->c->lock)
    mailbox_renew(t);
    return end_with(t, OPEN_INTERRUPTED, STATUS_PAUSED, &d);
}

/* ---- the loop ---- */

enum next { NEXT_STEP, NEXT_AGAIN, NEXT_CONDENSE, NEXT_INTERRUPT, NEXT_LEAVE };

/* Under the append lock, with nothing outstanding: pending is committed. Leaving is decided here and nowhere else. */
static enum next decide(struct turn *t)
{
    struct conversation *c = t->c;
    enum status status = c->pending->status;
    if (!c->lost && !c->deleted) {
        if (status == STATUS_RUNNING && t->run->interrupt)
            return NEXT_INTERRUPT;
        if (t->run->condense && !atomic_load(&c->service->closing))
            return NEXT_CONDENSE;
        if (status == STATUS_RUNNING)
            return NEXT_STEP;
        /* A message asked for a run that ended before it saw the message. */
        if (c->wish_seq >= 0 && status != STATUS_WAITING_FOR_CONFIRMATION &&
            !atomic_load(&c->service->closing))
            return NEXT_AGAIN;
    }
    c->run = NULL;
    c->wish_seq = -1;
    return NEXT_LEAVE;
}

void run_settle(struct conversation *c)
{
    struct run *run = c->run;
    if (!run || !run->settle_wanted || c->outstanding > 0 || run->starts > 0)
        return;
    run->settle_wanted = false;
    mailbox_notify(run->mailbox, SETTLE_TAG);
}

static void settle_wait(struct turn *t)
{
    struct mail *m = NULL;
    mailbox_wait(t->run->mailbox, SETTLE_TAG, 0, false, &m);
    free(m);
}

/* Waits until no commit and no answer to a start is under way, so that the view will have all that was answered. */
static enum next what_next(struct turn *t)
{
    struct conversation *c = t->c;
    for (;;) {
        enum next next = NEXT_LEAVE;
        bool settled = false;
        WITH_LOCK(&c->lock)
        {
            settled = c->outstanding == 0 && t->run->starts == 0;
            t->run->settle_wanted = !settled;
            if (settled)
                next = decide(t);
        }
        if (settled)
            return next;
        settle_wait(t);
    }
}

static bool set_status(struct turn *t, enum status status, struct err **e)
{
    struct agent_update update = {.status = status};
    return turn_append(t, NULL, 0, &update, e);
}

static bool nudge_or_stop(struct turn *t, bool *stopped, struct err **e)
{
    autobuf why = {0};
    enum stuck stuck = t->config->stuck_detection ? view_stuck(t->view, &why) : STUCK_NO;
    if (stuck == STUCK_NO)
        return true;
    *stopped = stuck == STUCK_YES;
    if (*stopped)
        return set_status(t, STATUS_STUCK, e);
    struct event_draft d;
    event_draft_init(&d, EVENT_MESSAGE, SOURCE_ENVIRONMENT);
    event_message_body(&d, "user", buf_str(&why));
    return turn_append(t, &d, 1, NULL, e);
}

/* A tool that may have run is never run again by itself: open actions are executed only as the answer to a
 * confirmation. Any others (there should be none) get their results here. */
static bool answer_unaccepted(struct turn *t, struct err **e)
{
    bool accepted = false;
    WITH_LOCK(&t->c->lock)
    {
        accepted = t->run->accepted;
        t->run->accepted = false;
    }
    if (accepted || view_open(t->view) == 0)
        return true;
    draft_list drafts = {0};
    bool ok = open_actions_end(t->c, OPEN_CRASHED, STR_NONE, &drafts, e) &&
              turn_append(t, drafts.at, drafts.n, NULL, e);
    if (ok)
        drafts.n = 0; /* ended by the append */
    draft_list_deinit(&drafts);
    return ok;
}

/* What judges the actions of this step. It is made anew only when somebody has set another one. */
static void analyzer_renew(struct turn *t)
{
    struct bytes *json = t->state->doc->analyzer;
    if (json != t->analyzer_json) {
        autojson doc = json ? json_parse_trusted(bytes_str(json), NULL) : NULL;
        bytes_unref(t->analyzer_json);
        analyzer_free(t->analyzer);
        t->analyzer_json = bytes_ref(json);
        t->analyzer = json ? analyzer_new(json_root(doc), NULL) : NULL;
        if (json && !t->analyzer)
            t->analyzer = analyzer_broken();
    }
    t->host.analyzer = t->analyzer;
    t->host.has_analyzer = t->analyzer && analyzer_wants_risk(t->analyzer);
}

static void step_begins(struct turn *t)
{
    t->step_seq = t->view_seq;
    t->stats_serial = t->state->stats->serial;
    t->host.policy = t->state->doc->policy;
    analyzer_renew(t);
    WITH_LOCK(&t->c->lock)
    if (t->c->wish_seq < (int64_t)t->step_seq)
        t->c->wish_seq = -1;
}

/* One turn of the loop. False when the run ends in an error, which is then set. */
static bool turn_step(struct turn *t, struct err **e)
{
    bool stopped = false;
    if (!turn_mcp_step(t, e) || !turn_catch_up(t, e) || !answer_unaccepted(t, e) ||
        !nudge_or_stop(t, &stopped, e))
        return false;
    if (stopped)
        return true;
    /* Last of all: a message that comes while anything else is done is seen by its hooks before the model sees it. */
    if (!turn_hooks_begin(t, e))
        return false;
    if (t->state->status != STATUS_RUNNING) /* hooks take a while: somebody may have paused it */
        return true;
    step_begins(t);
    enum step outcome = STEP_CONTINUE;
    if (view_prompt_blocked(t->view) && view_open(t->view) == 0)
        return set_status(t, STATUS_FINISHED, e); /* there is nothing that the model was asked */
    if (!agent_step(t->agent, t->view, &t->host, &outcome, e))
        return false;
    t->iterations++;
    if (!turn_hooks_stop(t, e))
        return false;
    bool over = outcome == STEP_CONTINUE && t->iterations >= t->config->max_iterations;
    if (over && t->state->status == STATUS_RUNNING)
        return end_max_iterations(t) || err_set(e, ERR_IO, "the end of the run could not be recorded");
    return true;
}

static void turn_end(struct turn *t)
{
    turn_mcp_end(t);
    view_free(steal(t->view));
    agent_unref(steal(t->agent));
    state_unref(steal(t->state));
    config_unref(steal(t->config));
    for (size_t i = 0; i < t->masks.n; i++)
        mask_unref(t->masks.at[i]);
    t->masks.n = 0;
    for (size_t i = 0; i < t->mask_parts.n; i++)
        mask_unref(t->mask_parts.at[i]);
    t->mask_parts.n = 0;
    t->mask_config = t->mask_looked_up = NULL;
    turn_lookup_clear(t);
    buf_deinit(&t->cwd);
    turn_hooks_clear(t);
    bytes_unref(steal(t->analyzer_json));
    analyzer_free(steal(t->analyzer));
}

/* Configuration and view as they are now. */
static bool turn_read(struct turn *t, struct err **e)
{
    turn_end(t);
    t->iterations = 0;
    t->state = committed_get(t->c);
    t->config = config_ref(t->state->config);
    t->view_seq = t->state->next_seq;
    turn_host_init(t);
    if (!t->config->agent) {
        if (e && t->config->problem)
            *e = err_copy(t->config->problem);
        return err_set(e, ERR_INTERNAL, "the agent's configuration cannot be used");
    }
    t->agent = agent_ref(t->config->agent);
    t->host.skills = agent_skills(t->agent);
    t->host.runs_commands = agent_runs_commands(t->agent);
    t->view = view_new();
    return turn_read_path(t, t->state->branch, t->state->next_seq, e);
}

/* What a run starts from, also when it goes on by a new request. */
static bool turn_begin(struct turn *t, struct err **e)
{
    return turn_read(t, e) && agent_check(t->agent, e) && turn_mcp_begin(t, e);
}

/* Somebody asked for it; the run, if there is one beside, goes on whatever comes of it. `fresh`: none has begun. */
static void turn_condense(struct turn *t, bool fresh)
{
    autoerr e = NULL;
    struct condense_wish *wishes = NULL;
    WITH_LOCK(&t->c->lock)
    wishes = condense_take(t->run);
    bool ok = (!fresh || turn_read(t, &e)) && turn_catch_up(t, &e);
    if (ok) {
        t->stats_serial = t->state->stats->serial;
        ok = agent_condense(t->agent, t->view, &t->host, &e);
    }
    if (!ok)
        err_set(&e, ERR_INTERNAL, "the condensation failed without a reason"); /* keeps the reason there is */
    /* An interrupt of the run is still to be seen by the run; one of this alone has been. */
    WITH_LOCK(&t->c->lock)
    if (mailbox_cancelled(t->run->mailbox) && !t->run->interrupt) {
        mailbox_renew(t);
    }
    condense_answer(wishes, ok ? NULL : e);
}

static unsigned joined_now(struct turn *t)
{
    unsigned joined = 0;
    WITH_LOCK(&t->c->lock)
    joined = t->run->joined;
    return joined;
}

/* The end could not be recorded. False: a run was asked for since there were `joined` requests, and this is it. */
static bool leave(struct turn *t, unsigned joined)
{
    struct conversation *c = t->c;
    for (;;) {
        bool settled = false, leaves = false;
        WITH_LOCK(&c->lock)
        {
            settled = t->run->starts == 0 || c->lost || c->deleted;
            leaves = settled && (t->run->joined == joined || c->lost || c->deleted);
            t->run->settle_wanted = !settled;
            if (leaves) {
                t->run->unrecorded = true;
                c->run = NULL;
                c->wish_seq = -1;
            }
        }
        if (leaves)
            conversation_mend(c);
        if (settled)
            return leaves;
        settle_wait(t);
    }
}

/* One decision and what follows from it. False: the thread leaves. */
static bool turn_round(struct turn *t, bool *fresh)
{
    autoerr e = NULL;
    bool ok = true, recorded = true;
    enum next next = what_next(t);
    unsigned joined = joined_now(t);
    if (next == NEXT_LEAVE)
        return false;
    if (next == NEXT_AGAIN) {
        *fresh = true;
        WITH_LOCK(&t->c->lock)
        {
            mailbox_renew(t);
            t->c->wish_seq = -1;
        }
        recorded = set_status(t, STATUS_RUNNING, NULL);
    } else if (next == NEXT_CONDENSE) {
        turn_condense(t, *fresh);
    } else if (next == NEXT_STEP) {
        ok = (!*fresh || turn_begin(t, &e)) && turn_step(t, &e);
        *fresh = false;
    }
    if (!ok) {
        err_set(&e, ERR_INTERNAL, "the step failed without a reason"); /* keeps the reason there is */
        joined = joined_now(t);
    }
    if (next == NEXT_INTERRUPT || (!ok && e && e->kind == ERR_CANCELLED))
        recorded = end_interrupted(t);
    else if (!ok)
        recorded = end_failed(t, e);
    if (recorded)
        return true;
    *fresh = true;
    return !leave(t, joined);
}

static void turn_loop(struct turn *t)
{
    bool fresh = true;
    while (turn_round(t, &fresh))
        if (!fresh && t->state->status != STATUS_RUNNING)
            fresh = true; /* if it goes on, then by a new request */
}

/* ---- life ---- */

/* Loop. */
static void run_ended(void *arg)
{
    struct run *run = arg;
    struct conversations *s = run->conversation->service;
    autoerr gone = NULL;
    err_set(&gone, ERR_BUSY, "the history was not condensed: the run that was to do it has ended");
    condense_answer(steal(run->condense), gone);
    if (run->hand_ended)
        conversation_end_hand_again(run->conversation);
    bool announced = run->number <= atomic_load(&run->conversation->run_number);
    if (!run->unrecorded && announced)
        subscriptions_run_ended(run->conversation, run->number, run->answered_ns);
    mailbox_close(run->mailbox);
    mailbox_unref(run->mailbox);
    conversation_unref(run->conversation);
    free(run);
    if (atomic_fetch_sub(&s->runs, 1) == 1 && s->closed)
        sessions_close(s);
}

static void run_main(void *arg)
{
    struct run *run = arg;
    struct turn t = {.run = run, .c = run->conversation};
    t.state = committed_get(t.c);
    t.config = config_ref(t.state->config);
    pthread_mutex_init(&t.mask_lock, NULL);
    turn_host_init(&t);
    turn_loop(&t);
    turn_end(&t);
    vec_deinit(&t.masks);
    vec_deinit(&t.mask_parts);
    pthread_mutex_destroy(&t.mask_lock);
    loop_call(run->conversation->service->config.loop, run_ended, run);
}

struct run *run_new(struct conversation *c)
{
    struct run *run = xcalloc(1, sizeof(*run));
    run->conversation = conversation_ref(c);
    run->number = atomic_load(&c->run_number) + 1; /* announced when it is to work, see start_queue */
    run->mailbox = mailbox_new();
    atomic_fetch_add(&c->service->runs, 1);
    c->run = run;
    c->wish_seq = -1;
    return run;
}

void run_interrupt(struct run *run)
{
    run->interrupt = true;
    mailbox_cancel(run->mailbox);
}

void run_discard(struct run *run)
{
    loop_call(run->conversation->service->config.loop, run_ended, run);
}

void run_launch(struct run *run)
{
    autoerr e = NULL;
    struct conversation *c = run->conversation;
    if (thread_start(NULL, "run", THREAD_STACK_BYTES, run_main, run, &e))
        return;
    log_error("a run cannot start: %s", err_text(e));
    WITH_LOCK(&c->lock)
    {
        run->unrecorded = true;
        c->run = NULL;
    }
    conversation_mend(c);
    run_discard(run);
}
