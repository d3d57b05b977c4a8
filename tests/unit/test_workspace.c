/* The mind's end of hands: calls from a thread, deaths, deadlines. */
#include "workspace_fixture.h"

static void calls_are_answered(void **state)
{
    (void)state;
    setenv("SESSION_API_KEY", "leak", 1);
    setenv("LLM_API_KEY", "leak", 1);
    struct house *s = house_new(real_hand(), 0);
    autobuf data = {0};
    assert_int_equal(run(s, "pwd; exit 3", &data), 3);
    assert_true(str_starts(buf_str(&data), str_from(s->dir)));
    assert_int_equal(
        run(s, "env; cat /proc/$PPID/../$PPID/environ /proc/*/environ 2>/dev/null | tr '\\0' '\\n'", &data),
        0);
    assert_true(str_find(buf_str(&data), STR("CONFIGURED=yes")) >= 0);
    assert_true(str_find(buf_str(&data), STR("AI_AGENT=openhands")) >= 0);
    assert_int_equal(run(s, "env", &data), 0);
    assert_int_equal(str_find(buf_str(&data), STR("leak")), -1);
    assert_int_equal(run(s, "head -c 2000000 /dev/zero", &data), -1000 - ERR_TOO_LARGE);
    assert_int_equal(run(s, "head -c 1000000 /dev/zero", &data), 0);
    assert_int_equal(data.n, 1000000);
    unsetenv("SESSION_API_KEY");
    unsetenv("LLM_API_KEY");
    house_free(s);
}

static void a_deadline_ends_a_call(void **state)
{
    (void)state;
    struct house *s = house_new(real_hand(), 0);
    struct buf fields = command("echo $$; exec sleep 1000");
    autobuf result = {0};
    autoerr e = NULL;
    uint64_t start = now_ms();
    assert_false(
        hand_call_wait(s->hands, &s->spec, OP_SPAWN, &fields, 200, s->mailbox, &result, NULL, 0, &e));
    assert_int_equal(e->kind, ERR_TIMEOUT);
    assert_in_range(now_ms() - start, 150, 1000);
    autobuf data = {0};
    assert_int_equal(run(s, "true", &data), 0);
    house_free(s);
}

static void cancel_mailbox(void *arg)
{
    mailbox_cancel(((struct house *)arg)->mailbox);
}

static void later(void *arg)
{
    loop_timer(((struct house *)arg)->loop, 200, cancel_mailbox, arg);
}

static void a_cancelled_run_is_free_within_a_second(void **state)
{
    (void)state;
    struct house *s = house_new(real_hand(), 0);
    autobuf data = {0};
    assert_int_equal(run(s, "true", &data), 0);
    loop_call(s->loop, later, s);
    uint64_t start = now_ms();
    assert_int_equal(run(s, "trap '' TERM; while :; do sleep 0.1; done", &data), -1000 - ERR_CANCELLED);
    assert_in_range(now_ms() - start, 150, 1250);
    house_free(s);
}

/* --- death ---------------------------------------------------------------------------------- */

static void a_dead_hand_ends_each_call_once_and_the_next_one_starts_another(void **state)
{
    (void)state;
    struct house *s = house_new(real_hand(), 0);
    struct count count = {0};
    pid_t pid = hand_pid(s);
    for (int i = 0; i < 50; i++) {
        struct buf fields = command("sleep 1000");
        hand_call(s->hands, &s->spec, OP_SPAWN, &fields, 0, true, &counting, &count);
    }
    autobuf data = {0};
    assert_int_equal(run(s, "true", &data), 0); /* so they have all begun */
    kill(pid, SIGKILL);
    wait_for(&count.done, 50);
    assert_int_equal(count.gone, 50);
    assert_int_equal(run(s, "true", &data), 0);
    assert_true(hand_pid(s) != pid);
    assert_int_equal(count.done, 50);
    hand_end(s->hands, &s->spec.id);
    assert_int_equal(run(s, "true", &data), 0);
    house_free(s);
}

/* A run is stopped and its hand ended: the run's Ctrl-C may come behind that. */
static void an_interrupt_starts_no_hand(void **state)
{
    (void)state;
    struct house *s = house_new(real_hand(), 0);
    struct count count = {0};
    struct buf fields = {0};
    hand_pid(s);
    hand_end(s->hands, &s->spec.id);
    hand_call(s->hands, &s->spec, OP_TERMINAL_INTERRUPT, &fields, 10000, true, &counting, &count);
    wait_for(&count.done, 1);
    assert_int_equal(count.gone, 1);
    house_free(s);
}

static void a_hand_killed_by_its_own_command_is_an_answer(void **state)
{
    (void)state;
    struct house *s = house_new(real_hand(), 0);
    autobuf data = {0};
    char text[64];
    snprintf(text, sizeof(text), "kill -9 %d; sleep 1000", (int)hand_pid(s));
    assert_int_equal(run(s, text, &data), -1000 - ERR_GONE);
    house_free(s);
}

static void closing_ends_every_process(void **state)
{
    (void)state;
    struct house *s = house_new(real_hand(), 0);
    autobuf data = {0};
    struct count count = {0};
    assert_int_equal(run(s, "setsid sleep 1001 >/dev/null 2>&1 & echo $!", &data), 0);
    pid_t daemon = (pid_t)strtol(data.p, NULL, 10);
    pid_t pid = hand_pid(s);
    struct buf fields = command("sleep 1002");
    hand_call(s->hands, &s->spec, OP_SPAWN, &fields, 0, true, &counting, &count);
    uint64_t start = now_ms();
    house_free(s);
    assert_true(now_ms() - start < 2000);
    assert_int_equal(count.gone, 1);
    assert_true(process_ends(pid, 0));
    assert_true(process_ends(daemon, 1000));
}

static void an_idle_hand_ends_unless_something_runs(void **state)
{
    (void)state;
    struct house *s = house_new(real_hand(), 50);
    autobuf data = {0};
    pid_t pid = hand_pid(s);
    assert_true(process_ends(pid, 5000));
    assert_int_equal(run(s, "sleep 1001 >/dev/null 2>&1 & echo $!", &data), 0);
    pid = hand_pid(s);
    assert_false(process_ends(pid, 500));
    house_free(s);
}

/* --- standard input ------------------------------------------------------------------------- */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_answered),
        cmocka_unit_test(a_deadline_ends_a_call),
        cmocka_unit_test(a_cancelled_run_is_free_within_a_second),
        cmocka_unit_test(a_dead_hand_ends_each_call_once_and_the_next_one_starts_another),
        cmocka_unit_test(an_interrupt_starts_no_hand),
        cmocka_unit_test(a_hand_killed_by_its_own_command_is_an_answer),
        cmocka_unit_test(closing_ends_every_process),
        cmocka_unit_test(an_idle_hand_ends_unless_something_runs),
    };
    return cmocka_run_group_tests_name("workspace", tests, NULL, NULL);
}
