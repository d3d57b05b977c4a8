#include "cli/client.h"
#include "base/cleanup.h"
#include "base/thread.h"
#include "cli/client_internal.h"
#include "json/json.h"
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>

struct client *client_new(struct str base_url, struct str key)
{
    struct client *c = xcalloc(1, sizeof(*c));
    c->base_url = str_dup(base_url);
    c->key = key.p ? str_dup(key) : NULL;
    c->outward = outward_new();
    c->signals = -1;
    return c;
}

void client_heed(struct client *c, int signals)
{
    c->signals = signals;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    outward_free(c->outward);
    if (c->key)
        explicit_bzero(c->key, strlen(c->key));
    free(c->key);
    free(c->base_url);
    free(c);
}

/* One request: filled in by the outward thread, awaited by ours. */
struct waiting {
    pthread_mutex_t lock;
    int done; /* readable when it is */
    int status;
    struct buf *answer;
    struct err *error;
};

static bool on_data(void *arg, struct str data)
{
    struct waiting *w = arg;
    buf_add(w->answer, data);
    return true;
}

static void on_done(void *arg, const struct outward_result *result)
{
    struct waiting *w = arg;
    WITH_LOCK(&w->lock)
    {
        w->status = result->status;
        w->error = result->error ? err_copy(result->error) : NULL;
        eventfd_write(w->done, 1);
    }
}

static bool stop_is_pending(void)
{
    sigset_t set;
    sigpending(&set);
    return sigismember(&set, SIGINT) || sigismember(&set, SIGTERM) || sigismember(&set, SIGHUP);
}

static void await_done(struct client *c, struct waiting *w, uint64_t call)
{
    struct pollfd fds[2] = {{.fd = w->done, .events = POLLIN}, {.fd = c->signals, .events = POLLIN}};
    nfds_t watched = c->signals >= 0 ? 2 : 1;
    int ms = -1;
    for (;;) {
        int n = poll(fds, watched, ms);
        if (n > 0 && fds[0].revents)
            break;
        if (n > 0) {
            watched = 1; /* it stays readable: others read it */
            ms = stop_is_pending() ? CLIENT_STOP_MS : -1;
        } else if (n == 0) {
            outward_cancel(c->outward, call); /* and it is done */
            ms = -1;
        }
    }
    WITH_LOCK(&w->lock)
    close(w->done);
}

bool client_request(struct client *c, const char *method, const char *path, struct str body, int *status,
                    struct buf *answer, struct err **e)
{
    autobuf url = {0}, key = {0};
    struct str headers[2];
    size_t n = 0;
    buf_clear(answer);
    buf_addf(&url, "%s%s", c->base_url, path);
    if (body.p)
        headers[n++] = STR("Content-Type: application/json");
    if (c->key) {
        buf_addf(&key, "X-Session-API-Key: %s", c->key);
        headers[n++] = buf_str(&key);
    }
    struct waiting w = {.answer = answer, .done = eventfd(0, EFD_CLOEXEC)};
    if (w.done < 0)
        return err_errno(e, ERR_IO, "a request to the server");
    pthread_mutex_init(&w.lock, NULL);
    uint64_t call = outward_start(c->outward, &(struct outward_request){
                                                  .method = str_from(method),
                                                  .url = buf_str(&url),
                                                  .headers = headers,
                                                  .header_count = n,
                                                  .body = body,
                                                  .timeout_ms = CLIENT_TIMEOUT_MS,
                                                  .body_max = CLIENT_ANSWER_MAX,
                                                  .on_data = on_data,
                                                  .on_done = on_done,
                                                  .arg = &w,
                                              });
    await_done(c, &w, call);
    pthread_mutex_destroy(&w.lock);
    *status = w.status;
    if (!w.error)
        return true;
    if (w.error->kind == ERR_CANCELLED)
        err_set(e, ERR_CANCELLED, "%s does not answer", c->base_url);
    else
        err_set(e, w.error->kind, "%s %s: %s", method, path, err_text(w.error));
    err_free(w.error);
    return false;
}

/* What the server says is wrong: a text, or the messages of a list of problems. */
static void add_detail(struct buf *out, struct str answer)
{
    autojson doc = json_parse(answer, NULL, NULL);
    const struct json_value *detail = json_get(json_root(doc), "detail");
    struct str exception = json_get_str(json_root(doc), "exception");
    if (exception.p || json_str(detail).p) {
        buf_add(out, exception.p ? exception : json_str(detail));
        return;
    }
    for (struct json_iter it = json_iter(detail); json_next(&it);) {
        if (it.index > 0)
            buf_add(out, STR("; "));
        json_add(out, json_get(it.value, "loc"));
        buf_addf(out, " %.*s", STR_ARG(json_get_str(it.value, "msg")));
    }
}

bool client_call(struct client *c, const char *method, const char *path, struct str body, struct buf *answer,
                 struct err **e)
{
    int status = 0;
    if (!client_request(c, method, path, body, &status, answer, e))
        return false;
    if (status >= 200 && status < 300)
        return true;
    if (status == 401)
        return err_set(
            e, ERR_UPSTREAM,
            "the server at %s asks for another key: set SESSION_API_KEY to one that it was started with",
            c->base_url);
    autobuf detail = {0};
    add_detail(&detail, buf_str(answer));
    return err_set(e,
                   status == 404   ? ERR_NOT_FOUND
                   : status == 409 ? ERR_CONFLICT
                                   : ERR_UPSTREAM,
                   "%s %s: the server answers %d: %.*s", method, path, status, STR_ARG(buf_str(&detail)));
}
