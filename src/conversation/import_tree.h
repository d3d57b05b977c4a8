/* import_tree: where each event of a foreign log stands. There an event names its parent, or follows the one before it;
 * here it stands on a branch, which leaves another one behind some event. One thread. */
#pragma once
#include "base/map.h"
#include "base/vec.h"
#include "store/store.h"

#define IMPORT_BRANCHES_MAX 10000 /* nobody goes back so often; reading a path looks through all of them */
#define IMPORT_ROOT "__root__"    /* marker: the parent of a first event that is not the first of the log */

struct import_place { /* of one event, at its seq */
    int64_t node;     /* itself, or what it is hung up on when it is no node; -1: nothing */
    int64_t parent;   /* of the node; -1: it is a root */
    uint32_t branch;  /* of the node */
};
struct import_tree {
    struct map *ids; /* id → seq + 1 */
    VEC(struct import_place) places;
    VEC(int64_t) tails; /* last node of each branch; -1: none */
    VEC(struct store_branch) branches;
    unsigned orphans; /* events whose parent is not there: they follow the one before them */
};

void import_tree_init(struct import_tree *t);
void import_tree_deinit(struct import_tree *t);
bool import_tree_has(const struct import_tree *t, const struct uuid *id);
/* Seq of an event; -1 for a stranger. */
int64_t import_tree_find(const struct import_tree *t, const struct uuid *id);
/* The next event. `parent`: its text; STR_NONE: the event before it. A new branch is put behind `branches`. Answers the
 * branch. ERR_TOO_LARGE past IMPORT_BRANCHES_MAX. */
bool import_tree_add(struct import_tree *t, const struct uuid *id, struct str parent, bool is_node,
                     uint32_t *branch, struct err **e);
/* The branch on which what follows this node will stand; -1: before everything. It may be a new one. */
bool import_tree_grow(struct import_tree *t, int64_t node, uint32_t *branch, struct err **e);
