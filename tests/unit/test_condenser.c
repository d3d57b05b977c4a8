/* What is forgotten and what stays; the words of a condensation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/condenser/condenser.h"
#include "agent/view/items.h"

/* Ids count up from 1; the nth event has the id with n in its last digits. */
static const char *id_of(unsigned n, char text[40])
{
    snprintf(text, 40, "00000000-0000-4000-8000-%012u", n);
    return text;
}

static void add(struct view *v, enum event_kind kind, unsigned n, const char *source, const char *fields)
{
    char id[40];
    autobuf json = {0};
    autoerr e = NULL;
    buf_addf(&json, "{\"id\":\"%s\",\"timestamp\":\"2026-01-01T00:00:00.000001\",\"source\":\"%s\",%s}",
             id_of(n, id), source, fields);
    if (!view_add(v, kind, buf_str(&json), &e))
        fail_msg("%s", err_text(e));
}

static void message(struct view *v, unsigned n, const char *text)
{
    autobuf f = {0};
    buf_addf(
        &f,
        "\"llm_message\":{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"%s\"}]},\"kind\":\"MessageEvent\"",
        text);
    add(v, EVENT_MESSAGE, n, "user", f.p);
}

static void system_prompt(struct view *v, unsigned n)
{
    add(v, EVENT_SYSTEM_PROMPT, n, "agent",
        "\"system_prompt\":{\"type\":\"text\",\"text\":\"prompt\"},\"kind\":\"SystemPromptEvent\"");
}

static void action(struct view *v, unsigned n, unsigned response, bool thinks)
{
    autobuf f = {0};
    buf_addf(
        &f,
        "\"thought\":[],\"thinking_blocks\":[%s],\"action\":{\"thought\":\"t\",\"kind\":\"ThinkAction\"},\"tool_name\":\"think\","
        "\"tool_call_id\":\"c%u\",\"tool_call\":{\"id\":\"c%u\",\"name\":\"think\",\"arguments\":\"{}\"},\"llm_response_id\":\"r%u\","
        "\"kind\":\"ActionEvent\"",
        thinks ? "{\"type\":\"thinking\",\"thinking\":\"x\"}" : "", n, n, response);
    add(v, EVENT_ACTION, n, "agent", f.p);
}

static void result(struct view *v, unsigned n, unsigned of)
{
    char id[40];
    autobuf f = {0};
    buf_addf(
        &f,
        "\"tool_name\":\"think\",\"tool_call_id\":\"c%u\",\"action_id\":\"%s\",\"observation\":{\"content\":[{\"type\":\"text\","
        "\"text\":\"done\"}],\"kind\":\"ThinkObservation\"},\"kind\":\"ObservationEvent\"",
        of, id_of(of, id));
    add(v, EVENT_OBSERVATION, n, "environment", f.p);
}

/* A prompt, a message, and `pairs` calls with their results: 2 + 2 × pairs items. */
static struct view *history(unsigned pairs)
{
    struct view *v = view_new();
    system_prompt(v, 1);
    message(v, 2, "task");
    for (unsigned i = 0; i < pairs; i++) {
        action(v, 3 + 2 * i, i, false);
        result(v, 4 + 2 * i, 3 + 2 * i);
    }
    return v;
}

static struct condenser usual = {
    .max_size = 20, .keep_first = 2, .attempts = 5, .minimum_progress = 0.1, .scaling = 0.8};

static void assert_range(const struct view *v, unsigned reasons, const struct condense_limits *limits,
                         size_t from, size_t to)
{
    size_t f = 0, t = 0;
    assert_true(condense_range(v, limits, reasons, &f, &t));
    assert_int_equal(f, from);
    assert_int_equal(t, to);
}

