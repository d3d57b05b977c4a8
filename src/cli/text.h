/* text: what is printed for a person: cleaned of everything that could drive a terminal, with marks for its style, and
 * cut into lines. A marked text comes only from here: no text of a stranger contains a mark, since marks are control
 * characters. */
#pragma once
#include "base/buf.h"

enum style { STYLE_NONE, STYLE_BOLD, STYLE_DIM, STYLE_RED, STYLE_GREEN, STYLE_YELLOW, STYLE_CYAN, STYLE_MAX };

#define TEXT_MARK '\002'     /* in a marked text: a style follows */
#define TEXT_STYLE_FIRST 'a' /* the letter of STYLE_NONE */

/* Switches to a style, which replaces the one before. */
void text_style(struct buf *out, enum style style);
/* Adds `text` cleaned: control characters become visible (^[ for ESC), those that turn the direction of writing are
 * replaced, tabs become spaces, "\r\n" and a lone CR a line's end. */
void text_add(struct buf *out, struct str text);
/* The first line of `text` (without spaces before it), cut to `cells`; what is missing is shown as `more`. */
void text_add_first_line(struct buf *out, struct str text, size_t cells, const char *more);
/* In a style, and back to none. */
void text_add_styled(struct buf *out, enum style style, struct str text);

size_t text_cells(struct str s); /* of one line */
/* Cuts a marked line to `cells`, with `more` (one cell or several) at its end if something is missing. */
void text_cut(struct buf *marked, size_t cells, const char *more);
/* Takes the next line off `*rest`: up to a line's end, or what fits into `cells`; with `words` it ends between words if
 * it can. False when all of the rest fits and no line's end is in it: `*line` is then the rest, and nothing taken. */
bool text_take_line(struct str *rest, size_t cells, bool words, struct str *line);
