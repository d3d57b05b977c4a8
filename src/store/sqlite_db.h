/* sqlite_db: one connection to the database and its prepared statements. A connection belongs to one thread at a time
 * (the writer's for ever, a reader's between take and give). */
#pragma once
#include <sqlite3.h>
#include "store/backend.h"

/* STATEMENT(name, text): every statement there is, kept prepared from its first use. */
#define STATEMENT(name, text) STMT_##name,
enum stmt {
#include "store/sqlite_statements.h"
    STMT_COUNT
};
#undef STATEMENT

struct db {
    sqlite3 *handle;
    sqlite3_stmt *stmts[STMT_COUNT];
};

/* An upper bound for one text or blob; what callers may hand in is bounded in store.c. */
#define DB_LENGTH_MAX (128 * 1024 * 1024)

bool db_open(struct db *d, const char *path, const char *vfs, int cache_kb, struct err **e);
void db_close(struct db *d);
bool db_exec(struct db *d, const char *sql, struct err **e);
bool db_pragma_get(struct db *d, const char *sql, int64_t *value, struct err **e);
/* Sets `e` from the connection's last failure: trouble with the disk is ERR_IO. Returns false. */
bool db_fail(struct db *d, const char *what, struct err **e);
/* ERR_IO that names the file, and what of it cannot be right. Returns false. */
bool db_damaged(struct db *d, const char *what, struct err **e);

/* Binds by letters: i int64_t, f double, s struct str (text; STR_NONE is null), b struct str (blob), u const struct
 * uuid *. Borrowed until the statement is reset. NULL on failure. */
sqlite3_stmt *db_query(struct db *d, struct err **e, enum stmt which, const char *types, ...);
enum db_step { DB_END, DB_ROW, DB_FAILED };
/* Resets the statement at the end and on failure. */
enum db_step db_step(struct db *d, sqlite3_stmt *stmt, struct err **e);
void db_reset(sqlite3_stmt *stmt);
/* Binds, runs to the end, resets. */
bool db_run(struct db *d, struct err **e, enum stmt which, const char *types, ...);
/* The first column of the first row; `*found` false when there is none. */
bool db_get_i64(struct db *d, struct err **e, int64_t *value, bool *found, enum stmt which, const char *types,
                ...);

/* Columns; texts are borrowed until the next step. Numbers come from a file and are believed only if they fit. */
bool db_column_u32(struct db *d, sqlite3_stmt *stmt, int column, uint32_t *value, struct err **e);
struct str db_column_str(sqlite3_stmt *stmt, int column);
struct uuid db_column_uuid(sqlite3_stmt *stmt, int column);

void db_stmt_cleanup(sqlite3_stmt **stmt);
/* Resets at the end of the scope, so that no read transaction outlives its function. */
#define autostmt __attribute__((cleanup(db_stmt_cleanup))) sqlite3_stmt *

static inline int64_t event_key(int64_t number, int64_t seq)
{
    return number << 32 | seq;
}
