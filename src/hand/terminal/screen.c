#include "hand/terminal/screen.h"
#include "base/cleanup.h"
#include "base/utf8.h"

/* What the cursor can reach of the ordinary screen is SCREEN_ROWS lines, but at most WINDOW_KEEP bytes. It is trimmed to
 * that when it has grown to WINDOW_MAX, so that trimming costs little per byte; and to at most WINDOW_EDIT bytes before
 * anything is done to it but adding to its end, because that takes time that grows with it. */
#define WINDOW_KEEP ((size_t)32 * 1024)
#define WINDOW_EDIT ((size_t)48 * 1024)
#define WINDOW_MAX ((size_t)256 * 1024)
#define COLUMN_MAX 1024 /* no cursor movement goes further right; text may */
#define UTF8_MAX 4      /* bytes of a character */

/* Lines are separated by '\n'. `at` is the cursor's byte offset in the text; `pad` is how many columns it stands beyond
 * the end of its line. */
struct page {
    struct buf text;
    size_t at;
    unsigned pad;
};

struct screen {
    struct page page;
    struct keep out;
    bool alternate;
    struct page main; /* the ordinary page, while the alternate one is on */
    uint64_t shown;   /* hash of the alternate page when it was last taken */
    unsigned region_top, region_bottom;
    unsigned saved_row, saved_column;
};

struct screen *screen_new(void)
{
    struct screen *s = xcalloc(1, sizeof(*s));
    s->region_bottom = SCREEN_ROWS - 1;
    return s;
}

void screen_free(struct screen *s)
{
    if (!s)
        return;
    buf_deinit(&s->page.text);
    buf_deinit(&s->main.text);
    keep_deinit(&s->out);
    free(s);
}

/* --- places in the text ----------------------------------------------------------------------- */

static size_t line_begin(const struct page *p, size_t at)
{
    const char *nl = at ? memrchr(p->text.p, '\n', at) : NULL;
    return nl ? (size_t)(nl - p->text.p) + 1 : 0;
}

static size_t line_end(const struct page *p, size_t at)
{
    const char *nl = at < p->text.n ? memchr(p->text.p + at, '\n', p->text.n - at) : NULL;
    return nl ? (size_t)(nl - p->text.p) : p->text.n;
}

/* Where row 0 begins: SCREEN_ROWS lines from the end. */
static size_t top(const struct page *p)
{
    size_t at = line_begin(p, p->text.n);
    for (unsigned i = 1; i < SCREEN_ROWS && at > 0; i++)
        at = line_begin(p, at - 1);
    return at;
}

static size_t char_next(const struct page *p, size_t at)
{
    at++;
    while (at < p->text.n && ((unsigned char)p->text.p[at] & 0xc0) == 0x80)
        at++;
    return at;
}

