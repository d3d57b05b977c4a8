/* Conversations over a store that obeys: messages that race with ends, interrupted batches, secrets, opens and deletes
 * of one id, idle ones that leave memory, stacks of run threads. The moments of a run are in test_run.c. */
#include "conversation_fixture.h"
#include "base/vec.h"

static struct world *here;
static int64_t here_number;

static void on_expired(void)
{
    if (here)
        log_print(here, here_number);
}

static struct conversation *begin(struct world *w, const char *lines)
{
    world_script(w, "script", lines);
    struct conversation *c = world_create(w, "script", NULL);
    here = w;
    here_number = c->number;
    fake_on_expired = on_expired;
    return c;
}

static void end(struct world *w, struct conversation *c)
{
    conversation_unref(c);
    world_free(w, false);
    here = NULL;
}

static bool rests_with(struct conversation *c, enum status status)
{
    return is_at_rest(c) && has_status(c, status);
}

#define TERMINAL(command) "{\"name\":\"terminal\",\"arguments\":{\"command\":\"" command "\"}}"
#define FOREVER "{\"text\":\"an answer\",\"repeat\":true}\n"

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

static int set_secret(struct world *w, struct conversation *c, const char *json)
{
    struct answer a;
    answer_init(&a, w);
    autojson doc = json_parse(str_from(json), NULL, NULL);
    conversation_set_secrets(c, json_root(doc), answer_done, &a);
    AWAIT(atomic_load(&a.came));
    int kind = a.error ? (int)a.error->kind : -1;
    answer_deinit(&a);
    return kind;
}

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
    assert_int_equal(fake_hands_ended(w->hands), 1);
    assert_int_equal(do_send(w, c, "too late", true), ERR_NOT_FOUND);
    assert_int_equal(do_run(w, c), ERR_NOT_FOUND);
    assert_int_equal(do_delete(w, &id), ERR_NOT_FOUND);
    assert_int_equal(fake_socket_open(w->server, conversation_ref(c), RESEND_NONE, 0), 0);
    end(w, c);
}

/* ---- memory ---- */

static bool is_open(struct world *w, const struct uuid *id)
{
    bool open = false;
    WITH_LOCK(&w->s->lock)
    open = map_get(w->s->open, str_make(id->b, sizeof(id->b))) != NULL;
    return open;
}

static void idle_ones_leave_memory_and_come_back(void **state)
{
    (void)state;
    struct world *w = world_new(&(struct world_options){.idle_ms = 100});
    struct conversation *c = begin(w, FOREVER), *kept = world_create(w, "script", NULL);
    struct uuid id = c->id;
    int64_t number = c->number;
    assert_int_equal(do_send(w, c, "go", true), -1);
    AWAIT(rests_with(c, STATUS_FINISHED));
    size_t events = log_size(w, number);
    conversation_unref(c);
    AWAIT(!is_open(w, &id));
    assert_true(is_open(w, &kept->id)); /* somebody holds it */
    assert_int_equal(atomic_load(&w->s->tail_bytes), 0);
    c = world_open(w, &id);
    assert_non_null(c);
    assert_int_equal(c->number, number);
    assert_int_equal(log_size(w, number), events); /* nothing to repair */
    assert_int_equal(do_send(w, c, "again", true), -1);
    AWAIT(rests_with(c, STATUS_FINISHED));
    conversation_unref(kept);
    end(w, c);
}

/* A run keeps its conversation in memory however long nobody else looks. */
static void a_running_one_is_not_idle(void **state)
{
    (void)state;
    struct world *w = world_new(&(struct world_options){.idle_ms = 50});
    struct conversation *c = begin(w, FOREVER);
    struct uuid id = c->id, other;
    fake_gate_close(w->models);
    assert_int_equal(do_send(w, c, "go", true), -1);
    AWAIT(fake_gate_waiting(w->models) == 1);
    conversation_unref(c);
    c = world_create(w, "script", NULL);
    other = c->id;
    conversation_unref(c);
    AWAIT(!is_open(w, &other)); /* a sweep has passed */
    assert_true(is_open(w, &id));
    fake_gate_open(w->models);
    AWAIT(!is_open(w, &id));
    world_free(w, false);
}

/* ---- a store that is full, and then is not ---- */

static void a_full_queue_makes_runs_wait_and_requests_fail(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, "{\"calls\":[" TERMINAL("one") "]}\n" FOREVER);
    fake_store_busy(w->store, 1);
    assert_int_equal(do_send(w, c, "refused", true), ERR_BUSY);
    fake_hands_hold(w->hands, "one");
    assert_int_equal(do_send(w, c, "go", true), -1);
    AWAIT(fake_hands_held(w->hands) == 1);
    fake_store_busy(w->store, 2);
    fake_hands_let(w->hands);
    AWAIT(rests_with(c, STATUS_FINISHED));
    assert_int_equal(fake_hands_ran(w->hands, "one"), 1);
    assert_int_equal(log_count(w, c->number, "refused"), 0);
    assert_log_sound(w, c->number);
    end(w, c);
}

