#include "api/app.h"

/* What one message may hold besides its size, which the request's limit bounds. */
#define CONTENT_ITEMS_MAX 1000
#define IMAGE_URLS_MAX 100

static bool refuse(struct json_problems *problems, const struct json_path *path, const char *type,
                   struct str message, const struct json_value *value)
{
    json_problem_at(problems, path, type, message, &(struct json_input){.value = value}, STR_NONE);
    return false;
}

/* "user" is the only role that a client may speak in. */
static bool check_role(const struct json_value *v, const struct json_path *parent,
                       struct json_problems *problems)
{
    const struct json_value *role = json_get(v, "role");
    struct json_path path = {.parent = parent, .name = STR("role")};
    struct str name = json_str(role);
    if (json_is_null(role) || str_is(name, "user"))
        return true;
    if (str_is(name, "system") || str_is(name, "assistant") || str_is(name, "tool"))
        return refuse(problems, &path, "value_error", STR("Value error, only user messages can be sent"),
                      role);
    return refuse(problems, &path, "literal_error",
                  STR("Input should be 'user', 'system', 'assistant' or 'tool'"), role);
}

static bool check_cache_prompt(const struct json_value *item, const struct json_path *parent,
                               struct json_problems *problems)
{
    const struct json_value *v = json_get(item, "cache_prompt");
    struct json_path path = {.parent = parent, .name = STR("cache_prompt")};
    if (json_is_null(v) || json_type(v) == JSON_BOOL)
        return true;
    return refuse(problems, &path, "bool_type", STR("Input should be true or false"), v);
}

static void write_head(struct json_writer *w, const struct json_value *item, const char *type)
{
    jw_object(w);
    jw_member_bool(w, "cache_prompt", json_get_bool(item, "cache_prompt", false));
    jw_member_cstr(w, "type", type);
}

static bool decode_text(const struct json_value *item, const struct json_path *path,
                        struct json_problems *problems, struct json_writer *w)
{
    /* The last is what clients of 1.0 send. */
    static const char *const known[] = {"type", "text", "cache_prompt", "enable_truncation"};
    const struct json_value *text = json_get(item, "text");
    struct json_path text_path = {.parent = path, .name = STR("text")};
    bool ok = check_cache_prompt(item, path, problems);
    if (!text)
        ok = refuse(problems, &text_path, "missing", STR("Field required"), item);
    else if (json_type(text) != JSON_STRING)
        ok = refuse(problems, &text_path, "string_type", STR("Input should be a string"), text);
    for (struct json_iter it = json_iter(item); json_next(&it);) {
        size_t i = 0;
        while (i < sizeof(known) / sizeof(known[0]) && !str_is(it.key, known[i]))
            i++;
        struct json_path extra = {.parent = path, .name = it.key};
        if (i == sizeof(known) / sizeof(known[0]))
            ok = refuse(problems, &extra, "extra_forbidden", STR("Extra inputs are not permitted"), it.value);
    }
    if (!ok)
        return false;
    write_head(w, item, "text");
    jw_member_str(w, "text", json_str(text));
    jw_object_end(w);
    return true;
}

static bool decode_image(const struct json_value *item, const struct json_path *path,
                         struct json_problems *problems, struct json_writer *w)
{
    const struct json_value *urls = json_get(item, "image_urls");
    struct json_path urls_path = {.parent = path, .name = STR("image_urls")};
    bool ok = check_cache_prompt(item, path, problems);
    if (!urls)
        return refuse(problems, &urls_path, "missing", STR("Field required"), item);
    if (json_type(urls) != JSON_ARRAY)
        return refuse(problems, &urls_path, "list_type", STR("Input should be a list"), urls);
    if (json_count(urls) > IMAGE_URLS_MAX)
        return refuse(problems, &urls_path, "too_long", STR("List should have at most 100 items"), NULL);
    for (struct json_iter it = json_iter(urls); json_next(&it);) {
        struct json_path one = {.parent = &urls_path, .index = it.index};
        if (json_type(it.value) != JSON_STRING)
            ok = refuse(problems, &one, "string_type", STR("Input should be a string"), it.value);
    }
    if (!ok)
        return false;
    write_head(w, item, "image");
    jw_member_value(w, "image_urls", urls);
    jw_object_end(w);
    return true;
}

static bool decode_item(const struct json_value *item, const struct json_path *path,
                        struct json_problems *problems, struct json_writer *w)
{
    if (json_type(item) != JSON_OBJECT)
        return refuse(problems, path, "model_attributes_type", STR("Input should be an object"), item);
    const struct json_value *type = json_get(item, "type");
    struct json_path type_path = {.parent = path, .name = STR("type")};
    if (json_is_null(type)) /* the key that each of the two must have tells them apart */
        return json_get(item, "image_urls") ? decode_image(item, path, problems, w)
                                            : decode_text(item, path, problems, w);
    if (str_is(json_str(type), "text"))
        return decode_text(item, path, problems, w);
    if (str_is(json_str(type), "image"))
        return decode_image(item, path, problems, w);
    return refuse(problems, &type_path, "literal_error", STR("Input should be 'text' or 'image'"), type);
}

bool message_decode(const struct json_value *v, const struct json_path *path, bool text_content,
                    struct json_problems *problems, struct buf *out)
{
    if (json_type(v) != JSON_OBJECT)
        return refuse(problems, path, "model_attributes_type", STR("Input should be an object"), v);
    const struct json_value *content = json_get(v, "content");
    struct json_path content_path = {.parent = path, .name = STR("content")};
    bool ok = check_role(v, path, problems);
    struct json_writer w = json_writer(out);
    jw_object(&w);
    jw_member_cstr(&w, "role", "user");
    jw_key(&w, "content");
    jw_array(&w);
    if (text_content && json_type(content) == JSON_STRING) {
        write_head(&w, NULL, "text");
        jw_member_str(&w, "text", json_str(content));
        jw_object_end(&w);
    } else if (!json_is_null(content) && json_type(content) != JSON_ARRAY) {
        ok = refuse(problems, &content_path, "list_type", STR("Input should be a list"), content);
    } else if (json_count(content) > CONTENT_ITEMS_MAX) {
        ok = refuse(problems, &content_path, "too_long", STR("List should have at most 1000 items"), NULL);
    } else {
        for (struct json_iter it = json_iter(content); json_next(&it);) {
            struct json_path one = {.parent = &content_path, .index = it.index};
            ok &= decode_item(it.value, &one, problems, &w);
        }
    }
    jw_array_end(&w);
    if (json_get_str(v, "sender").p)
        jw_member_str(&w, "sender", json_get_str(v, "sender"));
    jw_object_end(&w);
    return ok;
}
