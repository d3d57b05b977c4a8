/* A stream of requests: framing, target, query, routing and the caller's Origin and Host. The same bytes must give the
 * same requests however they are cut into pieces. */
#include "base/cleanup.h"
#include "net/access.h"
#include "net/http.h"
#include "net/router.h"
#include "net/url.h"
#include <stdlib.h>

#define HEAD_MAX 4096
#define BODY_MAX 2048
#define FIELDS_MAX 20
#define REQUESTS 16 /* per input */

static const struct route routes[] = {
    {.method = HTTP_GET_, .path = "/"},
    {.method = HTTP_GET_, .path = "/alive"},
    {.method = HTTP_GET_, .path = "/api/conversations/search"},
    {.method = HTTP_GET_, .path = "/api/conversations/{conversation_id}"},
    {.method = HTTP_POST_, .path = "/api/conversations/{conversation_id}/events"},
    {.method = HTTP_GET_, .path = "/api/conversations/{conversation_id}/events/{event_id}"},
    {.method = HTTP_GET_, .path = "/files/{path:path}"},
    {.method = HTTP_GET_, .path = "/sockets/events/{conversation_id}", .flags = ROUTE_SOCKET},
};

static struct router *router;
static struct access *access_rules;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    static const struct str origins[] = {STR_INIT("https://app.example"), STR_INIT("build-host")};
    static const struct str hosts[] = {STR_INIT("handsd.example")};
    const struct access_config config = {.bound_host = STR("127.0.0.1"),
                                         .origins = origins,
                                         .origin_count = ARRAY_LEN(origins),
                                         .origin_regex = STR("https://([a-z]+\\.)*apps\\.example"),
                                         .hosts = hosts,
                                         .host_count = ARRAY_LEN(hosts)};
    router = router_new(routes, ARRAY_LEN(routes));
    access_rules = access_new(&config, NULL);
    return 0;
}

/* Every span must lie within memory: writing it down makes the sanitizer look. */
static void head_write(const struct http_head *h, struct buf *out)
{
    autoarena arena = arena_new();
    struct url_pair *pairs;
    size_t count;
    struct route_match match;
    buf_addf(out, "%u %d%d%d%d ", h->method, h->http10, h->keep_alive, h->has_body, h->upgrade_websocket);
    buf_add(out, h->path);
    for (size_t i = 0; i < h->field_count; i++) {
        buf_add(out, http_head_str(h, h->fields[i].name));
        buf_add_char(out, ':');
        buf_add(out, http_head_str(h, h->fields[i].value));
    }
    if (url_query_parse(h->query, arena, &pairs, &count))
        for (size_t i = 0; i < count; i++)
            buf_addf(out, "%.*s=%.*s&", STR_ARG(pairs[i].name), STR_ARG(pairs[i].value));
    router_match(router, h->path, h->method == HTTP_POST ? HTTP_POST_ : HTTP_GET_, h->upgrade_websocket,
                 &match);
    buf_addf(out, "%s %u", match.route ? match.route->path : "-", match.methods);
    for (size_t i = 0; match.route && route_param_name(match.route, i).p; i++)
        buf_add(out, match.values[i]);
    buf_addf(out, "%d", access_host_allowed(access_rules, h->host));
    if (h->origin.p)
        buf_addf(out, "%d", access_origin_allowed(access_rules, h->origin, h->host));
}

static void requests_write(struct str data, size_t step, struct buf *out)
{
    struct http_head head;
    struct http_parser parser;
    size_t at = 0;
    http_head_init(&head, FIELDS_MAX);
    http_parser_start(&parser, &head, HEAD_MAX);
    for (unsigned requests = 0; requests < REQUESTS;) {
        size_t n = data.n - at < step ? data.n - at : step;
        enum http_event event;
        bool at_end = n == 0;
        /* A piece of its own, so that reading past it is seen. */
        char *piece = malloc(n ? n : 1);
        memcpy(piece, data.p + at, n);
        size_t used = http_parse(&parser, str_make(piece, n), &event);
        free(piece);
        if (used > n)
            abort();
        at += used;
        if (event == HTTP_EVENT_HEAD) {
            parser.body_max = BODY_MAX;
            head_write(&head, out);
        } else if (event == HTTP_EVENT_DONE) {
            buf_add(out, buf_str(&head.body));
            http_head_reset(&head);
            http_parser_start(&parser, &head, HEAD_MAX);
            requests++;
        } else if (event == HTTP_EVENT_BAD) {
            if (parser.status < 400 || !parser.problem)
                abort();
            buf_addf(out, "bad");
            break;
        } else if (at_end) {
            break;
        }
        if (head.body.n > BODY_MAX || head.text.n > HEAD_MAX)
            abort();
    }
    http_head_deinit(&head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 32 * 1024)
        return 0;
    autobuf whole = {0}, pieces = {0};
    struct str text = str_make(data + 1, size - 1);
    requests_write(text, text.n, &whole);
    requests_write(text, data[0] % 64 + 1, &pieces);
    if (!str_eq(buf_str(&whole), buf_str(&pieces)))
        abort();
    return 0;
}