static size_t count_chars(const char *text, size_t length)
{
    size_t n = 0;
    for (size_t i = 0; i < length; i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

static unsigned column_of(const struct page *p)
{
    size_t begin = line_begin(p, p->at);
    if (p->at - begin > COLUMN_MAX * UTF8_MAX)
        return COLUMN_MAX;
    size_t n = count_chars(buf_str(&p->text).p + begin, p->at - begin) + p->pad;
    return n > COLUMN_MAX ? COLUMN_MAX : (unsigned)n;
}

static unsigned row_of(const struct page *p)
{
    unsigned row = 0;
    for (size_t at = top(p); (at = line_end(p, at)) < p->at; at++)
        row++;
    return row;
}

/* Offset `columns` characters into the line that begins at `begin`; what is missing goes to `pad`. */
static void go_column(struct page *p, size_t begin, unsigned column)
{
    size_t end = line_end(p, begin);
    if (column > COLUMN_MAX)
        column = COLUMN_MAX;
    p->at = begin;
    while (column && p->at < end) {
        p->at = char_next(p, p->at);
        column--;
    }
    p->pad = column;
}

/* Beginning of a row counted from the top; missing lines are added. */
static size_t row_begin(struct page *p, unsigned row)
{
    size_t at = top(p);
    if (row >= SCREEN_ROWS)
        row = SCREEN_ROWS - 1;
    for (; row; row--) {
        size_t end = line_end(p, at);
        if (end == p->text.n)
            buf_add_char(&p->text, '\n');
        at = end + 1;
    }
    return at;
}

static void go(struct page *p, unsigned row, unsigned column)
{
    size_t begin = row_begin(p, row);
    go_column(p, begin, column);
}

static void cut(struct page *p, size_t from, size_t to)
{
    if (from >= to)
        return;
    memmove(p->text.p + from, p->text.p + to, p->text.n - to);
    buf_truncate(&p->text, p->text.n - (to - from));
}

static void insert_times(struct page *p, size_t at, char c, size_t n)
{
    buf_reserve(&p->text, n + 1);
    memmove(p->text.p + at + n, p->text.p + at, p->text.n - at);
    memset(p->text.p + at, c, n);
    p->text.n += n;
    p->text.p[p->text.n] = '\0';
}

/* Makes the cursor's place exist. */
static void fill_pad(struct page *p)
{
    if (p->pad == 0)
        return;
    size_t before = p->text.n;
    insert_times(p, p->at, ' ', p->pad);
    p->at += p->text.n - before;
    p->pad = 0;
}

/* --- text --------------------------------------------------------------------------------------- */

static void hand_over(struct screen *s, size_t n)
{
    struct page *p = &s->page;
    keep_add(&s->out, str_make(p->text.p, n));
    buf_consume(&p->text, n);
    p->at = p->at > n ? p->at - n : 0;
}

/* Hands what the cursor will hardly reach any more to the output. */
static void trim(struct screen *s, size_t max)
{
    struct page *p = &s->page;
    if (s->alternate || p->text.n < max)
        return;
    size_t keep = top(p);
    if (p->text.n - keep > WINDOW_KEEP)
        keep = p->text.n - WINDOW_KEEP;
    while (keep < p->text.n && ((unsigned char)p->text.p[keep] & 0xc0) == 0x80)
        keep++;
    hand_over(s, keep);
}

/* The page, for more than adding to its end. */
static struct page *edit(struct screen *s)
{
    trim(s, WINDOW_EDIT);
    return &s->page;
}

/* One edit for the whole run: each moves all that is behind it. */
static void overwrite(struct page *p, struct str run)
{
    size_t end = line_end(p, p->at), to = p->at;
    for (size_t left = count_chars(run.p, run.n); left && to < end; left--)
        to = char_next(p, to);
    size_t old = to - p->at;
    if (old > run.n)
        cut(p, p->at + run.n, to);
    else
        insert_times(p, to, ' ', run.n - old);
    memcpy(p->text.p + p->at, run.p, run.n);
    p->at += run.n;
}

void screen_put(struct screen *s, struct str run)
{
    struct page *p = &s->page;
    if (s->alternate) {
        /* A screen has edges; this also bounds the page. */
        unsigned column = column_of(p);
        run = utf8_prefix(run, column < SCREEN_COLS ? SCREEN_COLS - column : 0);
    }
    if (run.n == 0)
        return;
    fill_pad(p);
    if (p->at == p->text.n) {
        buf_add(&p->text, run);
        p->at = p->text.n;
    } else {
        overwrite(edit(s), run);
    }
    trim(s, WINDOW_MAX);
}

void screen_return(struct screen *s)
{
    struct page *p = edit(s);
    p->at = line_begin(p, p->at);
    p->pad = 0;
}

void screen_newline(struct screen *s)
{
    struct page *p = &s->page;
    if (s->alternate && row_of(p) == s->region_bottom) {
        unsigned row = s->region_bottom;
        screen_scroll(s, 1);
        go(p, row, 0);
        return;
    }
    if (s->alternate && row_of(p) == SCREEN_ROWS - 1) {
        screen_return(s);
        return;
    }
    size_t end = line_end(p, p->at);
    if (end == p->text.n)
        buf_add_char(&p->text, '\n');
    p->at = end + 1;
    p->pad = 0;
    trim(s, WINDOW_MAX);
}

void screen_backspace(struct screen *s)
{
    screen_left(s, 1);
}

/* --- cursor ------------------------------------------------------------------------------------- */

void screen_up(struct screen *s, unsigned n)
{
    struct page *p = edit(s);
    unsigned row = row_of(p);
    go(p, row > n ? row - n : 0, column_of(p));
}

void screen_down(struct screen *s, unsigned n)
{
    struct page *p = edit(s);
    unsigned row = row_of(p);
    go(p, n < SCREEN_ROWS - row ? row + n : SCREEN_ROWS - 1, column_of(p));
}

void screen_left(struct screen *s, unsigned n)
{
    struct page *p = &s->page;
    if (n <= p->pad) {
        p->pad -= n;
        return;
    }
    n -= p->pad;
    p->pad = 0;
    for (; n && p->at > 0 && p->text.p[p->at - 1] != '\n'; n--)
        do {
            p->at--;
        } while (((unsigned char)p->text.p[p->at] & 0xc0) == 0x80 && p->at > 0);
}

void screen_right(struct screen *s, unsigned n)
{
    struct page *p = edit(s);
    size_t end = line_end(p, p->at);
    for (; n && p->at < end; n--)
        p->at = char_next(p, p->at);
    p->pad = p->pad + n > COLUMN_MAX || n > COLUMN_MAX ? COLUMN_MAX : p->pad + n;
}

void screen_column(struct screen *s, unsigned column)
{
    struct page *p = edit(s);
    go_column(p, line_begin(p, p->at), column);
}

void screen_row(struct screen *s, unsigned row)
{
    struct page *p = edit(s);
    go(p, row, column_of(p));
}

void screen_save(struct screen *s)
{
    const struct page *p = edit(s);
    s->saved_row = row_of(p);
    s->saved_column = column_of(p);
}

void screen_restore(struct screen *s)
{
    go(edit(s), s->saved_row, s->saved_column);
}

/* --- erasing -------------------------------------------------------------------------------------- */

/* Blanks in place of what lies before the cursor in its line, the cursor's character too. */
static void erase_before(struct page *p)
{
    unsigned column = column_of(p);
    size_t begin = line_begin(p, p->at);
    size_t end = line_end(p, p->at);
    cut(p, begin, p->at < end ? char_next(p, p->at) : end);
    bool rest = line_end(p, begin) > begin;
    if (rest)
        insert_times(p, begin, ' ', column + 1);
    go_column(p, begin, column);
}

void screen_erase_line(struct screen *s, enum screen_erase what)
{
    struct page *p = edit(s);
    unsigned column = column_of(p);
    size_t begin = line_begin(p, p->at);
    if (what == ERASE_BEFORE) {
        erase_before(p);
        return;
    }
    cut(p, what == ERASE_ALL ? begin : p->at, line_end(p, p->at));
    go_column(p, begin, column);
}

void screen_erase_display(struct screen *s, enum screen_erase what)
{
    struct page *p = edit(s);
    unsigned row = row_of(p), column = column_of(p);
    if (what == ERASE_AFTER) {
        buf_truncate(&p->text, p->at);
    } else if (what == ERASE_BEFORE) {
        size_t from = top(p);
        erase_before(p);
        cut(p, from, line_begin(p, p->at));
        insert_times(p, from, '\n', row);
        go(p, row, column);
    } else if (s->alternate) {
        buf_clear(&p->text);
        go(p, row, column);
    } else {
        /* Clearing the screen loses nothing of what a program printed. */
        if (p->text.n && p->text.p[p->text.n - 1] != '\n')
            buf_add_char(&p->text, '\n');
        hand_over(s, p->text.n);
        p->pad = 0;
    }
}

void screen_erase_chars(struct screen *s, unsigned n)
{
    struct page *p = edit(s);
    size_t end = line_end(p, p->at), to = p->at;
    unsigned cells = 0;
    for (; cells < n && to < end; cells++)
        to = char_next(p, to);
    cut(p, p->at, to);
    if (to < end)
        insert_times(p, p->at, ' ', cells);
}

void screen_delete_chars(struct screen *s, unsigned n)
{
    struct page *p = edit(s);
    size_t end = line_end(p, p->at), to = p->at;
    for (; n && to < end; n--)
        to = char_next(p, to);
    cut(p, p->at, to);
}

void screen_insert_blanks(struct screen *s, unsigned n)
{
    struct page *p = edit(s);
    if (p->at < line_end(p, p->at))
        insert_times(p, p->at, ' ', n > SCREEN_COLS ? SCREEN_COLS : n);
    if (s->alternate) {
        size_t begin = line_begin(p, p->at), at = p->at, end;
        go_column(p, begin, SCREEN_COLS);
        if (p->at < (end = line_end(p, begin)))
            cut(p, p->at, end);
        p->at = at;
        p->pad = 0;
    }
}

/* --- lines of the alternate screen ------------------------------------------------------------------ */

/* Removes `n` lines at row `from` and adds as many empty ones above row `bottom` + 1, or the other way round. */
static void shift_lines(struct page *p, unsigned from, unsigned bottom, unsigned n, bool up)
{
    unsigned lines = bottom - from + 1;
    size_t end = line_end(p, row_begin(p, bottom)), begin = row_begin(p, from);
    if (n >= lines) {
        cut(p, begin, end);
        insert_times(p, begin, '\n', lines - 1);
    } else if (up) {
        size_t first = row_begin(p, from + n);
        cut(p, begin, first);
        insert_times(p, end - (first - begin), '\n', n);
    } else {
        cut(p, line_end(p, row_begin(p, bottom - n)), end);
        insert_times(p, begin, '\n', n);
    }
}

static void shift_at_cursor(struct screen *s, unsigned n, bool up)
{
    unsigned row = row_of(&s->page);
    if (!s->alternate || row < s->region_top || row > s->region_bottom)
        return;
    shift_lines(&s->page, row, s->region_bottom, n, up);
    go(&s->page, row, 0);
}

void screen_insert_lines(struct screen *s, unsigned n)
{
    shift_at_cursor(s, n, false);
}

void screen_delete_lines(struct screen *s, unsigned n)
{
    shift_at_cursor(s, n, true);
}

void screen_scroll(struct screen *s, int n)
{
    if (!s->alternate)
        return;
    unsigned row = row_of(&s->page), column = column_of(&s->page);
    shift_lines(&s->page, s->region_top, s->region_bottom, (unsigned)(n < 0 ? -n : n), n > 0);
    go(&s->page, row, column);
}

void screen_reverse_index(struct screen *s)
{
    if (s->alternate && row_of(&s->page) == s->region_top)
        screen_scroll(s, -1);
    else
        screen_up(s, 1);
}

void screen_region(struct screen *s, unsigned from, unsigned to)
{
    if (to >= SCREEN_ROWS)
        to = SCREEN_ROWS - 1;
    if (from >= to) {
        from = 0;
        to = SCREEN_ROWS - 1;
    }
    s->region_top = from;
    s->region_bottom = to;
    if (s->alternate)
        go(&s->page, 0, 0);
}

void screen_alternate(struct screen *s, bool on)
{
    if (on == s->alternate)
        return;
    if (on) {
        s->main = s->page;
        s->page = (struct page){0};
        s->shown = 0;
    } else {
        buf_deinit(&s->page.text);
        s->page = s->main;
        s->main = (struct page){0};
    }
    s->alternate = on;
    s->region_top = 0;
    s->region_bottom = SCREEN_ROWS - 1;
}

/* --- taking ------------------------------------------------------------------------------------------- */

/* Adds the alternate page without the blanks at the ends of its lines and the empty lines at its end. */
static void add_picture(const struct page *p, struct buf *out)
{
    size_t content = out->n;
    struct str rest = buf_str(&p->text), line;
    while (str_split(&rest, '\n', &line)) {
        while (line.n && line.p[line.n - 1] == ' ')
            line.n--;
        buf_add(out, line);
        if (line.n)
            content = out->n;
        buf_add_char(out, '\n');
    }
    buf_truncate(out, content);
}

void screen_take(struct screen *s, struct output *out)
{
    struct page *p = s->alternate ? &s->main : &s->page;
    keep_add(&s->out, buf_str(&p->text));
    buf_deinit(&p->text);
    *p = (struct page){0};
    if (s->alternate) {
        autobuf picture = {0};
        add_picture(&s->page, &picture);
        uint64_t hash = str_hash(buf_str(&picture));
        if (hash != s->shown)
            keep_add(&s->out, buf_str(&picture));
        s->shown = hash;
    }
    keep_take(&s->out, out);
}

struct buf *screen_text(struct screen *s)
{
    return s->alternate ? &s->main.text : &s->page.text;
}

void screen_text_changed(struct screen *s)
{
    struct page *p = s->alternate ? &s->main : &s->page;
    p->at = p->text.n;
    p->pad = 0;
}

void screen_drop(struct screen *s)
{
    struct output dropped = {0};
    screen_alternate(s, false);
    screen_take(s, &dropped);
    output_deinit(&dropped);
}
