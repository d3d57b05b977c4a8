/* beneath: opening files for the hand. Nothing here blocks on what is opened: FIFOs, devices and sockets are refused. */
#pragma once
#include "base/err.h"
#include "base/str.h"
#include "wire/wire.h"
#include <sys/stat.h>

#define FILE_PATH_MAX 4096 /* bytes of a path */

/* Where a path leads. Without a root the path is taken as it is. With one, the path (absolute below the root, or
 * relative to it) is resolved so that it never leaves the root, links included. */
struct place {
    char *root; /* NULL: none */
    char *path; /* relative to the root when there is one */
};
void place_deinit(struct place *p);
#define autoplace __attribute__((cleanup(place_deinit))) struct place
/* From F_ROOT, F_CWD and F_PATH; `*status` says what is wrong. */
bool place_read(struct place *p, struct str fields, enum wire_status *status, struct err **e);

/* open(2) with O_CLOEXEC, O_NONBLOCK and O_NOCTTY added. -1 with errno; EXDEV: it would leave the root. */
int place_open(const struct place *p, int flags, unsigned mode);
/* A regular file for reading; `*status` says why not. */
int place_open_file(const struct place *p, struct stat *st, enum wire_status *status, struct err **e);
/* The directory that holds the last part of the path, and that part (borrowed from `p`). */
int place_open_parent(const struct place *p, const char **name);
/* mkdir -p; an existing directory is success. */
bool place_make_dirs(const struct place *p, bool parent_only, unsigned mode);
enum wire_status status_of_errno(int error);
const char *text_of_errno(int error); /* as strerror, with words for EXDEV */
