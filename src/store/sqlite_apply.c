#include "store/sqlite.h"
#include "base/cleanup.h"
#include "base/clock.h"

static bool job_refuse(struct job *job, enum store_result result, enum err_kind kind, const char *text)
{
    job->result = result;
    err_set(&job->error, kind, "%s", text);
    return true;
}

/* ---- commit ---- */

/* A commit with this id is the row's last one, or its events are there already: an earlier try got through. */
static bool commit_happened(struct sqlite_store *s, const struct row *row, const struct store_commit *c,
                            bool *happened, struct err **e)
{
    uint64_t end = (uint64_t)c->expected_seq + c->event_count;
    *happened = false;
    if (c->event_count == 0 || end > row->now.next_seq)
        return true;
    const size_t probes[] = {0, c->event_count - 1};
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        autostmt stmt = db_query(&s->db, e, STMT_EVENT_ID, "i",
                                 event_key(row->number, c->expected_seq + (int64_t)probes[i]));
        enum db_step step = stmt ? db_step(&s->db, stmt, e) : DB_FAILED;
        if (step != DB_ROW)
            return step == DB_END;
        struct uuid id = db_column_uuid(stmt, 0);
        if (!uuid_eq(&id, &c->events[probes[i]].id))
            return true;
    }
    *happened = true;
    return true;
}

static bool commit_event(struct sqlite_store *s, int64_t key, const struct store_event *event, struct err **e)
{
    int64_t place = (int64_t)event->branch << 1 | event->on_branch;
    if (!db_run(&s->db, e, STMT_BODY_INSERT, "sss", event->side, bytes_str(event->reduced),
                bytes_str(event->json)) ||
        !db_run(&s->db, e, STMT_EVENT_INSERT, "iuiiiii", key, &event->id, (int64_t)event->kind,
                (int64_t)event->source, event->time_us, place,
                (int64_t)sqlite3_last_insert_rowid(s->db.handle)))
        return false;
    if (!event->search_text.p)
        return true;
    buf_clear(&s->scratch);
    fold_text(&s->scratch, event->search_text);
    return db_run(&s->db, e, STMT_SEARCH_INSERT, "is", key, buf_str(&s->scratch));
}

static bool commit_events(struct sqlite_store *s, struct row *row, const struct store_commit *c,
                          struct err **e)
{
    for (size_t i = 0; i < c->event_count; i++) {
        if (!commit_event(s, event_key(row->number, row->now.next_seq), &c->events[i], e))
            return false;
        row->now.next_seq++;
        if (row->now.next_seq % BLOCK_EVENTS == 0 &&
            !block_write(&s->db, row->number, row->now.next_seq - BLOCK_EVENTS, e))
            return false;
    }
    row->got_events |= c->event_count > 0;
    return true;
}

static bool commit_usage(struct sqlite_store *s, struct row *row, const struct store_usage *u, struct err **e)
{
    int64_t place = row->now.next_usage++;
    return db_run(&s->db, e, STMT_USAGE_INSERT, "isssffiiiiiii", event_key(row->number, place), u->usage_id,
                  u->model, u->response_id, u->cost, u->seconds, u->prompt, u->completion, u->cache_read,
                  u->cache_write, u->reasoning, u->context_window, u->time_us) &&
           db_run(&s->db, e, STMT_USAGE_ADD, "isissfiiiiii", row->number,
                  u->usage_id.p ? u->usage_id : STR(""), place, u->model, u->response_id, u->cost, u->prompt,
                  u->completion, u->cache_read, u->cache_write, u->reasoning, u->context_window);
}

static bool commit_delta(struct sqlite_store *s, struct row *row, const struct store_delta *d, struct err **e)
{
    struct row_values *now = &row->now;
    if (d->set & STORE_SET_STATUS && d->status != now->status) { /* an index stands on it */
        if (!db_run(&s->db, e, STMT_HEAD_STATUS, "ii", row->number, (int64_t)d->status))
            return false;
        now->status = d->status;
    }
    if (d->set & STORE_SET_LEAF) {
        now->leaf_seq = d->leaf_seq;
        now->branch = d->branch;
    }
    if (d->set & STORE_TOUCH)
        now->updated_us = d->updated_us;
    return (!(d->set & STORE_SET_TITLE) || db_run(&s->db, e, STMT_TEXT_TITLE, "is", row->number, d->title)) &&
           (!(d->set & STORE_SET_STATE) ||
            db_run(&s->db, e, STMT_TEXT_STATE, "is", row->number, d->state.p ? d->state : STR(""))) &&
           (!(d->set & STORE_SET_CONFIG) ||
            db_run(&s->db, e, STMT_CONFIG_SET, "is", row->number, d->config.p ? d->config : STR("")));
}

