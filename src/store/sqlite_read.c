#include "store/sqlite.h"
#include "base/cleanup.h"

/* A reader's page cache. Pages of a log are read once, so little is gained by more. */
#define READER_CACHE_KB 512

/* ---- readers ---- */

static struct reader *reader_new(struct sqlite_store *s, struct err **e)
{
    struct reader *r = xcalloc(1, sizeof(*r));
    r->store = s;
    if (!db_open(&r->db, s->path, s->vfs, READER_CACHE_KB, e) ||
        !db_exec(&r->db, "PRAGMA query_only=ON", e)) {
        db_close(&r->db);
        free(r);
        return NULL;
    }
    return r;
}

struct reader *reader_take(struct sqlite_store *s, struct err **e)
{
    struct reader *r = NULL;
    bool make = false;
    pthread_rwlock_rdlock(&s->gate);
    WITH_LOCK(&s->readers_lock)
    {
        while (s->readers_free == 0 && s->readers_made == READERS_MAX)
            thread_cond_wait(&s->readers_wake, &s->readers_lock, 0);
        if (s->readers_free > 0) {
            r = s->readers[--s->readers_free];
        } else {
            make = true;
            s->readers_made++;
        }
    }
    if (make && !(r = reader_new(s, e))) {
        WITH_LOCK(&s->readers_lock)
        s->readers_made--;
        pthread_cond_signal(&s->readers_wake);
        pthread_rwlock_unlock(&s->gate);
    }
    return r;
}

void reader_give(struct reader **reader)
{
    struct reader *r = *reader;
    if (!r)
        return;
    struct sqlite_store *s = r->store;
    WITH_LOCK(&s->readers_lock)
    s->readers[s->readers_free++] = r;
    pthread_cond_signal(&s->readers_wake);
    pthread_rwlock_unlock(&s->gate);
}

void readers_close(struct sqlite_store *s)
{
    while (s->readers_free > 0) {
        struct reader *r = s->readers[--s->readers_free];
        db_close(&r->db);
        free(r);
    }
}

static struct str keep_str(struct arena *arena, sqlite3_stmt *stmt, int column)
{
    return arena_str(arena, db_column_str(stmt, column));
}

/* What vectors hold goes to the reader's arena at the end. */
static void *keep_array(struct arena *arena, const void *p, size_t bytes)
{
    void *copy = arena_alloc(arena, bytes ? bytes : 1);
    if (bytes)
        memcpy(copy, p, bytes);
    return copy;
}

/* ---- rows ---- */

static bool row_from(struct db *d, sqlite3_stmt *stmt, struct arena *arena, struct store_row *row,
                     struct err **e)
{
    *row = (struct store_row){
        .number = sqlite3_column_int64(stmt, 0),
        .id = db_column_uuid(stmt, 1),
        .kind = (enum store_kind)sqlite3_column_int(stmt, 2),
        .status = sqlite3_column_int(stmt, 3),
        .created_us = sqlite3_column_int64(stmt, 4),
        .updated_us = sqlite3_column_int64(stmt, 5),
        .leaf_seq = sqlite3_column_int64(stmt, 7),
        .title = keep_str(arena, stmt, 9),
        .state = keep_str(arena, stmt, 10),
        .config = keep_str(arena, stmt, 11),
    };
    return db_column_u32(d, stmt, 6, &row->next_seq, e) && db_column_u32(d, stmt, 8, &row->branch, e);
}

bool read_get(struct store *s, const struct uuid *id, struct arena *arena, struct store_row *row,
              struct err **e)
{
    autoreader r = reader_take(sqlite_of(s), e);
    autostmt stmt = r ? db_query(&r->db, e, STMT_ROW_GET, "u", id) : NULL;
    enum db_step step = stmt ? db_step(&r->db, stmt, e) : DB_FAILED;
    if (step == DB_END)
        err_set(e, ERR_NOT_FOUND, "no such conversation");
    return step == DB_ROW && row_from(&r->db, stmt, arena, row, e);
}

