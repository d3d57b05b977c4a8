#include "store/sqlite_db.h"
#include "base/cleanup.h"
#include <stdarg.h>
#include <stdio.h>

#define STATEMENT(name, text) (text),
static const char *const stmt_texts[STMT_COUNT] = {
#include "store/sqlite_statements.h"
};
#undef STATEMENT

static enum err_kind fail_kind(int code)
{
    switch (code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_PROTOCOL: return ERR_IO;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return ERR_BUSY;
    case SQLITE_TOOBIG: return ERR_TOO_LARGE;
    case SQLITE_CONSTRAINT: return ERR_CONFLICT;
    default: return ERR_INTERNAL;
    }
}

static const char *db_path(const struct db *d)
{
    const char *path = d->handle ? sqlite3_db_filename(d->handle, "main") : NULL;
    return path && *path ? path : "the database";
}

bool db_damaged(struct db *d, const char *what, struct err **e)
{
    return err_set(
        e, ERR_IO,
        "%s is damaged (%s): put a backup in its place, or move it and its -wal away to start over",
        db_path(d), what);
}

bool db_fail(struct db *d, const char *what, struct err **e)
{
    int code = d->handle ? sqlite3_extended_errcode(d->handle) : SQLITE_NOMEM;
    const char *text = d->handle ? sqlite3_errmsg(d->handle) : "out of memory";
    if ((code & 0xff) == SQLITE_CORRUPT)
        return db_damaged(d, text, e);
    if ((code & 0xff) == SQLITE_NOTADB)
        return err_set(e, ERR_INVALID, "%s is not a database: move it away, or name another data directory",
                       db_path(d));
    return err_set(e, fail_kind(code), "database: %s: %s (%d)", what, text, code);
}

bool db_exec(struct db *d, const char *sql, struct err **e)
{
    return sqlite3_exec(d->handle, sql, NULL, NULL, NULL) == SQLITE_OK || db_fail(d, sql, e);
}

