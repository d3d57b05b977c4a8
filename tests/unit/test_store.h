/* Blocking forms of the store's calls, for tests. Included by one C file per program. */
#pragma once
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/thread.h"
#include "store/backend.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define UNUSED_FN __attribute__((unused))

/* Where one asynchronous answer arrives. */
struct answer {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool came;
    int64_t number;
    uint64_t token;
    enum store_result result;
    struct err *error;
};

static UNUSED_FN void answer_init(struct answer *a)
{
    *a = (struct answer){.result = STORE_DONE};
    pthread_mutex_init(&a->lock, NULL);
    thread_cond_init(&a->wake);
}

static UNUSED_FN void answer_come(struct answer *a, const struct err *e)
{
    WITH_LOCK(&a->lock)
    {
        a->error = err_copy(e);
        a->came = true;
        pthread_cond_signal(&a->wake);
    }
}

static UNUSED_FN void answer_wait(struct answer *a)
{
    WITH_LOCK(&a->lock)
    while (!a->came)
        assert_true(thread_cond_wait(&a->wake, &a->lock, clock_mono_ns() + 30 * NS_PER_S));
}

/* The kind of the error, or -1 for success. */
static UNUSED_FN int answer_end(struct answer *a)
{
    answer_wait(a);
    int kind = a->error ? (int)a->error->kind : -1;
    err_free(a->error);
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    return kind;
}

static UNUSED_FN void on_number(void *arg, int64_t number, const struct err *e)
{
    ((struct answer *)arg)->number = number;
    answer_come(arg, e);
}

static UNUSED_FN void on_token(void *arg, uint64_t token, const struct err *e)
{
    ((struct answer *)arg)->token = token;
    answer_come(arg, e);
}

static UNUSED_FN void on_done(void *arg, const struct err *e)
{
    answer_come(arg, e);
}

static UNUSED_FN void on_commit(struct store_commit *c, enum store_result result, const struct err *e)
{
    ((struct answer *)c->arg)->result = result;
    answer_come(c->arg, e);
}

static UNUSED_FN int make_row(struct store *s, const struct store_create *c, int64_t *number)
{
    struct answer a;
    answer_init(&a);
    store_create(s, c, on_number, &a);
    int kind = answer_end(&a);
    *number = a.number;
    return kind;
}

static UNUSED_FN int64_t make_conversation(struct store *s, struct uuid *id)
{
    *id = uuid_random();
    struct store_create c = {
        .id = *id, .created_us = clock_wall_us(), .state = STR("{}"), .config = STR("{}")};
    int64_t number = 0;
    assert_int_equal(make_row(s, &c, &number), -1);
    assert_true(number > 0);
    return number;
}

static UNUSED_FN int claim(struct store *s, int64_t number, const char *owner, uint64_t *token)
{
    struct answer a;
    answer_init(&a);
    store_claim(s, number, str_from(owner), on_token, &a);
    int kind = answer_end(&a);
    *token = a.token;
    return kind;
}

/* The kind of error that submission or the commit itself ended with goes to `*kind` (-1: none). */
static UNUSED_FN enum store_result commit(struct store *s, struct store_commit *c, int *kind)
{
    struct answer a;
    autoerr e = NULL;
    int ignored;
    answer_init(&a);
    c->done = on_commit;
    c->arg = &a;
    if (!kind)
        kind = &ignored;
    if (store_commit(s, c, &e)) {
        *kind = answer_end(&a);
        return a.result;
    }
    a.came = true;
    answer_end(&a);
    *kind = (int)e->kind;
    return STORE_FAILED;
}

/* Commits `n` events whose texts are {"n":SEQ,…}. */
struct writer {
    struct store *store;
    int64_t number;
    uint64_t token, commit_id;
    uint32_t seq;
};

static UNUSED_FN struct bytes *event_text(uint32_t seq, size_t padding)
{
    autobuf b = {0};
    buf_addf(&b, "{\"n\":%u,\"text\":\"", seq);
    for (size_t i = 0; i < padding; i++)
        buf_add_char(&b, 'x');
    buf_add_cstr(&b, "\"}");
    return bytes_take(&b);
}

static UNUSED_FN struct uuid event_id(int64_t number, uint32_t seq)
{
    struct uuid id = {{0}};
    memcpy(id.b, &number, 8);
    memcpy(id.b + 8, &seq, 4);
    return id;
}

static UNUSED_FN enum store_result write_events(struct writer *w, size_t n, size_t padding)
{
    struct store_event *events = xcalloc(n, sizeof(*events));
    for (uint32_t i = 0; i < n; i++)
        events[i] = (struct store_event){.id = event_id(w->number, w->seq + i),
                                         .kind = (uint8_t)((w->seq + i) % 5),
                                         .source = (uint8_t)((w->seq + i) % 3),
                                         .time_us = 1000 * (int64_t)(w->seq + i),
                                         .on_branch = true,
                                         .json = event_text(w->seq + i, padding)};
    struct store_commit c = {.number = w->number,
                             .token = w->token,
                             .commit_id = ++w->commit_id,
                             .expected_seq = w->seq,
                             .events = events,
                             .event_count = n};
    c.delta = (struct store_delta){.set = STORE_SET_LEAF, .leaf_seq = (int64_t)(w->seq + n) - 1};
    enum store_result result = commit(w->store, &c, NULL);
    if (result == STORE_DONE)
        w->seq += (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        bytes_unref(events[i].json);
    free(events);
    return result;
}

static UNUSED_FN struct writer writer_new(struct store *s, struct uuid *id)
{
    struct writer w = {.store = s};
    w.number = make_conversation(s, id);
    assert_int_equal(claim(s, w.number, "owner", &w.token), -1);
    return w;
}

static UNUSED_FN int delete_row(struct store *s, int64_t number)
{
    struct answer a;
    answer_init(&a);
    store_delete(s, number, on_done, &a);
    return answer_end(&a);
}

static UNUSED_FN int copy_row(struct store *s, int64_t from, uint32_t to, const struct store_create *into,
                              int64_t *number)
{
    struct answer a;
    answer_init(&a);
    store_copy(s, from, to, into, on_number, &a);
    int kind = answer_end(&a);
    *number = a.number;
    return kind;
}

static UNUSED_FN int blob_put(struct store *s, int64_t number, const struct uuid *id, struct str content)
{
    struct answer a;
    answer_init(&a);
    store_blob_put(s, number, id, bytes_new(content), on_done, &a);
    return answer_end(&a);
}

static UNUSED_FN int doc_put(struct store *s, const char *space, const char *key, struct str value)
{
    struct answer a;
    answer_init(&a);
    store_doc_put(s, str_from(space), str_from(key), value, on_done, &a);
    return answer_end(&a);
}

/* Fresh directory below TMPDIR or /tmp. */
static UNUSED_FN void temp_dir(char path[64])
{
    const char *root = getenv("TMPDIR");
    snprintf(path, 64, "%.40s/handsd-test-XXXXXX", root ? root : "/tmp");
    assert_non_null(mkdtemp(path));
}

static UNUSED_FN void temp_dir_remove(const char *path)
{
    static const char *const names[] = {"handsd.db", "handsd.db-wal", "handsd.db-journal", "handsd.key"};
    char file[4200];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(file, sizeof(file), "%s/%s", path, names[i]);
        unlink(file);
    }
    assert_int_equal(rmdir(path), 0);
}
