/* Conversations over a store that obeys: messages that race with ends, interrupted batches, secrets, opens and deletes of one id. The moments of a run are in test_run.c. */
#include "conversation_begin.h"

/* ---- messages ---- */

#define SENDERS 3
#define MESSAGES 60 /* of each sender */

struct sender {
    struct world *w;
    struct conversation *c;
    unsigned number;
    pthread_t thread;
};

/* Each waits only for its answer, so that the next message meets whatever the run is doing. */
static void send_many(void *arg)
{
    struct sender *s = arg;
    for (unsigned i = 0; i < MESSAGES; i++) {
        char text[40];
        snprintf(text, sizeof(text), "message %u of %u.", i, s->number);
        struct answer a;
        answer_init(&a, s->w);
        ask_send(s->c, &a, text, true);
        AWAIT(atomic_load(&a.came));
        if (a.error)
            fprintf(stderr, "refused: %s\n", a.error->text);
        answer_deinit(&a);
    }
}

static void messages_that_race_with_ends_are_all_answered(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER);
    uint64_t socket = fake_socket_open(w->server, conversation_ref(c), RESEND_ALL, 0);
    struct sender senders[SENDERS];
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.w = w, .c = c, .number = i};
        assert_true(
            thread_start(&senders[i].thread, "sender", THREAD_STACK_BYTES, send_many, &senders[i], NULL));
    }
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(senders[i].thread, NULL);
    AWAIT(rests_with(c, STATUS_FINISHED));
    int64_t last = -1;
    for (unsigned i = 0; i < SENDERS; i++) {
        int64_t before = -1;
        for (unsigned k = 0; k < MESSAGES; k++) {
            char text[40];
            snprintf(text, sizeof(text), "message %u of %u.", k, i);
            assert_int_equal(log_count(w, c->number, text), 1);
            int64_t seq = log_find(w, c->number, text);
            assert_true(seq > before);
            before = seq;
        }
        last = before > last ? before : last;
    }
    assert_true(log_answered(w, c->number, last));
    assert_log_sound(w, c->number);
    AWAIT(frame_events(w, socket) == log_size(w, c->number));
    assert_frames(w, socket, c->number, 0, true);
    end(w, c);
}

/* A message does not accept what waits for a confirmation; `run` does. */
static void a_message_never_accepts(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, "{\"calls\":[" TERMINAL("one") "]}\n" FOREVER);
    struct policy always = {.kind = POLICY_ALWAYS};
    struct answer a;
    answer_init(&a, w);
    conversation_set_policy(c, &always, answer_done, &a);
    AWAIT(atomic_load(&a.came));
    answer_deinit(&a);
    assert_int_equal(do_send(w, c, "do it", true), -1);
    AWAIT(rests_with(c, STATUS_WAITING_FOR_CONFIRMATION));
    assert_int_equal(do_send(w, c, "are you there?", true), -1);
    AWAIT(rests_with(c, STATUS_WAITING_FOR_CONFIRMATION));
    assert_int_equal(fake_hands_ran(w->hands, NULL), 0);
    assert_int_equal(do_run(w, c), -1);
    AWAIT(rests_with(c, STATUS_FINISHED));
    assert_int_equal(fake_hands_ran(w->hands, "one"), 1);
    assert_log_sound(w, c->number);
    end(w, c);
}

static void a_rejection_answers_every_open_action(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, "{\"calls\":[" TERMINAL("one") "," TERMINAL("two") "]}\n" FOREVER);
    struct policy always = {.kind = POLICY_ALWAYS};
    struct answer a, b;
    answer_init(&a, w);
    answer_init(&b, w);
    conversation_set_policy(c, &always, answer_done, &a);
    AWAIT(atomic_load(&a.came));
    answer_deinit(&a);
    answer_init(&a, w);
    assert_int_equal(do_send(w, c, "do it", true), -1);
    AWAIT(rests_with(c, STATUS_WAITING_FOR_CONFIRMATION));
    conversation_reject(c, STR("not like this"), answer_done, &a); /* of two, one wins */
    conversation_reject(c, STR("me, too"), answer_done, &b);
    AWAIT(atomic_load(&a.came) && atomic_load(&b.came));
    AWAIT(rests_with(c, STATUS_IDLE));
    assert_int_equal(log_count(w, c->number, "\"UserRejectObservation\""), 2);
    assert_log_sound(w, c->number);
    assert_int_equal(do_run(w, c), -1);
    AWAIT(rests_with(c, STATUS_FINISHED));
    assert_int_equal(fake_hands_ran(w->hands, NULL), 0);
    answer_deinit(&a);
    answer_deinit(&b);
    end(w, c);
}

