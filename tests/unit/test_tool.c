#include "agent_fixture.h"
#include "agent/tools/terminal.h"

static const struct tool_set all = {.at = {&tool_terminal, &tool_file_editor, &tool_finish, &tool_think},
                                    .n = 4};

/* "ACTION NORMALIZED SUMMARY RISK", or the error's text. */
static char *decoded(const struct tool *tool, const char *arguments, bool with_risk)
{
    autoarena arena = arena_new();
    autobuf out = {0};
    autoerr e = NULL;
    struct tool_arguments a;
    if (!tool_decode(tool, S(arguments), with_risk, NULL, arena, &a, &e)) {
        buf_add_cstr(&out, err_text(e));
        return (char *)buf_take(&out).p;
    }
    autojson doc = json_parse(a.action, NULL, &e);
    autojson normalized = json_parse(a.normalized, NULL, &e);
    if (!doc || !normalized)
        fail_msg("%s: %s", err_text(e), arguments);
    buf_addf(&out, "%.*s\n%.*s\n%.*s\n%.*s", STR_ARG(a.action), STR_ARG(a.normalized), STR_ARG(a.summary),
             STR_ARG(a.risk));
    return (char *)buf_take(&out).p;
}

static void check(const struct tool *tool, const char *arguments, bool with_risk, const char *expected)
{
    autofree char *text = decoded(tool, arguments, with_risk);
    assert_string_equal(text, expected);
}

static void refused(const struct tool *tool, const char *arguments, const char *first, const char *second)
{
    autofree char *text = decoded(tool, arguments, true);
    if (strncmp(text, "Error validating tool '", 23) != 0)
        fail_msg("%s gave %s", arguments, text);
    assert_has(text, first);
    assert_has(text, second);
}

static void test_plain(void **state)
{
    (void)state;
    check(&tool_terminal, "{\"command\":\"ls é\",\"summary\":\"List\",\"security_risk\":\"LOW\"}", true,
          "{\"command\":\"ls é\",\"is_input\":false,\"reset\":false,\"kind\":\"TerminalAction\"}\n"
          "{\"command\": \"ls \\u00e9\", \"summary\": \"List\", \"security_risk\": \"LOW\"}\nList\nLOW");
    check(
        &tool_terminal, "{\"command\":\"x\",\"timeout\":5,\"reset\":null,\"is_input\":\"true\"}", false,
        "{\"command\":\"x\",\"is_input\":true,\"timeout\":5.0,\"reset\":false,\"kind\":\"TerminalAction\"}\n"
        "{\"command\": \"x\", \"timeout\": 5, \"is_input\": \"true\"}\n"
        "terminal: {\"command\": \"x\", \"timeout\": 5, \"is_input\": \"true\"}\nUNKNOWN");
    check(
        &tool_think, "{\"thought\":\"a\\nb\"}", true,
        "{\"thought\":\"a\\nb\",\"kind\":\"ThinkAction\"}\n{\"thought\": \"a\\nb\"}\nthink: {\"thought\": \"a\\nb\"}\nUNKNOWN");
}

/* Lists of objects: defaults filled in, what is unknown left out, and the list as text read as what it holds. */
static void test_lists(void **state)
{
    (void)state;
    const char *action =
        "{\"command\":\"plan\",\"task_list\":[{\"title\":\"a\",\"notes\":\"\",\"status\":\"todo\"},"
        "{\"title\":\"b\",\"notes\":\"n\",\"status\":\"in_progress\"}],\"kind\":\"TaskTrackerAction\"}\n";
    autofree char *plain =
        decoded(&tool_task_tracker,
                "{\"command\":\"plan\",\"task_list\":[{\"title\":\"a\",\"id\":7},{\"title\":\"b\","
                "\"notes\":\"n\",\"status\":\"in_progress\"}]}",
                false);
    assert_int_equal(strncmp(plain, action, strlen(action)), 0);
    autofree char *text =
        decoded(&tool_task_tracker,
                "{\"command\":\"plan\",\"task_list\":\"[{\\\"title\\\":\\\"a\\\"},{\\\"title\\\":"
                "\\\"b\\\",\\\"notes\\\":\\\"n\\\",\\\"status\\\":\\\"in_progress\\\"}]\"}",
                false);
    assert_int_equal(strncmp(text, action, strlen(action)), 0);
    autofree char *empty = decoded(&tool_task_tracker, "{}", false);
    assert_has(empty, "{\"command\":\"view\",\"task_list\":[],\"kind\":\"TaskTrackerAction\"}\n");
    refused(&tool_task_tracker, "{\"command\":\"plan\",\"task_list\":[{\"notes\":\"x\"}]}",
            "task_list.0.title", "required");
    refused(&tool_task_tracker, "{\"task_list\":[{\"title\":\"x\",\"status\":\"doing\"}]}",
            "task_list.0.status", "todo");
    check(
        &tool_file_editor, "{\"command\":\"view\",\"path\":\"/x\",\"view_range\":[1,-1]}", false,
        "{\"command\":\"view\",\"path\":\"/x\",\"view_range\":[1,-1],\"kind\":\"FileEditorAction\"}\n"
        "{\"command\": \"view\", \"path\": \"/x\", \"view_range\": [1, -1]}\nfile_editor: {\"command\": \"view\", "
        "\"path\": \"/x\", \"view_range\": [1, -1]}\nUNKNOWN");
    check(
        &tool_apply_patch, "{\"input\":\"p\"}", false,
        "{\"patch\":\"p\",\"kind\":\"ApplyPatchAction\"}\n{\"input\": \"p\"}\napply_patch: {\"input\": \"p\"}\nUNKNOWN");
}

