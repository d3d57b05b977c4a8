/* bash: shell commands that clients run beside conversations. Nothing of them is shown to an agent.
 *
 * What happens is a stream of events in the store (a row of kind STORE_STREAM, made at first use): a BashCommand, then
 * BashOutputs with a common `order`, the last of which has the exit code. An event is serialised once and durable before
 * anybody sees it. A command runs as OP_SPAWN in the hand that serves its directory; output that cannot be stored as
 * fast as it comes stops the credit, so a flood costs no memory. Commands that a killed server left without a last output
 * get one when the stream is next used, before that use is answered.
 *
 * Threads: all state lives on the loop; functions may be called by any thread unless they say otherwise, and callbacks
 * run on the loop and must not block. Those marked *worker* read the disk.
 * Failure: what cannot be stored is refused (a start) or kept and tried again (an output). */
#pragma once
#include "base/bytes.h"
#include "base/err.h"
#include "base/pool.h"
#include "base/uuid.h"
#include "net/loop.h"
#include "net/server.h"
#include "store/store.h"
#include "workspace/hand.h"

#define BASH_COMMANDS_MAX 128 /* running at once; past it ERR_TOO_MANY. About three processes each */
#define BASH_COMMAND_BYTES (128 * 1024 - 1) /* of a command: the kernel's bound for one argument */
#define BASH_CWD_BYTES 4095
#define BASH_TIMEOUT_MAX_S (30 * 24 * 3600)
#define BASH_OUTPUT_MAX \
    (256 * 1024 * 1024) /* bytes of one command's output that are stored; the rest is dropped */
/* Bytes of an event's JSON: Python's WebSocket client closes at 1 MiB. So a piece of output is shorter than upstream's
 * 1 Mi characters: its text has at most 850 KiB as it stands in JSON, escapes included. */
#define BASH_EVENT_MAX (900 * 1000)
#define BASH_FOLLOWERS_MAX 10000

/* Numbers in the store. */
enum bash_kind { BASH_COMMAND = 1, BASH_OUTPUT = 2 };

struct bash;

struct bash_config {
    struct loop *loop;
    struct pool *pool;
    struct server *server; /* for sockets */
    struct store *store;
    struct hands *hands;
    /* Which hand serves a path; see conversations_hand_for. */
    void (*hand_for)(void *context, struct str path,
                     void (*done)(void *arg, const struct hand_spec *hand, const struct err *e), void *arg);
    void *hand_context;
    struct str working_dir; /* absolute: of commands without one; copied */
};

struct bash *bash_new(const struct bash_config *config);
/* Ends every command, stores their last outputs, and calls `done` on the loop. Nothing can be started afterwards. Loop. */
void bash_close(struct bash *b, void (*done)(void *arg), void *arg);
void bash_free(struct bash *b); /* after the loop has ended */

/* ---- the stream ---- */

typedef void (*bash_done)(void *arg, const struct err *e);

/* Whether the functions that read may be called now; otherwise open it first. A clear closes it for a moment. */
bool bash_is_open(struct bash *b);
void bash_open(struct bash *b, bash_done done, void *arg);

struct bash_query {
    int kind;         /* enum bash_kind; 0: any */
    bool has_command; /* only outputs of this command */
    struct uuid command;
    int64_t since_us, until_us; /* [since, until); INT64_MIN and INT64_MAX: open */
    bool has_order;             /* only outputs with a larger order (and commands) */
    int64_t order;
    bool descending;
    bool has_page;
    struct uuid page; /* the first event of the page */
    size_t limit;     /* ≤ STORE_LIST_MAX */
    size_t bytes_max; /* a page ends early past this much text */
};
struct bash_page {
    struct store_item *items;
    size_t n;
    bool more;
    struct uuid next;
};
/* ERR_NOT_FOUND: there is no event that `page` names. *worker* */
bool bash_search(struct bash *b, const struct bash_query *query, struct arena *arena, struct bash_page *page,
                 struct err **e);
/* One event's text. ERR_NOT_FOUND. *worker* */
bool bash_get(struct bash *b, const struct uuid *id, struct arena *arena, struct str *json, struct err **e);
/* Forgets every event; commands that run go on, and what they still say is stored. Counts the events. */
void bash_clear(struct bash *b, void (*done)(void *arg, int64_t count, const struct err *e), void *arg);

/* ---- commands ---- */

struct bash_request {
    struct str command; /* for /bin/sh -c; at most BASH_COMMAND_BYTES */
    struct str cwd;     /* STR_NONE: the server's; a relative one is below that */
    int64_t timeout_s;  /* 1 … BASH_TIMEOUT_MAX_S */
};
/* Texts are borrowed and valid during the call. */
struct bash_callbacks {
    /* Exactly once: the BashCommand is stored, or why it is not. May be NULL. */
    void (*started)(void *arg, struct bytes *command, const struct err *e);
    /* Exactly once after a start that went well: the last BashOutput. May be NULL. */
    void (*ended)(void *arg, struct bytes *output, const struct err *e);
};
/* The request is copied before this returns. */
void bash_start(struct bash *b, const struct bash_request *request, const struct bash_callbacks *callbacks,
                void *arg);
/* Ends one, with everything it has started; its last output says so. `done` on the loop; not found: it does not run. */
void bash_stop(struct bash *b, const struct uuid *id, void (*done)(void *arg, bool found), void *arg);

/* ---- followers: a cursor on a socket. Loop thread only, while the stream is open ---- */

struct bash_follower;
/* Sends every event from now on, or from the first. NULL when BASH_FOLLOWERS_MAX is reached. */
struct bash_follower *bash_follow(struct bash *b, uint64_t socket, bool from_start);
void bash_follower_room(struct bash_follower *f);  /* the socket can take more */
void bash_follower_close(struct bash_follower *f); /* the socket has gone */
