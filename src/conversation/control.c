/* control: what clients ask of a conversation. Each function decides under the append lock and queues one commit; the
 * run thread, if there is one, sees the outcome in the pending status. */
#include "base/clock.h"
#include "conversation/internal.h"

/* ---- starting runs ---- */

struct start { /* a request whose commit starts, or joins, a run */
    struct conversation *c;
    struct run *run; /* to launch, or NULL */
    bool finished;   /* nothing to do: tell the sockets that the run is over */
    conversation_done done;
    void *arg;
};

static void finished_at_once(void *arg)
{
    struct conversation *c = arg;
    subscriptions_run_ended(c, clock_mono_ns());
    conversation_unref(c);
}

/* The commit has happened: answer first, then let the run begin. */
static void start_committed(void *arg, const struct err *e)
{
    struct start *s = arg;
    s->done(s->arg, e);
    if (e) {
        if (s->run)
            run_drop(s->run);
    } else if (s->run) {
        s->run->answered_ns = clock_mono_ns();
        run_launch(s->run);
    } else {
        WITH_LOCK(&s->c->lock)
        if (s->c->run)
            s->c->run->answered_ns = clock_mono_ns();
    }
    conversation_unref(s->c);
    free(s);
}

static struct start *start_new(struct conversation *c, conversation_done done, void *arg)
{
    struct start *s = xcalloc(1, sizeof *s);
    s->c = conversation_ref(c);
    s->done = done;
    s->arg = arg;
    return s;
}

/* Under the append lock: the status becomes RUNNING, with a thread if there is none. */
static void begin_run(struct conversation *c, struct state *next, struct start *start)
{
    next->status = STATUS_RUNNING;
    if (!c->run)
        start->run = run_new(c);
}

/* The commit could not even be queued. */
static void start_failed(struct start *s, const struct err *e)
{
    start_committed(s, e);
}

/* ---- drafts ---- */

static void add_system_prompt(struct conversation *c, draft_list *drafts)
{
    const struct state *s = c->pending;
    if (s->leaf_seq >= 0 || !s->config->agent)
        return;
    struct event_draft d;
    event_draft_init(&d, EVENT_SYSTEM_PROMPT, SOURCE_AGENT);
    agent_system_prompt(s->config->agent, s->config->working_dir, s->config->mask, s->doc->analyzer != NULL,
                        &d);
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

static void user_message(struct event_draft *d, const struct json_value *message)
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
    jw_member_raw(&w, "activated_skills", STR("[]"));
    jw_member_raw(&w, "extended_content", STR("[]"));
    if (json_get_str(message, "sender").p)
        jw_member_str(&w, "sender", json_get_str(message, "sender"));
    d->id = uuid_random();
    if (d->body.n <= EVENT_SOCKET_MAX - 1024)
        return;
    /* Too large for a socket: there the text is cut, the log has all of it. */
    struct json_writer r = json_writer(&d->reduced);
    r.depth = 1;
    jw_key(&r, "llm_message");
    jw_object(&r);
    jw_member_cstr(&r, "role", "user");
    jw_key(&r, "content");
    jw_array(&r);
    autobuf cut = {0};
    buf_add(&cut, str_sub(buf_str(&d->search_text), 0, 100000));
    buf_add(&cut, STR(" […]"));
    event_text_content(&r, buf_str(&cut));
    jw_array_end(&r);
    jw_member_raw(&r, "thinking_blocks", STR("[]"));
    jw_object_end(&r);
    jw_member_raw(&r, "activated_skills", STR("[]"));
    jw_member_raw(&r, "extended_content", STR("[]"));
}

/* ---- requests ---- */

void conversation_send(struct conversation *c, const struct json_value *message, bool run,
                       conversation_done done, void *arg)
{
    autoerr e = NULL;
    draft_list drafts = {0};
    bool queued = false;
    struct start *start = start_new(c, done, arg);
    if (conversation_ensure_sound(c, &e))
        WITH_LOCK(&c->lock)
        {
            struct state *next = state_copy(c->pending);
            add_system_prompt(c, &drafts);
            struct event_draft d;
            user_message(&d, message);
            vec_push(&drafts, d);
            struct doc *doc = doc_copy(next->doc);
            doc->has_last_user = true;
            doc->last_user = d.id;
            state_set_doc(next, doc);

            bool runs_now = c->run && next->status == STATUS_RUNNING;
            if (next->status == STATUS_FINISHED || next->status == STATUS_STUCK)
                next->status = STATUS_IDLE;
            int64_t seq = (int64_t)next->next_seq + (int64_t)drafts.n - 1;
            if (run && !runs_now && next->status != STATUS_WAITING_FOR_CONFIRMATION)
                begin_run(c, next, start);
            queued = append_locked(c, drafts.at, drafts.n, next, NULL, start_committed, start, &e);
            if (queued && run && runs_now)
                c->wish_seq = seq;
            drafts.n = queued ? 0 : drafts.n;
        }
    draft_list_deinit(&drafts);
    if (!queued)
        start_failed(start, e);
}

