/* archive_zip: a zip archive, written as it grows, by libarchive. That is opened at the first archive (see curl_open): it
 * and what it needs are for most servers never of use. One thread at a time. */
#pragma once
#include "base/err.h"
#include "base/str.h"

struct archive_zip;

/* `write` gets the archive's bytes, in order, during the calls below. ERR_UPSTREAM: there is no libarchive. */
struct archive_zip *archive_zip_new(void (*write)(void *arg, struct str data), void *arg, struct err **e);
/* `name` is UTF-8; one that ends in a slash is a directory. With `more` the next call adds to the same file. */
bool archive_zip_add(struct archive_zip *z, struct str name, struct str content, bool more, int64_t time_us,
                     struct err **e);
bool archive_zip_end(struct archive_zip *z, struct err **e); /* the directory at its end */
void archive_zip_free(struct archive_zip *z);
