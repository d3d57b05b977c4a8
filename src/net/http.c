#include "net/http.h"
#include "base/cleanup.h"
#include "base/utf8.h"
#include "net/url.h"

/* Memory a head keeps between requests; more came from an unusual request. */
#define HTTP_TEXT_KEEP (8 * 1024)
#define HTTP_HEAD_OVERHEAD 4 /* ": " and CR LF of a header count too */

/* ---- heads ---- */

void http_head_init(struct http_head *h, size_t fields_max)
{
    *h = (struct http_head){.fields_max = fields_max};
    h->fields = xmalloc(fields_max * sizeof(*h->fields));
}

void http_head_reset(struct http_head *h)
{
    struct http_head fresh = {.text = h->text, .fields = h->fields, .fields_max = h->fields_max};
    buf_deinit(&h->body);
    free(h->decoded);
    if (fresh.text.cap > HTTP_TEXT_KEEP)
        buf_deinit(&fresh.text);
    else
        buf_clear(&fresh.text);
    *h = fresh;
}

void http_head_deinit(struct http_head *h)
{
    buf_deinit(&h->text);
    buf_deinit(&h->body);
    free(h->decoded);
    free(h->fields);
    *h = (struct http_head){0};
}

struct str http_head_str(const struct http_head *h, struct http_span s)
{
    return str_make(h->text.p + s.at, s.n);
}

struct str http_head_get(const struct http_head *h, struct str name)
{
    for (size_t i = 0; i < h->field_count; i++)
        if (h->fields[i].name.n == name.n && str_eq_nocase(http_head_str(h, h->fields[i].name), name))
            return http_head_str(h, h->fields[i].value);
    return STR_NONE;
}

/* ---- what llhttp calls ---- */

static int fail(struct http_parser *p, int status, const char *problem)
{
    if (!p->status) {
        p->status = status;
        p->problem = problem;
    }
    return HPE_USER;
}

/* Every byte of the head is counted here before it is kept. */
static int head_count(struct http_parser *p, size_t n)
{
    if (n > p->head_left)
        return fail(p, 431, "The request's head is too large");
    p->head_left -= n;
    return 0;
}

static int on_url(llhttp_t *l, const char *at, size_t n)
{
    struct http_parser *p = l->data;
    if (head_count(p, n) != 0)
        return HPE_USER;
    buf_add_bytes(&p->head->text, at, n);
    p->head->target_span.n += (uint32_t)n;
    return 0;
}

static int on_header_field(llhttp_t *l, const char *at, size_t n)
{
    struct http_parser *p = l->data;
    if (head_count(p, n) != 0)
        return HPE_USER;
    if (p->head_done)
        return 0; /* a trailer: bounded, and not kept */
    struct http_head *h = p->head;
    if (p->in_value || h->field_count == 0) {
        if (h->field_count == h->fields_max)
            return fail(p, 431, "The request has too many headers");
        if (head_count(p, HTTP_HEAD_OVERHEAD) != 0)
            return HPE_USER;
        h->fields[h->field_count++] = (struct http_field){.name = {(uint32_t)h->text.n, 0}};
        p->in_value = false;
    }
    buf_add_bytes(&h->text, at, n);
    h->fields[h->field_count - 1].name.n += (uint32_t)n;
    return 0;
}

static int on_header_field_complete(llhttp_t *l)
{
    struct http_parser *p = l->data;
    if (p->head_done)
        return head_count(p, HTTP_HEAD_OVERHEAD);
    struct http_head *h = p->head;
    h->fields[h->field_count - 1].value = (struct http_span){(uint32_t)h->text.n, 0};
    p->in_value = true;
    return 0;
}

static int on_header_value(llhttp_t *l, const char *at, size_t n)
{
    struct http_parser *p = l->data;
    if (head_count(p, n) != 0)
        return HPE_USER;
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)at[i] < 0x20 && at[i] != '\t') || at[i] == 0x7f)
            return fail(p, 400, "A header has a control character");
    if (p->head_done)
        return 0;
    buf_add_bytes(&p->head->text, at, n);
    p->head->fields[p->head->field_count - 1].value.n += (uint32_t)n;
    return 0;
}

static int on_chunk_extension(llhttp_t *l, const char *at, size_t n)
{
    (void)at;
    struct http_parser *p = l->data;
    p->extensions += n + 1;
    if (p->extensions > HTTP_CHUNK_EXTENSIONS_MAX)
        return fail(p, 400, "The request's chunk extensions are too long");
    return 0;
}

