/* hand_call_wait: a call from a conversation thread, waited for in the run's mailbox. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "workspace/internal.h"

/* The run has to be free within a second of its cancel. */
#define INTERRUPT_WAIT_MS \
    500 /* for a terminal's command to end by Ctrl-C; then its call is cancelled as any other */
#define CANCEL_WAIT_MS 400 /* for the end of a cancelled call */

/* The answer under way: the call's until it ends, then the mailbox's. */
struct waiter {
    struct mail mail;
    struct mailbox *mailbox;
    struct hands *hands;
    uint64_t number;
    struct buf result, data;
    size_t data_max;
    bool overflow;
    struct err *error;
};

static void waiter_free(struct mail *mail)
{
    struct waiter *w = CONTAINER_OF(mail, struct waiter, mail);
    buf_deinit(&w->result);
    buf_deinit(&w->data);
    err_free(w->error);
    free(w);
}

static void on_data(void *arg, enum wire_stream stream, struct str data)
{
    struct waiter *w = arg;
    if (stream != WIRE_STDOUT || w->overflow)
        return;
    if (data.n > w->data_max - w->data.n) {
        w->overflow = true;
        buf_deinit(&w->data);
        hand_cancel(w->hands, w->number);
        return;
    }
    buf_add(&w->data, data);
}

static void on_done(void *arg, struct str fields, const struct err *e)
{
    struct waiter *w = arg;
    struct mailbox *mailbox = w->mailbox;
    if (w->overflow)
        err_set(&w->error, ERR_TOO_LARGE, "more than %zu bytes were answered", w->data_max);
    else if (e)
        w->error = err_copy(e);
    else
        buf_add(&w->result, fields);
    mailbox_post(mailbox, &w->mail); /* frees it if nobody waits any more */
    mailbox_unref(mailbox);
}

static const struct hand_callbacks waiting_callbacks = {.on_data = on_data, .on_done = on_done};
static const struct hand_callbacks dropping_callbacks = {.on_done = on_done}; /* nobody wants the data */

static void on_interrupted(void *arg, struct str fields, const struct err *e)
{
    (void)arg;
    (void)fields;
    (void)e;
}

static const struct hand_callbacks interrupt_callbacks = {.on_done = on_interrupted};

/* Ctrl-C for what runs in the terminal; without it only the call would end. */
static void terminal_interrupt(struct hands *h, const struct hand_spec *hand, struct str name)
{
    struct buf fields = {0};
    if (name.p)
        wire_add_str(&fields, F_NAME, name);
    hand_call(h, hand, OP_TERMINAL_INTERRUPT, &fields, HAND_CANCEL_MS, true, &interrupt_callbacks, NULL);
}

static bool take_answer(struct waiter *w, struct buf *result, struct buf *data, struct err **e)
{
    bool ok = !w->error;
    if (!ok) {
        if (e && !*e) {
            *e = w->error;
            w->error = NULL;
        }
    } else {
        buf_deinit(result);
        *result = w->result;
        w->result = (struct buf){0};
        if (data) {
            buf_deinit(data);
            *data = w->data;
            w->data = (struct buf){0};
        }
    }
    waiter_free(&w->mail);
    return ok;
}

/* Waits for an answer that nobody wants any more. */
static bool wait_for(struct mailbox *mailbox, uint64_t tag, uint64_t ms)
{
    struct mail *mail = NULL;
    if (mailbox_wait(mailbox, tag, clock_mono_ns() + ms * NS_PER_MS, false, &mail) != MAILBOX_MAIL)
        return false;
    mail->free(mail);
    return true;
}

bool hand_call_wait(struct hands *h, const struct hand_spec *hand, enum wire_op op, struct buf *fields,
                    uint64_t timeout_ms, struct mailbox *mailbox, struct buf *result, struct buf *data,
                    size_t data_max, struct err **e)
{
    uint64_t tag = mailbox_tag(mailbox);
    uint64_t number = hand_call_number(h);
    struct waiter *w = xcalloc(1, sizeof(*w));
    autobuf name = {0};
    if (op == OP_TERMINAL && fields)
        buf_add(&name, wire_get_str(buf_str(fields), F_NAME));
    w->mail.tag = tag;
    w->mail.free = waiter_free;
    w->mailbox = mailbox_ref(mailbox);
    w->hands = h;
    w->number = number;
    w->data_max = data ? data_max : SIZE_MAX;
    hand_call_numbered(h, number, hand, op, fields, timeout_ms, true,
                       data ? &waiting_callbacks : &dropping_callbacks, w);

    struct mail *mail = NULL;
    if (mailbox_wait(mailbox, tag, 0, true, &mail) == MAILBOX_MAIL)
        return take_answer(CONTAINER_OF(mail, struct waiter, mail), result, data, e);
    if (op == OP_TERMINAL)
        terminal_interrupt(h, hand, buf_str(&name));
    if (op != OP_TERMINAL || !wait_for(mailbox, tag, INTERRUPT_WAIT_MS)) {
        hand_cancel(h, number);
        if (!wait_for(mailbox, tag, CANCEL_WAIT_MS))
            mailbox_forget(mailbox, tag);
    }
    return err_set(e, ERR_CANCELLED, "the call was cancelled");
}