static void test_reasons(void **state)
{
    (void)state;
    struct condense_limits limits = {.condenser = &usual};
    struct view *v = history(9);
    assert_int_equal(condense_reasons(v, &limits, false), 0);
    assert_int_equal(condense_reasons(v, &limits, true), CONDENSE_REQUEST);
    message(v, 90, "more");
    assert_int_equal(condense_reasons(v, &limits, false), CONDENSE_EVENTS);
    add(v, EVENT_CONDENSATION_REQUEST, 91, "environment", "\"kind\":\"CondensationRequest\"");
    limits.max_tokens = 10;
    assert_int_equal(condense_reasons(v, &limits, false),
                     CONDENSE_EVENTS | CONDENSE_REQUEST | CONDENSE_TOKENS);
    limits.max_tokens = 1000000;
    limits.tool_tokens = 1000000;
    assert_true(condense_reasons(v, &limits, false) & CONDENSE_TOKENS);
    view_free(v);
}

static void test_ranges(void **state)
{
    (void)state;
    struct condense_limits limits = {.condenser = &usual};
    struct view *v = history(10); /* 22 items */
    assert_range(v, CONDENSE_EVENTS, &limits, 2,
                 16); /* 20 / 2 - 2 - 1 = 7 stay, and the result before them with its call */
    assert_range(v, CONDENSE_REQUEST, &limits, 2, 14); /* 22 / 2 - 2 - 1 = 8 stay */
    assert_range(v, CONDENSE_EVENTS | CONDENSE_REQUEST, &limits, 2, 16);
    limits.max_tokens = 60; /* of some 150 */
    size_t from, to;
    assert_true(condense_range(v, &limits, CONDENSE_TOKENS, &from, &to));
    assert_true(condense_tokens(v, 0, from, 0) + condense_tokens(v, to, 22, 0) <= 30);
    struct condenser first = usual;
    first.keep_first = 0;
    limits.condenser = &first;
    assert_range(v, CONDENSE_REQUEST, &limits, 1, 12); /* never the system prompt */
    first.keep_first = 3;
    assert_range(v, CONDENSE_REQUEST, &limits, 4, 16); /* not between a call and its result */
    first.minimum_progress = 0.9;
    assert_false(condense_range(v, &limits, CONDENSE_REQUEST, &from, &to));
    first.keep_first = 40;
    assert_false(condense_range(v, &limits, CONDENSE_REQUEST, &from, &to));
    view_free(v);
}

static void test_answers_stay_whole(void **state)
{
    (void)state;
    struct view *v = history(0);
    for (unsigned i = 0; i < 6; i++) { /* three calls in one answer, results behind all of them */
        unsigned n = 10 + 10 * i;
        for (unsigned k = 0; k < 3; k++)
            action(v, n + k, i, false);
        for (unsigned k = 0; k < 3; k++)
            result(v, n + 5 + k, n + k);
    }
    struct condense_limits limits = {.condenser = &usual};
    size_t from, to;
    assert_true(condense_range(v, &limits, CONDENSE_REQUEST, &from, &to));
    assert_int_equal(from, 2);
    assert_int_equal((to - 2) % 6, 0);
    view_free(v);
}

static void test_thinking_stays_whole(void **state)
{
    (void)state;
    struct view *v = history(0);
    for (unsigned i = 0; i < 8; i++) { /* one loop of calls behind a thought, from 3 on */
        action(v, 10 + 2 * i, i, i == 0);
        result(v, 11 + 2 * i, 10 + 2 * i);
    }
    struct condense_limits limits = {.condenser = &usual};
    assert_range(v, CONDENSE_REQUEST, &limits, 2, 18);
    message(v, 80, "next");
    action(v, 81, 81, true);
    result(v, 82, 81);
    assert_range(v, CONDENSE_REQUEST, &limits, 2, 18);
    view_free(v);
}

/* What is open is not forgotten, nor anything behind it. */
static void test_open_calls_stay(void **state)
{
    (void)state;
    struct view *v = history(6);
    action(v, 50, 50, false);
    size_t from, to;
    assert_true(condense_everything(v, &from, &to));
    assert_int_equal(from, 1);
    assert_int_equal(to, 14);
    struct condenser first = usual;
    struct condense_limits limits = {.condenser = &first};
    assert_true(condense_range(v, &limits, CONDENSE_REQUEST, &from, &to));
    assert_true(to <= 14);
    view_free(v);
    v = view_new();
    system_prompt(v, 1);
    assert_false(condense_everything(v, &from, &to));
    view_free(v);
}

