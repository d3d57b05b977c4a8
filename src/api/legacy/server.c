/* The server itself: probes and facts about it. None of these needs a key. */
#include "api/legacy/app.h"
#include "base/cleanup.h"

static void get_alive(struct request *r, const void *args)
{
    (void)args;
    autobuf body = {0};
    buf_add(&body, STR("{\"status\":\"ok\"}"));
    request_reply_json(r, 200, &body);
}

static void get_health(struct request *r, const void *args)
{
    (void)args;
    autobuf body = {0};
    buf_add(&body, STR("\"OK\""));
    request_reply_json(r, 200, &body);
}

#define PROBE .method = HTTP_GET_, .tag = "Health", .flags = ROUTE_PUBLIC | ROUTE_INLINE
static const struct route routes[] = {
    {PROBE, .path = "/alive", .handle = get_alive, .summary = "Alive", .operation = "alive_alive_get"},
    {PROBE, .path = "/health", .handle = get_health, .summary = "Health", .operation = "health_health_get"},
};
const struct route_table legacy_server_routes = {routes, ARRAY_LEN(routes)};
