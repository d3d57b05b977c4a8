#include "cli/console.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/utf8.h"
#include "cli/cells.h"
#include "cli/environment.h"
#include <errno.h>
#include <sys/ioctl.h>

#define WIDTH_MIN 16     /* a narrower terminal is treated as if it were this wide */
#define WIDTH_DEFAULT 80 /* of a terminal that does not say */
#define TEXT_WIDTH_MIN 8 /* of a line behind its indentation */

struct console {
    int fd;
    unsigned width;
    bool terminal, live;
    int gone;   /* errno */
    bool gap;   /* the last line was empty, or there was none */
    bool asked; /* the cursor stands behind a prompt */
    struct buf out;
    struct buf line, status; /* the live part as wanted */
    size_t drawn[2];         /* cells of its rows on the screen; 0: not there */
    const struct glyphs *glyphs;
};

static const struct glyphs fine = {
    .bullet = "\xe2\x97\x8f", /* ● */
    .user = "\xe2\x80\xba",   /* › */
    .done = "\xe2\x9c\x93",   /* ✓ */
    .more = "\xe2\x80\xa6",   /* … */
    .bar = "\xe2\x94\x82",    /* │ */
    .dot = "\xc2\xb7",        /* · */
    .todo = "\xe2\x98\x90",   /* ☐ */
    .doing = "\xe2\x97\x90",  /* ◐ */
    .ticked = "\xe2\x98\x91", /* ☑ */
    .arrow = "\xe2\x86\xb3",  /* ↳ */
    .spinner = {"\xe2\xa0\x8b", "\xe2\xa0\x99", "\xe2\xa0\xb9", "\xe2\xa0\xb8", "\xe2\xa0\xbc",
                "\xe2\xa0\xb4", "\xe2\xa0\xa6", "\xe2\xa0\xa7", "\xe2\xa0\x87"},
};

static const struct glyphs plain = {
    .bullet = "*",
    .user = ">",
    .done = "=",
    .more = "...",
    .bar = "|",
    .dot = "-",
    .todo = "[ ]",
    .doing = "[~]",
    .ticked = "[x]",
    .arrow = "->",
    .spinner = {"|", "/", "-", "\\"},
};

/* ---- making ---- */

/* By the variables that the C library would go by, but without it. */
static bool shows_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *value = environment_value(names[i]);
        if (value)
            return str_find_nocase(str_from(value), STR("utf-8")) >= 0 ||
                   str_find_nocase(str_from(value), STR("utf8")) >= 0;
    }
    return false;
}

bool console_would_live(int fd)
{
    const char *term = environment_value("TERM");
    return isatty(fd) && term && strcmp(term, "dumb") != 0 && !environment_value("NO_COLOR");
}

