/* The hand program: speaks the protocol on its standard input and output until that stream closes, then ends everything
 * it started. What is not needed at the start is not done there: a hand is up in a millisecond. */
#include "hand/env.h"
#include "hand/operations.h"
#include "hand/process.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define HIGH_FD 100         /* where the stream moves, away from the numbers that programs use */
#define NOFILE_WANTED 16384 /* four descriptors for each of WIRE_CALLS_MAX calls, and room */

static const struct operation operations[] = {
    {OP_TERMINAL, terminal_start},
    {OP_TERMINAL_CLOSE, terminal_close_start},
    {OP_TERMINAL_INTERRUPT, terminal_interrupt_start},
    {OP_TERMINAL_OUTPUT, terminal_output_start},
    {OP_SPAWN, spawn_start},
    {OP_EDIT, edit_start},
    {OP_FILE_READ, file_read_start},
    {OP_FILE_WRITE, file_write_start},
    {OP_FILE_STAT, file_stat_start},
    {OP_DIR_MAKE, dir_make_start},
    {OP_DIR_LIST, dir_list_start},
    {OP_GIT_CHANGES, git_changes_start},
    {OP_GIT_DIFF, git_diff_start},
    {OP_GIT_LOG, git_log_start},
    {OP_ARCHIVE, archive_start},
    {OP_GLOB, glob_start},
    {OP_GREP, grep_start},
    {OP_PREPARE, prepare_start},
    {OP_PATCH, patch_start},
    {OP_SKILLS, skills_start},
};

static void process_harden(void)
{
#if !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__) /* the leak check traces its own process */
    prctl(PR_SET_DUMPABLE, 0); /* what the agent starts runs as the same user and must not read or steer us */
#endif
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* for the tree of a keeper that was killed */
    sigset_t none;
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN); /* the end of the stream is what ends us, trees first */
    signal(SIGINT, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < NOFILE_WANTED) {
        limit.rlim_cur = limit.rlim_max < NOFILE_WANTED ? limit.rlim_max : NOFILE_WANTED;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* The stream leaves 0 and 1, so that nothing that is started or prints can speak on it. */
static bool stream_take(int *in, int *out)
{
    *in = fcntl(0, F_DUPFD_CLOEXEC, HIGH_FD);
    *out = fcntl(1, F_DUPFD_CLOEXEC, HIGH_FD);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (*in < 0 || *out < 0)
        return false;
    for (int fd = 0; fd < 2; fd++)
        if (null >= 0)
            dup2(null, fd);
        else
            close(fd);
    if (null < 0) { /* an empty root: something harmless keeps the two numbers taken */
        null = open("/", O_PATH);
        if (null != 0 || dup(0) != 1)
            return false;
    } else if (null > 2) {
        close(null);
    }
    return fcntl(*in, F_SETFL, fcntl(*in, F_GETFL) | O_NONBLOCK) == 0 &&
           fcntl(*out, F_SETFL, fcntl(*out, F_GETFL) | O_NONBLOCK) == 0;
}

int main(void)
{
    int in, out;
    process_harden();
    if (!stream_take(&in, &out)) {
        fputs("hand: speaks a protocol on standard input and output; they are not open\n", stderr);
        return 2;
    }
    struct hand *h = xcalloc(1, sizeof(*h));
    h->operations = operations;
    h->operations_n = ARRAY_LEN(operations);
    stream_start(h, in, out);
    hand_run(h);
    int exit_code = h->exit_code;
    hand_free(h);
    return exit_code;
}
