/* From a request's head to its handler: who may call, which route, decoding, loop or worker. */
#include "base/cleanup.h"
#include "base/log.h"
#include "net/connection.h"
#include "net/url.h"

static const struct {
    llhttp_method_t sent;
    enum http_method method;
} methods[] = {
    {HTTP_GET, HTTP_GET_},       {HTTP_HEAD, HTTP_GET_}, {HTTP_POST, HTTP_POST_},
    {HTTP_DELETE, HTTP_DELETE_}, {HTTP_PUT, HTTP_PUT_},  {HTTP_PATCH, HTTP_PATCH_},
};

static enum http_method method_of(unsigned sent)
{
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (sent == (unsigned)methods[i].sent)
            return methods[i].method;
    return HTTP_METHODS;
}

static void refuse(struct request *r, int status, const char *detail)
{
    r->refused = status;
    r->refused_detail = detail;
}

/* ---- before routing ---- */

static void path_set(struct request *r)
{
    struct str root = str_from(r->listener->root_path), path = r->head.path;
    if (root.n > 0 && str_starts(path, root) && (path.n == root.n || path.p[root.n] == '/'))
        path = path.n == root.n ? STR("/") : str_sub(path, root.n, path.n);
    r->path = path;
}

static bool caller_allowed(struct request *r)
{
    const struct access *access = r->listener->access;
    if (!access_host_allowed(access, r->head.host)) {
        refuse(r, 403,
               "This Host name is not allowed: use a loopback name, set a session key or configure the name");
        return false;
    }
    if (!r->head.origin.p)
        return true;
    if (!access_origin_allowed(access, r->head.origin, r->head.host)) {
        refuse(r, 403, "This Origin is not allowed: add it to allow_cors_origins");
        return false;
    }
    r->cors = true;
    return true;
}

/* A browser asks before it sends what a plain form could not. */
static bool is_preflight(const struct request *r)
{
    return r->head.method == HTTP_OPTIONS && r->cors && request_header(r, "Access-Control-Request-Method").p;
}

static void preflight_answer(struct request *r)
{
    struct str wanted = request_header(r, "Access-Control-Request-Headers");
    request_set_header(r, STR("access-control-allow-methods"),
                       STR("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"));
    if (wanted.p)
        request_set_header(r, STR("access-control-allow-headers"), wanted);
    if (str_eq_nocase(request_header(r, "Access-Control-Request-Private-Network"), STR("true")))
        request_set_header(r, STR("access-control-allow-private-network"), STR("true"));
    request_set_header(r, STR("access-control-max-age"), STR("600"));
    refuse(r, 200, NULL);
}

/* ---- routing ---- */

/* As FastAPI: a path that exists with or without the slash at its end is redirected there. */
static bool redirect_slash(struct request *r)
{
    struct str target = r->head.target, path = r->path;
    if (path.n < 2 || path.p[1] == '/') /* "//host/" would lead elsewhere */
        return false;
    bool has = path.p[path.n - 1] == '/';
    autobuf other = {0};
    buf_add(&other, has ? str_sub(path, 0, path.n - 1) : path);
    if (!has)
        buf_add_char(&other, '/');
    struct route_match match;
    router_match(r->listener->router, buf_str(&other), HTTP_METHODS, false, &match);
    if (!match.methods)
        return false;
    ssize_t question = str_find_char(target, '?');
    struct str raw = question < 0 ? target : str_sub(target, 0, (size_t)question);
    if (has != str_ends(raw, STR("/")) || str_starts(raw, STR("//")))
        return false;
    autobuf location = {0};
    buf_add(&location, has ? str_sub(raw, 0, raw.n - 1) : raw);
    if (!has)
        buf_add_char(&location, '/');
    if (question >= 0)
        buf_add(&location, str_sub(target, (size_t)question, target.n));
    request_set_header(r, STR("location"), buf_str(&location));
    refuse(r, 307, NULL);
    return true;
}

static void refuse_method(struct request *r, unsigned has)
{
    autobuf allow = {0};
    router_methods_write(has, &allow);
    request_set_header(r, STR("allow"), buf_str(&allow));
    refuse(r, r->head.method == HTTP_OPTIONS ? 204 : 405, NULL);
}

static void route_find(struct request *r)
{
    const struct router *router = r->listener->router;
    struct route_match match;
    r->method = method_of(r->head.method);
    r->head_only = r->head.method == HTTP_HEAD;
    if (str_is(r->head.target, "*")) {
        refuse_method(r, (1u << HTTP_METHODS) - 1);
        return;
    }
    router_match(router, r->path, r->method, r->head.upgrade_websocket, &match);
    if (!match.route && r->head.upgrade_websocket) /* not a socket's path: the upgrade is ignored */
        router_match(router, r->path, r->method, false, &match);
    if (match.route) {
        r->route = match.route;
        memcpy(r->params, match.values, sizeof(r->params));
        if (!(r->route->flags & (ROUTE_PUBLIC | ROUTE_SOCKET)) &&
            !access_key_valid(r->listener->access, r->head.key))
            refuse(r, 401, NULL);
    } else if (match.methods) {
        refuse_method(r, match.methods);
    } else if (!redirect_slash(r)) {
        if (r->listener->config.fallback && r->method < HTTP_METHODS)
            r->fallback = true;
        else
            refuse(r, 404, NULL);
    }
}

