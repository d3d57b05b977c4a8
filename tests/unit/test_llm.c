/* llm: whole calls against the tests' model server and against scripts: what is sent, what is made of every kind of
 * answer, what failures are called, and which are tried again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "llm/provider.h"
#include "model_server.h"

static struct model_server server;
static struct outward *outward;

/* --- one call --------------------------------------------------------------------------------------- */

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

static void on_delta(void *arg, struct str content, struct str reasoning)
{
    struct fixture *f = arg;
    buf_add(&f->deltas, content);
    buf_add(&f->thoughts, reasoning);
}

static void on_retry(void *arg, unsigned attempt, unsigned attempts, const struct err *why, double seconds)
{
    struct fixture *f = arg;
    assert_true(attempt < attempts);
    assert_non_null(why->code);
    f->retries++;
    f->waited += seconds;
}

static const char *env_value(const char *name)
{
    static const char *const values[][2] = {{"OPENAI_BASE_URL", "http://127.0.0.1:9/v1"},
                                            {"OPENAI_API_KEY", "sk-env"}};
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (strcmp(values[i][0], name) == 0)
            return values[i][1];
    return NULL;
}

static struct llm *llm_make(const char *config, const char *(*env)(const char *))
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
static void fixture_init(struct fixture *f, const char *model, const char *more)
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

static void fixture_deinit(struct fixture *f)
{
    mailbox_close(f->mailbox);
    mailbox_unref(f->mailbox);
    llm_unref(f->llm);
    arena_free(f->arena);
    err_free(f->e);
    buf_deinit(&f->deltas);
    buf_deinit(&f->thoughts);
}

static bool complete(struct fixture *f)
{
    return llm_complete(f->llm, &f->context, &f->request, f->mailbox, f->arena, &f->answer, &f->e);
}

static void expect_answer(struct fixture *f)
{
    if (!complete(f))
        fail_msg("%s", err_text(f->e));
}

#define assert_str(s, z) assert_string_equal(arena_cstr(f.arena, (s)), (z))

/* Body of the request with this number. */
static const struct json_value *sent_body(struct json_doc *seen, size_t index)
{
    return json_get(json_at(json_root(seen), index), "body");
}

/* --- answers: everything twice, whole and streamed ----------------------------------------------------- */

static const char *const forms[] = {"", ",\"stream\":true"};

static void test_text_calls_usage(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        fixture_init(&f, "openai/gpt-4o", forms[i]);
        model_server_script(
            &server,
            "[{\"text\":\"L\303\266sung: \\ud83c\\udf88, in more than one piece\",\"reasoning\":\"hm, hm, hm, let me see\","
            "\"id\":\"chatcmpl-77\",\"cost\":0.0025,"
            "\"tool_calls\":[{\"id\":\"a\",\"name\":\"terminal\",\"arguments\":{\"command\":\"ls -l /somewhere\"}},"
            "{\"id\":\"b\",\"name\":\"think\",\"arguments\":{}}],"
            "\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":20,"
            "\"prompt_tokens_details\":{\"cached_tokens\":60},"
            "\"completion_tokens_details\":{\"reasoning_tokens\":5}}}]");
        expect_answer(&f);
        assert_str(f.answer.text, "L\303\266sung: \360\237\216\210, in more than one piece");
        assert_str(f.answer.reasoning, "hm, hm, hm, let me see");
        assert_str(f.answer.id, "chatcmpl-77");
        assert_str(f.answer.finish_reason, "tool_calls");
        assert_int_equal(f.answer.call_count, 2);
        assert_str(f.answer.calls[0].id, "a");
        assert_str(f.answer.calls[0].name, "terminal");
        assert_str(f.answer.calls[0].arguments, "{\"command\": \"ls -l /somewhere\"}");
        assert_str(f.answer.calls[1].arguments, "{}");
        assert_int_equal(f.answer.usage.prompt_tokens, 100);
        assert_int_equal(f.answer.usage.completion_tokens, 20);
        assert_int_equal(f.answer.usage.cache_read_tokens, 60);
        assert_int_equal(f.answer.usage.reasoning_tokens, 5);
        assert_int_equal(f.answer.usage.context_window, 128000);
        assert_true(f.answer.usage.cost == 0.0025);
        assert_true(f.answer.usage.seconds > 0);
        assert_true(str_eq(buf_str(&f.deltas), i == 0 ? STR("") : f.answer.text));
        assert_true(str_eq(buf_str(&f.thoughts), i == 0 ? STR("") : f.answer.reasoning));
        fixture_deinit(&f);
    }
}

