/* run: the thread that exists while an agent runs. Straight-line code that keeps nothing the log and the state do not
 * have; it waits only in its mailbox. It leaves when, under the append lock, the status is not RUNNING any more. */
#include "base/clock.h"
#include "base/log.h"
#include "conversation/internal.h"

struct turn { /* the thread's own */
    struct run *run;
    struct conversation *c;
    struct config *config; /* of this run: a reference, so that texts in it live as long */
    struct state *state;   /* committed, as of the last look */
    struct agent *agent;
    struct view *view;
    struct mask *mask;     /* last one given to the agent */
    uint32_t view_seq;     /* next event the view wants */
    uint32_t step_seq;     /* view_seq when the present step began */
    uint64_t stats_serial; /* likewise: deltas of this step belong to it */
    struct buf cwd;        /* of the last terminal result on the path */
    struct agent_host host;
    int64_t iterations;
    char id[UUID_DASHED_LEN + 1];
};

#define SETTLE_TAG \
    UINT64_MAX /* mail: look again (run_settle); mailbox_tag counts up from 1 and never gets there */

static void mail_free(struct mail *m)
{
    free(m);
}

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
    if (!t->view) /* the run could not even begin */
        return true;
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

/* Is it a call whose action is valid? In the body's text an unescaped `"action":{` can only be that member. */
static bool is_open_action(const struct event_draft *d)
{
    return d->kind == EVENT_ACTION && str_find(buf_str(&d->body), STR("\"action\":{")) >= 0;
}

/* Keeps open_from true: the first action since which there are some without a result, or -1. */
static void track_open(struct turn *t, struct state *next, const struct event_draft *drafts, size_t n)
{
    int64_t open = t->view ? (int64_t)view_open(t->view) : 0, open_from = next->doc->open_from;
    for (size_t i = 0; i < n; i++) {
        enum event_kind kind = drafts[i].kind;
        if (kind == EVENT_ACTION && (open == 0 || open_from < 0) && is_open_action(&drafts[i]))
            open_from = (int64_t)next->next_seq + (int64_t)i;
        if (is_open_action(&drafts[i]))
            open++;
        else if (kind == EVENT_OBSERVATION || kind == EVENT_USER_REJECT)
            open--;
        else if (kind == EVENT_AGENT_ERROR && !(i > 0 && drafts[i - 1].kind == EVENT_ACTION))
            open--; /* one right behind its own invalid call closes nothing */
    }
    if (open <= 0)
        open_from = -1;
    if (open_from == next->doc->open_from)
        return;
    struct doc *doc = doc_copy(next->doc);
    doc->open_from = open_from;
    state_set_doc(next, doc);
}

/* Under the append lock: what `update` makes of the status. A message that this step had not seen asked for a run: then
 * the run does not end here. */
static void apply_status(struct turn *t, struct state *next, enum status status)
{
    struct conversation *c = t->c;
    if (!status)
        return;
    if (status == STATUS_FINISHED && next->status == STATUS_RUNNING && c->wish_seq >= (int64_t)t->step_seq)
        return;
    next->status = status;
}

static bool queue_append(struct turn *t, struct event_draft *drafts, size_t n,
                         const struct agent_update *update, struct commit_mail *cm, struct err **e)
{
    struct state *next = state_copy(t->c->pending);
    struct append_usage usage = {0};
    track_open(t, next, drafts, n);
    if (update) {
        apply_status(t, next, update->status);
        usage = (struct append_usage){update->usage, update->model, update->usage_id};
    }
    return append_locked(t->c, drafts, n, next, &usage, commit_answered, cm, e);
}

#define ROOM_WAIT_MS 20 /* first wait when the store's queue is full; doubles … */
#define ROOM_WAIT_MAX_MS 1000
#define ROOM_WAITS 60 /* … and so often before the run gives up */

