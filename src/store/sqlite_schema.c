#include "store/sqlite_schema.h"
#include "base/cleanup.h"
#include <fcntl.h>
#include <stdio.h>

#define APPLICATION_ID 0x68616e64 /* "hand", in the header of the file */
/* For ever, once a file is made. Larger ones were measured: fewer pages per commit, but more bytes and no less time. */
#define PAGE_SIZE 4096

/* What is rewritten with each commit (conversation) is small and of fixed size; texts stand apart.
 * An event is a narrow row among its conversation's others, and a body at the end of one common table: bodies in the order
 * of conversations would split pages with every second event (4 pages written per event, measured, against 1.5).
 * There is no index over events: event_block, one row per 256 events, serves id → seq and the filters. */
static const char version_1[] =
    "CREATE TABLE counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "INSERT INTO counter VALUES('conversation', 0), ('content', 0);"
    "CREATE TABLE conversation("
    " number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, kind INTEGER NOT NULL, status INTEGER NOT NULL,"
    " created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL, token INTEGER NOT NULL, last_commit INTEGER NOT NULL,"
    " next_seq INTEGER NOT NULL, leaf_seq INTEGER NOT NULL, branch INTEGER NOT NULL, next_usage INTEGER NOT NULL);"
    "CREATE INDEX conversation_created ON conversation(kind, created_us);"
    "CREATE INDEX conversation_status ON conversation(status, created_us);"
    "CREATE TABLE conversation_text(number INTEGER PRIMARY KEY, title TEXT, state TEXT NOT NULL);"
    "CREATE TABLE conversation_config(number INTEGER PRIMARY KEY, config TEXT NOT NULL);"
    "CREATE TABLE event("
    " key INTEGER PRIMARY KEY, id BLOB NOT NULL, kind INTEGER NOT NULL, source INTEGER NOT NULL,"
    " time_us INTEGER NOT NULL, place INTEGER NOT NULL, body INTEGER NOT NULL);"
    "CREATE TABLE event_body(id INTEGER PRIMARY KEY, side TEXT, reduced TEXT, json TEXT NOT NULL);"
    "CREATE TABLE event_block(key INTEGER PRIMARY KEY, data BLOB NOT NULL);"
    "CREATE TABLE event_search(key INTEGER PRIMARY KEY, text TEXT NOT NULL);"
    "CREATE TABLE branch("
    " number INTEGER, branch INTEGER, parent INTEGER NOT NULL, at_seq INTEGER NOT NULL,"
    " PRIMARY KEY(number, branch)) WITHOUT ROWID;"
    "CREATE TABLE usage("
    " key INTEGER PRIMARY KEY, usage_id TEXT, model TEXT, response_id TEXT, cost REAL, seconds REAL, prompt INTEGER,"
    " completion INTEGER, cache_read INTEGER, cache_write INTEGER, reasoning INTEGER, context_window INTEGER,"
    " time_us INTEGER);"
    "CREATE TABLE usage_sum("
    " number INTEGER, usage_id TEXT, place INTEGER NOT NULL, model TEXT, last_response_id TEXT, cost REAL,"
    " calls INTEGER, prompt INTEGER, completion INTEGER, cache_read INTEGER, cache_write INTEGER, reasoning INTEGER,"
    " context_window INTEGER, last_prompt INTEGER, last_completion INTEGER,"
    " PRIMARY KEY(number, usage_id)) WITHOUT ROWID;"
    "CREATE TABLE blob("
    " number INTEGER, id BLOB, content INTEGER NOT NULL, size INTEGER NOT NULL, PRIMARY KEY(number, id)) WITHOUT ROWID;"
    "CREATE INDEX blob_content ON blob(content);"
    "CREATE TABLE blob_chunk(key INTEGER PRIMARY KEY, data BLOB NOT NULL);"
    "CREATE TABLE document("
    " space TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, UNIQUE(space, name));"
    "CREATE TABLE work("
    " id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, number INTEGER NOT NULL, source INTEGER NOT NULL,"
    " upto INTEGER NOT NULL, at INTEGER NOT NULL, target BLOB UNIQUE, row_kind INTEGER, status INTEGER,"
    " created_us INTEGER, title TEXT, state TEXT, config TEXT);";

