/* The mind's end of hands: streams and their credit, and programs that only pretend to be a hand. */
#include "workspace_fixture.h"

struct talk {
    struct count count;
    struct buf out;
};

static void talk_data(void *arg, enum wire_stream stream, struct str data)
{
    struct talk *t = arg;
    assert_int_equal(stream, WIRE_STDOUT);
    buf_add(&t->out, data);
}

static void input_is_streamed_and_bounded(void **state)
{
    (void)state;
    static const struct hand_callbacks talking = {.on_data = talk_data, .on_done = count_done};
    struct house *s = house_new(real_hand(), 0);
    struct talk talk = {0}, stuck = {0};
    struct buf fields = {0};
    wire_add_str(&fields, F_COMMAND, STR("wc -c"));
    uint64_t call = hand_call(s->hands, &s->spec, OP_SPAWN, &fields, 0, true, &talking, &talk);
    for (int i = 0; i < 8; i++) {
        struct buf chunk = {0};
        memset(buf_reserve(&chunk, 100000), 'x', 100000);
        chunk.n = 100000;
        hand_send(s->hands, call, &chunk);
    }
    hand_send_end(s->hands, call);
    wait_for(&talk.count.done, 1);
    assert_string_equal(talk.out.p, "800000\n");
    buf_deinit(&talk.out);

    wire_add_str(&fields, F_COMMAND, STR("sleep 1000"));
    call = hand_call(s->hands, &s->spec, OP_SPAWN, &fields, 0, true, &talking, &stuck);
    for (int i = 0; i < 30; i++) {
        struct buf chunk = {0};
        memset(buf_reserve(&chunk, 100000), 'x', 100000);
        chunk.n = 100000;
        hand_send(s->hands, call, &chunk);
    }
    wait_for(&stuck.count.done, 1);
    hand_send_end(s->hands, call); /* a late word to a dead call harms nobody */
    hand_cancel(s->hands, call);
    house_free(s);
}

/* --- pretenders ----------------------------------------------------------------------------- */

/* Writes a program that prints `bytes`, then does what `rest` says. */
static void pretender(char path[64], struct str bytes, const char *rest)
{
    char base[48] = "/tmp/test-pretender-XXXXXX", answer[72];
    assert_non_null(mkdtemp(base));
    snprintf(answer, sizeof(answer), "%s/bytes", base);
    assert_true(file_write_atomic(answer, bytes, 0600, NULL));
    snprintf(path, 64, "%s/hand", base);
    autobuf script = {0};
    buf_addf(&script, "#!/bin/sh\ncat %s\n%s\n", answer, rest);
    assert_true(file_write_atomic(path, buf_str(&script), 0700, NULL));
}

static void pretender_remove(char path[64])
{
    char other[80];
    unlink(path);
    *strrchr(path, '/') = '\0';
    snprintf(other, sizeof(other), "%s/bytes", path);
    unlink(other);
    rmdir(path);
}

static void greeting(struct buf *out)
{
    autobuf hello = {0};
    wire_add_int(&hello, F_VERSION_MIN, 1);
    wire_add_int(&hello, F_VERSION_MAX, 1);
    buf_add(out, str_make(WIRE_MAGIC, WIRE_MAGIC_LEN));
    wire_add_message(out, WIRE_HELLO, 0, buf_str(&hello));
}

static void expect_gone(struct str bytes)
{
    char path[64];
    pretender(path, bytes, "exec sleep 1003");
    struct house *s = house_new(path, 0);
    autobuf data = {0};
    uint64_t start = now_ms();
    assert_int_equal(run(s, "true", &data), -1000 - ERR_GONE);
    assert_true(now_ms() - start < 3000);
    house_free(s);
    pretender_remove(path);
}

static void a_protocol_error_kills_the_hand(void **state)
{
    (void)state;
    autobuf b = {0};
    for (int round = 0; round < 9; round++) {
        buf_clear(&b);
        if (round > 1)
            greeting(&b);
        switch (round) {
        case 0: /* no magic within the bound */
            memset(buf_reserve(&b, 70000), 'g', 70000);
            b.n = 70000;
            break;
        case 1: /* a call before the greeting */
            buf_add(&b, str_make(WIRE_MAGIC, WIRE_MAGIC_LEN));
            wire_add_control(&b, WIRE_PING, 0);
            break;
        case 2: buf_add(&b, STR("\xff\xff\xff\x7f")); break;
        case 3: greeting(&b); break;
        case 4: wire_add_message(&b, WIRE_RESULT, 99, STR_NONE); break; /* never made */
        case 5: wire_add_message(&b, WIRE_CALL, 1, STR_NONE); break;
        case 6: wire_add_credit(&b, 99, WIRE_STDIN, 1); break;
        case 7: wire_add_message(&b, WIRE_NOTE, 0, STR("\x01\x00\xff\x00\x00\x00x")); break;
        default: wire_add_end(&b, 0, WIRE_STDOUT); break; /* call 0 has no streams */
        }
        expect_gone(buf_str(&b));
    }
}

