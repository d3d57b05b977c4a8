/* Streamable HTTP: each message is a POST, answered by JSON or by server-sent events; and the older SSE, where one GET
 * stays open, names the address for the POSTs and carries all answers. Bytes come on the outward thread; what they say is
 * handled on the loop, in order. */
#include "base/cleanup.h"
#include "base/utf8.h"
#include "mcp/message.h"
#include "mcp/transport.h"
#include "net/sse.h"

#define CONNECT_MS 10000
#define NOTIFY_MS 30000                   /* a notification's answer */
#define DELETE_MS 5000                    /* the end of a session */
#define STREAM_MAX (256 * 1024 * 1024)    /* bytes of one answer */
#define BACKLOG_MAX (2 * MCP_MESSAGE_MAX) /* bytes of one answer that wait for the loop */
#define SESSION_MAX 1024                  /* bytes of a session's id */
#define POSTS_MAX 300                     /* under way for one server */
#define EARLY_MAX (1024 * 1024)           /* bytes that wait for the address (older SSE) */
#define REDIRECTS 3

struct http {
    struct mcp_transport base;
    struct loop *loop;
    struct outward *outward;
    struct buf url, post_url; /* post_url: where messages go; empty until the older SSE has named it */
    VEC(char *) headers;
    struct buf session;
    char version[16];
    bool old_sse;
    struct post *posts;
    size_t post_count;
    VEC(char *) early; /* messages before post_url is known, with the numbers of their requests */
    VEC(int64_t) early_requests;
    size_t early_bytes;
};

struct post { /* one HTTP request; the outward thread's between start and on_done, but for the list */
    struct http *http;
    struct post *next, **link;
    uint64_t call;
    int64_t request; /* of its message; 0: none */
    bool stream;     /* the older SSE's GET */
    bool is_sse, too_large;
    int status;
    struct sse sse;
    struct buf body;
    atomic_size_t backlog;
};

/* --- from the outward thread to the loop --- */

struct news {
    struct loop_message message;
    struct post *post;
    enum { NEWS_SESSION, NEWS_ADDRESS, NEWS_MESSAGE, NEWS_END } what;
    struct buf text;
    int status;
    struct err *error;
    bool connected;
};

static void news_run(struct loop_message *self);

static struct news *news_new(struct post *p, int what, struct str text)
{
    struct news *n = xcalloc(1, sizeof(*n));
    n->message.run = news_run;
    n->post = p;
    n->what = what;
    buf_add(&n->text, text);
    atomic_fetch_add(&p->backlog, n->text.n);
    return n;
}

static void news_post(struct post *p, int what, struct str text)
{
    loop_post(p->http->loop, &news_new(p, what, text)->message);
}

static bool on_event(void *arg, struct str event, struct str data)
{
    struct post *p = arg;
    bool address = p->stream && str_is(event, "endpoint");
    if (event.n > 0 && !address && !str_is(event, "message"))
        return true;
    if (data.n > 0)
        news_post(p, address ? NEWS_ADDRESS : NEWS_MESSAGE, data);
    return atomic_load(&p->backlog) <= BACKLOG_MAX;
}

static void on_headers(void *arg, int status, struct str headers)
{
    struct post *p = arg;
    struct str type = outward_header(headers, STR("Content-Type"));
    struct str session = outward_header(headers, STR("Mcp-Session-Id"));
    p->status = status;
    p->is_sse = status == 200 && str_starts_nocase(type, STR("text/event-stream"));
    p->sse.data_max = MCP_MESSAGE_MAX;
    if (session.n > 0 && session.n <= SESSION_MAX)
        news_post(p, NEWS_SESSION, session);
}

static bool on_data(void *arg, struct str data)
{
    struct post *p = arg;
    if (p->is_sse) {
        p->too_large = !sse_feed(&p->sse, data, on_event, p, NULL) || atomic_load(&p->backlog) > BACKLOG_MAX;
        return !p->too_large;
    }
    p->too_large = p->body.n + data.n > MCP_MESSAGE_MAX;
    if (!p->too_large)
        buf_add(&p->body, data);
    return !p->too_large;
}

