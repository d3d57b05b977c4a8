/* Editor, searches, patches and tasks against a real hand: from a model's call to the observation in the log. */
#include "tool_hand_fixture.h"

#define EDIT(arguments) "{\"calls\":[{\"name\":\"file_editor\",\"arguments\":{" arguments "}}]}\n"

/* Lines of a script with the working directory for each @. */
static void begin_in_dir(struct fake *f, const char *lines)
{
    autobuf script = {0};
    fake_init(f);
    for (; *lines; lines++) {
        if (*lines == '@')
            buf_add_cstr(&script, f->dir);
        else
            buf_add_char(&script, *lines);
    }
    f->host.hands = hands;
    f->host.hand = (struct hand_spec){.id = uuid_random(), .owner_token = 1, .working_dir = str_from(f->dir)};
    fake_script(f, "[{\"name\":\"file_editor\"}]", script.p);
    fake_secret(f, "TOKEN", "s3cret-value");
    fake_user(f, "go");
}

static void file_put(const struct fake *f, const char *name, struct str content)
{
    autobuf path = {0};
    autoerr e = NULL;
    buf_addf(&path, "%s/%s", f->dir, name);
    assert_true(file_write_atomic(path.p, content, 0600, &e));
}

static void file_drop(const struct fake *f, const char *name)
{
    autobuf path = {0};
    buf_addf(&path, "%s/%s", f->dir, name);
    unlink(path.p);
}

static void test_editor(void **state)
{
    (void)state;
    struct fake f;
    begin_in_dir(
        &f,
        EDIT("\"command\":\"create\",\"path\":\"@/a.txt\",\"file_text\":\"one\\ntwo s3cret-value\\n\"")
            EDIT("\"path\":\"@/a.txt\",\"old_str\":\"one\",\"new_str\":\"1\"")
                EDIT("\"command\":\"view\",\"path\":\"@/a.txt\",\"view_range\":[1,1]")
                    EDIT("\"command\":\"insert\",\"path\":\"@/a.txt\",\"insert_line\":99,\"new_str\":\"x\"")
                        EDIT("\"command\":\"view\",\"path\":\"@/a.txt\",\"view_range\":[1]"));
    fake_step(&f);
    assert_has(last_json(&f), "\"is_error\":false,\"command\":\"create\",\"path\":\"");
    assert_has(last_json(&f),
               "/a.txt\",\"prev_exist\":false,\"new_content\":\"one\\ntwo <secret-hidden>\\n\",\"kind\":"
               "\"FileEditorObservation\"}");
    fake_step(&f);
    assert_has(last_json(&f), "\"old_content\":\"one\\n");
    assert_has(last_json(&f), "\"new_content\":\"1\\n");
    fake_step(&f);
    autofree char *text = model_reads(&f);
    assert_has(text, "     1\t1");
    assert_lacks(text, "two");
    fake_step(&f);
    assert_has(last_json(&f), "\"is_error\":true,\"command\":\"insert\",\"prev_exist\":true,\"kind\"");
    autofree char *error = model_reads(&f);
    assert_has(error, "[An error occurred during execution.]\n");
    assert_has(error, "[0, 2]");
    fake_step(&f);
    autofree char *range = model_reads(&f);
    assert_has(range, "Invalid `view_range` [1]");
    file_drop(&f, "a.txt");
    end(&f);
}

