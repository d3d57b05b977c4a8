/* /sockets/events/{id}: authentication, attaching to the conversation, and messages that come in.
 *
 * A client lives on the loop thread. What may block or take long (opening the conversation, parsing and sending a
 * message) happens elsewhere, one job at a time per client so that messages keep their order; a client whose socket has
 * closed is freed when its last job has come back. */
#include "api/agent_server/app.h"
#include "base/cleanup.h"

#define AUTH_MS 10000                       /* from the upgrade to the message with the key */
#define AUTH_MESSAGE_MAX 4096               /* bytes of that message: it is parsed on the loop */
#define WAITING_MAX 256                     /* messages of one client that wait for their turn */
#define WAITING_BYTES_MAX (4 * 1024 * 1024) /* their text, with WAITING_OVERHEAD for each */
#define WAITING_OVERHEAD 64                 /* memory that even an empty one costs */

#define CLOSE_AUTH 4001
#define CLOSE_MISSING 4004
#define CLOSE_TRY_LATER 1013
#define CLOSE_INTERNAL 1011

enum stage { STAGE_AUTH, STAGE_OPENING, STAGE_ATTACHED, STAGE_CLOSED };

struct client {
    struct agent_server *app;
    enum stage stage;
    uint64_t socket, timer;
    struct uuid id;
    enum resend resend;
    int64_t since_us;
    struct subscription *subscription;
    struct bytes **waiting; /* a ring of WAITING_MAX; NULL while it is empty */
    size_t waiting_first, waiting_count, waiting_bytes;
    unsigned busy; /* jobs under way, and calls that may close the socket */
};

/* ---- messages that wait ---- */

static bool waiting_add(struct client *c, struct str text)
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

static struct bytes *waiting_take(struct client *c)
{
    struct bytes *text = c->waiting[c->waiting_first];
    c->waiting_first = (c->waiting_first + 1) % WAITING_MAX;
    c->waiting_bytes -= text->n + WAITING_OVERHEAD;
    if (--c->waiting_count == 0)
        free(steal(c->waiting)); /* an idle socket keeps no memory for messages */
    return text;
}

/* Leaves and enters what may end the client. False: it is gone. */
static bool client_release(struct client *c)
{
    if (--c->busy > 0 || c->stage != STAGE_CLOSED)
        return true;
    while (c->waiting_count > 0)
        bytes_unref(waiting_take(c));
    free(c);
    return false;
}

static void client_refuse(struct client *c, int code, const char *reason)
{
    socket_close(c->app->config.server, c->socket, code, reason);
}

/* ---- messages ---- */

struct job {
    struct client *client;
    struct conversation *conversation;
    struct bytes *text;
    struct json_doc *message;
    char *detail; /* what was wrong, or NULL */
    const char *code;
};

static void client_next(struct client *c);

static void job_back(void *arg)
{
    struct job *job = arg;
    struct client *c = job->client;
    if (job->detail && c->subscription)
        subscription_error(c->subscription, job->code, str_from(job->detail));
    conversation_unref(job->conversation);
    bytes_unref(job->text);
    json_doc_free(job->message);
    free(job->detail);
    free(job);
    if (client_release(c))
        client_next(c);
}

static void job_end(struct job *job, const char *code, struct str detail)
{
    if (code) {
        job->code = code;
        job->detail = str_dup(detail);
    }
    loop_call(job->client->app->config.loop, job_back, job);
}

static void job_sent(void *arg, const struct err *e)
{
    if (e)
        job_end(arg, e->kind == ERR_INVALID ? "ValidationError" : "ServerError", str_from(err_text(e)));
    else
        job_end(arg, NULL, STR_NONE);
}

/* Such a message needs no answer, whether or not a key is asked for: clients that have one always send it. */
static bool is_auth(const struct json_value *v)
{
    if (!str_is(json_get_str(v, "type"), "auth"))
        return false;
    for (struct json_iter it = json_iter(v); json_next(&it);)
        if (!str_is(it.key, "type") && !str_is(it.key, "session_api_key"))
            return false;
    return true;
}

