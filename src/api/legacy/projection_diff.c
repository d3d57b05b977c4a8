/* One hunk that spans everything between the first and the last line that differ, with three lines around it: linear, and
 * what an edit changes is one place nearly always. */
#include "api/legacy/projector.h"

#define CONTEXT_LINES 3

/* Offset behind the line that begins at `at`. */
static size_t line_end(struct str s, size_t at)
{
    const char *end = at < s.n ? memchr(s.p + at, '\n', s.n - at) : NULL;
    return end ? (size_t)(end - s.p) + 1 : s.n;
}

/* Where the line before offset `at` (> 0, at a line's start or the end) begins. */
static size_t line_before(struct str s, size_t at)
{
    size_t from = at - 1;
    while (from > 0 && s.p[from - 1] != '\n')
        from--;
    return from;
}

static size_t lines_in(struct str s)
{
    size_t n = 0;
    for (size_t at = 0; at < s.n; at = line_end(s, at))
        n++;
    return n;
}

static void add_lines(struct buf *out, char mark, struct str s)
{
    for (size_t at = 0, end; at < s.n; at = end) {
        end = line_end(s, at);
        buf_add_char(out, mark);
        buf_add(out, str_sub(s, at, end));
        if (s.p[end - 1] != '\n')
            buf_add_char(out, '\n');
    }
}

/* Bytes of whole lines that both begin with. */
static size_t common_head(struct str a, struct str b)
{
    size_t at = 0;
    for (;;) {
        size_t ea = line_end(a, at), eb = line_end(b, at);
        if (at >= a.n || at >= b.n || ea != eb || memcmp(a.p + at, b.p + at, ea - at) != 0)
            return at;
        at = ea;
    }
}

/* Bytes of whole lines that both end with, behind the first `head`. */
static size_t common_tail(struct str a, struct str b, size_t head)
{
    size_t n = 0;
    while (head + n < a.n && head + n < b.n) {
        size_t fa = line_before(a, a.n - n), fb = line_before(b, b.n - n);
        size_t la = a.n - n - fa, lb = b.n - n - fb;
        if (fa < head || fb < head || la != lb || memcmp(a.p + fa, b.p + fb, la) != 0)
            break;
        n += la;
    }
    return n;
}

void project_diff(struct str path, struct str old_text, struct str new_text, struct buf *out)
{
    if (str_eq(old_text, new_text))
        return;
    size_t head = common_head(old_text, new_text), tail = common_tail(old_text, new_text, head);
    size_t from = head, to = old_text.n - tail;
    for (unsigned i = 0; i < CONTEXT_LINES && from > 0; i++)
        from = line_before(old_text, from);
    for (unsigned i = 0; i < CONTEXT_LINES && to < old_text.n; i++)
        to = line_end(old_text, to);
    struct str before = str_sub(old_text, from, head), after = str_sub(old_text, old_text.n - tail, to);
    struct str gone = str_sub(old_text, head, old_text.n - tail),
               come = str_sub(new_text, head, new_text.n - tail);
    size_t around = lines_in(before) + lines_in(after), first = lines_in(str_sub(old_text, 0, from));
    size_t old_count = around + lines_in(gone), new_count = around + lines_in(come);
    buf_add(out, STR("--- "));
    buf_add(out, path);
    buf_add(out, STR("\n+++ "));
    buf_add(out, path);
    buf_addf(out, "\n@@ -%zu,%zu +%zu,%zu @@\n", old_count ? first + 1 : first, old_count,
             new_count ? first + 1 : first, new_count);
    add_lines(out, ' ', before);
    add_lines(out, '-', gone);
    add_lines(out, '+', come);
    add_lines(out, ' ', after);
}
