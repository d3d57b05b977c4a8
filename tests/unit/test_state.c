/* State as clients see it and as the store keeps it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/clock.h"
#include "conversation/secret_walk.h"
#include "conversation/state.h"
#include "conversation/turn.h"

static struct secrets *keys(const char *key)
{
    struct secrets_config config = {.configured = str_from(key)};
    autoerr e = NULL;
    struct secrets *s = secrets_new(&config, &e);
    assert_non_null(s);
    return s;
}

static const char agent_json[] =
    "{\"kind\":\"Agent\",\"llm\":{\"model\":\"scripted/x\",\"usage_id\":\"agent\",\"api_key\":\"sk-very-secret\","
    "\"aws_access_key_id\":\"aws-secret\"},"
    "\"tools\":[{\"name\":\"terminal\",\"params\":{}}],"
    "\"mcp_config\":{\"mcpServers\":{\"s\":{\"command\":\"x\",\"env\":{\"KEY\":\"mcp-secret\"}}}},"
    "\"agent_context\":{\"skills\":[{\"name\":\"a skill\"}],\"secrets\":{\"CONTEXT\":\"context-secret\"}},"
    "\"something_unknown\":{\"kept\":true}}";
static const char secrets_json[] =
    "{\"TOKEN\":\"token-secret\",\"OBJECT\":{\"value\":\"object-secret\",\"description\":\"what it is for\"},"
    "\"LOOKUP\":{\"kind\":\"LookupSecret\",\"url\":\"http://127.0.0.1/x\",\"headers\":{\"X-Key\":\"header-secret\"}}}";
static const char *const values[] = {"sk-very-secret", "aws-secret",    "mcp-secret",   "context-secret",
                                     "token-secret",   "object-secret", "header-secret"};

static struct config *make(const struct secrets *secrets, const char *agent, const char *registry,
                           struct err **e)
{
    autojson agent_doc = json_parse(str_from(agent), NULL, NULL);
    autojson secrets_doc = registry ? json_parse(str_from(registry), NULL, NULL) : NULL;
    struct config_source source = {
        .agent = json_root(agent_doc),
        .secrets = json_root(secrets_doc),
        .working_dir = STR("/work"),
        .max_iterations = 77,
        .stuck_detection = true,
        .autotitle = true,
    };
    return config_make(&source, secrets, NULL, e);
}

static struct state *state_of(struct config *config)
{
    struct state *s = state_new();
    s->id = (struct uuid){{0x7a, 0xd1, 0xd2, 0xa0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 1}};
    s->status = STATUS_IDLE;
    s->config = config;
    s->doc = doc_new();
    s->stats = stats_from_sums(NULL, 0);
    s->created_us = s->updated_us = 1700000000000001;
    return s;
}

static void assert_no_secret(struct str text)
{
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (str_find(text, str_from(values[i])) >= 0)
            fail_msg("%s can be read in: %.*s", values[i], STR_ARG(text));
}

/* ---- ConversationInfo ---- */

/* Reference §2.3 in its order, with the aliases of §1.1. */
static const char *const info_fields[] = {
    "id",
    "workspace",
    "persistence_dir",
    "max_iterations",
    "stuck_detection",
    "execution_status",
    "agent_status",
    "confirmation_policy",
    "security_analyzer",
    "activated_knowledge_skills",
    "invoked_skills",
    "blocked_actions",
    "blocked_messages",
    "last_user_message_id",
    "leaf_event_id",
    "stats",
    "secret_registry",
    "secrets_manager",
    "agent_state",
    "hook_config",
    "title",
    "metrics",
    "created_at",
    "updated_at",
    "forked_from_conversation_id",
    "forked_from_event_id",
    "parent_conversation_id",
    "sub_conversation_ids",
    "tags",
    "current_model_id",
    "available_models",
    "supports_runtime_model_switch",
    "launched_agent_profile",
    "agent",
    "client_tools",
};