static bool commit_write(struct sqlite_store *s, struct row *row, const struct store_commit *c,
                         struct err **e)
{
    if (!writer_begin(s, e))
        return false;
    rows_touch(&s->rows, row);
    for (size_t i = 0; i < c->branch_count; i++) {
        const struct store_branch *b = &c->branches[i];
        if (!db_run(&s->db, e, STMT_BRANCH_INSERT, "iiii", row->number, (int64_t)b->branch,
                    (int64_t)b->parent, b->at_seq))
            return false;
    }
    if (!commit_events(s, row, c, e))
        return false;
    for (size_t i = 0; i < c->usage_count; i++)
        if (!commit_usage(s, row, &c->usage[i], e))
            return false;
    if (!commit_delta(s, row, &c->delta, e))
        return false;
    struct row_values *now = &row->now;
    now->last_commit = c->commit_id;
    return db_run(&s->db, e, STMT_HEAD_UPDATE, "iiiiiii", row->number, (int64_t)now->last_commit,
                  (int64_t)now->next_seq, now->leaf_seq, (int64_t)now->branch, (int64_t)now->next_usage,
                  now->updated_us);
}

static bool apply_commit(struct sqlite_store *s, struct job *job, struct err **e)
{
    const struct store_commit *c = job->commit;
    struct row *row;
    if (!rows_get(&s->rows, &s->db, c->number, &row, e))
        return false;
    if (!row || row->now.token != c->token)
        return job_refuse(job, STORE_LOST, ERR_LOST,
                          row ? "another owner has the conversation" : "the conversation is gone");
    if (c->commit_id != 0 && c->commit_id == row->now.last_commit) {
        job->result = STORE_ALREADY_DONE;
        return true;
    }
    if (job->serial <= row->fail_through)
        return job_refuse(job, STORE_FAILED, ERR_CONFLICT, "an earlier commit of the conversation failed");
    if (c->expected_seq != row->now.next_seq) {
        bool happened;
        if (!commit_happened(s, row, c, &happened, e))
            return false;
        if (!happened)
            return job_refuse(job, STORE_FAILED, ERR_CONFLICT, "the log is not where the commit expects it");
        job->result = STORE_ALREADY_DONE;
        return true;
    }
    if (c->event_count >= UINT32_MAX - row->now.next_seq)
        return job_refuse(job, STORE_FAILED, ERR_TOO_LARGE, "the conversation is full");
    return commit_write(s, row, c, e);
}

/* ---- create, claim, release, documents ---- */

bool apply_new_number(struct sqlite_store *s, const char *counter, int64_t *number, struct err **e)
{
    bool found;
    if (!db_get_i64(&s->db, e, number, &found, STMT_COUNTER_GET, "s", str_from(counter)))
        return false;
    if (!found || *number >= NUMBER_MAX)
        return err_set(e, ERR_INTERNAL, "no number is left for a new %s", counter);
    *number += 1;
    return db_run(&s->db, e, STMT_COUNTER_SET, "si", str_from(counter), *number);
}

bool apply_id_taken(struct sqlite_store *s, const struct uuid *id, bool *taken, struct err **e)
{
    int64_t number;
    return db_get_i64(&s->db, e, &number, taken, STMT_HEAD_EXISTS, "u", id) &&
           (*taken || db_get_i64(&s->db, e, &number, taken, STMT_WORK_TARGET, "u", id));
}