/* The first call of a hand is number 1: what a pretender may say to it before it reads anything. */
static void wrong_answers_to_a_real_call_kill_the_hand(void **state)
{
    (void)state;
    autobuf b = {0}, big = {0};
    memset(buf_reserve(&big, WIRE_PAYLOAD_MAX), 'x', WIRE_PAYLOAD_MAX);
    big.n = WIRE_PAYLOAD_MAX;
    for (int round = 0; round < 3; round++) {
        buf_clear(&b);
        for (int i = 0; i < (round == 1 ? 300 : 6); i++) {
            if (round == 0)
                wire_add_data(&b, 1, WIRE_STDOUT, buf_str(&big)); /* 384 kB, 256 kB are allowed */
            size_t at = b.n;
            if (round)
                wire_add_message(&b, WIRE_RESULT, 1, buf_str(&big));
            if (round == 1)
                b.p[at + 5] = (char)WIRE_MORE; /* 19 MB of RESULT */
        }
        char path[64];
        autobuf hello = {0};
        greeting(&hello);
        char program[128];
        pretender(path, buf_str(&b), "exec sleep 1003");
        /* The greeting first, then the rest once the call has come. */
        char where[80];
        snprintf(where, sizeof(where), "%s", path);
        *strrchr(where, '/') = '\0';
        snprintf(program, sizeof(program), "%s/hello", where);
        assert_true(file_write_atomic(program, buf_str(&hello), 0600, NULL));
        autobuf script = {0};
        buf_addf(&script, "#!/bin/sh\ncat %s/hello\nhead -c 200 >/dev/null\ncat %s/bytes\nexec sleep 1003\n",
                 where, where);
        assert_true(file_write_atomic(path, buf_str(&script), 0700, NULL));
        struct house *s = house_new(path, 0);
        struct count count = {0};
        struct buf fields = command("true");
        hand_call(s->hands, &s->spec, OP_SPAWN, &fields, 8000, false, &counting, &count);
        wait_for(&count.done, 1);
        assert_int_equal(count.gone, 1);
        house_free(s);
        unlink(program);
        pretender_remove(path);
    }
}

static void random_answers_never_harm(void **state)
{
    (void)state;
    unsigned seed = 7;
    for (int round = 0; round < 20; round++) {
        autobuf b = {0};
        if (round % 2)
            greeting(&b);
        size_t from = b.n;
        for (int i = 0; i < 3000; i++)
            buf_add_char(&b, (char)rand_r(&seed));
        for (size_t at = from; at + 12 < b.n && round % 2; at += 64) {
            memcpy(b.p + at, "\x3c\x00\x00\x00", 4);
            b.p[at + 4] = (char)(1 + rand_r(&seed) % 10);
            b.p[at + 5] = (char)(rand_r(&seed) % 3);
            memcpy(b.p + at + 6, "\0\0\1\0\0\0", 6);
        }
        char path[64];
        pretender(path, buf_str(&b), "exit 0");
        struct house *s = house_new(path, 0);
        autobuf data = {0};
        int code = run(s, "true", &data);
        assert_true(code == -1000 - ERR_GONE);
        house_free(s);
        pretender_remove(path);
    }
}

/* A program that greets, waits for its first call, and then does what `rest` says with `bytes` in the file $1. */
static void caller(char path[64], struct str bytes, const char *rest)
{
    char where[64];
    autobuf hello = {0}, name = {0}, script = {0};
    greeting(&hello);
    pretender(path, bytes, "");
    snprintf(where, sizeof(where), "%s", path);
    *strrchr(where, '/') = '\0';
    buf_addf(&name, "%s/hello", where);
    assert_true(file_write_atomic(name.p, buf_str(&hello), 0600, NULL));
    buf_addf(
        &script,
        "#!/bin/sh\nset %s/bytes\ncat %s/hello\nrm %s/hello\nhead -c 200 >/dev/null\n%s\nexec sleep 1003\n",
        where, where, where, rest);
    assert_true(file_write_atomic(path, buf_str(&script), 0700, NULL));
}

