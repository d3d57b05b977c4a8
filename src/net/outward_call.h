/* outward_call: one outgoing call on the outward thread: its copy of the request, its easy handle, its redirects and
 * how it ended. Made by any thread (outward_call_new), touched by the outward thread alone afterwards. */
#pragma once
#include "base/vec.h"
#include "net/curl_open.h"
#include "net/outward.h"

#define OUTWARD_CONNECT_TIMEOUT_MS 10000

struct outward_call {
    struct outward_call *next; /* in the queue of calls to start */
    uint64_t id;
    size_t index; /* in the list of running calls */
    const struct curl_table *curl;
    CURL *easy;
    struct curl_slist *header_list;
    struct outward_request request; /* limits and callbacks; the texts are in the fields below */
    char *method, *url, *unix_socket;
    struct str body;
    VEC(char *) headers;
    struct buf head; /* header lines of the answer */
    bool head_done, following;
    bool sent; /* the whole body */
    size_t body_bytes;
    unsigned redirects; /* followed so far */
    curl_off_t uploaded;
    uint64_t started_ns, active_ns; /* active: when the last byte came */
    struct err *error;              /* why we ended it ourselves */
    char text[CURL_ERROR_SIZE];
};

/* Copies the request; a request that cannot be sent has `error` set. */
struct outward_call *outward_call_new(const struct outward_request *request);
void outward_call_free(struct outward_call *c);
/* Makes the easy handle. `no_proxy`: hosts that are reached directly. */
bool outward_call_prepare(struct outward_call *c, const struct curl_table *curl, const char *no_proxy,
                          const char *ca_file);
/* After a redirect answer: true when the call goes on to another URL (the handle is ready to be added again). */
bool outward_call_redirect(struct outward_call *c);
/* 0: it has no idle deadline. Looks at uploaded bytes, so it is cheap but not free. */
uint64_t outward_call_idle_deadline(struct outward_call *c);
/* Delivers on_done; `code` is curl's unless `error` is set. */
void outward_call_finish(struct outward_call *c, CURLcode code);
