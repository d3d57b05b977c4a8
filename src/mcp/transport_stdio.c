/* A process of the hand's: one message a line on its standard streams. */
#include "base/cleanup.h"
#include "base/utf8.h"
#include "mcp/message.h"
#include "mcp/transport.h"

#define OUTPUT_MAX (8 * 1024 * 1024) /* bytes that wait for a server to read them; past it it is given up */

struct stdio {
    struct mcp_transport base;
    struct hands *hands;
    uint64_t call;
    struct buf line;   /* of what it wrote, the beginning of a message */
    struct buf output; /* what it is still to be sent */
    uint64_t sent, room;
    struct buf complaints; /* the end of its standard error */
    bool line_dropped;     /* … whose last line is too long and not kept */
};

static void ended(struct stdio *s, enum err_kind kind, const char *what)
{
    autoerr e = NULL;
    autobuf valid = {0};
    if (!s->base.events)
        return;
    utf8_scrub(&valid, str_trim(buf_str(&s->complaints)));
    err_set(&e, kind, "%s%s%.*s", what, valid.n ? ". It wrote: " : "", STR_ARG(buf_str(&valid)));
    s->base.events->ended(s->base.arg, e);
}

/* --- what it writes --- */

static void line_end(struct stdio *s)
{
    struct buf text = s->line;
    s->line = (struct buf){0};
    if (str_trim(buf_str(&text)).n > 0 && s->base.events)
        s->base.events->message(s->base.arg, &text);
    buf_deinit(&text);
}

static void on_output(struct stdio *s, struct str data)
{
    struct str part;
    while (s->base.events && data.n > 0) {
        ssize_t end = str_find_char(data, '\n');
        part = end < 0 ? data : str_sub(data, 0, (size_t)end);
        if (s->line.n + part.n > MCP_MESSAGE_MAX) {
            buf_deinit(&s->line);
            return ended(s, ERR_UPSTREAM, "it wrote a message that is too large");
        }
        buf_add(&s->line, part);
        data = str_sub(data, end < 0 ? data.n : (size_t)end + 1, data.n);
        if (end >= 0)
            line_end(s);
    }
}

/* Keeps the end, from the beginning of a line: half of a secret would not be known as one. */
static void complain(struct stdio *s, struct str data)
{
    ssize_t end = s->line_dropped ? str_find_char(data, '\n') : -1;
    if (s->line_dropped && end < 0)
        return;
    s->line_dropped = false;
    buf_add(&s->complaints, str_sub(data, (size_t)(end + 1), data.n));
    if (s->complaints.n <= MCP_STDERR_MAX)
        return;
    size_t cut = s->complaints.n - MCP_STDERR_MAX - 1;
    end = str_find_char(str_sub(buf_str(&s->complaints), cut, s->complaints.n), '\n');
    s->line_dropped = end < 0;
    buf_consume(&s->complaints, end < 0 ? s->complaints.n : cut + (size_t)end + 1);
}

static void on_data(void *arg, enum wire_stream stream, struct str data)
{
    struct stdio *s = arg;
    if (!s->base.events)
        return;
    if (stream == WIRE_STDOUT)
        return on_output(s, data);
    complain(s, data);
}

static void on_done(void *arg, struct str fields, const struct err *e)
{
    struct stdio *s = arg;
    autobuf what = {0};
    enum err_kind kind = ERR_UPSTREAM;
    if (e) {
        kind = e->kind;
        buf_addf(&what, "the process that runs it is gone (%s)", e->text);
    } else if (wire_get_int(fields, F_STATUS, WIRE_OK) != WIRE_OK) {
        buf_addf(&what, "it could not be started: %.*s", STR_ARG(wire_get_str(fields, F_MESSAGE)));
    } else {
        long long code = (long long)wire_get_int(fields, F_EXIT_CODE, -1);
        if (code < 0)
            buf_addf(&what, "it was ended by signal %lld", -code);
        else
            buf_addf(&what, "it ended with exit code %lld", code);
    }
    ended(s, kind, what.p);
    buf_deinit(&s->line);
    buf_deinit(&s->output);
    buf_deinit(&s->complaints);
    s->call = HAND_CALL_NONE;
    if (!s->base.events)
        free(s);
}

/* --- what it reads --- */

static void output_send(struct stdio *s)
{
    uint64_t left = s->room - s->sent;
    size_t n = s->output.n < left ? s->output.n : (size_t)left;
    if (n == 0 || s->call == HAND_CALL_NONE)
        return;
    autobuf piece = {0};
    buf_add(&piece, str_sub(buf_str(&s->output), 0, n));
    buf_consume(&s->output, n);
    s->sent += n;
    hand_send(s->hands, s->call, &piece);
}

static void on_writable(void *arg, uint64_t total)
{
    struct stdio *s = arg;
    if (total > s->room)
        s->room = total;
    if (s->base.events)
        output_send(s);
}

static void stdio_send(struct mcp_transport *t, struct str json, int64_t request)
{
    struct stdio *s = (struct stdio *)t;
    (void)request;
    if (!t->events || s->call == HAND_CALL_NONE)
        return;
    if (s->output.n + json.n > OUTPUT_MAX)
        return ended(s, ERR_UPSTREAM, "it does not read what it is sent");
    buf_add(&s->output, json);
    buf_add_char(&s->output, '\n');
    output_send(s);
}

static void stdio_cancel(struct mcp_transport *t, int64_t request)
{
    (void)t;
    (void)request;
}

static void stdio_agreed(struct mcp_transport *t, struct str version)
{
    (void)t;
    (void)version;
}

static void stdio_close(struct mcp_transport *t)
{
    struct stdio *s = (struct stdio *)t;
    t->events = NULL;
    if (s->call == HAND_CALL_NONE) {
        free(s);
        return;
    }
    hand_send_end(s->hands, s->call);
    hand_cancel(s->hands, s->call);
}

static const struct mcp_transport_kind_ops ops = {
    .send = stdio_send, .cancel = stdio_cancel, .agreed = stdio_agreed, .close = stdio_close};

struct mcp_transport *mcp_stdio_new(const struct mcp_context *context, const struct hand_spec *hand,
                                    const struct mcp_server_config *config,
                                    const struct mcp_transport_events *events, void *arg)
{
    static const struct hand_callbacks callbacks = {
        .on_data = on_data, .on_done = on_done, .on_writable = on_writable};
    struct stdio *s = xcalloc(1, sizeof(*s));
    autobuf fields = {0}, cwd = {0};
    s->base = (struct mcp_transport){&ops, events, arg};
    s->hands = context->hands;
    s->room = WIRE_CREDIT_INITIAL;
    wire_add_str(&fields, F_ARG, config->command);
    for (size_t i = 0; i < config->args.n; i++)
        wire_add_str(&fields, F_ARG, config->args.at[i]);
    for (size_t i = 0; i < config->env.n; i++)
        wire_add_str(&fields, F_ENV, config->env.at[i]);
    if (config->cwd.n > 0) {
        if (config->cwd.p[0] != '/')
            buf_addf(&cwd, "%.*s/", STR_ARG(hand->working_dir));
        buf_add(&cwd, config->cwd);
        wire_add_str(&fields, F_CWD, buf_str(&cwd));
    }
    s->call = hand_call(s->hands, hand, OP_SPAWN, &fields, 0, true, &callbacks, s);
    return &s->base;
}
