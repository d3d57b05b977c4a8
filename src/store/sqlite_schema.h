/* sqlite_schema: makes, checks and migrates the database file. */
#pragma once
#include "store/sqlite_db.h"

/* Makes the file, complete or not at all. The caller syncs the directory. */
bool schema_make(const char *path, const char *vfs, struct err **e);
/* On the writer's fresh connection. ERR_INVALID: not ours, or of a newer version. */
bool schema_open(struct db *d, const char *path, struct err **e);