/* The event says what the view then does. */
static void test_the_event(void **state)
{
    (void)state;
    struct view *v = history(10);
    for (unsigned round = 0; round < 2; round++) {
        struct event_draft d;
        size_t to = round == 0 ? 10 : 11; /* the summary, and four calls with their results */
        condensation_draft(v, 2, to, STR("All so far."), STR("resp"), &d);
        autobuf json = {0};
        struct uuid id = uuid_random();
        event_write(&json, &d, buf_str(&d.body), &id, 1, STR_NONE);
        event_draft_deinit(&d);
        autoerr e = NULL;
        size_t before = v->items.n;
        assert_true(view_add(v, EVENT_CONDENSATION, buf_str(&json), &e));
        assert_int_equal(v->items.n, before - (to - 2) + 1);
        if (round == 1)
            assert_true(str_find(buf_str(&json), STR("-summary\"")) > 0);
    }
    autobuf prompt = {0};
    condense_prompt(v, 2, v->items.n, 1000, &prompt);
    assert_true(str_find(buf_str(&prompt), STR("<EVENT from=\"earlier summary\">\nAll so far.")) > 0);
    assert_true(str_find(buf_str(&prompt), STR("think {}")) > 0);
    view_free(v);
}

static void test_shorter_prompts(void **state)
{
    (void)state;
    struct view *v = view_new();
    autobuf longest = {0};
    while (longest.n < 3000)
        buf_add_cstr(&longest, "word ");
    message(v, 1, longest.p);
    size_t last = SIZE_MAX;
    for (size_t chars = condense_longest(v, 0, 1); chars > 10; chars = chars * 8 / 10) {
        autobuf prompt = {0};
        condense_prompt(v, 0, 1, chars, &prompt);
        assert_true(prompt.n < last);
        last = prompt.n;
    }
    view_free(v);
}

static bool read_one(const char *json, struct condenser_list *list, struct err **e)
{
    autojson doc = json_parse(str_from(json), NULL, e);
    *list = (struct condenser_list){0};
    bool ok = condensers_read(list, json_root(doc), NULL, e);
    return ok;
}

static void test_configuration(void **state)
{
    (void)state;
    struct condenser_list list;
    autoerr e = NULL;
    assert_true(
        read_one("{\"kind\":\"LLMSummarizingCondenser\",\"llm\":{\"model\":\"scripted/x\"}}", &list, &e));
    assert_int_equal(list.n, 1);
    assert_int_equal(list.at[0].max_size, 240);
    assert_int_equal(list.at[0].keep_first, 2);
    condensers_deinit(&list);
    assert_true(read_one(
        "{\"kind\":\"PipelineCondenser\",\"condensers\":[{\"kind\":\"NoOpCondenser\"},{\"kind\":\"LLMSummarizingCondenser\","
        "\"max_tokens\":null,\"max_size\":80,\"keep_first\":10,\"llm\":{\"model\":\"scripted/x\"}}]}",
        &list, &e));
    assert_int_equal(list.n, 1);
    assert_int_equal(list.at[0].max_size, 80);
    condensers_deinit(&list);
    static const char *const bad[] = {
        "3",
        "{\"kind\":\"X\"}",
        "{\"kind\":\"LLMSummarizingCondenser\"}",
        "{\"llm\":{\"model\":\"scripted/x\"},\"max_size\":4}",
        "{\"llm\":{\"model\":\"scripted/x\"},\"keep_first\":-1}",
        "{\"llm\":{\"model\":\"scripted/x\"},\"max_tokens\":0}",
        "{\"llm\":{\"model\":\"scripted/x\"},\"hard_context_reset_context_scaling\":1}",
        "{\"kind\":\"PipelineCondenser\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        autoerr why = NULL;
        assert_false(read_one(bad[i], &list, &why));
        assert_non_null(strstr(err_text(why), "agent.condenser"));
        condensers_deinit(&list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_answers_stay_whole),
        cmocka_unit_test(test_thinking_stays_whole),
        cmocka_unit_test(test_open_calls_stay),
        cmocka_unit_test(test_the_event),
        cmocka_unit_test(test_shorter_prompts),
        cmocka_unit_test(test_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
