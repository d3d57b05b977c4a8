/* registry: which conversations are open, how they get there (load, claim, repair) and how they leave memory. */
#include "base/clock.h"
#include "base/log.h"
#include "conversation/load.h"

#define SWEEP_MS 60000 /* between looks for idle conversations, while any is open */
#define RENEW_MS (STORE_LEASE_MS / 3)
#define RECOVER_MAX 10000 /* conversations looked at after a start; more wait for their first use */

static struct str id_key(const struct uuid *id)
{
    return str_make(id->b, sizeof id->b);
}

/* ---- one conversation ---- */

static struct conversation *conversation_new(struct conversations *s, const struct uuid *id)
{
    struct conversation *c = xcalloc(1, sizeof *c);
    c->refs = 1;
    c->service = s;
    c->id = *id;
    c->wish_seq = -1;
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->snapshot_lock, NULL);
    return c;
}

struct conversation *conversation_ref(struct conversation *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void conversation_unref(struct conversation *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (c->token)
        store_release(c->service->config.store, c->number, c->token);
    tail_clear(c);
    state_unref(c->pending);
    state_unref(c->committed);
    bytes_unref(c->info);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->snapshot_lock);
    free(c);
}

static void set_state(struct conversation *c, struct state *state)
{
    c->committed = state;
    c->pending = state_ref(state);
}

enum status conversation_status(struct conversation *c)
{
    enum status status = STATUS_IDLE;
    WITH_LOCK(&c->snapshot_lock)
    status = c->committed->status;
    return status;
}

void conversations_drop(struct conversation *c)
{
    bool was_open = false;
    WITH_LOCK(&c->service->lock)
    if (map_get(c->service->open, id_key(&c->id)) == c) {
        map_remove(c->service->open, id_key(&c->id));
        was_open = true;
    }
    if (was_open)
        conversation_unref(c);
}

/* ---- opening ---- */

/* Answers everybody who waits for an open; `e` NULL: it is ready. */
static void open_end(struct conversation *c, const struct err *e)
{
    struct waiter *waiters = NULL;
    WITH_LOCK(&c->service->lock)
    {
        waiters = steal(c->waiters);
        c->ready = !e;
        c->used_ns = clock_mono_ns();
        if (e && map_get(c->service->open, id_key(&c->id)) == c)
            map_remove(c->service->open, id_key(&c->id));
    }
    while (waiters) {
        struct waiter *w = waiters;
        waiters = w->next;
        w->done(w->arg, e ? NULL : conversation_ref(c), e);
        free(w);
    }
    if (e)
        conversation_unref(c); /* the registry's */
}

static void open_repair(void *arg)
{
    struct conversation *c = arg;
    autoerr e = NULL;
    if (!conversation_ensure_sound(c, &e))
        log_warn("a conversation could not be repaired now: %s", err_text(e));
    open_end(c, NULL);
}

static void open_claimed(void *arg, uint64_t token, const struct err *e)
{
    struct conversation *c = arg;
    if (e) {
        open_end(c, e);
        return;
    }
    c->token = token;
    pool_submit_always(c->service->config.pool, open_repair, c);
}

static void open_load(void *arg)
{
    struct conversation *c = arg;
    struct conversations *s = c->service;
    autoarena arena = arena_new();
    struct store_row row;
    autoerr e = NULL;
    struct state *state = NULL;
    if (!store_get(s->config.store, &c->id, arena, &row, &e) || !(state = load_state(s, &row, &e))) {
        open_end(c, e);
        return;
    }
    c->number = row.number;
    set_state(c, state);
    store_claim(s->config.store, c->number, str_from(s->owner), open_claimed, c);
}

/* Under the registry lock: the open conversation, with a reference, or NULL with `waiter` queued (and `*fresh` set when
 * this caller has to start the open). */
static struct conversation *enter(struct conversations *s, const struct uuid *id, struct waiter *waiter,
                                  struct conversation **fresh)
{
    struct conversation *c = map_get(s->open, id_key(id));
    if (c && c->ready) {
        c->used_ns = clock_mono_ns();
        return conversation_ref(c);
    }
    if (!c) {
        c = *fresh = conversation_new(s, id);
        map_put(s->open, id_key(id), c);
    }
    waiter->next = c->waiters;
    c->waiters = waiter;
    return NULL;
}

static struct waiter *waiter_new(void (*done)(void *, struct conversation *, const struct err *), void *arg)
{
    struct waiter *w = xcalloc(1, sizeof *w);
    w->done = done;
    w->arg = arg;
    return w;
}

