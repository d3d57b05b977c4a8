/* The hand program driven by a stranger: greeting, calls, keys, tokens, malformed bytes, files. */
#include "hand_peer.h"
#include <fcntl.h>
#include <sys/resource.h>

static void greets_and_answers_pings(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    peer_control(p, WIRE_PING, 0);
    peer_until(p, p->pongs == 1);
    peer_free(p, 0);
}

static void a_banner_before_the_magic_is_skipped(void **state)
{
    (void)state;
    struct peer *p = peer_start();
    autofree char *banner = xmalloc(WIRE_BANNER_MAX);
    memset(banner, 'b', WIRE_BANNER_MAX);
    memcpy(banner + 100, WIRE_MAGIC, 9); /* a false beginning */
    peer_send(p, str_make(banner, WIRE_BANNER_MAX));
    peer_greet(p, NULL);
    assert_status(peer_wait(p, peer_spawn(p, "true")), WIRE_OK);
    peer_free(p, 0);
}

static void a_longer_banner_is_refused(void **state)
{
    (void)state;
    struct peer *p = peer_start();
    autofree char *banner = xmalloc(WIRE_BANNER_MAX + 100);
    memset(banner, 'b', WIRE_BANNER_MAX + 100);
    peer_send(p, str_make(banner, WIRE_BANNER_MAX + 100));
    peer_greet(p, NULL);
    peer_free(p, 1);
}

static void a_call_before_the_greeting_is_refused(void **state)
{
    (void)state;
    struct peer *p = peer_start();
    peer_send(p, str_make(WIRE_MAGIC, WIRE_MAGIC_LEN));
    peer_begin(p, OP_SPAWN, NULL);
    peer_free(p, 1);
}

static void another_version_is_refused(void **state)
{
    (void)state;
    struct peer *p = peer_start();
    struct buf hello = {0}, out = {0};
    wire_add_int(&hello, F_VERSION_MIN, 7);
    wire_add_int(&hello, F_VERSION_MAX, 9);
    buf_add(&out, str_make(WIRE_MAGIC, WIRE_MAGIC_LEN));
    wire_add_message(&out, WIRE_HELLO, 0, buf_str(&hello));
    buf_deinit(&hello);
    peer_send_buf(p, &out);
    peer_free(p, 1);
}

static void unknown_operations_and_bad_fields_get_an_answer(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    assert_status(peer_call(p, (enum wire_op)999, NULL), WIRE_UNSUPPORTED);
    struct buf broken = {0};
    buf_add(&broken, STR("\x05\x00\xff\xff\xff\xff half a field"));
    assert_status(peer_call(p, OP_SPAWN, &broken), WIRE_INVALID);
    assert_status(peer_call(p, OP_SPAWN, NULL), WIRE_INVALID);
    assert_status(peer_wait(p, peer_spawn(p, "true")), WIRE_OK);
    peer_free(p, 0);
}

static void an_older_owner_is_refused(void **state)
{
    (void)state;
    struct peer *p = peer_new(); /* greeted with 5 */
    static const int64_t tokens[] = {5, 4, 7, 6, 7};
    static const enum wire_status expected[] = {WIRE_OK, WIRE_REFUSED, WIRE_OK, WIRE_REFUSED, WIRE_OK};
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        struct buf fields = {0};
        wire_add_int(&fields, F_TOKEN, tokens[i]);
        wire_add_str(&fields, F_COMMAND, STR("true"));
        assert_status(peer_call(p, OP_SPAWN, &fields), expected[i]);
    }
    peer_free(p, 0);
}

static uint32_t keyed(struct peer *p, const char *key, const char *command)
{
    struct buf fields = {0};
    wire_add_str(&fields, F_KEY, str_from(key));
    wire_add_str(&fields, F_COMMAND, str_from(command));
    return peer_begin(p, OP_SPAWN, &fields);
}

