/* multipart: multipart/form-data (RFC 7578) out of a byte stream, as it comes. Keeps the head of one part and nothing of
 * its content. No I/O; not thread-safe. What it reads is a stranger's: everything is bounded. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#define MULTIPART_BOUNDARY_MAX 200     /* RFC 2046 allows 70; some clients do not count */
#define MULTIPART_HEAD_MAX (16 * 1024) /* the headers of one part */
#define MULTIPART_PARTS_MAX 1000
#define MULTIPART_PREAMBLE_MAX (64 * 1024) /* before the first boundary, and blanks behind one */

struct multipart_part {
    struct str name;      /* "" without one */
    struct str file_name; /* bytes as they came, or UTF-8 out of `filename*`; STR_NONE: a plain field */
    struct str content_type;
};

/* Each returns false to end it all (its own affair why; multipart_feed then returns false without an error). */
struct multipart_callbacks {
    bool (*on_part)(void *arg, const struct multipart_part *part); /* borrowed until it returns */
    bool (*on_data)(void *arg, struct str data);
    bool (*on_part_end)(void *arg);
};

struct multipart {
    const struct multipart_callbacks *callbacks;
    void *arg;
    char delimiter[4 + MULTIPART_BOUNDARY_MAX]; /* CR LF "--" boundary */
    size_t delimiter_n;
    size_t
        matched; /* of the delimiter: those `supposed`, those `held` of earlier pieces, and those of this one */
    size_t supposed; /* its CR LF, which the line before has */
    size_t held;
    int state;
    size_t parts, blanks;
    struct buf head;
};

/* From a Content-Type. ERR_INVALID: no form data, or its boundary is missing or malformed. */
bool multipart_init(struct multipart *m, struct str content_type, const struct multipart_callbacks *callbacks,
                    void *arg, struct err **e);
void multipart_deinit(struct multipart *m);
/* ERR_INVALID, ERR_TOO_LARGE; nothing may be fed afterwards. */
bool multipart_feed(struct multipart *m, struct str data, struct err **e);
/* The input is over: ERR_INVALID unless the last boundary has been seen. */
bool multipart_end(const struct multipart *m, struct err **e);
