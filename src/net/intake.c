/* Bodies that a handler takes in pieces. The request is with its handler from its head on; the connection stays in
 * PHASE_BODY and hands over what the parser finds, as far as the handler has room.
 *
 * on_data runs inside the parser, over the connection's own buffer. So an answer that is given there, or in any other
 * callback while input is being looked at, is sent in a later turn of the loop. */
#include "base/cleanup.h"
#include "net/connection.h"

struct intake {
    const struct body_callbacks *callbacks; /* NULL: the handler has not asked yet */
    void *arg;
    uint64_t delivered, taken;
    bool answered; /* the handler wants nothing more */
    bool ended;    /* all is there */
    int status;    /* of a body that went wrong; 0: none */
    const char *problem;
    struct request *held;   /* an answer that waits for the rest of a short body */
    bool waiting;           /* for the handler, … */
    uint64_t since, waited; /* … ms */
};

bool intake_full(const struct connection *c)
{
    const struct intake *in = c->intake;
    return in && c->phase == PHASE_BODY && !in->answered &&
           (!in->callbacks || in->delivered - in->taken >= BODY_AHEAD_MAX);
}

/* After each change of what intake_full looks at. */
static void intake_note(struct connection *c)
{
    struct intake *in = c->intake;
    bool waiting = intake_full(c);
    uint64_t now = uv_now(c->server->uv);
    if (in->waiting && !waiting)
        in->waited += now - in->since;
    if (!in->waiting && waiting)
        in->since = now;
    in->waiting = waiting;
}

uint64_t intake_waited_ms(const struct connection *c)
{
    return c->intake ? c->intake->waited : 0;
}

void intake_begin(struct connection *c)
{
    c->intake = xcalloc(1, sizeof(*c->intake));
    c->parser.on_body = intake_data;
    c->parser.on_body_arg = c;
    intake_note(c);
}

/* ---- what comes from the client ---- */

static bool handler_listens(const struct intake *in)
{
    return in->callbacks && !in->answered;
}

void intake_data(void *connection, struct str data)
{
    struct connection *c = connection;
    struct intake *in = c->intake;
    if (!in) /* answered before its end: nothing of it matters any more */
        return;
    in->delivered += data.n;
    if (handler_listens(in))
        in->callbacks->on_data(in->arg, data);
    intake_note(c);
}

static void intake_drop(struct connection *c)
{
    free(steal(c->intake));
    c->parser.on_body = NULL;
    c->parser.discard = true;
}

/* The body is over, well or not: the held answer may go, or the handler hears of it. */
static void intake_over(struct connection *c, const struct err *e)
{
    struct intake *in = c->intake;
    c->phase = PHASE_BUSY;
    deadline_clear(&c->read_deadline);
    intake_note(c);
    if (in->held) {
        struct request *r = steal(in->held);
        intake_drop(c);
        response_answer(r);
    } else if (handler_listens(in) && in->callbacks->on_end) {
        in->callbacks->on_end(in->arg, e);
    }
}

void intake_end(struct connection *c)
{
    c->intake->ended = true;
    intake_over(c, NULL);
}

void intake_fail(struct connection *c, int status, const char *problem)
{
    autoerr e = NULL;
    c->intake->status = status;
    c->intake->problem = problem;
    c->close_after = true;
    err_set(&e, ERR_CANCELLED, "%s", problem);
    intake_over(c, e);
}

static void tell_gone(const struct body_callbacks *callbacks, void *arg)
{
    autoerr e = NULL;
    err_set(&e, ERR_CANCELLED, "the client has gone");
    if (callbacks->on_end)
        callbacks->on_end(arg, e);
}

void intake_closed(struct connection *c)
{
    struct intake *in = steal(c->intake);
    if (in->held)
        request_free(steal(in->held));
    else if (handler_listens(in) && !in->ended && !in->status)
        tell_gone(in->callbacks, in->arg);
    free(in);
}

/* ---- what comes from the handler ---- */

static struct connection *connection_of(const struct request *r)
{
    struct connection *c = server_connection(r->server, r->slot, r->generation);
    return c && c->number == r->number && c->intake ? c : NULL;
}

void request_body_read(struct request *r, const struct body_callbacks *callbacks, void *arg)
{
    struct connection *c = connection_of(r);
    if (!c) {
        tell_gone(callbacks, arg);
        return;
    }
    struct intake *in = c->intake;
    in->callbacks = callbacks;
    in->arg = arg;
    intake_note(c);
    if (in->ended || in->status) {
        autoerr e = NULL;
        if (in->status)
            err_set(&e, ERR_CANCELLED, "%s", in->problem);
        if (callbacks->on_end)
            callbacks->on_end(arg, e);
        return;
    }
    if (r->head.expect_continue)
        dispatch_continue(c);
    connection_resume(c);
}

void request_body_taken(struct request *r, size_t n)
{
    struct connection *c = connection_of(r);
    if (!c)
        return;
    bool full = intake_full(c);
    c->intake->taken += n;
    intake_note(c);
    if (full && !intake_full(c))
        connection_resume(c);
}

/* ---- the answer ---- */

/* What was wrong with the body goes before what its handler could make of it. */
static bool answer_replaced(struct connection *c, struct request *r)
{
    int status = c->intake->status;
    const char *problem = c->intake->problem;
    intake_drop(c);
    if (r->stream) {
        stream_begin(NULL, r);
        connection_close(c);
        return true;
    }
    bytes_unref(steal(r->shared));
    buf_clear(&r->headers);
    request_reply_detail(r, status, problem);
    return true;
}

bool intake_answer(struct connection *c, struct request *r)
{
    struct intake *in = c->intake;
    in->answered = true;
    if (c->feeding) {
        response_later(r);
        return true;
    }
    if (in->status)
        return answer_replaced(c, r);
    if (!in->ended) {
        bool asked = in->callbacks || !r->head.expect_continue;
        if (asked && !r->stream && r->head.has_length && r->head.length - c->parser.body_n <= DISCARD_MAX) {
            in->held = r;
            intake_note(c);
            connection_resume(c);
            return true;
        }
        c->close_after = true;
    }
    intake_drop(c);
    return false;
}
