/* mcp: what a server says, a message a line, to a client that asks for its tools and calls one; with the first byte odd, an
 * agent's configuration of servers instead. What the client sends is JSON, and what it takes keeps to its bounds. */
#include <stdlib.h>
#include "base/cleanup.h"
#include "mcp/client.h"
#include "mcp/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct mcp_client client;
    unsigned calls, ended, readies;
    bool broken;
};

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void on_send(void *arg, struct str json, int64_t request)
{
    struct world *w = arg;
    autojson doc = json_parse(json, NULL, NULL);
    must(doc != NULL && !w->broken);
    must(json_get_int(json_root(doc), "id", 0) == request || request == 0);
}

static void on_agreed(void *arg, struct str version)
{
    (void)arg;
    must(version.n == 10);
}

static void on_ready(void *arg)
{
    struct world *w = arg;
    int64_t request = 0;
    must(w->readies++ == 0);
    for (int i = 0; i < 3; i++)
        w->calls += mcp_client_call(&w->client, STR("a"), STR("{}"), &request);
    mcp_client_cancel(&w->client, request, "x");
    w->calls--;
}

static void on_listing(void *arg, bool under_way)
{
    (void)under_way;
    must(((struct world *)arg)->readies == 1);
}

static void on_tools(void *arg, struct mcp_tool_list *list)
{
    (void)arg;
    must(list->n <= MCP_TOOLS_MAX);
    for (size_t i = 0; i < list->n; i++) {
        autojson schema = json_parse(list->at[i].schema, NULL, NULL);
        must(list->at[i].name.n > 0 && json_type(json_root(schema)) == JSON_OBJECT);
    }
    mcp_tool_list_unref(list);
}

static void on_answered(void *arg, int64_t request, struct mcp_doc *doc, const struct json_value *result,
                        const struct err *e)
{
    struct world *w = arg;
    must(request > 0 && (e != NULL) != (doc != NULL));
    must(e || json_type(result) == JSON_OBJECT);
    must(++w->ended <= w->calls);
}

static void on_broken(void *arg, const struct err *why)
{
    struct world *w = arg;
    must(why->text[0] != '\0' && !w->broken);
    w->broken = true;
}

static void server(struct str input)
{
    static const struct mcp_client_events events = {on_send,  on_agreed,   on_ready, on_listing,
                                                    on_tools, on_answered, on_broken};
    struct world w = {0};
    struct str line;
    mcp_client_init(&w.client, &events, &w, false);
    mcp_client_start(&w.client);
    while (str_split(&input, '\n', &line)) {
        struct json_doc *json = json_parse(line, NULL, NULL);
        if (!json)
            continue;
        autoerr e = NULL;
        struct mcp_doc *doc = mcp_doc_take(json);
        mcp_client_receive(&w.client, doc, &e);
        mcp_doc_unref(doc);
    }
    mcp_client_deinit(&w.client);
}

static struct str lookup(const void *arg, struct str name)
{
    (void)arg;
    return str_is(name, "K") ? STR("a-value") : STR_NONE;
}

static void configuration(struct str input)
{
    autojson doc = json_parse(input, NULL, NULL);
    autobuf servers = {0}, expanded = {0}, again = {0};
    autoerr e = NULL;
    if (!doc)
        return;
    if (!mcp_config_check(json_root(doc), &servers, &e)) {
        must(e != NULL);
        return;
    }
    if (servers.n == 0)
        return;
    /* Names may become equal by what is put in; everything else is JSON as before. */
    autojson map = json_parse(buf_str(&servers), NULL, NULL);
    must(json_type(json_root(map)) == JSON_OBJECT);
    mcp_expand_json(json_root(map), lookup, NULL, true, true, &expanded);
    autojson whole = json_parse_trusted(buf_str(&expanded), NULL);
    must(json_type(json_root(whole)) == JSON_OBJECT);
    must(mcp_config_check(json_root(map), &again, NULL));
    must(str_eq(buf_str(&servers), buf_str(&again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct str input = str_make(data + 1, size - 1);
    if (data[0] & 1)
        configuration(input);
    else
        server(input);
    return 0;
}