static void info_has_every_field_with_both_generations_of_names(void **state)
{
    (void)state;
    struct secrets *secrets = keys("k");
    autoerr e = NULL;
    struct config *config = make(secrets, agent_json, secrets_json, &e);
    assert_non_null(config);
    struct state *s = state_of(config);
    autobuf out = {0};
    state_write_info(s, STR("/data/conversations"), false, &out);
    autojson doc = json_parse(buf_str(&out), NULL, &e);
    if (!doc)
        fail_msg("%s", err_text(e));
    const struct json_value *info = json_root(doc);
    for (struct json_iter it = json_iter(info); json_next(&it);) {
        assert_true(it.index < ARRAY_LEN(info_fields));
        if (!str_is(it.key, info_fields[it.index]))
            fail_msg("field %zu is %.*s, not %s", it.index, STR_ARG(it.key), info_fields[it.index]);
    }
    assert_int_equal(json_count(info), ARRAY_LEN(info_fields));
    assert_true(str_is(json_get_str(info, "id"), "7ad1d2a0-0000-4000-8000-000000000001"));
    assert_true(str_is(json_get_str(info, "persistence_dir"),
                       "/data/conversations/7ad1d2a0000040008000000000000001"));
    assert_true(str_is(json_get_str(info, "execution_status"), "idle"));
    assert_true(json_equal(json_get(info, "execution_status"), json_get(info, "agent_status")));
    assert_true(json_equal(json_get(info, "secret_registry"), json_get(info, "secrets_manager")));
    assert_int_equal(json_count(json_get(json_get(info, "secret_registry"), "secret_sources")),
                     4); /* the context's, too */
    assert_true(str_is(json_get_str(json_get(info, "workspace"), "kind"), "LocalWorkspace"));
    assert_true(str_is(json_get_str(json_get(info, "workspace"), "working_dir"), "/work"));
    assert_int_equal(json_get_int(info, "max_iterations", 0), 77);
    assert_true(str_is(json_get_str(info, "created_at"), "2023-11-14T22:13:20.000001Z"));
    const struct json_value *agent = json_get(info, "agent");
    assert_true(str_is(json_get_str(json_get(agent, "llm"), "api_key"), SECRET_SHOWN));
    assert_int_equal(json_count(json_get(json_get(agent, "agent_context"), "skills")), 0);
    assert_true(json_get_bool(json_get(agent, "something_unknown"), "kept", false));
    assert_no_secret(buf_str(&out));

    autobuf with_skills = {0};
    state_write_info(s, STR("/data/conversations"), true, &with_skills);
    assert_true(str_find(buf_str(&with_skills), STR("a skill")) >= 0);
    assert_no_secret(buf_str(&with_skills));
    state_unref(s);
    secrets_free(secrets);
}

static void assert_no_null(const struct json_value *v, const char *where)
{
    if (json_type(v) == JSON_NULL)
        fail_msg("%s is null", where);
}

static void full_state_has_no_nulls_of_its_own(void **state)
{
    (void)state;
    struct secrets *secrets = keys("k");
    struct state *s = state_of(make(secrets, agent_json, NULL, NULL));
    autobuf out = {0};
    state_write_full(s, STR("/data"), &out);
    autojson doc = json_parse(buf_str(&out), NULL, NULL);
    for (struct json_iter it = json_iter(json_root(doc)); json_next(&it);)
        assert_no_null(it.value, it.key.p);
    assert_true(str_is(json_get_str(json_root(doc), "execution_status"), "idle"));
    assert_true(str_is(json_get_str(json_root(doc), "agent_status"), "idle"));
    assert_non_null(json_get(json_root(doc), "agent"));
    assert_no_secret(buf_str(&out));
    state_unref(s);
    secrets_free(secrets);
}

/* ---- secrets at rest ---- */

static bool opened(const struct config *c, const char *name, const char *value)
{
    for (size_t i = 0; i < mask_count(c->mask); i++)
        if (str_is(mask_name(c->mask, i), name))
            return str_is(mask_value(c->mask, i), value);
    return false;
}

