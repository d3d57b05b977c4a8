/* A whole service for tests of the conversation: the real registry, conversations, agent, scripted models, loop and
 * workers over the doubles of store, hands and sockets. `struct world` is one server; several may run at once. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "conversation/internal.h"
#include "base/clock.h"
#include "fake_hands.h"
#include "fake_sockets.h"
#include "fake_store.h"
#include "fake_wait.h"

struct answer { /* of one request */
    struct world *world;
    atomic_bool came;
    struct err *error;
    uint64_t at_ns;
    struct conversation *c; /* of an open or a creation: a reference */
    bool created;
};

struct hold;

struct world {
    struct loop *loop;
    pthread_t loop_thread;
    struct pool *pool;
    struct store *store;
    struct secrets *secrets;
    struct hands *hands;
    struct server *server;
    struct conversations *s;
    struct fake_gate *models; /* in front of every model call; open at first */
    atomic_uint asked;        /* model calls that began */
    char dir[40];             /* of scripts */
    atomic_bool closed;       /* conversations_close has answered */
    struct hold *held;        /* the loop, by world_hold_loop */
};

struct world_options {
    uint64_t idle_ms;
    const char *secret_key; /* NULL: "a key" */
    struct store *store;    /* NULL: a new one */
};
struct world *world_new(const struct world_options *options /* or NULL */);
/* Closes the service in order; the store only if it is not `keep`. One that a plan stalls goes on last. */
void world_free(struct world *w, bool keep);
void world_close_service(struct world *w); /* asks for it; `closed` tells */
/* The loop does nothing until it is let go. */
void world_hold_loop(struct world *w);
void world_let_loop(struct world *w);
/* The held loop closes the service before it does anything else. */
void world_close_when_let(struct world *w);
void world_script(struct world *w, const char *name, const char *lines);

/* A conversation whose model plays script `name`. The answer's reference. */
struct conversation *world_create(struct world *w, const char *script, const char *message /* or NULL */);
void world_create_start(struct world *w, const char *script, const struct uuid *id, const char *message,
                        struct answer *a);
struct conversation *world_open(struct world *w, const struct uuid *id); /* NULL if it cannot be opened */

/* Requests. The answer must live until it has come. */
void answer_init(struct answer *a, struct world *w);
void answer_deinit(struct answer *a);
void answer_done(void *arg, const struct err *e);
void answer_opened(void *arg, struct conversation *c, const struct err *e);
void ask_send(struct conversation *c, struct answer *a, const char *text, bool run);
void ask_run(struct conversation *c, struct answer *a);
void ask_pause(struct conversation *c, struct answer *a);
void ask_interrupt(struct conversation *c, struct answer *a);
void ask_delete(struct world *w, const struct uuid *id, struct answer *a);
/* The same, waiting; the error's kind, or -1. */
int do_send(struct world *w, struct conversation *c, const char *text, bool run);
int do_run(struct world *w, struct conversation *c);
int do_pause(struct world *w, struct conversation *c);
int do_interrupt(struct world *w, struct conversation *c);
int do_delete(struct world *w, const struct uuid *id);

/* What is true of a conversation now. */
bool is_at_rest(struct conversation *c); /* no thread, nothing queued, no repair under way */
bool has_status(struct conversation *c, enum status status);

/* The log. */
unsigned log_count(struct world *w, int64_t number, const char *part); /* events whose text contains it */
int64_t log_find(struct world *w, int64_t number, const char *part);   /* seq of the first, or -1 */
int64_t log_find_last(struct world *w, int64_t number, const char *part);
size_t log_size(struct world *w, int64_t number);
void log_print(struct world *w, int64_t number);
/* Fails unless every action on the path has one result, or waits for confirmation, and no id occurs twice. */
void assert_log_sound(struct world *w, int64_t number);
/* A model's message behind event `seq`? */
bool log_answered(struct world *w, int64_t number, int64_t seq);

/* Frames. */
bool frame_is_full(struct fake_frame f);
bool frame_is_delta(struct fake_frame f);
unsigned full_states(struct world *w, uint64_t socket); /* without the first frame */
uint64_t full_state_at(struct world *w, uint64_t socket, unsigned which /* from 1 */);
size_t frame_events(struct world *w, uint64_t socket); /* frames that are events of the log */
bool frame_last(struct world *w, uint64_t socket, struct fake_frame *f); /* false: there is only the first */
/* The event frames are those of the log from `from` on, in order, none twice; with `whole`, up to its end. */
void assert_frames(struct world *w, uint64_t socket, int64_t number, uint32_t from, bool whole);

/* Most bytes of stack that a run thread has used; 0 under sanitizers. */
extern atomic_size_t run_stack_most;