static int on_body(llhttp_t *l, const char *at, size_t n)
{
    struct http_parser *p = l->data;
    if (n > p->body_max - p->body_n)
        return fail(p, 413, "The request's body is too large");
    p->body_n += n;
    if (p->on_body)
        p->on_body(p->on_body_arg, str_make(at, n));
    else if (!p->discard)
        buf_add_bytes(&p->head->body, at, n);
    return 0;
}

static int on_message_complete(llhttp_t *l)
{
    struct http_parser *p = l->data;
    p->done = true;
    return HPE_PAUSED;
}

/* ---- checks on a complete head ---- */

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~%!$&'()*+;=:[]", c) != NULL);
}

static bool host_valid(struct str host)
{
    for (size_t i = 0; i < host.n; i++)
        if (!is_host_char(host.p[i]))
            return false;
    return true;
}

/* Is `token` one of the comma-separated words of `list`? */
static bool list_has(struct str list, struct str token)
{
    struct str part;
    while (str_split(&list, ',', &part))
        if (str_eq_nocase(str_trim(part), token))
            return true;
    return false;
}

/* What follows the authority; a path that is left out is "/". */
static struct str target_origin_form(struct http_head *h, struct str rest)
{
    if (rest.n == 0 || rest.p[0] == '/')
        return rest.n > 0 ? rest : STR("/");
    h->decoded = xmalloc(rest.n + 1);
    h->decoded[0] = '/';
    memcpy(h->decoded + 1, rest.p, rest.n);
    return str_make(h->decoded, rest.n + 1);
}

/* "/path?query", "http://host/path?query" or "*". */
static int target_split(struct http_parser *p, struct http_head *h)
{
    struct str t = http_head_str(h, h->target_span);
    if (str_starts_nocase(t, STR("http://")) || str_starts_nocase(t, STR("https://"))) {
        struct str rest = str_sub(t, t.p[4] == ':' ? 7 : 8, t.n);
        size_t end = 0;
        while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?')
            end++;
        struct str authority = str_sub(rest, 0, end);
        if (!h->host.p)
            h->host = authority;
        else if (!str_eq_nocase(authority, h->host))
            return fail(p, 400, "Host and the request's target name different hosts");
        t = target_origin_form(h, str_sub(rest, end, rest.n));
    } else if (str_is(t, "*")) {
        if (h->method != HTTP_OPTIONS)
            return fail(p, 400, "The target * is for OPTIONS only");
    } else if (t.n == 0 || t.p[0] != '/') {
        return fail(p, 400, "The request's target must start with a slash");
    }
    for (size_t i = 0; i < t.n; i++)
        if ((unsigned char)t.p[i] <= 0x20 || (unsigned char)t.p[i] >= 0x7f || t.p[i] == '#')
            return fail(p, 400, "The request's target has a character that must be percent-encoded");
    h->target = t;
    ssize_t question = str_find_char(t, '?');
    struct str path = question < 0 ? t : str_sub(t, 0, (size_t)question);
    h->query = question < 0 ? STR_NONE : str_sub(t, (size_t)question + 1, t.n);
    h->path = path;
    if (str_find_char(path, '%') < 0)
        return 0;
    bool broken;
    h->decoded = xmalloc(path.n);
    h->path = str_make(h->decoded, url_decode(h->decoded, path, false, &broken));
    if (broken || str_find_char(h->path, '\0') >= 0 || !utf8_valid(h->path))
        return fail(p, 400, "The request's path is badly percent-encoded");
    return 0;
}

struct counts {
    unsigned host, length, transfer, origin, key, content_type, expect;
    struct str transfer_value, expect_value, upgrade;
};

/* Picks out the headers that the server itself looks at. */
static void headers_collect(struct http_head *h, struct counts *c)
{
    for (size_t i = 0; i < h->field_count; i++) {
        struct str name = http_head_str(h, h->fields[i].name), value = http_head_str(h, h->fields[i].value);
        value = str_trim_right(value);
        h->fields[i].value.n = (uint32_t)value.n;
        switch (name.n) {
        case 4:
            if (str_eq_nocase(name, STR("Host")) && c->host++ == 0)
                h->host = value;
            break;
        case 6:
            if (str_eq_nocase(name, STR("Origin")) && c->origin++ == 0)
                h->origin = value;
            if (str_eq_nocase(name, STR("Expect")) && c->expect++ == 0)
                c->expect_value = value;
            break;
        case 7:
            if (str_eq_nocase(name, STR("Upgrade")) && !c->upgrade.p)
                c->upgrade = value;
            break;
        case 12:
            if (str_eq_nocase(name, STR("Content-Type")) && c->content_type++ == 0)
                h->content_type = value;
            break;
        case 14: c->length += str_eq_nocase(name, STR("Content-Length")); break;
        case 17:
            if (str_eq_nocase(name, STR("Transfer-Encoding")) && c->transfer++ == 0)
                c->transfer_value = value;
            if (str_eq_nocase(name, STR("X-Session-API-Key")) && c->key++ == 0)
                h->key = value;
            break;
        default: break;
        }
    }
}

