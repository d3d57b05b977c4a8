/* Events: pages of them, one, several; sending messages and answering a confirmation. An event's text goes out as it is
 * stored. */
#include "api/agent_server/app.h"
#include "base/cleanup.h"

#define REASON_MAX 10000 /* characters */

/* The number of a conversation for its events; answers the request when there is none. */
static bool find_conversation(struct request *r, const struct uuid *id, int64_t *number)
{
    autoerr e = NULL;
    if (conversations_number(conversations_of(r), id, number, &e))
        return true;
    if (e->kind == ERR_NOT_FOUND)
        reply_missing_named(r, &(struct id_args){*id});
    else
        request_reply_error(r, e);
    return false;
}

static struct store *store_of(struct request *r)
{
    return conversations_store(conversations_of(r));
}

/* ---- GET /search, /count ---- */

struct search_args {
    struct uuid id;
    struct str page, kind, source, body;
    int64_t limit, since_us, until_us;
    int sort_order;
    bool has_since, has_until;
};
static const char *const sort_names[] = {"TIMESTAMP", "TIMESTAMP_DESC", NULL};
#define AT(member) .offset = offsetof(struct search_args, member)
#define FILTER_FIELDS                                                                                        \
    {.name = "kind", .type = FIELD_STR, AT(kind), .doc = "Only events of this kind, such as MessageEvent."}, \
        {.name = "source",                                                                                   \
         .type = FIELD_STR,                                                                                  \
         AT(source),                                                                                         \
         .doc = "Only events of agent, user, environment or hook."},                                         \
        {.name = "body",                                                                                     \
         .type = FIELD_STR,                                                                                  \
         AT(body),                                                                                           \
         .doc = "Only messages that contain this text, in any case."},                                       \
        {.name = "timestamp__gte",                                                                           \
         .type = FIELD_TIME,                                                                                 \
         AT(since_us),                                                                                       \
         .given = offsetof(struct search_args, has_since),                                                   \
         .doc = "Only events at or after this time; without a zone it is the server's."},                    \
    {                                                                                                        \
        .name = "timestamp__lt", .type = FIELD_TIME, AT(until_us),                                           \
        .given = offsetof(struct search_args, has_until), .doc = "Only events before this time."             \
    }
static const struct json_field search_fields[] = {
    FILTER_FIELDS,
    {.name = "page_id", .type = FIELD_STR, AT(page), .doc = "`next_page_id` of the page before."},
    {.name = "limit",
     .type = FIELD_INT,
     AT(limit),
     .default_int = PAGE_LIMIT,
     .min = 1,
     .max = PAGE_LIMIT,
     .doc = "Most events of the page."},
    {.name = "sort_order",
     .type = FIELD_ENUM,
     AT(sort_order),
     .names = sort_names,
     .doc = "Oldest or newest first."},
};
static const struct json_field count_fields[] = {FILTER_FIELDS};

/* False when nothing can match: a kind or source that does not exist. */
static bool make_filter(const struct search_args *args, struct store_filter *filter)
{
    *filter = (struct store_filter){
        .kind = args->kind.n > 0 ? (int)event_kind_parse(args->kind) : -1,
        .source = args->source.n > 0 ? (int)event_source_parse(args->source) : -1,
        .since_us = args->has_since ? args->since_us : INT64_MIN,
        .until_us = args->has_until ? args->until_us : INT64_MAX,
        .body = args->body.n > 0 ? args->body : STR_NONE,
        .descending = args->sort_order == 1,
        .from_seq = -1,
        .limit = (size_t)args->limit,
        .bytes_max = PAGE_BYTES,
    };
    return filter->kind != 0 && filter->source != 0;
}

