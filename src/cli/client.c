#include "cli/client.h"
#include "base/cleanup.h"
#include "base/thread.h"
#include "cli/client_internal.h"
#include "json/json.h"

struct client *client_new(struct str base_url, struct str key)
{
    struct client *c = xcalloc(1, sizeof(*c));
    c->base_url = str_dup(base_url);
    c->key = key.p ? str_dup(key) : NULL;
    c->outward = outward_new();
    return c;
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
    pthread_cond_t changed;
    bool done;
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
        w->done = true;
        w->status = result->status;
        w->error = result->error ? err_copy(result->error) : NULL;
        pthread_cond_signal(&w->changed);
    }
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
    struct waiting w = {.answer = answer};
    pthread_mutex_init(&w.lock, NULL);
    thread_cond_init(&w.changed);
    outward_start(c->outward, &(struct outward_request){
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
    WITH_LOCK(&w.lock)
    while (!w.done)
        thread_cond_wait(&w.changed, &w.lock, 0);
    pthread_cond_destroy(&w.changed);
    pthread_mutex_destroy(&w.lock);
    *status = w.status;
    if (!w.error)
        return true;
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
    int status;
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
