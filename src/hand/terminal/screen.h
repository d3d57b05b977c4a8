/* terminal_screen: what a terminal would show, as text. Output is kept as lines (nothing scrolls away: lines that can no
 * longer be reached by the cursor go to a `keep`), and the last SCREEN_ROWS of them can still be overwritten: progress
 * bars, cursor movement, erasing. Full-screen programs use the alternate screen, whose contents vanish when they leave.
 * Lines do not wrap. One character is one cell, wide ones too. The sequences that lead here are read in terminal_vt. */
#pragma once
#include "hand/terminal/keep.h"

#define SCREEN_ROWS 200
#define SCREEN_COLS 256

struct screen;

struct screen *screen_new(void);
void screen_free(struct screen *s); /* NULL is allowed */

void screen_put(struct screen *s, struct str run); /* valid UTF-8 without control characters (tab is one) */
void screen_newline(struct screen *s);
void screen_return(struct screen *s);
void screen_backspace(struct screen *s);
void screen_reverse_index(struct screen *s);

/* Cursor: rows and columns count from 0; counts are clamped. */
void screen_up(struct screen *s, unsigned n);
void screen_down(struct screen *s, unsigned n);
void screen_left(struct screen *s, unsigned n);
void screen_right(struct screen *s, unsigned n);
void screen_column(struct screen *s, unsigned column);
void screen_row(struct screen *s, unsigned row);
void screen_save(struct screen *s);
void screen_restore(struct screen *s);

enum screen_erase { ERASE_AFTER, ERASE_BEFORE, ERASE_ALL };
void screen_erase_line(struct screen *s, enum screen_erase what);
void screen_erase_display(struct screen *s, enum screen_erase what);
void screen_erase_chars(struct screen *s, unsigned n);
void screen_delete_chars(struct screen *s, unsigned n);
void screen_insert_blanks(struct screen *s, unsigned n);
/* These four act on the alternate screen only. */
void screen_insert_lines(struct screen *s, unsigned n);
void screen_delete_lines(struct screen *s, unsigned n);
void screen_scroll(struct screen *s, int n); /* positive: up */
void screen_region(struct screen *s, unsigned from, unsigned to);

void screen_alternate(struct screen *s, bool on);
/* Takes the output so far: see keep_take. With `partial` the last line is taken without its end. The alternate screen is
 * taken as it stands, if it changed since the last time. */
void screen_take(struct screen *s, struct output *out);
/* The part of the output that can still be edited (for removing our own trace lines). */
struct buf *screen_text(struct screen *s);
/* To be called after changing screen_text: the cursor goes to its end. */
void screen_text_changed(struct screen *s);
void screen_drop(struct screen *s); /* forgets everything not taken */
