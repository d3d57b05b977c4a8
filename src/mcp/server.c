/* One server: its connection, its calls, and its deadlines. Loop thread. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "mcp/internal.h"

#define GARBAGE_SHOWN 100 /* bytes */

/* --- ends --- */

static void call_unlink(struct mcp_call *call)
{
    struct mcp_server *s = call->server;
    *call->link = call->next;
    if (call->next)
        call->next->link = call->link;
    else
        s->calls_end = call->link;
    s->call_count--;
    loop_timer_cancel(s->mcp->context.loop, call->timer);
}

void mcp_call_end(struct mcp_call *call, struct mcp_doc *doc, const struct json_value *result,
                  const struct err *e)
{
    struct mailbox *mailbox = call->mailbox;
    call_unlink(call);
    call->doc = doc ? mcp_doc_ref(doc) : NULL;
    call->result = result;
    call->error = e ? err_copy(e) : NULL;
    mailbox_post(mailbox, &call->mail); /* frees it if nobody waits any more */
    mailbox_unref(mailbox);
}

static void connection_close(struct mcp_server *s)
{
    struct mcp_transport *t = s->transport;
    s->transport = NULL;
    s->epoch++;
    loop_timer_cancel(s->mcp->context.loop, s->start_timer);
    s->start_timer = 0;
    mcp_client_deinit(&s->client);
    if (t)
        t->ops->close(t);
}

/* What waits for it learns why. Calls that were not sent yet, too: the next one starts it again. */
static void calls_fail(struct mcp_server *s, const struct err *why)
{
    autoerr e = NULL;
    err_set(&e, why->kind == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_GONE, "the MCP server '%.*s' failed: %s",
            STR_ARG(s->config.name), why->text);
    while (s->calls)
        mcp_call_end(s->calls, NULL, NULL, e);
}

static struct err *hidden(const struct mcp_server *s, const struct err *why)
{
    struct err *e = NULL;
    autobuf text = {0};
    mcp_hide(&s->config, str_from(why->text), &text);
    err_set(&e, why->kind, "%.*s", STR_ARG(buf_str(&text)));
    return e;
}

static void server_fail(struct mcp_server *s, const struct err *reason)
{
    autoerr why = hidden(s, reason);
    bool was_ready = s->client.phase == MCP_PHASE_READY, silent = false;
    /* Its hand was ended or killed while nobody used it: that is no fault, and the next use starts it again. */
    silent = why->kind == ERR_GONE && was_ready && !s->calls;
    connection_close(s);
    calls_fail(s, why);
    server_publish(s, silent ? MCP_IDLE : MCP_FAILED, silent ? NULL : why);
}

static void server_fail_text(struct mcp_server *s, enum err_kind kind, const char *text)
{
    autoerr e = NULL;
    err_set(&e, kind, "%s", text);
    server_fail(s, e);
}

static void on_start_timeout(void *arg)
{
    struct mcp_server *s = arg;
    autoerr e = NULL;
    s->start_timer = 0;
    err_set(&e, ERR_TIMEOUT, "it was not ready within %.4g seconds", (double)s->config.start_ms / 1000);
    server_fail(s, e);
}

void server_close(struct mcp_server *s)
{
    autoerr e = NULL;
    err_set(&e, ERR_GONE, "the conversation is closed");
    connection_close(s);
    calls_fail(s, e);
    server_publish(s, MCP_IDLE, NULL);
}

/* --- calls --- */

/* Ends a call, and tells the server so. In this order: telling may fail, and a server that fails ends all of its calls. */
static void call_give_up(struct mcp_call *call, const struct err *e, const char *reason)
{
    struct mcp_server *s = call->server;
    int64_t request = call->request;
    mcp_call_end(call, NULL, NULL, e);
    if (request && s->transport) {
        s->transport->ops->cancel(s->transport, request);
        mcp_client_cancel(&s->client, request, reason);
    }
}

static void on_call_timeout(void *arg)
{
    struct mcp_call *call = arg;
    struct mcp_server *s = call->server;
    autoerr e = NULL;
    call->timer = 0;
    err_set(&e, ERR_TIMEOUT, "the MCP server '%.*s' did not answer `%.*s` within %.4g seconds",
            STR_ARG(s->config.name), STR_ARG(buf_str(&call->tool)), (double)s->config.call_ms / 1000);
    server_publish(s, MCP_READY, e);
    call_give_up(call, e, "timeout");
}

