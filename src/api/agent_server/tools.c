#include "agent/tool.h"
#include "api/agent_server/app.h"
#include "base/cleanup.h"

static void list_tools(struct request *r, const void *args)
{
    (void)args;
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_array(&w);
    for (size_t i = 0; tool_at(i); i++)
        if (!tool_at(i)->is_default && !tool_at(i)->is_automatic) /* nobody has to ask for those */
            jw_cstr(&w, tool_at(i)->name);
    jw_array_end(&w);
    request_reply_json(r, 200, &body);
}

static const struct route_response list_responses[] = {
    {.status = 200,
     .description = "Names of the tools that an agent can be given.",
     .ref = "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}"}};
static const struct route routes[] = {{
    .method = HTTP_GET_,
    .path = "/api/tools/",
    .handle = list_tools,
    .summary = "List the tools that agents can use here",
    .tag = "Tools",
    .operation = "list_available_tools_api_tools__get",
    .flags = ROUTE_INLINE,
    .responses = list_responses,
    .response_count = 1,
}};
const struct route_table tool_routes = {routes, ARRAY_LEN(routes)};
