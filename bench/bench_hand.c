/* bench_hand start HAND N: from starting the hand to its HELLO, N times; bench_hand shell N: `true` in a bash on a PTY, from
 * typing it to the next prompt, N times. Prints the median in milliseconds. The shell is what a terminal step is measured
 * against, so it has no more to do than that: no start-up files, no line editor, no echo. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "wire/wire.h"
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define RUNS_MAX 100000
#define WAIT_MS 10000
#define PROMPT "\x02ready\x03"

static void die(const char *what)
{
    fprintf(stderr, "bench_hand: %s\n", what);
    exit(1);
}

/* Adds what comes next to `in`. */
static void input_wait(int fd, struct buf *in)
{
    struct pollfd polled = {fd, POLLIN, 0};
    if (poll(&polled, 1, WAIT_MS) <= 0)
        die("nothing came");
    char data[4096];
    ssize_t n = read(fd, data, sizeof(data));
    if (n <= 0)
        die("the other side ended");
    buf_add(in, str_make(data, (size_t)n));
}

static void output(int fd, struct str bytes)
{
    if (write(fd, bytes.p, bytes.n) != (ssize_t)bytes.n)
        die("cannot write");
}

/* Nanoseconds until HELLO; then the hand is ended. */
static uint64_t hand_once(char *path)
{
    uint64_t begin = clock_mono_ns();
    int pair[2];
    pid_t pid;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        die("no socket pair");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 0);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 1);
    char *argv[] = {path, NULL};
    if (posix_spawn(&pid, path, &actions, NULL, argv, environ) != 0)
        die("the hand cannot be started");
    posix_spawn_file_actions_destroy(&actions);
    close(pair[1]);
    autobuf hello = {0}, out = {0}, in = {0};
    wire_add_int(&hello, F_VERSION_MIN, WIRE_VERSION_MIN);
    wire_add_int(&hello, F_VERSION_MAX, WIRE_VERSION_MAX);
    wire_add_int(&hello, F_TOKEN, 1);
    buf_add(&out, str_make(WIRE_MAGIC, WIRE_MAGIC_LEN));
    wire_add_message(&out, WIRE_HELLO, 0, buf_str(&hello));
    output(pair[0], buf_str(&out));
    while (in.n <= WIRE_MAGIC_LEN) /* its HELLO is one write */
        input_wait(pair[0], &in);
    uint64_t took = clock_mono_ns() - begin;
    shutdown(pair[0], SHUT_WR);
    close(pair[0]);
    waitpid(pid, NULL, 0);
    return took;
}

static int shell_start(void)
{
    int fd = -1;
    struct termios raw = {.c_cflag = CS8 | CREAD | CLOCAL, .c_cc[VMIN] = 1};
    pid_t pid = forkpty(&fd, NULL, &raw, NULL);
    if (pid < 0)
        die("no terminal");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("PS1", PROMPT, 1);
        execlp("bash", "bash", "--norc", "--noprofile", "--noediting", "-i", (char *)NULL);
        _exit(127);
    }
    return fd;
}

static void prompt_wait(int fd)
{
    autobuf in = {0};
    while (str_find(buf_str(&in), STR(PROMPT)) < 0)
        input_wait(fd, &in);
}

static uint64_t command_once(int fd)
{
    uint64_t begin = clock_mono_ns();
    output(fd, STR("true\n"));
    prompt_wait(fd);
    return clock_mono_ns() - begin;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    bool start = argc == 4 && strcmp(argv[1], "start") == 0,
         shell = argc == 3 && strcmp(argv[1], "shell") == 0;
    uint64_t n = 0;
    if ((!start && !shell) || !str_to_u64(str_from(argv[argc - 1]), &n) || n < 1 || n > RUNS_MAX) {
        fprintf(stderr, "usage: bench_hand start HAND N | shell N\n");
        return 2;
    }
    clock_init();
    uint64_t *took = xcalloc(n, sizeof(*took));
    int fd = shell ? shell_start() : -1;
    if (shell)
        prompt_wait(fd);
    for (uint64_t i = 0; i < n; i++)
        took[i] = start ? hand_once(argv[2]) : command_once(fd);
    qsort(took, n, sizeof(*took), compare_u64);
    uint64_t median = took[n / 2];
    printf("%.3f\n", (double)median / (double)NS_PER_MS);
    free(took);
    return 0;
}
