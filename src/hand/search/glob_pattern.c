#include "hand/search/glob_pattern.h"
#include "base/buf.h"
#include "base/utf8.h"
#include "base/vec.h"

#define BYTES_MAX (256 * 1024) /* of all that a pattern expands to */

typedef VEC(struct str) parts;

struct alternative {
    char *text;
    parts parts; /* between slashes, borrowed from `text` */
};

struct glob {
    VEC(struct alternative) alternatives;
    size_t bytes;
};

bool glob_is_magic(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if (strchr("*?[{\\", text.p[i]) && text.p[i])
            return true;
    return false;
}

/* --- braces --------------------------------------------------------------------------------- */

/* Past the character at `at`, which may be escaped or a whole bracket. */
static size_t skip_one(struct str s, size_t at)
{
    if (s.p[at] == '\\' && at + 1 < s.n)
        return at + 2;
    if (s.p[at] != '[')
        return at + 1;
    size_t to = at + 1;
    if (to < s.n && (s.p[to] == '!' || s.p[to] == '^'))
        to++;
    for (size_t first = to; to < s.n && s.p[to] != '/'; to++)
        if (s.p[to] == ']' && to > first)
            return to + 1;
    return at + 1; /* never closed: an ordinary character */
}

/* The brace that closes the one at `open`, or 0. */
static size_t brace_end(struct str s, size_t open)
{
    size_t depth = 0;
    for (size_t at = open; at < s.n; at = skip_one(s, at)) {
        if (s.p[at] == '{')
            depth++;
        else if (s.p[at] == '}' && --depth == 0)
            return at;
    }
    return 0;
}

static bool alternative_add(struct glob *g, struct str text, struct err **e)
{
    g->bytes += text.n + 1;
    if (g->alternatives.n >= GLOB_ALTERNATIVES_MAX || g->bytes > BYTES_MAX)
        return err_set(e, ERR_INVALID, "the pattern's braces stand for more than %d alternatives",
                       GLOB_ALTERNATIVES_MAX);
    struct alternative a = {.text = str_dup(text)};
    struct str rest = str_make(a.text, text.n), part;
    bool anywhere = str_find_char(text, '/') < 0;
    if (anywhere)
        vec_push(&a.parts, STR("**"));
    while (str_split(&rest, '/', &part))
        if (part.n > 0 && !str_is(part, "."))
            vec_push(&a.parts, part);
    if (text.n > 0 && text.p[text.n - 1] == '/') /* a directory: all that is in it */
        vec_push(&a.parts, STR("**"));
    vec_push(&g->alternatives, a);
    return true;
}

static bool expand(struct glob *g, struct str text, struct err **e)
{
    size_t open = 0, close = 0;
    for (; open < text.n; open = skip_one(text, open))
        if (text.p[open] == '{' && (close = brace_end(text, open)) > 0)
            break;
    if (open >= text.n)
        return alternative_add(g, text, e);
    for (size_t from = open + 1, at = from; at <= close;) {
        size_t inner = at < close && text.p[at] == '{' ? brace_end(text, at) : 0;
        if (inner > 0 && inner < close) {
            at = inner + 1;
            continue;
        }
        if (at < close && text.p[at] != ',') {
            at = skip_one(text, at);
            continue;
        }
        autobuf one = {0};
        buf_add(&one, str_sub(text, 0, open));
        buf_add(&one, str_sub(text, from, at));
        buf_add(&one, str_sub(text, close + 1, text.n));
        if (!expand(g, buf_str(&one), e))
            return false;
        from = ++at;
    }
    return true;
}

struct glob *glob_new(struct str pattern, struct err **e)
{
    if (pattern.n > GLOB_PATTERN_MAX) {
        err_set(e, ERR_INVALID, "the pattern has more than %d bytes", GLOB_PATTERN_MAX);
        return NULL;
    }
    struct glob *g = xcalloc(1, sizeof(*g));
    if (expand(g, pattern, e))
        return g;
    glob_free(g);
    return NULL;
}

void glob_free(struct glob *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->alternatives.n; i++) {
        vec_deinit(&g->alternatives.at[i].parts);
        free(g->alternatives.at[i].text);
    }
    vec_deinit(&g->alternatives);
    free(g);
}

/* --- one part ------------------------------------------------------------------------------- */

