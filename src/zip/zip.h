/* zip: a zip archive, written as it grows; shared by the hand (a workspace) and the mind (a trajectory). Files are deflated and
 * have their sizes behind them, since nobody knows them before. What needs zip64 has it: contents, offsets and counts past
 * the old bounds. Names are bytes: marked as UTF-8 when they are that and not ASCII, otherwise stored as they are. Times
 * are UTC; no function of the C library that looks for a time zone or a locale is called. Memory: one record per entry until
 * the end (zip_directory_bytes). One thread at a time.
 *
 * All functions that return false do so because `write` did (or nothing more can be written); so they do from then on. */
#pragma once
#include "base/str.h"

#define ZIP_NAME_MAX 65535    /* bytes; the format's */
#define ZIP_COMMENT_MAX 65535 /* likewise */

struct zip;
struct zip_entry {
    struct str name; /* at most ZIP_NAME_MAX bytes; a directory's ends in a slash */
    unsigned mode;   /* st_mode: type and permissions */
    int64_t time_s;  /* of the last change, since 1970 */
    uint64_t most;   /* of zip_begin: bytes of content at most; past about 4 GB the entry is one of zip64 */
};

/* `write` gets the archive's bytes, in order, during the calls below. `at` bytes stand before the archive where it is
 * written. */
struct zip *zip_new(bool (*write)(void *arg, struct str data), void *arg, uint64_t at);
void zip_free(struct zip *z); /* NULL is fine */
/* An entry as it is: a directory (no content), a symbolic link (its target), something small. */
bool zip_add(struct zip *z, const struct zip_entry *entry, struct str content);
/* An entry in pieces, deflated. More than `most` bytes are dropped. */
bool zip_begin(struct zip *z, const struct zip_entry *entry);
bool zip_data(struct zip *z, struct str data);
bool zip_finish(struct zip *z);
/* The directory behind the entries, with a comment (cut at ZIP_COMMENT_MAX). Nothing may follow. */
bool zip_end(struct zip *z, struct str comment);
uint64_t zip_count(const struct zip *z); /* entries begun */
size_t zip_directory_bytes(const struct zip *z);
