/* data: the data directory, owned by this process while it is open: the database in it, and the keys of its secrets. */
#pragma once
#include "cli/configuration.h"
#include "store/secret.h"
#include "store/store.h"

struct data {
    struct buf dir; /* absolute */
    struct store *store;
    struct secrets *secrets;
};
/* `dir`: --data, or NULL. ERR_CONFLICT: another process owns it; then `dir` is set all the same. */
bool data_open(struct data *d, const struct configuration *config, const char *dir, struct err **e);
void data_close(struct data *d);
/* Is there a database? Without making anything. ERR_NOT_FOUND: no. For commands that only make sense with one. */
bool data_check(const struct configuration *config, const char *dir, struct err **e);
