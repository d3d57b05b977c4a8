/* llm: attempts, cancel, what is sent where, and calls without a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/thread.h"
#include "llm_fixture.h"

static const char *env_value(const char *name)
{
    static const char *const values[][2] = {{"OPENAI_BASE_URL", "http://127.0.0.1:9/v1"},
                                            {"OPENAI_API_KEY", "sk-env"}};
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (strcmp(values[i][0], name) == 0)
            return values[i][1];
    return NULL;
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

/* A client names the address: the operator's key goes to none but the operator's and the service's own. */
static void test_environment_key_stays_home(void **state)
{
    (void)state;
    static const struct {
        const char *base, *key;
    } cases[] = {
        {"http://127.0.0.1:9", "sk-env"},
        {"HTTP://127.0.0.1:9/v2?x=1", "sk-env"},
        {"https://API.openai.com:443/v1", "sk-env"},
        {"http://127.0.0.1:99/v1", NULL},
        {"https://127.0.0.1:9/v1", NULL},
        {"http://127.0.0.1:9@other.example/v1", NULL},
        {"http://127.0.0.1:9\\\\@other.example/v1", NULL},
        {"https://api.openai.com.other.example/v1", NULL},
        {"https://api.openai.com@other.example/v1", NULL},
        {"http://api.openai.com/v1", NULL},
        {"https://other.example/https://api.openai.com", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autobuf config = {0};
        buf_addf(&config, "{\"model\":\"gpt-4o\",\"base_url\":\"%s\"}", cases[i].base);
        struct llm *l = llm_make(config.p, env_value);
        if (!str_eq(l->api_key, str_from(cases[i].key)))
            fail_msg("%s gets the key \"%.*s\"", cases[i].base, STR_ARG(l->api_key));
        llm_unref(l);
    }
}

/* Without a key nothing is sent as one, and a server that wants one is understood. */
static void test_no_key(void **state)
{
    (void)state;
    struct fixture f;
    autobuf config = {0};
    fixture_init(&f, "m", "");
    llm_unref(f.llm);
    buf_addf(&config, "{\"model\":\"gpt-4o\",\"base_url\":\"%s\",\"num_retries\":1}", server.base);
    f.llm = llm_make(config.p, env_value);
    model_server_script(&server, "[{\"text\":\"local\"},{\"status\":401,\"error\":\"who are you\"}]");
    expect_answer(&f);
    autojson seen = model_server_requests(&server, 1, 0);
    assert_null(json_get(json_get(json_at(json_root(seen), 0), "headers"), "authorization"));
    assert_false(complete(&f));
    assert_string_equal(f.e->code, "LLMAuthenticationError");
    assert_non_null(strstr(f.e->text, "set api_key"));
    fixture_deinit(&f);
}

static void test_numbers_are_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *given;
        int64_t top_k;
    } cases[] = {{"40", 40}, {"40.0", 40}, {"-1", -1}, {"1e300", LLM_TOP_K_MAX}, {"-1e300", LLM_TOP_K_MIN}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        autobuf config = {0};
        buf_addf(&config, "{\"model\":\"m\",\"top_k\":%s}", cases[i].given);
        struct llm *l = llm_make(config.p, NULL);
        assert_int_equal(l->top_k, cases[i].top_k);
        llm_unref(l);
    }
}

/* Every piece repeats the name and ends like a whole object: reading the arguments again for each would take hours. */
static void test_pieces_cost_what_they_bring(void **state)
{
    (void)state;
    enum { PIECES = 100000, PIECE = 70 };
    struct llm_draft d = {0};
    autobuf piece = {0};
    for (int i = 0; i < PIECE; i++)
        buf_add_char(&piece, '}');
    llm_draft_call_add(&d, 0, STR_NONE, STR("one"), STR("{\"a\":\"\\\""));
    for (int i = 0; i < PIECES; i++)
        llm_draft_call_add(&d, 0, STR_NONE, STR("one"), buf_str(&piece));
    assert_int_equal(d.calls.n, 1);
    llm_draft_call_add(&d, 0, STR_NONE, STR("one"), STR("\"}"));
    llm_draft_call_add(&d, 0, STR_NONE, STR("two"), STR("{}"));
    assert_int_equal(d.calls.n, 2);
    assert_int_equal(d.calls.at[0].arguments.n, 8 + PIECES * PIECE + 2);
    llm_draft_deinit(&d);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry_succeeds),
        cmocka_unit_test(test_no_answer_warms_up),
        cmocka_unit_test(test_refused_parameters),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_model_families),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_environment_key_stays_home),
        cmocka_unit_test(test_no_key),
        cmocka_unit_test(test_numbers_are_bounded),
        cmocka_unit_test(test_pieces_cost_what_they_bring),
        cmocka_unit_test(test_unusable_configurations),
        cmocka_unit_test(test_cost_by_price),
        cmocka_unit_test(test_start),
    };
    return cmocka_run_group_tests(tests, servers_start, servers_stop);
}