/* Where a page begins; answers the request if that event does not exist. */
static bool find_page(struct request *r, int64_t number, struct str page, int64_t *from)
{
    autoerr e = NULL;
    struct uuid id;
    struct store_item item = {0};
    if (!page.p)
        return true;
    if (!uuid_parse(page, &id)) {
        reply_page_missing(r, page, "event");
        return false;
    }
    if (store_find(store_of(r), number, &id, false, request_arena(r), &item, &e)) {
        *from = item.seq;
        return true;
    }
    if (e->kind == ERR_NOT_FOUND)
        reply_page_missing(r, page, "event");
    else
        request_reply_error(r, e);
    return false;
}

/* The id of the event that the next page begins with. */
static bool add_next(struct request *r, int64_t number, int64_t next, struct buf *body, struct err **e)
{
    char id[UUID_DASHED_LEN + 1];
    struct store_item *items;
    size_t n = 0;
    if (next >= 0 && !store_read(store_of(r), number, (uint32_t)next, (uint32_t)next + 1, 1, false,
                                 request_arena(r), &items, &n, e))
        return false;
    if (n > 0) {
        uuid_dashed(&items[0].id, id);
        buf_addf(body, "\"%s\"", id);
    } else {
        buf_add(body, STR("null"));
    }
    return true;
}

static void search_events(struct request *r, const void *argsp)
{
    const struct search_args *args = argsp;
    struct store_filter filter;
    struct store_item *items = NULL;
    size_t n = 0;
    int64_t number, next = -1;
    autoerr e = NULL;
    if (!find_conversation(r, &args->id, &number))
        return;
    bool possible = make_filter(args, &filter);
    if (!find_page(r, number, args->page, &filter.from_seq))
        return;
    if (possible && !store_search(store_of(r), number, &filter, request_arena(r), &items, &n, &next, &e)) {
        request_reply_error(r, e);
        return;
    }
    autobuf body = {0};
    buf_add(&body, STR("{\"items\":["));
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_add_char(&body, ',');
        buf_add(&body, items[i].json);
    }
    buf_add(&body, STR("],\"next_page_id\":"));
    if (!add_next(r, number, next, &body, &e)) {
        request_reply_error(r, e);
        return;
    }
    buf_add_char(&body, '}');
    request_reply_json(r, 200, &body);
}

static void count_events(struct request *r, const void *argsp)
{
    const struct search_args *args = argsp;
    struct store_filter filter;
    int64_t number, count = 0;
    autoerr e = NULL;
    if (!find_conversation(r, &args->id, &number))
        return;
    if (make_filter(args, &filter) && !store_count_events(store_of(r), number, &filter, &count, &e)) {
        request_reply_error(r, e);
        return;
    }
    autobuf body = {0};
    buf_add_i64(&body, count);
    request_reply_json(r, 200, &body);
}

/* ---- GET /{event_id}, batch ---- */

struct event_args {
    struct uuid id;
    struct str event;
};
static const struct json_field event_path_fields[] = {
    {.name = "conversation_id",
     .type = FIELD_UUID,
     .offset = offsetof(struct event_args, id),
     .flags = FIELD_REQUIRED,
     .doc = "Id of the conversation, with or without dashes."},
    {.name = "event_id",
     .type = FIELD_STR,
     .offset = offsetof(struct event_args, event),
     .flags = FIELD_REQUIRED,
     .doc = "Id of the event."},
};

static void get_event(struct request *r, const void *argsp)
{
    const struct event_args *args = argsp;
    struct store_item item = {0};
    int64_t number;
    autoerr e = NULL;
    if (!find_conversation(r, &args->id, &number))
        return;
    struct uuid id = id_or_zero(args->event);
    if (store_find(store_of(r), number, &id, true, request_arena(r), &item, &e)) {
        autobuf body = {0};
        buf_add(&body, item.json);
        request_reply_json(r, 200, &body);
    } else if (e->kind == ERR_NOT_FOUND) {
        reply_missing(r, args);
    } else {
        request_reply_error(r, e);
    }
}

static bool add_event(struct request *r, const void *arg, const struct uuid *id, struct buf *out,
                      struct err **e)
{
    const int64_t *number = arg;
    autoarena arena = arena_new();
    struct store_item item = {0};
    if (!store_find(store_of(r), *number, id, false, arena, &item, e))
        return false;
    buf_add(out, item.json);
    return true;
}

