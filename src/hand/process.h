/* process: what the hand process consists of; private to loop.c, call.c, keeper.c, env.c and main.c. Operations see
 * call.h and keeper.h only. One thread, one loop; nothing here is shared. */
#pragma once
#include "base/map.h"
#include "base/vec.h"
#include "hand/call.h"
#include "hand/keeper.h"
#include <poll.h>

/* A watch's number is slot + 1 in the low half and the slot's generation in the high half. */
struct watch {
    hand_fd_fn fn; /* NULL: the slot is free */
    void *arg;
    int fd;
    short events;
    uint32_t generation;
};

struct timer {
    uint64_t id;
    uint64_t due_ms;
    void (*fn)(void *arg);
    void *arg;
};

struct loop_state {
    VEC(struct watch) watches;
    VEC(struct pollfd) polled;
    VEC(uint64_t) polled_ids;
    VEC(struct timer) timers;
    uint64_t last_timer;
};

/* A finished call that had a key, so that a repetition of it runs nothing. */
#define REMEMBERED_MAX 256                     /* results; older ones are forgotten */
#define REMEMBERED_RESULT_MAX (64 * 1024)      /* bytes; of a larger one only the key is kept */
#define REMEMBERED_BYTES_MAX (4 * 1024 * 1024) /* all results together; the oldest lose their text first */
#define KEY_MAX 256                            /* bytes of an idempotency key */
struct remembered {
    char *key;
    size_t key_n;
    struct buf result;
    bool kept;
};

struct channel; /* a call's other half, in call.c */

struct stream_state {
    int in_fd, out_fd;
    uint64_t in_watch, out_watch;
    bool writing, paused; /* out_watch waits for POLLOUT; in_watch is off until the mind takes what waits */
    struct wire_reader reader;
    struct buf out; /* what is being written, at most OUT_FILL and one frame */
    size_t out_at;
    struct buf control;    /* frames of call 0 and credit: before everything else */
    struct map_u64 *calls; /* number → struct channel, until its RESULT is queued */
    struct channel *ring;  /* channels with something to send, in a circle; the next one to speak */
    size_t waiting;        /* bytes in control and in all channels */
    size_t assembling;     /* bytes of CALLs whose last frame has not come */
    size_t open;           /* calls that an operation has */
    bool greeted;          /* the mind's HELLO has come */
    uint64_t token;        /* the newest owner token seen */
    uint64_t heard_ms;     /* when the mind last said something */
    uint64_t linger_ms, idle_ms;
    uint64_t idle_timer, linger_timer;
    struct remembered remembered[REMEMBERED_MAX];
    size_t remembered_next, remembered_bytes;
};

struct named {
    void *value;
    void (*free)(void *value);
};

struct hand {
    struct loop_state loop;
    struct stream_state stream;
    const struct operation *operations;
    size_t operations_n;
    struct map *named[HAND_KINDS];
    char **environment;
    struct spawn *background;    /* spawn.c: calls that are over, with output that is read and dropped */
    struct keeper *keepers;      /* all, also those whose tree is empty but that are still held */
    uint64_t strangers_until_ms; /* until then what killed keepers left is looked for */
    bool stopping;               /* the trees are being ended; no more calls */
    bool ended;                  /* hand_run returns */
    int exit_code;
};

/* loop.c */
void hand_run(struct hand *h); /* until h->ended */
void loop_state_deinit(struct hand *h);

/* names.c */
void hand_free(struct hand *h); /* after hand_run */

/* call.c */
void stream_start(struct hand *h, int in_fd, int out_fd); /* moved in; says HELLO */
void stream_flush(struct hand *h); /* writes what can be written; the loop calls it each turn */
void stream_deinit(struct hand *h);
/* Ends every tree and then the loop, within STOP_MS; `why` (may be NULL) is told to the mind. */
#define STOP_GRACE_MS 300 /* between SIGTERM and SIGKILL when the stream has closed */
#define STOP_MS 1000
void hand_stop(struct hand *h, int exit_code, const char *why);

/* idle.c */
void idle_arm(struct hand *h); /* if no call is open */
void idle_disarm(struct hand *h);
void linger_arm(struct hand *h);

/* remembered.c */
struct remembered *remembered_find(struct hand *h, struct str key); /* NULL: never heard of */
void remembered_add(struct hand *h, struct str key, struct str result);
void remembered_free(struct hand *h);

/* spawn.c */
void spawns_free(struct hand *h);

/* keeper.c */
void keepers_end(struct hand *h, unsigned grace_ms); /* all of them; the loop goes on until they are gone */
void keepers_free(struct hand *h);
bool keepers_alone(const struct hand *h); /* nothing but first processes: no work in the background */
