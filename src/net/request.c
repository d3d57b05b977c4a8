/* Requests: what their holder may ask. */
#include "base/cleanup.h"
#include "net/connection.h"

/* Buffers that a request struct keeps for its next use. */
#define HEADERS_KEEP 4096

struct request *request_new(struct server *s)
{
    struct request *r = s->idle_requests;
    if (r) {
        s->idle_requests = r->next_idle;
        s->idle_count--;
        r->next_idle = NULL;
    } else {
        r = xcalloc(1, sizeof(*r));
        r->server = s;
        http_head_init(&r->head, s->limits.headers_max);
    }
    return r;
}

void request_free(struct request *r)
{
    struct server *s = r->server;
    if (r->counted)
        s->parked--;
    server_charge(s, &r->charged, 0);
    arena_free(r->arena);
    json_doc_free(r->json);
    bytes_unref(r->shared);
    buf_deinit(&r->body);
    http_head_reset(&r->head);
    struct request fresh = {.server = s, .head = r->head, .headers = r->headers};
    if (fresh.headers.cap > HEADERS_KEEP)
        buf_deinit(&fresh.headers);
    else
        buf_clear(&fresh.headers);
    *r = fresh;
    if (s->idle_count < IDLE_REQUESTS_MAX) {
        r->next_idle = s->idle_requests;
        s->idle_requests = r;
        s->idle_count++;
        return;
    }
    http_head_deinit(&r->head);
    buf_deinit(&r->headers);
    free(r);
}

void *request_app(const struct request *r)
{
    return r->listener->config.app;
}

struct server *request_server(const struct request *r)
{
    return r->server;
}

struct arena *request_arena(struct request *r)
{
    if (!r->arena)
        r->arena = arena_new();
    return r->arena;
}

bool request_head_only(const struct request *r)
{
    return r->head_only;
}

struct str request_path(const struct request *r)
{
    return r->path;
}

struct str request_root_path(const struct request *r)
{
    return str_from(r->listener->root_path);
}

struct str request_header(const struct request *r, const char *name)
{
    return http_head_get(&r->head, str_from(name));
}

struct str request_body(const struct request *r)
{
    return buf_str(&r->head.body);
}

const struct json_value *request_json(const struct request *r)
{
    return json_root(r->json);
}

bool request_https(const struct request *r)
{
    struct str forwarded = request_header(r, "X-Forwarded-Proto"), first;
    return str_split(&forwarded, ',', &first) && str_eq_nocase(str_trim(first), STR("https"));
}

bool request_key_valid(const struct request *r, struct str key)
{
    return access_key_valid(r->listener->access, key);
}

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

void request_set_header(struct request *r, struct str name, struct str value)
{
    bool valid = name.n > 0;
    for (size_t i = 0; i < name.n; i++)
        valid = valid && is_token_char(name.p[i]);
    if (!valid)
        return;
    buf_add(&r->headers, name);
    buf_add(&r->headers, STR(": "));
    /* Values may have come from strangers (file names): nothing in them may end the line. */
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        buf_add_char(&r->headers, (c < 0x20 && c != '\t') || c == 0x7f ? ' ' : (char)c);
    }
    buf_add(&r->headers, STR("\r\n"));
}