/* ---- interrupts ---- */

static void an_interrupted_batch_runs_nothing_twice(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c =
        begin(w, "{\"calls\":[" TERMINAL("one") "," TERMINAL("two") "," TERMINAL("three") "]}\n" FOREVER);
    fake_hands_hold(w->hands, "two");
    assert_int_equal(do_send(w, c, "do three things", true), -1);
    AWAIT(fake_hands_held(w->hands) == 1);
    assert_int_equal(do_interrupt(w, c), -1);
    AWAIT(rests_with(c, STATUS_PAUSED));
    assert_log_sound(w, c->number);
    assert_int_equal(log_count(w, c->number, "\"ran one"), 1); /* what was done is told */
    assert_int_equal(log_count(w, c->number, "\"InterruptEvent\""), 1);
    fake_hands_let(w->hands);
    assert_int_equal(do_run(w, c), -1);
    AWAIT(rests_with(c, STATUS_FINISHED));
    assert_int_equal(fake_hands_ran(w->hands, "one"), 1);
    assert_int_equal(fake_hands_ran(w->hands, "two"), 1);
    assert_int_equal(fake_hands_ran(w->hands, "three"), 0);
    assert_log_sound(w, c->number);
    end(w, c);
}

static void interrupts_again_and_again(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER);
    for (int i = 0; i < 5; i++) {
        fake_gate_close(w->models);
        assert_int_equal(do_send(w, c, "think", true), -1);
        AWAIT(fake_gate_waiting(w->models) == 1);
        assert_int_equal(do_interrupt(w, c), -1);
        AWAIT(rests_with(c, STATUS_PAUSED));
        assert_int_equal(log_count(w, c->number, "\"InterruptEvent\""), i + 1);
        assert_int_equal(fake_gate_waiting(w->models), 0);
    }
    fake_gate_open(w->models);
    assert_int_equal(do_run(w, c), -1);
    AWAIT(rests_with(c, STATUS_FINISHED));
    end(w, c);
}

/* Pause and run while the same step goes on: one thread, and the run goes on. */
static void run_after_pause_joins_the_step_under_way(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, "{\"calls\":[" TERMINAL("one") "]}\n" FOREVER);
    fake_hands_hold(w->hands, "one");
    assert_int_equal(do_send(w, c, "go", true), -1);
    AWAIT(fake_hands_held(w->hands) == 1);
    assert_int_equal(do_pause(w, c), -1);
    assert_true(has_status(c, STATUS_PAUSED));
    assert_int_equal(do_run(w, c), -1);
    assert_true(has_status(c, STATUS_RUNNING));
    assert_int_equal(atomic_load(&w->s->runs), 1);
    assert_int_equal(do_run(w, c), ERR_CONFLICT);
    fake_hands_let(w->hands);
    AWAIT(rests_with(c, STATUS_FINISHED));
    assert_int_equal(fake_hands_ran(w->hands, "one"), 1);
    assert_log_sound(w, c->number);
    end(w, c);
}

/* ---- secrets ---- */

struct secret_setter {
    struct world *w;
    struct conversation *c;
    const char *json;
    pthread_t thread;
};

static void set_one(void *arg)
{
    struct secret_setter *s = arg;
    set_secret(s->w, s->c, s->json);
}

