#include "mcp/client.h"
#include "base/cleanup.h"
#include "json/writer.h"

#define METHOD_NOT_FOUND (-32601)
#define ID_MAX 1000 /* bytes of a server's own request id */

/* Newest first; the first is what we ask for. */
static const char *const versions[] = {"2025-06-18", "2025-03-26", "2024-11-05"};

void mcp_client_init(struct mcp_client *c, const struct mcp_client_events *events, void *arg, bool listed)
{
    *c = (struct mcp_client){.events = events, .arg = arg, .listed = listed};
}

void mcp_client_deinit(struct mcp_client *c)
{
    mcp_tool_list_unref(steal(c->list));
    c->phase = MCP_PHASE_BROKEN;
    c->pending_count = 0;
}

static void broken(struct mcp_client *c, const struct err *why)
{
    if (c->phase == MCP_PHASE_BROKEN)
        return;
    c->phase = MCP_PHASE_BROKEN;
    c->events->broken(c->arg, why); /* the owner may deinit us in it */
}

/* --- sending --- */

static struct json_writer message_begin(struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_object(&w);
    jw_member_cstr(&w, "jsonrpc", "2.0");
    return w;
}

static struct json_writer request_begin(struct mcp_client *c, const char *method, struct buf *out)
{
    struct json_writer w = message_begin(out);
    jw_member_int(&w, "id", ++c->last);
    jw_member_cstr(&w, "method", method);
    jw_key(&w, "params");
    jw_object(&w);
    return w;
}

/* Room for one more: answers to the oldest that was given up would now be too late. */
static bool pending_room(struct mcp_client *c)
{
    size_t oldest = MCP_PENDING_MAX;
    if (c->pending_count < MCP_PENDING_MAX)
        return true;
    for (size_t i = 0; i < c->pending_count; i++)
        if (c->pending[i].what == MCP_GIVEN_UP &&
            (oldest == MCP_PENDING_MAX || c->pending[i].number < c->pending[oldest].number))
            oldest = i;
    if (oldest == MCP_PENDING_MAX)
        return false;
    c->pending[oldest] = c->pending[--c->pending_count];
    return true;
}

/* Whoever it is for knows its number (`out`, may be NULL) before it is sent: sending may fail at once. */
static bool request_end(struct mcp_client *c, enum mcp_asked what, struct json_writer *w, int64_t *out)
{
    jw_object_end(w);
    jw_object_end(w);
    if (!pending_room(c))
        return false;
    c->pending[c->pending_count++] = (struct mcp_pending){c->last, what};
    if (out)
        *out = c->last;
    c->events->send(c->arg, buf_str(w->out), c->last);
    return true;
}

static void notify(struct mcp_client *c, const char *method)
{
    autobuf text = {0};
    struct json_writer w = message_begin(&text);
    jw_member_cstr(&w, "method", method);
    jw_object_end(&w);
    c->events->send(c->arg, buf_str(&text), 0);
}

void mcp_client_start(struct mcp_client *c)
{
    autobuf text = {0};
    struct json_writer w = request_begin(c, "initialize", &text);
    c->phase = MCP_PHASE_INITIALIZE;
    jw_member_cstr(&w, "protocolVersion", versions[0]);
    jw_member_raw(&w, "capabilities", STR("{}"));
    jw_key(&w, "clientInfo");
    jw_object(&w);
    jw_member_cstr(&w, "name", "handsd");
    jw_member_cstr(&w, "version", HANDSD_VERSION);
    jw_object_end(&w);
    request_end(c, MCP_ASKED_INITIALIZE, &w, NULL);
}

static void list_ask(struct mcp_client *c, struct str cursor)
{
    autobuf text = {0};
    struct json_writer w = request_begin(c, "tools/list", &text);
    if (cursor.n > 0)
        jw_member_str(&w, "cursor", cursor);
    request_end(c, MCP_ASKED_LIST, &w, NULL);
}

static void list_end(struct mcp_client *c)
{
    mcp_tool_list_unref(steal(c->list));
    if (c->phase == MCP_PHASE_READY)
        c->events->listing(c->arg, false);
}

static void list_begin(struct mcp_client *c)
{
    if (c->phase == MCP_PHASE_READY)
        c->events->listing(c->arg, true);
    c->list = mcp_tool_list_new();
    c->pages = 0;
    c->relist = false;
    list_ask(c, STR_NONE);
}

