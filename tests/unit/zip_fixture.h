/* What the tests of the zip writer and of the reader share. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "zip/zip.h"

#define FILE_MODE (S_IFREG | 0644)
#define GB ((uint64_t)1 << 30)
#define END_BYTES 22 /* of the end record */

static inline bool into_buf(void *arg, struct str data)
{
    buf_add(arg, data);
    return true;
}

/* The number of `n` bytes at `at`. */
static inline uint64_t number(const struct buf *b, size_t at, size_t n)
{
    uint64_t v = 0;
    assert_true(at + n <= b->n);
    for (size_t i = n; i-- > 0;)
        v = v << 8 | (unsigned char)b->p[at + i];
    return v;
}
