/* One call of a model from beginning to end, against the tests' model server or a script. */
#pragma once
#include "base/clock.h"
#include "base/log.h"
#include "llm/provider.h"
#include "model_server.h"

static struct model_server server;
static struct outward *outward;

struct fixture {
    struct llm *llm;
    struct mailbox *mailbox;
    struct arena *arena;
    struct llm_context context;
    struct llm_request request;
    struct llm_answer answer;
    struct err *e;
    struct buf deltas, thoughts;
    unsigned retries;
    double waited;
};

static const struct llm_part hello[] = {{.type = LLM_TEXT, .text = STR_INIT("hello")}};
static const struct llm_message one_message[] = {{.role = LLM_USER, .parts = hello, .part_count = 1}};
static const struct llm_tool one_tool[] = {
    {.name = STR_INIT("terminal"),
     .description = STR_INIT("Runs a command"),
     .parameters = STR_INIT("{\"type\":\"object\",\"properties\":{}}")}};

static inline void on_delta(void *arg, struct str content, struct str reasoning)
{
    struct fixture *f = arg;
    buf_add(&f->deltas, content);
    buf_add(&f->thoughts, reasoning);
}

static inline void on_retry(void *arg, unsigned attempt, unsigned attempts, const struct err *why,
                            double seconds)
{
    struct fixture *f = arg;
    assert_true(attempt < attempts);
    assert_non_null(why->code);
    f->retries++;
    f->waited += seconds;
}

static inline struct llm *llm_make(const char *config, const char *(*env)(const char *))
{
    autojson doc = json_parse(str_from(config), NULL, NULL);
    assert_non_null(doc);
    struct err *e = NULL;
    struct llm *l = llm_new(json_root(doc), env, &e);
    if (!l)
        fail_msg("%s", err_text(e));
    return l;
}

/* `more`: members of the configuration beside model and address, with a comma in front. */
static inline void fixture_init(struct fixture *f, const char *model, const char *more)
{
    autobuf config = {0};
    buf_addf(&config, "{\"model\":\"%s\",\"api_key\":\"sk-secret-key\",\"base_url\":\"%s/v1\"%s}", model,
             server.base, more);
    *f = (struct fixture){.llm = llm_make(config.p, NULL), .mailbox = mailbox_new(), .arena = arena_new()};
    f->context = (struct llm_context){.outward = outward};
    f->request = (struct llm_request){.messages = one_message,
                                      .message_count = 1,
                                      .tools = one_tool,
                                      .tool_count = 1,
                                      .on_delta = on_delta,
                                      .on_retry = on_retry,
                                      .arg = f};
}

static inline void fixture_deinit(struct fixture *f)
{
    mailbox_close(f->mailbox);
    mailbox_unref(f->mailbox);
    llm_unref(f->llm);
    arena_free(f->arena);
    err_free(f->e);
    buf_deinit(&f->deltas);
    buf_deinit(&f->thoughts);
}

static inline bool complete(struct fixture *f)
{
    return llm_complete(f->llm, &f->context, &f->request, f->mailbox, f->arena, &f->answer, &f->e);
}

static inline void expect_answer(struct fixture *f)
{
    if (!complete(f))
        fail_msg("%s", err_text(f->e));
}

#define assert_str(s, z) assert_string_equal(arena_cstr(f.arena, (s)), (z))

/* Body of the request with this number. */
static inline const struct json_value *sent_body(struct json_doc *seen, size_t index)
{
    return json_get(json_at(json_root(seen), index), "body");
}

static inline int servers_start(void **state)
{
    (void)state;
    clock_init();
    log_set_level(LOG_ERROR);
    model_server_start(&server, NULL);
    outward = outward_new();
    return 0;
}

static inline int servers_stop(void **state)
{
    (void)state;
    outward_free(outward);
    model_server_stop(&server);
    return 0;
}
