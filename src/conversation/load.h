/* load: a conversation's state out of the store. *worker* */
#pragma once
#include "conversation/internal.h"

/* One reference; NULL with an error. Of the configuration it needs `store`, `secrets` and `env`. */
struct state *load_state(const struct conversations_config *c, const struct store_row *row, struct err **e);