/* A full queue makes runs wait (requests get 503). On failure the drafts are ended, too. */
static bool append_and_wait(struct turn *t, struct event_draft *drafts, size_t n,
                            const struct agent_update *update, struct err **e)
{
    uint64_t wait_ms = ROOM_WAIT_MS;
    for (unsigned attempt = 0;; attempt++) {
        struct commit_mail *cm = commit_mail_new(t->run->mailbox);
        uint64_t tag = cm->mail.tag;
        autoerr why = NULL;
        bool queued = false;
        WITH_LOCK(&t->c->lock)
        queued = queue_append(t, drafts, n, update, cm, &why);
        if (queued)
            return commit_wait(t->run->mailbox, tag, e) && catch_up(t, e);
        mailbox_unref(cm->mailbox);
        commit_mail_free(&cm->mail);
        if (!why || why->kind != ERR_BUSY || attempt == ROOM_WAITS) {
            for (size_t i = 0; i < n; i++) {
                event_draft_deinit(&drafts[i]);
                drafts[i] = (struct event_draft){0};
            }
            if (e)
                *e = steal(why);
            return false;
        }
        struct mail *none = NULL;
        mailbox_wait(t->run->mailbox, mailbox_tag(t->run->mailbox), clock_mono_ns() + wait_ms * NS_PER_MS,
                     false, &none);
        wait_ms = wait_ms * 2 > ROOM_WAIT_MAX_MS ? ROOM_WAIT_MAX_MS : wait_ms * 2;
    }
}

static bool host_append(void *arg, struct event_draft *drafts, size_t n, const struct agent_update *update,
                        struct err **e)
{
    return append_and_wait(arg, drafts, n, update, e);
}

struct delta {
    struct conversation *c;
    struct bytes *frame;
    uint64_t serial;
};

static void delta_arrived(void *arg)
{
    struct delta *d = arg;
    subscriptions_delta(d->c, d->frame, d->serial);
    conversation_unref(d->c);
    free(d);
}

static void host_delta(void *arg, struct str content, struct str reasoning)
{
    struct turn *t = arg;
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
    struct delta *d = xmalloc(sizeof(*d));
    *d = (struct delta){conversation_ref(t->c), bytes_take(&text), t->stats_serial};
    loop_call(t->c->service->config.loop, delta_arrived, d);
}

static const struct mask *host_mask(void *arg)
{
    struct turn *t = arg;
    struct state *now = committed_get(t->c);
    struct mask *mask = mask_ref(now->config->mask);
    state_unref(now);
    mask_unref(t->mask);
    t->mask = mask;
    return mask;
}

static struct str host_last_cwd(void *arg)
{
    struct turn *t = arg;
    return t->cwd.n > 0 ? buf_str(&t->cwd) : t->config->working_dir;
}

