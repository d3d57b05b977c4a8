/* The backends of store.h, each of which passes every conformance test. Included by one C file per program. */
#pragma once
#include "test_store.h"

struct backend_row {
    const char *name;
    struct store *(*open)(const char *dir, struct err **e);
};

static UNUSED_FN struct store *open_sqlite(const char *dir, struct err **e)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/handsd.db", dir);
    return store_open(&(struct store_config){.path = path}, e);
}

static const struct backend_row backends[] = {
    {"sqlite", open_sqlite},
};

/* One run of a test: a store in a fresh place. */
struct fixture {
    const struct backend_row *backend;
    char dir[64];
    struct store *store;
};

static UNUSED_FN void fixture_open(struct fixture *f)
{
    autoerr e = NULL;
    f->store = f->backend->open(f->dir, &e);
    if (!f->store)
        fail_msg("open: %s", err_text(e));
}

static UNUSED_FN void fixture_reopen(struct fixture *f)
{
    store_close(f->store);
    fixture_open(f);
}

static UNUSED_FN int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    f->backend = *state;
    temp_dir(f->dir);
    fixture_open(f);
    *state = f;
    return 0;
}

static UNUSED_FN int teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    temp_dir_remove(f->dir);
    free(f);
    return 0;
}

static UNUSED_FN struct store_filter any_event(void)
{
    return (struct store_filter){.kind = -1,
                                 .source = -1,
                                 .since_us = INT64_MIN,
                                 .until_us = INT64_MAX,
                                 .body = STR_NONE,
                                 .from_seq = -1,
                                 .limit = STORE_LIST_MAX};
}

#define CASE(test)                         \
    {                                      \
#test, test, setup, teardown, NULL \
    }

/* Every case with a fresh store of every backend. */
static UNUSED_FN int run_on_backends(const struct CMUnitTest *cases, size_t n)
{
    struct CMUnitTest *runs = xcalloc(n, sizeof(*runs));
    int failed = 0;
    clock_init();
    for (size_t b = 0; b < ARRAY_LEN(backends); b++) {
        for (size_t i = 0; i < n; i++) {
            runs[i] = cases[i];
            runs[i].initial_state = (void *)&backends[b];
        }
        failed += _cmocka_run_group_tests(backends[b].name, runs, n, NULL, NULL);
    }
    free(runs);
    return failed;
}
