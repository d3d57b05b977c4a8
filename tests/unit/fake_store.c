#include "fake_store_rows.h"
#include <ctype.h>
#include <stdio.h>

/* ---- rows, under the lock ---- */

struct row *fake_row(struct store *s, int64_t number)
{
    for (size_t i = 0; i < s->rows.n; i++)
        if (s->rows.at[i]->number == number && !s->rows.at[i]->deleted)
            return s->rows.at[i];
    return NULL;
}

struct row *fake_row_by_id(struct store *s, const struct uuid *id)
{
    for (size_t i = 0; i < s->rows.n; i++)
        if (!s->rows.at[i]->deleted && uuid_eq(&s->rows.at[i]->id, id))
            return s->rows.at[i];
    return NULL;
}

struct str fake_keep(struct store *s, struct str text)
{
    return arena_str(s->arena, text);
}

/* ---- the writer ---- */

void fake_job_add(struct store *s, struct job job)
{
    struct job *copy = xmalloc(sizeof(*copy));
    *copy = job;
    copy->next = NULL;
    WITH_LOCK(&s->lock)
    {
        *s->last = copy;
        s->last = &copy->next;
        pthread_cond_broadcast(&s->wake);
    }
}

static struct job *job_take(struct store *s)
{
    struct job *job = NULL;
    WITH_LOCK(&s->lock)
    {
        s->working = false;
        pthread_cond_broadcast(&s->wake);
        while (!s->first && !s->stopping)
            thread_cond_wait(&s->wake, &s->lock, 0);
        job = s->first;
        if (job) {
            s->first = job->next;
            if (!s->first)
                s->last = &s->first;
            s->working = true;
        }
    }
    return job;
}

static void writer_main(void *arg)
{
    struct store *s = arg;
    for (struct job *job; (job = job_take(s));) {
        job->run(s, job);
        free(job);
        fake_changed();
    }
}

static bool plan_matches(const struct fake_plan *p, const struct store_commit *c)
{
    if (!p->match)
        return true;
    if (!c)
        return strcmp(p->match, "delete") == 0;
    for (size_t i = 0; i < c->event_count; i++)
        if (str_find(bytes_str(c->events[i].json), str_from(p->match)) >= 0)
            return true;
    return c->delta.state.p && str_find(c->delta.state, str_from(p->match)) >= 0;
}

/* Under the lock. `c` NULL: a delete. Waits here if the plan says so. */
static enum fake_verdict judge(struct store *s, const struct store_commit *c)
{
    for (size_t i = 0; i < s->plans.n; i++) {
        struct fake_plan *p = &s->plans.at[i];
        if (!plan_matches(p, c))
            continue;
        if (p->nth > 1) {
            p->nth--;
            continue;
        }
        struct fake_plan plan = *p;
        if (p->every)
            p->nth = p->every;
        else
            vec_remove(&s->plans, i);
        if (plan.stall) {
            s->stalled = true;
            s->released = false;
            thread_unlock(&s->lock);
            fake_changed();
            thread_lock(&s->lock);
            while (!s->released)
                thread_cond_wait(&s->wake, &s->lock, 0);
            s->stalled = false;
        }
        return plan.verdict;
    }
    return FAKE_DO;
}

static bool commit_seen(const struct row *row, uint64_t commit_id)
{
    for (size_t i = 0; i < row->done_commits.n; i++)
        if (row->done_commits.at[i] == commit_id)
            return true;
    return false;
}

static bool ids_new(const struct row *row, const struct store_commit *c)
{
    for (size_t i = 0; i < c->event_count; i++)
        for (size_t k = 0; k < row->events.n; k++)
            if (uuid_eq(&row->events.at[k].id, &c->events[i].id))
                return false;
    return true;
}

static struct str lower(struct store *s, struct str text)
{
    struct str copy = fake_keep(s, text);
    for (size_t i = 0; i < copy.n; i++)
        ((char *)copy.p)[i] = (char)tolower((unsigned char)copy.p[i]);
    return copy;
}

static void commit_events(struct store *s, struct row *row, const struct store_commit *c)
{
    for (size_t i = 0; i < c->event_count; i++) {
        const struct store_event *ev = &c->events[i];
        struct store_item item = {
            .seq = row->next_seq++,
            .id = ev->id,
            .kind = ev->kind,
            .source = ev->source,
            .time_us = ev->time_us,
            .branch = ev->branch,
            .on_branch = ev->on_branch,
            .json = fake_keep(s, bytes_str(ev->json)),
            .side = fake_keep(s, ev->side),
        };
        vec_push(&row->events, item);
        vec_push(&row->reduced, fake_keep(s, bytes_str(ev->reduced)));
        vec_push(&row->search, lower(s, ev->search_text));
    }
}