static void a_repeated_key_runs_nothing(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    uint32_t first = keyed(p, "k1", "exit 3");
    assert_int_equal(outcome_int(peer_wait(p, first), F_EXIT_CODE), 3);
    uint32_t again = keyed(p, "k1", "exit 4");
    assert_int_equal(outcome_int(peer_wait(p, again), F_EXIT_CODE), 3);

    /* While the first one runs, the second waits for it. */
    uint32_t slow = keyed(p, "k2", "read x; exit 5");
    uint32_t twin = keyed(p, "k2", "exit 6");
    peer_control(p, WIRE_PING, 0);
    peer_until(p, p->pongs == 1);
    assert_false(p->calls[twin].done);
    peer_input(p, slow, STR("go\n"), true);
    assert_int_equal(outcome_int(peer_wait(p, slow), F_EXIT_CODE), 5);
    assert_int_equal(outcome_int(peer_wait(p, twin), F_EXIT_CODE), 5);
    peer_free(p, 0);
}

static void only_so_many_results_are_remembered(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    char key[32];
    for (int i = 0; i < 260; i++) {
        struct buf fields = {0};
        snprintf(key, sizeof(key), "key %d", i);
        wire_add_str(&fields, F_KEY, str_from(key));
        wire_add_str(&fields, F_PATH, STR("/"));
        assert_status(peer_call(p, OP_FILE_STAT, &fields), WIRE_OK);
    }
    assert_int_equal(outcome_int(peer_wait(p, keyed(p, "key 200", "exit 9")), F_EXIT_CODE), INT64_MIN);
    assert_int_equal(outcome_int(peer_wait(p, keyed(p, "key 0", "exit 9")), F_EXIT_CODE), 9);
    peer_free(p, 0);
}

/* --- strangers' bytes ----------------------------------------------------------------------- */

static void malformed_frames_end_the_hand(void **state)
{
    (void)state;
    static const struct str bad[] = {
        STR_INIT("\x00\x00\x00\x00"),                                   /* no room for a header */
        STR_INIT("\x01\x00\x01\x00garbage"),                            /* one byte too long */
        STR_INIT("\xff\xff\xff\xff"),                                   /* 4 GB */
        STR_INIT("\x08\x00\x00\x00\x63\x00\x00\x00\x01\x00\x00\x00"),   /* type 99 */
        STR_INIT("\x08\x00\x00\x00\x02\x00\x01\x00\x01\x00\x00\x00"),   /* the zero is not */
        STR_INIT("\x08\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00"),   /* CALL 0 */
        STR_INIT("\x08\x00\x00\x00\x03\x00\x00\x00\x01\x00\x00\x00"),   /* a RESULT for a hand */
        STR_INIT("\x08\x00\x00\x00\x09\x00\x00\x00\x05\x00\x00\x00"),   /* PING of a call */
        STR_INIT("\x09\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00x"),  /* PING with a payload */
        STR_INIT("\x0a\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x00zz"), /* half a CREDIT */
        STR_INIT("\x08\x00\x00\x00\x04\x07\x00\x00\x01\x00\x00\x00"),   /* DATA on stream 7 */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct peer *p = peer_new();
        if (i == 6) { /* its call must be open, or it is taken for a late frame */
            peer_spawn(p, "cat");
        }
        peer_send(p, bad[i]);
        while (peer_pump(p, PEER_DEADLINE_MS))
            ;
        assert_true(p->said.n > 0); /* it says why */
        peer_free(p, 1);
    }
}

static void a_frame_cut_off_by_the_end_is_an_ordinary_end(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    peer_send(p, STR("\x00\x10\x00\x00\x02\x00"));
    peer_free(p, 0);
}

