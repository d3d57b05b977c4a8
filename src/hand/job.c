#include "hand/job.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "hand/env.h"
#include "hand/keeper.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#define JOB_READ (64 * 1024)
#define DATA_READ (16 * 1024)                       /* of a job's data at once: others have their turn */
#define ANSWER_HEAD 8                               /* the status, before the fields */
#define ANSWER_MAX (WIRE_MESSAGE_MAX + ANSWER_HEAD) /* call_done knows what is too large for a RESULT */
#define HIGH_FD 100 /* where the pipes move, so that no program inherits them */

/* The DATA of a job that streams: read as far as there is credit, so a full pipe holds the job back. */
struct job_data {
    int fd; /* -1: none, or at its end */
    uint64_t watch;
    uint64_t moved_ms; /* when something last came, or waited for nothing but credit */
    bool held;         /* there is no credit */
};

struct job {
    struct call *call;
    struct keeper *keeper; /* NULL: its end was asked for */
    job_fn *run;
    int fd; /* the answer's; -1: at its end */
    uint64_t watch, timer;
    struct buf answer;
    struct job_data data;
    uint64_t stall_ms;       /* of one that streams; 0: it has a deadline instead */
    bool exited;             /* only its data is left */
    unsigned grace_ms;       /* 0: it may be ended at any time */
    enum wire_status status; /* in which the call ends; WIRE_OK: as the answer says */
};

static size_t jobs, streaming; /* alive, and those of them that stream; one thread */

/* --- in the fork ---------------------------------------------------------------------------- */

static volatile sig_atomic_t asked_to_stop;

static void on_term(int number)
{
    (void)number;
    asked_to_stop = 1;
}

bool job_asked_to_stop(void)
{
    return asked_to_stop != 0;
}

static int data_fd = -1;

bool job_write(struct str data)
{
    return fd_write_all(data_fd, data, NULL);
}

/* The answer's pipe leaves 1, and that of the data 2. */
static bool job_pipes_take(const struct job *j, int *fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    *fd = fcntl(1, F_DUPFD_CLOEXEC, HIGH_FD);
    if (*fd < 0 || (null >= 0 && dup2(null, 1) < 0))
        return false;
    if (!j->stall_ms)
        return true;
    data_fd = fcntl(2, F_DUPFD_CLOEXEC, HIGH_FD);
    if (null >= 0)
        return data_fd >= 0 && dup2(null, 2) >= 0;
    close(2); /* its end is the data's end */
    return data_fd >= 0;
}

static int job_run(void *arg)
{
    struct job *j = arg;
    int fd = -1;
    autobuf fields = {0}, head = {0};
    signal(SIGPIPE, SIG_IGN); /* a program may end before it has read its input */
    if (!job_pipes_take(j, &fd))
        return 1;
    if (j->grace_ms)
        sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term, .sa_flags = SA_RESTART}, NULL);
    uint64_t status = j->run(j->call, &fields);
    buf_add_bytes(&head, &status, ANSWER_HEAD);
    return fd_write_all(fd, buf_str(&head), NULL) && fd_write_all(fd, buf_str(&fields), NULL) ? 0 : 1;
}

enum wire_status job_fail(struct buf *fields, enum wire_status status, const char *fmt, ...)
{
    autobuf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vaddf(&text, fmt, args);
    va_end(args);
    wire_add_str(fields, F_MESSAGE, buf_str(&text));
    return status;
}

/* --- the hand's side ------------------------------------------------------------------------ */

static void job_close(struct job *j)
{
    if (j->fd < 0)
        return;
    hand_unwatch(j->call->hand, j->watch);
    close(j->fd);
    j->fd = -1;
}

static void data_close(struct job *j)
{
    if (j->data.fd < 0)
        return;
    hand_unwatch(j->call->hand, j->data.watch);
    close(j->data.fd);
    j->data.fd = -1;
}

