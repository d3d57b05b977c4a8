#include "hand/search/ignore.h"
#include "base/fd.h"
#include "base/vec.h"
#include "hand/search/glob_pattern.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

struct rule {
    struct glob *glob;
    bool negated;   /* `!`: what matches is not ignored after all */
    bool dirs_only; /* `/` at the end */
    bool by_name;   /* no `/` before: the last part decides */
};

struct ignore {
    const struct ignore *above;
    char *prefix;
    size_t skip;
    VEC(struct rule) rules;
};

bool ignore_begins(int dir)
{
    struct stat st;
    return fstatat(dir, ".git", &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Blanks at the end do not count, unless there is a backslash before the first of them. */
static struct str without_blanks(struct str line)
{
    while (line.n > 0 &&
           (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t' || line.p[line.n - 1] == '\r') &&
           (line.n < 2 || line.p[line.n - 2] != '\\'))
        line.n--;
    return line;
}

static void rule_add(struct ignore *i, struct str line)
{
    struct rule r = {0};
    autobuf pattern = {0};
    line = without_blanks(line);
    if (line.n == 0 || line.p[0] == '#')
        return;
    if (line.p[0] == '!') {
        r.negated = true;
        line = str_sub(line, 1, line.n);
    }
    if (line.n > 0 && line.p[line.n - 1] == '/') {
        r.dirs_only = true;
        line.n--;
    }
    r.by_name = str_find_char(line, '/') < 0;
    if (!r.by_name && line.p[0] != '/')
        buf_add(&pattern, STR("./")); /* anchored */
    for (size_t at = 0; at < line.n; at++) {
        if (line.p[at] == '{')
            buf_add_char(&pattern, '\\');
        buf_add_char(&pattern, line.p[at]);
    }
    if (pattern.n > 0 && (r.glob = glob_new(buf_str(&pattern), NULL)))
        vec_push(&i->rules, r);
}

static bool content_read(int dir, struct buf *out)
{
    struct stat st;
    autofd int fd = openat(dir, ".gitignore", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           fd_read_all(fd, IGNORE_FILE_MAX, out, NULL);
}

struct ignore *ignore_new(struct str text, const struct ignore *above, struct str prefix, size_t skip)
{
    struct str line;
    struct ignore *i = xcalloc(1, sizeof(*i));
    i->above = above;
    i->prefix = str_dup(prefix);
    i->skip = skip;
    while (i->rules.n < IGNORE_RULES_MAX && str_split(&text, '\n', &line))
        rule_add(i, line);
    return i;
}

struct ignore *ignore_load(int dir, const struct ignore *above, struct str prefix, size_t skip)
{
    autobuf text = {0};
    return content_read(dir, &text) ? ignore_new(buf_str(&text), above, prefix, skip) : NULL;
}

void ignore_free(struct ignore *i)
{
    if (!i)
        return;
    for (size_t k = 0; k < i->rules.n; k++)
        glob_free(i->rules.at[k].glob);
    vec_deinit(&i->rules);
    free(i->prefix);
    free(i);
}

static bool rule_matches(const struct rule *r, struct str path, bool is_dir)
{
    struct str name = str_sub(path, (size_t)(str_rfind_char(path, '/') + 1), path.n);
    return (!r->dirs_only || is_dir) && glob_match(r->glob, r->by_name ? name : path);
}

bool ignore_has_within(const struct ignore *i, struct str path, bool is_dir)
{
    for (size_t k = i->rules.n; k-- > 0;) {
        const struct rule *r = &i->rules.at[k];
        bool hit = rule_matches(r, path, is_dir);
        for (size_t n = 0; !hit && n < path.n; n++)
            hit = path.p[n] == '/' && rule_matches(r, str_sub(path, 0, n), true);
        if (hit)
            return !r->negated;
    }
    return false;
}

bool ignore_has(const struct ignore *i, struct str path, bool is_dir)
{
    ssize_t slash = str_rfind_char(path, '/');
    struct str name = str_sub(path, (size_t)(slash + 1), path.n);
    for (; i; i = i->above) {
        autobuf whole = {0};
        buf_add_cstr(&whole, i->prefix);
        buf_add(&whole, str_sub(path, i->skip, path.n));
        for (size_t k = i->rules.n; k-- > 0;) {
            const struct rule *r = &i->rules.at[k];
            if ((!r->dirs_only || is_dir) && glob_match(r->glob, r->by_name ? name : buf_str(&whole)))
                return !r->negated;
        }
    }
    return false;
}
