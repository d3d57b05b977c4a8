#include "agent_fixture.h"

#define THINK(id) "{\"name\":\"think\",\"id\":\"" id "\",\"arguments\":{\"thought\":\"" id "\"}}"
#define FINISH "{\"name\":\"finish\",\"id\":\"f\",\"arguments\":{\"message\":\"all done\"}}"

static void test_a_step_is_two_commits(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f);
    fake_script(&f, "[]",
                "{\"text\":\"let me see\",\"reasoning\":\"hm\",\"calls\":[" THINK("a") "," THINK(
                    "b") "]}\n"
                         "{\"calls\":[" FINISH "]}\n");
    fake_user(&f, "go");
    assert_int_equal(fake_step(&f), STEP_CONTINUE);
    assert_kinds(&f, "MessageEvent ActionEvent ActionEvent ObservationEvent ObservationEvent");
    assert_int_equal(f.log.at[1].append, f.log.at[2].append);
    assert_int_equal(f.log.at[3].append, f.log.at[2].append + 1);
    assert_int_equal(f.log.at[4].append, f.log.at[3].append);
    assert_int_equal(f.usages, 1);
    const char *first = f.log.at[1].json, *second = f.log.at[2].json;
    assert_has(
        first,
        "\"source\":\"agent\",\"thought\":[{\"cache_prompt\":false,\"type\":\"text\",\"text\":\"let me see\"}],"
        "\"reasoning_content\":\"hm\",\"thinking_blocks\":[],\"action\":{\"thought\":\"a\",\"kind\":\"ThinkAction\"},"
        "\"tool_name\":\"think\",\"tool_call_id\":\"a\",\"tool_call\":{\"id\":\"a\",\"name\":\"think\",\"arguments\":"
        "\"{\\\"thought\\\": \\\"a\\\"}\",\"origin\":\"completion\"},\"llm_response_id\":\"");
    assert_has(first, "\"security_risk\":\"UNKNOWN\",\"summary\":\"think: {");
    assert_has(second, "\"thought\":[],\"thinking_blocks\":[],\"action\":{\"thought\":\"b\"");
    assert_has(f.log.at[3].json,
               "\"source\":\"environment\",\"tool_name\":\"think\",\"tool_call_id\":\"a\",\"observation\":{"
               "\"content\":[{\"cache_prompt\":false,\"type\":\"text\",\"text\":\"");
    assert_has(f.log.at[3].json, "}],\"is_error\":false,\"kind\":\"ThinkObservation\"},\"action_id\":\"");
    assert_has(f.log.at[3].json, "\"extended_content\":[],\"kind\":\"ObservationEvent\"}");
    assert_int_equal(fake_step(&f), STEP_FINISHED);
    assert_int_equal(f.status, STATUS_FINISHED);
    assert_has(last_json(&f), "\"text\":\"all done\"");
    fake_deinit(&f);
}

static void test_text_finishes(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f);
    fake_script(&f, "[]", "{\"text\":\" hello there \",\"reasoning\":\"hm\"}\n");
    fake_user(&f, "hi");
    unsigned before = f.appends;
    assert_int_equal(fake_step(&f), STEP_FINISHED);
    assert_int_equal(f.appends, before + 1);
    assert_int_equal(f.status, STATUS_FINISHED);
    assert_kinds(&f, "MessageEvent MessageEvent");
    assert_has(
        last_json(&f),
        "\"source\":\"agent\",\"llm_message\":{\"role\":\"assistant\",\"content\":[{\"cache_prompt\":false,"
        "\"type\":\"text\",\"text\":\"hello there\"}],\"reasoning_content\":\"hm\",\"thinking_blocks\":[]},"
        "\"llm_response_id\":\"");
    fake_deinit(&f);
}

static void test_empty_answer(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f);
    fake_script(&f, "[]", "{\"text\":\" \\n\",\"reasoning\":\"only thinking\"}\n{\"text\":\"ok\"}\n");
    fake_user(&f, "hi");
    assert_int_equal(fake_step(&f), STEP_CONTINUE);
    assert_kinds(&f, "MessageEvent MessageEvent MessageEvent");
    assert_has(f.log.at[1].json, "\"content\":[],\"reasoning_content\":\"only thinking\"");
    assert_has(f.log.at[2].json, "\"source\":\"environment\",\"llm_message\":{\"role\":\"user\"");
    assert_int_equal(fake_step(&f), STEP_FINISHED);
    fake_deinit(&f);
}

