/* config: one server's configuration, decoded. Texts lie in the arena that it was decoded into. */
#pragma once
#include "base/vec.h"
#include "mcp/mcp.h"

#define MCP_NAME_MAX 128   /* bytes of a server's name */
#define MCP_TEXTS_MAX 1000 /* arguments, variables or headers of a server */
#define MCP_TEXT_MAX 65536 /* bytes of each */

enum mcp_transport_kind { MCP_STDIO = 1, MCP_HTTP, MCP_SSE };

struct mcp_texts {
    const struct str *at;
    size_t n;
};
struct mcp_server_config {
    struct str name;
    enum mcp_transport_kind kind;
    struct str command, cwd;
    struct mcp_texts args, env; /* env: NAME=value */
    struct str url;
    struct mcp_texts headers; /* "Name: value" */
    uint64_t start_ms, call_ms;
    bool oauth, enabled; /* oauth: it wants a login that only a browser can give */
};
/* Adds `text` with the values of the server's own variables and headers hidden: its errors go into the log. */
void mcp_hide(const struct mcp_server_config *config, struct str text, struct buf *out);
/* ERR_INVALID names the field. */
bool mcp_server_decode(struct str name, const struct json_value *v, struct arena *arena,
                       struct mcp_server_config *out, struct err **e);