static void call_send(struct mcp_call *call)
{
    struct mcp_server *s = call->server;
    call->timer = loop_timer(s->mcp->context.loop, s->config.call_ms, on_call_timeout, call);
    if (!mcp_client_call(&s->client, buf_str(&call->tool), buf_str(&call->arguments), &call->request)) {
        autoerr e = NULL;
        err_set(&e, ERR_BUSY, "the MCP server '%.*s' has too much to do at once", STR_ARG(s->config.name));
        mcp_call_end(call, NULL, NULL, e);
    }
}

void server_call(struct mcp_server *s, struct mcp_call *call)
{
    call->link = s->calls_end;
    *s->calls_end = call;
    s->calls_end = &call->next;
    bool busy = s->call_count++ >= MCP_CALLS_MAX;
    if (s->mcp->closed || busy) {
        autoerr e = NULL;
        err_set(&e, busy ? ERR_BUSY : ERR_GONE, "the MCP server '%.*s' %s", STR_ARG(s->config.name),
                busy ? "has too much to do at once" : "has been closed");
        return mcp_call_end(call, NULL, NULL, e);
    }
    if (s->client.phase == MCP_PHASE_READY)
        return call_send(call);
    if (!s->transport) {
        server_publish(s, MCP_STARTING, NULL);
        server_start(s);
    }
}

void server_cancel(struct mcp_server *s, uint64_t number)
{
    for (struct mcp_call *call = s->calls; call; call = call->next) {
        if (call->number != number)
            continue;
        autoerr e = NULL;
        err_set(&e, ERR_CANCELLED, "cancelled");
        return call_give_up(call, e, "cancelled");
    }
}

/* --- what the client says --- */

static void on_send(void *arg, struct str json, int64_t request)
{
    struct mcp_server *s = arg;
    if (s->transport)
        s->transport->ops->send(s->transport, json, request);
}

static struct mcp_call *call_unsent(struct mcp_server *s)
{
    struct mcp_call *call = s->calls;
    while (call && call->timer)
        call = call->next;
    return call;
}

static void on_agreed(void *arg, struct str version)
{
    struct mcp_server *s = arg;
    if (s->transport)
        s->transport->ops->agreed(s->transport, version);
}

static void on_list_timeout(void *arg)
{
    struct mcp_server *s = arg;
    s->start_timer = 0;
    mcp_client_list_cancel(&s->client);
}

static void on_listing(void *arg, bool under_way)
{
    struct mcp_server *s = arg;
    loop_timer_cancel(s->mcp->context.loop, s->start_timer);
    s->start_timer = under_way ? loop_timer(s->mcp->context.loop, s->config.start_ms, on_list_timeout, s) : 0;
    server_publish_listing(s, under_way);
}

static void on_ready(void *arg)
{
    struct mcp_server *s = arg;
    loop_timer_cancel(s->mcp->context.loop, s->start_timer);
    s->start_timer = 0;
    server_publish(s, MCP_READY, NULL);
    struct mcp_call *call;
    while (s->client.phase == MCP_PHASE_READY && (call = call_unsent(s)))
        call_send(call);
}

static void on_tools(void *arg, struct mcp_tool_list *list)
{
    struct mcp_server *s = arg;
    struct mcp_tool_list *old = list;
    WITH_LOCK(&s->mcp->lock)
    if (!mcp_tool_lists_equal(s->tools, list)) {
        old = s->tools;
        s->tools = list;
        s->mcp->generation++;
    }
    mcp_tool_list_unref(old);
}

static void on_answered(void *arg, int64_t request, struct mcp_doc *doc, const struct json_value *result,
                        const struct err *why)
{
    struct mcp_server *s = arg;
    for (struct mcp_call *call = s->calls; call; call = call->next) {
        if (call->request != request)
            continue;
        autoerr e = NULL;
        autoerr told = why ? hidden(s, why) : NULL;
        if (told)
            err_set(&e, told->kind, "the MCP server '%.*s' refused the call: %s", STR_ARG(s->config.name),
                    told->text);
        return mcp_call_end(call, doc, result, e);
    }
}

static void on_broken(void *arg, const struct err *why)
{
    server_fail(arg, why);
}

static const struct mcp_client_events client_events = {.send = on_send,
                                                       .agreed = on_agreed,
                                                       .listing = on_listing,
                                                       .ready = on_ready,
                                                       .tools = on_tools,
                                                       .answered = on_answered,
                                                       .broken = on_broken};

/* --- what it sends --- */

