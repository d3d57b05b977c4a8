#include "net/outward.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/thread.h"
#include "net/outward_call.h"
#include <limits.h>

/* One thread, started by the first call. Other threads only put calls and cancels into two lists under one lock and
 * wake it (curl_multi_wakeup); no callback runs under that lock. Waits: curl_multi_poll ends by a socket, a wake-up,
 * curl's own timers or the nearest idle deadline. */

/* Idle connections kept for the next call; one with TLS holds some 60 kB. */
#define CONNECTIONS_KEPT_MAX 32L
#define STACK_BYTES (1024 * 1024)

/* Never by a proxy, whatever the environment says. */
#define DIRECT_HOSTS "localhost,127.0.0.0/8,127.0.0.1,::1,[::1]"

struct outward {
    pthread_mutex_t lock;
    pthread_cond_t asked; /* waited for only when there is no libcurl to wait in */
    /* under the lock */
    bool started, stopping;
    uint64_t last_id;
    size_t count; /* calls started and not ended */
    struct outward_call *first, *last;
    VEC(uint64_t) cancels;
    CURLM *multi; /* set once by the thread; others only wake it */
    pthread_t thread;
    /* of the thread alone */
    const struct curl_table *curl;
    struct map_u64 *by_id;
    VEC(struct outward_call *) running;
    uint64_t idle_check_ns; /* no idle deadline lies before it; 0: none at all */
    struct err *unusable;   /* why no call can be made */
    char *no_proxy, *ca_file;
};

struct outward *outward_new(void)
{
    struct outward *o = xcalloc(1, sizeof(*o));
    pthread_mutex_init(&o->lock, NULL);
    thread_cond_init(&o->asked);
    return o;
}

struct str outward_header(struct str headers, struct str name)
{
    struct str line;
    while (str_split(&headers, '\n', &line)) {
        ssize_t colon = str_find_char(line, ':');
        if (colon > 0 && str_eq_nocase(str_sub(line, 0, (size_t)colon), name))
            return str_trim(str_sub(line, (size_t)colon + 1, line.n));
    }
    return STR_NONE;
}

/* --- the thread ------------------------------------------------------------------------------- */

/* The call leaves every list before its callback, so that the callback may start others. */
static void call_end(struct outward *o, struct outward_call *c, CURLcode code)
{
    if (map_u64_remove(o->by_id, c->id)) {
        o->curl->multi_remove_handle(o->multi, c->easy);
        o->running.at[c->index] = o->running.at[o->running.n - 1];
        o->running.at[c->index]->index = c->index;
        o->running.n--;
    }
    WITH_LOCK(&o->lock)
    o->count--;
    outward_call_finish(c, code);
    outward_call_free(c);
}

static void idle_note(struct outward *o, uint64_t deadline)
{
    if (deadline && (o->idle_check_ns == 0 || deadline < o->idle_check_ns))
        o->idle_check_ns = deadline;
}

static void call_begin(struct outward *o, struct outward_call *c)
{
    c->active_ns = clock_mono_ns();
    if (!c->error && o->unusable)
        c->error = err_copy(o->unusable);
    if (c->error || !outward_call_prepare(c, o->curl, o->no_proxy, o->ca_file)) {
        call_end(o, c, CURLE_OK);
        return;
    }
    c->index = o->running.n;
    vec_push(&o->running, c);
    map_u64_put(o->by_id, c->id, c);
    idle_note(o, outward_call_idle_deadline(c));
    CURLMcode code = o->curl->multi_add_handle(o->multi, c->easy);
    if (code != CURLM_OK) {
        err_set(&c->error, ERR_INTERNAL, "libcurl refused the call (%d)", (int)code);
        call_end(o, c, CURLE_OK);
    }
}

/* Takes what other threads asked for. False when the thread is to end. */
static bool requests_take(struct outward *o)
{
    struct outward_call *first = NULL;
    VEC(uint64_t) cancels = {0};
    bool stopping = false;
    WITH_LOCK(&o->lock)
    {
        first = o->first;
        o->first = o->last = NULL;
        memcpy(&cancels, &o->cancels, sizeof(cancels));
        memset(&o->cancels, 0, sizeof(o->cancels));
        stopping = o->stopping;
    }
    while (first) {
        struct outward_call *c = first;
        first = c->next;
        call_begin(o, c);
    }
    /* A cancel was asked for after its start, so the call is in the table by now, or has ended. */
    for (size_t i = 0; i < cancels.n; i++) {
        struct outward_call *c = map_u64_get(o->by_id, cancels.at[i]);
        if (c) {
            err_set(&c->error, ERR_CANCELLED, "the call was cancelled");
            call_end(o, c, CURLE_OK);
        }
    }
    vec_deinit(&cancels);
    return !stopping;
}

