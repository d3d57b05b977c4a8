/* patch: the patch format that models write (`*** Begin Patch` … `*** End Patch`). patch_parse.c reads it, patch_apply.c
 * makes new texts of old ones, patch_files.c finds and changes files, patch.c is the call.
 *
 * Form (one thing a line):
 *   *** Begin Patch
 *   *** Add File: PATH          followed by lines that begin with +
 *   *** Delete File: PATH
 *   *** Update File: PATH       followed by hunks, and before them perhaps
 *   *** Move to: PATH
 *   *** End Patch
 * A hunk begins with `@@`, with or without a line of the file behind it that the hunk lies below (several narrow it down);
 * the first may do without. Then come lines with a blank (context), - or + in front; an empty line is an empty line of
 * context. `*** End of File` behind them says that they are the file's last. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

#define PATCH_ACTIONS_MAX 1000 /* files of one patch */

enum patch_type { PATCH_ADD, PATCH_DELETE, PATCH_UPDATE };

struct patch_line {
    char op; /* ' ', '-' or '+' */
    struct str text;
};

struct patch_hunk {
    size_t anchor, anchors; /* a range of the action's anchors */
    size_t line, lines;     /* a range of its lines */
    bool at_end;
};

struct patch_action {
    enum patch_type type;
    struct str path, move; /* move: STR_NONE if it stays */
    VEC(struct str) anchors;
    VEC(struct patch_line) lines;
    VEC(struct patch_hunk) hunks;
};

struct patch {
    VEC(struct patch_action) actions;
};

/* --- patch_parse.c. Texts are borrowed. Errors are for the model. */
bool patch_parse(struct patch *p, struct str text, struct err **e);
void patch_deinit(struct patch *p);

/* --- patch_apply.c */
/* The new text of an updated file. Where the context is not found as it is, white space at the ends of lines is ignored
 * (1 is added to `*fuzz`), then at their beginnings too (100); a hunk that should be the file's end and is not: 10,000.
 * Each line of the file keeps its ending; new ones get the one that most have. ERR_TIMEOUT when `stop` says so. */
bool patch_apply(const struct patch_action *a, struct str text, bool (*stop)(void), struct buf *out,
                 int64_t *fuzz, struct err **e);
/* The text of an added file: its lines, each with a newline behind. */
void patch_added(const struct patch_action *a, struct buf *out);
