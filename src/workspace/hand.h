/* hand: the mind's end of hands. A hand is a process (here, in a sandbox or on another machine) that touches one
 * workspace; this module starts it, speaks `wire` with it and survives its death.
 *
 * Threads: all state lives on the loop thread. The functions below may be called by any thread unless they say
 * otherwise; they post to the loop. Callbacks run on the loop thread and must not block.
 * Limits: WIRE_CALLS_MAX calls per hand (more: ERR_BUSY); a RESULT of at most WIRE_MESSAGE_MAX; HANDS_MAX hands.
 * Failure: a hand that dies ends each of its calls with ERR_GONE exactly once; the next call starts a new one. What a
 * hand sends is a stranger's: a protocol error kills it. */
#pragma once
#include "base/bytes.h"
#include "base/err.h"
#include "base/mailbox.h"
#include "base/uuid.h"
#include "net/loop.h"
#include "wire/wire.h"

#define HANDS_MAX 4096

struct hands;

/* How hands are started. `program` is the path of the hand binary. */
struct hands_config {
    const char *program;    /* copied */
    uint64_t idle_ms;       /* a hand with nothing but its shells ends after this long; 0: never */
    const char *const *env; /* NAME=value pairs for what hands start, NULL-terminated, may be NULL; copied */
    const char *host;       /* as people name the machine of local hands; NULL: localhost; copied */
};

struct hands *hands_new(struct loop *loop, const struct hands_config *config, struct err **e);
/* Ends every hand (stream closed, then SIGKILL for its process group after 1 s) and calls `done` on the loop.
 * Loop thread. */
void hands_close(struct hands *h, void (*done)(void *arg), void *arg);
void hands_free(struct hands *h); /* after close's done, when the loop has ended */

/* A hand is named by 128 bits (the conversation's id, unless shared). Nothing runs until the first call. */
struct hand_spec {
    struct uuid id;
    uint64_t owner_token;
    struct str working_dir; /* where terminals start; made if missing by OP_PREPARE */
};

struct hand_call;

/* The end of a call: exactly one of `e` (transport: ERR_GONE, ERR_BUSY, ERR_TIMEOUT, ERR_CANCELLED, ERR_NOT_FOUND for a
 * hand program that is missing, ERR_TOO_LARGE for fields over WIRE_MESSAGE_MAX) and `fields` (the RESULT, valid during
 * the callback) is set. `on_done` comes exactly once, always later on the loop thread, also after hands_close. */
struct hand_callbacks {
    /* NULL: data is counted and dropped. */
    void (*on_data)(void *arg, enum wire_stream stream, struct str data);
    void (*on_end)(void *arg, enum wire_stream stream); /* may be NULL */
    void (*on_note)(void *arg, struct str fields);      /* may be NULL */
    void (*on_done)(void *arg, struct str fields, const struct err *e);
    /* Stdin may be sent again, up to `total` bytes since the call's beginning; may be NULL. A total, not what is left:
     * the caller's latest hand_send may be on its way still. WIRE_CREDIT_INITIAL may be sent at once. */
    void (*on_writable)(void *arg, uint64_t total);
};

/* A call's number; 0 is none. Numbers are never reused, so a late use is harmless. */
#define HAND_CALL_NONE 0

/* Starts `op` with the given fields (without F_OP and F_TOKEN; moved in and emptied; the hand's working directory is
 * added as F_CWD if there is none). `callbacks` must live as long as the call. `timeout_ms` (0: none) bounds the whole call
 * on the mind's side; past it the call is cancelled and ends with ERR_TIMEOUT. With `auto_credit` data received is
 * acknowledged at once; otherwise the receiver grants credit with hand_credit. */
uint64_t hand_call(struct hands *h, const struct hand_spec *hand, enum wire_op op, struct buf *fields,
                   uint64_t timeout_ms, bool auto_credit, const struct hand_callbacks *callbacks, void *arg);
/* The same under a number that was drawn before, for callers whose callbacks need it. */
uint64_t hand_call_number(struct hands *h);
void hand_call_numbered(struct hands *h, uint64_t number, const struct hand_spec *hand, enum wire_op op,
                        struct buf *fields, uint64_t timeout_ms, bool auto_credit,
                        const struct hand_callbacks *callbacks, void *arg);
void hand_credit(struct hands *h, uint64_t call, enum wire_stream stream, uint32_t bytes);
/* Standard input; moved in; buffered up to 1 MiB, past it the call is dropped. */
void hand_send(struct hands *h, uint64_t call, struct buf *data);
void hand_send_end(struct hands *h, uint64_t call);
void hand_cancel(struct hands *h, uint64_t call);
/* When the latest call to any hand was made, monotonic; 0: never. */
uint64_t hands_last_call_ns(const struct hands *h);
/* Ends the hand itself (delete of its last conversation). */
void hand_end(struct hands *h, const struct uuid *id);

/* For a conversation thread: calls and waits in the run's mailbox. On success `*result` holds the RESULT's fields and
 * `*data` (may be NULL) what came on stdout, at most `data_max` bytes (more: ERR_TOO_LARGE). A cancelled mailbox
 * cancels the call (and sends OP_TERMINAL_INTERRUPT for a terminal, which starts no hand) and gives ERR_CANCELLED within 1 s. */
bool hand_call_wait(struct hands *h, const struct hand_spec *hand, enum wire_op op, struct buf *fields,
                    uint64_t timeout_ms, struct mailbox *mailbox, struct buf *result, struct buf *data,
                    size_t data_max, struct err **e);
