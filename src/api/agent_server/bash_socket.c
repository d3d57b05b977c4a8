/* /sockets/bash-events: what commands do, as it happens; commands that come in are started. */
#include "api/agent_server/bash_request.h"
#include "api/agent_server/socket_client.h"
#include "base/cleanup.h"
#include "base/clock.h"

struct client {
    struct socket_client base;
    bool from_start;
    struct bash_follower *follower;
};

/* ---- messages ---- */

struct job {
    struct client *client;
    struct bytes *text;
    char *detail; /* what was wrong, or NULL */
    const char *code;
};

/* Only this socket hears of it, and it is nowhere stored. */
static void send_error(struct client *c, const char *code, struct str detail)
{
    struct uuid id = uuid_random();
    char hex[UUID_HEX_LEN + 1], time[CLOCK_TEXT_MAX];
    autobuf text = {0};
    struct json_writer w = json_writer(&text);
    jw_object(&w);
    jw_member_str(&w, "id", uuid_hex(&id, hex));
    jw_member_str(&w, "timestamp", clock_format_utc(clock_wall_us(), time));
    jw_member_cstr(&w, "code", code);
    jw_member_str(&w, "detail", detail);
    jw_member_cstr(&w, "kind", "BashError");
    jw_object_end(&w);
    socket_send(c->base.app->config.server, c->base.socket, bytes_take(&text));
}

static void job_back(void *arg)
{
    struct job *job = arg;
    struct client *c = job->client;
    if (job->detail && c->follower)
        send_error(c, job->code, str_from(job->detail));
    bytes_unref(job->text);
    free(job->detail);
    free(job);
    socket_client_leave(&c->base);
}

/* Any thread. */
static void job_end(struct job *job, const char *code, struct str detail)
{
    job->code = code;
    job->detail = code ? str_dup(detail) : NULL;
    loop_call(job->client->base.app->config.loop, job_back, job);
}

static void job_started(void *arg, struct bytes *command, const struct err *e)
{
    (void)command; /* the follower sends it */
    job_end(arg, e ? "ServerError" : NULL, str_from(err_text(e)));
}

static const struct bash_callbacks callbacks = {.started = job_started};

static void job_start(struct job *job, const struct bash_body *body)
{
    struct bash_request request;
    const char *problem, *field = bash_body_check(body, &problem);
    if (field) {
        autobuf text = {0};
        buf_addf(&text, "%s: %s", field, problem);
        job_end(job, "ValidationError", buf_str(&text));
        return;
    }
    bash_body_request(body, &request);
    bash_start(job->client->base.app->config.bash, &request, &callbacks, job);
}

static void job_run(void *arg)
{
    struct job *job = arg;
    struct bash_body body;
    autoerr e = NULL;
    autoarena arena = arena_new();
    struct json_problems problems = {.arena = arena};
    autojson doc = json_parse(bytes_str(job->text), NULL, &e);
    if (!doc) {
        job_end(job, "ValidationError", str_from(err_text(e)));
    } else if (socket_message_is_auth(json_root(doc))) {
        job_end(job, NULL, STR_NONE);
    } else if (!json_decode(&bash_body_schema, json_root(doc), "body", arena, &body, &problems)) {
        autobuf text = {0};
        json_problems_text(&problems, &text);
        job_end(job, "ValidationError", buf_str(&text));
    } else {
        job_start(job, &body);
    }
}

static void on_message(struct socket_client *base, struct bytes *text)
{
    struct job *job = xcalloc(1, sizeof(*job));
    job->client = CONTAINER_OF(base, struct client, base);
    job->text = text;
    socket_client_enter(base);
    pool_submit_always(base->app->config.pool, job_run, job);
}

/* ---- attaching ---- */

static void client_attach(struct client *c)
{
    c->follower = bash_follow(c->base.app->config.bash, c->base.socket, c->from_start);
    if (!c->follower)
        socket_client_refuse(&c->base, CLOSE_TRY_LATER, "Too many bash event connections");
    else if (c->base.stage == SOCKET_CLOSED) /* while the first frames were sent */
        bash_follower_close(steal(c->follower));
    else
        socket_client_attached(&c->base);
}

static void client_opened(void *arg, const struct err *e)
{
    struct client *c = arg;
    if (c->base.stage == SOCKET_CLOSED)
        ;
    else if (e)
        socket_client_refuse(&c->base, CLOSE_INTERNAL, "The events of commands cannot be opened");
    else
        client_attach(c);
    socket_client_leave(&c->base);
}

static void on_open(struct socket_client *base)
{
    socket_client_enter(base);
    bash_open(base->app->config.bash, client_opened, CONTAINER_OF(base, struct client, base));
}

static void on_room(struct socket_client *base)
{
    bash_follower_room(CONTAINER_OF(base, struct client, base)->follower);
}

static void on_closed(struct socket_client *base)
{
    bash_follower_close(steal(CONTAINER_OF(base, struct client, base)->follower));
}

static const struct socket_kind kind = {.size = sizeof(struct client),
                                        .open = on_open,
                                        .message = on_message,
                                        .room = on_room,
                                        .closed = on_closed};

/* ---- the route ---- */

struct socket_args {
    struct str key;
    int mode;
    bool has_mode, resend_all;
};
static const char *const mode_names[] = {"all", NULL};
#define AT(member) .offset = offsetof(struct socket_args, member)
static const struct json_field query_fields[] = {
    {.name = "session_api_key", .type = FIELD_STR, AT(key), .doc = "The key, where a header cannot be sent."},
    {.name = "resend_mode",
     .type = FIELD_ENUM,
     AT(mode),
     .names = mode_names,
     .given = offsetof(struct socket_args, has_mode),
     .doc = "all: send the events there are first."},
    {.name = "resend_all", .type = FIELD_BOOL, AT(resend_all), .doc = "Former way to say resend_mode=all."},
};

static void open_socket(struct request *r, const void *argsp)
{
    const struct socket_args *args = argsp;
    struct client c = {.from_start = args->has_mode || args->resend_all};
    socket_client_accept(r, &kind, args->key, &c.base);
}

static const struct route routes[] = {{
    .method = HTTP_GET_,
    .path = "/sockets/bash-events",
    .handle = open_socket,
    .summary = "Follow what commands do; commands sent here are started",
    .tag = "WebSockets",
    .operation = "bash_events_socket_sockets_bash_events_get",
    .flags = ROUTE_SOCKET,
    .args_size = sizeof(struct socket_args),
    .query_fields = query_fields,
    .query_count = ARRAY_LEN(query_fields),
}};
const struct route_table bash_socket_routes = {routes, 1};