static void finished_take(struct outward *o)
{
    CURLMsg *message;
    int left;
    while ((message = o->curl->multi_info_read(o->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result; /* the message dies with the handle's removal */
        struct outward_call *c = NULL;
        o->curl->easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        if (code == CURLE_OK && !c->error && outward_call_redirect(c)) {
            o->curl->multi_remove_handle(o->multi, c->easy);
            o->curl->multi_add_handle(o->multi, c->easy);
            continue;
        }
        call_end(o, c, code);
    }
}

/* Ends calls whose other side is silent for too long. Activity only moves deadlines back, so a look is due no earlier
 * than the nearest deadline seen at the last one. */
static void idle_check(struct outward *o)
{
    uint64_t now = clock_mono_ns();
    if (o->idle_check_ns == 0 || now < o->idle_check_ns)
        return;
    o->idle_check_ns = 0;
    for (size_t i = o->running.n; i-- > 0;) {
        struct outward_call *c = o->running.at[i];
        uint64_t deadline = outward_call_idle_deadline(c);
        if (deadline && deadline <= now) {
            err_set(&c->error, ERR_TIMEOUT, "nothing came for %llu ms",
                    (unsigned long long)c->request.idle_timeout_ms);
            call_end(o, c, CURLE_OK);
        } else {
            idle_note(o, deadline);
        }
    }
}

static int wait_ms(const struct outward *o)
{
    if (o->idle_check_ns == 0)
        return INT_MAX;
    uint64_t now = clock_mono_ns();
    uint64_t ms = o->idle_check_ns <= now ? 0 : (o->idle_check_ns - now) / NS_PER_MS + 1;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

static void thread_open(struct outward *o)
{
    o->by_id = map_u64_new();
    const char *given = getenv("no_proxy") ? getenv("no_proxy") : getenv("NO_PROXY");
    struct buf list = {0};
    buf_addf(&list, "%s%s%s", given ? given : "", given && *given ? "," : "", DIRECT_HOSTS);
    o->no_proxy = str_dup(given && str_is(str_trim(str_from(given)), "*") ? STR("*") : buf_str(&list));
    buf_deinit(&list);
    const char *ca_file = getenv("SSL_CERT_FILE"); /* what OpenSSL's own programs read */
    o->ca_file = ca_file && *ca_file ? str_dup(str_from(ca_file)) : NULL;
    o->curl = curl_open(&o->unusable);
    CURLM *multi = o->curl ? o->curl->multi_init() : NULL;
    if (!multi) {
        err_set(&o->unusable, ERR_INTERNAL, "libcurl gave no multi handle");
        return;
    }
    o->curl->multi_setopt(multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT_MAX);
    WITH_LOCK(&o->lock)
    o->multi = multi;
}

static void thread_run(void *arg)
{
    struct outward *o = arg;
    thread_open(o);
    int running, ready;
    while (requests_take(o)) {
        if (!o->multi) { /* no libcurl: calls are only refused */
            WITH_LOCK(&o->lock)
            while (!o->first && !o->stopping)
                thread_cond_wait(&o->asked, &o->lock, 0);
            continue;
        }
        o->curl->multi_perform(o->multi, &running);
        finished_take(o);
        idle_check(o);
        o->curl->multi_poll(o->multi, NULL, 0, wait_ms(o), &ready);
    }
    while (o->running.n > 0) {
        struct outward_call *c = o->running.at[o->running.n - 1];
        err_set(&c->error, ERR_CANCELLED, "the server is stopping");
        call_end(o, c, CURLE_OK);
    }
    requests_take(o);
}

/* --- any thread ------------------------------------------------------------------------------- */

/* `multi` as it was under the lock. A thread that has none yet looks at the lists before it first waits. */
static void wake(struct outward *o, CURLM *multi)
{
    if (multi)
        o->curl->multi_wakeup(multi);
    else
        pthread_cond_signal(&o->asked);
}

uint64_t outward_start(struct outward *o, const struct outward_request *request)
{
    struct outward_call *c = outward_call_new(request);
    c->started_ns = clock_mono_ns();
    CURLM *multi = NULL;
    uint64_t id = 0;
    bool started = false;
    WITH_LOCK(&o->lock)
    {
        if (!o->started)
            o->started = thread_start(&o->thread, "outward", STACK_BYTES, thread_run, o, &c->error);
        started = o->started;
        if (!c->error && o->count >= OUTWARD_CALLS_MAX)
            err_set(&c->error, ERR_BUSY, "%d outgoing calls are under way", OUTWARD_CALLS_MAX);
        id = c->id = ++o->last_id;
        if (started) {
            o->count++;
            if (o->last)
                o->last->next = c;
            else
                o->first = c;
            o->last = c;
            multi = o->multi;
        }
    }
    if (started) {
        wake(o, multi);
    } else { /* no thread to be had: the one answer that comes on the caller's */
        outward_call_finish(c, CURLE_OK);
        outward_call_free(c);
    }
    return id;
}

void outward_cancel(struct outward *o, uint64_t call)
{
    CURLM *multi = NULL;
    WITH_LOCK(&o->lock)
    {
        vec_push(&o->cancels, call);
        multi = o->multi;
    }
    wake(o, multi);
}

void outward_free(struct outward *o)
{
    if (!o)
        return;
    CURLM *multi = NULL;
    bool started = false;
    WITH_LOCK(&o->lock)
    {
        o->stopping = true;
        multi = o->multi;
        started = o->started;
    }
    wake(o, multi);
    if (started)
        pthread_join(o->thread, NULL);
    if (o->multi)
        o->curl->multi_cleanup(o->multi);
    map_u64_free(o->by_id);
    vec_deinit(&o->running);
    vec_deinit(&o->cancels);
    err_free(o->unusable);
    free(o->no_proxy);
    free(o->ca_file);
    pthread_cond_destroy(&o->asked);
    pthread_mutex_destroy(&o->lock);
    free(o);
}
