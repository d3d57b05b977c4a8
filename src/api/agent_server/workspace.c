/* GET /api/conversations/{id}/workspace/…: what the agent has made, as pages a browser can show. Frames and pictures cannot
 * send a header, so a cookie serves as well, here and nowhere else. What is shown is a stranger's: it is sandboxed. */
#include "api/agent_server/files.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "net/static.h"
#include "net/url.h"

#define COOKIE "oh_workspace_session_key"
#define COOKIE_SECONDS (10 * 365 * 24 * 3600) /* browsers shorten it */
#define COOKIE_VALUE_MAX 4096
#define COOKIES_MAX 256 /* of a request, looked at */
#define INDEX "index.html"

/* ---- the cookie ---- */

static bool cookie_valid(const struct request *r, struct str value)
{
    char key[COOKIE_VALUE_MAX];
    return value.n <= sizeof(key) && request_key_valid(r, str_make(key, url_decode(key, value, false, NULL)));
}

/* A browser may have several: one from before the key changed, one partitioned and one not. Any will do. */
static bool has_cookie(const struct request *r)
{
    struct str rest = request_header(r, "Cookie"), part;
    bool valid = false;
    for (unsigned n = 0; n < COOKIES_MAX && str_split(&rest, ';', &part); n++) {
        part = str_trim(part);
        if (str_starts(part, STR(COOKIE "=")))
            valid |= cookie_valid(r, str_sub(part, sizeof(COOKIE), part.n));
    }
    return valid;
}

static bool caller_may(const struct request *r)
{
    return request_key_valid(r, request_header(r, "X-Session-API-Key")) || has_cookie(r);
}

/* Keys are any text; a cookie's value is not. */
static void cookie_value_write(struct buf *out, struct str key)
{
    for (size_t i = 0; i < key.n; i++) {
        unsigned char c = (unsigned char)key.p[i];
        if (c > 0x20 && c < 0x7f && !strchr("\",;\\%", c))
            buf_add_char(out, (char)c);
        else
            buf_addf(out, "%%%02X", c);
    }
}

/* Where a browser takes a cookie that is Secure: TLS in front of us, or its own machine. */
static bool is_secure(const struct request *r)
{
    struct str host = request_header(r, "Host");
    ssize_t colon = str_rfind_char(host, ':');
    if (colon > str_rfind_char(host, ']'))
        host = str_sub(host, 0, (size_t)colon);
    return request_https(r) || str_eq_nocase(host, STR("localhost")) || str_is(host, "127.0.0.1") ||
           str_is(host, "[::1]");
}

static void cookie_reply(struct request *r, struct str key, int seconds)
{
    autobuf cookie = {0};
    buf_add(&cookie, STR(COOKIE "="));
    cookie_value_write(&cookie, key);
    buf_addf(&cookie, "; HttpOnly; Max-Age=%d; Path=%.*s/api/conversations; SameSite=None%s", seconds,
             STR_ARG(request_root_path(r)), is_secure(r) ? "; Secure; Partitioned" : "");
    request_set_header(r, STR("set-cookie"), buf_str(&cookie));
    request_reply_empty(r, 204);
}

static void begin_session(struct request *r, const void *args)
{
    (void)args;
    cookie_reply(r, request_header(r, "X-Session-API-Key"), COOKIE_SECONDS);
}

static void end_session(struct request *r, const void *args)
{
    (void)args;
    cookie_reply(r, STR(""), 0);
}

/* ---- files ---- */

struct workspace_args {
    struct uuid id; /* first: reply_missing_named */
    struct str path;
};
static const struct json_field workspace_fields[] = {
    {.name = "conversation_id",
     .type = FIELD_UUID,
     .offset = offsetof(struct workspace_args, id),
     .flags = FIELD_REQUIRED},
    {.name = "file_path", .type = FIELD_STR, .offset = offsetof(struct workspace_args, path)},
};

struct serving {
    struct request *request;
    const struct workspace_args *args;
    struct hand_spec hand; /* its working directory, normal, is what the files lie in */
    struct str path;       /* absolute */
    bool index;            /* the path is a directory's index.html */
};

static void serve(const struct serving *s);

