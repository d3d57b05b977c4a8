/* What a user says, from this dialect's form to the one that conversations have. */
#include "api/legacy/app.h"

static void write_item(struct json_writer *w, const char *type)
{
    jw_object(w);
    jw_member_bool(w, "cache_prompt", false);
    jw_member_cstr(w, "type", type);
}

static void write_text(struct json_writer *w, struct str text)
{
    write_item(w, "text");
    jw_member_str(w, "text", text);
    jw_object_end(w);
}

void legacy_message_write(struct str text, struct str more, const struct str *images, size_t n,
                          struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_object(&w);
    jw_member_cstr(&w, "role", "user");
    jw_key(&w, "content");
    jw_array(&w);
    if (text.n > 0 || (more.n == 0 && n == 0))
        write_text(&w, text);
    if (more.n > 0)
        write_text(&w, more);
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
