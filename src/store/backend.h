/* backend: what an engine behind store.h provides. store.c checks arguments and limits once for all engines, then calls
 * these; their contracts are those of the functions of the same name in store.h. An engine's own structure begins with
 * `struct store`. Private to this folder and its tests. */
#pragma once
#include "store/store.h"

struct store {
    const struct store_backend *backend;
};

struct store_backend {
    const char *name;
    void (*close)(struct store *s);
    void (*create)(struct store *s, const struct store_create *c,
                   void (*done)(void *arg, int64_t number, const struct err *e), void *arg);
    bool (*get)(struct store *s, const struct uuid *id, struct arena *arena, struct store_row *row,
                struct err **e);
    bool (*list)(struct store *s, const struct store_list *query, struct arena *arena,
                 struct store_row **rows, size_t *n, struct uuid *next, bool *more, struct err **e);
    bool (*count)(struct store *s, enum store_kind kind, int status, int64_t *count, struct err **e);
    bool (*find_place)(struct store *s, const struct str *places, size_t n, struct uuid *id, struct err **e);
    bool (*ids_with_status)(struct store *s, int status, struct uuid *ids, size_t max, size_t *n,
                            struct err **e);
    void (*claim)(struct store *s, int64_t number, struct str owner,
                  void (*done)(void *arg, uint64_t token, const struct err *e), void *arg);
    void (*renew)(struct store *s, struct str owner);
    void (*release)(struct store *s, int64_t number, uint64_t token);
    bool (*commit)(struct store *s, struct store_commit *c, struct err **e);
    bool (*read)(struct store *s, int64_t number, uint32_t from, uint32_t to, size_t max, bool whole,
                 struct arena *arena, struct store_item **items, size_t *n, struct err **e);
    bool (*read_branch)(struct store *s, int64_t number, uint32_t branch, uint32_t from, uint32_t to,
                        size_t max, struct arena *arena, struct store_item **items, size_t *n,
                        struct err **e);
    bool (*branches)(struct store *s, int64_t number, struct arena *arena, struct store_branch **branches,
                     size_t *n, struct err **e);
    bool (*search)(struct store *s, int64_t number, const struct store_filter *filter, struct arena *arena,
                   struct store_item **items, size_t *n, int64_t *next_seq, struct err **e);
    bool (*count_events)(struct store *s, int64_t number, const struct store_filter *filter, int64_t *count,
                         struct err **e);
    bool (*find)(struct store *s, int64_t number, const struct uuid *id, bool whole, struct arena *arena,
                 struct store_item *item, struct err **e);
    bool (*usage_sums)(struct store *s, int64_t number, struct arena *arena, struct store_usage_sum **sums,
                       size_t *n, struct err **e);
    bool (*usage_read)(struct store *s, int64_t number, size_t max, struct arena *arena,
                       struct store_usage **calls, size_t *n, struct err **e);
    void (*delete)(struct store *s, int64_t number, void (*done)(void *arg, const struct err *e), void *arg);
    void (*copy)(struct store *s, int64_t from, uint32_t to, const struct store_create *into,
                 void (*done)(void *arg, int64_t number, const struct err *e), void *arg);
    void (*publish)(struct store *s, int64_t number, uint64_t token, const struct uuid *id, struct str place,
                    void (*done)(void *arg, const struct err *e), void *arg);
    void (*blob_put)(struct store *s, int64_t number, const struct uuid *id, struct bytes *content,
                     void (*done)(void *arg, const struct err *e), void *arg);
    bool (*blob_get)(struct store *s, int64_t number, const struct uuid *id, struct buf *out, struct err **e);
    void (*doc_put)(struct store *s, struct str space, struct str key, struct str value,
                    void (*done)(void *arg, const struct err *e), void *arg);
    void (*doc_delete)(struct store *s, struct str space, struct str key,
                       void (*done)(void *arg, const struct err *e), void *arg);
    bool (*doc_get)(struct store *s, struct str space, struct str key, struct buf *out, struct err **e);
    bool (*doc_keys)(struct store *s, struct str space, struct arena *arena, struct str **keys, size_t *n,
                     struct err **e);
    /* Calls `done` (one of the three, the others NULL) with `e`, which it takes, as it would after a failure of its own:
     * from its own thread, never from the caller's, who may hold locks that `done` wants. */
    void (*refuse)(struct store *s, struct err *e,
                   void (*done_number)(void *arg, int64_t number, const struct err *e),
                   void (*done_token)(void *arg, uint64_t token, const struct err *e),
                   void (*done)(void *arg, const struct err *e), void *arg);
    void (*watch)(struct store *s, void (*fn)(void *arg, int64_t number, uint32_t next_seq), void *arg);
    void (*stats_get)(struct store *s, struct store_stats *out);
    /* Tests: moves the clock of the leases, and of the pause after a failure of the disk, forward. */
    void (*clock_advance)(struct store *s, uint64_t ms);
};

struct store *sqlite_open(const struct store_config *config, struct err **e);

/* Adds `s` in lower case: ASCII, Latin, Greek, Cyrillic and Armenian; other letters stay as they are. */
void fold_text(struct buf *out, struct str s);
