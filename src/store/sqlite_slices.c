#include "store/sqlite.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

/* One slice is one transaction of about this long, in steps of a few rows (a row may have a megabyte). */
#define SLICE_NS (8 * NS_PER_MS)
#define SLICE_ROWS 16
#define SLICE_STEPS 16 /* at most: what they dirty has to be written and synced too */
#define CHUNK_BYTES (256 * 1024)
#define CHUNK_BITS 16            /* of the key: the chunk's index; the rest is the content's number */
#define BLOB_AT_ONCE CHUNK_BYTES /* written together with the group; larger ones in slices */
/* Free pages are returned to the file system when there are many of them; a few are soon used again. */
#define VACUUM_MIN_PAGES 4096
#define VACUUM_SLICE "PRAGMA incremental_vacuum(128)"

/* ---- the list ---- */

void slices_add(struct sqlite_store *s, struct work *w)
{
    w->next = NULL;
    *s->works_last = w;
    s->works_last = &w->next;
}

static struct work *slices_take(struct sqlite_store *s)
{
    struct work *w = s->works;
    s->works = w->next;
    if (!s->works)
        s->works_last = &s->works;
    return w;
}

bool slices_due(const struct sqlite_store *s)
{
    return !s->failing && (s->works || s->vacuum);
}

/* The row and what finds it; `work` does the rest. */
static bool head_delete(struct sqlite_store *s, const struct work *w, struct err **e)
{
    return db_run(&s->db, e, STMT_HEAD_DELETE, "i", w->number) &&
           db_run(&s->db, e, STMT_TEXT_DELETE, "i", w->number) &&
           db_run(&s->db, e, STMT_CONFIG_DELETE, "i", w->number) &&
           db_run(&s->db, e, STMT_PLACE_DELETE, "i", w->number) &&
           db_run(&s->db, e, STMT_WORK_SIMPLE, "iii", w->id, (int64_t)w->kind, w->number);
}

/* What a process that died in the middle of an import left. Nobody sees it; on a full disk it stays. */
static void unfinished_delete(struct sqlite_store *s)
{
    autoerr e = NULL;
    for (bool found = true; found;) {
        int64_t number;
        if (!db_get_i64(&s->db, &e, &number, &found, STMT_HEAD_UNFINISHED, "") || !found)
            break;
        struct work *w = xcalloc(1, sizeof(*w));
        *w = (struct work){.id = ++s->next_work, .kind = WORK_DELETE, .number = number};
        if (!writer_begin(s, &e) || !head_delete(s, w, &e) || !writer_end(s, &e)) {
            writer_rollback(s);
            free(w);
            break;
        }
        slices_add(s, w);
    }
    if (e)
        log_warn("what is left of an import: %s", e->text);
}

bool slices_load(struct sqlite_store *s, struct err **e)
{
    autostmt stmt = db_query(&s->db, e, STMT_WORK_LOAD, "");
    enum db_step step = stmt ? DB_ROW : DB_FAILED;
    while (step == DB_ROW && (step = db_step(&s->db, stmt, e)) == DB_ROW) {
        struct work *w = xcalloc(1, sizeof(*w));
        *w = (struct work){.id = sqlite3_column_int64(stmt, 0),
                           .kind = (enum work_kind)sqlite3_column_int(stmt, 1),
                           .number = sqlite3_column_int64(stmt, 2),
                           .source = sqlite3_column_int64(stmt, 3),
                           .upto = sqlite3_column_int64(stmt, 4),
                           .at = sqlite3_column_int64(stmt, 5)};
        s->next_work = w->id;
        slices_add(s, w);
    }
    if (step != DB_END)
        return false;
    db_reset(stmt);
    unfinished_delete(s);
    return true;
}

static void work_answer(struct work *w, const struct err *e)
{
    if (w->task)
        task_answer(steal(w->task), e);
}

/* A copy whose caller hears that it failed must not appear after all: its record becomes that of a delete. A blob's row
 * in the table says so already. */
static bool work_turn(struct sqlite_store *s, struct work *w, struct err **e)
{
    enum work_kind kind = w->kind == WORK_BLOB ? WORK_CONTENT : WORK_DELETE;
    if (!writer_begin(s, e) || !db_run(&s->db, e, STMT_WORK_KIND, "ii", w->id, (int64_t)kind))
        return false;
    w->kind = kind;
    w->abandoned = false;
    w->at = 0;
    return true;
}

static bool works_turn(struct sqlite_store *s, struct err **e)
{
    for (struct work *w = s->works; w; w = w->next)
        if ((w->task || w->abandoned) && w->kind == WORK_COPY && !work_turn(s, w, e))
            return false;
    return writer_end(s, e);
}

