#include "cli/diff.h"
#include "base/cleanup.h"

struct lines {
    VEC(struct str) at;
};

/* One text against the other: what both begin and end with is left out of the comparison. */
struct pair {
    struct lines before, after;
    size_t head, tail;
    size_t n, m;      /* lines between */
    uint32_t *common; /* longest common lines from (i, j) on, (n + 1) * (m + 1); NULL: too many */
};

static void split(struct lines *out, struct str text)
{
    struct str line;
    if (str_ends(text, STR("\n")))
        text = str_sub(text, 0, text.n - 1);
    else if (text.n == 0)
        return;
    while (str_split(&text, '\n', &line))
        vec_push(&out->at, line);
}

static void trim_common(struct pair *p)
{
    size_t n = p->before.at.n, m = p->after.at.n;
    while (p->head < n && p->head < m && str_eq(p->before.at.at[p->head], p->after.at.at[p->head]))
        p->head++;
    while (p->tail < n - p->head && p->tail < m - p->head &&
           str_eq(p->before.at.at[n - 1 - p->tail], p->after.at.at[m - 1 - p->tail]))
        p->tail++;
    p->n = n - p->head - p->tail;
    p->m = m - p->head - p->tail;
}

static struct str before_at(const struct pair *p, size_t i)
{
    return p->before.at.at[p->head + i];
}

static struct str after_at(const struct pair *p, size_t j)
{
    return p->after.at.at[p->head + j];
}

static uint32_t *cell(const struct pair *p, size_t i, size_t j)
{
    return &p->common[i * (p->m + 1) + j];
}

static void compare(struct pair *p)
{
    if ((p->n + 1) > DIFF_CELLS_MAX / (p->m + 1))
        return;
    p->common = xcalloc((p->n + 1) * (p->m + 1), sizeof(*p->common));
    for (size_t i = p->n; i-- > 0;)
        for (size_t j = p->m; j-- > 0;) {
            uint32_t down = *cell(p, i + 1, j), right = *cell(p, i, j + 1);
            *cell(p, i, j) = str_eq(before_at(p, i), after_at(p, j)) ? *cell(p, i + 1, j + 1) + 1
                             : down > right                          ? down
                                                                     : right;
        }
}

static void add(struct diff *d, enum diff_kind kind, size_t number, struct str text)
{
    vec_push(&d->lines, (struct diff_line){kind, number, text});
    d->added += kind == DIFF_NEW;
    d->removed += kind == DIFF_OLD;
}

static void add_changes(struct diff *d, const struct pair *p)
{
    size_t i = 0, j = 0;
    while (i < p->n || j < p->m) {
        bool both = i < p->n && j < p->m;
        if (both && p->common && str_eq(before_at(p, i), after_at(p, j))) {
            add(d, DIFF_SAME, p->head + j + 1, after_at(p, j));
            i++;
            j++;
        } else if (i < p->n && (!both || !p->common || *cell(p, i + 1, j) >= *cell(p, i, j + 1))) {
            add(d, DIFF_OLD, p->head + i + 1, before_at(p, i));
            i++;
        } else {
            add(d, DIFF_NEW, p->head + j + 1, after_at(p, j));
            j++;
        }
    }
}

/* Keeps the lines near a change. */
static void keep_near(struct diff *d, size_t context)
{
    size_t kept = 0, last = SIZE_MAX, n = d->lines.n;
    autofree bool *near = xcalloc(n + 1, sizeof(*near));
    for (size_t i = 0; i < n; i++) {
        last = d->lines.at[i].kind != DIFF_SAME ? i : last;
        near[i] = last != SIZE_MAX && i - last <= context;
    }
    last = SIZE_MAX;
    for (size_t i = n; i-- > 0;) {
        last = d->lines.at[i].kind != DIFF_SAME ? i : last;
        near[i] = near[i] || (last != SIZE_MAX && last - i <= context);
    }
    for (size_t i = 0; i < n; i++)
        if (near[i])
            d->lines.at[kept++] = d->lines.at[i];
    d->lines.n = kept;
}

void diff_make(struct diff *d, struct str before, struct str after, size_t context)
{
    struct pair p = {0};
    split(&p.before, before);
    split(&p.after, after);
    trim_common(&p);
    compare(&p);
    if (p.n + p.m > 0) {
        size_t from = p.head > context ? p.head - context : 0;
        for (size_t i = from; i < p.head; i++)
            add(d, DIFF_SAME, i + 1, p.after.at.at[i]);
        add_changes(d, &p);
        for (size_t i = 0; i < p.tail && i < context; i++)
            add(d, DIFF_SAME, p.head + p.m + i + 1, p.after.at.at[p.head + p.m + i]);
        keep_near(d, context);
    }
    free(p.common);
    vec_deinit(&p.before.at);
    vec_deinit(&p.after.at);
}

void diff_deinit(struct diff *d)
{
    vec_deinit(&d->lines);
}
