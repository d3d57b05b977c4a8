/* /api/file: files in and out of workspaces, and the directories that a person may choose from. */
#include "api/agent_server/files.h"
#include "api/listing.h"
#include "api/upload.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/utf8.h"

#define CALL_MS 30000           /* for a hand to list or make a directory */
#define LIST_ENTRIES_MAX 100000 /* of a directory; the rest is left out */
#define FAVORITES_MAX 50        /* directories of the home directory */

struct path_args {
    struct str path;
};
#define PATH_FIELD                                                                     \
    {                                                                                  \
        .name = "path", .type = FIELD_STR, .offset = offsetof(struct path_args, path), \
        .flags = FIELD_REQUIRED, .doc = "An absolute path."                            \
    }
static const struct json_field path_field[] = {PATH_FIELD};
#define IN_PATH .path_fields = path_field, .path_count = 1, .args_size = sizeof(struct path_args)
#define IN_QUERY .query_fields = path_field, .query_count = 1, .args_size = sizeof(struct path_args)

struct str file_path(struct request *r, struct str path, bool captured)
{
    autobuf whole = {0}, normal = {0};
    if (captured && !path_is_absolute(path))
        buf_add_char(&whole, '/');
    buf_add(&whole, path);
    const char *problem = NULL;
    if (!path_is_absolute(buf_str(&whole)))
        problem = "Path must be absolute";
    else if (str_find_char(path, '\0') >= 0)
        problem = "Path has a NUL character";
    if (problem) {
        request_reply_detail(r, 400, problem);
        return STR_NONE;
    }
    path_normalize(&normal, buf_str(&whole));
    return arena_str(request_arena(r), buf_str(&normal));
}

/* ---- upload ---- */

/* Where the file goes is said by the request, not by the form. */
static bool upload_place(const struct hand_request *h, struct str name, struct str *path, struct buf *fields,
                         const char **reason)
{
    (void)name, (void)reason;
    *path = *(const struct str *)h->args;
    wire_add_str(fields, F_PATH, *path);
    return true;
}

static void upload_done(struct hand_request *h, const struct upload_file *const *files, size_t n)
{
    (void)n;
    if (files[0]->error)
        request_reply_error(h->request, files[0]->error);
    else if (files[0]->reason.p)
        hand_request_refuse(h, files[0]->status, files[0]->reason);
    else
        reply_success(h->request, true);
}

static void upload_begin(struct hand_request *h)
{
    static const struct upload_rules rules = {
        .field = "file", .one = true, .place = upload_place, .done = upload_done};
    upload_start(h, &rules);
}

static void upload(struct request *r, struct str given, bool captured)
{
    struct str *path = ARENA_NEW(request_arena(r), struct str);
    *path = file_path(r, given, captured);
    if (path->p)
        hand_request_start(r, path, *path, upload_begin);
}

static void upload_query(struct request *r, const void *args)
{
    upload(r, ((const struct path_args *)args)->path, false);
}

static void upload_captured(struct request *r, const void *args)
{
    upload(r, ((const struct path_args *)args)->path, true);
}

static const struct json_field upload_fields[] = {{
    .name = "file",
    .type = FIELD_STR,
    .flags = FIELD_REQUIRED,
    .json_schema = "{\"type\":\"string\",\"format\":\"binary\"}",
}};
static const struct json_schema upload_schema = {
    .name = "Body_upload_file", .size = sizeof(struct str), .fields = upload_fields, .count = 1};

/* ---- download ---- */

struct download_job {
    struct request *request;
    struct str path;
};

/* It may be a file that is not ours to read, or no file at all. */
static void refused_looked_at(struct hand_request *h, struct str fields, struct str data)
{
    (void)data;
    if (str_is(wire_get_str(fields, F_KIND), "f"))
        request_reply_detail(h->request, 403, "The file may not be read");
    else
        request_reply_detail(h->request, 400, "Path is not a file");
}

static void download_refused(struct request *r, const void *args, enum wire_status status, struct str message)
{
    static const struct hand_answer look = {.timeout_ms = CALL_MS, .done = refused_looked_at};
    const struct download_job *job = args;
    autobuf fields = {0};
    if (status == WIRE_NOT_FOUND || status == WIRE_NOT_DIR) {
        request_reply_detail(r, 404, "File not found");
    } else if (status == WIRE_IS_DIR) {
        request_reply_detail(r, 400, "Path is not a file");
    } else if (status == WIRE_REFUSED) {
        wire_add_str(&fields, F_PATH, job->path);
        hand_request_one(r, job, job->path, OP_FILE_STAT, &fields, &look);
    } else {
        hand_request_refuse(&(struct hand_request){.request = r}, status, message);
    }
}

