/* The conversations: pages of them, one, its title, its end; and whether one is in use. create.c makes them. */
#include "api/legacy/info.h"
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define TITLE_MAX 200           /* characters */
#define LIST_MAX 1000           /* conversations of one answer; `next_page_id` leads on to the rest */
#define LIST_BATCH 20           /* read at once: each row brings its agent along */
#define LIST_DEFAULT 20         /* what clients expect */
#define AGE_MAX_US 864000000000 /* 10 days: older ones are not listed, but are there by their ids */
#define PAGE_ID_MAX 32          /* bytes: a number in base64 */

/* ---- GET /api/conversations ---- */

struct list_args {
    struct str page, repository;
    int64_t limit;
    int trigger;
    bool has_repository, has_trigger;
};
#define LIST(member) .offset = offsetof(struct list_args, member)
static const struct json_field list_fields[] = {
    {.name = "page_id", .type = FIELD_STR, LIST(page), .doc = "`next_page_id` of the page before."},
    {.name = "limit",
     .type = FIELD_INT,
     LIST(limit),
     .default_int = LIST_DEFAULT,
     .min = 0,
     .max = INT64_MAX,
     .doc = "Most conversations of the page; no page has more than 1000."},
    {.name = "selected_repository",
     .type = FIELD_STR,
     LIST(repository),
     .given = offsetof(struct list_args, has_repository),
     .doc = "Of the page, show only those for this repository."},
    {.name = "conversation_trigger",
     .type = FIELD_ENUM,
     LIST(trigger),
     .given = offsetof(struct list_args, has_trigger),
     .names = legacy_triggers,
     .doc = "Of the page, show only those that were made for this reason."},
};

/* A page is named by how many come before it: a decimal number in base64. */
static bool page_offset(struct str page, size_t *offset)
{
    autobuf text = {0};
    int64_t n = 0;
    if (page.n > PAGE_ID_MAX || (page.n > 0 && !base64_decode(&text, page)))
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
    if (page.n > 0 && !str_to_i64(buf_str(&text), &n))
        return false;
    *offset = (size_t)n;
    return true;
}

static void write_page_id(struct json_writer *w, size_t offset)
{
    autobuf number = {0}, id = {0};
    buf_addf(&number, "%zu", offset);
    base64_encode(&id, buf_str(&number));
    jw_member_str(w, "next_page_id", buf_str(&id));
}

static void list_row(struct request *r, const struct list_args *args, const struct store_row *row,
                     struct json_writer *w)
{
    struct legacy_origin origin;
    legacy_origin_read(row, &origin);
    if (row->created_us >= clock_wall_us() - AGE_MAX_US &&
        (!args->has_repository || str_eq(args->repository, origin.repository)) &&
        (!args->has_trigger || str_is(origin.trigger, legacy_triggers[args->trigger])))
        legacy_info_write(w, conversations_of(r), row, &origin);
    legacy_origin_deinit(&origin);
}

/* Reads on until `left` rows were looked at or there are no more; `*offset` is then where the next page begins. */
static bool list_rows(struct request *r, const struct list_args *args, size_t left, size_t *offset,
                      bool *more, struct json_writer *w, struct err **e)
{
    struct store_list query = {
        .kind = STORE_CONVERSATION, .status = -1, .order = STORE_CREATED_DESC, .skip = *offset};
    struct uuid next;
    *more = true;
    while (left > 0 && *more) {
        autoarena arena = arena_new();
        struct store_row *rows = NULL;
        size_t n = 0;
        query.limit = left < LIST_BATCH ? left : LIST_BATCH;
        if (!store_list(conversations_store(conversations_of(r)), &query, arena, &rows, &n, &next, more, e))
            return false;
        for (size_t i = 0; i < n; i++)
            list_row(r, args, &rows[i], w);
        left -= n;
        *offset += n;
        query.skip = 0;
        query.from = &next;
    }
    return true;
}

/* A page of none ends where it began. */
static bool list_nothing(struct request *r, size_t offset, bool *more, struct err **e)
{
    autoarena arena = arena_new();
    struct store_list query = {.kind = STORE_CONVERSATION, .status = -1, .skip = offset, .limit = 1};
    struct store_row *rows = NULL;
    struct uuid next;
    size_t n = 0;
    if (!store_list(conversations_store(conversations_of(r)), &query, arena, &rows, &n, &next, more, e))
        return false;
    *more = n > 0;
    return true;
}

static void search_conversations(struct request *r, const void *argsp)
{
    const struct list_args *args = argsp;
    size_t offset = 0, limit = args->limit < LIST_MAX ? (size_t)args->limit : LIST_MAX;
    bool more = false;
    autoerr e = NULL;
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    if (!page_offset(args->page, &offset)) {
        request_reply_detail(r, 400, "page_id is not one that this server has given");
        return;
    }
    jw_object(&w);
    jw_key(&w, "results");
    jw_array(&w);
    bool ok =
        limit > 0 ? list_rows(r, args, limit, &offset, &more, &w, &e) : list_nothing(r, offset, &more, &e);
    if (!ok) {
        request_reply_error(r, e);
        return;
    }
    jw_array_end(&w);
    if (more)
        write_page_id(&w, offset);
    else
        jw_member_null(&w, "next_page_id");
    jw_object_end(&w);
    request_reply_json(r, 200, &body);
}

