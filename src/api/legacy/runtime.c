/* The runtime of a conversation: which hand serves it, and where people reach what runs in its workspace. */
#include "api/hand_request.h"
#include "api/legacy/app.h"
#include "api/vscode_url.h"
#include "base/cleanup.h"
#include "workspace/address.h"

/* ---- config ---- */

static void show_config(struct hand_request *h)
{
    const struct id_args *args = h->args;
    char hand[UUID_HEX_LEN + 1], id[UUID_HEX_LEN + 1];
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_member_str(&w, "runtime_id", uuid_hex(&h->hand.id, hand));
    jw_member_str(&w, "session_id", uuid_hex(&args->id, id));
    jw_object_end(&w);
    request_reply_json(h->request, 200, &body);
}

static void get_config(struct request *r, const void *args)
{
    hand_request_of(r, args, legacy_reply_missing, show_config);
}

/* ---- web-hosts ---- */

static void show_hosts(void *arg, const struct hand_address *address)
{
    struct request *r = arg;
    autobuf body = {0}, url = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_key(&w, "hosts");
    jw_object(&w);
    for (size_t i = 0; i < address->app_port_count; i++) {
        buf_clear(&url);
        buf_addf(&url, "http://%.*s:%d", STR_ARG(address->host), address->app_ports[i]);
        jw_key(&w, url.p);
        jw_int(&w, address->app_ports[i]);
    }
    jw_object_end(&w);
    jw_object_end(&w);
    request_reply_json(r, 200, &body);
}

static void find_hosts(struct hand_request *h)
{
    hand_address(conversations_hands(conversations_of(h->request)), &h->hand.id, show_hosts, h->request);
}

static void get_web_hosts(struct request *r, const void *args)
{
    hand_request_of(r, args, legacy_reply_missing, find_hosts);
}

/* ---- vscode-url ---- */

static void show_vscode_url(struct request *r, struct str url, const struct err *e)
{
    autobuf body = {0}, why = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    if (url.p)
        jw_member_str(&w, "vscode_url", url);
    else
        jw_member_null(&w, "vscode_url");
    if (e) {
        buf_addf(&why, "Error getting VSCode URL: %s", err_text(e));
        jw_member_cstr(&w, "error", why.p);
    }
    jw_object_end(&w);
    request_reply_json(r, e ? 500 : 200, &body);
}

static void find_vscode(struct hand_request *h)
{
    struct request *r = h->request;
    if (!app_of(r)->config.enable_vscode)
        show_vscode_url(r, STR_NONE, NULL);
    else
        vscode_url_get(r, &(struct vscode_url){.hand = &h->hand, .folder = h->hand.working_dir},
                       show_vscode_url);
}

static void get_vscode_url(struct request *r, const void *args)
{
    if (effect_allowed(r))
        hand_request_of(r, args, legacy_reply_missing, find_vscode);
}

/* ---- the table ---- */

#define VSCODE                                                                                                  \
    "{\"type\":\"object\",\"properties\":{\"vscode_url\":{\"type\":[\"string\",\"null\"]},\"error\":{\"type\":" \
    "\"string\"}},\"required\":[\"vscode_url\"]}"
#define MISSING                                                                          \
    {                                                                                    \
        .status = 404, .description = "There is no such conversation.",                  \
        .ref = "{\"type\":\"object\",\"properties\":{\"detail\":{\"type\":\"string\"}}}" \
    }

static const struct route_response config_responses[] = {
    {.status = 200,
     .description = "The ids of the conversation and of the hand that serves it.",
     .ref =
         "{\"type\":\"object\",\"properties\":{\"runtime_id\":{\"type\":[\"string\",\"null\"]},\"session_id\":{\"type\":"
         "\"string\"}},\"required\":[\"runtime_id\",\"session_id\"]}"},
    MISSING};
static const struct route_response hosts_responses[] = {
    {.status = 200,
     .description = "URLs of the workspace's application ports; APP_PORT_1 and APP_PORT_2 there.",
     .ref =
         "{\"type\":\"object\",\"properties\":{\"hosts\":{\"type\":\"object\",\"additionalProperties\":{\"type\":"
         "\"integer\"}}},\"required\":[\"hosts\"]}"},
    MISSING};

static const struct route_response vscode_responses[] = {
    {.status = 200, .description = "Its URL, with a token; null where none is installed.", .ref = VSCODE},
    MISSING,
    {.status = 500, .description = "It cannot be started.", .ref = VSCODE}};

#define ROUTE(text, id)                                                           \
    .method = HTTP_GET_, .summary = text, .operation = id, .tag = "Conversation", \
    .args_size = sizeof(struct id_args), LEGACY_ID
#define RESPONSES(list) .responses = list, .response_count = ARRAY_LEN(list)

static const struct route routes[] = {
    {ROUTE("Get Remote Runtime Config",
           "get_remote_runtime_config_api_conversations__conversation_id__config_get"),
     .path = "/api/conversations/{conversation_id}/config", .handle = get_config,
     RESPONSES(config_responses)},
    {ROUTE("Get VS Code URL", "get_vscode_url_api_conversations__conversation_id__vscode_url_get"),
     .path = "/api/conversations/{conversation_id}/vscode-url", .handle = get_vscode_url,
     RESPONSES(vscode_responses)},
    {ROUTE("Get Hosts", "get_hosts_api_conversations__conversation_id__web_hosts_get"),
     .path = "/api/conversations/{conversation_id}/web-hosts", .handle = get_web_hosts,
     RESPONSES(hosts_responses)},
};
const struct route_table legacy_runtime_routes = {routes, ARRAY_LEN(routes)};