bool db_pragma_get(struct db *d, const char *sql, int64_t *value, struct err **e)
{
    sqlite3_stmt *stmt = NULL;
    bool ok =
        sqlite3_prepare_v2(d->handle, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW;
    if (ok)
        *value = sqlite3_column_int64(stmt, 0);
    else
        db_fail(d, sql, e);
    sqlite3_finalize(stmt);
    return ok;
}

bool db_open(struct db *d, const char *path, const char *vfs, int cache_kb, struct err **e)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    if (sqlite3_open_v2(path, &d->handle, flags, vfs) != SQLITE_OK)
        return db_fail(d, "open", e);
    sqlite3_limit(d->handle, SQLITE_LIMIT_LENGTH, DB_LENGTH_MAX);
    sqlite3_db_config(d->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(d->handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(d->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    char pragmas[160];
    /* A cache in bytes: negative numbers are kilobytes. Deleted text is overwritten where that costs no page. */
    snprintf(
        pragmas, sizeof(pragmas),
        "PRAGMA cache_size=-%d; PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=OFF; PRAGMA secure_delete=FAST;",
        cache_kb);
    return db_exec(d, pragmas, e);
}

void db_close(struct db *d)
{
    for (size_t i = 0; i < STMT_COUNT; i++)
        sqlite3_finalize(steal(d->stmts[i]));
    if (d->handle)
        sqlite3_close(steal(d->handle));
}

static sqlite3_stmt *db_prepared(struct db *d, enum stmt which, struct err **e)
{
    sqlite3_stmt **stmt = &d->stmts[which];
    if (!*stmt && sqlite3_prepare_v3(d->handle, stmt_texts[which], -1, SQLITE_PREPARE_PERSISTENT, stmt,
                                     NULL) != SQLITE_OK)
        db_fail(d, stmt_texts[which], e);
    return *stmt;
}

static int bind_one(sqlite3_stmt *stmt, int at, char type, va_list *args)
{
    switch (type) {
    case 'i': return sqlite3_bind_int64(stmt, at, va_arg(*args, int64_t));
    case 'f': return sqlite3_bind_double(stmt, at, va_arg(*args, double));
    case 'u': return sqlite3_bind_blob(stmt, at, va_arg(*args, const struct uuid *)->b, 16, SQLITE_STATIC);
    case 's':
    case 'b': {
        struct str s = va_arg(*args, struct str);
        if (!s.p)
            return sqlite3_bind_null(stmt, at);
        if (type == 's')
            return sqlite3_bind_text64(stmt, at, s.p, s.n, SQLITE_STATIC, SQLITE_UTF8);
        return sqlite3_bind_blob64(stmt, at, s.p, s.n, SQLITE_STATIC);
    }
    default: return SQLITE_MISUSE;
    }
}

static sqlite3_stmt *db_bind(struct db *d, struct err **e, enum stmt which, const char *types, va_list *args)
{
    sqlite3_stmt *stmt = db_prepared(d, which, e);
    if (!stmt)
        return NULL;
    for (int at = 1; *types; at++, types++) {
        if (bind_one(stmt, at, *types, args) != SQLITE_OK) {
            db_fail(d, stmt_texts[which], e);
            return NULL;
        }
    }
    return stmt;
}

sqlite3_stmt *db_query(struct db *d, struct err **e, enum stmt which, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    sqlite3_stmt *stmt = db_bind(d, e, which, types, &args);
    va_end(args);
    return stmt;
}

enum db_step db_step(struct db *d, sqlite3_stmt *stmt, struct err **e)
{
    int code = sqlite3_step(stmt);
    if (code == SQLITE_ROW)
        return DB_ROW;
    if (code != SQLITE_DONE)
        db_fail(d, sqlite3_sql(stmt), e);
    sqlite3_reset(stmt);
    return code == SQLITE_DONE ? DB_END : DB_FAILED;
}

void db_reset(sqlite3_stmt *stmt)
{
    sqlite3_reset(stmt);
}

void db_stmt_cleanup(sqlite3_stmt **stmt)
{
    if (*stmt)
        sqlite3_reset(*stmt);
}

bool db_run(struct db *d, struct err **e, enum stmt which, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    sqlite3_stmt *stmt = db_bind(d, e, which, types, &args);
    va_end(args);
    if (!stmt)
        return false;
    enum db_step step;
    while ((step = db_step(d, stmt, e)) == DB_ROW)
        ;
    return step == DB_END;
}

bool db_get_i64(struct db *d, struct err **e, int64_t *value, bool *found, enum stmt which, const char *types,
                ...)
{
    va_list args;
    va_start(args, types);
    sqlite3_stmt *stmt = db_bind(d, e, which, types, &args);
    va_end(args);
    if (!stmt)
        return false;
    enum db_step step = db_step(d, stmt, e);
    *found = step == DB_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL;
    if (*found)
        *value = sqlite3_column_int64(stmt, 0);
    if (step == DB_ROW)
        sqlite3_reset(stmt);
    return step != DB_FAILED;
}

bool db_column_u32(struct db *d, sqlite3_stmt *stmt, int column, uint32_t *value, struct err **e)
{
    int64_t stored = sqlite3_column_int64(stmt, column);
    *value = (uint32_t)stored;
    return stored == *value || db_damaged(d, sqlite3_column_name(stmt, column), e);
}

struct str db_column_str(sqlite3_stmt *stmt, int column)
{
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL)
        return STR_NONE;
    /* The blob form: a text would be copied to get its NUL. */
    const void *p = sqlite3_column_blob(stmt, column);
    size_t n = (size_t)sqlite3_column_bytes(stmt, column);
    return str_make(p ? p : "", n);
}

struct uuid db_column_uuid(sqlite3_stmt *stmt, int column)
{
    struct uuid id = {{0}};
    struct str s = db_column_str(stmt, column);
    if (s.n == sizeof(id.b))
        memcpy(id.b, s.p, sizeof(id.b));
    return id;
}
