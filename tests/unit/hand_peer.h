/* A stranger at the other end of build/hand: starts it on a socket pair and speaks frames. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cleanup.h"
#include "leftover.h"
#include "wire/wire.h"

#define PEER_CALLS 4096
#define PEER_DEADLINE_MS 10000

struct outcome {
    struct buf out, err, result, note;
    bool done, ended[3];
    bool hold; /* grant no credit */
    size_t received;
    uint64_t input_credit;
    unsigned place; /* among the results, in the order in which they came; from 1 */
};

struct peer {
    int fd;
    pid_t pid;
    struct wire_reader reader;
    uint32_t last;
    struct outcome calls[PEER_CALLS];
    struct buf said; /* F_MESSAGE of the last NOTE of call 0 */
    unsigned pongs, idle_notes, results;
    bool closed;
};

static inline uint64_t now_ms(void)
{
    return clock_mono_ns() / NS_PER_MS;
}

static inline const char *hand_path(void)
{
    const char *path = getenv("HANDSD_HAND");
    return path ? path : "build/hand";
}

/* Starts the program without a word. */
static inline struct peer *peer_start(void)
{
    int pair[2];
    struct peer *p = xcalloc(1, sizeof(*p));
    extern char **environ;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 0);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 1);
    char *argv[] = {(char *)(uintptr_t)hand_path(), NULL};
    int error = posix_spawn(&p->pid, argv[0], &actions, NULL, argv, environ);
    if (error)
        fail_msg("cannot start %s: %s", argv[0], strerror(error));
    posix_spawn_file_actions_destroy(&actions);
    close(pair[1]);
    p->fd = pair[0];
    return p;
}

/* The same inside another root directory; NULL if that is not possible here. */
static inline struct peer *peer_start_in(const char *root, const char *program)
{
    int pair[2], report[2], error = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pipe2(report, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pair[1], 0);
        dup2(pair[1], 1);
        if (chroot(root) == 0 && chdir("/") == 0)
            execl(program, program, (char *)NULL);
        error = errno;
        _exit(write(report[1], &error, sizeof(error)) != sizeof(error));
    }
    close(report[1]);
    close(pair[1]);
    bool failed = read(report[0], &error, sizeof(error)) == sizeof(error);
    close(report[0]);
    if (failed) {
        close(pair[0]);
        waitpid(pid, NULL, 0);
        return NULL;
    }
    struct peer *p = xcalloc(1, sizeof(*p));
    p->pid = pid;
    p->fd = pair[0];
    return p;
}