void slices_cancel(struct sqlite_store *s)
{
    autoerr e = NULL;
    if (works_turn(s, &e))
        err_set(&e, ERR_CANCELLED, "the store is closing");
    else
        writer_rollback(s); /* the error says that the outcome is open */
    while (s->works) {
        struct work *w = slices_take(s);
        work_answer(w, e);
        free(w);
    }
}

/* A group may be applied twice: what the first try left is replaced. */
static struct work *task_work(struct sqlite_store *s, struct task *t, enum work_kind kind, int64_t number)
{
    free(t->work);
    t->work = xcalloc(1, sizeof(*t->work));
    *t->work = (struct work){.id = ++s->next_work, .kind = kind, .number = number};
    return t->work;
}

/* ---- the first step of each, in a group ---- */

static bool refuse(struct job *job, enum err_kind kind, const char *text)
{
    job->result = STORE_FAILED;
    err_set(&job->error, kind, "%s", text);
    return true;
}

bool apply_delete(struct sqlite_store *s, struct job *job, struct err **e)
{
    struct row *row;
    if (!rows_get(&s->rows, &s->db, job->task->number, &row, e))
        return false;
    if (!row)
        return refuse(job, ERR_NOT_FOUND, "the conversation is gone");
    if (!writer_begin(s, e))
        return false;
    rows_touch(&s->rows, row);
    row->now.gone = true;
    struct work *w = task_work(s, job->task, WORK_DELETE, row->number);
    return head_delete(s, w, e);
}

bool apply_copy(struct sqlite_store *s, struct job *job, struct err **e)
{
    struct task *t = job->task;
    struct row *row;
    bool taken = false;
    if (!rows_get(&s->rows, &s->db, t->number, &row, e) || !apply_id_taken(s, &t->id, &taken, e))
        return false;
    if (!row)
        return refuse(job, ERR_NOT_FOUND, "the conversation is gone");
    if (t->to > row->now.next_seq)
        return refuse(job, ERR_INVALID, "the conversation has fewer events");
    if (taken)
        return refuse(job, ERR_CONFLICT, "the id exists already");
    if (!writer_begin(s, e) || !apply_new_number(s, "conversation", &t->answer, e))
        return false;
    struct work *w = task_work(s, t, WORK_COPY, t->answer);
    w->source = t->number;
    w->upto = t->to;
    return db_run(&s->db, e, STMT_WORK_INSERT, "iiiiiuiiisss", w->id, (int64_t)w->kind, w->number, w->source,
                  w->upto, &t->id, (int64_t)t->kind, (int64_t)t->status, t->created_us, t->title, t->state,
                  t->config);
}

static bool chunk_write(struct sqlite_store *s, int64_t content, const struct bytes *b, size_t at,
                        struct err **e)
{
    return db_run(&s->db, e, STMT_CHUNK_INSERT, "ib", content << CHUNK_BITS | (int64_t)(at / CHUNK_BYTES),
                  str_sub(bytes_str(b), at, at + CHUNK_BYTES));
}

bool apply_blob_put(struct sqlite_store *s, struct job *job, struct err **e)
{
    struct task *t = job->task;
    struct row *row;
    bool exists = false;
    int64_t content;
    if (!rows_get(&s->rows, &s->db, t->number, &row, e) ||
        !db_get_i64(&s->db, e, &content, &exists, STMT_BLOB_EXISTS, "iu", t->number, &t->id))
        return false;
    if (!row)
        return refuse(job, ERR_NOT_FOUND, "the conversation is gone");
    if (exists)
        return refuse(job, ERR_CONFLICT, "the blob exists already");
    if (!writer_begin(s, e) || !apply_new_number(s, "content", &content, e))
        return false;
    if (t->content->n > BLOB_AT_ONCE) {
        struct work *w = task_work(s, t, WORK_BLOB, content);
        w->upto = (int64_t)t->content->n;
        return db_run(&s->db, e, STMT_WORK_SIMPLE, "iii", w->id, (int64_t)WORK_CONTENT, content);
    }
    for (size_t at = 0; at < t->content->n; at += CHUNK_BYTES)
        if (!chunk_write(s, content, t->content, at, e))
            return false;
    return db_run(&s->db, e, STMT_BLOB_INSERT, "iuii", t->number, &t->id, content, (int64_t)t->content->n);
}

/* ---- steps: each sets `*complete` when nothing is left to do ---- */

static bool step_slice(struct sqlite_store *s, enum stmt which, int64_t from, int64_t to, int64_t rows,
                       bool *empty, struct err **e)
{
    if (!db_run(&s->db, e, which, "iii", from, to, rows))
        return false;
    *empty = sqlite3_changes(s->db.handle) == 0;
    return true;
}

