/* Subscriptions: what a client sees on its socket, in which order, and when. */
#include "conversation_fixture.h"
#include "base/vec.h"

#define FOREVER \
    "{\"text\":\"an answer\",\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3},\"repeat\":true}\n"

static struct conversation *begin(struct world *w, const char *lines)
{
    world_script(w, "script", lines);
    return world_create(w, "script", NULL);
}

static void end(struct world *w, struct conversation *c)
{
    conversation_unref(c);
    world_free(w, false);
}

static bool rests_with(struct conversation *c, enum status status)
{
    return is_at_rest(c) && has_status(c, status);
}

/* Without waiting for the final full_state. */
static void run_once(struct world *w, struct conversation *c, const char *text)
{
    assert_int_equal(do_send(w, c, text, true), -1);
    AWAIT(rests_with(c, STATUS_FINISHED));
}

#define EARLY_MS \
    200 /* CONVERSATION_FULL_STATE_MS, in the client's words: it arms within 100 ms of the answer */
#define LATE_MS 2000 /* more is no proof of anything on a busy machine, but it would look wrong */

static void each_run_ends_in_one_full_state_after_its_answer(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER);
    uint64_t one = fake_socket_open(w->server, conversation_ref(c), RESEND_NONE, 0);
    uint64_t two = fake_socket_open(w->server, conversation_ref(c), RESEND_ALL, 0);
    for (unsigned run = 1; run <= 4; run++) {
        struct answer a;
        answer_init(&a, w);
        ask_send(c, &a, "go", true);
        AWAIT(atomic_load(&a.came));
        assert_null(a.error);
        AWAIT(full_states(w, one) == run && full_states(w, two) == run);
        for (uint64_t socket = one; socket <= two; socket++) {
            uint64_t after_ms = (full_state_at(w, socket, run) - a.at_ns) / NS_PER_MS;
            assert_in_range(after_ms, EARLY_MS, LATE_MS);
            struct fake_frame f;
            assert_true(frame_last(w, socket, &f) && frame_is_full(f));
            assert_non_null(strstr(f.text->p, "\"execution_status\":\"finished\""));
        }
        answer_deinit(&a);
    }
    /* Running a finished conversation ends at once, and that is told, too. */
    struct answer a;
    answer_init(&a, w);
    ask_run(c, &a);
    AWAIT(atomic_load(&a.came));
    AWAIT(full_states(w, one) == 5);
    assert_in_range((full_state_at(w, one, 5) - a.at_ns) / NS_PER_MS, EARLY_MS, LATE_MS);
    answer_deinit(&a);
    assert_frames(w, one, c->number, 0, true);
    assert_frames(w, two, c->number, 0, true);
    end(w, c);
}

/* Runs that follow each other at once: the end of the last is the news. */
static void of_runs_in_a_row_the_last_end_is_told(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER);
    uint64_t socket = fake_socket_open(w->server, conversation_ref(c), RESEND_NONE, 0);
    for (int i = 0; i < 5; i++)
        run_once(w, c, "go");
    uint64_t answered = clock_mono_ns();
    AWAIT(full_states(w, socket) >= 1 && frame_events(w, socket) == log_size(w, c->number));
    struct fake_frame f;
    AWAIT(frame_last(w, socket, &f) && frame_is_full(f) && f.at_ns + 1000 * NS_PER_MS > answered);
    /* Once more nothing comes: the next frame is that of the next run's events. */
    size_t frames = fake_socket_count(w->server, socket);
    assert_int_equal(do_send(w, c, "the next", false), -1);
    AWAIT(fake_socket_count(w->server, socket) > frames);
    assert_false(frame_is_full(fake_socket_frame(w->server, socket, frames)));
    end(w, c);
}

