/* Answers: any thread makes them, the loop writes them. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "base/uuid.h"
#include "net/connection.h"
#include <time.h>

/* ---- the head ---- */

/* "date: …\r\n", made once a second. */
static struct str date_line(struct server *s)
{
    uint64_t second = uv_now(s->uv) / 1000;
    if (s->date_second != second || !s->date[0]) {
        s->date_second = second;
        struct tm tm;
        time_t now = time(NULL);
        gmtime_r(&now, &tm);
        strftime(s->date, sizeof(s->date), "date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    }
    return str_from(s->date);
}

static bool has_no_body(int status)
{
    return status == 204 || status == 304 || status < 200;
}

void response_head_write(struct connection *c, const struct request *r, int64_t length, bool chunked)
{
    struct buf *out = &c->server->scratch;
    buf_clear(out);
    if (r->status == 200) {
        buf_add(out, STR("HTTP/1.1 200 OK\r\n"));
    } else {
        buf_add(out, STR("HTTP/1.1 "));
        buf_add_u64(out, (uint64_t)r->status);
        buf_add_char(out, ' ');
        buf_add_cstr(out, http_reason(r->status));
        buf_add(out, STR("\r\n"));
    }
    buf_add(out, date_line(c->server));
    buf_add(out, buf_str(&r->headers));
    if (r->cors) {
        buf_add(out, STR("access-control-allow-origin: "));
        buf_add(out, r->head.origin);
        buf_add(out, STR("\r\naccess-control-allow-credentials: true\r\nvary: Origin\r\n"));
    }
    if (chunked) {
        buf_add(out, STR("transfer-encoding: chunked\r\n"));
    } else if (length >= 0 && !has_no_body(r->status)) {
        buf_add(out, STR("content-length: "));
        buf_add_u64(out, (uint64_t)length);
        buf_add(out, STR("\r\n"));
    }
    if (c->close_after)
        buf_add(out, STR("connection: close\r\n"));
    else if (r->head.http10)
        buf_add(out, STR("connection: keep-alive\r\n"));
    buf_add(out, STR("\r\n"));
}

void response_log(const struct request *r)
{
    if (!log_enabled(LOG_DEBUG))
        return;
    autobuf target = {0};
    log_mask_query(&target, r->head.target);
    uint64_t us = (clock_mono_ns() - r->started_ns) / 1000;
    const char *method =
        r->head.target.n ? llhttp_method_name((llhttp_method_t)r->head.method) : "malformed request";
    log_debug("%s %.*s %d %llu us", method, STR_ARG(buf_str(&target)), r->status, (unsigned long long)us);
}

/* ---- writing ---- */

static struct str answer_body(const struct request *r)
{
    return r->shared ? bytes_str(r->shared) : buf_str(&r->body);
}

/* Slow clients hold so much already that another long answer might be the one too many. */
static bool too_much(const struct connection *c, const struct request *r)
{
    size_t n = answer_body(r).n;
    return n > ANSWER_SMALL && c->server->sending + n > c->server->limits.sending_max;
}

static void response_send(struct connection *c, struct request *r)
{
    struct str body = answer_body(r);
    c->close_after = c->close_after || !r->head.keep_alive || c->server->draining;
    response_head_write(c, r, (int64_t)body.n, false);
    response_log(r);
    if (r->head_only || has_no_body(r->status))
        body.n = 0;
    struct str head = buf_str(&c->server->scratch);
    size_t sent = output_try(c, head, body);
    c->phase = PHASE_SENDING;
    if (sent == SIZE_MAX) {
        request_free(r);
        connection_close(c);
        return;
    }
    if (sent == head.n + body.n) {
        request_free(r);
        connection_answered(c);
        return;
    }
    if (sent < head.n) {
        struct str rest = str_sub(head, sent, head.n);
        char *copy = str_dup(rest);
        output_add(c, (struct out_item){.p = copy, .n = rest.n, .owned = copy});
        sent = head.n;
    }
    if (body.n > 0) {
        struct str rest = str_sub(body, sent - head.n, body.n);
        struct out_item item = {.p = rest.p, .n = rest.n};
        if (r->shared)
            item.shared = steal(r->shared);
        else
            item.owned = (char *)buf_take(&r->body).p;
        output_add(c, item);
    }
    request_free(r);
    output_flush(c);
}

static void response_run(struct request *r)
{
    struct connection *c = server_connection(r->server, r->slot, r->generation);
    if (c && c->number != r->number)
        c = NULL;
    if (c && c->intake && intake_answer(c, r))
        return;
    if (r->stream) {
        stream_begin(c, r);
        return;
    }
    if (!c) {
        request_free(r);
    } else if (too_much(c, r)) {
        bytes_unref(steal(r->shared));
        buf_clear(&r->headers);
        request_reply_detail(r, 503, "Too many long answers are being sent");
    } else {
        response_send(c, r);
    }
}

static void response_message(struct loop_message *m)
{
    response_run(CONTAINER_OF(m, struct request, message));
}

void response_later(struct request *r)
{
    r->message.run = response_message;
    loop_post(r->server->loop, &r->message);
}

void response_answer(struct request *r)
{
    if (loop_is_current(r->server->loop))
        response_run(r);
    else
        response_later(r);
}

/* ---- the kinds of answers ---- */

static void answer(struct request *r, int status, const char *content_type)
{
    r->status = status;
    if (content_type)
        request_set_header(r, STR("content-type"), str_from(content_type));
    if (status == 503) /* in whatever form it is told */
        request_set_header(r, STR("retry-after"), STR("1"));
    response_answer(r);
}

void request_reply(struct request *r, int status, const char *content_type, struct buf *body)
{
    buf_deinit(&r->body);
    r->body = *body;
    *body = (struct buf){0};
    answer(r, status, content_type);
}

void request_reply_bytes(struct request *r, int status, const char *content_type, struct bytes *body)
{
    r->shared = body;
    answer(r, status, content_type);
}

void request_reply_json(struct request *r, int status, struct buf *body)
{
    request_reply(r, status, "application/json", body);
}

void request_reply_empty(struct request *r, int status)
{
    answer(r, status, NULL);
}

/* From 500 on the reference keeps the text out of `detail`; it stands in `exception`, where clients look for it. */
static void reply_failure(struct request *r, int status, const char *text, bool with_id)
{
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_member_cstr(&w, "detail", http_reason(500));
    jw_key(&w, "exception");
    autobuf exception = {0};
    if (!with_id)
        buf_addf(&exception, "%d: ", status);
    buf_add_cstr(&exception, text);
    jw_str(&w, buf_str(&exception));
    if (with_id) {
        struct uuid id = uuid_random();
        char hex[UUID_HEX_LEN + 1];
        struct str text_id = uuid_hex(&id, hex);
        jw_member_str(&w, "error_id", text_id);
        log_error("request failed (error %.*s): %s", STR_ARG(text_id), text);
    }
    jw_object_end(&w);
    request_reply_json(r, status, &body);
}

void request_reply_detail(struct request *r, int status, const char *detail)
{
    if (!detail)
        detail = http_reason(status);
    if (status >= 500) {
        reply_failure(r, status, detail, false);
        return;
    }
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_member_cstr(&w, "detail", detail);
    jw_object_end(&w);
    request_reply_json(r, status, &body);
}

void request_reply_problems(struct request *r, const struct json_problems *problems)
{
    autobuf body = {0};
    json_problems_write(problems, &body);
    request_reply_json(r, 422, &body);
}

/* The one table of what a client sees for each kind of failure. */
static const int status_of_kind[] = {
    [ERR_INTERNAL] = 500,  [ERR_INVALID] = 422,  [ERR_UNAUTHORIZED] = 401, [ERR_FORBIDDEN] = 403,
    [ERR_NOT_FOUND] = 404, [ERR_CONFLICT] = 409, [ERR_TOO_LARGE] = 413,    [ERR_BUSY] = 503,
    [ERR_IO] = 503,        [ERR_TIMEOUT] = 504,  [ERR_CANCELLED] = 503,    [ERR_LOST] = 503,
    [ERR_UPSTREAM] = 502,  [ERR_GONE] = 502,     [ERR_TOO_MANY] = 429,
};

int err_http_status(const struct err *e)
{
    return e && (size_t)e->kind < ARRAY_LEN(status_of_kind) ? status_of_kind[e->kind] : 500;
}

void request_reply_error(struct request *r, const struct err *e)
{
    int status = err_http_status(e);
    if (status == 500)
        reply_failure(r, status, err_text(e), true);
    else
        request_reply_detail(r, status, err_text(e));
}
