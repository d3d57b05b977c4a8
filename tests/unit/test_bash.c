/* The bash service over doubles of store, hands and sockets: what is durable before what is seen, what a failing disk
 * costs, and what a flood of output does not. */
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

static void any_hand(void *context, struct str path,
                     void (*done)(void *arg, const struct hand_spec *hand, const struct err *e), void *arg)
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

static void loop_main(void *arg)
{
    loop_run(arg);
}

static struct world *world_open(struct store *store)
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

static void on_closed(void *arg)
{
    struct world *w = arg;
    atomic_store(&w->closed, true);
    fake_changed();
}

static void close_on_loop(void *arg)
{
    struct world *w = arg;
    bash_close(w->b, on_closed, w);
}

/* Its store, as a process that ends or dies leaves it, if `keep`. */
static struct store *world_close(struct world *w, bool keep)
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

static void request_started(void *arg, struct bytes *command, const struct err *e)
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

static void request_ended(void *arg, struct bytes *output, const struct err *e)
{
    struct request *r = arg;
    r->end_error = e ? (int)e->kind : -1;
    r->last = bytes_ref(output);
    atomic_store(&r->came, 2);
    fake_changed();
}

static const struct bash_callbacks request_callbacks = {request_started, request_ended};

static void ask(struct world *w, struct request *r, const char *command)
{
    *r = (struct request){.start_error = -2, .end_error = -2};
    bash_start(w->b, &(struct bash_request){.command = str_from(command), .cwd = STR("sub"), .timeout_s = 7},
               &request_callbacks, r);
}

static uint64_t begin(struct world *w, struct request *r, const char *command)
{
    ask(w, r, command);
    AWAIT(fake_spawn_find(w->hands, command) != 0);
    assert_int_equal(r->start_error, -1);
    return fake_spawn_find(w->hands, command);
}

static void finish(struct world *w, struct request *r, uint64_t call)
{
    fake_spawn_end(w->hands, call, WIRE_OK, 0, NULL);
    AWAIT(atomic_load(&r->came) == 2);
}

static void forget(struct request *r)
{
    bytes_unref(r->last);
}

/* ---- the log ---- */

static int64_t stream_number(struct world *w)
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

static size_t log_events(struct world *w, struct fake_event **events)
{
    int64_t number = stream_number(w);
    *events = NULL;
    return number ? fake_store_events(w->store, number, events) : 0;
}

static size_t log_size(struct world *w)
{
    struct fake_event *events;
    size_t n = log_events(w, &events);
    free(events);
    return n;
}

/* The outputs of a command: orders from `first` on, the last and only the last with an exit code, none too large. Their
 * text on stdout. */
static struct buf log_text(struct world *w, const char *id, int64_t first, int64_t *exit_code)
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

/* ---- tests ---- */

static void nothing_is_seen_before_it_is_stored(void **state)
{
    (void)state;
    struct world *w = world_open(NULL);
    struct request r;
    fake_store_plan(w->store, (struct fake_plan){.match = "BashCommand", .nth = 1, .stall = true});
    ask(w, &r, "first");
    AWAIT(fake_store_stalled(w->store));
    assert_int_equal(atomic_load(&r.came), 0);
    assert_int_equal(fake_spawn_count(w->hands), 0);
    fake_store_release(w->store);
    AWAIT(fake_spawn_find(w->hands, "first") != 0);
    uint64_t call = fake_spawn_find(w->hands, "first");
    assert_int_equal(atomic_load(&r.came), 1);
    assert_string_equal(fake_spawn_cwd(w->hands, call), "/served/sub");
    assert_int_equal(fake_spawn_timeout_ms(w->hands, call), 7000);
    fake_store_plan(w->store, (struct fake_plan){.match = "BashOutput", .nth = 1, .stall = true});
    fake_spawn_say(w->hands, call, WIRE_STDOUT, STR("said"));
    fake_spawn_end(w->hands, call, WIRE_OK, 4, NULL);
    AWAIT(fake_store_stalled(w->store));
    assert_int_equal(atomic_load(&r.came), 1);
    assert_int_equal(log_size(w), 1);
    fake_store_release(w->store);
    AWAIT(atomic_load(&r.came) == 2);
    assert_non_null(strstr(r.last->p, "\"exit_code\":4,\"stdout\":\"said\",\"stderr\":null"));
    forget(&r);
    world_close(w, false);
}

