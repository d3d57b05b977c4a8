/* ignore: what .gitignore files say, for a walk. Each directory's rules are a link of a chain, the deepest first; they count
 * from the directory that has a .git on. Patterns are those of glob_pattern.h, without braces. */
#pragma once
#include "base/str.h"

#define IGNORE_FILE_MAX (256 * 1024) /* bytes read of a .gitignore; a larger one is not used */
#define IGNORE_RULES_MAX 5000        /* of one file; the rest is left out */

struct ignore;

bool ignore_begins(int dir); /* is there a .git, so that what lies above does not count? */
/* The rules of the .gitignore in `dir` on top of `above` (borrowed), or NULL if it has none. A path that will be asked for is
 * that of the directory with `prefix` in front and without its first `skip` bytes. */
struct ignore *ignore_load(int dir, const struct ignore *above, struct str prefix, size_t skip);
/* The same from the text of such a file. */
struct ignore *ignore_new(struct str text, const struct ignore *above, struct str prefix, size_t skip);
void ignore_free(struct ignore *i); /* not those above */
bool ignore_has(const struct ignore *i, struct str path, bool is_dir);
/* For a path that no walk has led to: the last rule of `i` that speaks of it or of a directory it lies in decides. */
bool ignore_has_within(const struct ignore *i, struct str path, bool is_dir);
