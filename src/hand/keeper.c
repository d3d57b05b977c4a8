/* The hand's side of keepers. */
#include "hand/keeper_process.h"
#include "hand/env.h"
#include "hand/process.h"
#include "hand/tree.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define START_MS \
    5000 /* for the program to be loaded: a directory on a dead network file system must not hold us */

struct keeper {
    struct hand *hand;
    struct keeper *next, **link; /* in hand->keepers */
    int ctl;
    uint64_t watch;
    pid_t keeper, first;
    bool gone;     /* the keeper process has ended: the tree is empty */
    bool exited;   /* on_exit was called */
    bool ending;   /* keeper_end was called */
    bool released; /* keeper_release was called */
    void (*on_exit)(void *arg, int exit_code);
    void *arg;
    void (*done)(void *arg);
    void *done_arg;
    uint64_t deadline; /* timer: of keeper_end */
};

static void keeper_free(struct keeper *k)
{
    struct hand *h = k->hand;
    *k->link = k->next;
    if (k->next)
        k->next->link = k->link;
    hand_unwatch(h, k->watch);
    hand_timer_cancel(h, k->deadline);
    if (k->ctl >= 0)
        close(k->ctl);
    free(k);
}

static void exit_report(struct keeper *k, int code)
{
    if (k->exited)
        return;
    k->exited = true;
    if (k->on_exit && !k->ending && !k->released && !k->hand->stopping)
        k->on_exit(k->arg, code);
}

static void end_report(void *arg)
{
    struct keeper *k = arg;
    void (*done)(void *) = k->done;
    if (k->hand->stopping)
        return; /* its owner may still hold it: keepers_free frees it */
    void *done_arg = k->done_arg;
    keeper_free(k);
    if (done)
        done(done_arg);
}

/* --- trees whose keeper was killed ---------------------------------------------------------- */

static bool is_keeper(const struct hand *h, pid_t pid)
{
    for (const struct keeper *k = h->keepers; k; k = k->next)
        if (!k->gone && k->keeper == pid)
            return true;
    return false;
}

/* The hand is the next reaper up: what a killed keeper leaves are our own children. Returns whether any is left. */
static bool strangers_kill(struct hand *h)
{
    bool found = false;
    struct tree t = {0};
    tree_list(&t, getpid());
    for (size_t i = 0; i < t.at.n; i++) {
        const struct process *p = &t.at.at[i];
        if (p->parent != getpid() || is_keeper(h, p->pid))
            continue;
        found = true;
        tree_signal(p->pid, SIGKILL);
        if (p->group != getpgrp() && !p->dead)
            kill(-p->group, SIGKILL);
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, WNOHANG);
    }
    tree_deinit(&t);
    return found;
}

/* Again until none is left: a child's children become ours when it is reaped. */
static void strangers_end(void *arg)
{
    struct hand *h = arg;
    if (strangers_kill(h) && hand_now_ms() < h->strangers_until_ms)
        hand_timer(h, KEEPER_RESCAN_MS, strangers_end, h);
}

static void strangers_look(struct hand *h)
{
    h->strangers_until_ms = hand_now_ms() + KEEPER_KILL_MS;
    strangers_end(h);
}

static void keeper_gone(struct keeper *k)
{
    struct hand *h = k->hand;
    int status = 0;
    hand_unwatch(h, k->watch);
    k->watch = 0;
    close(k->ctl);
    k->ctl = -1;
    k->gone = true;
    while (waitpid(k->keeper, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status))
        strangers_look(h);
    exit_report(k, WIFSIGNALED(status) ? -WTERMSIG(status) : -SIGKILL);
}

/* A hand that is stopping has ended when the last tree has. */
static void stop_check(struct hand *h)
{
    bool over = h->stopping;
    for (const struct keeper *k = h->keepers; k; k = k->next)
        over = over && k->gone;
    h->ended = h->ended || over;
}

/* --- messages ------------------------------------------------------------------------------- */

static void on_control(void *arg, short revents)
{
    (void)revents;
    struct keeper *k = arg;
    struct hand *h = k->hand;
    struct keeper_message m;
    ssize_t n = recv(k->ctl, &m, sizeof(m), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n == (ssize_t)sizeof(m)) {
        if (m.kind == KEEPER_EXITED)
            exit_report(k, m.a);
        return;
    }
    /* on_exit may call keeper_end, which leaves the freeing to us when the keeper is gone already. */
    bool ending = k->ending || k->released;
    keeper_gone(k);
    if (ending)
        end_report(k);
    stop_check(h);
}

