/* registry: which conversations are open, and how they leave memory. */
#include "base/clock.h"
#include "base/log.h"
#include "conversation/open.h"
#include <malloc.h>

#define SWEEP_MS 60000 /* most between looks for idle conversations */
#define RENEW_MS (STORE_LEASE_MS / 3)
#define RECOVER_MAX 10000 /* conversations looked at after a start; more wait for their first use */

struct str conversation_key(const struct uuid *id)
{
    return str_make(id->b, sizeof id->b);
}

/* ---- one conversation ---- */

struct conversation *conversation_new(struct conversations *s, const struct uuid *id)
{
    struct conversation *c = xcalloc(1, sizeof *c);
    c->refs = 1;
    c->service = s;
    c->id = *id;
    c->wish_seq = -1;
    c->waiters_end = &c->waiters;
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
    /* At shutdown the store goes first, and gives up what this process owned by itself. */
    if (c->token && !atomic_load(&c->service->closing))
        store_release(c->service->config.store, c->number, c->token);
    conversation_mcp_close(c);
    tail_clear(c);
    project_free(c->project);
    side_deinit(&c->side);
    state_unref(c->pending);
    state_unref(c->committed);
    bytes_unref(c->info);
    mask_unref(c->looked_up);
    state_unref(c->frames_of);
    bytes_unref(c->full_frame);
    bytes_unref(c->stats_frame);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->snapshot_lock);
    free(c);
}

void open_set_state(struct conversation *c, struct state *state)
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

/* ---- all of them ---- */

static bool is_idle(struct conversation *c, uint64_t before_ns)
{
    return c->ready && atomic_load(&c->refs) == 1 && c->used_ns < before_ns;
}

static void sweep(void *arg);

static void trim(void *arg)
{
    (void)arg;
    malloc_trim(0);
}

static void arm_sweep(struct conversations *s)
{
    uint64_t ms = s->config.idle_ms < SWEEP_MS ? s->config.idle_ms : SWEEP_MS;
    s->sweep_timer = loop_timer(s->config.loop, ms, sweep, s);
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
            if (now > age && is_idle(c, now - age) && !session_end(c, false))
                vec_push(&idle, c);
        }
        for (size_t i = 0; i < idle.n; i++)
            map_remove(s->open, conversation_key(&idle.at[i]->id));
    }
    for (size_t i = 0; i < idle.n; i++)
        conversation_unref(idle.at[i]);
    if (idle.n > 0) /* what they held goes back to the system; on a worker, because it takes a while */
        pool_submit_always(s->config.pool, trim, NULL);
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

struct conversations *conversations_new(const struct conversations_config *config)
{
    struct conversations *s = xcalloc(1, sizeof *s);
    s->config = *config;
    s->config.conversations_path =
        (struct str){str_dup(config->conversations_path), config->conversations_path.n};
    struct uuid owner = uuid_random();
    uuid_hex(&owner, s->owner);
    pthread_mutex_init(&s->lock, NULL);
    s->open = map_new();
    s->live = live_new();
    if (s->config.idle_ms > 0)
        arm_sweep(s);
    s->renew_timer = loop_timer(s->config.loop, RENEW_MS, renew, s);
    return s;
}

/* ---- after a start ---- */

#define RECOVER_LANES 4 /* opened at a time: requests come first */

/* One lane opens its conversations one after the other and ends itself. */
struct lane {
    struct conversations *s;
    size_t n, next;
    struct uuid ids[];
};

static void lane_go_on(struct lane *lane);

static void lane_opened(void *arg, struct conversation *c, const struct err *e)
{
    if (e)
        log_warn("a conversation that was running could not be opened: %s", err_text(e));
    conversation_unref(c);
    lane_go_on(arg);
}

static void lane_go_on(struct lane *lane)
{
    if (lane->next < lane->n && !atomic_load(&lane->s->closing))
        conversations_open(lane->s, &lane->ids[lane->next++], lane_opened, lane);
    else
        free(lane);
}

/* Takes every RECOVER_LANES-th of the ids, from `first` on. */
static void lane_start(struct conversations *s, const struct uuid *ids, size_t n, size_t first)
{
    struct lane *lane = xcalloc(1, sizeof(*lane) + (n / RECOVER_LANES + 1) * sizeof(*ids));
    lane->s = s;
    for (size_t i = first; i < n; i += RECOVER_LANES)
        lane->ids[lane->n++] = ids[i];
    lane_go_on(lane);
}

static void recover(void *arg)
{
    struct conversations *s = arg;
    autofree struct uuid *ids = xcalloc(RECOVER_MAX, sizeof(*ids));
    size_t n = 0;
    autoerr e = NULL;
    if (!store_ids_with_status(s->config.store, STATUS_RUNNING, ids, RECOVER_MAX, &n, &e))
        log_warn("conversations to recover cannot be listed: %s", err_text(e));
    if (n > 0)
        log_info("recovering %zu conversations that were running", n);
    for (size_t i = 0; i < RECOVER_LANES && i < n; i++)
        lane_start(s, ids, n, i);
}

void conversations_recover(struct conversations *s)
{
    pool_submit_always(s->config.pool, recover, s);
}

void conversations_close(struct conversations *s, void (*done)(void *arg), void *arg)
{
    VEC(struct conversation *) open = {0};
    atomic_store(&s->closing, true);
    asides_cancel(s);
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
            run_interrupt(c->run);
        }
        conversation_mend_stop(c);
        conversation_mcp_close(c);
        conversation_unref(c);
    }
    vec_deinit(&open);
    loop_timer_cancel(s->config.loop, s->sweep_timer);
    loop_timer_cancel(s->config.loop, s->renew_timer);
    s->closed = done;
    s->closed_arg = arg;
    if (atomic_load(&s->runs) == 0)
        sessions_close(s);
}

void conversations_free(struct conversations *s)
{
    size_t cursor = 0;
    void *value;
    while (map_next(s->open, &cursor, NULL, &value))
        conversation_unref(value);
    map_free(s->open);
    live_free(s->live);
    vec_deinit(&s->asides);
    pthread_mutex_destroy(&s->lock);
    free((char *)s->config.conversations_path.p);
    free(s);
}