static void secrets_are_sealed_at_rest_and_open_again(void **state)
{
    (void)state;
    struct secrets *secrets = keys("k");
    struct config *made = make(secrets, agent_json, secrets_json, NULL);
    assert_non_null(made);
    assert_no_secret(bytes_str(made->stored));
    struct config *loaded = config_load(bytes_str(made->stored), secrets, NULL, NULL);
    assert_non_null(loaded);
    assert_non_null(loaded->agent);
    assert_null(loaded->problem);
    assert_true(opened(loaded, "TOKEN", "token-secret"));
    assert_true(opened(loaded, "OBJECT", "object-secret"));
    assert_true(str_eq(bytes_str(made->agent_shown), bytes_str(loaded->agent_shown)));
    assert_true(str_eq(bytes_str(made->registry), bytes_str(loaded->registry)));
    assert_no_secret(bytes_str(loaded->registry));

    autojson more = json_parse(STR("{\"TOKEN\":\"a new one\",\"MORE\":\"more of it\"}"), NULL, NULL);
    struct config *added = config_with_secrets(loaded, json_root(more), secrets, NULL, NULL);
    assert_non_null(added);
    assert_true(opened(added, "TOKEN", "a new one"));
    assert_true(opened(added, "OBJECT", "object-secret"));
    assert_true(opened(added, "MORE", "more of it"));
    assert_true(opened(loaded, "TOKEN", "token-secret")); /* the older one is as it was */
    assert_int_equal(added->max_iterations, 77);
    config_unref(added);
    config_unref(loaded);
    config_unref(made);
    secrets_free(secrets);
}

static void what_no_key_opens_is_named(void **state)
{
    (void)state;
    struct secrets *first = keys("first"), *second = keys("second");
    struct config *made = make(first, agent_json, NULL, NULL);
    autoerr e = NULL;
    struct config *c = config_load(bytes_str(made->stored), second, NULL, &e);
    assert_non_null(c);
    assert_null(e);
    assert_null(c->agent);
    assert_non_null(c->problem);
    assert_non_null(strstr(c->problem->text, "CONTEXT"));
    assert_true(str_eq(bytes_str(c->agent_shown), bytes_str(made->agent_shown))); /* it can still be read */

    /* A secret given again under the new key heals the registry. */
    struct config *registry =
        make(first, "{\"llm\":{\"model\":\"scripted/x\"}}", "{\"TOKEN\":\"old\"}", NULL);
    struct config *closed = config_load(bytes_str(registry->stored), second, NULL, NULL);
    assert_null(closed->agent);
    assert_non_null(strstr(closed->problem->text, "TOKEN"));
    autojson again = json_parse(STR("{\"TOKEN\":\"new value\"}"), NULL, NULL);
    struct config *healed = config_with_secrets(closed, json_root(again), second, NULL, NULL);
    assert_non_null(healed);
    assert_non_null(healed->agent);
    assert_null(healed->problem);
    assert_true(opened(healed, "TOKEN", "new value"));
    config_unref(healed);
    config_unref(closed);
    config_unref(registry);
    config_unref(c);
    config_unref(made);
    secrets_free(first);
    secrets_free(second);
}

static void bad_secrets_and_agents_are_refused(void **state)
{
    (void)state;
    struct secrets *secrets = keys("k");
    static const char *const bad[] = {"{\"A\":7}", "{\"A\":[]}", "{\"A\":null}", "{\"\":\"x\"}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        autoerr e = NULL;
        assert_null(make(secrets, agent_json, bad[i], &e));
        assert_non_null(e);
        assert_int_equal(e->kind, ERR_INVALID);
    }
    autoerr e = NULL;
    assert_null(make(secrets, "{\"kind\":\"Agent\"}", NULL, &e));
    assert_non_null(e);
    secrets_free(secrets);
}

/* ---- doc and stats ---- */

static void doc_survives_the_store(void **state)
{
    (void)state;
    struct doc *d = doc_new();
    d->policy = (struct policy){.kind = POLICY_RISKY, .threshold = RISK_MEDIUM, .confirm_unknown = true};
    d->analyzer = bytes_new(STR("{\"kind\":\"LLMSecurityAnalyzer\"}"));
    d->tags = bytes_new(STR("{\"team\":\"a\"}"));
    d->title = bytes_new(STR("A title"));
    d->initial = bytes_new(STR("{\"role\":\"user\",\"content\":[]}"));
    d->has_last_user = true;
    d->last_user = uuid_random();
    d->open_from = 41;
    autobuf text = {0};
    doc_write(d, &text);
    struct doc *back = doc_load(buf_str(&text), STR("A title"), NULL);
    assert_non_null(back);
    assert_int_equal(back->policy.kind, POLICY_RISKY);
    assert_int_equal(back->policy.threshold, RISK_MEDIUM);
    assert_true(back->policy.confirm_unknown);
    assert_true(str_eq(bytes_str(back->analyzer), bytes_str(d->analyzer)));
    assert_true(str_eq(bytes_str(back->tags), bytes_str(d->tags)));
    assert_true(str_eq(bytes_str(back->title), bytes_str(d->title)));
    assert_true(str_eq(bytes_str(back->initial), bytes_str(d->initial)));
    assert_true(back->has_last_user && uuid_eq(&back->last_user, &d->last_user));
    assert_int_equal(back->open_from, 41);
    doc_unref(back);
    doc_unref(d);

    struct doc *empty = doc_new();
    autobuf none = {0};
    doc_write(empty, &none);
    back = doc_load(buf_str(&none), STR_NONE, NULL);
    assert_null(back->title);
    assert_null(back->analyzer);
    assert_null(back->initial);
    assert_false(back->has_last_user);
    assert_int_equal(back->open_from, -1);
    doc_unref(back);
    doc_unref(empty);
    autoerr e = NULL;
    assert_null(doc_load(STR("no json"), STR_NONE, &e));
    assert_non_null(e);
}

