/* Reading conversations: one, several, pages of them; changing and deleting them. control.c has what makes them act. */
#include "api/agent_server/app.h"
#include "api/agent_server/start.h"
#include "base/cleanup.h"
#include "base/log.h"

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

static bool add_info(struct request *r, const void *arg, const struct uuid *id, struct buf *out,
                     struct err **e)
{
    const bool *with_skills = arg;
    autobytes info = conversations_info(conversations_of(r), id, *with_skills, e);
    if (!info)
        return false;
    buf_add(out, bytes_str(info));
    return true;
}

static void batch_conversations(struct request *r, const void *argsp)
{
    const struct batch_args *args = argsp;
    reply_batch(r, args->ids.items, args->ids.n, add_info, &args->include_skills);
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

struct page {
    struct uuid ids[PAGE_LIMIT], next;
    size_t n;
    bool more;
};

/* What the page would have if nothing were too large. The rows' texts are not kept: they are read again one by one. */
static bool list_page(struct request *r, const struct search_args *args, struct page *page, struct err **e)
{
    autoarena arena = arena_new();
    struct store_row *rows = NULL;
    enum status status = status_wanted(args);
    struct store_list query = {
        .kind = STORE_CONVERSATION,
        .status = status ? (int)status : -1,
        .order = sort_orders[args->sort_order],
        .from = args->has_page ? &args->page : NULL,
        .limit = (size_t)args->limit,
    };
    if (!store_list(conversations_store(conversations_of(r)), &query, arena, &rows, &page->n, &page->next,
                    &page->more, e))
        return false;
    for (size_t i = 0; i < page->n; i++)
        page->ids[i] = rows[i].id;
    return true;
}

/* One deleted meanwhile is left out, and a damaged one does not take the page with it; but a page is never short because
 * the disk could not be read just now. */
static bool may_be_left_out(const struct uuid *id, const struct err *e)
{
    char text[UUID_DASHED_LEN + 1];
    if (e->kind == ERR_NOT_FOUND)
        return true;
    if (e->kind != ERR_INVALID && e->kind != ERR_INTERNAL)
        return false;
    uuid_dashed(id, text);
    log_error("conversation %s cannot be shown: %s", text, err_text(e));
    return true;
}

static bool add_page(struct request *r, const struct search_args *args, struct page *page, struct buf *body,
                     struct err **e)
{
    size_t before = body->n;
    for (size_t i = 0; i < page->n; i++) {
        autoerr why = NULL;
        if (body->n > PAGE_BYTES) {
            page->more = true;
            page->next = page->ids[i];
            break;
        }
        autobytes info = conversations_info(conversations_of(r), &page->ids[i], args->include_skills, &why);
        if (!info && !may_be_left_out(&page->ids[i], why)) {
            *e = steal(why);
            return false;
        }
        if (info && body->n > before)
            buf_add_char(body, ',');
        if (info)
            buf_add(body, bytes_str(info));
    }
    end_page(body, page->more, &page->next);
    return true;
}

static void search_conversations(struct request *r, const void *argsp)
{
    const struct search_args *args = argsp;
    struct page page = {.n = 0};
    char id[UUID_HEX_LEN + 1];
    autoerr e = NULL;
    autobuf body = {0};
    buf_add(&body, STR("{\"items\":["));
    if (!list_page(r, args, &page, &e)) {
        if (e->kind == ERR_NOT_FOUND)
            reply_page_missing(r, uuid_hex(&args->page, id), "conversation");
        else
            request_reply_error(r, e);
    } else if (add_page(r, args, &page, &body, &e)) {
        request_reply_json(r, 200, &body);
    } else {
        request_reply_error(r, e);
    }
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
            "{\"type\":\"null\"}]}}"},
    {.status = 413, .description = "The answer would be too large.", .ref = "Error"}};

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
     .response_count = ARRAY_LEN(batch_responses)},
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
