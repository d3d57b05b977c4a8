/* import_event: reading one event that another server has written. Its text is kept as it is, but for what our log asks of
 * every event: one line, no nulls, and a timestamp of fixed width that is later than the one before. *worker* */
#pragma once
#include "agent/event.h"

/* Bytes of an event that is kept whole; the rest of what the store takes is for its reduced text and for searching. */
#define IMPORT_WHOLE_MAX (20 * 1024 * 1024)
#define IMPORT_SEARCH_MAX (10 * 1024 * 1024) /* bytes of a message that can be searched for */

struct import_clock {
    int64_t us, local_us; /* of the last event */
};

struct import_item {
    struct json_doc *doc;
    const struct json_value *event;
    struct uuid id;
    struct str parent;    /* text of parent_id or STR_NONE */
    enum event_kind kind; /* 0: one that is not known here */
    enum event_source source;
    int64_t us;
    bool shortened; /* too large even for the store: only the reduced text is kept */
    struct bytes *json, *reduced;
    struct buf search;
};
/* Moves the clock on. ERR_INVALID: no event; ERR_TOO_LARGE. */
bool import_item_read(struct import_item *i, struct str text, struct import_clock *clock, struct err **e);
void import_item_deinit(struct import_item *i);
#define autoitem __attribute__((cleanup(import_item_deinit))) struct import_item
