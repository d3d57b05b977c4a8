/* terminal: a named terminal, its shell and the call that waits for it. The operations are in terminal.c (what a call
 * asks for and gets), the shell's life and its output in terminal_session.c. Single-threaded, never blocks.
 *
 * A terminal has at most one call at a time, and one more behind a cancelled one. It outlives its calls and its shells: a shell that ends is replaced at the
 * next command. */
#pragma once
#include "hand/call.h"
#include "hand/terminal/shell.h"

enum terminal_state {
    TERM_NONE,     /* no shell */
    TERM_IDLE,     /* the shell is at its prompt */
    TERM_STARTING, /* the trigger is typed, its start mark has not come */
    TERM_RUNNING,
    TERM_LEAVING, /* the shell's first process has ended; its last output is being read */
    TERM_ENDING,  /* the tree is being ended on request */
};

/* What ended without a call to tell it to. */
enum terminal_unseen { UNSEEN_NOTHING, UNSEEN_COMPLETED, UNSEEN_SHELL_ENDED };

struct terminal {
    struct hand *hand;
    char *name;
    enum terminal_state state;
    struct shell shell;
    struct screen *screen;
    struct vt *vt;
    uint64_t watch;
    bool fresh;       /* the shell has not shown its first start mark */
    bool idle_exit;   /* it ended while no command ran: nobody has to hear of it */
    struct buf input; /* typed, but the terminal does not take it yet */
    size_t input_at;

    /* Of the last command. */
    struct buf before;  /* output from between the last command and this one */
    struct output done; /* its output, once it is complete */
    struct output told; /* what the last call told, while it has a whole that can be asked for */
    bool shown;         /* some of its output was shown */
    enum terminal_unseen unseen;
    int exit_code; /* -1: it is running */
    int64_t pid;
    struct buf cwd, path, python, user, host;
    uint64_t output_ms; /* when anything was last read */

    /* The call, and what it waits for. */
    struct call *call;
    bool started, continued, reset, cancelled;
    bool restart; /* its command waits for the end of the last shell */
    uint64_t soft_ms;
    unsigned cancel_stage, retries, repairs;
    uint64_t soft_timer, hard_timer, cancel_timer;
    uint64_t start_timer, lost_timer, repair_timer, leave_timer;
    struct call *next; /* waits while a cancelled call ends, which nobody waits for any more */
    uint64_t next_timer;
    struct call *closer; /* an OP_TERMINAL_CLOSE that waits for the tree's end */
};

/* terminal_session.c */
struct terminal *terminal_new(struct hand *h, struct str name);
unsigned terminal_count(void);
bool terminals_busy(const struct hand *h); /* does a command run in any? It may be one of the shell's own */
void terminal_free(void *arg);             /* the shell has ended, or the hand is about to */
bool terminal_open(struct terminal *t, struct str cwd, unsigned columns, unsigned rows, struct err **e);
bool terminal_run(struct terminal *t, struct str command, struct str fields, struct err **e);
void terminal_type(struct terminal *t, struct str bytes);
void terminal_type_interrupt(struct terminal *t);           /* Ctrl-C, ahead of everything typed */
void terminal_read(struct terminal *t);                     /* what is there now */
void terminal_end(struct terminal *t, unsigned grace_ms);   /* then terminal_ended */
void terminal_take(struct terminal *t, struct output *out); /* output so far */

/* terminal.c; called by terminal_session.c */
void terminal_completed(struct terminal *t);
void terminal_shell_ended(struct terminal *t); /* by itself: state is TERM_NONE */
void terminal_ended(struct terminal *t);       /* after terminal_end: state is TERM_NONE; may free it */
void terminal_failed(struct terminal *t, const char *why);
