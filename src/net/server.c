#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/connection.h"
#include <netdb.h>

/* The kernel's queue of connections that wait to be accepted: 10,000 may come at once. */
#define LISTEN_BACKLOG 4096

const struct server_limits server_limits_default = {
    .head_ms = 10 * 1000,
    .body_idle_ms = 30 * 1000,
    .body_rate_min = 1024,
    .keep_alive_ms = 75 * 1000,
    .write_idle_ms = 60 * 1000,
    .write_rate_min = 1024,
    .head_max = 64 * 1024,
    .headers_max = 100,
    .body_max = 16 * 1024 * 1024,
    .connections_max = 20000,
    .parked_max = 10000,
    .sending_max = 512 * 1024 * 1024,
    .socket_message_max = 1024 * 1024,
    .socket_buffer_max = 2 * 1024 * 1024,
};

static void limits_complete(struct server_limits *l)
{
    const struct server_limits *d = &server_limits_default;
#define COMPLETE(member) \
    if (l->member == 0)  \
    l->member = d->member
    COMPLETE(head_ms);
    COMPLETE(body_idle_ms);
    COMPLETE(body_rate_min);
    COMPLETE(keep_alive_ms);
    COMPLETE(write_idle_ms);
    COMPLETE(write_rate_min);
    COMPLETE(head_max);
    COMPLETE(headers_max);
    COMPLETE(body_max);
    COMPLETE(connections_max);
    COMPLETE(parked_max);
    COMPLETE(sending_max);
    COMPLETE(socket_message_max);
    COMPLETE(socket_buffer_max);
#undef COMPLETE
}

struct server *server_new(const struct server_config *config)
{
    struct server *s = xcalloc(1, sizeof(*s));
    s->loop = config->loop;
    s->uv = loop_uv(config->loop);
    s->pool = config->pool;
    s->limits = config->limits;
    limits_complete(&s->limits);
    s->read_buffer = xmalloc(READ_BUFFER_BYTES);
    s->streams = map_u64_new();
    atomic_init(&s->next_stream, 1);
    atomic_init(&s->last_request_ns, clock_mono_ns());
    server_deadlines_init(s);
    uv_idle_init(s->uv, &s->flusher);
    s->handles++;
    return s;
}

/* ---- slots ---- */

struct connection *server_connection(const struct server *s, uint32_t slot, uint32_t generation)
{
    if (slot >= s->slots.n || s->slots.at[slot].generation != generation)
        return NULL;
    return s->slots.at[slot].connection;
}

void server_slot_take(struct server *s, struct connection *c)
{
    if (!s->free_slot) {
        vec_push(&s->slots, (struct slot){.generation = 1});
        s->free_slot = (uint32_t)s->slots.n;
    }
    struct slot *slot = &s->slots.at[s->free_slot - 1];
    c->slot = s->free_slot - 1;
    c->generation = slot->generation;
    slot->connection = c;
    s->free_slot = slot->next_free;
    slot->next_free = 0;
    s->connections++;
}

void server_slot_release(struct server *s, struct connection *c)
{
    struct slot *slot = &s->slots.at[c->slot];
    slot->connection = NULL;
    slot->generation++;
    slot->next_free = s->free_slot;
    s->free_slot = c->slot + 1;
    s->connections--;
}

bool server_charge(struct server *s, size_t *charged, size_t now)
{
    s->received += now - *charged;
    *charged = now;
    return s->received <= RECEIVED_MAX;
}

size_t server_parked(const struct server *s)
{
    return s->parked;
}

uint64_t server_last_request_ns(const struct server *s)
{
    return atomic_load_explicit(&s->last_request_ns, memory_order_relaxed);
}

/* ---- listeners ---- */

static void on_connection(uv_stream_t *stream, int status)
{
    if (status == 0)
        connection_open(CONTAINER_OF((uv_tcp_t *)stream, struct listener, tcp));
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct listener *l = CONTAINER_OF((uv_tcp_t *)handle, struct listener, tcp);
    struct server *s = l->server;
    s->handles--;
    server_connection_freed(s);
}

static void listener_close(struct listener *l)
{
    if (l->closed)
        return;
    l->closed = true;
    uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
}

static bool address_find(const char *host, int port, struct sockaddr_storage *out, struct err **e)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char service[16];
    snprintf(service, sizeof(service), "%d", port);
    if (strcmp(host, "localhost") == 0) /* also where there is no resolver */
        host = "127.0.0.1";
    int rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0)
        return err_set(e, ERR_INVALID, "cannot listen on %s: %s", host, gai_strerror(rc));
    memcpy(out, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

static bool listener_bind(struct listener *l, const char *host, int port, struct err **e)
{
    struct sockaddr_storage address = {0};
    if (!address_find(host, port, &address, e))
        return false;
    int rc = uv_tcp_bind(&l->tcp, (struct sockaddr *)&address, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&l->tcp, LISTEN_BACKLOG, on_connection);
    int length = sizeof(address);
    if (rc == 0)
        rc = uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&address, &length);
    if (rc != 0)
        return err_set(e, rc == UV_EADDRINUSE ? ERR_CONFLICT : ERR_IO, "cannot listen on %s port %d: %s",
                       host, port, uv_strerror(rc));
    /* The port is at the same place in both families. */
    l->port = ntohs(((struct sockaddr_in *)&address)->sin_port);
    return true;
}

