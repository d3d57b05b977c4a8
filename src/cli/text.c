#include "cli/text.h"
#include "base/utf8.h"
#include "cli/cells.h"

#define TAB 8 /* columns */
#define REPLACEMENT 0xfffdu

/* ---- cleaning ---- */

/* Characters that change the direction of what follows, or end a line: text could look like another one. */
static bool misleads(uint32_t c)
{
    return (c >= 0x80 && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

void text_style(struct buf *out, enum style style)
{
    buf_add_char(out, TEXT_MARK);
    buf_add_char(out, (char)(TEXT_STYLE_FIRST + style));
}

static void add_control(struct buf *out, uint32_t c, size_t *column)
{
    buf_add_char(out, '^');
    buf_add_char(out, c == 0x7f ? '?' : (char)(c + '@'));
    *column += 2;
}

void text_add(struct buf *out, struct str text)
{
    size_t column = 0;
    uint32_t c;
    for (unsigned n; (n = utf8_next(text, &c)) > 0; text = str_sub(text, n, text.n)) {
        if (c == '\r' && text.n > 1 && text.p[1] == '\n')
            continue;
        if (c == '\n' || c == '\r') {
            buf_add_char(out, '\n');
            column = 0;
        } else if (c == '\t') {
            do
                buf_add_char(out, ' ');
            while (++column % TAB != 0);
        } else if (c < 0x20 || c == 0x7f) {
            add_control(out, c, &column);
        } else {
            utf8_add(out, misleads(c) ? REPLACEMENT : c);
            column += cells_of(c);
        }
    }
}

void text_add_first_line(struct buf *out, struct str text, size_t cells, const char *more)
{
    autobuf clean = {0};
    text = str_trim(text);
    ssize_t end = str_find_char(text, '\n');
    text_add(&clean, utf8_prefix_bytes(str_sub(text, 0, end < 0 ? text.n : (size_t)end), 4 * cells + 16));
    size_t whole = end < 0 ? text.n : (size_t)end;
    if (whole > 4 * cells + 16 || (end >= 0 && text_cells(buf_str(&clean)) < cells))
        buf_add_cstr(&clean, more);
    text_cut(&clean, cells, more);
    buf_add(out, buf_str(&clean));
}

void text_add_styled(struct buf *out, enum style style, struct str text)
{
    text_style(out, style);
    text_add(out, text);
    text_style(out, STYLE_NONE);
}

/* ---- measuring and cutting ---- */

/* Bytes of the next character or mark, and its cells; 0 at the end. */
static unsigned next_piece(struct str s, unsigned *cells)
{
    uint32_t c;
    *cells = 0;
    if (s.n > 1 && s.p[0] == TEXT_MARK)
        return 2;
    unsigned n = utf8_next(s, &c);
    *cells = n > 0 && c != '\n' ? cells_of(c) : 0;
    return n;
}

size_t text_cells(struct str s)
{
    size_t sum = 0;
    unsigned cells;
    for (unsigned n; (n = next_piece(s, &cells)) > 0; s = str_sub(s, n, s.n))
        sum += cells;
    return sum;
}

void text_cut(struct buf *marked, size_t cells, const char *more)
{
    struct str s = buf_str(marked);
    size_t keep = cells_count(str_from(more)), sum = 0, at = 0, end = 0;
    unsigned one;
    if (text_cells(s) <= cells)
        return;
    for (unsigned n; (n = next_piece(str_sub(s, at, s.n), &one)) > 0; at += n) {
        sum += one;
        if (sum + keep > cells)
            break;
        end = at + n;
    }
    buf_truncate(marked, end);
    if (keep <= cells)
        buf_add_cstr(marked, more);
    text_style(marked, STYLE_NONE);
}

static struct str skip_spaces(struct str s)
{
    while (s.n > 0 && s.p[0] == ' ')
        s = str_sub(s, 1, s.n);
    return s;
}

bool text_take_line(struct str *rest, size_t cells, bool words, struct str *line)
{
    size_t at = 0, sum = 0, space = 0;
    unsigned one, n;
    bool begun = false; /* something other than spaces was seen: a line is not cut in its indentation */
    for (; (n = next_piece(str_sub(*rest, at, rest->n), &one)) > 0; at += n) {
        char c = rest->p[at];
        if (c == '\n') {
            *line = str_sub(*rest, 0, at);
            *rest = str_sub(*rest, at + 1, rest->n);
            return true;
        }
        if (c == ' ' && begun)
            space = at;
        begun = begun || (c != ' ' && c != TEXT_MARK);
        if ((sum += one) > cells && one > 0 && !(words && c == ' '))
            break;
    }
    if (n == 0) {
        *line = *rest;
        return false;
    }
    if (words && space > 0) {
        *line = str_sub(*rest, 0, space);
        *rest = skip_spaces(str_sub(*rest, space, rest->n));
        return true;
    }
    if (at == 0)
        at = n; /* a wide character in one column */
    if (at == rest->n) {
        *line = *rest;
        return false;
    }
    *line = str_sub(*rest, 0, at);
    *rest = str_sub(*rest, at, rest->n);
    return true;
}
