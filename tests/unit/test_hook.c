/* Hooks: what a configuration may be, which hooks a moment has, what they are told, and what their answers mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/hook/hook.h"
#include "base/cleanup.h"
#include "base/utf8.h"

static struct hook_config *config_of(const char *json)
{
    autojson doc = json_parse(str_from(json), NULL, NULL);
    assert_non_null(doc);
    return hook_config_new(json_root(doc), NULL, NULL);
}

static void test_both_namings_and_the_wrapper(void **state)
{
    static const char *const same[] = {
        "{\"pre_tool_use\":[{\"hooks\":[{\"command\":\"x\"}]}]}",
        "{\"PreToolUse\":[{\"hooks\":[{\"command\":\"x\",\"async\":false}]}]}",
        "{\"hooks\":{\"PreToolUse\":[{\"matcher\":\"*\",\"hooks\":[{\"command\":\"x\",\"async_\":false}]}]}}",
    };
    (void)state;
    struct hook_config *first = config_of(same[0]);
    assert_non_null(first);
    assert_true(str_find(hook_config_text(first), STR("\"timeout\":60")) > 0);
    for (size_t i = 1; i < ARRAY_LEN(same); i++) {
        struct hook_config *other = config_of(same[i]);
        assert_non_null(other);
        assert_true(str_eq(hook_config_text(first), hook_config_text(other)));
        hook_config_free(other);
    }
    hook_config_free(first);
}

static void test_wrong_configurations(void **state)
{
    static const char *const wrong[] = {
        "[]",
        "7",
        "{\"nothing\":[]}",
        "{\"stop\":{}}",
        "{\"stop\":[7]}",
        "{\"stop\":[],\"Stop\":[]}",
        "{\"stop\":[{\"hooks\":[{}]}]}",
        "{\"stop\":[{\"hooks\":[{\"command\":\"x\",\"timeout\":-1}]}]}",
        "{\"stop\":[{\"hooks\":[{\"type\":\"prompt\",\"prompt\":\"y\",\"command\":\"x\"}]}]}",
        "{\"stop\":[{\"hooks\":[{\"type\":\"agent\",\"async\":true}]}]}",
        "{\"hooks\":{\"hooks\":{}}}",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_null(config_of(wrong[i]));
}

static void test_problems_say_where(void **state)
{
    (void)state;
    autoarena arena = arena_new();
    autobuf text = {0};
    struct json_problems problems = {.arena = arena};
    struct json_path body = {.name = STR("body")}, path = {.parent = &body, .name = STR("hook_config")};
    autojson doc = json_parse(STR("{\"stop\":[{},{\"hooks\":[{\"command\":\"a\"},{}]}]}"), NULL, NULL);
    assert_null(hook_config_new(json_root(doc), &path, &problems));
    assert_int_equal(problems.count, 1);
    json_problems_write(&problems, &text);
    assert_true(str_find(buf_str(&text), STR("[\"body\",\"hook_config\",\"stop\",1,\"hooks\",1]")) > 0);
}

static void test_selection(void **state)
{
    (void)state;
    autoarena arena = arena_new();
    size_t n;
    struct hook_config *c = config_of(
        "{\"pre_tool_use\":[{\"matcher\":\"terminal\",\"hooks\":[{\"command\":\"a\"},{\"command\":\"b\"}]},"
        "{\"hooks\":[{\"command\":\"c\"}]},{\"matcher\":\"x\",\"hooks\":[{\"command\":\"d\"}]}],"
        "\"stop\":[{\"matcher\":\"terminal\",\"hooks\":[{\"command\":\"e\"}]}]}");
    const struct hook *const *hooks = hook_config_select(c, HOOK_PRE_TOOL_USE, STR("terminal"), arena, &n);
    assert_int_equal(n, 3);
    assert_true(str_is(hooks[0]->command, "a") && str_is(hooks[1]->command, "b") &&
                str_is(hooks[2]->command, "c"));
    hook_config_select(c, HOOK_STOP, STR_NONE, arena, &n); /* there is no tool that a name could match */
    assert_int_equal(n, 0);
    hook_config_select(NULL, HOOK_STOP, STR_NONE, arena, &n);
    assert_int_equal(n, 0);
    hook_config_free(c);
}

