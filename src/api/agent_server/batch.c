/* Answers to GETs of several things by their ids. */
#include "api/agent_server/app.h"
#include "base/cleanup.h"

struct uuid id_or_zero(struct str text)
{
    struct uuid id;
    return uuid_parse(text, &id) ? id : (struct uuid){0};
}

static bool check_ids(struct request *r, const struct json_value *ids)
{
    struct json_problems problems = {.arena = request_arena(r)};
    struct json_path body = {.name = STR("body")};
    struct json_input input = {.value = ids};
    if (!ids) {
        json_problem_at(&problems, &body, "missing", STR("Field required"), NULL, STR_NONE);
    } else if (json_type(ids) != JSON_ARRAY) {
        json_problem_at(&problems, &body, "list_type", STR("Input should be a list"), &input, STR_NONE);
    } else if (json_count(ids) > PAGE_LIMIT) {
        json_problem_at(&problems, &body, "too_long", STR("List should have at most 100 items"), NULL,
                        STR("{\"max_length\":100}"));
    } else {
        for (struct json_iter it = json_iter(ids); json_next(&it);) {
            struct json_path one = {.parent = &body, .index = it.index};
            if (json_type(it.value) != JSON_STRING)
                json_problem_at(&problems, &one, "string_type", STR("Input should be a string"),
                                &(struct json_input){.value = it.value}, STR_NONE);
        }
    }
    if (problems.count == 0)
        return true;
    request_reply_problems(r, &problems);
    return false;
}

bool batch_ids(struct request *r, struct uuid list[PAGE_LIMIT], size_t *n)
{
    const struct json_value *ids = request_json(r);
    if (!check_ids(r, ids))
        return false;
    for (struct json_iter it = json_iter(ids); json_next(&it);)
        list[it.index] = id_or_zero(json_str(it.value));
    *n = json_count(ids);
    return true;
}

struct part { /* of the answer */
    size_t at, n;
};

/* What stands for `ids[i]` when it was named before; false when this is the first time. */
static bool add_again(const struct uuid *ids, size_t i, const struct part *parts, struct buf *body)
{
    size_t same = 0;
    while (!uuid_eq(&ids[same], &ids[i]))
        same++;
    if (same == i)
        return false;
    buf_reserve(body, parts[same].n); /* so that the text stays where it is while it is copied */
    buf_add(body, str_make(body->p + parts[same].at, parts[same].n));
    return true;
}

void reply_batch(struct request *r, const struct uuid *ids, size_t n, batch_item *item, const void *arg)
{
    struct part parts[PAGE_LIMIT] = {0};
    autobuf body = {0};
    buf_add_char(&body, '[');
    for (size_t i = 0; i < n; i++) {
        autoerr e = NULL;
        if (i > 0)
            buf_add_char(&body, ',');
        parts[i].at = body.n;
        if (!add_again(ids, i, parts, &body) && !item(r, arg, &ids[i], &body, &e)) {
            if (e->kind != ERR_NOT_FOUND) {
                request_reply_error(r, e);
                return;
            }
            buf_add(&body, STR("null"));
        }
        parts[i].n = body.n - parts[i].at;
        if (body.n > BATCH_BYTES) {
            request_reply_detail(r, 413, "The answer would be larger than 16 MiB: ask for fewer at once");
            return;
        }
    }
    buf_add_char(&body, ']');
    request_reply_json(r, 200, &body);
}