static void commit_apply(struct store *s, struct row *row, const struct store_commit *c)
{
    const struct store_delta *d = &c->delta;
    commit_events(s, row, c);
    vec_push(&row->done_commits, c->commit_id);
    if (d->set & STORE_SET_STATUS)
        row->status = d->status;
    if (d->set & STORE_SET_LEAF) {
        row->leaf_seq = d->leaf_seq;
        row->branch = d->branch;
    }
    if (d->set & STORE_SET_TITLE)
        row->title = fake_keep(s, d->title);
    if (d->set & STORE_SET_STATE)
        row->state = fake_keep(s, d->state);
    if (d->set & STORE_SET_CONFIG)
        row->config = fake_keep(s, d->config);
    if (d->set & STORE_TOUCH)
        row->updated_us = d->updated_us;
    for (size_t i = 0; i < c->usage_count; i++) {
        struct store_usage u = c->usage[i];
        u.usage_id = fake_keep(s, u.usage_id);
        u.model = fake_keep(s, u.model);
        u.response_id = fake_keep(s, u.response_id);
        vec_push(&row->usage, u);
    }
    for (size_t i = 0; i < c->branch_count; i++)
        vec_push(&row->branches, c->branches[i]);
    s->stats.events += c->event_count;
}

/* Under the lock. */
static enum store_result commit_judged(struct store *s, struct store_commit *c, struct err **e)
{
    enum fake_verdict verdict = judge(s, c);
    struct row *row = fake_row(s, c->number);
    s->commits++;
    s->stats.commits++;
    if (row && verdict == FAKE_LOSE) {
        row->token = 0;
        row->owner = STR_NONE;
    }
    if (!row || row->token != c->token)
        return STORE_LOST;
    if (commit_seen(row, c->commit_id))
        return STORE_ALREADY_DONE;
    if (verdict == FAKE_FAIL) {
        err_set(e, ERR_IO, "the disk is full (as planned)");
        return STORE_FAILED;
    }
    if (row->next_seq != c->expected_seq) {
        err_set(e, ERR_IO, "an earlier commit of this conversation failed");
        return STORE_FAILED;
    }
    if (!ids_new(row, c)) {
        err_set(e, ERR_INTERNAL, "an event's id is there already");
        return STORE_FAILED;
    }
    commit_apply(s, row, c);
    return STORE_DONE;
}

static void commit_run(struct store *s, struct job *job)
{
    autoerr e = NULL;
    enum store_result result = STORE_FAILED;
    WITH_LOCK(&s->lock)
    result = commit_judged(s, job->commit, &e);
    job->commit->done(job->commit, result, e);
}

bool store_commit(struct store *s, struct store_commit *c, struct err **e)
{
    bool busy = false;
    WITH_LOCK(&s->lock)
    {
        busy = s->busy > 0;
        if (busy)
            s->busy--;
    }
    if (busy)
        return err_set(e, ERR_BUSY, "the store's queue is full (as planned)");
    fake_job_add(s, (struct job){.run = commit_run, .commit = c});
    return true;
}

/* ---- plans ---- */

void fake_store_plan(struct store *s, struct fake_plan plan)
{
    WITH_LOCK(&s->lock)
    vec_push(&s->plans, plan);
}

void fake_store_plans_clear(struct store *s)
{
    WITH_LOCK(&s->lock)
    s->plans.n = 0;
}

bool fake_store_stalled(struct store *s)
{
    bool stalled = false;
    WITH_LOCK(&s->lock)
    stalled = s->stalled && !s->released;
    return stalled;
}

void fake_store_release(struct store *s)
{
    WITH_LOCK(&s->lock)
    {
        s->released = true;
        pthread_cond_broadcast(&s->wake);
    }
}

void fake_store_fail_reads(struct store *s, bool fail)
{
    WITH_LOCK(&s->lock)
    s->fail_reads = fail;
}

void fake_store_busy(struct store *s, unsigned refusals)
{
    WITH_LOCK(&s->lock)
    s->busy = refusals;
}

void fake_store_disown(struct store *s)
{
    WITH_LOCK(&s->lock)
    for (size_t i = 0; i < s->rows.n; i++) {
        s->rows.at[i]->token = 0;
        s->rows.at[i]->owner = STR_NONE;
    }
}