static int framing_check(struct http_parser *p, const struct http_head *h, const struct counts *c)
{
    if (c->host > 1 || (c->host == 0 && !h->http10))
        return fail(p, 400, "The request must have exactly one Host header");
    if (h->host.p && !host_valid(h->host))
        return fail(p, 400, "The Host header is malformed");
    if (c->length > 1 || (c->length > 0 && c->transfer > 0))
        return fail(p, 400, "The length of the request's body is ambiguous");
    if (c->transfer > 0 && h->http10)
        return fail(p, 400, "Transfer-Encoding is not part of HTTP/1.0");
    if (c->transfer > 1 || (c->transfer == 1 && !str_eq_nocase(c->transfer_value, STR("chunked"))))
        return fail(p, 400, "The only supported Transfer-Encoding is chunked");
    if (c->origin > 1 || c->key > 1 || c->content_type > 1)
        return fail(p, 400, "A header that must be unique is repeated");
    if (c->expect > 0 && !str_eq_nocase(c->expect_value, STR("100-continue")))
        return fail(p, 417, "The only supported expectation is 100-continue");
    return 0;
}

static int on_headers_complete(llhttp_t *l)
{
    struct http_parser *p = l->data;
    struct http_head *h = p->head;
    struct counts c = {0};
    p->head_done = true;
    h->method = llhttp_get_method(l);
    h->http10 = l->http_minor == 0;
    if (l->http_major != 1 || l->http_minor > 1)
        return fail(p, 505, "The supported versions are HTTP/1.1 and HTTP/1.0");
    if (h->method == HTTP_CONNECT)
        return fail(p, 400, "CONNECT is not supported");
    headers_collect(h, &c);
    if (framing_check(p, h, &c) != 0 || target_split(p, h) != 0)
        return HPE_USER;
    h->has_length = c.length > 0;
    h->length = h->has_length ? l->content_length : 0;
    h->has_body = c.transfer > 0 || h->length > 0;
    h->keep_alive = llhttp_should_keep_alive(l) != 0;
    h->expect_continue = c.expect > 0 && h->has_body && !h->http10;
    h->upgrade_websocket = l->upgrade && h->method == HTTP_GET && !h->http10 && !h->has_body &&
                           list_has(c.upgrade, STR("websocket"));
    l->upgrade = 0; /* what follows is never another protocol before we say so */
    return HPE_PAUSED;
}

/* ---- feeding ---- */

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_chunk_extension_name = on_chunk_extension,
    .on_chunk_extension_value = on_chunk_extension,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void http_parser_start(struct http_parser *p, struct http_head *head, size_t head_max)
{
    *p = (struct http_parser){.head = head, .head_left = head_max};
    llhttp_init(&p->llhttp, HTTP_REQUEST, &settings);
    p->llhttp.data = p;
}

size_t http_parse(struct http_parser *p, struct str data, enum http_event *event)
{
    bool had_head = p->head_done;
    llhttp_errno_t rc = llhttp_execute(&p->llhttp, data.p, data.n);
    size_t used = data.n;
    if (rc != HPE_OK) {
        const char *at = llhttp_get_error_pos(&p->llhttp);
        used = at && at >= data.p && at <= data.p + data.n ? (size_t)(at - data.p) : data.n;
    }
    if (rc == HPE_OK) {
        *event = HTTP_EVENT_MORE;
    } else if (rc == HPE_PAUSED && p->done) {
        *event = HTTP_EVENT_DONE;
    } else if (rc == HPE_PAUSED && p->head_done && !had_head) {
        *event = HTTP_EVENT_HEAD;
        llhttp_resume(&p->llhttp);
    } else {
        *event = HTTP_EVENT_BAD;
        if (rc == HPE_PAUSED_H2_UPGRADE)
            fail(p, 400, "HTTP/2 is not spoken here");
        else
            fail(p, 400, "The request is malformed");
    }
    return used;
}

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Entity"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http_reason(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}
