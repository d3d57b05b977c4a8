/* POST submit-feedback: what somebody thinks of a conversation, with all of it, is kept in the store, and sent to the
 * configured address if there is one. Documents of the space `feedback`: ID (what was said, and in how many pieces the
 * conversation follows) and ID/000000, ID/000001 … (a JSON list, cut anywhere). They stay when the conversation is deleted.
 * The document ID is written last: pieces without it are of a feedback that was never acknowledged. Where that is known, they
 * are taken away again. */
#include "api/legacy/app.h"
#include "api/legacy/log_reader.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "net/outward.h"
#include <stdatomic.h>

#define PIECE_BYTES (1024 * 1024)
#define KEPT_BYTES (256 * 1024 * 1024) /* of one conversation; a longer one is cut, and `cut` says so */
#define SENT_BYTES ((size_t)32 * 1024 * 1024) /* of one that is sent; a longer one is kept only */
#define SENT_BYTES_ALL (2 * SENT_BYTES)       /* of all that are on their way; past it one is kept only */
#define GATEWAY_BYTES (64 * 1024)             /* of its answer */
#define GATEWAY_MS 30000
#define TEXT_MAX 1000 /* characters of an e-mail address or a version */

static const char *const polarities[] = {"positive", "negative", NULL};
static const char *const permissions[] = {"public", "private", NULL};

struct feedback_body {
    struct str email, version;
    int polarity, permissions;
};
struct feedback_args {
    struct uuid id;
    struct feedback_body body;
};
#define AT(member) .offset = offsetof(struct feedback_body, member)
static const struct json_field fields[] = {
    {.name = "email",
     .type = FIELD_STR,
     AT(email),
     .default_str = "",
     .max = TEXT_MAX,
     .doc = "Who says it."},
    {.name = "version",
     .type = FIELD_STR,
     AT(version),
     .default_str = "",
     .max = TEXT_MAX,
     .doc = "Of the client."},
    {.name = "polarity",
     .type = FIELD_ENUM,
     AT(polarity),
     .flags = FIELD_REQUIRED,
     .names = polarities,
     .doc = "Was it good?"},
    {.name = "permissions",
     .type = FIELD_ENUM,
     AT(permissions),
     .default_int = 1,
     .names = permissions,
     .doc = "Who may read it."},
};
static const struct json_schema schema = {.name = "FeedbackRequest",
                                          .size = sizeof(struct feedback_body),
                                          .fields = fields,
                                          .count = ARRAY_LEN(fields)};

struct feedback { /* from the request to the answer; one thread at a time has it */
    struct request *request;
    struct feedback_args args;
    char key[UUID_HEX_LEN + 1];
    struct log_reader log;
    struct buf pending;       /* read and not stored */
    struct buf sent;          /* for the address: what the gateway is told, up to the conversation's end */
    struct buf answer;        /* the gateway's */
    size_t bytes, on_its_way; /* read; counted in `sent_bytes` */
    unsigned pieces;
    bool cut, sends;
    struct err *error; /* why it is not kept */
};

static atomic_size_t sent_bytes; /* of those whose answer is to come */

static void send_no_more(struct feedback *f)
{
    f->sends = false;
    buf_deinit(&f->sent);
    atomic_fetch_sub(&sent_bytes, f->on_its_way);
    f->on_its_way = 0;
}

/* An address that answers late, or never, must not make this server grow. */
static void send_too(struct feedback *f, struct str text)
{
    f->on_its_way += text.n;
    size_t all = atomic_fetch_add(&sent_bytes, text.n) + text.n;
    if (f->on_its_way > SENT_BYTES || all > SENT_BYTES_ALL) {
        log_warn("feedback %s is kept, but not sent: %s", f->key,
                 f->on_its_way > SENT_BYTES ? "it is too long" : "too much is on its way already");
        send_no_more(f);
    } else {
        buf_add(&f->sent, text);
    }
}

static void feedback_free(struct feedback *f)
{
    send_no_more(f);
    log_reader_deinit(&f->log);
    buf_deinit(&f->pending);
    buf_deinit(&f->answer);
    err_free(f->error);
    free(f);
}

