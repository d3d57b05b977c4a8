/* create: parts of the request that makes a conversation. Their structs live in the request's arena. */
#pragma once
#include "api/legacy/app.h"

/* task.c: something to do in a repository, put into words for the agent. */
struct legacy_task {
    int provider, type; /* of legacy_providers; in the order of the wire's task types */
    struct str repo, title;
    int64_t number;
};
void legacy_task_write(const struct legacy_task *t, struct buf *out);

/* mcp.c: MCP servers by their transports, and the same in the form that agents have. */
struct legacy_mcp {
    struct json_list sse, stdio, http;
};
extern const struct json_schema legacy_mcp_schema;
/* Two servers with one name: answers the request. `m` may be NULL. */
bool legacy_mcp_check(struct request *r, const struct legacy_mcp *m);
void legacy_mcp_write(const struct legacy_mcp *m, struct json_writer *w);