static void test_risk(void **state)
{
    (void)state;
    const char *action =
        "{\"command\":\"x\",\"is_input\":false,\"reset\":false,\"kind\":\"TerminalAction\"}\n";
    autobuf expected = {0};
    buf_addf(&expected,
             "%s{\"command\": \"x\", \"security_risk\": \"medium\", \"summary\": \"s\"}\ns\nMEDIUM", action);
    check(&tool_terminal, "{\"command\":\"x\",\"securityRisk\":\"medium\",\"summary\":\"s\"}", true,
          expected.p);
    refused(&tool_terminal, "{\"command\":\"x\",\"security_risk\":\"none\"}", "security_risk",
            "UNKNOWN, LOW, MEDIUM and HIGH");
    autofree char *unwanted =
        decoded(&tool_terminal, "{\"command\":\"x\",\"security_risk\":\"none\"}", false);
    assert_has(unwanted, "\nUNKNOWN");
    autofree char *read_only = decoded(&tool_think, "{\"thought\":\"x\",\"security_risk\":\"HIGH\"}", true);
    assert_has(read_only, "\nUNKNOWN");
    /* Of several spellings the first counts, and the second is an argument like any other. */
    refused(&tool_terminal, "{\"command\":\"x\",\"riskLevel\":\"HIGH\",\"securityRisk\":\"LOW\"}",
            "securityRisk: ", "Extra inputs");
}

static void test_repairs(void **state)
{
    (void)state;
    /* bare control characters inside of strings */
    autofree char *raw = decoded(&tool_terminal, "{\"command\":\"a\nb\tc\"}", false);
    assert_has(raw, "{\"command\":\"a\\nb\\tc\",");
    /* a bare string, nothing, and what is no object */
    autofree char *bare = decoded(&tool_terminal, "\"ls -la\"", false);
    assert_has(bare, "{\"command\":\"ls -la\",");
    refused(&tool_terminal, "", "command", "Parameters given: none");
    refused(&tool_terminal, "[1]", "command", "Parameters given: none");
    /* a list in a string */
    autofree char *list = decoded(&tool_file_editor,
                                  "{\"command\":\"view\",\"path\":\"/a\",\"view_range\":\"[1, 20]\"}", false);
    assert_has(list, "\"view_range\":[1,20],\"kind\":\"FileEditorAction\"}");
    assert_has(list, "\"view_range\": [1, 20]}");
    /* the editor's command by its other arguments */
    autofree char *replace =
        decoded(&tool_file_editor, "{\"path\":\"/a\",\"old_str\":\"a\",\"new_str\":\"\"}", false);
    assert_has(replace,
               "{\"command\":\"str_replace\",\"path\":\"/a\",\"old_str\":\"a\",\"new_str\":\"\",\"kind\"");
    autofree char *insert =
        decoded(&tool_file_editor, "{\"path\":\"/a\",\"insert_line\":0,\"new_str\":\"a\"}", false);
    assert_has(insert, "{\"command\":\"insert\",");
    assert_has(insert, "\"insert_line\":0,");
    autofree char *create = decoded(&tool_file_editor, "{\"path\":\"/a\",\"file_text\":\"a\"}", false);
    assert_has(create, "{\"command\":\"create\",");
    autofree char *view = decoded(&tool_file_editor, "{\"path\":\"/a\"}", false);
    assert_has(view, "{\"command\":\"view\",\"path\":\"/a\",\"kind\"");
}