static void batch_events(struct request *r, const void *argsp)
{
    const struct id_args *args = argsp;
    struct uuid list[PAGE_LIMIT];
    size_t n;
    int64_t number;
    if (batch_ids(r, list, &n) && find_conversation(r, &args->id, &number))
        reply_batch(r, list, n, add_event, &number);
}

/* ---- POST ---- */

struct send_body {
    struct str role;
    const struct json_value *content;
    bool run;
};
struct send_args {
    struct uuid id;
    struct send_body body;
};
static const struct json_field send_fields[] = {
    {.name = "role",
     .type = FIELD_STR,
     .offset = offsetof(struct send_body, role),
     .default_str = "user",
     .doc = "Always user.",
     .json_schema = "{\"type\":\"string\",\"enum\":[\"user\"],\"default\":\"user\"}"},
    {.name = "content",
     .type = FIELD_ANY,
     .offset = offsetof(struct send_body, content),
     .doc = "Texts and images, in order.",
     .json_schema =
         "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"type\":{\"const\":\"text\"},"
         "\"text\":{\"type\":\"string\"},\"cache_prompt\":{\"type\":\"boolean\"}},\"required\":[\"text\"]},"
         "{\"type\":\"object\",\"properties\":{\"type\":{\"const\":\"image\"},\"image_urls\":{\"type\":\"array\","
         "\"items\":{\"type\":\"string\"}},\"cache_prompt\":{\"type\":\"boolean\"}},\"required\":[\"image_urls\"]}]}}"},
    {.name = "run",
     .type = FIELD_BOOL,
     .offset = offsetof(struct send_body, run),
     .doc = "Let the agent work on it."},
};
static const struct json_schema send_schema = {.name = "SendMessageRequest",
                                               .size = sizeof(struct send_body),
                                               .fields = send_fields,
                                               .count = ARRAY_LEN(send_fields)};

static void send_run(struct act *a)
{
    const struct send_args *args = a->args;
    conversation_send(a->conversation, json_root(a->doc), args->body.run, act_success, a);
}

static void send_message(struct request *r, const void *args)
{
    struct json_problems problems = {.arena = request_arena(r)};
    struct json_path body = {.name = STR("body")};
    autobuf message = {0};
    if (!message_decode(request_json(r), &body, false, &problems, &message)) {
        request_reply_problems(r, &problems);
    } else if (message.n > CONVERSATION_MESSAGE_MAX) {
        request_reply_detail(r, 413, MESSAGE_TOO_LONG);
    } else {
        act_start(&(struct act){.request = r,
                                .args = args,
                                .doc = json_parse_trusted(buf_str(&message), NULL),
                                .run = send_run,
                                .missing = reply_missing_named});
    }
}

struct respond_body {
    bool accept;
    struct str reason;
};
struct respond_args {
    struct uuid id;
    struct respond_body body;
};
static const struct json_field respond_fields[] = {
    {.name = "accept",
     .type = FIELD_BOOL,
     .offset = offsetof(struct respond_body, accept),
     .flags = FIELD_REQUIRED,
     .doc = "Carry out what waits, or reject it."},
    {.name = "reason",
     .type = FIELD_STR,
     .offset = offsetof(struct respond_body, reason),
     .default_str = "User rejected the action.",
     .min = 0,
     .max = REASON_MAX,
     .doc = "Why it is rejected."},
};
static const struct json_schema respond_schema = {.name = "ConfirmationResponseRequest",
                                                  .size = sizeof(struct respond_body),
                                                  .fields = respond_fields,
                                                  .count = 2};

static void respond_run(struct act *a)
{
    const struct respond_args *args = a->args;
    if (args->body.accept)
        conversation_run(a->conversation, act_success, a);
    else
        conversation_reject(a->conversation, args->body.reason, act_success, a);
}