void conversation_run(struct conversation *c, conversation_done done, void *arg)
{
    autoerr e = NULL;
    draft_list drafts = {0};
    bool queued = false, finished = false;
    struct start *start = start_new(c, done, arg);
    if (conversation_ensure_sound(c, &e))
        WITH_LOCK(&c->lock)
        {
            finished = c->pending->status == STATUS_FINISHED;
            if (c->run && c->pending->status == STATUS_RUNNING) {
                err_set(&e, ERR_CONFLICT,
                        "Conversation already running. Wait for completion or pause first.");
            } else if (!finished) {
                struct state *next = state_copy(c->pending);
                add_system_prompt(c, &drafts);
                begin_run(c, next, start);
                queued = append_locked(c, drafts.at, drafts.n, next, NULL, start_committed, start, &e);
                drafts.n = queued ? 0 : drafts.n;
            }
        }
    draft_list_deinit(&drafts);
    if (queued)
        return;
    if (e || !finished) {
        start_failed(start, e);
        return;
    }
    /* A finished conversation's run ends at once; its client waits for the sign of it all the same. */
    done(arg, NULL);
    loop_call(c->service->config.loop, finished_at_once, conversation_ref(c));
    conversation_unref(start->c);
    free(start);
}

void conversation_pause(struct conversation *c, conversation_done done, void *arg)
{
    autoerr e = NULL;
    bool queued = false;
    if (conversation_ensure_sound(c, &e))
        WITH_LOCK(&c->lock)
        {
            enum status status = c->pending->status;
            if (status == STATUS_IDLE || status == STATUS_RUNNING) {
                struct state *next = state_copy(c->pending);
                next->status = STATUS_PAUSED;
                struct event_draft d;
                event_draft_init(&d, EVENT_PAUSE, SOURCE_USER);
                queued = append_locked(c, &d, 1, next, NULL, done, arg, &e);
                event_draft_deinit(&d);
            }
        }
    if (!queued)
        done(arg, e);
}

void conversation_interrupt(struct conversation *c, conversation_done done, void *arg)
{
    bool running = false;
    WITH_LOCK(&c->lock)
    {
        running = c->run != NULL;
        if (running) {
            c->interrupt = true;
            mailbox_cancel(c->run->mailbox);
        }
    }
    if (running)
        done(arg, NULL);
    else
        conversation_pause(c, done, arg);
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
        {
            const struct state *p = c->pending;
            if (p->status == STATUS_WAITING_FOR_CONFIRMATION && p->doc->open_from == seen->doc->open_from) {
                struct state *next = state_copy(p);
                struct doc *doc = doc_copy(p->doc);
                doc->open_from = -1;
                state_set_doc(next, doc);
                next->status = STATUS_IDLE;
                queued = append_locked(c, drafts.at, drafts.n, next, NULL, done, arg, &e);
                drafts.n = queued ? 0 : drafts.n;
            } else {
                err_set(&e, ERR_CONFLICT, "the confirmation was answered by somebody else");
            }
        }
    state_unref(seen);
    draft_list_deinit(&drafts);
    if (!queued)
        done(arg, e);
}

/* Commits a changed doc; with `key`, the change is an event too. Takes the reference. */
static void commit_doc(struct conversation *c, void (*change)(struct doc *doc, const void *with),
                       const void *with, const char *key, struct str json, conversation_done done, void *arg)
{
    autoerr e = NULL;
    bool queued = false;
    if (conversation_ensure_sound(c, &e))
        WITH_LOCK(&c->lock)
        {
            struct state *next = state_copy(c->pending);
            struct doc *doc = doc_copy(next->doc);
            change(doc, with);
            state_set_doc(next, doc);
            struct event_draft d;
            event_draft_init(&d, EVENT_STATE_UPDATE, SOURCE_ENVIRONMENT);
            if (key)
                event_state_update_body(&d, key, json);
            queued = append_locked(c, &d, key ? 1 : 0, next, NULL, done, arg, &e);
            event_draft_deinit(&d);
        }
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

void conversation_set_secrets(struct conversation *c, const struct json_value *secrets,
                              conversation_done done, void *arg)
{
    autoerr e = NULL;
    bool queued = false;
    const struct conversations_config *sc = &c->service->config;
    if (conversation_ensure_sound(c, &e))
        WITH_LOCK(&c->lock)
        {
            struct config *config =
                config_with_secrets(c->pending->config, secrets, sc->secrets, sc->env, &e);
            if (config) {
                struct state *next = state_copy(c->pending);
                state_set_config(next, config);
                queued = append_locked(c, NULL, 0, next, NULL, done, arg, &e);
            }
        }
    if (!queued)
        done(arg, e);
}
