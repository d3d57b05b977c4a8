/* The bash service over doubles of store, hands and sockets: those who follow its events, and its texts. */
#include "bash_fixture.h"

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
        cmocka_unit_test(a_slow_follower_costs_a_cursor),
        cmocka_unit_test(a_clear_under_a_slow_follower),
        cmocka_unit_test(text_in_pieces_is_the_same_text),
    };
    clock_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