static void host_init(struct turn *t)
{
    const struct conversations_config *config = &t->c->service->config;
    uint64_t token = 0;
    WITH_LOCK(&t->c->lock)
    token = t->c->token;
    t->host = (struct agent_host){
        .arg = t,
        .mailbox = t->run->mailbox,
        .hands = config->hands,
        .hand = {.id = t->c->id, .owner_token = token, .working_dir = t->config->working_dir},
        .llm = config->llm,
        .conversation = uuid_dashed(&t->c->id, t->id),
        .append = host_append,
        .delta = host_delta,
        .mask = host_mask,
        .last_cwd = host_last_cwd,
    };
}

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
        append_and_wait(t, drafts.at, drafts.n, &update, &e);
        drafts.n = 0; /* ended either way */
    } else {
        event_draft_deinit(last);
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

enum next { NEXT_STEP, NEXT_AGAIN, NEXT_INTERRUPT, NEXT_LEAVE };

/* Under the append lock, with nothing outstanding: pending is committed. Leaving is decided here and nowhere else. */
static enum next decide(struct turn *t)
{
    struct conversation *c = t->c;
    enum status status = c->pending->status;
    if (!c->lost && !c->deleted) {
        if (status == STATUS_RUNNING)
            return t->run->interrupt ? NEXT_INTERRUPT : NEXT_STEP;
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
    struct mail *m = xcalloc(1, sizeof(*m));
    run->settle_wanted = false;
    m->tag = SETTLE_TAG;
    m->free = mail_free;
    mailbox_post(run->mailbox, m);
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
        struct mail *m = NULL;
        mailbox_wait(t->run->mailbox, SETTLE_TAG, 0, false, &m);
        free(m);
    }
}

static bool set_status(struct turn *t, enum status status, struct err **e)
{
    struct agent_update update = {.status = status};
    return append_and_wait(t, NULL, 0, &update, e);
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
    return append_and_wait(t, &d, 1, NULL, e);
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
              append_and_wait(t, drafts.at, drafts.n, NULL, e);
    if (ok)
        drafts.n = 0; /* ended by the append */
    draft_list_deinit(&drafts);
    return ok;
}

static void step_begins(struct turn *t)
{
    t->step_seq = t->view_seq;
    t->stats_serial = t->state->stats->serial;
    t->host.policy = t->state->doc->policy;
    t->host.has_analyzer = t->state->doc->analyzer != NULL;
    WITH_LOCK(&t->c->lock)
    if (t->c->wish_seq < (int64_t)t->step_seq)
        t->c->wish_seq = -1;
}

/* One turn of the loop. False when the run ends in an error, which is then set. */
static bool turn_step(struct turn *t, struct err **e)
{
    bool stopped = false;
    if (!catch_up(t, e) || !answer_unaccepted(t, e) || !nudge_or_stop(t, &stopped, e))
        return false;
    if (stopped)
        return true;
    step_begins(t);
    enum step outcome = STEP_CONTINUE;
    if (!agent_step(t->agent, t->view, &t->host, &outcome, e))
        return false;
    t->iterations++;
    bool over = outcome == STEP_CONTINUE && t->iterations >= t->config->max_iterations;
    if (over && t->state->status == STATUS_RUNNING)
        return end_max_iterations(t) || err_set(e, ERR_IO, "the end of the run could not be recorded");
    return true;
}

static void turn_end(struct turn *t)
{
    view_free(steal(t->view));
    agent_unref(steal(t->agent));
    state_unref(steal(t->state));
    config_unref(steal(t->config));
    mask_unref(steal(t->mask));
    buf_deinit(&t->cwd);
}

/* What a run starts from, also when it goes on by a new request: configuration and view as they are now. */
static bool turn_begin(struct turn *t, struct err **e)
{
    turn_end(t);
    t->iterations = 0;
    t->state = committed_get(t->c);
    t->config = config_ref(t->state->config);
    t->view_seq = t->state->next_seq;
    host_init(t);
    if (!t->config->agent) {
        if (e && t->config->problem)
            *e = err_copy(t->config->problem);
        return err_set(e, ERR_INTERNAL, "the agent's configuration cannot be used");
    }
    t->agent = agent_ref(t->config->agent);
    t->view = view_new();
    return agent_check(t->agent, e) && view_read_path(t, t->state->branch, t->state->next_seq, e);
}

static void leave(struct turn *t)
{
    WITH_LOCK(&t->c->lock)
    {
        t->c->run = NULL;
        t->c->wish_seq = -1;
    }
    conversation_mend(t->c);
}

/* One decision and what follows from it. False: the thread leaves. */
static bool turn_round(struct turn *t, bool *fresh)
{
    autoerr e = NULL;
    bool ok = true, recorded = true;
    enum next next = what_next(t);
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
    } else if (next == NEXT_STEP) {
        ok = (!*fresh || turn_begin(t, &e)) && turn_step(t, &e);
        *fresh = false;
    }
    if (next == NEXT_INTERRUPT || (!ok && e && e->kind == ERR_CANCELLED))
        recorded = end_interrupted(t);
    else if (!ok)
        recorded = end_failed(t, e);
    if (!recorded)
        leave(t);
    return recorded;
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
    subscriptions_run_ended(run->conversation, run->number, run->answered_ns);
    mailbox_close(run->mailbox);
    mailbox_unref(run->mailbox);
    conversation_unref(run->conversation);
    free(run);
    if (atomic_fetch_sub(&s->runs, 1) == 1 && s->closed) {
        void (*closed)(void *) = steal(s->closed);
        closed(s->closed_arg);
    }
}

static void run_main(void *arg)
{
    struct run *run = arg;
    struct turn t = {.run = run, .c = run->conversation};
    t.state = committed_get(t.c);
    t.config = config_ref(t.state->config);
    host_init(&t);
    turn_loop(&t);
    turn_end(&t);
    loop_call(run->conversation->service->config.loop, run_ended, run);
}

struct run *run_new(struct conversation *c)
{
    struct run *run = xcalloc(1, sizeof(*run));
    run->conversation = conversation_ref(c);
    run->number = atomic_fetch_add(&c->run_number, 1) + 1;
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
    c->run = NULL;
    conversation_mend(c);
    run_discard(run);
}
