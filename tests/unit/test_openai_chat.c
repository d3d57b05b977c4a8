/* openai_chat: what is made of every kind of answer, whole and streamed, and what failures are called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "llm_fixture.h"

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

static void test_absurd_usage(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        fixture_init(&f, "openai/local", forms[i]);
        model_server_script(
            &server,
            "[{\"text\":\"x\",\"usage\":{\"prompt_tokens\":9223372036854775807,\"completion_tokens\":-5,"
            "\"prompt_tokens_details\":{\"cached_tokens\":9223372036854775807}}}]");
        expect_answer(&f);
        assert_int_equal(f.answer.usage.prompt_tokens, LLM_TOKENS_MAX);
        assert_int_equal(f.answer.usage.cache_read_tokens, LLM_TOKENS_MAX);
        assert_int_equal(f.answer.usage.completion_tokens, 0);
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

/* What a server repeats of what it was sent, and addresses that hold a key, do not reach the log. */
static void test_failures_hide_secrets(void **state)
{
    (void)state;
    struct fixture f;
    struct llm_failure failure;
    fixture_init(
        &f, "openai/gpt-x",
        ",\"extra_headers\":{\"X-Team\":\"team-secret\",\"X-Other\":"
        "\"team-secret-longer\",\"Proxy-Authorization\":\"Basic dXNlcjpwYXNz\",\"X-Short\":\"blue\"}");
    llm_fail_status(f.llm, 400, STR_NONE,
                    STR("got team-secret, team-secret-longer, sk-secret-key, dXNlcjpwYXNz and blue"),
                    &failure, &f.e);
    assert_non_null(strstr(f.e->text, "got **********, **********, **********, ********** and blue"));
    err_free(f.e);
    f.e = NULL;
    llm_fail_status(f.llm, 307, STR("Location: http://elsewhere.example/login?token=abc123\r\n"), STR_NONE,
                    &failure, &f.e);
    assert_non_null(strstr(f.e->text, "http://elsewhere.example/login?…"));
    assert_null(strstr(f.e->text, "abc123"));
    fixture_deinit(&f);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_calls_usage),
        cmocka_unit_test(test_absurd_usage),
        cmocka_unit_test(test_sloppy_calls),
        cmocka_unit_test(test_streams_without_usable_index),
        cmocka_unit_test(test_usable_all_the_same),
        cmocka_unit_test(test_huge_arguments),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_stream_failures),
        cmocka_unit_test(test_failures_hide_secrets),
        cmocka_unit_test(test_timeout_whole),
    };
    return cmocka_run_group_tests(tests, servers_start, servers_stop);
}