static void download_on_hand(void *arg, const struct hand_spec *hand, const struct err *e)
{
    const struct download_job *job = arg;
    const struct file_sending how = {.content_type = "application/octet-stream",
                                     .attachment = true,
                                     .refused = download_refused,
                                     .args = job};
    if (e)
        request_reply_error(job->request, e);
    else
        file_send(job->request, hand, STR_NONE, job->path, &how);
}

static void download(struct request *r, struct str given, bool captured)
{
    struct str path = file_path(r, given, captured);
    if (!path.p) /* answered: the request and its arena are gone */
        return;
    struct download_job *job = ARENA_NEW(request_arena(r), struct download_job);
    *job = (struct download_job){r, path};
    conversations_hand_for(conversations_of(r), path, download_on_hand, job);
}

static void download_query(struct request *r, const void *args)
{
    download(r, ((const struct path_args *)args)->path, false);
}

static void download_captured(struct request *r, const void *args)
{
    download(r, ((const struct path_args *)args)->path, true);
}

/* ---- create_directory ---- */

static void directory_made(struct hand_request *h, struct str fields, struct str data)
{
    (void)fields;
    (void)data;
    reply_success(h->request, true);
}

static void directory_refused(struct hand_request *h, enum wire_status status, struct str message)
{
    if (status == WIRE_EXISTS || status == WIRE_NOT_DIR)
        request_reply_detail(h->request, 400, "Path exists and is not a directory");
    else
        hand_request_refuse(h, status, message);
}

static void create_directory(struct request *r, const void *args)
{
    static const struct hand_answer answer = {
        .timeout_ms = CALL_MS, .done = directory_made, .refused = directory_refused};
    autobuf fields = {0};
    struct str path = file_path(r, ((const struct path_args *)args)->path, false);
    if (!path.p)
        return;
    wire_add_str(&fields, F_PATH, path);
    hand_request_one(r, args, path, OP_DIR_MAKE, &fields, &answer);
}

/* ---- directories of a directory ---- */

/* Directories themselves (no links to some), without those whose names no JSON can carry. */
static void entries_collect(struct str fields, bool hidden, entry_list *out)
{
    size_t kept = 0;
    listing_read(fields, out);
    for (size_t i = 0; i < out->n; i++) {
        const struct entry *entry = &out->at[i];
        if (entry->is_dir && (entry->name.p[0] != '.' || hidden) && utf8_valid(entry->name) &&
            str_find_char(entry->name, '\0') < 0)
            out->at[kept++] = *entry;
        else
            free(entry->key);
    }
    out->n = kept;
}

static void entry_write(struct json_writer *w, const char *label, const struct entry *entry, struct str dir)
{
    autobuf path = {0};
    path_join(&path, dir, entry->name);
    jw_object(w);
    jw_member_str(w, label, entry->name);
    jw_member_str(w, "path", buf_str(&path));
    jw_object_end(w);
}

/* ---- search_subdirs ---- */

struct subdirs_args {
    struct str path, page_id;
    int64_t limit;
    bool include_hidden;
};
static const struct json_field subdirs_fields[] = {
    PATH_FIELD,
    {.name = "page_id",
     .type = FIELD_STR,
     .offset = offsetof(struct subdirs_args, page_id),
     .doc = "The next_page_id of the page before."},
    {.name = "limit",
     .type = FIELD_INT,
     .offset = offsetof(struct subdirs_args, limit),
     .default_int = PAGE_LIMIT,
     .min = 1,
     .max = PAGE_LIMIT},
    {.name = "include_hidden",
     .type = FIELD_BOOL,
     .offset = offsetof(struct subdirs_args, include_hidden),
     .doc = "Also those whose names begin with a dot."},
};

/* A page begins with a name in lower case. Where names differ in nothing else, the name itself stands behind a slash. */
static bool page_is_behind(const struct entry *entry, const char *key, struct str name)
{
    int order = strcmp(entry->key, key);
    return order < 0 || (order == 0 && name.p && str_cmp(entry->name, name) < 0);
}

static size_t page_find(const entry_list *all, struct str page)
{
    size_t i = 0;
    struct str key = STR_NONE;
    if (!page.p)
        return 0;
    str_split(&page, '/', &key);
    autofree char *low = entry_key(key);
    while (i < all->n && page_is_behind(&all->at[i], low, page))
        i++;
    return i;
}

static void page_write(struct json_writer *w, const entry_list *all, size_t i)
{
    autobuf page = {0};
    buf_add_cstr(&page, all->at[i].key);
    if (strcmp(all->at[i - 1].key, all->at[i].key) == 0) {
        buf_add_char(&page, '/');
        buf_add(&page, all->at[i].name);
    }
    jw_member_str(w, "next_page_id", buf_str(&page));
}