static void on_done(void *arg, const struct outward_result *result)
{
    struct post *p = arg;
    if (p->is_sse && !p->too_large)
        sse_end(&p->sse, on_event, p, NULL);
    struct news *n = news_new(p, NEWS_END, STR_NONE);
    n->status = result->status;
    n->connected = result->connected;
    if (p->too_large)
        err_set(&n->error, ERR_UPSTREAM, "its answer is too large");
    else if (result->error)
        n->error = err_copy(result->error);
    loop_post(p->http->loop, &n->message);
}

/* --- on the loop --- */

static void http_free_if_over(struct http *h)
{
    if (h->base.events || h->posts)
        return;
    for (size_t i = 0; i < h->headers.n; i++)
        free(h->headers.at[i]);
    for (size_t i = 0; i < h->early.n; i++)
        free(h->early.at[i]);
    vec_deinit(&h->headers);
    vec_deinit(&h->early);
    vec_deinit(&h->early_requests);
    buf_deinit(&h->url);
    buf_deinit(&h->post_url);
    buf_deinit(&h->session);
    free(h);
}

static void post_free(struct post *p)
{
    struct http *h = p->http;
    *p->link = p->next;
    if (p->next)
        p->next->link = p->link;
    h->post_count--;
    sse_deinit(&p->sse);
    buf_deinit(&p->body);
    free(p);
    http_free_if_over(h);
}

static void ended(struct http *h, struct err *why)
{
    if (h->base.events)
        h->base.events->ended(h->base.arg, why);
}

static void failed(struct http *h, int64_t request, struct err *why)
{
    if (h->base.events && request)
        h->base.events->failed(h->base.arg, request, why);
}

static void status_error(const struct post *p, int status, struct err **e)
{
    struct str body = str_trim(buf_str(&p->body));
    err_set(e, ERR_UPSTREAM, "it answered with HTTP status %d%s%.*s", status, body.n ? ": " : "",
            STR_ARG(utf8_prefix_bytes(body, MCP_ERROR_MAX)));
}

/* An answer that came whole. */
static void post_answered(struct post *p, int status)
{
    struct http *h = p->http;
    autoerr e = NULL;
    if (status == 404 && h->session.n > 0) {
        err_set(&e, ERR_UPSTREAM, "its session has ended");
        return ended(h, e);
    }
    if (status < 200 || status >= 300) {
        status_error(p, status, &e);
        return p->stream ? ended(h, e) : failed(h, p->request, e);
    }
    if (p->stream) {
        err_set(&e, ERR_UPSTREAM, "its stream has ended");
        return ended(h, e);
    }
    if (!p->is_sse && !h->old_sse && status != 202 && str_trim(buf_str(&p->body)).n > 0) {
        struct buf text = p->body;
        p->body = (struct buf){0};
        h->base.events->message(h->base.arg, &text);
        buf_deinit(&text);
    }
    if (!h->old_sse && p->request) { /* nothing if the answer was there */
        err_set(&e, ERR_UPSTREAM, "it ended its answer before the result");
        failed(h, p->request, e);
    }
}

static void post_end(struct post *p, const struct news *n)
{
    struct http *h = p->http;
    p->call = 0;
    if (!h->base.events)
        return;
    if (n->error && n->error->kind == ERR_CANCELLED)
        return;
    if (!n->error)
        return post_answered(p, n->status);
    autoerr e = err_copy(n->error);
    e->kind = e->kind == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_UPSTREAM;
    if (!n->connected || p->stream)
        ended(h, e);
    else
        failed(h, p->request, e);
}

static void post_start(struct http *h, const char *method, struct str url, struct str body, int64_t request,
                       bool stream);

