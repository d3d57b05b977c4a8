#include "workspace/spawn.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "workspace/internal.h"

#define ANSWER_SLACK_MS \
    5000                   /* the hand ends the process at its timeout; past this much more it is given up */
#define CANCEL_WAIT_MS 800 /* for the end of a cancelled call */

static uint64_t spawn_begin(struct hands *h, uint64_t number, const struct hand_spec *hand,
                            struct buf *fields, struct str input, uint64_t timeout_ms,
                            const struct hand_callbacks *callbacks, void *arg)
{
    struct buf copy = {0};
    buf_add(&copy, input);
    wire_add_int(fields, F_TIMEOUT_MS, (int64_t)timeout_ms);
    hand_call_numbered(h, number, hand, OP_SPAWN, fields, timeout_ms + ANSWER_SLACK_MS, true, callbacks, arg);
    hand_send(h, number, &copy);
    hand_send_end(h, number);
    return number;
}

/* ---- waited for ---- */

/* The answer under way: the call's until it ends, then the mailbox's. */
struct answer {
    struct mail mail;
    struct mailbox *mailbox;
    struct hands *hands;
    uint64_t number;
    size_t output_max, printed;
    bool overflow;
    struct buf out, err, result;
    struct err *error;
};

static void answer_free(struct mail *mail)
{
    struct answer *a = CONTAINER_OF(mail, struct answer, mail);
    buf_deinit(&a->out);
    buf_deinit(&a->err);
    buf_deinit(&a->result);
    err_free(a->error);
    free(a);
}

static void on_data(void *arg, enum wire_stream stream, struct str data)
{
    struct answer *a = arg;
    struct buf *to = stream == WIRE_STDOUT ? &a->out : &a->err;
    buf_add(to, str_sub(data, 0, a->output_max - to->n));
    a->printed += data.n;
    if (a->overflow || a->printed <= HAND_SPAWN_PRINTED_MAX)
        return;
    a->overflow = true;
    hand_cancel(a->hands, a->number);
}

static void on_done(void *arg, struct str fields, const struct err *e)
{
    struct answer *a = arg;
    struct mailbox *mailbox = a->mailbox;
    if (a->overflow)
        err_set(&a->error, ERR_TOO_LARGE, "it printed more than %d MiB", HAND_SPAWN_PRINTED_MAX >> 20);
    else if (e)
        a->error = err_copy(e);
    else
        buf_add(&a->result, fields);
    mailbox_post(mailbox, &a->mail); /* frees it if nobody waits any more */
    mailbox_unref(mailbox);
}

static bool answer_take(struct answer *a, struct hand_spawn *s, struct err **e)
{
    struct str fields = buf_str(&a->result);
    bool ok = !a->error;
    s->out = a->out;
    s->err = a->err;
    a->out = a->err = (struct buf){0};
    if (ok) {
        s->status = (enum wire_status)wire_get_int(fields, F_STATUS, WIRE_IO);
        s->exit_code = wire_get_int(fields, F_EXIT_CODE, -1);
    }
    if (ok && s->status != WIRE_OK && s->status != WIRE_TIMEOUT) {
        struct str why = wire_get_str(fields, F_MESSAGE);
        ok = err_set(e, ERR_INVALID, "%.*s", (int)(why.n < 500 ? why.n : 500),
                     why.n ? why.p : "it did not start");
    } else if (!ok && e && !*e) {
        *e = steal(a->error);
    }
    answer_free(&a->mail);
    return ok;
}

bool hand_spawn_wait(struct hands *h, const struct hand_spec *hand, struct buf *fields, struct hand_spawn *s,
                     struct mailbox *mailbox, struct err **e)
{
    static const struct hand_callbacks callbacks = {.on_data = on_data, .on_done = on_done};
    struct answer *a = xcalloc(1, sizeof(*a));
    uint64_t tag = mailbox_tag(mailbox), number = hand_call_number(h);
    a->mail = (struct mail){.tag = tag, .free = answer_free};
    a->mailbox = mailbox_ref(mailbox);
    a->hands = h;
    a->number = number;
    a->output_max = s->output_max;
    s->exit_code = -1;
    spawn_begin(h, number, hand, fields, s->input, s->timeout_ms, &callbacks, a);

    struct mail *mail = NULL;
    if (mailbox_wait(mailbox, tag, 0, true, &mail) == MAILBOX_MAIL)
        return answer_take(CONTAINER_OF(mail, struct answer, mail), s, e);
    hand_cancel(h, number);
    uint64_t until = clock_mono_ns() + CANCEL_WAIT_MS * NS_PER_MS;
    if (mailbox_wait(mailbox, tag, until, false, &mail) == MAILBOX_MAIL)
        mail->free(mail);
    else
        mailbox_forget(mailbox, tag);
    return err_set(e, ERR_CANCELLED, "the call was cancelled");
}

/* ---- not waited for ---- */

struct started {
    void (*done)(void *arg, struct str fields, const struct err *e);
    void *arg;
};

static void started_done(void *arg, struct str fields, const struct err *e)
{
    struct started *s = arg;
    if (s->done)
        s->done(s->arg, fields, e);
    free(s);
}

void hand_spawn_start(struct hands *h, const struct hand_spec *hand, struct buf *fields, struct str input,
                      uint64_t timeout_ms, void (*done)(void *arg, struct str fields, const struct err *e),
                      void *arg)
{
    static const struct hand_callbacks callbacks = {.on_done = started_done};
    struct started *s = xcalloc(1, sizeof(*s));
    *s = (struct started){done, arg};
    spawn_begin(h, hand_call_number(h), hand, fields, input, timeout_ms, &callbacks, s);
}
