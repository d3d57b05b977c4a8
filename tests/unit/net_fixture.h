/* A listener with a route for every feature of net/server.h: test_server.c runs it on a thread, net_echo serves it to
 * tests/net. */
#pragma once
#include "base/cleanup.h"
#include "base/thread.h"
#include "base/uuid.h"
#include "net/connection.h"
#include "net/openapi.h"
#include "net/url.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define FIXTURE_SMALL_MAX 100

struct fixture {
    struct loop *loop;
    struct pool *pool;
    struct server *server;
    struct listener *listener;
    struct bytes *page;
    pthread_mutex_t lock;
    struct request *parked;
    int sockets_open, sockets_closed, streams_closed;    /* under lock */
    uint64_t last_socket;                                /* loop thread */
    struct counted *stalled;                             /* loop thread: a body whose reader waits */
    _Atomic uint64_t body_bytes, body_ends, body_errors; /* of bodies in pieces */
};

/* The first value of a parameter, for routes that list none. */
static inline struct str query_of(struct request *r, const char *name)
{
    struct url_pair *pairs;
    size_t count = 0;
    url_query_parse(r->head.query, request_arena(r), &pairs, &count);
    for (size_t i = 0; i < count; i++)
        if (str_is(pairs[i].name, name))
            return pairs[i].value;
    return STR_NONE;
}

struct item_args {
    struct uuid item_id;
    int64_t limit;
    struct str kind;
    struct json_list ids;
    struct str path;
    struct {
        struct str name;
        int64_t count;
        bool has_count;
    } body;
};

#define BODY_OFFSET(member) (offsetof(struct item_args, body.member) - offsetof(struct item_args, body))

static const struct json_field item_path[] = {
    {.name = "item_id",
     .type = FIELD_UUID,
     .offset = offsetof(struct item_args, item_id),
     .flags = FIELD_REQUIRED},
};
static const struct json_field files_path[] = {
    {.name = "path", .type = FIELD_STR, .offset = offsetof(struct item_args, path), .flags = FIELD_REQUIRED},
};
static const struct json_field search_query[] = {
    {.name = "limit",
     .type = FIELD_INT,
     .offset = offsetof(struct item_args, limit),
     .default_int = 100,
     .min = 1,
     .max = 100},
    {.name = "kind", .type = FIELD_STR, .offset = offsetof(struct item_args, kind)},
    {.name = "ids", .type = FIELD_ARRAY, .item = FIELD_STR, .offset = offsetof(struct item_args, ids)},
};
static const struct json_field item_body_fields[] = {
    {.name = "name",
     .type = FIELD_STR,
     .offset = BODY_OFFSET(name),
     .flags = FIELD_REQUIRED,
     .min = 1,
     .max = 10},
    {.name = "count",
     .type = FIELD_INT,
     .offset = BODY_OFFSET(count),
     .given = BODY_OFFSET(has_count),
     .min = 0,
     .max = 1000},
};
static const struct json_schema item_body = {
    .name = "ItemRequest",
    .size = sizeof(((struct item_args *)0)->body),
    .fields = item_body_fields,
    .count = ARRAY_LEN(item_body_fields),
};

/* ---- handlers ---- */

static void handle_page(struct request *r, const void *args)
{
    (void)args;
    struct fixture *f = request_app(r);
    request_reply_bytes(r, 200, "application/json", bytes_ref(f->page));
}

static void handle_item(struct request *r, const void *args)
{
    const struct item_args *a = args;
    char dashed[UUID_DASHED_LEN + 1];
    uuid_dashed(&a->item_id, dashed);
    autobuf body = {0};
    buf_addf(&body, "{\"id\":\"%s\",\"method\":%d}", dashed, (int)r->method);
    request_reply_json(r, 200, &body);
}

static void handle_search(struct request *r, const void *args)
{
    const struct item_args *a = args;
    autobuf body = {0};
    buf_addf(&body, "{\"limit\":%lld,\"kind\":\"%.*s\",\"ids\":%zu}", (long long)a->limit, STR_ARG(a->kind),
             a->ids.n);
    request_reply_json(r, 200, &body);
}

static void handle_create(struct request *r, const void *args)
{
    const struct item_args *a = args;
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_member_str(&w, "name", a->body.name);
    if (a->body.has_count)
        jw_member_int(&w, "count", a->body.count);
    jw_member_int(&w, "bytes", (int64_t)request_body(r).n);
    jw_member_bool(&w, "https", request_https(r));
    jw_object_end(&w);
    request_set_header(r, STR("x-strange"), STR("a\r\nx-injected: 1"));
    request_reply_json(r, 201, &body);
}

static void handle_echo(struct request *r, const void *args)
{
    (void)args;
    autobuf body = {0};
    buf_add(&body, request_body(r));
    request_reply(r, 200, "application/octet-stream", &body);
}

