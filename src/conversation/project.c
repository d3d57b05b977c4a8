/* project: the files that an agent's configuration asks for (skills of its workspace, a system prompt on disk), read by the
 * conversation's hand before the first event and never again. What was found is committed together with that event, so that
 * it stays the same whatever becomes of the files. Only the first message waits for it, and not for long: without an answer
 * in time the conversation begins without those skills. */
#include "agent/jinja/jinja.h"
#include "agent/skill/hand.h"
#include "base/log.h"
#include "conversation/internal.h"

#define READ_TIMEOUT_MS 5000 /* for each of the three kinds of files */

struct project_waiter {
    struct project_waiter *next;
    void (*then)(void *arg, const struct err *e);
    void *arg;
};

/* Under the append lock. */
struct project {
    bool reading;
    struct project_waiter *waiters, **end;
    struct bytes *found;          /* JSON, once it was read */
    struct config *base, *config; /* pending's configuration, and the same with what was found */
};

enum stage { STAGE_PROJECT, STAGE_USER, STAGE_TEMPLATE, STAGES };

struct reading { /* loop, then one worker */
    struct conversation *c;
    struct config *config;
    struct hand_spec hand;
    enum stage stage;
    struct buf answers[STAGES]; /* fields; the template's text */
    struct err *template_error;
};

static const struct agent_wants *wants_of(const struct config *config)
{
    static const struct agent_wants nothing = {0};
    return config->agent && !config->has_found ? agent_wants(config->agent) : &nothing;
}

static bool is_wanted(const struct config *config)
{
    const struct agent_wants *w = wants_of(config);
    return w->project_skills || w->user_skills || w->template_path.p;
}

void project_free(struct project *p)
{
    if (!p)
        return;
    bytes_unref(p->found);
    config_unref(p->base);
    config_unref(p->config);
    free(p);
}

/* ---- what was found ---- */

static void write_skills(const struct reading *r, enum stage stage, const char *key, struct json_writer *w)
{
    autoarena arena = arena_new();
    struct skill_set set = {0};
    if (r->answers[stage].n > 0)
        skill_hand_decode(buf_str(&r->answers[stage]), arena, &set);
    jw_key(w, key);
    jw_array(w);
    for (size_t i = 0; i < set.list.n; i++)
        skill_write(set.list.at[i], w);
    jw_array_end(w);
    skill_set_deinit(&set);
}

static struct bytes *found_make(const struct reading *r)
{
    autobuf json = {0};
    struct json_writer w = json_writer(&json);
    jw_object(&w);
    write_skills(r, STAGE_PROJECT, "project", &w);
    write_skills(r, STAGE_USER, "user", &w);
    if (wants_of(r->config)->template_path.p)
        jw_member_str(&w, "template", buf_str(&r->answers[STAGE_TEMPLATE]));
    jw_object_end(&w);
    return bytes_take(&json);
}

/* Makes the configuration that the first event goes with. */
static bool project_make(struct conversation *c, struct config *base, struct bytes *found, struct err **e)
{
    struct conversations_config *sc = &c->service->config;
    struct config *config = config_with_found(base, bytes_str(found), sc->secrets, sc->env, e);
    if (config && !config->agent) {
        if (e && !*e)
            *e = err_copy(config->problem);
        config_unref(steal(config));
    }
    if (!config)
        return false;
    WITH_LOCK(&c->lock)
    {
        struct project *p = c->project;
        bytes_unref(p->found);
        config_unref(p->base);
        config_unref(p->config);
        p->found = bytes_ref(found);
        p->base = config_ref(base);
        p->config = config;
    }
    return true;
}

/* ---- reading ---- */

static void reading_free(struct reading *r)
{
    for (size_t i = 0; i < STAGES; i++)
        buf_deinit(&r->answers[i]);
    err_free(r->template_error);
    config_unref(r->config);
    conversation_unref(r->c);
    free(r);
}

/* Worker. */
static void reading_end(void *arg)
{
    struct reading *r = arg;
    struct project_waiter *waiters = NULL;
    autoerr e = steal(r->template_error);
    autobytes found = e ? NULL : found_make(r);
    if (found)
        project_make(r->c, r->config, found, &e);
    WITH_LOCK(&r->c->lock)
    {
        struct project *p = r->c->project;
        waiters = steal(p->waiters);
        p->reading = false;
    }
    while (waiters) {
        struct project_waiter *w = waiters;
        waiters = w->next;
        w->then(w->arg, e);
        free(w);
    }
    reading_free(r);
}

static void reading_go_on(struct reading *r);

static void on_data(void *arg, enum wire_stream stream, struct str data)
{
    struct reading *r = arg;
    if (stream == WIRE_STDOUT && r->stage == STAGE_TEMPLATE)
        buf_add(&r->answers[STAGE_TEMPLATE], data);
}