static void job_free(struct call *c)
{
    struct job *j = c->state;
    job_close(j);
    data_close(j);
    hand_timer_cancel(c->hand, j->timer);
    buf_deinit(&j->answer);
    jobs--;
    streaming -= j->stall_ms > 0;
    free(j);
}

static void job_answer(struct job *j)
{
    struct call *c = j->call;
    autobuf fields = {0};
    uint64_t status = WIRE_IO;
    if (j->status == WIRE_CANCELLED)
        return call_done(c, WIRE_CANCELLED, NULL);
    if (j->status != WIRE_OK)
        return call_fail(c, j->status, "%s",
                         j->status == WIRE_TIMEOUT ? "it took too long" : "its answer is too large");
    if (j->answer.n >= ANSWER_HEAD) {
        memcpy(&status, j->answer.p, ANSWER_HEAD);
        buf_add(&fields, str_sub(buf_str(&j->answer), ANSWER_HEAD, j->answer.n));
    }
    if (j->answer.n < ANSWER_HEAD || !wire_fields_valid(buf_str(&fields)))
        return call_fail(c, WIRE_IO, "the process that did it was killed");
    call_done(c, (enum wire_status)status, &fields);
}

static bool job_read(struct job *j);

/* The tree is empty: nothing that the job started works on behind the answer's back. */
static void on_ended(void *arg)
{
    struct job *j = arg;
    uint64_t status = WIRE_CANCELLED;
    while (j->grace_ms && job_read(j))
        ;
    if (j->answer.n >= ANSWER_HEAD)
        memcpy(&status, j->answer.p, ANSWER_HEAD);
    if (j->grace_ms && j->status != WIRE_TOO_LARGE && status != WIRE_CANCELLED)
        j->status = WIRE_OK; /* it was through before it was asked to stop */
    job_answer(j);
}

static void job_end(struct job *j, enum wire_status status)
{
    if (!j->keeper)
        return;
    j->status = status;
    data_close(j);
    if (!j->grace_ms)
        job_close(j);
    keeper_end(steal(j->keeper), status == WIRE_OK ? 0 : j->grace_ms, on_ended, j);
}

/* False when there is nothing to be read now. */
static bool job_read(struct job *j)
{
    ssize_t n = j->fd >= 0 ? read(j->fd, buf_reserve(&j->answer, JOB_READ), JOB_READ) : -1;
    if (j->fd < 0 || (n < 0 && errno == EAGAIN))
        return false;
    if (n < 0 && errno == EINTR)
        return true;
    if (n <= 0) {
        job_close(j);
        return false;
    }
    j->answer.n += (size_t)n;
    if (j->answer.n <= ANSWER_MAX)
        return true;
    job_end(j, WIRE_TOO_LARGE);
    return false;
}

static void on_readable(void *arg, short revents)
{
    (void)revents;
    job_read(arg);
}

static void on_exit_code(void *arg, int exit_code)
{
    struct job *j = arg;
    (void)exit_code; /* an answer that is not whole says it */
    while (job_read(j))
        ;
    j->exited = true;
    if (j->data.fd < 0)
        job_end(j, WIRE_OK);
}

static void on_timeout(void *arg)
{
    struct job *j = arg;
    j->timer = 0;
    job_end(j, WIRE_TIMEOUT);
}

/* --- its data ------------------------------------------------------------------------------- */

static void on_data(void *arg, short revents)
{
    (void)revents;
    struct job *j = arg;
    char data[DATA_READ];
    size_t room = call_credit_left(j->call, WIRE_STDOUT);
    j->data.moved_ms = hand_now_ms();
    j->data.held = room == 0;
    if (j->data.held) {
        hand_watch_events(j->call->hand, j->data.watch, 0);
        return;
    }
    ssize_t n = read(j->data.fd, data, room < sizeof(data) ? room : sizeof(data));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        call_data(j->call, WIRE_STDOUT, str_make(data, (size_t)n));
        return;
    }
    data_close(j);
    call_data_end(j->call, WIRE_STDOUT);
    if (j->exited)
        job_end(j, WIRE_OK);
}