static void handle_batch(struct request *r, const void *args)
{
    (void)args;
    autobuf body = {0};
    json_add(&body, request_json(r));
    request_reply_json(r, 200, &body);
}

static void handle_files(struct request *r, const void *args)
{
    const struct item_args *a = args;
    autobuf body = {0};
    buf_add(&body, a->path);
    request_reply(r, 200, "text/plain", &body);
}

static void handle_big(struct request *r, const void *args)
{
    (void)args;
    uint64_t n = 0;
    autobuf body = {0};
    str_to_u64(query_of(r, "n"), &n);
    if (n > 64 * 1024 * 1024) {
        request_reply_detail(r, 400, "n is too large");
        return;
    }
    memset(buf_reserve(&body, n), 'x', n);
    body.n += n;
    request_reply(r, 200, "text/plain", &body);
}

static void handle_error(struct request *r, const void *args)
{
    (void)args;
    uint64_t kind = 0;
    autoerr e = NULL;
    str_to_u64(query_of(r, "kind"), &kind);
    err_set(&e, (enum err_kind)kind, "what happened");
    if (query_of(r, "own").p) { /* in a form of the handler's own */
        autobuf body = {0};
        buf_add(&body, STR("{}"));
        request_reply_json(r, err_http_status(e), &body);
        return;
    }
    request_reply_error(r, e);
}

/* Parked until somebody asks for /release. */
static void handle_park(struct request *r, const void *args)
{
    (void)args;
    struct fixture *f = request_app(r);
    thread_lock(&f->lock);
    struct request *before = f->parked;
    f->parked = r;
    thread_unlock(&f->lock);
    if (before)
        request_reply_detail(before, 409, "another one came");
}

static void handle_release(struct request *r, const void *args)
{
    (void)args;
    struct fixture *f = request_app(r);
    thread_lock(&f->lock);
    struct request *parked = f->parked;
    f->parked = NULL;
    thread_unlock(&f->lock);
    if (parked)
        request_reply_detail(parked, 200, "released");
    request_reply_empty(r, parked ? 204 : 404);
}

/* ---- streams: `n` numbered lines, written as room comes ---- */

struct line_stream {
    struct fixture *fixture;
    struct server *server;
    pthread_mutex_t lock;
    uint64_t name, next, count;
    bool abort, ended;
    atomic_int refs; /* the handler's and the stream's */
};

