/* Ids in paths, and answers that are worded in this dialect alone. */
#include "api/agent_server/app.h"
#include "base/cleanup.h"

const struct json_field id_path_fields[1] = {{
    .name = "conversation_id",
    .type = FIELD_UUID,
    .offset = offsetof(struct id_args, id),
    .flags = FIELD_REQUIRED,
    .doc = "Id of the conversation, with or without dashes.",
}};

#define SUCCESS                                                 \
    {                                                           \
        .status = 200, .description = "Done.", .ref = "Success" \
    }
const struct route_response success_only[1] = {SUCCESS};
const struct route_response success_or_404[2] = {
    SUCCESS, {.status = 404, .description = "There is no such conversation.", .ref = "Error"}};
const struct route_response success_or_400[2] = {
    SUCCESS, {.status = 400, .description = "There is no such conversation.", .ref = "Error"}};

void reply_missing_400(struct request *r, const void *args)
{
    (void)args;
    request_reply_detail(r, 400, "Bad Request");
}

void reply_missing_named(struct request *r, const void *args)
{
    const struct id_args *a = args;
    char id[UUID_DASHED_LEN + 1];
    autobuf detail = {0};
    uuid_dashed(&a->id, id);
    buf_addf(&detail, "Conversation not found: %s", id);
    request_reply_detail(r, 404, detail.p);
}

void reply_page_missing(struct request *r, struct str page, const char *what)
{
    struct json_problems problems = {.arena = request_arena(r)};
    struct json_path query = {.name = STR("query")};
    autobuf text = {0};
    buf_addf(&text, "Value error, there is no such %s", what);
    json_problem_at(&problems, &(struct json_path){.parent = &query, .name = STR("page_id")}, "value_error",
                    buf_str(&text), &(struct json_input){.text = page}, STR_NONE);
    request_reply_problems(r, &problems);
}
