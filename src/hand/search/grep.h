/* grep: does a file's text match a regular expression? Letters of either case are the same, `^` and `$` mean lines, and a
 * match lies within one line. Files that are no text have no matches. For use in a job: a match may take long, within
 * the library's limits. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#define GREP_PATTERN_MAX 4096                    /* bytes of an expression */
#define GREP_FILE_MAX ((size_t)32 * 1024 * 1024) /* of a larger file only the beginning is searched */

enum grep_result {
    GREP_NO,
    GREP_YES,
    GREP_PARTLY, /* no match, but not all of it was searched: too large, or the expression needs too long for it */
};

struct grep;

struct grep *grep_new(struct str pattern, struct err **e); /* the error says why and where */
void grep_free(struct grep *g);
/* `path` below `dir`; links are not followed, and only regular files are read. */
enum grep_result grep_file(struct grep *g, int dir, const char *path);
enum grep_result grep_text(struct grep *g, struct str text);
