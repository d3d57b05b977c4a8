/* Servers with a transport of the test's own: it answers at once, and breaks when it is told that nobody waits any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/cleanup.h"
#include "base/thread.h"
#include "mcp/transport.h"

/* ---- the transport ---- */

struct piece { /* an answer on its way */
    struct mcp_transport *transport;
    struct buf text;
};

static atomic_int opened, closed_early; /* connections; those that broke */
static atomic_bool silent;              /* calls are not answered */

static void deliver(void *arg)
{
    struct piece *p = arg;
    if (p->transport->events)
        p->transport->events->message(p->transport->arg, &p->text);
    buf_deinit(&p->text);
    free(p);
}

static struct loop *loop;

static void on_send(struct mcp_transport *t, struct str json, int64_t request)
{
    if (str_find(json, STR("notifications/cancelled")) >= 0) {
        autoerr e = NULL;
        err_set(&e, ERR_UPSTREAM, "it does not read what it is sent");
        atomic_fetch_add(&closed_early, 1);
        t->events->ended(t->arg, e);
        return;
    }
    const char *result = str_find(json, STR("\"initialize\"")) >= 0
                             ? "{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{\"tools\":{}}}"
                         : str_find(json, STR("\"tools/list\"")) >= 0
                             ? "{\"tools\":[{\"name\":\"act\",\"inputSchema\":{\"type\":\"object\"}}]}"
                             : "{\"content\":[]}";
    bool is_call = str_find(json, STR("\"tools/call\"")) >= 0;
    if (!request || (is_call && atomic_load(&silent)))
        return;
    struct piece *p = xcalloc(1, sizeof(*p));
    p->transport = t;
    buf_addf(&p->text, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":%s}", (long long)request, result);
    loop_call(loop, deliver, p);
}

static void on_cancel(struct mcp_transport *t, int64_t request)
{
    (void)t, (void)request;
}

static void on_agreed(struct mcp_transport *t, struct str version)
{
    (void)t, (void)version;
}

static void on_close(struct mcp_transport *t)
{
    t->events = NULL;
    loop_call(loop, free, t); /* behind what is on its way */
}

static const struct mcp_transport_kind_ops ops = {
    .send = on_send, .cancel = on_cancel, .agreed = on_agreed, .close = on_close};

struct mcp_transport *mcp_stdio_new(const struct mcp_context *context, const struct hand_spec *hand,
                                    const struct mcp_server_config *config,
                                    const struct mcp_transport_events *events, void *arg)
{
    (void)context, (void)hand, (void)config;
    struct mcp_transport *t = xcalloc(1, sizeof(*t));
    *t = (struct mcp_transport){&ops, events, arg};
    atomic_fetch_add(&opened, 1);
    return t;
}

/* ---- the tests ---- */

struct world {
    pthread_t thread;
    struct mcp *mcp;
    struct mailbox *mailbox;
};

static void loop_main(void *arg)
{
    (void)arg;
    loop_run(loop);
}

static void begin(struct world *w, const char *timeout)
{
    autoerr e = NULL;
    autobuf servers = {0};
    struct hand_spec hand = {.working_dir = STR("/")};
    atomic_store(&opened, 0);
    atomic_store(&closed_early, 0);
    atomic_store(&silent, true);
    loop = loop_new(&e);
    assert_true(thread_start(&w->thread, "loop", THREAD_STACK_BYTES, loop_main, NULL, &e));
    buf_addf(&servers, "{\"one\":{\"command\":\"x\"%s}}", timeout);
    w->mcp = mcp_new(&(struct mcp_context){.loop = loop}, &hand, buf_str(&servers), &e);
    assert_non_null(w->mcp);
    w->mailbox = mailbox_new();
    mcp_start(w->mcp);
    assert_true(mcp_wait(w->mcp, true, w->mailbox, 0, &e));
    assert_int_equal(atomic_load(&opened), 1);
}

static void end(struct world *w)
{
    mcp_close(w->mcp);
    mcp_unref(w->mcp);
    mailbox_unref(w->mailbox);
    loop_stop(loop);
    pthread_join(w->thread, NULL);
    loop_free(loop);
}

static int act(struct world *w, struct mailbox *mailbox)
{
    autoerr e = NULL;
    struct mcp_doc *doc = NULL;
    const struct json_value *result = NULL;
    bool ok = mcp_call(w->mcp, 0, STR("act"), STR("{}"), mailbox, &doc, &result, &e);
    mcp_doc_unref(doc);
    return ok ? -1 : (int)e->kind;
}

/* The failure is told, and the next call starts it again. */
static void assert_comes_back(struct world *w)
{
    autoerr why = NULL;
    size_t index;
    atomic_store(&silent, false);
    assert_int_equal(act(w, w->mailbox), -1);
    assert_int_equal(atomic_load(&closed_early), 1);
    assert_int_equal(atomic_load(&opened), 2);
    assert_true(mcp_take_failure(w->mcp, &index, &why));
}

static void test_breaks_when_a_call_takes_too_long(void **state)
{
    (void)state;
    struct world w;
    begin(&w, ",\"timeout\":0.5");
    assert_int_equal(act(&w, w.mailbox), ERR_TIMEOUT);
    assert_comes_back(&w);
    end(&w);
}

static void test_breaks_when_a_call_is_cancelled(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "");
    struct mailbox *cancelled = mailbox_new();
    mailbox_cancel(cancelled);
    assert_int_equal(act(&w, cancelled), ERR_CANCELLED);
    mailbox_unref(cancelled);
    assert_comes_back(&w);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_breaks_when_a_call_takes_too_long),
        cmocka_unit_test(test_breaks_when_a_call_is_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
