/* mcp_tools: the tools of MCP servers as an agent's tools. A toolbox is a snapshot of what the servers had when it was
 * made: immutable, its tools may run on any thread. */
#pragma once
#include "agent/agent.h"
#include "mcp/mcp.h"

#define MCP_NAME_SHOWN_MAX 64 /* characters of a tool's name that providers accept */

struct mcp_toolbox;

/* Those that the agent's filter lets pass, named as the model gets them: as the server does, with `<server>_` in front if
 * there are several servers, in characters that providers accept. Of two with one name the first one stays. */
struct mcp_toolbox *mcp_toolbox_new(const struct agent *a, struct mcp *m);
void mcp_toolbox_free(struct mcp_toolbox *b); /* NULL is allowed */
const struct tool *const *mcp_toolbox_tools(const struct mcp_toolbox *b, size_t *n);

/* A secret of the mask by its name: what ${NAME} means. `arg` is the mask. */
struct str mcp_secret(const void *mask, struct str name);
/* What a server says of an error, secrets hidden, then cut. */
void mcp_error_show(const struct mask *mask, struct str text, struct buf *out);
/* A name in characters and of a length that providers accept. */
void mcp_name_add(struct buf *out, struct str name);
