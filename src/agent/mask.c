/* Hiding secret values in text. A text is scanned once; at each byte only the values that begin with it are compared.
 * Secrets that overlap are hidden together, so that no end of the second one stays visible. */
#include "agent/internal.h"
#include "base/cleanup.h"
#include <stdatomic.h>

struct secret {
    char *name, *value;
    size_t name_n, value_n;
};

struct mask {
    atomic_uint refs;
    size_t n, longest;
    bool active;         /* at least one value is long enough to be hidden */
    uint16_t first[256]; /* 1 + index of the first secret in `next` that begins with the byte; 0: none */
    uint16_t *next;      /* chain through the secrets with the same first byte */
    struct secret *secrets;
};

#define MASK_SECRETS_MAX 65000 /* chains are 16 bits wide; more are not hidden, nor would anybody have them */

struct mask *mask_new(const struct str *names, const struct str *values, size_t n)
{
    struct mask *m = xcalloc(1, sizeof(*m));
    n = n < MASK_SECRETS_MAX ? n : MASK_SECRETS_MAX;
    m->refs = 1;
    m->n = n;
    m->secrets = xcalloc(n, sizeof(*m->secrets));
    m->next = xcalloc(n, sizeof(*m->next));
    for (size_t i = 0; i < n; i++) {
        struct str value = values[i].p ? values[i] : STR("");
        m->secrets[i] = (struct secret){str_dup(names[i]), str_dup(value), names[i].n, value.n};
        if (value.n < MASK_VALUE_MIN)
            continue;
        unsigned char c = (unsigned char)value.p[0];
        m->next[i] = m->first[c];
        m->first[c] = (uint16_t)(i + 1);
        m->active = true;
        if (value.n > m->longest)
            m->longest = value.n;
    }
    return m;
}

struct mask *mask_ref(struct mask *m)
{
    if (m)
        atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void mask_unref(struct mask *m)
{
    if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < m->n; i++) {
        explicit_bzero(m->secrets[i].value, m->secrets[i].value_n);
        free(m->secrets[i].value);
        free(m->secrets[i].name);
    }
    free(m->secrets);
    free(m->next);
    free(m);
}

size_t mask_longest(const struct mask *m)
{
    return m ? m->longest : 0;
}

size_t mask_count(const struct mask *m)
{
    return m ? m->n : 0;
}

struct str mask_name(const struct mask *m, size_t i)
{
    return str_make(m->secrets[i].name, m->secrets[i].name_n);
}

struct str mask_value(const struct mask *m, size_t i)
{
    return str_make(m->secrets[i].value, m->secrets[i].value_n);
}

/* Longest secret at `at`, 0 if none. */
static size_t match_length(const struct mask *m, struct str text, size_t at)
{
    size_t longest = 0;
    for (uint16_t i = m->first[(unsigned char)text.p[at]]; i; i = m->next[i - 1]) {
        const struct secret *s = &m->secrets[i - 1];
        if (s->value_n > longest && s->value_n <= text.n - at &&
            memcmp(text.p + at, s->value, s->value_n) == 0)
            longest = s->value_n;
    }
    return longest;
}

/* The next span to hide at or behind `from`. What was hidden before is left alone, so that masking twice is masking once. */
static bool span_next(const struct mask *m, struct str text, size_t from, size_t *start, size_t *end)
{
    const struct str hidden = STR(MASK_TEXT);
    for (size_t at = from; at < text.n; at++) {
        if (text.p[at] == hidden.p[0] && str_starts(str_sub(text, at, text.n), hidden)) {
            at += hidden.n - 1;
            continue;
        }
        size_t length = match_length(m, text, at);
        if (length == 0)
            continue;
        *start = at;
        *end = at + length;
        for (size_t i = at + 1; i < *end; i++) {
            size_t more = match_length(m, text, i);
            if (i + more > *end)
                *end = i + more;
        }
        return true;
    }
    return false;
}

bool mask_apply(const struct mask *m, struct str text, struct buf *out)
{
    size_t at = 0, start = 0, end = 0;
    bool hit = false;
    if (!m || !m->active) {
        buf_add(out, text);
        return false;
    }
    for (; span_next(m, text, at, &start, &end); at = end) {
        buf_add(out, str_sub(text, at, start));
        buf_add(out, STR(MASK_TEXT));
        hit = true;
    }
    buf_add(out, str_sub(text, at, text.n));
    return hit;
}

size_t mask_apply_head(const struct mask *m, struct str text, struct buf *out)
{
    size_t at = 0, start = 0, end = 0, safe = text.n;
    if (m && m->active)
        safe = text.n > m->longest - 1 ? text.n - (m->longest - 1) : 0;
    /* Never inside a character. */
    while (safe > 0 && safe < text.n && ((unsigned char)text.p[safe] & 0xC0) == 0x80)
        safe--;
    if (!m || !m->active) {
        buf_add(out, text);
        return text.n;
    }
    for (; span_next(m, text, at, &start, &end) && start < safe; at = end) {
        if (end > safe) {
            safe = start; /* it may go on: hold all of it back */
            break;
        }
        buf_add(out, str_sub(text, at, start));
        buf_add(out, STR(MASK_TEXT));
    }
    if (safe > at) {
        buf_add(out, str_sub(text, at, safe));
        at = safe;
    }
    return at;
}

void mask_apply_tail(const struct mask *m, struct str text, struct buf *out)
{
    size_t safe = m && m->active ? m->longest - 1 : 0, start = 0, end = 0;
    for (size_t at = 0; safe > 0 && at < text.n && span_next(m, text, at, &start, &end) && start < safe;
         at = end) {
        if (end > safe)
            safe = end;
    }
    while (safe < text.n && ((unsigned char)text.p[safe] & 0xC0) == 0x80)
        safe++;
    mask_apply(m, str_sub(text, safe, text.n), out);
}

/* Bytes at the end of `text` that begin a secret and are not all of it; at its beginning that end one. */
static size_t piece_length(const struct mask *m, struct str text, bool at_end)
{
    size_t longest = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct secret *s = &m->secrets[i];
        if (s->value_n < MASK_VALUE_MIN)
            continue;
        for (size_t n = s->value_n - 1 < text.n ? s->value_n - 1 : text.n; n >= MASK_VALUE_MIN && n > longest;
             n--) {
            const char *piece = at_end ? text.p + text.n - n : text.p;
            if (memcmp(piece, at_end ? s->value : s->value + s->value_n - n, n) == 0)
                longest = n;
        }
    }
    return longest;
}

void mask_apply_cut(const struct mask *m, struct str text, bool cut_before, bool cut_behind, struct buf *out)
{
    size_t begin = 0, end = text.n;
    if (m && m->active) {
        if (cut_before)
            begin = piece_length(m, text, false);
        if (cut_behind)
            end -= piece_length(m, str_sub(text, begin, text.n), true);
    }
    if (begin > 0)
        buf_add(out, STR(MASK_TEXT));
    mask_apply(m, str_sub(text, begin, end), out);
    if (end < text.n)
        buf_add(out, STR(MASK_TEXT));
}
