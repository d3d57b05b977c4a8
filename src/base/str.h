/* str: text with its length.
 *
 * A `struct str` borrows its bytes; it owns nothing and is passed by value. The bytes need not end in NUL and may
 * contain NUL. `p == NULL` means "absent" and has length 0. NUL-terminated strings are made only for system calls. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_INIT(literal)               \
    {                                   \
        "" literal, sizeof(literal) - 1 \
    }
#define STR_NONE ((struct str){NULL, 0})
/* printf("%.*s", STR_ARG(s)) */
#define STR_ARG(s) (int)(s).n, (s).p

static inline struct str str_make(const void *p, size_t n)
{
    return (struct str){p, n};
}
/* From a NUL-terminated string; NULL gives STR_NONE. */
static inline struct str str_from(const char *z)
{
    return z ? (struct str){z, strlen(z)} : STR_NONE;
}
static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool str_is(struct str a, const char *z)
{
    return str_eq(a, str_from(z));
}
int str_cmp(struct str a, struct str b);        /* bytewise, like strcmp */
bool str_eq_nocase(struct str a, struct str b); /* ASCII case only */
bool str_eq_secret(struct str a, struct str b); /* constant time in the content, for keys */
bool str_starts(struct str s, struct str prefix);
bool str_starts_nocase(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
ssize_t str_find(struct str s, struct str needle);        /* offset or -1; an empty needle is found at 0 */
ssize_t str_find_nocase(struct str s, struct str needle); /* ASCII case only */
ssize_t str_find_char(struct str s, char c);              /* offset or -1 */
ssize_t str_rfind_char(struct str s, char c);
/* Bytes [from, to), clamped to the string. */
struct str str_sub(struct str s, size_t from, size_t to);
struct str str_trim(struct str s); /* without ASCII white space at both ends */
struct str str_trim_right(struct str s);
/* Takes the part before the next `sep` off `*rest`. False when `rest->p` is NULL (nothing left). */
bool str_split(struct str *rest, char sep, struct str *part);
/* Whole string must be a decimal number in range; no white space, no leading '+'. */
bool str_to_i64(struct str s, int64_t *out);
bool str_to_u64(struct str s, uint64_t *out);
bool str_to_f64(struct str s, double *out);
uint64_t str_hash(struct str s); /* 64-bit, keyed once per process against flooding */
char *str_dup(struct str s);     /* new NUL-terminated copy, to be freed; embedded NULs are kept */
