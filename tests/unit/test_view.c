#include "agent_fixture.h"
#include "agent/view/items.h"
#include <sys/resource.h>

/* Events by hand, as an import would bring them. */
static void add(struct view *v, const char *source, enum event_kind kind, const char *id, const char *fields)
{
    autobuf json = {0};
    autoerr e = NULL;
    buf_addf(&json, "{\"id\":\"%s-0000-4000-8000-000000000000\",\"source\":\"%s\",%s\"kind\":\"%s\"}", id,
             source, fields, event_kind_name(kind));
    if (!view_add(v, kind, buf_str(&json), &e))
        fail_msg("%s: %s", err_text(e), json.p);
}

static void user(struct view *v, const char *id, const char *text)
{
    autobuf f = {0};
    buf_addf(&f, "\"llm_message\":{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"%s\"}]},",
             text);
    add(v, "user", EVENT_MESSAGE, id, f.p);
}

static void says(struct view *v, const char *id, const char *text)
{
    autobuf f = {0};
    buf_addf(&f,
             "\"llm_message\":{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"%s\"}]},"
             "\"llm_response_id\":\"m\",",
             text);
    add(v, "agent", EVENT_MESSAGE, id, f.p);
}

static void calls(struct view *v, const char *id, const char *response, const char *call, const char *thought)
{
    autobuf f = {0};
    buf_addf(
        &f,
        "\"thought\":[{\"type\":\"text\",\"text\":\"%s\"}],\"action\":{\"thought\":\"%s\",\"kind\":\"ThinkAction\"},"
        "\"tool_name\":\"think\",\"tool_call_id\":\"%s\",\"tool_call\":{\"id\":\"%s\",\"name\":\"think\","
        "\"arguments\":\"{}\"},\"llm_response_id\":\"%s\",\"security_risk\":\"LOW\",",
        thought, thought, call, call, response);
    add(v, "agent", EVENT_ACTION, id, f.p);
}

static void result(struct view *v, const char *id, const char *action, const char *call, const char *text)
{
    autobuf f = {0};
    buf_addf(
        &f,
        "\"tool_name\":\"think\",\"tool_call_id\":\"%s\",\"observation\":{\"content\":[{\"type\":\"text\",\"text\":"
        "\"%s\"}],\"is_error\":false,\"kind\":\"ThinkObservation\"},\"action_id\":\"%s-0000-4000-8000-"
        "000000000000\",",
        call, text, action);
    add(v, "environment", EVENT_OBSERVATION, id, f.p);
}

static void failed(struct view *v, const char *id, const char *call, const char *text)
{
    autobuf f = {0};
    buf_addf(&f, "\"tool_name\":\"think\",\"tool_call_id\":\"%s\",\"error\":\"%s\",", call, text);
    add(v, "agent", EVENT_AGENT_ERROR, id, f.p);
}

/* Messages as "role:text[calls](call id)" separated by '|'. */
static char *shown(const struct view *v, int64_t max)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    autoarena arena = arena_new();
    const struct llm_message *m;
    size_t n;
    autobuf out = {0};
    view_messages(v, max, arena, &m, &n);
    for (size_t i = 0; i < n; i++) {
        buf_addf(&out, "%s%s:", i ? "|" : "", roles[m[i].role]);
        for (size_t p = 0; p < m[i].part_count; p++)
            buf_addf(&out, "%s%.*s", p ? "+" : "", STR_ARG(m[i].parts[p].text));
        for (size_t c = 0; c < m[i].call_count; c++)
            buf_addf(&out, "[%.*s]", STR_ARG(m[i].calls[c].id));
        if (m[i].tool_call_id.p)
            buf_addf(&out, "(%.*s)", STR_ARG(m[i].tool_call_id));
    }
    return (char *)buf_take(&out).p;
}

static void assert_shown(const struct view *v, const char *expected)
{
    autofree char *text = shown(v, 0);
    assert_string_equal(text, expected);
}