static void random_bytes_never_crash_it(void **state)
{
    (void)state;
    unsigned seed = 1;
    for (int round = 0; round < 40; round++) {
        struct peer *p = peer_new();
        char bytes[4096];
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (char)rand_r(&seed);
        for (size_t at = 0; at + 12 < sizeof(bytes) && round % 2; at += 64) { /* frames of the right form */
            memcpy(bytes + at, "\x3c\x00\x00\x00", 4);
            bytes[at + 4] = (char)(1 + rand_r(&seed) % 10);
            bytes[at + 5] = (char)(rand_r(&seed) % 3);
            memcpy(bytes + at + 6, "\0\0\1\0\0\0", 6);
        }
        peer_send(p, str_make(bytes, sizeof(bytes)));
        shutdown(p->fd, SHUT_WR);
        while (peer_pump(p, PEER_DEADLINE_MS))
            ;
        int status;
        assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
        close(p->fd);
        wire_reader_deinit(&p->reader);
        buf_deinit(&p->said);
        for (size_t i = 0; i < PEER_CALLS; i++)
            buf_deinit(&p->calls[i].result), buf_deinit(&p->calls[i].note);
        free(p);
    }
}

static void more_data_than_credit_is_refused(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    uint32_t id = peer_spawn(p, "sleep 100");
    autofree char *data = xcalloc(2, WIRE_CREDIT_INITIAL); /* a pipe takes some of it */
    peer_input(p, id, str_make(data, (size_t)2 * WIRE_CREDIT_INITIAL), false);
    while (peer_pump(p, PEER_DEADLINE_MS))
        ;
    assert_non_null(strstr(p->said.p, "credit"));
    peer_free(p, 1);
}

static void a_large_message_arrives_whole_and_a_larger_one_not(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    autofree char *text = xmalloc(100000);
    struct buf fields = {0};
    memset(text, 'x', 100000);
    wire_add_str(&fields, F_COMMAND, STR("printf %s \"$BIG\" | wc -c"));
    memcpy(text, "BIG=", 4);
    wire_add_str(&fields, F_ENV, str_make(text, 100000));
    struct outcome *o = peer_call(p, OP_SPAWN, &fields);
    assert_status(o, WIRE_OK);
    assert_text(&o->out, "99996\n");
    struct buf more = {0}, out = {0};
    buf_add(&more, str_make(text, WIRE_PAYLOAD_MAX));
    wire_add_message(&out, WIRE_CALL, 77, buf_str(&more));
    out.p[5] = (char)WIRE_MORE;
    for (int i = 0; i < 300 && !p->closed; i++)
        peer_send(p, buf_str(&out));
    buf_deinit(&more);
    buf_deinit(&out);
    while (peer_pump(p, PEER_DEADLINE_MS))
        ;
    assert_non_null(strstr(p->said.p, "too large"));
    peer_free(p, 1);
}

static void a_thousand_calls_are_open_at_once_and_no_more(void **state)
{
    (void)state;
    struct peer *p = peer_new();
    char dir[] = "/tmp/test-hand-XXXXXX";
    assert_non_null(mkdtemp(dir));
    uint32_t first = p->last + 1;
    for (int i = 0; i < WIRE_CALLS_MAX + 3; i++) {
        struct buf fields = {0};
        char path[64];
        snprintf(path, sizeof(path), "%s/%d", dir, i);
        wire_add_str(&fields, F_PATH, str_from(path));
        peer_begin(p, OP_FILE_WRITE, &fields); /* stays open until its END */
    }
    peer_until(p, p->calls[first + WIRE_CALLS_MAX + 2].done);
    for (uint32_t i = 0; i < WIRE_CALLS_MAX + 3; i++)
        assert_int_equal(p->calls[first + i].done, i >= WIRE_CALLS_MAX);
    assert_status(&p->calls[first + WIRE_CALLS_MAX], WIRE_BUSY);
    peer_control(p, WIRE_CANCEL, first);
    assert_status(peer_wait(p, first), WIRE_CANCELLED);
    assert_status(peer_wait(p, peer_spawn(p, "true")), WIRE_OK);
    peer_free(p, 0);
    assert_int_equal(rmdir(dir), 0); /* no temporary file is left */
}

