/* keeper_process: what runs inside a keeper, and the messages between it and the hand (one SOCK_SEQPACKET pair each). */
#pragma once
#include "hand/keeper.h"

enum keeper_kind {
    KEEPER_STARTED, /* to the hand: `a` is the first process's id */
    KEEPER_FAILED,  /* to the hand: `a` is an errno, `b` a stage; the keeper is gone */
    KEEPER_EXITED,  /* to the hand: `a` is the first process's exit code */
    KEEPER_END,     /* to the keeper: end the tree, SIGKILL after `a` ms */
};
enum keeper_stage { STAGE_FORK, STAGE_DESCRIPTORS, STAGE_TTY, STAGE_CWD, STAGE_EXEC };
struct keeper_message {
    int32_t kind, a, b;
};

/* Between the signal that asks and the one that does not, when the hand is gone. */
#define KEEPER_ORPHAN_GRACE_MS 300
#define KEEPER_KILL_MS 2000 /* a process that SIGKILL does not end (another user's) is given up after this */
#define KEEPER_RESCAN_MS 20 /* between looks at a tree that is being killed, if no member reports its end */
#define KEEPER_NOFILE 1024  /* soft limit of descriptors of what is started: what a login shell has */

_Noreturn void keeper_process(int ctl, const struct keeper_spec *spec, const char *program, char *const *env);
