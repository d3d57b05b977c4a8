/* slices: a long answer that workers make in slices, one when the client has taken the one before: no job waits, and a
 * slice is all that is in memory. */
#pragma once
#include "api/app.h"

#define SLICE_BYTES (256 * 1024) /* of the answer: a slice should end when it has so many */

struct slices_maker {
    /* Adds the next slice. `*more` false: it was the last. False with `e`: the answer is cut off. *worker*, one at a time */
    bool (*make)(void *arg, struct buf *out, bool *more, struct err **e);
    void (*free)(void *arg); /* exactly once, last; any thread */
    const char *name;        /* for the log: "a trajectory" */
};
/* Begins the answer; the request is gone. Takes `arg`. */
void slices_stream(struct request *r, const char *content_type, const struct slices_maker *maker, void *arg);
