/* channel: a call as the stream sees it; shared by call.c (what calls send) and stream.c (what comes for them). */
#pragma once
#include "hand/process.h"

#define CHANNEL_STREAMS 3

/* A call and what it has not sent yet. The call ends with call_done; the channel when its RESULT is on its way. */
struct channel {
    struct call call;
    bool started; /* the whole CALL has come */
    bool done;    /* call_done was called: only `unsent` is left */
    bool repeats; /* waits for the running call with the same key */
    bool starved; /* wanted to send more than it was allowed to */
    uint64_t credit[CHANNEL_STREAMS];
    uint64_t input_credit; /* how much stdin the mind may still send */
    bool input_ended;
    struct buf unsent; /* whole frames */
    size_t unsent_at;
    struct channel *next, *previous; /* in the ring; NULL: not in it */
};

void channel_ring_add(struct stream_state *s, struct channel *c); /* it has something to send */
/* Tells its call that wanted more than it was allowed to that there is room now. */
void channel_feed(struct channel *c);
/* Queues the RESULT and takes the call out of the table. */
void channel_result(struct channel *c, struct str result);
struct str channel_key(const struct channel *c); /* of idempotency; empty: none */
void channel_free(struct channel *c);
