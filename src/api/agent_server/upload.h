/* upload: the body of POST /api/file/upload. Loop thread. */
#pragma once
#include "api/agent_server/files.h"

/* Takes the request's form (ROUTE_STREAM_BODY) and writes its file to `path`, which is absolute and in the request's arena.
 * Ends the request. */
void upload_start(struct request *r, struct str path);
