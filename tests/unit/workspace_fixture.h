/* What the tests of hands share: a loop with hands on it. Included by one C file per program. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/thread.h"
#include "leftover.h"
#include "workspace/hand.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

struct house {
    struct loop *loop;
    pthread_t thread;
    struct hands *hands;
    struct mailbox *mailbox;
    struct hand_spec spec;
    char dir[40];
};

static const char *real_hand(void)
{
    const char *path = getenv("HANDSD_HAND");
    return path ? path : "build/hand";
}

static inline void run_loop(void *arg)
{
    loop_run(arg);
}

static inline struct house *house_new(const char *program, uint64_t idle_ms)
{
    static const char *const env[] = {"CONFIGURED=yes", NULL};
    struct house *s = xcalloc(1, sizeof(*s));
    strcpy(s->dir, "/tmp/test-workspace-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    s->loop = loop_new(NULL);
    assert_non_null(s->loop);
    struct hands_config config = {.program = program, .idle_ms = idle_ms, .env = env};
    s->hands = hands_new(s->loop, &config, NULL);
    assert_non_null(s->hands);
    s->mailbox = mailbox_new();
    s->spec = (struct hand_spec){.id = uuid_random(), .owner_token = 3, .working_dir = str_from(s->dir)};
    assert_true(thread_start(&s->thread, "loop", THREAD_STACK_BYTES, run_loop, s->loop, NULL));
    return s;
}

static inline void on_closed(void *arg)
{
    loop_stop(((struct house *)arg)->loop);
}

static inline void close_hands(void *arg)
{
    struct house *s = arg;
    hands_close(s->hands, on_closed, s);
}

static inline void house_free(struct house *s)
{
    loop_call(s->loop, close_hands, s);
    pthread_join(s->thread, NULL);
    hands_free(s->hands);
    loop_free(s->loop);
    mailbox_close(s->mailbox);
    mailbox_unref(s->mailbox);
    rmdir(s->dir);
    free(s);
}

static inline uint64_t now_ms(void)
{
    return clock_mono_ns() / NS_PER_MS;
}

static inline struct buf command(const char *text)
{
    struct buf fields = {0};
    wire_add_str(&fields, F_COMMAND, str_from(text));
    wire_add_int(&fields, F_INPUT, 0);
    return fields;
}

/* Runs a shell command; its output goes to `data`. The exit code, or -1000 - kind of the error. */
static inline int run(struct house *s, const char *text, struct buf *data)
{
    struct buf fields = command(text);
    autobuf result = {0};
    autoerr e = NULL;
    buf_deinit(data);
    if (!hand_call_wait(s->hands, &s->spec, OP_SPAWN, &fields, 10000, s->mailbox, &result, data, 1024 * 1024,
                        &e))
        return -1000 - (int)e->kind;
    assert_int_equal(wire_get_int(buf_str(&result), F_STATUS, -1), WIRE_OK);
    return (int)wire_get_int(buf_str(&result), F_EXIT_CODE, -999);
}

static inline pid_t hand_pid(struct house *s)
{
    autobuf result = {0};
    struct buf fields = {0};
    assert_true(
        hand_call_wait(s->hands, &s->spec, OP_PREPARE, &fields, 10000, s->mailbox, &result, NULL, 0, NULL));
    pid_t pid = (pid_t)wire_get_int(buf_str(&result), F_PID, 0);
    assert_true(pid > 1);
    return pid;
}

/* --- ordinary calls ------------------------------------------------------------------------- */

struct count {
    atomic_int done, gone;
};

static inline void count_done(void *arg, struct str fields, const struct err *e)
{
    struct count *c = arg;
    (void)fields;
    if (e && e->kind == ERR_GONE)
        c->gone++;
    c->done++;
}

static const struct hand_callbacks counting = {.on_done = count_done};

static inline void wait_for(atomic_int *value, int least)
{
    uint64_t start = now_ms();
    while (*value < least) {
        assert_true(now_ms() - start < 10000);
        poll(NULL, 0, 1);
    }
}
