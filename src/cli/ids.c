#include "cli/ids.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "json/json.h"

#define PAGES_MAX 50000 /* asked for: a server may always have another one */

/* ---- all of them ---- */

static bool each_stored(struct store *store, enum store_order order, int page, ids_one *one, void *arg,
                        struct err **e)
{
    struct uuid next = {{0}};
    for (bool more = true, first = true; more; first = false) {
        autoarena arena = arena_new();
        struct store_row *rows;
        size_t n;
        const struct store_list query = {.kind = STORE_CONVERSATION,
                                         .status = -1,
                                         .order = order,
                                         .from = first ? NULL : &next,
                                         .limit = (size_t)page};
        if (!store_list(store, &query, arena, &rows, &n, &next, &more, e))
            return false;
        for (size_t i = 0; i < n; i++)
            if (!one(arg, &rows[i].id, e))
                return false;
    }
    return true;
}

static bool each_served(struct client *client, enum store_order order, int page, ids_one *one, void *arg,
                        struct err **e)
{
    static const char *const orders[] = {[STORE_CREATED_ASC] = "CREATED_AT",
                                         [STORE_CREATED_DESC] = "CREATED_AT_DESC",
                                         [STORE_UPDATED_ASC] = "UPDATED_AT",
                                         [STORE_UPDATED_DESC] = "UPDATED_AT_DESC"};
    autobuf path = {0}, answer = {0};
    buf_addf(&path, "/api/conversations/search?sort_order=%s&limit=%d", orders[order], page);
    size_t fixed = path.n;
    for (int pages = 0; pages < PAGES_MAX; pages++) {
        if (!client_call(client, "GET", path.p, STR_NONE, &answer, e))
            return false;
        autojson doc = json_parse(buf_str(&answer), NULL, e);
        if (!doc)
            return false;
        struct uuid id;
        for (struct json_iter it = json_iter(json_get(json_root(doc), "items")); json_next(&it);)
            if (uuid_parse(json_get_str(it.value, "id"), &id) && !one(arg, &id, e))
                return false;
        struct str next = json_get_str(json_root(doc), "next_page_id");
        if (next.n == 0)
            return true;
        buf_truncate(&path, fixed);
        buf_addf(&path, "&page_id=%.*s", STR_ARG(next));
    }
    return err_set(e, ERR_TOO_LARGE, "the server has more than %d pages of conversations", PAGES_MAX);
}

bool ids_each(const struct ids_source *source, enum store_order order, int page, ids_one *one, void *arg,
              struct err **e)
{
    return source->client ? each_served(source->client, order, page, one, arg, e)
                          : each_stored(source->store, order, page, one, arg, e);
}

/* ---- one of them ---- */

struct wanted {
    struct str digits, text; /* as they are compared, and as they were given */
    struct uuid *id;
    bool found;
};

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The digits of an id or of its beginning, small and without dashes. False for anything else. */
static bool digits_of(struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        if (is_hex(text.p[i]))
            buf_add_char(out, text.p[i] >= 'A' && text.p[i] <= 'F' ? (char)(text.p[i] | 0x20) : text.p[i]);
        else if (text.p[i] != '-')
            return false;
    }
    return out->n >= IDS_PREFIX_MIN && out->n <= UUID_HEX_LEN;
}

bool ids_is_plausible(struct str text)
{
    autobuf digits = {0};
    struct uuid id;
    return str_is(text, "last") || uuid_parse(text, &id) || digits_of(text, &digits);
}

/* The first one, which ends it. */
static bool take_first(void *arg, const struct uuid *id, struct err **e)
{
    struct wanted *w = arg;
    (void)e;
    *w->id = *id;
    w->found = true;
    return false;
}

static bool take_match(void *arg, const struct uuid *id, struct err **e)
{
    struct wanted *w = arg;
    char hex[UUID_HEX_LEN + 1];
    if (!str_starts(uuid_hex(id, hex), w->digits))
        return true;
    if (w->found)
        return err_set(e, ERR_INVALID, "the ids of several conversations begin with %.*s", STR_ARG(w->text));
    *w->id = *id;
    w->found = true;
    return true;
}

bool ids_find(const struct ids_source *source, struct str text, struct uuid *id, struct err **e)
{
    autobuf digits = {0};
    struct wanted w = {.text = text, .id = id};
    if (uuid_parse(text, id))
        return true;
    if (str_is(text, "last")) {
        if (!ids_each(source, STORE_UPDATED_DESC, 1, take_first, &w, e) && !w.found)
            return false;
        return w.found || err_set(e, ERR_NOT_FOUND, "there is no conversation yet");
    }
    if (!digits_of(text, &digits))
        return err_set(e, ERR_INVALID, "%.*s is no id of a conversation", STR_ARG(text));
    w.digits = buf_str(&digits);
    if (!ids_each(source, STORE_CREATED_DESC, IDS_PAGE, take_match, &w, e))
        return false;
    return w.found ||
           err_set(e, ERR_NOT_FOUND, "there is no conversation whose id begins with %.*s", STR_ARG(text));
}
