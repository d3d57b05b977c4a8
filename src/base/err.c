#include "base/err.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include <errno.h>

/* strerror would go through the message catalogues of the locale. */
static const char *errno_text(int number)
{
    const char *text = strerrordesc_np(number);
    return text ? text : "unknown error";
}

static enum err_kind errno_kind(int number, enum err_kind kind)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
    case EIO: return ERR_IO;
    case ENOENT: return ERR_NOT_FOUND;
    default: return kind;
    }
}

static void err_make(struct err **e, enum err_kind kind, struct buf *text)
{
    *e = xmalloc(sizeof(**e));
    **e = (struct err){.kind = kind, .text = (char *)buf_take(text).p};
}

bool err_set(struct err **e, enum err_kind kind, const char *fmt, ...)
{
    if (!e || *e)
        return false;
    struct buf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vaddf(&text, fmt, args);
    va_end(args);
    err_make(e, kind, &text);
    return false;
}

bool err_errno(struct err **e, enum err_kind kind, const char *fmt, ...)
{
    int number = errno;
    if (!e || *e)
        return false;
    struct buf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vaddf(&text, fmt, args);
    va_end(args);
    buf_addf(&text, ": %s", errno_text(number));
    err_make(e, errno_kind(number, kind), &text);
    errno = number;
    return false;
}

void err_set_code(struct err **e, const char *code)
{
    if (!e || !*e)
        return;
    free((*e)->code);
    (*e)->code = code ? str_dup(str_from(code)) : NULL;
}

bool err_prefix(struct err **e, const char *fmt, ...)
{
    if (!e || !*e)
        return false;
    struct buf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vaddf(&text, fmt, args);
    va_end(args);
    buf_addf(&text, ": %s", (*e)->text);
    free((*e)->text);
    (*e)->text = (char *)buf_take(&text).p;
    return false;
}

struct err *err_copy(const struct err *e)
{
    if (!e)
        return NULL;
    struct err *copy = xmalloc(sizeof(*copy));
    *copy = (struct err){
        .kind = e->kind,
        .text = str_dup(str_from(e->text)),
        .code = e->code ? str_dup(str_from(e->code)) : NULL,
    };
    return copy;
}

void err_free(struct err *e)
{
    if (!e)
        return;
    free(e->text);
    free(e->code);
    free(e);
}

const char *err_text(const struct err *e)
{
    return e ? e->text : "unknown error";
}

void err_cleanup(struct err **e)
{
    err_free(*e);
}