static void a_start_that_cannot_be_stored_runs_nothing(void **state)
{
    (void)state;
    struct world *w = world_open(NULL);
    struct request r, second, third;
    fake_store_plan(w->store, (struct fake_plan){.match = "BashCommand", .nth = 1, .verdict = FAKE_FAIL});
    ask(w, &r, "one");
    AWAIT(atomic_load(&r.came) == 1);
    assert_int_equal(r.start_error, ERR_IO);
    fake_store_busy(w->store, 1);
    ask(w, &second, "two");
    AWAIT(atomic_load(&second.came) == 1);
    assert_int_equal(second.start_error, ERR_BUSY);
    fake_store_fail_reads(w->store, true);
    assert_int_equal(fake_spawn_count(w->hands), 0);
    fake_store_fail_reads(w->store, false);
    uint64_t call = begin(w, &third, "three");
    finish(w, &third, call);
    assert_int_equal(log_size(w), 2);
    forget(&third);
    world_close(w, false);
}

static void a_stream_that_cannot_be_opened(void **state)
{
    (void)state;
    struct world *w = world_open(NULL);
    struct request r;
    fake_store_fail_reads(w->store, true);
    ask(w, &r, "one");
    AWAIT(atomic_load(&r.came) == 1);
    assert_int_equal(r.start_error, ERR_IO);
    fake_store_fail_reads(w->store, false);
    finish(w, &r, begin(w, &r, "two"));
    forget(&r);
    world_close(w, false);
}

static void how_commands_end(void **state)
{
    (void)state;
    static const struct {
        enum wire_status status;
        int code;
        const char *message, *expected;
    } cases[] = {
        {WIRE_OK, -9, NULL, "\"exit_code\":-9,\"stdout\":null,\"stderr\":null"},
        {WIRE_TIMEOUT, -1, NULL, "timed out after 7 s"},
        {WIRE_NOT_FOUND, 0, "no such place", "could not be started: no such place"},
        {WIRE_IO, 0, NULL,
         "\"exit_code\":-1,\"stdout\":null,\"stderr\":\"The command could not be started\""},
    };
    struct world *w = world_open(NULL);
    struct request r;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char command[20];
        snprintf(command, sizeof(command), "command %zu", i);
        uint64_t call = begin(w, &r, command);
        fake_spawn_end(w->hands, call, cases[i].status, cases[i].code, cases[i].message);
        AWAIT(atomic_load(&r.came) == 2);
        assert_non_null(strstr(r.last->p, cases[i].expected));
        forget(&r);
    }
    uint64_t call = begin(w, &r, "dies");
    fake_spawn_say(w->hands, call, WIRE_STDERR, STR("almost"));
    fake_spawn_die(w->hands, call);
    AWAIT(atomic_load(&r.came) == 2);
    assert_non_null(strstr(
        r.last->p, "\"exit_code\":-1,\"stdout\":null,\"stderr\":\"almost\\nWhat ran the command has died"));
    forget(&r);
    r = (struct request){0};
    bash_start(w->b, &(struct bash_request){STR("x"), STR("/locked"), 1}, &request_callbacks, &r);
    AWAIT(atomic_load(&r.came) == 2);
    assert_non_null(strstr(r.last->p, "could not be started: that conversation cannot be opened"));
    forget(&r);
    world_close(w, false);
}