/* ---- one ---- */

static void reply_literal(struct request *r, struct str json)
{
    autobuf body = {0};
    buf_add(&body, json);
    request_reply_json(r, 200, &body);
}

static void get_conversation(struct request *r, const void *argsp)
{
    const struct id_args *args = argsp;
    autoarena arena = arena_new();
    autoerr e = NULL;
    struct store_row row;
    if (!store_get(conversations_store(conversations_of(r)), &args->id, arena, &row, &e)) {
        if (e->kind == ERR_NOT_FOUND)
            reply_literal(r, STR("null"));
        else
            request_reply_error(r, e);
        return;
    }
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    struct legacy_origin origin;
    legacy_origin_read(&row, &origin);
    legacy_info_write(&w, conversations_of(r), &row, &origin);
    legacy_origin_deinit(&origin);
    request_reply_json(r, 200, &body);
}

struct patch_body {
    struct str title;
};
struct patch_args {
    struct uuid id;
    struct patch_body body;
};
static const struct json_field patch_fields[] = {
    {.name = "title",
     .type = FIELD_STR,
     .offset = offsetof(struct patch_body, title),
     .flags = FIELD_REQUIRED,
     .min = 1,
     .max = TITLE_MAX,
     .doc = "New conversation title"},
};
static const struct json_schema patch_schema = {
    .name = "UpdateConversationRequest",
    .size = sizeof(struct patch_body),
    .fields = patch_fields,
    .count = 1,
    .forbid_extra = true,
    .doc = "A change of a conversation.",
};

static void reply_true(struct request *r, const void *args)
{
    (void)args;
    reply_literal(r, STR("true"));
}

static void patch_missing(struct request *r, const void *args)
{
    (void)args;
    legacy_reply_outcome(
        r, 404,
        &(struct legacy_outcome){.message = "Conversation not found", .msg_id = "CONVERSATION$NOT_FOUND"});
}

static void patch_failed(struct request *r, const void *args, const struct err *e)
{
    (void)args;
    legacy_reply_failed(r, "update", "CONVERSATION$UPDATE_ERROR", STR_NONE, e);
}

static void patch_run(struct act *a)
{
    const struct patch_args *args = a->args;
    conversation_set_title(a->conversation, str_trim(args->body.title), NULL, act_success, a);
}

static void patch_conversation(struct request *r, const void *args)
{
    act_start(&(struct act){.request = r,
                            .args = args,
                            .run = patch_run,
                            .missing = patch_missing,
                            .succeeded = reply_true,
                            .failed = patch_failed});
}

static void deleted(void *arg, const struct err *e)
{
    struct request *r = arg;
    if (!e)
        reply_literal(r, STR("true"));
    else if (e->kind == ERR_NOT_FOUND)
        reply_literal(r, STR("false"));
    else
        request_reply_error(r, e);
}

static void delete_conversation(struct request *r, const void *argsp)
{
    const struct id_args *args = argsp;
    conversations_delete(conversations_of(r), &args->id, deleted, r);
}

/* ---- in use or not ---- */

struct start_body {
    struct json_list providers;
};
struct start_args {
    struct uuid id;
    struct start_body body;
};
static const struct json_field start_fields[] = {
    {.name = "providers_set",
     .type = FIELD_ARRAY,
     .item = FIELD_ENUM,
     .names = legacy_providers,
     .offset = offsetof(struct start_body, providers),
     .doc = "Git hosts that the client has tokens for; not used."},
};
static const struct json_schema start_schema = {
    .name = "ProvidersSetModel", .size = sizeof(struct start_body), .fields = start_fields, .count = 1};

struct start_job {
    struct request *request;
    const struct uuid *id;
};

/* A conversation has its own agent, so that it needs no settings to go on. */
static void started(void *arg, struct conversation *c, const struct err *e)
{
    const struct start_job *job = arg;
    struct request *r = job->request;
    if (!c && e->kind == ERR_NOT_FOUND) {
        legacy_reply_outcome(r, 404, &(struct legacy_outcome){.id = legacy_id_text(r)});
    } else if (!c) {
        legacy_reply_failed(r, "start", NULL, legacy_id_text(r), e);
    } else {
        char hex[UUID_HEX_LEN + 1];
        bool was_live = conversation_start(c);
        legacy_reply_outcome(r, 200,
                             &(struct legacy_outcome){.id = uuid_hex(job->id, hex),
                                                      .state = was_live ? LEGACY_RUNNING : LEGACY_STARTING});
        conversation_unref(c);
    }
}