static void test_bad_calls(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f);
    fake_script(&f, "[]",
                "{\"calls\":[{\"name\":\"fly<x>\",\"id\":\"1\",\"arguments\":{\"to\":\"moon\"}}," THINK(
                    "2") ","
                         "{\"name\":\"think\",\"id\":\"3\",\"arguments\":\"{\\\"thought\\\": \"}]}\n"
                         "{\"calls\":[{\"name\":\"think\",\"id\":\"4\",\"arguments\":{\"idea\":1}}]}\n"
                         "{\"text\":\"done\"}\n");
    fake_user(&f, "hi");
    assert_int_equal(fake_step(&f), STEP_CONTINUE);
    assert_kinds(
        &f,
        "MessageEvent ActionEvent ActionEvent ActionEvent AgentErrorEvent AgentErrorEvent ObservationEvent");
    assert_lacks(f.log.at[1].json, "\"action\":");
    assert_has(f.log.at[1].json, "\"tool_name\":\"fly\"");
    assert_has(
        f.log.at[4].json,
        "\"source\":\"agent\",\"tool_name\":\"fly\",\"tool_call_id\":\"1\",\"error\":\"Tool 'fly<x>' not "
        "found. The tools are: finish, think.\",\"classification\":{\"kind\":\"agent_action\","
        "\"retryable\":true,\"user_action\":\"retry\"},\"kind\":\"AgentErrorEvent\"}");
    assert_has(f.log.at[5].json, "Error validating tool 'think': the arguments are not valid JSON");
    assert_int_equal(fake_step(&f), STEP_CONTINUE);
    assert_has(last_json(&f), "Parameters given: idea.");
    assert_int_equal(view_open(f.view), 0);
    assert_int_equal(fake_step(&f), STEP_FINISHED);
    fake_deinit(&f);
}

static void test_calls_behind_finish(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f);
    fake_script(&f, "[]", "{\"calls\":[" THINK("a") "," FINISH "," THINK("b") "]}\n");
    fake_user(&f, "hi");
    assert_int_equal(fake_step(&f), STEP_FINISHED);
    assert_kinds(
        &f,
        "MessageEvent ActionEvent ActionEvent ActionEvent ObservationEvent ObservationEvent AgentErrorEvent");
    assert_has(last_json(&f), "not executed");
    assert_int_equal(f.log.at[4].append, f.log.at[6].append);
    assert_int_equal(view_open(f.view), 0);
    fake_deinit(&f);
}

static void test_repeated_call_ids(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f);
    fake_script(&f, "[]", "{\"calls\":[" THINK("x") "," THINK("x") "]}\n{\"calls\":[" THINK("x") "]}\n");
    fake_user(&f, "hi");
    fake_step(&f);
    fake_step(&f);
    assert_has(f.log.at[1].json, "\"tool_call_id\":\"x\"");
    assert_has(f.log.at[2].json, "\"tool_call_id\":\"call_");
    assert_has(f.log.at[5].json, "\"tool_call_id\":\"call_");
    assert_int_equal(view_open(f.view), 0);
    fake_deinit(&f);
}

static void test_confirmation(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f);
    fake_script(&f, "[]",
                "{\"calls\":[" THINK("a") "," THINK("b") "]}\n{\"calls\":[" THINK(
                    "c") "]}\n{\"calls\":[" FINISH "]}\n");
    f.host.policy.kind = POLICY_ALWAYS;
    fake_user(&f, "hi");
    assert_int_equal(fake_step(&f), STEP_WAITING);
    assert_int_equal(f.status, STATUS_WAITING_FOR_CONFIRMATION);
    assert_kinds(&f, "MessageEvent ActionEvent ActionEvent");
    assert_int_equal(view_open(f.view), 2);
    assert_int_equal(fake_step(&f),
                     STEP_CONTINUE); /* the caller has accepted: what is open is run, no model is asked */
    assert_int_equal(f.usages, 1);
    assert_kinds(&f, "MessageEvent ActionEvent ActionEvent ObservationEvent ObservationEvent");
    assert_int_equal(fake_step(&f), STEP_CONTINUE); /* one think alone never asks */
    assert_int_equal(fake_step(&f), STEP_FINISHED);
    fake_deinit(&f);
}