static inline void peer_send(struct peer *p, struct str bytes)
{
    while (bytes.n) {
        ssize_t n = send(p->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return; /* the hand hung up: the test sees that by reading */
        bytes.p += n;
        bytes.n -= (size_t)n;
    }
}

static inline void peer_send_buf(struct peer *p, struct buf *b)
{
    peer_send(p, buf_str(b));
    buf_deinit(b);
}

static inline void peer_on_frame(struct peer *p, const struct wire_frame *f)
{
    struct outcome *o = &p->calls[f->call % PEER_CALLS];
    struct buf reply = {0};
    if (f->type == WIRE_DATA) {
        buf_add(f->flags == WIRE_STDERR ? &o->err : &o->out, f->payload);
        o->received += f->payload.n;
        if (!o->hold)
            wire_add_credit(&reply, f->call, (enum wire_stream)f->flags, (uint32_t)f->payload.n);
    } else if (f->type == WIRE_END) {
        o->ended[f->flags] = true;
    } else if (f->type == WIRE_CREDIT) {
        o->input_credit += wire_credit_bytes(f);
    } else if (f->type == WIRE_RESULT) {
        assert_false(o->done);
        buf_add(&o->result, f->payload);
        o->done = !(f->flags & WIRE_MORE);
        if (o->done)
            o->place = ++p->results;
    } else if (f->type == WIRE_NOTE && f->call) {
        buf_clear(&o->note);
        buf_add(&o->note, f->payload);
    } else if (f->type == WIRE_NOTE) {
        p->idle_notes += f->payload.n == 0;
        buf_clear(&p->said);
        buf_add(&p->said, wire_get_str(f->payload, F_MESSAGE));
    } else if (f->type == WIRE_PONG) {
        p->pongs++;
    }
    peer_send_buf(p, &reply);
}

/* Reads what comes within `ms`. False at the end of the stream. */
static inline bool peer_pump(struct peer *p, int ms)
{
    struct pollfd polled = {p->fd, POLLIN, 0};
    char data[65536];
    if (p->closed)
        return false;
    if (poll(&polled, 1, ms) <= 0)
        return true;
    ssize_t n = read(p->fd, data, sizeof(data));
    if (n <= 0) {
        p->closed = true;
        return false;
    }
    struct wire_frame f;
    struct err *e = NULL;
    wire_reader_feed(&p->reader, str_make(data, (size_t)n));
    while (wire_reader_next(&p->reader, &f, &e))
        peer_on_frame(p, &f);
    assert_null(e);
    return true;
}

#define peer_until(peer, condition)                                                                \
    do {                                                                                           \
        uint64_t deadline_ = now_ms() + PEER_DEADLINE_MS;                                          \
        while (!(condition)) {                                                                     \
            if (!peer_pump((peer), 1000) && !(condition))                                          \
                fail_msg("the hand hung up (%s) before: %s", (peer)->said.n ? (peer)->said.p : "", \
                         #condition);                                                              \
            if (now_ms() > deadline_)                                                              \
                fail_msg("waited too long for: %s", #condition);                                   \
        }                                                                                          \
    } while (0)

static inline void peer_greet(struct peer *p, struct buf *more)
{
    struct buf out = {0}, hello = {0};
    wire_add_int(&hello, F_VERSION_MIN, 1);
    wire_add_int(&hello, F_VERSION_MAX, 1);
    if (more) {
        buf_add(&hello, buf_str(more));
        buf_deinit(more);
    }
    buf_add(&out, str_make(WIRE_MAGIC, WIRE_MAGIC_LEN));
    wire_add_message(&out, WIRE_HELLO, 0, buf_str(&hello));
    peer_send_buf(p, &out);
    buf_deinit(&hello);
}

static inline struct peer *peer_new(void)
{
    struct peer *p = peer_start();
    struct buf more = {0};
    wire_add_int(&more, F_TOKEN, 5);
    peer_greet(p, &more);
    return p;
}

/* Hangs up and checks that the hand ends with `exit_code` in time. */
static inline void peer_free(struct peer *p, int exit_code)
{
    int status = -1;
    uint64_t start = now_ms();
    if (!p->closed)
        shutdown(p->fd, SHUT_WR);
    while (peer_pump(p, PEER_DEADLINE_MS))
        if (now_ms() - start > PEER_DEADLINE_MS)
            fail_msg("the hand does not hang up");
    close(p->fd);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    if (exit_code >= 0) {
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), exit_code);
    }
    for (size_t i = 0; i < PEER_CALLS; i++) {
        buf_deinit(&p->calls[i].out);
        buf_deinit(&p->calls[i].err);
        buf_deinit(&p->calls[i].result);
        buf_deinit(&p->calls[i].note);
    }
    wire_reader_deinit(&p->reader);
    buf_deinit(&p->said);
    free(p);
}

/* Begins a call with the given fields (emptied). */
static inline uint32_t peer_begin(struct peer *p, enum wire_op op, struct buf *fields)
{
    struct buf all = {0}, out = {0};
    uint32_t id = ++p->last;
    assert_true(id < PEER_CALLS);
    p->calls[id].input_credit = WIRE_CREDIT_INITIAL;
    wire_add_int(&all, F_OP, op);
    if (fields) {
        buf_add(&all, buf_str(fields));
        buf_deinit(fields);
    }
    wire_add_message(&out, WIRE_CALL, id, buf_str(&all));
    peer_send_buf(p, &out);
    buf_deinit(&all);
    return id;
}

static inline struct outcome *peer_wait(struct peer *p, uint32_t id)
{
    peer_until(p, p->calls[id].done);
    return &p->calls[id];
}

static inline struct outcome *peer_call(struct peer *p, enum wire_op op, struct buf *fields)
{
    return peer_wait(p, peer_begin(p, op, fields));
}

static inline uint32_t peer_spawn(struct peer *p, const char *command)
{
    struct buf fields = {0};
    wire_add_str(&fields, F_COMMAND, str_from(command));
    return peer_begin(p, OP_SPAWN, &fields);
}

static inline int64_t outcome_int(const struct outcome *o, enum wire_field tag)
{
    return wire_get_int(buf_str(&o->result), tag, INT64_MIN);
}

static inline void assert_status(const struct outcome *o, enum wire_status status)
{
    struct str message = wire_get_str(buf_str(&o->result), F_MESSAGE);
    if (outcome_int(o, F_STATUS) != (int64_t)status)
        fail_msg("status %d, not %d: %.*s", (int)outcome_int(o, F_STATUS), (int)status, STR_ARG(message));
}

static inline void assert_text(const struct buf *b, const char *expected)
{
    assert_string_equal(b->p ? b->p : "", expected);
}

static inline void peer_control(struct peer *p, enum wire_type type, uint32_t call)
{
    struct buf out = {0};
    wire_add_control(&out, type, call);
    peer_send_buf(p, &out);
}

static inline void peer_input(struct peer *p, uint32_t call, struct str data, bool end)
{
    struct buf out = {0};
    while (data.n) {
        size_t n = data.n < WIRE_PAYLOAD_MAX ? data.n : WIRE_PAYLOAD_MAX;
        wire_add_data(&out, call, WIRE_STDIN, str_make(data.p, n));
        p->calls[call].input_credit -= n;
        data.p += n;
        data.n -= n;
    }
    if (end)
        wire_add_end(&out, call, WIRE_STDIN);
    peer_send_buf(p, &out);
}

static inline bool process_lives(pid_t pid)
{
    return !process_ends(pid, 0);
}
