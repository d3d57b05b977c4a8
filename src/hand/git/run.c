#include "base/cleanup.h"
#include "base/utf8.h"
#include "hand/beneath.h"
#include "hand/env.h"
#include "hand/git/git.h"
#include "hand/operations.h"
#include <limits.h>
#include <stdio.h>

#define FILTERS_MAX 100 /* that a configuration may name; one that names more is not worked with */
#define FILTER_LIST_MAX (64 * 1024)
#define FAILURE_MAX 1000 /* characters of git's complaint that are passed on */

/* What git may not do, whatever the repository's configuration says; put above it for each command. */
static const char *const settings[][2] = {
    {"core.fsmonitor", "false"},
    {"diff.autoRefreshIndex", "false"},
    {"core.hooksPath", "/dev/null"},
    {"core.untrackedCache", "false"},
    {"core.sshCommand", "false"},
    {"core.askPass", "false"},
    {"credential.helper", ""},
    {"diff.external", ""},
    {"log.showSignature", "false"},
    {"safe.bareRepository", "explicit"},
    {"submodule.recurse", "false"},
    {"core.quotePath", "false"},
    {"color.ui", "false"},
    {"diff.ignoreSubmodules", "dirty"},
    {"gc.auto", "0"},
    {"protocol.allow", "never"},
};

/* --- the environment ------------------------------------------------------------------------ */

struct environment {
    VEC(char *) at;
    size_t settings; /* added so far */
};

static void add_pair(struct environment *env, const char *name, struct str value)
{
    autobuf pair = {0};
    buf_addf(&pair, "%s=%.*s", name, STR_ARG(value));
    vec_push(&env->at, str_dup(buf_str(&pair)));
}

static void add_setting(struct environment *env, struct str key, const char *value)
{
    char name[64];
    snprintf(name, sizeof(name), "GIT_CONFIG_KEY_%zu", env->settings);
    add_pair(env, name, key);
    snprintf(name, sizeof(name), "GIT_CONFIG_VALUE_%zu", env->settings);
    add_pair(env, name, str_from(value));
    env->settings++;
}

/* The hand's, without what steers git, and with our settings. */
static void environment_begin(struct environment *env, char *const *base)
{
    static const char *const left_out[] = {"GIT_", "SSH_ASKPASS=", "PAGER=", "LC_", "LANG=", "LANGUAGE="};
    for (char *const *p = base; *p; p++) {
        bool out = false;
        for (size_t i = 0; i < ARRAY_LEN(left_out); i++)
            out = out || str_starts(str_from(*p), str_from(left_out[i]));
        if (!out)
            vec_push(&env->at, str_dup(str_from(*p)));
    }
    add_pair(env, "LC_ALL", STR("C"));
    add_pair(env, "GIT_OPTIONAL_LOCKS", STR("0"));
    add_pair(env, "GIT_TERMINAL_PROMPT", STR("0"));
    add_pair(env, "GIT_ASKPASS", STR("false"));
    add_pair(env, "GIT_CONFIG_NOSYSTEM", STR("1"));
    add_pair(env, "GIT_ATTR_NOSYSTEM", STR("1"));
    add_pair(env, "GIT_ALLOW_PROTOCOL", STR("none"));
    add_pair(env, "GIT_NO_LAZY_FETCH", STR("1"));
    add_pair(env, "GIT_PAGER", STR("cat"));
    add_pair(env, "GIT_LITERAL_PATHSPECS", STR("1"));
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        add_setting(env, str_from(settings[i][0]), settings[i][1]);
}

static void environment_end(struct git *g, struct environment *env)
{
    char count[32];
    snprintf(count, sizeof(count), "%zu", env->settings);
    add_pair(env, "GIT_CONFIG_COUNT", str_from(count));
    vec_push(&env->at, NULL);
    environment_free(g->env);
    g->env = env->at.at;
}

/* --- commands ------------------------------------------------------------------------------- */

static void explain(struct git *g, const char *const *args, const struct job_program *p, const struct err *e)
{
    autobuf text = {0};
    g->status = p->too_much ? WIRE_TOO_LARGE : WIRE_INVALID;
    buf_add(&text, STR("Git command failed: git"));
    for (; *args; args++)
        buf_addf(&text, " %s", *args);
    if (e)
        buf_addf(&text, ": %s", err_text(e));
    else if (p->timed_out)
        buf_addf(&text, ": it did not end within %llu seconds", (unsigned long long)(g->command_ms / 1000));
    else if (p->too_much)
        buf_addf(&text, ": it prints more than %zu bytes", p->out_max);
    else
        buf_addf(&text, ": %.*s", STR_ARG(str_trim(buf_str(&p->err))));
    buf_clear(&g->failure);
    autobuf valid = {0};
    utf8_scrub(&valid, buf_str(&text));
    buf_add(&g->failure, utf8_prefix(buf_str(&valid), FAILURE_MAX));
}

static bool run_bounded(struct git *g, const char *const *args, struct str in, size_t out_max)
{
    VEC(char *) argv = {0};
    autoerr e = NULL;
    vec_push(&argv, str_dup(STR("git")));
    vec_push(&argv, str_dup(STR("--no-pager")));
    for (size_t i = 0; args[i]; i++)
        vec_push(&argv, str_dup(str_from(args[i])));
    vec_push(&argv, NULL);
    struct job_program p = {
        .argv = argv.at, .env = g->env, .cwd = g->dir, .in = in, .ms = g->command_ms, .out_max = out_max};
    bool ok = job_program_run(&p, &e);
    environment_free(argv.at);
    g->exit_code = ok && !p.timed_out && !p.too_much ? p.exit_code : -1;
    ok = g->exit_code == 0;
    if (!ok)
        explain(g, args, &p, e);
    buf_deinit(&g->out);
    buf_deinit(&p.err);
    g->out = p.out;
    return ok;
}

