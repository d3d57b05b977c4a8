/* Hiding secret values in text. A text is scanned once; at each byte only the patterns that begin with it are compared.
 * Those that overlap are hidden together, so that no end of the second one stays visible. */
#include "agent/internal.h"
#include "base/cleanup.h"
#include "base/vec.h"
#include <stdatomic.h>

struct secret {
    char *name, *value;
    size_t name_n, value_n;
};

/* What is looked for: a part of a value, which owns it. */
struct pattern {
    struct str text;
    uint16_t next; /* 1 + index of the next one with the same first byte; 0: none */
};

struct mask {
    atomic_uint refs;
    size_t n, longest;
    struct secret *secrets;
    uint16_t first[256]; /* as `next`: where the patterns with that first byte begin */
    VEC(struct pattern) patterns;
};

#define MASK_PATTERNS_MAX \
    65000 /* chains are 16 bits wide; more are not hidden, nor would anybody have them */

static bool mask_active(const struct mask *m)
{
    return m && m->patterns.n > 0;
}

static void pattern_add(struct mask *m, struct str text)
{
    if (text.n < MASK_VALUE_MIN || m->patterns.n == MASK_PATTERNS_MAX)
        return;
    unsigned char c = (unsigned char)text.p[0];
    vec_push(&m->patterns, ((struct pattern){text, m->first[c]}));
    m->first[c] = (uint16_t)m->patterns.n;
    if (text.n > m->longest)
        m->longest = text.n;
}

/* A key of many lines is seldom printed as it is: tools number, indent and wrap lines, and terminals change their ends. */
static void pattern_add_lines(struct mask *m, struct str value)
{
    struct str rest = str_trim(value);
    if (str_find_char(rest, '\n') < 0)
        return;
    while (rest.n > 0) {
        ssize_t at = str_find_char(rest, '\n');
        size_t end = at < 0 ? rest.n : (size_t)at;
        struct str line = str_trim(str_sub(rest, 0, end));
        if (line.n >= MASK_LINE_MIN)
            pattern_add(m, line);
        rest = str_sub(rest, end + 1, rest.n);
    }
}

struct mask *mask_new(const struct str *names, const struct str *values, size_t n)
{
    struct mask *m = xcalloc(1, sizeof(*m));
    m->refs = 1;
    m->n = n;
    m->secrets = xcalloc(n, sizeof(*m->secrets));
    for (size_t i = 0; i < n; i++) {
        struct str value = values[i].p ? values[i] : STR("");
        m->secrets[i] = (struct secret){str_dup(names[i]), str_dup(value), names[i].n, value.n};
        pattern_add(m, mask_value(m, i));
    }
    for (size_t i = 0; i < n; i++) { /* behind all that are whole, should there be too many */
        struct str value = mask_value(m, i), trimmed = str_trim(value);
        if (trimmed.n < value.n) /* outputs are trimmed, and files end with a line feed */
            pattern_add(m, trimmed);
        pattern_add_lines(m, value);
    }
    return m;
}

struct mask *mask_join(const struct mask *a, const struct mask *b)
{
    size_t first = mask_count(a), n = first + mask_count(b);
    autofree struct str *names = xcalloc(n + 1, sizeof(*names)), *values = xcalloc(n + 1, sizeof(*values));
    for (size_t i = 0; i < n; i++) {
        const struct mask *from = i < first ? a : b;
        size_t at = i < first ? i : i - first;
        names[i] = mask_name(from, at);
        values[i] = mask_value(from, at);
    }
    return mask_new(names, values, n);
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
    vec_deinit(&m->patterns);
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

/* Longest pattern at `at`, 0 if none. */
static size_t match_length(const struct mask *m, struct str text, size_t at)
{
    size_t longest = 0;
    for (uint16_t i = m->first[(unsigned char)text.p[at]]; i; i = m->patterns.at[i - 1].next) {
        struct str s = m->patterns.at[i - 1].text;
        if (s.n > longest && s.n <= text.n - at && memcmp(text.p + at, s.p, s.n) == 0)
            longest = s.n;
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
    if (!mask_active(m)) {
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
    if (mask_active(m))
        safe = text.n > m->longest - 1 ? text.n - (m->longest - 1) : 0;
    /* Never inside a character. */
    while (safe > 0 && safe < text.n && ((unsigned char)text.p[safe] & 0xC0) == 0x80)
        safe--;
    if (!mask_active(m)) {
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
    size_t safe = mask_active(m) ? m->longest - 1 : 0, start = 0, end = 0;
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
    for (size_t i = 0; i < m->patterns.n; i++) {
        struct str s = m->patterns.at[i].text;
        for (size_t n = s.n - 1 < text.n ? s.n - 1 : text.n; n >= MASK_VALUE_MIN && n > longest; n--) {
            const char *piece = at_end ? text.p + text.n - n : text.p;
            if (memcmp(piece, at_end ? s.p : s.p + s.n - n, n) == 0)
                longest = n;
        }
    }
    return longest;
}

/* A piece is hidden together with what overlaps it, as everything else. */
struct str mask_without_pieces(const struct mask *m, struct str text, bool cut_before, bool cut_behind)
{
    size_t begin = 0, end = text.n;
    if (!mask_active(m))
        return text;
    if (cut_before)
        begin = piece_length(m, text, false);
    for (size_t i = 0; i < begin; i++) {
        size_t reach = i + match_length(m, text, i);
        begin = reach > begin ? reach : begin;
    }
    if (cut_behind)
        end -= piece_length(m, str_sub(text, begin, text.n), true);
    for (size_t i = end; end < text.n && i > begin && end - i < m->longest; i--) {
        if (i - 1 + match_length(m, text, i - 1) > end)
            end = i - 1;
    }
    return str_sub(text, begin, end);
}

void mask_apply_cut(const struct mask *m, struct str text, bool cut_before, bool cut_behind, struct buf *out)
{
    struct str rest = mask_without_pieces(m, text, cut_before, cut_behind);
    if (rest.p > text.p)
        buf_add(out, STR(MASK_TEXT));
    mask_apply(m, rest, out);
    if (rest.p + rest.n < text.p + text.n)
        buf_add(out, STR(MASK_TEXT));
}
