#include "hand/patch/patch.h"

#define QUOTE_MAX 200 /* bytes of a line that is quoted in an error */

static const char begin_mark[] = "*** Begin Patch", end_mark[] = "*** End Patch",
                  end_of_file[] = "*** End of File", move_mark[] = "*** Move to:";
static const struct {
    const char *mark;
    enum patch_type type;
} kinds[] = {
    {"*** Add File:", PATCH_ADD}, {"*** Delete File:", PATCH_DELETE}, {"*** Update File:", PATCH_UPDATE}};

struct reader {
    struct str rest;
    struct str line; /* the present one, without its end */
    size_t number;   /* from 1 */
    bool over;       /* there is no present line */
};

static void next_line(struct reader *r)
{
    r->over = !str_split(&r->rest, '\n', &r->line);
    r->number++;
    if (r->over)
        r->line = STR("");
    else if (r->line.n > 0 && r->line.p[r->line.n - 1] == '\r')
        r->line.n--;
}

static bool line_is(const struct reader *r, const char *mark)
{
    return !r->over && str_is(str_trim_right(r->line), mark);
}

/* The rest of a line that begins with `mark`, or STR_NONE. */
static struct str line_after(const struct reader *r, const char *mark)
{
    struct str prefix = str_from(mark);
    if (r->over || !str_starts(r->line, prefix))
        return STR_NONE;
    return str_trim(str_sub(r->line, prefix.n, r->line.n));
}

static bool wrong(const struct reader *r, const char *why, struct err **e)
{
    if (r->over)
        return err_set(e, ERR_INVALID, "The patch ends too early: %s.", why);
    return err_set(e, ERR_INVALID, "Line %zu of the patch, `%.*s`: %s.", r->number,
                   STR_ARG(str_sub(r->line, 0, QUOTE_MAX)), why);
}

/* Does a new file, or the patch's end, begin here? */
static bool is_section(const struct reader *r)
{
    bool found = r->over || line_is(r, end_mark);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        found |= line_after(r, kinds[i].mark).p != NULL;
    return found;
}

static bool parse_added(struct reader *r, struct patch_action *a, struct err **e)
{
    for (; !is_section(r); next_line(r)) {
        if (r->line.n == 0 || r->line.p[0] != '+')
            return wrong(r, "each line of an added file must begin with `+`", e);
        vec_push(&a->lines, (struct patch_line){'+', str_sub(r->line, 1, r->line.n)});
    }
    return true;
}

static bool is_anchor(const struct reader *r)
{
    return str_starts(r->line, STR("@@"));
}

static bool parse_hunk_lines(struct reader *r, struct patch_action *a, struct patch_hunk *h, struct err **e)
{
    h->line = a->lines.n;
    for (; !is_section(r) && !is_anchor(r) && !line_is(r, end_of_file); next_line(r)) {
        char op = r->line.n ? r->line.p[0] : ' ';
        if (op != ' ' && op != '-' && op != '+')
            return wrong(r, "a line of a hunk must begin with a blank, `-` or `+`", e);
        vec_push(&a->lines, (struct patch_line){op, str_sub(r->line, 1, r->line.n)});
    }
    h->lines = a->lines.n - h->line;
    h->at_end = line_is(r, end_of_file);
    if (h->at_end)
        next_line(r);
    if (h->lines == 0 && !h->at_end)
        return wrong(r, "a hunk has no lines", e);
    return true;
}

static bool parse_hunk(struct reader *r, struct patch_action *a, struct err **e)
{
    struct patch_hunk h = {.anchor = a->anchors.n};
    if (a->hunks.n > 0 && !is_anchor(r))
        return wrong(r, "a hunk must begin with `@@`", e);
    for (; is_anchor(r); next_line(r)) {
        struct str text = str_sub(r->line, 2, r->line.n);
        if (text.n > 0 && text.p[0] == ' ')
            text = str_sub(text, 1, text.n);
        if (str_trim(text).n > 0)
            vec_push(&a->anchors, text);
    }
    h.anchors = a->anchors.n - h.anchor;
    if (!parse_hunk_lines(r, a, &h, e))
        return false;
    vec_push(&a->hunks, h);
    return true;
}

static bool parse_updated(struct reader *r, struct patch_action *a, struct err **e)
{
    struct str move = line_after(r, move_mark);
    if (move.p) {
        if (move.n == 0)
            return wrong(r, "a path is missing", e);
        a->move = move;
        next_line(r);
    }
    while (!is_section(r))
        if (!parse_hunk(r, a, e))
            return false;
    if (a->hunks.n == 0 && !a->move.p)
        return wrong(r, "the update before it changes nothing", e);
    return true;
}

static bool parse_action(struct reader *r, struct patch *p, struct err **e)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct str path = line_after(r, kinds[i].mark);
        if (!path.p)
            continue;
        if (path.n == 0)
            return wrong(r, "a path is missing", e);
        if (p->actions.n == PATCH_ACTIONS_MAX)
            return wrong(r, "a patch may change at most 1000 files", e);
        vec_push(&p->actions, (struct patch_action){.type = kinds[i].type, .path = path});
        struct patch_action *a = &p->actions.at[p->actions.n - 1];
        next_line(r);
        if (a->type == PATCH_DELETE)
            return true;
        return a->type == PATCH_ADD ? parse_added(r, a, e) : parse_updated(r, a, e);
    }
    return wrong(
        r, "`*** Add File: `, `*** Update File: `, `*** Delete File: ` or `*** End Patch` is expected here",
        e);
}

bool patch_parse(struct patch *p, struct str text, struct err **e)
{
    struct reader r = {.rest = str_trim(text)};
    next_line(&r);
    if (!line_is(&r, begin_mark))
        return err_set(e, ERR_INVALID, "The patch must begin with the line `%s` and end with the line `%s`.",
                       begin_mark, end_mark);
    for (next_line(&r); !line_is(&r, end_mark);) {
        if (r.over)
            return err_set(e, ERR_INVALID,
                           "The patch does not end with the line `%s`; perhaps it was cut off.", end_mark);
        if (r.line.n == 0 && p->actions.n == 0) {
            next_line(&r);
            continue;
        }
        if (!parse_action(&r, p, e))
            return false;
    }
    next_line(&r);
    if (!r.over)
        return wrong(&r, "nothing may follow `*** End Patch`", e);
    if (p->actions.n == 0)
        return err_set(e, ERR_INVALID, "The patch changes no file.");
    return true;
}

void patch_deinit(struct patch *p)
{
    for (size_t i = 0; i < p->actions.n; i++) {
        vec_deinit(&p->actions.at[i].anchors);
        vec_deinit(&p->actions.at[i].lines);
        vec_deinit(&p->actions.at[i].hunks);
    }
    vec_deinit(&p->actions);
}
