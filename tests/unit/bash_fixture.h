/* What the tests of the bash service share: a world of doubles, requests, and a look at the log. Included by one C file per program. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "bash/internal.h"
#include "base/clock.h"
#include "base/thread.h"
#include "fake_hands.h"
#include "fake_sockets.h"
#include "fake_spawn.h"
#include "fake_store.h"
#include "fake_wait.h"

/* ---- a world ---- */

struct world {
    struct loop *loop;
    pthread_t loop_thread;
    struct pool *pool;
    struct store *store;
    struct hands *hands;
    struct server *server;
    struct bash *b;
    atomic_bool closed;
};

static inline void any_hand(void *context, struct str path,
                            void (*done)(void *arg, const struct hand_spec *hand, const struct err *e),
                            void *arg)
{
    (void)context;
    autoerr e = NULL;
    if (str_find(path, STR("locked")) >= 0) {
        err_set(&e, ERR_IO, "that conversation cannot be opened");
        done(arg, NULL, e);
    } else {
        done(arg, &(struct hand_spec){.id = {{1}}}, NULL);
    }
}

static inline void loop_main(void *arg)
{
    loop_run(arg);
}

static inline struct world *world_open(struct store *store)
{
    autoerr e = NULL;
    struct world *w = xcalloc(1, sizeof(*w));
    w->loop = loop_new(&e);
    w->pool = pool_new(2, 1000);
    w->store = store ? store : store_open(NULL, &e);
    w->hands = hands_new(w->loop, NULL, &e);
    w->server = fake_server_new(w->loop);
    w->b = bash_new(&(struct bash_config){.loop = w->loop,
                                          .pool = w->pool,
                                          .server = w->server,
                                          .store = w->store,
                                          .hands = w->hands,
                                          .hand_for = any_hand,
                                          .working_dir = STR("/served")});
    assert_true(thread_start(&w->loop_thread, "loop", THREAD_STACK_BYTES, loop_main, w->loop, &e));
    return w;
}

static inline void on_closed(void *arg)
{
    struct world *w = arg;
    atomic_store(&w->closed, true);
    fake_changed();
}

static inline void close_on_loop(void *arg)
{
    struct world *w = arg;
    bash_close(w->b, on_closed, w);
}

/* Its store, as a process that ends or dies leaves it, if `keep`. */
static inline struct store *world_close(struct world *w, bool keep)
{
    struct store *store = w->store;
    if (!atomic_load(&w->closed))
        loop_call(w->loop, close_on_loop, w);
    AWAIT(atomic_load(&w->closed));
    for (uint64_t i = 1; fake_socket_hang_up_if(w->server, i); i++)
        ;
    fake_store_drain(store);
    pool_free(w->pool);
    loop_stop(w->loop);
    pthread_join(w->loop_thread, NULL);
    if (keep)
        fake_store_disown(store);
    else
        store_close(store);
    bash_free(w->b);
    hands_free(w->hands);
    fake_server_free(w->server);
    loop_free(w->loop);
    free(w);
    return keep ? store : NULL;
}

/* ---- a request ---- */

struct request {
    atomic_int came; /* 1: started, 2: ended */
    char id[UUID_HEX_LEN + 1];
    int start_error, end_error; /* kind, -1: none */
    struct bytes *last;
};

static inline void request_started(void *arg, struct bytes *command, const struct err *e)
{
    struct request *r = arg;
    r->start_error = e ? (int)e->kind : -1;
    if (command) {
        autojson doc = json_parse(bytes_str(command), NULL, NULL);
        struct str id = json_get_str(json_root(doc), "id");
        assert_int_equal(id.n, UUID_HEX_LEN);
        memcpy(r->id, id.p, id.n);
    }
    atomic_store(&r->came, 1);
    fake_changed();
}

static inline void request_ended(void *arg, struct bytes *output, const struct err *e)
{
    struct request *r = arg;
    r->end_error = e ? (int)e->kind : -1;
    r->last = bytes_ref(output);
    atomic_store(&r->came, 2);
    fake_changed();
}

static const struct bash_callbacks request_callbacks = {request_started, request_ended};

static inline void ask(struct world *w, struct request *r, const char *command)
{
    *r = (struct request){.start_error = -2, .end_error = -2};
    bash_start(w->b, &(struct bash_request){.command = str_from(command), .cwd = STR("sub"), .timeout_s = 7},
               &request_callbacks, r);
}

static inline uint64_t begin(struct world *w, struct request *r, const char *command)
{
    ask(w, r, command);
    AWAIT(fake_spawn_find(w->hands, command) != 0);
    assert_int_equal(r->start_error, -1);
    return fake_spawn_find(w->hands, command);
}

static inline void finish(struct world *w, struct request *r, uint64_t call)
{
    fake_spawn_end(w->hands, call, WIRE_OK, 0, NULL);
    AWAIT(atomic_load(&r->came) == 2);
}

static inline void forget(struct request *r)
{
    bytes_unref(r->last);
}

/* ---- the log ---- */

static inline int64_t stream_number(struct world *w)
{
    autoarena arena = arena_new();
    struct store_row *rows;
    struct uuid next;
    size_t n = 0;
    bool more;
    struct store_list q = {.kind = STORE_STREAM, .status = -1, .order = STORE_CREATED_ASC, .limit = 10};
    assert_true(store_list(w->store, &q, arena, &rows, &n, &next, &more, NULL));
    assert_true(n <= 1);
    return n ? rows[0].number : 0;
}

static inline size_t log_events(struct world *w, struct fake_event **events)
{
    int64_t number = stream_number(w);
    *events = NULL;
    return number ? fake_store_events(w->store, number, events) : 0;
}

static inline size_t log_size(struct world *w)
{
    struct fake_event *events;
    size_t n = log_events(w, &events);
    free(events);
    return n;
}

/* The outputs of a command: orders from `first` on, the last and only the last with an exit code, none too large. Their
 * text on stdout. */
static inline struct buf log_text(struct world *w, const char *id, int64_t first, int64_t *exit_code)
{
    struct fake_event *events;
    struct buf text = {0};
    bool over = false;
    size_t n = log_events(w, &events);
    for (size_t i = 0; i < n; i++) {
        assert_true(events[i].json.n < BASH_EVENT_MAX);
        autojson doc = json_parse(events[i].json, NULL, NULL);
        const struct json_value *v = json_root(doc);
        if (!str_is(json_get_str(v, "command_id"), id))
            continue;
        assert_false(over);
        assert_int_equal(json_get_int(v, "order", -1), first++);
        buf_add(&text, json_get_str(v, "stdout"));
        over = !json_is_null(json_get(v, "exit_code"));
        *exit_code = json_get_int(v, "exit_code", -99);
    }
    free(events);
    assert_true(over);
    return text;
}

struct cleared {
    atomic_bool came;
    int64_t count;
    int error;
};

static inline void on_cleared(void *arg, int64_t count, const struct err *e)
{
    struct cleared *c = arg;
    c->count = count;
    c->error = e ? (int)e->kind : -1;
    atomic_store(&c->came, true);
    fake_changed();
}

static inline struct cleared clear(struct world *w)
{
    struct cleared c = {0};
    bash_clear(w->b, on_cleared, &c);
    AWAIT(atomic_load(&c.came));
    return c;
}
