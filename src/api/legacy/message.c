/* What a user says, from this dialect's form to the one that conversations have. */
#include "api/legacy/app.h"

static void write_item(struct json_writer *w, const char *type)
{
    jw_object(w);
    jw_member_bool(w, "cache_prompt", false);
    jw_member_cstr(w, "type", type);
}

void legacy_message_write(struct str text, const struct str *images, size_t n, struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_object(&w);
    jw_member_cstr(&w, "role", "user");
    jw_key(&w, "content");
    jw_array(&w);
    if (text.n > 0 || n == 0) {
        write_item(&w, "text");
        jw_member_str(&w, "text", text);
        jw_object_end(&w);
    }
    if (n > 0) {
        write_item(&w, "image");
        jw_key(&w, "image_urls");
        jw_array(&w);
        for (size_t i = 0; i < n; i++)
            jw_str(&w, images[i]);
        jw_array_end(&w);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    jw_object_end(&w);
}
