/* resume: which conversation --resume means. */
#pragma once
#include "cli/client.h"

#define RESUME_PREFIX_MIN 4 /* letters of an id, at least */

/* Can this be one at all: an id, how one begins, or "last"? */
bool resume_is_plausible(struct str text);
/* Adds the id, with dashes. `last` is the conversation that changed last; the beginning of an id has to fit one only. */
bool resume_find(struct client *c, struct str text, struct buf *id, struct err **e);
