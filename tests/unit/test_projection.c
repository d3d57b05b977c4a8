/* What stored events are in the 0.53 dialect: the table of docs/legacy-events.md, row by row. */
#include "api/legacy/projection.h"
#include "base/cleanup.h"
#include "json/json.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define SEQ 10
#define HEAD "{\"id\":\"aa\",\"timestamp\":\"2026-08-22T16:34:56.200000\","
#define ACTION(tool, action)                                                                                 \
    HEAD "\"source\":\"agent\",\"thought\":[{\"type\":\"text\",\"text\":\"T\"}],\"action\":" action          \
         ",\"tool_name\":\"" tool "\",\"tool_call_id\":\"c1\",\"tool_call\":{\"id\":\"c1\",\"name\":\"" tool \
         "\",\"arguments\":\"{\\\"x\\\": 1}\"},\"llm_response_id\":\"r1\",\"kind\":\"ActionEvent\"}"
#define OBSERVATION(tool, fields)                                                                              \
    HEAD                                                                                                       \
        "\"source\":\"environment\",\"tool_name\":\"" tool                                                     \
        "\",\"tool_call_id\":\"c1\",\"observation\":{\"content\":[{\"type\":\"text\",\"text\":\"O\"}]," fields \
        "},\"action_id\":\"aa\",\"kind\":\"ObservationEvent\"}"
#define EVENT(kind, source, fields) HEAD "\"source\":\"" source "\"," fields "\"kind\":\"" kind "\"}"
#define STATUS(value)                                    \
    EVENT("ConversationStateUpdateEvent", "environment", \
          "\"key\":\"execution_status\",\"value\":\"" value "\",")

