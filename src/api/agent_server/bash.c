/* Commands of clients: start, execute, what they say. Requests that read wait until the stream is open, which takes a
 * commit at its first use; those that execute wait for the command, and hold nothing but their request. */
#include "api/agent_server/bash_request.h"
#include "base/cleanup.h"

static struct bash *bash_of(const struct request *r)
{
    return app_of(r)->config.bash;
}

/* ---- the body ---- */

#define AT(member) .offset = offsetof(struct bash_body, member)
static const struct json_field body_fields[] = {
    {.name = "command",
     .type = FIELD_STR,
     AT(command),
     .flags = FIELD_REQUIRED,
     .max = BASH_COMMAND_BYTES,
     .doc = "What /bin/sh is to run."},
    {.name = "cwd",
     .type = FIELD_STR,
     AT(cwd),
     .max = BASH_CWD_BYTES,
     .doc = "Where; null: where the server runs."},
    {.name = "timeout",
     .type = FIELD_INT,
     AT(timeout),
     .default_int = 300,
     .min = 1,
     .max = BASH_TIMEOUT_MAX_S,
     .doc = "Seconds after which it is ended."},
};
#undef AT
const struct json_schema bash_body_schema = {.name = "ExecuteBashRequest",
                                             .size = sizeof(struct bash_body),
                                             .fields = body_fields,
                                             .count = ARRAY_LEN(body_fields)};

const char *bash_body_check(const struct bash_body *body, const char **problem)
{
    *problem = "it contains a NUL character";
    if (str_find_char(body->command, '\0') >= 0)
        return "command";
    if (body->cwd.p && str_find_char(body->cwd, '\0') >= 0)
        return "cwd";
    *problem = "it is too long: at most 131071 bytes are";
    if (body->command.n > BASH_COMMAND_BYTES)
        return "command";
    *problem = "it is too long: at most 4095 bytes are";
    return body->cwd.n > BASH_CWD_BYTES ? "cwd" : NULL;
}

void bash_body_request(const struct bash_body *body, struct bash_request *request)
{
    *request = (struct bash_request){.command = body->command, .cwd = body->cwd, .timeout_s = body->timeout};
}

/* ---- POST start, execute ---- */

static void reply_event(struct request *r, struct bytes *json)
{
    request_reply_bytes(r, 200, "application/json", bytes_ref(json));
}

static void start_started(void *arg, struct bytes *command, const struct err *e)
{
    if (e)
        request_reply_error(arg, e);
    else
        reply_event(arg, command);
}

static void execute_started(void *arg, struct bytes *command, const struct err *e)
{
    (void)command;
    if (e)
        request_reply_error(arg, e);
}

static void execute_ended(void *arg, struct bytes *output, const struct err *e)
{
    if (e)
        request_reply_error(arg, e);
    else
        reply_event(arg, output);
}

static const struct bash_callbacks start_callbacks = {.started = start_started};
static const struct bash_callbacks execute_callbacks = {.started = execute_started, .ended = execute_ended};

static void start(struct request *r, const struct bash_body *body, const struct bash_callbacks *callbacks)
{
    struct bash_request request;
    const char *problem, *field = bash_body_check(body, &problem);
    if (field) {
        reply_invalid(r, field, problem);
        return;
    }
    bash_body_request(body, &request);
    bash_start(bash_of(r), &request, callbacks, r);
}

static void start_command(struct request *r, const void *args)
{
    start(r, args, &start_callbacks);
}

static void execute_command(struct request *r, const void *args)
{
    start(r, args, &execute_callbacks);
}

/* ---- reading ---- */

struct read { /* a request that waits for the stream; in its arena */
    struct request *request;
    const void *args;
    void (*run)(struct request *r, const void *args); /* worker */
};

static void read_run(void *arg)
{
    struct read *read = arg;
    read->run(read->request, read->args);
}

static void read_opened(void *arg, const struct err *e)
{
    struct read *read = arg;
    if (e)
        request_reply_error(read->request, e);
    else
        pool_submit_always(app_of(read->request)->config.pool, read_run, read);
}

static void read_when_open(struct request *r, const void *args,
                           void (*run)(struct request *r, const void *args))
{
    if (bash_is_open(bash_of(r))) {
        run(r, args);
        return;
    }
    struct read *read = ARENA_NEW(request_arena(r), struct read);
    *read = (struct read){.request = r, .args = args, .run = run};
    bash_open(bash_of(r), read_opened, read);
}