static struct access *listener_access(const struct listener_config *config, struct err **e)
{
    const struct access_config access = {
        .bound_host = str_from(config->host),
        .keys = config->keys,
        .key_count = config->key_count,
        .origins = config->origins,
        .origin_count = config->origin_count,
        .origin_regex = config->origin_regex,
        .hosts = config->hosts,
        .host_count = config->host_count,
    };
    return access_new(&access, e);
}

struct listener *server_listen(struct server *s, const struct listener_config *config, struct err **e)
{
    struct access *access = listener_access(config, e);
    if (!access)
        return NULL;
    struct listener *l = xcalloc(1, sizeof(*l));
    l->server = s;
    l->access = access;
    l->router = router_new(config->routes, config->route_count);
    l->config = *config;
    struct str root = config->root_path;
    while (str_ends(root, STR("/")))
        root = str_sub(root, 0, root.n - 1);
    l->root_path = str_dup(root);
    uv_tcp_init(s->uv, &l->tcp);
    s->handles++;
    l->next = s->listeners;
    s->listeners = l;
    if (!listener_bind(l, config->host, config->port, e)) {
        listener_close(l); /* its memory goes with the server's */
        return NULL;
    }
    return l;
}

int listener_port(const struct listener *l)
{
    return l->port;
}

/* ---- drain and end ---- */

static void drain_finish(void *arg)
{
    struct server *s = arg;
    if (s->drained)
        return;
    s->drained = true;
    loop_timer_cancel(s->loop, s->drain_timer);
    s->drain_done(s->drain_arg);
}

void server_connection_freed(struct server *s)
{
    if (s->draining && s->connections == 0 && s->drain_done)
        drain_finish(s);
}

static void drain_expired(void *arg)
{
    struct server *s = arg;
    s->drain_timer = 0;
    for (size_t i = 0; i < s->slots.n; i++)
        if (s->slots.at[i].connection)
            connection_close(s->slots.at[i].connection);
    drain_finish(s);
}

void server_drain(struct server *s, uint64_t ms, void (*done)(void *arg), void *arg)
{
    s->draining = true;
    s->drain_done = done;
    s->drain_arg = arg;
    s->drain_timer = loop_timer(s->loop, ms, drain_expired, s);
    for (struct listener *l = s->listeners; l; l = l->next)
        listener_close(l);
    for (size_t i = 0; i < s->slots.n; i++) {
        struct connection *c = s->slots.at[i].connection;
        if (!c)
            continue;
        if (c->phase == PHASE_SOCKET)
            socket_close_connection(c, WS_CODE_AWAY, "The server is shutting down");
        else if (c->phase == PHASE_IDLE)
            connection_close(c);
        else
            c->close_after = true;
    }
    if (s->connections == 0 && !s->listeners)
        loop_call(s->loop, drain_finish, s);
}

static void on_flusher_closed(uv_handle_t *handle)
{
    CONTAINER_OF((uv_idle_t *)handle, struct server, flusher)->handles--;
}

void server_free(struct server *s)
{
    if (!s)
        return;
    s->drained = true;
    loop_timer_cancel(s->loop, s->drain_timer);
    for (struct listener *l = s->listeners; l; l = l->next)
        listener_close(l);
    for (size_t i = 0; i < s->slots.n; i++)
        if (s->slots.at[i].connection)
            connection_close(s->slots.at[i].connection);
    /* Answers that were on their way when the loop ended. */
    for (size_t before = s->parked + 1; s->parked < before;) {
        before = s->parked;
        uv_run(s->uv, UV_RUN_NOWAIT);
    }
    uv_close((uv_handle_t *)&s->flusher, on_flusher_closed);
    server_deadlines_close(s);
    while (s->handles > 0)
        uv_run(s->uv, UV_RUN_ONCE);
    for (struct listener *l = s->listeners, *next; l; l = next) {
        next = l->next;
        router_free(l->router);
        access_free(l->access);
        free(l->root_path);
        free(l);
    }
    for (struct request *r = s->idle_requests, *next; r; r = next) {
        next = r->next_idle;
        http_head_deinit(&r->head);
        buf_deinit(&r->headers);
        free(r);
    }
    vec_deinit(&s->slots);
    map_u64_free(s->streams);
    buf_deinit(&s->scratch);
    free(s->read_buffer);
    free(s);
}