/* What servers of this shape get wrong. */
static void test_sloppy_calls(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        fixture_init(&f, "openai/local", forms[i]);
        model_server_script(
            &server,
            "[{\"text\":null,\"tool_calls\":["
            "{\"name\":\"gap\",\"index\":3,\"no_id\":true,\"arguments\":{\"n\":1}},"
            "{\"name\":\"object\",\"index\":7,\"id\":\"x\",\"arguments_raw\":{\"n\":2}},"
            "{\"name\":\"null\",\"index\":9,\"id\":\"x\",\"arguments_raw\":null},"
            "{\"name\":\"empty\",\"index\":12,\"id\":\"\",\"arguments\":\"\"},"
            "{\"name\":\"words\",\"index\":13,\"id\":\"y\",\"arguments\":\"not json at all, really\"}],"
            "\"nameless\":true,\"usage\":null}]");
        expect_answer(&f);
        assert_int_equal(f.answer.call_count, 5);
        assert_str(f.answer.text, "");
        assert_true(f.answer.id.n > 0);
        static const char *const arguments[] = {"{\"n\": 1}", "{\"n\":2}", "{}", "{}",
                                                "not json at all, really"};
        for (size_t k = 0; k < 5; k++) {
            assert_str(f.answer.calls[k].arguments, arguments[k]);
            assert_true(f.answer.calls[k].id.n > 0);
            for (size_t m = 0; m < k; m++)
                assert_false(str_eq(f.answer.calls[k].id, f.answer.calls[m].id));
        }
        assert_str(f.answer.calls[1].id, "x");
        fixture_deinit(&f);
    }
}

/* Streams whose calls all have index 0, or none. */
static void test_streams_without_usable_index(void **state)
{
    (void)state;
    static const char *const scripts[] = {
        "[{\"tool_calls\":[{\"id\":\"a\",\"index\":0,\"name\":\"one\",\"arguments\":{\"long\":\"enough for pieces\"}},"
        "{\"id\":\"b\",\"index\":0,\"name\":\"two\",\"arguments\":{\"n\":2}}]}]",
        "[{\"tool_calls\":[{\"id\":\"a\",\"no_index\":true,\"name\":\"one\",\"arguments\":{\"long\":\"enough for pieces\"}},"
        "{\"id\":\"b\",\"no_index\":true,\"name\":\"two\",\"arguments\":{\"n\":2}}]}]",
        "[{\"tool_calls\":[{\"no_id\":true,\"no_index\":true,\"name\":\"one\",\"arguments\":{\"long\":\"enough for pieces\"}},"
        "{\"no_id\":true,\"no_index\":true,\"name\":\"two\",\"arguments\":{\"n\":2}}]}]",
        "[{\"tool_calls\":[{\"no_id\":true,\"index\":0,\"name\":\"one\",\"arguments\":{\"long\":\"enough for pieces\"}},"
        "{\"no_id\":true,\"index\":0,\"name\":\"two\",\"arguments\":{\"n\":2}}]}]",
    };
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct fixture f;
        fixture_init(&f, "openai/local", ",\"stream\":true");
        model_server_script(&server, scripts[i]);
        expect_answer(&f);
        assert_int_equal(f.answer.call_count, 2);
        assert_str(f.answer.calls[0].arguments, "{\"long\": \"enough for pieces\"}");
        assert_str(f.answer.calls[1].name, "two");
        assert_str(f.answer.calls[1].arguments, "{\"n\": 2}");
        fixture_deinit(&f);
    }
}

static void test_usable_all_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *script, *text;
    } cases[] = {
        {"[{\"text\":\"small writes\",\"write\":7}]", "small writes"},
        {"[{\"text\":\"squeezed\",\"gzip\":true}]", "squeezed"},
        {"[{\"text\":\"whole although streamed\",\"whole\":true}]", "whole although streamed"},
        {"[{\"text\":\"broken \",\"bad_utf8\":true}]", "broken \357\277\275(\357\277\275"},
        {"[{\"raw\":\"{\\\"choices\\\":[{\\\"message\\\":{\\\"content\\\":[{\\\"type\\\":\\\"text\\\",\\\"text\\\":\\\"in \\\"},"
         "{\\\"type\\\":\\\"text\\\",\\\"text\\\":\\\"parts\\\"}]},\\\"finish_reason\\\":\\\"stop\\\"}]}\"}]",
         "in parts"},
        {"[{\"raw\":\"{\\\"choices\\\":[{\\\"message\\\":{\\\"content\\\":null,\\\"refusal\\\":\\\"I will not\\\"}}]}\"}]",
         "I will not"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t k = 0; k < 2; k++) {
            struct fixture f;
            fixture_init(&f, "openai/local", forms[k]);
            model_server_script(&server, cases[i].script);
            expect_answer(&f);
            assert_str(f.answer.text, cases[i].text);
            assert_int_equal(f.retries, 0);
            fixture_deinit(&f);
        }
}

static void test_huge_arguments(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct fixture f;
        fixture_init(&f, "openai/local", forms[k]);
        model_server_script(&server, "[{\"arguments_bytes\":10485760},{\"arguments_bytes\":1000000}]");
        expect_answer(&f);
        assert_int_equal(f.answer.call_count, 1);
        assert_true(f.answer.calls[0].arguments.n < 200); /* a sentence that is no JSON */
        assert_true(str_find(f.answer.calls[0].arguments, STR("10485760 bytes")) > 0);
        expect_answer(&f);
        assert_int_equal(f.answer.calls[0].arguments.n, 1000000);
        fixture_deinit(&f);
    }
}