static void respond_to_confirmation(struct request *r, const void *args)
{
    act_start(&(struct act){.request = r, .args = args, .run = respond_run, .missing = reply_missing_named});
}

/* ---- the table ---- */

#define MISSING                                                                        \
    {                                                                                  \
        .status = 404, .description = "There is no such conversation.", .ref = "Error" \
    }
static const struct route_response page_responses[] = {
    {.status = 200, .description = "A page of events.", .ref = "EventPage"}, MISSING};
static const struct route_response count_responses[] = {
    {.status = 200, .description = "How many there are.", .ref = "{\"type\":\"integer\"}"}, MISSING};
static const struct route_response event_responses[] = {
    {.status = 200, .description = "The event.", .ref = "Event"},
    {.status = 404, .description = "There is no such conversation or event.", .ref = "Error"}};
static const struct route_response batch_responses[] = {
    {.status = 200,
     .description = "The events in the order asked for; null for one that does not exist.",
     .ref =
         "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"$ref\":\"#/components/schemas/Event\"},{\"type\":\"null\"}]}}"},
    MISSING,
    {.status = 413, .description = "The answer would be too large.", .ref = "Error"}};

#define EVENTS "/api/conversations/{conversation_id}/events"
#define OPERATION "_api_conversations__conversation_id__events"
#define TAG .tag = "Events"
static const struct route routes[] = {
    {.method = HTTP_GET_,
     .path = EVENTS "/search",
     .handle = search_events,
     .summary = "Page through the events",
     TAG,
     .operation = "search_conversation_events" OPERATION "_search_get",
     .args_size = sizeof(struct search_args),
     ID_PATH,
     .query_fields = search_fields,
     .query_count = ARRAY_LEN(search_fields),
     .responses = page_responses,
     .response_count = 2},
    {.method = HTTP_GET_,
     .path = EVENTS "/count",
     .handle = count_events,
     .summary = "Count the events",
     TAG,
     .operation = "count_conversation_events" OPERATION "_count_get",
     .args_size = sizeof(struct search_args),
     ID_PATH,
     .query_fields = count_fields,
     .query_count = ARRAY_LEN(count_fields),
     .responses = count_responses,
     .response_count = 2},
    {.method = HTTP_GET_,
     .path = EVENTS "/{event_id}",
     .handle = get_event,
     .summary = "Get an event",
     TAG,
     .operation = "get_conversation_event" OPERATION "__event_id__get",
     .args_size = sizeof(struct event_args),
     .path_fields = event_path_fields,
     .path_count = 2,
     .responses = event_responses,
     .response_count = 2},
    {.method = HTTP_GET_,
     .path = EVENTS,
     .handle = batch_events,
     .summary = "Get several events by their ids",
     TAG,
     .operation = "batch_get_conversation_events" OPERATION "_get",
     .flags = ROUTE_BODY_ANY_JSON,
     .args_size = sizeof(struct id_args),
     ID_PATH,
     .responses = batch_responses,
     .response_count = ARRAY_LEN(batch_responses)},
    {.method = HTTP_POST_,
     .path = EVENTS,
     .handle = send_message,
     .summary = "Send a message",
     TAG,
     .operation = "send_message" OPERATION "_post",
     .args_size = sizeof(struct send_args),
     ID_PATH,
     .body = &send_schema,
     .body_offset = offsetof(struct send_args, body),
     .responses = success_or_404,
     .response_count = 2},
    {.method = HTTP_POST_,
     .path = EVENTS "/respond_to_confirmation",
     .handle = respond_to_confirmation,
     .summary = "Accept or reject what waits for confirmation",
     TAG,
     .operation = "respond_to_confirmation" OPERATION "_respond_to_confirmation_post",
     .args_size = sizeof(struct respond_args),
     ID_PATH,
     .body = &respond_schema,
     .body_offset = offsetof(struct respond_args, body),
     .responses = success_or_404,
     .response_count = 2},
};
const struct route_table event_routes = {routes, ARRAY_LEN(routes)};
