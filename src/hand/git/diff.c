/* OP_GIT_DIFF: one file as it is and as it was: in the working tree and in the base, or behind and before a commit. */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/path.h"
#include "hand/beneath.h"
#include "hand/git/git.h"
#include <limits.h>
#include <stdio.h>

/* Both sides are shown in the same way, so that only what differs differs: LF as the end of a line, none at the end. */
static void add_content(struct buf *fields, enum wire_field tag, struct str content)
{
    autobuf text = {0};
    for (size_t i = 0; i < content.n; i++) {
        if (content.p[i] != '\r')
            buf_add_char(&text, content.p[i]);
        else if (i + 1 == content.n || content.p[i + 1] != '\n')
            buf_add_char(&text, '\n');
    }
    if (text.n > 0 && text.p[text.n - 1] == '\n')
        buf_truncate(&text, text.n - 1);
    wire_add_str(fields, tag, buf_str(&text));
}

static enum wire_status too_large(struct buf *fields, long long size)
{
    return job_fail(fields, WIRE_TOO_LARGE, "File too large for git diff: %lld bytes (max: %zu bytes)", size,
                    GIT_FILE_MAX);
}

/* The directory nearest to `path` that has a .git, in `dir`, and the rest of the path behind it. NULL: there is none. */
static const char *repository_of(const char *path, struct buf *dir)
{
    struct stat st;
    struct str at = path_dir(str_from(path));
    for (;; at = path_dir(at)) {
        buf_clear(dir);
        path_join(dir, at, STR(".git"));
        if (stat(dir->p, &st) == 0)
            break;
        if (at.n <= 1)
            return NULL;
    }
    buf_clear(dir);
    buf_add(dir, at);
    return path + at.n + (at.n > 1);
}

/* What `id` has at `path`; if it has no such file, nothing, or no field with `absent`. False with a message: it is too
 * large. */
static bool add_old(struct git *g, const char *id, const char *path, enum wire_field tag, bool absent,
                    struct buf *fields, enum wire_status *status)
{
    autobuf spec = {0};
    struct str word;
    int64_t size = 0;
    buf_addf(&spec, "%s:%s", id, path);
    const char *const type[] = {"cat-file", "-t", spec.p, NULL}, *const length[] = {"cat-file", "-s", spec.p,
                                                                                    NULL};
    bool there = git_word(g, type, &word) && str_is(word, "blob") && git_word(g, length, &word) &&
                 str_to_i64(word, &size);
    if (there && size > (int64_t)GIT_FILE_MAX) {
        *status = too_large(fields, size);
        return false;
    }
    if (there && !GIT_RUN(g, "cat-file", "blob", spec.p)) {
        *status = git_failed(g, fields);
        return false;
    }
    if (there || !absent)
        add_content(fields, tag, there ? buf_str(&g->out) : STR(""));
    return true;
}

/* The file itself; `*status` says what is wrong with it. With `absent` it need not be there. */
static bool read_file(const struct place *place, bool *absent, struct buf *content, struct buf *fields,
                      enum wire_status *status)
{
    struct stat st;
    autoerr e = NULL;
    autofd int fd = place_open_file(place, &st, status, &e);
    bool missing = fd < 0 && (*status == WIRE_NOT_FOUND || *status == WIRE_NOT_DIR);
    if (missing && *absent)
        return true;
    *absent = false;
    if (fd < 0) {
        enum wire_status refused = place->root ? *status : WIRE_INVALID;
        *status = missing ? job_fail(fields, WIRE_INVALID, "File does not exist: %s", place->path)
                          : job_fail(fields, refused, "File cannot be read: %s", err_text(e));
        return false;
    }
    if (st.st_size > (off_t)GIT_FILE_MAX || !fd_read_all(fd, GIT_FILE_MAX, content, NULL)) {
        *status = too_large(fields, st.st_size);
        return false;
    }
    return true;
}

/* Through links, the last part's too, as far as there are files. */
static char *resolve(const char *path)
{
    autobuf normal = {0};
    char *real = realpath(path, NULL);
    if (real)
        return real;
    path_normalize(&normal, str_from(path));
    return str_dup(buf_str(&normal));
}

/* The file that is asked for: how to open it, and its path without links. */
static char *find_file(const struct call *c, struct place *place, struct buf *fields,
                       enum wire_status *status)
{
    autoerr e = NULL;
    autobuf whole = {0};
    if (!place_read(place, buf_str(&c->fields), status, &e)) {
        job_fail(fields, *status, "%s", err_text(e));
        return NULL;
    }
    path_join(&whole, place->root ? str_from(place->root) : STR(""), str_from(place->path));
    char *path = resolve(whole.p);
    autofree char *root = place->root ? resolve(place->root) : NULL;
    if (!root || path_is_beneath(str_from(root), str_from(path)) ||
        path_is_beneath(str_from(place->root), str_from(path)))
        return path;
    *status = job_fail(fields, WIRE_REFUSED, "%s is outside %s", whole.p, place->root);
    free(path);
    return NULL;
}

/* Both sides, of the repository that the file lies in. */
static enum wire_status add_sides(const struct call *c, const char *path, const struct buf *content,
                                  bool absent, bool allowed, struct buf *fields)
{
    struct str ref = wire_get_str(buf_str(&c->fields), F_REF);
    struct str commit = wire_get_str(buf_str(&c->fields), F_COMMIT);
    char new[GIT_ID_MAX + 1], old[GIT_ID_MAX + 1];
    autobuf dir = {0};
    autogit g = {0};
    enum wire_status status = WIRE_OK;
    const char *rest = repository_of(path, &dir);
    enum git_open open = rest ? git_open(&g, c, dir.p) : GIT_NO_REPOSITORY;
    if (open == GIT_NO_REPOSITORY)
        return job_fail(fields, WIRE_NOT_FOUND, "%s is not in a git repository", path);
    if (open == GIT_FAILED || !(commit.n ? git_commit(&g, commit, new, old) : git_base(&g, ref, old)))
        return git_failed(&g, fields);
    if (!add_old(&g, old, rest, F_OLD, allowed, fields, &status))
        return status;
    if (commit.n > 0)
        add_old(&g, new, rest, F_NEW, allowed, fields, &status);
    else if (!absent)
        add_content(fields, F_NEW, buf_str(content));
    return status;
}

enum wire_status git_diff_run(const struct call *c, struct buf *fields)
{
    bool allowed = wire_get_int(buf_str(&c->fields), F_ABSENT, 0) != 0, absent = allowed;
    autoplace place = {0};
    autobuf content = {0};
    enum wire_status status = WIRE_OK;
    autofree char *path = find_file(c, &place, fields, &status);
    if (!path)
        return status;
    if (!wire_has(buf_str(&c->fields), F_COMMIT) && !read_file(&place, &absent, &content, fields, &status))
        return status;
    return add_sides(c, path, &content, absent, allowed, fields);
}