static void stats_add_up_and_equal_those_of_the_table(void **state)
{
    (void)state;
    struct llm_usage u = {.prompt_tokens = 10, .completion_tokens = 5, .cost = 0.25, .context_window = 1000};
    struct stats *none = stats_from_sums(NULL, 0);
    struct stats *one = stats_add(none, STR("agent"), STR("m"), &u);
    struct stats *two = stats_add(one, STR("condenser"), STR("m2"), &u);
    struct stats *three = stats_add(two, STR("agent"), STR("m"), &u);
    assert_int_equal(none->n, 0);
    assert_int_equal(one->n, 1);
    assert_int_equal(three->n, 2);
    assert_int_equal(three->at[0].prompt, 20);
    assert_int_equal(three->at[0].per_turn, 15);
    assert_int_equal(one->at[0].prompt, 10); /* immutable */
    assert_int_equal(three->serial, 3);
    struct store_usage_sum sums[] = {
        {.usage_id = STR("agent"),
         .model = STR("m"),
         .cost = 0.5,
         .calls = 2,
         .prompt = 20,
         .completion = 10,
         .context_window = 1000,
         .last_prompt = 10,
         .last_completion = 5},
        {.usage_id = STR("condenser"),
         .model = STR("m2"),
         .cost = 0.25,
         .calls = 1,
         .prompt = 10,
         .completion = 5,
         .context_window = 1000,
         .last_prompt = 10,
         .last_completion = 5},
    };
    struct stats *table = stats_from_sums(sums, 2);
    autobuf a = {0}, b = {0};
    struct json_writer wa = json_writer(&a), wb = json_writer(&b);
    stats_write(three, true, &wa);
    stats_write(table, true, &wb);
    assert_true(str_eq(buf_str(&a), buf_str(&b)));
    assert_int_equal(table->serial, three->serial);
    stats_unref(none);
    stats_unref(one);
    stats_unref(two);
    stats_unref(three);
    stats_unref(table);
}

/* A log may hold what a hand made up. */
static void only_real_directories_are_kept(void **state)
{
    (void)state;
    struct turn t = {0};
    autobuf longest = {0};
    while (longest.n < 4096)
        buf_add_cstr(&longest, "/dir");
    const char *const dirs[] = {"/kept", "relative", "", longest.p};
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        autobuf json = {0};
        buf_addf(&json,
                 "{\"observation\":{\"metadata\":{\"working_dir\":\"%s\"},\"kind\":\"TerminalObservation\"}}",
                 dirs[i]);
        turn_note_cwd(&t, EVENT_OBSERVATION, buf_str(&json));
        assert_string_equal(t.cwd.p, "/kept");
    }
    buf_deinit(&t.cwd);
}

int main(void)
{
    clock_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(info_has_every_field_with_both_generations_of_names),
        cmocka_unit_test(full_state_has_no_nulls_of_its_own),
        cmocka_unit_test(secrets_are_sealed_at_rest_and_open_again),
        cmocka_unit_test(what_no_key_opens_is_named),
        cmocka_unit_test(bad_secrets_and_agents_are_refused),
        cmocka_unit_test(doc_survives_the_store),
        cmocka_unit_test(stats_add_up_and_equal_those_of_the_table),
        cmocka_unit_test(only_real_directories_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
