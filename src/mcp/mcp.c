/* The servers of one conversation, for other threads. */
#include "mcp/mcp.h"
#include "base/cleanup.h"
#include "mcp/internal.h"

/* ---- life ---- */

static bool servers_decode(struct mcp *m, const struct json_value *map, struct err **e)
{
    m->servers = xcalloc(json_count(map) + 1, sizeof(*m->servers));
    for (struct json_iter it = json_iter(map); json_next(&it);) {
        struct mcp_server *s = &m->servers[m->count++];
        s->mcp = m;
        s->calls_end = &s->calls;
        if (!mcp_server_decode(it.key, it.value, m->arena, &s->config, e))
            return false;
    }
    return true;
}

static void set_free(struct mcp *m)
{
    for (size_t i = 0; i < m->count; i++) {
        mcp_tool_list_unref(m->servers[i].tools);
        err_free(m->servers[i].failure);
    }
    if (m->watcher)
        mailbox_unref(m->watcher);
    free(m->servers);
    pthread_mutex_destroy(&m->lock);
    arena_free(m->arena);
    free(m);
}

struct mcp *mcp_new(const struct mcp_context *context, const struct hand_spec *hand, struct str servers,
                    struct err **e)
{
    autojson doc = json_parse_trusted(servers, e);
    if (!doc)
        return NULL;
    struct mcp *m = xcalloc(1, sizeof(*m));
    m->refs = 1;
    m->context = *context;
    m->arena = arena_new();
    m->source = arena_str(m->arena, servers);
    m->hand = *hand;
    m->hand.working_dir = arena_str(m->arena, hand->working_dir);
    pthread_mutex_init(&m->lock, NULL);
    if (json_count(json_root(doc)) <= MCP_SERVERS_MAX && servers_decode(m, json_root(doc), e))
        return m;
    err_set(e, ERR_INVALID, "there are more than %d MCP servers", MCP_SERVERS_MAX);
    set_free(m);
    return NULL;
}

struct mcp *mcp_ref(struct mcp *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

/* Loop. */
static void close_all(void *arg)
{
    struct mcp *m = arg;
    if (!m->closed) {
        m->closed = true;
        for (size_t i = 0; i < m->count; i++)
            server_close(&m->servers[i]);
    }
    mcp_unref(m);
}

static void set_destroy(void *arg)
{
    struct mcp *m = arg;
    for (size_t i = 0; i < m->count && !m->closed; i++)
        server_close(&m->servers[i]);
    set_free(m);
}

void mcp_unref(struct mcp *m)
{
    /* Connections and timers are the loop's. */
    if (m && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1)
        loop_call(m->context.loop, set_destroy, m);
}

void mcp_close(struct mcp *m)
{
    bool before = true;
    WITH_LOCK(&m->lock)
    {
        before = m->closing;
        m->closing = true;
    }
    if (!before)
        loop_call(m->context.loop, close_all, mcp_ref(m));
}

bool mcp_is_of(const struct mcp *m, struct str servers)
{
    return str_eq(m->source, servers);
}

/* ---- what is known of the servers ---- */

static bool under_way_locked(const struct mcp *m, bool starts)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->servers[i].listing || (starts && m->servers[i].state == MCP_STARTING))
            return true;
    return false;
}

/* Under the lock. */
static void watcher_tell(struct mcp *m)
{
    if (!m->watcher || under_way_locked(m, m->watcher_starts))
        return;
    struct mailbox *mailbox = steal(m->watcher);
    mailbox_notify(mailbox, m->watcher_tag);
    mailbox_unref(mailbox);
}

void server_publish(struct mcp_server *s, enum mcp_state state, const struct err *why)
{
    struct mcp *m = s->mcp;
    WITH_LOCK(&m->lock)
    {
        s->state = state;
        s->listing = s->listing && state == MCP_READY;
        if (why) {
            err_free(s->failure);
            s->failure = err_copy(why);
        }
        watcher_tell(m);
    }
}

void server_publish_listing(struct mcp_server *s, bool listing)
{
    WITH_LOCK(&s->mcp->lock)
    {
        s->listing = listing;
        watcher_tell(s->mcp);
    }
}

size_t mcp_count(const struct mcp *m)
{
    return m->count;
}

struct str mcp_name(const struct mcp *m, size_t index)
{
    return m->servers[index].config.name;
}

uint64_t mcp_generation(struct mcp *m)
{
    uint64_t generation = 0;
    WITH_LOCK(&m->lock)
    generation = m->generation;
    return generation;
}

struct mcp_tool_list *mcp_tools(struct mcp *m, size_t index)
{
    struct mcp_tool_list *list = NULL;
    WITH_LOCK(&m->lock)
    list = mcp_tool_list_ref(m->servers[index].tools);
    return list;
}

