#include "net/outward_call.h"
#include "base/clock.h"

/* libcurl's buffers, per call: small, since thousands of calls may wait for their models at once. */
#define RECEIVE_BUFFER_BYTES 2048L
#define SEND_BUFFER_BYTES 16384L
#define URL_BYTES_MAX 32768 /* of a request's URL */

/* Plain bytes in one TLS record of a request, by OpenSSL's SSL_CTX_set_max_send_fragment, whose number this is (its headers
 * are not needed otherwise). A buffer for one such record is kept by each connection that waits: session tickets come after
 * the request, and OpenSSL makes the buffer when they do; it would be 16 kB. */
#define OPENSSL_CTRL_MAX_SEND_FRAGMENT 52
#define TLS_RECORD_BYTES 2048L

/* What may follow a redirect to another host: nothing that could be a credential. */
static const char *const harmless_headers[] = {"Accept", "Accept-Encoding", "Accept-Language", "Content-Type",
                                               "User-Agent"};

static bool text_is_plain(struct str s, bool spaces)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == 0x7f || (c < ' ' && !(spaces && c == '\t')) || (c == ' ' && !spaces))
            return false;
    }
    return true;
}

static bool request_check(const struct outward_request *r, struct err **e)
{
    if (!str_starts_nocase(r->url, STR("http://")) && !str_starts_nocase(r->url, STR("https://")))
        return err_set(e, ERR_INVALID, "the URL must begin with http:// or https://");
    if (r->url.n > URL_BYTES_MAX)
        return err_set(e, ERR_INVALID, "the URL is longer than %d bytes", URL_BYTES_MAX);
    if (!text_is_plain(r->url, false))
        return err_set(e, ERR_INVALID, "the URL contains spaces or control characters");
    if (r->method.n == 0 || !text_is_plain(r->method, false))
        return err_set(e, ERR_INVALID, "the method is not a word");
    for (size_t i = 0; i < r->header_count; i++)
        if (!text_is_plain(r->headers[i], true))
            return err_set(e, ERR_INVALID, "a request header contains control characters");
    return true;
}

struct outward_call *outward_call_new(const struct outward_request *request)
{
    struct outward_call *c = xcalloc(1, sizeof(*c));
    c->request = *request;
    if (!request_check(request, &c->error))
        return c;
    c->method = str_dup(request->method);
    c->url = str_dup(request->url);
    if (request->unix_socket.p)
        c->unix_socket = str_dup(request->unix_socket);
    if (request->body.n > 0)
        c->body = (struct str){str_dup(request->body), request->body.n};
    for (size_t i = 0; i < request->header_count; i++)
        vec_push(&c->headers, str_dup(request->headers[i]));
    c->request.headers = NULL; /* the caller's memory may be gone from here on */
    c->request.url = c->request.method = c->request.body = c->request.unix_socket = STR_NONE;
    return c;
}

void outward_call_free(struct outward_call *c)
{
    if (!c)
        return;
    if (c->easy)
        c->curl->easy_cleanup(c->easy);
    if (c->header_list)
        c->curl->slist_free_all(c->header_list);
    for (size_t i = 0; i < c->headers.n; i++)
        free(c->headers.at[i]);
    vec_deinit(&c->headers);
    free(c->method);
    free(c->url);
    free(c->unix_socket);
    free((char *)c->body.p);
    buf_deinit(&c->head);
    err_free(c->error);
    free(c);
}

/* --- what libcurl calls --------------------------------------------------------------------- */

