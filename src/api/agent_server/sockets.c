/* /sockets/events/{id}: attaching to the conversation, and messages that come in. */
#include "api/agent_server/socket_client.h"
#include "base/cleanup.h"

struct client {
    struct socket_client base;
    struct uuid id;
    enum resend resend;
    int64_t since_us;
    struct subscription *subscription;
};

/* ---- messages ---- */

struct job {
    struct client *client;
    struct conversation *conversation;
    struct bytes *text;
    struct json_doc *message;
    char *detail; /* what was wrong, or NULL */
    const char *code;
};

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
    socket_client_leave(&c->base);
}

static void job_end(struct job *job, const char *code, struct str detail)
{
    if (code) {
        job->code = code;
        job->detail = str_dup(detail);
    }
    loop_call(job->client->base.app->config.loop, job_back, job);
}

static void job_sent(void *arg, const struct err *e)
{
    if (e)
        job_end(arg, e->kind == ERR_INVALID ? "ValidationError" : "ServerError", str_from(err_text(e)));
    else
        job_end(arg, NULL, STR_NONE);
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
    } else if (socket_message_is_auth(json_root(doc))) {
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

static void on_message(struct socket_client *base, struct bytes *text)
{
    struct client *c = CONTAINER_OF(base, struct client, base);
    struct job *job = xcalloc(1, sizeof(*job));
    job->client = c;
    job->conversation = conversation_ref(subscription_conversation(c->subscription));
    job->text = text;
    socket_client_enter(base);
    pool_submit_always(base->app->config.pool, job_run, job);
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
    c->subscription = subscription_open(conversation, c->base.socket, c->resend, c->since_us);
    if (!c->subscription)
        socket_client_refuse(&c->base, CLOSE_TRY_LATER, "Too many connections for this conversation");
    else if (c->base.stage == SOCKET_CLOSED) /* while the first frames were sent */
        subscription_close(steal(c->subscription));
    else
        socket_client_attached(&c->base);
}

static void opened_back(void *arg)
{
    struct opened *o = arg;
    struct client *c = o->client;
    if (c->base.stage == SOCKET_CLOSED)
        conversation_unref(o->conversation);
    else if (o->conversation)
        client_attach(c, o->conversation);
    else if (o->missing)
        socket_client_refuse(&c->base, CLOSE_MISSING, "Conversation not found");
    else
        socket_client_refuse(&c->base, CLOSE_INTERNAL, "The conversation cannot be opened");
    free(o);
    socket_client_leave(&c->base);
}

/* Any thread. */
static void client_opened(void *arg, struct conversation *conversation, const struct err *e)
{
    struct opened *o = arg;
    o->conversation = conversation;
    o->missing = e && e->kind == ERR_NOT_FOUND;
    loop_call(o->client->base.app->config.loop, opened_back, o);
}

static void on_open(struct socket_client *base)
{
    struct client *c = CONTAINER_OF(base, struct client, base);
    struct opened *o = xcalloc(1, sizeof(*o));
    o->client = c;
    socket_client_enter(base);
    conversations_open(base->app->config.conversations, &c->id, client_opened, o);
}

static void on_room(struct socket_client *base)
{
    subscription_room(CONTAINER_OF(base, struct client, base)->subscription);
}

static void on_closed(struct socket_client *base)
{
    subscription_close(steal(CONTAINER_OF(base, struct client, base)->subscription));
}

static const struct socket_kind kind = {.size = sizeof(struct client),
                                        .open = on_open,
                                        .message = on_message,
                                        .room = on_room,
                                        .closed = on_closed};

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
    struct client c = {.id = args->id, .resend = resend_of(args), .since_us = args->since_us};
    socket_client_accept(r, &kind, args->key, &c.base);
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
