/* sse: server-sent events out of a byte stream that arrives in any pieces. Not thread-safe. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct sse {
    struct buf line, data, event;
    size_t data_max; /* most bytes of one event; set before use */
    bool saw_cr, started;
};
void sse_deinit(struct sse *s);
/* Feeds bytes; calls `on_event(arg, event name or empty, data)` per event; it returns false to stop. An event over
 * data_max is ERR_TOO_LARGE. */
bool sse_feed(struct sse *s, struct str bytes, bool (*on_event)(void *arg, struct str event, struct str data),
              void *arg, struct err **e);
/* End of stream: an unterminated last event is delivered too (servers in the field forget the blank line). */
bool sse_end(struct sse *s, bool (*on_event)(void *arg, struct str event, struct str data), void *arg,
             struct err **e);
