#include "api/changes.h"
#include "base/cleanup.h"
#include "json/writer.h"
#include "workspace/hand.h"

void changes_reply(struct request *r, struct str fields, const char *(*word)(struct str kind))
{
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    struct wire_fields f = {fields};
    enum wire_field tag;
    struct str item;
    jw_array(&w);
    while (wire_fields_next(&f, &tag, &item, NULL)) {
        if (tag != F_ITEM || !wire_fields_valid(item))
            continue;
        jw_object(&w);
        jw_member_cstr(&w, "status", word(wire_get_str(item, F_KIND)));
        jw_member_str(&w, "path", wire_get_str(item, F_PATH));
        jw_object_end(&w);
    }
    jw_array_end(&w);
    request_reply_json(r, 200, &body);
}
