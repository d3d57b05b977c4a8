#include "fake_sockets.h"
#include "fake_wait.h"
#include "base/clock.h"
#include "base/thread.h"
#include "base/vec.h"

struct sink {
    struct server *server;
    struct subscription *sub; /* loop */
    void (*on_room)(void *arg), (*on_gone)(void *arg);
    void *arg;
    VEC(struct fake_frame) frames;
    size_t pending, pending_max;
    bool slow, open;
    int code;
};

struct server {
    pthread_mutex_t lock;
    struct loop *loop;
    VEC(struct sink *) sinks; /* socket n is at n - 1 */
};

struct server *fake_server_new(struct loop *loop)
{
    struct server *s = xcalloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    s->loop = loop;
    return s;
}

void fake_server_free(struct server *s)
{
    for (size_t i = 0; i < s->sinks.n; i++) {
        struct sink *k = s->sinks.at[i];
        for (size_t f = 0; f < k->frames.n; f++)
            bytes_unref(k->frames.at[f].text);
        vec_deinit(&k->frames);
        free(k);
    }
    vec_deinit(&s->sinks);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Under the lock. */
static struct sink *sink_of(const struct server *s, uint64_t socket)
{
    return socket > 0 && socket <= s->sinks.n ? s->sinks.at[socket - 1] : NULL;
}

bool socket_send(struct server *s, uint64_t socket, struct bytes *text)
{
    bool sent = false;
    WITH_LOCK(&s->lock)
    {
        struct sink *k = sink_of(s, socket);
        sent = k && k->open && !k->code;
        if (sent) {
            vec_push(&k->frames, (struct fake_frame){bytes_ref(text), clock_mono_ns()});
            if (k->slow)
                k->pending += text->n;
            if (k->pending > k->pending_max)
                k->pending_max = k->pending;
        }
    }
    bytes_unref(text);
    fake_changed();
    return sent;
}

size_t socket_pending(const struct server *s, uint64_t socket)
{
    size_t n = 0;
    WITH_LOCK(&((struct server *)s)->lock)
    {
        struct sink *k = sink_of(s, socket);
        n = k ? k->pending : 0;
    }
    return n;
}

/* Loop: on_close of a real socket. */
static void gone(void *arg)
{
    struct sink *k = arg;
    if (k->sub)
        subscription_close(steal(k->sub));
    if (k->on_gone)
        k->on_gone(k->arg);
    fake_changed();
}

void socket_close(struct server *s, uint64_t socket, int code, const char *reason)
{
    (void)reason;
    struct sink *k = NULL;
    WITH_LOCK(&s->lock)
    {
        k = sink_of(s, socket);
        if (k && k->code)
            k = NULL;
        if (k)
            k->code = code;
    }
    if (k)
        loop_call(s->loop, gone, k);
    fake_changed();
}

/* ---- what the test does ---- */

struct opening {
    struct sink *sink;
    struct conversation *c;
    uint64_t socket;
    enum resend resend;
    int64_t since_us;
    atomic_bool done;
};

static void open_on_loop(void *arg)
{
    struct opening *o = arg;
    o->sink->sub = subscription_open(o->c, o->socket, o->resend, o->since_us);
    if (!o->sink->sub)
        o->socket = 0;
    atomic_store(&o->done, true);
    fake_changed();
}

static uint64_t socket_open(struct server *s, struct conversation *c, enum resend resend, int64_t since_us,
                            bool slow)
{
    struct opening o = {.c = c, .resend = resend, .since_us = since_us};
    o.sink = xcalloc(1, sizeof(*o.sink));
    o.sink->server = s;
    o.sink->open = true;
    o.sink->slow = slow;
    WITH_LOCK(&s->lock)
    {
        vec_push(&s->sinks, o.sink);
        o.socket = s->sinks.n;
    }
    loop_call(s->loop, open_on_loop, &o);
    AWAIT(atomic_load(&o.done));
    return o.socket;
}

uint64_t fake_socket_open(struct server *s, struct conversation *c, enum resend resend, int64_t since_us)
{
    return socket_open(s, c, resend, since_us, false);
}

uint64_t fake_socket_open_slow(struct server *s, struct conversation *c, enum resend resend)
{
    return socket_open(s, c, resend, 0, true);
}

static struct sink *sink_get(struct server *s, uint64_t socket)
{
    struct sink *k = NULL;
    WITH_LOCK(&s->lock)
    k = sink_of(s, socket);
    return k;
}

static void room(void *arg)
{
    struct sink *k = arg;
    if (k->sub)
        subscription_room(k->sub);
    if (k->on_room)
        k->on_room(k->arg);
}

void fake_socket_take(struct server *s, uint64_t socket)
{
    struct sink *k = sink_get(s, socket);
    WITH_LOCK(&s->lock)
    k->pending = 0;
    loop_call(s->loop, room, k);
}

void fake_socket_hang_up(struct server *s, uint64_t socket)
{
    socket_close(s, socket, 1000, "");
}

bool fake_socket_hang_up_if(struct server *s, uint64_t socket)
{
    bool exists = sink_get(s, socket) != NULL;
    if (exists)
        fake_socket_hang_up(s, socket);
    return exists;
}

int fake_socket_code(struct server *s, uint64_t socket)
{
    int code = 0;
    WITH_LOCK(&s->lock)
    code = sink_of(s, socket)->code;
    return code;
}

size_t fake_socket_count(struct server *s, uint64_t socket)
{
    size_t n = 0;
    WITH_LOCK(&s->lock)
    n = sink_of(s, socket)->frames.n;
    return n;
}

struct fake_frame fake_socket_frame(struct server *s, uint64_t socket, size_t i)
{
    struct fake_frame frame;
    WITH_LOCK(&s->lock)
    frame = sink_of(s, socket)->frames.at[i];
    return frame;
}

size_t fake_socket_pending_max(struct server *s, uint64_t socket)
{
    size_t n = 0;
    WITH_LOCK(&s->lock)
    n = sink_of(s, socket)->pending_max;
    return n;
}

uint64_t fake_socket_new(struct server *s, bool slow, void (*on_room)(void *arg), void (*on_gone)(void *arg),
                         void *arg)
{
    uint64_t socket = 0;
    struct sink *k = xcalloc(1, sizeof(*k));
    *k = (struct sink){
        .server = s, .slow = slow, .open = true, .on_room = on_room, .on_gone = on_gone, .arg = arg};
    WITH_LOCK(&s->lock)
    {
        vec_push(&s->sinks, k);
        socket = s->sinks.n;
    }
    return socket;
}
