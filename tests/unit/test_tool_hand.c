/* Tools against a real hand: the whole way from a model's call to the observation in the log. */
#include "agent_fixture.h"
#include <pthread.h>

static struct loop *loop;
static struct hands *hands;
static pthread_t loop_thread;

static void *loop_main(void *arg)
{
    loop_run(arg);
    return NULL;
}

static int start(void **state)
{
    (void)state;
    autoerr e = NULL;
    const char *program = getenv("HANDSD_HAND");
    loop = loop_new(&e);
    assert_non_null(loop);
    hands = hands_new(loop, &(struct hands_config){.program = program ? program : "build/hand"}, &e);
    if (!hands)
        fail_msg("%s", err_text(e));
    return pthread_create(&loop_thread, NULL, loop_main, loop);
}

static void hands_closed(void *arg)
{
    loop_stop(arg);
}

static void hands_do_close(void *arg)
{
    hands_close(hands, hands_closed, arg);
}

static int stop(void **state)
{
    (void)state;
    loop_call(loop, hands_do_close, loop);
    pthread_join(loop_thread, NULL);
    hands_free(hands);
    loop_free(loop);
    return 0;
}

static void begin(struct fake *f, const char *lines)
{
    fake_init(f);
    f->host.hands = hands;
    f->host.hand = (struct hand_spec){.id = uuid_random(), .owner_token = 1, .working_dir = str_from(f->dir)};
    fake_script(f, "[{\"name\":\"terminal\"},{\"name\":\"file_editor\"}]", lines);
    fake_user(f, "go");
}

static void end(struct fake *f)
{
    hand_end(hands, &f->host.hand.id);
    fake_deinit(f);
}

/* What the model reads of the newest result. */
static char *model_reads(const struct fake *f)
{
    autoarena arena = arena_new();
    const struct llm_message *m;
    size_t n;
    view_messages(f->view, 0, arena, &m, &n);
    assert_int_equal(m[n - 1].role, LLM_TOOL);
    return str_dup(m[n - 1].parts[0].text);
}

#define TERMINAL(command) \
    "{\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":\"" command "\"}}]}\n"

static void test_terminal(void **state)
{
    (void)state;
    struct fake f;
    begin(&f, TERMINAL("echo hello; pwd; (exit 3)") TERMINAL("x=1; cd /usr") TERMINAL("echo $x $PWD"));
    fake_step(&f);
    autofree char *first = model_reads(&f);
    assert_has(first, "hello\n");
    assert_has(first, f.dir);
    assert_has(first, "[The command completed with exit code 3.]");
    assert_has(first, "[Exit code: 3]");
    assert_lacks(first, "[A new shell");
    assert_has(
        last_json(&f),
        "\"is_error\":false,\"command\":\"echo hello; pwd; (exit 3)\",\"exit_code\":3,\"timeout\":false,"
        "\"metadata\":{\"exit_code\":3,\"pid\":");
    assert_has(last_json(&f),
               "\"prefix\":\"\",\"suffix\":\"\\n[The command completed with exit code 3.]\"},\"kind\":"
               "\"TerminalObservation\"}");
    fake_step(&f);
    fake_step(&f);
    autofree char *third = model_reads(&f);
    assert_has(third, "1 /usr\n");
    assert_has(third, "[Working directory: /usr]");
    end(&f);
}

static void test_secrets(void **state)
{
    (void)state;
    struct fake f;
    begin(&f, TERMINAL("echo \\\"<$my_token>\\\"; echo $MY_TOKEN | rev") TERMINAL("echo \\\"<$OTHER>\\\""));
    mask_unref(f.mask);
    f.mask = mask_new((struct str[]){STR("MY_TOKEN"), STR("OTHER")},
                      (struct str[]){STR("s3cret-value"), STR("another")}, 2);
    fake_step(&f);
    autofree char *text = model_reads(&f);
    assert_has(text, "<>\neulav-terc3s");
    assert_lacks(last_json(&f), "s3cret-value");
    fake_step(&f);
    autofree char *other = model_reads(&f);
    assert_has(other, "<<secret-hidden>>");
    end(&f);
}

static void test_long_output(void **state)
{
    (void)state;
    struct fake f;
    begin(&f, TERMINAL("seq 1 100000") TERMINAL(
                  "f=$(ls /tmp/handsd-7ad1d2a0-*/observations/*.txt); wc -l < $f; tail -n 1 $f; rm -r "
                  "/tmp/handsd-7ad1d2a0-*"));
    fake_step(&f);
    autofree char *text = model_reads(&f);
    assert_has(text, "1\n2\n3\n");
    assert_has(text, "\n99999\n100000\n");
    assert_has(text, "clipped");
    assert_has(text, "/tmp/handsd-7ad1d2a0-0000-4000-8000-000000000001/observations/terminal_output_");
    assert_true(strlen(text) < 31000);
    assert_has(last_json(&f),
               "\"full_output_save_dir\":\"/tmp/handsd-7ad1d2a0-0000-4000-8000-000000000001/observations\"");
    fake_step(&f);
    autofree char *saved = model_reads(&f);
    assert_has(saved, "100000");
    end(&f);
}

