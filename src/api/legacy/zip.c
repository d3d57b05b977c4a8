/* A conversation's workspace as a zip, packed by its hand while the client reads. */
#include "api/download.h"
#include "api/legacy/workspace.h"
#include "base/cleanup.h"

#define ZIP_ERROR "Error zipping workspace"
#define ZIP_NAME "workspace.zip"

static void zip_refused(struct request *r, const void *args, enum wire_status status, struct str message)
{
    (void)args;
    workspace_refuse(r, ZIP_ERROR, status, message);
}

static void zip_failed(struct request *r, const void *args, const struct err *e)
{
    (void)args;
    workspace_fail(r, ZIP_ERROR, e);
}

static void zip_begin(struct hand_request *h)
{
    const struct file_sending how = {
        .content_type = "application/zip", .attachment = true, .refused = zip_refused, .failed = zip_failed};
    autobuf fields = {0};
    wire_add_str(&fields, F_PATH, h->hand.working_dir);
    download_send(h->request, &h->hand, OP_ARCHIVE, &fields, STR(ZIP_NAME), &how);
}

static void zip_directory(struct request *r, const void *args)
{
    workspace_request(r, args, zip_begin);
}

static const struct route_response responses[] = {
    {.status = 200,
     .description = "The archive. What could not be read is named in its comment.",
     .ref = "{}"},
    LEGACY_ERROR(403, "The workspace may not be read."),
    LEGACY_ERROR(404, "No such conversation, or its workspace is gone."),
    LEGACY_ERROR(413, "There are too many files."),
    LEGACY_ERROR(500, "The workspace cannot be reached."),
    LEGACY_ERROR(503, "Enough archives of this conversation are being packed already."),
};
static const struct route routes[] = {
    {LEGACY_ID, .tag = "Files", .args_size = sizeof(struct id_args), .flags = ROUTE_INLINE,
     .method = HTTP_GET_, .path = "/api/conversations/{conversation_id}/zip-directory",
     .handle = zip_directory, .summary = "Download Workspace Archive",
     .operation = "zip_current_workspace_api_conversations__conversation_id__zip_directory_get",
     .responses = responses, .response_count = ARRAY_LEN(responses)},
};
const struct route_table legacy_zip_routes = {routes, ARRAY_LEN(routes)};
