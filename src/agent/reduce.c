/* Reduced bodies: what sockets and pages show of an event that is too large for them; and cutting texts in the middle. */
#include "agent/internal.h"
#include "base/utf8.h"

#define ENVELOPE_MAX 1024         /* id, timestamp, source, parent and kind around a body */
#define STRING_FIRST (256 * 1024) /* first try: strings longer than this many bytes are cut … */
#define STRING_LAST 64            /* … halved until the body fits or this is reached */

/* An image that is cut is no image; clients draw this empty one instead. */
#define IMAGE_EMPTY "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"

struct str text_cut_head(struct str text, size_t max, size_t notice_chars)
{
    size_t room = max > notice_chars ? max - notice_chars : 0;
    return utf8_prefix(text, (room + 1) / 2);
}

bool text_cut_middle(struct str text, size_t max, struct str notice, struct buf *out)
{
    if (text.n <= max || utf8_count(text) <= max) {
        buf_add(out, text);
        return false;
    }
    size_t notice_chars = utf8_count(notice), room = max > notice_chars ? max - notice_chars : 0;
    buf_add(out, text_cut_head(text, max, notice_chars));
    buf_add(out, notice);
    buf_add(out, utf8_suffix(text, room / 2));
    return true;
}

static void string_reduce(struct json_writer *w, struct str s, size_t limit)
{
    if (s.n <= limit) {
        jw_str(w, s);
        return;
    }
    if (str_starts(s, STR("data:image/"))) {
        jw_cstr(w, IMAGE_EMPTY);
        return;
    }
    autobuf cut = {0};
    struct str head = utf8_prefix_bytes(s, limit / 2);
    size_t tail = s.n - limit / 4;
    while (tail < s.n && ((unsigned char)s.p[tail] & 0xC0) == 0x80)
        tail++;
    buf_add(&cut, head);
    buf_addf(&cut, "\n[… %zu bytes left out …]\n", tail - head.n);
    buf_add(&cut, str_sub(s, tail, s.n));
    jw_str(w, buf_str(&cut));
}

void json_reduce(struct json_writer *w, const struct json_value *v, size_t limit)
{
    switch (json_type(v)) {
    case JSON_STRING: string_reduce(w, json_str(v), limit); break;
    case JSON_ARRAY:
        jw_array(w);
        for (struct json_iter it = json_iter(v); json_next(&it);)
            json_reduce(w, it.value, limit);
        jw_array_end(w);
        break;
    case JSON_OBJECT:
        jw_object(w);
        for (struct json_iter it = json_iter(v); json_next(&it);) {
            jw_key_str(w, it.key);
            json_reduce(w, it.value, limit);
        }
        jw_object_end(w);
        break;
    case JSON_ABSENT:
    case JSON_NULL:
    case JSON_BOOL:
    case JSON_INT:
    case JSON_FLOAT: jw_value(w, v); break;
    }
}

void event_draft_reduce(struct event_draft *d)
{
    if (d->body.n + ENVELOPE_MAX <= EVENT_SOCKET_MAX)
        return;
    autobuf whole = {0};
    buf_reserve(&whole, d->body.n + 2);
    buf_add_char(&whole, '{');
    buf_add(&whole, buf_str(&d->body));
    buf_add_char(&whole, '}');
    autojson doc = json_parse_trusted(buf_str(&whole), NULL);
    if (!doc)
        return;
    for (size_t limit = STRING_FIRST; limit >= STRING_LAST; limit /= 2) {
        buf_clear(&d->reduced);
        struct json_writer w = json_writer(&d->reduced);
        w.depth = 1;
        for (struct json_iter it = json_iter(json_root(doc)); json_next(&it);) {
            jw_key_str(&w, it.key);
            json_reduce(&w, it.value, limit);
        }
        if (d->reduced.n + ENVELOPE_MAX <= EVENT_SOCKET_MAX)
            return;
    }
}
