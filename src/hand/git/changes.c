/* OP_GIT_CHANGES: the files that differ from a base, or that a commit changed. A rename is a deletion and an addition. */
#include "base/cleanup.h"
#include "base/path.h"
#include "hand/git/git.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define RESULT_MAX (WIRE_MESSAGE_MAX - 64 * 1024)

struct change {
    char *path; /* relative to the directory that was asked about */
    char kind;  /* 'A', 'D', 'U' or 'C'; 0: it is none */
};

/* A change of which git knows only that the file's time stamp is not the one in the index: the index is not refreshed,
 * since that would be written, and with filters off at that. */
struct doubt {
    size_t change;       /* in `at` */
    struct str path, id; /* as git has it; of its content in the base */
};

struct changes {
    VEC(struct change) at;
    VEC(char *) nested; /* names of directories that are repositories of their own */
    VEC(struct doubt) doubts;
};

static void changes_deinit(struct changes *c)
{
    for (size_t i = 0; i < c->at.n; i++)
        free(c->at.at[i].path);
    for (size_t i = 0; i < c->nested.n; i++)
        free(c->nested.at[i]);
    vec_deinit(&c->at);
    vec_deinit(&c->nested);
    vec_deinit(&c->doubts);
}

static void add(struct changes *c, const char *prefix, struct str path, char kind)
{
    autobuf whole = {0};
    while (path.n > 1 && path.p[path.n - 1] == '/') /* a repository among the files that git does not know */
        path.n--;
    path_join(&whole, str_from(prefix), path);
    vec_push(&c->at, (struct change){str_dup(buf_str(&whole)), kind});
}

static bool is_nested(const struct changes *c, struct str path)
{
    struct str first = str_sub(path, 0, (size_t)str_find_char(path, '/'));
    for (size_t i = 0; i < c->nested.n; i++)
        if (str_is(first, c->nested.at[i]))
            return true;
    return false;
}

/* The mode, then the object's name of each side, and the status: `:100644 100644 ID ID M`. */
static bool raw_parse(struct str head, struct str part[5])
{
    size_t n = 0;
    while (n < 5 && str_split(&head, ' ', &part[n]))
        n++;
    return n == 5 && str_starts(part[0], STR(":")) && part[4].n > 0;
}

static bool is_zero(struct str id)
{
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] != '0')
            return false;
    return true;
}

static char kind_of(char status)
{
    return status == 'A' || status == 'D' ? status : status == 'U' ? 'C' : 'U';
}

static void add_tracked(struct changes *c, const char *prefix, struct str list, bool skip_nested)
{
    struct str head, path, part[5];
    while (list.n > 0 && str_split(&list, '\0', &head) && list.n > 0 && str_split(&list, '\0', &path)) {
        if (path.n == 0 || !raw_parse(head, part) || (skip_nested && is_nested(c, path)))
            continue;
        char status = part[4].p[0];
        bool regular = str_starts(part[0], STR(":100")) && str_eq(str_sub(part[0], 1, part[0].n), part[1]);
        /* Names are told to git line by line. */
        if (status == 'M' && regular && is_zero(part[3]) && str_find_char(path, '\n') < 0 && path.p[0] != '"')
            vec_push(&c->doubts, (struct doubt){c->at.n, path, part[2]});
        add(c, prefix, path, kind_of(status));
    }
}

/* Asks for the names that the contents would have, and forgets what is no change. A file that goes away meanwhile leaves
 * all as they are. */
static void settle_doubts(struct git *g, struct changes *c)
{
    static const char *const hash[] = {"hash-object", "--stdin-paths", NULL};
    autobuf in = {0};
    for (size_t i = 0; i < c->doubts.n; i++) {
        buf_add(&in, c->doubts.at[i].path);
        buf_add_char(&in, '\n');
    }
    struct str ids, id;
    bool asked = in.n > 0 && git_run_with(g, hash, buf_str(&in));
    ids = buf_str(&g->out);
    for (size_t i = 0; asked && i < c->doubts.n && str_split(&ids, '\n', &id); i++)
        if (str_eq(id, c->doubts.at[i].id))
            c->at.at[c->doubts.at[i].change].kind = 0;
    c->doubts.n = 0;
}

/* Of mode, name, stage and path: `100644 ID 1\tPATH`. Compared with a commit, git does not say that they wait for a merge. */
static void add_unmerged(struct changes *c, const char *prefix, struct str list, bool skip_nested)
{
    struct str path;
    while (list.n > 0 && str_split(&list, '\0', &path)) {
        path = str_sub(path, (size_t)(str_find_char(path, '\t') + 1), path.n);
        if (path.n && !(skip_nested && is_nested(c, path)))
            add(c, prefix, path, 'C');
    }
}

static void add_untracked(struct changes *c, const char *prefix, struct str list, bool skip_nested)
{
    struct str path;
    while (list.n > 0 && str_split(&list, '\0', &path))
        if (path.n && !(skip_nested && is_nested(c, path)))
            add(c, prefix, path, 'A');
}

/* --- asking git ----------------------------------------------------------------------------- */

#define DIFF                                                                                \
    "diff", "--raw", "--no-abbrev", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", \
        "--ignore-submodules=dirty", "--relative"

