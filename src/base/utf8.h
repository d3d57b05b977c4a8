/* utf8: checks and cuts of UTF-8 text. */
#pragma once
#include "base/buf.h"

bool utf8_valid(struct str s);                  /* strict: no surrogates, no overlong forms */
void utf8_scrub(struct buf *out, struct str s); /* adds `s` with each bad sequence replaced by U+FFFD */
size_t utf8_count(struct str s);                /* code points; the input must be valid */
/* Longest prefix / suffix of at most `max` code points; the input must be valid. */
struct str utf8_prefix(struct str s, size_t max);
struct str utf8_suffix(struct str s, size_t max);
/* Largest prefix of at most `max` bytes that does not end inside a character. */
struct str utf8_prefix_bytes(struct str s, size_t max);
void utf8_add(struct buf *out, uint32_t code_point);
/* Reads one character; returns its length, 0 at the end, and U+FFFD with length 1 on a bad byte. */
unsigned utf8_next(struct str s, uint32_t *code_point);
/* Incremental check for data that arrives in pieces; `state` starts at 0. False on the first bad byte. */
bool utf8_check(uint32_t *state, struct str s);
#define UTF8_CHECK_DONE(state) ((state) == 0)
