/* Skills: the forms in which they come, when their triggers fire, and what the model reads of them. */
#include "agent/skill/skill.h"
#include "base/cleanup.h"
#include "base/utf8.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static int setup(void **state)
{
    *state = arena_new();
    return 0;
}

static int teardown(void **state)
{
    arena_free(*state);
    return 0;
}

static struct skill decode(struct arena *arena, const char *json)
{
    autojson doc = json_parse(str_from(json), NULL, NULL);
    autoerr e = NULL;
    struct skill s;
    assert_non_null(doc);
    if (!skill_decode(json_root(doc), arena, &s, &e))
        fail_msg("%s: %s", json, e->text);
    return s;
}

static void refused(struct arena *arena, const char *json, const char *part)
{
    autojson doc = json_parse(str_from(json), NULL, NULL);
    autoerr e = NULL;
    struct skill s;
    assert_false(skill_decode(json_root(doc), arena, &s, &e));
    if (!strstr(e->text, part))
        fail_msg("'%s' does not say '%s'", e->text, part);
}

static bool fires(const struct skill *s, const char *message)
{
    autobuf folded = {0};
    skill_fold(&folded, str_from(message));
    return skill_match(s, buf_str(&folded)).p != NULL;
}

static void test_forms(void **state)
{
    struct skill s = decode(*state, "{\"name\":\"repo.md\",\"type\":\"repo\",\"content\":\"Be grumpy.\"}");
    assert_int_equal(s.trigger, SKILL_ALWAYS);
    s = decode(*state,
               "{\"name\":\"f\",\"type\":\"knowledge\",\"content\":\"c\",\"trigger\":[\"flarglebargle\"]}");
    assert_int_equal(s.trigger, SKILL_KEYWORD);
    assert_true(fires(&s, "please flarglebargle now"));
    s = decode(
        *state,
        "{\"name\":\"f\",\"content\":\"c\",\"trigger\":{\"type\":\"keyword\",\"keywords\":[\"a\",\"b\"]}}");
    assert_int_equal(s.word_count, 2);
    s = decode(
        *state,
        "{\"name\":\"f\",\"content\":\"Use ${branch}.\",\"trigger\":{\"type\":\"task\",\"triggers\":[\"/f\"]}}");
    assert_int_equal(s.trigger, SKILL_TASK);
    assert_true(s.content.n > strlen("Use ${branch}.") && fires(&s, "run /f"));
    s = decode(*state,
               "{\"name\":\"f\",\"content\":\"c\",\"trigger\":{\"type\":\"path\",\"paths\":[\"*.py\"]}}");
    assert_true(s.trigger == SKILL_PATH && s.trigger_only && !fires(&s, "a.py"));
    s = decode(*state, "{\"name\":\"f\",\"content\":\"c\",\"trigger\":null,\"is_agentskills_format\":true}");
    assert_true(s.is_agentskills && s.trigger == SKILL_ALWAYS);
    refused(*state, "{\"content\":\"c\"}", "name");
    refused(*state, "{\"name\":\"a\",\"content\":5}", "content should be a string");
    refused(*state, "{\"name\":\"a\",\"trigger\":{\"type\":\"moon\"}}", "trigger.type");
    refused(*state, "{\"name\":\"a\",\"trigger\":[1]}", "trigger.0");
    refused(*state, "[]", "an object");
}

static void test_there_and_back(void **state)
{
    struct skill s =
        decode(*state, "{\"name\":\"f\",\"content\":\"c\",\"source\":\"/a/b.md\",\"trigger\":{\"type\":"
                       "\"keyword\",\"keywords\":[\"x\"]},\"disable_model_invocation\":true}");
    autobuf out = {0};
    struct json_writer w = json_writer(&out);
    skill_write(&s, &w);
    struct skill again = decode(*state, out.p);
    assert_true(str_is(again.name, "f") && str_is(again.source, "/a/b.md") && again.trigger_only);
    assert_true(again.trigger == SKILL_KEYWORD && str_is(again.words[0], "x") && !again.description.p);
}

static void test_words(void **state)
{
    struct skill s =
        decode(*state, "{\"name\":\"f\",\"trigger\":[\"git\",\"/linear\",\"Über uns\",\"c++\"]}");
    assert_true(fires(&s, "use GIT, please"));
    assert_true(fires(&s, "git"));
    assert_true(fires(&s, "(git)"));
    assert_false(fires(&s, "look at github"));
    assert_false(fires(&s, "digit"));
    assert_true(fires(&s, "a /linear ticket"));
    assert_false(fires(&s, "x/linear2"));
    assert_true(fires(&s, "erz\xC3\xA4hl \xC3\xBC"
                          "ber uns was"));
    assert_true(fires(&s, "in C++."));
    assert_false(fires(&s, ""));
    assert_true(fires(&s, "github and git"));
}

