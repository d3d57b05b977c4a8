#include "api/slices.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/thread.h"

struct slices {
    const struct slices_maker *maker;
    void *arg;
    struct server *server;
    struct pool *pool;
    uint64_t stream;
    pthread_mutex_t lock;
    bool busy;   /* a job has it */
    bool room;   /* the client wants more, which came during a job */
    bool closed; /* the stream has ended */
    bool over;   /* there is no more */
};

static void slices_free(struct slices *s)
{
    s->maker->free(s->arg);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* True if something was written: then on_room comes. */
static bool make_slice(struct slices *s)
{
    autoerr e = NULL;
    autobuf out = {0};
    bool more = false;
    bool ok = s->maker->make(s->arg, &out, &more, &e);
    bool wrote = ok && out.n > 0;
    if (wrote)
        server_stream_write(s->server, s->stream, bytes_take(&out));
    if (ok && more)
        return wrote;
    if (!ok)
        log_warn("%s ends early: %s", s->maker->name, err_text(e));
    s->over = true;
    server_stream_end(s->server, s->stream, ok);
    return wrote;
}

static void slice_run(void *arg)
{
    struct slices *s = arg;
    bool again = false, closed = false;
    bool wrote = false;
    WITH_LOCK(&s->lock)
    closed = s->closed;
    if (!closed)
        wrote = make_slice(s);
    WITH_LOCK(&s->lock)
    {
        closed = s->closed;
        again = !closed && !s->over && (s->room || !wrote);
        s->room = false;
        s->busy = again;
    }
    if (again)
        pool_submit_long(s->pool, slice_run, s);
    else if (closed)
        slices_free(s);
}

static void on_room(void *arg)
{
    struct slices *s = arg;
    bool start = false;
    WITH_LOCK(&s->lock)
    {
        start = !s->busy && !s->over;
        s->room = s->busy;
        s->busy = s->busy || start;
    }
    if (start)
        pool_submit_long(s->pool, slice_run, s);
}

static void on_closed(void *arg)
{
    struct slices *s = arg;
    bool busy = false;
    WITH_LOCK(&s->lock)
    {
        s->closed = true;
        busy = s->busy;
    }
    if (!busy)
        slices_free(s);
}

void slices_stream(struct request *r, const char *content_type, const struct slices_maker *maker, void *arg)
{
    struct slices *s = xcalloc(1, sizeof(*s));
    *s = (struct slices){
        .maker = maker, .arg = arg, .server = request_server(r), .pool = app_of(r)->config.pool};
    pthread_mutex_init(&s->lock, NULL);
    s->busy = true;
    s->stream = request_stream(r, 200, content_type, -1, on_room, on_closed, s);
    pool_submit_long(s->pool, slice_run, s);
}