static void test_refusals(void **state)
{
    (void)state;
    refused(&tool_terminal, "{\"command\":", "not valid JSON", "terminal");
    refused(&tool_terminal, "<html>", "not valid JSON", "");
    refused(&tool_terminal, "{\"command\":\"x\",\"cwd\":\"/\",\"y\":1}", "cwd",
            "Parameters given: command, cwd, y.");
    refused(&tool_terminal, "{\"command\":7}", "command", "string");
    refused(&tool_terminal, "{\"command\":\"x\",\"timeout\":-1}", "timeout", "0");
    refused(&tool_terminal, "{\"command\":\"x\",\"timeout\":\"soon\"}", "timeout", "number");
    refused(&tool_file_editor, "{\"command\":\"delete\",\"path\":\"/a\"}", "command", "str_replace");
    refused(&tool_file_editor, "{\"command\":\"insert\",\"path\":\"/a\",\"insert_line\":-3}", "insert_line",
            "0");
    refused(&tool_finish, "{}", "message", "Parameters given: none");

    autobuf many = {0}, huge = {0};
    buf_add_char(&many, '{');
    for (int i = 0; i < 100; i++)
        buf_addf(&many, "%s\"k%d\":1", i ? "," : "", i);
    buf_add_char(&many, '}');
    refused(&tool_terminal, many.p, "more than 64", "k0, k1");
    buf_add(&huge, STR("{\"command\":\""));
    memset(buf_reserve(&huge, LLM_ARGUMENTS_MAX), 'x', LLM_ARGUMENTS_MAX);
    huge.n += LLM_ARGUMENTS_MAX;
    buf_add(&huge, STR("\"}"));
    refused(&tool_terminal, huge.p, "8388608", "smaller calls");
    autobuf deep = {0};
    for (int i = 0; i < 1000; i++)
        buf_add_char(&deep, '[');
    refused(&tool_terminal, deep.p, "not valid JSON", "");
}

static void resolves(const char *name, const char *arguments, const struct tool *tool, const char *expected)
{
    autoarena arena = arena_new();
    struct str text = S(arguments);
    assert_ptr_equal(tool_resolve(&all, S(name), &text, arena), tool);
    assert_string_equal(arena_cstr(arena, text), expected);
}

static void test_names(void **state)
{
    (void)state;
    resolves("terminal", "{}", &tool_terminal, "{}");
    resolves("execute_bash", "{}", &tool_terminal, "{}");
    resolves("str_replace_editor", "{}", &tool_file_editor, "{}");
    resolves("think<|channel|>", "{}", &tool_think, "{}");
    resolves("git", "{\"command\":\"status\",\"summary\":\"s\"}", &tool_terminal,
             "{\"command\":\"git status\",\"summary\":\"s\"}");
    resolves("git", "{\"command\":\"git status\"}", &tool_terminal, "{\"command\":\"git status\"}");
    resolves("git", "{\"security_risk\":\"HIGH\",\"command\":\"push\",\"timeout\":60}", &tool_terminal,
             "{\"command\":\"git push\",\"security_risk\":\"HIGH\",\"timeout\":60}");
    resolves("pwd", "{\"security_risk\":\"LOW\"}", &tool_terminal,
             "{\"command\":\"pwd\",\"security_risk\":\"LOW\"}");
    resolves("git", "{}", &tool_terminal, "{\"command\":\"git\"}");
    resolves("reset", "{}", &tool_terminal, "{\"command\":\"\",\"reset\":true}");
    resolves("ls", "{}", &tool_terminal, "{\"command\":\"ls\"}");
    resolves("ls", "{\"path\":\"/\"}", NULL, "{\"path\":\"/\"}");
    resolves("grep", "{\"pattern\":\"it's\",\"path\":\"src\",\"include\":\"*.c\"}", &tool_terminal,
             "{\"command\":\"grep -rn '--include=*.c' -- 'it'\\\\''s' 'src'\"}");
    resolves("browser", "{}", NULL, "{}");
    resolves("", "{}", NULL, "{}");
    struct tool_set small = {.at = {&tool_finish}, .n = 1};
    autoarena arena = arena_new();
    struct str text = STR("{}");
    assert_null(tool_resolve(&small, STR("bash"), &text, arena));
    assert_null(tool_resolve(&small, STR("ls"), &text, arena));
    assert_ptr_equal(tool_find(STR("BashTool")), &tool_terminal);
    assert_ptr_equal(tool_find(STR("ThinkTool")), &tool_think);
    assert_ptr_equal(tool_find(STR("TaskTrackerTool")), &tool_task_tracker);
    assert_ptr_equal(tool_find(STR("task_tracker")), &tool_task_tracker);
    assert_null(tool_find(STR("bash")));
}

