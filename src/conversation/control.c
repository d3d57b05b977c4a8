/* control: what clients ask of a conversation. Each function decides under the append lock and queues one commit; the
 * run thread, if there is one, sees the outcome in the pending status. */
#include "agent/analyzer/analyzer.h"
#include "base/clock.h"
#include "conversation/internal.h"

/* ---- starting runs ---- */

struct start { /* a request whose commit starts, or joins, a run */
    struct conversation *c;
    uint64_t run_number; /* 0: no run is wanted */
    bool titles;         /* a first message: the conversation gets a title by itself */
    bool revived;        /* it made a stopped conversation live */
    conversation_done done;
    void *arg;
};

/* Under the append lock. What has to be done without it is in the two runs that are answered. */
static void start_settle(struct start *s, bool ok, struct run **launch, struct run **discard)
{
    struct run *run = s->c->run;
    if (!run || run->number != s->run_number)
        return;
    run->starts--;
    if (ok) {
        run->answered_ns = clock_mono_ns();
        run->joined++;
    }
    if (!run->launched && ok) {
        run->launched = true;
        *launch = run;
    } else if (!run->launched && run->starts == 0) {
        s->c->run = NULL;
        *discard = run;
    }
    run_settle(s->c);
}

/* The commit is durable, or has failed: answer first, then let the run begin. */
static void start_committed(void *arg, const struct err *e)
{
    struct start *s = arg;
    struct run *launch = NULL, *discard = NULL;
    if (e && s->revived)
        live_remove(s->c->service->live, &s->c->id);
    s->done(s->arg, e);
    WITH_LOCK(&s->c->lock)
    start_settle(s, !e, &launch, &discard);
    if (launch)
        run_launch(launch);
    if (discard)
        run_discard(discard);
    if (s->titles && !e)
        conversation_title_begin(s->c);
    conversation_unref(s->c);
    free(s);
}

static struct start *start_new(struct conversation *c, conversation_done done, void *arg)
{
    struct start *s = xcalloc(1, sizeof(*s));
    s->c = conversation_ref(c);
    s->done = done;
    s->arg = arg;
    return s;
}

/* Under the append lock: queues the drafts; with `run`, as the start of a run or joining the present one. */
static bool start_queue(struct start *s, draft_list *drafts, struct state *next, bool run, struct err **e)
{
    struct conversation *c = s->c;
    bool accepts = c->pending->status == STATUS_WAITING_FOR_CONFIRMATION;
    size_t runs_max = c->service->config.runs_max;
    if (run && !c->run && runs_max && atomic_load(&c->service->runs) >= runs_max) {
        state_unref(next);
        return err_set(e, ERR_TOO_MANY,
                       "%zu agents run already, as many as this machine's process limit allows", runs_max);
    }
    if (run)
        next->status = STATUS_RUNNING;
    if (!append_locked(c, drafts->at, drafts->n, next, NULL, start_committed, s, e))
        return false;
    drafts->n = 0;
    /* Now, so that a `stop` that comes before the commit is the last word. */
    s->revived = !conversation_start(c);
    if (run) {
        struct run *r = c->run ? c->run : run_new(c);
        atomic_store(&c->run_number, r->number);
        r->starts++;
        r->accepted |= accepts;
        s->run_number = r->number;
    }
    return true;
}

/* ---- drafts ---- */

static void add_system_prompt(const struct state *s, draft_list *drafts)
{
    if (s->leaf_seq >= 0 || !s->config->agent)
        return;
    struct event_draft d;
    autojson analyzer = s->doc->analyzer ? json_parse_trusted(bytes_str(s->doc->analyzer), NULL) : NULL;
    event_draft_init(&d, EVENT_SYSTEM_PROMPT, SOURCE_AGENT);
    agent_system_prompt(s->config->agent, s->config->working_dir, s->config->mask,
                        analyzer_config_wants_risk(json_root(analyzer)), &d);
    vec_push(drafts, d);
}