struct search_args {
    struct str page;
    struct uuid command;
    int64_t limit, since_us, until_us, order;
    int kind, sort_order;
    bool has_kind, has_command, has_since, has_until, has_order;
};
static const char *const kind_names[] = {"BashCommand", "BashOutput", NULL};
static const char *const sort_names[] = {"TIMESTAMP", "TIMESTAMP_DESC", NULL};
#define AT(member) .offset = offsetof(struct search_args, member)
#define GIVEN(member) .given = offsetof(struct search_args, member)
static const struct json_field search_fields[] = {
    {.name = "kind__eq",
     .type = FIELD_ENUM,
     AT(kind),
     .names = kind_names,
     GIVEN(has_kind),
     .doc = "Only events of this kind."},
    {.name = "command_id__eq",
     .type = FIELD_UUID,
     AT(command),
     GIVEN(has_command),
     .doc = "Only what this command said, not the command itself."},
    {.name = "timestamp__gte",
     .type = FIELD_TIME,
     AT(since_us),
     GIVEN(has_since),
     .doc = "Only events at or after this time; without a zone it is the server's."},
    {.name = "timestamp__lt",
     .type = FIELD_TIME,
     AT(until_us),
     GIVEN(has_until),
     .doc = "Only events before this time."},
    {.name = "order__gt",
     .type = FIELD_INT,
     AT(order),
     GIVEN(has_order),
     .doc = "Only outputs whose order is greater: what is new since the last poll."},
    {.name = "sort_order",
     .type = FIELD_ENUM,
     AT(sort_order),
     .names = sort_names,
     .doc = "Oldest or newest first."},
    {.name = "page_id", .type = FIELD_STR, AT(page), .doc = "`next_page_id` of the page before."},
    {.name = "limit",
     .type = FIELD_INT,
     AT(limit),
     .default_int = PAGE_LIMIT,
     .min = 1,
     .max = PAGE_LIMIT,
     .doc = "Most events of the page."},
};
#undef AT

static void reply_page(struct request *r, const struct bash_page *page)
{
    char next[UUID_HEX_LEN + 1];
    autobuf body = {0};
    buf_add(&body, STR("{\"items\":["));
    for (size_t i = 0; i < page->n; i++) {
        if (i > 0)
            buf_add_char(&body, ',');
        buf_add(&body, page->items[i].json);
    }
    buf_add(&body, STR("],\"next_page_id\":"));
    if (page->more)
        buf_addf(&body, "\"%s\"}", uuid_hex(&page->next, next).p);
    else
        buf_add(&body, STR("null}"));
    request_reply_json(r, 200, &body);
}

static void search_run(struct request *r, const void *argsp)
{
    const struct search_args *args = argsp;
    struct bash_page page;
    autoerr e = NULL;
    struct bash_query query = {
        .kind = !args->has_kind   ? 0
                : args->kind == 0 ? BASH_COMMAND
                                  : BASH_OUTPUT,
        .has_command = args->has_command,
        .command = args->command,
        .since_us = args->has_since ? args->since_us : INT64_MIN,
        .until_us = args->has_until ? args->until_us : INT64_MAX,
        .has_order = args->has_order,
        .order = args->order,
        .descending = args->sort_order == 1,
        .has_page = args->page.p != NULL,
        .page = id_or_zero(args->page),
        .limit = (size_t)args->limit,
        .bytes_max = PAGE_BYTES,
    };
    if (bash_search(bash_of(r), &query, request_arena(r), &page, &e))
        reply_page(r, &page);
    else if (e->kind == ERR_NOT_FOUND)
        reply_page_missing(r, args->page, "event");
    else
        request_reply_error(r, e);
}

static void search_events(struct request *r, const void *args)
{
    read_when_open(r, args, search_run);
}

struct event_args {
    struct str event;
};
static const struct json_field event_path_fields[] = {{.name = "event_id",
                                                       .type = FIELD_STR,
                                                       .offset = offsetof(struct event_args, event),
                                                       .flags = FIELD_REQUIRED,
                                                       .doc = "Id of the event."}};
static const struct json_field command_path_fields[] = {{.name = "command_id",
                                                         .type = FIELD_STR,
                                                         .offset = offsetof(struct event_args, event),
                                                         .flags = FIELD_REQUIRED,
                                                         .doc = "Id of the command."}};

static void get_run(struct request *r, const void *argsp)
{
    const struct event_args *args = argsp;
    struct uuid id = id_or_zero(args->event);
    struct str json;
    autoerr e = NULL;
    if (bash_get(bash_of(r), &id, request_arena(r), &json, &e)) {
        autobuf body = {0};
        buf_add(&body, json);
        request_reply_json(r, 200, &body);
    } else if (e->kind == ERR_NOT_FOUND) {
        reply_missing(r, args);
    } else {
        request_reply_error(r, e);
    }
}

static void get_event(struct request *r, const void *args)
{
    read_when_open(r, args, get_run);
}

static bool add_event(struct request *r, const void *arg, const struct uuid *id, struct buf *out,
                      struct err **e)
{
    (void)arg;
    autoarena arena = arena_new();
    struct str json;
    if (!bash_get(bash_of(r), id, arena, &json, e))
        return false;
    buf_add(out, json);
    return true;
}

static void batch_run(struct request *r, const void *args)
{
    struct uuid list[PAGE_LIMIT];
    size_t n;
    (void)args;
    if (batch_ids(r, list, &n))
        reply_batch(r, list, n, add_event, NULL);
}

static void batch_events(struct request *r, const void *args)
{
    read_when_open(r, args, batch_run);
}

/* ---- DELETE ---- */

static void cleared(void *arg, int64_t count, const struct err *e)
{
    struct request *r = arg;
    if (e) {
        request_reply_error(r, e);
        return;
    }
    autobuf body = {0};
    buf_addf(&body, "{\"cleared_count\":%lld}", (long long)count);
    request_reply_json(r, 200, &body);
}