static void subdirs_listed(struct hand_request *h, struct str fields, struct str data)
{
    (void)data;
    const struct subdirs_args *args = h->args;
    autoentries all = {0};
    autobuf body = {0};
    entries_collect(fields, args->include_hidden, &all);
    size_t i = page_find(&all, args->page_id);
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_key(&w, "items");
    jw_array(&w);
    for (int64_t n = 0; i < all.n && n < args->limit; n++, i++)
        entry_write(&w, "name", &all.at[i], args->path);
    jw_array_end(&w);
    if (i < all.n)
        page_write(&w, &all, i); /* limits are 1 or more, so there is one before */
    else
        jw_member_null(&w, "next_page_id");
    jw_object_end(&w);
    request_reply_json(h->request, 200, &body);
}

static void subdirs_refused(struct hand_request *h, enum wire_status status, struct str message)
{
    if (status == WIRE_NOT_FOUND)
        request_reply_detail(h->request, 404, "Directory not found");
    else if (status == WIRE_NOT_DIR)
        request_reply_detail(h->request, 400, "Path is not a directory");
    else
        hand_request_refuse(h, status, message);
}

static void search_subdirs(struct request *r, const void *argsp)
{
    static const struct hand_answer answer = {
        .timeout_ms = CALL_MS, .done = subdirs_listed, .refused = subdirs_refused};
    struct str path = file_path(r, ((const struct subdirs_args *)argsp)->path, false);
    autobuf fields = {0};
    if (!path.p)
        return;
    struct subdirs_args *args = ARENA_NEW(request_arena(r), struct subdirs_args);
    *args = *(const struct subdirs_args *)argsp;
    args->path = path;
    wire_add_str(&fields, F_PATH, args->path);
    wire_add_int(&fields, F_LIMIT, LIST_ENTRIES_MAX);
    hand_request_one(r, args, args->path, OP_DIR_LIST, &fields, &answer);
}

/* ---- home ---- */

struct home_args {
    bool include_hidden;
    struct str home; /* once it is known */
};
static const struct json_field home_fields[] = {{
    .name = "include_hidden",
    .type = FIELD_BOOL,
    .offset = offsetof(struct home_args, include_hidden),
    .doc = "Also favorites whose names begin with a dot.",
}};

static void home_reply(struct request *r, const struct home_args *args, struct str fields)
{
    autoentries all = {0};
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    entries_collect(fields, args->include_hidden, &all);
    jw_object(&w);
    jw_member_str(&w, "home", args->home);
    jw_key(&w, "favorites");
    jw_array(&w);
    for (size_t i = 0; i < all.n && i < FAVORITES_MAX; i++)
        entry_write(&w, "label", &all.at[i], args->home);
    jw_array_end(&w);
    jw_key(&w, "locations");
    jw_array(&w);
    jw_object(&w);
    jw_member_cstr(&w, "label", "/");
    jw_member_cstr(&w, "path", "/");
    jw_object_end(&w);
    jw_array_end(&w);
    jw_object_end(&w);
    request_reply_json(r, 200, &body);
}

static void home_listed(struct hand_request *h, struct str fields, struct str data)
{
    (void)data;
    home_reply(h->request, h->args, fields);
}

/* A home directory that cannot be read has no favorites. */
static void home_unlisted(struct hand_request *h, enum wire_status status, struct str message)
{
    (void)status;
    (void)message;
    home_reply(h->request, h->args, STR(""));
}

static void home_known(struct hand_request *h, struct str fields, struct str data)
{
    static const struct hand_answer answer = {
        .timeout_ms = CALL_MS, .done = home_listed, .refused = home_unlisted};
    struct home_args *args = ARENA_NEW(request_arena(h->request), struct home_args);
    autobuf call = {0};
    (void)fields;
    *args = *(const struct home_args *)h->args;
    args->home =
        path_is_absolute(data) && utf8_valid(data) ? arena_str(request_arena(h->request), data) : STR("/");
    h->args = args;
    wire_add_str(&call, F_PATH, args->home);
    wire_add_int(&call, F_LIMIT, LIST_ENTRIES_MAX);
    hand_request_call(h, OP_DIR_LIST, &call, &answer);
}

/* Only the hand knows its user's. */
static void get_home(struct request *r, const void *args)
{
    static const struct hand_answer answer = {.timeout_ms = CALL_MS, .data_max = 4096, .done = home_known};
    autobuf fields = {0};
    wire_add_str(&fields, F_COMMAND, STR("printf %s \"$HOME\""));
    wire_add_int(&fields, F_INPUT, 0);
    hand_request_one(r, args, STR("/"), OP_SPAWN, &fields, &answer);
}

