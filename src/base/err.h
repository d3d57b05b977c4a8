/* err: why something failed. A fallible function takes `struct err **` last and returns bool (or NULL); success leaves
 * it untouched. Passing NULL means "I only want to know that it failed". The kind decides what a client sees (one
 * table in net/ maps it to HTTP); the text is for a person and names the thing and the limit. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>

enum err_kind {
    ERR_INTERNAL,     /* a bug or an impossible state: 500 */
    ERR_INVALID,      /* the input is wrong: 422 or 400 */
    ERR_UNAUTHORIZED, /* 401 */
    ERR_FORBIDDEN,    /* 403 */
    ERR_NOT_FOUND,    /* 404 */
    ERR_CONFLICT,     /* 409 */
    ERR_TOO_LARGE,    /* over a named limit: 413 */
    ERR_BUSY,         /* a bounded resource is full, or storage refuses writes: 503 with Retry-After */
    ERR_IO,           /* disk full, EIO, a broken pipe: 503 where it concerns the store */
    ERR_TIMEOUT,      /* a named deadline passed: 504 */
    ERR_CANCELLED,    /* someone asked us to stop */
    ERR_LOST,         /* another owner has the conversation */
    ERR_UPSTREAM,     /* a model, webhook or other server answered badly: 502 */
    ERR_TOO_MANY,     /* a limit on how many at once is reached, for as long as others run: 429 */
    ERR_GONE,         /* the hand or connection that was to answer is dead */
};

struct err {
    enum err_kind kind;
    char *text; /* never NULL */
    char *code; /* a client's word for it, such as "LLMRateLimitError"; NULL when there is none */
};

/* Sets `*e` (if `e` is not NULL and nothing is set yet). Always returns false: `return err_set(e, …)`. */
bool err_set(struct err **e, enum err_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same with ": strerror(errno)" behind; ENOSPC, EDQUOT and EIO give ERR_IO, ENOENT ERR_NOT_FOUND, else `kind`. */
bool err_errno(struct err **e, enum err_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void err_set_code(struct err **e, const char *code);
/* Puts "prefix: " in front of the text of an error that is set. Returns false. */
bool err_prefix(struct err **e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct err *err_copy(const struct err *e);
void err_free(struct err *e);              /* NULL is allowed */
const char *err_text(const struct err *e); /* "unknown error" for NULL */
void err_cleanup(struct err **e);
#define autoerr __attribute__((cleanup(err_cleanup))) struct err *