static void write_part(struct json_writer *w, const struct json_value *part, struct buf *search)
{
    if (str_is(json_get_str(part, "type"), "image")) {
        jw_object(w);
        jw_member_bool(w, "cache_prompt", json_get_bool(part, "cache_prompt", false));
        jw_member_cstr(w, "type", "image");
        jw_member_value(w, "image_urls", json_get(part, "image_urls"));
        jw_object_end(w);
        return;
    }
    struct str text = json_get_str(part, "text");
    event_text_content(w, text);
    if (search->n > 0)
        buf_add_char(search, '\n');
    buf_add(search, text);
}

/* `doc` notes the skills that the message brings in. */
static void user_message(struct event_draft *d, const struct json_value *message, const struct recall *recall,
                         struct doc *doc)
{
    event_draft_init(d, EVENT_MESSAGE, SOURCE_USER);
    struct json_writer w = json_writer(&d->body);
    w.depth = 1;
    jw_key(&w, "llm_message");
    jw_object(&w);
    jw_member_cstr(&w, "role", "user");
    jw_key(&w, "content");
    jw_array(&w);
    const struct json_value *content = json_get(message, "content");
    if (json_type(content) == JSON_STRING)
        event_text_content(&w, json_str(content));
    for (struct json_iter it = json_iter(content); json_next(&it);)
        write_part(&w, it.value, &d->search_text);
    jw_array_end(&w);
    jw_member_raw(&w, "thinking_blocks", STR("[]"));
    jw_object_end(&w);
    recall_write(recall, doc, &w);
    if (json_get_str(message, "sender").p)
        jw_member_str(&w, "sender", json_get_str(message, "sender"));
    d->id = uuid_random();
}

/* ---- requests ---- */

/* Under the append lock: the message, what it does to the status, and whether it starts a run. */
static bool queue_message(struct start *s, const struct json_value *message, const struct recall *recall,
                          bool run, bool initial, struct err **e)
{
    struct conversation *c = s->c;
    draft_list drafts = {0};
    struct event_draft d;
    struct state *next = state_copy(c->pending);
    if (!project_apply(c, next, e)) {
        state_unref(next);
        return false;
    }
    add_system_prompt(next, &drafts);
    struct doc *doc = doc_copy(next->doc);
    s->titles = !doc->has_last_user && !doc->title && next->config->autotitle && next->config->agent;
    user_message(&d, message, recall, doc);
    vec_push(&drafts, d);
    doc->has_last_user = true;
    doc->last_user = d.id;
    if (initial) {
        bytes_unref(doc->initial);
        doc->initial = NULL;
    }
    state_set_doc(next, doc);
    if (next->status == STATUS_FINISHED || next->status == STATUS_STUCK)
        next->status = STATUS_IDLE;

    int64_t seq = (int64_t)next->next_seq + (int64_t)drafts.n - 1;
    bool runs = run && next->status != STATUS_WAITING_FOR_CONFIRMATION, joins = runs && c->run;
    bool queued = start_queue(s, &drafts, next, runs, e);
    if (queued && joins)
        c->wish_seq = seq;
    draft_list_deinit(&drafts);
    return queued;
}

static void send_now(struct conversation *c, const struct json_value *message, bool run, bool initial,
                     conversation_done done, void *arg)
{
    autoerr e = NULL;
    bool queued = false;
    struct recall recall;
    struct start *start = start_new(c, done, arg);
    recall_init(&recall, c, message);
    if (lock_sound(c, NULL, &e)) {
        queued = queue_message(start, message, &recall, run, initial, &e);
        thread_unlock(&c->lock);
    }
    recall_deinit(&recall);
    if (!queued)
        start_committed(start, e);
}

struct waiting { /* a request that waits for what is read before the first event */
    struct conversation *c;
    struct bytes *message; /* JSON; NULL: only a run */
    bool run, initial;
    conversation_done done;
    void *arg;
};

