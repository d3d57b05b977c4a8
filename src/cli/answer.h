/* answer: what a person types at a prompt, or pastes: several lines are one answer. */
#pragma once
#include "base/buf.h"

#define ANSWER_MAX (64 * 1024) /* bytes; the rest is dropped */

enum answer {
    ANSWER_ENTERED,
    ANSWER_MORE, /* the last line of what was pasted has not been entered yet */
    ANSWER_END,  /* of the input: Ctrl-D, or nobody is there any more */
};

/* Adds to `text` what the terminal `fd`, which is readable, has. */
enum answer answer_read(int fd, struct buf *text);