/* --- failures --------------------------------------------------------------------------------------------- */

static const struct failure_case {
    const char *script, *code, *text; /* `text` occurs in the error */
    unsigned attempts;
} failures[] = {
    {"{\"status\":401,\"error\":\"Incorrect API key provided: sk-secret-key\"}", "LLMAuthenticationError",
     "**********", 1},
    {"{\"status\":403,\"error\":\"not for you\"}", "LLMAuthenticationError", "status 403: not for you", 1},
    {"{\"status\":404,\"error\":{\"message\":\"no such model\"}}", "NotFoundError", "no such model", 1},
    {"{\"status\":400,\"error\":\"what is this\"}", "LLMBadRequestError", "what is this", 1},
    {"{\"status\":400,\"error\":{\"message\":\"Too long\",\"code\":\"context_length_exceeded\"}}",
     "LLMContextWindowExceedError", "Too long", 1},
    {"{\"status\":413,\"error\":\"This model's Maximum Context Length is 8192 tokens\"}",
     "LLMContextWindowExceedError", "8192", 1},
    {"{\"status\":400,\"error\":\"messages with role 'tool' must be a response to a preceeding message with 'tool_calls'\"}",
     "LLMMalformedConversationHistoryError", "preceeding", 1},
    {"{\"status\":400,\"error\":{\"message\":\"flagged\",\"code\":\"content_policy_violation\"}}",
     "LLMContentPolicyViolationError", "flagged", 1},
    {"{\"status\":429,\"error\":\"slow down\"}", "LLMRateLimitError", "slow down", 3},
    {"{\"status\":429,\"error\":{\"message\":\"pay\",\"code\":\"insufficient_quota\"}}", "LLMRateLimitError",
     "pay", 1},
    {"{\"status\":408,\"error\":\"too slow\"}", "LLMTimeoutError", "too slow", 3},
    {"{\"status\":500,\"error\":\"oops\"}", "LLMServiceUnavailableError", "oops", 3},
    {"{\"status\":503,\"raw\":\"down\",\"content_type\":\"text/plain\"}", "LLMServiceUnavailableError",
     "status 503: down", 3},
    {"{\"status\":502,\"html\":true}", "LLMServiceUnavailableError", "web page", 3},
    {"{\"html\":true}", "LLMBadRequestError", "It works", 1},
    {"{\"status\":307,\"raw\":\"\"}", "LLMBadRequestError", "redirects", 1},
    {"{\"raw\":\"\"}", "LLMNoResponseError", "empty", 3},
    {"{\"raw\":\"{}\"}", "LLMNoResponseError", "no choices", 3},
    {"{\"raw\":\"[1,2]\"}", "LLMNoResponseError", "no choices", 3},
    {"{\"raw\":\"{\\\"error\\\":{\\\"message\\\":\\\"inner\\\",\\\"code\\\":429}}\"}", "LLMRateLimitError",
     "inner", 3},
    {"{\"raw\":\"{\\\"choices\\\":[{\\\"message\\\":{\"}", "LLMServiceUnavailableError", "cut", 3},
    {"{\"choices\":[],\"whole\":true}", "LLMNoResponseError", "no choices", 3},
    {"{\"text\":\"half of it is missing, and that is the longer half\",\"cut\":\"middle\"}",
     "LLMServiceUnavailableError", "", 3},
    {"{\"text\":\"half of it is missing, and that is the longer half\",\"reset\":\"middle\"}",
     "LLMServiceUnavailableError", "", 3},
    {"{\"finish_reason\":\"content_filter\",\"text\":null}", "LLMContentPolicyViolationError",
     "content filter", 1},
};

static void expect_failure(const char *script, const char *code, const char *text, unsigned attempts,
                           const char *more)
{
    struct fixture f;
    autobuf config = {0}, answers = {0};
    buf_addf(&config, ",\"num_retries\":3,\"retry_min_wait\":0,\"retry_multiplier\":0%s", more);
    fixture_init(&f, "openai/gpt-x", config.p);
    buf_addf(&answers, "{\"answers\":[],\"default\":%s}", script);
    model_server_script(&server, answers.p);
    if (complete(&f))
        fail_msg("no failure: %s", script);
    if (!f.e->code || strcmp(f.e->code, code) != 0)
        fail_msg("%s: %s (%s) instead of %s", script, f.e->code, f.e->text, code);
    if (!strstr(f.e->text, text))
        fail_msg("%s: \"%s\" does not say \"%s\"", script, f.e->text, text);
    assert_null(strstr(f.e->text, "sk-secret-key"));
    autojson seen = model_server_requests(&server, (int)attempts, 0);
    if (f.retries != attempts - 1 || json_count(json_root(seen)) < attempts)
        fail_msg("%s: %u retries instead of %u", script, f.retries, attempts - 1);
    fixture_deinit(&f);
}