static bool apply_create(struct sqlite_store *s, struct job *job, struct err **e)
{
    struct task *t = job->task;
    bool taken;
    if (!apply_id_taken(s, &t->id, &taken, e))
        return false;
    if (taken)
        return job_refuse(job, STORE_FAILED, ERR_CONFLICT, "the id exists already");
    return writer_begin(s, e) && apply_new_number(s, "conversation", &t->answer, e) &&
           db_run(&s->db, e, STMT_HEAD_INSERT, "iuiiiiii", t->answer, &t->id, (int64_t)t->kind,
                  (int64_t)t->status, t->created_us, (int64_t)0, (int64_t)-1, (int64_t)0) &&
           db_run(&s->db, e, STMT_TEXT_INSERT, "iss", t->answer, t->title, t->state) &&
           db_run(&s->db, e, STMT_CONFIG_INSERT, "is", t->answer, t->config) &&
           (!t->place.p || db_run(&s->db, e, STMT_PLACE_INSERT, "is", t->answer, t->place));
}

static bool apply_publish(struct sqlite_store *s, struct job *job, struct err **e)
{
    struct task *t = job->task;
    struct row *row;
    int64_t kind;
    bool taken, found;
    if (!rows_get(&s->rows, &s->db, t->number, &row, e) || !apply_id_taken(s, &t->id, &taken, e) ||
        !db_get_i64(&s->db, e, &kind, &found, STMT_HEAD_KIND, "i", t->number))
        return false;
    if (!row || row->now.token != t->token)
        return job_refuse(job, STORE_FAILED, ERR_LOST, "another owner has the conversation");
    if (!found || kind != STORE_UNFINISHED)
        return job_refuse(job, STORE_FAILED, ERR_INVALID, "the conversation is there already");
    if (taken)
        return job_refuse(job, STORE_FAILED, ERR_CONFLICT, "the id exists already");
    return writer_begin(s, e) &&
           db_run(&s->db, e, STMT_HEAD_PUBLISH, "iui", t->number, &t->id, (int64_t)STORE_CONVERSATION) &&
           (!t->place.p || db_run(&s->db, e, STMT_PLACE_INSERT, "is", t->number, t->place));
}

static bool apply_claim(struct sqlite_store *s, struct job *job, struct err **e)
{
    struct task *t = job->task;
    struct row *row;
    uint64_t now = sqlite_clock_ns(s);
    if (!rows_get(&s->rows, &s->db, t->number, &row, e))
        return false;
    if (!row)
        return job_refuse(job, STORE_FAILED, ERR_NOT_FOUND, "the conversation is gone");
    if (row->now.owner != 0 && row->now.owner != t->owner && rows_owner_lives(&s->rows, row->now.owner, now))
        return job_refuse(job, STORE_FAILED, ERR_LOST, "another owner has the conversation");
    if (!writer_begin(s, e))
        return false;
    rows_touch(&s->rows, row);
    row->now.token++;
    row->now.owner = t->owner;
    t->answer = (int64_t)row->now.token;
    rows_lease(&s->rows, t->owner, now + STORE_LEASE_MS * NS_PER_MS);
    return db_run(&s->db, e, STMT_HEAD_TOKEN, "ii", row->number, (int64_t)row->now.token);
}

static bool apply_release(struct sqlite_store *s, struct job *job)
{
    struct row *row = rows_cached(&s->rows, job->task->number);
    if (row && !row->now.gone && row->now.token == job->task->token) {
        rows_touch(&s->rows, row);
        row->now.owner = 0;
    }
    return true;
}

bool apply_job(struct sqlite_store *s, struct job *job, struct err **e)
{
    struct task *t = job->task;
    job->result = STORE_DONE;
    switch (job->kind) {
    case JOB_COMMIT: return apply_commit(s, job, e);
    case JOB_CREATE: return apply_create(s, job, e);
    case JOB_CLAIM: return apply_claim(s, job, e);
    case JOB_RENEW: rows_lease(&s->rows, t->owner, t->lease_until); return true;
    case JOB_RELEASE: return apply_release(s, job);
    case JOB_DELETE: return apply_delete(s, job, e);
    case JOB_COPY: return apply_copy(s, job, e);
    case JOB_PUBLISH: return apply_publish(s, job, e);
    case JOB_BLOB_PUT: return apply_blob_put(s, job, e);
    case JOB_REFUSED: break; /* never applied */
    case JOB_DOC_PUT:
        return writer_begin(s, e) && db_run(&s->db, e, STMT_DOC_PUT, "sss", t->space, t->key, t->state);
    case JOB_DOC_DELETE:
        return writer_begin(s, e) && db_run(&s->db, e, STMT_DOC_DELETE, "ss", t->space, t->key);
    }
    return true;
}
