/* run: the thread that exists while an agent runs. Straight-line code that keeps nothing the log and the state do not
 * have; it waits only in its mailbox. It leaves when, under the append lock, the status is not RUNNING any more. */
#include "base/clock.h"
#include "base/log.h"
#include "conversation/internal.h"

struct turn { /* the thread's own */
    struct run *run;
    struct conversation *c;
    struct state *state; /* committed, as of the last look */
    struct agent *agent;
    struct view *view;
    uint32_t view_seq; /* next event the view wants */
    uint32_t step_seq; /* view_seq when the present step began */
    struct buf cwd;    /* of the last terminal result on the path */
    struct agent_host host;
    int64_t iterations;
    char id[UUID_DASHED_LEN + 1];
};

/* ---- waiting for commits ---- */

struct commit_mail {
    struct mail mail;
    struct mailbox *mailbox;
    struct err *e;
};

static void commit_mail_free(struct mail *m)
{
    struct commit_mail *cm = CONTAINER_OF(m, struct commit_mail, mail);
    err_free(cm->e);
    free(cm);
}

static void commit_answered(void *arg, const struct err *e)
{
    struct commit_mail *cm = arg;
    struct mailbox *mailbox = cm->mailbox;
    cm->e = e ? err_copy(e) : NULL;
    mailbox_post(mailbox, &cm->mail);
    mailbox_unref(mailbox);
}

static struct commit_mail *commit_mail_new(struct mailbox *mailbox)
{
    struct commit_mail *cm = xcalloc(1, sizeof *cm);
    cm->mail.tag = mailbox_tag(mailbox);
    cm->mail.free = commit_mail_free;
    cm->mailbox = mailbox_ref(mailbox);
    return cm;
}

static bool commit_wait(struct mailbox *mailbox, uint64_t tag, struct err **e)
{
    struct mail *m = NULL;
    if (mailbox_wait(mailbox, tag, 0, false, &m) != MAILBOX_MAIL)
        return err_set(e, ERR_INTERNAL, "the mailbox was closed");
    struct commit_mail *cm = CONTAINER_OF(m, struct commit_mail, mail);
    bool ok = !cm->e;
    if (!ok && e)
        *e = steal(cm->e);
    commit_mail_free(m);
    return ok;
}

/* ---- the view ---- */

/* The directory of the last terminal result, for a shell that starts anew. */
static void note_cwd(struct turn *t, enum event_kind kind, struct str json)
{
    if (kind != EVENT_OBSERVATION || str_find(json, STR("\"TerminalObservation\"")) < 0)
        return;
    autojson doc = json_parse_trusted(json, NULL);
    const struct json_value *observation = json_get(json_root(doc), "observation");
    struct str dir = json_get_str(json_get(observation, "metadata"), "working_dir");
    if (!str_is(json_get_str(observation, "kind"), "TerminalObservation") || dir.n == 0)
        return;
    buf_clear(&t->cwd);
    buf_add(&t->cwd, dir);
}

static bool view_take(struct turn *t, enum event_kind kind, struct str json, struct err **e)
{
    note_cwd(t, kind, json);
    return view_add(t->view, kind, json, e);
}

/* Events of one branch from the store, in pages. */
static bool view_read(struct turn *t, uint32_t branch, uint32_t from, uint32_t to, struct err **e)
{
    while (from < to) {
        autoarena arena = arena_new();
        struct store_item *items;
        size_t n;
        if (!store_read_branch(t->c->service->config.store, t->c->number, branch, from, to, STORE_LIST_MAX,
                               arena, &items, &n, e))
            return false;
        for (size_t i = 0; i < n; i++)
            if (!view_take(t, (enum event_kind)items[i].kind, items[i].json, e))
                return false;
        if (n == 0)
            break;
        from = items[n - 1].seq + 1;
    }
    return true;
}

/* The active path is a handful of ranges: each ancestor branch up to where the next one leaves it. */
static bool view_read_path(struct turn *t, uint32_t branch, uint32_t to, struct err **e)
{
    if (branch == 0)
        return view_read(t, 0, 0, to, e);
    autoarena arena = arena_new();
    struct store_branch *all;
    size_t n;
    if (!store_branches(t->c->service->config.store, t->c->number, arena, &all, &n, e))
        return false;
    struct {
        uint32_t branch, to;
    } *ranges = arena_alloc(arena, (n + 1) * sizeof *ranges);
    size_t depth = 0;
    ranges[depth].branch = branch;
    ranges[depth++].to = to;
    for (bool found = true; branch != 0 && found && depth <= n;) {
        found = false;
        for (size_t i = 0; i < n && !found; i++) {
            if (all[i].branch != branch)
                continue;
            ranges[depth].branch = branch = all[i].parent;
            ranges[depth++].to = (uint32_t)(all[i].at_seq + 1);
            found = true;
        }
    }
    while (depth-- > 0)
        if (!view_read(t, ranges[depth].branch, 0, ranges[depth].to, e))
            return false;
    return true;
}