static void clear_events(struct request *r, const void *args)
{
    (void)args;
    bash_clear(bash_of(r), cleared, r);
}

/* ---- stopping one ---- */

static void stop_done(void *arg, bool found)
{
    if (found)
        reply_success(arg, true);
    else
        reply_missing(arg, NULL);
}

static void stop_command(struct request *r, const void *argsp)
{
    const struct event_args *args = argsp;
    struct uuid id = id_or_zero(args->event);
    bash_stop(bash_of(r), &id, stop_done, r);
}

/* ---- the table ---- */

static const struct route_response page_responses[] = {
    {.status = 200, .description = "A page of events.", .ref = "BashEventPage"}};
static const struct route_response event_responses[] = {
    {.status = 200, .description = "The event.", .ref = "BashEventBase"},
    {.status = 404, .description = "There is no such event.", .ref = "Error"}};
static const struct route_response batch_responses[] = {
    {.status = 200,
     .description = "The events in the order asked for; null for one that does not exist.",
     .ref =
         "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"$ref\":\"#/components/schemas/BashEventBase\"},{\"type\":\"null\"}]}}"},
    {.status = 413, .description = "The answer would be too large.", .ref = "Error"}};
#define TOO_MANY                                                                       \
    {                                                                                  \
        .status = 429, .description = "Too many commands are running.", .ref = "Error" \
    }
static const struct route_response start_responses[] = {
    {.status = 200, .description = "The command, which runs now.", .ref = "BashCommand"}, TOO_MANY};
static const struct route_response execute_responses[] = {
    {.status = 200, .description = "The last of what it said, with its exit code.", .ref = "BashOutput"},
    TOO_MANY};
static const struct route_response stop_responses[] = {
    {.status = 200, .description = "It is being ended; its last output is on its way.", .ref = "Success"},
    {.status = 404, .description = "No such command runs.", .ref = "Error"}};
static const struct route_response clear_responses[] = {
    {.status = 200,
     .description = "How many events there were.",
     .ref = "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}"}};

#define TAG .tag = "Bash"
#define BODY .args_size = sizeof(struct bash_body), .body = &bash_body_schema
static const struct route routes[] = {
    {.method = HTTP_GET_,
     .path = "/api/bash/bash_events/search",
     .handle = search_events,
     .summary = "Page through what commands did",
     TAG,
     .operation = "search_bash_events_api_bash_bash_events_search_get",
     .args_size = sizeof(struct search_args),
     .query_fields = search_fields,
     .query_count = ARRAY_LEN(search_fields),
     .responses = page_responses,
     .response_count = ARRAY_LEN(page_responses)},
    {.method = HTTP_GET_,
     .path = "/api/bash/bash_events/{event_id}",
     .handle = get_event,
     .summary = "Get an event",
     TAG,
     .operation = "get_bash_event_api_bash_bash_events__event_id__get",
     .args_size = sizeof(struct event_args),
     .path_fields = event_path_fields,
     .path_count = 1,
     .responses = event_responses,
     .response_count = ARRAY_LEN(event_responses)},
    {.method = HTTP_GET_,
     .path = "/api/bash/bash_events/",
     .handle = batch_events,
     .summary = "Get several events by their ids",
     TAG,
     .operation = "batch_get_bash_events_api_bash_bash_events__get",
     .flags = ROUTE_BODY_ANY_JSON,
     .responses = batch_responses,
     .response_count = ARRAY_LEN(batch_responses)},
    {.method = HTTP_POST_,
     .path = "/api/bash/start_bash_command",
     .handle = start_command,
     .summary = "Start a command",
     TAG,
     .operation = "start_bash_command_api_bash_start_bash_command_post",
     BODY,
     .responses = start_responses,
     .response_count = ARRAY_LEN(start_responses)},
    {.method = HTTP_POST_,
     .path = "/api/bash/execute_bash_command",
     .handle = execute_command,
     .summary = "Run a command and wait for its end",
     TAG,
     .operation = "execute_bash_command_api_bash_execute_bash_command_post",
     BODY,
     .responses = execute_responses,
     .response_count = ARRAY_LEN(execute_responses)},
    {.method = HTTP_POST_,
     .path = "/api/bash/bash_commands/{command_id}/stop",
     .handle = stop_command,
     .summary = "End a command",
     TAG,
     .operation = "stop_bash_command_api_bash_bash_commands__command_id__stop_post",
     .args_size = sizeof(struct event_args),
     .path_fields = command_path_fields,
     .path_count = 1,
     .responses = stop_responses,
     .response_count = ARRAY_LEN(stop_responses)},
    {.method = HTTP_DELETE_,
     .path = "/api/bash/bash_events",
     .handle = clear_events,
     .summary = "Forget what commands did",
     TAG,
     .operation = "clear_all_bash_events_api_bash_bash_events_delete",
     .responses = clear_responses,
     .response_count = ARRAY_LEN(clear_responses)},
};
const struct route_table bash_routes = {routes, ARRAY_LEN(routes)};
