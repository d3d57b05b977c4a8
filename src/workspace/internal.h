/* internal: the mind's end of hands as hand.c (the table and the calls), process.c (one hand's process and stream) and
 * wait.c share it. Everything here is the loop thread's. */
#pragma once
#include "base/map.h"
#include "workspace/address.h"
#include "workspace/hand.h"
#include <stdatomic.h>

#define HAND_OUTPUT_MAX \
    (64u * 1024 * 1024) /* bytes that wait for one hand; past it calls are refused (ERR_BUSY) */
#define HAND_CONTROL_MAX \
    (1024u * 1024)           /* what may wait beyond it: cancels, credit; past it the hand is killed */
#define HAND_MESSAGES_MAX 20 /* complaints of one hand that go to the log */
#define HAND_INPUT_MAX (1024u * 1024)           /* stdin that waits for credit; past it the call ends */
#define HAND_ASSEMBLING_MAX (64u * 1024 * 1024) /* RESULTs of one hand that have not come whole */
#define HAND_GREETING_MS 10000                  /* for a new hand to say HELLO */
#define HAND_SILENT_PINGS 6 /* pings without any byte in between; then it is taken for dead */
#define HAND_CANCEL_MS 2000 /* a cancelled call ends after this without its RESULT, too */
#define HAND_STOP_MS 1000   /* between the end of its stream and SIGKILL */
#define HAND_STREAMS 3

struct hand;

struct hand_call {
    uint64_t number;
    uint32_t id; /* on the wire */
    struct hand *hand;
    const struct hand_callbacks *callbacks;
    void *arg;
    bool auto_credit, cancelled;
    uint64_t timer;
    uint32_t credit[HAND_STREAMS];     /* what the hand may still send */
    uint32_t owed[HAND_STREAMS];       /* taken, and not yet given back as credit */
    uint64_t input_credit, input_sent; /* bytes of stdin that may still be sent; that were */
    struct buf input;                  /* stdin that waits for credit */
    bool input_end, input_ended;
    struct buf result;                 /* a RESULT of several frames */
    struct hand_call *next, *previous; /* of the same hand */
};

struct hands {
    struct loop *loop;
    char *program, *host;
    char **env;       /* of the hand's process */
    struct buf extra; /* F_ENV fields of HELLO */
    uint64_t idle_ms;
    struct address_book *addresses;
    struct map *by_id;     /* the 16 bytes of an id → the hand that takes calls now */
    struct map_u64 *calls; /* number → struct hand_call */
    struct hand *all;      /* also those that are ending */
    size_t count;
    atomic_uint_fast64_t last_number, last_call_ns;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* process.c */
struct hand *hand_find(struct hands *hands, const struct uuid *id); /* NULL: none takes calls */
struct hand *hand_find_or_start(struct hands *hands, const struct uuid *id, uint64_t token, struct err **e);
/* Lets nobody call it any more, closes the stream and kills it when it does not end by itself. Open calls end with
 * ERR_GONE and `why`. */
void hand_stop(struct hand *h, const char *why);
struct buf *hand_output(struct hand *h); /* add frames here, then: */
void hand_flush(struct hand *h);
size_t hand_waiting(const struct hand *h); /* bytes of output that it has not taken */
uint32_t hand_next_id(struct hand *h);
void hand_link(struct hand *h, struct hand_call *c);
void hand_unlink(struct hand_call *c);
struct hand *hand_next(const struct hand *h); /* in hands->all */
struct hands *hand_hands(const struct hand *h);
size_t hand_open_calls(const struct hand *h);
struct hand_call *hand_first_call(struct hand *h);           /* any open one, or NULL */
struct hand_call *hand_call_of(struct hand *h, uint32_t id); /* by its number on the wire */
bool hand_was_issued(const struct hand *h, uint32_t id);
size_t *hand_assembling(struct hand *h);

/* hand.c: what process.c reads. A frame that breaks the rules sets `e`. */
bool hand_call_frame(struct hands *hands, struct hand *h, const struct wire_frame *f, struct err **e);
void hand_calls_gone(struct hands *hands, struct hand *h, const char *why);
