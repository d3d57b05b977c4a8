/* mcp: what the client makes of what a server says, without any server; configurations; secrets in texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/cleanup.h"
#include "mcp/client.h"
#include "mcp/config.h"

/* --- a client whose owner writes everything down --- */

struct world {
    struct mcp_client client;
    struct buf log; /* "sent METHOD;" "ready;" … */
    struct buf last;
    struct mcp_tool_list *tools;
};

static void on_send(void *arg, struct str json, int64_t request)
{
    struct world *w = arg;
    autojson doc = json_parse(json, NULL, NULL);
    assert_non_null(doc);
    const struct json_value *root = json_root(doc);
    assert_true(str_is(json_get_str(root, "jsonrpc"), "2.0"));
    struct str method = json_get_str(root, "method");
    buf_addf(&w->log, "sent %.*s", STR_ARG(method.p ? method : STR("answer")));
    if (request) {
        buf_addf(&w->log, " %lld", (long long)request);
        assert_int_equal(json_get_int(root, "id", 0), request);
    }
    buf_add_char(&w->log, ';');
    buf_clear(&w->last);
    buf_add(&w->last, json);
}

static void on_agreed(void *arg, struct str version)
{
    buf_addf(&((struct world *)arg)->log, "agreed %.*s;", STR_ARG(version));
}

static void on_ready(void *arg)
{
    buf_add(&((struct world *)arg)->log, STR("ready;"));
}

static void on_listing(void *arg, bool under_way)
{
    buf_addf(&((struct world *)arg)->log, "listing %d;", under_way);
}

static void on_tools(void *arg, struct mcp_tool_list *list)
{
    struct world *w = arg;
    mcp_tool_list_unref(w->tools);
    w->tools = list;
    buf_addf(&w->log, "tools %zu;", list->n);
}

static void on_answered(void *arg, int64_t request, struct mcp_doc *doc, const struct json_value *result,
                        const struct err *e)
{
    struct world *w = arg;
    assert_true((doc && result) != (e != NULL));
    buf_addf(&w->log, "answered %lld %s;", (long long)request, e ? e->text : "result");
}

static void on_broken(void *arg, const struct err *why)
{
    buf_addf(&((struct world *)arg)->log, "broken %s;", why->text);
}

static const struct mcp_client_events events = {on_send,  on_agreed,   on_ready, on_listing,
                                                on_tools, on_answered, on_broken};

static bool say(struct world *w, const char *json)
{
    autoerr e = NULL;
    struct json_doc *parsed = json_parse(str_from(json), NULL, &e);
    assert_non_null(parsed);
    struct mcp_doc *doc = mcp_doc_take(parsed);
    bool answered = mcp_client_receive(&w->client, doc, &e);
    mcp_doc_unref(doc);
    if (e)
        buf_addf(&w->log, "garbage;");
    return answered;
}

static void expect(struct world *w, const char *log)
{
    buf_add_char(&w->log, '\0');
    assert_string_equal(w->log.p, log);
    buf_clear(&w->log);
}

static void begin(struct world *w, bool listed)
{
    *w = (struct world){0};
    mcp_client_init(&w->client, &events, w, listed);
    mcp_client_start(&w->client);
    expect(w, "sent initialize 1;");
}

static void end(struct world *w)
{
    mcp_client_deinit(&w->client);
    mcp_tool_list_unref(w->tools);
    buf_deinit(&w->log);
    buf_deinit(&w->last);
}

#define INITIALIZED(version)                                                         \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"protocolVersion\":\"" version "\"," \
    "\"capabilities\":{\"tools\":{}}}}"
#define TOOL(name) "{\"name\":\"" name "\",\"inputSchema\":{\"type\":\"object\"}}"
#define LIST(id, tools) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"result\":{\"tools\":[" tools "]}}"
#define CHANGED "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}"

static void make_ready(struct world *w)
{
    begin(w, false);
    assert_true(say(w, INITIALIZED("2025-06-18")));
    assert_true(say(w, LIST("2", TOOL("a"))));
    buf_clear(&w->log);
}

static void test_start(void **state)
{
    (void)state;
    struct world w;
    begin(&w, false);
    assert_true(say(&w, INITIALIZED("2024-11-05")));
    expect(&w, "agreed 2024-11-05;sent notifications/initialized;sent tools/list 2;");
    assert_true(say(
        &w, "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"tools\":[" TOOL("a") "],\"nextCursor\":\"x\"}}"));
    expect(&w, "sent tools/list 3;");
    assert_true(str_find(buf_str(&w.last), STR("\"cursor\":\"x\"")) > 0);
    assert_true(say(&w, LIST("3", TOOL("b") "," TOOL("a") ",{\"name\":\"c\"},7")));
    expect(&w, "tools 2;ready;"); /* a name twice and one without a schema are left out */
    end(&w);
}

