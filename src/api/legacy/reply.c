#include "api/legacy/app.h"
#include "base/cleanup.h"

const struct json_field legacy_id_fields[1] = {{
    .name = "conversation_id",
    .type = FIELD_UUID,
    .offset = offsetof(struct id_args, id),
    .flags = FIELD_REQUIRED | FIELD_LENIENT,
    .doc = "Id of the conversation: 32 hexadecimal digits.",
    .json_schema = "{\"type\":\"string\",\"title\":\"Conversation Id\"}",
}};

struct str legacy_id_text(const struct request *r)
{
    static const char before[] = "/api/conversations/";
    struct str path = request_path(r);
    if (!str_starts(path, str_from(before)))
        return STR("");
    path = str_sub(path, sizeof(before) - 1, path.n);
    ssize_t slash = str_find_char(path, '/');
    return slash < 0 ? path : str_sub(path, 0, (size_t)slash);
}

void legacy_reply_missing(struct request *r, const void *args)
{
    (void)args;
    autobuf detail = {0};
    buf_addf(&detail, "Conversation %.*s not found", STR_ARG(legacy_id_text(r)));
    request_reply_detail(r, 404, detail.p);
}

void legacy_reply_error(struct request *r, int status, const char *text)
{
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_member_cstr(&w, "error", text);
    jw_object_end(&w);
    request_reply_json(r, status, &body);
}