static void on_credit(struct call *c)
{
    struct job *j = c->state;
    j->data.moved_ms = hand_now_ms();
    j->data.held = false;
    if (j->data.fd >= 0)
        hand_watch_events(c->hand, j->data.watch, POLLIN);
}

/* Nothing has come for `stall_ms`, unless it was the mind that took nothing. */
static void on_stall(void *arg)
{
    struct job *j = arg;
    uint64_t now = hand_now_ms(), since = j->data.held ? now : j->data.moved_ms;
    j->timer = 0;
    if (now - since >= j->stall_ms)
        job_end(j, WIRE_TIMEOUT);
    else
        j->timer = hand_timer(j->call->hand, since + j->stall_ms - now, on_stall, j);
}

static void on_cancel(struct call *c)
{
    job_end(c->state, WIRE_CANCELLED);
}

/* A pipe whose reading end does not block and is watched. */
static bool pipe_watch(struct job *j, int *fd, uint64_t *watch, hand_fd_fn fn, int *theirs)
{
    int pair[2];
    if (pipe2(pair, O_CLOEXEC) < 0)
        return false;
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    *fd = pair[0];
    *theirs = pair[1];
    *watch = hand_watch(j->call->hand, *fd, POLLIN, fn, j);
    return true;
}

/* Takes `j`. */
static void job_begin(struct job *j)
{
    static char name[] = "hand-job";
    char *argv[] = {name, NULL};
    autoerr e = NULL;
    struct call *c = j->call;
    autofd int answer = -1, data = -1;
    j->fd = j->data.fd = -1;
    jobs++;
    streaming += j->stall_ms > 0;
    c->state = j;
    c->on_free = job_free;
    if (jobs > JOBS_MAX || streaming > JOBS_STREAMING_MAX)
        return call_fail(c, WIRE_BUSY, "%d of these calls are at work already",
                         jobs > JOBS_MAX ? JOBS_MAX : JOBS_STREAMING_MAX);
    if (!pipe_watch(j, &j->fd, &j->watch, on_readable, &answer) ||
        (j->stall_ms && !pipe_watch(j, &j->data.fd, &j->data.watch, on_data, &data)))
        return call_fail(c, WIRE_BUSY, "no pipe: %s", strerror(errno));
    struct keeper_spec spec = {.argv = argv, .fds = {-1, answer, data}, .run = job_run, .run_arg = j};
    j->keeper = keeper_start(c->hand, &spec, on_exit_code, j, &e);
    if (!j->keeper)
        return call_fail(c, WIRE_BUSY, "%s", err_text(e));
    c->on_cancel = on_cancel;
}

void job_start(struct call *c, job_fn *run, uint64_t ms)
{
    job_start_asking(c, run, ms, 0);
}

void job_start_asking(struct call *c, job_fn *run, uint64_t ms, unsigned grace_ms)
{
    struct job *j = xcalloc(1, sizeof(*j));
    *j = (struct job){.call = c, .run = run, .grace_ms = grace_ms};
    j->timer = hand_timer(c->hand, ms, on_timeout, j);
    job_begin(j);
}

void job_start_streaming(struct call *c, job_fn *run, uint64_t stall_ms)
{
    struct job *j = xcalloc(1, sizeof(*j));
    *j = (struct job){.call = c, .run = run, .stall_ms = stall_ms};
    j->data.moved_ms = hand_now_ms();
    j->timer = hand_timer(c->hand, stall_ms, on_stall, j);
    c->on_credit = on_credit;
    job_begin(j);
}

/* --- programs in the fork ------------------------------------------------------------------- */