static const struct row {
    const char *event, *side;
    const char *names; /* what it becomes, in order */
    const char *has;   /* text of the last of them; NULL: any */
} rows[] = {
    {ACTION("terminal", "{\"command\":\"ls\",\"is_input\":false,\"kind\":\"TerminalAction\"}"), "", "run",
     "\"args\":{\"command\":\"ls\",\"is_input\":false,\"thought\":\"T\",\"blocking\":false,\"is_static\":false,"
     "\"cwd\":null,\"hidden\":false,\"confirmation_state\":\"confirmed\"}}"},
    {ACTION("terminal", "{\"command\":\"ls\",\"kind\":\"TerminalAction\"}"), "{\"confirm\":true}", "run",
     "\"confirmation_state\":\"awaiting_confirmation\""},
    {ACTION("file_editor", "{\"command\":\"view\",\"path\":\"/p\",\"kind\":\"FileEditorAction\"}"), "",
     "read", "\"message\":\"Reading file: /p\""},
    {ACTION("file_editor",
            "{\"command\":\"insert\",\"path\":\"/p\",\"insert_line\":3,\"kind\":\"FileEditorAction\"}"),
     "", "edit", "\"insert_line\":3,\"content\":\"\",\"start\":1,\"end\":-1"},
    {ACTION("think", "{\"thought\":\"more\",\"kind\":\"ThinkAction\"}"), "", "think",
     "\"args\":{\"thought\":\"T\\nmore\"}"},
    {ACTION("finish", "{\"message\":\"M\",\"kind\":\"FinishAction\"}"), "", "finish",
     "\"args\":{\"final_thought\":\"M\",\"outputs\":{},\"thought\":\"T\"}"},
    {ACTION("fetch", "{\"data\":{\"url\":\"u\"},\"kind\":\"MCPToolAction\"}"), "", "call_tool_mcp",
     "\"args\":{\"name\":\"fetch\",\"arguments\":{\"url\":\"u\"},\"thought\":\"T\"}"},
    {ACTION("glob", "{\"pattern\":\"*\",\"path\":null,\"kind\":\"GlobAction\"}"), "", "call_tool_mcp",
     "\"arguments\":{\"pattern\":\"*\"}"},
    {ACTION("none", "null"), "", "call_tool_mcp", "\"arguments\":{\"x\":1}"},
    {EVENT("ActionEvent", "agent", "\"tool_name\":\"none\",\"tool_call\":{\"arguments\":\"{}\"},"), "",
     "call_tool_mcp", "\"name\":\"none\",\"arguments\":{}"},
    {EVENT("ActionEvent", "agent", "\"tool_name\":\"none\",\"tool_call\":{\"arguments\":\"{x\"},"), "",
     "call_tool_mcp", "\"name\":\"none\",\"arguments\":{\"arguments\":\"{x\"}"},
    {OBSERVATION(
         "terminal",
         "\"command\":\"ls\",\"exit_code\":0,\"metadata\":{\"exit_code\":0},\"kind\":\"TerminalObservation\""),
     "{\"cause\":9}", "run", "\"cause\":144,\"observation\":\"run\""},
    {OBSERVATION("terminal", "\"kind\":\"TerminalObservation\""), "{\"cause\":8,\"again\":[9,2]}", "run",
     "\"cause\":147,"},
    {OBSERVATION("terminal", "\"kind\":\"TerminalObservation\""), "{\"cause\":8,\"again\":[11,2]}", "run",
     "\"cause\":128,"},
    {OBSERVATION("terminal", "\"kind\":\"TerminalObservation\""), "{\"cause\":8,\"again\":[9,8]}", "run",
     "\"cause\":128,"},
    {OBSERVATION("terminal", "\"is_error\":true,\"kind\":\"TerminalObservation\""), "", "error",
     "\"content\":\"O\""},
    {OBSERVATION("file_editor", "\"command\":\"view\",\"path\":\"/p\",\"kind\":\"FileEditorObservation\""),
     "", "read", "\"extras\":{\"path\":\"/p\",\"impl_source\":\"oh_aci\"}"},
    {OBSERVATION("file_editor",
                 "\"command\":\"create\",\"path\":\"/p\",\"prev_exist\":false,\"new_content\":\"a\\n\","
                 "\"kind\":\"FileEditorObservation\""),
     "", "edit", "\"diff\":\"--- /p\\n+++ /p\\n@@ -0,0 +1,1 @@\\n+a\\n\",\"_diff_cache\":null"},
    {OBSERVATION("think", "\"kind\":\"ThinkObservation\""), "", "think", "\"extras\":{}"},
    {OBSERVATION("finish", "\"kind\":\"FinishObservation\""), "", "", NULL},
    {OBSERVATION("fetch", "\"kind\":\"MCPToolObservation\""), "", "mcp",
     "\"content\":\"{\\\"meta\\\":null,\\\"content\\\":[{\\\"type\\\":\\\"text\\\",\\\"text\\\":\\\"O\\\"}],"
     "\\\"isError\\\":false}\""},
    {OBSERVATION("grep", "\"kind\":\"GrepObservation\""), "", "mcp",
     "\"extras\":{\"name\":\"grep\",\"arguments\":{}}"},
    {EVENT("SystemPromptEvent", "agent", "\"system_prompt\":{\"text\":\"S\"},\"tools\":[],"), "", "system",
     "\"args\":{\"content\":\"S\",\"tools\":[],\"openhands_version\":\"0.53.0\",\"agent_class\":\"CodeActAgent\"}"},
    {EVENT("MessageEvent", "user",
           "\"llm_message\":{\"content\":[{\"text\":\"hi\"},{\"image_urls\":[\"u\"]}]},"),
     "", "message",
     "\"args\":{\"content\":\"hi\",\"file_urls\":[],\"image_urls\":[\"u\"],\"wait_for_response\":false}"},
    {EVENT(
         "MessageEvent", "user",
         "\"llm_message\":{\"content\":[{\"text\":\"hi\"}]},\"activated_skills\":[\"s\"],\"extended_content\":[{\"text\":\"k\"}],"),
     "", "message recall recall", "\"cause\":161,\"observation\":\"recall\""},
    {EVENT("MessageEvent", "agent", "\"llm_message\":{\"content\":[{\"text\":\"yes\"}]},"),
     "{\"usage\":{\"model\":\"m\",\"cost\":0.5,\"prompt\":7}}", "message",
     "\"llm_metrics\":{\"accumulated_cost\":0.5,\"max_budget_per_task\":null,\"accumulated_token_usage\":{\"model\":\"m\","
     "\"prompt_tokens\":7,"},
    {EVENT("AgentErrorEvent", "agent", "\"error\":\"E\","), "{\"cause\":9}", "error", "\"cause\":144"},
    {EVENT("AgentErrorEvent", "agent", "\"error\":\"E\","), "{\"cause\":11}", "error",
     "\"message\":\"E\",\"observation\""},
    {EVENT("UserRejectObservation", "environment", "\"rejection_reason\":\"no\","), "", "user_rejected",
     "\"content\":\"no\",\"extras\":{}}"},
    {EVENT("ConversationErrorEvent", "environment", "\"code\":\"C\",\"detail\":\"d\","), "", "error",
     "\"content\":\"C: d\""},
    {EVENT("PauseEvent", "user", ""), "", "change_agent_state", "\"agent_state\":\"paused\""},
    {EVENT("InterruptEvent", "user", ""), "", "change_agent_state", "\"agent_state\":\"stopped\""},
    {EVENT("CondensationRequest", "environment", ""), "", "condensation_request", "\"args\":{}"},
    {EVENT("Condensation", "environment", "\"summary\":\"S\",\"summary_offset\":2,"), "", "condensation",
     "\"forgotten_event_ids\":[],\"forgotten_events_start_id\":null,\"forgotten_events_end_id\":null,\"summary\":\"S\","
     "\"summary_offset\":2"},
    {STATUS("running"), "", "agent_state_changed", "\"agent_state\":\"running\""},
    {STATUS("running"), "{\"was\":\"waiting_for_confirmation\"}",
     "change_agent_state agent_state_changed agent_state_changed", "\"agent_state\":\"running\""},
    {STATUS("running"), "{\"was\":\"waiting_for_confirmation\",\"confirmed\":[8,-1,\"x\"]}",
     "change_agent_state agent_state_changed agent_state_changed", "\"agent_state\":\"running\""},
    {STATUS("idle"), "{\"was\":\"waiting_for_confirmation\"}",
     "change_agent_state agent_state_changed agent_state_changed", "\"agent_state\":\"awaiting_user_input\""},
    {STATUS("paused"), "", "agent_state_changed", "\"agent_state\":\"paused\""},
    {STATUS("paused"), "{\"stopped\":true}", "agent_state_changed", "\"agent_state\":\"stopped\""},
    {STATUS("waiting_for_confirmation"), "", "agent_state_changed",
     "\"agent_state\":\"awaiting_user_confirmation\""},
    {STATUS("finished"), "", "agent_state_changed", "\"agent_state\":\"finished\""},
    {STATUS("finished"), "{\"said\":true}", "agent_state_changed", "\"agent_state\":\"awaiting_user_input\""},
    {STATUS("error"), "{\"reason\":\"R\"}", "agent_state_changed",
     "\"agent_state\":\"error\",\"reason\":\"R\""},
    {STATUS("stuck"), "", "agent_state_changed", "\"agent_state\":\"error\""},
    {STATUS("deleting"), "", "", NULL},
    {STATUS("nonsense"), "", "", NULL},
    {EVENT("ConversationStateUpdateEvent", "environment", "\"key\":\"stats\",\"value\":{},"), "", "", NULL},
    {EVENT("HookExecutionEvent", "hook", ""), "", "", NULL},
    {EVENT("TokenEvent", "agent", ""), "", "", NULL},
    {EVENT("LLMCompletionLogEvent", "environment", ""), "", "", NULL},
    {EVENT("ACPToolCallEvent", "agent", ""), "", "", NULL},
    {EVENT("SomethingNewEvent", "agent", ""), "", "", NULL},
    {EVENT("ActionEvent", "agent", ""), "nonsense", "call_tool_mcp", "\"name\":\"\",\"arguments\":{}"},
    {EVENT("ObservationEvent", "agent", ""), "", "", NULL},
    {"[]", "", "", NULL},
    {"nonsense", "", "", NULL},
    {"", "", "", NULL},
};

