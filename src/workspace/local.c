#include "workspace/local.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/vec.h"
#include "wire/environment.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

char **local_environment(void)
{
    VEC(char *) list = {0};
    for (char **p = environ; p && *p; p++)
        if (wire_environment_allows(str_from(*p)))
            vec_push(&list, str_dup(str_from(*p)));
    vec_push(&list, NULL);
    return list.at;
}

void local_environment_free(char **env)
{
    for (char **p = env; p && *p; p++)
        free(*p);
    free(env);
}

static int spawn(const char *program, char *const *env, int stream, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, stream, 0);
    posix_spawn_file_actions_adddup2(&actions, stream, 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY,
                                     0); /* it tells its troubles on the stream */
    /* Libraries open descriptors too, and not all of theirs are closed by exec: libcurl's connections are not. */
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    char name[] = "hand";
    char *argv[] = {name, NULL};
    int error = posix_spawn(pid, program, &actions, &attributes, argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

bool local_start(const char *program, char *const *env, struct started *out, struct err **e)
{
    int pair[2];
    pid_t pid;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(e, ERR_GONE, "a hand cannot be started");
    autofd int ours = pair[0];
    int error = spawn(program, env, pair[1], &pid);
    close(pair[1]);
    errno = error;
    if (error)
        return err_errno(e, ERR_GONE, "a hand cannot be started (%s)", program);
    autofd int pidfd = (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */
    if (pidfd < 0 || !fd_set_nonblocking(ours, true)) {
        err_errno(e, ERR_GONE, "a hand cannot be watched");
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return false;
    }
    *out = (struct started){pid, steal_fd(pidfd), steal_fd(ours)};
    return true;
}