static void test_failures(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(failures); i++)
        for (size_t k = 0; k < 2; k++)
            expect_failure(failures[i].script, failures[i].code, failures[i].text, failures[i].attempts,
                           forms[k]);
}

static void test_stream_failures(void **state)
{
    (void)state;
    const char *stream = ",\"stream\":true";
    expect_failure("{\"text\":\"half of it is missing, and that is the longer half\",\"cut\":\"clean\"}",
                   "LLMServiceUnavailableError", "ends in the middle", 3, stream);
    expect_failure("{\"events\":[]}", "LLMNoResponseError", "empty", 3, stream);
    expect_failure("{\"events\":[\"[DONE]\"]}", "LLMNoResponseError", "no choices", 3, stream);
    expect_failure("{\"events\":[\"{nonsense\"]}", "LLMServiceUnavailableError", "not JSON", 3, stream);
    expect_failure("{\"events\":[\"{\\\"choices\\\":[{\\\"delta\\\":{\\\"content\\\":\\\"a\\\"}}]}\","
                   "\"{\\\"error\\\":{\\\"message\\\":\\\"context length exceeded\\\",\\\"code\\\":400}}\"]}",
                   "LLMContextWindowExceedError", "context length", 1, stream);
    expect_failure("{\"text\":\"slow\",\"pause\":30}", "LLMTimeoutError", "nothing came", 3,
                   ",\"stream\":true,\"timeout\":0.1");
}

static void test_timeout_whole(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, "openai/gpt-x", ",\"timeout\":0.2,\"num_retries\":1");
    model_server_script(&server, "[{\"hang\":true}]");
    assert_false(complete(&f));
    assert_string_equal(f.e->code, "LLMTimeoutError");
    assert_int_equal(f.e->kind, ERR_TIMEOUT);
    fixture_deinit(&f);
}

/* --- retries ------------------------------------------------------------------------------------------------ */

static void test_retry_succeeds(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, "openai/gpt-x", "");
    model_server_script(&server,
                        "[{\"status\":503,\"headers\":{\"Retry-After\":\"0\"}},"
                        "{\"status\":429,\"headers\":{\"retry-after-ms\":\"20\"}},{\"text\":\"third\"}]");
    expect_answer(&f); /* the default back-off would wait 24 s */
    assert_str(f.answer.text, "third");
    assert_int_equal(f.retries, 2);
    assert_true(f.waited > 0.019 && f.waited < 0.021);
    fixture_deinit(&f);
}

static void test_no_answer_warms_up(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, "openai/gpt-x", ",\"retry_min_wait\":0,\"retry_multiplier\":0,\"temperature\":0.0");
    model_server_script(&server, "[{\"choices\":[]},{\"text\":\"now\"}]");
    expect_answer(&f);
    autojson seen = model_server_requests(&server, 2, 0);
    assert_true(json_get_float(sent_body(seen, 0), "temperature", -1) == 0);
    assert_true(json_get_float(sent_body(seen, 1), "temperature", -1) == 1);
    fixture_deinit(&f);
}

static void test_refused_parameters(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, "openai/gpt-x", ",\"temperature\":0.5,\"max_output_tokens\":99");
    model_server_script(
        &server,
        "[{\"status\":400,\"error\":{\"message\":\"Unsupported value: 'temperature'\",\"param\":\"temperature\"}},"
        "{\"status\":400,\"error\":\"Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.\"},{\"text\":\"fine\"},{\"text\":\"again\"}]");
    expect_answer(&f);
    expect_answer(&f);
    autojson seen = model_server_requests(&server, 4, 0);
    assert_int_equal(json_count(json_root(seen)), 4); /* learnt once */
    assert_int_equal(json_get_int(sent_body(seen, 1), "max_tokens", 0), 99);
    for (size_t i = 2; i < 4; i++) {
        assert_null(json_get(sent_body(seen, i), "temperature"));
        assert_null(json_get(sent_body(seen, i), "max_tokens"));
        assert_int_equal(json_get_int(sent_body(seen, i), "max_completion_tokens", 0), 99);
    }
    assert_int_equal(f.retries, 0);
    fixture_deinit(&f);
}

/* --- cancel --------------------------------------------------------------------------------------------------- */

struct canceller {
    struct mailbox *mailbox;
    uint64_t at_ns;
};

static void cancel_when_asked(void *arg)
{
    struct canceller *c = arg;
    json_doc_free(model_server_requests(&server, 1, 0)); /* the call is under way */
    c->at_ns = clock_mono_ns();
    mailbox_cancel(c->mailbox);
}

static void expect_cancel(const char *script, const char *more)
{
    struct fixture f;
    fixture_init(&f, "openai/gpt-x", more);
    model_server_script(&server, script);
    struct canceller c = {.mailbox = f.mailbox};
    pthread_t thread;
    assert_true(thread_start(&thread, "canceller", THREAD_STACK_BYTES, cancel_when_asked, &c, NULL));
    assert_false(complete(&f));
    uint64_t now = clock_mono_ns();
    pthread_join(thread, NULL);
    assert_int_equal(f.e->kind, ERR_CANCELLED);
    assert_null(f.e->code);
    assert_true(now - c.at_ns < 100 * NS_PER_MS);
    fixture_deinit(&f); /* the arena goes, whatever the outward thread still does */
}