/* The address of the older SSE: on the same host as the stream, or it could lead our headers astray. */
static bool address_take(struct http *h, struct str text, struct err **e)
{
    struct str url = buf_str(&h->url);
    ssize_t scheme = str_find(url, STR("://"));
    size_t host = scheme < 0 ? 0 : (size_t)scheme + 3;
    ssize_t slash = str_find_char(str_sub(url, host, url.n), '/');
    struct str origin = slash < 0 ? url : str_sub(url, 0, host + (size_t)slash);
    bool whole = str_find(text, STR("://")) > 0;
    struct str behind = str_sub(text, origin.n, text.n);
    if (whole && (!str_starts(text, origin) || (behind.n > 0 && behind.p[0] != '/' && behind.p[0] != '?')))
        return err_set(e, ERR_UPSTREAM, "it names an address on another host");
    if (!whole && (text.n == 0 || text.p[0] != '/'))
        return err_set(e, ERR_UPSTREAM, "it names an address that is none");
    if (text.n > 1 && text.p[0] == '/' && text.p[1] == '/')
        return err_set(e, ERR_UPSTREAM, "it names an address on another host");
    buf_clear(&h->post_url);
    if (!whole)
        buf_add(&h->post_url, origin);
    buf_add(&h->post_url, text);
    return true;
}

static void address_known(struct http *h, struct str text)
{
    autoerr e = NULL;
    if (!h->old_sse || h->post_url.n > 0)
        return;
    if (!address_take(h, text, &e))
        return ended(h, e);
    for (size_t i = 0; i < h->early.n && h->base.events; i++)
        post_start(h, "POST", buf_str(&h->post_url), str_from(h->early.at[i]), h->early_requests.at[i],
                   false);
}

static void news_run(struct loop_message *self)
{
    struct news *n = CONTAINER_OF(self, struct news, message);
    struct post *p = n->post;
    struct http *h = p->http;
    atomic_fetch_sub(&p->backlog, n->text.n);
    if (n->what == NEWS_END)
        post_end(p, n);
    else if (h->base.events && n->what == NEWS_SESSION && h->session.n == 0)
        buf_add(&h->session, buf_str(&n->text));
    else if (h->base.events && n->what == NEWS_ADDRESS)
        address_known(h, buf_str(&n->text));
    else if (h->base.events && n->what == NEWS_MESSAGE)
        h->base.events->message(h->base.arg, &n->text);
    if (n->what == NEWS_END)
        post_free(p);
    buf_deinit(&n->text);
    err_free(n->error);
    free(n);
}

/* --- sending --- */

static bool done_ignored_data(void *arg, struct str data)
{
    (void)arg;
    (void)data;
    return true;
}

static void done_ignored(void *arg, const struct outward_result *result)
{
    (void)arg;
    (void)result;
}

struct header_list {
    VEC(struct str) at;
    struct arena *arena;
};

static void headers_make(const struct http *h, bool body, bool stream, struct header_list *list)
{
    if (body)
        vec_push(&list->at, STR("Content-Type: application/json"));
    vec_push(&list->at,
             stream ? STR("Accept: text/event-stream") : STR("Accept: application/json, text/event-stream"));
    if (h->session.n > 0)
        vec_push(&list->at, arena_printf(list->arena, "Mcp-Session-Id: %.*s", STR_ARG(buf_str(&h->session))));
    if (h->version[0])
        vec_push(&list->at, arena_printf(list->arena, "MCP-Protocol-Version: %s", h->version));
    for (size_t i = 0; i < h->headers.n; i++)
        vec_push(&list->at, str_from(h->headers.at[i]));
}

