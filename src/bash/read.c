/* read: pages and single events, on workers. */
#include "bash/internal.h"

/* What a page whose filter the store does not know looks through, at most; it may end early then. */
#define SCAN_BYTES_MAX (32 * 1024 * 1024)

static bool is_missing(const struct err *e)
{
    return e && e->kind == ERR_NOT_FOUND;
}

bool bash_get(struct bash *b, const struct uuid *id, struct arena *arena, struct str *json, struct err **e)
{
    struct store_item item;
    if (!store_find(b->config.store, atomic_load(&b->readable), id, true, arena, &item, e))
        return false;
    *json = item.json;
    return true;
}

struct scan {
    struct bash *b;
    int64_t stream;
    const struct bash_query *query;
    struct arena *arena;
    struct store_filter filter;
    bool by_order; /* here, item by item */
};

/* The outputs of a command stand behind it, the one with order n as the n-th. So polling for what is new reads nothing
 * else. A command that is not in the log was there before a clear: then its outputs are looked at one by one. */
static bool scan_from_command(struct scan *s, char hex[UUID_HEX_LEN + 1], struct err **e)
{
    const struct bash_query *q = s->query;
    struct store_item item;
    autoerr why = NULL;
    s->filter.body = uuid_hex(&q->command, hex);
    if (!store_find(s->b->config.store, s->stream, &q->command, false, s->arena, &item, &why))
        return is_missing(why) || err_set(e, why->kind, "%s", err_text(why));
    if (q->descending || q->since_us != INT64_MIN || q->until_us != INT64_MAX)
        return true;
    if (s->filter.from_seq <= item.seq) {
        s->filter.from_seq = (int64_t)item.seq + 1;
        s->filter.skip = s->by_order && q->order >= 0 ? (size_t)q->order + 1 : 0;
        s->by_order = false;
    }
    return true;
}

static bool scan_prepare(struct scan *s, char hex[UUID_HEX_LEN + 1], struct err **e)
{
    const struct bash_query *q = s->query;
    struct store_item item;
    s->by_order = q->has_order;
    s->filter = (struct store_filter){
        .kind = q->kind ? q->kind : -1,
        .source = -1,
        .since_us = q->since_us,
        .until_us = q->until_us,
        .descending = q->descending,
        .from_seq = -1,
        .limit = q->limit,
        .bytes_max = q->bytes_max,
    };
    if (q->has_page) {
        if (!store_find(s->b->config.store, s->stream, &q->page, false, s->arena, &item, e))
            return false;
        s->filter.from_seq = item.seq;
    }
    return !q->has_command || scan_from_command(s, hex, e);
}

static bool fits(const struct scan *s, const struct store_item *item)
{
    int64_t order;
    return !s->by_order || item->kind != BASH_OUTPUT || !str_to_i64(item->side, &order) ||
           order > s->query->order;
}

/* Page by page of the store until this page is full. */
static bool scan_run(struct scan *s, struct bash_page *page, int64_t *next, struct err **e)
{
    size_t seen = 0;
    page->items = arena_alloc(s->arena, s->query->limit * sizeof(*page->items));
    do {
        struct store_item *items;
        size_t n;
        s->filter.limit = s->query->limit - page->n;
        if (!store_search(s->b->config.store, s->stream, &s->filter, s->arena, &items, &n, next, e))
            return false;
        for (size_t i = 0; i < n; i++) {
            seen += items[i].json.n;
            if (fits(s, &items[i]))
                page->items[page->n++] = items[i];
        }
        s->filter.from_seq = *next;
        s->filter.skip = 0;
    } while (s->by_order && *next >= 0 && page->n < s->query->limit && seen < SCAN_BYTES_MAX &&
             seen < s->query->bytes_max);
    return true;
}

static bool page_next(struct scan *s, struct bash_page *page, int64_t next, struct err **e)
{
    struct store_item *items;
    size_t n = 0;
    if (next >= 0 && !store_read(s->b->config.store, s->stream, (uint32_t)next, (uint32_t)next + 1, 1, false,
                                 s->arena, &items, &n, e))
        return false;
    page->more = n > 0;
    if (n > 0)
        page->next = items[0].id;
    return true;
}

bool bash_search(struct bash *b, const struct bash_query *query, struct arena *arena, struct bash_page *page,
                 struct err **e)
{
    struct scan s = {.b = b, .stream = atomic_load(&b->readable), .query = query, .arena = arena};
    char hex[UUID_HEX_LEN + 1];
    int64_t next = -1;
    autoerr why = NULL;
    *page = (struct bash_page){0};
    if (query->has_command && query->kind == BASH_COMMAND)
        return true;
    if (!scan_prepare(&s, hex, e))
        return false;
    if (scan_run(&s, page, &next, &why) && page_next(&s, page, next, &why))
        return true;
    *page = (struct bash_page){0};
    /* Cleared meanwhile: there is nothing. */
    return is_missing(why) || err_set(e, why->kind, "%s", err_text(why));
}
