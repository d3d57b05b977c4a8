/* GET /api/file/download-trajectory/{id}: a conversation's files as a zip. A worker makes it in slices, one when the client
 * has taken the one before: no job waits, and a slice is all that is in memory. */
#include "api/agent_server/app.h"
#include "api/slices.h"
#include "base/cleanup.h"
#include "conversation/export.h"
#include "zip/zip.h"
#include <sys/stat.h>

#define SLICE_READ (4 * 1024 * 1024) /* of what goes into a slice: a job is short, however well that packs */
#define FILE_MOST (1024 * 1024 * 1024) /* bytes; more than the store keeps of anything */

struct trajectory {
    struct export *export;
    struct zip *zip;
    struct str root; /* "<hex>/" */
    char root_text[UUID_HEX_LEN + 2];
    struct buf *out; /* of the present slice */
    struct buf head; /* what was packed before the first */
    bool in_file;    /* the next part belongs to the same one */
};

static void trajectory_free(void *arg)
{
    struct trajectory *t = arg;
    zip_free(t->zip);
    export_free(t->export);
    buf_deinit(&t->head);
    free(t);
}

static bool on_bytes(void *arg, struct str data)
{
    struct trajectory *t = arg;
    buf_add(t->out, data);
    return true;
}

static void add_directory(struct trajectory *t, struct str name)
{
    zip_add(t->zip,
            &(struct zip_entry){
                .name = name, .mode = S_IFDIR | 0755, .time_s = export_time_us(t->export) / 1000000},
            STR(""));
}

/* ---- one slice ---- */

/* A file, or a part of a long one. False when there is no more, or `e`. */
static bool add_file(struct trajectory *t, size_t *read, struct err **e)
{
    struct export_file file;
    autobuf name = {0};
    if (!export_next(t->export, &file, e))
        return false;
    buf_add(&name, t->root);
    buf_add(&name, file.name);
    if (!t->in_file)
        zip_begin(t->zip, &(struct zip_entry){.name = buf_str(&name),
                                              .mode = S_IFREG | 0644,
                                              .time_s = file.time_us / 1000000,
                                              .most = FILE_MOST});
    zip_data(t->zip, file.content);
    if (!file.more)
        zip_finish(t->zip);
    t->in_file = file.more;
    *read += file.content.n;
    return true;
}

static bool make_slice(void *arg, struct buf *out, bool *more, struct err **e)
{
    struct trajectory *t = arg;
    autoerr why = NULL;
    size_t read = 0;
    buf_add(out, buf_str(&t->head));
    buf_deinit(&t->head);
    t->out = out;
    *more = true;
    while (*more && out->n < SLICE_BYTES && read < SLICE_READ)
        *more = add_file(t, &read, &why);
    export_rest(t->export);
    if (!*more && !why)
        zip_end(t->zip, STR(""));
    t->out = &t->head;
    if (why)
        *e = steal(why);
    return !*e;
}

static const struct slices_maker maker = {make_slice, trajectory_free, "a trajectory download"};

/* ---- the route ---- */

static bool trajectory_open(struct trajectory *t, struct request *r, const struct uuid *id, struct err **e)
{
    uuid_hex(id, t->root_text);
    t->root_text[UUID_HEX_LEN] = '/';
    t->root = str_make(t->root_text, UUID_HEX_LEN + 1);
    t->export = export_new(conversations_of(r), id, e);
    if (!t->export)
        return false;
    autobuf events = {0};
    buf_add(&events, t->root);
    buf_add(&events, STR("events/"));
    t->zip = zip_new(on_bytes, t, 0);
    add_directory(t, t->root);
    add_directory(t, buf_str(&events));
    return true;
}

static void download_trajectory(struct request *r, const void *argsp)
{
    const struct id_args *args = argsp;
    struct trajectory *t = xcalloc(1, sizeof(*t));
    autoerr e = NULL;
    t->out = &t->head;
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
    slices_stream(r, "application/octet-stream", &maker, t);
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
