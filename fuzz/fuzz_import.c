/* import: a log that somebody has stored, one event a line: what is kept of each, and where it stands. */
#include "conversation/import_event.h"
#include "conversation/import_tree.h"
#include "conversation/open_actions.h"
#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* It is one line of JSON, without nulls, and later than the one before. */
static void check_item(const struct import_item *item, struct buf *last)
{
    autojson doc = json_parse(bytes_str(item->json), NULL, NULL);
    struct uuid id;
    must(doc && str_find_char(bytes_str(item->json), '\n') < 0);
    must(uuid_parse(json_get_str(json_root(doc), "id"), &id) && uuid_eq(&id, &item->id));
    struct str stamp = json_get_str(json_root(doc), "timestamp");
    must(str_cmp(stamp, buf_str(last)) > 0);
    buf_clear(last);
    buf_add(last, stamp);
    for (struct json_iter it = json_iter(json_root(doc)); json_next(&it);)
        must(!json_is_null(it.value));
}

/* Every way leads up, and ends. */
static void check_tree(const struct import_tree *t)
{
    for (size_t i = 0; i < t->places.n; i++) {
        const struct import_place *p = &t->places.at[i];
        must(p->node <= (int64_t)i && p->parent < (int64_t)i && p->branch < t->tails.n);
        must(p->branch == 0 || t->branches.at[p->branch - 1].parent < p->branch);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str rest = str_make(data, n), line;
    struct import_clock clock = {0};
    struct import_tree tree;
    struct open_actions open;
    autobuf last = {0};
    import_tree_init(&tree);
    open_actions_init(&open);
    while (n > 0 && str_split(&rest, '\n', &line)) {
        autoitem item;
        struct import_clock before = clock;
        uint32_t branch;
        if (!import_item_read(&item, line, &clock, NULL) || import_tree_has(&tree, &item.id)) {
            clock = before;
            continue;
        }
        check_item(&item, &last);
        must(import_tree_add(&tree, &item.id, item.parent, item.kind != EVENT_STATE_UPDATE, &branch, NULL));
        must(open_actions_note(&open, (uint32_t)tree.places.n - 1, item.kind, item.event, NULL));
    }
    check_tree(&tree);
    open_actions_deinit(&open);
    import_tree_deinit(&tree);
    return 0;
}
