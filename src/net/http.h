/* http: one request's head and body out of a byte stream (llhttp, strict), with the checks on framing that llhttp
 * leaves to its caller. No sockets here. Not thread-safe.
 *
 * A `struct http_head` holds what was read; it is reused from request to request. A `struct http_parser` is the small
 * state that a connection keeps. */
#pragma once
#include "base/buf.h"
#include <llhttp.h>

/* Bytes of chunk extensions over one request: nobody uses them, so more is an attack. */
#define HTTP_CHUNK_EXTENSIONS_MAX 4096

struct http_span {
    uint32_t at, n; /* within text */
};
struct http_field {
    struct http_span name, value;
};

struct http_head {
    struct buf text; /* target, names and values, one behind the other, without separators */
    struct http_field *fields;
    size_t field_count, fields_max;
    struct http_span target_span;
    /* Set when the head is complete; they point into text. */
    unsigned method; /* llhttp_method_t */
    bool http10, keep_alive, expect_continue, has_body, has_length, upgrade_websocket;
    uint64_t length;   /* Content-Length, if has_length */
    struct str target; /* as sent; the origin form, also when the absolute form was sent */
    struct str path;   /* decoded */
    struct str query;  /* raw, without '?'; STR_NONE when there was none */
    struct str host; /* Host header (or the authority of an absolute target); STR_NONE in HTTP/1.0 without */
    struct str origin, key, content_type;
    struct buf body;
    char *decoded; /* memory of path, or of a target whose path had to be put in */
};

enum http_event {
    HTTP_EVENT_MORE, /* give more bytes */
    HTTP_EVENT_HEAD, /* the head is complete: set body_max and discard, then go on */
    HTTP_EVENT_DONE, /* the request is complete; what follows belongs to the next one */
    HTTP_EVENT_BAD,  /* answer `status` with `problem` and close */
};

struct http_parser {
    llhttp_t llhttp;
    struct http_head *head; /* borrowed; NULL between requests */
    size_t head_left;       /* bytes that the head (and trailers, and chunk extensions) may still have */
    size_t body_max;
    size_t body_n; /* bytes of body seen */
    size_t extensions;
    bool discard;                                /* count the body but do not keep it */
    void (*on_body)(void *arg, struct str data); /* gets the body instead, in pieces; or NULL */
    void *on_body_arg;
    bool in_value, head_done, done;
    int status;
    const char *problem;
};

void http_head_init(struct http_head *h, size_t fields_max);
void http_head_reset(struct http_head *h); /* keeps small memory */
void http_head_deinit(struct http_head *h);
struct str http_head_str(const struct http_head *h, struct http_span s);
/* First header of that name (any case) or STR_NONE. */
struct str http_head_get(const struct http_head *h, struct str name);

/* Starts a request into `head`, which must be reset. */
void http_parser_start(struct http_parser *p, struct http_head *head, size_t head_max);
/* Consumes bytes up to the next event; returns how many. */
size_t http_parse(struct http_parser *p, struct str data, enum http_event *event);

const char *http_reason(int status); /* "Not Found" */