static bool path_fires(struct arena *arena, const char *pattern, const char *path)
{
    autobuf json = {0};
    buf_addf(&json, "{\"name\":\"f\",\"trigger\":{\"type\":\"path\",\"paths\":[\"%s\"]}}", pattern);
    struct skill s = decode(arena, json.p);
    unsigned steps = 0;
    return skill_match_path(&s, str_from(path), &steps).p != NULL;
}

static void test_paths(void **state)
{
    assert_true(path_fires(*state, "*.py", "src/a/b.py"));
    assert_true(path_fires(*state, "src/*.py", "src/b.py"));
    assert_false(path_fires(*state, "src/*.py", "src/a/b.py"));
    assert_true(path_fires(*state, "src/**/*.py", "src/a/c/b.py"));
    assert_true(path_fires(*state, "src/**/*.py", "src/b.py"));
    assert_true(path_fires(*state, "server/**", "server/x/y"));
    assert_false(path_fires(*state, "server/**", "servers/x"));
    assert_true(path_fires(*state, "a?c", "x/abc"));
    assert_false(path_fires(*state, "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b",
                            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
}

/* All patterns together may take so long, not each. */
static void test_path_steps(void **state)
{
    struct skill bomb = decode(*state, "{\"name\":\"f\",\"trigger\":{\"type\":\"path\",\"paths\":["
                                       "\"*a*a*a*a*a*a*a*a*a*a*a*a*b\",\"*a*a*a*a*a*a*a*a*a*a*a*a*a*b\"]}}");
    struct str path = STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    unsigned steps = 0;
    for (int i = 0; i < 3; i++)
        assert_null(skill_match_path(&bomb, path, &steps).p);
    assert_in_range(steps, SKILL_PATH_STEPS_MAX, SKILL_PATH_STEPS_MAX + 10);
}

static void file_fails(struct arena *arena, enum skill_file kind, const char *text, const char *part)
{
    autoerr e = NULL;
    struct skill s;
    assert_false(skill_file_decode(kind, STR("/w/x"), STR("x"), str_from(text), arena, &s, &e));
    if (!strstr(e->text, part))
        fail_msg("'%s' does not say '%s'", e->text, part);
}

static struct skill file(struct arena *arena, enum skill_file kind, const char *text)
{
    autoerr e = NULL;
    struct skill s;
    if (!skill_file_decode(kind, STR("/w/x"), STR("x"), str_from(text), arena, &s, &e))
        fail_msg("%s: %s", text, e->text);
    return s;
}

static void test_files(void **state)
{
    struct skill s = file(*state, SKILL_FILE_GUIDE, "---\nnot: front matter\n---\n# Hi\n");
    assert_true(str_is(s.content, "---\nnot: front matter\n---\n# Hi\n") && s.trigger == SKILL_ALWAYS);
    s = file(*state, SKILL_FILE_PLAIN,
             "---\nname: deploy\ntriggers:\n- ship it\n- \"42\"\n---\n\nHow to ship.\n");
    assert_true(str_is(s.name, "deploy") && s.trigger == SKILL_KEYWORD && s.word_count == 2);
    assert_true(str_is(s.content, "How to ship.") && str_is(s.source, "/w/x") && !s.is_agentskills);
    s = file(*state, SKILL_FILE_PLAIN, "just text\n---\n");
    assert_true(str_is(s.name, "x") && s.trigger == SKILL_ALWAYS && str_is(s.content, "just text\n---"));
    s = file(
        *state, SKILL_FILE_AGENT,
        "---\r\nname: x\r\ndescription: >\r\n  Two\r\n  lines\r\ndisable-model-invocation: true\r\n---\r\nBody");
    assert_true(s.is_agentskills && s.trigger_only && str_starts(s.description, STR("Two lines")));
    s = file(*state, SKILL_FILE_PLAIN, "---\ntriggers: [a]\npaths: 'src/*.c, *.h'\n---\nC rules");
    assert_true(s.trigger == SKILL_PATH && s.word_count == 2 && str_is(s.words[1], "*.h"));
    s = file(*state, SKILL_FILE_PLAIN, "---\ninputs:\n- name: branch\n  description: which\n---\nDo");
    assert_true(s.trigger == SKILL_TASK && str_is(s.words[0], "/x"));
    s = file(*state, SKILL_FILE_PLAIN, "---\n---\nEmpty front matter");
    assert_true(str_is(s.content, "Empty front matter"));
}

static void test_bad_files(void **state)
{
    autobuf deep = {0}, big = {0};
    file_fails(*state, SKILL_FILE_AGENT, "---\nname: y\n---\n", "not that of its directory");
    file_fails(*state, SKILL_FILE_AGENT, "---\nname: X_Y\n---\n", "lower-case");
    file_fails(*state, SKILL_FILE_PLAIN, "---\na: &a [1]\nb: *a\n---\n", "alias");
    file_fails(*state, SKILL_FILE_PLAIN, "---\na: [1\n---\n", "bad YAML");
    file_fails(*state, SKILL_FILE_PLAIN, "---\n- a\n---\n", "no map");
    file_fails(*state, SKILL_FILE_PLAIN, "---\ntriggers: word\n---\n", "not a list");
    file_fails(*state, SKILL_FILE_PLAIN, "---\n? [a]\n: b\n---\n", "no plain text");
    file_fails(*state, SKILL_FILE_PLAIN, "caf\xE9", "UTF-8");
    buf_add(&deep, STR("---\na: "));
    for (int i = 0; i < 1000; i++)
        buf_add_char(&deep, '[');
    buf_add(&deep, STR("\n---\n"));
    file_fails(*state, SKILL_FILE_PLAIN, deep.p, "levels");
    for (int i = 0; i <= SKILL_FILE_MAX; i++)
        buf_add_char(&big, 'x');
    file_fails(*state, SKILL_FILE_PLAIN, big.p, "more than");
}

static void test_sets(void **state)
{
    struct skill_set set = {0};
    autoerr e = NULL;
    struct skill a = decode(*state, "{\"name\":\"a\",\"content\":\"A\"}");
    assert_true(skill_set_add(&set, &a, &e) && !skill_set_add(&set, &a, &e));
    assert_non_null(strstr(e->text, "Duplicate skill name found: a"));
    assert_ptr_equal(skill_set_find(&set, STR("a")), &a);
    assert_null(skill_set_find(&set, STR("b")));
    assert_false(skill_set_invocable(&set));
    skill_set_deinit(&set);
}

static void has(const struct buf *text, const char *part, bool wanted)
{
    if ((str_find(buf_str(text), str_from(part)) >= 0) != wanted)
        fail_msg("'%s' %s in: %s", part, wanted ? "is not" : "is", text->p);
}

static void test_prompt(void **state)
{
    struct skill_set set = {0};
    static const char *const jsons[] = {
        "{\"name\":\"house\",\"content\":\"Use tabs.\"}",
        "{\"name\":\"claude\",\"content\":\"For Claude.\"}",
        "{\"name\":\"pdf\",\"content\":\"Long text\",\"description\":\"Reads <PDF> & more\",\"is_agentskills_format\":true}",
        "{\"name\":\"word\",\"content\":\"# Head\\n\\nFirst line\\nSecond\",\"trigger\":[\"w\"]}",
        "{\"name\":\"hidden\",\"content\":\"H\",\"is_agentskills_format\":true,\"disable_model_invocation\":true}",
    };
    struct skill skills[ARRAY_LEN(jsons)];
    for (size_t i = 0; i < ARRAY_LEN(jsons); i++) {
        skills[i] = decode(*state, jsons[i]);
        assert_true(skill_set_add(&set, &skills[i], NULL));
    }
    autobuf out = {0}, other = {0};
    skill_prompt(&set, STR("anthropic/claude-sonnet"), &out);
    has(&out, "<REPO_CONTEXT>", true);
    has(&out, "Use tabs.", true);
    has(&out, "For Claude.", true);
    has(&out, "<name>pdf</name>", true);
    has(&out, "Reads &lt;PDF&gt; &amp; more", true);
    has(&out, "Long text", false);
    has(&out, "<description>First line</description>", true);
    has(&out, "hidden", false);
    skill_prompt(&set, STR("openai/gpt-4o"), &other);
    has(&other, "For Claude.", false);
    assert_true(skill_set_invocable(&set));
    skill_set_deinit(&set);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_forms),     TEST(test_there_and_back), TEST(test_words),
        TEST(test_paths),     TEST(test_path_steps),     TEST(test_files),
        TEST(test_bad_files), TEST(test_sets),           TEST(test_prompt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