static void test_policies(void **state)
{
    (void)state;
    autoarena arena = arena_new();
    struct json_problems problems = {.arena = arena};
    autojson doc = json_parse(
        STR("[{\"kind\":\"ConfirmRisky\",\"threshold\":\"MEDIUM\",\"confirm_unknown\":false},"
            "{\"kind\":\"NeverConfirm\"},{\"kind\":\"Perhaps\"},3,{\"kind\":\"ConfirmRisky\",\"threshold\":"
            "\"SOME\"}]"),
        NULL, NULL);
    struct policy p[5];
    bool ok[5];
    for (struct json_iter it = json_iter(json_root(doc)); json_next(&it);)
        ok[it.index] = policy_decode(it.value, "body", &p[it.index], &problems);
    assert_true(ok[0] && ok[1] && !ok[2] && !ok[3] && !ok[4]);
    assert_int_equal(problems.count, 3);
    assert_true(policy_asks(&p[0], RISK_MEDIUM) && policy_asks(&p[0], RISK_HIGH));
    assert_false(policy_asks(&p[0], RISK_LOW) || policy_asks(&p[0], RISK_UNKNOWN) ||
                 policy_asks(&p[1], RISK_HIGH));
    autobuf out = {0};
    struct json_writer w = json_writer(&out);
    policy_write(&p[0], &w);
    assert_string_equal(out.p,
                        "{\"threshold\":\"MEDIUM\",\"confirm_unknown\":false,\"kind\":\"ConfirmRisky\"}");
}

static void test_interrupt(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f);
    autoerr e = NULL;
    enum step outcome;
    fake_script(&f, "[]", "{\"calls\":[" THINK("a") "," THINK("b") "]}\n");
    f.host.policy.kind = POLICY_ALWAYS;
    fake_user(&f, "hi");
    fake_step(&f);
    mailbox_cancel(f.host.mailbox);
    assert_false(agent_step(f.agent, f.view, &f.host, &outcome, &e));
    assert_int_equal(e->kind, ERR_CANCELLED);
    assert_int_equal(view_open(f.view), 2); /* the caller answers them */
    fake_deinit(&f);
}

static void test_masked(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f);
    fake_secret(&f, "TOKEN", "s3cret-value");
    fake_script(&f, "[]", "{\"text\":\"it is s3cret-value, you know\"}\n");
    fake_user(&f, "hi");
    fake_step(&f);
    assert_has(last_json(&f), "it is <secret-hidden>, you know");
    assert_lacks(last_json(&f), "s3cret");
    assert_string_equal(f.deltas.p, "it is <secret-hidden>, you know");
    fake_deinit(&f);
}

/* Names, summaries and what a provider says are masked before they are cut, logged and stored. */
static void test_masked_before_cut(void **state)
{
    (void)state;
    struct fake f;
    autobuf line = {0};
    fake_init(&f);
    fake_secret(&f, "TOKEN", "s3cret-value");
    buf_addf(
        &line,
        "{\"calls\":[{\"name\":\"%095ds3cret-value\",\"arguments\":{}},{\"name\":\"s3cret-value\","
        "\"arguments\":{}},{\"name\":\"think\",\"arguments\":{\"thought\":\"x\",\"%060ds3cret-value\":1}},"
        "{\"name\":\"think\",\"arguments\":{\"thought\":\"x\",\"summary\":\"%01995ds3cret-value\"}}]}\n",
        0, 0, 0);
    fake_script(&f, "[]", line.p);
    fake_user(&f, "hi");
    fake_step(&f);
    for (size_t i = 0; i < f.log.n; i++) {
        const char *json = f.log.at[i].json;
        if (f.log.at[i].kind == EVENT_AGENT_ERROR)
            assert_lacks(json, "s3c");
        if (f.log.at[i].kind != EVENT_ACTION)
            continue;
        assert_lacks(strstr(json, "\"tool_name\""), "\"tool_name\":\"s3c");
        if (strstr(json, "\"summary\""))
            assert_lacks(strstr(json, "\"security_risk\""), "s3c");
    }
    fake_deinit(&f);

    autoerr e = NULL;
    enum step outcome;
    fake_init(&f);
    fake_secret(&f, "TOKEN", "s3cret-value");
    fake_script(&f, "[]", "{\"error\":{\"status\":401,\"message\":\"bad key s3cret-value\"}}\n");
    fake_user(&f, "hi");
    assert_false(agent_step(f.agent, f.view, &f.host, &outcome, &e));
    assert_string_equal(e->code, "LLMAuthenticationError");
    assert_has(e->text, "<secret-hidden>");
    assert_lacks(e->text, "s3cret-value");
    fake_deinit(&f);
}

