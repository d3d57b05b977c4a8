/* The earlier events that a stored event names. */
#include "api/legacy/projector.h"
#include "base/cleanup.h"

struct json_doc *projector_event(struct projector *p, int64_t seq, struct json_doc **side)
{
    autoarena arena = arena_new();
    struct store_item *items = NULL;
    size_t n = 0;
    if (!p->log->store || p->failed || seq < 0 || seq >= (int64_t)p->seq)
        return NULL;
    p->failed = !store_read(p->log->store, p->log->number, (uint32_t)seq, (uint32_t)seq + 1, 1, false, arena,
                            &items, &n, p->e);
    if (p->failed || n == 0)
        return NULL;
    if (side && items[0].side.n > 0)
        *side = json_parse_trusted(items[0].side, NULL);
    return json_parse_trusted(items[0].json, NULL);
}

int64_t projector_seq(struct projector *p, struct str id)
{
    autoarena arena = arena_new();
    autoerr e = NULL;
    struct store_item item;
    struct uuid wanted;
    if (!p->log->store || p->failed || !uuid_parse(id, &wanted))
        return -1;
    if (store_find(p->log->store, p->log->number, &wanted, false, arena, &item, &e))
        return item.seq < p->seq ? (int64_t)item.seq : -1;
    p->failed = e->kind != ERR_NOT_FOUND && !err_set(p->e, e->kind, "%s", err_text(e));
    return -1;
}
