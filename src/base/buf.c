#include "base/buf.h"
#include "base/cleanup.h"
#include <stdio.h>

#define BUF_CAP_MIN 64

void buf_deinit(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    if (b->p)
        b->p[0] = '\0';
}

char *buf_reserve(struct buf *b, size_t n)
{
    size_t need;
    if (__builtin_add_overflow(b->n, n, &need) || need >= SIZE_MAX / 2)
        abort();
    if (need + 1 > b->cap) {
        size_t cap = b->cap + b->cap / 2;
        if (cap < need + 1)
            cap = need + 1;
        if (cap < BUF_CAP_MIN)
            cap = BUF_CAP_MIN;
        b->p = xrealloc(b->p, cap);
        b->cap = cap;
    }
    /* For a caller who fills the whole reservation; whoever writes less is terminated by the next call. */
    b->p[need] = '\0';
    b->p[b->n] = '\0';
    return b->p + b->n;
}

void buf_add_bytes(struct buf *b, const void *p, size_t n)
{
    char *to = buf_reserve(b, n);
    if (n) {
        memcpy(to, p, n);
        b->n += n;
    }
}

void buf_add(struct buf *b, struct str s)
{
    buf_add_bytes(b, s.p, s.n);
}

void buf_add_char(struct buf *b, char c)
{
    *buf_reserve(b, 1) = c;
    b->n++;
}

void buf_add_cstr(struct buf *b, const char *z)
{
    buf_add_bytes(b, z, strlen(z));
}

void buf_add_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_add_bytes(b, digits + at, sizeof(digits) - at);
}

void buf_add_i64(struct buf *b, int64_t v)
{
    if (v < 0)
        buf_add_char(b, '-');
    buf_add_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void buf_vaddf(struct buf *b, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    char *to = buf_reserve(b, BUF_CAP_MIN);
    int n = vsnprintf(to, b->cap - b->n, fmt, args);
    if (n < 0)
        abort();
    if ((size_t)n >= b->cap - b->n) {
        to = buf_reserve(b, (size_t)n);
        vsnprintf(to, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    b->n += (size_t)n;
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    buf_vaddf(b, fmt, args);
    va_end(args);
}

void buf_consume(struct buf *b, size_t n)
{
    if (n >= b->n) {
        buf_clear(b);
        return;
    }
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
    b->p[b->n] = '\0';
}

void buf_truncate(struct buf *b, size_t n)
{
    if (n < b->n) {
        b->n = n;
        b->p[n] = '\0';
    }
}

void buf_insert(struct buf *b, size_t at, struct str s)
{
    if (at > b->n)
        at = b->n;
    buf_reserve(b, s.n);
    if (s.n == 0)
        return;
    memmove(b->p + at + s.n, b->p + at, b->n - at);
    memcpy(b->p + at, s.p, s.n);
    b->n += s.n;
    b->p[b->n] = '\0';
}

struct str buf_take(struct buf *b)
{
    buf_reserve(b, 0);
    struct str content = {b->p, b->n};
    *b = (struct buf){0};
    return content;
}