static void measure(struct console *c)
{
    struct winsize size = {0};
    c->width = CONSOLE_WIDTH_NONE;
    if (!c->terminal)
        return;
    bool told = ioctl(c->fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    c->width = told ? size.ws_col : WIDTH_DEFAULT;
    if (c->width < WIDTH_MIN)
        c->width = WIDTH_MIN;
}

struct console *console_new(int fd)
{
    struct console *c = xcalloc(1, sizeof(*c));
    c->fd = fd;
    c->terminal = isatty(fd);
    c->live = console_would_live(fd);
    c->gap = true;
    c->glyphs = shows_utf8() ? &fine : &plain;
    measure(c);
    return c;
}

void console_free(struct console *c)
{
    if (!c)
        return;
    buf_deinit(&c->out);
    buf_deinit(&c->line);
    buf_deinit(&c->status);
    free(c);
}

bool console_is_live(const struct console *c)
{
    return c->live;
}

unsigned console_width(const struct console *c)
{
    return c->width;
}

const struct glyphs *console_glyphs(const struct console *c)
{
    return c->glyphs;
}

int console_gone(const struct console *c)
{
    return c->gone;
}

/* ---- drawing ---- */

static const char *const sequences[STYLE_MAX] = {
    [STYLE_NONE] = "\033[0m",  [STYLE_BOLD] = "\033[1m",   [STYLE_DIM] = "\033[2m",
    [STYLE_RED] = "\033[31m",  [STYLE_GREEN] = "\033[32m", [STYLE_YELLOW] = "\033[33m",
    [STYLE_CYAN] = "\033[36m",
};

/* Adds a marked text, beginning in `style`; returns the style at its end. */
static enum style add_marked(struct console *c, struct str marked, enum style style)
{
    for (size_t i = 0; i < marked.n; i++) {
        if (marked.p[i] != TEXT_MARK || i + 1 == marked.n) {
            buf_add_char(&c->out, marked.p[i]);
            continue;
        }
        style = (enum style)(marked.p[++i] - TEXT_STYLE_FIRST);
        if (c->live) {
            buf_add_cstr(&c->out, sequences[STYLE_NONE]);
            if (style != STYLE_NONE)
                buf_add_cstr(&c->out, sequences[style]);
        }
    }
    return style;
}

static size_t rows_of(const struct console *c, size_t cells)
{
    return cells == 0 ? 1 : (cells + c->width - 1) / c->width;
}

/* Room for the ^C that the terminal prints behind it. */
#define LIVE_MARGIN 3

/* A terminal that became narrower has wrapped what we drew. */
static void erase_live(struct console *c)
{
    if (c->asked) { /* a prompt, which another line interrupts */
        if (c->live)
            buf_add_cstr(&c->out, "\r\033[K");
        else
            buf_add_char(&c->out, '\n');
        c->asked = false;
    }
    size_t rows = 0;
    for (size_t i = 0; i < ARRAY_LEN(c->drawn); i++)
        if (c->drawn[i] > 0)
            rows += rows_of(c, c->drawn[i]);
    if (rows == 0)
        return;
    /* Row by row: to erase a whole screen is to some terminals a reason to keep it. */
    buf_add_cstr(&c->out, "\r\033[K");
    while (--rows > 0)
        buf_add_cstr(&c->out, "\033[A\033[K");
    memset(c->drawn, 0, sizeof(c->drawn));
}

static void draw_row(struct console *c, struct buf *wanted, size_t *drawn)
{
    if (wanted->n == 0)
        return;
    autobuf row = {0};
    buf_add(&row, buf_str(wanted));
    text_cut(&row, c->width - LIVE_MARGIN, c->glyphs->more);
    *drawn = text_cells(buf_str(&row));
    if (add_marked(c, buf_str(&row), STYLE_NONE) != STYLE_NONE)
        buf_add_cstr(&c->out, sequences[STYLE_NONE]);
}

static void draw_live(struct console *c)
{
    if (!c->live || c->asked)
        return;
    draw_row(c, &c->line, &c->drawn[0]);
    if (c->drawn[0] > 0 && c->status.n > 0)
        buf_add_char(&c->out, '\n');
    draw_row(c, &c->status, &c->drawn[1]);
}

void console_set_live(struct console *c, struct str line, struct str status)
{
    if (!c->live)
        return;
    erase_live(c);
    buf_clear(&c->line);
    buf_clear(&c->status);
    buf_add(&c->line, line);
    buf_add(&c->status, status);
}

void console_resized(struct console *c)
{
    measure(c);
    if (!c->asked)
        erase_live(c);
}

void console_flush(struct console *c)
{
    if (c->drawn[0] == 0 && c->drawn[1] == 0)
        draw_live(c);
    if (c->out.n > 0 && !c->gone && !fd_write_all(c->fd, buf_str(&c->out), NULL))
        c->gone = errno;
    buf_clear(&c->out);
}

/* ---- lines ---- */

void console_print(struct console *c, const char *first, const char *next, struct str marked, bool words)
{
    struct str line;
    enum style style = STYLE_NONE;
    bool more;
    erase_live(c);
    do {
        size_t taken = text_cells(str_from(first));
        size_t room = c->width > taken + TEXT_WIDTH_MIN ? c->width - taken : TEXT_WIDTH_MIN;
        more = text_take_line(&marked, room, words, &line);
        add_marked(c, line.n > 0 ? str_from(first) : str_trim_right(str_from(first)), STYLE_NONE);
        if (style != STYLE_NONE && c->live)
            buf_add_cstr(&c->out, sequences[style]);
        style = add_marked(c, str_trim_right(line), style);
        if (style != STYLE_NONE && c->live)
            buf_add_cstr(&c->out, sequences[STYLE_NONE]);
        buf_add_char(&c->out, '\n');
        first = next;
    } while (more);
    c->gap = false;
}

void console_gap(struct console *c)
{
    if (c->gap)
        return;
    erase_live(c);
    buf_add_char(&c->out, '\n');
    c->gap = true;
}

void console_prompt(struct console *c, const char *prompt)
{
    erase_live(c);
    buf_add_cstr(&c->out, prompt);
    c->asked = true;
    c->gap = false;
}

void console_answered(struct console *c, bool entered)
{
    if (c->asked && !entered)
        buf_add_char(&c->out, '\n');
    c->asked = false;
}