bool git_run(struct git *g, const char *const *args)
{
    return run_bounded(g, args, STR_NONE, GIT_OUTPUT_MAX);
}

bool git_run_with(struct git *g, const char *const *args, struct str in)
{
    return run_bounded(g, args, in, GIT_OUTPUT_MAX);
}

bool git_word(struct git *g, const char *const *args, struct str *word)
{
    if (!run_bounded(g, args, STR_NONE, GIT_PATH_MAX))
        return false;
    *word = buf_str(&g->out);
    if (word->n > 0 && word->p[word->n - 1] == '\n')
        word->n--;
    return true;
}

/* --- filters -------------------------------------------------------------------------------- */

static void add_filter(struct environment *env, struct str prefix)
{
    static const char *const keys[] = {"clean", "smudge", "process", "required"};
    autobuf key = {0};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        buf_clear(&key);
        buf_add(&key, prefix);
        buf_add_cstr(&key, keys[i]);
        add_setting(env, buf_str(&key), i == ARRAY_LEN(keys) - 1 ? "false" : "");
    }
}

/* Filters are switched off by name: what runs for `*.txt filter=x` is what the configuration calls x. */
static bool filters_off(struct git *g, char *const *base)
{
    static const char *const list[] = {
        "config", "--null", "--name-only", "--get-regexp", "^filter\\..*\\.(clean|smudge|process)$", NULL};
    struct environment env = {0};
    struct str name, last = STR_NONE;
    size_t n = 0;
    if (!run_bounded(g, list, STR_NONE, FILTER_LIST_MAX))
        return g->exit_code == 1; /* it names none */
    environment_begin(&env, base);
    for (struct str names = buf_str(&g->out); n <= FILTERS_MAX && str_split(&names, '\0', &name);) {
        struct str prefix = str_sub(name, 0, (size_t)(str_rfind_char(name, '.') + 1));
        if (prefix.n == 0 || str_eq(prefix, last))
            continue;
        last = prefix;
        n++;
        add_filter(&env, prefix);
    }
    environment_end(g, &env);
    if (n <= FILTERS_MAX)
        return true;
    g->status = WIRE_INVALID;
    buf_clear(&g->failure);
    buf_addf(&g->failure, "Git command failed: the configuration names more than %d filters", FILTERS_MAX);
    return false;
}

/* --- opening -------------------------------------------------------------------------------- */

/* One that is broken, or another user's, is one all the same. */
static bool is_none(const struct git *g)
{
    static const char *const texts[] = {"not a git repository", "cannot use bare repository"};
    bool none = false;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        none = none || str_find(buf_str(&g->failure), str_from(texts[i])) >= 0;
    return none && g->exit_code >= 0;
}

/* The work tree is asked for because a configuration may put it anywhere, and then that would be looked through. */
enum git_open git_open(struct git *g, const struct call *call, const char *dir)
{
    struct environment env = {0};
    struct stat st;
    char *const *base = hand_environment(call->hand);
    int64_t ms = wire_get_int(buf_str(&call->fields), F_TIMEOUT_MS, 0);
    autobuf program = {0};
    *g = (struct git){.dir = str_dup(str_from(dir)),
                      .origin = wire_get_int(buf_str(&call->fields), F_ORIGIN, 0) != 0,
                      .command_ms = ms > 0 && ms < GIT_COMMAND_MS ? (uint64_t)ms : GIT_COMMAND_MS};
    environment_begin(&env, base);
    environment_end(g, &env);
    if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode) || !environment_program(g->env, "git", &program))
        return GIT_NO_REPOSITORY;
    if (!GIT_RUN(g, "rev-parse", "--is-inside-work-tree"))
        return is_none(g) ? GIT_NO_REPOSITORY : GIT_FAILED;
    if (str_is(str_trim(buf_str(&g->out)), "true"))
        return filters_off(g, base) ? GIT_OPEN : GIT_FAILED;
    g->status = WIRE_INVALID;
    buf_addf(&g->failure, "Git command failed: %s is not in its repository's work tree", dir);
    return GIT_FAILED;
}

void git_deinit(struct git *g)
{
    free(g->dir);
    environment_free(g->env);
    buf_deinit(&g->out);
    buf_deinit(&g->failure);
}

/* --- calls ---------------------------------------------------------------------------------- */

char *git_call_path(const struct call *c, struct buf *fields)
{
    autoerr e = NULL;
    autoplace p = {0};
    enum wire_status status;
    if (place_read(&p, buf_str(&c->fields), &status, &e) && !p.root)
        return steal(p.path);
    job_fail(fields, WIRE_INVALID, "%s", e ? err_text(e) : "a root is not possible here");
    return NULL;
}

enum wire_status git_failed(const struct git *g, struct buf *fields)
{
    return job_fail(fields, g->status, "%s", buf_str(&g->failure).p);
}

void git_changes_start(struct call *c)
{
    job_start(c, git_changes_run, GIT_CALL_MS);
}

void git_diff_start(struct call *c)
{
    job_start(c, git_diff_run, GIT_CALL_MS);
}

void git_log_start(struct call *c)
{
    job_start(c, git_log_run, GIT_CALL_MS);
}
