/* call: one call on the hand's side, and the hand's own little loop (poll). Single-threaded: everything in the hand
 * process runs on one thread, and nothing may block; what could block (a large file, a directory walk) runs in a child
 * or in slices from a timer. An operation is a row of the table in main.c. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "wire/wire.h"

struct hand; /* the process: loop, open calls, stream to the mind */

struct call {
    struct hand *hand;
    uint32_t id;
    enum wire_op op;
    struct buf fields; /* the CALL's message, owned by the call */
    void *state;       /* the operation's */
    /* Set by the operation in its start; may be NULL. */
    void (*on_input)(struct call *c, struct str data); /* DATA for stdin; acknowledge with call_credit */
    void (*on_input_end)(struct call *c);
    void (*on_credit)(struct call *c); /* the mind takes more DATA */
    void (*on_cancel)(struct call *c); /* must lead to call_done within 1 s */
    void (*on_free)(struct call *c);   /* frees `state`; called once, after call_done */
};

struct operation {
    enum wire_op op;
    void (*start)(struct call *c);
};

/* Sends as much of `data` as credit allows; returns how many bytes that was. */
size_t call_data(struct call *c, enum wire_stream stream, struct str data);
size_t call_credit_left(const struct call *c, enum wire_stream stream);
void call_data_end(struct call *c, enum wire_stream stream);
void call_credit(struct call *c, uint32_t bytes); /* lets the mind send more stdin */
void call_note(struct call *c, struct buf *fields);
/* Ends the call: RESULT with F_STATUS and the fields (may be NULL; emptied). The call is gone afterwards. Remembered
 * under its F_KEY. */
void call_done(struct call *c, enum wire_status status, struct buf *fields);
/* RESULT with F_MESSAGE. */
void call_fail(struct call *c, enum wire_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The loop. A watch or timer is a number; 0 is none. */
typedef void (*hand_fd_fn)(void *arg, short revents);
uint64_t hand_watch(struct hand *h, int fd, short events, hand_fd_fn fn, void *arg);
void hand_watch_events(struct hand *h, uint64_t watch, short events); /* 0 pauses it */
void hand_unwatch(struct hand *h, uint64_t watch);                    /* does not close fd */
uint64_t hand_timer(struct hand *h, uint64_t ms, void (*fn)(void *arg), void *arg);
void hand_timer_cancel(struct hand *h, uint64_t timer);
uint64_t hand_now_ms(void);
/* Things with a name that outlive calls: terminals and undo histories. One table per kind. */
enum hand_kind { HAND_TERMINAL, HAND_HISTORY, HAND_KINDS };
void *hand_named(struct hand *h, enum hand_kind kind, struct str name);
void hand_name(struct hand *h, enum hand_kind kind, struct str name, void *value, void (*free)(void *value));
void hand_unname(struct hand *h, enum hand_kind kind, struct str name); /* frees it */
/* The environment that everything started here gets: an allow-list of the hand's own plus what the mind sent in HELLO.
 * NULL-terminated, borrowed. */
char *const *hand_environment(const struct hand *h);