void conversations_open(struct conversations *s, const struct uuid *id,
                        void (*done)(void *arg, struct conversation *c, const struct err *e), void *arg)
{
    struct conversation *c = NULL, *fresh = NULL;
    struct waiter *w = waiter_new(done, arg);
    WITH_LOCK(&s->lock)
    c = enter(s, id, w, &fresh);
    if (c) {
        free(w);
        done(arg, c, NULL);
    } else if (fresh) {
        pool_submit_always(s->config.pool, open_load, fresh);
    }
}

struct conversation *conversations_peek(struct conversations *s, const struct uuid *id)
{
    struct conversation *found = NULL;
    WITH_LOCK(&s->lock)
    {
        struct conversation *c = map_get(s->open, id_key(id));
        if (c && c->ready) {
            c->used_ns = clock_mono_ns();
            found = conversation_ref(c);
        }
    }
    return found;
}

/* ---- creating ---- */

struct creation {
    struct conversation *c;
    struct json_doc *message; /* initial message or NULL */
    struct buf state_text;
    struct store_create row;
    void (*done)(void *arg, struct conversation *c, bool created, const struct err *e);
    void *arg;
    bool created;
};

static void creation_free(struct creation *cr)
{
    json_doc_free(cr->message);
    buf_deinit(&cr->state_text);
    free(cr);
}

/* The creation's own waiter: last step of both "created" and "existed". */
static void creation_opened(void *arg, struct conversation *c, const struct err *e)
{
    struct creation *cr = arg;
    cr->done(cr->arg, c, cr->created, e);
    creation_free(cr);
}

static void deleted(void *arg, const struct err *e)
{
    (void)arg;
    if (e)
        log_warn("a conversation that could not be begun is left behind: %s", err_text(e));
}

static void first_message_done(void *arg, const struct err *e)
{
    struct conversation *c = arg;
    if (e) /* a conversation without the message it was made for is of no use to anybody */
        store_delete(c->service->config.store, c->number, deleted, NULL);
    open_end(c, e);
}

static void creation_ready(void *arg)
{
    struct creation *cr = arg;
    struct conversation *c = cr->c;
    if (!cr->message) {
        open_end(c, NULL);
        return;
    }
    /* The message is durable before the answer; its run begins right behind it. */
    struct json_doc *message = steal(cr->message);
    conversation_send(c, json_root(message), true, first_message_done, c);
    json_doc_free(message);
}

static void creation_claimed(void *arg, uint64_t token, const struct err *e)
{
    struct creation *cr = arg;
    if (e) {
        open_end(cr->c, e);
        return;
    }
    cr->c->token = token;
    pool_submit_always(cr->c->service->config.pool, creation_ready, cr);
}

static void creation_stored(void *arg, int64_t number, const struct err *e)
{
    struct creation *cr = arg;
    struct conversation *c = cr->c;
    if (e && e->kind == ERR_CONFLICT) { /* it exists: open that one */
        state_unref(steal(c->pending));
        state_unref(steal(c->committed));
        pool_submit_always(c->service->config.pool, open_load, c);
        return;
    }
    if (e) {
        open_end(c, e);
        return;
    }
    cr->created = true;
    c->number = number;
    store_claim(c->service->config.store, number, str_from(c->service->owner), creation_claimed, cr);
}

/* The workspace exists (or could not be made, which its first tool will say). */
static void creation_prepared(void *arg, struct str fields, const struct err *e)
{
    struct creation *cr = arg;
    if (e || wire_get_int(fields, F_STATUS, WIRE_IO) != WIRE_OK) {
        struct str why = e ? str_from(e->text) : wire_get_str(fields, F_MESSAGE);
        log_warn("a workspace could not be prepared: %.*s", STR_ARG(why));
    }
    store_create(cr->c->service->config.store, &cr->row, creation_stored, cr);
}

#define PREPARE_TIMEOUT_MS 10000 /* a workspace on a dead network mount must not hold the answer for ever */

static void prepare_workspace(struct creation *cr)
{
    struct conversations *s = cr->c->service;
    /* One hand for all preparations: it makes a directory and an empty repository and serves nothing from them. */
    struct hand_spec hand = {.working_dir = STR("/")};
    static const struct hand_callbacks callbacks = {.on_done = creation_prepared};
    struct buf fields = {0};
    wire_add_str(&fields, F_PATH, cr->c->pending->config->working_dir);
    wire_add_int(&fields, F_GIT_INIT, 1);
    hand_call(s->config.hands, &hand, OP_PREPARE, &fields, PREPARE_TIMEOUT_MS, true, &callbacks, cr);
}

static struct json_doc *copy_message(const struct json_value *message)
{
    if (json_is_null(message))
        return NULL;
    autobuf text = {0};
    json_add(&text, message);
    return json_parse_trusted(buf_str(&text), NULL);
}