void fake_store_drain(struct store *s)
{
    WITH_LOCK(&s->lock)
    while (s->first || s->working)
        thread_cond_wait(&s->wake, &s->lock, 0);
}

int64_t fake_store_number(struct store *s, const struct uuid *id)
{
    int64_t number = -1;
    WITH_LOCK(&s->lock)
    {
        struct row *row = fake_row_by_id(s, id);
        number = row ? row->number : -1;
    }
    return number;
}

static struct row *row_any(struct store *s, int64_t number)
{
    return number > 0 && (size_t)number <= s->rows.n ? s->rows.at[number - 1] : NULL;
}

size_t fake_store_events(struct store *s, int64_t number, struct fake_event **events)
{
    size_t n = 0;
    WITH_LOCK(&s->lock)
    {
        struct row *row = row_any(s, number);
        n = row ? row->events.n : 0;
        *events = xcalloc(n + 1, sizeof(**events));
        for (size_t i = 0; i < n; i++) {
            const struct store_item *item = &row->events.at[i];
            (*events)[i] = (struct fake_event){item->seq,    item->id,        item->kind,
                                               item->source, item->on_branch, item->json};
        }
    }
    return n;
}

int fake_store_status(struct store *s, int64_t number)
{
    int status = 0;
    WITH_LOCK(&s->lock)
    {
        struct row *row = row_any(s, number);
        status = row ? row->status : 0;
    }
    return status;
}

unsigned fake_store_commits(struct store *s)
{
    unsigned n = 0;
    WITH_LOCK(&s->lock)
    n = s->commits;
    return n;
}

unsigned fake_store_deletes(struct store *s)
{
    unsigned n = 0;
    WITH_LOCK(&s->lock)
    n = s->deletes;
    return n;
}

const char *fake_store_config(struct store *s, int64_t number)
{
    const char *config = NULL;
    WITH_LOCK(&s->lock)
    {
        struct row *row = row_any(s, number);
        config = row ? row->config.p : NULL;
    }
    return config;
}

void fake_store_set_config(struct store *s, int64_t number, const char *config)
{
    WITH_LOCK(&s->lock)
    {
        struct row *row = row_any(s, number);
        row->config = fake_keep(s, str_from(config));
    }
}

/* ---- life ---- */

struct store *store_open(const struct store_config *config, struct err **e)
{
    (void)config;
    struct store *s = xcalloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    thread_cond_init(&s->wake);
    s->arena = arena_new();
    s->last = &s->first;
    if (!thread_start(&s->thread, "writer", THREAD_STACK_BYTES, writer_main, s, e))
        abort();
    return s;
}