static int call_status(struct outward_call *c)
{
    long status = 0;
    c->curl->easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

static bool status_redirects(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void head_end(struct outward_call *c)
{
    int status = call_status(c);
    if (status < 200)
        return; /* 100 Continue and its kind: the real head follows */
    c->head_done = true;
    c->following = status_redirects(status) && c->redirects < c->request.redirects &&
                   outward_header(buf_str(&c->head), STR("Location")).n > 0;
    if (!c->following && c->request.on_headers)
        c->request.on_headers(c->request.arg, status, buf_str(&c->head));
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct outward_call *c = arg;
    struct str line = {p, size * n};
    c->active_ns = clock_mono_ns();
    if (c->head_done)
        return line.n; /* trailers */
    if (str_starts(line, STR("HTTP/"))) {
        buf_clear(&c->head);
        return line.n;
    }
    if (c->head.n + line.n > OUTWARD_HEADERS_MAX) {
        err_set(&c->error, ERR_TOO_LARGE, "the answer's headers are larger than %d bytes",
                OUTWARD_HEADERS_MAX);
        return 0;
    }
    if (str_trim(line).n == 0)
        head_end(c);
    else
        buf_add(&c->head, line);
    return line.n;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct outward_call *c = arg;
    struct str data = {p, size * n};
    c->active_ns = clock_mono_ns();
    c->body_bytes += data.n;
    if (c->body_bytes > c->request.body_max) {
        err_set(&c->error, ERR_TOO_LARGE, "the answer is larger than %zu bytes", c->request.body_max);
        return 0;
    }
    if (c->following || !c->request.on_data)
        return data.n;
    if (!c->request.on_data(c->request.arg, data)) {
        err_set(&c->error, ERR_CANCELLED, "the call was ended by its receiver");
        return 0;
    }
    return data.n;
}

/* By TLS and HTTP/1.1 libcurl sends from a copy, whose buffer it would keep until the answer's end. A new size frees it,
 * whatever the size: here as soon as all is sent, before the long wait. */
static int on_progress(void *arg, curl_off_t to_come, curl_off_t came, curl_off_t to_send, curl_off_t sent)
{
    (void)to_come, (void)came, (void)to_send;
    struct outward_call *c = arg;
    if (!c->sent && c->body.n > 0 && sent >= (curl_off_t)c->body.n) {
        c->sent = true;
        c->curl->easy_setopt(c->easy, CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER_BYTES);
    }
    return 0;
}

/* --- setting up ------------------------------------------------------------------------------- */

static struct str header_name(const char *line)
{
    struct str s = str_from(line);
    ssize_t colon = str_find_char(s, ':');
    return str_trim(colon < 0 ? s : str_sub(s, 0, (size_t)colon));
}

static bool headers_have(const struct outward_call *c, struct str name)
{
    for (size_t i = 0; i < c->headers.n; i++)
        if (str_eq_nocase(header_name(c->headers.at[i]), name))
            return true;
    return false;
}

static void headers_apply(struct outward_call *c)
{
    struct curl_slist *list = NULL;
    for (size_t i = 0; i < c->headers.n; i++)
        list = c->curl->slist_append(list, c->headers.at[i]);
    list = c->curl->slist_append(list, "Expect:"); /* no round trip before a large body */
    if (!headers_have(c, STR("Content-Type")))
        list = c->curl->slist_append(list, "Content-Type:"); /* none rather than curl's form type */
    c->curl->easy_setopt(c->easy, CURLOPT_HTTPHEADER, list);
    if (c->header_list)
        c->curl->slist_free_all(c->header_list);
    c->header_list = list;
}

static void method_apply(struct outward_call *c)
{
    struct str method = str_from(c->method);
    const struct curl_table *curl = c->curl;
    curl->easy_setopt(c->easy, CURLOPT_HTTPGET, 1L);
    curl->easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, NULL);
    if (str_is(method, "HEAD")) {
        curl->easy_setopt(c->easy, CURLOPT_NOBODY, 1L);
    } else if (str_is(method, "POST") || c->body.n > 0) {
        curl->easy_setopt(c->easy, CURLOPT_POST, 1L);
        curl->easy_setopt(c->easy, CURLOPT_POSTFIELDS, c->body.p ? c->body.p : "");
        curl->easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body.n);
    }
    if (!str_is(method, "HEAD") && !str_is(method, "GET") && !str_is(method, "POST"))
        curl->easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, c->method);
}

/* Close-on-exec from its first moment: a hand that holds a model's connection could read it, and keeps it open after a
 * cancel. libcurl itself does not ask for that. */
