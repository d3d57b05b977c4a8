/* static: the files of one directory of our own, for pages. The directory is looked through once; a request can name what
 * was found there and nothing else, so no path of a client is ever opened. A file NAME.gz beside NAME is its compressed
 * form. Files are read at each request: pages are rare, and an
 * idle server keeps none of them.
 *
 * Threads: any, once made. */
#pragma once
#include "net/server.h"

#define STATIC_FILES_MAX 5000
#define STATIC_FILE_MAX (32 * 1024 * 1024) /* larger ones are left out */
#define STATIC_DEPTH_MAX 16

struct static_files;

/* ERR_NOT_FOUND when there is no such directory. */
struct static_files *static_new(const char *dir, struct err **e);
void static_free(struct static_files *s);
bool static_has(const struct static_files *s, struct str path);
/* Answers with the file at `path` (relative, "css/a.css"), with an ETag, or 404. The headers that the caller has set stay.
 * Reads the disk: a worker. */
void static_reply(const struct static_files *s, struct request *r, struct str path);

/* "text/css; charset=utf-8" for "a.css"; "application/octet-stream" for what is not known. */
const char *media_type_of(struct str name);
