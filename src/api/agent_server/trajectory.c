/* GET /api/file/download-trajectory/{id}: a conversation's files as a zip. A worker makes it in slices, one when the client
 * has taken the one before: no job waits, and a slice is all that is in memory. */
#include "api/agent_server/app.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/thread.h"
#include "conversation/export.h"
#include "net/archive_zip.h"

#define SLICE_BYTES (256 * 1024)     /* of the archive; a slice ends behind the file that fills it */
#define SLICE_READ (4 * 1024 * 1024) /* of what goes into it: a job is short, however well that packs */

struct trajectory {
    struct server *server;
    struct pool *pool;
    struct export *export;
    struct archive_zip *zip;
    struct str root; /* "<hex>/" */
    char root_text[UUID_HEX_LEN + 2];
    uint64_t stream;
    struct buf out;
    pthread_mutex_t lock;
    bool busy;   /* a job has it */
    bool room;   /* the client wants more, which came during a job */
    bool closed; /* the stream has ended */
    bool over;   /* there is no more */
};

static void trajectory_free(struct trajectory *t)
{
    archive_zip_free(t->zip);
    export_free(t->export);
    buf_deinit(&t->out);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static void on_bytes(void *arg, struct str data)
{
    struct trajectory *t = arg;
    buf_add(&t->out, data);
}

/* ---- one slice ---- */

/* False when there is no more, or `e`. */
static bool add_file(struct trajectory *t, size_t *read, struct err **e)
{
    struct export_file file;
    autobuf name = {0};
    if (!export_next(t->export, &file, e))
        return false;
    buf_add(&name, t->root);
    buf_add(&name, file.name);
    *read += file.content.n;
    return archive_zip_add(t->zip, buf_str(&name), file.content, file.more, file.time_us, e);
}

/* True if something was written: then on_room comes. */
static bool make_slice(struct trajectory *t)
{
    autoerr e = NULL;
    size_t read = 0;
    bool more = true;
    while (more && t->out.n < SLICE_BYTES && read < SLICE_READ)
        more = add_file(t, &read, &e);
    export_rest(t->export);
    if (!more && !e)
        archive_zip_end(t->zip, &e);
    bool wrote = !e && t->out.n > 0;
    if (wrote)
        server_stream_write(t->server, t->stream, bytes_take(&t->out));
    if (more)
        return wrote;
    if (e)
        log_warn("a trajectory download ends early: %s", err_text(e));
    t->over = true;
    server_stream_end(t->server, t->stream, !e);
    return wrote;
}

static void slice_run(void *arg)
{
    struct trajectory *t = arg;
    bool again = false, closed = false;
    bool wrote = false;
    WITH_LOCK(&t->lock)
    closed = t->closed;
    if (!closed)
        wrote = make_slice(t);
    WITH_LOCK(&t->lock)
    {
        closed = t->closed;
        again = !closed && !t->over && (t->room || !wrote);
        t->room = false;
        t->busy = again;
    }
    if (again)
        pool_submit_long(t->pool, slice_run, t);
    else if (closed)
        trajectory_free(t);
}

static void on_room(void *arg)
{
    struct trajectory *t = arg;
    bool start = false;
    WITH_LOCK(&t->lock)
    {
        start = !t->busy && !t->over;
        t->room = t->busy;
        t->busy = t->busy || start;
    }
    if (start)
        pool_submit_long(t->pool, slice_run, t);
}

static void on_closed(void *arg)
{
    struct trajectory *t = arg;
    bool busy = false;
    WITH_LOCK(&t->lock)
    {
        t->closed = true;
        busy = t->busy;
    }
    if (!busy)
        trajectory_free(t);
}

/* ---- the route ---- */

static bool trajectory_open(struct trajectory *t, struct request *r, const struct uuid *id, struct err **e)
{
    uuid_hex(id, t->root_text);
    t->root_text[UUID_HEX_LEN] = '/';
    t->root = str_make(t->root_text, UUID_HEX_LEN + 1);
    t->export = export_new(conversations_of(r), id, e);
    if (!t->export || !(t->zip = archive_zip_new(on_bytes, t, e)))
        return false;
    autobuf events = {0};
    buf_add(&events, t->root);
    buf_add(&events, STR("events/"));
    int64_t time_us = export_time_us(t->export);
    return archive_zip_add(t->zip, t->root, STR(""), false, time_us, e) &&
           archive_zip_add(t->zip, buf_str(&events), STR(""), false, time_us, e);
}

static void download_trajectory(struct request *r, const void *argsp)
{
    const struct id_args *args = argsp;
    struct trajectory *t = xcalloc(1, sizeof(*t));
    autoerr e = NULL;
    pthread_mutex_init(&t->lock, NULL);
    t->server = request_server(r);
    t->pool = app_of(r)->config.pool;
    t->busy = true;
    if (!trajectory_open(t, r, &args->id, &e)) {
        trajectory_free(t);
        if (e->kind == ERR_NOT_FOUND)
            request_reply_detail(r, 404, "Conversation not found");
        else
            request_reply_error(r, e);
        return;
    }
    autobuf disposition = {0};
    buf_addf(&disposition, "attachment; filename=\"%.*s.zip\"", UUID_HEX_LEN, t->root.p);
    request_set_header(r, STR("content-disposition"), buf_str(&disposition));
    t->stream = request_stream(r, 200, "application/octet-stream", -1, on_room, on_closed, t);
    pool_submit_long(t->pool, slice_run, t);
}

static const struct route_response trajectory_responses[] = {
    {.status = 200,
     .description = "A zip archive.",
     .ref = "{\"type\":\"string\",\"format\":\"binary\"}",
     .content_type = "application/octet-stream"},
    {.status = 404, .description = "There is no such conversation.", .ref = "Error"},
};
static const struct route routes[] = {
    {.method = HTTP_GET_,
     .path = "/api/file/download-trajectory/{conversation_id}",
     .handle = download_trajectory,
     .summary = "Get a conversation's state and events as a zip archive",
     .tag = "Files",
     .operation = "download_trajectory_api_file_download_trajectory__conversation_id__get",
     .args_size = sizeof(struct id_args),
     ID_PATH,
     .responses = trajectory_responses,
     .response_count = ARRAY_LEN(trajectory_responses)},
};
const struct route_table trajectory_routes = {routes, ARRAY_LEN(routes)};