static void test_results_follow_calls(void **state)
{
    (void)state;
    struct view *v = view_new();
    add(v, "agent", EVENT_SYSTEM_PROMPT, "11110000",
        "\"system_prompt\":{\"type\":\"text\",\"text\":\"static\"},\"tools\":[],\"dynamic_context\":{\"type\":\"text\","
        "\"text\":\"dynamic\"},");
    user(v, "22220000", "go");
    add(v, "environment", EVENT_STATE_UPDATE, "22230000", "\"key\":\"x\",\"value\":1,");
    calls(v, "33330000", "r1", "a", "both");
    calls(v, "44440000", "r1", "b", "");
    assert_int_equal(view_open(v), 2);
    result(v, "55550000", "44440000", "b", "second");
    user(v, "66660000", "meanwhile");
    result(v, "77770000", "33330000", "a", "first");
    assert_int_equal(view_open(v), 0);
    assert_shown(
        v, "system:static+dynamic|user:go|assistant:both[a][b]|tool:first(a)|tool:second(b)|user:meanwhile");
    assert_int_equal(view_turns(v), 1);
    view_free(v);
}

static void test_open_is_not_shown(void **state)
{
    (void)state;
    struct view *v = view_new();
    struct view_action a;
    user(v, "22220000", "go");
    calls(v, "33330000", "r1", "a", "hm");
    assert_shown(v, "user:go|assistant:hm");
    view_open_get(v, 0, &a);
    assert_true(str_is(a.tool_name, "think") && str_is(a.tool_call_id, "a") &&
                str_is(a.security_risk, "LOW"));
    assert_true(str_is(json_get_str(a.action, "thought"), "hm"));
    view_free(v);
}

/* Providers repeat both call ids and response ids. */
static void test_repeated_ids(void **state)
{
    (void)state;
    struct view *v = view_new();
    user(v, "22220000", "go");
    calls(v, "33330000", "r", "call_0", "one");
    failed(v, "44440000", "call_0", "bad");
    calls(v, "55550000", "r", "call_0", "two");
    failed(v, "66660000", "call_0", "worse");
    assert_shown(
        v, "user:go|assistant:one[call_0]|tool:bad(call_0)|assistant:two[call_555500000000400080000000]|"
           "tool:worse(call_555500000000400080000000)");
    assert_int_equal(view_turns(v), 2);
    assert_true(view_call_seen(v, STR("call_0")));
    assert_false(view_call_seen(v, STR("call_1")));
    failed(v, "77770000", "call_0", "belongs to nothing");
    assert_int_equal(v->items.n, 5);
    view_free(v);
}

static void test_terminal_words(void **state)
{
    (void)state;
    struct view *v = view_new();
    calls(v, "33330000", "r", "a", "");
    add(v, "environment", EVENT_OBSERVATION, "44440000",
        "\"tool_name\":\"terminal\",\"tool_call_id\":\"a\",\"observation\":{\"content\":[{\"type\":\"text\",\"text\":\"out\"}],"
        "\"is_error\":true,\"exit_code\":2,\"metadata\":{\"exit_code\":2,\"working_dir\":\"/w\",\"py_interpreter_path\":"
        "\"/usr/bin/python3\",\"prefix\":\"[p]\\n\",\"suffix\":\"\\n[s]\"},\"kind\":\"TerminalObservation\"},\"action_id\":"
        "\"33330000-0000-4000-8000-000000000000\",");
    assert_shown(
        v,
        "assistant:[a]|tool:[An error occurred during execution.]\n[p]\nout\n[s]\n[Working directory: /w]\n"
        "[Python: /usr/bin/python3]\n[Exit code: 2](a)");
    assert_true(view_terminal_seen(v));
    view_free(v);
}

static void test_rejection_and_cut(void **state)
{
    (void)state;
    struct view *v = view_new();
    calls(v, "33330000", "r", "a", "");
    add(v, "environment", EVENT_USER_REJECT, "44440000",
        "\"tool_name\":\"think\",\"tool_call_id\":\"a\",\"rejection_reason\":\"too risky\",\"rejection_source\":\"user\",");
    autofree char *whole = shown(v, 0);
    assert_has(whole, "rejected");
    assert_has(whole, "too risky");
    calls(v, "55550000", "r2", "b", "");
    autobuf longer = {0};
    for (int i = 0; i < 100; i++)
        buf_add(&longer, STR("0123456789"));
    result(v, "66660000", "55550000", "b", longer.p);
    for (int round = 0; round < 2; round++) {
        autofree char *cut = shown(v, 200);
        assert_has(cut, "left out");
        assert_true(strlen(cut) < 600);
    }
    view_free(v);
}