static void start_conversation(struct request *r, const void *argsp)
{
    const struct start_args *args = argsp;
    struct start_job *job = ARENA_NEW(request_arena(r), struct start_job);
    *job = (struct start_job){r, &args->id};
    conversations_open(conversations_of(r), &args->id, started, job);
}

static void stop_conversation(struct request *r, const void *argsp)
{
    const struct id_args *args = argsp;
    char hex[UUID_HEX_LEN + 1];
    if (conversations_stop(conversations_of(r), &args->id))
        legacy_reply_outcome(r, 200,
                             &(struct legacy_outcome){.id = uuid_hex(&args->id, hex),
                                                      .message = "Conversation stopped successfully",
                                                      .state = LEGACY_RUNNING}); /* as it was before */
    else
        legacy_reply_outcome(r, 200,
                             &(struct legacy_outcome){.id = legacy_id_text(r),
                                                      .message = "Conversation was not running",
                                                      .state = LEGACY_STOPPED});
}

/* ---- the table ---- */

static const struct route_response page_responses[] = {
    {.status = 200, .description = "A page of conversations.", .ref = "ConversationInfoResultSet"},
    {.status = 400, .description = "The page_id is none.", .ref = "{\"type\":\"object\"}"}};
static const struct route_response info_responses[] = {
    {.status = 200,
     .description = "The conversation; null when there is none.",
     .ref = "{\"anyOf\":[{\"$ref\":\"#/components/schemas/ConversationInfo\"},{\"type\":\"null\"}]}"}};
static const struct route_response patch_responses[] = {
    {.status = 200, .description = "Changed.", .ref = "{\"type\":\"boolean\"}"},
    {.status = 404, .description = "There is no such conversation.", .ref = "ConversationError"}};
static const struct route_response delete_responses[] = {
    {.status = 200, .description = "Whether there was one.", .ref = "{\"type\":\"boolean\"}"}};
static const struct route_response start_responses[] = {
    {.status = 200, .description = "It is in use.", .ref = "ConversationResponse"},
    {.status = 404, .description = "There is no such conversation.", .ref = "ConversationError"}};
static const struct route_response stop_responses[] = {
    {.status = 200, .description = "It is not in use any more.", .ref = "ConversationResponse"}};

#define TAG .tag = "Conversations"
static const struct route routes[] = {
    {.method = HTTP_GET_,
     .path = "/api/conversations",
     .handle = search_conversations,
     .summary = "Search Conversations",
     TAG,
     .operation = "search_conversations_api_conversations_get",
     .args_size = sizeof(struct list_args),
     .query_fields = list_fields,
     .query_count = ARRAY_LEN(list_fields),
     .responses = page_responses,
     .response_count = ARRAY_LEN(page_responses)},
    {.method = HTTP_GET_,
     .path = "/api/conversations/{conversation_id}",
     .handle = get_conversation,
     .summary = "Get Conversation",
     TAG,
     .operation = "get_conversation_api_conversations__conversation_id__get",
     .args_size = sizeof(struct id_args),
     LEGACY_ID,
     .responses = info_responses,
     .response_count = 1},
    {.method = HTTP_PATCH_,
     .path = "/api/conversations/{conversation_id}",
     .handle = patch_conversation,
     .summary = "Update Conversation",
     TAG,
     .operation = "update_conversation_api_conversations__conversation_id__patch",
     .args_size = sizeof(struct patch_args),
     LEGACY_ID,
     .body = &patch_schema,
     .body_offset = offsetof(struct patch_args, body),
     .responses = patch_responses,
     .response_count = ARRAY_LEN(patch_responses)},
    {.method = HTTP_DELETE_,
     .path = "/api/conversations/{conversation_id}",
     .handle = delete_conversation,
     .summary = "Delete Conversation",
     TAG,
     .operation = "delete_conversation_api_conversations__conversation_id__delete",
     .args_size = sizeof(struct id_args),
     LEGACY_ID,
     .responses = delete_responses,
     .response_count = 1},
    {.method = HTTP_POST_,
     .path = "/api/conversations/{conversation_id}/start",
     .handle = start_conversation,
     .summary = "Start Conversation",
     TAG,
     .operation = "start_conversation_api_conversations__conversation_id__start_post",
     .args_size = sizeof(struct start_args),
     LEGACY_ID,
     .body = &start_schema,
     .body_offset = offsetof(struct start_args, body),
     .responses = start_responses,
     .response_count = ARRAY_LEN(start_responses)},
    {.method = HTTP_POST_,
     .path = "/api/conversations/{conversation_id}/stop",
     .handle = stop_conversation,
     .summary = "Stop Conversation",
     TAG,
     .operation = "stop_conversation_api_conversations__conversation_id__stop_post",
     .args_size = sizeof(struct id_args),
     LEGACY_ID,
     .responses = stop_responses,
     .response_count = 1},
};
const struct route_table legacy_conversation_routes = {routes, ARRAY_LEN(routes)};