static void test_cancel(void **state)
{
    (void)state;
    expect_cancel("[{\"hang\":true}]", "");
    expect_cancel("[{\"text\":\"many many many pieces\",\"piece\":1,\"pause\":0.5}]", ",\"stream\":true");
    expect_cancel("{\"answers\":[],\"default\":{\"status\":500}}", ""); /* waiting 8 s for the next attempt */
    struct fixture f;
    fixture_init(&f, "openai/gpt-x", "");
    model_server_script(&server, "[]");
    mailbox_cancel(f.mailbox);
    assert_false(complete(&f));
    autojson seen = model_server_requests(&server, 0, 0);
    assert_int_equal(json_count(json_root(seen)), 0);
    fixture_deinit(&f);
}

/* --- requests ---------------------------------------------------------------------------------------------------- */

static void test_request(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(
        &f, "openai/org/gpt-4o",
        ",\"stream\":true,\"temperature\":0.2,\"top_p\":0.9,\"seed\":7,\"max_output_tokens\":50,"
        "\"extra_headers\":{\"X-Team\":\"blue\"},\"litellm_extra_body\":{\"metadata\":{\"a\":1},\"seed\":8}");
    const struct llm_part system[] = {{.type = LLM_TEXT, .text = STR("static"), .cache_prompt = true},
                                      {.type = LLM_TEXT, .text = STR("dynamic")}};
    const struct llm_part user[] = {{.type = LLM_TEXT, .text = STR("look")},
                                    {.type = LLM_IMAGE, .text = STR("data:image/png;base64,AA==")}};
    const struct llm_part result[] = {{.type = LLM_TEXT, .text = STR("total 0")}};
    const struct llm_part shot[] = {{.type = LLM_TEXT, .text = STR("seen")},
                                    {.type = LLM_IMAGE, .text = STR("data:image/png;base64,BB==")}};
    const struct llm_call calls[] = {{STR("c1"), STR("terminal"), STR("{\"command\":\"ls\"}")},
                                     {STR("c2"), STR("view"), STR("not json")}};
    const struct llm_message messages[] = {
        {.role = LLM_SYSTEM, .parts = system, .part_count = 2},
        {.role = LLM_USER, .parts = hello, .part_count = 1},
        {.role = LLM_USER, .parts = user, .part_count = 2},
        {.role = LLM_ASSISTANT, .calls = calls, .call_count = 2, .reasoning = STR("hidden")},
        {.role = LLM_TOOL,
         .parts = result,
         .part_count = 1,
         .tool_call_id = STR("c1"),
         .name = STR("terminal")},
        {.role = LLM_TOOL, .parts = shot, .part_count = 2, .tool_call_id = STR("c2"), .name = STR("view")},
        {.role = LLM_ASSISTANT, .parts = hello, .part_count = 1},
    };
    f.request.messages = messages;
    f.request.message_count = ARRAY_LEN(messages);
    model_server_script(&server, "[{\"text\":\"ok\"}]");
    expect_answer(&f);
    autojson seen = model_server_requests(&server, 1, 0);
    const struct json_value *body = sent_body(seen, 0),
                            *headers = json_get(json_at(json_root(seen), 0), "headers");
    assert_str(json_get_str(json_at(json_root(seen), 0), "path"), "/v1/chat/completions");
    assert_str(json_get_str(headers, "authorization"), "Bearer sk-secret-key");
    assert_str(json_get_str(headers, "x-team"), "blue");
    assert_str(json_get_str(headers, "content-type"), "application/json");
    autobuf text = {0};
    json_add(&text, body);
    assert_string_equal(
        text.p,
        "{\"model\":\"org/gpt-4o\",\"messages\":["
        "{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"static\"},{\"type\":\"text\",\"text\":\"dynamic\"}]},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hello\"},{\"type\":\"text\",\"text\":\"look\"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AA==\"}}]},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
        "{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"terminal\",\"arguments\":\"{\\\"command\\\":\\\"ls\\\"}\"}},"
        "{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"view\",\"arguments\":\"{\\\"unparsed\\\":\\\"not json\\\"}\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"name\":\"terminal\",\"content\":\"total 0\"},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"name\":\"view\",\"content\":\"seen\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Images from the tool results above:\"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,BB==\"}}]},"
        "{\"role\":\"assistant\",\"content\":\"hello\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"terminal\",\"description\":\"Runs a command\","
        "\"parameters\":{\"type\":\"object\",\"properties\":{}}}}],"
        "\"temperature\":0.2,\"top_p\":0.9,\"max_tokens\":50,\"stream\":true,\"stream_options\":{\"include_usage\":true},"
        "\"metadata\":{\"a\":1},\"seed\":8}");
    fixture_deinit(&f);
}