static const struct projection_log nowhere;

static void every_row(void **state)
{
    (void)state;
    autoprojection p = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        autobuf names = {0};
        projection_make(&p, &nowhere, str_from(rows[i].event), str_from(rows[i].side), SEQ, NULL);
        for (size_t k = 0; k < p.n; k++) {
            autojson doc = json_parse(p.at[k].json, NULL, NULL);
            const struct json_value *root = json_root(doc);
            struct str name = json_get_str(root, p.at[k].is_observation ? "observation" : "action");
            assert_int_equal(json_get_int(root, "id", -1), SEQ * 16 + (int64_t)k);
            assert_true(str_is(name, p.at[k].name) && str_is(json_get_str(root, "source"), p.at[k].source));
            assert_true(json_get(root, "message") != NULL && json_get(root, "timestamp") != NULL);
            if (k > 0)
                buf_add_char(&names, ' ');
            buf_add(&names, name);
        }
        if (!str_is(buf_str(&names), rows[i].names))
            fail_msg("row %zu: %s", i, names.p ? names.p : "nothing");
        if (rows[i].has && str_find(p.at[p.n - 1].json, str_from(rows[i].has)) < 0)
            fail_msg("row %zu: %.*s", i, STR_ARG(p.at[p.n - 1].json));
    }
}

static void the_first_event_says_loading(void **state)
{
    (void)state;
    autoprojection p = {0};
    projection_make(&p, &nowhere, str_from(EVENT("SystemPromptEvent", "agent", "")), STR_NONE, 0, NULL);
    assert_int_equal(p.n, 2);
    assert_true(str_find(p.at[0].json, STR("\"agent_state\":\"loading\"")) > 0);
}

static void long_outputs_lose_their_middle(void **state)
{
    (void)state;
    autobuf text = {0};
    autoprojection p = {0};
    buf_add(&text, STR(HEAD "\"observation\":{\"content\":[{\"text\":\"<"));
    for (int i = 0; i < 40000; i++)
        buf_add(&text, STR("é"));
    buf_add(&text, STR(">\"}],\"kind\":\"TerminalObservation\"},\"kind\":\"ObservationEvent\"}"));
    projection_make(&p, &nowhere, buf_str(&text), STR_NONE, 1, NULL);
    assert_int_equal(p.n, 1);
    autojson doc = json_parse(p.at[0].json, NULL, NULL);
    struct str content = json_get_str(json_root(doc), "content");
    assert_true(content.n > 2 * 29000 && content.n < 2 * 31000);
    assert_true(str_starts(content, STR("<")) && str_ends(content, STR(">")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row),
        cmocka_unit_test(the_first_event_says_loading),
        cmocka_unit_test(long_outputs_lose_their_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
