/* diff: which lines of a text changed, for a person to see. */
#pragma once
#include "base/str.h"
#include "base/vec.h"

#define DIFF_CELLS_MAX \
    1000000 /* lines times lines that are compared; larger changes count as wholly replaced */

enum diff_kind { DIFF_SAME, DIFF_OLD, DIFF_NEW };

struct diff_line {
    enum diff_kind kind;
    size_t number; /* from 1: of the old text for DIFF_OLD, else of the new one */
    struct str text;
};

/* `lines` borrows from both texts. It has what changed, and up to `context` lines that are the same around it. */
struct diff {
    VEC(struct diff_line) lines;
    size_t added, removed;
};

void diff_make(struct diff *d, struct str before, struct str after, size_t context);
void diff_deinit(struct diff *d);
