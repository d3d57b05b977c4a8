#include "cli/resume.h"
#include "base/cleanup.h"
#include "base/uuid.h"
#include "json/json.h"

#define PAGE 20        /* conversations asked for at once: each comes with its agent */
#define PAGES_MAX 5000 /* of them looked through */
#define ID_DIGITS 32

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The digits of an id or of its beginning, small and without dashes; at most ID_DIGITS. False for anything else. */
static bool digits_of(struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        if (is_hex(text.p[i]))
            buf_add_char(out, text.p[i] >= 'A' && text.p[i] <= 'F' ? (char)(text.p[i] | 0x20) : text.p[i]);
        else if (text.p[i] != '-')
            return false;
    }
    return out->n >= RESUME_PREFIX_MIN && out->n <= ID_DIGITS;
}

bool resume_is_plausible(struct str text)
{
    autobuf digits = {0};
    return str_is(text, "last") || digits_of(text, &digits);
}

static bool get_page(struct client *c, const char *order, int limit, const char *from, struct buf *answer,
                     struct err **e)
{
    autobuf path = {0};
    buf_addf(&path, "/api/conversations/search?sort_order=%s&limit=%d%s%s", order, limit,
             *from ? "&page_id=" : "", from);
    return client_call(c, "GET", path.p, STR_NONE, answer, e);
}

static bool find_last(struct client *c, struct buf *id, struct err **e)
{
    autobuf answer = {0};
    if (!get_page(c, "UPDATED_AT_DESC", 1, "", &answer, e))
        return false;
    autojson doc = json_parse(buf_str(&answer), NULL, e);
    for (struct json_iter it = json_iter(json_get(json_root(doc), "items")); json_next(&it);) {
        buf_add(id, json_get_str(it.value, "id"));
        return true;
    }
    return err_set(e, ERR_NOT_FOUND, "there is no conversation to go on with yet");
}

/* False when a second one fits. */
static bool match_page(const struct json_value *items, struct str wanted, struct str text, struct buf *id,
                       struct err **e)
{
    for (struct json_iter it = json_iter(items); json_next(&it);) {
        autobuf digits = {0};
        struct str one = json_get_str(it.value, "id");
        if (!digits_of(one, &digits) || !str_starts(buf_str(&digits), wanted))
            continue;
        if (id->n > 0)
            return err_set(e, ERR_INVALID, "the ids of several conversations begin with %.*s", STR_ARG(text));
        buf_add(id, one);
    }
    return true;
}

static bool find_prefix(struct client *c, struct str wanted, struct str text, struct buf *id, struct err **e)
{
    autobuf from = {0}, answer = {0};
    for (int pages = 0; pages < PAGES_MAX; pages++) {
        if (!get_page(c, "CREATED_AT_DESC", PAGE, from.n > 0 ? from.p : "", &answer, e))
            return false;
        autojson doc = json_parse(buf_str(&answer), NULL, e);
        if (!match_page(json_get(json_root(doc), "items"), wanted, text, id, e))
            return false;
        buf_clear(&from);
        buf_add(&from, json_get_str(json_root(doc), "next_page_id"));
        if (from.n == 0)
            break;
    }
    return id->n > 0 ||
           err_set(e, ERR_NOT_FOUND, "there is no conversation whose id begins with %.*s", STR_ARG(text));
}

bool resume_find(struct client *c, struct str text, struct buf *id, struct err **e)
{
    autobuf digits = {0};
    struct uuid uuid;
    if (str_is(text, "last"))
        return find_last(c, id, e);
    if (!digits_of(text, &digits))
        return err_set(e, ERR_INVALID, "%.*s is no id of a conversation", STR_ARG(text));
    if (digits.n < ID_DIGITS)
        return find_prefix(c, buf_str(&digits), text, id, e);
    if (!uuid_parse(buf_str(&digits), &uuid))
        return err_set(e, ERR_INVALID, "%.*s is no id of a conversation", STR_ARG(text));
    char dashed[UUID_DASHED_LEN + 1];
    buf_add(id, uuid_dashed(&uuid, dashed));
    return true;
}