static void test_parameters(void **state)
{
    (void)state;
    for (size_t i = 0; tool_at(i); i++) {
        autoerr e = NULL;
        autojson doc = json_parse(tool_parameters_text(tool_at(i), true), NULL, &e);
        if (!doc)
            fail_msg("%s", err_text(e));
        const struct json_value *properties = json_get(json_root(doc), "properties");
        struct json_iter it = json_iter(properties);
        assert_true(json_next(&it));
        assert_true(str_is(it.key, tool_at(i)->read_only ? "summary" : "security_risk"));
        assert_null(json_get(properties, "kind"));
        assert_true(strlen(tool_at(i)->description) > 20);
    }
    autofree char *text = str_dup(tool_parameters_text(&tool_terminal, false));
    assert_lacks(text, "security_risk");
    assert_has(text, "\"required\":[\"command\"]");
}

static void test_literals(void **state)
{
    (void)state;
    static const char *const literal[] = {"[{\"a\":1}]",          "[\"ls\"]", "['ls', '-l']", "[[1,2]]",
                                          "{\"command\":\"ls\"}", "{'a': 1}"};
    static const char *const shell[] = {"[ -f x ] && echo", "[[ -f x ]]", "{ ls; }", "ls", "", "[", "(cd x)"};
    for (size_t i = 0; i < ARRAY_LEN(literal); i++) {
        autobuf out = {0};
        assert_true(terminal_literal(S(literal[i]), &out));
        assert_has(out.p, "plain text");
    }
    for (size_t i = 0; i < ARRAY_LEN(shell); i++) {
        autobuf out = {0};
        assert_false(terminal_literal(S(shell[i]), &out));
    }
}

static char *remark(struct terminal_facts f)
{
    autobuf out = {0};
    terminal_prefix(&f, &out);
    buf_add_char(&out, '|');
    terminal_suffix(&f, &out);
    return (char *)buf_take(&out).p;
}

static void test_remarks(void **state)
{
    (void)state;
    autofree char *done = remark((struct terminal_facts){.kind = TERMINAL_COMPLETED, .exit_code = 3});
    assert_string_equal(done, "|\n[The command completed with exit code 3.]");
    autofree char *key = remark((struct terminal_facts){
        .kind = TERMINAL_COMPLETED, .exit_code = 130, .is_input = true, .command = STR("C-c")});
    assert_has(key, "130. CTRL+C was sent.]");
    autofree char *lost = remark((struct terminal_facts){.kind = TERMINAL_COMPLETED, .exit_code = -1});
    assert_has(lost, "unknown");
    autofree char *soft = remark((struct terminal_facts){.kind = TERMINAL_SOFT_TIMEOUT, .exit_code = -1});
    assert_has(soft, "\n[No new output for 30 seconds");
    assert_has(soft, "`is_input`=`true`");
    autofree char *hard =
        remark((struct terminal_facts){.kind = TERMINAL_HARD_TIMEOUT, .exit_code = -1, .timeout = 1});
    assert_has(hard, "timed out after 1.0 seconds");
    autofree char *occupied =
        remark((struct terminal_facts){.kind = TERMINAL_OCCUPIED, .exit_code = -1, .command = STR("ls")});
    assert_has(occupied, "previous command");
    assert_has(occupied, "`ls` was not run");
    autofree char *fresh =
        remark((struct terminal_facts){.kind = TERMINAL_COMPLETED, .fresh = true, .seen = true});
    assert_has(fresh, "variables, jobs and background processes");
    autofree char *first = remark((struct terminal_facts){.kind = TERMINAL_COMPLETED, .fresh = true});
    assert_lacks(first, "variables");
    autofree char *ended = remark((struct terminal_facts){.kind = TERMINAL_SHELL_ENDED, .exit_code = 7});
    assert_has(ended, "ended with exit code 7");
}

