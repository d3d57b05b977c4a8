/* Answers to GETs of several things by their ids. */
#include "api/agent_server/app.h"
#include "base/cleanup.h"

struct part { /* of the answer */
    size_t at, n;
};

/* What stands for `ids[i]` when it was named before; false when this is the first time. */
static bool add_again(const struct uuid *ids, size_t i, const struct part *parts, struct buf *body)
{
    size_t same = 0;
    while (!uuid_eq(&ids[same], &ids[i]))
        same++;
    if (same == i)
        return false;
    buf_reserve(body, parts[same].n); /* so that the text stays where it is while it is copied */
    buf_add(body, str_make(body->p + parts[same].at, parts[same].n));
    return true;
}

void reply_batch(struct request *r, const struct uuid *ids, size_t n, batch_item *item, const void *arg)
{
    struct part parts[PAGE_LIMIT] = {0};
    autobuf body = {0};
    buf_add_char(&body, '[');
    for (size_t i = 0; i < n; i++) {
        autoerr e = NULL;
        if (i > 0)
            buf_add_char(&body, ',');
        parts[i].at = body.n;
        if (!add_again(ids, i, parts, &body) && !item(r, arg, &ids[i], &body, &e)) {
            if (e->kind != ERR_NOT_FOUND) {
                request_reply_error(r, e);
                return;
            }
            buf_add(&body, STR("null"));
        }
        parts[i].n = body.n - parts[i].at;
        if (body.n > BATCH_BYTES) {
            request_reply_detail(r, 413, "The answer would be larger than 16 MiB: ask for fewer at once");
            return;
        }
    }
    buf_add_char(&body, ']');
    request_reply_json(r, 200, &body);
}
