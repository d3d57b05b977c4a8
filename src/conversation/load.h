/* load: a conversation's state out of the store. *worker* */
#pragma once
#include "conversation/internal.h"

/* One reference; NULL with an error. */
struct state *load_state(struct conversations *s, const struct store_row *row, struct err **e);
