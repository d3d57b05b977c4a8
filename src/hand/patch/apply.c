#include "hand/patch/patch.h"

#define QUOTE_LINES 5     /* of a context that is not found, in the error */
#define QUOTE_MAX 160     /* bytes of each */
#define STOP_EVERY 100000 /* lines compared between looks at `stop` */
#define FUZZ_RIGHT 1
#define FUZZ_BOTH 100
#define FUZZ_NOT_END 10000

struct line {
    struct str text;
    struct str end; /* "\n", "\r\n", or "" of the last one */
};
typedef VEC(struct line) lines;

struct applying {
    const struct patch_action *action;
    lines old, new;
    size_t at;  /* next line of `old` */
    size_t end; /* lines of `old` without the empty one behind the last newline */
    struct str newline;
    int64_t fuzz;
    bool (*stop)(void);
    size_t compared;
    bool stopped;
};

/* --- lines ---------------------------------------------------------------------------------- */

/* A newline at the end begins one more line, an empty one: as text.split('\n') has it. */
static void split(struct applying *ap, struct str text)
{
    size_t crlf = 0, lf = 0;
    struct str part;
    for (struct str rest = text; str_split(&rest, '\n', &part);) {
        struct line l = {part, rest.p ? STR("\n") : STR("")};
        if (rest.p && part.n > 0 && part.p[part.n - 1] == '\r')
            l = (struct line){str_sub(part, 0, part.n - 1), STR("\r\n")};
        crlf += l.end.n == 2;
        lf += l.end.n == 1;
        vec_push(&ap->old, l);
    }
    ap->newline = crlf > lf ? STR("\r\n") : STR("\n");
    ap->end = ap->old.n - (ap->old.n > 0 && ap->old.at[ap->old.n - 1].text.n == 0);
}

static void join(const struct applying *ap, struct buf *out)
{
    for (size_t i = 0; i < ap->new.n; i++) {
        buf_add(out, ap->new.at[i].text);
        if (i + 1 < ap->new.n)
            buf_add(out, ap->new.at[i].end.n ? ap->new.at[i].end : ap->newline);
    }
}

static bool same(struct str a, struct str b, int64_t fuzz)
{
    if (fuzz >= FUZZ_BOTH)
        return str_eq(str_trim(a), str_trim(b));
    return fuzz >= FUZZ_RIGHT ? str_eq(str_trim_right(a), str_trim_right(b)) : str_eq(a, b);
}

/* --- finding -------------------------------------------------------------------------------- */

/* Do the hunk's old lines stand at `at`? */
static bool stands(struct applying *ap, const struct patch_hunk *h, size_t at, int64_t fuzz)
{
    for (size_t i = 0; i < h->lines; i++) {
        const struct patch_line *l = &ap->action->lines.at[h->line + i];
        if (l->op == '+')
            continue;
        if (++ap->compared % STOP_EVERY == 0 && ap->stop && ap->stop())
            ap->stopped = true;
        if (ap->stopped || at >= ap->old.n || !same(ap->old.at[at++].text, l->text, fuzz))
            return false;
    }
    return true;
}

static size_t old_lines(const struct applying *ap, const struct patch_hunk *h)
{
    size_t n = 0;
    for (size_t i = 0; i < h->lines; i++)
        n += ap->action->lines.at[h->line + i].op != '+';
    return n;
}

static const int64_t passes[] = {0, FUZZ_RIGHT, FUZZ_BOTH};

static bool find_at_end(struct applying *ap, const struct patch_hunk *h, size_t count, size_t *at)
{
    const size_t ends[] = {ap->end, ap->old.n};
    for (size_t p = 0; p < ARRAY_LEN(passes); p++)
        for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
            if (ends[i] < count || ends[i] - count < ap->at || !stands(ap, h, ends[i] - count, passes[p]))
                continue;
            *at = ends[i] - count;
            ap->fuzz += passes[p];
            return true;
        }
    return false;
}

static bool find_from(struct applying *ap, const struct patch_hunk *h, size_t from, size_t count,
                      int64_t *fuzz, size_t *at)
{
    for (size_t p = 0; p < ARRAY_LEN(passes); p++)
        for (size_t i = from; i + count <= ap->old.n && !ap->stopped; i++)
            if (stands(ap, h, i, passes[p])) {
                *at = i;
                *fuzz = passes[p];
                return true;
            }
    return false;
}

static bool find(struct applying *ap, const struct patch_hunk *h, size_t from, size_t *at)
{
    size_t count = old_lines(ap, h);
    int64_t fuzz = 0;
    if (h->at_end && find_at_end(ap, h, count, at))
        return true;
    if (count == 0)
        *at = h->at_end ? ap->end : from;
    else if (!find_from(ap, h, from, count, &fuzz, at))
        return false;
    ap->fuzz += fuzz + (h->at_end ? FUZZ_NOT_END : 0);
    return true;
}