static void test_failures(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f);
    autoerr e = NULL;
    enum step outcome;
    fake_script(&f, "[]", "{\"error\":{\"status\":401,\"message\":\"bad key\"}}\n");
    fake_user(&f, "hi");
    assert_false(agent_step(f.agent, f.view, &f.host, &outcome, &e));
    assert_string_equal(e->code, "LLMAuthenticationError");
    assert_kinds(&f, "MessageEvent");
    fake_deinit(&f);

    fake_init(&f);
    fake_script(
        &f, "[]",
        "{\"error\":{\"status\":400,\"code\":\"content_filter\",\"message\":\"content_filter: blocked by content "
        "management policy\"}}\n");
    fake_user(&f, "hi");
    assert_int_equal(fake_step(&f), STEP_CONTINUE);
    assert_kinds(&f, "MessageEvent MessageEvent");
    assert_has(last_json(&f), "\"source\":\"user\",\"llm_message\":{\"role\":\"user\"");
    assert_has(last_json(&f), "content filter");
    fake_deinit(&f);
}

static struct agent *configured(const char *json, struct err **e)
{
    autojson doc = json_parse(S(json), NULL, e);
    return agent_new(json_root(doc), NULL, e);
}

static void test_configuration(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[]",
        "{}",
        "{\"llm\":3}",
        "{\"kind\":\"ACPAgent\",\"llm\":{\"model\":\"scripted/x\"}}",
        "{\"llm\":{\"model\":\"scripted/x\"},\"tools\":7}",
        "{\"llm\":{\"model\":\"scripted/x\"},\"tools\":[{}]}",
        "{\"llm\":{\"model\":\"scripted/x\"},\"system_prompt\":[]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        autoerr e = NULL;
        assert_null(configured(bad[i], &e));
        assert_has(err_text(e), "agent");
    }
    autoerr e = NULL;
    struct agent *a = configured(
        "{\"llm\":{\"model\":\"scripted/x\"},\"tools\":{\"name\":\"BashTool\",\"params\":{}},"
        "\"security_analyzer\":{\"kind\":\"LLMSecurityAnalyzer\"},\"mcp_config\":{\"mcpServers\":{}}}",
        &e);
    assert_non_null(a);
    assert_true(agent_check(a, &e));
    struct agent_host host = {0};
    autoarena arena = arena_new();
    assert_int_equal(step_tools(a, &host, arena)->n, 3);
    agent_unref(a);
    a = configured(
        "{\"llm\":{\"model\":\"scripted/x\"},\"tools\":[{\"name\":\"teleport\"}],\"include_default_tools\":[]}",
        &e);
    assert_false(agent_check(a, &e));
    assert_has(err_text(e), "teleport");
    assert_string_equal(e->code, "KeyError");
    agent_unref(a);
}

static void test_system_prompt(void **state)
{
    (void)state;
    autoerr e = NULL;
    struct event_draft d;
    struct mask *secrets = mask_new(&STR("GITHUB_TOKEN"), &STR("s3cret-value"), 1);
    struct agent *a = configured(
        "{\"llm\":{\"model\":\"scripted/x\"},\"tools\":[{\"name\":\"terminal\"}],\"agent_context\":{"
        "\"system_message_suffix\":\"Say yay.\"}}",
        &e);
    agent_system_prompt(a, STR("/work space"), secrets, false, &d);
    buf_add_char(&d.body, '\0');
    assert_has(d.body.p, "\"system_prompt\":{\"cache_prompt\":false,\"type\":\"text\",\"text\":\"<ROLE>");
    assert_has(
        d.body.p,
        "\"action_type\":\"TerminalAction\",\"observation_type\":\"TerminalObservation\",\"annotations\":{\"title\":"
        "\"terminal\",\"readOnlyHint\":false,\"destructiveHint\":true,\"idempotentHint\":false,\"openWorldHint\":"
        "true},\"kind\":\"TerminalTool\",\"title\":\"terminal\"}");
    assert_has(d.body.p, "The working directory is /work space");
    assert_has(d.body.p, "Say yay.");
    assert_has(d.body.p, "$GITHUB_TOKEN");
    assert_lacks(d.body.p, "s3cret");
    assert_lacks(d.body.p, "SECURITY_RISK_ASSESSMENT");
    assert_has(d.body.p, "<CURRENT_DATETIME>");
    event_draft_deinit(&d);
    agent_system_prompt(a, STR("/w"), NULL, true, &d);
    assert_has(d.body.p, "SECURITY_RISK_ASSESSMENT");
    event_draft_deinit(&d);
    agent_unref(a);

    a = configured(
        "{\"llm\":{\"model\":\"scripted/x\"},\"system_prompt\":\"You are a cat.\",\"agent_context\":{"
        "\"current_datetime\":\"2026-08-22T16:34\"}}",
        &e);
    agent_system_prompt(a, STR("/w"), NULL, true, &d);
    assert_has(d.body.p, "\"text\":\"You are a cat.\"}");
    assert_has(d.body.p, "\\n2026-08-22T16:34\\n");
    event_draft_deinit(&d);
    agent_unref(a);
    mask_unref(secrets);
}

