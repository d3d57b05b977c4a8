/* The victim of test_store_crash.c: its workload, what it reports, and what may be believed after its reports. */
#pragma once
#include "../unit/test_store.h"
#include "base/log.h"
#include "store/sqlite.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- what the victim reports ---- */

enum report_kind {
    R_OPENED,
    R_ROW,
    R_TRY,
    R_DONE,
    R_FAILED,
    R_DOC_TRY,
    R_DOC,
    R_DELETE_TRY,
    R_DELETED,
    R_COPY,
    R_BLOB,
    R_END
};

struct report {
    enum report_kind kind;
    uint32_t slot, first, count, try; /* conversation of the workload; its events; which attempt */
    int64_t number;
    struct uuid id;
};

/* ---- the victim ---- */

enum { SLOTS = 3, ROUNDS = 14, BIG_EVENT = 40 * 1024, BLOB_SIZE = 300 * 1024, CHECKPOINT_PAGES = 60 };

struct victim {
    struct store *store;
    struct writer w[SLOTS];
    uint32_t tries;
};

static inline void report(const struct report *r)
{
    if (write(STDOUT_FILENO, r, sizeof(*r)) != sizeof(*r))
        _exit(9);
}

/* After a failure of the disk the store wants a moment; the next write is its probe. */
static inline void victim_breathe(struct victim *v)
{
    v->store->backend->clock_advance(v->store, 2000);
}

/* The text names the attempt, so that a failed one that came back would be seen. */
static inline enum store_result victim_try(struct victim *v, uint32_t slot, uint32_t count, size_t padding)
{
    struct writer *w = &v->w[slot];
    struct store_event events[4];
    struct report r = {.kind = R_TRY, .slot = slot, .first = w->seq, .count = count, .try = ++v->tries};
    report(&r);
    for (uint32_t i = 0; i < count; i++) {
        autobuf b = {0};
        buf_addf(&b, "{\"n\":%u,\"try\":%u,\"text\":\"", w->seq + i, r.try);
        for (size_t k = 0; k < padding; k++)
            buf_add_char(&b, (char)('a' + (k + w->seq) % 26));
        buf_add_cstr(&b, "\"}");
        events[i] = (struct store_event){
            .id = event_id(w->number, w->seq + i), .on_branch = true, .json = bytes_take(&b)};
    }
    struct store_commit c = {.number = w->number,
                             .token = w->token,
                             .commit_id = r.try,
                             .expected_seq = w->seq,
                             .events = events,
                             .event_count = count};
    c.delta = (struct store_delta){.set = STORE_SET_LEAF | STORE_SET_STATE,
                                   .leaf_seq = (int64_t)(w->seq + count) - 1,
                                   .state = STR("{\"s\":1}")};
    enum store_result result = commit(v->store, &c, NULL);
    r.kind = result == STORE_DONE ? R_DONE : R_FAILED;
    report(&r);
    if (result == STORE_DONE)
        w->seq += count;
    for (uint32_t i = 0; i < count; i++)
        bytes_unref(events[i].json);
    return result;
}

static inline void victim_commit(struct victim *v, uint32_t slot, uint32_t count, size_t padding)
{
    for (int i = 0; i < 2 && victim_try(v, slot, count, padding) != STORE_DONE; i++)
        victim_breathe(v);
}

/* Rows are made until that succeeds: without them there is nothing to see. */
static inline bool victim_row(struct victim *v, uint32_t slot)
{
    struct writer *w = &v->w[slot];
    struct report r = {.kind = R_ROW, .slot = slot, .id = uuid_random()};
    struct store_create c = {.id = r.id, .created_us = 1, .state = STR("{}"), .config = STR("{}")};
    *w = (struct writer){.store = v->store};
    for (int i = 0; i < 3; i++) {
        if (w->number == 0 && make_row(v->store, &c, &w->number) != -1) {
            victim_breathe(v);
            continue;
        }
        if (claim(v->store, w->number, "victim", &w->token) == -1) {
            r.number = w->number;
            report(&r);
            return true;
        }
        victim_breathe(v);
    }
    return false;
}