static void test_output_is_masked_as_a_whole(void **state)
{
    (void)state;
    struct mask *m = mask_new(&STR("KEY"), &STR("s3cret-value"), 1);
    autobuf joined = {0}, elided = {0}, reset = {0}, bad = {0};
    terminal_output(&(struct terminal_facts){.kind = TERMINAL_COMPLETED,
                                             .head = STR("a s3cret-"),
                                             .tail = STR("value b\n\n")},
                    m, &joined);
    assert_string_equal(joined.p, "a <secret-hidden> b");
    terminal_output(&(struct terminal_facts){.kind = TERMINAL_COMPLETED,
                                             .head = STR("begin .............. s3cret-va"),
                                             .tail = STR("cret-value ............. end"),
                                             .elided = 1000},
                    m, &elided);
    assert_has(elided.p, "begin");
    assert_has(elided.p, "1000 bytes");
    assert_has(elided.p, "end");
    assert_lacks(elided.p, "s3cret");
    assert_lacks(elided.p, "cret-value");
    buf_clear(&elided);
    terminal_output(&(struct terminal_facts){.kind = TERMINAL_SOFT_TIMEOUT,
                                             .continued = true,
                                             .head = STR("cret-value begin .............. s3cret-va"),
                                             .tail = STR("cret-value ............. end s3cret-va"),
                                             .elided = 1000},
                    m, &elided);
    assert_has(elided.p, "<secret-hidden> begin");
    assert_has(elided.p, "end <secret-hidden>");
    assert_lacks(elided.p, "s3cret");
    assert_lacks(elided.p, "cret-value");
    terminal_output(&(struct terminal_facts){.kind = TERMINAL_COMPLETED, .reset = true, .head = STR("out")},
                    m, &reset);
    assert_has(reset.p, "was reset");
    assert_has(reset.p, "\n\nout");
    terminal_output(&(struct terminal_facts){.kind = TERMINAL_COMPLETED, .head = STR("x\xff")}, m, &bad);
    assert_string_equal(bad.p, "x\xef\xbf\xbd");
    mask_unref(m);
}

/* Instead of a hand: one that never answers. An executable's own function goes before the library's. */
static uint64_t waited_ms;
static int64_t sent_max_ms;

bool hand_call_wait(struct hands *h, const struct hand_spec *hand, enum wire_op op, struct buf *fields,
                    uint64_t timeout_ms, struct mailbox *mailbox, struct buf *result, struct buf *data,
                    size_t data_max, struct err **e)
{
    (void)h, (void)hand, (void)op, (void)mailbox, (void)result, (void)data, (void)data_max;
    waited_ms = timeout_ms;
    sent_max_ms = wire_get_int(buf_str(fields), F_CALL_MAX_MS, 0);
    buf_deinit(fields);
    return err_set(e, ERR_TIMEOUT, "the call took too long");
}

/* A command that prints without end, or a hand that says nothing, holds a run no longer than the cap. */
static void test_silent_hand(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f);
    fake_script(&f, "[{\"name\":\"terminal\"}]",
                "{\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":\"yes\"}}]}\n"
                "{\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":\"yes\",\"timeout\":5}}]}\n");
    fake_user(&f, "go");
    fake_step(&f);
    assert_int_equal(sent_max_ms, TERMINAL_CALL_MAX_MS);
    assert_true(waited_ms > TERMINAL_CALL_MAX_MS && waited_ms < 2 * TERMINAL_CALL_MAX_MS);
    assert_int_equal(f.log.at[f.log.n - 1].kind, EVENT_OBSERVATION);
    assert_has(last_json(&f), "\"exit_code\":-1");
    assert_has(last_json(&f), "no end after 600.0 seconds");
    fake_step(&f);
    assert_true(waited_ms > 5000 && waited_ms < 60000);
    assert_int_equal(f.log.at[f.log.n - 1].kind, EVENT_AGENT_ERROR);
    assert_has(last_json(&f), "did not answer in time");
    fake_deinit(&f);
}

static void test_notice(void **state)
{
    (void)state;
    autobuf whole = {0}, notice = {0}, cut = {0};
    for (int i = 1; i <= 20000; i++)
        buf_addf(&whole, "line %d\n", i);
    terminal_notice(buf_str(&whole), STR("/tmp/x.txt"), &notice);
    assert_has(notice.p, "/tmp/x.txt");
    assert_true(text_cut_middle(buf_str(&whole), TERMINAL_OUTPUT_MAX, buf_str(&notice), &cut));
    /* the line that the notice names is the first one that is not whole */
    int line = atoi(strstr(notice.p, "at line ") + 8);
    char before[32], at[32];
    snprintf(before, sizeof(before), "\nline %d\n", line - 1);
    snprintf(at, sizeof(at), "\nline %d\n", line);
    assert_has(cut.p, before);
    assert_lacks(cut.p, at);
    assert_int_equal(cut.n - 2 * 2, TERMINAL_OUTPUT_MAX); /* two characters of three bytes */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),       cmocka_unit_test(test_lists),
        cmocka_unit_test(test_risk),        cmocka_unit_test(test_repairs),
        cmocka_unit_test(test_refusals),    cmocka_unit_test(test_names),
        cmocka_unit_test(test_parameters),  cmocka_unit_test(test_literals),
        cmocka_unit_test(test_remarks),     cmocka_unit_test(test_output_is_masked_as_a_whole),
        cmocka_unit_test(test_silent_hand), cmocka_unit_test(test_notice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