/* Where a conversation works, for finding the one that a path belongs to. */
static const char version_2[] =
    "CREATE TABLE conversation_place(number INTEGER PRIMARY KEY, place TEXT NOT NULL);"
    "CREATE INDEX conversation_place_place ON conversation_place(place);"
    "INSERT INTO conversation_place SELECT number, json_extract(config, '$.working_dir') FROM conversation_config"
    " WHERE json_valid(config) AND json_extract(config, '$.working_dir') IS NOT NULL;";

/* migrations[i] leads from version i to i + 1; each runs in one transaction. */
static const char *const migrations[] = {version_1, version_2};
#define SCHEMA_VERSION ((int64_t)ARRAY_LEN(migrations))

static bool schema_migrate(struct db *d, int64_t from, struct err **e)
{
    for (int64_t version = from; version < SCHEMA_VERSION; version++) {
        char stamp[96];
        snprintf(stamp, sizeof(stamp), "PRAGMA application_id=%d; PRAGMA user_version=%d;", APPLICATION_ID,
                 (int)version + 1);
        if (!db_exec(d, "BEGIN IMMEDIATE", e) || !db_exec(d, migrations[version], e) ||
            !db_exec(d, stamp, e) || !db_exec(d, "COMMIT", e)) {
            db_exec(d, "ROLLBACK", NULL);
            return false;
        }
    }
    return true;
}

/* A database is made complete under another name: its final name never shows half of one, and one sync of the file and one
 * of the directory are enough. */
static bool schema_fill(const char *path, const char *vfs, struct err **e)
{
    struct db d = {0};
    char pragmas[160];
    snprintf(
        pragmas, sizeof(pragmas),
        "PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY; PRAGMA page_size=%d; PRAGMA auto_vacuum=INCREMENTAL;",
        PAGE_SIZE);
    bool ok = db_open(&d, path, vfs, 64, e) && db_exec(&d, pragmas, e) && schema_migrate(&d, 0, e) &&
              db_exec(&d, "PRAGMA journal_mode=WAL", e);
    db_close(&d);
    return ok;
}

static bool file_sync(const char *path, struct err **e)
{
    autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    return (fd >= 0 && fsync(fd) == 0) || err_errno(e, ERR_IO, "cannot sync %s", path);
}

bool schema_make(const char *path, const char *vfs, struct err **e)
{
    autobuf fresh = {0};
    static const char *const left[] = {".new-wal", ".new-journal", ".new"}; /* of a process that died here */
    for (size_t i = 0; i < ARRAY_LEN(left); i++) {
        buf_clear(&fresh);
        buf_addf(&fresh, "%s%s", path, left[i]);
        unlink(fresh.p);
    }
    int fd = open(fresh.p, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, ERR_INVALID, "cannot make %s", fresh.p);
    close(fd);
    if (!schema_fill(fresh.p, vfs, e) || !file_sync(fresh.p, e))
        return false;
    return rename(fresh.p, path) == 0 || err_errno(e, ERR_IO, "cannot rename %s", fresh.p);
}

bool schema_open(struct db *d, const char *path, struct err **e)
{
    int64_t application, version;
    if (!db_pragma_get(d, "PRAGMA application_id", &application, e) ||
        !db_pragma_get(d, "PRAGMA user_version", &version, e))
        return false;
    if (application != APPLICATION_ID)
        return err_set(e, ERR_INVALID, "%s is not a database of handsd", path);
    if (version > SCHEMA_VERSION)
        return err_set(e, ERR_INVALID,
                       "%s was written by a newer handsd (version %d, this one knows up to %d)", path,
                       (int)version, (int)SCHEMA_VERSION);
    return db_exec(d, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;", e) &&
           schema_migrate(d, version, e);
}