static bool list_from(struct db *d, const struct store_list *query, int64_t *value, int64_t *number,
                      struct err **e)
{
    autostmt stmt = db_query(d, e, STMT_LIST_FROM, "u", query->from);
    enum db_step step = stmt ? db_step(d, stmt, e) : DB_FAILED;
    if (step != DB_ROW)
        return step == DB_END && err_set(e, ERR_NOT_FOUND, "no such conversation");
    bool created = query->order == STORE_CREATED_ASC || query->order == STORE_CREATED_DESC;
    *value = sqlite3_column_int64(stmt, created ? 0 : 1);
    *number = sqlite3_column_int64(stmt, 2);
    return true;
}

bool read_list(struct store *s, const struct store_list *query, struct arena *arena, struct store_row **rows,
               size_t *n, struct uuid *next, bool *more, struct err **e)
{
    static const enum stmt stmts[] = {
        [STORE_CREATED_ASC] = STMT_LIST_CREATED_ASC,
        [STORE_CREATED_DESC] = STMT_LIST_CREATED_DESC,
        [STORE_UPDATED_ASC] = STMT_LIST_UPDATED_ASC,
        [STORE_UPDATED_DESC] = STMT_LIST_UPDATED_DESC,
    };
    int64_t value = 0, number = 0, limit = (int64_t)query->limit + 1;
    autoreader r = reader_take(sqlite_of(s), e);
    if (!r || (query->from && !list_from(&r->db, query, &value, &number, e)))
        return false;
    int64_t kind = query->kind, status = query->status, skip = (int64_t)query->skip;
    autostmt stmt = query->from ? db_query(&r->db, e, stmts[query->order], "iiiiii", kind, status, value,
                                           number, limit, skip)
                                : db_query(&r->db, e, stmts[query->order], "iissii", kind, status, STR_NONE,
                                           STR_NONE, limit, skip);
    enum db_step step = stmt ? DB_ROW : DB_FAILED;
    *rows = arena_alloc(arena, query->limit * sizeof(**rows));
    *n = 0;
    *more = false;
    while (step == DB_ROW && (step = db_step(&r->db, stmt, e)) == DB_ROW) {
        if (*n < query->limit) {
            if (!row_from(&r->db, stmt, arena, &(*rows)[(*n)++], e))
                return false;
        } else {
            *next = db_column_uuid(stmt, 1);
            *more = true;
        }
    }
    return step == DB_END;
}

bool read_count(struct store *s, enum store_kind kind, int status, int64_t *count, struct err **e)
{
    bool found;
    autoreader r = reader_take(sqlite_of(s), e);
    if (!r)
        return false;
    return status < 0 ? db_get_i64(&r->db, e, count, &found, STMT_COUNT_KIND, "i", (int64_t)kind)
                      : db_get_i64(&r->db, e, count, &found, STMT_COUNT_STATUS, "ii", (int64_t)kind,
                                   (int64_t)status);
}

bool read_find_place(struct store *s, const struct str *places, size_t n, struct uuid *id, struct err **e)
{
    autoreader r = reader_take(sqlite_of(s), e);
    if (!r)
        return false;
    for (size_t i = 0; i < n; i++) {
        autostmt stmt = db_query(&r->db, e, STMT_PLACE_FIND, "s", places[i]);
        enum db_step step = stmt ? db_step(&r->db, stmt, e) : DB_FAILED;
        if (step == DB_FAILED)
            return false;
        if (step == DB_ROW) {
            *id = db_column_uuid(stmt, 0);
            return true;
        }
    }
    return err_set(e, ERR_NOT_FOUND, "no conversation has this place");
}

