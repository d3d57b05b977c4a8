/* buf: the one growable byte builder. Owns its memory; not thread-safe. A zeroed `struct buf` is empty and valid.
 * The bytes are always followed by a NUL that is not counted, so `b.p` may go to a system call (p is NULL only while
 * nothing was ever added). Growing aborts when memory is out: whoever adds input checks its size first. */
#pragma once
#include <stdarg.h>
#include "base/str.h"

struct buf {
    char *p;
    size_t n, cap;
};

void buf_deinit(struct buf *b);
void buf_clear(struct buf *b); /* empties, keeps the memory */
void buf_add(struct buf *b, struct str s);
void buf_add_bytes(struct buf *b, const void *p, size_t n);
void buf_add_char(struct buf *b, char c);
void buf_add_cstr(struct buf *b, const char *z);
void buf_add_u64(struct buf *b, uint64_t v); /* decimal */
void buf_add_i64(struct buf *b, int64_t v);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vaddf(struct buf *b, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));
/* Room for `n` more bytes behind the content; the caller writes there and adds what it wrote to `b->n`. */
char *buf_reserve(struct buf *b, size_t n);
void buf_consume(struct buf *b, size_t n);  /* drops `n` bytes at the front */
void buf_truncate(struct buf *b, size_t n); /* keeps the first `n` bytes */
void buf_insert(struct buf *b, size_t at, struct str s);
static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->p ? b->p : "", b->n};
}
/* Moves the content out: the caller frees `.p` (never NULL). The buffer is empty afterwards. */
struct str buf_take(struct buf *b);
#define autobuf __attribute__((cleanup(buf_deinit))) struct buf