static struct state *first_state(struct conversations *s, const struct conversation_request *r,
                                 struct err **e)
{
    struct config_source source = {
        .agent = r->agent,
        .secrets = r->secrets,
        .hook_config = r->hook_config,
        .client_tools = r->client_tools,
        .working_dir = r->working_dir,
        .max_iterations = r->max_iterations,
        .stuck_detection = r->stuck_detection,
        .autotitle = r->autotitle,
        .parent = r->parent,
    };
    struct config *config = config_make(&source, s->config.secrets, s->config.env, e);
    if (!config)
        return NULL;
    struct state *state = state_new();
    state->id = r->id;
    state->status = STATUS_IDLE;
    state->config = config;
    state->stats = stats_from_sums(NULL, 0);
    state->doc = doc_new();
    state->doc->policy = r->policy;
    autobuf json = {0};
    if (!json_is_null(r->security_analyzer)) {
        json_add(&json, r->security_analyzer);
        state->doc->analyzer = bytes_take(&json);
    }
    if (!json_is_null(r->tags)) {
        json_add(&json, r->tags);
        state->doc->tags = bytes_take(&json);
    }
    state->created_us = state->updated_us = clock_wall_us();
    return state;
}

static void fill_row(struct creation *cr)
{
    const struct state *state = cr->c->pending;
    doc_write(state->doc, &cr->state_text);
    cr->row = (struct store_create){
        .id = state->id,
        .kind = STORE_CONVERSATION,
        .status = (int)state->status,
        .created_us = state->created_us,
        .state = buf_str(&cr->state_text),
        .config = bytes_str(state->config->stored),
        .title = STR_NONE,
    };
}

void conversations_create(struct conversations *s, const struct conversation_request *request,
                          void (*done)(void *arg, struct conversation *c, bool created, const struct err *e),
                          void *arg)
{
    struct conversation_request r = *request;
    if (uuid_is_zero(&r.id))
        r.id = uuid_random();
    autoerr e = NULL;
    struct state *state = first_state(s, &r, &e);
    if (!state) {
        done(arg, NULL, false, e);
        return;
    }
    struct creation *cr = xcalloc(1, sizeof *cr);
    cr->done = done;
    cr->arg = arg;
    cr->message = copy_message(r.initial_message);
    struct conversation *c = NULL, *fresh = NULL;
    struct waiter *w = waiter_new(creation_opened, cr);
    WITH_LOCK(&s->lock)
    c = enter(s, &r.id, w, &fresh);
    if (!fresh) {
        state_unref(state);
        if (c) {
            free(w);
            creation_opened(cr, c, NULL);
        }
        return;
    }
    cr->c = fresh;
    set_state(fresh, state);
    fill_row(cr);
    prepare_workspace(cr);
}

/* ---- deleting ---- */

struct deletion {
    struct conversations *s;
    struct uuid id;
    conversation_done done;
    void *arg;
};

static void deleted_sockets(void *arg)
{
    struct conversation *c = arg;
    subscriptions_close_all(c);
    conversation_unref(c);
}

static void delete_row(struct deletion *d, int64_t number)
{
    store_delete(d->s->config.store, number, d->done, d->arg);
    free(d);
}

/* One that cannot be opened (damaged, owned elsewhere) can still be deleted. */
static void delete_unopened(void *arg)
{
    struct deletion *d = arg;
    int64_t number;
    autoerr e = NULL;
    if (conversations_number(d->s, &d->id, &number, &e)) {
        delete_row(d, number);
        return;
    }
    d->done(d->arg, e);
    free(d);
}

static void delete_opened(void *arg, struct conversation *c, const struct err *e)
{
    struct deletion *d = arg;
    if (!c) {
        if (e->kind == ERR_NOT_FOUND) {
            d->done(d->arg, e);
            free(d);
        } else {
            pool_submit_always(d->s->config.pool, delete_unopened, d);
        }
        return;
    }
    WITH_LOCK(&c->lock)
    {
        c->deleted = true;
        c->token = 0; /* nothing is left to release */
        if (c->run)
            mailbox_cancel(c->run->mailbox);
    }
    conversations_drop(c);
    hand_end(d->s->config.hands, &c->id);
    loop_call(d->s->config.loop, deleted_sockets, conversation_ref(c));
    delete_row(d, c->number);
    conversation_unref(c);
}

void conversations_delete(struct conversations *s, const struct uuid *id, conversation_done done, void *arg)
{
    struct deletion *d = xcalloc(1, sizeof *d);
    *d = (struct deletion){.s = s, .id = *id, .done = done, .arg = arg};
    conversations_open(s, id, delete_opened, d);
}

