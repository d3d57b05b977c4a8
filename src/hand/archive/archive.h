/* archive: what the walk (archive.c) and single entries (entry.c) of OP_ARCHIVE share. All of it runs in a job. */
#pragma once
#include "base/buf.h"
#include "hand/beneath.h"
#include "zip/zip.h"

#define ARCHIVE_ENTRIES_MAX 1000000                       /* files, links and empty directories */
#define ARCHIVE_DIRECTORY_MAX ((size_t)256 * 1024 * 1024) /* bytes of their records, kept until the end */
#define ARCHIVE_BYTES_MAX \
    ((uint64_t)256 * 1024 * 1024 * 1024)        /* of all contents; a larger file is left out */
#define ARCHIVE_DEPTH_MAX 256                   /* directories below one another */
#define ARCHIVE_LEFT_OUT_MAX ((size_t)8 * 1024) /* bytes of the comment that names what is missing */

struct archive {
    struct zip *zip;
    char *root;         /* without links */
    struct buf path;    /* of the entry that is looked at, below the root */
    uint64_t entries;   /* most of them */
    uint64_t bytes;     /* of content that may still follow */
    struct buf missing; /* a line for each entry that was left out … */
    uint64_t missing_n, unnamed_n;
    char *piece;              /* of a file, ARCHIVE_PIECE bytes */
    enum wire_status stopped; /* WIRE_OK: go on */
};
#define ARCHIVE_PIECE (64 * 1024)

/* The entry at a->path is not in the archive, or not whole. */
void archive_leave_out(struct archive *a, const char *why);
void archive_file(struct archive *a, int dir, const char *name);
void archive_link(struct archive *a, int dir, const char *name);
/* An empty one. */
void archive_directory(struct archive *a, int fd);