static bool step_content(struct sqlite_store *s, int64_t content, bool *empty, struct err **e)
{
    return step_slice(s, STMT_SLICE_CHUNK, content << CHUNK_BITS, (content + 1) << CHUNK_BITS, 4, empty, e);
}

/* One blob of a deleted conversation, or a few of its chunks. */
static bool step_blob(struct sqlite_store *s, int64_t number, bool *empty, struct err **e)
{
    autostmt any = db_query(&s->db, e, STMT_BLOB_ANY, "i", number);
    enum db_step step = any ? db_step(&s->db, any, e) : DB_FAILED;
    *empty = step == DB_END;
    if (step != DB_ROW)
        return step == DB_END;
    int64_t content = sqlite3_column_int64(any, 0), one;
    struct uuid id = db_column_uuid(any, 1);
    db_reset(any);
    bool shared, chunks_gone = false;
    if (!db_get_i64(&s->db, e, &one, &shared, STMT_BLOB_SHARED, "iiu", content, number, &id) ||
        (!shared && !step_content(s, content, &chunks_gone, e)))
        return false;
    return !(shared || chunks_gone) || db_run(&s->db, e, STMT_BLOB_DELETE, "iu", number, &id);
}

static bool step_delete(struct sqlite_store *s, struct work *w, bool *complete, struct err **e)
{
    static const struct {
        enum stmt stmt;
        int64_t rows;
    } tables[] = {{STMT_SLICE_EVENT, SLICE_ROWS},
                  {STMT_SLICE_SEARCH, SLICE_ROWS},
                  {STMT_SLICE_BLOCK, SLICE_ROWS},
                  {STMT_SLICE_USAGE, SLICE_ROWS * 4}};
    int64_t from = event_key(w->number, 0), to = event_key(w->number + 1, 0);
    bool empty = true;
    for (; w->at < (int64_t)ARRAY_LEN(tables); w->at++) {
        if (tables[w->at].stmt == STMT_SLICE_EVENT &&
            !db_run(&s->db, e, STMT_SLICE_BODY, "iii", from, to, tables[w->at].rows))
            return false;
        if (!step_slice(s, tables[w->at].stmt, from, to, tables[w->at].rows, &empty, e))
            return false;
        if (!empty)
            return true;
    }
    if (!step_blob(s, w->number, &empty, e))
        return false;
    *complete = empty;
    return !empty || (db_run(&s->db, e, STMT_DROP_BRANCHES, "i", w->number) &&
                      db_run(&s->db, e, STMT_DROP_SUMS, "i", w->number));
}

/* The leaf of a copy: the source's, if all of it was copied, else the last event on a path. */
static bool copy_leaf(struct sqlite_store *s, const struct work *w, const struct row *source, int64_t *leaf,
                      int64_t *branch, struct err **e)
{
    *leaf = source->now.leaf_seq;
    *branch = source->now.branch;
    if (source->now.next_seq == w->upto)
        return true;
    autostmt stmt =
        db_query(&s->db, e, STMT_LAST_PLACE, "ii", event_key(w->number, 0), event_key(w->number, w->upto));
    enum db_step step = stmt ? db_step(&s->db, stmt, e) : DB_FAILED;
    *leaf = step == DB_ROW ? sqlite3_column_int64(stmt, 0) - event_key(w->number, 0) : -1;
    *branch = step == DB_ROW ? sqlite3_column_int64(stmt, 1) >> 1 : 0;
    return step != DB_FAILED;
}

static bool copy_finish(struct sqlite_store *s, struct work *w, const struct row *source, struct err **e)
{
    int64_t leaf, branch;
    if (!copy_leaf(s, w, source, &leaf, &branch, e))
        return false;
    autostmt row = db_query(&s->db, e, STMT_WORK_ROW, "i", w->id);
    if (!row || db_step(&s->db, row, e) != DB_ROW)
        return err_set(e, ERR_INTERNAL, "the record of a copy is gone");
    struct uuid id = db_column_uuid(row, 0);
    return db_run(&s->db, e, STMT_COPY_BRANCHES, "iii", w->source, w->number, w->upto) &&
           db_run(&s->db, e, STMT_COPY_BLOBS, "ii", w->source, w->number) &&
           db_run(&s->db, e, STMT_HEAD_INSERT, "iuiiiiii", w->number, &id, sqlite3_column_int64(row, 1),
                  sqlite3_column_int64(row, 2), sqlite3_column_int64(row, 3), w->upto, leaf, branch) &&
           db_run(&s->db, e, STMT_TEXT_INSERT, "iss", w->number, db_column_str(row, 4),
                  db_column_str(row, 5)) &&
           db_run(&s->db, e, STMT_CONFIG_INSERT, "is", w->number, db_column_str(row, 6)) &&
           db_run(&s->db, e, STMT_PLACE_COPY, "ii", w->source, w->number);
}

