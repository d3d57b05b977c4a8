/* tree: the processes below one, by /proc. The lists are a snapshot: whoever ends a tree repeats until nothing is left. */
#pragma once
#include "base/vec.h"
#include <stdbool.h>
#include <sys/types.h>

struct process {
    pid_t pid, parent, group;
    bool dead; /* waits to be reaped (or only its first thread has ended) */
};
struct tree {
    VEC(struct process) at;
};

#define TREE_MAX 65536 /* processes of one list */

/* All descendants of `root`, parents before children. Without /proc the list is empty. */
void tree_list(struct tree *t, pid_t root);
void tree_deinit(struct tree *t);
/* Sends a signal to all descendants of `root`; SIGKILL to their process groups too, the caller's own excepted. */
void tree_signal(pid_t root, int signal);
