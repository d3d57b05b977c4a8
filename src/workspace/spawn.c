#include "workspace/spawn.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "workspace/internal.h"

#define ANSWER_SLACK_MS \
    5000                   /* the hand ends the process at its timeout; past this much more it is given up */
#define REASON_MAX 500     /* bytes of the hand's reason */
#define CANCEL_WAIT_MS 800 /* for the end of a cancelled call */

/* The answer under way: the call's until it ends, then the mailbox's or `done`'s. */
struct answer {
    struct mail mail;
    struct mailbox *mailbox; /* NULL: `done` instead */
    void (*done)(void *arg, struct hand_spawn *s, const struct err *e);
    void *arg;
    struct hands *hands;
    uint64_t number;
    struct hand_spawn spawn;
    size_t printed;
    bool overflow;
    struct err *error;
};

static void answer_free(struct mail *mail)
{
    struct answer *a = CONTAINER_OF(mail, struct answer, mail);
    buf_deinit(&a->spawn.out);
    buf_deinit(&a->spawn.err);
    err_free(a->error);
    free(a);
}

static struct answer *answer_new(struct hands *h, const struct hand_spawn *s)
{
    struct answer *a = xcalloc(1, sizeof(*a));
    a->hands = h;
    a->number = hand_call_number(h);
    a->spawn = (struct hand_spawn){.output_max = s->output_max, .status = WIRE_IO, .exit_code = -1};
    return a;
}

static void on_data(void *arg, enum wire_stream stream, struct str data)
{
    struct answer *a = arg;
    struct buf *to = stream == WIRE_STDOUT ? &a->spawn.out : &a->spawn.err;
    buf_add(to, str_sub(data, 0, a->spawn.output_max - to->n));
    a->printed += data.n;
    if (a->overflow || a->printed <= HAND_SPAWN_PRINTED_MAX)
        return;
    a->overflow = true;
    hand_cancel(a->hands, a->number);
}

static void result_read(struct answer *a, struct str fields)
{
    struct hand_spawn *s = &a->spawn;
    s->status = wire_get_status(fields);
    s->exit_code = wire_get_int(fields, F_EXIT_CODE, -1);
    if (s->status == WIRE_OK || s->status == WIRE_TIMEOUT)
        return;
    struct str why = wire_get_str(fields, F_MESSAGE);
    if (why.n == 0)
        why = STR("the hand did not start it");
    err_set(&a->error, ERR_INVALID, "%.*s", STR_ARG(str_sub(why, 0, REASON_MAX)));
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
        result_read(a, fields);
    if (mailbox) {
        mailbox_post(mailbox, &a->mail); /* frees it if nobody waits any more */
        mailbox_unref(mailbox);
        return;
    }
    if (a->done)
        a->done(a->arg, &a->spawn, a->error);
    answer_free(&a->mail);
}

static void answer_begin(struct answer *a, const struct hand_spec *hand, struct buf *fields,
                         const struct hand_spawn *s)
{
    static const struct hand_callbacks callbacks = {.on_data = on_data, .on_done = on_done};
    struct hands *h = a->hands;
    uint64_t number = a->number;
    struct buf input = {0};
    buf_add(&input, s->input);
    wire_add_int(fields, F_TIMEOUT_MS, (int64_t)s->timeout_ms);
    hand_call_numbered(h, number, hand, OP_SPAWN, fields, s->timeout_ms + ANSWER_SLACK_MS, true, &callbacks,
                       a);
    hand_send(h, number, &input);
    hand_send_end(h, number);
}

static bool answer_take(struct answer *a, struct hand_spawn *s, struct err **e)
{
    bool ok = !a->error;
    s->out = a->spawn.out;
    s->err = a->spawn.err;
    s->status = a->spawn.status;
    s->exit_code = a->spawn.exit_code;
    a->spawn.out = a->spawn.err = (struct buf){0};
    if (!ok && e && !*e)
        *e = steal(a->error);
    answer_free(&a->mail);
    return ok;
}

bool hand_spawn_wait(struct hands *h, const struct hand_spec *hand, struct buf *fields, struct hand_spawn *s,
                     struct mailbox *mailbox, struct err **e)
{
    struct answer *a = answer_new(h, s);
    uint64_t tag = mailbox_tag(mailbox), number = a->number;
    a->mail = (struct mail){.tag = tag, .free = answer_free};
    a->mailbox = mailbox_ref(mailbox);
    answer_begin(a, hand, fields, s);

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

void hand_spawn_start(struct hands *h, const struct hand_spec *hand, struct buf *fields,
                      const struct hand_spawn *s,
                      void (*done)(void *arg, struct hand_spawn *s, const struct err *e), void *arg)
{
    struct answer *a = answer_new(h, s);
    a->done = done;
    a->arg = arg;
    answer_begin(a, hand, fields, s);
}
