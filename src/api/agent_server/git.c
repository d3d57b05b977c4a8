/* Git: what changed in a workspace, asked of the hand that serves its path. The paths may stand in the query or, as older
 * clients have it, in the path. */
#include "api/agent_server/app.h"
#include "api/changes.h"
#include "api/hand_request.h"
#include "base/cleanup.h"

#define GIT_TIMEOUT_MS 130000 /* the hand's own bound is 120 s */
#define COMMITS_DEFAULT 50
#define COMMITS_MAX 200

struct git_args {
    struct str path, ref, commit;
    int64_t limit;
};
#define AT(member) .offset = offsetof(struct git_args, member)

/* ---- answers ---- */

static const char *change_status(struct str kind)
{
    return str_is(kind, "A") ? "ADDED" : str_is(kind, "D") ? "DELETED" : "UPDATED";
}

static void changes_answered(struct hand_request *h, struct str fields, struct str data)
{
    (void)data;
    changes_reply(h->request, fields, change_status);
}

static void diff_answered(struct hand_request *h, struct str fields, struct str data)
{
    (void)data;
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_member_str(&w, "modified", wire_get_str(fields, F_NEW));
    jw_member_str(&w, "original", wire_get_str(fields, F_OLD));
    jw_object_end(&w);
    request_reply_json(h->request, 200, &body);
}

static void commits_answered(struct hand_request *h, struct str fields, struct str data)
{
    static const struct {
        const char *key;
        enum wire_field tag;
    } members[] = {{"sha", F_COMMIT},
                   {"short_sha", F_SHORT},
                   {"subject", F_TEXT},
                   {"author", F_USER},
                   {"timestamp", F_TIME}};
    (void)data;
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    struct wire_fields f = {fields};
    enum wire_field tag;
    struct str item;
    jw_object(&w);
    jw_key(&w, "commits");
    jw_array(&w);
    while (wire_fields_next(&f, &tag, &item, NULL)) {
        if (tag != F_ITEM || !wire_fields_valid(item))
            continue;
        jw_object(&w);
        for (size_t i = 0; i < ARRAY_LEN(members); i++)
            jw_member_str(&w, members[i].key, wire_get_str(item, members[i].tag));
        jw_object_end(&w);
    }
    jw_array_end(&w);
    jw_member_bool(&w, "has_more", wire_get_int(fields, F_TRUNCATED, 0) != 0);
    jw_object_end(&w);
    request_reply_json(h->request, 200, &body);
}

/* What is in no repository has no changes, nulls for a diff and no commits. What git or the file refuses is the caller's to
 * know: 400, whatever the hand calls it. */
static void refused(struct hand_request *h, enum wire_status status, struct str message)
{
    if (status == WIRE_NOT_FOUND)
        h->answer->done(h, STR(""), STR(""));
    else
        hand_request_refuse(h, status == WIRE_TOO_LARGE ? WIRE_INVALID : status, message);
}

static const struct hand_answer changes_answer = {
    .timeout_ms = GIT_TIMEOUT_MS, .done = changes_answered, .refused = refused};
static const struct hand_answer diff_answer = {
    .timeout_ms = GIT_TIMEOUT_MS, .done = diff_answered, .refused = refused};
static const struct hand_answer commits_answer = {
    .timeout_ms = GIT_TIMEOUT_MS, .done = commits_answered, .refused = refused};

/* ---- questions ---- */

static void ask(struct request *r, const struct git_args *args, bool captured, enum wire_op op,
                const struct hand_answer *answer)
{
    autobuf fields = {0};
    struct str path = hand_request_path(r, args->path, captured);
    wire_add_str(&fields, F_PATH, path);
    if (args->ref.n)
        wire_add_str(&fields, F_REF, args->ref);
    if (args->commit.n)
        wire_add_str(&fields, F_COMMIT, args->commit);
    if (args->limit)
        wire_add_int(&fields, F_LIMIT, args->limit);
    hand_request_one(r, args, path, op, &fields, answer);
}

/* Hexadecimal, so that nothing else is ever a name for git. */
static bool commit_valid(struct request *r, const char *where, const char *name, struct str commit)
{
    bool valid = commit.n >= 4 && commit.n <= 64;
    for (size_t i = 0; i < commit.n; i++)
        valid = valid && commit.p[i] && strchr("0123456789abcdefABCDEF", commit.p[i]);
    if (valid)
        return true;
    struct json_problems problems = {.arena = request_arena(r)};
    struct json_path place = {.name = str_from(where)};
    json_problem_at(&problems, &(struct json_path){.parent = &place, .name = str_from(name)},
                    "string_pattern_mismatch", STR("String should match pattern '^[0-9a-fA-F]{4,64}$'"),
                    &(struct json_input){.text = commit}, STR("{\"pattern\":\"^[0-9a-fA-F]{4,64}$\"}"));
    request_reply_problems(r, &problems);
    return false;
}

static void get_changes(struct request *r, const void *args)
{
    ask(r, args, false, OP_GIT_CHANGES, &changes_answer);
}

static void get_changes_of_path(struct request *r, const void *args)
{
    ask(r, args, true, OP_GIT_CHANGES, &changes_answer);
}

