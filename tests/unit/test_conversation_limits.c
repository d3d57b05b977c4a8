/* Conversations at their limits: idle ones that leave memory, a store that is full or fails, stacks of run threads. */
#include "conversation_begin.h"

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

static void what_waits_for_a_slow_disk_ends_with_the_server(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct conversation *c = begin(w, FOREVER), *other = world_create(w, "script", NULL);
    struct uuid id = c->id, other_id = other->id;
    struct store *store = w->store;
    struct answer titled, opened;
    conversation_unref(c);
    conversation_unref(other);
    world_free(w, true);

    w = here = world_new(&(struct world_options){.store = store});
    answer_init(&titled, w);
    answer_init(&opened, w);
    c = world_open(w, &id);
    fake_store_plan(store, (struct fake_plan){.nth = 1, .stall = true});
    conversation_set_title(c, STR("waits"), NULL, answer_done, &titled);
    AWAIT(fake_store_stalled(store));
    conversations_open(w->s, &other_id, answer_opened, &opened); /* its claim comes behind the title */
    end(w, c);
    assert_true(atomic_load(&titled.came) && !titled.error);
    assert_true(atomic_load(&opened.came) && opened.error && opened.error->kind == ERR_BUSY);
    answer_deinit(&titled);
    answer_deinit(&opened);
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
        cmocka_unit_test(idle_ones_leave_memory_and_come_back),
        cmocka_unit_test(a_running_one_is_not_idle),
        cmocka_unit_test(a_full_queue_makes_runs_wait_and_requests_fail),
        cmocka_unit_test(a_store_that_fails_now_and_then),
        cmocka_unit_test(what_died_running_is_repaired_after_a_start),
        cmocka_unit_test(what_waits_for_a_slow_disk_ends_with_the_server),
        cmocka_unit_test(run_threads_need_little_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
