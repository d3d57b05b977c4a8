#include "api/hand_request.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/utf8.h"

static struct hands *hands_of(const struct hand_request *h)
{
    return conversations_hands(conversations_of(h->request));
}

/* ---- answers ---- */

int hand_status_http(enum wire_status status)
{
    static const int statuses[] = {
        [WIRE_OK] = 200,        [WIRE_INVALID] = 400,     [WIRE_NOT_FOUND] = 404, [WIRE_REFUSED] = 403,
        [WIRE_TOO_LARGE] = 413, [WIRE_BUSY] = 503,        [WIRE_IO] = 503,        [WIRE_TIMEOUT] = 504,
        [WIRE_CANCELLED] = 503, [WIRE_UNSUPPORTED] = 503, [WIRE_IS_DIR] = 400,    [WIRE_NOT_DIR] = 400,
        [WIRE_EXISTS] = 400,
    };
    return (size_t)status < ARRAY_LEN(statuses) ? statuses[status] : 502; /* a hand is a stranger */
}

/* From 500 on the dialect's body is another one than `detail`: the table of error kinds makes it. */
static enum err_kind kind_of_http(int status)
{
    switch (status) {
    case 502: return ERR_GONE;
    case 504: return ERR_TIMEOUT;
    default: return ERR_BUSY;
    }
}

void hand_request_refuse(struct hand_request *h, enum wire_status status, struct str message)
{
    int http = hand_status_http(status);
    autobuf text = {0};
    autoerr e = NULL;
    utf8_scrub(&text, message.n ? message : STR("The workspace refused it without a reason"));
    if (http < 500) {
        request_reply_detail(h->request, http, text.p);
    } else {
        err_set(&e, kind_of_http(http), "%s", text.p);
        request_reply_error(h->request, e);
    }
}

struct str hand_request_path(struct request *r, struct str path, bool captured)
{
    autobuf whole = {0};
    path_join(&whole, captured ? STR("/") : app_of(r)->config.working_dir, path);
    return arena_str(request_arena(r), buf_str(&whole));
}

/* ---- the call ---- */

static void refuse(struct hand_request *h, enum wire_status status, struct str message)
{
    (h->answer->refused ? h->answer->refused : hand_request_refuse)(h, status, message);
}

/* A worker. The request's end frees `h`: what it owns is taken out first. */
static void answer_run(void *arg)
{
    struct hand_request *h = arg;
    autobuf fields = h->fields, data = h->data;
    autoerr e = steal(h->error);
    h->fields = h->data = (struct buf){0};
    if (h->overflow)
        return refuse(h, WIRE_TOO_LARGE, STR("There is more than can be answered at once"));
    if (e && e->kind == ERR_NOT_FOUND) /* the hand's program is: nothing that the client asked for */
        e->kind = ERR_GONE;
    if (e && h->answer->failed)
        return h->answer->failed(h, e);
    if (e)
        return request_reply_error(h->request, e);
    enum wire_status status = wire_get_status(buf_str(&fields));
    if (status == WIRE_OK)
        h->answer->done(h, buf_str(&fields), buf_str(&data));
    else
        refuse(h, status, wire_get_str(buf_str(&fields), F_MESSAGE));
}

static void on_data(void *arg, enum wire_stream stream, struct str data)
{
    struct hand_request *h = arg;
    if (stream != WIRE_STDOUT || h->overflow || h->answer->data_max == 0)
        return;
    if (data.n > h->answer->data_max - h->data.n) {
        h->overflow = true;
        hand_cancel(hands_of(h), h->call);
        return;
    }
    buf_add(&h->data, data);
}

static void on_done(void *arg, struct str fields, const struct err *e)
{
    struct hand_request *h = arg;
    if (e)
        h->error = err_copy(e);
    else
        buf_add(&h->fields, fields);
    pool_submit_always(app_of(h->request)->config.pool, answer_run, h);
}

/* With the number known before anything can come. */
void hand_request_call(struct hand_request *h, enum wire_op op, struct buf *fields,
                       const struct hand_answer *answer)
{
    static const struct hand_callbacks callbacks = {.on_data = on_data, .on_done = on_done};
    struct hands *hands = hands_of(h);
    h->answer = answer;
    h->overflow = false;
    h->call = hand_call_number(hands);
    hand_call_numbered(hands, h->call, &h->hand, op, fields, answer->timeout_ms, true, &callbacks, h);
}

/* ---- the hand ---- */

static void on_hand(void *arg, const struct hand_spec *hand, const struct err *e)
{
    struct hand_request *h = arg;
    autobuf fields = h->fields;
    h->fields = (struct buf){0};
    if (e) {
        if (h->missing && e->kind == ERR_NOT_FOUND)
            h->missing(h->request, h->args);
        else
            request_reply_error(h->request, e);
        return;
    }
    h->hand = *hand;
    h->hand.working_dir = arena_str(request_arena(h->request), hand->working_dir);
    if (h->begin)
        h->begin(h);
    else
        hand_request_call(h, h->op, &fields, h->answer);
}

static struct hand_request *request_new(struct request *r, const void *args)
{
    struct hand_request *h = ARENA_NEW(request_arena(r), struct hand_request);
    h->request = r;
    h->args = args;
    return h;
}

void hand_request_start(struct request *r, const void *args, struct str path,
                        void (*begin)(struct hand_request *h))
{
    struct hand_request *h = request_new(r, args);
    h->begin = begin;
    conversations_hand_for(conversations_of(r), path, on_hand, h);
}

void hand_request_of(struct request *r, const struct id_args *args,
                     void (*missing)(struct request *r, const void *args),
                     void (*begin)(struct hand_request *h))
{
    struct hand_request *h = request_new(r, args);
    h->missing = missing ? missing : reply_missing;
    h->begin = begin;
    conversations_hand_of(conversations_of(r), &args->id, on_hand, h);
}

void hand_request_one(struct request *r, const void *args, struct str path, enum wire_op op,
                      struct buf *fields, const struct hand_answer *answer)
{
    struct hand_request *h = request_new(r, args);
    h->op = op;
    h->fields = *fields;
    *fields = (struct buf){0};
    h->answer = answer;
    conversations_hand_for(conversations_of(r), path, on_hand, h);
}