/* Is `c` in the bracket [from, to), without its `[` and `]`? */
static bool bracket_has(struct str set, uint32_t c)
{
    bool negated = set.n > 0 && (set.p[0] == '!' || set.p[0] == '^'), found = false;
    if (negated)
        set = str_sub(set, 1, set.n);
    while (set.n > 0) {
        uint32_t low, high;
        set = str_sub(set, utf8_next(set, &low), set.n);
        high = low;
        if (set.n >= 2 && set.p[0] == '-') {
            set = str_sub(set, 1, set.n);
            set = str_sub(set, utf8_next(set, &high), set.n);
        }
        found |= c >= low && c <= high;
    }
    return found != negated;
}

/* Matches the pattern's unit at `*at` with the first character of `text`; both move on. */
static bool unit_match(struct str pattern, size_t *at, struct str text, size_t *used)
{
    uint32_t wanted, c;
    unsigned n = utf8_next(text, &c);
    size_t next = skip_one(pattern, *at);
    if (n == 0)
        return false;
    *used = n;
    if (pattern.p[*at] == '?') {
        *at = next;
        return true;
    }
    if (pattern.p[*at] == '[' && next > *at + 1) {
        struct str set = str_sub(pattern, *at + 1, next - 1);
        *at = next;
        return bracket_has(set, c);
    }
    size_t from = *at + (pattern.p[*at] == '\\' && next > *at + 1);
    unsigned m = utf8_next(str_sub(pattern, from, pattern.n), &wanted);
    *at = from + m;
    return m == n && memcmp(pattern.p + from, text.p, n) == 0;
}

/* The last `*` seen is the only one that ever has to take more. */
static bool part_match(struct str pattern, struct str text)
{
    size_t at = 0, star = SIZE_MAX, t = 0, star_t = 0;
    for (;;) {
        if (at < pattern.n && pattern.p[at] == '*') {
            star = ++at;
            star_t = t;
            continue;
        }
        size_t used = 0;
        if (at == pattern.n && t == text.n)
            return true;
        if (at < pattern.n && unit_match(pattern, &at, str_sub(text, t, text.n), &used)) {
            t += used;
            continue;
        }
        if (star == SIZE_MAX || star_t >= text.n)
            return false;
        uint32_t c;
        star_t += utf8_next(str_sub(text, star_t, text.n), &c);
        t = star_t;
        at = star;
    }
}

/* --- whole paths ---------------------------------------------------------------------------- */

static void path_split(struct str path, parts *out)
{
    struct str part;
    while (str_split(&path, '/', &part))
        if (part.n > 0)
            vec_push(out, part);
}

/* As part_match, with `**` as the star. `prefix`: the path is a directory, and the pattern may go on below it. */
static bool parts_match(const parts *pattern, const parts *path, bool prefix)
{
    size_t at = 0, star = SIZE_MAX, t = 0, star_t = 0;
    for (;;) {
        if (t == path->n && prefix && at < pattern->n)
            return true;
        if (at < pattern->n && str_is(pattern->at[at], "**")) {
            if (prefix)
                return true;
            star = ++at;
            star_t = t;
            continue;
        }
        if (at == pattern->n && t == path->n)
            return !prefix;
        if (at < pattern->n && t < path->n && part_match(pattern->at[at], path->at[t])) {
            at++;
            t++;
            continue;
        }
        if (star == SIZE_MAX || star_t >= path->n)
            return false;
        t = ++star_t;
        at = star;
    }
}

static bool any_match(const struct glob *g, struct str path, bool prefix)
{
    parts split = {0};
    bool found = false;
    path_split(path, &split);
    for (size_t i = 0; i < g->alternatives.n && !found; i++)
        found = parts_match(&g->alternatives.at[i].parts, &split, prefix);
    vec_deinit(&split);
    return found;
}

bool glob_match(const struct glob *g, struct str path)
{
    return any_match(g, path, false);
}

bool glob_may_contain(const struct glob *g, struct str dir)
{
    return any_match(g, dir, true);
}

bool glob_names(const struct glob *g, struct str name)
{
    for (size_t i = 0; i < g->alternatives.n; i++) {
        const parts *p = &g->alternatives.at[i].parts;
        for (size_t k = 0; k < p->n; k++)
            if (str_eq(p->at[k], name) ||
                (name.p[0] == '.' && p->at[k].p[0] == '.' && part_match(p->at[k], name)))
                return true;
    }
    return false;
}