static bool list_changes(struct git *g, struct changes *c, struct str ref, const char *prefix,
                         bool skip_nested)
{
    char base[GIT_ID_MAX + 1];
    if (!git_base(g, ref, base) || !GIT_RUN(g, DIFF, base, "--"))
        return false;
    autobuf list = g->out; /* the doubts point into it */
    g->out = (struct buf){0};
    add_tracked(c, prefix, buf_str(&list), skip_nested);
    settle_doubts(g, c);
    if (!GIT_RUN(g, "ls-files", "--others", "--exclude-standard", "-z"))
        return false;
    add_untracked(c, prefix, buf_str(&g->out), skip_nested);
    if (g->origin && !GIT_RUN(g, "ls-files", "--unmerged", "-z"))
        return false;
    if (g->origin)
        add_unmerged(c, prefix, buf_str(&g->out), skip_nested);
    return true;
}

static bool list_commit(struct git *g, struct changes *c, struct str commit)
{
    char id[GIT_ID_MAX + 1], parent[GIT_ID_MAX + 1];
    if (!git_commit(g, commit, id, parent) || !GIT_RUN(g, DIFF, parent, id, "--"))
        return false;
    add_tracked(c, "", buf_str(&g->out), false);
    return true;
}

/* --- repositories inside -------------------------------------------------------------------- */

/* Directories of `dir`, no links and no hidden ones, that have a .git. */
static void find_nested(struct changes *c, const char *dir)
{
    struct stat st;
    autobuf path = {0};
    DIR *d = opendir(dir);
    // cppcheck-suppress readdirCalled ; the stream is ours alone
    for (const struct dirent *entry; d && c->nested.n < GIT_NESTED_MAX && (entry = readdir(d));) {
        if (entry->d_name[0] == '.' || fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISDIR(st.st_mode))
            continue;
        buf_clear(&path);
        path_join(&path, str_from(entry->d_name), STR(".git"));
        if (fstatat(dirfd(d), path.p, &st, 0) == 0)
            vec_push(&c->nested, str_dup(str_from(entry->d_name)));
    }
    if (d)
        closedir(d);
}

/* One that is broken or went away is left out. */
static void list_nested(const struct call *call, struct changes *c, const char *dir, struct str ref)
{
    for (size_t i = 0; i < c->nested.n; i++) {
        autobuf path = {0};
        autogit g = {0};
        size_t before = c->at.n;
        path_join(&path, str_from(dir), str_from(c->nested.at[i]));
        if (git_open(&g, call, path.p) == GIT_OPEN && list_changes(&g, c, ref, c->nested.at[i], false))
            continue;
        while (c->at.n > before)
            free(c->at.at[--c->at.n].path);
    }
}

/* --- the answer ----------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    int order = strcmp(x->path, y->path);
    if (order == 0) /* a conflict before what else git says of that file */
        order = (y->kind == 'C') - (x->kind == 'C');
    return order ? order : x->kind - y->kind;
}

/* An unmerged file is named twice by git, or more often, and one that was deleted in the index but not in the tree is both
 * deleted and unknown. */
static bool is_repeated(const struct changes *c, size_t i)
{
    const struct change *last = i > 0 ? &c->at.at[i - 1] : NULL, *this = &c->at.at[i];
    return last && strcmp(this->path, last->path) == 0 && (this->kind == last->kind || last->kind == 'C');
}

static enum wire_status answer(struct changes *c, struct buf *fields)
{
    autobuf item = {0};
    if (c->at.n)
        qsort(c->at.at, c->at.n, sizeof(*c->at.at), compare);
    for (size_t i = 0; i < c->at.n; i++) {
        if (!c->at.at[i].kind || is_repeated(c, i))
            continue;
        buf_clear(&item);
        wire_add_str(&item, F_PATH, str_from(c->at.at[i].path));
        wire_add_str(&item, F_KIND, str_make(&c->at.at[i].kind, 1));
        if (fields->n + item.n > RESULT_MAX) {
            buf_clear(fields);
            return job_fail(fields, WIRE_TOO_LARGE, "There are too many changes to be listed (%zu)", c->at.n);
        }
        wire_add_str(fields, F_ITEM, buf_str(&item));
    }
    return WIRE_OK;
}

enum wire_status git_changes_run(const struct call *call, struct buf *fields)
{
    __attribute__((cleanup(changes_deinit))) struct changes c = {0};
    struct str ref = wire_get_str(buf_str(&call->fields), F_REF);
    struct str commit = wire_get_str(buf_str(&call->fields), F_COMMIT);
    autofree char *dir = git_call_path(call, fields);
    autogit g = {0};
    if (!dir)
        return WIRE_INVALID;
    enum git_open open = git_open(&g, call, dir);
    if (open == GIT_FAILED)
        return git_failed(&g, fields);
    if (commit.n == 0)
        find_nested(&c, dir);
    if (open == GIT_NO_REPOSITORY && c.nested.n == 0)
        return job_fail(fields, WIRE_NOT_FOUND, "%s is not in a git repository", dir);
    if (open == GIT_OPEN && !(commit.n ? list_commit(&g, &c, commit) : list_changes(&g, &c, ref, "", true)))
        return git_failed(&g, fields);
    list_nested(call, &c, dir, ref);
    return answer(&c, fields);
}
