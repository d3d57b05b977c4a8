/* What is SQLite's own: the file, its owner, restarts in the middle of sliced work, what lies on the disk. */
#include "test_store.h"
#include "store/sqlite.h"
#include "store/sqlite_wal.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/wait.h>

struct place {
    char dir[64], file[128];
};

static int setup(void **state)
{
    struct place *p = xcalloc(1, sizeof(*p));
    temp_dir(p->dir);
    snprintf(p->file, sizeof(p->file), "%s/handsd.db", p->dir);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    temp_dir_remove(p->dir);
    free(p);
    return 0;
}

static struct store *open_at(const struct place *p, struct err **e)
{
    return store_open(&(struct store_config){.path = p->file}, e);
}

static struct store *open_ok(const struct place *p)
{
    autoerr e = NULL;
    struct store *s = open_at(p, &e);
    if (!s)
        fail_msg("%s", err_text(e));
    return s;
}

/* Runs statements or reads one number, on a closed database. */
static void sql(const struct place *p, const char *text)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(p->file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static int64_t sql_number(const struct place *p, const char *text)
{
    struct db d = {0};
    int64_t value = -1;
    assert_int_equal(sqlite3_open(p->file, &d.handle), SQLITE_OK);
    assert_true(db_pragma_get(&d, text, &value, NULL));
    sqlite3_close(d.handle);
    return value;
}

static void test_header_and_modes(void **state)
{
    struct place *p = *state;
    store_close(open_ok(p));
    struct stat info;
    assert_int_equal(stat(p->file, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(sql_number(p, "PRAGMA application_id"), 0x68616e64);
    assert_int_equal(sql_number(p, "PRAGMA user_version"), 2);
    assert_int_equal(sql_number(p, "PRAGMA auto_vacuum"), 2);
    assert_int_equal(sql_number(p, "PRAGMA page_size"), 4096);
    /* After a clean end all is in the one file. */
    char wal[160];
    snprintf(wal, sizeof(wal), "%s-wal", p->file);
    assert_true(stat(wal, &info) != 0 || info.st_size == 0);
}

static void test_foreign_files_refused(void **state)
{
    struct place *p = *state;
    autoerr text = NULL;
    autoerr foreign = NULL;
    autoerr newer = NULL;
    int fd = open(p->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    for (int i = 0; i < 200; i++)
        assert_int_equal(write(fd, "this is no database at all\n", 27), 27);
    close(fd);
    assert_null(open_at(p, &text));
    assert_int_equal(text->kind, ERR_INVALID);
    assert_non_null(strstr(text->text, p->file));
    assert_non_null(strstr(text->text, "move it away"));
    assert_int_equal(unlink(p->file), 0);

    sql(p, "CREATE TABLE mine(x)");
    assert_null(open_at(p, &foreign));
    assert_int_equal(foreign->kind, ERR_INVALID);
    assert_int_equal(unlink(p->file), 0);

    store_close(open_ok(p));
    sql(p, "PRAGMA user_version=1000");
    assert_null(open_at(p, &newer));
    assert_int_equal(newer->kind, ERR_INVALID);
    assert_non_null(strstr(newer->text, "newer"));
    sql(p, "PRAGMA user_version=2");
    store_close(open_ok(p));
}

static void test_empty_file_is_made(void **state)
{
    struct place *p = *state;
    close(open(p->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)); /* died right after making it */
    struct store *s = open_ok(p);
    struct uuid id;
    make_conversation(s, &id);
    store_close(s);
    assert_int_equal(sql_number(p, "PRAGMA auto_vacuum"), 2);
}

static void expect_refused(const struct place *p, const char *text)
{
    autoerr e = NULL;
    assert_null(open_at(p, &e));
    assert_int_equal(e->kind, ERR_INVALID);
    if (!strstr(e->text, text))
        fail_msg("\"%s\" does not say \"%s\"", e->text, text);
}

/* What was committed and not yet copied into the database is no beginning of another one. */
static void test_log_without_its_database(void **state)
{
    struct place *p = *state;
    char wal[160], away[160];
    snprintf(wal, sizeof(wal), "%s-wal", p->file);
    snprintf(away, sizeof(away), "%s-away", p->file);
    pid_t child = fork();
    if (child == 0) {
        struct uuid id;
        struct writer w = writer_new(open_at(p, NULL), &id);
        write_events(&w, 3, 10);
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);
    assert_int_equal(unlink(p->file), 0);
    expect_refused(p, "handsd.db-wal belongs to a database that is gone");
    close(open(p->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    expect_refused(p, "handsd.db-wal belongs to a database that is gone");
    assert_int_equal(rename(wal, away), 0);
    struct store *s = open_ok(p);
    autoarena arena = arena_new();
    struct store_list all = {.status = -1, .limit = 10};
    struct store_row *rows;
    struct uuid next;
    size_t n;
    bool more;
    assert_true(store_list(s, &all, arena, &rows, &n, &next, &more, NULL));
    assert_int_equal(n, 0);
    store_close(s);
    assert_int_equal(unlink(away), 0);
}

/* A process that died while it made the database leaves files of other names. */
static void test_making_it_was_cut_short(void **state)
{
    struct place *p = *state;
    static const char *const left[] = {".new", ".new-wal", ".new-journal"};
    for (size_t i = 0; i < ARRAY_LEN(left); i++) {
        char name[160];
        snprintf(name, sizeof(name), "%s%s", p->file, left[i]);
        int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, "half", 4), 4);
        close(fd);
    }
    store_close(open_ok(p));
}

/* Where the file is damaged, the error names it and says what to do; sizes in it are not believed. */
static void test_damage_is_said(void **state)
{
    struct place *p = *state;
    struct store *s = open_ok(p);
    struct uuid id, blob = uuid_random();
    struct writer w = writer_new(s, &id);
    assert_int_equal(write_events(&w, 3, 10), STORE_DONE);
    assert_int_equal(blob_put(s, w.number, &blob, STR("content")), -1);
    store_close(s);
    static const char *const sizes[] = {"-1", "1000000000000", "100000000", "3"};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char text[100];
        autobuf out = {0};
        autoerr e = NULL;
        snprintf(text, sizeof(text), "UPDATE blob SET size = %s", sizes[i]);
        sql(p, text);
        s = open_ok(p);
        assert_false(store_blob_get(s, w.number, &blob, &out, &e));
        assert_int_equal(e->kind, ERR_IO);
        assert_int_equal(out.n, 0);
        store_close(s);
    }
    sql(p, "UPDATE conversation SET next_seq = 4294967296 + 3");
    s = open_ok(p);
    autoarena arena = arena_new();
    autoerr e = NULL;
    struct store_row row;
    uint64_t token;
    assert_false(store_get(s, &id, arena, &row, &e));
    assert_int_equal(e->kind, ERR_IO);
    assert_int_equal(claim(s, w.number, "owner", &token), ERR_INTERNAL);
    assert_int_equal(doc_put(s, "s", "k", STR("v")), -1); /* nobody else suffers */
    store_close(s);

    struct stat info;
    assert_int_equal(stat(p->file, &info), 0);
    int fd = open(p->file, O_WRONLY | O_CLOEXEC);
    for (off_t at = 4096; at < info.st_size; at += 16)
        assert_int_equal(pwrite(fd, "damaged, damaged", 16, at), 16);
    close(fd);
    autoerr damaged = NULL;
    assert_null(open_at(p, &damaged));
    assert_int_equal(damaged->kind, ERR_IO);
    assert_non_null(strstr(damaged->text, p->file));
    assert_non_null(strstr(damaged->text, "backup"));
}

/* What a killed server was just starting may hold the lock for a moment longer than the server itself. */
static void test_a_lock_that_is_on_its_way_out(void **state)
{
    struct place *p = *state;
    store_close(open_ok(p));
    int held[2];
    assert_int_equal(pipe(held), 0);
    pid_t child = fork();
    if (child == 0) {
        int fd = open(p->dir, O_RDONLY | O_DIRECTORY);
        bool locked = fd >= 0 && flock(fd, LOCK_EX) == 0;
        if (write(held[1], &locked, 1) != 1)
            _exit(1);
        poll(NULL, 0, 100); /* the moment */
        _exit(0);
    }
    bool locked = false;
    assert_int_equal(read(held[0], &locked, 1), 1);
    assert_true(locked);
    store_close(open_ok(p));
    waitpid(child, NULL, 0);
    close(held[0]);
    close(held[1]);
}

static void test_one_owner(void **state)
{
    struct place *p = *state;
    /* kill -9 of the owner frees the directory at once, and its claims with it. */
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        autoerr why = NULL;
        struct store *mine = open_at(p, &why);
        if (!mine) {
            fprintf(stderr, "the child cannot open the store: %s\n", err_text(why));
            _exit(1);
        }
        struct uuid id;
        struct writer w = writer_new(mine, &id);
        write_events(&w, 3, 10);
        if (write(ready[1], &id, sizeof(id)) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    struct uuid id;
    close(ready[1]); /* a child that dies is an end of file */
    assert_int_equal(read(ready[0], &id, sizeof(id)), sizeof(id));
    autoerr busy = NULL;
    assert_null(open_at(p, &busy));
    assert_int_equal(busy->kind, ERR_CONFLICT);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(ready[0]);
    struct store *s = open_ok(p);
    autoarena arena = arena_new();
    struct store_row row;
    struct writer w = {.store = s, .commit_id = 100, .seq = 3};
    assert_true(store_get(s, &id, arena, &row, NULL));
    assert_int_equal(row.next_seq, 3);
    w.number = row.number;
    assert_int_equal(claim(s, row.number, "the next process", &w.token), -1);
    assert_int_equal(write_events(&w, 1, 10), STORE_DONE);
    /* Last: what waited for the lock in vain may take it for a moment, and a fork would keep it. */
    autoerr e = NULL;
    assert_null(open_at(p, &e));
    assert_int_equal(e->kind, ERR_CONFLICT);
    store_close(s);
}

/* The process died right after the row of `number` vanished. */
static void delete_begun(const struct place *p, int64_t number)
{
    char text[400];
    snprintf(
        text, sizeof(text),
        "BEGIN; DELETE FROM conversation WHERE number = %d; DELETE FROM conversation_text WHERE number = %d;"
        "DELETE FROM conversation_config WHERE number = %d;"
        "INSERT INTO work(id, kind, number, source, upto, at) VALUES(7, 1, %d, 0, 0, 0); COMMIT",
        (int)number, (int)number, (int)number, (int)number);
    sql(p, text);
}

/* The process ends in the middle of deleting; the next ones finish it, blobs included. */
static void test_delete_goes_on_after_restart(void **state)
{
    struct place *p = *state;
    struct store *s = open_ok(p);
    struct uuid id, other_id, blob = uuid_random();
    struct writer w = writer_new(s, &id), other = writer_new(s, &other_id);
    char *large = xcalloc(1, 3 << 20);
    memset(large, 'b', 3 << 20);
    for (int i = 0; i < 40; i++)
        assert_int_equal(write_events(&w, 50, 4000), STORE_DONE);
    assert_int_equal(write_events(&other, 5, 10), STORE_DONE);
    assert_int_equal(blob_put(s, w.number, &blob, str_make(large, 3 << 20)), -1);
    assert_int_equal(blob_put(s, other.number, &blob, STR("stays")), -1);
    store_close(s);
    delete_begun(p, w.number);
    assert_int_equal(sql_number(p, "SELECT count(*) FROM event"), 2005);
    for (int starts = 0; sql_number(p, "SELECT count(*) FROM work") > 0; starts++) {
        assert_true(starts < 1000);
        s = open_ok(p);
        /* A slice runs behind each group. */
        for (int i = 0; i < 20; i++)
            assert_int_equal(doc_put(s, "s", "k", STR("v")), -1);
        store_close(s);
    }
    assert_int_equal(sql_number(p, "SELECT count(*) FROM event"), 5);
    assert_int_equal(sql_number(p, "SELECT count(*) FROM event_body"), 5);
    assert_int_equal(sql_number(p, "SELECT count(*) FROM event_block"), 0);
    assert_int_equal(sql_number(p, "SELECT count(*) FROM blob"), 1);
    assert_int_equal(sql_number(p, "SELECT count(*) FROM blob_chunk"), 1);
    free(large);
}

/* The process died right after a copy of `number` into a new row was begun. */
static void copy_begun(const struct place *p, int64_t number, uint32_t to, const struct uuid *target)
{
    char text[400], hex[UUID_HEX_LEN + 1];
    uuid_hex(target, hex);
    snprintf(
        text, sizeof(text),
        "BEGIN; UPDATE counter SET value = value + 1 WHERE name = 'conversation';"
        "INSERT INTO work(id, kind, number, source, upto, at, target, row_kind, status, created_us, title,"
        " state, config) SELECT 7, 2, value, %d, %d, 0, x'%s', 0, 0, 1, NULL, 's', 'c' FROM counter"
        " WHERE name = 'conversation'; COMMIT",
        (int)number, (int)to, hex);
    sql(p, text);
}

static void test_copy_goes_on_after_restart(void **state)
{
    struct place *p = *state;
    struct store *s = open_ok(p);
    struct uuid id;
    struct writer w = writer_new(s, &id);
    for (int i = 0; i < 60; i++)
        assert_int_equal(write_events(&w, 50, 3000), STORE_DONE);
    struct uuid target = uuid_random();
    store_close(s);
    copy_begun(p, w.number, 3000, &target);
    autoarena arena = arena_new();
    struct store_row row;
    for (int starts = 0;; starts++) {
        assert_true(starts < 1000);
        s = open_ok(p);
        for (int i = 0; i < 20; i++)
            assert_int_equal(doc_put(s, "s", "k", STR("v")), -1);
        if (store_get(s, &target, arena, &row, NULL))
            break;
        store_close(s);
    }
    assert_int_equal(row.next_seq, 3000);
    struct store_filter filter = {
        .kind = 1, .source = -1, .since_us = INT64_MIN, .until_us = INT64_MAX, .from_seq = -1};
    int64_t count;
    assert_true(store_count_events(s, row.number, &filter, &count, NULL));
    assert_int_equal(count, 600);
    store_close(s);
    assert_int_equal(sql_number(p, "SELECT count(*) FROM work"), 0);
    assert_int_equal(sql_number(p, "SELECT count(*) FROM event_block"), 22);
}

/* Whoever was told that a copy was cancelled does not find it later. */
static void test_cancelled_copy_stays_away(void **state)
{
    struct place *p = *state;
    struct store *s = open_ok(p);
    struct uuid id;
    struct writer w = writer_new(s, &id);
    for (int i = 0; i < 60; i++)
        assert_int_equal(write_events(&w, 50, 3000), STORE_DONE);
    struct store_create into = {.state = STR("s"), .config = STR("c")};
    int64_t copies = 0;
    for (int kind = -1; kind != ERR_CANCELLED; s = open_ok(p)) { /* it may be quicker than the end */
        struct answer a;
        into.id = uuid_random();
        answer_init(&a);
        store_copy(s, w.number, 3000, &into, on_number, &a);
        store_close(s);
        kind = answer_end(&a);
        copies += kind == -1;
    }
    store_close(s);
    for (int starts = 0; sql_number(p, "SELECT count(*) FROM work") > 0; starts++) {
        assert_true(starts < 1000);
        s = open_ok(p);
        for (int i = 0; i < 20; i++)
            assert_int_equal(doc_put(s, "s", "k", STR("v")), -1);
        store_close(s);
    }
    assert_int_equal(sql_number(p, "SELECT count(*) FROM conversation"), 1 + copies);
    assert_int_equal(sql_number(p, "SELECT count(*) FROM event"), 3000 * (1 + copies));
    assert_int_equal(sql_number(p, "SELECT count(*) FROM event_body"), 3000 * (1 + copies));
}

/* Content is shared by copies and goes with the last one. */
static void test_shared_blob(void **state)
{
    struct place *p = *state;
    struct store *s = open_ok(p);
    struct uuid id, blob = uuid_random();
    struct writer w = writer_new(s, &id);
    assert_int_equal(blob_put(s, w.number, &blob, STR("shared")), -1);
    struct store_create into = {.id = uuid_random(), .state = STR(""), .config = STR("")};
    int64_t copy;
    assert_int_equal(copy_row(s, w.number, 0, &into, &copy), -1);
    store_close(s);
    assert_int_equal(sql_number(p, "SELECT count(*) FROM blob_chunk"), 1);
    for (int left = 1; left >= 0; left--) {
        s = open_ok(p);
        assert_int_equal(delete_row(s, left ? w.number : copy), -1);
        for (int i = 0; i < 20; i++)
            assert_int_equal(doc_put(s, "s", "k", STR("v")), -1);
        store_close(s);
        assert_int_equal(sql_number(p, "SELECT count(*) FROM blob_chunk"), left);
        assert_int_equal(sql_number(p, "SELECT count(*) FROM blob"), left);
    }
}

/* The log is copied into the database and starts over instead of growing for ever. */
static void test_log_stays_small(void **state)
{
    struct place *p = *state;
    struct store *s = store_open(&(struct store_config){.path = p->file, .synchronous_off = true}, NULL);
    struct uuid id;
    struct writer w = writer_new(s, &id);
    char wal[160];
    struct stat info;
    snprintf(wal, sizeof(wal), "%s-wal", p->file);
    for (int i = 0; i < 100; i++)
        assert_int_equal(write_events(&w, 20, 20000), STORE_DONE); /* 40 MB */
    assert_int_equal(stat(wal, &info), 0);
    assert_true(info.st_size < 24 * 1024 * 1024);
    store_close(s);
    assert_int_equal(stat(p->file, &info), 0);
    assert_true(info.st_size > 40000000);
}

/* ---- a long search, and a checkpoint that waits for the readers ---- */

struct gate_test {
    struct sqlite_store *store;
    pthread_t writer;
    atomic_int statements, at_lock; /* of the reader: so far; when the writer got its turn */
};

static void gate_writer(void *arg)
{
    struct gate_test *t = arg;
    pthread_rwlock_wrlock(&t->store->gate);
    atomic_store(&t->at_lock, atomic_load(&t->statements));
    pthread_rwlock_unlock(&t->store->gate);
}

/* On the reader's thread, at the begin of each of its statements. With the first one comes a writer, and is waited for:
 * once it stands at the gate, nobody else is let in. */
static int on_statement(unsigned what, void *arg, void *stmt, void *text)
{
    (void)what, (void)stmt, (void)text;
    struct gate_test *t = arg;
    if (atomic_fetch_add(&t->statements, 1) > 0)
        return 0;
    assert_true(thread_start(&t->writer, "writer", THREAD_STACK_BYTES, gate_writer, t, NULL));
    while (pthread_rwlock_tryrdlock(&t->store->gate) == 0) {
        pthread_rwlock_unlock(&t->store->gate);
        sched_yield();
    }
    return 0;
}

static void expect_slices(struct store *s, int64_t number, struct store_filter filter, bool search)
{
    struct gate_test t = {.store = sqlite_of(s)};
    assert_int_equal(t.store->readers_made, 1);
    sqlite3 *reader = t.store->readers[0]->db.handle;
    autoarena arena = arena_new();
    struct store_item *items;
    size_t n;
    int64_t count = -1, next;
    sqlite3_trace_v2(reader, SQLITE_TRACE_STMT, on_statement, &t);
    if (search) {
        assert_true(store_search(s, number, &filter, arena, &items, &n, &next, NULL));
        assert_int_equal(n, 1);
        assert_int_equal(next, -1);
    } else {
        assert_true(store_count_events(s, number, &filter, &count, NULL));
        assert_int_equal(count, 1);
    }
    sqlite3_trace_v2(reader, 0, NULL, NULL);
    pthread_join(t.writer, NULL);
    assert_true(atomic_load(&t.at_lock) < atomic_load(&t.statements));
}

static void test_long_searches_let_the_writer_in(void **state)
{
    struct place *p = *state;
    struct store *s = store_open(&(struct store_config){.path = p->file, .synchronous_off = true}, NULL);
    struct uuid id;
    struct writer w = writer_new(s, &id);
    enum { EVENTS = 9000, AT_ONCE = 500 };
    struct store_event events[AT_ONCE];
    for (uint32_t at = 0; at < EVENTS; at += AT_ONCE) {
        for (uint32_t i = 0; i < AT_ONCE; i++) {
            bool middle = at + i == EVENTS / 2;
            events[i] = (struct store_event){.id = event_id(w.number, at + i),
                                             .kind = middle,
                                             .json = event_text(at + i, 1),
                                             .search_text = middle ? STR("needle") : STR("hay")};
        }
        struct store_commit c = {.number = w.number,
                                 .token = w.token,
                                 .commit_id = at + 1,
                                 .expected_seq = at,
                                 .events = events,
                                 .event_count = AT_ONCE};
        assert_int_equal(commit(s, &c, NULL), STORE_DONE);
        for (uint32_t i = 0; i < AT_ONCE; i++)
            bytes_unref(events[i].json);
    }
    struct store_filter filter = {
        .kind = -1, .source = -1, .since_us = INT64_MIN, .until_us = INT64_MAX, .from_seq = -1, .limit = 10};
    int64_t count;
    assert_true(store_count_events(s, w.number, &filter, &count, NULL));
    assert_int_equal(count, EVENTS);
    for (int i = 0; i < 8; i++) {
        filter.body = i & 1 ? STR("needle") : STR_NONE;
        filter.kind = i & 1 ? -1 : 1;
        filter.descending = i & 2;
        expect_slices(s, w.number, filter, i & 4);
    }
    store_close(s);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(test_header_and_modes),
        CASE(test_foreign_files_refused),
        CASE(test_empty_file_is_made),
        CASE(test_log_without_its_database),
        CASE(test_making_it_was_cut_short),
        CASE(test_damage_is_said),
        CASE(test_one_owner),
        CASE(test_a_lock_that_is_on_its_way_out),
        CASE(test_delete_goes_on_after_restart),
        CASE(test_copy_goes_on_after_restart),
        CASE(test_cancelled_copy_stays_away),
        CASE(test_shared_blob),
        CASE(test_log_stays_small),
        CASE(test_long_searches_let_the_writer_in),
    };
    clock_init();
    wal_vfs_register();
    return cmocka_run_group_tests(cases, NULL, NULL);
}