bool mcp_client_call(struct mcp_client *c, struct str tool, struct str arguments, int64_t *request)
{
    autobuf text = {0};
    struct json_writer w = request_begin(c, "tools/call", &text);
    jw_member_str(&w, "name", tool);
    jw_member_raw(&w, "arguments", arguments);
    return request_end(c, MCP_ASKED_CALL, &w, request);
}

/* --- what is under way --- */

/* Takes it out of what is pending. False: it is not there. */
static bool pending_take(struct mcp_client *c, int64_t number, struct mcp_pending *out)
{
    for (size_t i = 0; i < c->pending_count; i++) {
        if (c->pending[i].number != number)
            continue;
        *out = c->pending[i];
        c->pending[i] = c->pending[--c->pending_count];
        return true;
    }
    return false;
}

void mcp_client_cancel(struct mcp_client *c, int64_t request, const char *reason)
{
    size_t i = 0;
    while (i < c->pending_count && c->pending[i].number != request)
        i++;
    if (i == c->pending_count)
        return;
    c->pending[i].what = MCP_GIVEN_UP;
    autobuf text = {0};
    struct json_writer w = message_begin(&text);
    jw_member_cstr(&w, "method", "notifications/cancelled");
    jw_key(&w, "params");
    jw_object(&w);
    jw_member_int(&w, "requestId", request);
    jw_member_cstr(&w, "reason", reason);
    jw_object_end(&w);
    jw_object_end(&w);
    c->events->send(c->arg, buf_str(&text), 0);
}

void mcp_client_list_cancel(struct mcp_client *c)
{
    for (size_t i = 0; i < c->pending_count; i++)
        if (c->pending[i].what == MCP_ASKED_LIST) {
            mcp_client_cancel(c, c->pending[i].number, "timeout");
            break;
        }
    list_end(c);
}

void mcp_client_request_failed(struct mcp_client *c, int64_t request, const struct err *why)
{
    struct mcp_pending p;
    if (!pending_take(c, request, &p))
        return;
    if (p.what == MCP_ASKED_CALL)
        c->events->answered(c->arg, request, NULL, NULL, why);
    else if (p.what == MCP_ASKED_LIST && c->phase == MCP_PHASE_READY)
        list_end(c); /* the old list stays */
    else if (p.what != MCP_GIVEN_UP)
        broken(c, why);
}

/* --- answers --- */

static void became_ready(struct mcp_client *c)
{
    c->phase = MCP_PHASE_READY;
    c->listed = true;
    c->events->ready(c->arg);
}

static void on_initialized(struct mcp_client *c, const struct json_value *result)
{
    autoerr e = NULL;
    struct str version = json_get_str(result, "protocolVersion");
    for (size_t i = 0; i < ARRAY_LEN(versions); i++)
        if (str_is(version, versions[i]))
            memcpy(c->version, versions[i], strlen(versions[i]) + 1);
    if (!c->version[0]) {
        err_set(&e, ERR_UPSTREAM, "it speaks the protocol version '%.*s', which is not supported",
                STR_ARG(str_sub(version, 0, 40)));
        return broken(c, e);
    }
    c->events->agreed(c->arg, str_from(c->version));
    notify(c, "notifications/initialized");
    if (c->phase != MCP_PHASE_INITIALIZE)
        return; /* sending failed */
    if (c->listed)
        return became_ready(c);
    c->phase = MCP_PHASE_LIST;
    if (json_type(json_get(json_get(result, "capabilities"), "tools")) == JSON_OBJECT)
        return list_begin(c);
    c->events->tools(c->arg, mcp_tool_list_new());
    became_ready(c);
}

static void on_list(struct mcp_client *c, const struct json_value *result)
{
    autoerr e = NULL;
    struct str cursor;
    if (!mcp_tools_add(c->list, result, &cursor, &e))
        return broken(c, e);
    if (cursor.n > 0 && ++c->pages < MCP_PAGES_MAX)
        return list_ask(c, cursor);
    bool again = c->phase == MCP_PHASE_READY;
    c->events->tools(c->arg, steal(c->list));
    if (c->phase == MCP_PHASE_LIST)
        became_ready(c);
    if (c->phase != MCP_PHASE_READY)
        return;
    if (c->relist)
        list_begin(c);
    else if (again)
        c->events->listing(c->arg, false);
}