/* ---- the body ---- */

static bool takes_body(const struct route *route)
{
    return route &&
           (route->body || (route->flags & (ROUTE_RAW_BODY | ROUTE_BODY_ANY_JSON | ROUTE_STREAM_BODY)));
}

static bool is_streamed(const struct request *r)
{
    return r->route && (r->route->flags & ROUTE_STREAM_BODY);
}

void dispatch_continue(struct connection *c)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct bytes *text = bytes_new(str_make(go_on, sizeof(go_on) - 1));
    output_add(c, (struct out_item){.p = text->p, .n = text->n, .shared = text});
    output_flush(c);
}

static void body_prepare(struct connection *c, struct request *r)
{
    struct http_parser *p = &c->parser;
    bool wanted = !r->refused && takes_body(r->route), streamed = wanted && is_streamed(r);
    size_t max = r->route && r->route->body_max ? r->route->body_max
                 : streamed                     ? SIZE_MAX
                                                : c->server->limits.body_max;
    p->body_max = wanted ? max : DISCARD_MAX;
    p->discard = !wanted;
    if (!r->head.has_body)
        return;
    if (r->head.has_length && r->head.length > p->body_max) {
        bool refused = r->refused != 0;
        connection_fail(c, refused ? r->refused : 413,
                        refused ? r->refused_detail : "The request's body is too large");
        return;
    }
    /* Who asks before sending, or does not say how much will come, is refused at once. */
    if (r->refused && (r->head.expect_continue || !r->head.has_length)) {
        connection_fail(c, r->refused, r->refused_detail);
        return;
    }
    if (streamed) /* its handler says whether it wants the body */
        return;
    if (r->head.expect_continue) {
        dispatch_continue(c);
    } else if (wanted && r->head.has_length && r->head.length <= DECODE_INLINE_MAX) {
        buf_reserve(&r->head.body, (size_t)r->head.length);
    }
}

void dispatch_head(struct connection *c)
{
    struct request *r = c->request;
    atomic_store_explicit(&c->server->last_request_ns, r->started_ns, memory_order_relaxed);
    path_set(r);
    if (caller_allowed(r)) {
        if (is_preflight(r))
            preflight_answer(r);
        else
            route_find(r);
    }
    body_prepare(c, r);
    if (!c->closed && c->request && !r->refused && is_streamed(r))
        dispatch_stream(c);
}

/* ---- decoding: loop or worker ---- */

static bool is_json(struct str content_type)
{
    ssize_t end = str_find_char(content_type, ';');
    struct str type = str_trim(end < 0 ? content_type : str_sub(content_type, 0, (size_t)end));
    return str_eq_nocase(type, STR("application/json")) ||
           (str_starts_nocase(type, STR("application/")) && type.n > 5 &&
            str_eq_nocase(str_sub(type, type.n - 5, type.n), STR("+json")));
}

bool request_has_json(const struct request *r)
{
    return is_json(r->head.content_type);
}

static void decode_path(struct request *r, struct json_problems *problems)
{
    const struct route *route = r->route;
    for (size_t i = 0; i < route->path_count; i++) {
        struct str value = STR_NONE, name;
        for (size_t n = 0; (name = route_param_name(route, n)).p; n++)
            if (str_is(name, route->path_fields[i].name))
                value = r->params[n];
        json_decode_text(&route->path_fields[i], value, "path", problems->arena, r->args, problems);
    }
}

static void decode_query(struct request *r, struct json_problems *problems)
{
    const struct route *route = r->route;
    struct url_pair *pairs = NULL;
    size_t count = 0;
    if (!url_query_parse(r->head.query, problems->arena, &pairs, &count)) {
        json_problem_add(problems, "too_long", "query", NULL, "There are too many query parameters");
        return;
    }
    for (size_t i = 0; i < route->query_count; i++) {
        const struct json_field *field = &route->query_fields[i];
        bool found = false;
        for (size_t n = 0; n < count; n++) {
            bool named =
                str_is(pairs[n].name, field->name) || (field->alias && str_is(pairs[n].name, field->alias));
            if (!named || (found && field->type != FIELD_ARRAY))
                continue;
            found = true;
            if (!json_decode_text(field, pairs[n].value, "query", problems->arena, r->args, problems))
                break;
        }
        if (!found)
            json_decode_text(field, STR_NONE, "query", problems->arena, r->args, problems);
    }
}

