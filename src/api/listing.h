/* listing: what a hand says of a directory (OP_DIR_LIST), in the order in which people read names. */
#pragma once
#include "base/vec.h"
#include "workspace/hand.h"

struct entry {
    struct str name; /* not empty; in the answer's fields */
    char *key;       /* lower-case, ASCII letters only */
    bool is_dir;
};
typedef VEC(struct entry) entry_list;
void entry_list_deinit(entry_list *l);
#define autoentries __attribute__((cleanup(entry_list_deinit))) entry_list

char *entry_key(struct str name);
/* Sorted without regard to case. */
void listing_read(struct str fields, entry_list *out);
