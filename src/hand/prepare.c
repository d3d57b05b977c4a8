/* OP_PREPARE: makes the working directory F_CWD, and a git repository of it with F_GIT_INIT unless it lies in one or
 * there is no git. Answers F_CWD (links resolved), F_USER, F_HOST, F_PYTHON (if there is one) and F_PID. */
#include "base/cleanup.h"
#include "hand/beneath.h"
#include "hand/env.h"
#include "hand/keeper.h"
#include "hand/operations.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/utsname.h>

#define GIT_MS 30000 /* for `git init` */

struct preparing {
    struct call *call;
    struct keeper *git;
    uint64_t timer;
    char *dir;
    bool cancelled;
};

static void preparing_free(struct call *c)
{
    struct preparing *p = c->state;
    hand_timer_cancel(c->hand, p->timer);
    free(p->dir);
    free(p);
}

static void answer(struct preparing *p)
{
    struct call *c = p->call;
    autobuf fields = {0}, program = {0};
    struct utsname host;
    struct account a;
    account_find(&a, geteuid());
    if (a.name.n == 0)
        buf_add_u64(&a.name, geteuid());
    wire_add_str(&fields, F_CWD, str_from(p->dir));
    wire_add_str(&fields, F_USER, buf_str(&a.name));
    wire_add_str(&fields, F_HOST, uname(&host) == 0 ? str_from(host.nodename) : STR("localhost"));
    if (environment_program(hand_environment(c->hand), "python", &program) ||
        environment_program(hand_environment(c->hand), "python3", &program))
        wire_add_str(&fields, F_PYTHON, buf_str(&program));
    wire_add_int(&fields, F_PID, getpid());
    account_deinit(&a);
    call_done(c, WIRE_OK, &fields);
}

static void on_git_ended(void *arg)
{
    struct preparing *p = arg;
    if (p->cancelled)
        call_done(p->call, WIRE_CANCELLED, NULL);
    else
        answer(p); /* without a repository: the work can begin all the same */
}

static void on_git_exit(void *arg, int exit_code)
{
    (void)exit_code;
    struct preparing *p = arg;
    keeper_end(steal(p->git), 0, on_git_ended, p);
}

static void on_git_timeout(void *arg)
{
    struct preparing *p = arg;
    p->timer = 0;
    if (p->git)
        keeper_end(steal(p->git), 0, on_git_ended, p);
}

static void on_cancel(struct call *c)
{
    struct preparing *p = c->state;
    p->cancelled = true;
    if (p->git)
        keeper_end(steal(p->git), 0, on_git_ended, p);
}

static bool is_in_repository(const char *dir)
{
    autobuf path = {0};
    buf_add_cstr(&path, dir);
    for (;;) {
        size_t n = path.n;
        buf_add_cstr(&path, n && path.p[n - 1] == '/' ? ".git" : "/.git");
        if (access(path.p, F_OK) == 0)
            return true;
        buf_truncate(&path, n);
        ssize_t slash = str_rfind_char(buf_str(&path), '/');
        if (n <= 1 || slash < 0)
            return false;
        buf_truncate(&path, slash ? (size_t)slash : 1);
    }
}

/* False: there is nothing to wait for. */
static bool git_start(struct preparing *p)
{
    autobuf program = {0}, extra = {0};
    struct hand *h = p->call->hand;
    if (is_in_repository(p->dir) || !environment_program(hand_environment(h), "git", &program))
        return false;
    wire_add_str(&extra, F_ENV, STR("GIT_TERMINAL_PROMPT=0"));
    wire_add_str(&extra, F_ENV, STR("GIT_CONFIG_NOSYSTEM=1"));
    char **env = environment_with(hand_environment(h), buf_str(&extra));
    char *argv[] = {program.p, "init", "--quiet", NULL};
    struct keeper_spec spec = {.argv = argv, .env = env, .cwd = p->dir, .fds = {-1, -1, -1}};
    p->git = keeper_start(h, &spec, on_git_exit, p, NULL);
    environment_free(env);
    if (!p->git)
        return false;
    p->timer = hand_timer(h, GIT_MS, on_git_timeout, p);
    return true;
}

void prepare_start(struct call *c)
{
    struct str fields = buf_str(&c->fields);
    struct str cwd = wire_get_str(fields, F_CWD);
    autobuf path = {0};
    buf_add(&path, cwd);
    if (cwd.n == 0 || cwd.n >= FILE_PATH_MAX || str_find_char(cwd, '\0') >= 0)
        return call_fail(c, WIRE_INVALID, "a working directory of 1 to %d bytes is needed", FILE_PATH_MAX);
    struct place place = {NULL, path.p};
    autofree char *dir = place_make_dirs(&place, false, 0777) ? realpath(path.p, NULL) : NULL;
    if (!dir)
        return call_fail(c, status_of_errno(errno), "the working directory %s cannot be made: %s", path.p,
                         strerror(errno));
    struct preparing *p = xcalloc(1, sizeof(*p));
    *p = (struct preparing){.call = c, .dir = steal(dir)};
    c->state = p;
    c->on_cancel = on_cancel;
    c->on_free = preparing_free;
    if (!wire_get_int(fields, F_GIT_INIT, 0) || !git_start(p))
        answer(p);
}
