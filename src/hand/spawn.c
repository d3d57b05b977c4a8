/* OP_SPAWN: a process with piped standard streams. F_COMMAND runs under /bin/sh -c, or F_ARG is the argument vector;
 * F_CWD, F_ENV, F_INPUT (0: no standard input), F_TIMEOUT_MS. A NOTE tells F_PID; the RESULT tells F_EXIT_CODE once the
 * process has ended and its output up to then was sent. What it leaves in the background lives on in its keeper until
 * the hand ends, its output read and dropped. */
#include "hand/keeper.h"
#include "hand/operations.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include "hand/env.h"
#include "hand/process.h"

#define SPAWN_ARGS_MAX 4096
#define SPAWN_STRING_MAX (128 * 1024 - 1) /* the kernel's bound for one argument */
#define SPAWN_TIMEOUT_GRACE_MS 1000       /* between SIGTERM and SIGKILL */
#define SPAWN_CANCEL_GRACE_MS 500         /* the RESULT has to follow within a second */
#define SPAWN_TIMEOUT_MAX_MS (30ull * 24 * 3600 * 1000)
#define SPAWN_READ 16384

struct output {
    struct spawn *spawn;
    enum wire_stream stream;
    int fd;   /* -1: at its end */
    int left; /* once the process has ended: bytes of its own that are still in the pipe */
    uint64_t watch;
};

struct spawn {
    struct hand *hand;
    struct call *call; /* NULL: the RESULT was given; only what is in the background is left */
    struct keeper *keeper;
    struct output out[2];
    int in_fd; /* -1: closed */
    uint64_t in_watch, timer;
    struct buf input; /* stdin that the process has not taken, bounded by the credit that we gave */
    bool input_ended;
    bool ended, timed_out, cancelled;
    int exit_code;
    struct spawn *next, **link; /* in the list of those without a call */
};

/* --- the end -------------------------------------------------------------------------------- */

static void output_close(struct output *o)
{
    if (o->fd < 0)
        return;
    hand_unwatch(o->spawn->hand, o->watch);
    close(o->fd);
    o->fd = -1;
}

static void input_close(struct spawn *s)
{
    if (s->in_fd < 0)
        return;
    hand_unwatch(s->hand, s->in_watch);
    close(s->in_fd);
    s->in_fd = -1;
    if (s->call && s->input.n)
        call_credit(s->call, (uint32_t)s->input.n);
    buf_deinit(&s->input);
}

static void spawn_free(struct spawn *s)
{
    if (s->link) {
        *s->link = s->next;
        if (s->next)
            s->next->link = s->link;
    }
    hand_timer_cancel(s->hand, s->timer);
    output_close(&s->out[0]);
    output_close(&s->out[1]);
    s->call = NULL;
    input_close(s);
    free(s);
}

/* The call is over; the background keeps its pipes so that writing to them does not kill it. */
static void spawn_release(struct spawn *s)
{
    if (s->keeper)
        keeper_release(steal(s->keeper));
    if (s->out[0].fd < 0 && s->out[1].fd < 0)
        return spawn_free(s);
    for (size_t i = 0; i < 2; i++)
        if (s->out[i].fd >= 0)
            hand_watch_events(s->hand, s->out[i].watch, POLLIN);
    struct spawn **head = &s->hand->background;
    s->next = *head;
    s->link = head;
    if (s->next)
        s->next->link = &s->next;
    *head = s;
}

void spawns_free(struct hand *h)
{
    struct spawn *s = h->background;
    while (s) {
        struct spawn *next = s->next;
        spawn_free(s);
        s = next;
    }
}

static void spawn_result(struct spawn *s)
{
    struct call *c = s->call;
    autobuf fields = {0};
    wire_add_int(&fields, F_EXIT_CODE, s->timed_out || s->cancelled ? -1 : s->exit_code);
    input_close(s);
    hand_timer_cancel(s->hand, s->timer);
    s->timer = 0;
    s->call = NULL;
    c->on_free = NULL;
    call_done(c, s->cancelled ? WIRE_CANCELLED : s->timed_out ? WIRE_TIMEOUT : WIRE_OK, &fields);
    spawn_release(s);
}

/* --- output --------------------------------------------------------------------------------- */

/* Whether the process has written nothing more that we have not sent. */
static bool output_read(struct output *o)
{
    struct spawn *s = o->spawn;
    char data[SPAWN_READ];
    while (o->fd >= 0) {
        size_t room = sizeof(data);
        if (s->call && s->ended && o->left <= 0)
            return true;
        if (s->call) {
            size_t credit = call_credit_left(s->call, o->stream);
            if (credit == 0) {
                hand_watch_events(s->hand, o->watch, 0);
                return false;
            }
            room = credit < room ? credit : room;
            if (s->ended && (size_t)o->left < room)
                room = (size_t)o->left;
        }
        ssize_t n = read(o->fd, data, room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0) {
            output_close(o);
            if (s->call)
                call_data_end(s->call, o->stream);
            return true;
        }
        if (s->ended)
            o->left -= (int)n;
        if (s->call)
            call_data(s->call, o->stream, str_make(data, (size_t)n));
        if (!s->ended || !s->call)
            break; /* others have a turn before more is read */
    }
    return o->fd < 0;
}