static void secrets_posted_during_a_run_count_at_once(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, "{\"calls\":[" TERMINAL("hold") "," TERMINAL(
                                          "use $TOKEN_A") "," TERMINAL("show shown-value-a") "]}\n" FOREVER);
    fake_hands_hold(w->hands, "hold");
    assert_int_equal(do_send(w, c, "go", true), -1);
    AWAIT(fake_hands_held(w->hands) == 1);
    struct secret_setter setters[] = {{w, c, "{\"TOKEN_A\":\"shown-value-a\"}", 0},
                                      {w, c, "{\"TOKEN_B\":{\"value\":\"value-b\"}}", 0}};
    for (size_t i = 0; i < ARRAY_LEN(setters); i++)
        assert_true(
            thread_start(&setters[i].thread, "setter", THREAD_STACK_BYTES, set_one, &setters[i], NULL));
    for (size_t i = 0; i < ARRAY_LEN(setters); i++)
        pthread_join(setters[i].thread, NULL);
    assert_int_equal(set_secret(w, c, "{\"BAD\":7}"), ERR_INVALID);
    fake_hands_let(w->hands);
    AWAIT(rests_with(c, STATUS_FINISHED));
    assert_string_equal(fake_hands_env(w->hands, "use $TOKEN_A"), "TOKEN_A=shown-value-a");
    assert_int_equal(log_count(w, c->number, "\"text\":\"ran show <secret-hidden>"), 1);
    assert_int_equal(log_count(w, c->number, "\"text\":\"ran show shown-value-a"), 0);
    autobytes info = conversation_info(c);
    assert_non_null(strstr(info->p, "\"TOKEN_A\""));
    assert_non_null(strstr(info->p, "\"TOKEN_B\""));
    assert_null(strstr(info->p, "value-b"));
    assert_null(strstr(fake_store_config(w->store, c->number), "value-b")); /* sealed */
    assert_null(strstr(fake_store_config(w->store, c->number), "sk-of-the-model"));
    end(w, c);
}

/* Another start with another key: it can be read, its run says what is missing, and the secret can be given again. */
static void a_secret_that_no_key_opens_stops_only_the_run(void **state)
{
    (void)state;
    struct world *w = world_new(&(struct world_options){.secret_key = "the first key"});
    struct conversation *c = begin(w, FOREVER);
    struct uuid id = c->id;
    struct store *store = w->store;
    assert_int_equal(set_secret(w, c, "{\"DEPLOY_TOKEN\":\"a-value\"}"), -1);
    assert_int_equal(do_send(w, c, "before", true), -1);
    AWAIT(rests_with(c, STATUS_FINISHED));
    conversation_unref(c);
    world_free(w, true);

    w = world_new(
        &(struct world_options){.secret_key = "the first key", .store = store}); /* the round trip */
    world_script(w, "script", FOREVER);
    c = world_open(w, &id);
    assert_non_null(c);
    assert_int_equal(do_send(w, c, "with the same key", true), -1);
    AWAIT(rests_with(c, STATUS_FINISHED));
    assert_true(log_answered(w, c->number, log_find(w, c->number, "with the same key")));
    conversation_unref(c);
    world_free(w, true);

    w = here = world_new(&(struct world_options){.secret_key = "another key", .store = store});
    world_script(w, "script", FOREVER);
    c = world_open(w, &id);
    assert_non_null(c);
    autobytes info = conversation_info(c);
    assert_non_null(strstr(info->p, "\"DEPLOY_TOKEN\""));
    assert_int_equal(do_send(w, c, "after", true), -1);
    AWAIT(rests_with(c, STATUS_ERROR));
    assert_int_equal(log_count(w, c->number, "\"ConversationErrorEvent\""), 1);
    assert_int_equal(log_count(w, c->number, "no key opens the stored secret DEPLOY_TOKEN"), 1);
    assert_log_sound(w, c->number);
    end(w, c);
}

/* ---- opening, creating, deleting ---- */

struct racer {
    struct world *w;
    struct uuid id;
    int what; /* 0, 1: open; 2: create; 3: delete */
    struct answer answer;
    pthread_t thread;
};

static void race(void *arg)
{
    struct racer *r = arg;
    if (r->what == 2)
        world_create_start(r->w, "script", &r->id, r->id.b[0] & 1 ? "a first message" : NULL, &r->answer);
    else if (r->what == 3)
        ask_delete(r->w, &r->id, &r->answer);
    else
        conversations_open(r->w->s, &r->id, answer_opened, &r->answer);
    AWAIT(atomic_load(&r->answer.came));
}

static void assert_race(struct world *w, struct racer *racers)
{
    for (int i = 0; i < 4; i++) {
        const struct err *e = racers[i].answer.error;
        if (e && (e->kind != ERR_NOT_FOUND || racers[i].what == 2))
            fail_msg("racer %d: %s", i, e->text);
        if (racers[i].what != 3)
            assert_true(!racers[i].answer.c == !!e);
    }
    /* Whatever won: it is there and works, or it is not there and can be made. */
    struct uuid id = racers[0].id;
    struct conversation *c = world_open(w, &id);
    bool stored = fake_store_number(w->store, &id) > 0;
    assert_true(!!c == stored);
    for (int i = 0; i < 4; i++)
        answer_deinit(&racers[i].answer);
    if (c) {
        here_number = c->number;
        assert_int_equal(do_send(w, c, "still there", true), -1);
        AWAIT(rests_with(c, STATUS_FINISHED));
        assert_true(log_answered(w, c->number, log_find(w, c->number, "still there")));
        conversation_unref(c);
    }
}