static void wait_for_project(struct waiting template, void (*then)(void *arg, const struct err *e))
{
    struct waiting *w = xmalloc(sizeof(*w));
    *w = template;
    conversation_ref(w->c);
    project_read(w->c, then, w);
}

static void waiting_free(struct waiting *w)
{
    bytes_unref(w->message);
    conversation_unref(w->c);
    free(w);
}

static void send_then(void *arg, const struct err *e)
{
    struct waiting *w = arg;
    autojson message = e ? NULL : json_parse_trusted(bytes_str(w->message), NULL);
    if (message)
        send_now(w->c, json_root(message), w->run, w->initial, w->done, w->arg);
    else
        w->done(w->arg, e);
    waiting_free(w);
}

static void send_message(struct conversation *c, const struct json_value *message, bool run, bool initial,
                         conversation_done done, void *arg)
{
    if (!project_missing(c)) {
        send_now(c, message, run, initial, done, arg);
        return;
    }
    autobuf text = {0};
    json_add(&text, message);
    wait_for_project((struct waiting){c, bytes_take(&text), run, initial, done, arg}, send_then);
}

void conversation_send(struct conversation *c, const struct json_value *message, bool run,
                       conversation_done done, void *arg)
{
    send_message(c, message, run, false, done, arg);
}

void conversation_send_initial(struct conversation *c, conversation_done done, void *arg)
{
    autobytes text = NULL;
    WITH_LOCK(&c->lock)
    text = bytes_ref(c->pending->doc->initial);
    autojson message = text ? json_parse_trusted(bytes_str(text), NULL) : NULL;
    if (message)
        send_message(c, json_root(message), true, true, done, arg);
    else
        done(arg, NULL);
}

struct finished { /* a run of a finished conversation */
    struct conversation *c;
    uint64_t run_number; /* the latest then: when a newer one has begun, its end is the news */
    uint64_t answered_ns;
};

static void finished_at_once(void *arg)
{
    struct finished *f = arg;
    subscriptions_run_ended(f->c, f->run_number, f->answered_ns);
    conversation_unref(f->c);
    free(f);
}

static void tell_finished(struct conversation *c, uint64_t run_number)
{
    struct finished *f = xcalloc(1, sizeof(*f));
    *f = (struct finished){conversation_ref(c), run_number, clock_mono_ns()};
    loop_call(c->service->config.loop, finished_at_once, f);
}

enum run_answer { RUN_QUEUED, RUN_FINISHED, RUN_REFUSED };

/* Under the append lock. */
static enum run_answer queue_run(struct start *s, struct err **e)
{
    struct conversation *c = s->c;
    if (c->pending->status == STATUS_RUNNING) {
        err_set(e, ERR_CONFLICT, "Conversation already running. Wait for completion or pause first.");
        return RUN_REFUSED;
    }
    if (c->pending->status == STATUS_FINISHED) {
        conversation_start(c);
        return RUN_FINISHED;
    }
    draft_list drafts = {0};
    struct state *next = state_copy(c->pending);
    if (!project_apply(c, next, e)) {
        state_unref(next);
        return RUN_REFUSED;
    }
    add_system_prompt(next, &drafts);
    bool queued = start_queue(s, &drafts, next, true, e);
    draft_list_deinit(&drafts);
    return queued ? RUN_QUEUED : RUN_REFUSED;
}

static void run_now(struct conversation *c, conversation_done done, void *arg)
{
    autoerr e = NULL;
    enum run_answer answer = RUN_REFUSED;
    uint64_t latest = 0;
    struct start *start = start_new(c, done, arg);
    if (lock_sound(c, NULL, &e)) {
        answer = queue_run(start, &e);
        latest = atomic_load(&c->run_number);
        thread_unlock(&c->lock);
    }
    if (answer == RUN_QUEUED)
        return;
    start_committed(start, e);
    /* A finished conversation's run ends at once; its client waits for the sign of it all the same. */
    if (answer == RUN_FINISHED)
        tell_finished(c, latest);
}