static void test_editor_long_and_image(void **state)
{
    (void)state;
    static const char png[] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\6\0\0\0";
    struct fake f;
    autobuf content = {0};
    begin_in_dir(&f, EDIT("\"command\":\"view\",\"path\":\"@/long.txt\"")
                         EDIT("\"command\":\"view\",\"path\":\"@/p.png\""));
    while (content.n < 400000)
        buf_add(&content, STR("s3cret-value"));
    file_put(&f, "long.txt", buf_str(&content));
    file_put(&f, "p.png", str_make(png, sizeof(png) - 1));
    fake_step(&f);
    autofree char *text = model_reads(&f);
    assert_has(text, "<secret-hidden><secret-hidden>");
    assert_has(text, "view_range");
    assert_lacks(text, "s3c");
    assert_lacks(text, "value");
    assert_true(strlen(text) < 16100);
    assert_lacks(last_json(&f), "s3c");
    fake_step(&f);
    assert_has(last_json(&f),
               "{\"cache_prompt\":false,\"type\":\"image\",\"image_urls\":[\"data:image/png;base64,iVBOR");
    file_drop(&f, "long.txt");
    file_drop(&f, "p.png");
    end(&f);
}

/* --- searches, patches, tasks ------------------------------------------------------------------- */

#define CALL(name, arguments) "{\"calls\":[{\"name\":\"" name "\",\"arguments\":{" arguments "}}]}\n"

static void begin_with(struct fake *f, const char *lines)
{
    fake_init(f);
    f->host.hands = hands;
    f->host.hand = (struct hand_spec){.id = uuid_random(), .owner_token = 1, .working_dir = str_from(f->dir)};
    fake_script(
        f,
        "[{\"name\":\"glob\"},{\"name\":\"grep\"},{\"name\":\"apply_patch\"},{\"name\":\"TaskTrackerTool\"}]",
        lines);
    fake_secret(f, "TOKEN", "s3cret-value");
    fake_user(f, "go");
}

static void test_searches(void **state)
{
    (void)state;
    struct fake f;
    begin_with(
        &f, CALL("glob", "\"pattern\":\"*.txt\"") CALL("grep", "\"pattern\":\"VALUE\",\"include\":\"*.txt\"")
                CALL("grep", "\"pattern\":\"a(\"") CALL("glob", "\"pattern\":\"*\",\"path\":\"/nowhere\"")
                    CALL("glob", "\"pattern\":\"*.none\""));
    file_put(&f, "odd \n\xff s3cret-value.txt", STR("the value\n"));
    fake_step(&f);
    assert_has(last_json(&f), "\"is_error\":false,\"files\":[\"");
    assert_has(last_json(&f),
               "/odd \\n\xef\xbf\xbd <secret-hidden>.txt\"],\"pattern\":\"*.txt\",\"search_path\":\"");
    assert_has(last_json(&f), "\"truncated\":false,\"kind\":\"GlobObservation\"");
    autofree char *names = model_reads(&f);
    assert_has(names, "1 file matches `*.txt` in /");
    assert_has(names, "/odd \\n\\xff <secret-hidden>.txt'"); /* as a shell would take it */
    fake_step(&f);
    assert_has(last_json(&f),
               "\"truncated\":false,\"include_pattern\":\"*.txt\",\"kind\":\"GrepObservation\"");
    autofree char *contents = model_reads(&f);
    assert_has(contents, "1 file contains `VALUE` in /");
    assert_has(contents, "(files named `*.txt`):");
    fake_step(&f);
    assert_has(last_json(&f), "\"is_error\":true,\"matches\":[],\"pattern\":\"a(\"");
    assert_has(last_json(&f), "Invalid `pattern` `a(`: ");
    fake_step(&f);
    assert_has(last_json(&f),
               "\"is_error\":true,\"files\":[],\"pattern\":\"*\",\"search_path\":\"/nowhere\"");
    assert_has(last_json(&f), "Invalid `path` /nowhere: it is not a directory.");
    fake_step(&f);
    assert_has(last_json(&f), "No file matches `*.none` in /");
    assert_has(last_json(&f), "\"is_error\":false");
    file_drop(&f, "odd \n\xff s3cret-value.txt");
    end(&f);
}