static void job_run(void *arg)
{
    struct job *job = arg;
    autoerr e = NULL;
    autoarena arena = arena_new();
    autobuf message = {0};
    struct json_problems problems = {.arena = arena};
    autojson doc = json_parse(bytes_str(job->text), NULL, &e);
    if (!doc) {
        job_end(job, "ValidationError", str_from(err_text(e)));
    } else if (is_auth(json_root(doc))) {
        job_end(job, NULL, STR_NONE);
    } else if (!message_decode(json_root(doc), NULL, true, &problems, &message)) {
        autobuf text = {0};
        json_problems_text(&problems, &text);
        job_end(job, "ValidationError", buf_str(&text));
    } else {
        /* The job may be over before this returns. */
        struct conversation *c = conversation_ref(job->conversation);
        job->message = json_parse_trusted(buf_str(&message), NULL);
        conversation_send(c, json_root(job->message), true, job_sent, job);
        conversation_unref(c);
    }
}

static void client_next(struct client *c)
{
    if (c->busy > 0 || c->stage != STAGE_ATTACHED || c->waiting_count == 0)
        return;
    struct job *job = xcalloc(1, sizeof(*job));
    job->client = c;
    job->conversation = conversation_ref(subscription_conversation(c->subscription));
    job->text = waiting_take(c);
    c->busy++;
    pool_submit_always(c->app->config.pool, job_run, job);
}

static void client_take(struct client *c, struct str text)
{
    if (waiting_add(c, text))
        client_next(c);
    else
        client_refuse(c, CLOSE_TRY_LATER, "Too many messages are waiting");
}

/* ---- attaching ---- */

struct opened {
    struct client *client;
    struct conversation *conversation;
    bool missing;
};

/* Takes the reference. */
static void client_attach(struct client *c, struct conversation *conversation)
{
    c->subscription = subscription_open(conversation, c->socket, c->resend, c->since_us);
    if (!c->subscription) {
        client_refuse(c, CLOSE_TRY_LATER, "Too many connections for this conversation");
        return;
    }
    if (c->stage == STAGE_CLOSED) { /* while the first frames were sent */
        subscription_close(steal(c->subscription));
        return;
    }
    c->stage = STAGE_ATTACHED;
}

static void opened_back(void *arg)
{
    struct opened *o = arg;
    struct client *c = o->client;
    if (c->stage == STAGE_CLOSED)
        conversation_unref(o->conversation);
    else if (o->conversation)
        client_attach(c, o->conversation);
    else if (o->missing)
        client_refuse(c, CLOSE_MISSING, "Conversation not found");
    else
        client_refuse(c, CLOSE_INTERNAL, "The conversation cannot be opened");
    free(o);
    if (client_release(c))
        client_next(c);
}

/* Any thread. */
static void client_opened(void *arg, struct conversation *conversation, const struct err *e)
{
    struct opened *o = arg;
    o->conversation = conversation;
    o->missing = e && e->kind == ERR_NOT_FOUND;
    loop_call(o->client->app->config.loop, opened_back, o);
}

static void client_open(struct client *c)
{
    if (c->stage == STAGE_CLOSED)
        return;
    struct opened *o = xcalloc(1, sizeof(*o));
    o->client = c;
    c->stage = STAGE_OPENING;
    c->busy++;
    conversations_open(c->app->config.conversations, &c->id, client_opened, o);
}

/* ---- authentication ---- */

static bool key_valid(const struct agent_server *a, struct str key)
{
    bool valid = false;
    for (size_t i = 0; i < a->config.key_count; i++)
        valid |= str_eq_secret(a->config.keys[i], key);
    return valid;
}

static void auth_expired(void *arg)
{
    struct client *c = arg;
    c->timer = 0;
    client_refuse(c, CLOSE_AUTH, "Authentication failed");
}

static void client_authenticate(struct client *c, struct str text)
{
    autojson doc = text.n <= AUTH_MESSAGE_MAX ? json_parse(text, NULL, NULL) : NULL;
    struct str key = json_get_str(json_root(doc), "session_api_key");
    if (!str_is(json_get_str(json_root(doc), "type"), "auth") || !key.p || !key_valid(c->app, key)) {
        client_refuse(c, CLOSE_AUTH, "Authentication failed");
        return;
    }
    loop_timer_cancel(c->app->config.loop, c->timer);
    c->timer = 0;
    client_open(c);
}