/* A message, or what is none, that no request of ours asked for: so much of it is borne. */
static void unasked(struct mcp_server *s, size_t bytes)
{
    uint64_t now = clock_mono_ns();
    if (now - s->unasked_since_ns > MCP_UNASKED_S * NS_PER_S) {
        s->unasked = 0;
        s->unasked_since_ns = now;
    }
    s->unasked += bytes;
    if (s->unasked > MCP_UNASKED_MAX && s->transport)
        server_fail_text(s, ERR_UPSTREAM, "it sends more than anybody asked for");
}

static void garbage(struct mcp_server *s, struct str text, const struct err *why)
{
    if (s->garbage++ == 0)
        log_info("MCP server '%.*s': %s", STR_ARG(s->config.name), err_text(why));
    if (s->garbage <= MCP_GARBAGE_MAX)
        return unasked(s, text.n);
    autoerr e = NULL;
    err_set(&e, ERR_UPSTREAM, "what it sends is not MCP (%s)", err_text(why));
    server_fail(s, e);
}

/* `doc` is taken; NULL: `why` it could not be parsed. `text` may be cut. */
static void received(struct mcp_server *s, struct json_doc *doc, struct str text, size_t bytes,
                     struct err *why)
{
    autoerr e = NULL;
    uint64_t epoch = s->epoch;
    if (!doc)
        return garbage(s, text, why);
    struct mcp_doc *d = mcp_doc_take(doc);
    bool answered = mcp_client_receive(&s->client, d, &e);
    mcp_doc_unref(d);
    if (epoch != s->epoch)
        return;
    if (e)
        garbage(s, text, e);
    else if (!answered)
        unasked(s, bytes);
}

struct parsing { /* a large message on a worker */
    struct mcp_server *server;
    uint64_t epoch;
    struct buf text;
    struct json_doc *doc;
    struct err *error;
};

static void parsed(void *arg)
{
    struct parsing *p = arg;
    struct mcp_server *s = p->server;
    struct mcp *m = s->mcp;
    s->parsing -= p->text.n;
    if (p->epoch == s->epoch && s->transport)
        received(s, steal(p->doc), STR("…"), p->text.n, p->error);
    json_doc_free(p->doc);
    buf_deinit(&p->text);
    err_free(p->error);
    free(p);
    mcp_unref(m);
}

static void parse(void *arg)
{
    struct parsing *p = arg;
    p->doc = json_parse(buf_str(&p->text), NULL, &p->error);
    loop_call(p->server->mcp->context.loop, parsed, p);
}

static void on_message(void *arg, struct buf *text)
{
    struct mcp_server *s = arg;
    if (text->n <= MCP_PARSE_INLINE_MAX) {
        autoerr e = NULL;
        struct json_doc *doc = json_parse(buf_str(text), NULL, &e);
        return received(s, doc, str_sub(buf_str(text), 0, GARBAGE_SHOWN), text->n, e);
    }
    if (s->parsing + text->n > MCP_PARSING_MAX)
        return server_fail_text(s, ERR_UPSTREAM, "it sends more than can be read");
    struct parsing *p = xcalloc(1, sizeof(*p));
    *p = (struct parsing){.server = s, .epoch = s->epoch, .text = *text};
    *text = (struct buf){0};
    s->parsing += p->text.n;
    mcp_ref(s->mcp);
    pool_submit_always(s->mcp->context.pool, parse, p);
}

static void on_failed(void *arg, int64_t request, const struct err *why)
{
    struct mcp_server *s = arg;
    mcp_client_request_failed(&s->client, request, why);
}

static void on_ended(void *arg, const struct err *why)
{
    server_fail(arg, why);
}

static const struct mcp_transport_events transport_events = {
    .message = on_message, .failed = on_failed, .ended = on_ended};

/* --- the start --- */

void server_start(struct mcp_server *s)
{
    struct mcp *m = s->mcp;
    if (m->closed || s->transport)
        return;
    if (s->config.oauth)
        return server_fail_text(s, ERR_UPSTREAM, "it wants an OAuth login, which is not supported here");
    bool listed = false;
    WITH_LOCK(&m->lock)
    listed = s->tools != NULL;
    s->garbage = 0;
    s->unasked = 0;
    mcp_client_init(&s->client, &client_events, s, listed);
    s->start_timer = loop_timer(m->context.loop, s->config.start_ms, on_start_timeout, s);
    s->transport = s->config.kind == MCP_STDIO
                       ? mcp_stdio_new(&m->context, &m->hand, &s->config, &transport_events, s)
                       : mcp_http_new(&m->context, &s->config, &transport_events, s);
    mcp_client_start(&s->client);
}