static void test_image_without_vision(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f);
    autojson doc =
        json_parse(STR("{\"llm\":{\"model\":\"scripted/x\",\"disable_vision\":true}}"), NULL, NULL);
    f.agent = agent_new(json_root(doc), NULL, NULL);
    struct event_draft d;
    event_draft_init(&d, EVENT_MESSAGE, SOURCE_USER);
    buf_add(
        &d.body,
        STR("\"llm_message\":{\"role\":\"user\",\"content\":[{\"cache_prompt\":false,\"type\":\"image\",\"image_urls\":["
            "\"data:image/png;base64,AAAA\"]}],\"thinking_blocks\":[]}"));
    fake_event(&f, &d);
    event_draft_deinit(&d);
    if (llm_vision(agent_llm(f.agent))) {
        fake_deinit(&f);
        skip();
    }
    assert_int_equal(fake_step(&f), STEP_FINISHED);
    assert_has(last_json(&f), "cannot see images");
    fake_deinit(&f);
}

/* 10 MB of arguments: the model is told, and what sockets get stays small. */
static void test_enormous(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f);
    autobuf text = {0}, line = {0};
    memset(buf_reserve(&text, 4 << 20), 'x', 4 << 20);
    text.n = 4 << 20;
    struct llm_call calls[2] = {{STR("a"), STR("think"), STR_NONE}, {STR("b"), STR("think"), STR_NONE}};
    autobuf fits = {0}, huge = {0};
    buf_addf(&fits, "{\"thought\": \"%.*s\"}", STR_ARG(buf_str(&text)));
    buf_addf(&huge, "{\"thought\": \"%.*s%.*s%.*s\"}", STR_ARG(buf_str(&text)), STR_ARG(buf_str(&text)),
             STR_ARG(buf_str(&text)));
    calls[0].arguments = buf_str(&fits);
    calls[1].arguments = buf_str(&huge);
    fake_script(&f, "[]", "");
    fake_user(&f, "hi");
    struct llm_answer answer = {.calls = calls, .call_count = 2, .id = STR("r")};
    autoarena arena = arena_new();
    enum step outcome;
    bool run;
    autoerr e = NULL;
    const struct tool_set *tools = step_tools(f.agent, &f.host, arena);
    assert_true(answer_append(f.agent, tools, f.view, &f.host, &answer, arena, &outcome, &run, &e));
    assert_true(run);
    assert_kinds(&f, "MessageEvent ActionEvent ActionEvent AgentErrorEvent");
    assert_true(f.log.at[1].reduced_n > 0 && f.log.at[1].reduced_n < EVENT_SOCKET_MAX);
    assert_true(strlen(f.log.at[2].json) < 20000);
    assert_has(last_json(&f), "smaller calls");
    assert_int_equal(view_open(f.view), 1);
    fake_deinit(&f);
}

int main(void)
{
    clock_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_step_is_two_commits),
        cmocka_unit_test(test_text_finishes),
        cmocka_unit_test(test_empty_answer),
        cmocka_unit_test(test_bad_calls),
        cmocka_unit_test(test_calls_behind_finish),
        cmocka_unit_test(test_repeated_call_ids),
        cmocka_unit_test(test_confirmation),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_masked),
        cmocka_unit_test(test_masked_before_cut),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_configuration),
        cmocka_unit_test(test_system_prompt),
        cmocka_unit_test(test_image_without_vision),
        cmocka_unit_test(test_enormous),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
