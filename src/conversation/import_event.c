#include "conversation/import_event.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "conversation/internal.h"

void import_item_deinit(struct import_item *i)
{
    json_doc_free(i->doc);
    bytes_unref(i->json);
    bytes_unref(i->reduced);
    buf_deinit(&i->search);
}

/* A time without a zone is that of the machine it was written on; we have only our own to read it with. */
static void stamp_read(struct str stamp, const struct import_clock *last, int64_t *us, int64_t *local)
{
    autobuf zoned = {0};
    if (!clock_parse(stamp, us)) {
        *us = last->us;
        *local = last->local_us;
        return;
    }
    *local = clock_local_us(*us);
    buf_add(&zoned, stamp);
    buf_add_char(&zoned, 'Z');
    clock_parse(buf_str(&zoned), local); /* the clock face that is written there, if no zone is */
}

/* In upstream's order. `body`: its own fields, or empty. */
static void text_write(struct buf *out, const struct json_value *event, struct str stamp, struct str body)
{
    static const char *const first[] = {"id", "timestamp", "source", "parent_id"};
    struct json_writer w = json_writer(out);
    jw_object(&w);
    for (size_t i = 0; i < ARRAY_LEN(first); i++) {
        const struct json_value *v = json_get(event, first[i]);
        if (str_is(str_from(first[i]), "timestamp"))
            jw_member_str(&w, first[i], stamp);
        else if (!json_is_null(v))
            jw_member_value(&w, first[i], v);
    }
    if (body.n > 0) {
        buf_add_char(out, ',');
        buf_add(out, body);
    }
    jw_member_value(&w, "kind", json_get(event, "kind"));
    jw_object_end(&w);
}

static bool is_envelope(struct str key)
{
    return str_is(key, "id") || str_is(key, "timestamp") || str_is(key, "source") ||
           str_is(key, "parent_id") || str_is(key, "kind");
}

static void body_write(struct buf *out, const struct json_value *event)
{
    struct json_writer w = json_writer(out);
    w.depth = 1; /* inside the event's braces */
    for (struct json_iter it = json_iter(event); json_next(&it);) {
        if (is_envelope(it.key) || json_is_null(it.value))
            continue;
        jw_key_str(&w, it.key);
        jw_value(&w, it.value);
    }
}

/* Is the text what we would keep? A line break stands only between the parts of JSON, never in a string. */
static bool is_fit(struct str text, const struct json_value *event, struct str stamp)
{
    if (str_find_char(text, '\n') >= 0 || str_find_char(text, '\r') >= 0 ||
        !str_eq(json_get_str(event, "timestamp"), stamp))
        return false;
    for (struct json_iter it = json_iter(event); json_next(&it);)
        if (json_is_null(it.value))
            return false;
    return true;
}

static void text_make(struct import_item *i, struct str text, struct str stamp)
{
    autobuf whole = {0};
    struct event_draft d = {0};
    bool fit = is_fit(text, i->event, stamp), large = text.n > EVENT_SOCKET_MAX;
    if (!fit || large)
        body_write(&d.body, i->event);
    if (large)
        event_draft_reduce(&d);
    if (d.reduced.n > 0) {
        text_write(&whole, i->event, stamp, buf_str(&d.reduced));
        i->reduced = bytes_take(&whole);
    }
    i->shortened = i->reduced && text.n > IMPORT_WHOLE_MAX;
    if (i->shortened) {
        i->json = steal(i->reduced);
    } else if (fit) {
        i->json = bytes_new(text);
    } else {
        text_write(&whole, i->event, stamp, buf_str(&d.body));
        i->json = bytes_take(&whole);
    }
    event_draft_deinit(&d);
}

static void search_make(struct import_item *i)
{
    if (i->kind != EVENT_MESSAGE)
        return;
    const struct json_value *content = json_get(json_get(i->event, "llm_message"), "content");
    for (struct json_iter it = json_iter(content); json_next(&it);) {
        struct str text = json_get_str(it.value, "text");
        if (text.n == 0 || i->search.n + text.n > IMPORT_SEARCH_MAX)
            continue;
        if (i->search.n > 0)
            buf_add_char(&i->search, '\n');
        buf_add(&i->search, text);
    }
}

bool import_item_read(struct import_item *i, struct str text, struct import_clock *clock, struct err **e)
{
    char stamp[CLOCK_TEXT_MAX];
    *i = (struct import_item){0};
    text = str_trim(text);
    if (text.n == 0)
        return err_set(e, ERR_INVALID, "the file is empty");
    if (!(i->doc = json_parse(text, NULL, e)))
        return false;
    i->event = json_root(i->doc);
    struct str kind = json_get_str(i->event, "kind");
    if (json_type(i->event) != JSON_OBJECT || kind.n == 0)
        return err_set(e, ERR_INVALID, "it is not an event: it has no kind");
    if (!uuid_parse(json_get_str(i->event, "id"), &i->id))
        return err_set(e, ERR_INVALID, "it is not an event that can be kept: its id is not a UUID");
    i->parent = json_get_str(i->event, "parent_id");
    i->kind = event_kind_parse(kind);
    i->source = event_source_parse(json_get_str(i->event, "source"));
    int64_t local;
    stamp_read(json_get_str(i->event, "timestamp"), clock, &i->us, &local);
    clock->us = i->us = append_later_than(clock->us, i->us);
    clock->local_us = append_later_than(clock->local_us, local);
    text_make(i, text, clock_format_naive(clock->local_us, stamp));
    if (i->json->n > IMPORT_WHOLE_MAX + EVENT_SOCKET_MAX)
        return err_set(e, ERR_TOO_LARGE, "it has %zu bytes, and could not be shortened", i->json->n);
    search_make(i);
    return true;
}
