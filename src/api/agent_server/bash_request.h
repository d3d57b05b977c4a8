/* bash_request: the body that starts a command, as routes and the socket take it. */
#pragma once
#include "api/agent_server/app.h"

struct bash_body {
    struct str command, cwd;
    int64_t timeout;
};
extern const struct json_schema bash_body_schema;

/* What the table cannot say. NULL: it is fine; else the field, with what is wrong with it. */
const char *bash_body_check(const struct bash_body *body, const char **problem);
void bash_body_request(const struct bash_body *body, struct bash_request *request);
