/* POST …/upload-files: the form's files, each under its own name, into a conversation's workspace. */
#include "api/legacy/workspace.h"
#include "api/upload.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/utf8.h"

#define FILE_NAME_MAX \
    4095 /* bytes of a file's name with its directories; what is longer is skipped and told cut */

/* What no file can have, or leads out whatever the links are. For the rest the hand decides. */
static const char *name_problem(struct str name)
{
    struct str last = str_ends(name, STR("/")) ? STR("") : path_base(name);
    if (name.n == 0)
        return "The file has no name";
    if (name.n > FILE_NAME_MAX)
        return "The name is too long";
    if (str_find_char(name, '\0') >= 0)
        return "The name has a NUL character";
    if (last.n == 0 || str_is(last, ".") || str_is(last, ".."))
        return "This is the name of a directory";
    return NULL;
}

static bool upload_place(const struct hand_request *h, struct str name, struct str *path, struct buf *fields,
                         const char **reason)
{
    autobuf root = {0}, whole = {0}, normal = {0};
    *reason = name_problem(name);
    if (*reason)
        return false;
    path_normalize(&root, h->hand.working_dir);
    path_join(&whole, buf_str(&root), name);
    path_normalize(&normal, buf_str(&whole));
    if (!path_is_absolute(name) && !path_is_beneath(buf_str(&root), buf_str(&normal))) {
        *reason = "The name leads out of the workspace";
        return false;
    }
    *path = arena_str(request_arena(h->request), buf_str(&normal));
    workspace_add_path(h, *path, fields);
    return true;
}

static void upload_done(struct hand_request *h, const struct upload_file *const *files, size_t n)
{
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_key(&w, "uploaded_files");
    jw_array(&w);
    for (size_t i = 0; i < n; i++)
        if (!files[i]->reason.p)
            jw_str(&w, files[i]->path);
    jw_array_end(&w);
    jw_key(&w, "skipped_files");
    jw_array(&w);
    for (size_t i = 0; i < n; i++) {
        if (!files[i]->reason.p)
            continue;
        jw_object(&w);
        jw_member_str(&w, "name", utf8_prefix_bytes(files[i]->name, FILE_NAME_MAX));
        jw_member_str(&w, "reason", files[i]->reason);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    jw_object_end(&w);
    request_reply_json(h->request, 200, &body);
}

static void upload_begin(struct hand_request *h)
{
    static const struct upload_rules rules = {.field = "files", .place = upload_place, .done = upload_done};
    upload_start(h, &rules);
}

static void upload_files(struct request *r, const void *args)
{
    workspace_request(r, args, upload_begin);
}

static const struct json_field form_fields[] = {{
    .name = "files",
    .type = FIELD_STR,
    .flags = FIELD_REQUIRED,
    .json_schema = "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"format\":\"binary\"},"
                   "\"title\":\"Files\"}",
}};
static const struct json_schema form_schema = {
    .name = "Body_upload_files_api_conversations__conversation_id__upload_files_post",
    .size = sizeof(struct str),
    .fields = form_fields,
    .count = ARRAY_LEN(form_fields)};
static const struct route_response responses[] = {
    {.status = 200,
     .description = "Paths of what was written, and what was not.",
     .ref = "POSTUploadFilesModel"},
    LEGACY_ERROR(400, "The form is malformed; files that came whole are written."),
    LEGACY_ERROR(404, "No such conversation."),
};
static const struct route routes[] = {
    {LEGACY_ID, .method = HTTP_POST_, .path = "/api/conversations/{conversation_id}/upload-files",
     .handle = upload_files, .summary = "Upload Files", .tag = "Files",
     .operation = "upload_files_api_conversations__conversation_id__upload_files_post",
     .flags = ROUTE_STREAM_BODY, .args_size = sizeof(struct id_args), .body = &form_schema,
     .body_type = "multipart/form-data", .responses = responses, .response_count = ARRAY_LEN(responses)},
};
const struct route_table legacy_upload_routes = {routes, ARRAY_LEN(routes)};