static void test_condensation(void **state)
{
    (void)state;
    struct view *v = view_new();
    user(v, "11110000", "first");
    calls(v, "22220000", "r1", "a", "x");
    result(v, "33330000", "22220000", "a", "done");
    calls(v, "44440000", "r2", "b", "y");
    result(v, "55550000", "44440000", "b", "done too");
    add(v, "environment", EVENT_CONDENSATION, "88880000",
        "\"forgotten_event_ids\":[\"22220000-0000-4000-8000-000000000000\",\"33330000-0000-4000-8000-000000000000\"],"
        "\"summary\":\"did x\",\"summary_offset\":1,");
    assert_shown(v, "user:first+did x|assistant:y[b]|tool:done too(b)");
    add(v, "environment", EVENT_CONDENSATION, "99990000",
        "\"forgotten_event_ids\":[\"88880000-0000-4000-8000-000000000000-summary\",\"44440000-0000-4000-8000-000000000000\"],"
        "\"summary\":\"did both\",\"summary_offset\":7,");
    assert_shown(v, "user:first+did both");
    assert_int_equal(v->items.n, 2);
    calls(v, "aaaa0000", "r3", "c", "z");
    assert_int_equal(view_open(v), 1);
    view_free(v);
}

static void test_invalid_call(void **state)
{
    (void)state;
    struct view *v = view_new();
    autoarena arena = arena_new();
    const struct llm_message *m;
    size_t n;
    add(v, "agent", EVENT_ACTION, "22220000",
        "\"thought\":[],\"tool_name\":\"x\",\"tool_call_id\":\"f\",\"tool_call\":{\"id\":\"f\",\"name\":\"x\",\"arguments\":"
        "\"{\\\"a\\\": \"},");
    assert_int_equal(view_open(v), 0);
    failed(v, "33330000", "f", "no");
    view_messages(v, 0, arena, &m, &n);
    assert_int_equal(n, 2);
    assert_true(str_is(m[0].calls[0].arguments, "{\"unparsed\":\"{\\\"a\\\": \"}"));
    view_free(v);
}

static void test_broken_text(void **state)
{
    (void)state;
    struct view *v = view_new();
    autoerr e = NULL;
    assert_false(view_add(v, EVENT_MESSAGE, STR("{"), &e));
    assert_int_equal(e->kind, ERR_INTERNAL);
    view_free(v);
}

/* Asking after every event gives what asking once at the end gives. */
static void test_incremental(void **state)
{
    (void)state;
    uint32_t seed = 1;
    for (int round = 0; round < 200; round++) {
        struct view *v = view_new(), *fresh = view_new();
        char open[40][16] = {{0}};
        unsigned n_open = 0, response = 0;
        for (unsigned i = 1; i < 40; i++) {
            char id[16], call[16], text[16];
            snprintf(id, sizeof(id), "%08x", i);
            snprintf(call, sizeof(call), "c%u", i);
            snprintf(text, sizeof(text), "t%u", i);
            seed = seed * 1664525 + 1013904223;
            unsigned what = (seed >> 16) % 8;
            for (int both = 0; both < 2; both++) {
                struct view *to = both ? fresh : v;
                char r[16];
                snprintf(r, sizeof(r), "r%u", response + (what == 2));
                if (what <= 2 && n_open < 38)
                    calls(to, id, r, call, text);
                else if (what <= 4 && n_open > 0)
                    result(to, id, open[n_open - 1], "x", text);
                else if (what == 5)
                    says(to, id, i % 2 ? text : "");
                else
                    user(to, id, text);
            }
            if (what <= 2 && n_open < 38)
                strcpy(open[n_open++], id);
            else if (what <= 4 && n_open > 0)
                n_open--;
            response += what == 2;
            autofree char *now = shown(v, 0);
        }
        autofree char *a = shown(v, 0), *b = shown(fresh, 0);
        assert_string_equal(a, b);
        view_free(v);
        view_free(fresh);
    }
}

/* --- stuck --- */

static void round_ok(struct view *v, unsigned i, const char *thought, const char *text)
{
    char action[16], observation[16], call[16];
    snprintf(action, sizeof(action), "a%03u0000", i);
    snprintf(observation, sizeof(observation), "b%03u0000", i);
    snprintf(call, sizeof(call), "call%u", i);
    calls(v, action, call, call, thought);
    result(v, observation, action, call, text);
}

static void round_failed(struct view *v, unsigned i, const char *thought)
{
    char action[16], error[16], call[16];
    snprintf(action, sizeof(action), "a%03u0000", i);
    snprintf(error, sizeof(error), "b%03u0000", i);
    snprintf(call, sizeof(call), "call%u", i);
    calls(v, action, call, call, thought);
    failed(v, error, call, "missing argument");
}

