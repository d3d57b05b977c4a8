/* Files of a conversation's workspace: their names, and one as text. */
#include "api/legacy/workspace.h"
#include "api/listing.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/utf8.h"

#define CALL_MS 30000                        /* for a hand to list a directory or to read a file */
#define LIST_ENTRIES_MAX 100000              /* of a directory; the rest is left out */
#define SELECT_MAX ((size_t)8 * 1024 * 1024) /* bytes of a file that is shown; a larger one is 413 */
#define LIST_ERROR "Error listing files"
#define SELECT_ERROR "Error opening file"

struct file_args {
    struct id_args id;
    struct str path; /* STR_NONE: not given */
};

/* ---- list-files ---- */

/* What is never shown at the top: clients would offer it to be opened. */
static bool is_excluded(const struct entry *entry)
{
    static const char *const names[] = {".git", "node_modules", "__pycache__", "lost+found", ".vscode"};
    if (!entry->is_dir)
        return str_is(entry->name, ".DS_Store");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_is(entry->name, names[i]))
            return true;
    return false;
}

static void list_write(struct json_writer *w, const entry_list *all, struct str above, bool dirs)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct entry *entry = &all->at[i];
        autobuf path = {0};
        if (entry->is_dir != dirs || (above.n == 0 && is_excluded(entry)))
            continue;
        path_join(&path, above, entry->name);
        if (dirs)
            buf_add_char(&path, '/');
        jw_str(w, buf_str(&path));
    }
}

static void list_answered(struct hand_request *h, struct str fields, struct str data)
{
    (void)data;
    const struct file_args *args = h->args;
    autoentries all = {0};
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    listing_read(fields, &all);
    jw_array(&w);
    list_write(&w, &all, args->path, true);
    list_write(&w, &all, args->path, false);
    jw_array_end(&w);
    request_reply_json(h->request, 200, &body);
}

/* A directory that is none, or not there, has no files. */
static void list_refused(struct hand_request *h, enum wire_status status, struct str message)
{
    if (status == WIRE_NOT_FOUND || status == WIRE_NOT_DIR)
        list_answered(h, STR(""), STR(""));
    else
        workspace_refuse(h->request, LIST_ERROR, status, message);
}

static void list_failed(struct hand_request *h, const struct err *e)
{
    workspace_fail(h->request, LIST_ERROR, e);
}

static void list_begin(struct hand_request *h)
{
    static const struct hand_answer answer = {
        .timeout_ms = CALL_MS, .done = list_answered, .refused = list_refused, .failed = list_failed};
    const struct file_args *args = h->args;
    autobuf fields = {0};
    workspace_add_path(h, args->path, &fields);
    wire_add_int(&fields, F_LIMIT, LIST_ENTRIES_MAX);
    wire_add_int(&fields, F_FOLLOW, 1);
    wire_add_int(&fields, F_IGNORE, 1);
    hand_request_call(h, OP_DIR_LIST, &fields, &answer);
}

static void list_files(struct request *r, const void *args)
{
    workspace_request(r, args, list_begin);
}

/* ---- select-file ---- */

static void reply_binary(struct hand_request *h)
{
    const struct file_args *args = h->args;
    autobuf path = {0}, text = {0};
    path_join(&path, h->hand.working_dir, args->path);
    buf_add(&text, STR("Unable to open binary file: "));
    utf8_scrub(&text, buf_str(&path));
    legacy_reply_error(h->request, 415, text.p);
}

static void select_answered(struct hand_request *h, struct str fields, struct str data)
{
    autobuf body = {0};
    if (wire_get_int(fields, F_TRUNCATED, 0))
        return workspace_refuse(h->request, SELECT_ERROR, WIRE_TOO_LARGE,
                                STR("the file is too large to be shown"));
    if (!utf8_valid(data) || str_find_char(data, '\0') >= 0)
        return reply_binary(h);
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_member_str(&w, "code", data.p ? data : STR(""));
    jw_object_end(&w);
    request_reply_json(h->request, 200, &body);
}

static void select_refused(struct hand_request *h, enum wire_status status, struct str message)
{
    if (status == WIRE_NOT_DIR)
        status = WIRE_NOT_FOUND;
    workspace_refuse(h->request, SELECT_ERROR, status, message);
}

static void select_failed(struct hand_request *h, const struct err *e)
{
    workspace_fail(h->request, SELECT_ERROR, e);
}

static void select_begin(struct hand_request *h)
{
    static const struct hand_answer answer = {.timeout_ms = CALL_MS,
                                              .data_max = SELECT_MAX,
                                              .done = select_answered,
                                              .refused = select_refused,
                                              .failed = select_failed};
    const struct file_args *args = h->args;
    autobuf fields = {0};
    workspace_add_path(h, args->path, &fields);
    wire_add_int(&fields, F_LIMIT, (int64_t)SELECT_MAX);
    hand_request_call(h, OP_FILE_READ, &fields, &answer);
}

static void select_file(struct request *r, const void *args)
{
    workspace_request(r, args, select_begin);
}

/* ---- the table ---- */

static const struct json_field list_fields[] = {{
    .name = "path",
    .type = FIELD_STR,
    .offset = offsetof(struct file_args, path),
    .doc = "A directory of the workspace; without it the workspace itself.",
}};
static const struct json_field select_fields[] = {{
    .name = "file",
    .type = FIELD_STR,
    .offset = offsetof(struct file_args, path),
    .flags = FIELD_REQUIRED,
    .doc = "A file of the workspace.",
}};
static const struct route_response list_responses[] = {
    {.status = 200,
     .description = "Names of one level: directories first, with a slash.",
     .ref = "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}"},
    LEGACY_ERROR(403, "The path leads out of the workspace."),
    LEGACY_ERROR(404, "No such conversation."),
    LEGACY_ERROR(500, "The workspace cannot be reached."),
};
static const struct route_response select_responses[] = {
    {.status = 200,
     .description = "The file's text.",
     .ref = "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}"},
    LEGACY_ERROR(400, "It is a directory."),
    LEGACY_ERROR(403, "The path leads out of the workspace, or to no regular file."),
    LEGACY_ERROR(404, "No such file or conversation."),
    LEGACY_ERROR(413, "The file is too large to be shown."),
    LEGACY_ERROR(415, "The file is not UTF-8 text."),
    LEGACY_ERROR(500, "The workspace cannot be reached."),
};

#define FILES LEGACY_ID, .tag = "Files", .args_size = sizeof(struct file_args), .flags = ROUTE_INLINE
static const struct route routes[] = {
    {FILES, .method = HTTP_GET_, .path = "/api/conversations/{conversation_id}/list-files",
     .handle = list_files, .summary = "List Workspace Files",
     .operation = "list_files_api_conversations__conversation_id__list_files_get",
     .query_fields = list_fields, .query_count = ARRAY_LEN(list_fields), .responses = list_responses,
     .response_count = ARRAY_LEN(list_responses)},
    {FILES, .method = HTTP_GET_, .path = "/api/conversations/{conversation_id}/select-file",
     .handle = select_file, .summary = "Get File Content",
     .operation = "select_file_api_conversations__conversation_id__select_file_get",
     .query_fields = select_fields, .query_count = ARRAY_LEN(select_fields), .responses = select_responses,
     .response_count = ARRAY_LEN(select_responses)},
};
const struct route_table legacy_file_routes = {routes, ARRAY_LEN(routes)};