/* ---- what the socket says ---- */

static void on_text(void *arg, uint64_t socket, struct str message)
{
    struct client *c = arg;
    c->socket = socket; /* a frame may come with the upgrade itself */
    if (c->stage == STAGE_AUTH)
        client_authenticate(c, message);
    else if (c->stage != STAGE_CLOSED)
        client_take(c, message);
}

static void on_room(void *arg, uint64_t socket)
{
    struct client *c = arg;
    (void)socket;
    if (c->subscription)
        subscription_room(c->subscription);
}

static void on_close(void *arg, uint64_t socket)
{
    struct client *c = arg;
    (void)socket;
    c->busy++;
    if (c->timer)
        loop_timer_cancel(c->app->config.loop, c->timer);
    if (c->stage == STAGE_ATTACHED)
        subscription_close(steal(c->subscription));
    c->stage = STAGE_CLOSED;
    client_release(c);
}

static const struct socket_callbacks callbacks = {
    .on_text = on_text, .on_room = on_room, .on_close = on_close};

/* ---- the route ---- */

struct socket_args {
    struct uuid id;
    struct str key;
    int mode;
    bool has_mode, resend_all, has_since;
    int64_t since_us;
};
static const char *const mode_names[] = {"all", "since", NULL};
#define AT(member) .offset = offsetof(struct socket_args, member)
static const struct json_field query_fields[] = {
    {.name = "session_api_key", .type = FIELD_STR, AT(key), .doc = "The key, where a header cannot be sent."},
    {.name = "resend_mode",
     .type = FIELD_ENUM,
     AT(mode),
     .names = mode_names,
     .given = offsetof(struct socket_args, has_mode),
     .doc = "Send the events there are first: all, or since a time."},
    {.name = "after_timestamp",
     .type = FIELD_TIME,
     AT(since_us),
     .given = offsetof(struct socket_args, has_since),
     .doc = "That time; without a zone it is the server's."},
    {.name = "resend_all", .type = FIELD_BOOL, AT(resend_all), .doc = "Former way to say resend_mode=all."},
};

static enum resend resend_of(const struct socket_args *args)
{
    if (args->has_mode ? args->mode == 0 : args->resend_all)
        return RESEND_ALL;
    return args->has_mode && args->has_since ? RESEND_SINCE : RESEND_NONE;
}

static void open_socket(struct request *r, const void *argsp)
{
    const struct socket_args *args = argsp;
    struct agent_server *a = app_of(r);
    struct str key = args->key.n > 0 ? args->key : request_header(r, "x-session-api-key");
    bool open = a->config.key_count == 0;
    if (!open && key.n > 0 && !key_valid(a, key)) {
        request_refuse_socket(r, 403); /* a close with 4001 before the handshake is over */
        return;
    }
    open |= key.n > 0;
    struct client *c = xcalloc(1, sizeof(*c));
    *c = (struct client){
        .app = a,
        .stage = open ? STAGE_OPENING : STAGE_AUTH,
        .id = args->id,
        .resend = resend_of(args),
        .since_us = args->since_us,
        .busy = 1,
    };
    c->socket = request_accept_socket(r, &callbacks, c);
    if (open)
        client_open(c);
    else if (c->stage == STAGE_AUTH)
        c->timer = loop_timer(a->config.loop, AUTH_MS, auth_expired, c);
    client_release(c);
}

static const struct route routes[] = {{
    .method = HTTP_GET_,
    .path = "/sockets/events/{conversation_id}",
    .handle = open_socket,
    .summary = "Follow a conversation: its state, then its events; messages sent here are run",
    .tag = "WebSockets",
    .operation = "events_socket_sockets_events__conversation_id__get",
    .flags = ROUTE_SOCKET,
    .args_size = sizeof(struct socket_args),
    ID_PATH,
    .query_fields = query_fields,
    .query_count = ARRAY_LEN(query_fields),
}};
const struct route_table socket_routes = {routes, 1};