/* What a failing disk delays arrives, in order and once. */
static void outputs_wait_for_the_disk(void **state)
{
    (void)state;
    struct world *w = world_open(NULL);
    struct request r;
    int64_t code;
    uint64_t call = begin(w, &r, "loud");
    autobuf said = {0};
    fake_store_plan(w->store, (struct fake_plan){.match = "BashOutput", .nth = 2, .verdict = FAKE_FAIL});
    fake_store_plan(w->store, (struct fake_plan){.match = "BashOutput", .nth = 3, .verdict = FAKE_LOSE});
    for (int i = 0; i < 60; i++) {
        char piece[60000];
        memset(piece, 'a' + i % 26, sizeof(piece));
        AWAIT(fake_spawn_credit(w->hands, call, WIRE_STDOUT) >= sizeof(piece));
        fake_spawn_say(w->hands, call, WIRE_STDOUT, str_make(piece, sizeof(piece)));
        buf_add_bytes(&said, piece, sizeof(piece));
    }
    finish(w, &r, call);
    assert_int_equal(r.end_error, -1);
    autobuf text = log_text(w, r.id, 0, &code);
    assert_true(str_eq(buf_str(&text), buf_str(&said)));
    assert_int_equal(code, 0);
    forget(&r);
    world_close(w, false);
}

static void whoever_waits_is_told_that_it_could_not_be_stored(void **state)
{
    (void)state;
    struct world *w = world_open(NULL);
    struct request r;
    int64_t code;
    uint64_t call = begin(w, &r, "quiet");
    fake_store_plan(w->store, (struct fake_plan){.match = "BashOutput", .nth = 1, .verdict = FAKE_FAIL});
    finish(w, &r, call);
    assert_int_equal(r.end_error, ERR_IO);
    AWAIT(log_size(w) == 2); /* and yet it is, later */
    autobuf text = log_text(w, r.id, 0, &code);
    assert_int_equal(code, 0);
    world_close(w, false);
}

/* While the disk stands still, a command may say so much and no more. */
static void a_flood_is_held_back(void **state)
{
    (void)state;
    struct world *w = world_open(NULL);
    struct request r;
    int64_t code;
    size_t said = 0, stalled_at = 0;
    static char piece[32768];
    memset(piece, 1, sizeof(piece)); /* six bytes each in JSON */
    uint64_t call = begin(w, &r, "flood");
    fake_store_plan(w->store, (struct fake_plan){.match = "BashOutput", .nth = 1, .stall = true});
    for (bool released = false; said < 4000000;) {
        for (size_t credit; (credit = fake_spawn_credit(w->hands, call, WIRE_STDOUT)) > 0;) {
            size_t n = credit < sizeof(piece) ? credit : sizeof(piece);
            fake_spawn_say(w->hands, call, WIRE_STDOUT, str_make(piece, n));
            said += n;
        }
        if (!released && fake_store_stalled(w->store) && said == stalled_at) {
            assert_true(said < 2 * 1000 * 1000);
            fake_store_release(w->store);
            released = true;
        }
        stalled_at = said;
        uint64_t serial = fake_serial();
        fake_wait_change(serial, clock_mono_ns() + 50 * NS_PER_MS);
    }
    finish(w, &r, call);
    autobuf text = log_text(w, r.id, 0, &code);
    assert_int_equal(text.n, said);
    forget(&r);
    world_close(w, false);
}

