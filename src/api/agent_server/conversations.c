/* Reading conversations: one, several, pages of them; changing and deleting them. control.c has what makes them act. */
#include "api/agent_server/app.h"
#include "api/agent_server/start.h"
#include "base/cleanup.h"

#define TITLE_MAX 200 /* characters */

/* ---- GET /{id} ---- */

struct get_args {
    struct uuid id;
    bool include_skills;
};
static const struct json_field include_skills_field[] = {{
    .name = "include_skills",
    .type = FIELD_BOOL,
    .offset = offsetof(struct get_args, include_skills),
    .doc = "Show the agent's skills, which are left out otherwise.",
}};

static void reply_info(struct request *r, struct bytes *info, const struct err *e)
{
    if (info)
        request_reply_bytes(r, 200, "application/json", info);
    else if (e->kind == ERR_NOT_FOUND)
        reply_missing(r, NULL);
    else
        request_reply_error(r, e);
}

struct get_job {
    struct request *request;
    const struct get_args *args;
};

static void get_stored(void *arg)
{
    const struct get_job *job = arg;
    autoerr e = NULL;
    struct bytes *info =
        conversations_info(conversations_of(job->request), &job->args->id, job->args->include_skills, &e);
    reply_info(job->request, info, e);
}

/* On the loop: one in memory is answered here, from the committed snapshot. */
static void get_conversation(struct request *r, const void *argsp)
{
    const struct get_args *args = argsp;
    struct conversation *c = args->include_skills ? NULL : conversations_peek(conversations_of(r), &args->id);
    if (c) {
        request_reply_bytes(r, 200, "application/json", conversation_info(c));
        conversation_unref(c);
        return;
    }
    autoerr e = NULL;
    struct get_job *job = ARENA_NEW(request_arena(r), struct get_job);
    *job = (struct get_job){.request = r, .args = args};
    if (!pool_submit(app_of(r)->config.pool, get_stored, job, &e))
        request_reply_error(r, e);
}

/* ---- GET ?ids= ---- */

struct batch_args {
    struct json_list ids;
    bool include_skills;
};
static const struct json_field batch_fields[] = {
    {.name = "ids",
     .type = FIELD_ARRAY,
     .item = FIELD_UUID,
     .offset = offsetof(struct batch_args, ids),
     .flags = FIELD_REQUIRED,
     .min = 0,
     .max = PAGE_LIMIT,
     .doc = "Ids of the conversations; repeat it for each."},
    {.name = "include_skills",
     .type = FIELD_BOOL,
     .offset = offsetof(struct batch_args, include_skills),
     .doc = "Show the agents' skills, which are left out otherwise."},
};

/* Adds the info of one, or null. */
static bool add_info(struct request *r, const struct uuid *id, bool with_skills, struct buf *out,
                     struct err **e)
{
    autoerr why = NULL;
    autobytes info = conversations_info(conversations_of(r), id, with_skills, &why);
    if (!info && why->kind != ERR_NOT_FOUND) {
        if (e)
            *e = steal(why);
        return false;
    }
    buf_add(out, info ? bytes_str(info) : STR("null"));
    return true;
}

static void batch_conversations(struct request *r, const void *argsp)
{
    const struct batch_args *args = argsp;
    const struct uuid *ids = args->ids.items;
    autoerr e = NULL;
    autobuf body = {0};
    buf_add_char(&body, '[');
    for (size_t i = 0; i < args->ids.n; i++) {
        if (i > 0)
            buf_add_char(&body, ',');
        if (!add_info(r, &ids[i], args->include_skills, &body, &e)) {
            request_reply_error(r, e);
            return;
        }
    }
    buf_add_char(&body, ']');
    request_reply_json(r, 200, &body);
}

/* ---- GET /search, /count ---- */

static const char *const status_names[] = {
    "idle", "running", "paused", "waiting_for_confirmation", "finished", "error", "stuck", "deleting", NULL};
static const char *const sort_names[] = {"CREATED_AT", "UPDATED_AT", "CREATED_AT_DESC", "UPDATED_AT_DESC",
                                         NULL};
static const enum store_order sort_orders[] = {STORE_CREATED_ASC, STORE_UPDATED_ASC, STORE_CREATED_DESC,
                                               STORE_UPDATED_DESC};

struct search_args {
    int status, old_status, sort_order;
    bool has_status, has_old_status, has_page, include_skills;
    struct uuid page;
    int64_t limit;
};
#define SEARCH(member) .offset = offsetof(struct search_args, member)
#define STATUS_FIELDS                                                                 \
    {.name = "status",                                                                \
     .type = FIELD_ENUM,                                                              \
     SEARCH(status),                                                                  \
     .given = offsetof(struct search_args, has_status),                               \
     .names = status_names,                                                           \
     .doc = "Only conversations with this status."},                                  \
    {                                                                                 \
        .name = "agent_status", .type = FIELD_ENUM, SEARCH(old_status),               \
        .given = offsetof(struct search_args, has_old_status), .names = status_names, \
        .doc = "The former name of `status`."                                         \
    }