/* The disk fails now and then while messages come: what was acknowledged is there, what failed is not, and when the disk
 * is well again so is the conversation. */
static void a_store_that_fails_now_and_then(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER);
    enum { N = 150 };
    static struct answer answers[N];
    fake_store_plan(w->store, (struct fake_plan){.nth = 5, .every = 5, .verdict = FAKE_FAIL});
    for (int i = 0; i < N; i++) {
        char text[40];
        snprintf(text, sizeof(text), "number %d.", i);
        answer_init(&answers[i], w);
        ask_send(c, &answers[i], text, true);
        if (i % 3 == 2)
            AWAIT(atomic_load(&answers[i].came));
        if (i % 10 == 9)
            AWAIT(is_at_rest(c));
    }
    unsigned failed = 0;
    for (int i = 0; i < N; i++) {
        AWAIT(atomic_load(&answers[i].came));
        char text[40];
        snprintf(text, sizeof(text), "number %d.", i);
        assert_int_equal(log_count(w, c->number, text), answers[i].error ? 0 : 1);
        failed += answers[i].error != NULL;
        answer_deinit(&answers[i]);
    }
    assert_in_range(failed, 1, N - 1);
    fake_store_plans_clear(w->store);
    AWAIT(is_at_rest(c));
    assert_false(has_status(c, STATUS_RUNNING));
    assert_log_sound(w, c->number);
    assert_int_equal(do_send(w, c, "the last", true), -1);
    AWAIT(rests_with(c, STATUS_FINISHED));
    assert_true(log_answered(w, c->number, log_find(w, c->number, "the last")));
    end(w, c);
}

static void what_died_running_is_repaired_after_a_start(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, "{\"calls\":[" TERMINAL("one") "," TERMINAL("two") "]}\n" FOREVER);
    struct uuid id = c->id;
    struct store *store = w->store;
    fake_hands_hold(w->hands, "two");
    assert_int_equal(do_send(w, c, "go", true), -1);
    AWAIT(fake_hands_held(w->hands) == 1);
    fake_store_disown(store); /* from here on nothing of this process counts */
    conversation_unref(c);
    world_free(w, true);
    assert_int_equal(fake_store_status(store, fake_store_number(store, &id)), STATUS_RUNNING);

    w = here = world_new(&(struct world_options){.store = store});
    world_script(w, "script", FOREVER);
    conversations_recover(w->s);
    AWAIT(fake_store_status(store, here_number) == STATUS_ERROR);
    assert_log_sound(w, here_number);
    assert_int_equal(log_count(w, here_number, "\"AgentErrorEvent\""), 2);
    c = world_open(w, &id);
    assert_int_equal(do_send(w, c, "go on", true), -1);
    AWAIT(rests_with(c, STATUS_FINISHED));
    assert_int_equal(fake_hands_ran(w->hands, NULL), 0);
    assert_log_sound(w, here_number);
    end(w, c);
}

/* ---- stacks ---- */

#define STACK_MOST (192 * 1024) /* of 256 KiB: the rest is for what this test does not do */

static void run_threads_need_little_stack(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(
        w,
        "{\"text\":\"Let me look.\",\"calls\":[" TERMINAL("big 4000") "," TERMINAL(
            "two") "]}\n"
                   "{\"calls\":[{\"name\":\"file_editor\",\"arguments\":{\"command\":\"create\",\"path\":\"/work/a\","
                   "\"file_text\":\"x\"}},{\"name\":\"nothing\",\"arguments\":\"{not json\"}]}\n"
                   "{\"calls\":[{\"name\":\"think\",\"arguments\":{\"thought\":\"hm\"}}]}\n"
                   "{\"error\":{\"status\":400,\"message\":\"no\"}}\n");
    assert_int_equal(set_secret(w, c, "{\"TOKEN_A\":\"a long enough value\"}"), -1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(do_send(w, c, "go", true), -1);
        AWAIT(rests_with(c, STATUS_ERROR));
    }
    AWAIT(atomic_load(&w->s->runs) == 0);
    assert_true(fake_hands_ran(w->hands, "two") == 1);
    conversation_unref(c);
    world_free(w, false);
    here = NULL;
    size_t most = atomic_load(&run_stack_most);
    print_message("a run thread used at most %zu bytes of %d of stack\n", most, THREAD_STACK_BYTES);
    assert_true(most < STACK_MOST);
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
        cmocka_unit_test(idle_ones_leave_memory_and_come_back),
        cmocka_unit_test(a_running_one_is_not_idle),
        cmocka_unit_test(a_full_queue_makes_runs_wait_and_requests_fail),
        cmocka_unit_test(a_store_that_fails_now_and_then),
        cmocka_unit_test(what_died_running_is_repaired_after_a_start),
        cmocka_unit_test(run_threads_need_little_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
