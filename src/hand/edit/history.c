/* Undo: what files were before. One table of histories per hand and name; all of a name's together are bounded. */
#include "base/cleanup.h"
#include "base/map.h"
#include "base/vec.h"
#include "hand/edit/edit.h"

#define FILE_ENTRIES 10                          /* of one file */
#define HISTORY_BYTES ((size_t)32 * 1024 * 1024) /* of one name; the oldest entries go first */
#define HISTORY_FILES 4096

struct entry {
    char *path;
    size_t path_n;
    struct buf content;
};

/* Newest last. */
struct history {
    VEC(struct entry) entries;
    size_t bytes;
};

static void entry_remove(struct history *h, size_t i)
{
    h->bytes -= h->entries.at[i].content.n;
    free(h->entries.at[i].path);
    buf_deinit(&h->entries.at[i].content);
    vec_remove(&h->entries, i);
}

static void history_free(void *value)
{
    struct history *h = value;
    while (h->entries.n)
        entry_remove(h, h->entries.n - 1);
    vec_deinit(&h->entries);
    free(h);
}

static bool entry_is(const struct history *h, size_t i, struct str path)
{
    return str_eq(str_make(h->entries.at[i].path, h->entries.at[i].path_n), path);
}

static void history_bound(struct history *h, struct str path)
{
    size_t of_file = 0;
    for (size_t i = h->entries.n; i-- > 0;)
        if (entry_is(h, i, path) && ++of_file > FILE_ENTRIES)
            entry_remove(h, i);
    while (h->entries.n > 0 && (h->bytes > HISTORY_BYTES || h->entries.n > HISTORY_FILES))
        entry_remove(h, 0);
}

void history_push(struct hand *hand, struct str name, struct str path, struct str content)
{
    struct history *h = hand_named(hand, HAND_HISTORY, name);
    if (!h) {
        h = xcalloc(1, sizeof(*h));
        hand_name(hand, HAND_HISTORY, name, h, history_free);
    }
    struct entry entry = {.path = str_dup(path), .path_n = path.n};
    buf_add(&entry.content, content);
    vec_push(&h->entries, entry);
    h->bytes += content.n;
    history_bound(h, path);
}

bool history_pop(struct hand *hand, struct str name, struct str path, struct buf *content)
{
    struct history *h = hand_named(hand, HAND_HISTORY, name);
    for (size_t i = h ? h->entries.n : 0; i-- > 0;)
        if (entry_is(h, i, path)) {
            buf_add(content, buf_str(&h->entries.at[i].content));
            entry_remove(h, i);
            return true;
        }
    return false;
}