static const struct json_field search_fields[] = {
    STATUS_FIELDS,
    {.name = "page_id",
     .type = FIELD_UUID,
     SEARCH(page),
     .given = offsetof(struct search_args, has_page),
     .doc = "`next_page_id` of the page before."},
    {.name = "limit",
     .type = FIELD_INT,
     SEARCH(limit),
     .default_int = PAGE_LIMIT,
     .min = 1,
     .max = PAGE_LIMIT,
     .doc = "Most items of the page."},
    {.name = "sort_order",
     .type = FIELD_ENUM,
     SEARCH(sort_order),
     .names = sort_names,
     .default_int = 2,
     .doc = "Order of the items."},
    {.name = "include_skills",
     .type = FIELD_BOOL,
     SEARCH(include_skills),
     .doc = "Show the agents' skills, which are left out otherwise."},
};
static const struct json_field count_fields[] = {STATUS_FIELDS};

static enum status status_wanted(const struct search_args *args)
{
    if (!args->has_status && !args->has_old_status)
        return 0;
    return status_parse(str_from(status_names[args->has_status ? args->status : args->old_status]));
}

/* {"items":[… as far as `items` is filled …],"next_page_id":…} */
static void end_page(struct buf *body, bool more, const struct uuid *next)
{
    char id[UUID_HEX_LEN + 1];
    buf_add(body, STR("],\"next_page_id\":"));
    if (more) {
        uuid_hex(next, id);
        buf_addf(body, "\"%s\"}", id);
    } else {
        buf_add(body, STR("null}"));
    }
}

