#include "store/sqlite.h"
#include "base/cleanup.h"

/* Cached rows that nobody owns are forgotten when there are more than so many. */
#define ROWS_KEPT 4096

void rows_init(struct rows *r)
{
    r->map = map_u64_new();
    r->sweep_at = ROWS_KEPT;
}

void rows_deinit(struct rows *r)
{
    size_t cursor = 0;
    void *row;
    while (map_u64_next(r->map, &cursor, NULL, &row))
        free(row);
    map_u64_free(r->map);
    vec_deinit(&r->touched);
    vec_deinit(&r->leases);
}

static bool row_load(struct db *d, int64_t number, struct row_values *v, bool *found, struct err **e)
{
    autostmt stmt = db_query(d, e, STMT_HEAD_LOAD, "i", number);
    enum db_step step = stmt ? db_step(d, stmt, e) : DB_FAILED;
    *found = step == DB_ROW;
    if (!*found)
        return step == DB_END;
    *v = (struct row_values){
        .token = (uint64_t)sqlite3_column_int64(stmt, 0),
        .last_commit = (uint64_t)sqlite3_column_int64(stmt, 1),
        .leaf_seq = sqlite3_column_int64(stmt, 3),
        .status = sqlite3_column_int(stmt, 6),
        .updated_us = sqlite3_column_int64(stmt, 7),
    };
    autoerr damaged = NULL;
    if (db_column_u32(d, stmt, 2, &v->next_seq, &damaged) &&
        db_column_u32(d, stmt, 4, &v->branch, &damaged) &&
        db_column_u32(d, stmt, 5, &v->next_usage, &damaged))
        return true;
    /* ERR_IO would refuse everybody's writes; this is one row. */
    return err_set(e, ERR_INTERNAL, "%s", err_text(damaged));
}

struct row *rows_cached(struct rows *r, int64_t number)
{
    return map_u64_get(r->map, (uint64_t)number);
}

bool rows_get(struct rows *r, struct db *d, int64_t number, struct row **row, struct err **e)
{
    *row = rows_cached(r, number);
    if (*row) {
        if ((*row)->now.gone)
            *row = NULL;
        return true;
    }
    struct row_values values;
    bool found;
    if (number <= 0 || number > NUMBER_MAX)
        return true;
    if (!row_load(d, number, &values, &found, e))
        return false;
    if (!found)
        return true;
    *row = xcalloc(1, sizeof(**row));
    (*row)->number = number;
    (*row)->now = values;
    map_u64_put(r->map, (uint64_t)number, *row);
    return true;
}

void rows_touch(struct rows *r, struct row *row)
{
    if (row->touched)
        return;
    row->touched = true;
    row->before = row->now;
    vec_push(&r->touched, row);
}

void rows_rollback(struct rows *r)
{
    for (size_t i = 0; i < r->touched.n; i++) {
        struct row *row = r->touched.at[i];
        row->now = row->before;
        row->touched = row->got_events = false;
    }
    r->touched.n = 0;
}

/* Owned rows stay: the owner will commit again. */
static void rows_sweep(struct rows *r)
{
    VEC(struct row *) unowned = {0};
    size_t cursor = 0;
    void *row;
    while (map_u64_next(r->map, &cursor, NULL, &row))
        if (((struct row *)row)->now.owner == 0)
            vec_push(&unowned, row);
    for (size_t i = 0; i < unowned.n; i++)
        free(map_u64_remove(r->map, (uint64_t)unowned.at[i]->number));
    vec_deinit(&unowned);
    r->sweep_at = map_u64_count(r->map) * 2 + ROWS_KEPT;
}

void rows_settle(struct rows *r)
{
    for (size_t i = 0; i < r->touched.n; i++) {
        struct row *row = r->touched.at[i];
        row->touched = row->got_events = false;
        if (row->now.gone)
            free(map_u64_remove(r->map, (uint64_t)row->number));
    }
    r->touched.n = 0;
    if (map_u64_count(r->map) > r->sweep_at)
        rows_sweep(r);
}

void rows_lease(struct rows *r, uint64_t owner, uint64_t until_ns)
{
    for (size_t i = 0; i < r->leases.n; i++) {
        if (r->leases.at[i].owner == owner) {
            if (r->leases.at[i].until_ns < until_ns)
                r->leases.at[i].until_ns = until_ns;
            return;
        }
    }
    vec_push(&r->leases, (struct owner_lease){owner, until_ns});
}

bool rows_owner_lives(const struct rows *r, uint64_t owner, uint64_t now_ns)
{
    for (size_t i = 0; i < r->leases.n; i++)
        if (r->leases.at[i].owner == owner)
            return r->leases.at[i].until_ns > now_ns;
    return false;
}