static void test_start_again(void **state)
{
    (void)state;
    struct world w;
    begin(&w, true);
    say(&w, INITIALIZED("2025-03-26"));
    expect(&w, "agreed 2025-03-26;sent notifications/initialized;ready;");
    end(&w);
}

static void test_no_tools(void **state)
{
    (void)state;
    struct world w;
    begin(&w, false);
    say(&w,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{}}}");
    expect(&w, "agreed 2025-06-18;sent notifications/initialized;tools 0;ready;");
    end(&w);
}

static void test_bad_starts(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {INITIALIZED("1999-01-01"),
         "broken it speaks the protocol version '1999-01-01', which is not supported;"},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-5,\"message\":\"no\"}}",
         "broken initialize: no (code -5);"},
        {"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}", "broken it answers a request that was never made;"},
        {"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"message\":\"parse\"}}",
         "broken it answers a request that was never made: parse;"},
        {"{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{}}",
         "broken it answers a request that was never made;"},
        {"[]", ""},
        {"{\"jsonrpc\":\"1.0\",\"id\":1,\"result\":{}}", "garbage;"},
        {"{\"jsonrpc\":\"2.0\",\"id\":1}", "garbage;"},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", "garbage;"},
        {"[7]", "garbage;"},
        {"null", "garbage;"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        begin(&w, false);
        say(&w, cases[i][0]);
        expect(&w, cases[i][1]);
        end(&w);
    }
}

static void test_calls(void **state)
{
    (void)state;
    struct world w;
    int64_t first = 0, second = 0, third = 0;
    make_ready(&w);
    assert_true(mcp_client_call(&w.client, STR("a"), STR("{\"x\":1}"), &first));
    assert_true(str_find(buf_str(&w.last), STR("\"params\":{\"name\":\"a\",\"arguments\":{\"x\":1}}")) > 0);
    assert_true(mcp_client_call(&w.client, STR("a"), STR("{}"), &second));
    assert_true(mcp_client_call(&w.client, STR("a"), STR("{}"), &third));
    expect(&w, "sent tools/call 3;sent tools/call 4;sent tools/call 5;");
    /* In any order, in a batch, with a text for an id. */
    assert_true(say(&w, "[{\"jsonrpc\":\"2.0\",\"id\":\"4\",\"result\":{}},"
                        "{\"jsonrpc\":\"2.0\",\"id\":3,\"error\":{\"code\":1,\"message\":\"bad\"}}]"));
    expect(&w, "answered 4 result;answered 3 bad (code 1);");
    mcp_client_cancel(&w.client, third, "late");
    expect(&w, "sent notifications/cancelled;");
    assert_true(say(&w, "{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{}}"));  /* late, and nobody's fault */
    assert_false(say(&w, "{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{}}")); /* twice is unasked for */
    expect(&w, "");
    end(&w);
}

static void test_too_many_calls(void **state)
{
    (void)state;
    struct world w;
    int64_t request = 0;
    make_ready(&w);
    for (int i = 0; i < MCP_PENDING_MAX; i++)
        assert_true(mcp_client_call(&w.client, STR("a"), STR("{}"), &request));
    assert_false(mcp_client_call(&w.client, STR("a"), STR("{}"), &request));
    mcp_client_cancel(&w.client, 3, "x"); /* its place is free */
    assert_true(mcp_client_call(&w.client, STR("a"), STR("{}"), &request));
    end(&w);
}

