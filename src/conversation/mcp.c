/* mcp: the MCP servers of a conversation, and the tools that its steps get from them. They belong to the conversation while
 * it is open; a run starts them when it begins and never waits longer than a moment for them. */
#include "agent/mcp_tools.h"
#include "base/clock.h"
#include "base/log.h"
#include "conversation/turn.h"

/* A run's first step waits so long for servers that are starting, and any step for lists that are read again. */
#define MCP_GRACE_MS 1000

/* ---- life ---- */

void conversation_mcp_close(struct conversation *c)
{
    struct mcp *m = NULL;
    WITH_LOCK(&c->lock)
    m = steal(c->mcp);
    if (m)
        mcp_close(m);
    mcp_unref(m);
}

/* Puts `fresh` (taken, or NULL) in the place of what the conversation has; at shutdown nothing is put there. */
static void servers_replace(struct conversation *c, struct mcp *fresh)
{
    struct mcp *old = NULL;
    WITH_LOCK(&c->lock)
    {
        old = c->mcp;
        c->mcp = atomic_load(&c->service->closing) ? NULL : steal(fresh);
    }
    if (old)
        mcp_close(old);
    mcp_unref(old);
    mcp_unref(fresh);
}

/* Fetches the secrets that a ${…} names and that are fetched; what could not be is in the log, and stays as it is. */
static bool secrets_fetch(struct turn *t, struct str servers, struct err **e)
{
    autobuf names = {0}, remarks = {0};
    ssize_t at;
    while ((at = str_find(servers, STR("${"))) >= 0) {
        servers = str_sub(servers, (size_t)at + 2, servers.n);
        ssize_t end = str_find_char(servers, '}');
        buf_add(&names, str_sub(servers, 0, end < 0 ? 0 : (size_t)end));
        buf_add_char(&names, ' ');
    }
    return names.n == 0 || turn_lookup(t, t->host.mailbox, buf_str(&names), false, &remarks, e);
}

/* The servers as they are to be now, secrets put in; empty if there are none. */
static bool servers_text(struct turn *t, struct buf *out, struct err **e)
{
    struct str servers = agent_mcp_servers(t->agent);
    if (servers.n == 0)
        return true;
    if (!secrets_fetch(t, servers, e))
        return false;
    autojson doc = json_parse_trusted(servers, e);
    if (!doc)
        return false;
    mcp_expand_json(json_root(doc), mcp_secret, turn_mask(t), true, false, out);
    return true;
}

static bool servers_begin(struct turn *t, struct err **e)
{
    const struct conversations_config *config = &t->c->service->config;
    struct mcp_context context = {config->loop, config->pool, config->hands, config->llm.outward};
    autobuf text = {0};
    if (!servers_text(t, &text, e))
        return false;
    if (text.n == 0) {
        servers_replace(t->c, NULL);
        return true;
    }
    WITH_LOCK(&t->c->lock)
    if (t->c->mcp && mcp_is_of(t->c->mcp, buf_str(&text)))
        t->mcp = mcp_ref(t->c->mcp);
    if (!t->mcp) {
        struct mcp *fresh = mcp_new(&context, &t->host.hand, buf_str(&text), e);
        if (!fresh)
            return false;
        t->mcp = mcp_ref(fresh);
        servers_replace(t->c, fresh);
    }
    if (!atomic_load(&t->c->service->closing))
        mcp_start(t->mcp);
    return true;
}

void turn_mcp_end(struct turn *t)
{
    mcp_toolbox_free(steal(t->toolbox));
    mcp_toolbox_free(steal(t->toolbox_before));
    mcp_unref(steal(t->mcp));
    t->mcp_waited = false;
}

/* ---- failures ---- */

/* A server that failed is an event of its own, with upstream's names of such errors; the run goes on. */
static bool report(struct turn *t, struct str server, const struct err *why, struct err **e)
{
    autobuf text = {0};
    struct event_draft d;
    if (server.n > 0)
        buf_addf(&text, "The MCP server '%.*s' failed: ", STR_ARG(server));
    else
        buf_add(&text, STR("The MCP servers cannot be used: "));
    mcp_error_show(turn_mask(t), str_from(err_text(why)), &text);
    buf_add_char(&text, '.');
    log_info("conversation %s: %.*s", t->id, STR_ARG(buf_str(&text)));
    event_draft_init(&d, EVENT_CONVERSATION_ERROR, SOURCE_ENVIRONMENT);
    event_error_body(&d, why->kind == ERR_TIMEOUT ? "MCPTimeoutError" : "MCPError", buf_str(&text));
    return turn_append(t, &d, 1, NULL, e);
}

static bool failures_report(struct turn *t, struct err **e)
{
    size_t index = 0;
    for (;;) {
        autoerr why = NULL;
        if (!t->mcp || !mcp_take_failure(t->mcp, &index, &why))
            return true;
        if (!report(t, mcp_name(t->mcp, index), why, e))
            return false;
    }
}

/* ---- steps ---- */

/* Those of the last look stay valid until the next one: a step that waited for late tools has seen them. */
static void toolbox_renew(struct turn *t)
{
    uint64_t generation = mcp_generation(t->mcp);
    if (t->toolbox && t->toolbox_generation == generation)
        return;
    mcp_toolbox_free(steal(t->toolbox_before));
    t->toolbox_before = t->toolbox;
    t->toolbox = mcp_toolbox_new(t->agent, t->mcp);
    t->toolbox_generation = generation;
    t->host.extra_tools = mcp_toolbox_tools(t->toolbox, &t->host.extra_tool_count);
}

static bool late_tools(void *arg, struct err **e)
{
    struct turn *t = arg;
    if (!mcp_wait(t->mcp, true, t->host.mailbox, 0, e))
        return false;
    toolbox_renew(t);
    return true;
}

bool turn_mcp_begin(struct turn *t, struct err **e)
{
    autoerr why = NULL;
    turn_mcp_end(t);
    if (!servers_begin(t, &why)) {
        if (why->kind == ERR_CANCELLED)
            return err_set(e, ERR_CANCELLED, "%s", why->text);
        if (!report(t, STR_NONE, why, e))
            return false;
    }
    if (t->mcp)
        t->host.late_tools = late_tools;
    return true;
}

bool turn_mcp_step(struct turn *t, struct err **e)
{
    if (!t->mcp)
        return true;
    uint64_t deadline = clock_mono_ns() + MCP_GRACE_MS * NS_PER_MS;
    if (!mcp_wait(t->mcp, !t->mcp_waited, t->host.mailbox, deadline, e))
        return false;
    t->mcp_waited = true;
    toolbox_renew(t);
    return failures_report(t, e);
}