/* Loop. */
static void on_done(void *arg, struct str fields, const struct err *e)
{
    struct reading *r = arg;
    int64_t status = e ? WIRE_IO : wire_get_int(fields, F_STATUS, WIRE_IO);
    struct str why = e ? str_from(e->text) : wire_get_str(fields, F_MESSAGE);
    if (r->stage == STAGE_TEMPLATE) {
        if (status != WIRE_OK)
            err_set(&r->template_error, e ? e->kind : ERR_INVALID,
                    "agent.system_prompt_filename cannot be read: %.*s", STR_ARG(str_sub(why, 0, 300)));
        else if (wire_get_int(fields, F_TRUNCATED, 0))
            err_set(&r->template_error, ERR_INVALID, "agent.system_prompt_filename has more than %d bytes",
                    JINJA_TEMPLATE_MAX);
    } else if (status == WIRE_OK) {
        buf_add(&r->answers[r->stage], fields);
    } else if (status != WIRE_NOT_FOUND) {
        log_warn("skill files could not be read, the conversation begins without them: %.*s",
                 STR_ARG(str_sub(why, 0, 300)));
    }
    r->stage++;
    reading_go_on(r);
}

static const struct hand_callbacks callbacks = {.on_data = on_data, .on_done = on_done};

/* The next call, if there is one more to make. */
static void reading_go_on(struct reading *r)
{
    const struct agent_wants *w = wants_of(r->config);
    bool wanted[STAGES] = {w->project_skills, w->user_skills, w->template_path.p != NULL};
    struct buf fields = {0};
    while (r->stage < STAGES && !wanted[r->stage])
        r->stage++;
    if (r->stage == STAGES) {
        pool_submit_always(r->c->service->config.pool, reading_end, r);
        return;
    }
    if (r->stage == STAGE_TEMPLATE) {
        wire_add_str(&fields, F_PATH, w->template_path);
        wire_add_int(&fields, F_LIMIT, JINJA_TEMPLATE_MAX);
    } else {
        skill_hand_fields(r->stage == STAGE_USER ? SKILL_PLACE_USER : SKILL_PLACE_PROJECT,
                          r->config->working_dir, &fields);
    }
    hand_call(r->c->service->config.hands, &r->hand, r->stage == STAGE_TEMPLATE ? OP_FILE_READ : OP_SKILLS,
              &fields, READ_TIMEOUT_MS, true, &callbacks, r);
}

/* Under the append lock: a reading to be started, or NULL when one is under way. */
static struct reading *reading_join(struct conversation *c, void (*then)(void *, const struct err *),
                                    void *arg)
{
    if (!c->project)
        c->project = xcalloc(1, sizeof(*c->project));
    struct project *p = c->project;
    struct project_waiter *w = xcalloc(1, sizeof(*w));
    *w = (struct project_waiter){.then = then, .arg = arg};
    if (!p->waiters)
        p->end = &p->waiters;
    *p->end = w;
    p->end = &w->next;
    if (p->reading)
        return NULL;
    p->reading = true;
    struct reading *r = xcalloc(1, sizeof(*r));
    r->c = conversation_ref(c);
    r->config = config_ref(c->pending->config);
    r->hand = (struct hand_spec){.id = c->id, .owner_token = c->token, .working_dir = r->config->working_dir};
    return r;
}

/* Under the append lock. */
static bool is_missing(const struct conversation *c)
{
    const struct project *p = c->project;
    return c->pending->leaf_seq < 0 && is_wanted(c->pending->config) && !(p && p->config);
}

bool project_missing(struct conversation *c)
{
    bool missing = false;
    WITH_LOCK(&c->lock)
    missing = is_missing(c);
    return missing;
}

void project_read(struct conversation *c, void (*then)(void *arg, const struct err *e), void *arg)
{
    struct reading *r = NULL;
    bool missing = false;
    WITH_LOCK(&c->lock)
    {
        missing = is_missing(c);
        r = missing ? reading_join(c, then, arg) : NULL;
    }
    if (!missing)
        then(arg, NULL);
    else if (r)
        reading_go_on(r);
}

struct config *project_config(struct conversation *c)
{
    const struct project *p = c->project;
    bool first = c->pending->leaf_seq < 0 && is_wanted(c->pending->config);
    return first && p && p->config && p->base == c->pending->config ? p->config : c->pending->config;
}

bool project_apply(struct conversation *c, struct state *next, struct err **e)
{
    struct project *p = c->project;
    const struct conversations_config *sc = &c->service->config;
    if (next->leaf_seq >= 0 || !is_wanted(next->config) || !p || !p->config)
        return true;
    /* Secrets were set while the files were read: seldom enough to be done under the lock. */
    struct config *config = p->base == next->config ? config_ref(p->config)
                                                    : config_with_found(next->config, bytes_str(p->found),
                                                                        sc->secrets, sc->env, e);
    if (config)
        state_set_config(next, config);
    return config != NULL;
}