bool mcp_take_failure(struct mcp *m, size_t *index, struct err **why)
{
    struct err *taken = NULL;
    WITH_LOCK(&m->lock)
    for (size_t i = 0; i < m->count && !taken; i++) {
        taken = steal(m->servers[i].failure);
        *index = i;
    }
    *why = taken;
    return taken != NULL;
}

/* ---- starting ---- */

/* Loop. */
static void start_all(void *arg)
{
    struct mcp *m = arg;
    for (size_t i = 0; i < m->count; i++) {
        struct mcp_server *s = &m->servers[i];
        bool wanted = false;
        WITH_LOCK(&m->lock)
        wanted = s->state == MCP_STARTING;
        if (wanted && m->closed)
            server_publish(s, MCP_IDLE, NULL);
        else if (wanted)
            server_start(s);
    }
    mcp_unref(m);
}

void mcp_start(struct mcp *m)
{
    bool any = false;
    WITH_LOCK(&m->lock)
    for (size_t i = 0; i < m->count && !m->closing; i++) {
        struct mcp_server *s = &m->servers[i];
        if (s->tools || (s->state != MCP_IDLE && s->state != MCP_FAILED))
            continue;
        s->state = MCP_STARTING;
        any = true;
    }
    if (any)
        loop_call(m->context.loop, start_all, mcp_ref(m));
}

bool mcp_wait(struct mcp *m, bool starts, struct mailbox *mailbox, uint64_t deadline_ns, struct err **e)
{
    uint64_t tag = mailbox_tag(mailbox);
    bool wait = false;
    WITH_LOCK(&m->lock)
    {
        wait = under_way_locked(m, starts) && !m->watcher;
        if (wait) {
            m->watcher = mailbox_ref(mailbox);
            m->watcher_tag = tag;
            m->watcher_starts = starts;
        }
    }
    if (!wait)
        return true;
    struct mail *mail = NULL;
    enum mailbox_result result = mailbox_wait(mailbox, tag, deadline_ns, true, &mail);
    if (result == MAILBOX_MAIL) {
        mail->free(mail);
        return true;
    }
    WITH_LOCK(&m->lock)
    if (m->watcher) {
        mailbox_unref(m->watcher);
        m->watcher = NULL;
    }
    mailbox_forget(mailbox, tag);
    return result == MAILBOX_TIMEOUT || err_set(e, ERR_CANCELLED, "cancelled");
}

/* ---- calls ---- */

static void call_free(struct mail *mail)
{
    struct mcp_call *call = CONTAINER_OF(mail, struct mcp_call, mail);
    buf_deinit(&call->tool);
    buf_deinit(&call->arguments);
    mcp_doc_unref(call->doc);
    err_free(call->error);
    mcp_unref(call->mcp);
    free(call);
}

static void call_begin(void *arg)
{
    struct mcp_call *call = arg;
    server_call(call->server, call);
}

struct cancel {
    struct mcp *mcp;
    struct mcp_server *server;
    uint64_t number;
};

static void call_cancel(void *arg)
{
    struct cancel *c = arg;
    server_cancel(c->server, c->number);
    mcp_unref(c->mcp);
    free(c);
}

bool mcp_call(struct mcp *m, size_t index, struct str tool, struct str arguments, struct mailbox *mailbox,
              struct mcp_doc **doc, const struct json_value **result, struct err **e)
{
    struct mcp_server *server = &m->servers[index];
    struct mcp_call *call = xcalloc(1, sizeof(*call));
    struct mail *mail = NULL;
    uint64_t tag = mailbox_tag(mailbox), number = atomic_fetch_add(&m->last_call, 1) + 1;
    call->mail = (struct mail){.tag = tag, .free = call_free};
    call->mailbox = mailbox_ref(mailbox);
    call->mcp = mcp_ref(m);
    call->server = server;
    call->number = number;
    buf_add(&call->tool, tool);
    buf_add(&call->arguments, arguments);
    loop_call(m->context.loop, call_begin, call);
    if (mailbox_wait(mailbox, tag, 0, true, &mail) != MAILBOX_MAIL) {
        struct cancel *cancel = xcalloc(1, sizeof(*cancel));
        *cancel = (struct cancel){mcp_ref(m), server, number};
        loop_call(m->context.loop, call_cancel, cancel);
        mailbox_forget(mailbox, tag);
        return err_set(e, ERR_CANCELLED, "the call was cancelled");
    }
    call = CONTAINER_OF(mail, struct mcp_call, mail);
    bool ok = !call->error;
    if (ok) {
        *doc = steal(call->doc);
        *result = call->result;
    } else if (e && !*e) {
        *e = steal(call->error);
    }
    call_free(mail);
    return ok;
}