static pid_t program_fork(const struct job_program *p, const char *path, const int fds[3])
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    signal(SIGPIPE, SIG_DFL);
    if (dup2(fds[0], 0) == 0 && dup2(fds[1], 1) == 1 && dup2(fds[2], 2) == 2 &&
        (!p->cwd || chdir(p->cwd) == 0))
        execve(path, p->argv, p->env);
    dprintf(2, "cannot execute %s: %s", path, strerror(errno));
    _exit(127);
}

/* One read. False at the end, or when there is more than `max` (and `*too_much` is set, if given). */
static bool program_read(int fd, struct buf *out, size_t max, bool *too_much)
{
    char data[JOB_READ];
    ssize_t n = read(fd, data, sizeof(data));
    if (n < 0 && errno == EINTR)
        return true;
    if (n <= 0)
        return false;
    size_t room = max - out->n;
    buf_add(out, str_make(data, (size_t)n < room ? (size_t)n : room));
    if ((size_t)n <= room || !too_much)
        return true; /* of standard error the rest is dropped */
    *too_much = true;
    return false;
}

/* One write; what the program does not want is dropped. False at the end. */
static bool program_write(int fd, struct str *in)
{
    ssize_t n = write(fd, in->p, in->n);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    *in = str_sub(*in, (size_t)n, in->n);
    return in->n > 0;
}

static void end_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Until its output is at its end, or the time is over. */
static void program_talk(struct job_program *p, int ends[3], uint64_t deadline)
{
    struct str in = p->in;
    if (in.n == 0)
        end_close(&ends[0]);
    while (ends[1] >= 0 || ends[2] >= 0) {
        struct pollfd polled[3] = {{ends[0], POLLOUT, 0}, {ends[1], POLLIN, 0}, {ends[2], POLLIN, 0}};
        uint64_t now = hand_now_ms();
        p->timed_out = now >= deadline;
        if (p->timed_out)
            return;
        if (poll(polled, 3, (int)(deadline - now)) <= 0)
            continue;
        if (polled[0].revents && !program_write(ends[0], &in))
            end_close(&ends[0]);
        if (polled[1].revents && !program_read(ends[1], &p->out, p->out_max, &p->too_much))
            end_close(&ends[1]);
        if (polled[2].revents && !program_read(ends[2], &p->err, JOB_STDERR_MAX, NULL))
            end_close(&ends[2]);
        if (p->too_much)
            return;
    }
}

/* Ours and the program's ends of its three streams. */
static bool pipes_open(int ours[3], int theirs[3], struct err **e)
{
    for (int i = 0; i < 3; i++) {
        int pair[2];
        if (pipe2(pair, O_CLOEXEC) < 0)
            return err_errno(e, ERR_BUSY, "no pipe");
        ours[i] = pair[i == 0 ? 1 : 0];
        theirs[i] = pair[i == 0 ? 0 : 1];
    }
    fcntl(ours[0], F_SETFL, O_NONBLOCK);
    return true;
}

bool job_program_run(struct job_program *p, struct err **e)
{
    autobuf path = {0};
    int ours[3] = {-1, -1, -1}, theirs[3] = {-1, -1, -1}, status = 0;
    uint64_t deadline = hand_now_ms() + p->ms;
    pid_t pid = -1;
    if (!environment_program(p->env, p->argv[0], &path))
        return err_set(e, ERR_NOT_FOUND, "there is no %s here", p->argv[0]);
    if (pipes_open(ours, theirs, e) && (pid = program_fork(p, path.p, theirs)) < 0)
        err_errno(e, ERR_BUSY, "cannot start %s", p->argv[0]);
    for (int i = 0; i < 3; i++)
        end_close(&theirs[i]);
    if (pid > 0)
        program_talk(p, ours, deadline);
    for (int i = 0; i < 3; i++)
        end_close(&ours[i]);
    if (pid < 0)
        return false;
    if (p->timed_out || p->too_much)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    p->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return true;
}