static void opens_a_creation_and_a_deletion_race_on_one_id(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *other = begin(w, FOREVER);
    for (int round = 0; round < 40; round++) {
        struct racer racers[4];
        struct uuid id = uuid_random();
        for (int i = 0; i < 4; i++) {
            racers[i] = (struct racer){.w = w, .id = id, .what = (i + round) % 4};
            answer_init(&racers[i].answer, w);
        }
        if (round % 2) { /* half of them meet one that exists */
            struct answer a;
            answer_init(&a, w);
            world_create_start(w, "script", &id, NULL, &a);
            AWAIT(atomic_load(&a.came));
            assert_true(a.created);
            answer_deinit(&a);
        }
        for (int i = 0; i < 4; i++)
            assert_true(thread_start(&racers[i].thread, "racer", THREAD_STACK_BYTES, race, &racers[i], NULL));
        for (int i = 0; i < 4; i++)
            pthread_join(racers[i].thread, NULL);
        assert_race(w, racers);
    }
    end(w, other);
}

static void a_deleted_one_is_gone_for_everybody(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER);
    struct uuid id = c->id;
    uint64_t socket = fake_socket_open(w->server, conversation_ref(c), RESEND_ALL, 0);
    fake_gate_close(w->models);
    assert_int_equal(do_send(w, c, "go", true), -1);
    AWAIT(fake_gate_waiting(w->models) == 1);
    assert_int_equal(do_delete(w, &id), -1);
    AWAIT(fake_socket_code(w->server, socket) == 4004 && atomic_load(&w->s->runs) == 0);
    assert_true(fake_hands_ended(w->hands) >= 1);
    assert_int_equal(do_send(w, c, "too late", true), ERR_NOT_FOUND);
    assert_int_equal(do_run(w, c), ERR_NOT_FOUND);
    assert_int_equal(do_delete(w, &id), ERR_NOT_FOUND);
    assert_int_equal(fake_socket_open(w->server, conversation_ref(c), RESEND_NONE, 0), 0);
    end(w, c);
}

/* `stop` between a message and its commit: the message is kept, and the conversation is stopped all the same. */
static void a_stop_is_not_undone_by_what_was_queued_before(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER);
    struct answer a;
    answer_init(&a, w);
    conversations_stop(w->s, &c->id);
    assert_false(conversations_live(w->s, &c->id, NULL));
    fake_store_plan(w->store, (struct fake_plan){.match = "the tulips", .nth = 1, .stall = true});
    ask_send(c, &a, "the tulips", true);
    AWAIT(fake_store_stalled(w->store));
    assert_true(conversations_live(w->s, &c->id, NULL));
    assert_true(conversations_stop(w->s, &c->id));
    fake_store_release(w->store);
    AWAIT(atomic_load(&a.came));
    answer_deinit(&a);
    AWAIT(rests_with(c, STATUS_PAUSED));
    assert_int_equal(log_count(w, c->number, "the tulips"), 1);
    AWAIT(fake_hands_ended(w->hands) ==
          3); /* by each stop, and behind the run, which may have started one again */
    assert_false(conversations_live(w->s, &c->id, NULL));
    fake_store_plan(w->store, (struct fake_plan){.match = "the roses", .nth = 1, .verdict = FAKE_FAIL});
    assert_int_equal(do_send(w, c, "the roses", true), ERR_IO);
    assert_false(conversations_live(w->s, &c->id, NULL));
    end(w, c);
}

int main(void)
{
    clock_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_that_race_with_ends_are_all_answered),
        cmocka_unit_test(a_message_never_accepts),
        cmocka_unit_test(a_rejection_answers_every_open_action),
        cmocka_unit_test(an_interrupted_batch_runs_nothing_twice),
        cmocka_unit_test(interrupts_again_and_again),
        cmocka_unit_test(run_after_pause_joins_the_step_under_way),
        cmocka_unit_test(secrets_posted_during_a_run_count_at_once),
        cmocka_unit_test(a_secret_that_no_key_opens_stops_only_the_run),
        cmocka_unit_test(opens_a_creation_and_a_deletion_race_on_one_id),
        cmocka_unit_test(a_deleted_one_is_gone_for_everybody),
        cmocka_unit_test(a_stop_is_not_undone_by_what_was_queued_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
