/* The journal between shim.so and shim_replay: records of a head and `n` bytes (for renames: both paths, each with its
 * NUL). Paths are relative to SHIM_DIR; the directory itself is "". */
#pragma once
#include <stdint.h>

enum shim_op {
    SHIM_OPEN = 1,   /* path; `at`: 1 if the file was made by it, 2 if it was emptied; `file`: inode */
    SHIM_WRITE,      /* `file`, `at`: offset, data */
    SHIM_TRUNCATE,   /* `file`, `at`: new size */
    SHIM_SYNC_BEGIN, /* `file`, `at`: number of the call; path (of a directory; else as opened) */
    SHIM_SYNC_END,   /* the same, after success */
    SHIM_SYNC_FAIL,  /* the same, after failure: what was dirty may never reach the disk */
    SHIM_RENAME,     /* two paths */
    SHIM_UNLINK,     /* path */
    SHIM_MKDIR,      /* path */
};

struct shim_record {
    uint32_t op, n;
    uint64_t file, at;
};
