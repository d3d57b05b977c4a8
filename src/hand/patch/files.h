/* patch_files: the files of a patch: found beneath the working directory, read, and changed all or not at all. Everything
 * is written to temporary files first; then only renames and removals are left, and when one of those fails, the ones
 * before it are taken back. For use in a job. Errors are for the model. */
#pragma once
#include "hand/beneath.h"
#include "hand/edit/edit.h"
#include "hand/patch/patch.h"

struct patch_file {
    const struct patch_action *action;
    enum patch_type type; /* what it comes to: an added file may have been there */
    char *name;           /* as the patch has it, normal */
    char *new_name;       /* where it moves, or NULL */
    struct place from;    /* what is read and taken away */
    struct place to;      /* what is written; `root` borrowed from `from` */
    struct stat st;       /* of what was there */
    bool exists;
    struct buf old_bytes, new_bytes;
    struct buf old_text, new_text; /* UTF-8 */
    enum encoding encoding;
    int dir;            /* of `to`, while it is being written; -1 */
    char temporary[48]; /* in it; "": none */
    bool written, removed;
};

struct patch_files {
    struct str root;
    VEC(struct patch_file) at;
    VEC(char *) made; /* directories, relative to the root */
    int64_t fuzz;
};

/* Finds and reads what the patch names, and makes the new texts. */
bool patch_files_load(struct patch_files *f, const struct patch *p, bool (*stop)(void), struct err **e);
bool patch_files_write(struct patch_files *f, bool (*stop)(void), struct err **e);
void patch_files_deinit(struct patch_files *f);
