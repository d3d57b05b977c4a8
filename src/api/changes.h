/* changes: what a hand says of a repository's changes (OP_GIT_CHANGES), as an answer. */
#pragma once
#include "net/server.h"

/* Ends the request with [{"status":…,"path":…},…]. `word` gives the dialect's word for the F_KIND of a change. */
void changes_reply(struct request *r, struct str fields, const char *(*word)(struct str kind));