static curl_socket_t socket_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)arg, (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Called with OpenSSL's context only: a libcurl with another TLS library refuses the option. */
static CURLcode tls_context_open(CURL *easy, void *context, void *arg)
{
    (void)easy;
    const struct curl_table *curl = arg;
    curl->ssl_ctx_ctrl(context, OPENSSL_CTRL_MAX_SEND_FRAGMENT, TLS_RECORD_BYTES, NULL);
    return CURLE_OK;
}

static void limits_apply(struct outward_call *c)
{
    const struct curl_table *curl = c->curl;
    uint64_t connect =
        c->request.connect_timeout_ms ? c->request.connect_timeout_ms : OUTWARD_CONNECT_TIMEOUT_MS;
    curl->easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect);
    curl->easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, (long)c->request.timeout_ms);
    curl->easy_setopt(c->easy, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER_BYTES);
    curl->easy_setopt(c->easy, CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER_BYTES);
    curl->easy_setopt(c->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl->easy_setopt(c->easy, CURLOPT_FOLLOWLOCATION, 0L); /* outward_call_redirect decides */
    curl->easy_setopt(c->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl->easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    curl->easy_setopt(c->easy, CURLOPT_TCP_KEEPALIVE, 1L);
    /* A cancelled call must not wait for its name lookup: the whole thread would. */
    curl->easy_setopt(c->easy, CURLOPT_QUICK_EXIT, 1L);
}

bool outward_call_prepare(struct outward_call *c, const struct curl_table *curl, const char *no_proxy,
                          const char *ca_file)
{
    c->curl = curl;
    c->easy = curl->easy_init();
    if (!c->easy)
        return err_set(&c->error, ERR_INTERNAL, "libcurl gave no handle");
    curl->easy_setopt(c->easy, CURLOPT_URL, c->url);
    curl->easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    curl->easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->text);
    curl->easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl->easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
    curl->easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl->easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    curl->easy_setopt(c->easy, CURLOPT_USERAGENT, "handsd/" HANDSD_VERSION);
    curl->easy_setopt(c->easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
    /* With a directory of certificates every connection would load a store of its own (900 kB); with the one file
     * the store is parsed once and shared. */
    curl->easy_setopt(c->easy, CURLOPT_CAPATH, NULL);
    if (ca_file)
        curl->easy_setopt(c->easy, CURLOPT_CAINFO, ca_file);
    curl->easy_setopt(c->easy, CURLOPT_CA_CACHE_TIMEOUT, 24L * 3600);
    if (curl->ssl_ctx_ctrl) {
        curl->easy_setopt(c->easy, CURLOPT_SSL_CTX_FUNCTION, tls_context_open);
        curl->easy_setopt(c->easy, CURLOPT_SSL_CTX_DATA, (void *)curl);
    }
    if (c->unix_socket) {
        curl->easy_setopt(c->easy, CURLOPT_UNIX_SOCKET_PATH, c->unix_socket);
        curl->easy_setopt(c->easy, CURLOPT_PROXY, "");
    }
    curl->easy_setopt(c->easy, CURLOPT_NOPROXY, no_proxy);
    curl->easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, socket_open);
    curl->easy_setopt(c->easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl->easy_setopt(c->easy, CURLOPT_XFERINFODATA, c);
    curl->easy_setopt(c->easy, CURLOPT_NOPROGRESS, 0L);
    limits_apply(c);
    method_apply(c);
    headers_apply(c);
    return true;
}

uint64_t outward_call_idle_deadline(struct outward_call *c)
{
    if (c->request.idle_timeout_ms == 0)
        return 0;
    curl_off_t uploaded = 0;
    if (c->easy)
        c->curl->easy_getinfo(c->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
    if (uploaded > c->uploaded) { /* a large body on a slow line is not idle */
        c->uploaded = uploaded;
        c->active_ns = clock_mono_ns();
    }
    return c->active_ns + c->request.idle_timeout_ms * NS_PER_MS;
}

/* --- redirects -------------------------------------------------------------------------------- */

/* Host and port of a URL when they are spelled without anything a second parser could read differently. */
static bool url_origin(struct str url, bool *https, struct str *host)
{
    *https = str_starts_nocase(url, STR("https://"));
    if (!*https && !str_starts_nocase(url, STR("http://")))
        return false;
    size_t from = *https ? 8 : 7, to = from;
    while (to < url.n && url.p[to] != '/' && url.p[to] != '?' && url.p[to] != '#')
        to++;
    *host = str_sub(url, from, to);
    for (size_t i = 0; i < host->n; i++) {
        char ch = host->p[i];
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
                     ch == '.' || ch == '-' || ch == ':' || ch == '[' || ch == ']' || ch == '_';
        if (!plain)
            return false;
    }
    struct str port = *https ? STR(":443") : STR(":80");
    if (str_ends(*host, port))
        host->n -= port.n;
    return host->n > 0;
}

/* The same server, or the same one by TLS now. */
static bool origin_keeps(struct str from, struct str to)
{
    bool from_https = false, to_https = false;
    struct str from_host, to_host;
    return url_origin(from, &from_https, &from_host) && url_origin(to, &to_https, &to_host) &&
           str_eq_nocase(from_host, to_host) && (to_https || !from_https);
}

static void headers_drop_private(struct outward_call *c)
{
    for (size_t i = c->headers.n; i-- > 0;) {
        bool keep = false;
        for (size_t k = 0; k < ARRAY_LEN(harmless_headers); k++)
            keep = keep || str_eq_nocase(header_name(c->headers.at[i]), str_from(harmless_headers[k]));
        if (!keep) {
            free(c->headers.at[i]);
            vec_remove(&c->headers, i);
        }
    }
}

bool outward_call_redirect(struct outward_call *c)
{
    if (!c->following)
        return false;
    const char *target = NULL;
    c->curl->easy_getinfo(c->easy, CURLINFO_REDIRECT_URL, &target);
    if (!target) {
        err_set(&c->error, ERR_UPSTREAM, "the answer redirects to an address that cannot be read");
        return false;
    }
    int status = call_status(c);
    bool same = origin_keeps(str_from(c->url), str_from(target));
    bool keeps_body = status == 307 || status == 308;
    if (!same && keeps_body && c->body.n > 0) {
        err_set(&c->error, ERR_UPSTREAM,
                "the answer redirects the request's body to another host; that is not followed");
        return false;
    }
    if (!same)
        headers_drop_private(c);
    if (!keeps_body && !str_is(str_from(c->method), "GET") && !str_is(str_from(c->method), "HEAD")) {
        free(c->method);
        c->method = str_dup(STR("GET"));
        free((char *)c->body.p);
        c->body = STR_NONE;
    }
    char *url = str_dup(str_from(target)); /* `target` dies with the next setopt */
    free(c->url);
    c->url = url;
    c->redirects++;
    c->head_done = c->following = c->sent = false;
    c->body_bytes = 0;
    buf_clear(&c->head);
    c->curl->easy_setopt(c->easy, CURLOPT_URL, c->url);
    method_apply(c);
    headers_apply(c);
    return true;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void error_from_code(struct outward_call *c, CURLcode code)
{
    const char *text = c->text[0] ? c->text : c->curl->easy_strerror(code);
    enum err_kind kind = ERR_UPSTREAM;
    if (code == CURLE_OPERATION_TIMEDOUT)
        kind = ERR_TIMEOUT;
    else if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
        kind = ERR_INVALID;
    err_set(&c->error, kind, "%s", text);
}

void outward_call_finish(struct outward_call *c, CURLcode code)
{
    if (!c->error && code != CURLE_OK)
        error_from_code(c, code);
    long sent = 0;
    if (c->easy)
        c->curl->easy_getinfo(c->easy, CURLINFO_REQUEST_SIZE, &sent);
    struct outward_result result = {
        .status = c->easy ? call_status(c) : 0,
        .headers = buf_str(&c->head),
        .error = c->error,
        .seconds = (double)(clock_mono_ns() - c->started_ns) / (double)NS_PER_S,
    };
    result.connected = result.status > 0 || sent > 0 || c->redirects > 0;
    if (c->request.on_done)
        c->request.on_done(c->request.arg, &result);
}
