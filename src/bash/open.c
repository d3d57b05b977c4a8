/* open: the stream is found or made, claimed, and what a dead server left without a last output gets one. Then whoever
 * waits is answered. A clear deletes the row and opens a new one. */
#include "bash/internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "json/json.h"

#define LOST_TEXT "The server ended while this command was running; what it still did is not known."

struct lost { /* a command without a last output */
    struct uuid id;
    int64_t order; /* of that output */
};

struct opening {
    struct bash *b;
    struct uuid id;
    int64_t number;
    uint64_t token;
    uint32_t next_seq;
    int64_t last_us;
    VEC(struct lost) lost;
    struct buf running; /* state of a new row: commands that run already */
    struct err *error;
};

static void opening_done(void *arg);

/* Any thread. */
static void opening_end(struct opening *o)
{
    loop_call(o->b->config.loop, opening_done, o);
}

/* ---- loading (worker) ---- */

/* Behind its last output. Orders begin with 0 where its BashCommand is in the log; after a clear they go on. */
static bool next_order(struct opening *o, struct str hex, int64_t *order, struct err **e)
{
    autoarena arena = arena_new();
    struct store_filter filter = {.kind = BASH_OUTPUT,
                                  .source = -1,
                                  .since_us = INT64_MIN,
                                  .until_us = INT64_MAX,
                                  .body = hex,
                                  .descending = true,
                                  .from_seq = -1,
                                  .limit = 1};
    struct store_item *items;
    size_t n = 0;
    int64_t next, last;
    if (!store_search(o->b->config.store, o->number, &filter, arena, &items, &n, &next, e))
        return false;
    if (n > 0 && str_to_i64(items[0].side, &last) && last >= *order && last < INT64_MAX)
        *order = last + 1;
    return true;
}

static bool load_lost(struct opening *o, struct str state, struct err **e)
{
    autojson doc = state.n > 0 ? json_parse_trusted(state, NULL) : NULL;
    for (struct json_iter it = json_iter(json_get(json_root(doc), "running")); json_next(&it);) {
        struct lost lost = {.order = json_get_int(it.value, "order", 0)};
        struct str hex = json_get_str(it.value, "id");
        if (!uuid_parse(hex, &lost.id))
            continue;
        if (!next_order(o, hex, &lost.order, e))
            return false;
        vec_push(&o->lost, lost);
    }
    return true;
}

static bool load_last(struct opening *o, struct err **e)
{
    autoarena arena = arena_new();
    struct store_item *items;
    size_t n = 0;
    if (o->next_seq > 0 && !store_read(o->b->config.store, o->number, o->next_seq - 1, o->next_seq, 1, false,
                                       arena, &items, &n, e))
        return false;
    o->last_us = n > 0 ? items[0].time_us : 0;
    return true;
}

static void opening_load(void *arg)
{
    struct opening *o = arg;
    autoarena arena = arena_new();
    struct store_row row;
    if (store_get(o->b->config.store, &o->id, arena, &row, &o->error)) {
        o->next_seq = row.next_seq;
        if (load_last(o, &o->error))
            load_lost(o, row.state, &o->error);
    }
    opening_end(o);
}

/* ---- finding, making, claiming ---- */

static void opening_claimed(void *arg, uint64_t token, const struct err *e)
{
    struct opening *o = arg;
    if (e) {
        o->error = err_copy(e);
        opening_end(o);
        return;
    }
    o->token = token;
    pool_submit_always(o->b->config.pool, opening_load, o);
}

static void opening_made(void *arg, int64_t number, const struct err *e)
{
    struct opening *o = arg;
    if (e) {
        o->error = err_copy(e);
        opening_end(o);
        return;
    }
    o->number = number;
    store_claim(o->b->config.store, number, str_from(o->b->owner), opening_claimed, o);
}

static void opening_find(void *arg)
{
    struct opening *o = arg;
    struct bash *b = o->b;
    autoarena arena = arena_new();
    struct store_list query = {
        .kind = STORE_STREAM, .status = -1, .order = STORE_CREATED_DESC, .limit = STORE_LIST_MAX};
    struct store_row *rows;
    struct uuid next;
    size_t n = 0;
    bool more;
    if (!store_list(b->config.store, &query, arena, &rows, &n, &next, &more, &o->error)) {
        opening_end(o);
        return;
    }
    for (size_t i = 0; i < n && o->number == 0; i++)
        if (str_is(rows[i].title, STREAM_TITLE)) {
            o->number = rows[i].number;
            o->id = rows[i].id;
        }
    if (o->number != 0) {
        store_claim(b->config.store, o->number, str_from(b->owner), opening_claimed, o);
        return;
    }
    o->id = uuid_random();
    store_create(b->config.store,
                 &(struct store_create){.id = o->id,
                                        .kind = STORE_STREAM,
                                        .created_us = clock_wall_us(),
                                        .title = STR(STREAM_TITLE),
                                        .state = buf_str(&o->running)},
                 opening_made, o);
}

/* ---- on the loop ---- */

static void repair_add(struct bash *b, const struct lost *lost)
{
    static const int unknown = -1;
    b->repairs++;
    queue_add(b, event_output(b, &lost->id, lost->order, &unknown, STR_NONE, STR(LOST_TEXT)));
}

static void clears_refuse(struct bash *b, const struct err *e)
{
    struct waiter *waiters = steal(b->clears);
    while (waiters) {
        struct waiter *w = waiters;
        waiters = w->next;
        w->cleared(w->arg, 0, e);
        free(w);
    }
}

