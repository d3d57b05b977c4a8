/* search: what glob and grep have in common: one call to the hand that answers paths, and their words. */
#pragma once
#include "agent/internal.h"

#define SEARCH_RESULTS 100 /* files a search answers */

struct search_words {
    const char *list;   /* key of the observation's list: "files" */
    const char *found;  /* "match the pattern" … */
    const char *single; /* … and of one file: "matches the pattern" */
    struct str more;    /* what is said of the search behind it, such as a filter */
};

/* Calls the hand with the run's key, the action's `path` and `pattern`, and what `fields` has already; then fills the
 * result up to the members that only one of the tools has. */
bool search_run(const struct tool_run *run, enum wire_op op, struct buf *fields,
                const struct search_words *words, struct tool_result *result, struct json_writer *w,
                struct err **e);