static bool add_page(struct request *r, const struct search_args *args, struct buf *body, struct err **e)
{
    struct bytes *infos[PAGE_LIMIT];
    size_t n = 0;
    struct uuid next;
    bool more = false;
    if (!conversations_search(conversations_of(r), status_wanted(args), sort_orders[args->sort_order],
                              args->has_page ? &args->page : NULL, (size_t)args->limit, infos, &n, &next,
                              &more, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_add_char(body, ',');
        buf_add(body, bytes_str(infos[i]));
        bytes_unref(infos[i]);
    }
    end_page(body, more, &next);
    return true;
}

static bool add_page_with_skills(struct request *r, const struct search_args *args, struct buf *body,
                                 struct err **e)
{
    struct store_row *rows = NULL;
    size_t n = 0;
    struct uuid next;
    bool more = false;
    enum status status = status_wanted(args);
    struct store_list query = {
        .kind = STORE_CONVERSATION,
        .status = status ? (int)status : -1,
        .order = sort_orders[args->sort_order],
        .from = args->has_page ? &args->page : NULL,
        .limit = (size_t)args->limit,
    };
    if (!store_list(conversations_store(conversations_of(r)), &query, request_arena(r), &rows, &n, &next,
                    &more, e))
        return false;
    size_t before = body->n;
    for (size_t i = 0; i < n; i++) {
        autoerr why = NULL;
        autobytes info = conversations_info(conversations_of(r), &rows[i].id, true, &why);
        if (!info)
            continue; /* deleted since */
        if (body->n > before)
            buf_add_char(body, ',');
        buf_add(body, bytes_str(info));
    }
    end_page(body, more, &next);
    return true;
}

static void search_conversations(struct request *r, const void *argsp)
{
    const struct search_args *args = argsp;
    autoerr e = NULL;
    autobuf body = {0};
    buf_add(&body, STR("{\"items\":["));
    if (args->include_skills ? add_page_with_skills(r, args, &body, &e) : add_page(r, args, &body, &e))
        request_reply_json(r, 200, &body);
    else
        request_reply_error(r, e);
}

static void count_conversations(struct request *r, const void *argsp)
{
    const struct search_args *args = argsp;
    autoerr e = NULL;
    int64_t count = 0;
    if (!conversations_count(conversations_of(r), status_wanted(args), &count, &e)) {
        request_reply_error(r, e);
        return;
    }
    autobuf body = {0};
    buf_add_i64(&body, count);
    request_reply_json(r, 200, &body);
}

/* ---- PATCH, DELETE ---- */

struct patch_body {
    struct str title;
    const struct json_value *tags;
};
struct patch_args {
    struct uuid id;
    struct patch_body body;
};
static const struct json_field patch_fields[] = {
    {.name = "title",
     .type = FIELD_STR,
     .offset = offsetof(struct patch_body, title),
     .min = 1,
     .max = TITLE_MAX,
     .doc = "A new title."},
    {.name = "tags",
     .type = FIELD_OBJECT,
     .offset = offsetof(struct patch_body, tags),
     .doc = "New tags, in place of all there are."},
};
static const struct json_schema patch_schema = {.name = "UpdateConversationRequest",
                                                .size = sizeof(struct patch_body),
                                                .fields = patch_fields,
                                                .count = 2};

static void patch_missing(struct request *r, const void *args)
{
    (void)args;
    reply_success(r, false); /* unlike every other route */
}

static void patch_run(struct act *a)
{
    const struct patch_args *args = a->args;
    conversation_set_title(a->conversation, args->body.title, args->body.tags, act_success, a);
}

static void patch_conversation(struct request *r, const void *argsp)
{
    const struct patch_args *args = argsp;
    struct json_problems problems = {.arena = request_arena(r)};
    struct json_path body = {.name = STR("body")};
    if (!tags_check(args->body.tags, &body, &problems)) {
        request_reply_problems(r, &problems);
        return;
    }
    act_start(&(struct act){.request = r, .args = args, .run = patch_run, .missing = patch_missing});
}

static void deleted(void *arg, const struct err *e)
{
    struct request *r = arg;
    if (!e)
        reply_success(r, true);
    else if (e->kind == ERR_NOT_FOUND)
        reply_missing_400(r, NULL);
    else
        request_reply_error(r, e);
}

static void delete_conversation(struct request *r, const void *argsp)
{
    const struct id_args *args = argsp;
    conversations_delete(conversations_of(r), &args->id, deleted, r);
}

/* ---- the table ---- */

static const struct route_response info_responses[] = {
    {.status = 200, .description = "The conversation.", .ref = "ConversationInfo"},
    {.status = 404, .description = "There is no such conversation.", .ref = "Error"},
};
static const struct route_response page_responses[] = {
    {.status = 200, .description = "A page of conversations.", .ref = "ConversationPage"}};
static const struct route_response count_responses[] = {
    {.status = 200, .description = "How many there are.", .ref = "{\"type\":\"integer\"}"}};
static const struct route_response batch_responses[] = {
    {.status = 200,
     .description = "The conversations in the order asked for; null for one that does not exist.",
     .ref = "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"$ref\":\"#/components/schemas/ConversationInfo\"},"
            "{\"type\":\"null\"}]}}"}};

#define TAG .tag = "Conversations"
static const struct route routes[] = {
    {.method = HTTP_GET_,
     .path = "/api/conversations/search",
     .handle = search_conversations,
     .summary = "Page through the conversations",
     TAG,
     .operation = "search_conversations_api_conversations_search_get",
     .args_size = sizeof(struct search_args),
     .query_fields = search_fields,
     .query_count = ARRAY_LEN(search_fields),
     .responses = page_responses,
     .response_count = 1},
    {.method = HTTP_GET_,
     .path = "/api/conversations/count",
     .handle = count_conversations,
     .summary = "Count the conversations",
     TAG,
     .operation = "count_conversations_api_conversations_count_get",
     .args_size = sizeof(struct search_args),
     .query_fields = count_fields,
     .query_count = ARRAY_LEN(count_fields),
     .responses = count_responses,
     .response_count = 1},
    {.method = HTTP_GET_,
     .path = "/api/conversations/{conversation_id}",
     .handle = get_conversation,
     .summary = "Get a conversation",
     TAG,
     .operation = "get_conversation_api_conversations__conversation_id__get",
     .flags = ROUTE_INLINE,
     .args_size = sizeof(struct get_args),
     ID_PATH,
     .query_fields = include_skills_field,
     .query_count = 1,
     .responses = info_responses,
     .response_count = 2},
    {.method = HTTP_GET_,
     .path = "/api/conversations",
     .handle = batch_conversations,
     .summary = "Get several conversations by their ids",
     TAG,
     .operation = "batch_get_conversations_api_conversations_get",
     .args_size = sizeof(struct batch_args),
     .query_fields = batch_fields,
     .query_count = ARRAY_LEN(batch_fields),
     .responses = batch_responses,
     .response_count = 1},
    {.method = HTTP_PATCH_,
     .path = "/api/conversations/{conversation_id}",
     .handle = patch_conversation,
     .summary = "Change title or tags; success is false for a conversation that does not exist",
     TAG,
     .operation = "update_conversation_api_conversations__conversation_id__patch",
     .args_size = sizeof(struct patch_args),
     ID_PATH,
     .body = &patch_schema,
     .body_offset = offsetof(struct patch_args, body),
     .responses = success_only,
     .response_count = 1},
    {.method = HTTP_DELETE_,
     .path = "/api/conversations/{conversation_id}",
     .handle = delete_conversation,
     .summary = "Delete a conversation; its workspace stays",
     TAG,
     .operation = "delete_conversation_api_conversations__conversation_id__delete",
     .args_size = sizeof(struct id_args),
     ID_PATH,
     .responses = success_or_400,
     .response_count = 2},
};
const struct route_table conversation_routes = {routes, ARRAY_LEN(routes)};
