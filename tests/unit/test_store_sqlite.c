/* What is SQLite's own: the file, its owner, restarts in the middle of sliced work, what lies on the disk. */
#include "test_store.h"
#include "store/sqlite_db.h"
#include "store/sqlite_wal.h"
#include <fcntl.h>
#include <sys/stat.h>
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
    assert_int_equal(sql_number(p, "PRAGMA user_version"), 1);
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
    sql(p, "PRAGMA user_version=1");
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

static void test_one_owner(void **state)
{
    struct place *p = *state;
    struct store *s = open_ok(p);
    autoerr e = NULL;
    assert_null(open_at(p, &e));
    assert_int_equal(e->kind, ERR_CONFLICT);
    store_close(s);
    /* kill -9 of the owner frees the directory at once, and its claims with it. */
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct store *mine = open_at(p, NULL);
        struct uuid id;
        struct writer w = writer_new(mine, &id);
        write_events(&w, 3, 10);
        if (write(ready[1], &id, sizeof(id)) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    struct uuid id;
    assert_int_equal(read(ready[0], &id, sizeof(id)), sizeof(id));
    autoerr busy = NULL;
    assert_null(open_at(p, &busy));
    assert_int_equal(busy->kind, ERR_CONFLICT);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(ready[0]);
    close(ready[1]);
    s = open_ok(p);
    autoarena arena = arena_new();
    struct store_row row;
    struct writer w = {.store = s, .commit_id = 100, .seq = 3};
    assert_true(store_get(s, &id, arena, &row, NULL));
    assert_int_equal(row.next_seq, 3);
    w.number = row.number;
    assert_int_equal(claim(s, row.number, "the next process", &w.token), -1);
    assert_int_equal(write_events(&w, 1, 10), STORE_DONE);
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

static void test_copy_goes_on_after_restart(void **state)
{
    struct place *p = *state;
    struct store *s = open_ok(p);
    struct uuid id;
    struct writer w = writer_new(s, &id);
    for (int i = 0; i < 60; i++)
        assert_int_equal(write_events(&w, 50, 3000), STORE_DONE);
    struct store_create into = {.id = uuid_random(), .state = STR("s"), .config = STR("c")};
    struct answer a;
    answer_init(&a);
    store_copy(s, w.number, 3000, &into, on_number, &a);
    assert_int_equal(doc_put(s, "s", "k", STR("v")), -1); /* the copy has begun */
    store_close(s);
    int kind = answer_end(&a);
    assert_true(kind == ERR_CANCELLED || kind == -1);
    autoarena arena = arena_new();
    struct store_row row;
    for (int starts = 0;; starts++) {
        assert_true(starts < 1000);
        s = open_ok(p);
        for (int i = 0; i < 20; i++)
            assert_int_equal(doc_put(s, "s", "k", STR("v")), -1);
        if (store_get(s, &into.id, arena, &row, NULL))
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

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(test_header_and_modes),
        CASE(test_foreign_files_refused),
        CASE(test_empty_file_is_made),
        CASE(test_one_owner),
        CASE(test_delete_goes_on_after_restart),
        CASE(test_copy_goes_on_after_restart),
        CASE(test_shared_blob),
        CASE(test_log_stays_small),
    };
    clock_init();
    wal_vfs_register();
    return cmocka_run_group_tests(cases, NULL, NULL);
}