static void test_refusals(void **state)
{
    (void)state;
    struct fake f;
    begin(
        &f,
        "{\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":\"x\",\"reset\":true,\"is_input\":true}},"
        "{\"name\":\"terminal\",\"arguments\":{\"command\":\"[\\\"ls\\\"]\"}},"
        "{\"name\":\"terminal\",\"arguments\":{\"command\":\"\"}},"
        "{\"name\":\"terminal\",\"arguments\":{\"command\":\"C-c\",\"is_input\":true}},"
        "{\"name\":\"terminal\",\"arguments\":{\"command\":\"\",\"reset\":true}}]}\n");
    fake_step(&f);
    size_t n = f.log.n;
    assert_int_equal(f.log.at[n - 5].kind, EVENT_AGENT_ERROR);
    assert_has(f.log.at[n - 5].json, "cannot be combined");
    assert_has(f.log.at[n - 4].json, "\"is_error\":true");
    assert_has(f.log.at[n - 4].json, "plain text");
    assert_has(f.log.at[n - 3].json, "No command is running whose output");
    assert_has(f.log.at[n - 3].json, "\"is_error\":true");
    assert_has(f.log.at[n - 2].json, "No command is running that could take input");
    assert_has(f.log.at[n - 1].json, "was reset");
    assert_has(f.log.at[n - 1].json, "\"command\":\"[RESET]\",\"exit_code\":0");
    end(&f);
}

static void test_timeout_and_input(void **state)
{
    (void)state;
    struct fake f;
    begin(&f, "{\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":\"cat\",\"timeout\":0.3}},"
              "{\"name\":\"terminal\",\"arguments\":{\"command\":\"ls\"}},"
              "{\"name\":\"terminal\",\"arguments\":{\"command\":\"C-c\",\"is_input\":true}}]}\n");
    fake_step(&f);
    size_t n = f.log.n;
    assert_has(f.log.at[n - 3].json, "timed out after 0.3 seconds");
    assert_has(f.log.at[n - 3].json, "\"exit_code\":-1,\"timeout\":false");
    assert_has(f.log.at[n - 2].json, "`ls` was not run");
    assert_has(f.log.at[n - 2].json, "\"is_error\":true");
    assert_has(f.log.at[n - 1].json, "exit code 130. CTRL+C was sent.]");
    end(&f);
}

/* The shell that replaces a dead hand's says so; so does the call that the death cut off. */
static void test_killed_hand(void **state)
{
    (void)state;
    struct fake f;
    begin(&f, TERMINAL("echo one") TERMINAL("kill -9 $(ps -o ppid= -p $PPID); sleep 5") TERMINAL("echo two"));
    fake_step(&f);
    fake_step(&f);
    fake_step(&f);
    autofree char *text = model_reads(&f);
    assert_has(text, "two");
    assert_has(text, "variables, jobs and background processes of the earlier one are gone");
    bool told = false;
    for (size_t i = 0; i < f.log.n; i++)
        told |= f.log.at[i].kind == EVENT_AGENT_ERROR && strstr(f.log.at[i].json, "ended during this call") &&
                strstr(f.log.at[i].json, "\"kind\":\"transient\"");
    assert_true(told);
    end(&f);
}

static void *cancel_soon(void *arg)
{
    usleep(300 * 1000); /* the command is running by then; a cancel before that is a cancel as well */
    mailbox_cancel(arg);
    return NULL;
}

static void test_interrupted(void **state)
{
    (void)state;
    struct fake f;
    autoerr e = NULL;
    enum step outcome;
    pthread_t thread;
    begin(
        &f,
        "{\"calls\":[{\"name\":\"terminal\",\"arguments\":{\"command\":\"echo first\"}},{\"name\":\"terminal\",\"arguments\":"
        "{\"command\":\"sleep 60\"}},{\"name\":\"terminal\",\"arguments\":{\"command\":\"echo never\"}}]}\n");
    uint64_t before = clock_mono_ns();
    pthread_create(&thread, NULL, cancel_soon, f.host.mailbox);
    assert_false(agent_step(f.agent, f.view, &f.host, &outcome, &e));
    pthread_join(thread, NULL);
    assert_int_equal(e->kind, ERR_CANCELLED);
    assert_true(clock_mono_ns() - before < 5 * NS_PER_S);
    assert_int_equal(view_open(f.view),
                     2); /* what was done before is recorded, the rest is the caller's to answer */
    assert_has(last_json(&f), "first");
    end(&f);
}

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

int main(void)
{
    clock_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_long_output),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_timeout_and_input),
        cmocka_unit_test(test_killed_hand),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_editor),
        cmocka_unit_test(test_editor_long_and_image),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
