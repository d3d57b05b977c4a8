/* local: the runtime that starts a hand as a plain child of this process. */
#pragma once
#include "base/err.h"
#include <sys/types.h>

/* A process with its standard input and output on one end of a stream socket. */
struct started {
    pid_t pid;
    int pidfd;  /* readable when it has ended; our own */
    int stream; /* our end, non-blocking; our own */
};

/* NAME=value pairs of this process's environment that a hand may have; NULL-terminated, to be given to
 * local_environment_free. */
char **local_environment(void);
void local_environment_free(char **env);
/* posix_spawn only: no fork of a process that holds keys. Signals, mask and session are the child's own. */
bool local_start(const char *program, char *const *env, struct started *out, struct err **e);