static void test_model_families(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, "gpt-5.1", ",\"temperature\":0.2,\"max_output_tokens\":50");
    model_server_script(&server, "[]");
    expect_answer(&f);
    autojson seen = model_server_requests(&server, 1, 0);
    assert_str(json_get_str(sent_body(seen, 0), "model"), "gpt-5.1");
    assert_str(json_get_str(sent_body(seen, 0), "reasoning_effort"), "high");
    assert_null(json_get(sent_body(seen, 0), "temperature"));
    assert_int_equal(json_get_int(sent_body(seen, 0), "max_completion_tokens", 0), 50);
    fixture_deinit(&f);

    fixture_init(&f, "litellm_proxy/anthropic/claude-sonnet-4", "");
    const struct llm_part cached[] = {{.type = LLM_TEXT, .text = STR("static"), .cache_prompt = true}};
    const struct llm_message message[] = {{.role = LLM_SYSTEM, .parts = cached, .part_count = 1},
                                          one_message[0]};
    f.request.messages = message;
    f.request.message_count = 2;
    model_server_script(&server, "[]");
    expect_answer(&f);
    autojson other = model_server_requests(&server, 1, 0);
    assert_str(json_get_str(sent_body(other, 0), "model"), "anthropic/claude-sonnet-4");
    autobuf text = {0};
    json_add(&text, json_get(json_at(json_get(sent_body(other, 0), "messages"), 0), "content"));
    assert_string_equal(
        text.p, "[{\"type\":\"text\",\"text\":\"static\",\"cache_control\":{\"type\":\"ephemeral\"}}]");
    fixture_deinit(&f);
}

static void expect_url(const char *config, const char *(*env)(const char *), const char *url, const char *key)
{
    struct llm *l = llm_make(config, env);
    assert_int_equal(l->url.n, strlen(url));
    assert_memory_equal(l->url.p, url, l->url.n);
    assert_true(str_eq(l->api_key, str_from(key)));
    llm_unref(l);
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const bases[] = {"http://h:1",        "http://h:1/",
                                        "http://h:1/v1",     "http://h:1/v1/",
                                        " http://h:1/v1// ", "http://h:1/v1/chat/completions"};
    for (size_t i = 0; i < ARRAY_LEN(bases); i++) {
        autobuf config = {0};
        buf_addf(&config, "{\"model\":\"m\",\"base_url\":\"%s\",\"api_key\":\"k\"}", bases[i]);
        expect_url(config.p, env_value, "http://h:1/v1/chat/completions", "k");
    }
    expect_url("{\"model\":\"m\",\"base_url\":\"https://h/openai/x?api-version=2\"}", NULL,
               "https://h/openai/x/chat/completions?api-version=2", NULL);
    expect_url("{\"model\":\"gpt-4o-mini\",\"base_url\":null,\"api_key\":null}", env_value,
               "http://127.0.0.1:9/v1/chat/completions", "sk-env");
    expect_url("{\"model\":\"gpt-4o-mini\",\"api_key\":\"k\"}", NULL,
               "https://api.openai.com/v1/chat/completions", "k");
    expect_url("{\"model\":\"openhands/claude-sonnet-4\",\"api_key\":\"k\"}", env_value,
               "https://llm-proxy.app.all-hands.dev/v1/chat/completions", "k");
    expect_url("{\"model\":\"claude-sonnet-4\",\"api_key\":\"k\"}", env_value,
               "https://api.anthropic.com/v1/chat/completions", "k");
}

static void test_unusable_configurations(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, "m", "");
    llm_unref(f.llm);
    f.llm = llm_make("{\"model\":\"gpt-4o\"}", NULL);
    assert_false(complete(&f)); /* nothing is sent to the real service without a key */
    assert_string_equal(f.e->code, "LLMAuthenticationError");
    assert_non_null(strstr(f.e->text, "OPENAI_API_KEY"));
    err_free(f.e);
    f.e = NULL;
    llm_unref(f.llm);
    f.llm = llm_make("{\"model\":\"m\",\"base_url\":\"file:///etc/passwd\"}", NULL);
    assert_false(complete(&f));
    assert_string_equal(f.e->code, "LLMBadRequestError");
    fixture_deinit(&f);
    autojson nameless = json_parse(STR("{\"model\":\"\"}"), NULL, NULL);
    struct err *e = NULL;
    assert_null(llm_new(json_root(nameless), NULL, &e));
    assert_int_equal(e->kind, ERR_INVALID);
    err_free(e);
}

static void test_cost_by_price(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, "openai/x",
                 ",\"input_cost_per_token\":0.001,\"output_cost_per_token\":0.01,\"max_input_tokens\":4000");
    model_server_script(&server,
                        "[{\"text\":\"x\",\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":2}}]");
    expect_answer(&f);
    assert_true(f.answer.usage.cost > 0.0299 && f.answer.usage.cost < 0.0301);
    assert_int_equal(f.answer.usage.context_window, 4000);
    fixture_deinit(&f);
}