static void command(struct keeper *k, enum keeper_kind kind, int a)
{
    struct keeper_message m = {(int32_t)kind, a, 0};
    if (!k->gone)
        (void)!send(k->ctl, &m, sizeof(m), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Its tree could have stopped the keeper. */
static void command_end(struct keeper *k, unsigned grace_ms)
{
    command(k, KEEPER_END, (int)grace_ms);
    if (!k->gone)
        kill(k->keeper, SIGCONT);
}

/* It does not even give up: what it leaves is ended as strangers are. */
static void on_deadline(void *arg)
{
    struct keeper *k = arg;
    k->deadline = 0;
    if (!k->gone)
        kill(k->keeper, SIGKILL);
}

static bool start_failed(const struct keeper_spec *spec, const struct keeper_message *m, struct err **e)
{
    static const char *const what[] = {
        [STAGE_FORK] = "cannot start",
        [STAGE_DESCRIPTORS] = "cannot connect",
        [STAGE_TTY] = "cannot open the terminal of",
        [STAGE_CWD] = "cannot enter the directory",
        [STAGE_EXEC] = "cannot execute",
    };
    const char *text = m->b >= 0 && (size_t)m->b < ARRAY_LEN(what) ? what[m->b] : what[STAGE_FORK];
    errno = m->a;
    return err_errno(e, ERR_INVALID, "%s %s", text, m->b == STAGE_CWD ? spec->cwd : spec->argv[0]);
}

/* Waits for the first message: an exec takes a millisecond, and the caller needs the process's id. */
static bool await_start(struct keeper *k, const struct keeper_spec *spec, struct err **e)
{
    struct keeper_message m = {KEEPER_FAILED, ETIMEDOUT, STAGE_FORK};
    uint64_t deadline = hand_now_ms() + START_MS;
    for (;;) {
        uint64_t now = hand_now_ms();
        struct pollfd polled = {k->ctl, POLLIN, 0};
        int n = now < deadline ? poll(&polled, 1, (int)(deadline - now)) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n > 0 && recv(k->ctl, &m, sizeof(m), MSG_DONTWAIT) != (ssize_t)sizeof(m))
            m = (struct keeper_message){KEEPER_FAILED, EIO, STAGE_FORK};
        break;
    }
    if (m.kind != KEEPER_STARTED)
        return start_failed(spec, &m, e);
    k->first = m.a;
    return true;
}

struct keeper *keeper_start(struct hand *h, const struct keeper_spec *spec,
                            void (*on_exit)(void *arg, int exit_code), void *arg, struct err **e)
{
    char *const *env = spec->env ? spec->env : hand_environment(h);
    autobuf program = {0};
    int pair[2];
    if (h->stopping) {
        err_set(e, ERR_BUSY, "the hand is ending");
        return NULL;
    }
    if (!spec->run && !environment_program(env, spec->argv[0], &program) && !strchr(spec->argv[0], '/')) {
        err_set(e, ERR_NOT_FOUND, "cannot execute %s: it is not in PATH", spec->argv[0]);
        return NULL;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        err_errno(e, ERR_BUSY, "cannot start %s", spec->argv[0]);
        return NULL;
    }
    pid_t pid = fork();
    if (pid == 0)
        keeper_process(pair[1], spec, program.p, env);
    close(pair[1]);
    if (pid < 0) {
        err_errno(e, ERR_BUSY, "cannot start %s", spec->argv[0]);
        close(pair[0]);
        return NULL;
    }
    struct keeper *k = xcalloc(1, sizeof(*k));
    *k = (struct keeper){.hand = h, .ctl = pair[0], .keeper = pid, .on_exit = on_exit, .arg = arg};
    k->next = h->keepers;
    k->link = &h->keepers;
    if (k->next)
        k->next->link = &k->next;
    h->keepers = k;
    if (!await_start(k, spec, e)) {
        /* It ends by itself; of one that hangs, the first process is left. */
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        keeper_free(k);
        strangers_look(h);
        return NULL;
    }
    k->watch = hand_watch(h, k->ctl, POLLIN, on_control, k);
    return k;
}

/* --- using ---------------------------------------------------------------------------------- */

pid_t keeper_pid(const struct keeper *k)
{
    return k->first;
}

void keeper_end(struct keeper *k, unsigned grace_ms, void (*done)(void *arg), void *arg)
{
    k->ending = true;
    k->done = done;
    k->done_arg = arg;
    if (k->gone) {
        hand_timer(k->hand, 0, end_report, k);
        return;
    }
    command_end(k, grace_ms);
    k->deadline = hand_timer(k->hand, grace_ms + KEEPER_KILL_MS, on_deadline, k);
}

void keeper_release(struct keeper *k)
{
    k->released = true;
    if (k->gone)
        hand_timer(k->hand, 0, end_report, k);
}

bool keeper_alone(const struct keeper *k)
{
    if (k->gone)
        return true;
    struct tree t = {0};
    bool alone = true;
    tree_list(&t, k->keeper);
    for (size_t i = 0; i < t.at.n; i++)
        if (t.at.at[i].pid != k->first && !t.at.at[i].dead)
            alone = false;
    tree_deinit(&t);
    return alone;
}

bool keepers_alone(const struct hand *h)
{
    for (const struct keeper *k = h->keepers; k; k = k->next)
        if (!keeper_alone(k))
            return false;
    return true;
}

void keepers_end(struct hand *h, unsigned grace_ms)
{
    if (hand_now_ms() < h->strangers_until_ms)
        strangers_kill(h);
    for (struct keeper *k = h->keepers; k; k = k->next)
        command_end(k, grace_ms);
    stop_check(h);
}

void keepers_free(struct hand *h)
{
    struct keeper *k = h->keepers;
    while (k) {
        struct keeper *next = k->next;
        keeper_free(k);
        k = next;
    }
}
