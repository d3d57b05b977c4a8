/* The bash service over doubles of store, hands and sockets: what is durable before what is seen, what a failing disk costs, and what a flood of output does not. */
#include "bash_fixture.h"

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
    };
    clock_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
