#include "api/legacy/log_reader.h"
#include "base/cleanup.h"

bool log_reader_init(struct log_reader *l, struct store *store, int64_t number, struct err **e)
{
    struct store_filter all = {.kind = -1,
                               .source = -1,
                               .since_us = INT64_MIN,
                               .until_us = INT64_MAX,
                               .body = STR_NONE,
                               .from_seq = -1};
    int64_t count = 0;
    *l = (struct log_reader){.store = store, .number = number};
    if (!store_count_events(store, number, &all, &count, e))
        return false;
    l->end = (uint32_t)count; /* seq is dense */
    return true;
}

void log_reader_deinit(struct log_reader *l)
{
    projection_deinit(&l->projection);
}

static bool add_event(struct log_reader *l, const struct store_item *item, struct buf *out, struct err **e)
{
    struct projection_log log = {l->store, l->number};
    if (!projection_make(&l->projection, &log, item->json, item->side, item->seq, e))
        return false;
    for (size_t i = 0; i < l->projection.n; i++) {
        if (l->begun)
            buf_add_char(out, ',');
        l->begun = true;
        buf_add(out, l->projection.at[i].json);
    }
    return true;
}

bool log_reader_next(struct log_reader *l, struct buf *out, struct err **e)
{
    autoarena page = arena_new();
    struct store_item *items = NULL;
    size_t n = 0;
    if (l->next == 0)
        buf_add_char(out, '[');
    if (l->next < l->end &&
        !store_read(l->store, l->number, l->next, l->end, STORE_LIST_MAX, false, page, &items, &n, e))
        return false;
    if (l->next < l->end && n == 0)
        return err_set(e, ERR_NOT_FOUND, "the conversation has been deleted");
    for (size_t i = 0; i < n; i++)
        if (!add_event(l, &items[i], out, e))
            return false;
    if (n > 0)
        l->next = items[n - 1].seq + 1;
    l->over = l->next >= l->end;
    if (l->over)
        buf_add_char(out, ']');
    return true;
}
