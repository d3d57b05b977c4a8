/* ids: the conversations that there are, and the one that somebody means. Asked of a server, or read from the database while that is
 * ours. */
#pragma once
#include "base/uuid.h"
#include "cli/client.h"
#include "store/store.h"

#define IDS_PREFIX_MIN 4 /* digits of an id, at least */
#define IDS_PAGE 20      /* from a server each id comes with its agent */

/* One of them; the other is NULL. */
struct ids_source {
    struct client *client;
    struct store *store;
};

typedef bool ids_one(void *arg, const struct uuid *id, struct err **e);
/* Calls `one` for each id until it returns false; then that is the result. `page`: so many are asked for at once. */
bool ids_each(const struct ids_source *source, enum store_order order, int page, ids_one *one, void *arg,
              struct err **e);

/* Can this be one at all: an id, how one begins, or "last"? */
bool ids_is_plausible(struct str text);
/* `last` is the conversation that changed last; the beginning of an id has to fit one only. A whole id need not exist. */
bool ids_find(const struct ids_source *source, struct str text, struct uuid *id, struct err **e);