void store_close(struct store *s)
{
    WITH_LOCK(&s->lock)
    {
        s->stopping = s->released = true;
        pthread_cond_broadcast(&s->wake);
    }
    pthread_join(s->thread, NULL);
    for (size_t i = 0; i < s->rows.n; i++) {
        struct row *row = s->rows.at[i];
        vec_deinit(&row->events);
        vec_deinit(&row->reduced);
        vec_deinit(&row->search);
        vec_deinit(&row->usage);
        vec_deinit(&row->branches);
        vec_deinit(&row->done_commits);
        free(row);
    }
    for (size_t i = 0; i < s->blobs.n; i++)
        bytes_unref(s->blobs.at[i].content);
    vec_deinit(&s->rows);
    vec_deinit(&s->plans);
    vec_deinit(&s->docs);
    vec_deinit(&s->blobs);
    arena_free(s->arena);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Under the lock. */
static struct row *row_add(struct store *s, const struct store_create *c)
{
    struct row *row = xcalloc(1, sizeof(*row));
    row->number = (int64_t)s->rows.n + 1;
    row->id = c->id;
    row->kind = c->kind;
    row->status = c->status;
    row->created_us = row->updated_us = c->created_us;
    row->leaf_seq = -1;
    row->title = fake_keep(s, c->title);
    row->state = fake_keep(s, c->state);
    row->config = fake_keep(s, c->config);
    row->place = fake_keep(s, c->place);
    vec_push(&s->rows, row);
    return row;
}

static void create_run(struct store *s, struct job *job)
{
    int64_t number = 0;
    autoerr e = NULL;
    WITH_LOCK(&s->lock)
    if (fake_row_by_id(s, &job->create.id))
        err_set(&e, ERR_CONFLICT, "the conversation exists");
    else
        number = row_add(s, &job->create)->number;
    job->done_number(job->arg, number, e);
}

void store_create(struct store *s, const struct store_create *c,
                  void (*done)(void *arg, int64_t number, const struct err *e), void *arg)
{
    struct job job = {.run = create_run, .create = *c, .done_number = done, .arg = arg};
    WITH_LOCK(&s->lock)
    {
        job.create.state = fake_keep(s, c->state);
        job.create.config = fake_keep(s, c->config);
        job.create.title = fake_keep(s, c->title);
        job.create.place = fake_keep(s, c->place);
    }
    fake_job_add(s, job);
}

static void claim_run(struct store *s, struct job *job)
{
    uint64_t token = 0;
    autoerr e = NULL;
    WITH_LOCK(&s->lock)
    {
        struct row *row = fake_row(s, job->number);
        if (!row) {
            err_set(&e, ERR_NOT_FOUND, "no such conversation");
        } else if (row->token && !str_eq(row->owner, job->owner)) {
            err_set(&e, ERR_LOST, "another owner has it");
        } else {
            row->owner = job->owner;
            row->token = token = ++s->last_token;
        }
    }
    job->done_token(job->arg, token, e);
}

void store_claim(struct store *s, int64_t number, struct str owner,
                 void (*done)(void *arg, uint64_t token, const struct err *e), void *arg)
{
    struct job job = {.run = claim_run, .number = number, .done_token = done, .arg = arg};
    WITH_LOCK(&s->lock)
    job.owner = fake_keep(s, owner);
    fake_job_add(s, job);
}

void store_renew(struct store *s, struct str owner)
{
    (void)s;
    (void)owner;
}

static void release_run(struct store *s, struct job *job)
{
    WITH_LOCK(&s->lock)
    {
        struct row *row = fake_row(s, job->number);
        if (row && row->token == job->token) {
            row->token = 0;
            row->owner = STR_NONE;
        }
    }
}

void store_release(struct store *s, int64_t number, uint64_t token)
{
    fake_job_add(s, (struct job){.run = release_run, .number = number, .token = token});
}

static void delete_run(struct store *s, struct job *job)
{
    autoerr e = NULL;
    WITH_LOCK(&s->lock)
    {
        enum fake_verdict verdict = judge(s, NULL);
        struct row *row = fake_row(s, job->number);
        if (verdict == FAKE_FAIL)
            err_set(&e, ERR_IO, "the disk is full (as planned)");
        else if (!row)
            err_set(&e, ERR_NOT_FOUND, "no such conversation");
        else
            row->deleted = true;
        s->deletes++;
    }
    job->done(job->arg, e);
}

void store_delete(struct store *s, int64_t number, void (*done)(void *arg, const struct err *e), void *arg)
{
    fake_job_add(s, (struct job){.run = delete_run, .number = number, .done = done, .arg = arg});
}

static void copy_run(struct store *s, struct job *job)
{
    int64_t number = 0;
    autoerr e = NULL;
    WITH_LOCK(&s->lock)
    {
        struct row *from = fake_row(s, job->number);
        if (!from || fake_row_by_id(s, &job->create.id)) {
            err_set(&e, from ? ERR_CONFLICT : ERR_NOT_FOUND, "cannot be copied");
        } else {
            struct row *row = row_add(s, &job->create);
            for (size_t i = 0; i < from->events.n && i < job->to; i++) {
                vec_push(&row->events, from->events.at[i]);
                vec_push(&row->reduced, from->reduced.at[i]);
                vec_push(&row->search, from->search.at[i]);
            }
            row->next_seq = (uint32_t)row->events.n;
            number = row->number;
        }
    }
    job->done_number(job->arg, number, e);
}

void store_copy(struct store *s, int64_t from, uint32_t to, const struct store_create *into,
                void (*done)(void *arg, int64_t number, const struct err *e), void *arg)
{
    struct job job = {
        .run = copy_run, .number = from, .to = to, .create = *into, .done_number = done, .arg = arg};
    WITH_LOCK(&s->lock)
    {
        job.create.state = fake_keep(s, into->state);
        job.create.config = fake_keep(s, into->config);
        job.create.title = fake_keep(s, into->title);
    }
    fake_job_add(s, job);
}

void store_watch(struct store *s, void (*fn)(void *arg, int64_t number, uint32_t next_seq), void *arg)
{
    (void)s;
    (void)fn;
    (void)arg;
}

void store_stats_get(struct store *s, struct store_stats *out)
{
    WITH_LOCK(&s->lock)
    *out = s->stats;
}