static void a_full_state_is_the_first_frame(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER);
    run_once(w, c, "go");
    uint64_t all = fake_socket_open(w->server, conversation_ref(c), RESEND_ALL, 0);
    uint64_t none = fake_socket_open(w->server, conversation_ref(c), RESEND_NONE, 0);
    uint32_t size = (uint32_t)log_size(w, c->number);
    AWAIT(frame_events(w, all) == size);
    assert_true(frame_is_full(fake_socket_frame(w->server, all, 0)));
    assert_true(frame_is_full(fake_socket_frame(w->server, none, 0)));
    assert_non_null(
        strstr(fake_socket_frame(w->server, none, 0).text->p, "\"execution_status\":\"finished\""));
    assert_int_equal(do_send(w, c, "no run", false), -1);
    AWAIT(frame_events(w, none) == log_size(w, c->number) - size);
    AWAIT(frame_events(w, all) == log_size(w, c->number));
    assert_frames(w, all, c->number, 0, true);
    assert_frames(w, none, c->number, size, true);
    /* Costs reach a client on the socket only, so the latest are told at attach. */
    bool stats = false;
    for (size_t i = 1; i < fake_socket_count(w->server, none); i++)
        stats |= strstr(fake_socket_frame(w->server, none, i).text->p, "\"prompt_tokens\":7") != NULL;
    assert_true(stats);
    end(w, c);
}

static int64_t time_of(struct world *w, int64_t number, size_t seq)
{
    autofree struct fake_event *events = NULL;
    assert_true(fake_store_events(w->store, number, &events) > seq);
    autojson doc = json_parse(events[seq].json, NULL, NULL);
    int64_t us = 0;
    assert_true(clock_parse(json_get_str(json_root(doc), "timestamp"), &us));
    return us;
}

static void since_sends_what_is_as_new_and_all_that_follows(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER);
    for (int i = 0; i < 4; i++)
        run_once(w, c, "go");
    uint32_t size = (uint32_t)log_size(w, c->number), from = size / 2;
    int64_t since = time_of(w, c->number, from);
    uint64_t some = fake_socket_open(w->server, conversation_ref(c), RESEND_SINCE, since);
    uint64_t future =
        fake_socket_open(w->server, conversation_ref(c), RESEND_SINCE, since + 3600 * 1000000LL);
    uint64_t past = fake_socket_open(w->server, conversation_ref(c), RESEND_SINCE, 0);
    run_once(w, c, "more");
    size_t whole = log_size(w, c->number);
    AWAIT(frame_events(w, some) == whole - from && frame_events(w, past) == whole);
    AWAIT(frame_events(w, future) == whole - size);
    assert_frames(w, some, c->number, from, true);
    assert_frames(w, past, c->number, 0, true);
    assert_frames(w, future, c->number, size, true);
    end(w, c);
}

static bool is_mended(struct conversation *c)
{
    bool mended = false;
    WITH_LOCK(&c->lock)
    mended = !c->mending;
    return mended;
}

/* The end of a run cannot be stored, and while its repair waits the next run begins: that one's client must not be told
 * of an end before its own. */
static void a_repair_does_not_end_the_next_run(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER);
    uint64_t socket = fake_socket_open(w->server, conversation_ref(c), RESEND_NONE, 0);
    fake_store_plan(w->store, (struct fake_plan){.match = "\"finished\"", .nth = 1, .verdict = FAKE_FAIL});
    fake_store_plan(w->store, (struct fake_plan){.match = "\"error\"", .nth = 1, .verdict = FAKE_FAIL});
    assert_int_equal(do_send(w, c, "go", true), -1);
    AWAIT(atomic_load(&w->s->runs) == 0);
    fake_gate_close(w->models);
    assert_int_equal(do_send(w, c, "go on", true), -1); /* repairs, and begins */
    AWAIT(fake_gate_waiting(w->models) == 1);
    AWAIT(is_mended(c));
    AWAIT(frame_events(w, socket) == log_size(w, c->number));
    fake_store_drain(w->store);
    assert_int_equal(full_states(w, socket), 0);
    fake_gate_open(w->models);
    AWAIT(full_states(w, socket) == 1);
    AWAIT(rests_with(c, STATUS_FINISHED));
    assert_frames(w, socket, c->number, 0, true);
    end(w, c);
}

