/* glob_pattern: matching of relative paths: `*`, `?` and `[…]` within one part, `**` as a whole part for any number of
 * parts, `{a,b}` for alternatives, `\` before a character to take it as it is. A pattern without a slash is meant for the
 * last part, wherever it is. Pure; matching takes time proportional to the pattern's and the path's lengths multiplied. */
#pragma once
#include "base/err.h"
#include "base/str.h"

#define GLOB_PATTERN_MAX 4096     /* bytes */
#define GLOB_ALTERNATIVES_MAX 256 /* what its braces may expand to */

struct glob;

/* NULL with an error for what is too long or expands to too much. What is not well-formed stands for itself. */
struct glob *glob_new(struct str pattern, struct err **e);
void glob_free(struct glob *g);
/* `path` has no slash at its beginning or end. Bytes that are not UTF-8 count as one character each. */
bool glob_match(const struct glob *g, struct str path);
/* Can anything below this directory match? */
bool glob_may_contain(const struct glob *g, struct str dir);
/* Does a part of the pattern name this directory although it begins with a dot, or literally? Such directories are
 * entered only when they are named. */
bool glob_names(const struct glob *g, struct str name);
bool glob_is_magic(struct str text); /* has it any of the special characters? */