/* One event from the tail, as a reference. */
static struct bytes *tail_get(struct conversation *c, uint32_t seq, enum event_kind *kind, bool *on_branch)
{
    struct bytes *json = NULL;
    WITH_LOCK(&c->snapshot_lock)
    {
        const struct tail_item *i = tail_find(&c->tail, seq);
        if (i) {
            json = bytes_ref(i->json);
            *kind = i->kind;
            *on_branch = i->on_branch;
        }
    }
    return json;
}

/* Brings the view up to what is committed: the run's own events and messages that came meanwhile. */
static bool catch_up(struct turn *t, struct err **e)
{
    state_unref(t->state);
    t->state = committed_get(t->c);
    while (t->view_seq < t->state->next_seq) {
        enum event_kind kind;
        bool on_branch;
        autobytes json = tail_get(t->c, t->view_seq, &kind, &on_branch);
        if (!json) {
            if (!view_read(t, t->state->branch, t->view_seq, t->state->next_seq, e))
                return false;
            t->view_seq = t->state->next_seq;
            break;
        }
        if (on_branch && !view_take(t, kind, bytes_str(json), e))
            return false;
        t->view_seq++;
    }
    return true;
}

/* ---- what the agent needs ---- */

static bool has_kind(const struct event_draft *drafts, size_t n, enum event_kind kind, size_t *first)
{
    for (size_t i = 0; i < n; i++)
        if (drafts[i].kind == kind) {
            *first = i;
            return true;
        }
    return false;
}

/* Keeps open_from true: set by the commit that appends actions, cleared by the one that appends their results. */
static void track_open(struct state *next, const struct event_draft *drafts, size_t n)
{
    size_t first = 0;
    int64_t open_from = next->doc->open_from;
    if (has_kind(drafts, n, EVENT_ACTION, &first))
        open_from = (int64_t)next->next_seq + (int64_t)first;
    else if (has_kind(drafts, n, EVENT_OBSERVATION, &first) ||
             has_kind(drafts, n, EVENT_AGENT_ERROR, &first) || has_kind(drafts, n, EVENT_USER_REJECT, &first))
        open_from = -1;
    if (open_from == next->doc->open_from)
        return;
    struct doc *doc = doc_copy(next->doc);
    doc->open_from = open_from;
    state_set_doc(next, doc);
}

static bool append_and_wait(struct turn *t, struct event_draft *drafts, size_t n,
                            const struct agent_update *update, struct err **e)
{
    struct conversation *c = t->c;
    struct commit_mail *cm = commit_mail_new(t->run->mailbox);
    uint64_t tag = cm->mail.tag;
    bool queued = false;
    WITH_LOCK(&c->lock)
    {
        struct state *next = state_copy(c->pending);
        struct append_usage usage = {0};
        track_open(next, drafts, n);
        if (update) {
            /* A message that this step had not seen asked for a run: the run does not end here. */
            bool held = update->status == STATUS_FINISHED && c->wish_seq >= (int64_t)t->step_seq;
            if (update->status && !held)
                next->status = update->status;
            if (held)
                c->wish_seq = -1;
            usage = (struct append_usage){update->usage, update->model, update->usage_id};
        }
        queued = append_locked(c, drafts, n, next, &usage, commit_answered, cm, e);
    }
    if (!queued) {
        mailbox_unref(cm->mailbox);
        commit_mail_free(&cm->mail);
        return false;
    }
    return commit_wait(t->run->mailbox, tag, e) && catch_up(t, e);
}

static bool host_append(void *arg, struct event_draft *drafts, size_t n, const struct agent_update *update,
                        struct err **e)
{
    return append_and_wait(arg, drafts, n, update, e);
}

struct delta {
    struct conversation *c;
    struct bytes *frame;
};

static void delta_arrived(void *arg)
{
    struct delta *d = arg;
    subscriptions_delta(d->c, d->frame);
    conversation_unref(d->c);
    free(d);
}

static void host_delta(void *arg, struct str content, struct str reasoning)
{
    struct conversation *c = ((struct turn *)arg)->c;
    struct event_draft draft;
    event_draft_init(&draft, EVENT_STREAMING_DELTA, SOURCE_AGENT);
    struct json_writer w = json_writer(&draft.body);
    w.depth = 1;
    if (content.n > 0)
        jw_member_str(&w, "content", content);
    if (reasoning.n > 0)
        jw_member_str(&w, "reasoning_content", reasoning);
    struct uuid id = uuid_random();
    autobuf text = {0};
    event_write(&text, &draft, buf_str(&draft.body), &id, clock_wall_us(), STR_NONE);
    event_draft_deinit(&draft);
    struct delta *d = xmalloc(sizeof *d);
    d->c = conversation_ref(c);
    d->frame = bytes_take(&text);
    loop_call(c->service->config.loop, delta_arrived, d);
}