static void what_a_dead_server_left_is_ended(void **state)
{
    (void)state;
    struct world *w = world_open(NULL);
    struct request quiet, loud, fresh;
    int64_t code;
    static char piece[60000];
    memset(piece, 'x', sizeof(piece));
    begin(w, &quiet, "quiet");
    uint64_t call = begin(w, &loud, "loud");
    for (int i = 0; i < 40; i++) {
        AWAIT(fake_spawn_credit(w->hands, call, WIRE_STDOUT) >= sizeof(piece));
        fake_spawn_say(w->hands, call, WIRE_STDOUT, str_make(piece, sizeof(piece)));
    }
    AWAIT(log_size(w) == 4);
    /* The disk fails from here on, so nothing of an orderly end gets there. */
    fake_store_plan(w->store, (struct fake_plan){.nth = 1, .verdict = FAKE_FAIL, .every = 1});
    struct store *store = world_close(w, true);
    forget(&quiet);
    forget(&loud);
    fake_store_plans_clear(store);

    w = world_open(store);
    /* The repair fails first, and whoever waits for it hears so. */
    fake_store_plan(store, (struct fake_plan){.match = "server ended", .nth = 1, .verdict = FAKE_FAIL});
    ask(w, &fresh, "fresh");
    AWAIT(atomic_load(&fresh.came) == 1);
    assert_int_equal(fresh.start_error, ERR_IO);
    call = begin(w, &fresh, "again");
    finish(w, &fresh, call);
    forget(&fresh);
    assert_int_equal(log_size(w), 8);
    autobuf one = log_text(w, quiet.id, 0, &code);
    assert_int_equal(code, -1);
    autobuf two = log_text(w, loud.id, 0, &code);
    assert_int_equal(code, -1);
    store = world_close(w, true);

    w = world_open(store);
    finish(w, &fresh, begin(w, &fresh, "third"));
    forget(&fresh);
    assert_int_equal(log_size(w), 10); /* nothing is ended twice */
    world_close(w, false);
}

static void an_end_in_order(void **state)
{
    (void)state;
    struct world *w = world_open(NULL);
    struct request running, starting, late;
    begin(w, &running, "running");
    fake_store_plan(w->store, (struct fake_plan){.match = "starting", .nth = 1, .stall = true});
    ask(w, &starting, "starting");
    AWAIT(fake_store_stalled(w->store));
    loop_call(w->loop, close_on_loop, w);
    ask(w, &late, "late");
    AWAIT(atomic_load(&late.came) == 1);
    assert_int_equal(late.start_error, ERR_BUSY);
    fake_store_release(w->store);
    AWAIT(atomic_load(&w->closed));
    assert_int_equal(atomic_load(&running.came), 2);
    assert_int_equal(atomic_load(&starting.came), 2);
    assert_non_null(strstr(running.last->p, "server was stopped"));
    assert_non_null(strstr(starting.last->p, "server was stopped"));
    assert_int_equal(fake_spawn_count(w->hands), 1);
    assert_int_equal(log_size(w), 4);
    forget(&running);
    forget(&starting);
    world_close(w, false);
}

struct cleared {
    atomic_bool came;
    int64_t count;
    int error;
};

static void on_cleared(void *arg, int64_t count, const struct err *e)
{
    struct cleared *c = arg;
    c->count = count;
    c->error = e ? (int)e->kind : -1;
    atomic_store(&c->came, true);
    fake_changed();
}

static struct cleared clear(struct world *w)
{
    struct cleared c = {0};
    bash_clear(w->b, on_cleared, &c);
    AWAIT(atomic_load(&c.came));
    return c;
}

static void a_clear(void **state)
{
    (void)state;
    struct world *w = world_open(NULL);
    struct request r, other;
    int64_t code;
    static char piece[60000];
    memset(piece, 'x', sizeof(piece));
    finish(w, &other, begin(w, &other, "other"));
    forget(&other);
    uint64_t call = begin(w, &r, "goes on");
    for (int i = 0; i < 40; i++) {
        AWAIT(fake_spawn_credit(w->hands, call, WIRE_STDOUT) >= sizeof(piece));
        fake_spawn_say(w->hands, call, WIRE_STDOUT, str_make(piece, sizeof(piece)));
    }
    AWAIT(log_size(w) == 5);
    fake_store_plan(w->store, (struct fake_plan){.match = "delete", .nth = 1, .verdict = FAKE_FAIL});
    assert_int_equal(clear(w).error, ERR_IO);
    assert_int_equal(log_size(w), 5);
    assert_int_equal(clear(w).count, 5);
    assert_int_equal(log_size(w), 0);
    assert_int_equal(clear(w).count, 0);
    /* A server that dies now still owes the command its last output, behind the order that was seen. */
    fake_store_plan(w->store, (struct fake_plan){.nth = 1, .verdict = FAKE_FAIL, .every = 1});
    struct store *store = world_close(w, true);
    forget(&r);
    fake_store_plans_clear(store);
    w = world_open(store);
    finish(w, &other, begin(w, &other, "next"));
    forget(&other);
    autobuf text = log_text(w, r.id, 2, &code);
    assert_int_equal(code, -1);
    world_close(w, false);
}

