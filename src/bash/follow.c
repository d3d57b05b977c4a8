/* follow: a cursor on a socket, never a queue. One that keeps up is sent what has just been stored; one that fell behind
 * reads pages from the store by a worker: the events of commands are few and large, so there is no tail in memory. */
#include "bash/internal.h"
#include "base/log.h"

#define AHEAD (256 * 1024) /* bytes given to a socket before it has taken them */

struct bash_follower {
    struct bash *b;
    struct bash_follower *next, **link;
    uint64_t socket;
    int64_t stream;    /* what the cursor counts in; another one after a clear */
    uint32_t next_seq; /* next event wanted */
    bool reading;      /* a worker fetches a page */
    bool closed;       /* freed when the worker is back */
    struct bytes **page;
    size_t page_n, page_at;
};

struct page_job {
    struct bash_follower *f;
    struct bash *b;
    int64_t stream;
    uint32_t from, to;
    bool failed;
    struct bytes **frames;
    size_t n;
};

static void pump(struct bash_follower *f);

static void page_free(struct bash_follower *f)
{
    for (; f->page_at < f->page_n; f->page_at++)
        bytes_unref(f->page[f->page_at]);
    free(steal(f->page));
    f->page_n = f->page_at = 0;
}

static void follower_free(struct bash_follower *f)
{
    page_free(f);
    free(f);
}

static void page_ready(void *arg)
{
    struct page_job *job = arg;
    struct bash_follower *f = job->f;
    bool stale = job->stream != f->b->stream || f->b->clearing; /* forgotten meanwhile, or about to be */
    f->reading = false;
    f->page = job->frames;
    f->page_n = job->n;
    f->page_at = 0;
    if (stale)
        page_free(f);
    if (f->closed)
        follower_free(f);
    else if (job->failed && !stale) /* the disk does not answer: the client comes back by itself */
        socket_close(f->b->config.server, f->socket, 1011, "storage error");
    else
        pump(f);
    free(job);
}

static void page_read(void *arg)
{
    struct page_job *job = arg;
    autoarena arena = arena_new();
    struct store_item *items;
    size_t n = 0;
    autoerr e = NULL;
    if (!store_read(job->b->config.store, job->stream, job->from, job->to, STORE_LIST_MAX, false, arena,
                    &items, &n, &e) ||
        n == 0) {
        log_debug("a page of the events of commands cannot be read: %s", err_text(e));
        job->failed = true;
    }
    job->frames = n > 0 ? xcalloc(n, sizeof(*job->frames)) : NULL;
    for (size_t i = 0; i < n; i++)
        job->frames[i] = bytes_new(items[i].json);
    job->n = n;
    loop_call(job->b->config.loop, page_ready, job);
}

static void read_on(struct bash_follower *f)
{
    struct page_job *job = xcalloc(1, sizeof(*job));
    *job =
        (struct page_job){.f = f, .b = f->b, .stream = f->stream, .from = f->next_seq, .to = f->b->next_seq};
    f->reading = true;
    pool_submit_always(f->b->config.pool, page_read, job);
}

/* A frame that is refused would be a hole: the client has to come back for it. */
static bool send_frame(struct bash_follower *f, struct bytes *frame)
{
    f->next_seq++;
    if (socket_send(f->b->config.server, f->socket, frame))
        return true;
    socket_close(f->b->config.server, f->socket, 1011, "a frame could not be sent");
    return false;
}

/* False: nothing more can be done now. */
static bool send_next(struct bash_follower *f)
{
    if (f->page_at == f->page_n) {
        read_on(f);
        return false;
    }
    struct bytes *frame = f->page[f->page_at++];
    if (f->page_at == f->page_n)
        page_free(f);
    return send_frame(f, frame);
}

static void pump(struct bash_follower *f)
{
    struct bash *b = f->b;
    if (f->stream != b->stream && b->stream != 0 && !f->reading) { /* cleared */
        page_free(f);
        f->stream = b->stream;
        f->next_seq = 0;
    }
    while (!f->reading && !f->closed && !b->clearing && f->stream == b->stream && f->next_seq < b->next_seq &&
           socket_pending(b->config.server, f->socket) < AHEAD && send_next(f))
        ;
}

struct bash_follower *bash_follow(struct bash *b, uint64_t socket, bool from_start)
{
    if (b->follower_count >= BASH_FOLLOWERS_MAX)
        return NULL;
    struct bash_follower *f = xcalloc(1, sizeof(*f));
    *f = (struct bash_follower){.b = b,
                                .socket = socket,
                                .stream = b->stream,
                                .next_seq = from_start ? 0 : b->next_seq,
                                .next = b->followers,
                                .link = &b->followers};
    if (f->next)
        f->next->link = &f->next;
    b->followers = f;
    b->follower_count++;
    pump(f);
    return f;
}

void bash_follower_room(struct bash_follower *f)
{
    pump(f);
}

void bash_follower_close(struct bash_follower *f)
{
    if (f->next)
        f->next->link = f->link;
    *f->link = f->next;
    f->b->follower_count--;
    f->closed = true;
    if (!f->reading)
        follower_free(f);
}

void followers_tell(struct bash *b, uint32_t seq, struct bytes *json)
{
    for (struct bash_follower *f = b->followers, *next; f; f = next) {
        next = f->next;
        if (!f->reading && f->page_at == f->page_n && f->stream == b->stream && f->next_seq == seq &&
            socket_pending(b->config.server, f->socket) < AHEAD)
            send_frame(f, bytes_ref(json));
    }
}

void followers_wake(struct bash *b)
{
    for (struct bash_follower *f = b->followers, *next; f; f = next) {
        next = f->next;
        pump(f);
    }
}