static void run_then(void *arg, const struct err *e)
{
    struct waiting *w = arg;
    if (e)
        w->done(w->arg, e);
    else
        run_now(w->c, w->done, w->arg);
    waiting_free(w);
}

void conversation_run(struct conversation *c, conversation_done done, void *arg)
{
    if (project_missing(c))
        wait_for_project((struct waiting){.c = c, .done = done, .arg = arg}, run_then);
    else
        run_now(c, done, arg);
}

/* Under the append lock. */
static bool queue_pause(struct conversation *c, conversation_done done, void *arg, struct err **e)
{
    enum status status = c->pending->status;
    if (status != STATUS_IDLE && status != STATUS_RUNNING)
        return false;
    struct state *next = state_copy(c->pending);
    next->status = STATUS_PAUSED;
    struct event_draft d;
    event_draft_init(&d, EVENT_PAUSE, SOURCE_USER);
    bool queued = append_locked(c, &d, 1, next, NULL, done, arg, e);
    event_draft_deinit(&d);
    if (queued)
        c->wish_seq = -1;
    return queued;
}

void conversation_pause(struct conversation *c, conversation_done done, void *arg)
{
    autoerr e = NULL;
    bool queued = false;
    if (lock_sound(c, NULL, &e)) {
        queued = queue_pause(c, done, arg, &e);
        thread_unlock(&c->lock);
    }
    if (!queued)
        done(arg, e);
}

void conversation_interrupt(struct conversation *c, conversation_done done, void *arg)
{
    bool running = false;
    WITH_LOCK(&c->lock)
    {
        running = c->run != NULL && !condense_only(c->run);
        if (c->run && !running)
            mailbox_cancel(c->run->mailbox);
        /* A pause lets the step in flight end; an interrupt after it does not. */
        enum status status = c->pending->status;
        if (running && (status == STATUS_RUNNING || status == STATUS_PAUSED)) {
            c->wish_seq = -1; /* what was asked for before is cancelled, too */
            run_interrupt(c->run);
        }
    }
    if (running)
        done(arg, NULL);
    else
        conversation_pause(c, done, arg);
}

/* Under the append lock. `seen`: the state that the drafts were made from. */
static bool queue_rejection(struct conversation *c, const struct state *seen, draft_list *drafts,
                            conversation_done done, void *arg, struct err **e)
{
    const struct state *p = c->pending;
    if (p->status != STATUS_WAITING_FOR_CONFIRMATION || p->doc->open_from != seen->doc->open_from)
        return err_set(e, ERR_CONFLICT, "the confirmation was answered by somebody else");
    struct state *next = state_copy(p);
    struct doc *doc = doc_copy(p->doc);
    doc->open_from = -1;
    state_set_doc(next, doc);
    next->status = STATUS_IDLE;
    if (!append_locked(c, drafts->at, drafts->n, next, NULL, done, arg, e))
        return false;
    drafts->n = 0;
    return true;
}

void conversation_reject(struct conversation *c, struct str reason, conversation_done done, void *arg)
{
    autoerr e = NULL;
    bool queued = false;
    draft_list drafts = {0};
    struct state *seen = committed_get(c);
    bool waits = seen->status == STATUS_WAITING_FOR_CONFIRMATION;
    if (waits && open_actions_end(c, OPEN_REJECTED, reason, &drafts, &e))
        WITH_LOCK(&c->lock)
    queued = queue_rejection(c, seen, &drafts, done, arg, &e);
    state_unref(seen);
    draft_list_deinit(&drafts);
    if (!queued)
        done(arg, e);
}

