/* scripted: models that play scripts, from files and built in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "llm_fixture.h"

/* --- scripts --------------------------------------------------------------------------------------------------------- */

static char scripts_dir[] = "/tmp/test_llm.XXXXXX";

static void script_write(const char *name, const char *lines)
{
    autobuf path = {0};
    buf_addf(&path, "%s/%s.jsonl", scripts_dir, name);
    autofd int fd = open(path.p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd_write_all(fd, str_from(lines), NULL));
}

static void script_remove(const char *name)
{
    autobuf path = {0};
    buf_addf(&path, "%s/%s.jsonl", scripts_dir, name);
    unlink(path.p);
}

static void test_script_file(void **state)
{
    (void)state;
    script_write("mine",
                 "# a comment\n\n"
                 "{\"text\":\"first\",\"reasoning\":\"why\",\"usage\":{\"prompt_tokens\":3,\"cost\":0.5}}\n"
                 "{\"no_tools\":true,\"text\":\"a title\"}\n"
                 "{\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":\"ls\"}},"
                 "{\"name\":\"think\",\"arguments\":\"half {\",\"id\":\"mine\"}]}\n"
                 "{\"error\":{\"status\":429,\"message\":\"busy\",\"times\":2},\"text\":\"at last\"}\n"
                 "{\"error\":{\"status\":400,\"message\":\"prompt is too long\"}}\n"
                 "nonsense\n");
    struct fixture f;
    fixture_init(&f, "scripted/mine", ",\"stream\":true,\"retry_min_wait\":0,\"retry_multiplier\":0");
    f.context.scripts_dir = str_from(scripts_dir);
    expect_answer(&f);
    assert_str(f.answer.text, "first");
    assert_str(f.answer.reasoning, "why");
    assert_true(f.answer.usage.cost == 0.5);
    assert_true(str_is(buf_str(&f.deltas), "first"));
    f.request.turn = 1;
    expect_answer(&f);
    assert_int_equal(f.answer.call_count, 2);
    assert_str(f.answer.calls[0].arguments, "{\"command\":\"ls\"}");
    assert_str(f.answer.calls[1].arguments, "half {");
    assert_str(f.answer.calls[1].id, "mine");
    f.request.turn = 2;
    expect_answer(&f);
    assert_str(f.answer.text, "at last");
    assert_int_equal(f.retries, 2);
    f.request.turn = 3;
    assert_false(complete(&f));
    assert_string_equal(f.e->code, "LLMContextWindowExceedError");
    err_free(f.e);
    f.e = NULL;
    f.request.turn = 4;
    assert_false(complete(&f));
    assert_string_equal(f.e->code, "LLMBadRequestError");
    err_free(f.e);
    f.e = NULL;
    f.request.turn = 5;
    expect_answer(&f);
    assert_int_equal(f.answer.call_count, 0);
    assert_true(f.answer.text.n > 0);
    f.request.tool_count = 0;
    expect_answer(&f);
    assert_str(f.answer.text, "a title");
    fixture_deinit(&f);
    script_remove("mine");
}

static void test_script_delay_and_cancel(void **state)
{
    (void)state;
    script_write(
        "slow",
        "{\"text\":\"slow\",\"delay_ms\":30}\n{\"text\":\"never\",\"delay_ms\":3600000,\"repeat\":true}\n");
    struct fixture f;
    fixture_init(&f, "scripted/slow", "");
    f.context.scripts_dir = str_from(scripts_dir);
    expect_answer(&f);
    assert_true(f.answer.usage.seconds >= 0.03);
    f.request.turn = 9;
    mailbox_cancel(f.mailbox);
    assert_false(complete(&f));
    assert_int_equal(f.e->kind, ERR_CANCELLED);
    fixture_deinit(&f);
    script_remove("slow");
}

static void test_script_names(void **state)
{
    (void)state;
    static const char *const names[] = {"scripted/../etc/passwd", "scripted/.hidden", "scripted/a/b",
                                        "scripted/none"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct fixture f;
        fixture_init(&f, names[i], "");
        f.context.scripts_dir = str_from(scripts_dir);
        assert_false(complete(&f));
        assert_string_equal(f.e->code, i == 3 ? "NotFoundError" : "LLMBadRequestError");
        fixture_deinit(&f);
    }
}

/* The built-in scripts are well-formed to their ends, and each does what it is there for. */
static void test_builtin_scripts(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, "scripted/demo", "");
    for (f.request.turn = 0; f.request.turn < 5; f.request.turn++) {
        expect_answer(&f);
        assert_int_equal(f.answer.call_count, 1);
        assert_true(f.answer.text.n > 0);
        autojson arguments = json_parse(f.answer.calls[0].arguments, NULL, NULL);
        assert_int_equal(json_type(json_root(arguments)), JSON_OBJECT);
        assert_str(f.answer.calls[0].name, f.request.turn == 4 ? "finish" : "terminal");
    }
    fixture_deinit(&f);
    static const struct {
        const char *model, *tool;
    } endless[] = {{"scripted/think", "think"}, {"scripted/true", "terminal"}, {"scripted/finish", "finish"}};
    for (size_t i = 0; i < ARRAY_LEN(endless); i++) {
        fixture_init(&f, endless[i].model, "");
        expect_answer(&f);
        struct str first = f.answer.calls[0].arguments;
        f.request.turn = 100000;
        expect_answer(&f);
        assert_str(f.answer.calls[0].name, endless[i].tool);
        assert_true(i == 2 || !str_eq(first, f.answer.calls[0].arguments));
        fixture_deinit(&f);
    }
    fixture_init(&f, "scripted/text", "");
    expect_answer(&f);
    assert_int_equal(f.answer.call_count, 0);
    fixture_deinit(&f);
}

/* The demonstration's commands in a real shell: the check fails, is repaired, and passes. */
static void test_demo_commands(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, "scripted/demo", "");
    static const int status[] = {0, 1, 0, 0};
    for (f.request.turn = 0; f.request.turn < 4; f.request.turn++) {
        expect_answer(&f);
        autojson arguments = json_parse(f.answer.calls[0].arguments, NULL, NULL);
        autobuf script = {0};
        buf_addf(&script, "cd '%s' || exit 9\n", scripts_dir);
        buf_add(&script, json_get_str(json_root(arguments), "command"));
        autofree char *silent = str_dup(STR("exec >/dev/null 2>&1\n"));
        buf_insert(&script, 0, str_from(silent));
        char *argv[] = {"sh", "-c", script.p, NULL};
        pid_t pid;
        int ended;
        assert_int_equal(posix_spawnp(&pid, "sh", NULL, NULL, argv, environ), 0);
        assert_int_equal(waitpid(pid, &ended, 0), pid);
        assert_int_equal(WEXITSTATUS(ended), status[f.request.turn]);
    }
    fixture_deinit(&f);
    static const char *const files[] = {"primes.sh", "check.sh"};
    for (size_t i = 0; i < 2; i++) {
        autobuf path = {0};
        buf_addf(&path, "%s/%s", scripts_dir, files[i]);
        assert_int_equal(unlink(path.p), 0);
    }
}

static int setup(void **state)
{
    return mkdtemp(scripts_dir) ? servers_start(state) : -1;
}

static int teardown(void **state)
{
    servers_stop(state);
    return rmdir(scripts_dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_script_file),   cmocka_unit_test(test_script_delay_and_cancel),
        cmocka_unit_test(test_script_names),  cmocka_unit_test(test_builtin_scripts),
        cmocka_unit_test(test_demo_commands),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