static void refused(struct request *r, const void *args, enum wire_status status, struct str message)
{
    const struct serving *s = args;
    if (status == WIRE_IS_DIR && !s->index) {
        struct serving *index = ARENA_NEW(request_arena(r), struct serving);
        autobuf path = {0};
        path_join(&path, s->path, STR(INDEX));
        *index = *s;
        index->path = arena_str(request_arena(r), buf_str(&path));
        index->index = true;
        serve(index);
    } else if (s->index && (status == WIRE_NOT_FOUND || status == WIRE_IS_DIR)) {
        request_reply_detail(r, 404, "No index.html in directory");
    } else if (status == WIRE_NOT_FOUND || status == WIRE_NOT_DIR) {
        request_reply_detail(r, 404, "File not found");
    } else if (status == WIRE_REFUSED) { /* by a link, or no regular file */
        request_reply_detail(r, 400, "Path is outside the workspace");
    } else {
        hand_request_refuse(&(struct hand_request){.request = r}, status, message);
    }
}

static void serve(const struct serving *s)
{
    struct file_sending how = {
        .content_type = media_type_of(path_base(s->path)), .refused = refused, .args = s};
    file_send(s->request, &s->hand, s->hand.working_dir, s->path, &how);
}

/* Of the hand that was found; the request's arena has what it needs. */
static void on_hand(void *arg, const struct hand_spec *hand, const struct err *e)
{
    struct serving *s = arg;
    struct request *r = s->request;
    autobuf dir = {0}, joined = {0}, normal = {0};
    if (e && e->kind == ERR_NOT_FOUND)
        return reply_missing_named(r, s->args);
    if (e)
        return request_reply_error(r, e);
    path_normalize(&dir, hand->working_dir);
    s->hand = *hand;
    s->hand.working_dir = arena_str(request_arena(r), buf_str(&dir));
    buf_addf(&joined, "%.*s/%.*s", STR_ARG(hand->working_dir), STR_ARG(s->args->path));
    path_normalize(&normal, buf_str(&joined));
    if (!path_is_beneath(s->hand.working_dir, buf_str(&normal)) || str_find_char(s->args->path, '\0') >= 0)
        return request_reply_detail(r, 400, "Path is outside the workspace");
    s->path = arena_str(request_arena(r), buf_str(&normal));
    serve(s);
}

static void get_workspace(struct request *r, const void *args)
{
    struct serving *s = ARENA_NEW(request_arena(r), struct serving);
    *s = (struct serving){.request = r, .args = args};
    if (!caller_may(r))
        return request_reply_detail(r, 401, NULL);
    conversations_hand_of(conversations_of(r), &s->args->id, on_hand, s);
}

/* ---- the table ---- */

static const struct route_response file_responses[] = {
    {.status = 200,
     .description = "The file, or the directory's index.html.",
     .ref = "{\"type\":\"string\",\"format\":\"binary\"}",
     .content_type = "application/octet-stream"},
    {.status = 400, .description = "The path leads out of the workspace.", .ref = "Error"},
    {.status = 401, .description = "Neither key nor cookie.", .ref = "Error"},
    {.status = 404, .description = "No such file or conversation.", .ref = "Error"},
};
static const struct route_response cookie_responses[] = {
    {.status = 204, .description = "The cookie is set, or taken back."}};

#define WORKSPACE                                                                            \
    .method = HTTP_GET_, .handle = get_workspace, .summary = "Show a file of the workspace", \
    .tag = "Workspace", .flags = ROUTE_PUBLIC, .args_size = sizeof(struct workspace_args),   \
    .path_fields = workspace_fields, .responses = file_responses,                            \
    .response_count = ARRAY_LEN(file_responses)
#define SESSION                                                                  \
    .path = "/api/auth/workspace-session", .tag = "Auth", .flags = ROUTE_INLINE, \
    .responses = cookie_responses, .response_count = 1
static const struct route routes[] = {
    {SESSION, .method = HTTP_POST_, .handle = begin_session,
     .summary = "Get a cookie that is good for workspace files only",
     .operation = "create_workspace_session_api_auth_workspace_session_post"},
    {SESSION, .method = HTTP_DELETE_, .handle = end_session, .summary = "Take that cookie back",
     .operation = "delete_workspace_session_api_auth_workspace_session_delete"},
    {WORKSPACE, .path = "/api/conversations/{conversation_id}/workspace",
     .operation = "serve_workspace_root_api_conversations__conversation_id__workspace_get", .path_count = 1},
    {WORKSPACE, .path = "/api/conversations/{conversation_id}/workspace/{file_path:path}",
     .operation = "serve_workspace_file_api_conversations__conversation_id__workspace__file_path__get",
     .path_count = 2},
};
const struct route_table workspace_routes = {routes, ARRAY_LEN(routes)};
