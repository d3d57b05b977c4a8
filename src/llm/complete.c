/* Calls: one attempt over HTTP or by a script, and the attempts around it.
 *
 * An exchange is what the outward thread and the run share while a call is under way. The outward thread feeds the
 * reader and at the end posts the exchange to the run's mailbox; a run that stops waiting detaches it first, so that no
 * delta reaches a caller that has gone. */
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "llm/provider.h"

/* A server may ask for a longer pause than our back-off has, but not for any. */
#define RETRY_AFTER_MAX_S 120.0

void llm_http_deinit(struct llm_http *h)
{
    arena_free(h->arena);
    vec_deinit(&h->headers);
    if (h->body.p)
        buf_deinit(&h->body);
}

struct exchange {
    struct mail mail; /* first: the mailbox gives it back as this */
    struct llm *llm;
    struct llm_reader *reader; /* the outward thread's until `done`, then the taker's */
    struct mailbox *mailbox;   /* NULL: `done` instead */
    void (*done)(void *arg, const struct llm_answer *answer, const struct err *e);
    pthread_mutex_t lock; /* on_delta: held during the call */
    void (*on_delta)(void *arg, struct str content, struct str reasoning);
    void *arg;
    int status;
    struct buf headers;
    struct err *transport;
    double seconds;
    unsigned sent; /* enum llm_param; for `done` */
};