/* --- without a run ------------------------------------------------------------------------------------------------- */

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int done;
    char *text, *code;
};

static void waiter_done(void *arg, const struct llm_answer *answer, const struct err *e)
{
    struct waiter *w = arg;
    WITH_LOCK(&w->lock)
    {
        w->text = answer ? str_dup(answer->text) : NULL;
        w->code = e && e->code ? strdup(e->code) : NULL;
        w->done++;
        pthread_cond_signal(&w->changed);
    }
}

static void start_and_wait(struct fixture *f, struct waiter *w)
{
    *w = (struct waiter){0};
    pthread_mutex_init(&w->lock, NULL);
    thread_cond_init(&w->changed);
    llm_start(f->llm, &f->context, &f->request, waiter_done, w);
    WITH_LOCK(&w->lock)
    while (!w->done)
        assert_true(thread_cond_wait(&w->changed, &w->lock, clock_mono_ns() + 20 * NS_PER_S));
}

static void waiter_deinit(struct waiter *w)
{
    free(w->text);
    free(w->code);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
}

static void test_start(void **state)
{
    (void)state;
    struct fixture f;
    struct waiter w;
    fixture_init(&f, "openai/x", "");
    f.request.tool_count = 0;
    model_server_script(&server, "[{\"text\":\"A title\"},{\"status\":500}]");
    start_and_wait(&f, &w);
    assert_string_equal(w.text, "A title");
    waiter_deinit(&w);
    start_and_wait(&f, &w);
    assert_null(w.text);
    assert_string_equal(w.code, "LLMServiceUnavailableError");
    waiter_deinit(&w);
    fixture_deinit(&f);
    fixture_init(&f, "scripted/demo", "");
    f.request.tool_count = 0;
    start_and_wait(&f, &w);
    assert_non_null(w.text);
    waiter_deinit(&w);
    fixture_deinit(&f);
}

/* --- scripts --------------------------------------------------------------------------------------------------------- */

static char scripts_dir[] = "/tmp/test_llm.XXXXXX";

static void script_write(const char *name, const char *lines)
{
    autobuf path = {0};
    buf_addf(&path, "%s/%s.jsonl", scripts_dir, name);
    autofd int fd = open(path.p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd_write_all(fd, str_from(lines), NULL));
}

static void script_remove(const char *name)
{
    autobuf path = {0};
    buf_addf(&path, "%s/%s.jsonl", scripts_dir, name);
    unlink(path.p);
}

static void test_script_file(void **state)
{
    (void)state;
    script_write("mine",
                 "# a comment\n\n"
                 "{\"text\":\"first\",\"reasoning\":\"why\",\"usage\":{\"prompt_tokens\":3,\"cost\":0.5}}\n"
                 "{\"no_tools\":true,\"text\":\"a title\"}\n"
                 "{\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":\"ls\"}},"
                 "{\"name\":\"think\",\"arguments\":\"half {\",\"id\":\"mine\"}]}\n"
                 "{\"error\":{\"status\":429,\"message\":\"busy\",\"times\":2},\"text\":\"at last\"}\n"
                 "{\"error\":{\"status\":400,\"message\":\"prompt is too long\"}}\n"
                 "nonsense\n");
    struct fixture f;
    fixture_init(&f, "scripted/mine", ",\"stream\":true,\"retry_min_wait\":0,\"retry_multiplier\":0");
    f.context.scripts_dir = str_from(scripts_dir);
    expect_answer(&f);
    assert_str(f.answer.text, "first");
    assert_str(f.answer.reasoning, "why");
    assert_true(f.answer.usage.cost == 0.5);
    assert_true(str_is(buf_str(&f.deltas), "first"));
    f.request.turn = 1;
    expect_answer(&f);
    assert_int_equal(f.answer.call_count, 2);
    assert_str(f.answer.calls[0].arguments, "{\"command\":\"ls\"}");
    assert_str(f.answer.calls[1].arguments, "half {");
    assert_str(f.answer.calls[1].id, "mine");
    f.request.turn = 2;
    expect_answer(&f);
    assert_str(f.answer.text, "at last");
    assert_int_equal(f.retries, 2);
    f.request.turn = 3;
    assert_false(complete(&f));
    assert_string_equal(f.e->code, "LLMContextWindowExceedError");
    err_free(f.e);
    f.e = NULL;
    f.request.turn = 4;
    assert_false(complete(&f));
    assert_string_equal(f.e->code, "LLMBadRequestError");
    err_free(f.e);
    f.e = NULL;
    f.request.turn = 5;
    expect_answer(&f);
    assert_int_equal(f.answer.call_count, 0);
    assert_true(f.answer.text.n > 0);
    f.request.tool_count = 0;
    expect_answer(&f);
    assert_str(f.answer.text, "a title");
    fixture_deinit(&f);
    script_remove("mine");
}

