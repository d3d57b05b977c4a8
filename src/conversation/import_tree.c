#include "conversation/import_tree.h"
#include "base/cleanup.h"

void import_tree_init(struct import_tree *t)
{
    *t = (struct import_tree){.ids = map_new()};
    vec_push(&t->tails, -1);
}

void import_tree_deinit(struct import_tree *t)
{
    map_free(t->ids);
    vec_deinit(&t->places);
    vec_deinit(&t->tails);
    vec_deinit(&t->branches);
}

static struct str id_key(const struct uuid *id)
{
    return str_make(id->b, sizeof(id->b));
}

int64_t import_tree_find(const struct import_tree *t, const struct uuid *id)
{
    return (int64_t)(intptr_t)map_get(t->ids, id_key(id)) - 1;
}

bool import_tree_has(const struct import_tree *t, const struct uuid *id)
{
    return import_tree_find(t, id) >= 0;
}

static int64_t parent_node(struct import_tree *t, struct str parent)
{
    int64_t before = t->places.n > 0 ? t->places.at[t->places.n - 1].node : -1;
    struct uuid id;
    if (str_is(parent, IMPORT_ROOT))
        return -1;
    if (!parent.p)
        return before;
    int64_t seq = uuid_parse(parent, &id) ? import_tree_find(t, &id) : -1;
    if (seq >= 0)
        return t->places.at[seq].node;
    t->orphans++;
    return before;
}

bool import_tree_grow(struct import_tree *t, int64_t node, uint32_t *branch, struct err **e)
{
    *branch = node >= 0 ? t->places.at[node].branch : 0;
    if (t->tails.at[*branch] == node)
        return true;
    if (t->branches.n == IMPORT_BRANCHES_MAX)
        return err_set(e, ERR_TOO_LARGE, "more than %d branches", IMPORT_BRANCHES_MAX);
    struct store_branch made = {.branch = (uint32_t)t->branches.n + 1, .parent = *branch, .at_seq = node};
    vec_push(&t->branches, made);
    vec_push(&t->tails, -1);
    *branch = made.branch;
    return true;
}

bool import_tree_add(struct import_tree *t, const struct uuid *id, struct str parent, bool is_node,
                     uint32_t *branch, struct err **e)
{
    int64_t seq = (int64_t)t->places.n, above = parent_node(t, parent);
    struct import_place place = {.node = above, .parent = -1};
    if (is_node) {
        if (!import_tree_grow(t, above, branch, e))
            return false;
        place = (struct import_place){.node = seq, .parent = above, .branch = *branch};
        t->tails.at[*branch] = seq;
    } else {
        *branch = above >= 0 ? t->places.at[above].branch : 0;
        place.branch = *branch;
    }
    map_put(t->ids, id_key(id),
            (void *)(intptr_t)(seq + 1)); // NOLINT(performance-no-int-to-ptr): the value is a number
    vec_push(&t->places, place);
    return true;
}
