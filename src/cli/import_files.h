/* import_files: the folder of a conversation as the Python server keeps it, read as a stranger's: only regular files and
 * real directories below the folder that was opened, with names that are known beforehand, each up to a limit. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

#define IMPORT_STATE_MAX (16 * 1024 * 1024)  /* bytes of base_state.json and of meta.json */
#define IMPORT_EVENT_MAX (128 * 1024 * 1024) /* of an event's file */
#define IMPORT_FILES_MAX 2000000             /* event files of one conversation */
#define IMPORT_FOLDERS_MAX 1000000           /* conversations */

struct import_name {
    uint64_t index;
    char name[64];
};
struct import_names {
    VEC(struct import_name) list; /* by index */
    uint64_t gaps;                /* indexes that are missing */
};
void import_names_deinit(struct import_names *n);

/* A directory in `at`; a link is ERR_INVALID. -1 with an error. */
int import_dir_open(int at, const char *name, struct err **e);
/* ERR_NOT_FOUND; ERR_INVALID for anything but a regular file; ERR_TOO_LARGE. `changed_us` (may be NULL): when it was last written. */
bool import_file_read(int at, const char *name, size_t max, struct buf *out, int64_t *changed_us,
                      struct err **e);
bool import_file_exists(int at, const char *name);
/* Names of the events of an events directory. */
bool import_names_list(int dir, struct import_names *out, struct err **e);
/* Names of the directories of a folder that may be conversations: all but hidden ones. */
typedef VEC(char *) import_folders;
bool import_folders_list(int dir, import_folders *out, struct err **e);
