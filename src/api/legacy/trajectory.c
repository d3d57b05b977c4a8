/* GET trajectory: all events of a conversation, sent while they are read. */
#include "api/legacy/app.h"
#include "api/legacy/log_reader.h"
#include "api/slices.h"
#include "base/cleanup.h"

struct trajectory {
    struct log_reader log;
    bool begun;
};

static bool trajectory_make(void *arg, struct buf *out, bool *more, struct err **e)
{
    struct trajectory *t = arg;
    if (!t->begun)
        buf_add(out, STR("{\"trajectory\":"));
    t->begun = true;
    while (!t->log.over && out->n < SLICE_BYTES)
        if (!log_reader_next(&t->log, out, e))
            return false;
    if (t->log.over)
        buf_add_char(out, '}');
    *more = !t->log.over;
    return true;
}

static void trajectory_free(void *arg)
{
    struct trajectory *t = arg;
    log_reader_deinit(&t->log);
    free(t);
}

static const struct slices_maker maker = {trajectory_make, trajectory_free, "a trajectory"};

static void get_trajectory(struct request *r, const void *argsp)
{
    const struct id_args *args = argsp;
    struct trajectory *t = xcalloc(1, sizeof(*t));
    autoerr e = NULL;
    int64_t number;
    if (conversations_number(conversations_of(r), &args->id, &number, &e) &&
        log_reader_init(&t->log, conversations_store(conversations_of(r)), number, &e)) {
        slices_stream(r, "application/json", &maker, t);
        return;
    }
    trajectory_free(t);
    if (e->kind == ERR_NOT_FOUND)
        legacy_reply_missing(r, args);
    else
        request_reply_error(r, e);
}

static const struct route_response responses[] = {
    {.status = 200,
     .description = "The events that are not hidden.",
     .ref =
         "{\"type\":\"object\",\"properties\":{\"trajectory\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}}}}"},
    {.status = 404, .description = "There is no such conversation."},
};
static const struct route routes[] = {
    {.method = HTTP_GET_,
     .path = "/api/conversations/{conversation_id}/trajectory",
     .handle = get_trajectory,
     .summary = "Get Trajectory",
     .tag = "Events",
     .operation = "get_trajectory_api_conversations__conversation_id__trajectory_get",
     .args_size = sizeof(struct id_args),
     LEGACY_ID,
     .responses = responses,
     .response_count = ARRAY_LEN(responses)},
};
const struct route_table legacy_trajectory_routes = {routes, ARRAY_LEN(routes)};
