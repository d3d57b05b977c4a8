/* uuid: 128-bit ids. Random ones are version 4. Both text forms (32 hex digits, dashed) name the same bits. */
#pragma once
#include "base/str.h"

struct uuid {
    uint8_t b[16];
};

#define UUID_DASHED_LEN 36
#define UUID_HEX_LEN 32

struct uuid uuid_random(void);
/* Either form, any case, also {…} and urn:uuid: as Python takes. */
bool uuid_parse(struct str text, struct uuid *out);
struct str uuid_dashed(const struct uuid *id, char out[UUID_DASHED_LEN + 1]);
struct str uuid_hex(const struct uuid *id, char out[UUID_HEX_LEN + 1]);
bool uuid_eq(const struct uuid *a, const struct uuid *b);
bool uuid_is_zero(const struct uuid *a);
void random_bytes(void *out, size_t n); /* from the kernel; aborts if it gives none */