/* Commits a changed doc; with `key`, the change is an event too. */
static void commit_doc(struct conversation *c, void (*change)(struct doc *doc, const void *with),
                       const void *with, const char *key, struct str json, conversation_done done, void *arg)
{
    autoerr e = NULL;
    bool queued = false;
    struct event_draft d;
    event_draft_init(&d, EVENT_STATE_UPDATE, SOURCE_ENVIRONMENT);
    if (key)
        event_state_update_body(&d, key, json);
    if (lock_sound(c, NULL, &e)) {
        struct state *next = state_copy(c->pending);
        struct doc *doc = doc_copy(next->doc);
        change(doc, with);
        state_set_doc(next, doc);
        queued = append_locked(c, &d, key ? 1 : 0, next, NULL, done, arg, &e);
        thread_unlock(&c->lock);
    }
    event_draft_deinit(&d);
    if (!queued)
        done(arg, e);
}

static void change_policy(struct doc *doc, const void *with)
{
    doc->policy = *(const struct policy *)with;
}

void conversation_set_policy(struct conversation *c, const struct policy *policy, conversation_done done,
                             void *arg)
{
    autobuf json = {0};
    struct json_writer w = json_writer(&json);
    policy_write(policy, &w);
    commit_doc(c, change_policy, policy, "confirmation_policy", buf_str(&json), done, arg);
}

static void change_analyzer(struct doc *doc, const void *with)
{
    bytes_unref(doc->analyzer);
    doc->analyzer = bytes_ref((struct bytes *)with);
}

void conversation_set_analyzer(struct conversation *c, const struct json_value *analyzer,
                               conversation_done done, void *arg)
{
    autobuf json = {0};
    json_add(&json, analyzer);
    autobytes bytes = json_is_null(analyzer) ? NULL : bytes_new(buf_str(&json));
    commit_doc(c, change_analyzer, bytes, "security_analyzer", buf_str(&json), done, arg);
}

struct title_change {
    struct bytes *title, *tags;
};

static void change_title(struct doc *doc, const void *with)
{
    const struct title_change *t = with;
    if (t->title) {
        bytes_unref(doc->title);
        doc->title = bytes_ref(t->title);
    }
    if (t->tags) {
        bytes_unref(doc->tags);
        doc->tags = bytes_ref(t->tags);
    }
}

void conversation_set_title(struct conversation *c, struct str title, const struct json_value *tags,
                            conversation_done done, void *arg)
{
    autobuf json = {0};
    json_add(&json, tags);
    autobytes title_bytes = title.p ? bytes_new(title) : NULL;
    autobytes tag_bytes = json_is_null(tags) ? NULL : bytes_new(buf_str(&json));
    struct title_change change = {title_bytes, tag_bytes};
    commit_doc(c, change_title, &change, NULL, STR_NONE, done, arg);
}

/* Under the append lock. False without an error: the configuration has changed meanwhile. */
static bool queue_config(struct conversation *c, const struct config *old, struct config *config,
                         conversation_done done, void *arg, struct err **e)
{
    if (c->pending->config != old)
        return false;
    struct state *next = state_copy(c->pending);
    state_set_config(next, config_ref(config));
    return append_locked(c, NULL, 0, next, NULL, done, arg, e);
}

/* Sealing and decoding take time: they are done without the lock, again if somebody else was faster. */
void conversation_set_secrets(struct conversation *c, const struct json_value *secrets,
                              conversation_done done, void *arg)
{
    autoerr e = NULL;
    bool queued = false;
    const struct conversations_config *sc = &c->service->config;
    while (!queued && !e) {
        struct config *old = NULL, *config = NULL;
        WITH_LOCK(&c->lock)
        old = config_ref(c->pending->config);
        config = config_with_secrets(old, secrets, sc->secrets, sc->env, &e);
        if (config && lock_sound(c, NULL, &e)) {
            queued = queue_config(c, old, config, done, arg, &e);
            thread_unlock(&c->lock);
        }
        config_unref(config);
        config_unref(old);
    }
    if (!queued)
        done(arg, e);
}
