/* message: JSON-RPC 2.0 as MCP uses it, out of a stranger's text. No I/O; any thread. */
#pragma once
#include "json/json.h"
#include "mcp/mcp.h"

#define MCP_MESSAGE_MAX (16 * 1024 * 1024) /* bytes of one message of a server */
#define MCP_BATCH_MAX 1000                 /* messages in one JSON array (protocol version 2025-03-26) */

/* Bytes of what a server says of an error that are kept. Whoever shows it hides secrets in it and then cuts it to
 * MCP_ERROR_SHOWN: one that begins in what is shown must be here as a whole. */
#define MCP_ERROR_MAX (32 * 1024)

struct mcp_doc *mcp_doc_take(struct json_doc *doc);

enum mcp_kind { MCP_REQUEST = 1, MCP_NOTIFICATION, MCP_RESPONSE };

struct mcp_message { /* borrowed from its document */
    enum mcp_kind kind;
    struct str method;                        /* of requests and notifications */
    const struct json_value *id;              /* of requests and responses; as it came */
    const struct json_value *params, *result; /* objects or NULL */
    const struct json_value *error;           /* a response's, or NULL */
};
/* One value that should be a message. False with the reason when it is none. */
bool mcp_message_decode(const struct json_value *v, struct mcp_message *out, struct err **e);
/* The id of a response as a number of ours; -1 if it cannot be one. */
int64_t mcp_message_number(const struct mcp_message *m);
/* Text of an `error` object, for a person: message and code, bounded, valid UTF-8. */
void mcp_error_text(const struct json_value *error, struct buf *out);

/* Adds the tools of one tools/list result. What cannot be used (no name, a schema that is no object or too large) is left
 * out. `*cursor` (owned by the document) is what asks for the next page, or STR_NONE. False when it is no such result. */
bool mcp_tools_add(struct mcp_tool_list *list, const struct json_value *result, struct str *cursor,
                   struct err **e);
struct mcp_tool_list *mcp_tool_list_new(void);
bool mcp_tool_lists_equal(const struct mcp_tool_list *a, const struct mcp_tool_list *b);