/* Pieces are numbered from 0. */
static void piece_key(const struct feedback *f, unsigned piece, struct buf *key)
{
    buf_addf(key, "%s/%06u", f->key, piece);
}

/* ---- answers ---- */

static void answer_failed(struct feedback *f)
{
    struct request *r = f->request;
    if (f->error->kind == ERR_NOT_FOUND)
        legacy_reply_missing(r, &f->args);
    else
        request_reply_error(r, f->error);
    feedback_free(f);
}

static void drop_pieces(struct feedback *f);

/* A store that refuses this, too, has lost them or keeps them: the answer is the same. */
static void piece_dropped(void *arg, const struct err *e)
{
    (void)e;
    drop_pieces(arg);
}

/* Nobody will ever ask for what was kept of it so far. */
static void drop_pieces(struct feedback *f)
{
    autobuf key = {0};
    if (f->pieces == 0) {
        answer_failed(f);
        return;
    }
    piece_key(f, --f->pieces, &key);
    store_doc_delete(f->log.store, STR("feedback"), buf_str(&key), piece_dropped, f);
}

static void fail(struct feedback *f, const struct err *e)
{
    f->error = err_copy(e);
    drop_pieces(f);
}

static void answer_kept(struct feedback *f)
{
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_member_int(&w, "statusCode", 200);
    jw_key(&w, "body");
    jw_object(&w);
    jw_member_cstr(&w, "message", "Thank you. Your feedback is kept on this server.");
    jw_member_cstr(&w, "feedback_id", f->key);
    jw_member_cstr(&w, "password", "");
    jw_object_end(&w);
    jw_object_end(&w);
    request_reply_json(f->request, 200, &body);
    feedback_free(f);
}

/* ---- sending ---- */

static bool gateway_data(void *arg, struct str data)
{
    struct feedback *f = arg;
    buf_add(&f->answer, data);
    return true;
}

/* Outward thread. What was not sent is kept all the same. */
static void gateway_done(void *arg, const struct outward_result *result)
{
    struct feedback *f = arg;
    autojson doc = result->error ? NULL : json_parse(buf_str(&f->answer), NULL, NULL);
    if (result->status == 200 && doc) {
        request_reply_json(f->request, 200, &f->answer);
    } else {
        log_warn("feedback %s was kept, but could not be sent: %s", f->key,
                 result->error ? err_text(result->error) : "the address answered badly");
        legacy_reply_error(f->request, 500, "Failed to submit feedback");
    }
    feedback_free(f);
}

/* Worker: it is copied. */
static void feedback_send(void *arg)
{
    struct feedback *f = arg;
    const struct api_config *config = &app_of(f->request)->config;
    static const struct str headers[] = {STR_INIT("Content-Type: application/json")};
    autobuf sent = f->sent;
    f->sent = (struct buf){0};
    buf_add_char(&sent, '}');
    outward_start(config->outward, &(struct outward_request){
                                       .method = STR("POST"),
                                       .url = config->feedback_url,
                                       .headers = headers,
                                       .header_count = 1,
                                       .body = buf_str(&sent),
                                       .timeout_ms = GATEWAY_MS,
                                       .body_max = GATEWAY_BYTES,
                                       .on_data = gateway_data,
                                       .on_done = gateway_done,
                                       .arg = f,
                                   });
}

/* ---- keeping ---- */

static void write_said(const struct feedback *f, struct json_writer *w)
{
    const struct feedback_body *b = &f->args.body;
    jw_member_str(w, "version", b->version);
    jw_member_str(w, "email", b->email);
    jw_member_cstr(w, "polarity", polarities[b->polarity]);
    jw_member_cstr(w, "feedback", polarities[b->polarity]);
    jw_member_cstr(w, "permissions", permissions[b->permissions]);
}

/* Writer thread: all of it is durable. */
static void head_kept(void *arg, const struct err *e)
{
    struct feedback *f = arg;
    if (e)
        fail(f, e);
    else if (f->sends)
        pool_submit_always(app_of(f->request)->config.pool, feedback_send, f);
    else
        answer_kept(f);
}