/* ---- followers ---- */

struct reader {
    struct world *world;
    uint64_t socket;
    struct bash_follower *f;
    atomic_bool attached;
};

static void reader_room(void *arg)
{
    struct reader *r = arg;
    if (r->f)
        bash_follower_room(r->f);
}

static void reader_gone(void *arg)
{
    struct reader *r = arg;
    if (r->f)
        bash_follower_close(steal(r->f));
}

static void reader_attach(void *arg, const struct err *e)
{
    struct reader *r = arg;
    assert_null(e);
    r->f = bash_follow(r->world->b, r->socket, true);
    atomic_store(&r->attached, true);
    fake_changed();
}

static void follow(struct world *w, struct reader *r, bool slow)
{
    *r = (struct reader){.world = w};
    r->socket = fake_socket_new(w->server, slow, reader_room, reader_gone, r);
    bash_open(w->b, reader_attach, r);
    AWAIT(atomic_load(&r->attached));
}

static void a_slow_follower_costs_a_cursor(void **state)
{
    (void)state;
    struct world *w = world_open(NULL);
    struct request r;
    struct reader slow, fast, gone;
    static char piece[60000];
    memset(piece, 'x', sizeof(piece));
    follow(w, &slow, true);
    follow(w, &fast, false);
    follow(w, &gone, true);
    uint64_t call = begin(w, &r, "loud");
    for (int i = 0; i < 120; i++) {
        AWAIT(fake_spawn_credit(w->hands, call, WIRE_STDOUT) >= sizeof(piece));
        fake_spawn_say(w->hands, call, WIRE_STDOUT, str_make(piece, sizeof(piece)));
    }
    finish(w, &r, call);
    size_t total = log_size(w);
    assert_true(total > 8);
    AWAIT(fake_socket_count(w->server, fast.socket) == total);
    assert_true(fake_socket_count(w->server, slow.socket) < total);
    fake_socket_hang_up(w->server, gone.socket);
    while (fake_socket_count(w->server, slow.socket) < total) {
        size_t before = fake_socket_count(w->server, slow.socket);
        fake_socket_take(w->server, slow.socket);
        AWAIT(fake_socket_count(w->server, slow.socket) > before);
    }
    assert_true(fake_socket_pending_max(w->server, slow.socket) < 256 * 1024 + BASH_EVENT_MAX);
    struct fake_event *events;
    size_t n = log_events(w, &events);
    assert_int_equal(n, total);
    for (size_t i = 0; i < n; i++) {
        assert_true(str_eq(bytes_str(fake_socket_frame(w->server, slow.socket, i).text), events[i].json));
        assert_true(str_eq(bytes_str(fake_socket_frame(w->server, fast.socket, i).text), events[i].json));
    }
    free(events);
    clear(w);
    finish(w, &r, (forget(&r), begin(w, &r, "after the clear")));
    AWAIT(fake_socket_count(w->server, fast.socket) == total + 2);
    forget(&r);
    world_close(w, false);
}

/* Once to the loop, to a worker and back. */
struct lap {
    struct world *world;
    atomic_bool over;
};

static void lap_over(void *arg)
{
    struct lap *l = arg;
    atomic_store(&l->over, true);
    fake_changed();
}

static void lap_worker(void *arg)
{
    struct lap *l = arg;
    loop_call(l->world->loop, lap_over, l);
}

static void lap_loop(void *arg)
{
    struct lap *l = arg;
    pool_submit_always(l->world->pool, lap_worker, l);
}