static size_t resident_bytes(void)
{
    autobuf text = {0};
    size_t all = 0, resident = 0;
    assert_true(file_read("/proc/self/statm", 200, &text, NULL));
    assert_int_equal(sscanf(text.p, "%zu %zu", &all, &resident), 2);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* A hand that pings and never reads gets one answer, not one for each. */
static void pings_are_not_hoarded(void **state)
{
    (void)state;
    char path[64];
    autobuf b = {0};
    for (int i = 0; i < 50000; i++)
        wire_add_control(&b, WIRE_PING, 0);
    caller(path, buf_str(&b),
           "i=0; while [ $i -lt 100 ]; do cat $1; i=$((i+1)); done; exec 1>&-; exec 0<&-; exit");
    struct house *s = house_new(path, 0);
    size_t before = resident_bytes();
    autobuf data = {0};
    assert_int_equal(run(s, "true", &data), -1000 - ERR_GONE); /* 60 MB later */
    assert_true(resident_bytes() < before + 20 * 1024 * 1024);
    house_free(s);
    pretender_remove(path);
}

static void a_talkative_hand_does_not_fill_the_log(void **state)
{
    (void)state;
    char path[64], name[] = "/tmp/test-log-XXXXXX";
    autobuf b = {0}, note = {0}, text = {0}, data = {0};
    wire_add_str(&note, F_MESSAGE, STR("a complaint"));
    for (int i = 0; i < 5000; i++)
        wire_add_message(&b, WIRE_NOTE, 0, buf_str(&note));
    caller(path, buf_str(&b), "cat $1; exit");
    int log = mkstemp(name), saved = dup(2);
    assert_true(log >= 0 && saved >= 0);
    dup2(log, 2);
    struct house *s = house_new(path, 0);
    assert_int_equal(run(s, "true", &data), -1000 - ERR_GONE);
    house_free(s);
    dup2(saved, 2);
    assert_true(file_read(name, 1024 * 1024, &text, NULL));
    assert_true(str_find(buf_str(&text), STR("a complaint")) >= 0);
    assert_true(text.n < 10000);
    close(log);
    close(saved);
    unlink(name);
    pretender_remove(path);
}

struct sender {
    struct count count;
    struct hands *hands;
    atomic_uint_fast64_t call;
    uint64_t sent;
    atomic_int last;
};

static void sender_writable(void *arg, uint64_t total)
{
    struct sender *t = arg;
    struct buf piece = {0};
    size_t n = (size_t)(total - t->sent);
    t->last = (int)total;
    memset(buf_reserve(&piece, n), 'x', n);
    piece.n = n;
    t->sent = total;
    hand_send(t->hands, t->call, &piece);
}

/* Several CREDITs in one read: each byte of them is promised once, though what was sent for the first is not on its way
 * when the next is read. */
static void credit_is_promised_once(void **state)
{
    (void)state;
    static const struct hand_callbacks callbacks = {.on_done = count_done, .on_writable = sender_writable};
    char path[64];
    autobuf b = {0};
    for (int i = 0; i < 20; i++)
        wire_add_credit(&b, 1, WIRE_STDIN, 200000);
    caller(path, buf_str(&b), "cat $1; head -c 4200000 >/dev/null; exit");
    struct house *s = house_new(path, 0);
    struct sender sender = {.hands = s->hands};
    struct buf fields = command("true");
    sender.call = hand_call(s->hands, &s->spec, OP_SPAWN, &fields, 8000, true, &callbacks, &sender);
    wait_for(&sender.count.done, 1);
    assert_int_equal(sender.count.gone, 1); /* by its end, not because too much was sent */
    assert_int_equal(sender.last, WIRE_CREDIT_INITIAL + 20 * 200000);
    house_free(s);
    pretender_remove(path);
}

static void a_long_banner_is_skipped(void **state)
{
    (void)state;
    autobuf b = {0};
    char path[64], rest[300];
    memset(buf_reserve(&b, WIRE_BANNER_MAX), 'w', WIRE_BANNER_MAX);
    b.n = WIRE_BANNER_MAX;
    snprintf(rest, sizeof(rest), "exec %s", realpath(real_hand(), (char[4096]){0}));
    pretender(path, buf_str(&b), rest);
    struct house *s = house_new(path, 0);
    autobuf data = {0};
    assert_int_equal(run(s, "echo fine", &data), 0);
    assert_string_equal(data.p, "fine\n");
    house_free(s);
    pretender_remove(path);
}

static void a_missing_program_is_an_error_of_the_call(void **state)
{
    (void)state;
    struct house *s = house_new("/no/such/hand", 0);
    autobuf data = {0};
    int code = run(s, "true", &data);
    assert_true(code == -1000 - ERR_GONE || code == -1000 - ERR_NOT_FOUND);
    house_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_is_streamed_and_bounded),
        cmocka_unit_test(a_protocol_error_kills_the_hand),
        cmocka_unit_test(wrong_answers_to_a_real_call_kill_the_hand),
        cmocka_unit_test(random_answers_never_harm),
        cmocka_unit_test(pings_are_not_hoarded),
        cmocka_unit_test(a_talkative_hand_does_not_fill_the_log),
        cmocka_unit_test(credit_is_promised_once),
        cmocka_unit_test(a_long_banner_is_skipped),
        cmocka_unit_test(a_missing_program_is_an_error_of_the_call),
    };
    return cmocka_run_group_tests_name("workspace", tests, NULL, NULL);
}