static void test_script_delay_and_cancel(void **state)
{
    (void)state;
    script_write(
        "slow",
        "{\"text\":\"slow\",\"delay_ms\":30}\n{\"text\":\"never\",\"delay_ms\":3600000,\"repeat\":true}\n");
    struct fixture f;
    fixture_init(&f, "scripted/slow", "");
    f.context.scripts_dir = str_from(scripts_dir);
    expect_answer(&f);
    assert_true(f.answer.usage.seconds >= 0.03);
    f.request.turn = 9;
    mailbox_cancel(f.mailbox);
    assert_false(complete(&f));
    assert_int_equal(f.e->kind, ERR_CANCELLED);
    fixture_deinit(&f);
    script_remove("slow");
}

static void test_script_names(void **state)
{
    (void)state;
    static const char *const names[] = {"scripted/../etc/passwd", "scripted/.hidden", "scripted/a/b",
                                        "scripted/none"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct fixture f;
        fixture_init(&f, names[i], "");
        f.context.scripts_dir = str_from(scripts_dir);
        assert_false(complete(&f));
        assert_string_equal(f.e->code, i == 3 ? "NotFoundError" : "LLMBadRequestError");
        fixture_deinit(&f);
    }
}

/* The built-in scripts are well-formed to their ends, and each does what it is there for. */
static void test_builtin_scripts(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, "scripted/demo", "");
    for (f.request.turn = 0; f.request.turn < 5; f.request.turn++) {
        expect_answer(&f);
        assert_int_equal(f.answer.call_count, 1);
        assert_true(f.answer.text.n > 0);
        autojson arguments = json_parse(f.answer.calls[0].arguments, NULL, NULL);
        assert_int_equal(json_type(json_root(arguments)), JSON_OBJECT);
        assert_str(f.answer.calls[0].name, f.request.turn == 4 ? "finish" : "terminal");
    }
    fixture_deinit(&f);
    static const struct {
        const char *model, *tool;
    } endless[] = {{"scripted/think", "think"}, {"scripted/true", "terminal"}, {"scripted/finish", "finish"}};
    for (size_t i = 0; i < ARRAY_LEN(endless); i++) {
        fixture_init(&f, endless[i].model, "");
        expect_answer(&f);
        struct str first = f.answer.calls[0].arguments;
        f.request.turn = 100000;
        expect_answer(&f);
        assert_str(f.answer.calls[0].name, endless[i].tool);
        assert_true(i == 2 || !str_eq(first, f.answer.calls[0].arguments));
        fixture_deinit(&f);
    }
    fixture_init(&f, "scripted/text", "");
    expect_answer(&f);
    assert_int_equal(f.answer.call_count, 0);
    fixture_deinit(&f);
}

/* The demonstration's commands in a real shell: the check fails, is repaired, and passes. */
static void test_demo_commands(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, "scripted/demo", "");
    static const int status[] = {0, 1, 0, 0};
    for (f.request.turn = 0; f.request.turn < 4; f.request.turn++) {
        expect_answer(&f);
        autojson arguments = json_parse(f.answer.calls[0].arguments, NULL, NULL);
        autobuf script = {0};
        buf_addf(&script, "cd '%s' || exit 9\n", scripts_dir);
        buf_add(&script, json_get_str(json_root(arguments), "command"));
        autofree char *silent = str_dup(STR("exec >/dev/null 2>&1\n"));
        buf_insert(&script, 0, str_from(silent));
        char *argv[] = {"sh", "-c", script.p, NULL};
        pid_t pid;
        int ended;
        assert_int_equal(posix_spawnp(&pid, "sh", NULL, NULL, argv, environ), 0);
        assert_int_equal(waitpid(pid, &ended, 0), pid);
        assert_int_equal(WEXITSTATUS(ended), status[f.request.turn]);
    }
    fixture_deinit(&f);
    static const char *const files[] = {"primes.sh", "check.sh"};
    for (size_t i = 0; i < 2; i++) {
        autobuf path = {0};
        buf_addf(&path, "%s/%s", scripts_dir, files[i]);
        assert_int_equal(unlink(path.p), 0);
    }
}

static int setup(void **state)
{
    (void)state;
    clock_init();
    log_set_level(LOG_ERROR);
    model_server_start(&server, NULL);
    outward = outward_new();
    return mkdtemp(scripts_dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    outward_free(outward);
    model_server_stop(&server);
    return rmdir(scripts_dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_calls_usage),
        cmocka_unit_test(test_sloppy_calls),
        cmocka_unit_test(test_streams_without_usable_index),
        cmocka_unit_test(test_usable_all_the_same),
        cmocka_unit_test(test_huge_arguments),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_stream_failures),
        cmocka_unit_test(test_timeout_whole),
        cmocka_unit_test(test_retry_succeeds),
        cmocka_unit_test(test_no_answer_warms_up),
        cmocka_unit_test(test_refused_parameters),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_model_families),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_unusable_configurations),
        cmocka_unit_test(test_cost_by_price),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_script_file),
        cmocka_unit_test(test_script_delay_and_cancel),
        cmocka_unit_test(test_script_names),
        cmocka_unit_test(test_builtin_scripts),
        cmocka_unit_test(test_demo_commands),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
