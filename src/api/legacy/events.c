/* Events in 0.53 terms: pages of a conversation's, by their ids and a filter, and what a client does by one. The log is read
 * in slices, each a job of its own, so that a filter that matches little in a long log keeps no worker. */
#include "api/legacy/action.h"
#include "api/legacy/app.h"
#include "api/legacy/projection.h"
#include "base/cleanup.h"
#include <stdatomic.h>

#define EVENTS_LIMIT 100
#define EVENTS_BYTES ((size_t)8 * 1024 * 1024) /* of one answer: past it the rest is for the next */
#define EVENTS_BYTES_ALL \
    ((size_t)64 * 1024 * 1024) /* of all that are being made: then one event is an answer */
#define EVENTS_SLICE 400       /* stored events that one job looks at */

struct filter_body {
    bool exclude_hidden; /* nothing is hidden here */
    struct str query, source, start_date, end_date;
    const struct json_value *include_types, *exclude_types;
};
struct search_args {
    struct uuid id;
    int64_t start_id, end_id, limit;
    bool has_end, reverse;
    struct filter_body filter;
};
#define AT(member) .offset = offsetof(struct search_args, member)
static const struct json_field search_fields[] = {
    {.name = "start_id", .type = FIELD_INT, AT(start_id), .doc = "First id of the range."},
    {.name = "end_id",
     .type = FIELD_INT,
     AT(end_id),
     .given = offsetof(struct search_args, has_end),
     .doc = "Last id of the range, which belongs to it."},
    {.name = "reverse", .type = FIELD_BOOL, AT(reverse), .doc = "Newest first."},
    {.name = "limit",
     .type = FIELD_INT,
     AT(limit),
     .default_int = 20,
     .doc = "Most events of the answer, 0 to 100."},
};
#undef AT
#define AT(member) .offset = offsetof(struct filter_body, member)
#define TYPES "{\"anyOf\":[{\"items\":{},\"type\":\"array\"},{\"type\":\"null\"}]}"
static const struct json_field filter_fields[] = {
    {.name = "exclude_hidden", .type = FIELD_BOOL, AT(exclude_hidden), .doc = "Without hidden events."},
    {.name = "query",
     .type = FIELD_STR,
     AT(query),
     .doc = "Only events whose JSON has this text, in any case."},
    {.name = "include_types",
     .type = FIELD_ANY,
     AT(include_types),
     .doc = "Has to be empty.",
     .json_schema = TYPES},
    {.name = "exclude_types",
     .type = FIELD_ANY,
     AT(exclude_types),
     .doc = "Has to be empty.",
     .json_schema = TYPES},
    {.name = "source", .type = FIELD_STR, AT(source), .doc = "Only events of agent, user or environment."},
    {.name = "start_date", .type = FIELD_STR, AT(start_date), .doc = "Only events at or after this time."},
    {.name = "end_date", .type = FIELD_STR, AT(end_date), .doc = "Only events at or before this time."},
};
static const struct json_schema filter_schema = {.name = "EventFilter",
                                                 .size = sizeof(struct filter_body),
                                                 .fields = filter_fields,
                                                 .count = ARRAY_LEN(filter_fields)};

/* ---- one search ---- */

struct search { /* in the request's arena */
    struct request *request;
    const struct search_args *args;
    int64_t number;
    int64_t first, last; /* ids */
    int64_t at;          /* seq that the next slice begins with; -1: at the end that it starts from */
    struct buf body;     /* the answer so far */
    size_t held;         /* … counted in `held_bytes` */
    struct projection projection;
    size_t found;
    bool more, over;
};

/* Can it be found in the JSON of Python, which has a space behind each colon and comma and escapes what is not ASCII, and
 * not in ours? */
static bool is_python(struct str query)
{
    return str_starts(query, STR(" ")) || str_ends(query, STR(" ")) || str_find(query, STR(": ")) >= 0 ||
           str_find(query, STR(", ")) >= 0 || str_find_char(query, '\\') >= 0;
}

/* Does `text` have the query's text? Its clients know the JSON of Python. */
static bool has_query(struct str json, struct str query)
{
    if (str_find_nocase(json, query) >= 0)
        return true;
    if (!is_python(query))
        return false;
    autobuf python = {0};
    autojson doc = json_parse_trusted(json, NULL);
    struct json_writer w = json_writer_python(&python);
    jw_value(&w, json_root(doc));
    return str_find_nocase(buf_str(&python), query) >= 0;
}

static bool passes(const struct search *s, const struct projected *p)
{
    const struct filter_body *f = &s->args->filter;
    return p->id >= s->first && p->id <= s->last && (f->source.n == 0 || str_is(f->source, p->source)) &&
           (f->start_date.n == 0 || !p->timestamp.p || str_cmp(p->timestamp, f->start_date) >= 0) &&
           (f->end_date.n == 0 || !p->timestamp.p || str_cmp(p->timestamp, f->end_date) <= 0) &&
           (f->query.n == 0 || has_query(p->json, f->query));
}

static atomic_size_t held_bytes; /* of answers that are being made */

