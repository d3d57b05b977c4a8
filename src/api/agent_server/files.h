/* files: what the routes that carry files share. files.c, workspace.c */
#pragma once
#include "api/agent_server/app.h"
#include "api/download.h"

/* The path that a client gave: absolute and without `.`, `..` and empty parts, in the request's arena. Answers 400 and
 * gives STR_NONE for one that no file can have. `captured`: by {path:path}, which may have lost its first slash. */
struct str file_path(struct request *r, struct str path, bool captured);