/* Parses the body. False when that has added a problem. */
static bool body_parse(struct request *r, struct json_problems *problems)
{
    struct str body = request_body(r);
    size_t offset = 0;
    if (body.n == 0 && (r->route->flags & ROUTE_BODY_OPTIONAL))
        body = STR("{}");
    if (body.n == 0)
        return true;
    /* A page of a stranger can send forms and plain text without asking: those are never taken as JSON. */
    if (request_body(r).n > 0 && !request_has_json(r)) {
        json_problem_add(problems, "model_attributes_type", "body", NULL,
                         "Input should be JSON, with the content type application/json");
        return false;
    }
    autoerr e = NULL;
    r->json = json_parse(body, &offset, &e);
    if (r->json)
        return true;
    char position[24];
    snprintf(position, sizeof(position), "%zu", offset);
    json_problem_add(problems, "json_invalid", "body", position, "JSON decode error");
    if (problems->last) { /* what exactly, in the words of the parser */
        autobuf context = {0};
        struct json_writer w = json_writer(&context);
        jw_object(&w);
        jw_member_cstr(&w, "error", err_text(e));
        jw_object_end(&w);
        problems->last->context = arena_str(problems->arena, buf_str(&context));
        problems->last->input = STR("{}");
    }
    return false;
}

static void decode_body(struct request *r, struct json_problems *problems)
{
    const struct route *route = r->route;
    if (route->flags & (ROUTE_RAW_BODY | ROUTE_STREAM_BODY) ||
        (!route->body && !(route->flags & ROUTE_BODY_ANY_JSON)))
        return;
    if (!body_parse(r, problems) || !route->body)
        return;
    json_decode(route->body, json_root(r->json), "body", problems->arena,
                (char *)r->args + route->body_offset, problems);
}

/* Fills the arguments. False when the request was answered with what is wrong. Loop or worker. */
static bool request_decode(struct request *r)
{
    const struct route *route = r->route;
    if (route->args_size == 0 && !takes_body(route))
        return true;
    struct json_problems problems = {.arena = request_arena(r)};
    if (route->args_size > 0)
        r->args = arena_alloc(r->arena, route->args_size);
    decode_path(r, &problems);
    if (route->query_count > 0)
        decode_query(r, &problems);
    decode_body(r, &problems);
    if (problems.count == 0)
        return true;
    if (route->flags & ROUTE_SOCKET)
        request_refuse_socket(r, 403); /* what the reference's clients see */
    else
        request_reply_problems(r, &problems);
    return false;
}

/* ---- running ---- */

static void handle_message(struct loop_message *m)
{
    struct request *r = CONTAINER_OF(m, struct request, message);
    r->route->handle(r, r->args);
}

static void work(void *arg)
{
    struct request *r = arg;
    if (!request_decode(r))
        return;
    if (r->route->flags & ROUTE_INLINE) {
        r->message.run = handle_message;
        loop_post(r->server->loop, &r->message);
    } else {
        r->route->handle(r, r->args);
    }
}

static void run_on_loop(struct request *r)
{
    if (request_decode(r))
        r->route->handle(r, r->args);
}

static void run(struct request *r)
{
    unsigned flags = r->route->flags;
    autoerr e = NULL;
    if (flags & ROUTE_SOCKET) {
        if (socket_handshake_valid(r))
            run_on_loop(r);
    } else if (!r->server->pool || ((flags & ROUTE_INLINE) && r->head.body.n <= DECODE_INLINE_MAX)) {
        run_on_loop(r);
    } else if (!pool_submit(r->server->pool, work, r, &e)) {
        request_reply_error(r, e);
    }
}

static void refusal_answer(struct request *r)
{
    autobuf body = {0};
    switch (r->refused) {
    case 200:
        buf_add(&body, STR("OK"));
        request_reply(r, 200, "text/plain; charset=utf-8", &body);
        break;
    case 204:
    case 307: request_reply_empty(r, r->refused); break;
    default: request_reply_detail(r, r->refused, r->refused_detail); break;
    }
}

/* False: too many; the request has been answered. */
static bool request_park(struct request *r)
{
    struct server *s = r->server;
    if (s->parked >= s->limits.parked_max) {
        request_reply_detail(r, 503, "Too many requests are being handled");
        return false;
    }
    r->counted = true;
    s->parked++;
    return true;
}

void dispatch_stream(struct connection *c)
{
    struct request *r = steal(c->request);
    intake_begin(c);
    if (request_park(r))
        run_on_loop(r);
}

void dispatch_request(struct connection *c)
{
    struct request *r = steal(c->request);
    c->phase = PHASE_BUSY;
    deadline_clear(&c->read_deadline);
    if (r->refused) {
        refusal_answer(r);
        return;
    }
    if (!request_park(r))
        return;
    if (r->fallback) {
        if (!r->listener->config.fallback(r))
            request_reply_detail(r, 404, NULL);
        return;
    }
    run(r);
}