static bool has_room(const struct search *s, size_t bytes)
{
    return s->found == 0 ||
           (s->body.n + bytes <= EVENTS_BYTES &&
            atomic_load_explicit(&held_bytes, memory_order_relaxed) + bytes <= EVENTS_BYTES_ALL);
}

/* An event that passed; false when there is no room for it. */
static bool take(struct search *s, struct str json)
{
    if (s->found >= (size_t)s->args->limit || !has_room(s, json.n)) {
        s->more = s->over = true;
        return false;
    }
    if (s->found++ > 0)
        buf_add_char(&s->body, ',');
    buf_add(&s->body, json);
    s->held += json.n;
    atomic_fetch_add_explicit(&held_bytes, json.n, memory_order_relaxed);
    return true;
}

static bool look_at(struct search *s, const struct store_item *item, struct err **e)
{
    struct projection *p = &s->projection;
    struct projection_log log = {conversations_store(conversations_of(s->request)), s->number};
    if (!projection_make(p, &log, item->json, item->side, item->seq, e))
        return false;
    for (size_t i = 0; i < p->n && !s->over; i++) {
        const struct projected *one = &p->at[s->args->reverse ? p->n - 1 - i : i];
        if (passes(s, one) && !take(s, one->json))
            break;
    }
    return true;
}

static bool in_range(const struct search *s, int64_t seq)
{
    return projection_id((uint32_t)seq, PROJECTION_MAX - 1) >= s->first &&
           projection_id((uint32_t)seq, 0) <= s->last;
}

/* A page of stored events; false on an error. */
static bool look_at_page(struct search *s, size_t *seen, struct err **e)
{
    struct store_filter filter = {
        .kind = -1,
        .source = -1,
        .since_us = INT64_MIN,
        .until_us = INT64_MAX,
        .body = STR_NONE,
        .descending = s->args->reverse,
        .from_seq = s->at,
        .limit = EVENTS_LIMIT,
        .bytes_max = STORE_PAGE_BYTES,
    };
    autoarena page = arena_new();
    struct store_item *items = NULL;
    size_t n = 0;
    int64_t next = -1;
    if (!store_search(conversations_store(conversations_of(s->request)), s->number, &filter, page, &items, &n,
                      &next, e))
        return false;
    for (size_t i = 0; i < n && !s->over; i++) {
        if (!in_range(s, items[i].seq))
            s->over = true;
        else if (!look_at(s, &items[i], e))
            return false;
    }
    *seen += n;
    s->at = next;
    s->over |= next < 0;
    return true;
}

static void search_end(struct search *s, const struct err *e)
{
    struct request *r = s->request;
    autobuf body = s->body;
    projection_deinit(&s->projection);
    atomic_fetch_sub_explicit(&held_bytes, s->held, memory_order_relaxed);
    if (e) {
        request_reply_error(r, e);
        return;
    }
    buf_add(&body, s->more ? STR("],\"has_more\":true}") : STR("],\"has_more\":false}"));
    request_reply_json(r, 200, &body);
}

/* Worker. */
static void search_slice(void *arg)
{
    struct search *s = arg;
    autoerr e = NULL;
    size_t seen = 0;
    while (!s->over && !e && seen < EVENTS_SLICE)
        look_at_page(s, &seen, &e);
    if (s->over || e)
        search_end(s, e);
    else
        pool_submit_long(app_of(s->request)->config.pool, search_slice, s);
}

/* ---- GET ---- */

static void check_types(const struct json_value *types, const char *name, struct json_problems *problems)
{
    struct json_path body = {.name = STR("body")};
    struct json_path path = {.parent = &body, .name = str_from(name)};
    if (json_is_null(types))
        return;
    if (json_type(types) != JSON_ARRAY) {
        json_problem_at(problems, &path, "list_type", STR("Input should be a valid list"),
                        &(struct json_input){.value = types}, STR_NONE);
        return;
    }
    for (struct json_iter it = json_iter(types); json_next(&it);) {
        struct json_path one = {.parent = &path, .index = it.index};
        json_problem_at(problems, &one, "is_subclass_of", STR("Input should be a subclass of Event"),
                        &(struct json_input){.value = it.value}, STR("{\"class\":\"Event\"}"));
    }
}

/* Where in the log the range begins, in the search's direction. False: it is empty. */
static bool set_range(struct search *s, const struct search_args *args)
{
    s->first = args->start_id > 0 ? args->start_id : 0;
    s->last = args->has_end ? args->end_id : INT64_MAX;
    if (s->first > s->last || s->first / PROJECTION_MAX > UINT32_MAX)
        return false;
    if (!args->reverse)
        s->at = s->first / PROJECTION_MAX;
    else
        s->at = s->last / PROJECTION_MAX < UINT32_MAX ? s->last / PROJECTION_MAX : -1;
    return true;
}

