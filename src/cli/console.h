/* console: where a person reads. Lines stay; below them, on a terminal that can, lives a part that is redrawn: a line
 * that is not complete yet, and the status. Everything is gathered and written by console_flush, in one piece. One
 * thread. */
#pragma once
#include "cli/text.h"

#define CONSOLE_WIDTH_NONE (1 << 30) /* of what is no terminal: lines are not wrapped */

struct console;

/* What looks good where the terminal shows UTF-8, and what serves elsewhere. */
struct glyphs {
    const char *bullet, *user, *done, *more, *bar, *dot, *todo, *doing, *ticked, *arrow;
    const char *spinner[10]; /* NULL behind the last */
};

/* On `fd`. Colours and redrawing only where it is a terminal, TERM is not dumb and NO_COLOR not set; otherwise not one
 * control character is written. */
struct console *console_new(int fd);
/* Would one on `fd` be drawn again as time goes by? */
bool console_would_live(int fd);
void console_free(struct console *c);
bool console_is_live(const struct console *c);   /* can redraw */
unsigned console_width(const struct console *c); /* columns, or CONSOLE_WIDTH_NONE */
const struct glyphs *console_glyphs(const struct console *c);
int console_gone(const struct console *c); /* why nothing can be written any more: an errno; 0: it can */

/* Prints a marked text of one line or several: `first` before its first line, `next` before every further one. Lines
 * are wrapped at the width, between words if `words`. */
void console_print(struct console *c, const char *first, const char *next, struct str marked, bool words);
void console_gap(struct console *c); /* an empty line, unless the last one was, or nothing stands above */
/* What lives below the lines: marked texts of one line each, cut to the width; both empty: nothing. Drawn at the next
 * flush. */
void console_set_live(struct console *c, struct str line, struct str status);
void console_prompt(struct console *c,
                    const char *prompt);                /* without a line's end; the user's Enter is one */
void console_answered(struct console *c, bool entered); /* false: left with Ctrl-C or Ctrl-D */
void console_resized(struct console *c);
void console_flush(struct console *c);