static void an_idle_hand_says_so(void **state)
{
    (void)state;
    struct peer *p = peer_start();
    struct buf more = {0};
    wire_add_int(&more, F_TIMEOUT_MS, 20);
    peer_greet(p, &more);
    peer_until(p, p->idle_notes >= 2);
    /* Not while something runs in the background. */
    assert_status(peer_wait(p, peer_spawn(p, "sleep 1000 >/dev/null 2>&1 & echo $!")), WIRE_OK);
    unsigned notes = p->idle_notes;
    uint64_t until = now_ms() + 200;
    while (now_ms() < until)
        peer_pump(p, 50);
    assert_int_equal(p->idle_notes, notes);
    peer_free(p, 0);
}

/* A command of the shell's own has no process to be seen by. */
static void a_terminal_that_runs_a_builtin_is_not_idle(void **state)
{
    (void)state;
    struct peer *p = peer_start();
    struct buf more = {0}, fields = {0};
    wire_add_int(&more, F_TIMEOUT_MS, 20);
    peer_greet(p, &more);
    wire_add_str(&fields, F_COMMAND, STR("read x"));
    wire_add_int(&fields, F_SOFT_TIMEOUT_MS, 50);
    assert_status(peer_call(p, OP_TERMINAL, &fields), WIRE_OK);
    unsigned notes = p->idle_notes;
    uint64_t until = now_ms() + 200;
    while (now_ms() < until)
        peer_pump(p, 50);
    assert_int_equal(p->idle_notes, notes);
    wire_add_int(&fields, F_INPUT, 1);
    wire_add_str(&fields, F_COMMAND, STR("done"));
    assert_status(peer_call(p, OP_TERMINAL, &fields), WIRE_OK);
    peer_until(p, p->idle_notes > notes);
    peer_free(p, 0);
}

static void a_hand_that_hears_nothing_ends_when_told_to(void **state)
{
    (void)state;
    struct peer *p = peer_start();
    struct buf more = {0};
    wire_add_int(&more, F_SOFT_TIMEOUT_MS, 100);
    peer_greet(p, &more);
    uint32_t id = peer_spawn(p, "sleep 1000");
    peer_until(p, p->calls[id].note.n);
    pid_t pid = (pid_t)wire_get_int(buf_str(&p->calls[id].note), F_PID, 0);
    while (peer_pump(p, PEER_DEADLINE_MS))
        ;
    assert_true(process_ends(pid, 1000));
    peer_free(p, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greets_and_answers_pings),
        cmocka_unit_test(a_banner_before_the_magic_is_skipped),
        cmocka_unit_test(a_longer_banner_is_refused),
        cmocka_unit_test(a_call_before_the_greeting_is_refused),
        cmocka_unit_test(another_version_is_refused),
        cmocka_unit_test(unknown_operations_and_bad_fields_get_an_answer),
        cmocka_unit_test(an_older_owner_is_refused),
        cmocka_unit_test(a_repeated_key_runs_nothing),
        cmocka_unit_test(only_so_many_results_are_remembered),
        cmocka_unit_test(malformed_frames_end_the_hand),
        cmocka_unit_test(a_frame_cut_off_by_the_end_is_an_ordinary_end),
        cmocka_unit_test(random_bytes_never_crash_it),
        cmocka_unit_test(more_data_than_credit_is_refused),
        cmocka_unit_test(a_large_message_arrives_whole_and_a_larger_one_not),
        cmocka_unit_test(a_thousand_calls_are_open_at_once_and_no_more),
        cmocka_unit_test(an_idle_hand_says_so),
        cmocka_unit_test(a_terminal_that_runs_a_builtin_is_not_idle),
        cmocka_unit_test(a_hand_that_hears_nothing_ends_when_told_to),
    };
    return cmocka_run_group_tests_name("hand", tests, NULL, NULL);
}