static void search_events(struct request *r, const void *argsp)
{
    const struct search_args *args = argsp;
    struct json_problems problems = {.arena = request_arena(r)};
    struct search *s = ARENA_NEW(request_arena(r), struct search);
    autoerr e = NULL;
    *s = (struct search){.request = r, .args = args};
    check_types(args->filter.include_types, "include_types", &problems);
    check_types(args->filter.exclude_types, "exclude_types", &problems);
    if (problems.count > 0) {
        request_reply_problems(r, &problems);
    } else if (!conversations_number(conversations_of(r), &args->id, &s->number, &e)) {
        if (e->kind == ERR_NOT_FOUND)
            legacy_reply_missing(r, args);
        else
            request_reply_error(r, e);
    } else if (args->limit < 0 || args->limit > EVENTS_LIMIT) {
        request_reply_detail(r, 400, "Invalid limit");
    } else {
        buf_add(&s->body, STR("{\"events\":["));
        s->over = !set_range(s, args);
        search_slice(s);
    }
}

/* ---- POST ---- */

struct add_args {
    struct uuid id;
    struct legacy_action action;
};

static void add_end(void *arg, const struct err *e)
{
    struct act *a = arg;
    struct add_args *args = (struct add_args *)a->args;
    legacy_action_deinit(&args->action);
    act_end(a, e);
}

static void add_run(struct act *a)
{
    const struct add_args *args = a->args;
    legacy_action_do(a->conversation, &args->action, add_end, a);
}

static void add_failed(struct request *r, const void *argsp, const struct err *e)
{
    struct add_args *args = (struct add_args *)argsp;
    legacy_action_deinit(&args->action);
    if (e->kind == ERR_INVALID || e->kind == ERR_TOO_LARGE || e->kind == ERR_CONFLICT)
        legacy_reply_error(r,
                           e->kind == ERR_INVALID    ? 400
                           : e->kind == ERR_CONFLICT ? 409
                                                     : 413,
                           err_text(e));
    else
        request_reply_error(r, e);
}

static bool decode_event(struct request *r, struct legacy_action *out, struct err **e)
{
    if (!request_has_json(r))
        return err_set(e, ERR_INVALID, "an event has to be sent as application/json");
    autojson doc = json_parse(request_body(r), NULL, e);
    return doc && legacy_action_decode(json_root(doc), out, e);
}

static void add_event(struct request *r, const void *argsp)
{
    struct add_args *args = ARENA_NEW(request_arena(r), struct add_args);
    autoerr e = NULL;
    int64_t number;
    *args = *(const struct add_args *)argsp;
    if (!conversations_number(conversations_of(r), &args->id, &number, &e)) {
        if (e->kind == ERR_NOT_FOUND)
            legacy_reply_missing(r, args);
        else
            request_reply_error(r, e);
    } else if (!decode_event(r, &args->action, &e)) {
        add_failed(r, args, e);
    } else if (!legacy_live(r, &args->id)) {
        legacy_action_deinit(&args->action);
        legacy_reply_error(r, 409, "The conversation is stopped: start it first.");
    } else {
        act_start(&(struct act){.request = r,
                                .args = args,
                                .run = add_run,
                                .missing = legacy_reply_missing,
                                .failed = add_failed});
    }
}

/* ---- the table ---- */

static const struct route_response search_responses[] = {
    {.status = 200,
     .description = "The events, and whether there are more.",
     .ref =
         "{\"type\":\"object\",\"properties\":{\"events\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}},"
         "\"has_more\":{\"type\":\"boolean\"}}}"},
    {.status = 400, .description = "The limit is not one."},
    {.status = 404, .description = "There is no such conversation."},
};
static const struct route_response add_responses[] = {
    {.status = 200,
     .description = "Done.",
     .ref = "{\"type\":\"object\",\"properties\":{\"success\":{\"type\":\"boolean\"}}}"},
    {.status = 400, .description = "That is no event that can be sent."},
    {.status = 404, .description = "There is no such conversation."},
    {.status = 409, .description = "It is stopped, or the event does not fit its state."},
};
static const struct route routes[] = {
    {.method = HTTP_GET_,
     .path = "/api/conversations/{conversation_id}/events",
     .handle = search_events,
     .summary = "Search Events",
     .tag = "Events",
     .operation = "search_events_api_conversations__conversation_id__events_get",
     .flags = ROUTE_BODY_OPTIONAL,
     .args_size = sizeof(struct search_args),
     LEGACY_ID,
     .query_fields = search_fields,
     .query_count = ARRAY_LEN(search_fields),
     .body = &filter_schema,
     .body_offset = offsetof(struct search_args, filter),
     .responses = search_responses,
     .response_count = ARRAY_LEN(search_responses)},
    {.method = HTTP_POST_,
     .path = "/api/conversations/{conversation_id}/events",
     .handle = add_event,
     .summary = "Add Event",
     .tag = "Events",
     .operation = "add_event_api_conversations__conversation_id__events_post",
     .flags = ROUTE_RAW_BODY,
     .args_size = sizeof(struct add_args),
     LEGACY_ID,
     .body_type = "application/json",
     .responses = add_responses,
     .response_count = ARRAY_LEN(add_responses)},
};
const struct route_table legacy_event_routes = {routes, ARRAY_LEN(routes)};