bool read_ids_with_status(struct store *s, int status, struct uuid *ids, size_t max, size_t *n,
                          struct err **e)
{
    autoreader r = reader_take(sqlite_of(s), e);
    autostmt stmt = r ? db_query(&r->db, e, STMT_IDS_WITH_STATUS, "ii", (int64_t)status, (int64_t)max) : NULL;
    enum db_step step = stmt ? DB_ROW : DB_FAILED;
    *n = 0;
    while (step == DB_ROW && (step = db_step(&r->db, stmt, e)) == DB_ROW)
        ids[(*n)++] = db_column_uuid(stmt, 0);
    return step == DB_END;
}

/* ---- branches, usage ---- */

bool read_branches(struct store *s, int64_t number, struct arena *arena, struct store_branch **branches,
                   size_t *n, struct err **e)
{
    autoreader r = reader_take(sqlite_of(s), e);
    autostmt stmt = r ? db_query(&r->db, e, STMT_BRANCH_LIST, "i", number) : NULL;
    enum db_step step = stmt ? DB_ROW : DB_FAILED;
    VEC(struct store_branch) found = {0};
    while (step == DB_ROW && (step = db_step(&r->db, stmt, e)) == DB_ROW)
        vec_push(&found, (struct store_branch){.branch = (uint32_t)sqlite3_column_int64(stmt, 0),
                                               .parent = (uint32_t)sqlite3_column_int64(stmt, 1),
                                               .at_seq = sqlite3_column_int64(stmt, 2)});
    *branches = keep_array(arena, found.at, found.n * sizeof(*found.at));
    *n = found.n;
    vec_deinit(&found);
    return step == DB_END;
}

bool read_usage_sums(struct store *s, int64_t number, struct arena *arena, struct store_usage_sum **sums,
                     size_t *n, struct err **e)
{
    autoreader r = reader_take(sqlite_of(s), e);
    autostmt stmt = r ? db_query(&r->db, e, STMT_USAGE_SUMS, "i", number) : NULL;
    enum db_step step = stmt ? DB_ROW : DB_FAILED;
    VEC(struct store_usage_sum) found = {0};
    while (step == DB_ROW && (step = db_step(&r->db, stmt, e)) == DB_ROW)
        vec_push(&found, (struct store_usage_sum){.usage_id = keep_str(arena, stmt, 0),
                                                  .model = keep_str(arena, stmt, 1),
                                                  .last_response_id = keep_str(arena, stmt, 2),
                                                  .cost = sqlite3_column_double(stmt, 3),
                                                  .calls = sqlite3_column_int64(stmt, 4),
                                                  .prompt = sqlite3_column_int64(stmt, 5),
                                                  .completion = sqlite3_column_int64(stmt, 6),
                                                  .cache_read = sqlite3_column_int64(stmt, 7),
                                                  .cache_write = sqlite3_column_int64(stmt, 8),
                                                  .reasoning = sqlite3_column_int64(stmt, 9),
                                                  .context_window = sqlite3_column_int64(stmt, 10),
                                                  .last_prompt = sqlite3_column_int64(stmt, 11),
                                                  .last_completion = sqlite3_column_int64(stmt, 12)});
    *sums = keep_array(arena, found.at, found.n * sizeof(*found.at));
    *n = found.n;
    vec_deinit(&found);
    return step == DB_END;
}

