/* spawn: a process of a hand with input and bounded output, for callers that want no stream. What it prints beyond the
 * bound is dropped; one that does not stop printing is ended. */
#pragma once
#include "workspace/hand.h"

#define HAND_SPAWN_PRINTED_MAX \
    (16 * 1024 * 1024) /* bytes of both outputs together; past it the process is ended */

struct hand_spawn {
    struct str input;        /* at most WIRE_CREDIT_INITIAL bytes, which a hand takes at once */
    uint64_t timeout_ms;     /* of the process; enforced by the hand */
    size_t output_max;       /* bytes kept of each output */
    struct buf out, err;     /* results: owned by the caller, also on failure */
    enum wire_status status; /* WIRE_OK, WIRE_TIMEOUT, … */
    int64_t exit_code;       /* -1: none */
};

/* For a conversation thread: OP_SPAWN with `fields` (moved in), waiting in the run's mailbox as hand_call_wait does.
 * ERR_TOO_LARGE for what does not stop printing, ERR_CANCELLED within 1 s, otherwise errors of the transport. */
bool hand_spawn_wait(struct hands *h, const struct hand_spec *hand, struct buf *fields, struct hand_spawn *s,
                     struct mailbox *mailbox, struct err **e);
/* The same from any thread, without waiting: `s` is copied, `done` (may be NULL) comes once on the loop, with the results in
 * what it gets, valid during the call. */
void hand_spawn_start(struct hands *h, const struct hand_spec *hand, struct buf *fields,
                      const struct hand_spawn *s,
                      void (*done)(void *arg, struct hand_spawn *s, const struct err *e), void *arg);