static void on_refused(struct mcp_client *c, const struct mcp_pending *p, const struct json_value *error)
{
    autoerr e = NULL;
    autobuf text = {0};
    mcp_error_text(error, &text);
    err_set(&e, ERR_UPSTREAM, "%s%.*s",
            p->what == MCP_ASKED_CALL   ? ""
            : p->what == MCP_ASKED_LIST ? "tools/list: "
                                        : "initialize: ",
            STR_ARG(buf_str(&text)));
    if (p->what == MCP_ASKED_CALL)
        c->events->answered(c->arg, p->number, NULL, NULL, e);
    else if (p->what == MCP_ASKED_LIST && c->phase == MCP_PHASE_READY)
        list_end(c);
    else
        broken(c, e);
}

/* An answer to something given up is late, not wrong; one to what was never asked is. */
static bool on_response(struct mcp_client *c, struct mcp_doc *doc, const struct mcp_message *m)
{
    struct mcp_pending p;
    int64_t number = mcp_message_number(m);
    if (number > 0 && number <= c->last) {
        if (!pending_take(c, number, &p))
            return false;
        if (p.what == MCP_GIVEN_UP)
            return true;
        if (m->error)
            on_refused(c, &p, m->error);
        else if (p.what == MCP_ASKED_CALL)
            c->events->answered(c->arg, number, doc, m->result, NULL);
        else if (p.what == MCP_ASKED_LIST)
            on_list(c, m->result);
        else
            on_initialized(c, m->result);
        return true;
    }
    autoerr e = NULL;
    autobuf text = {0};
    if (m->error)
        mcp_error_text(m->error, &text);
    err_set(&e, ERR_UPSTREAM, "it answers a request that was never made%s%.*s", text.n ? ": " : "",
            STR_ARG(buf_str(&text)));
    broken(c, e);
    return false;
}

/* --- what the server asks and tells --- */

static void on_request(struct mcp_client *c, const struct mcp_message *m)
{
    autobuf id = {0}, text = {0};
    json_add(&id, m->id);
    if (id.n > ID_MAX)
        return;
    struct json_writer w = message_begin(&text);
    jw_member_raw(&w, "id", buf_str(&id));
    if (str_is(m->method, "ping")) {
        jw_member_raw(&w, "result", STR("{}"));
    } else if (str_is(m->method, "roots/list")) {
        jw_member_raw(&w, "result", STR("{\"roots\":[]}"));
    } else {
        jw_key(&w, "error");
        jw_object(&w);
        jw_member_int(&w, "code", METHOD_NOT_FOUND);
        jw_member_cstr(&w, "message", "Method not found");
        jw_object_end(&w);
    }
    jw_object_end(&w);
    c->events->send(c->arg, buf_str(&text), 0);
}

static void on_notification(struct mcp_client *c, const struct mcp_message *m)
{
    if (!str_is(m->method, "notifications/tools/list_changed") || c->relists >= MCP_RELISTS_MAX)
        return;
    if (c->list) {
        c->relists += !c->relist;
        c->relist = true; /* what is being read may be of both */
    } else if (c->phase == MCP_PHASE_READY) {
        c->relists++;
        list_begin(c);
    }
}

bool mcp_client_receive(struct mcp_client *c, struct mcp_doc *doc, struct err **e)
{
    const struct json_value *root = json_root(doc->doc);
    bool list = json_type(root) == JSON_ARRAY, answered = false;
    size_t n = list ? json_count(root) : 1;
    if (n > MCP_BATCH_MAX)
        return err_set(e, ERR_INVALID, "a batch has more than %d messages", MCP_BATCH_MAX);
    struct json_iter it = json_iter(list ? root : NULL);
    while (c->phase != MCP_PHASE_BROKEN && (list ? json_next(&it) : n-- > 0)) {
        struct mcp_message m;
        if (!mcp_message_decode(list ? it.value : root, &m, e))
            return answered;
        switch (m.kind) {
        case MCP_REQUEST: on_request(c, &m); break;
        case MCP_NOTIFICATION: on_notification(c, &m); break;
        case MCP_RESPONSE: answered |= on_response(c, doc, &m); break;
        }
    }
    return answered;
}