static void get_diff(struct request *r, const void *args)
{
    const struct git_args *a = args;
    if (a->ref.p && a->commit.p)
        request_reply_detail(r, 400, "Either 'ref' or 'commit' can be given, not both");
    else if (!a->commit.p || commit_valid(r, "query", "commit", a->commit))
        ask(r, args, false, OP_GIT_DIFF, &diff_answer);
}

static void get_diff_of_path(struct request *r, const void *args)
{
    ask(r, args, true, OP_GIT_DIFF, &diff_answer);
}

static void get_commits(struct request *r, const void *args)
{
    ask(r, args, false, OP_GIT_LOG, &commits_answer);
}

static void get_commit_changes(struct request *r, const void *args)
{
    const struct git_args *a = args;
    if (commit_valid(r, "path", "sha", a->commit))
        ask(r, args, false, OP_GIT_CHANGES, &changes_answer);
}

/* ---- the table ---- */

#define PATH_FIELD(text)                                                                  \
    {                                                                                     \
        .name = "path", .type = FIELD_STR, AT(path), .flags = FIELD_REQUIRED, .doc = text \
    }
#define REF_FIELD                                                                                                \
    {                                                                                                            \
        .name = "ref", .type = FIELD_STR, AT(ref),                                                               \
        .doc =                                                                                                   \
            "What to compare with: a branch, a commit, or HEAD for what is not committed. Without it, the base " \
            "that shows what was done in this workspace."                                                        \
    }
#define DIRECTORY "Directory of a git repository."
#define FILE_PATH "Path of a file."
#define SHA "A commit: 4 to 64 hexadecimal digits, as many as are unique."

static const struct json_field changes_fields[] = {PATH_FIELD(DIRECTORY), REF_FIELD};
static const struct json_field changes_path_fields[] = {PATH_FIELD(DIRECTORY)};
static const struct json_field diff_path_fields[] = {PATH_FIELD(FILE_PATH)};
static const struct json_field ref_fields[] = {REF_FIELD};
static const struct json_field diff_fields[] = {
    PATH_FIELD(FILE_PATH),
    REF_FIELD,
    {.name = "commit",
     .type = FIELD_STR,
     AT(commit),
     .doc = "Show what this commit did to the file instead. " SHA},
};
static const struct json_field commits_fields[] = {
    PATH_FIELD(DIRECTORY),
    {.name = "limit",
     .type = FIELD_INT,
     AT(limit),
     .default_int = COMMITS_DEFAULT,
     .min = 1,
     .max = COMMITS_MAX,
     .doc = "Most commits of the answer."},
};
static const struct json_field sha_fields[] = {
    {.name = "sha", .type = FIELD_STR, AT(commit), .flags = FIELD_REQUIRED, .doc = SHA}};

#define REFUSED                                                                                       \
    {                                                                                                 \
        .status = 400, .description = "Git refuses, or the file cannot be shown; `detail` says why.", \
        .ref = "Error"                                                                                \
    }
static const struct route_response changes_responses[] = {
    {.status = 200,
     .description = "The changes by path; none for what is in no repository.",
     .ref = "{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/GitChange\"}}"},
    REFUSED};
static const struct route_response diff_responses[] = {
    {.status = 200, .description = "Both contents; nulls for what is in no repository.", .ref = "GitDiff"},
    REFUSED};
static const struct route_response commits_responses[] = {
    {.status = 200,
     .description = "Commits, newest first; none for what is in no repository.",
     .ref = "GitCommitsPage"},
    REFUSED};

#define ROUTE(text, id) \
    .method = HTTP_GET_, .summary = text, .tag = "Git", .operation = id, .args_size = sizeof(struct git_args)
#define QUERY(fields) .query_fields = fields, .query_count = ARRAY_LEN(fields)
#define CAPTURE(fields) .path_fields = fields, .path_count = ARRAY_LEN(fields)
#define RESPONSES(list) .responses = list, .response_count = ARRAY_LEN(list)

static const struct route routes[] = {
    {ROUTE("List the files that changed", "git_changes_query_api_git_changes_get"),
     .path = "/api/git/changes", .handle = get_changes, QUERY(changes_fields), RESPONSES(changes_responses)},
    {ROUTE("List the files that changed", "git_changes_api_git_changes__path__get"),
     .path = "/api/git/changes/{path:path}", .handle = get_changes_of_path, CAPTURE(changes_path_fields),
     QUERY(ref_fields), RESPONSES(changes_responses)},
    {ROUTE("Show a file before and after", "git_diff_query_api_git_diff_get"), .path = "/api/git/diff",
     .handle = get_diff, QUERY(diff_fields), RESPONSES(diff_responses)},
    {ROUTE("Show a file before and after", "git_diff_api_git_diff__path__get"),
     .path = "/api/git/diff/{path:path}", .handle = get_diff_of_path, CAPTURE(diff_path_fields),
     QUERY(ref_fields), RESPONSES(diff_responses)},
    {ROUTE("List the newest commits", "git_commits_query_api_git_commits_get"), .path = "/api/git/commits",
     .handle = get_commits, QUERY(commits_fields), RESPONSES(commits_responses)},
    {ROUTE("List the files that a commit changed",
           "git_commit_changes_query_api_git_commits__sha__changes_get"),
     .path = "/api/git/commits/{sha}/changes", .handle = get_commit_changes, CAPTURE(sha_fields),
     QUERY(changes_path_fields), RESPONSES(changes_responses)},
};
const struct route_table git_routes = {routes, ARRAY_LEN(routes)};