/* The latest `max` calls, in the order in which they were made. */
bool read_usage(struct store *s, int64_t number, size_t max, struct arena *arena, struct store_usage **calls,
                size_t *n, struct err **e)
{
    autoreader r = reader_take(sqlite_of(s), e);
    autostmt stmt = r ? db_query(&r->db, e, STMT_USAGE_READ, "iii", event_key(number, 0),
                                 event_key(number + 1, 0), (int64_t)max)
                      : NULL;
    enum db_step step = stmt ? DB_ROW : DB_FAILED;
    VEC(struct store_usage) found = {0};
    while (step == DB_ROW && (step = db_step(&r->db, stmt, e)) == DB_ROW)
        vec_push(&found, (struct store_usage){.usage_id = keep_str(arena, stmt, 0),
                                              .model = keep_str(arena, stmt, 1),
                                              .response_id = keep_str(arena, stmt, 2),
                                              .cost = sqlite3_column_double(stmt, 3),
                                              .seconds = sqlite3_column_double(stmt, 4),
                                              .prompt = sqlite3_column_int64(stmt, 5),
                                              .completion = sqlite3_column_int64(stmt, 6),
                                              .cache_read = sqlite3_column_int64(stmt, 7),
                                              .cache_write = sqlite3_column_int64(stmt, 8),
                                              .reasoning = sqlite3_column_int64(stmt, 9),
                                              .context_window = sqlite3_column_int64(stmt, 10),
                                              .time_us = sqlite3_column_int64(stmt, 11)});
    for (size_t i = 0; i < found.n / 2; i++) {
        struct store_usage swapped = found.at[i];
        found.at[i] = found.at[found.n - 1 - i];
        found.at[found.n - 1 - i] = swapped;
    }
    *calls = keep_array(arena, found.at, found.n * sizeof(*found.at));
    *n = found.n;
    vec_deinit(&found);
    return step == DB_END;
}

/* ---- blobs and documents ---- */

bool read_blob(struct store *s, int64_t number, const struct uuid *id, struct buf *out, struct err **e)
{
    autoreader r = reader_take(sqlite_of(s), e);
    autostmt blob = r ? db_query(&r->db, e, STMT_BLOB_GET, "iu", number, id) : NULL;
    enum db_step step = blob ? db_step(&r->db, blob, e) : DB_FAILED;
    if (step != DB_ROW)
        return step == DB_END && err_set(e, ERR_NOT_FOUND, "no such blob");
    int64_t content = sqlite3_column_int64(blob, 0);
    uint32_t size;
    size_t start = out->n;
    if (!db_column_u32(&r->db, blob, 1, &size, e) ||
        (size > STORE_BLOB_MAX && !db_damaged(&r->db, "the size of a blob", e)))
        return false;
    db_reset(blob);
    autostmt stmt = db_query(&r->db, e, STMT_CHUNK_READ, "ii", content << 16, (content + 1) << 16);
    step = stmt ? DB_ROW : DB_FAILED;
    buf_reserve(out, size);
    while (step == DB_ROW && out->n - start <= size && (step = db_step(&r->db, stmt, e)) == DB_ROW)
        buf_add(out, db_column_str(stmt, 0));
    if (step == DB_END && out->n - start == size)
        return true;
    if (out->n - start > size)
        db_damaged(&r->db, "the chunks of a blob", e);
    buf_truncate(out, start); /* deleted between the two statements, or the database failed */
    return err_set(e, ERR_NOT_FOUND, "no such blob");
}

bool read_doc(struct store *s, struct str space, struct str key, struct buf *out, struct err **e)
{
    autoreader r = reader_take(sqlite_of(s), e);
    autostmt stmt =
        r ? db_query(&r->db, e, STMT_DOC_GET, "ss", space.p ? space : STR(""), key.p ? key : STR("")) : NULL;
    enum db_step step = stmt ? db_step(&r->db, stmt, e) : DB_FAILED;
    if (step == DB_ROW)
        buf_add(out, db_column_str(stmt, 0));
    else if (step == DB_END)
        err_set(e, ERR_NOT_FOUND, "no such document");
    return step == DB_ROW;
}

bool read_doc_keys(struct store *s, struct str space, struct arena *arena, struct str **keys, size_t *n,
                   struct err **e)
{
    autoreader r = reader_take(sqlite_of(s), e);
    autostmt stmt = r ? db_query(&r->db, e, STMT_DOC_KEYS, "s", space.p ? space : STR("")) : NULL;
    enum db_step step = stmt ? DB_ROW : DB_FAILED;
    VEC(struct str) found = {0};
    while (step == DB_ROW && (step = db_step(&r->db, stmt, e)) == DB_ROW)
        vec_push(&found, keep_str(arena, stmt, 0));
    *keys = keep_array(arena, found.at, found.n * sizeof(*found.at));
    *n = found.n;
    vec_deinit(&found);
    return step == DB_END;
}
