#include "api/agent_server/socket_client.h"
#include "base/cleanup.h"

#define AUTH_MS 10000                       /* from the upgrade to the message with the key */
#define AUTH_MESSAGE_MAX 4096               /* bytes of that message: it is parsed on the loop */
#define WAITING_MAX 256                     /* messages of one client that wait for their turn */
#define WAITING_BYTES_MAX (4 * 1024 * 1024) /* their text, with WAITING_OVERHEAD for each */
#define WAITING_OVERHEAD 64                 /* memory that even an empty one costs */

/* ---- messages that wait ---- */

static bool waiting_add(struct socket_client *c, struct str text)
{
    size_t bytes = text.n + WAITING_OVERHEAD;
    if (c->waiting_count == WAITING_MAX || c->waiting_bytes + bytes > WAITING_BYTES_MAX)
        return false;
    if (!c->waiting)
        c->waiting = xcalloc(WAITING_MAX, sizeof(*c->waiting));
    c->waiting[(c->waiting_first + c->waiting_count++) % WAITING_MAX] = bytes_new(text);
    c->waiting_bytes += bytes;
    return true;
}

static struct bytes *waiting_take(struct socket_client *c)
{
    struct bytes *text = c->waiting[c->waiting_first];
    c->waiting_first = (c->waiting_first + 1) % WAITING_MAX;
    c->waiting_bytes -= text->n + WAITING_OVERHEAD;
    if (--c->waiting_count == 0)
        free(steal(c->waiting)); /* an idle socket keeps no memory for messages */
    return text;
}

static void client_next(struct socket_client *c)
{
    if (c->busy > 0 || c->stage != SOCKET_ATTACHED || c->waiting_count == 0)
        return;
    c->kind->message(c, waiting_take(c));
}

/* Leaves what may end the client. False: it is gone. */
static bool client_release(struct socket_client *c)
{
    if (--c->busy > 0 || c->stage != SOCKET_CLOSED)
        return true;
    while (c->waiting_count > 0)
        bytes_unref(waiting_take(c));
    free(c);
    return false;
}

void socket_client_enter(struct socket_client *c)
{
    c->busy++;
}

void socket_client_leave(struct socket_client *c)
{
    if (client_release(c))
        client_next(c);
}

void socket_client_refuse(struct socket_client *c, int code, const char *reason)
{
    socket_close(c->app->config.server, c->socket, code, reason);
}

void socket_client_attached(struct socket_client *c)
{
    c->stage = SOCKET_ATTACHED;
}

static void client_take(struct socket_client *c, struct str text)
{
    if (waiting_add(c, text))
        client_next(c);
    else
        socket_client_refuse(c, CLOSE_TRY_LATER, "Too many messages are waiting");
}

bool socket_message_is_auth(const struct json_value *v)
{
    if (!str_is(json_get_str(v, "type"), "auth"))
        return false;
    for (struct json_iter it = json_iter(v); json_next(&it);)
        if (!str_is(it.key, "type") && !str_is(it.key, "session_api_key"))
            return false;
    return true;
}

/* ---- authentication ---- */

static bool key_valid(const struct api *a, struct str key)
{
    bool valid = false;
    for (size_t i = 0; i < a->config.key_count; i++)
        valid |= str_eq_secret(a->config.keys[i], key);
    return valid;
}

static void client_open(struct socket_client *c)
{
    if (c->stage == SOCKET_CLOSED)
        return;
    c->stage = SOCKET_OPENING;
    c->kind->open(c);
}

static void auth_expired(void *arg)
{
    struct socket_client *c = arg;
    c->timer = 0;
    socket_client_refuse(c, CLOSE_AUTH, "Authentication failed");
}

static void client_authenticate(struct socket_client *c, struct str text)
{
    autojson doc = text.n <= AUTH_MESSAGE_MAX ? json_parse(text, NULL, NULL) : NULL;
    struct str key = json_get_str(json_root(doc), "session_api_key");
    if (!str_is(json_get_str(json_root(doc), "type"), "auth") || !key.p || !key_valid(c->app, key)) {
        socket_client_refuse(c, CLOSE_AUTH, "Authentication failed");
        return;
    }
    loop_timer_cancel(c->app->config.loop, c->timer);
    c->timer = 0;
    client_open(c);
}

/* ---- what the socket says ---- */

static void on_text(void *arg, uint64_t socket, struct str message)
{
    struct socket_client *c = arg;
    c->socket = socket; /* a frame may come with the upgrade itself */
    if (c->stage == SOCKET_AUTH)
        client_authenticate(c, message);
    else if (c->stage != SOCKET_CLOSED)
        client_take(c, message);
}

static void on_room(void *arg, uint64_t socket)
{
    struct socket_client *c = arg;
    (void)socket;
    if (c->stage == SOCKET_ATTACHED)
        c->kind->room(c);
}

static void on_close(void *arg, uint64_t socket)
{
    struct socket_client *c = arg;
    bool attached = c->stage == SOCKET_ATTACHED;
    (void)socket;
    c->busy++;
    if (c->timer)
        loop_timer_cancel(c->app->config.loop, c->timer);
    c->stage = SOCKET_CLOSED;
    if (attached)
        c->kind->closed(c);
    client_release(c);
}

static const struct socket_callbacks callbacks = {
    .on_text = on_text, .on_room = on_room, .on_close = on_close};

void socket_client_accept(struct request *r, const struct socket_kind *kind, struct str key,
                          const struct socket_client *client)
{
    struct api *a = app_of(r);
    bool open = a->config.key_count == 0;
    if (key.n == 0)
        key = request_header(r, "x-session-api-key");
    if (!open && key.n > 0 && !key_valid(a, key)) {
        request_refuse_socket(r, 403); /* a close with 4001 before the handshake is over */
        return;
    }
    open |= key.n > 0;
    struct socket_client *c = xcalloc(1, kind->size);
    memcpy(c, client, kind->size);
    c->app = a;
    c->kind = kind;
    c->stage = open ? SOCKET_OPENING : SOCKET_AUTH;
    c->busy = 1;
    c->socket = request_accept_socket(r, &callbacks, c);
    if (open)
        client_open(c);
    else if (c->stage == SOCKET_AUTH)
        c->timer = loop_timer(a->config.loop, AUTH_MS, auth_expired, c);
    client_release(c);
}
