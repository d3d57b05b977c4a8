/* The store dies, or its disk fails, at every single call that it makes to the disk. Afterwards, on what the disk has:
 * every acknowledged change is there once and in order, nothing that was reported as failed is there, and it goes on.
 *
 * One program in two roles. `test_store_crash work DIR` is the victim: it runs under shim.so and reports each try and its
 * outcome on its standard output. Without arguments it is the judge: it starts victims, one for every n, and looks at
 *   the directory itself                        (the process died, the machine did not)
 *   what was synced                             (the power went; the disk had written nothing else)
 *   what was synced and a random part of more   (… had begun to write the rest)
 * HANDSD_CRASH_STEP=k looks at every k-th n only; by default each n is looked at in one way, =0 is all ways for each. */
#include "store_victim.h"

/* ---- the judge ---- */

struct scene {
    char root[64], self[4096], shim[4096], replay[4096];
};

static struct scene scene;

static void path_of(char out[4300], const char *name)
{
    snprintf(out, 4300, "%s/%s", scene.root, name);
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    char inner[4400];
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(inner, sizeof(inner), "%.4000s/%s", path, entry->d_name);
        if (unlink(inner) != 0)
            remove_tree(inner);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
}

static int run_program(char *const argv[])
{
    pid_t pid = fork();
    if (pid == 0) {
        execv(argv[0], argv);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* Runs a victim in `data` under the shim with the settings given as NAME=VALUE, and hears what it reports. */
static int run_victim(const char *const settings[], struct belief *b)
{
    char data[4300], log[4300], preload[4200], dir_setting[4400], log_setting[4400];
    int out[2];
    path_of(data, "data");
    path_of(log, "log");
    remove_tree(data);
    unlink(log);
    assert_int_equal(mkdir(data, 0700), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", scene.shim);
    snprintf(dir_setting, sizeof(dir_setting), "SHIM_DIR=%s", data);
    snprintf(log_setting, sizeof(log_setting), "SHIM_LOG=%s", log);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        if (!getenv("HANDSD_CRASH_VERBOSE")) /* it complains about its disk, rightly */
            dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
        const char *env[12] = {preload, dir_setting, log_setting, "SHIM_NOSYNC=1",
                               "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0"};
        for (size_t i = 0, at = 5; settings[i]; i++)
            env[at++] = settings[i];
        execve(scene.self, (char *const[]){scene.self, (char *)"work", data, NULL},
               (char *const *)(uintptr_t)env);
        _exit(127);
    }
    close(out[1]);
    struct report r;
    while (read(out[0], &r, sizeof(r)) == sizeof(r))
        belief_learn(b, &r);
    close(out[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

#define CHECK(condition, ...)              \
    do {                                   \
        if (!(condition)) {                \
            fprintf(stderr, "%s: ", what); \
            fprintf(stderr, __VA_ARGS__);  \
            fputc('\n', stderr);           \
            fail_msg("%s", #condition);    \
        }                                  \
    } while (0)

static uint32_t try_of(struct str json, uint32_t seq)
{
    unsigned n = UINT32_MAX, try = 0;
    char head[64];
    snprintf(head, sizeof(head), "%.*s", (int)(json.n < 60 ? json.n : 60), json.p);
    if (sscanf(head, "{\"n\":%u,\"try\":%u,", &n, &try) != 2 || n != seq || !str_ends(json, STR("\"}")))
        return 0;
    return try;
}

static void check_slot(struct store *s, const struct belief *b, size_t slot, const char *what)
{
    autoarena arena = arena_new();
    autoerr e = NULL;
    struct store_row row;
    CHECK(store_get(s, &b->slots[slot].id, arena, &row, &e), "conversation %zu is lost: %s", slot,
          err_text(e));
    CHECK(row.number == b->slots[slot].number, "conversation %zu has another number", slot);
    uint32_t acknowledged = b->slots[slot].n, open = b->slots[slot].open.count, seq = 0;
    CHECK(row.next_seq == acknowledged || row.next_seq == acknowledged + open,
          "conversation %zu has %u events; %u were acknowledged, %u were on their way", slot, row.next_seq,
          acknowledged, open);
    CHECK(row.leaf_seq == (int64_t)row.next_seq - 1, "conversation %zu: leaf %d", slot, (int)row.leaf_seq);
    while (seq < row.next_seq) {
        struct store_item *items;
        size_t n;
        CHECK(store_read(s, row.number, seq, UINT32_MAX, 1000, true, arena, &items, &n, &e) && n > 0,
              "event %u of %zu: %s", seq, slot, err_text(e));
        for (size_t i = 0; i < n; i++, seq++) {
            uint32_t wanted = seq < acknowledged ? b->slots[slot].tries[seq] : b->slots[slot].open.try;
            CHECK(items[i].seq == seq && try_of(items[i].json, seq) == wanted,
                  "event %u of conversation %zu is not attempt %u", seq, slot, wanted);
        }
    }
    CHECK(seq == row.next_seq, "conversation %zu has more events than it says", slot);
    struct writer w = {.store = s, .number = row.number, .seq = seq, .commit_id = 1000000};
    CHECK(claim(s, row.number, "judge", &w.token) == -1 && write_events(&w, 1, 10) == STORE_DONE,
          "conversation %zu does not go on", slot);
}

static void check_rest(struct store *s, const struct belief *b, const char *what)
{
    autobuf text = {0};
    uint64_t value = 0;
    bool there =
        store_doc_get(s, STR("crash"), STR("value"), &text, NULL) && str_to_u64(buf_str(&text), &value);
    CHECK((!there && b->doc == 0) || (there && (value == b->doc || value == b->doc_try)),
          "document: %u, wanted %u", (unsigned)value, b->doc);
    autoarena arena = arena_new();
    struct store_row row;
    if (b->copy.number) {
        there = store_get(s, &b->copy.id, arena, &row, NULL);
        CHECK(!there || row.next_seq == b->copy.first, "a copy has %u events", row.next_seq);
        CHECK(!(there && b->deleted.number), "a deleted conversation is there");
        CHECK(there || b->delete_try.number, "a copy is lost");
    }
    if (b->blob.number) {
        autobuf content = {0};
        CHECK(store_blob_get(s, b->blob.number, &b->blob.id, &content, NULL) && content.n == BLOB_SIZE,
              "a blob is lost");
    }
}

static void judge(const char *dir, const struct belief *b, const char *what)
{
    char path[4400];
    autoerr e = NULL;
    snprintf(path, sizeof(path), "%s/handsd.db", dir);
    struct store *s = store_open(&(struct store_config){.path = path, .synchronous_off = true}, &e);
    CHECK(s, "does not open: %s", err_text(e));
    for (size_t slot = 0; slot < SLOTS; slot++)
        if (b->slots[slot].number)
            check_slot(s, b, slot, what);
    check_rest(s, b, what);
    store_close(s);
}

/* The directory after a loss of power. */
static void judge_image(const struct belief *b, const char *seed, const char *what)
{
    char log[4300], image[4300], base[4300];
    path_of(log, "log");
    path_of(image, "image");
    path_of(base, "none");
    remove_tree(image);
    char *argv[] = {scene.replay, log, base, image, (char *)(uintptr_t)seed, NULL};
    assert_int_equal(run_program(argv), 0);
    judge(image, b, what);
    remove_tree(image);
}

static void judge_all(const struct belief *b, unsigned n, unsigned ways, const char *what)
{
    char label[200], seed[16], data[4300];
    if (ways & 1) {
        snprintf(label, sizeof(label), "%s, only what was synced", what);
        judge_image(b, NULL, label);
    }
    if (ways & 2) {
        snprintf(seed, sizeof(seed), "%u", n);
        snprintf(label, sizeof(label), "%s, what was synced and more", what);
        judge_image(b, seed, label);
    }
    if (ways & 4) {
        snprintf(label, sizeof(label), "%s, the directory itself", what);
        path_of(data, "data");
        judge(data, b, label);
    }
}

static unsigned count_calls(void)
{
    char log[4300], command[9000];
    unsigned any = 0;
    path_of(log, "log");
    snprintf(command, sizeof(command), "%s -c %s", scene.replay, log);
    FILE *out = popen(command, "re");
    assert_non_null(out);
    assert_int_equal(fscanf(out, "write %*u sync %*u rename %*u any %u", &any), 1);
    pclose(out);
    return any;
}

/* Sanitizers make a victim ten times slower. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STEP 8u
#else
#define STEP 1u
#endif

/* How a number is looked at: HANDSD_CRASH_STEP. */
static unsigned step_of(unsigned *ways_all)
{
    const char *text = getenv("HANDSD_CRASH_STEP");
    unsigned step = text ? (unsigned)atoi(text) : STEP;
    *ways_all = text && step == 0;
    return step ? step : 1;
}

static void test_undisturbed(void **state)
{
    (void)state;
    struct belief b = {0};
    assert_int_equal(run_victim((const char *const[]){NULL}, &b), 0);
    assert_true(b.ended && b.copy.number && b.deleted.number && b.blob.number);
    assert_true(b.slots[0].n > 5 && b.slots[1].n > 5 && b.slots[2].n > 5);
    judge_all(&b, 1, 7, "undisturbed");
}

enum { SURVIVORS = 10 };

static void test_death_at_every_call(void **state)
{
    (void)state;
    unsigned all, step = step_of(&all);
    /* Threads make the number of calls vary: the end is where several victims in a row survive. */
    for (unsigned n = 1, survived = 0; survived < SURVIVORS; n += step) {
        char setting[64], what[64];
        struct belief b = {0};
        snprintf(setting, sizeof(setting), "SHIM_KILL_AT=%u", n);
        snprintf(what, sizeof(what), "killed at call %u", n);
        int status = run_victim((const char *const[]){setting, NULL}, &b);
        survived = b.ended ? survived + 1 : 0;
        CHECK(b.ended || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL), "status %d", status);
        CHECK(!b.ended || n > 100, "too few calls");
        judge_all(&b, n, all ? 7 : 1u << n % 3, what);
    }
}

static void fail_at_every_call(const char *kind, const char *number, bool on, bool brief, unsigned offset)
{
    struct belief whole = {0};
    unsigned all, step = step_of(&all);
    assert_int_equal(run_victim((const char *const[]){NULL}, &whole), 0);
    unsigned calls = count_calls();
    for (unsigned n = 1 + (all ? 0 : offset); n <= calls; n += all ? 1 : 3 * step) {
        char at[64], kind_setting[64], errno_setting[64], what[120];
        struct belief b = {.hopeless = on};
        snprintf(at, sizeof(at), "SHIM_FAIL_AT=%u", n);
        snprintf(kind_setting, sizeof(kind_setting), "SHIM_FAIL_KIND=%s", kind);
        snprintf(errno_setting, sizeof(errno_setting), "SHIM_ERRNO=%s", number);
        snprintf(what, sizeof(what), "%s at call %u (%s)%s", number, n, kind, on ? " and on" : "");
        int status = run_victim(
            (const char *const[]){at, kind_setting, errno_setting,
                                  on ? "SHIM_FAIL_MODE=on" : "X=", brief ? "SHIM_FAIL_SHORT=1" : "Y=", NULL},
            &b);
        /* It may refuse to start; it never crashes. */
        CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || (WEXITSTATUS(status) == 3 && !b.opened)),
              "status %d", status);
        CHECK(on || !b.opened || (b.slots[0].n > 5 && b.slots[1].n > 5), "one failure ended it all");
        if (b.opened)
            judge_all(&b, n, all ? 7 : n % 2 ? 4 : 1, what);
    }
}

static void test_failure_once_at_every_call(void **state)
{
    (void)state;
    fail_at_every_call("any", "EIO", false, false, 0);
}

static void test_disk_full_at_every_call(void **state)
{
    (void)state;
    fail_at_every_call("write", "ENOSPC", false, true, 1);
}

static void test_failure_for_good_at_every_call(void **state)
{
    (void)state;
    fail_at_every_call("any", "EIO", true, false, 2);
}

/* A commit is reported as failed, and then the process dies before it writes anything else: the commit stays failed. */
static void test_death_after_failure(void **state)
{
    (void)state;
    unsigned all, step = step_of(&all);
    for (unsigned n = 1, survived = 0; survived < SURVIVORS; n += step) {
        char fail_at[64], kill_at[64], what[140];
        struct belief b = {0};
        snprintf(fail_at, sizeof(fail_at), "SHIM_FAIL_AT=%u", n);
        snprintf(kill_at, sizeof(kill_at), "SHIM_KILL_AT=%u", n + 1 + n / step % 2);
        snprintf(what, sizeof(what), "%s, %s", fail_at, kill_at);
        int status = run_victim((const char *const[]){fail_at, kill_at, NULL}, &b);
        survived = b.ended ? survived + 1 : 0;
        CHECK(b.ended || !b.opened || WIFSIGNALED(status), "status %d", status);
        if (b.opened)
            judge_all(&b, n, all ? 7 : 4, what);
    }
}

/* shim.so and shim_replay lie beside this program, or where the environment says. */
static void find_tools(void)
{
    ssize_t n = readlink("/proc/self/exe", scene.self, sizeof(scene.self) - 1);
    assert_true(n > 0);
    const char *slash = strrchr(scene.self, '/'), *shim = getenv("HANDSD_SHIM"),
               *replay = getenv("HANDSD_SHIM_REPLAY");
    int dir = (int)(slash - scene.self);
    snprintf(scene.shim, sizeof(scene.shim), "%.*s/shim.so", dir, scene.self);
    snprintf(scene.replay, sizeof(scene.replay), "%.*s/shim_replay", dir, scene.self);
    if (shim)
        snprintf(scene.shim, sizeof(scene.shim), "%s", shim);
    if (replay)
        snprintf(scene.replay, sizeof(scene.replay), "%s", replay);
}

static int begin(void **state)
{
    (void)state;
    find_tools();
    temp_dir(scene.root);
    return 0;
}

static int end(void **state)
{
    (void)state;
    remove_tree(scene.root);
    return 0;
}

int main(int argc, char **argv)
{
    clock_init();
    if (argc == 3 && strcmp(argv[1], "work") == 0)
        return victim_main(argv[2]);
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(test_undisturbed),
        cmocka_unit_test(test_death_at_every_call),
        cmocka_unit_test(test_death_after_failure),
        cmocka_unit_test(test_failure_once_at_every_call),
        cmocka_unit_test(test_disk_full_at_every_call),
        cmocka_unit_test(test_failure_for_good_at_every_call),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(cases, begin, end);
}
