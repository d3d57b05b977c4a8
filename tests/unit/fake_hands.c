#include "fake_hands.h"
#include "fake_spawn.h"
#include "fake_wait.h"
#include "base/clock.h"
#include "base/thread.h"
#include "base/vec.h"
#include "workspace/spawn.h"

struct called {
    char *command, *key, *env;
};

struct hands {
    pthread_mutex_t lock;
    struct loop *loop;
    struct fake_gate *gate;
    char *hold;
    unsigned ended;
    VEC(struct called) calls;
};

struct hands *hands_new(struct loop *loop, const struct hands_config *config, struct err **e)
{
    (void)config;
    (void)e;
    struct hands *h = xcalloc(1, sizeof(*h));
    pthread_mutex_init(&h->lock, NULL);
    h->loop = loop;
    h->gate = fake_gate_new();
    fake_gate_close(h->gate);
    return h;
}

void hands_close(struct hands *h, void (*done)(void *arg), void *arg)
{
    (void)h;
    done(arg);
}

void hands_free(struct hands *h)
{
    for (size_t i = 0; i < h->calls.n; i++) {
        free(h->calls.at[i].command);
        free(h->calls.at[i].key);
        free(h->calls.at[i].env);
    }
    vec_deinit(&h->calls);
    fake_spawn_forget(h);
    free(h->hold);
    fake_gate_free(h->gate);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

/* ---- what the test says and sees ---- */

void fake_hands_hold(struct hands *h, const char *text)
{
    WITH_LOCK(&h->lock)
    {
        free(h->hold);
        h->hold = str_dup(str_from(text));
    }
    fake_gate_close(h->gate);
}

void fake_hands_let(struct hands *h)
{
    WITH_LOCK(&h->lock)
    free(steal(h->hold));
    fake_gate_open(h->gate);
}

unsigned fake_hands_held(struct hands *h)
{
    return fake_gate_waiting(h->gate);
}

unsigned fake_hands_ran(struct hands *h, const char *command)
{
    unsigned n = 0;
    WITH_LOCK(&h->lock)
    for (size_t i = 0; i < h->calls.n; i++)
        n += !command || strcmp(h->calls.at[i].command, command) == 0;
    return n;
}

bool fake_hands_doubled(struct hands *h)
{
    bool doubled = false;
    WITH_LOCK(&h->lock)
    for (size_t i = 0; i < h->calls.n; i++)
        for (size_t k = 0; k < i; k++)
            doubled |= strcmp(h->calls.at[i].key, h->calls.at[k].key) == 0;
    return doubled;
}

unsigned fake_hands_ended(struct hands *h)
{
    unsigned n = 0;
    WITH_LOCK(&h->lock)
    n = h->ended;
    return n;
}

const char *fake_hands_env(struct hands *h, const char *command)
{
    const char *env = "";
    WITH_LOCK(&h->lock)
    for (size_t i = 0; i < h->calls.n; i++)
        if (strcmp(h->calls.at[i].command, command) == 0)
            env = h->calls.at[i].env;
    return env;
}

/* ---- calls ---- */

/* True if the call has to wait at the gate. */
static bool note_call(struct hands *h, struct str fields)
{
    struct str command = wire_get_str(fields, F_COMMAND), env = wire_get_str(fields, F_ENV);
    bool held = false;
    WITH_LOCK(&h->lock)
    {
        struct called c = {str_dup(command), str_dup(wire_get_str(fields, F_KEY)),
                           str_dup(env.p ? env : STR(""))};
        vec_push(&h->calls, c);
        held = h->hold && strstr(c.command, h->hold);
    }
    fake_changed();
    return held;
}

static void answer_terminal(struct str fields, struct buf *out)
{
    autobuf text = {0};
    struct str command = wire_get_str(fields, F_COMMAND);
    buf_addf(&text, "ran %.*s\n", STR_ARG(command));
    for (int64_t i = 0, n = 0;
         str_starts(command, STR("big ")) && str_to_i64(str_sub(command, 4, command.n), &n) && i < n; i++)
        buf_addf(&text, "%063d\n", (int)i);
    wire_add_int(out, F_STATUS, WIRE_OK);
    wire_add_int(out, F_KIND, TERMINAL_COMPLETED);
    wire_add_int(out, F_EXIT_CODE, 0);
    wire_add_str(out, F_TEXT, buf_str(&text));
    wire_add_str(out, F_CWD, STR("/work"));
}

bool hand_call_wait(struct hands *h, const struct hand_spec *hand, enum wire_op op, struct buf *fields,
                    uint64_t timeout_ms, struct mailbox *mailbox, struct buf *result, struct buf *data,
                    size_t data_max, struct err **e)
{
    (void)hand;
    (void)timeout_ms;
    (void)data_max;
    if (data)
        buf_clear(data);
    autobuf answer = {0};
    if (op == OP_TERMINAL) {
        if (note_call(h, buf_str(fields)) && !fake_gate_pass(h->gate, mailbox)) {
            buf_deinit(fields);
            return err_set(e, ERR_CANCELLED, "the call was cancelled");
        }
        answer_terminal(buf_str(fields), &answer);
    } else {
        wire_add_int(&answer, F_STATUS, WIRE_OK);
        wire_add_str(&answer, F_TEXT, STR("edited"));
    }
    buf_deinit(fields);
    buf_deinit(result);
    *result = answer;
    answer = (struct buf){0};
    return true;
}

struct fake_answer {
    const struct hand_callbacks *callbacks;
    void *arg;
};

static void answer_arrived(void *arg)
{
    struct fake_answer *a = arg;
    autobuf fields = {0};
    wire_add_int(&fields, F_STATUS, WIRE_OK);
    a->callbacks->on_done(a->arg, buf_str(&fields), NULL);
    free(a);
}

uint64_t hand_call(struct hands *h, const struct hand_spec *hand, enum wire_op op, struct buf *fields,
                   uint64_t timeout_ms, bool auto_credit, const struct hand_callbacks *callbacks, void *arg)
{
    (void)hand;
    (void)timeout_ms;
    (void)auto_credit;
    if (op == OP_SPAWN) {
        uint64_t call = fake_spawn_begin(h, h->loop, buf_str(fields), callbacks, arg);
        buf_deinit(fields);
        return call;
    }
    struct fake_answer *a = xcalloc(1, sizeof(*a));
    *a = (struct fake_answer){callbacks, arg};
    buf_deinit(fields);
    loop_call(h->loop, answer_arrived, a);
    return 1;
}

void hand_credit(struct hands *h, uint64_t call, enum wire_stream stream, uint32_t bytes)
{
    fake_spawn_give(h, call, stream, bytes);
}

void hand_send(struct hands *h, uint64_t call, struct buf *data)
{
    (void)h;
    (void)call;
    buf_deinit(data);
}

void hand_send_end(struct hands *h, uint64_t call)
{
    (void)h;
    (void)call;
}

void hand_cancel(struct hands *h, uint64_t call)
{
    fake_spawn_cancel(h, call);
}

void hand_end(struct hands *h, const struct uuid *id)
{
    (void)id;
    WITH_LOCK(&h->lock)
    h->ended++;
    fake_changed();
}

bool hand_spawn_wait(struct hands *h, const struct hand_spec *hand, struct buf *fields, struct hand_spawn *s,
                     struct mailbox *mailbox, struct err **e)
{
    (void)hand;
    bool passed = !note_call(h, buf_str(fields)) || fake_gate_pass(h->gate, mailbox);
    buf_deinit(fields);
    s->status = WIRE_OK;
    s->exit_code = 0;
    return passed || err_set(e, ERR_CANCELLED, "the call was cancelled");
}

void hand_spawn_start(struct hands *h, const struct hand_spec *hand, struct buf *fields,
                      const struct hand_spawn *s,
                      void (*done)(void *arg, struct hand_spawn *s, const struct err *e), void *arg)
{
    (void)hand;
    struct hand_spawn answer = {.output_max = s->output_max, .status = WIRE_OK};
    note_call(h, buf_str(fields));
    buf_deinit(fields);
    if (done)
        done(arg, &answer, NULL);
}
