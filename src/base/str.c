#include "base/str.h"
#include "base/cleanup.h"
#include "base/uuid.h"
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

/* Longest text that str_to_f64 looks at: far more digits than a double holds. */
#define F64_TEXT_MAX 1024
/* From this length on a needle is worth a folded copy, so that the search stays linear in the worst case. */
#define NOCASE_FOLD_MIN 16

static inline unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

int str_cmp(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    if (order)
        return order;
    return a.n < b.n ? -1 : a.n > b.n;
}

static bool equal_nocase(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (lower((unsigned char)a[i]) != lower((unsigned char)b[i]))
            return false;
    return true;
}

bool str_eq_nocase(struct str a, struct str b)
{
    return a.n == b.n && equal_nocase(a.p, b.p, a.n);
}

bool str_eq_secret(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    unsigned char difference = 0;
    for (size_t i = 0; i < a.n; i++)
        difference |= (unsigned char)(((const volatile char *)a.p)[i] ^ ((const volatile char *)b.p)[i]);
    return difference == 0;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool str_starts_nocase(struct str s, struct str prefix)
{
    return s.n >= prefix.n && equal_nocase(s.p, prefix.p, prefix.n);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

ssize_t str_find(struct str s, struct str needle)
{
    if (needle.n == 0)
        return 0;
    if (needle.n > s.n)
        return -1;
    const char *at = memmem(s.p, s.n, needle.p, needle.n);
    return at ? at - s.p : -1;
}

static char *fold(struct str s)
{
    char *copy = xmalloc(s.n);
    for (size_t i = 0; i < s.n; i++)
        copy[i] = (char)lower((unsigned char)s.p[i]);
    return copy;
}

ssize_t str_find_nocase(struct str s, struct str needle)
{
    if (needle.n == 0)
        return 0;
    if (needle.n > s.n)
        return -1;
    if (needle.n >= NOCASE_FOLD_MIN) {
        autofree char *folded_s = fold(s);
        autofree char *folded_needle = fold(needle);
        return str_find(str_make(folded_s, s.n), str_make(folded_needle, needle.n));
    }
    unsigned char first = lower((unsigned char)needle.p[0]);
    for (size_t i = 0; i + needle.n <= s.n; i++)
        if (lower((unsigned char)s.p[i]) == first && equal_nocase(s.p + i, needle.p, needle.n))
            return (ssize_t)i;
    return -1;
}

ssize_t str_find_char(struct str s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? at - s.p : -1;
}

ssize_t str_rfind_char(struct str s, char c)
{
    const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;
    return at ? at - s.p : -1;
}

struct str str_sub(struct str s, size_t from, size_t to)
{
    if (!s.p)
        return STR_NONE;
    if (to > s.n)
        to = s.n;
    if (from > to)
        from = to;
    return str_make(s.p + from, to - from);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim_right(struct str s)
{
    while (s.n > 0 && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

struct str str_trim(struct str s)
{
    while (s.n > 0 && is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    return str_trim_right(s);
}

bool str_split(struct str *rest, char sep, struct str *part)
{
    if (!rest->p)
        return false;
    ssize_t at = str_find_char(*rest, sep);
    if (at < 0) {
        *part = *rest;
        *rest = STR_NONE;
        return true;
    }
    *part = str_make(rest->p, (size_t)at);
    *rest = str_make(rest->p + at + 1, rest->n - (size_t)at - 1);
    return true;
}

bool str_to_u64(struct str s, uint64_t *out)
{
    uint64_t value = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.p[i] - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

bool str_to_i64(struct str s, int64_t *out)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    uint64_t size;
    if (!str_to_u64(negative ? str_sub(s, 1, s.n) : s, &size))
        return false;
    if (size > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - size) : (int64_t)size;
    return true;
}

static size_t digits(const char *z)
{
    size_t n = 0;
    while (z[n] >= '0' && z[n] <= '9')
        n++;
    return n;
}

/* strtod alone would also take white space, hexadecimal, "inf" and "nan". */
static bool is_decimal(const char *z)
{
    z += *z == '-';
    size_t whole = digits(z), fraction = 0;
    z += whole;
    if (*z == '.') {
        fraction = digits(++z);
        z += fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (*z == 'e' || *z == 'E') {
        z++;
        z += *z == '-' || *z == '+';
        size_t exponent = digits(z);
        if (exponent == 0)
            return false;
        z += exponent;
    }
    return *z == '\0';
}

bool str_to_f64(struct str s, double *out)
{
    char text[F64_TEXT_MAX + 1];
    if (s.n == 0 || s.n > F64_TEXT_MAX || memchr(s.p, 0, s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    if (!is_decimal(text))
        return false;
    double value = strtod(text, NULL);
    if (!isfinite(value))
        return false;
    *out = value;
    return true;
}

/* SipHash-1-3: short, and keyed, so that a client who chooses keys cannot choose collisions. */
static uint64_t hash_key[2];

static void hash_key_make(void)
{
    random_bytes(hash_key, sizeof(hash_key));
}

static inline uint64_t rotate(uint64_t v, unsigned bits)
{
    return v << bits | v >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

uint64_t str_hash(struct str s)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, hash_key_make);

    uint64_t v[4] = {hash_key[0] ^ 0x736f6d6570736575u, hash_key[1] ^ 0x646f72616e646f6du,
                     hash_key[0] ^ 0x6c7967656e657261u, hash_key[1] ^ 0x7465646279746573u};
    size_t at = 0;
    for (; at + 8 <= s.n; at += 8) {
        uint64_t word;
        memcpy(&word, s.p + at, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)s.n << 56;
    for (unsigned i = 0; at < s.n; i++, at++)
        last |= (uint64_t)(unsigned char)s.p[at] << (8 * i);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

char *str_dup(struct str s)
{
    char *copy = xmalloc(s.n + 1);
    if (s.n)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return copy;
}