/* One whose end could not be stored ends for its client once, with the repair. */
static void an_end_that_was_not_stored_is_told_once(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER);
    uint64_t socket = fake_socket_open(w->server, conversation_ref(c), RESEND_NONE, 0);
    fake_store_plan(w->store, (struct fake_plan){.match = "\"finished\"", .nth = 1, .verdict = FAKE_FAIL});
    fake_store_plan(w->store, (struct fake_plan){.match = "\"error\"", .nth = 1, .verdict = FAKE_FAIL});
    assert_int_equal(do_send(w, c, "go", true), -1);
    AWAIT(rests_with(c, STATUS_ERROR) && full_states(w, socket) > 0);
    struct fake_frame f;
    assert_true(frame_last(w, socket, &f) && frame_is_full(f));
    assert_non_null(strstr(f.text->p, "\"execution_status\":\"error\""));
    assert_int_equal(full_states(w, socket), 1);
    end(w, c);
}

/* `run` of a finished conversation is told at once; a run that begins meanwhile is not ended by that. */
static void a_finished_run_does_not_end_the_next(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER);
    uint64_t socket = fake_socket_open(w->server, conversation_ref(c), RESEND_NONE, 0);
    run_once(w, c, "go");
    AWAIT(full_states(w, socket) == 1);
    fake_gate_close(w->models);
    world_hold_loop(w);
    assert_int_equal(do_run(w, c), -1);
    assert_int_equal(do_send(w, c, "go on", true), -1);
    world_let_loop(w);
    AWAIT(fake_gate_waiting(w->models) == 1);
    uint64_t until = clock_mono_ns() + 2 * CONVERSATION_FULL_STATE_MS * NS_PER_MS;
    AWAIT(clock_mono_ns() > until); /* that nothing comes can only be seen by waiting */
    assert_int_equal(full_states(w, socket), 1);
    fake_gate_open(w->models);
    AWAIT(full_states(w, socket) == 2);
    end(w, c);
}

/* Attaching while events come: no gap and nothing twice, wherever the seam is. */
static void sockets_that_attach_during_runs_miss_nothing(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER);
    uint64_t sockets[24];
    struct answer answers[24];
    for (int i = 0; i < 24; i++) {
        answer_init(&answers[i], w);
        ask_send(c, &answers[i], "go", true);
        sockets[i] = fake_socket_open(w->server, conversation_ref(c), i % 2 ? RESEND_ALL : RESEND_SINCE, 0);
    }
    for (int i = 0; i < 24; i++)
        AWAIT(atomic_load(&answers[i].came));
    AWAIT(rests_with(c, STATUS_FINISHED));
    for (int i = 0; i < 24; i++) {
        AWAIT(frame_events(w, sockets[i]) == log_size(w, c->number));
        assert_frames(w, sockets[i], c->number, 0, true);
        answer_deinit(&answers[i]);
    }
    end(w, c);
}

#define BIG "{\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":\"big 400\"}}]}\n" /* 25 kB */

static void a_slow_socket_misses_nothing_and_holds_little(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    autobuf lines = {0};
    for (int i = 0; i < 80; i++)
        buf_addf(&lines, "{\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":\"big 4%02d\"}}]}\n",
                 i);
    buf_add_cstr(&lines, FOREVER);
    struct conversation *c = begin(w, lines.p);
    uint64_t slow = fake_socket_open_slow(w->server, conversation_ref(c), RESEND_ALL);
    uint64_t quick = fake_socket_open(w->server, conversation_ref(c), RESEND_ALL, 0);
    run_once(w, c, "make a lot of output");                  /* 2 MB: more than the tail keeps */
    AWAIT(frame_events(w, quick) == log_size(w, c->number)); /* whom the slow one does not delay */
    AWAIT(full_states(w, quick) == 1);
    assert_true(frame_events(w, slow) < log_size(w, c->number));
    assert_int_equal(full_states(w, slow), 0);
    while (full_states(w, slow) == 0) {
        size_t before = fake_socket_count(w->server, slow);
        fake_socket_take(w->server, slow);
        AWAIT(fake_socket_count(w->server, slow) > before || full_states(w, slow) > 0);
    }
    assert_frames(w, slow, c->number, 0, true);
    assert_int_equal(full_states(w, slow), 1); /* far behind, and it still gets its one */
    assert_true(fake_socket_pending_max(w->server, slow) < 1024 * 1024);
    end(w, c);
}

