#include "hand/keeper_process.h"
#include "hand/tree.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct keeper_state {
    int ctl, chld;
    bool tty;
    pid_t first;
    bool first_ended;
    bool ending, killing;
    uint64_t kill_ms, give_up_ms; /* deadlines of the two */
};

static void send_message(int ctl, enum keeper_kind kind, int a, int b)
{
    struct keeper_message m = {(int32_t)kind, a, b};
    while (send(ctl, &m, sizeof(m), MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

/* --- descriptors ---------------------------------------------------------------------------- */

static void close_range_of(unsigned from, unsigned to)
{
    if (from > to || syscall(SYS_close_range, from, to, 0) == 0)
        return;
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    for (unsigned fd = from; fd <= to && fd < limit.rlim_cur; fd++)
        close((int)fd);
}

/* Everything of the hand's but what is named: above all the other keepers' ends and the stream to the mind, whose
 * closing must be seen when the hand dies. */
static void close_others(int *keep, size_t n)
{
    unsigned from = 3;
    for (;;) {
        int next = -1;
        for (size_t i = 0; i < n; i++)
            if (keep[i] >= (int)from && (next < 0 || keep[i] < next))
                next = keep[i];
        if (next < 0)
            break;
        close_range_of(from, (unsigned)next - 1);
        from = (unsigned)next + 1;
    }
    close_range_of(from, ~0u);
}

/* --- the first process ---------------------------------------------------------------------- */

static void signals_reset(void)
{
    /* By the system call: the library's own leaves out the two that threads use, and those are inherited too. */
    static const unsigned long default_action[8];
    for (int s = 1; s < NSIG; s++)
        syscall(SYS_rt_sigaction, s, default_action, NULL, NSIG / 8);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool descriptors_set(const struct keeper_spec *spec, enum keeper_stage *stage)
{
    int fds[3], other = -1;
    *stage = STAGE_TTY;
    if (spec->tty) {
        other = open(spec->tty, O_RDWR | O_CLOEXEC); /* becomes the controlling terminal of our new session */
        if (other < 0 || ioctl(other, TIOCSCTTY, 0) < 0)
            return false;
    }
    *stage = STAGE_DESCRIPTORS;
    if (other < 0 && (other = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0)
        other = open("/", O_PATH | O_CLOEXEC); /* an empty root: something harmless keeps the numbers taken */
    for (int i = 0; i < 3; i++) /* above 2 first, so that none is overwritten before it is used */
        if ((fds[i] = fcntl(spec->fds[i] >= 0 ? spec->fds[i] : other, F_DUPFD_CLOEXEC, 3)) < 0)
            return false;
    for (int i = 0; i < 3; i++)
        if (dup2(fds[i], i) < 0)
            return false;
    return true;
}

/* Closing `report` says that it has begun. */
static _Noreturn void run_function(const struct keeper_spec *spec, int report)
{
    close(report);
    close_others(NULL, 0);
    prctl(PR_SET_NAME, "hand-job");
    _exit(spec->run(spec->run_arg));
}

static _Noreturn void first_process(const struct keeper_spec *spec, const char *program, char *const *env,
                                    int report)
{
    int32_t failure[2];
    enum keeper_stage stage;
    setsid();
    if (descriptors_set(spec, &stage)) {
        stage = STAGE_CWD;
        if (!spec->cwd || chdir(spec->cwd) == 0) {
            struct rlimit limit;
            if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                limit.rlim_cur = limit.rlim_max < KEEPER_NOFILE ? limit.rlim_max : KEEPER_NOFILE;
                setrlimit(RLIMIT_NOFILE, &limit);
            }
            signals_reset();
            stage = STAGE_EXEC;
            if (spec->run)
                run_function(spec, report);
            execve(program, spec->argv, env);
        }
    }
    failure[0] = errno;
    failure[1] = (int32_t)stage;
    signal(SIGPIPE, SIG_IGN);
    (void)!write(report, failure, sizeof(failure));
    _exit(127);
}

/* Forks it and waits until it is another program. */
static void first_start(struct keeper_state *k, const struct keeper_spec *spec, const char *program,
                        char *const *env)
{
    int report[2];
    int32_t failure[2] = {0, STAGE_FORK};
    if (pipe2(report, O_CLOEXEC) == 0) {
        k->first = fork();
        if (k->first == 0)
            first_process(spec, program, env, report[1]);
        failure[0] = k->first < 0 ? errno : 0;
        close(report[1]);
        while (k->first > 0 && read(report[0], failure, sizeof(failure)) < 0 && errno == EINTR)
            ;
        close(report[0]);
    } else {
        failure[0] = errno;
    }
    for (int i = 0; i < 3; i++)
        if (spec->fds[i] > 2)
            close(spec->fds[i]);
    if (failure[0]) {
        while (k->first > 0 && waitpid(k->first, NULL, 0) < 0 && errno == EINTR)
            ;
        send_message(k->ctl, KEEPER_FAILED, failure[0], failure[1]);
        _exit(1);
    }
    send_message(k->ctl, KEEPER_STARTED, k->first, 0);
}

/* --- keeping -------------------------------------------------------------------------------- */

/* True when the tree is empty. */
static bool reap(struct keeper_state *k)
{
    struct signalfd_siginfo info;
    while (read(k->chld, &info, sizeof(info)) > 0)
        ;
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid == 0)
            return false;
        if (pid < 0)
            return errno == ECHILD;
        if (pid == k->first && (WIFEXITED(status) || WIFSIGNALED(status))) {
            k->first_ended = true;
            send_message(k->ctl, KEEPER_EXITED, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status),
                         0);
        }
    }
}

static void tree_end(struct keeper_state *k, unsigned grace_ms)
{
    uint64_t at = hand_now_ms() + grace_ms;
    if (!k->ending && grace_ms > 0)
        tree_signal(getpid(), k->tty ? SIGHUP : SIGTERM);
    if (!k->ending || at < k->kill_ms)
        k->kill_ms = at;
    k->ending = true;
}

static void on_message(struct keeper_state *k)
{
    struct keeper_message m;
    ssize_t n = recv(k->ctl, &m, sizeof(m), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n != (ssize_t)sizeof(m)) { /* the hand is gone */
        close(k->ctl);
        k->ctl = -1;
        tree_end(k, KEEPER_ORPHAN_GRACE_MS);
    } else if (m.kind == KEEPER_END) {
        tree_end(k, m.a < 0 ? 0 : (unsigned)m.a);
    }
}

/* How long to wait for something to happen; kills what is due. */
static int keep_wait_ms(struct keeper_state *k)
{
    if (!k->ending)
        return -1;
    uint64_t now = hand_now_ms();
    if (now < k->kill_ms)
        return (int)(k->kill_ms - now);
    if (!k->killing) {
        k->killing = true;
        k->give_up_ms = now + KEEPER_KILL_MS;
    }
    if (now >= k->give_up_ms)
        _exit(1);
    if (!k->first_ended)
        kill(-k->first, SIGKILL); /* also where there is no /proc */
    tree_signal(getpid(), SIGKILL);
    return KEEPER_RESCAN_MS;
}

_Noreturn void keeper_process(int ctl, const struct keeper_spec *spec, const char *program, char *const *env)
{
    struct keeper_state k = {.ctl = ctl, .tty = spec->tty != NULL};
    /* A session of its own: the mind ends a hand by its group, and we must survive that to end our tree. */
    setsid();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_PDEATHSIG,
          SIGCONT); /* what we keep may have stopped us: the hand's end must still be seen */
    prctl(PR_SET_NAME, "hand-keeper");
    sigset_t all, chld;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    close_others((int[]){ctl, spec->fds[0], spec->fds[1], spec->fds[2]}, 4);
    k.chld = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
    if (k.chld < 0) {
        send_message(ctl, KEEPER_FAILED, errno, STAGE_FORK);
        _exit(1);
    }
    first_start(&k, spec, program, env);
    for (;;) {
        if (reap(&k))
            _exit(0);
        int wait_ms = keep_wait_ms(&k);
        struct pollfd polled[2] = {{k.chld, POLLIN, 0}, {k.ctl, POLLIN, 0}};
        if (poll(polled, k.ctl >= 0 ? 2 : 1, wait_ms) > 0 && k.ctl >= 0 && polled[1].revents)
            on_message(&k);
    }
}