static bool line_named(const struct line *l, struct str anchor, int pass)
{
    if (pass == 0)
        return str_eq(l->text, anchor);
    struct str text = str_trim(l->text);
    return pass == 1 ? str_eq(text, str_trim(anchor)) : str_starts(text, str_trim(anchor));
}

/* The line behind the anchor: at or behind `from`, unless what is behind us has it already. False: there is none. */
static bool find_anchor(struct applying *ap, struct str anchor, size_t *from)
{
    static const int fuzz[] = {0, 1, 1};
    for (int pass = 0; pass < 3; pass++) {
        for (size_t i = 0; i < *from; i++)
            if (line_named(&ap->old.at[i], anchor, pass))
                return true;
        for (size_t i = *from; i < ap->old.n; i++)
            if (line_named(&ap->old.at[i], anchor, pass)) {
                *from = i + 1;
                ap->fuzz += fuzz[pass];
                return true;
            }
    }
    return false;
}

/* --- applying ------------------------------------------------------------------------------- */

static void quote_context(const struct applying *ap, const struct patch_hunk *h, struct buf *out)
{
    size_t quoted = 0;
    for (size_t i = 0; i < h->lines && quoted < QUOTE_LINES; i++) {
        const struct patch_line *l = &ap->action->lines.at[h->line + i];
        if (l->op == '+')
            continue;
        buf_addf(out, "\n%.*s", STR_ARG(str_sub(l->text, 0, QUOTE_MAX)));
        quoted++;
    }
    if (quoted < old_lines(ap, h))
        buf_add(out, STR("\n…"));
}

static bool not_found(struct applying *ap, const struct patch_hunk *h, struct err **e)
{
    autobuf context = {0};
    struct str path = ap->action->path;
    if (ap->stopped)
        return err_set(e, ERR_TIMEOUT, "Finding the places to change in %.*s took too long.", STR_ARG(path));
    autobuf where = {0};
    quote_context(ap, h, &context);
    buf_add(&where, path);
    if (ap->at > 0)
        buf_addf(&where, " behind line %zu, where the change before ends", ap->at);
    return err_set(e, ERR_INVALID,
                   "These lines do not stand in %s. Look at the file and give its lines as they are:%s",
                   where.p, context.p ? context.p : "");
}

/* An anchor that is not in the file does no harm where the lines themselves say enough. */
static bool check_unique(struct applying *ap, const struct patch_hunk *h, struct str anchor, size_t at,
                         struct err **e)
{
    size_t count = old_lines(ap, h), other;
    int64_t fuzz = 0;
    if (count > 0 && !find_from(ap, h, at + 1, count, &fuzz, &other))
        return true;
    return err_set(
        e, ERR_INVALID,
        "The line `%.*s` behind @@ does not stand in %.*s, and without it the place of the change is not "
        "clear.",
        STR_ARG(str_sub(anchor, 0, QUOTE_MAX)), STR_ARG(ap->action->path));
}

static void keep_until(struct applying *ap, size_t to)
{
    while (ap->at < to)
        vec_push(&ap->new, ap->old.at[ap->at++]);
}

static bool apply_hunk(struct applying *ap, const struct patch_hunk *h, struct err **e)
{
    size_t from = ap->at, at = 0;
    struct str missing = STR_NONE;
    for (size_t i = 0; i < h->anchors; i++)
        if (!find_anchor(ap, ap->action->anchors.at[h->anchor + i], &from))
            missing = ap->action->anchors.at[h->anchor + i];
    if (!find(ap, h, from, &at))
        return not_found(ap, h, e);
    if (missing.p && !h->at_end && !check_unique(ap, h, missing, at, e))
        return false;
    keep_until(ap, at);
    for (size_t i = 0; i < h->lines; i++) {
        const struct patch_line *l = &ap->action->lines.at[h->line + i];
        if (l->op == '+')
            vec_push(&ap->new, (struct line){l->text, ap->newline});
        else if (l->op == ' ')
            keep_until(ap, ap->at + 1);
        else
            ap->at++;
    }
    return true;
}

bool patch_apply(const struct patch_action *a, struct str text, bool (*stop)(void), struct buf *out,
                 int64_t *fuzz, struct err **e)
{
    struct applying ap = {.action = a, .stop = stop};
    bool ok = true;
    split(&ap, text.p ? text : STR(""));
    for (size_t i = 0; i < a->hunks.n && ok; i++)
        ok = apply_hunk(&ap, &a->hunks.at[i], e);
    if (ok) {
        keep_until(&ap, ap.old.n);
        join(&ap, out);
        *fuzz += ap.fuzz;
    }
    vec_deinit(&ap.old);
    vec_deinit(&ap.new);
    return ok;
}

void patch_added(const struct patch_action *a, struct buf *out)
{
    for (size_t i = 0; i < a->lines.n; i++) {
        buf_add(out, a->lines.at[i].text);
        buf_add_char(out, '\n');
    }
}
