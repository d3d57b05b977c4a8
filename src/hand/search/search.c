/* OP_GLOB and OP_GREP: names and contents of files below a directory, newest first. Both walk in a fork (job.h). */
#include "base/path.h"
#include "hand/beneath.h"
#include "hand/env.h"
#include "hand/job.h"
#include "hand/search/grep.h"
#include "hand/operations.h"
#include "hand/search/walk.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#define SEARCH_MS 30000       /* for walking and reading; what was found by then is the answer */
#define SEARCH_LIMIT_MS 36000 /* for all of it: one match may outlast the other */
#define RESULTS_MAX 100       /* files answered, unless the call says fewer */

/* Where a search begins, and for which names. */
struct search {
    struct str fields;
    struct buf base;     /* directory, not yet resolved */
    struct buf pattern;  /* relative to it */
    char root[PATH_MAX]; /* resolved */
    int fd;
    struct glob *glob;
    struct buf *result;
};

static void search_deinit(struct search *s)
{
    buf_deinit(&s->base);
    buf_deinit(&s->pattern);
    glob_free(s->glob);
    if (s->fd >= 0)
        close(s->fd);
}

static enum wire_status fail(struct search *s, enum wire_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static enum wire_status fail(struct search *s, enum wire_status status, const char *fmt, ...)
{
    autobuf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vaddf(&text, fmt, args);
    va_end(args);
    wire_add_str(s->result, F_MESSAGE, buf_str(&text));
    return status;
}

/* A pattern that is absolute, or leads out of the directory, begins somewhere else: the parts before its first special
 * character name the directory then. */
static void pattern_rebase(struct search *s, struct str pattern, const char *home)
{
    autobuf whole = {0};
    struct str fixed = STR(""), rest = pattern;
    if (home && str_starts(pattern, STR("~/"))) {
        buf_add_cstr(&whole, home);
        buf_add(&whole, str_sub(pattern, 1, pattern.n));
        pattern = rest = buf_str(&whole);
    }
    bool elsewhere = path_is_absolute(pattern) || str_starts(pattern, STR("../"));
    for (ssize_t slash; elsewhere && (slash = str_find_char(rest, '/')) >= 0;) {
        if (glob_is_magic(str_sub(rest, 0, (size_t)slash)))
            break;
        rest = str_sub(rest, (size_t)slash + 1, rest.n);
        fixed = str_sub(pattern, 0, pattern.n - rest.n);
    }
    if (fixed.n > 0) {
        autobuf joined = {0};
        path_join(&joined, buf_str(&s->base), fixed);
        buf_clear(&s->base);
        buf_add(&s->base, buf_str(&joined));
        /* Behind the directory the pattern is anchored, also when only one part is left. */
        buf_addf(&s->pattern, "./%.*s", STR_ARG(rest.n > 0 ? rest : STR("**")));
    } else {
        buf_add(&s->pattern, rest);
    }
}

/* Opens the directory. */
static enum wire_status search_open(struct search *s)
{
    if (str_find_char(buf_str(&s->base), '\0') >= 0 || s->base.n >= PATH_MAX || s->base.n == 0)
        return fail(s, WIRE_INVALID, "the path is too long or no path at all");
    s->fd = open(s->base.p, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    if (s->fd < 0 || !realpath(s->base.p, s->root)) {
        enum wire_status status = status_of_errno(errno);
        wire_add_str(s->result, F_PATH, buf_str(&s->base));
        return fail(s, status, "%s", strerror(errno));
    }
    wire_add_str(s->result, F_PATH, str_from(s->root));
    return WIRE_OK;
}

static void base_set(struct search *s)
{
    struct str path = wire_get_str(s->fields, F_PATH);
    path_join(&s->base, wire_get_str(s->fields, F_CWD), path.p ? path : STR(""));
}

static bool glob_make(struct search *s, struct str pattern, enum wire_status *status)
{
    autoerr e = NULL;
    s->glob = glob_new(pattern, &e);
    if (!s->glob)
        *status = fail(s, WIRE_INVALID, "%s", err_text(e));
    return s->glob != NULL;
}

static size_t limit_of(struct str fields)
{
    int64_t limit = wire_get_int(fields, F_LIMIT, RESULTS_MAX);
    return limit > 0 && limit < RESULTS_MAX ? (size_t)limit : RESULTS_MAX;
}

static void item_add(struct search *s, const char *path)
{
    autobuf whole = {0};
    path_join(&whole, str_from(s->root), str_from(path));
    wire_add_str(s->result, F_ITEM, buf_str(&whole));
}

static void stopped_add(struct search *s, const char *why)
{
    if (why)
        wire_add_str(s->result, F_MESSAGE, str_from(why));
}

/* --- names ---------------------------------------------------------------------------------- */

static enum wire_status glob_work(const struct call *c, struct search *s)
{
    struct walk w = {.root = s->root, .dot_dirs = true, .dot_files = true, .links = true};
    enum wire_status status;
    struct str pattern = wire_get_str(s->fields, F_PATTERN);
    base_set(s);
    pattern_rebase(s, pattern.n > 0 ? pattern : STR("**"),
                   environment_get(hand_environment(c->hand), "HOME"));
    if ((status = search_open(s)) != WIRE_OK || !glob_make(s, buf_str(&s->pattern), &status))
        return status;
    size_t limit = limit_of(s->fields);
    w.glob = s->glob;
    w.deadline_ms = hand_now_ms() + SEARCH_MS;
    walk_run(&w, s->fd);
    for (size_t i = 0; i < w.files.n && i < limit; i++)
        item_add(s, w.files.at[i].path);
    wire_add_int(s->result, F_TRUNCATED, w.files.n > limit);
    stopped_add(s, w.stopped);
    walk_deinit(&w);
    return WIRE_OK;
}

static enum wire_status glob_job(const struct call *c, struct buf *result)
{
    struct search s = {.fields = buf_str(&c->fields), .fd = -1, .result = result};
    enum wire_status status = glob_work(c, &s);
    search_deinit(&s);
    return status;
}

void glob_start(struct call *c)
{
    job_start(c, glob_job, SEARCH_LIMIT_MS);
}

/* --- contents ------------------------------------------------------------------------------- */

/* Newest first, so that it may stop when there are enough. */
static void grep_files(struct search *s, struct walk *w, struct grep *g)
{
    size_t limit = limit_of(s->fields), found = 0;
    int64_t partly = 0;
    for (size_t i = 0; i < w->files.n && found <= limit; i++) {
        if (hand_now_ms() > w->deadline_ms) {
            w->stopped = "it took too long";
            break;
        }
        enum grep_result one = grep_file(g, s->fd, w->files.at[i].path);
        partly += one == GREP_PARTLY;
        if (one == GREP_YES && found++ < limit)
            item_add(s, w->files.at[i].path);
    }
    wire_add_int(s->result, F_TRUNCATED, found > limit);
    wire_add_int(s->result, F_ELIDED, partly);
}

static enum wire_status grep_work(struct search *s)
{
    autoerr e = NULL;
    enum wire_status status;
    struct str include = wire_get_str(s->fields, F_INCLUDE);
    base_set(s);
    if ((status = search_open(s)) != WIRE_OK)
        return status;
    if (include.n > 0 && !glob_make(s, include, &status))
        return status;
    struct grep *g = grep_new(wire_get_str(s->fields, F_PATTERN), &e);
    if (!g)
        return fail(s, WIRE_INVALID, "%s", err_text(e));
    struct walk w = {.root = s->root,
                     .glob = s->glob,
                     .dot_files = s->glob != NULL,
                     .deadline_ms = hand_now_ms() + SEARCH_MS};
    walk_run(&w, s->fd);
    grep_files(s, &w, g);
    stopped_add(s, w.stopped);
    walk_deinit(&w);
    grep_free(g);
    return WIRE_OK;
}

static enum wire_status grep_job(const struct call *c, struct buf *result)
{
    struct search s = {.fields = buf_str(&c->fields), .fd = -1, .result = result};
    enum wire_status status = grep_work(&s);
    search_deinit(&s);
    return status;
}

void grep_start(struct call *c)
{
    job_start(c, grep_job, SEARCH_LIMIT_MS);
}