static void outputs_drain(struct spawn *s)
{
    bool first = output_read(&s->out[0]);
    bool second = output_read(&s->out[1]);
    if (first && second)
        spawn_result(s);
}

static void on_output(void *arg, short revents)
{
    (void)revents;
    struct output *o = arg;
    struct spawn *s = o->spawn;
    if (s->ended && s->call)
        return outputs_drain(s);
    output_read(o);
    if (!s->call && s->out[0].fd < 0 && s->out[1].fd < 0)
        spawn_free(s);
}

static void on_credit(struct call *c)
{
    struct spawn *s = c->state;
    for (size_t i = 0; i < 2; i++)
        if (s->out[i].fd >= 0)
            hand_watch_events(s->hand, s->out[i].watch, POLLIN);
    if (s->ended)
        outputs_drain(s);
}

/* What is in the pipes now is the process's; what comes later is of the background that it left, and has no end. */
static void spawn_ended(struct spawn *s)
{
    s->ended = true;
    for (size_t i = 0; i < 2; i++)
        if (s->out[i].fd < 0 || ioctl(s->out[i].fd, FIONREAD, &s->out[i].left) < 0)
            s->out[i].left = 0;
}

static void on_exit_code(void *arg, int exit_code)
{
    struct spawn *s = arg;
    spawn_ended(s);
    s->exit_code = exit_code;
    outputs_drain(s);
}

/* --- input ---------------------------------------------------------------------------------- */

static void input_write(struct spawn *s)
{
    while (s->in_fd >= 0 && s->input.n) {
        ssize_t n = write(s->in_fd, s->input.p, s->input.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return input_close(s); /* the process closed it; the rest is dropped */
        buf_consume(&s->input, (size_t)n);
        call_credit(s->call, (uint32_t)n);
    }
    if (s->in_fd >= 0 && s->input.n == 0 && s->input_ended)
        return input_close(s);
    hand_watch_events(s->hand, s->in_watch, s->input.n ? POLLOUT : 0);
}

static void on_input_writable(void *arg, short revents)
{
    (void)revents;
    input_write(arg);
}

static void on_input(struct call *c, struct str data)
{
    struct spawn *s = c->state;
    if (s->in_fd < 0) {
        call_credit(c, (uint32_t)data.n);
        return;
    }
    buf_add(&s->input, data);
    input_write(s);
}

static void on_input_end(struct call *c)
{
    struct spawn *s = c->state;
    s->input_ended = true;
    input_write(s);
}

/* --- being stopped -------------------------------------------------------------------------- */

static void on_tree_ended(void *arg)
{
    struct spawn *s = arg;
    spawn_ended(s);
    if (s->cancelled)
        spawn_result(s);
    else
        outputs_drain(s);
}

static void spawn_stop(struct spawn *s, unsigned grace_ms)
{
    hand_timer_cancel(s->hand, s->timer);
    s->timer = 0;
    if (s->keeper)
        keeper_end(steal(s->keeper), grace_ms, on_tree_ended, s);
    else if (s->cancelled && s->ended)
        spawn_result(s); /* the output that nobody took is dropped */
}

static void on_timeout(void *arg)
{
    struct spawn *s = arg;
    s->timer = 0;
    if (s->ended)
        return; /* the process ended in time; only its output waits for credit */
    s->timed_out = true;
    spawn_stop(s, SPAWN_TIMEOUT_GRACE_MS);
}

static void on_cancel(struct call *c)
{
    struct spawn *s = c->state;
    if (s->cancelled)
        return;
    s->cancelled = true;
    spawn_stop(s, SPAWN_CANCEL_GRACE_MS);
}

/* The hand is ending: its loop will not come back to us. */
static void on_free(struct call *c)
{
    spawn_free(c->state);
}

/* --- the start ------------------------------------------------------------------------------ */

struct command {
    VEC(char *) argv;
    char *cwd;
    char **env;
};

static void command_deinit(struct command *c)
{
    for (size_t i = 0; i < c->argv.n; i++)
        free(c->argv.at[i]);
    vec_deinit(&c->argv);
    free(c->cwd);
    environment_free(c->env);
}
#define autocommand __attribute__((cleanup(command_deinit))) struct command

static bool command_add(struct command *c, struct str arg, struct err **e)
{
    if (str_find_char(arg, '\0') >= 0)
        return err_set(e, ERR_INVALID, "an argument contains a NUL");
    if (arg.n > SPAWN_STRING_MAX || c->argv.n >= SPAWN_ARGS_MAX)
        return err_set(e, ERR_TOO_LARGE, "at most %d arguments of %d bytes are allowed", SPAWN_ARGS_MAX,
                       SPAWN_STRING_MAX);
    vec_push(&c->argv, str_dup(arg));
    return true;
}

static bool command_read(struct command *c, struct call *call, struct err **e)
{
    struct wire_fields f = {buf_str(&call->fields)};
    struct str command = wire_get_str(f.rest, F_COMMAND);
    struct str cwd = wire_get_str(f.rest, F_CWD);
    enum wire_field tag;
    struct str value;
    c->env = environment_with(hand_environment(call->hand), f.rest);
    if (cwd.n && str_find_char(cwd, '\0') >= 0)
        return err_set(e, ERR_INVALID, "the directory's name contains a NUL");
    c->cwd = cwd.n ? str_dup(cwd) : NULL;
    if (command.p &&
        !(command_add(c, STR("/bin/sh"), e) && command_add(c, STR("-c"), e) && command_add(c, command, e)))
        return false;
    while (!command.p && wire_fields_next(&f, &tag, &value, NULL))
        if (tag == F_ARG && !command_add(c, value, e))
            return false;
    if (c->argv.n == 0 || c->argv.at[0][0] == '\0')
        return err_set(e, ERR_INVALID, "neither a command nor arguments were given");
    vec_push(&c->argv, NULL);
    return true;
}

static bool directory_check(const char *cwd, struct err **e)
{
    struct stat st;
    if (!cwd)
        return true;
    if (stat(cwd, &st) < 0)
        return err_errno(e, ERR_NOT_FOUND, "the directory %s cannot be used", cwd);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, ERR_NOT_FOUND, "%s is not a directory", cwd);
    return true;
}