static void keep_head(struct feedback *f)
{
    char conversation[UUID_HEX_LEN + 1];
    autobuf text = {0};
    struct json_writer w = json_writer(&text);
    jw_object(&w);
    jw_member_str(&w, "conversation_id", uuid_hex(&f->args.id, conversation));
    jw_member_int(&w, "time_us", clock_wall_us());
    write_said(f, &w);
    jw_member_int(&w, "pieces", f->pieces);
    jw_member_bool(&w, "cut", f->cut);
    jw_object_end(&w);
    store_doc_put(f->log.store, STR("feedback"), str_from(f->key), buf_str(&text), head_kept, f);
}

static void step(void *arg);

/* Writer thread. */
static void piece_kept(void *arg, const struct err *e)
{
    struct feedback *f = arg;
    if (e)
        fail(f, e);
    else
        pool_submit_long(app_of(f->request)->config.pool, step, f);
}

static void keep_piece(struct feedback *f)
{
    autobuf key = {0};
    struct str piece = utf8_prefix_bytes(buf_str(&f->pending), PIECE_BYTES);
    piece_key(f, f->pieces++, &key);
    autobuf text = {0};
    buf_add(&text, piece);
    buf_consume(&f->pending, piece.n);
    store_doc_put(f->log.store, STR("feedback"), buf_str(&key), buf_str(&text), piece_kept, f);
}

/* Worker: reads until there is a piece to keep. */
static void step(void *arg)
{
    struct feedback *f = arg;
    autoerr e = NULL;
    while (!f->log.over && !f->cut && f->pending.n < PIECE_BYTES) {
        size_t before = f->pending.n;
        if (!log_reader_next(&f->log, &f->pending, &e)) {
            fail(f, e);
            return;
        }
        f->bytes += f->pending.n - before;
        f->cut = !f->log.over && f->bytes > KEPT_BYTES;
        if (f->cut)
            buf_add_char(&f->pending, ']');
        if (f->sends)
            send_too(f, str_sub(buf_str(&f->pending), before, f->pending.n));
    }
    if (f->pending.n > 0)
        keep_piece(f);
    else
        keep_head(f);
}

/* ---- the route ---- */

static void submit_feedback(struct request *r, const void *argsp)
{
    const struct feedback_args *args = argsp;
    struct feedback *f = xcalloc(1, sizeof(*f));
    struct uuid id = uuid_random();
    autoerr e = NULL;
    int64_t number;
    f->request = r;
    f->args = *args;
    f->sends = app_of(r)->config.feedback_url.n > 0;
    uuid_hex(&id, f->key);
    if (!conversations_number(conversations_of(r), &args->id, &number, &e) ||
        !log_reader_init(&f->log, conversations_store(conversations_of(r)), number, &e)) {
        fail(f, e);
        return;
    }
    if (f->sends) {
        struct json_writer w = json_writer(&f->sent);
        jw_object(&w);
        write_said(f, &w);
        jw_key(&w, "trajectory");
    }
    step(f);
}

static const struct route_response responses[] = {
    {.status = 200,
     .description = "It is kept. The answer of the configured address, or of the server in the same form.",
     .ref = "{\"type\":\"object\"}"},
    {.status = 404, .description = "There is no such conversation."},
};
static const struct route routes[] = {
    {.method = HTTP_POST_,
     .path = "/api/conversations/{conversation_id}/submit-feedback",
     .handle = submit_feedback,
     .summary = "Submit Feedback",
     .tag = "Feedback",
     .operation = "submit_feedback_api_conversations__conversation_id__submit_feedback_post",
     .args_size = sizeof(struct feedback_args),
     LEGACY_ID,
     .body = &schema,
     .body_offset = offsetof(struct feedback_args, body),
     .responses = responses,
     .response_count = ARRAY_LEN(responses)},
};
const struct route_table legacy_feedback_routes = {routes, ARRAY_LEN(routes)};