static void test_patches(void **state)
{
    (void)state;
    struct fake f;
    begin_with(
        &f,
        CALL("apply_patch",
             "\"patch\":\"*** Begin Patch\\n*** Add File: a.txt\\n+one s3cret-value\\n*** End Patch\"")
            CALL("apply_patch",
                 "\"patch\":\"*** Begin Patch\\n*** Update File: a.txt\\n*** Move to: b.txt\\n@@\\n"
                 "-one s3cret-value \\n+two\\n*** End Patch\"")
                CALL("apply_patch", "\"patch\":\"*** Begin Patch\\n*** Delete File: ../x\\n*** End Patch\""));
    fake_step(&f);
    assert_has(
        last_json(&f),
        "\"message\":\"The patch was applied:\\nadded a.txt\",\"fuzz\":0,\"commit\":{\"changes\":{\"a.txt\":"
        "{\"type\":\"add\",\"new_content\":\"one <secret-hidden>\\n\"}}},\"kind\":"
        "\"ApplyPatchObservation\"}");
    fake_step(&f);
    assert_has(last_json(&f),
               "\"fuzz\":1,\"commit\":{\"changes\":{\"a.txt\":{\"type\":\"update\",\"old_content\":"
               "\"one <secret-hidden>\\n\",\"new_content\":\"two\\n\",\"move_path\":\"b.txt\"}}}");
    autofree char *text = model_reads(&f);
    assert_has(text, "moved a.txt to b.txt\nSome lines");
    fake_step(&f);
    assert_has(last_json(&f), "\"is_error\":true,\"message\":\"../x leads out of the working directory");
    assert_lacks(last_json(&f), "commit");
    file_drop(&f, "b.txt");
    end(&f);
}

/* The list is in the log: a view made of its events has it, and so have the later calls of one answer. */
static void test_tasks(void **state)
{
    (void)state;
    struct fake f;
    begin_with(
        &f,
        CALL("task_tracker",
             "") "{\"calls\":[{\"name\":\"task_tracker\",\"arguments\":{\"command\":\"plan\",\"task_list\":["
                 "{\"title\":\"One\",\"status\":\"done\"},{\"title\":\"Two s3cret-value\",\"notes\":"
                 "\"a\\nb\",\"status\":\"in_progress\"},{\"title\":\"Three\"}]}},"
                 "{\"name\":\"task_tracker\",\"arguments\":{\"command\":\"view\"}}]}\n" CALL(
                     "task_tracker", "\"command\":\"view\""));
    fake_step(&f);
    assert_has(last_json(&f), "There is no task list yet");
    assert_has(
        last_json(&f),
        "\"is_error\":false,\"command\":\"view\",\"task_list\":[],\"kind\":\"TaskTrackerObservation\"");
    fake_step(&f);
    const char *list =
        "\"task_list\":[{\"title\":\"One\",\"notes\":\"\",\"status\":\"done\"},{\"title\":\"Two "
        "<secret-hidden>\",\"notes\":\"a\\nb\",\"status\":\"in_progress\"},{\"title\":\"Three\",\"notes\":"
        "\"\",\"status\":\"todo\"}]";
    assert_has(f.log.at[f.log.n - 2].json, "it has 3 items");
    assert_has(f.log.at[f.log.n - 2].json, list);
    assert_has(last_json(&f), list);
    view_free(f.view); /* all that a run knows; the next one reads the log */
    f.view = view_new();
    for (size_t i = 0; i < f.log.n; i++) {
        autoerr e = NULL;
        assert_true(view_add(f.view, f.log.at[i].kind, str_from(f.log.at[i].json), &e));
    }
    fake_step(&f);
    assert_has(last_json(&f), list);
    autofree char *text = model_reads(&f);
    assert_has(text, "\n\n1. [x] One\n\n2. [>] Two <secret-hidden>\n   a\n   b\n\n3. [ ] Three");
    end(&f);
}

int main(void)
{
    clock_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_editor),   cmocka_unit_test(test_editor_long_and_image),
        cmocka_unit_test(test_searches), cmocka_unit_test(test_patches),
        cmocka_unit_test(test_tasks),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