static const struct mask *host_mask(void *arg)
{
    struct turn *t = arg;
    state_unref(t->state);
    t->state = committed_get(t->c);
    return t->state->config->mask;
}

static struct str host_last_cwd(void *arg)
{
    struct turn *t = arg;
    return t->cwd.n > 0 ? buf_str(&t->cwd) : t->state->config->working_dir;
}

static void host_init(struct turn *t)
{
    const struct conversations_config *config = &t->c->service->config;
    t->host = (struct agent_host){
        .arg = t,
        .mailbox = t->run->mailbox,
        .hands = config->hands,
        .hand = {.id = t->c->id, .owner_token = t->c->token, .working_dir = t->state->config->working_dir},
        .llm = config->llm,
        .conversation = uuid_dashed(&t->c->id, t->id),
        .has_analyzer = t->state->doc->analyzer != NULL,
        .policy = t->state->doc->policy,
        .append = host_append,
        .delta = host_delta,
        .mask = host_mask,
        .last_cwd = host_last_cwd,
    };
}

/* ---- ends ---- */

/* Ends the run: results for open actions, the status, and the event that explains it, in one commit. False when that
 * could not be recorded: the store refuses or the conversation is not ours any more. The next use repairs it. */
static bool end_with(struct turn *t, enum open_end how, enum status status, struct event_draft *last)
{
    autoerr e = NULL;
    draft_list drafts = {0};
    if (!open_actions_end(t->c, how, STR_NONE, &drafts, &e)) {
        event_draft_deinit(last);
    } else {
        vec_push(&drafts, *last);
        struct agent_update update = {.status = status};
        append_and_wait(t, drafts.at, drafts.n, &update, &e);
        drafts.n = 0; /* emptied by the append */
    }
    draft_list_deinit(&drafts);
    if (e)
        log_warn("conversation %s: the end of a run could not be recorded: %s", t->id, e->text);
    return !e;
}

static bool end_failed(struct turn *t, const struct err *why)
{
    struct event_draft d;
    event_draft_init(&d, EVENT_CONVERSATION_ERROR, SOURCE_ENVIRONMENT);
    event_error_body(&d, why->code ? why->code : "RuntimeError", str_from(why->text));
    return end_with(t, OPEN_FAILED, STATUS_ERROR, &d);
}

static bool end_max_iterations(struct turn *t)
{
    autoerr why = NULL;
    err_set(&why, ERR_INVALID,
            "The agent used all %lld iterations of this run (max_iterations) without finishing.",
            (long long)t->state->config->max_iterations);
    err_set_code(&why, "MaxIterationsReached");
    return end_failed(t, why);
}

/* An interrupt was asked for: the step has been cancelled by now. */
static bool end_interrupted(struct turn *t)
{
    bool pause = false;
    WITH_LOCK(&t->c->lock)
    pause = t->c->pause_instead;
    struct event_draft d;
    event_draft_init(&d, pause ? EVENT_PAUSE : EVENT_INTERRUPT, SOURCE_USER);
    bool ok = end_with(t, OPEN_INTERRUPTED, STATUS_PAUSED, &d);
    WITH_LOCK(&t->c->lock)
    {
        t->c->interrupt = false;
        /* A new run may have been asked for already; it gets a mailbox that was never cancelled. */
        struct mailbox *fresh = mailbox_new();
        struct mailbox *old = t->run->mailbox;
        t->run->mailbox = t->host.mailbox = fresh;
        mailbox_close(old);
        mailbox_unref(old);
    }
    return ok;
}

/* ---- the loop ---- */

enum next { NEXT_STEP, NEXT_INTERRUPT, NEXT_LEAVE };

static void leave_locked(struct conversation *c)
{
    c->run = NULL;
    c->interrupt = false;
    c->wish_seq = -1;
}

static enum next what_next(struct turn *t)
{
    struct conversation *c = t->c;
    enum next next = NEXT_STEP;
    WITH_LOCK(&c->lock)
    {
        if (c->lost || c->deleted || c->poisoned || (c->pending->status != STATUS_RUNNING && !c->interrupt)) {
            next = NEXT_LEAVE;
            leave_locked(c);
        } else if (c->interrupt) {
            next = NEXT_INTERRUPT;
        }
    }
    return next;
}