static bool pipes_open(struct spawn *s, bool with_input, int child[3], struct err **e)
{
    for (int i = 0; i < 3; i++) {
        int pair[2];
        if (i == 0 && !with_input)
            continue;
        if (pipe2(pair, O_CLOEXEC) < 0)
            return err_errno(e, ERR_BUSY, "no pipe for the process");
        int own = i == 0 ? pair[1] : pair[0];
        child[i] = i == 0 ? pair[0] : pair[1];
        *(i == 0 ? &s->in_fd : &s->out[i - 1].fd) = own;
        fcntl(own, F_SETFL, O_NONBLOCK);
    }
    return true;
}

static bool spawn_run(struct spawn *s, struct command *command, bool with_input, struct err **e)
{
    int child[3] = {-1, -1, -1};
    bool ok = directory_check(command->cwd, e) && pipes_open(s, with_input, child, e);
    if (ok) {
        struct keeper_spec spec = {.argv = command->argv.at,
                                   .env = command->env,
                                   .cwd = command->cwd,
                                   .fds = {child[0], child[1], child[2]}};
        s->keeper = keeper_start(s->hand, &spec, on_exit_code, s, e);
        ok = s->keeper != NULL;
    }
    for (int i = 0; i < 3; i++)
        if (child[i] >= 0)
            close(child[i]);
    return ok;
}

static enum wire_status status_of(const struct err *e)
{
    switch ((int)e->kind) {
    case ERR_NOT_FOUND: return WIRE_NOT_FOUND;
    case ERR_INVALID: return WIRE_INVALID;
    case ERR_TOO_LARGE: return WIRE_TOO_LARGE;
    case ERR_BUSY: return WIRE_BUSY;
    default: return WIRE_IO;
    }
}

static void spawn_watch(struct spawn *s)
{
    struct call *c = s->call;
    for (size_t i = 0; i < 2; i++)
        s->out[i].watch = hand_watch(s->hand, s->out[i].fd, POLLIN, on_output, &s->out[i]);
    if (s->in_fd >= 0)
        s->in_watch = hand_watch(s->hand, s->in_fd, 0, on_input_writable, s);
    c->state = s;
    c->on_input = on_input;
    c->on_input_end = on_input_end;
    c->on_credit = on_credit;
    c->on_cancel = on_cancel;
    c->on_free = on_free;
    int64_t timeout_ms = wire_get_int(buf_str(&c->fields), F_TIMEOUT_MS, 0);
    if (timeout_ms > 0 && (uint64_t)timeout_ms <= SPAWN_TIMEOUT_MAX_MS)
        s->timer = hand_timer(s->hand, (uint64_t)timeout_ms, on_timeout, s);
    autobuf note = {0};
    wire_add_int(&note, F_PID, keeper_pid(s->keeper));
    call_note(c, &note);
}

void spawn_start(struct call *c)
{
    autocommand command = {0};
    autoerr e = NULL;
    struct spawn *s = xcalloc(1, sizeof(*s));
    *s = (struct spawn){.hand = c->hand, .call = c, .in_fd = -1};
    for (size_t i = 0; i < 2; i++)
        s->out[i] = (struct output){.spawn = s, .stream = i == 0 ? WIRE_STDOUT : WIRE_STDERR, .fd = -1};
    bool with_input = wire_get_int(buf_str(&c->fields), F_INPUT, 1) != 0;
    if (!command_read(&command, c, &e) || !spawn_run(s, &command, with_input, &e)) {
        spawn_free(s);
        call_fail(c, status_of(e), "%s", err_text(e));
        return;
    }
    spawn_watch(s);
}