static inline void victim_doc(struct victim *v, uint32_t value)
{
    char text[32];
    struct report r = {.kind = R_DOC_TRY, .count = value};
    report(&r);
    snprintf(text, sizeof(text), "%u", value);
    if (doc_put(v->store, "crash", "value", str_from(text)) != -1) {
        victim_breathe(v);
        return;
    }
    r.kind = R_DOC;
    report(&r);
}

/* Copies slot 0 into a row of its own and writes a blob, both large enough for slices; then the copy goes. */
static inline void victim_extras(struct victim *v)
{
    struct report r = {.kind = R_COPY, .slot = 0, .first = v->w[0].seq, .id = uuid_random()};
    struct store_create into = {.id = r.id, .state = STR("{}"), .config = STR("{}")};
    bool copied = copy_row(v->store, v->w[0].number, v->w[0].seq, &into, &r.number) == -1;
    if (copied)
        report(&r);
    else
        victim_breathe(v);
    struct report b = {.kind = R_BLOB, .slot = 1, .number = v->w[1].number, .id = uuid_random()};
    char *text = xcalloc(1, BLOB_SIZE);
    memset(text, 'b', BLOB_SIZE);
    if (blob_put(v->store, b.number, &b.id, str_make(text, BLOB_SIZE)) == -1)
        report(&b);
    else
        victim_breathe(v);
    free(text);
    if (!copied)
        return;
    r.kind = R_DELETE_TRY;
    report(&r);
    if (delete_row(v->store, r.number) == -1) {
        r.kind = R_DELETED;
        report(&r);
    } else {
        victim_breathe(v);
    }
}

static inline int victim_main(const char *dir)
{
    char path[4200];
    snprintf(path, sizeof(path), "%s/handsd.db", dir);
    struct victim v = {0};
    v.store = store_open(&(struct store_config){.path = path}, NULL);
    if (!v.store)
        return 3; /* it says so; a failing disk may keep it from starting */
    report(&(struct report){.kind = R_OPENED});
    atomic_store(&sqlite_of(v.store)->checkpoint_idle, CHECKPOINT_PAGES);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        if (!victim_row(&v, slot))
            goto end;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        victim_commit(&v, round % SLOTS, 1 + round % 3, 100 + 900 * (round % 4));
        if (round % 4 == 1)
            victim_commit(&v, 0, 1, BIG_EVENT); /* fills the log until it is copied back */
        if (round % 5 == 2)
            victim_doc(&v, round);
        if (round == ROUNDS / 2)
            victim_extras(&v);
    }
end:
    store_close(v.store);
    report(&(struct report){.kind = R_END});
    return 0;
}

/* ---- what the judge believes ---- */

enum { EVENTS_MAX = 256 };

struct belief {
    bool opened, ended;
    bool hopeless; /* the disk fails for good */
    struct {
        struct uuid id;
        int64_t number;                /* 0: none */
        uint32_t tries[EVENTS_MAX], n; /* acknowledged: by which attempt */
        struct report open;            /* try without an outcome */
    } slots[SLOTS];
    uint32_t doc, doc_try; /* last acknowledged, last tried */
    struct report copy, deleted, delete_try, blob;
};

static inline void belief_learn(struct belief *b, const struct report *r)
{
    switch (r->kind) {
    case R_OPENED: b->opened = true; break;
    case R_ROW:
        b->slots[r->slot].id = r->id;
        b->slots[r->slot].number = r->number;
        break;
    case R_TRY:
        if (!b->hopeless || b->slots[r->slot].open.count == 0)
            b->slots[r->slot].open = *r;
        break;
    case R_DONE:
        for (uint32_t i = 0; i < r->count; i++)
            b->slots[r->slot].tries[b->slots[r->slot].n++] = r->try;
        b->slots[r->slot].open.count = 0;
        break;
    case R_FAILED:
        /* A disk that takes nothing any more, not even that, may keep the first commit that it failed. */
        if (!b->hopeless)
            b->slots[r->slot].open.count = 0;
        break;
    case R_DOC_TRY:
        if (!b->hopeless || b->doc_try <= b->doc)
            b->doc_try = r->count;
        break;
    case R_DOC: b->doc = r->count; break;
    case R_COPY: b->copy = *r; break;
    case R_DELETE_TRY: b->delete_try = *r; break;
    case R_DELETED: b->deleted = *r; break;
    case R_BLOB: b->blob = *r; break;
    case R_END: b->ended = true; break;
    }
}
