/* Git: what was done in a conversation's workspace, compared with what its origin has. */
#include "api/changes.h"
#include "api/legacy/workspace.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/utf8.h"

#define GIT_MS 130000 /* the hand's own bound is 120 s */
#define CHANGES_ERROR "Error getting changes"
#define DIFF_ERROR "Error getting diff"

struct git_args {
    struct id_args id;
    struct str path;
};

/* ---- changes ---- */

static const char *status_letter(struct str kind)
{
    return str_is(kind, "A") ? "A" : str_is(kind, "D") ? "D" : str_is(kind, "C") ? "U" : "M";
}

static void changes_answered(struct hand_request *h, struct str fields, struct str data)
{
    (void)data;
    changes_reply(h->request, fields, status_letter);
}

/* What is no repository has no changes. The client asked for nothing in particular, so what git refuses is no fault of
 * its request. */
static void changes_refused(struct hand_request *h, enum wire_status status, struct str message)
{
    autoerr e = NULL;
    if (status == WIRE_NOT_FOUND)
        return changes_answered(h, STR(""), STR(""));
    if (status != WIRE_INVALID)
        return workspace_refuse(h->request, CHANGES_ERROR, status, message);
    err_set(&e, ERR_INTERNAL, "%.*s", STR_ARG(message));
    workspace_fail(h->request, CHANGES_ERROR, e);
}

static void changes_failed(struct hand_request *h, const struct err *e)
{
    workspace_fail(h->request, CHANGES_ERROR, e);
}

static void changes_begin(struct hand_request *h)
{
    static const struct hand_answer answer = {
        .timeout_ms = GIT_MS, .done = changes_answered, .refused = changes_refused, .failed = changes_failed};
    autobuf fields = {0};
    wire_add_str(&fields, F_PATH, h->hand.working_dir);
    wire_add_int(&fields, F_ORIGIN, 1);
    hand_request_call(h, OP_GIT_CHANGES, &fields, &answer);
}

static void get_changes(struct request *r, const void *args)
{
    workspace_request(r, args, changes_begin);
}

/* ---- diff ---- */

static bool is_text(struct str content)
{
    return utf8_valid(content) && str_find_char(content, '\0') < 0;
}

static void diff_answered(struct hand_request *h, struct str fields, struct str data)
{
    (void)data;
    const struct git_args *args = h->args;
    struct str new = wire_get_str(fields, F_NEW), old = wire_get_str(fields, F_OLD);
    autobuf body = {0}, text = {0};
    if (!new.p && !old.p)
        return workspace_refuse(h->request, DIFF_ERROR, WIRE_NOT_FOUND,
                                STR("there is no such file, nor was there one"));
    if (!is_text(new) || !is_text(old)) {
        autobuf path = {0};
        path_join(&path, h->hand.working_dir, args->path);
        buf_add(&text, STR("Unable to open binary file: "));
        utf8_scrub(&text, buf_str(&path));
        return legacy_reply_error(h->request, 415, text.p);
    }
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_member_str(&w, "modified", new.p ? new : STR(""));
    jw_member_str(&w, "original", old.p ? old : STR(""));
    jw_object_end(&w);
    request_reply_json(h->request, 200, &body);
}

static void diff_refused(struct hand_request *h, enum wire_status status, struct str message)
{
    if (status == WIRE_NOT_FOUND)
        legacy_reply_error(h->request, 404, "Not a git repository");
    else
        workspace_refuse(h->request, DIFF_ERROR, status, message);
}

static void diff_failed(struct hand_request *h, const struct err *e)
{
    workspace_fail(h->request, DIFF_ERROR, e);
}

static void diff_begin(struct hand_request *h)
{
    static const struct hand_answer answer = {
        .timeout_ms = GIT_MS, .done = diff_answered, .refused = diff_refused, .failed = diff_failed};
    const struct git_args *args = h->args;
    autobuf fields = {0};
    workspace_add_path(h, args->path, &fields);
    wire_add_int(&fields, F_ORIGIN, 1);
    wire_add_int(&fields, F_ABSENT, 1);
    hand_request_call(h, OP_GIT_DIFF, &fields, &answer);
}

static void get_diff(struct request *r, const void *args)
{
    workspace_request(r, args, diff_begin);
}

/* ---- the table ---- */

static const struct json_field diff_fields[] = {{
    .name = "path",
    .type = FIELD_STR,
    .offset = offsetof(struct git_args, path),
    .flags = FIELD_REQUIRED,
    .doc = "A file of the workspace.",
}};
static const struct route_response changes_responses[] = {
    {.status = 200,
     .description = "The changes by path (M, A, D or U); none for what is in no repository.",
     .ref =
         "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}}"},
    LEGACY_ERROR(404, "No such conversation."),
    LEGACY_ERROR(500, "Git refuses, or the workspace cannot be reached."),
};
static const struct route_response diff_responses[] = {
    {.status = 200,
     .description = "Both contents; empty for a side that has no such file.",
     .ref = "{\"type\":\"object\",\"additionalProperties\":true}"},
    LEGACY_ERROR(400, "It is no file, or git refuses."),
    LEGACY_ERROR(403, "The path leads out of the workspace."),
    LEGACY_ERROR(404, "No such file on either side, no repository, or no such conversation."),
    LEGACY_ERROR(413, "The file is too large to be shown."),
    LEGACY_ERROR(415, "The file is not UTF-8 text."),
    LEGACY_ERROR(500, "The workspace cannot be reached."),
};

#define GIT \
    LEGACY_ID, .method = HTTP_GET_, .tag = "Git", .args_size = sizeof(struct git_args), .flags = ROUTE_INLINE
static const struct route routes[] = {
    {GIT, .path = "/api/conversations/{conversation_id}/git/changes", .handle = get_changes,
     .summary = "Git Changes", .operation = "git_changes_api_conversations__conversation_id__git_changes_get",
     .responses = changes_responses, .response_count = ARRAY_LEN(changes_responses)},
    {GIT, .path = "/api/conversations/{conversation_id}/git/diff", .handle = get_diff, .summary = "Git Diff",
     .operation = "git_diff_api_conversations__conversation_id__git_diff_get", .query_fields = diff_fields,
     .query_count = ARRAY_LEN(diff_fields), .responses = diff_responses,
     .response_count = ARRAY_LEN(diff_responses)},
};
const struct route_table legacy_git_routes = {routes, ARRAY_LEN(routes)};