/* ---- all of them ---- */

static bool is_idle(struct conversation *c, uint64_t before_ns)
{
    return c->ready && atomic_load(&c->refs) == 1 && c->used_ns < before_ns;
}

static void sweep(void *arg);

static void arm_sweep(struct conversations *s)
{
    s->sweep_timer = loop_timer(s->config.loop, SWEEP_MS, sweep, s);
}

/* References are only handed out under the registry lock, so an idle one found here cannot come to life meanwhile. */
static void sweep(void *arg)
{
    struct conversations *s = arg;
    uint64_t now = clock_mono_ns(), age = s->config.idle_ms * NS_PER_MS;
    VEC(struct conversation *) idle = {0};
    WITH_LOCK(&s->lock)
    {
        size_t cursor = 0;
        void *value;
        while (map_next(s->open, &cursor, NULL, &value)) {
            struct conversation *c = value;
            if (now > age && is_idle(c, now - age))
                vec_push(&idle, c);
        }
        for (size_t i = 0; i < idle.n; i++)
            map_remove(s->open, id_key(&idle.at[i]->id));
    }
    for (size_t i = 0; i < idle.n; i++)
        conversation_unref(idle.at[i]);
    vec_deinit(&idle);
    arm_sweep(s);
}

static void renew(void *arg)
{
    struct conversations *s = arg;
    size_t open = 0;
    WITH_LOCK(&s->lock)
    open = map_count(s->open);
    if (open > 0)
        store_renew(s->config.store, str_from(s->owner));
    s->renew_timer = loop_timer(s->config.loop, RENEW_MS, renew, s);
}

struct store *conversations_store(struct conversations *s)
{
    return s->config.store;
}

struct conversations *conversations_new(const struct conversations_config *config, struct err **e)
{
    (void)e;
    struct conversations *s = xcalloc(1, sizeof *s);
    s->config = *config;
    s->config.conversations_path =
        (struct str){str_dup(config->conversations_path), config->conversations_path.n};
    struct uuid owner = uuid_random();
    uuid_hex(&owner, s->owner);
    pthread_mutex_init(&s->lock, NULL);
    s->open = map_new();
    if (s->config.idle_ms > 0)
        arm_sweep(s);
    s->renew_timer = loop_timer(s->config.loop, RENEW_MS, renew, s);
    return s;
}

static void recovered(void *arg, struct conversation *c, const struct err *e)
{
    (void)arg;
    if (e)
        log_warn("a conversation that was running could not be opened: %s", err_text(e));
    conversation_unref(c);
}

static void recover(void *arg)
{
    struct conversations *s = arg;
    struct uuid *ids = xcalloc(RECOVER_MAX, sizeof *ids);
    size_t n = 0;
    autoerr e = NULL;
    if (!store_ids_with_status(s->config.store, STATUS_RUNNING, ids, RECOVER_MAX, &n, &e))
        log_warn("conversations to recover cannot be listed: %s", err_text(e));
    for (size_t i = 0; i < n; i++)
        conversations_open(s, &ids[i], recovered, NULL);
    if (n > 0)
        log_info("recovering %zu conversations that were running", n);
    free(ids);
}

void conversations_recover(struct conversations *s)
{
    pool_submit_always(s->config.pool, recover, s);
}

void conversations_close(struct conversations *s, void (*done)(void *arg), void *arg)
{
    VEC(struct conversation *) open = {0};
    atomic_store(&s->closing, true);
    WITH_LOCK(&s->lock)
    {
        size_t cursor = 0;
        void *value;
        while (map_next(s->open, &cursor, NULL, &value))
            vec_push(&open, conversation_ref(value));
    }
    for (size_t i = 0; i < open.n; i++) {
        struct conversation *c = open.at[i];
        WITH_LOCK(&c->lock)
        if (c->run) {
            c->interrupt = c->pause_instead = true;
            mailbox_cancel(c->run->mailbox);
        }
        conversation_unref(c);
    }
    vec_deinit(&open);
    loop_timer_cancel(s->config.loop, s->sweep_timer);
    loop_timer_cancel(s->config.loop, s->renew_timer);
    if (atomic_load(&s->runs) == 0) {
        done(arg);
        return;
    }
    s->closed = done;
    s->closed_arg = arg;
}

void conversations_free(struct conversations *s)
{
    size_t cursor = 0;
    void *value;
    while (map_next(s->open, &cursor, NULL, &value))
        conversation_unref(value);
    map_free(s->open);
    pthread_mutex_destroy(&s->lock);
    free((char *)s->config.conversations_path.p);
    free(s);
}