static bool nudge_or_stop(struct turn *t, bool *stopped, struct err **e)
{
    autobuf why = {0};
    enum stuck stuck = t->state->config->stuck_detection ? view_stuck(t->view, &why) : STUCK_NO;
    if (stuck == STUCK_NO)
        return true;
    if (stuck == STUCK_YES) {
        struct agent_update update = {.status = STATUS_STUCK};
        *stopped = true;
        return append_and_wait(t, NULL, 0, &update, e);
    }
    struct event_draft d;
    event_draft_init(&d, EVENT_MESSAGE, SOURCE_ENVIRONMENT);
    event_message_body(&d, "user", buf_str(&why));
    return append_and_wait(t, &d, 1, NULL, e);
}

/* One turn of the loop. False when the run ends in an error, which is then set. */
static bool turn_step(struct turn *t, struct err **e)
{
    bool stopped = false;
    if (!catch_up(t, e) || !nudge_or_stop(t, &stopped, e))
        return false;
    if (stopped)
        return true;
    t->step_seq = t->view_seq;
    t->host.policy = t->state->doc->policy;
    t->host.has_analyzer = t->state->doc->analyzer != NULL;
    enum step outcome = STEP_CONTINUE;
    if (!agent_step(t->agent, t->view, &t->host, &outcome, e))
        return false;
    t->iterations++;
    if (outcome == STEP_CONTINUE && t->iterations >= t->state->config->max_iterations)
        return end_max_iterations(t) || err_set(e, ERR_IO, "the end of the run could not be recorded");
    return true;
}

static bool turn_begin(struct turn *t, struct err **e)
{
    t->state = committed_get(t->c);
    host_init(t);
    const struct config *config = t->state->config;
    if (!config->agent) {
        if (e)
            *e = config->problem ? err_copy(config->problem) : NULL;
        if (!config->problem)
            err_set(e, ERR_INTERNAL, "the agent's configuration cannot be used");
        return false;
    }
    t->agent = agent_ref(config->agent);
    t->view = view_new();
    t->view_seq = t->state->next_seq;
    return agent_check(t->agent, e) && view_read_path(t, t->state->branch, t->state->next_seq, e);
}

static void turn_loop(struct turn *t)
{
    autoerr begin = NULL;
    bool begun = turn_begin(t, &begin);
    for (;;) {
        enum next next = what_next(t);
        if (next == NEXT_LEAVE)
            return;
        autoerr e = NULL;
        bool ok = true;
        if (next == NEXT_STEP)
            ok = begun ? turn_step(t, &e) : false;
        bool recorded = true;
        if (next == NEXT_INTERRUPT || (!ok && e && e->kind == ERR_CANCELLED))
            recorded = end_interrupted(t);
        else if (!ok)
            recorded = end_failed(t, e ? e : begin);
        if (!recorded) {
            WITH_LOCK(&t->c->lock)
            leave_locked(t->c);
            return;
        }
    }
}

static void run_free(struct run *run)
{
    mailbox_close(run->mailbox);
    mailbox_unref(run->mailbox);
    conversation_unref(run->conversation);
    free(run);
}

static void run_ended(void *arg)
{
    struct run *run = arg;
    subscriptions_run_ended(run->conversation, run->answered_ns);
    atomic_fetch_sub(&run->conversation->service->runs, 1);
    struct conversations *s = run->conversation->service;
    if (s->closed && atomic_load(&s->runs) == 0) {
        void (*closed)(void *) = steal(s->closed);
        closed(s->closed_arg);
    }
    run_free(run);
}

static void run_main(void *arg)
{
    struct run *run = arg;
    struct turn t = {.run = run, .c = run->conversation};
    turn_loop(&t);
    view_free(t.view);
    agent_unref(t.agent);
    state_unref(t.state);
    buf_deinit(&t.cwd);
    loop_call(run->conversation->service->config.loop, run_ended, run);
}

struct run *run_new(struct conversation *c)
{
    struct run *run = xcalloc(1, sizeof *run);
    run->conversation = conversation_ref(c);
    run->mailbox = mailbox_new();
    atomic_fetch_add(&c->service->runs, 1);
    c->run = run;
    c->wish_seq = -1;
    return run;
}

void run_launch(struct run *run)
{
    autoerr e = NULL;
    if (thread_start(NULL, "run", THREAD_STACK_BYTES, run_main, run, &e))
        return;
    /* No thread could be had: the status stays RUNNING without a run, which the next use repairs. */
    log_error("a run cannot start: %s", err_text(e));
    run_drop(run);
}

void run_drop(struct run *run)
{
    WITH_LOCK(&run->conversation->lock)
    run->conversation->run = NULL;
    loop_call(run->conversation->service->config.loop, run_ended, run);
}