static bool step_copy(struct sqlite_store *s, struct work *w, bool *complete, struct err **e)
{
    struct row *source;
    if (!rows_get(&s->rows, &s->db, w->source, &source, e))
        return false;
    if (!source)
        return err_set(e, ERR_NOT_FOUND, "the conversation was deleted while it was copied");
    int64_t end = w->at + SLICE_ROWS < w->upto ? w->at + SLICE_ROWS : w->upto;
    int64_t from = event_key(w->source, 0), to = event_key(w->number, 0);
    for (int64_t seq = w->at; seq < end; seq++)
        if (!db_run(&s->db, e, STMT_COPY_BODY, "i", from + seq) ||
            !db_run(&s->db, e, STMT_COPY_EVENT, "iii", from + seq, to + seq,
                    (int64_t)sqlite3_last_insert_rowid(s->db.handle)))
            return false;
    if (!db_run(&s->db, e, STMT_COPY_SEARCH, "iiii", from, to, w->at, end) ||
        !db_run(&s->db, e, STMT_COPY_BLOCKS, "iiiii", from, to, w->at, end, w->upto))
        return false;
    w->at = end;
    *complete = end == w->upto;
    return *complete ? copy_finish(s, w, source, e) : db_run(&s->db, e, STMT_WORK_AT, "ii", w->id, w->at);
}

static bool step_blob_put(struct sqlite_store *s, struct work *w, bool *complete, struct err **e)
{
    struct task *t = w->task;
    struct row *row;
    if (w->at < w->upto) {
        if (!chunk_write(s, w->number, t->content, (size_t)w->at, e))
            return false;
        w->at += CHUNK_BYTES;
        return true;
    }
    if (!rows_get(&s->rows, &s->db, t->number, &row, e))
        return false;
    if (!row)
        return err_set(e, ERR_NOT_FOUND, "the conversation was deleted while the blob was written");
    *complete = true;
    return db_run(&s->db, e, STMT_BLOB_INSERT, "iuii", t->number, &t->id, w->number, w->upto);
}

static bool work_step(struct sqlite_store *s, struct work *w, bool *complete, struct err **e)
{
    if (w->abandoned)
        return work_turn(s, w, e);
    switch (w->kind) {
    case WORK_DELETE: return step_delete(s, w, complete, e);
    case WORK_COPY: return step_copy(s, w, complete, e);
    case WORK_CONTENT: return step_content(s, w->number, complete, e);
    case WORK_BLOB: return step_blob_put(s, w, complete, e);
    }
    return err_set(e, ERR_INTERNAL, "unknown work %d", w->kind);
}

static bool work_slice(struct sqlite_store *s, struct work *w, bool *complete, struct err **e)
{
    uint64_t end = clock_mono_ns() + SLICE_NS;
    if (!writer_begin(s, e))
        return false;
    for (int steps = 0; !*complete && steps < SLICE_STEPS && clock_mono_ns() < end; steps++)
        if (!work_step(s, w, complete, e))
            return false;
    return (!*complete || db_run(&s->db, e, STMT_WORK_DELETE, "i", w->id)) && writer_end(s, e);
}

static void vacuum_slice(struct sqlite_store *s)
{
    int64_t pages, free_pages;
    autoerr e = NULL;
    s->vacuum = db_pragma_get(&s->db, "PRAGMA page_count", &pages, &e) &&
                db_pragma_get(&s->db, "PRAGMA freelist_count", &free_pages, &e) &&
                free_pages > VACUUM_MIN_PAGES && free_pages > pages / 4 && db_exec(&s->db, VACUUM_SLICE, &e);
    if (e)
        log_warn("returning free pages of the database: %s", e->text);
}

void slices_step(struct sqlite_store *s)
{
    if (!slices_due(s))
        return;
    if (!s->works) {
        vacuum_slice(s);
        return;
    }
    struct work *w = slices_take(s);
    struct work before = *w;
    autoerr e = NULL;
    bool complete = false;
    if (work_slice(s, w, &complete, &e)) {
        rows_settle(&s->rows);
        if (!complete) {
            slices_add(s, w);
            return;
        }
        s->vacuum |= w->kind == WORK_DELETE || w->kind == WORK_CONTENT;
        work_answer(w, NULL);
        free(w);
        return;
    }
    writer_rollback(s);
    writer_failed(s, e);
    *w = before;
    log_warn("%s", e->text);
    if (w->kind == WORK_COPY || w->kind == WORK_BLOB) {
        w->abandoned = true;
        work_answer(w, e);
    } else if (e->kind != ERR_IO) {
        /* Nothing that waiting would cure; the next start tries again. */
        free(w);
        return;
    }
    slices_add(s, w);
}
