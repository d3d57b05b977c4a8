#include "agent_fixture.h"

static char *written(struct event_draft *d)
{
    autobuf out = {0};
    struct uuid id = {{0x6d, 0x0c}};
    event_write(&out, d, buf_str(&d->body), &id, 1700000000123456,
                STR("0f3a0000-0000-4000-8000-000000000000"));
    event_draft_deinit(d);
    return (char *)buf_take(&out).p;
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 1; i < EVENT_KINDS; i++)
        assert_int_equal(event_kind_parse(S(event_kind_name((enum event_kind)i))), i);
    assert_int_equal(event_kind_parse(STR("openhands.sdk.event.llm_convertible.action.ActionEvent")),
                     EVENT_ACTION);
    assert_int_equal(event_kind_parse(STR("openhands.sdk.event.condenser.Condensation")), EVENT_CONDENSATION);
    assert_int_equal(event_kind_parse(STR("openhands.agent_server.models.ServerErrorEvent")),
                     EVENT_SERVER_ERROR);
    assert_int_equal(event_kind_parse(STR("Nope")), 0);
    assert_int_equal(event_kind_parse(STR("wrong.module.ActionEvent")), 0);
    assert_int_equal(event_kind_parse(STR_NONE), 0);
    assert_int_equal(status_parse(S(status_name(STATUS_STUCK))), STATUS_STUCK);
    assert_int_equal(status_parse(STR("asleep")), 0);
    assert_int_equal(event_source_parse(STR("hook")), SOURCE_HOOK);
    assert_null(event_source_name((enum event_source)9));
}

static void test_order_of_keys(void **state)
{
    (void)state;
    struct event_draft d;
    event_draft_init(&d, EVENT_MESSAGE, SOURCE_USER);
    event_message_body(&d, "user", STR("hi \"there\""));
    autofree char *text = written(&d);
    assert_has(text, "{\"id\":\"6d0c0000-0000-0000-0000-000000000000\",\"timestamp\":\"2023-");
    assert_has(
        text,
        ".123456\",\"source\":\"user\",\"parent_id\":\"0f3a0000-0000-4000-8000-000000000000\",\"llm_message\":{"
        "\"role\":\"user\",\"content\":[{\"cache_prompt\":false,\"type\":\"text\",\"text\":\"hi \\\"there\\\"\"}],"
        "\"thinking_blocks\":[]},\"activated_skills\":[],\"extended_content\":[],\"kind\":\"MessageEvent\"}");
    event_draft_init(&d, EVENT_PAUSE, SOURCE_USER);
    autofree char *pause = written(&d);
    assert_has(pause, "\"parent_id\":\"0f3a0000-0000-4000-8000-000000000000\",\"kind\":\"PauseEvent\"}");
}

static void test_state_update_is_on_no_branch(void **state)
{
    (void)state;
    struct event_draft d;
    event_draft_init(&d, EVENT_STATE_UPDATE, SOURCE_ENVIRONMENT);
    event_state_update_body(&d, "execution_status", STR("\"running\""));
    assert_false(d.on_branch);
    autofree char *text = written(&d);
    assert_has(
        text,
        "\"key\":\"execution_status\",\"value\":\"running\",\"kind\":\"ConversationStateUpdateEvent\"}");
}

static void test_rejection(void **state)
{
    (void)state;
    struct event_draft d;
    struct uuid action = {{0xaa}};
    event_draft_init(&d, EVENT_USER_REJECT, SOURCE_ENVIRONMENT);
    event_reject_body(&d, STR("terminal"), STR("call_1"), &action, STR_NONE, "user");
    autofree char *text = written(&d);
    assert_has(
        text,
        "\"tool_name\":\"terminal\",\"tool_call_id\":\"call_1\",\"rejection_reason\":\"User rejected the action\","
        "\"rejection_source\":\"user\",\"action_id\":\"aa000000-0000-0000-0000-000000000000\",\"kind\":");
}

static void check_class(const char *code, const char *detail, const char *expected)
{
    struct event_draft d;
    event_draft_init(&d, EVENT_CONVERSATION_ERROR, SOURCE_ENVIRONMENT);
    event_error_body(&d, code, S(detail));
    autofree char *text = written(&d);
    assert_has(text, expected);
}

