/* terminal: how the result of a terminal call is told. The hand answers facts (wire.h); the words are made here, and again
 * from a stored observation when a view is built. */
#pragma once
#include "agent/internal.h"

#define TERMINAL_SOFT_S 30          /* without new output for this long the call returns */
#define TERMINAL_CALL_MAX_MS 600000 /* a call without `timeout` returns after this, however much is printed */
#define TERMINAL_OUTPUT_MAX 30000   /* characters of output that the model gets */

struct terminal_facts {
    struct str command; /* masked */
    bool is_input, reset, fresh, continued;
    bool seen;      /* the log has an earlier terminal result */
    bool refused;   /* never sent to the hand */
    bool has_whole; /* the hand still has what it elided */
    bool given_up;  /* the hand did not answer; the call was cancelled, and all else is unknown */
    double timeout; /* seconds, as asked for */
    enum wire_terminal kind;
    int64_t exit_code, pid, elided;
    struct str head, tail; /* output as the hand gave it: unmasked */
    struct str user, host, cwd, python;
};

/* Everything that was printed, masked and valid UTF-8, with a notice where the hand had to leave something out. */
void terminal_output(const struct terminal_facts *f, const struct mask *mask, struct buf *out);
/* The remark in front of the output and the one behind it; both may stay empty. */
void terminal_prefix(const struct terminal_facts *f, struct buf *out);
void terminal_suffix(const struct terminal_facts *f, struct buf *out);
/* What stands in place of the clipped middle of `whole`. `path` is empty if it could not be saved. */
void terminal_notice(struct str whole, struct str path, struct buf *out);
/* Is the command a Python or JSON value? Then adds the text that says so. */
bool terminal_literal(struct str command, struct buf *out);
