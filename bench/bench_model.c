/* bench_model STEPS: a model behind an OpenAI-shaped API that is quicker than what it is to measure. It answers with a call
 * of `think` until a conversation has STEPS results of tools, then with a text; a request without tools (for a title) gets
 * a text of its own. GET /finished: how many conversations had their last answer. Prints its port; ends with its parent. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "net/server.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#define BODY_MAX (64u * 1024 * 1024)

static struct {
    struct loop *loop;
    uint64_t steps, answered, finished; /* loop thread */
} model;

/* A tool's result is the only message with this key. */
static uint64_t results_count(struct str body)
{
    static const char key[] = "\"tool_call_id\"";
    uint64_t n = 0;
    const char *p = body.p, *end = body.p + body.n;
    while ((p = memmem(p, (size_t)(end - p), key, sizeof(key) - 1))) {
        n++;
        p += sizeof(key) - 1;
    }
    return n;
}

static void answer_add(struct buf *out, const char *message, const char *reason)
{
    buf_addf(
        out,
        "{\"id\":\"chatcmpl-%llu\",\"object\":\"chat.completion\",\"created\":1760000000,\"model\":\"bench\","
        "\"choices\":[{\"index\":0,\"logprobs\":null,\"finish_reason\":\"%s\",\"message\":{\"role\":\"assistant\",%s}}],"
        "\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":20,\"total_tokens\":1020}}",
        (unsigned long long)model.answered, reason, message);
}

static void handle_chat(struct request *r, const void *args)
{
    (void)args;
    struct str body = request_body(r);
    autobuf out = {0};
    model.answered++;
    if (str_find(body, STR("\"tools\"")) < 0) {
        answer_add(&out, "\"content\":\"A title\"", "stop");
    } else if (results_count(body) >= model.steps) {
        model.finished++;
        answer_add(&out, "\"content\":\"Done.\"", "stop");
    } else {
        char message[256];
        snprintf(
            message, sizeof(message),
            "\"content\":null,\"tool_calls\":[{\"id\":\"call_%llu\",\"type\":\"function\",\"function\":{\"name\":"
            "\"think\",\"arguments\":\"{\\\"thought\\\":\\\"Thought %llu of this model.\\\"}\"}}]",
            (unsigned long long)model.answered, (unsigned long long)model.answered);
        answer_add(&out, message, "tool_calls");
    }
    request_reply_json(r, 200, &out);
}

static void handle_finished(struct request *r, const void *args)
{
    (void)args;
    autobuf out = {0};
    buf_addf(&out, "%llu", (unsigned long long)model.finished);
    request_reply_json(r, 200, &out);
}

static const struct route routes[] = {
    {.method = HTTP_POST_,
     .path = "/v1/chat/completions",
     .handle = handle_chat,
     .flags = ROUTE_PUBLIC | ROUTE_INLINE | ROUTE_RAW_BODY,
     .body_max = BODY_MAX},
    {.method = HTTP_GET_,
     .path = "/finished",
     .handle = handle_finished,
     .flags = ROUTE_PUBLIC | ROUTE_INLINE},
};

int main(int argc, char **argv)
{
    autoerr e = NULL;
    if (argc != 2 || !str_to_u64(str_from(argv[1]), &model.steps)) {
        fprintf(stderr, "usage: bench_model STEPS\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    clock_init();
    model.loop = loop_new(&e);
    struct pool *pool = model.loop ? pool_new(1, 64) : NULL;
    struct server *server =
        pool ? server_new(&(struct server_config){.loop = model.loop, .pool = pool}) : NULL;
    struct listener *listener =
        server ? server_listen(server,
                               &(struct listener_config){.host = "127.0.0.1",
                                                         .name = "bench-model",
                                                         .routes = routes,
                                                         .route_count = ARRAY_LEN(routes)},
                               &e)
               : NULL;
    if (!listener) {
        fprintf(stderr, "bench_model: %s\n", err_text(e));
        return 1;
    }
    printf("%d\n", listener_port(listener));
    fflush(stdout);
    loop_run(model.loop); /* until it is killed */
    return 0;
}
