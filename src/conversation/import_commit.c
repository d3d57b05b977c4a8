/* import_commit: the store's side of an import: an unfinished row, commits one behind the other, and its publication. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/path.h"
#include "conversation/import_internal.h"

#define OWNER STR("import")

struct import_batch *import_batch_get(struct import *m)
{
    if (!m->batch) {
        m->batch = xcalloc(1, sizeof(*m->batch));
        m->batch->import = m;
    }
    return m->batch;
}

void import_batch_free(struct import_batch *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->events.n; i++) {
        bytes_unref(b->events.at[i].json);
        bytes_unref(b->events.at[i].reduced);
        free((char *)b->events.at[i].search_text.p);
        free((char *)b->events.at[i].side.p);
    }
    vec_deinit(&b->events);
    vec_deinit(&b->usage);
    vec_deinit(&b->branches);
    free(b);
}

/* ---- one call of the store that is waited for ---- */

struct call {
    struct import *import;
    bool done;
    int64_t number;
    uint64_t token;
    struct err *error;
};

static void call_end(struct call *c, const struct err *e)
{
    WITH_LOCK(&c->import->lock)
    {
        c->error = err_copy(e);
        c->done = true;
        pthread_cond_broadcast(&c->import->changed);
    }
}

static void on_number(void *arg, int64_t number, const struct err *e)
{
    ((struct call *)arg)->number = number;
    call_end(arg, e);
}

static void on_token(void *arg, uint64_t token, const struct err *e)
{
    ((struct call *)arg)->token = token;
    call_end(arg, e);
}

static void on_done(void *arg, const struct err *e)
{
    call_end(arg, e);
}

static bool call_wait(struct call *c, struct err **e)
{
    WITH_LOCK(&c->import->lock)
    while (!c->done)
        thread_cond_wait(&c->import->changed, &c->import->lock, 0);
    if (!c->error)
        return true;
    err_set(e, c->error->kind, "%s", c->error->text);
    err_free(steal(c->error));
    return false;
}

/* ---- commits ---- */

static void batch_done(struct store_commit *commit, enum store_result result, const struct err *e)
{
    struct import_batch *b = CONTAINER_OF(commit, struct import_batch, commit);
    struct import *m = b->import;
    import_batch_free(b);
    WITH_LOCK(&m->lock)
    {
        if (result != STORE_DONE && result != STORE_ALREADY_DONE && !m->failed)
            err_set(&m->failed, ERR_IO, "%s", e ? e->text : "the store refused the write");
        m->outstanding--;
        pthread_cond_broadcast(&m->changed);
    }
}

static bool wait_for(struct import *m, unsigned most, struct err **e)
{
    bool ok = true;
    WITH_LOCK(&m->lock)
    {
        while (m->outstanding > most)
            thread_cond_wait(&m->changed, &m->lock, 0);
        if (m->failed)
            ok = err_set(e, m->failed->kind, "%s", m->failed->text);
    }
    return ok;
}

bool import_settle(struct import *m, struct err **e)
{
    return wait_for(m, 0, e);
}

static bool row_make(struct import *m, struct err **e)
{
    struct call create = {.import = m}, claim = {.import = m};
    if (m->number)
        return true;
    if (!m->created_us)
        m->created_us = m->batch && m->batch->events.n > 0 ? m->batch->events.at[0].time_us : clock_wall_us();
    struct store_create row = {.id = uuid_random(),
                               .kind = STORE_UNFINISHED,
                               .created_us = m->created_us,
                               .config = bytes_str(m->config->stored)};
    store_create(m->target.store, &row, on_number, &create);
    if (!call_wait(&create, e))
        return false;
    m->number = create.number;
    store_claim(m->target.store, m->number, OWNER, on_token, &claim);
    if (!call_wait(&claim, e))
        return false;
    m->token = claim.token;
    return true;
}

bool import_flush(struct import *m, struct err **e)
{
    if (!row_make(m, e) || !wait_for(m, IMPORT_BATCHES_MAX - 1, e))
        return false;
    struct import_batch *b = import_batch_get(m);
    m->batch = NULL;
    for (; m->queued_branches < m->tree.branches.n; m->queued_branches++)
        vec_push(&b->branches, m->tree.branches.at[m->queued_branches]);
    b->commit.number = m->number;
    b->commit.token = m->token;
    b->commit.expected_seq = m->next_seq;
    b->commit.events = b->events.at;
    b->commit.event_count = b->events.n;
    b->commit.usage = b->usage.at;
    b->commit.usage_count = b->usage.n;
    b->commit.branches = b->branches.at;
    b->commit.branch_count = b->branches.n;
    b->commit.done = batch_done;
    random_bytes(&b->commit.commit_id, sizeof(b->commit.commit_id));
    uint32_t n = (uint32_t)b->events.n;
    WITH_LOCK(&m->lock)
    m->outstanding++;
    if (store_commit(m->target.store, &b->commit, e)) {
        m->next_seq += n;
        return true;
    }
    WITH_LOCK(&m->lock)
    m->outstanding--;
    import_batch_free(b);
    return false;
}

bool import_publish(struct import *m, struct err **e)
{
    struct call publish = {.import = m};
    autobuf place = {0};
    path_normalize(&place, m->config->working_dir);
    store_publish(m->target.store, m->number, m->token, &m->id, buf_str(&place), on_done, &publish);
    return m->published = call_wait(&publish, e);
}

void import_discard(struct import *m)
{
    struct call discard = {.import = m};
    wait_for(m, 0, NULL);
    if (!m->number || m->published)
        return;
    store_delete(m->target.store, m->number, on_done, &discard);
    call_wait(&discard, NULL);
}