/* ---- the table ---- */

#define FILES_ERROR(number, text)                             \
    {                                                         \
        .status = number, .description = text, .ref = "Error" \
    }
static const struct route_response success_responses[] = {
    {.status = 200, .description = "It is there.", .ref = "Success"},
    FILES_ERROR(400, "No path that could be used."),
    FILES_ERROR(403, "The workspace does not allow it."),
};
static const struct route_response file_responses[] = {
    {.status = 200,
     .description = "The file's bytes.",
     .ref = "{\"type\":\"string\",\"format\":\"binary\"}",
     .content_type = "application/octet-stream"},
    FILES_ERROR(400, "No absolute path, or no file."),
    FILES_ERROR(404, "There is no such file."),
};
#define ENTRY(label)                                                              \
    "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"" label \
    "\":{\"type\":\"string\"},\"path\":{\"type\":\"string\"}},\"required\":[\"" label "\",\"path\"]}}"
static const struct route_response subdirs_responses[] = {
    {.status = 200,
     .description = "One page of directories.",
     .ref = "{\"type\":\"object\",\"properties\":{\"items\":" ENTRY(
         "name") ",\"next_page_id\":{\"type\":[\"string\",\"null\"]}},\"required\":[\"items\"]}"},
    FILES_ERROR(400, "No absolute path, or no directory."),
    FILES_ERROR(404, "There is no such directory."),
};
static const struct route_response home_responses[] = {
    {.status = 200,
     .description = "Where choosing a directory may begin.",
     .ref = "{\"type\":\"object\",\"properties\":{\"home\":{\"type\":\"string\"},\"favorites\":" ENTRY(
         "label") ",\"locations\":" ENTRY("label") "},\"required\":[\"home\",\"favorites\",\"locations\"]}"},
};

#define TAG .tag = "Files"
#define UPLOAD                                                                                  \
    .method = HTTP_POST_, .summary = "Write a file", TAG, .flags = ROUTE_STREAM_BODY,           \
    .body = &upload_schema, .body_type = "multipart/form-data", .responses = success_responses, \
    .response_count = ARRAY_LEN(success_responses)
#define DOWNLOAD                                                                                            \
    .method = HTTP_GET_, .summary = "Read a file", TAG, .flags = ROUTE_INLINE, .responses = file_responses, \
    .response_count = ARRAY_LEN(file_responses)
static const struct route routes[] = {
    {UPLOAD, .path = "/api/file/upload", .handle = upload_query,
     .operation = "upload_file_query_api_file_upload_post", IN_QUERY},
    {UPLOAD, .path = "/api/file/upload/{path:path}", .handle = upload_captured,
     .operation = "upload_file_api_file_upload__path__post", IN_PATH},
    {DOWNLOAD, .path = "/api/file/download", .handle = download_query,
     .operation = "download_file_query_api_file_download_get", IN_QUERY},
    {DOWNLOAD, .path = "/api/file/download/{path:path}", .handle = download_captured,
     .operation = "download_file_api_file_download__path__get", IN_PATH},
    {.method = HTTP_POST_,
     .path = "/api/file/create_directory",
     .handle = create_directory,
     .summary = "Make a directory, and those above it",
     TAG,
     .operation = "create_directory_api_file_create_directory_post",
     .flags = ROUTE_INLINE,
     IN_QUERY,
     .responses = success_responses,
     .response_count = ARRAY_LEN(success_responses)},
    {.method = HTTP_GET_,
     .path = "/api/file/home",
     .handle = get_home,
     .summary = "Directories to begin a choice with",
     TAG,
     .operation = "get_home_directory_api_file_home_get",
     .flags = ROUTE_INLINE,
     .args_size = sizeof(struct home_args),
     .query_fields = home_fields,
     .query_count = ARRAY_LEN(home_fields),
     .responses = home_responses,
     .response_count = ARRAY_LEN(home_responses)},
    {.method = HTTP_GET_,
     .path = "/api/file/search_subdirs",
     .handle = search_subdirs,
     .summary = "List the directories of a directory",
     TAG,
     .operation = "search_subdirs_api_file_search_subdirs_get",
     .flags = ROUTE_INLINE,
     .args_size = sizeof(struct subdirs_args),
     .query_fields = subdirs_fields,
     .query_count = ARRAY_LEN(subdirs_fields),
     .responses = subdirs_responses,
     .response_count = ARRAY_LEN(subdirs_responses)},
};
const struct route_table file_routes = {routes, ARRAY_LEN(routes)};