static void a_socket_may_close_at_any_time(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, BIG BIG FOREVER);
    run_once(w, c, "go");
    for (int i = 0; i < 30; i++) {
        uint64_t socket =
            fake_socket_open(w->server, conversation_ref(c), i % 3 ? RESEND_ALL : RESEND_SINCE, 0);
        if (i % 5 == 0)
            assert_int_equal(do_send(w, c, "go", true), -1);
        fake_socket_hang_up(w->server, socket);
    }
    AWAIT(rests_with(c, STATUS_FINISHED));
    uint64_t last = fake_socket_open(w->server, conversation_ref(c), RESEND_ALL, 0);
    AWAIT(frame_events(w, last) == log_size(w, c->number));
    end(w, c);
}

static void a_disk_that_cannot_be_read_closes_the_socket(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER);
    uint64_t first = fake_socket_open(w->server, conversation_ref(c), RESEND_NONE, 0);
    run_once(w, c, "go");
    AWAIT(full_states(w, first) == 1); /* now the tail is empty */
    fake_store_fail_reads(w->store, true);
    uint64_t socket = fake_socket_open(w->server, conversation_ref(c), RESEND_ALL, 0);
    AWAIT(fake_socket_code(w->server, socket) == 1011);
    fake_store_fail_reads(w->store, false);
    socket = fake_socket_open(w->server, conversation_ref(c), RESEND_ALL, 0);
    AWAIT(frame_events(w, socket) == log_size(w, c->number));
    end(w, c);
}

/* A streamed answer comes as deltas first, and none after the event that completes it. */
static void no_delta_follows_the_event_that_completes_it(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER);
    uint64_t socket = fake_socket_open(w->server, conversation_ref(c), RESEND_ALL, 0);
    for (unsigned i = 1; i <= 3; i++) {
        run_once(w, c, "go");
        AWAIT(full_states(w, socket) == i);
    }
    bool complete = false; /* the answer to the last message has been sent */
    unsigned answers = 0;
    for (size_t i = 1; i < fake_socket_count(w->server, socket); i++) {
        struct fake_frame f = fake_socket_frame(w->server, socket, i);
        if (strstr(f.text->p, "\"role\":\"user\""))
            complete = false;
        assert_false(frame_is_delta(f) && complete);
        if (strstr(f.text->p, "\"role\":\"assistant\"")) {
            complete = true;
            answers++;
        }
    }
    assert_int_equal(answers, 3);
    end(w, c);
}

int main(void)
{
    clock_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_run_ends_in_one_full_state_after_its_answer),
        cmocka_unit_test(of_runs_in_a_row_the_last_end_is_told),
        cmocka_unit_test(a_full_state_is_the_first_frame),
        cmocka_unit_test(since_sends_what_is_as_new_and_all_that_follows),
        cmocka_unit_test(a_repair_does_not_end_the_next_run),
        cmocka_unit_test(an_end_that_was_not_stored_is_told_once),
        cmocka_unit_test(a_finished_run_does_not_end_the_next),
        cmocka_unit_test(sockets_that_attach_during_runs_miss_nothing),
        cmocka_unit_test(a_slow_socket_misses_nothing_and_holds_little),
        cmocka_unit_test(a_socket_may_close_at_any_time),
        cmocka_unit_test(a_disk_that_cannot_be_read_closes_the_socket),
        cmocka_unit_test(no_delta_follows_the_event_that_completes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
