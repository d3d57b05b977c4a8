/* export_folder: the folder that export writes: under a name of its own until it is complete. What stands in it is named by
 * others, so only the names that such a folder has are accepted. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct export_folder {
    int parent, dir;
    char final[64], temporary[96];
};

/* `to` is made if it is not there. ERR_CONFLICT: `name` exists in it. */
bool export_folder_begin(struct export_folder *f, const char *to, struct str name, struct err **e);
/* One file, or the next part of one. `name` is relative: meta.json, events/… */
bool export_folder_put(struct export_folder *f, struct str name, struct str content, struct err **e);
bool export_folder_end(struct export_folder *f, struct err **e); /* gives it its name */
void export_folder_free(struct export_folder *f);                /* takes away what was not ended */
