/* path: lexical work on file names; nothing here touches a file system. */
#pragma once
#include "base/buf.h"

bool path_is_absolute(struct str path);
/* Adds `dir`, a slash if needed, and `name`; an absolute `name` stands alone. */
void path_join(struct buf *out, struct str dir, struct str name);
/* Adds `path` without empty, `.` and `..` parts (never above the root of an absolute path). */
void path_normalize(struct buf *out, struct str path);
struct str path_base(struct str path); /* last part; empty for "/" */
struct str path_dir(struct str path);  /* all before the last part; "." if there is none, "/" at the root */
/* With the dot, or empty; a leading dot of the name does not count. */
struct str path_extension(struct str path);
/* Is `path` equal to `root` or below it? Both normal and absolute. */
bool path_is_beneath(struct str root, struct str path);
