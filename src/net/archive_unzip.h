/* archive_unzip: the files of a zip archive in memory, by libarchive (opened when it is first wanted). What they are named is
 * for the caller to judge. Any thread. */
#pragma once
#include "base/err.h"
#include "base/str.h"

#define UNZIP_FILES_MAX 2500000
#define UNZIP_PIECE (1024 * 1024) /* bytes of a file at once */

/* `file` gets each file's content in pieces, one after the other (an empty file: one empty piece); false ends it with the
 * error that was set there. ERR_INVALID: no archive that can be read; ERR_UPSTREAM: there is no libarchive. */
bool archive_unzip(struct str zip, bool (*file)(void *arg, struct str name, struct str piece, struct err **e),
                   void *arg, struct err **e);