static void exchange_free(struct exchange *x)
{
    llm_reader_free(x->reader);
    llm_unref(x->llm);
    mailbox_unref(x->mailbox);
    buf_deinit(&x->headers);
    err_free(x->transport);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

static void exchange_mail_free(struct mail *mail)
{
    exchange_free((struct exchange *)mail);
}

static struct exchange *exchange_new(struct llm *l, const struct llm_request *request)
{
    struct exchange *x = xcalloc(1, sizeof(*x));
    x->llm = llm_ref(l);
    x->reader = llm_reader_new(l);
    pthread_mutex_init(&x->lock, NULL);
    x->on_delta = l->stream ? request->on_delta : NULL;
    x->arg = request->arg;
    return x;
}

/* Whoever asked has stopped waiting: after this no delta comes, and none is under way. */
static void exchange_detach(struct exchange *x)
{
    WITH_LOCK(&x->lock)
    x->on_delta = NULL;
}

/* --- on the outward thread ------------------------------------------------------------------------------ */

static void on_headers(void *arg, int status, struct str headers)
{
    (void)headers;
    struct exchange *x = arg;
    llm_reader_head(x->reader, status);
}

static bool on_data(void *arg, struct str data)
{
    struct exchange *x = arg;
    struct str content, reasoning;
    bool more = llm_reader_feed(x->reader, data, &content, &reasoning);
    if (content.n > 0 || reasoning.n > 0)
        WITH_LOCK(&x->lock)
        {
            if (x->on_delta)
                x->on_delta(x->arg, content, reasoning);
        }
    return more;
}

static bool exchange_finish(struct exchange *x, struct arena *arena, struct llm_answer *answer,
                            struct llm_failure *failure, struct err **e)
{
    if (!llm_reader_end(x->reader, x->status, buf_str(&x->headers), x->transport, arena, answer, failure, e))
        return false;
    answer->usage.seconds = x->seconds;
    answer->usage.cost = llm_cost(x->llm, &answer->usage, buf_str(&x->headers));
    return true;
}

/* The server does not know a parameter: from now on it is left out. Each is learnt once, so this ends. */
static bool params_dropped(struct llm *l, const struct llm_failure *failure)
{
    if (!l->drop_params || failure->refused == 0)
        return false;
    unsigned before = atomic_fetch_or(&l->refused, failure->refused);
    return (before & failure->refused) != failure->refused;
}

static void exchange_deliver(struct exchange *x)
{
    autoarena arena = arena_new();
    autoerr e = NULL;
    struct llm_answer answer = {0};
    struct llm_failure failure = {0};
    bool ok = exchange_finish(x, arena, &answer, &failure, &e);
    failure.refused &= x->sent;
    if (!ok && e && params_dropped(x->llm, &failure))
        e->kind = ERR_CONFLICT;
    x->done(x->arg, ok ? &answer : NULL, e);
    exchange_free(x);
}

static void on_done(void *arg, const struct outward_result *result)
{
    struct exchange *x = arg;
    x->status = result->status;
    buf_add(&x->headers, result->headers);
    x->transport = result->error ? err_copy(result->error) : NULL;
    x->seconds = result->seconds;
    if (x->mailbox)
        mailbox_post(x->mailbox, &x->mail);
    else
        exchange_deliver(x);
}

/* --- one attempt -------------------------------------------------------------------------------------------- */

static bool attempt_request(struct llm *l, const struct llm_request *request,
                            const struct llm_attempt *attempt, struct llm_http *http,
                            struct llm_failure *failure, struct err **e)
{
    *failure = (struct llm_failure){.retry_after = -1};
    if (l->unusable) {
        if (e && !*e)
            *e = err_copy(l->unusable);
        return false;
    }
    http->arena = arena_new();
    return l->provider->dialect->request(l, request, attempt, http, e);
}

static uint64_t exchange_start(struct exchange *x, const struct llm_context *context,
                               const struct llm_http *http)
{
    struct llm *l = x->llm;
    uint64_t timeout = (uint64_t)(l->timeout * 1000);
    return outward_start(context->outward,
                         &(struct outward_request){
                             .method = STR("POST"),
                             .url = l->url,
                             .headers = http->headers.at,
                             .header_count = http->headers.n,
                             .body = buf_str(&http->body),
                             .timeout_ms = l->stream ? timeout * LLM_STREAM_PATIENCE : timeout,
                             .idle_timeout_ms = l->stream ? timeout : 0,
                             .body_max = LLM_ANSWER_MAX,
                             .redirects = LLM_REDIRECTS_MAX,
                             .on_headers = on_headers,
                             .on_data = on_data,
                             .on_done = on_done,
                             .arg = x,
                         });
}

static bool attempt_http(struct llm *l, const struct llm_context *context, const struct llm_request *request,
                         const struct llm_attempt *attempt, struct mailbox *mailbox, struct arena *arena,
                         struct llm_answer *answer, struct llm_failure *failure, struct err **e)
{
    struct llm_http http = {0};
    if (!attempt_request(l, request, attempt, &http, failure, e)) {
        llm_http_deinit(&http);
        return false;
    }
    unsigned sent = http.sent;
    /* It belongs to its mail from here on. While this run neither takes nor forgets that mail, nobody frees it. */
    struct exchange *x = exchange_new(l, request);
    uint64_t tag = mailbox_tag(mailbox);
    x->mailbox = mailbox_ref(mailbox);
    x->mail = (struct mail){.tag = tag, .free = exchange_mail_free};
    uint64_t call = exchange_start(x, context, &http);
    llm_http_deinit(
        &http); /* outward has its copy; nothing of the request stays here while the model thinks */
    struct mail *mail = NULL;
    if (mailbox_wait(mailbox, tag, 0, true, &mail) != MAILBOX_MAIL) {
        exchange_detach(x);
        outward_cancel(context->outward, call);
        mailbox_forget(mailbox, tag);
        return err_set(e, ERR_CANCELLED, "cancelled");
    }
    bool ok = exchange_finish(x, arena, answer, failure, e);
    failure->refused &= sent;
    exchange_free(x);
    return ok;
}

static bool attempt_run(struct llm *l, const struct llm_context *context, const struct llm_request *request,
                        const struct llm_attempt *attempt, struct mailbox *mailbox, struct arena *arena,
                        struct llm_answer *answer, struct llm_failure *failure, struct err **e)
{
    if (mailbox_cancelled(mailbox))
        return err_set(e, ERR_CANCELLED, "cancelled");
    if (!l->provider->play)
        return attempt_http(l, context, request, attempt, mailbox, arena, answer, failure, e);
    uint64_t start = clock_mono_ns();
    if (!l->provider->play(l, context, request, attempt, mailbox, arena, answer, failure, e))
        return false;
    answer->usage.seconds = (double)(clock_mono_ns() - start) / (double)NS_PER_S;
    return true;
}

/* --- attempts -------------------------------------------------------------------------------------------------- */

/* multiplier × 2^(attempt − 1), within the configured bounds; what the server asks for goes before. */
static double retry_seconds(const struct llm *l, unsigned attempt, const struct llm_failure *failure)
{
    if (failure->retry_after >= 0)
        return failure->retry_after < RETRY_AFTER_MAX_S ? failure->retry_after : RETRY_AFTER_MAX_S;
    double seconds = l->retry_multiplier * (double)(1ull << (attempt - 1));
    if (seconds > l->retry_max)
        seconds = l->retry_max;
    return seconds < l->retry_min ? l->retry_min : seconds;
}

static bool retry_wait(double seconds, struct mailbox *mailbox, struct err **e)
{
    struct mail *mail = NULL;
    uint64_t deadline = clock_mono_ns() + (uint64_t)(seconds * (double)NS_PER_S);
    if (mailbox_wait(mailbox, mailbox_tag(mailbox), deadline, true, &mail) == MAILBOX_CANCELLED)
        return err_set(e, ERR_CANCELLED, "cancelled");
    return true;
}

bool llm_complete(struct llm *l, const struct llm_context *context, const struct llm_request *request,
                  struct mailbox *mailbox, struct arena *arena, struct llm_answer *answer, struct err **e)
{
    struct llm_attempt attempt = {.number = 1};
    for (;;) {
        autoerr why = NULL;
        struct llm_failure failure = {.retry_after = -1};
        attempt.refused = atomic_load(&l->refused);
        if (attempt_run(l, context, request, &attempt, mailbox, arena, answer, &failure, &why))
            return true;
        if (why->kind != ERR_CANCELLED && params_dropped(l, &failure)) {
            log_info("llm: the server does not know a parameter; trying again without it");
            continue;
        }
        if (why->kind == ERR_CANCELLED || !failure.retry || attempt.number >= l->attempts) {
            if (e && !*e)
                *e = steal(why);
            return false;
        }
        double seconds = retry_seconds(l, attempt.number, &failure);
        /* Not what the server says, which may repeat what it was sent: on_retry knows how to show that. */
        log_info("llm: attempt %u of %u failed (%s), the next in %.1f s", attempt.number, l->attempts,
                 why->code ? why->code : "error", seconds);
        if (request->on_retry)
            request->on_retry(request->arg, attempt.number, l->attempts, why, seconds);
        attempt.warm = failure.no_answer;
        attempt.number++;
        if (!retry_wait(seconds, mailbox, e))
            return false;
    }
}

uint64_t llm_start(struct llm *l, const struct llm_context *context, const struct llm_request *request,
                   void (*done)(void *arg, const struct llm_answer *answer, const struct err *e), void *arg)
{
    struct llm_attempt attempt = {.number = 1, .refused = atomic_load(&l->refused)};
    struct llm_failure failure = {0};
    autoerr e = NULL;
    if (l->provider->play) {
        autoarena arena = arena_new();
        struct llm_answer answer = {0};
        bool ok = l->provider->play(l, context, request, &attempt, NULL, arena, &answer, &failure, &e);
        done(arg, ok ? &answer : NULL, e);
        return 0;
    }
    uint64_t call = 0;
    struct llm_http http = {0};
    if (attempt_request(l, request, &attempt, &http, &failure, &e)) {
        struct exchange *x = exchange_new(l, request);
        x->on_delta = NULL;
        x->done = done;
        x->arg = arg;
        x->sent = http.sent;
        call = exchange_start(x, context, &http);
    } else {
        done(arg, NULL, e);
    }
    llm_http_deinit(&http);
    return call;
}
