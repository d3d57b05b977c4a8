/* workspace: what the 0.53 routes that ask a conversation's hand share. */
#pragma once
#include "api/hand_request.h"
#include "api/legacy/app.h"

/* Parks `r`, finds the hand of the conversation that `args` (which begin with its struct id_args) name, and calls `begin`,
 * with the workspace in h->hand.working_dir. */
void workspace_request(struct request *r, const void *args, void (*begin)(struct hand_request *h));
/* Adds F_PATH and F_ROOT: `path`, absolute or not, beneath the workspace. */
void workspace_add_path(const struct hand_request *h, struct str path, struct buf *fields);

/* {"error":"<label>: <message>"} with the HTTP status for a hand's. */
void workspace_refuse(struct request *r, const char *label, enum wire_status status, struct str message);
/* The same with 500, for a workspace that cannot be reached. */
void workspace_fail(struct request *r, const char *label, const struct err *e);
