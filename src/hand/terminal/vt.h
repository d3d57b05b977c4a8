/* terminal_vt: reads what comes out of a terminal: text, control characters, escape sequences, and the prompt marks of
 * our own shell. Text and cursor movement go to a screen; colours, titles, queries and everything else that is not text is
 * dropped; nothing is ever answered. NULs vanish, invalid UTF-8 becomes U+FFFD. The bytes are a stranger's.
 *
 * A mark is ESC ] 6973 ; NONCE ; KIND body NONCE BEL with a nonce of VT_NONCE characters that only the shell knows. */
#pragma once
#include "hand/terminal/screen.h"

#define VT_NONCE 32
#define VT_MARK "6973" /* the number of our operating system command */

struct vt;
/* Called from within vt_feed, after all text before the mark and before any text behind it. `body` is borrowed. */
typedef void (*vt_mark_fn)(void *arg, char kind, struct str body);

struct vt *vt_new(struct screen *screen, const char nonce[VT_NONCE], vt_mark_fn on_mark, void *arg);
void vt_free(struct vt *s); /* NULL is allowed */
void vt_feed(struct vt *s, struct str data);
void vt_flush(struct vt *s);                  /* an unfinished character or sequence at the end is given up */
bool vt_application_keys(const struct vt *s); /* the program wants the other codes for cursor keys */
