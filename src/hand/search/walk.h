/* search_walk: the regular files below a directory, for a search. It never follows a link into a directory and never
 * opens a file, so no loop, FIFO or device can hold it; file systems of the kernel (/proc, /sys) are passed over unless
 * the search begins in one. Directories with a dot, and node_modules, are entered only where the pattern names them.
 * In a git repository .gitignore files count as they do for ripgrep: ignored directories are not entered unless the pattern
 * names them, and ignored files are left out where no pattern asks for files by name. */
#pragma once
#include "base/vec.h"
#include "hand/search/glob_pattern.h"

#define WALK_ENTRIES_MAX 2000000                  /* names looked at */
#define WALK_DEPTH_MAX 256                        /* directories below one another */
#define WALK_FOUND_MAX 500000                     /* files kept … */
#define WALK_BYTES_MAX ((size_t)64 * 1024 * 1024) /* … and bytes of their paths */

struct walk_file {
    char *path; /* below the root */
    int64_t mtime_ns;
};

struct walk {
    const char *root;        /* resolved path of where it begins: repositories reach down from above it */
    const struct glob *glob; /* NULL: every file */
    bool dot_dirs;           /* enter the directories with a dot that the pattern names */
    bool dot_files;          /* files with a dot at the beginning of their name are files as others */
    bool links;              /* a link to a regular file is one */
    uint64_t deadline_ms;    /* hand_now_ms() */
    /* Result. */
    VEC(struct walk_file) files;
    const char *stopped; /* why not everything was looked at; NULL: it was */
    size_t entries, bytes;
};

/* `root` is a directory, borrowed. Sorts what is found by time, newest first. */
void walk_run(struct walk *w, int root);
void walk_deinit(struct walk *w);
/* Does the file lie in a file system that the kernel makes up (/proc, /sys)? */
bool walk_is_made_up(int fd);
