/* Reduced bodies: what sockets and pages show of an event that is too large for them; and cutting texts in the middle. */
#include "agent/internal.h"
#include "base/utf8.h"

#define ENVELOPE_MAX 1024         /* id, timestamp, source, parent and kind around a body */
#define STRING_FIRST (256 * 1024) /* first try: strings longer than this many bytes are cut … */
#define STRING_LAST 64            /* … quartered until the body fits or this is reached; */
#define ITEMS_FIRST (16 * 1024)   /* then arrays with more items, and objects … */
#define MEMBERS_KEPT 64           /* … with more members than this and than that; */
#define LOOSE_DEPTH 3 /* at last objects this deep in an event, whose members no client relies on */

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

/* What is left of a value. */
struct reduction {
    size_t string, items; /* bytes and items that are kept at most */
    size_t loose;         /* members of objects from LOOSE_DEPTH on */
    size_t max;           /* bytes of the whole; a try that grows beyond it is given up */
};

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

static void value_reduce(struct json_writer *w, const struct json_value *v, const struct reduction *r,
                         unsigned depth);

static void members_reduce(struct json_writer *w, const struct json_value *v, const struct reduction *r,
                           unsigned depth)
{
    size_t kept = r->items > MEMBERS_KEPT ? r->items : MEMBERS_KEPT, n = 0;
    if (depth >= LOOSE_DEPTH && kept > r->loose)
        kept = r->loose;
    for (struct json_iter it = json_iter(v); n < kept && w->out->n <= r->max && json_next(&it);) {
        if (it.key.n > r->string) /* no client's field has such a name */
            continue;
        jw_key_str(w, it.key);
        value_reduce(w, it.value, r, depth + 1);
        n++;
    }
}

static void value_reduce(struct json_writer *w, const struct json_value *v, const struct reduction *r,
                         unsigned depth)
{
    size_t n = 0;
    switch (json_type(v)) {
    case JSON_STRING: string_reduce(w, json_str(v), r->string); break;
    case JSON_ARRAY:
        jw_array(w);
        for (struct json_iter it = json_iter(v); n++ < r->items && w->out->n <= r->max && json_next(&it);)
            value_reduce(w, it.value, r, depth + 1);
        jw_array_end(w);
        break;
    case JSON_OBJECT:
        jw_object(w);
        members_reduce(w, v, r, depth);
        jw_object_end(w);
        break;
    case JSON_ABSENT:
    case JSON_NULL:
    case JSON_BOOL:
    case JSON_INT:
    case JSON_FLOAT: jw_value(w, v); break;
    }
}

void json_reduce(struct json_writer *w, const struct json_value *v, size_t limit)
{
    const struct reduction r = {.string = limit, .items = SIZE_MAX, .loose = SIZE_MAX, .max = SIZE_MAX};
    value_reduce(w, v, &r, 0);
}

/* The next try, which keeps less. False: there is none. */
static bool reduction_next(struct reduction *r)
{
    if (r->string > STRING_LAST)
        r->string /= 4;
    else if (r->items > 1)
        r->items = r->items == SIZE_MAX ? ITEMS_FIRST : r->items / 2;
    else if (r->loose > 1)
        r->loose = r->loose == SIZE_MAX ? MEMBERS_KEPT / 2 : r->loose / 2;
    else
        return false;
    return true;
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
    struct reduction r = {STRING_FIRST, SIZE_MAX, SIZE_MAX, EVENT_SOCKET_MAX - ENVELOPE_MAX};
    if (!doc)
        return;
    do {
        buf_clear(&d->reduced);
        struct json_writer w = json_writer(&d->reduced);
        w.depth = 1;
        members_reduce(&w, json_root(doc), &r, 0);
    } while (d->reduced.n > r.max && reduction_next(&r));
}
