/* What the tests of tools with a real hand share. Included by one C file per program. */
#pragma once
#include "agent_fixture.h"
#include <pthread.h>

static struct loop *loop;
static struct hands *hands;
static pthread_t loop_thread;

static inline void *loop_main(void *arg)
{
    loop_run(arg);
    return NULL;
}

static inline int start(void **state)
{
    (void)state;
    autoerr e = NULL;
    const char *program = getenv("HANDSD_HAND");
    loop = loop_new(&e);
    assert_non_null(loop);
    hands = hands_new(loop, &(struct hands_config){.program = program ? program : "build/hand"}, &e);
    if (!hands)
        fail_msg("%s", err_text(e));
    return pthread_create(&loop_thread, NULL, loop_main, loop);
}

static inline void hands_closed(void *arg)
{
    loop_stop(arg);
}

static inline void hands_do_close(void *arg)
{
    hands_close(hands, hands_closed, arg);
}

static inline int stop(void **state)
{
    (void)state;
    loop_call(loop, hands_do_close, loop);
    pthread_join(loop_thread, NULL);
    hands_free(hands);
    loop_free(loop);
    return 0;
}

static pthread_barrier_t closing;

static inline void closed_one(void *arg)
{
    (void)arg;
    pthread_barrier_wait(&closing);
}

static inline void close_one(void *arg)
{
    hands_close(arg, closed_one, NULL);
}

/* Hands of a test's own. */
static inline void hands_close_wait(struct hands *own)
{
    pthread_barrier_init(&closing, NULL, 2);
    loop_call(loop, close_one, own);
    pthread_barrier_wait(&closing);
    hands_free(own);
}

static inline void begin(struct fake *f, const char *lines)
{
    fake_init(f);
    f->host.hands = hands;
    f->host.hand = (struct hand_spec){.id = uuid_random(), .owner_token = 1, .working_dir = str_from(f->dir)};
    fake_script(f, "[{\"name\":\"terminal\"},{\"name\":\"file_editor\"}]", lines);
    fake_user(f, "go");
}

static inline void end(struct fake *f)
{
    hand_end(hands, &f->host.hand.id);
    fake_deinit(f);
}

/* What the model reads of the newest result. */
static inline char *model_reads(const struct fake *f)
{
    autoarena arena = arena_new();
    const struct llm_message *m;
    size_t n;
    view_messages(f->view, 0, arena, &m, &n);
    assert_int_equal(m[n - 1].role, LLM_TOOL);
    return str_dup(m[n - 1].parts[0].text);
}