static void lap(struct world *w)
{
    struct lap l = {.world = w};
    loop_call(w->loop, lap_loop, &l);
    AWAIT(atomic_load(&l.over));
}

/* While a clear is under way its events may be half gone: nobody reads them, and nobody is sent away for that. */
static void a_clear_under_a_slow_follower(void **state)
{
    (void)state;
    struct world *w = world_open(NULL);
    struct request r;
    struct reader slow;
    struct cleared c = {0};
    static char piece[60000];
    memset(piece, 'x', sizeof(piece));
    follow(w, &slow, true);
    uint64_t call = begin(w, &r, "loud");
    for (int i = 0; i < 60; i++) {
        AWAIT(fake_spawn_credit(w->hands, call, WIRE_STDOUT) >= sizeof(piece));
        fake_spawn_say(w->hands, call, WIRE_STDOUT, str_make(piece, sizeof(piece)));
    }
    finish(w, &r, call);
    forget(&r);
    size_t seen = fake_socket_count(w->server, slow.socket);
    assert_true(seen < log_size(w));
    fake_store_plan(w->store, (struct fake_plan){.match = "delete", .nth = 1, .stall = true});
    bash_clear(w->b, on_cleared, &c);
    AWAIT(fake_store_stalled(w->store));
    fake_store_fail_reads(w->store, true);
    fake_socket_take(w->server, slow.socket);
    for (int i = 0; i < 10; i++)
        lap(w); /* what the room begins has come back */
    fake_store_fail_reads(w->store, false);
    fake_store_release(w->store);
    AWAIT(atomic_load(&c.came));
    finish(w, &r, begin(w, &r, "after the clear"));
    forget(&r);
    AWAIT(fake_socket_count(w->server, slow.socket) == seen + 2);
    assert_int_equal(fake_socket_code(w->server, slow.socket), 0);
    world_close(w, false);
}

/* ---- text ---- */

static void text_in_pieces_is_the_same_text(void **state)
{
    (void)state;
    static const char *const samples[] = {
        "plain",
        "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 end",
        "\xff\xfe\xc3",
        "\xe2\x82",
        "\xf0\x9f\x98",
        "\xf0\x9f\xe2\x82\xac",
        "\xed\xa0\x80x",
        "\xc0\xaf\xe0\x80\x80",
        "\"\\\n\t\x01\x7f",
        "a\xf4\x90\x80\x80z",
        "\x80\x80\xc3\x28",
    };
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct str all = str_from(samples[i]);
        autobuf whole = {0};
        struct text t = {0};
        text_piece(&t, all, &whole);
        text_end(&t, &whole);
        for (size_t a = 0; a <= all.n; a++)
            for (size_t b = a; b <= all.n; b++) {
                autobuf pieces = {0};
                text_piece(&t, str_sub(all, 0, a), &pieces);
                text_piece(&t, str_sub(all, a, b), &pieces);
                text_piece(&t, str_sub(all, b, all.n), &pieces);
                text_end(&t, &pieces);
                assert_true(str_eq(buf_str(&pieces), buf_str(&whole)));
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_seen_before_it_is_stored),
        cmocka_unit_test(a_start_that_cannot_be_stored_runs_nothing),
        cmocka_unit_test(a_stream_that_cannot_be_opened),
        cmocka_unit_test(how_commands_end),
        cmocka_unit_test(outputs_wait_for_the_disk),
        cmocka_unit_test(whoever_waits_is_told_that_it_could_not_be_stored),
        cmocka_unit_test(a_flood_is_held_back),
        cmocka_unit_test(what_a_dead_server_left_is_ended),
        cmocka_unit_test(an_end_in_order),
        cmocka_unit_test(a_clear),
        cmocka_unit_test(a_slow_follower_costs_a_cursor),
        cmocka_unit_test(a_clear_under_a_slow_follower),
        cmocka_unit_test(text_in_pieces_is_the_same_text),
    };
    clock_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
