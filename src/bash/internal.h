/* internal: what the files of bash/ share. Everything here is the loop thread's unless it says otherwise.
 *
 *   service.c  new, close, free
 *   open.c     finding or making the stream, claiming it, ending what a dead server left; clearing it
 *   queue.c    events that wait for the disk: one commit under way
 *   command.c  a command from its start to its last output
 *   event.c    the JSON of events, and text on its way into it
 *   read.c     pages and single events (workers)
 *   follow.c   cursors of sockets */
#pragma once
#include "bash/bash.h"
#include "base/vec.h"
#include <stdatomic.h>

#define STREAM_TITLE "bash"   /* of the stream's row: its id is random, so nobody can name it from outside */
#define TEXT_MAX (850 * 1024) /* escaped text of both streams in one output; BASH_EVENT_MAX says why */
#define COMMAND_QUEUED_MAX (1024 * 1024)  /* bytes of one command that wait for the disk; past it no credit */
#define QUEUED_MAX (16 * 1024 * 1024)     /* the same of all commands */
#define BATCH_BYTES_MAX (4 * 1024 * 1024) /* of one commit; a single event may be larger */
#define BATCH_EVENTS_MAX 256
#define RETRY_MS 1000 /* between attempts while the store refuses */

/* ---- text (event.c) ---- */

/* One stream's output that no event has yet, as it will stand in JSON. */
struct text {
    struct buf escaped;
    char held[4]; /* the beginning of a character whose rest has not come */
    unsigned held_n;
};
/* Adds to `piece` the JSON text of what was held and `data`, bad UTF-8 replaced, and holds back an unfinished character.
 * At most six times as long as `data`. */
void text_piece(struct text *t, struct str data, struct buf *piece);
void text_end(struct text *t, struct buf *piece); /* what is still held */
void text_deinit(struct text *t);

/* ---- events that wait (queue.c) ---- */

struct command;

struct entry {
    struct entry *next;
    struct uuid id, command_id;
    enum bash_kind kind;
    int64_t time_us, order;
    bool final;
    struct command *command; /* NULL: of one that a dead server left */
    struct bytes *json;
    char command_hex[UUID_HEX_LEN + 1], side[24];
};

/* ---- the service ---- */

enum stage { STAGE_CLOSED, STAGE_OPENING, STAGE_OPEN };

struct waiter { /* of an open or a clear */
    struct waiter *next;
    bash_done done;
    void (*cleared)(void *arg, int64_t count, const struct err *e);
    void *arg;
};

struct bash {
    struct bash_config config;
    char owner[UUID_HEX_LEN + 1]; /* names this process in claims */
    enum stage stage;
    struct waiter *opens, *clears;
    bool clearing;
    int64_t stream;               /* number of the row */
    atomic_int_fast64_t readable; /* the same for workers; 0: open it first */
    uint64_t token;
    uint32_t next_seq; /* committed */
    int64_t last_us;   /* timestamp of the latest event made */
    size_t repairs;    /* last outputs of a dead server's commands that are not stored yet */

    /* queue */
    struct entry *first, **last;
    size_t queued; /* bytes, with the batch's */
    bool committing;
    struct entry *batch;
    struct store_commit commit;
    struct store_event *events;
    struct buf state;
    enum store_result result;
    struct err *error; /* of the commit */
    uint64_t retry;    /* timer */
    bool refusing;     /* nothing could be stored since the log was told so */

    struct command *commands;
    size_t command_count;
    struct bash_follower *followers;
    size_t follower_count;

    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct command {
    struct bash *bash;
    struct command *next, **link;
    struct uuid id;
    char hex[UUID_HEX_LEN + 1];
    char *text, *cwd; /* cwd: as given, or NULL */
    int64_t timeout_s;
    const struct bash_callbacks *callbacks; /* NULL: nobody is to be told any more */
    void *arg;
    bool logged;        /* its BashCommand is stored, and its last output is not */
    bool stopped;       /* by bash_stop: its last output says so */
    uint64_t call;      /* HAND_CALL_NONE: not with a hand */
    struct text out[2]; /* stdout, stderr */
    int64_t order;      /* of the next output */
    size_t queued;      /* bytes that wait for the disk */
    uint32_t owed[2];   /* bytes taken without giving credit back */
    uint64_t total, dropped;
};

/* service.c */
void close_check(struct bash *b);

/* open.c */
void open_begin(struct bash *b);
void open_settle(struct bash *b,
                 const struct err *e); /* tells those who wait, if it is open and repaired or `e` */
void clear_begin(struct bash *b);      /* if one is wanted and nothing is being committed */

/* queue.c */
/* Takes the entry's JSON reference; stamps nothing. */
void queue_add(struct bash *b, struct entry *entry);
void queue_pump(struct bash *b);
/* Tells the starts that wait for it; outputs stay and are tried again, except at the end of the service. */
void queue_refuse(struct bash *b, const struct err *e);
/* The row's state: which commands have no last output in the log. */
void queue_state(const struct bash *b, struct buf *out);
bool queue_has_repair(const struct bash *b, const struct uuid *command);

/* command.c */
void command_stored(struct entry *entry); /* one of its events is durable */
/* One of its events cannot be stored. False: the event is to be dropped. */
bool command_refused(struct entry *entry, const struct err *e);
void commands_credit(struct bash *b);
void command_cancel(struct command *c);
bool command_is_live(const struct bash *b, const struct uuid *id);

/* event.c */
int64_t stamp_next(struct bash *b);
struct entry *event_command(struct bash *b, const struct command *c);
/* `out` and `err`: escaped, empty ones become null. `exit_code` NULL: null, more follows. */
struct entry *event_output(struct bash *b, const struct uuid *command, int64_t order, const int *exit_code,
                           struct str out, struct str err);
void entry_free(struct entry *entry);

/* follow.c */
/* An event that has just been stored: those that wait for it need not read it. */
void followers_tell(struct bash *b, uint32_t seq, struct bytes *json);
void followers_wake(struct bash *b);
