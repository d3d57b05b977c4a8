/* log_reader: a whole log in 0.53 terms, from its first event to the last one there was at the beginning, as a JSON list in
 * pieces. For trajectories, which are sent, and feedback, which is kept. One thread at a time. */
#pragma once
#include "api/legacy/projection.h"
#include "store/store.h"

struct log_reader {
    struct store *store;
    int64_t number;
    uint32_t next, end; /* seq */
    bool begun, over;
    struct projection projection;
};
/* Blocks on the disk. */
bool log_reader_init(struct log_reader *l, struct store *store, int64_t number, struct err **e);
void log_reader_deinit(struct log_reader *l);
/* Adds a page of the list; the first begins with `[`, the last ends with `]` and sets `over`. Blocks on the disk. */
bool log_reader_next(struct log_reader *l, struct buf *out, struct err **e);
