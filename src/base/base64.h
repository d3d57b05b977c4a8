/* base64: standard (padded) and URL-safe (padded on output, padding optional on input). */
#pragma once
#include "base/buf.h"

void base64_encode(struct buf *out, struct str data);
void base64url_encode(struct buf *out, struct str data);
/* Accepts either alphabet; no white space. False on anything else, `out` then unchanged. */
bool base64_decode(struct buf *out, struct str text);
void hex_encode(struct buf *out, struct str data);
