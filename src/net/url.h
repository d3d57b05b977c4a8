/* url: percent-decoding and query strings. */
#pragma once
#include "base/arena.h"
#include "base/str.h"

/* Name/value pairs of one query string; more are an error. */
#define URL_PAIRS_MAX 1000

struct url_pair {
    struct str name, value; /* decoded */
};

/* Decodes `in` to `out` (room for in.n bytes; may be the same memory); `plus`: '+' is a space. A broken escape stays as
 * it is, and *broken (may be NULL) tells. Returns the length. */
size_t url_decode(char *out, struct str in, bool plus, bool *broken);
/* Splits and decodes a raw query into the arena. False when there are more than URL_PAIRS_MAX pairs. */
bool url_query_parse(struct str query, struct arena *arena, struct url_pair **pairs, size_t *count);