static void test_server_asks(void **state)
{
    (void)state;
    struct world w;
    make_ready(&w);
    say(&w, "{\"jsonrpc\":\"2.0\",\"id\":\"s1\",\"method\":\"ping\"}");
    assert_true(str_eq(buf_str(&w.last), STR("{\"jsonrpc\":\"2.0\",\"id\":\"s1\",\"result\":{}}")));
    say(&w, "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"roots/list\"}");
    assert_true(str_eq(buf_str(&w.last), STR("{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":{\"roots\":[]}}")));
    say(&w, "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"sampling/createMessage\",\"params\":{}}");
    assert_true(str_find(buf_str(&w.last), STR("-32601")) > 0);
    expect(&w, "sent answer;sent answer;sent answer;");
    say(&w, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}");
    expect(&w, "");
    end(&w);
}

static void test_list_changes(void **state)
{
    (void)state;
    struct world w;
    make_ready(&w);
    say(&w, CHANGED);
    expect(&w, "listing 1;sent tools/list 3;");
    say(&w, CHANGED); /* while it is being read: once more behind it */
    say(&w, CHANGED);
    expect(&w, "");
    say(&w, LIST("3", TOOL("a")));
    expect(&w, "tools 1;listing 1;sent tools/list 4;");
    say(&w, LIST("4", TOOL("a") "," TOOL("b")));
    expect(&w, "tools 2;listing 0;");
    say(&w, CHANGED);
    expect(&w, "listing 1;sent tools/list 5;");
    say(&w, "{\"jsonrpc\":\"2.0\",\"id\":5,\"error\":{\"message\":\"no\"}}"); /* the old one stays */
    expect(&w, "listing 0;");
    say(&w, CHANGED);
    buf_clear(&w.log);
    mcp_client_list_cancel(&w.client);
    expect(&w, "sent notifications/cancelled;listing 0;");
    say(&w, LIST("6", ""));
    expect(&w, "");
    end(&w);
}

static void test_list_changes_without_end(void **state)
{
    (void)state;
    struct world w;
    unsigned asked = 0;
    make_ready(&w);
    for (int i = 0; i < 2 * MCP_RELISTS_MAX; i++) {
        int64_t before = w.client.last;
        say(&w, CHANGED);
        if (w.client.last == before)
            continue;
        asked++;
        char text[200];
        snprintf(text, sizeof(text), LIST("%lld", TOOL("a")), (long long)w.client.last);
        say(&w, text);
    }
    assert_int_equal(asked, MCP_RELISTS_MAX);
    end(&w);
}

/* --- configurations --- */

static bool check(const char *json, struct buf *out, struct err **e)
{
    autojson doc = json_parse(str_from(json), NULL, NULL);
    assert_non_null(doc);
    return mcp_config_check(json_root(doc), out, e);
}

static void test_config(void **state)
{
    (void)state;
    static const struct {
        const char *json, *servers; /* NULL: refused */
    } cases[] = {
        {"null", ""},
        {"{}", ""},
        {"{\"mcpServers\":{}}", ""},
        {"{\"a\":{\"command\":\"x\"}}", "{\"a\":{\"command\":\"x\"}}"},
        {"{\"mcpServers\":{\"a\":{\"url\":\"http://x\"}}}", "{\"a\":{\"url\":\"http://x\"}}"},
        {"{\"a\":{\"command\":\"x\",\"enabled\":false}}", ""},
        {"{\"a\":{\"command\":\"x\",\"unknown\":1,\"env\":{\"N\":1,\"E\":null}}}",
         "{\"a\":{\"command\":\"x\",\"unknown\":1,\"env\":{\"N\":1,\"E\":null}}}"},
        {"7", NULL},
        {"{\"a\":7}", NULL},
        {"{\"\":{\"command\":\"x\"}}", NULL},
        {"{\"a\":{}}", NULL},
        {"{\"a\":{\"command\":\"\"}}", NULL},
        {"{\"a\":{\"command\":7}}", NULL},
        {"{\"a\":{\"command\":\"x\",\"args\":\"y\"}}", NULL},
        {"{\"a\":{\"command\":\"x\",\"args\":[[]]}}", NULL},
        {"{\"a\":{\"command\":\"x\",\"args\":[\"a\\u0000b\"]}}", NULL},
        {"{\"a\":{\"command\":\"x\",\"env\":[]}}", NULL},
        {"{\"a\":{\"command\":\"x\",\"timeout\":\"1\"}}", NULL},
        {"{\"a\":{\"command\":\"x\",\"timeout\":-1}}", NULL},
        {"{\"a\":{\"transport\":\"http\",\"command\":\"x\"}}", NULL},
        {"{\"a\":{\"type\":\"pigeon\",\"url\":\"x\"}}", NULL},
        {"{\"a\":{\"url\":\"http://x\",\"auth\":{\"strategy\":\"magic\"}}}", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autobuf out = {0};
        autoerr e = NULL;
        bool ok = check(cases[i].json, &out, &e);
        if (ok != (cases[i].servers != NULL) || (ok && !str_is(buf_str(&out), cases[i].servers)))
            fail_msg("%s: %s %.*s", cases[i].json, err_text(e), STR_ARG(buf_str(&out)));
        assert_true(ok || e->kind == ERR_INVALID);
    }
}

static void test_config_fields(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        enum mcp_transport_kind kind;
        const char *header;
    } cases[] = {
        {"{\"command\":\"x\"}", MCP_STDIO, NULL},
        {"{\"url\":\"http://h/mcp\"}", MCP_HTTP, NULL},
        {"{\"url\":\"http://h/sse\"}", MCP_SSE, NULL},
        {"{\"url\":\"http://h/sse\",\"type\":\"shttp\"}", MCP_HTTP, NULL},
        {"{\"url\":\"http://h\",\"headers\":{\"A\":\"b\"}}", MCP_HTTP, "A: b"},
        {"{\"url\":\"http://h\",\"auth\":\"tok\"}", MCP_HTTP, "Authorization: Bearer tok"},
        {"{\"url\":\"http://h\",\"auth\":{\"strategy\":\"api_key\",\"value\":\"v\",\"header_name\":\"X-K\"}}",
         MCP_HTTP, "X-K: v"},
        {"{\"url\":\"http://h\",\"auth\":{\"strategy\":\"basic\",\"username\":\"u\",\"password\":\"p\"}}",
         MCP_HTTP, "Authorization: Basic dTpw"},
        {"{\"url\":\"http://h\",\"auth\":{\"strategy\":\"header\",\"headers\":{\"H\":\"1\"}}}", MCP_HTTP,
         "H: 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autoarena arena = arena_new();
        autojson doc = json_parse(str_from(cases[i].json), NULL, NULL);
        struct mcp_server_config c;
        assert_true(mcp_server_decode(STR("n"), json_root(doc), arena, &c, NULL));
        assert_int_equal(c.kind, cases[i].kind);
        assert_int_equal(c.headers.n, cases[i].header ? 1 : 0);
        if (cases[i].header)
            assert_true(str_is(c.headers.at[0], cases[i].header));
        assert_int_equal(c.start_ms, MCP_START_MS);
    }
}

static void test_hide(void **state)
{
    (void)state;
    const struct str env[] = {STR("TOKEN=abcdefgh1"), STR("SHORT=yes")},
                     headers[] = {STR("A: Bearer zyxwvuts")};
    struct mcp_server_config c = {.env = {env, 2}, .headers = {headers, 1}};
    autobuf out = {0};
    mcp_hide(&c, STR("yes: abcdefgh1 and zyxwvuts, TOKEN"), &out);
    assert_true(str_is(buf_str(&out), "yes: <secret-hidden> and <secret-hidden>, TOKEN"));
}

/* --- references --- */

static struct str lookup(const void *arg, struct str name)
{
    (void)arg;
    return str_is(name, "KEY") ? STR("value") : str_is(name, "EMPTY") ? STR("") : STR_NONE;
}

static void test_expand(void **state)
{
    (void)state;
    static const struct {
        const char *text, *config, *argument;
    } cases[] = {
        {"", "", ""},
        {"a ${KEY} b", "a value b", "a value b"},
        {"${KEY:-x}${NO:-x}", "valuex", "value${NO:-x}"},
        {"$KEY $NO $", "$KEY $NO $", "value $NO $"},
        {"${NO} ${KEY", "${NO} ${KEY", "${NO} ${KEY"},
        {"${} ${1} ${KEY-x} ${KEY:x}", "${} ${1} ${KEY-x} ${KEY:x}", "${} ${1} ${KEY-x} ${KEY:x}"},
        {"$${KEY}", "$value", "$value"},
        {"$KEYS ${EMPTY}", "$KEYS ", "$KEYS "},
        {"${NO:-}", "", "${NO:-}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autobuf config = {0}, argument = {0};
        mcp_expand(str_from(cases[i].text), lookup, NULL, true, false, &config);
        mcp_expand(str_from(cases[i].text), lookup, NULL, false, true, &argument);
        if (!str_is(buf_str(&config), cases[i].config) || !str_is(buf_str(&argument), cases[i].argument))
            fail_msg("%s: %.*s, %.*s", cases[i].text, STR_ARG(buf_str(&config)), STR_ARG(buf_str(&argument)));
    }
    autobuf out = {0};
    autojson doc = json_parse(STR("{\"${KEY}\":[\"$KEY\",{\"b\":\"${KEY}\"},1,null,true]}"), NULL, NULL);
    mcp_expand_json(json_root(doc), lookup, NULL, true, false, &out);
    assert_true(str_is(buf_str(&out), "{\"value\":[\"$KEY\",{\"b\":\"value\"},1,null,true]}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_start_again),
        cmocka_unit_test(test_no_tools),
        cmocka_unit_test(test_bad_starts),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_too_many_calls),
        cmocka_unit_test(test_server_asks),
        cmocka_unit_test(test_list_changes),
        cmocka_unit_test(test_list_changes_without_end),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_config_fields),
        cmocka_unit_test(test_hide),
        cmocka_unit_test(test_expand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