static void post_start(struct http *h, const char *method, struct str url, struct str body, int64_t request,
                       bool stream)
{
    autoerr e = NULL;
    if (h->post_count >= POSTS_MAX) {
        err_set(&e, ERR_BUSY, "%d requests are under way already", POSTS_MAX);
        return failed(h, request, e);
    }
    autoarena arena = arena_new();
    struct header_list list = {.arena = arena};
    struct post *p = xcalloc(1, sizeof(*p));
    p->http = h;
    p->request = request;
    p->stream = stream;
    p->next = h->posts;
    p->link = &h->posts;
    if (p->next)
        p->next->link = &p->next;
    h->posts = p;
    h->post_count++;
    headers_make(h, body.n > 0, stream, &list);
    p->call = outward_start(h->outward, &(struct outward_request){
                                            .method = str_from(method),
                                            .url = url,
                                            .headers = list.at.at,
                                            .header_count = list.at.n,
                                            .body = body,
                                            .connect_timeout_ms = CONNECT_MS,
                                            .timeout_ms = request || stream ? 0 : NOTIFY_MS,
                                            .body_max = STREAM_MAX,
                                            .redirects = REDIRECTS,
                                            .on_headers = on_headers,
                                            .on_data = on_data,
                                            .on_done = on_done,
                                            .arg = p,
                                        });
    vec_deinit(&list.at);
}

static void http_send(struct mcp_transport *t, struct str json, int64_t request)
{
    struct http *h = (struct http *)t;
    if (h->post_url.n > 0)
        return post_start(h, "POST", buf_str(&h->post_url), json, request, false);
    if (h->early_bytes + json.n > EARLY_MAX)
        return;
    h->early_bytes += json.n;
    vec_push(&h->early, str_dup(json));
    vec_push(&h->early_requests, request);
}

static void http_cancel(struct mcp_transport *t, int64_t request)
{
    struct http *h = (struct http *)t;
    for (struct post *p = h->posts; p; p = p->next)
        if (p->request == request && p->call)
            outward_cancel(h->outward, p->call);
}

static void http_agreed(struct mcp_transport *t, struct str version)
{
    struct http *h = (struct http *)t;
    if (version.n < sizeof(h->version))
        memcpy(h->version, version.p, version.n);
}

static void session_delete(struct http *h)
{
    autoarena arena = arena_new();
    struct header_list list = {.arena = arena};
    headers_make(h, false, false, &list);
    outward_start(h->outward, &(struct outward_request){
                                  .method = STR("DELETE"),
                                  .url = buf_str(&h->url),
                                  .headers = list.at.at,
                                  .header_count = list.at.n,
                                  .connect_timeout_ms = DELETE_MS,
                                  .timeout_ms = DELETE_MS,
                                  .body_max = MCP_MESSAGE_MAX,
                                  .on_data = done_ignored_data,
                                  .on_done = done_ignored,
                              });
    vec_deinit(&list.at);
}

static void http_close(struct mcp_transport *t)
{
    struct http *h = (struct http *)t;
    t->events = NULL;
    for (struct post *p = h->posts; p; p = p->next)
        if (p->call)
            outward_cancel(h->outward, p->call);
    if (h->session.n > 0 && !h->old_sse)
        session_delete(h);
    http_free_if_over(h);
}

static const struct mcp_transport_kind_ops ops = {
    .send = http_send, .cancel = http_cancel, .agreed = http_agreed, .close = http_close};

struct mcp_transport *mcp_http_new(const struct mcp_context *context, const struct mcp_server_config *config,
                                   const struct mcp_transport_events *events, void *arg)
{
    struct http *h = xcalloc(1, sizeof(*h));
    h->base = (struct mcp_transport){&ops, events, arg};
    h->loop = context->loop;
    h->outward = context->outward;
    h->old_sse = config->kind == MCP_SSE;
    buf_add(&h->url, config->url);
    for (size_t i = 0; i < config->headers.n; i++)
        vec_push(&h->headers, str_dup(config->headers.at[i]));
    if (h->old_sse)
        post_start(h, "GET", buf_str(&h->url), STR_NONE, 0, true);
    else
        buf_add(&h->post_url, config->url);
    return &h->base;
}
