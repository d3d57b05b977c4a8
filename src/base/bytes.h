/* bytes: immutable text shared by reference, such as an event's JSON on its way to the log, to sockets and to pages.
 * The count is atomic: any thread may ref and unref. The content never changes after creation and ends in a NUL that
 * is not counted. */
#pragma once
#include <stdatomic.h>
#include "base/buf.h"

struct bytes {
    atomic_uint refs;
    size_t n;
    char p[];
};

struct bytes *bytes_new(struct str content); /* copies; one reference */
struct bytes *bytes_take(struct buf *b);     /* from a buffer, which is emptied */
struct bytes *bytes_ref(struct bytes *b);    /* NULL gives NULL */
void bytes_unref(struct bytes *b);           /* NULL is allowed */
static inline struct str bytes_str(const struct bytes *b)
{
    return b ? (struct str){b->p, b->n} : STR_NONE;
}
void bytes_cleanup(struct bytes **b);
#define autobytes __attribute__((cleanup(bytes_cleanup))) struct bytes *