static void line_stream_unref(struct line_stream *st)
{
    if (atomic_fetch_sub(&st->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&st->lock);
    free(st);
}

static void stream_lines(void *arg)
{
    struct line_stream *st = arg;
    thread_lock(&st->lock); /* a worker makes the first call, the loop the others */
    for (int i = 0; i < 1000 && st->next < st->count; i++) {
        char line[32];
        int n = snprintf(line, sizeof(line), "line %llu\n", (unsigned long long)st->next++);
        server_stream_write(st->server, st->name, bytes_new(str_make(line, (size_t)n)));
    }
    if (st->next == st->count && !st->ended) {
        st->ended = true;
        server_stream_end(st->server, st->name, !st->abort);
    }
    thread_unlock(&st->lock);
}

static void stream_over(void *arg)
{
    struct line_stream *st = arg;
    thread_lock(&st->fixture->lock);
    st->fixture->streams_closed++;
    thread_unlock(&st->fixture->lock);
    line_stream_unref(st);
}

static void handle_stream(struct request *r, const void *args)
{
    (void)args;
    struct line_stream *st = xcalloc(1, sizeof(*st));
    uint64_t length = 0;
    st->fixture = request_app(r);
    st->server = request_server(r);
    pthread_mutex_init(&st->lock, NULL);
    atomic_init(&st->refs, 2);
    str_to_u64(query_of(r, "n"), &st->count);
    st->abort = query_of(r, "abort").p != NULL;
    bool has_length = str_to_u64(query_of(r, "length"), &length);
    thread_lock(&st->lock);
    st->name = request_stream(r, 200, "text/plain", has_length ? (int64_t)length : -1, stream_lines,
                              stream_over, st);
    thread_unlock(&st->lock);
    stream_lines(st);
    line_stream_unref(st);
}

/* ---- bodies in pieces: counted ---- */

struct counted {
    struct fixture *fixture;
    struct request *request;
    uint64_t n, owed;
    bool stall, first, answered;
};

static void counted_answer(struct counted *b, int status, const char *detail)
{
    autobuf text = {0};
    buf_addf(&text, "%s %llu", detail, (unsigned long long)b->n);
    b->answered = true;
    request_reply_detail(b->request, status, text.p);
    if (b->fixture->stalled == b)
        b->fixture->stalled = NULL;
    free(b);
}

static void counted_data(void *arg, struct str data)
{
    struct counted *b = arg;
    b->n += data.n;
    atomic_fetch_add(&b->fixture->body_bytes, data.n);
    if (b->first)
        counted_answer(b, 422, "at the first piece:");
    else if (b->stall)
        b->owed += data.n;
    else
        request_body_taken(b->request, data.n);
}

static void counted_end(void *arg, const struct err *e)
{
    struct counted *b = arg;
    atomic_fetch_add(e ? &b->fixture->body_errors : &b->fixture->body_ends, 1);
    counted_answer(b, e ? 500 : 200, e ? err_text(e) : "bytes:");
}

static const struct body_callbacks counted_callbacks = {.on_data = counted_data, .on_end = counted_end};

/* ?do=refuse: answers at once; first: at the first piece; stall: takes nothing, and never: does not even ask, until
 * somebody asks for /room. */
static void handle_body(struct request *r, const void *args)
{
    (void)args;
    struct fixture *f = request_app(r);
    struct str what = query_of(r, "do");
    if (str_is(what, "refuse")) {
        request_reply_detail(r, 400, "refused");
        return;
    }
    struct counted *b = xcalloc(1, sizeof(*b));
    b->fixture = f;
    b->request = r;
    b->first = str_is(what, "first");
    b->stall = str_is(what, "stall");
    if (b->stall || str_is(what, "never"))
        f->stalled = b;
    if (!str_is(what, "never"))
        request_body_read(r, &counted_callbacks, b);
}

static void handle_room(struct request *r, const void *args)
{
    (void)args;
    struct fixture *f = request_app(r);
    struct counted *b = f->stalled;
    f->stalled = NULL;
    request_reply_empty(r, b ? 204 : 404);
    if (b && b->stall) {
        b->stall = false;
        request_body_taken(b->request, b->owed);
    } else if (b) {
        request_body_read(b->request, &counted_callbacks, b);
    }
}

/* ---- sockets: an echo with commands ---- */

static void socket_on_text(void *arg, uint64_t socket, struct str message)
{
    struct fixture *f = arg;
    uint64_t n;
    if (str_is(message, "close")) {
        socket_close(f->server, socket, 4001, "as asked");
    } else if (str_starts(message, STR("flood ")) && str_to_u64(str_sub(message, 6, message.n), &n)) {
        for (uint64_t i = 0; i < n; i++)
            if (!socket_send(f->server, socket, bytes_ref(f->page)))
                break;
    } else {
        socket_send(f->server, socket, bytes_new(message));
    }
}

static void socket_on_close(void *arg, uint64_t socket)
{
    (void)socket;
    struct fixture *f = arg;
    thread_lock(&f->lock);
    f->sockets_closed++;
    thread_unlock(&f->lock);
}

static void handle_socket(struct request *r, const void *args)
{
    (void)args;
    static const struct socket_callbacks callbacks = {.on_text = socket_on_text, .on_close = socket_on_close};
    struct fixture *f = request_app(r);
    struct str key = query_of(r, "session_api_key");
    if (!request_key_valid(r, key)) {
        request_refuse_socket(r, 403);
        return;
    }
    thread_lock(&f->lock);
    f->sockets_open++;
    thread_unlock(&f->lock);
    f->last_socket = request_accept_socket(r, &callbacks, f);
}

/* ---- the table ---- */

static void handle_openapi(struct request *r, const void *args);

static const struct route_response item_responses[] = {
    {.status = 201, .description = "Created", .schema = &item_body},
    {.status = 404, .description = "Item not found"},
};

static const struct route fixture_routes[] = {
    {.method = HTTP_GET_, .path = "/page", .handle = handle_page, .flags = ROUTE_INLINE},
    {.method = HTTP_GET_, .path = "/alive", .handle = handle_page, .flags = ROUTE_INLINE | ROUTE_PUBLIC},
    {.method = HTTP_GET_, .path = "/public", .handle = handle_page, .flags = ROUTE_INLINE | ROUTE_PUBLIC},
    {.method = HTTP_GET_, .path = "/worker", .handle = handle_page},
    {.method = HTTP_GET_,
     .path = "/items/search",
     .handle = handle_search,
     .flags = ROUTE_INLINE,
     .args_size = sizeof(struct item_args),
     .query_fields = search_query,
     .query_count = ARRAY_LEN(search_query)},
    {.method = HTTP_GET_,
     .path = "/items/{item_id}",
     .handle = handle_item,
     .args_size = sizeof(struct item_args),
     .path_fields = item_path,
     .path_count = 1},
    {.method = HTTP_DELETE_,
     .path = "/items/{item_id}",
     .handle = handle_item,
     .flags = ROUTE_INLINE,
     .args_size = sizeof(struct item_args),
     .path_fields = item_path,
     .path_count = 1},
    {.method = HTTP_POST_,
     .path = "/items",
     .handle = handle_create,
     .summary = "Create Item",
     .tag = "Items",
     .operation = "create_item",
     .args_size = sizeof(struct item_args),
     .body = &item_body,
     .body_offset = offsetof(struct item_args, body),
     .responses = item_responses,
     .response_count = ARRAY_LEN(item_responses)},
    {.method = HTTP_POST_,
     .path = "/inline",
     .handle = handle_create,
     .flags = ROUTE_INLINE,
     .args_size = sizeof(struct item_args),
     .body = &item_body,
     .body_offset = offsetof(struct item_args, body)},
    {.method = HTTP_POST_,
     .path = "/echo",
     .handle = handle_echo,
     .flags = ROUTE_RAW_BODY,
     .body_max = 32 * 1024 * 1024},
    {.method = HTTP_POST_,
     .path = "/small",
     .handle = handle_echo,
     .flags = ROUTE_RAW_BODY | ROUTE_INLINE,
     .body_max = FIXTURE_SMALL_MAX},
    {.method = HTTP_POST_, .path = "/body", .handle = handle_body, .flags = ROUTE_STREAM_BODY | ROUTE_PUBLIC},
    {.method = HTTP_POST_,
     .path = "/body-small",
     .handle = handle_body,
     .flags = ROUTE_STREAM_BODY,
     .body_max = FIXTURE_SMALL_MAX},
    {.method = HTTP_POST_, .path = "/room", .handle = handle_room, .flags = ROUTE_INLINE},
    {.method = HTTP_GET_, .path = "/batch", .handle = handle_batch, .flags = ROUTE_BODY_ANY_JSON},
    {.method = HTTP_GET_,
     .path = "/files/{path:path}",
     .handle = handle_files,
     .args_size = sizeof(struct item_args),
     .path_fields = files_path,
     .path_count = 1},
    {.method = HTTP_GET_, .path = "/tools/", .handle = handle_page, .flags = ROUTE_INLINE},
    {.method = HTTP_GET_, .path = "/big", .handle = handle_big},
    {.method = HTTP_GET_, .path = "/error", .handle = handle_error},
    {.method = HTTP_GET_, .path = "/park", .handle = handle_park, .flags = ROUTE_INLINE},
    {.method = HTTP_POST_, .path = "/release", .handle = handle_release},
    {.method = HTTP_GET_, .path = "/stream", .handle = handle_stream},
    {.method = HTTP_GET_, .path = "/socket", .handle = handle_socket, .flags = ROUTE_SOCKET},
    {.method = HTTP_GET_,
     .path = "/openapi.json",
     .handle = handle_openapi,
     .flags = ROUTE_PUBLIC | ROUTE_HIDDEN},
};

static void handle_openapi(struct request *r, const void *args)
{
    (void)args;
    static const struct openapi_info info = {
        .title = "Fixture", .version = "1", .key_header = "X-Session-API-Key"};
    autobuf body = {0};
    openapi_write(&info, fixture_routes, ARRAY_LEN(fixture_routes), &body);
    request_reply_json(r, 200, &body);
}

static bool fixture_fallback(struct request *r)
{
    if (!str_is(request_path(r), "/fallback"))
        return false;
    request_reply_detail(r, 200, "from the fallback");
    return true;
}

/* ---- life ---- */

static void fixture_start(struct fixture *f, const struct server_limits *limits,
                          const struct listener_config *config, struct err **e)
{
    *f = (struct fixture){0};
    pthread_mutex_init(&f->lock, NULL);
    autobuf page = {0};
    memset(buf_reserve(&page, 3000), '7', 3000);
    page.n = 3000;
    f->page = bytes_take(&page);
    f->loop = loop_new(e);
    f->pool = pool_new(2, 10000);
    struct server_config server = {.loop = f->loop, .pool = f->pool};
    if (limits)
        server.limits = *limits;
    f->server = server_new(&server);
    struct listener_config l = config ? *config : (struct listener_config){0};
    if (!l.host)
        l.host = "127.0.0.1";
    l.name = "fixture";
    l.routes = fixture_routes;
    l.route_count = ARRAY_LEN(fixture_routes);
    l.app = f;
    l.fallback = fixture_fallback;
    f->listener = server_listen(f->server, &l, e);
}

/* After the loop has ended. */
static void fixture_end(struct fixture *f)
{
    if (f->parked)
        request_reply_empty(f->parked, 204);
    pool_free(f->pool);
    server_free(f->server);
    loop_free(f->loop);
    bytes_unref(f->page);
    pthread_mutex_destroy(&f->lock);
}