static void opening_done(void *arg)
{
    struct opening *o = arg;
    struct bash *b = o->b;
    b->stage = o->error ? STAGE_CLOSED : STAGE_OPEN;
    if (o->error) {
        log_warn("the events of commands cannot be opened: %s", err_text(o->error));
        open_settle(b, o->error);
        clears_refuse(b, o->error);
        queue_refuse(b, o->error);
    } else {
        b->stream = o->number;
        b->token = o->token;
        b->next_seq = o->next_seq;
        b->last_us = b->last_us > o->last_us ? b->last_us : o->last_us;
        b->stage = STAGE_OPENING; /* so that the repairs go in one commit */
        for (size_t i = 0; i < o->lost.n; i++)
            if (!command_is_live(b, &o->lost.at[i].id) && !queue_has_repair(b, &o->lost.at[i].id))
                repair_add(b, &o->lost.at[i]);
        b->stage = STAGE_OPEN;
        open_settle(b, NULL);
        clear_begin(b);
        queue_pump(b);
    }
    vec_deinit(&o->lost);
    buf_deinit(&o->running);
    err_free(o->error);
    free(o);
    close_check(b);
}

void open_begin(struct bash *b)
{
    if (b->stage != STAGE_CLOSED)
        return;
    b->stage = STAGE_OPENING;
    struct opening *o = xcalloc(1, sizeof(*o));
    o->b = b;
    queue_state(b, &o->running);
    pool_submit_always(b->config.pool, opening_find, o);
}

void open_settle(struct bash *b, const struct err *e)
{
    if (!e && (b->stage != STAGE_OPEN || b->repairs > 0 || b->clearing))
        return;
    if (!e && atomic_exchange(&b->readable, b->stream) == 0)
        followers_wake(b);
    struct waiter *waiters = steal(b->opens);
    while (waiters) {
        struct waiter *w = waiters;
        waiters = w->next;
        w->done(w->arg, e);
        free(w);
    }
}

struct open_request {
    struct bash *b;
    struct waiter *waiter;
};

static void open_requested(void *arg)
{
    struct open_request *r = arg;
    struct bash *b = r->b;
    struct waiter **end = &b->opens;
    while (*end)
        end = &(*end)->next;
    *end = r->waiter;
    free(r);
    if (b->closing) {
        autoerr e = NULL;
        err_set(&e, ERR_BUSY, "the server is ending");
        open_settle(b, e);
        return;
    }
    open_settle(b, NULL);
    if (b->opens)
        open_begin(b);
}

void bash_open(struct bash *b, bash_done done, void *arg)
{
    struct open_request *r = xcalloc(1, sizeof(*r));
    r->b = b;
    r->waiter = xcalloc(1, sizeof(*r->waiter));
    *r->waiter = (struct waiter){.done = done, .arg = arg};
    loop_call(b->config.loop, open_requested, r);
}

bool bash_is_open(struct bash *b)
{
    return atomic_load(&b->readable) != 0;
}

/* ---- clearing ---- */

struct clearing {
    struct bash *b;
    struct waiter *waiters;
    int64_t count;
    struct err *error;
};

static void clear_answer(struct clearing *c)
{
    while (c->waiters) {
        struct waiter *w = c->waiters;
        c->waiters = w->next;
        w->cleared(w->arg, c->count, c->error);
        free(w);
        c->count = c->error ? c->count : 0; /* for the others nothing was left */
    }
    err_free(c->error);
    free(c);
}

static void clear_done(void *arg)
{
    struct clearing *c = arg;
    struct bash *b = c->b;
    b->clearing = false;
    if (!c->error) {
        b->stage = STAGE_CLOSED;
        b->stream = 0;
        b->next_seq = 0;
    }
    clear_answer(c);
    if (b->opens)
        open_begin(b);
    open_settle(b, NULL);
    clear_begin(b);
    queue_pump(b);
    close_check(b);
}

/* Writer thread. */
static void clear_stored(void *arg, const struct err *e)
{
    struct clearing *c = arg;
    c->error = e && e->kind != ERR_NOT_FOUND ? err_copy(e) : NULL;
    loop_call(c->b->config.loop, clear_done, c);
}

void clear_begin(struct bash *b)
{
    if (!b->clears || b->clearing || b->committing || b->repairs > 0 || b->stage != STAGE_OPEN)
        return;
    struct clearing *c = xcalloc(1, sizeof(*c));
    c->b = b;
    c->waiters = steal(b->clears);
    c->count = b->next_seq;
    b->clearing = true;
    atomic_store(&b->readable, 0);
    store_delete(b->config.store, b->stream, clear_stored, c);
}

static void clear_opened(void *arg, const struct err *e)
{
    struct open_request *r = arg;
    struct bash *b = r->b;
    if (e) {
        r->waiter->cleared(r->waiter->arg, 0, e);
        free(r->waiter);
    } else {
        r->waiter->next = b->clears;
        b->clears = r->waiter;
    }
    free(r);
    clear_begin(b);
}

void bash_clear(struct bash *b, void (*done)(void *arg, int64_t count, const struct err *e), void *arg)
{
    struct open_request *r = xcalloc(1, sizeof(*r));
    r->b = b;
    r->waiter = xcalloc(1, sizeof(*r->waiter));
    *r->waiter = (struct waiter){.cleared = done, .arg = arg};
    bash_open(b, clear_opened, r);
}