static enum stuck stuck(const struct view *v, struct buf *why)
{
    buf_clear(why);
    return view_stuck(v, why);
}

/* Messages that wait for a run are merged into one, whose memory grows with their number only. */
static void test_many_user_messages(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    struct view *v = view_new();
    autoarena arena = arena_new();
    const struct llm_message *m;
    size_t n;
    struct rusage before, after;
    for (int i = 0; i < MANY; i++) {
        char id[16];
        snprintf(id, sizeof(id), "%08x", i);
        user(v, id, "x");
    }
    getrusage(RUSAGE_SELF, &before);
    for (int round = 0; round < 2; round++) {
        view_messages(v, 0, arena, &m, &n);
        assert_int_equal(n, 1);
        assert_int_equal(m[0].part_count, MANY);
        assert_true(str_is(m[0].parts[MANY - 1].text, "x"));
    }
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_maxrss - before.ru_maxrss < 50000); /* kB */
    view_free(v);
}

static void test_stuck_repeating(void **state)
{
    (void)state;
    struct view *v = view_new();
    autobuf why = {0};
    user(v, "22220000", "go");
    for (unsigned i = 0; i < 3; i++)
        round_ok(v, i, "same", "same");
    assert_int_equal(stuck(v, &why), STUCK_NO);
    round_ok(v, 3, "same", "same");
    assert_int_equal(stuck(v, &why), STUCK_YES);
    assert_true(why.n > 0);
    user(v, "22230000", "go on");
    assert_int_equal(stuck(v, &why), STUCK_NO);
    for (unsigned i = 4; i < 8; i++)
        round_ok(v, i, "same", i % 2 ? "same" : "other");
    assert_int_equal(stuck(v, &why), STUCK_NO);
    view_free(v);
}

static void test_stuck_errors(void **state)
{
    (void)state;
    struct view *v = view_new();
    autobuf why = {0};
    round_failed(v, 0, "same");
    round_failed(v, 1, "same");
    assert_int_equal(stuck(v, &why), STUCK_NO);
    round_failed(v, 2, "same");
    assert_int_equal(stuck(v, &why), STUCK_NUDGE);
    assert_has(why.p, "think");
    assert_has(why.p, "3 times");
    assert_has(why.p, "missing argument");
    add(v, "environment", EVENT_MESSAGE, "cccc0000",
        "\"llm_message\":{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"nudge\"}]},");
    assert_int_equal(stuck(v, &why), STUCK_NO); /* once */
    round_failed(v, 3, "same");
    assert_int_equal(stuck(v, &why), STUCK_YES);
    view_free(v);
}

static void test_stuck_alternating(void **state)
{
    (void)state;
    struct view *v = view_new();
    autobuf why = {0};
    for (unsigned i = 0; i < 5; i++)
        round_ok(v, i, i % 2 ? "a" : "b", i % 2 ? "x" : "y");
    assert_int_equal(stuck(v, &why), STUCK_NO);
    round_ok(v, 5, "a", "x");
    assert_int_equal(stuck(v, &why), STUCK_YES);
    for (unsigned i = 6; i < 26; i++) { /* the window moves on */
        char text[16];
        snprintf(text, sizeof(text), "%u", i);
        round_ok(v, i, text, text);
    }
    assert_int_equal(stuck(v, &why), STUCK_NO);
    view_free(v);
}

static void test_stuck_monologue(void **state)
{
    (void)state;
    struct view *v = view_new();
    autobuf why = {0};
    says(v, "11110000", "a");
    says(v, "22220000", "b");
    round_ok(v, 1, "x", "y");
    says(v, "33330000", "c");
    says(v, "44440000", "d");
    assert_int_equal(stuck(v, &why), STUCK_NO);
    says(v, "55550000", "e");
    assert_int_equal(stuck(v, &why), STUCK_YES);
    view_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results_follow_calls), cmocka_unit_test(test_open_is_not_shown),
        cmocka_unit_test(test_repeated_ids),         cmocka_unit_test(test_terminal_words),
        cmocka_unit_test(test_rejection_and_cut),    cmocka_unit_test(test_condensation),
        cmocka_unit_test(test_invalid_call),         cmocka_unit_test(test_broken_text),
        cmocka_unit_test(test_incremental),          cmocka_unit_test(test_many_user_messages),
        cmocka_unit_test(test_stuck_repeating),      cmocka_unit_test(test_stuck_errors),
        cmocka_unit_test(test_stuck_alternating),    cmocka_unit_test(test_stuck_monologue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
