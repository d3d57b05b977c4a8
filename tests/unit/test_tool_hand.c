/* The terminal tool against a real hand: the whole way from a model's call to the observation in the log. */
#include "tool_hand_fixture.h"

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

/* Somebody else made the directory first, as a link to where they want the files. */
static void test_saved_in_private(void **state)
{
    (void)state;
    struct fake f;
    char hex[UUID_DASHED_LEN + 1], target[128];
    struct uuid id = uuid_random();
    autobuf guessed = {0};
    begin(&f, TERMINAL("seq 1 400000") TERMINAL("seq 1 10000") TERMINAL("seq 1 10000"));
    f.host.conversation = uuid_dashed(&id, hex);
    buf_addf(&guessed, "/tmp/handsd-%s", hex);
    snprintf(target, sizeof(target), "%s/observations", f.dir);

    assert_int_equal(symlink(f.dir, guessed.p), 0);
    fake_step(&f);
    assert_has(last_json(&f), "\"full_output_save_dir\":\"/tmp/handsd-");
    assert_has(last_json(&f), "all of it is in ");
    autobuf plain = {0}, clean = {0};
    buf_addf(&plain, "%s/observations", guessed.p);
    assert_lacks(last_json(&f), plain.p);
    assert_int_equal(access(target, F_OK), -1);
    unlink(guessed.p);

    assert_int_equal(mkdir(guessed.p, 0700), 0);
    assert_int_equal(chmod(guessed.p, 0777), 0);
    fake_step(&f);
    assert_has(last_json(&f), "full_output_save_dir");
    assert_lacks(last_json(&f), plain.p);
    rmdir(guessed.p);

    fake_step(&f);
    assert_has(last_json(&f), plain.p);
    struct stat st;
    assert_int_equal(stat(guessed.p, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    buf_addf(&clean, "rm -r /tmp/handsd-%s*", hex);
    assert_int_equal(system(clean.p), 0);
    end(&f);
}

static void file_make(const char *dir, const char *name, struct str bytes, unsigned mode)
{
    autobuf path = {0};
    autoerr e = NULL;
    buf_addf(&path, "%s/%s", dir, name);
    assert_true(file_write_atomic(path.p, bytes, mode, &e));
}

/* A program that greets and then, in the directory of the files `first` and `second`, does what `rest` says. */
static void hostile_hand(char path[64], struct str first, struct str second, const char *rest)
{
    autobuf greeting = {0}, hello = {0}, script = {0};
    char dir[] = "/tmp/test-hostile-XXXXXX";
    assert_non_null(mkdtemp(dir));
    wire_add_int(&hello, F_VERSION_MIN, 1);
    wire_add_int(&hello, F_VERSION_MAX, 1);
    buf_add(&greeting, str_make(WIRE_MAGIC, WIRE_MAGIC_LEN));
    wire_add_message(&greeting, WIRE_HELLO, 0, buf_str(&hello));
    file_make(dir, "hello", buf_str(&greeting), 0600);
    file_make(dir, "first", first, 0600);
    file_make(dir, "second", second, 0600);
    buf_addf(&script, "#!/bin/sh\ncd %s\ncat hello\n%s\nrm -r %s\nexec sleep 100\n", dir, rest, dir);
    file_make(dir, "hand", buf_str(&script), 0700);
    snprintf(path, 64, "%s/hand", dir);
}

/* Credit that comes in many small pieces at once is not taken twice. */
static void test_save_with_small_credits(void **state)
{
    (void)state;
    char path[64];
    struct fake f;
    autoerr e = NULL;
    autobuf first = {0}, second = {0}, ok = {0}, text = {0}, dir = {0};
    wire_add_int(&ok, F_STATUS, WIRE_OK);
    wire_add_message(&first, WIRE_RESULT, 1, buf_str(&ok)); /* the directory is made */
    for (int i = 0; i < 100; i++)
        wire_add_credit(&second, 2, WIRE_STDIN, 4096);
    size_t pieces = second.n;
    for (int i = 0; i < 15; i++)
        wire_add_credit(&second, 2, WIRE_STDIN, 200000);
    size_t credits = second.n;
    wire_add_message(&second, WIRE_RESULT, 2, buf_str(&ok));
    autobuf rest = {0};
    buf_addf(&rest,
             "head -c 200 >/dev/null; cat first; head -c 200000 >/dev/null; head -c %zu second\n"
             "head -c 450000 >/dev/null; tail -c +%zu second | head -c %zu; head -c 900000 >/dev/null\n"
             "tail -c +%zu second",
             pieces, pieces + 1, credits - pieces, credits + 1);
    hostile_hand(path, buf_str(&first), buf_str(&second), rest.p);
    begin(&f, "");
    struct hands *own = hands_new(loop, &(struct hands_config){.program = path}, &e);
    f.host.hands = own;
    memset(buf_reserve(&text, 3000000), 'x', 3000000);
    text.n = 3000000;
    struct saving *saving = saving_begin(&f.host, STR("name"), &dir, &e);
    if (!saving || !saving_add(saving, buf_str(&text), &e) || !saving_end(saving, &e))
        fail_msg("%s", err_text(e));
    fake_deinit(&f);
    hands_close_wait(own);
}

/* What a hand says of itself is a stranger's word: too long, or not what a directory can be, it is left out. */
static void test_hostile_facts(void **state)
{
    (void)state;
    autobuf huge = {0};
    buf_add_char(&huge, '/');
    while (huge.n < 6 << 20)
        buf_add_char(&huge, (char)0xff);
    struct str cwds[] = {buf_str(&huge), STR("relative/dir"), STR("/with\nline"), STR("/fine")};
    for (size_t i = 0; i < ARRAY_LEN(cwds); i++) {
        char path[64];
        struct fake f;
        autoerr e = NULL;
        autobuf result = {0}, message = {0};
        bool fine = i == ARRAY_LEN(cwds) - 1;
        wire_add_int(&result, F_STATUS, WIRE_OK);
        wire_add_int(&result, F_KIND, TERMINAL_COMPLETED);
        wire_add_str(&result, F_TEXT, STR("output"));
        wire_add_str(&result, F_CWD, cwds[i]);
        wire_add_str(&result, F_USER, fine ? STR("me") : buf_str(&huge));
        wire_add_str(&result, F_HOST, fine ? STR("here") : STR("\x1b[2J"));
        wire_add_message(&message, WIRE_RESULT, 1, buf_str(&result));
        hostile_hand(path, buf_str(&message), STR(""), "head -c 200 >/dev/null; cat first");
        begin(&f, TERMINAL("true"));
        struct hands *hostile = hands_new(loop, &(struct hands_config){.program = path}, &e);
        f.host.hands = hostile;
        fake_step(&f);
        assert_has(last_json(&f), "output");
        assert_int_equal(strstr(last_json(&f), "\"working_dir\":") != NULL, fine);
        assert_int_equal(strstr(last_json(&f), "\"username\":") != NULL, fine);
        assert_int_equal(strstr(last_json(&f), "\"hostname\":") != NULL, fine);
        assert_true(strlen(last_json(&f)) < 2000);
        fake_deinit(&f);
        hands_close_wait(hostile);
    }
}

static struct str huge_cwd(void *arg)
{
    (void)arg;
    static struct buf huge;
    if (huge.n == 0) {
        memset(buf_reserve(&huge, 18 << 20), '/', 18 << 20);
        huge.n = 18 << 20;
    }
    return buf_str(&huge);
}

/* Whatever a call is made of: too much is an error that the model reads. */
static void test_huge_call(void **state)
{
    (void)state;
    struct fake f;
    begin(&f, TERMINAL("true"));
    f.host.last_cwd = huge_cwd;
    fake_step(&f);
    assert_int_equal(f.log.at[f.log.n - 1].kind, EVENT_AGENT_ERROR);
    assert_has(last_json(&f), "too large");
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

int main(void)
{
    clock_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terminal),          cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_long_output),       cmocka_unit_test(test_saved_in_private),
        cmocka_unit_test(test_hostile_facts),     cmocka_unit_test(test_save_with_small_credits),
        cmocka_unit_test(test_huge_call),         cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_timeout_and_input), cmocka_unit_test(test_killed_hand),
        cmocka_unit_test(test_interrupted),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
