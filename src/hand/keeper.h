/* keeper: a fork of the hand that stands between it and one process tree (a terminal's shell, a spawned command). It is
 * a sub-reaper and holds the process group, so that the whole tree can be ended alone, `setsid` and double fork
 * included, within 1 s; and it ends the tree by itself when the hand dies (its pipe closes) however the hand dies. */
#pragma once
#include "hand/call.h"
#include <sys/types.h>

struct keeper;

struct keeper_spec {
    char *const *argv;
    char *const *env; /* NULL: hand_environment() */
    const char *cwd;  /* NULL: the hand's */
    int fds[3];       /* become 0, 1, 2 of the process; borrowed */
    /* A PTY slave to make the controlling terminal of a new session; NULL: setsid without one. */
    const char *tty;
    /* Instead of a program: a function of ours that the first process runs, with nothing of the hand's open but 0, 1 and
     * 2; what it returns is the exit code. `argv[0]` names it. */
    int (*run)(void *arg);
    void *run_arg;
};

/* Starts it. `on_exit` comes once, on the loop, when the *first* process has ended (exit code, or -signal); its tree may
 * still have members (background processes), which live until keeper_end. */
struct keeper *keeper_start(struct hand *h, const struct keeper_spec *spec,
                            void (*on_exit)(void *arg, int exit_code), void *arg, struct err **e);
pid_t keeper_pid(const struct keeper *k); /* of the first process */
/* Ends the whole tree: SIGTERM (SIGHUP for a terminal) to all, SIGKILL after `grace_ms`; then `done` (may be NULL) on
 * the loop. The keeper is gone afterwards; on_exit does not come any more. */
void keeper_end(struct keeper *k, unsigned grace_ms, void (*done)(void *arg), void *arg);
/* Gives the keeper up without ending its tree, which lives until it is empty or the hand ends. on_exit does not come any
 * more. */
void keeper_release(struct keeper *k);
bool keeper_alone(const struct keeper *k); /* nothing but the first process lives in the tree */
