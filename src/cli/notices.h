/* notices: what a command's own parts log, for a person to read: without the time, and not across a display that is drawn
 * again and again. Any thread may log; the rest is for the main thread. */
#pragma once
#include "base/buf.h"

/* From now on as "handsd: warning: …" on standard error. */
void notices_plain(void);
/* From now on held, until … */
void notices_hold(void);
int notices_fd(void); /* readable while something is held; -1: nothing is */
/* … this adds them to `out`, a line each. */
void notices_take(struct buf *out);
/* Prints what is still held, and goes on as notices_plain does. */
void notices_release(void);