static void test_classification(void **state)
{
    (void)state;
    check_class("LLMAuthenticationError", "x",
                "{\"kind\":\"auth\",\"retryable\":false,\"user_action\":\"settings\"}");
    check_class("LLMRateLimitError", "x",
                "{\"kind\":\"rate_limit\",\"retryable\":true,\"user_action\":\"retry\"}");
    check_class("LLMBadRequestError", "rate limit", "{\"kind\":\"config\",");
    check_class("ACPAuthRequired", "x", "{\"kind\":\"auth\",");
    check_class("ACPTransportError", "x", "{\"kind\":\"config\",");
    check_class(
        "MaxIterationsReached", "x",
        "\"classification\":{\"kind\":\"agent_action\",\"retryable\":false,\"user_action\":\"none\"}");
    check_class("LLMContextWindowExceedError", "x",
                "{\"kind\":\"agent_action\",\"retryable\":true,\"user_action\":\"retry\"}");
    check_class("KeyError", "x", "{\"kind\":\"internal\",");
    check_class("RuntimeError", "You Exceeded Your Current QUOTA", "{\"kind\":\"quota\",");
    check_class("LLMServiceUnavailableError", "x", "{\"kind\":\"transient\",\"retryable\":true");
    check_class("Whatever", "x", "{\"kind\":\"unknown\",\"retryable\":false,\"user_action\":\"none\"}");
}

static void check_reduced(struct event_draft *d)
{
    autobuf whole = {0};
    autoerr e = NULL;
    assert_true(d->reduced.n > 0 && d->reduced.n < EVENT_SOCKET_MAX - 500);
    buf_addf(&whole, "{%.*s}", STR_ARG(buf_str(&d->reduced)));
    autojson doc = json_parse(buf_str(&whole), NULL, &e);
    if (!doc)
        fail_msg("%s", err_text(e));
    event_draft_deinit(d);
}

static void test_reduced(void **state)
{
    (void)state;
    struct event_draft d;
    autobuf text = {0};
    while (text.n < 5 * 1000 * 1000)
        buf_add(&text, STR("äöü\x01\n\"quoted\" "));
    event_draft_init(&d, EVENT_MESSAGE, SOURCE_USER);
    event_message_body(&d, "user", buf_str(&text));
    check_reduced(&d);

    event_draft_init(&d, EVENT_AGENT_ERROR, SOURCE_AGENT);
    event_agent_error_body(&d, STR("terminal"), STR("call"), buf_str(&text), "internal");
    check_reduced(&d);

    event_draft_init(&d, EVENT_MESSAGE, SOURCE_USER);
    event_message_body(&d, "user", str_sub(buf_str(&text), 0, 1000));
    assert_int_equal(d.reduced.n, 0);
    event_draft_deinit(&d);
}

/* What has no long strings: lists of numbers, objects of many members, objects within objects, long names. */
static void test_reduced_lists(void **state)
{
    (void)state;
    autobuf list = {0}, members = {0}, nested = {0}, names = {0}, name = {0};
    struct buf *const values[] = {&list, &members, &nested, &names};
    for (int i = 0; i < 300000; i++) {
        buf_addf(&list, "%s%d", i ? "," : "[", i);
        buf_addf(&members, "%s\"key%d\":\"value\"", i ? "," : "{", i);
    }
    for (int i = 0; i < 60 * 60 * 60; i++) {
        if (i % 60 == 0)
            buf_addf(&nested, "%s\"b%d\":{", i ? "}," : "{", i);
        buf_addf(&nested, "%s\"%d\":\"abcdefgh\"", i % 60 ? "," : "", i);
    }
    while (name.n < 1000000)
        buf_add(&name, STR("name"));
    buf_addf(&names, "{\"%s\":1,\"b\":2", name.p);
    buf_add(&list, STR("]"));
    buf_add(&members, STR("}"));
    buf_add(&nested, STR("}}"));
    buf_add(&names, STR("}"));
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct event_draft d;
        event_draft_init(&d, EVENT_ACTION, SOURCE_AGENT);
        buf_addf(&d.body, "\"action\":{\"data\":%s,\"kind\":\"MCPToolAction\"},\"tool_name\":\"tool\"",
                 values[i]->p);
        event_draft_reduce(&d);
        assert_non_null(strstr(d.reduced.p, "\"kind\":\"MCPToolAction\"},\"tool_name\":\"tool\""));
        check_reduced(&d);
    }
}

static void test_cut_middle(void **state)
{
    (void)state;
    autobuf out = {0};
    assert_false(text_cut_middle(STR("äöü"), 3, STR("…"), &out));
    assert_string_equal(out.p, "äöü");
    buf_clear(&out);
    assert_true(text_cut_middle(STR("äbcdefgü"), 6, STR("<…>"), &out));
    assert_string_equal(out.p, "äb<…>ü");
}

int main(void)
{
    clock_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_order_of_keys),
        cmocka_unit_test(test_state_update_is_on_no_branch),
        cmocka_unit_test(test_rejection),
        cmocka_unit_test(test_classification),
        cmocka_unit_test(test_reduced),
        cmocka_unit_test(test_reduced_lists),
        cmocka_unit_test(test_cut_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