static void test_matching(void **state)
{
    (void)state;
    assert_true(hook_matches(STR("*"), STR_NONE));
    assert_true(hook_matches(STR(""), STR("x")));
    assert_false(hook_matches(STR("x"), STR_NONE));
    assert_true(hook_matches(STR("a|b"), STR("b")));
    assert_false(hook_matches(STR("a|b"), STR("ab")));
    assert_true(hook_matches(STR("/te.*l/"), STR("terminal")));
    assert_false(hook_matches(STR("/(/"), STR("(")));
    assert_true(hook_matches(STR("("), STR("("))); /* no expression: the name itself */
    /* One that would take for ever is given up. */
    assert_false(
        hook_matches(STR("(a+)+b"), STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")));
}

static void read_result(struct hook_result *r, int64_t exit_code, const char *out)
{
    hook_result_deinit(r);
    *r = (struct hook_result){.exit_code = exit_code};
    buf_add_cstr(&r->out, out);
    hook_result_read(r);
}

static void test_answers(void **state)
{
    (void)state;
    struct hook_result r = {0};
    read_result(&r, 0, "all is well");
    assert_true(r.success && !r.blocked);
    read_result(&r, 1, "");
    assert_true(!r.success && !r.blocked);
    read_result(&r, 2, "");
    assert_true(!r.success && r.blocked);
    read_result(&r, 0, " {\"decision\":\"Deny\",\"reason\":\"so\",\"additionalContext\":5}\n");
    assert_true(r.success && r.blocked);
    assert_true(str_is(buf_str(&r.reason), "so") && str_is(buf_str(&r.context), "5"));
    read_result(&r, 0, "{\"continue\":false}");
    assert_true(r.blocked);
    read_result(&r, 0, "{\"continue\":true,\"decision\":\"allow\"}");
    assert_false(r.blocked);
    read_result(&r, 0, "{\"decision\":\"deny\"} and more");
    assert_false(r.blocked);
    read_result(&r, 0, "{\"decision\":[[[[");
    assert_false(r.blocked);
    hook_result_deinit(&r);
}

static void test_input_is_bounded(void **state)
{
    (void)state;
    autobuf big = {0}, out = {0};
    buf_add(&big, STR("{\"a\":\""));
    for (int i = 0; i < 100000; i++)
        buf_add(&big, STR("0123456789"));
    buf_add(&big, STR("\"}"));
    autojson doc = json_parse(buf_str(&big), NULL, NULL);
    struct hook_call call = {.event = HOOK_POST_TOOL_USE,
                             .tool_name = STR("t"),
                             .input = json_root(doc),
                             .response = json_root(doc)};
    hook_input_write(&call, STR("id"), STR("/work"), &out);
    assert_true(out.n > 10000 && out.n < HOOK_INPUT_MAX);
    autojson again = json_parse(buf_str(&out), NULL, NULL);
    assert_true(json_get_str(json_get(json_root(again), "tool_input"), "a").n > 1000);

    /* Many short texts cannot be cut: they are left out. */
    autobuf many = {0}, rest = {0};
    buf_add(&many, STR("[\"\""));
    for (int i = 0; i < 200000; i++)
        buf_add(&many, STR(",\"x\""));
    buf_add(&many, STR("]"));
    autojson list = json_parse(buf_str(&many), NULL, NULL);
    call = (struct hook_call){.event = HOOK_PRE_TOOL_USE, .tool_name = STR("t"), .input = json_root(list)};
    hook_input_write(&call, STR("id"), STR("/work"), &rest);
    assert_true(rest.n < 1000);
    autojson small = json_parse(buf_str(&rest), NULL, NULL);
    assert_true(json_type(json_get(json_root(small), "tool_input")) == JSON_NULL);
}

static void test_event(void **state)
{
    (void)state;
    struct hook_result r = {.success = true};
    struct event_draft d;
    autobuf whole = {0};
    for (int i = 0; i < 20000; i++)
        buf_add(&r.out, STR("\xff\xc3\xa4yz"));
    struct hook_call call = {.event = HOOK_STOP, .reason = STR("agent_finished")};
    event_draft_init(&d, EVENT_HOOK_EXECUTION, SOURCE_HOOK);
    hook_event_body(&d, &call, STR("./check"), &r);
    buf_add_char(&whole, '{');
    buf_add(&whole, buf_str(&d.body));
    buf_add_char(&whole, '}');
    autojson doc = json_parse(buf_str(&whole), NULL, NULL);
    struct str out = json_get_str(json_root(doc), "stdout");
    assert_int_equal(utf8_count(out), HOOK_TEXT_MAX);
    assert_true(str_ends(out, STR(HOOK_CUT_MARK)));
    assert_null(json_get(json_root(doc), "reason")); /* nulls are left out */
    assert_null(json_get(json_root(doc), "tool_name"));
    assert_true(str_is(json_get_str(json_get(json_root(doc), "hook_input"), "reason"), "agent_finished"));
    event_draft_deinit(&d);
    hook_result_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_namings_and_the_wrapper),
        cmocka_unit_test(test_wrong_configurations),
        cmocka_unit_test(test_problems_say_where),
        cmocka_unit_test(test_selection),
        cmocka_unit_test(test_matching),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_input_is_bounded),
        cmocka_unit_test(test_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
