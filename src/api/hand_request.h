/* hand_request: a request that is answered by what a hand says. The request is parked, the hand that serves its path is
 * found (conversations_hand_for), one call or several, one after the other, are made there, and the last answer's
 * function replies. What a hand refuses, or a hand that dies, is answered here unless the caller wants to do it.
 *
 *     static void show(struct hand_request *h, struct str fields, struct str data) { … request_reply_json(h->request, …); }
 *     static const struct hand_answer shown = {.timeout_ms = 30000, .done = show};
 *     …
 *     struct buf fields = {0};
 *     wire_add_str(&fields, F_PATH, a->path);
 *     hand_request_one(r, a, a->path, OP_FILE_STAT, &fields, &shown);
 *
 * Threads: the functions may be called by any thread; `begin`, `done` and `refused` run on a worker, one at a time.
 * Exactly one of them must end the request or call again, as the last thing that it does with `h`. */
#pragma once
#include "api/app.h"

/* Lives in the request's arena and ends with it. */
struct hand_request {
    struct request *request;
    const void *args; /* the route's, or whatever the caller needs later (in the arena, too) */
    struct hand_spec hand;
    /* private */
    void (*missing)(struct request *r, const void *args);
    void (*begin)(struct hand_request *h);
    const struct hand_answer *answer;
    enum wire_op op;
    uint64_t call;
    struct buf fields, data; /* the call's, then the answer's */
    bool overflow;
    struct err *error;
};

/* What becomes of a call's answer; static. */
struct hand_answer {
    uint64_t timeout_ms; /* of the whole call, on our side; past it 504 */
    size_t data_max;     /* bytes of stdout that are kept; more is 413. 0: dropped */
    /* The RESULT's fields (its status is WIRE_OK) and what came on stdout; valid during the call. */
    void (*done)(struct hand_request *h, struct str fields, struct str data);
    /* Any other status, with the hand's reason; NULL: hand_request_refuse. */
    void (*refused)(struct hand_request *h, enum wire_status status, struct str message);
    /* No answer: the hand died, was too slow or cannot be started; NULL: request_reply_error. */
    void (*failed)(struct hand_request *h, const struct err *e);
};

/* Parks `r`, finds the hand for `path` (absolute; a relative one is taken from /) and calls `begin`. */
void hand_request_start(struct request *r, const void *args, struct str path,
                        void (*begin)(struct hand_request *h));
/* The same with the hand of a conversation. `missing` answers when there is none such; NULL: 404 Not Found. */
void hand_request_of(struct request *r, const struct id_args *args,
                     void (*missing)(struct request *r, const void *args),
                     void (*begin)(struct hand_request *h));
/* A call on the hand that was found; `fields` are moved in. */
void hand_request_call(struct hand_request *h, enum wire_op op, struct buf *fields,
                       const struct hand_answer *answer);
/* Both, for a request that one call answers. */
void hand_request_one(struct request *r, const void *args, struct str path, enum wire_op op,
                      struct buf *fields, const struct hand_answer *answer);

/* The HTTP status for a hand's: 400 for what the caller could have asked better, 403, 404, 413, 503, 504. */
int hand_status_http(enum wire_status status);
/* Ends the request with that status and the hand's reason as `detail`. */
void hand_request_refuse(struct hand_request *h, enum wire_status status, struct str message);
/* The absolute path that a client meant, in the request's arena: a relative one is taken from the server's working
 * directory. One captured by `{path:path}` has lost its first slash. */
struct str hand_request_path(struct request *r, struct str path, bool captured);
