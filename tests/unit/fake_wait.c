#include "fake_wait.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/mailbox.h"
#include "base/thread.h"
#include "base/vec.h"

#define WAIT_S \
    30 /* a wait that takes longer has failed; generous, because sanitizers and neighbours are slow */
#define LOOK_AGAIN_MS 5 /* for conditions without an event */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint64_t serial;
void (*fake_on_expired)(void);

static void init(void)
{
    thread_cond_init(&wake);
}

void fake_changed(void)
{
    pthread_once(&once, init);
    WITH_LOCK(&lock)
    {
        serial++;
        pthread_cond_broadcast(&wake);
    }
}

uint64_t fake_serial(void)
{
    uint64_t now = 0;
    WITH_LOCK(&lock)
    now = serial;
    return now;
}

uint64_t fake_deadline(void)
{
    return clock_mono_ns() + WAIT_S * NS_PER_S;
}

bool fake_wait_change(uint64_t seen, uint64_t until_ns)
{
    pthread_once(&once, init);
    WITH_LOCK(&lock)
    if (serial == seen)
        thread_cond_wait(&wake, &lock, clock_mono_ns() + LOOK_AGAIN_MS * NS_PER_MS);
    return clock_mono_ns() < until_ns;
}

void fake_expired(const char *what, const char *file, int line)
{
    if (fake_on_expired)
        fake_on_expired();
    fprintf(stderr, "waited %d s in vain for: %s\n", WAIT_S, what);
    _fail(file, line);
    abort();
}

/* ---- gates ---- */

struct held {
    struct mailbox *mailbox;
    uint64_t tag;
};

struct fake_gate {
    pthread_mutex_t lock;
    bool closed;
    VEC(struct held) held;
};

struct fake_gate *fake_gate_new(void)
{
    struct fake_gate *g = xcalloc(1, sizeof(*g));
    pthread_mutex_init(&g->lock, NULL);
    return g;
}

void fake_gate_free(struct fake_gate *g)
{
    vec_deinit(&g->held);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

void fake_gate_close(struct fake_gate *g)
{
    WITH_LOCK(&g->lock)
    g->closed = true;
}

static void mail_free(struct mail *m)
{
    free(m);
}

void fake_gate_open(struct fake_gate *g)
{
    WITH_LOCK(&g->lock)
    {
        g->closed = false;
        for (size_t i = 0; i < g->held.n; i++) {
            struct mail *m = xcalloc(1, sizeof(*m));
            m->tag = g->held.at[i].tag;
            m->free = mail_free;
            mailbox_post(g->held.at[i].mailbox, m);
        }
    }
}

unsigned fake_gate_waiting(struct fake_gate *g)
{
    unsigned n = 0;
    WITH_LOCK(&g->lock)
    n = (unsigned)g->held.n;
    return n;
}

bool fake_gate_pass(struct fake_gate *g, struct mailbox *mailbox)
{
    uint64_t tag = mailbox_tag(mailbox);
    bool waits = false;
    WITH_LOCK(&g->lock)
    {
        waits = g->closed;
        if (waits)
            vec_push(&g->held, (struct held){mailbox, tag});
    }
    if (!waits)
        return !mailbox_cancelled(mailbox);
    fake_changed();
    struct mail *m = NULL;
    bool passed = mailbox_wait(mailbox, tag, 0, true, &m) == MAILBOX_MAIL;
    free(m);
    WITH_LOCK(&g->lock)
    for (size_t i = 0; i < g->held.n; i++)
        if (g->held.at[i].mailbox == mailbox && g->held.at[i].tag == tag) {
            vec_remove(&g->held, i);
            break;
        }
    if (!passed)
        mailbox_forget(mailbox, tag);
    fake_changed();
    return passed;
}
