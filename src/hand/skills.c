/* OP_SKILLS: the files that tell an agent how to work here: guides at a root (AGENTS.md and its like) and skills in certain
 * directories below it. All of it in one job, because it is many small files; whatever they are, the job ends: only regular
 * files that lie below the root are read, and their number, size and depth are bounded. */
#include "base/cleanup.h"
#include "base/path.h"
#include "base/vec.h"
#include "hand/beneath.h"
#include "hand/env.h"
#include "hand/job.h"
#include "hand/operations.h"
#include <dirent.h>
#include <fcntl.h>

#define SKILLS_MS 10000 /* for all of it */
#define FILES_MAX 500
#define BYTES_MAX (4 * 1024 * 1024) /* of all files */
#define ENTRIES_MAX 20000           /* of directories, looked at */
#define DEPTH_MAX 6                 /* of directories below one of skills */

typedef VEC(char *) name_list;

struct seen {
    dev_t device;
    ino_t inode;
};

struct search {
    const struct call *call;
    struct buf *out;
    const char *root;
    size_t files, bytes, entries;
    VEC(struct seen) guides; /* files: one link to another is not read twice */
};

static void names_free(name_list *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->at[i]);
    vec_deinit(names);
}
#define autonames __attribute__((cleanup(names_free))) name_list

static int name_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names in a directory below the root, sorted; none if it cannot be read. */
static void names_read(struct search *s, const char *path, name_list *names)
{
    struct place p = {(char *)s->root, (char *)path};
    int fd = place_open(&p, O_RDONLY | O_DIRECTORY, 0);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d && fd >= 0)
        close(fd);
    if (!d)
        return;
    for (struct dirent *entry; s->entries < ENTRIES_MAX && (entry = readdir(d)); s->entries++) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            vec_push(names, str_dup(str_from(entry->d_name)));
    }
    closedir(d);
    if (names->n > 0)
        qsort(names->at, names->n, sizeof(names->at[0]), name_compare);
}

/* ---- one file ---- */

static bool content_read(struct search *s, int fd, struct buf *content, struct err **e)
{
    size_t limit = (size_t)wire_get_int(buf_str(&s->call->fields), F_LIMIT, 0);
    for (;;) {
        char *room = buf_reserve(content, 16384);
        ssize_t n = read(fd, room, 16384);
        if (n < 0)
            return err_errno(e, ERR_IO, "reading");
        if (n == 0)
            return true;
        content->n += (size_t)n;
        if (content->n > limit)
            return err_set(e, ERR_TOO_LARGE, "it has more than %zu bytes", limit);
        if (s->bytes + content->n > BYTES_MAX)
            return err_set(e, ERR_TOO_LARGE, "all files together have more than %d bytes", BYTES_MAX);
    }
}

static bool guide_is_new(struct search *s, const struct stat *st)
{
    for (size_t i = 0; i < s->guides.n; i++) {
        if (s->guides.at[i].device == st->st_dev && s->guides.at[i].inode == st->st_ino)
            return false;
    }
    vec_push(&s->guides, (struct seen){st->st_dev, st->st_ino});
    return true;
}

/* Adds one item: the file's text, or why there is none. */
static void file_add(struct search *s, const char *kind, const char *path, struct str name)
{
    autobuf item = {0}, content = {0}, whole = {0};
    autoerr e = NULL;
    struct stat st = {0};
    enum wire_status status;
    struct place p = {(char *)s->root, (char *)path};
    if (s->files++ >= FILES_MAX)
        return;
    autofd int fd = place_open_file(&p, &st, &status, &e);
    bool ok = fd >= 0;
    if (ok && *kind == 'g' && !guide_is_new(s, &st))
        return;
    ok = ok && content_read(s, fd, &content, &e);
    path_join(&whole, str_from(s->root), str_from(path));
    wire_add_str(&item, F_PATH, buf_str(&whole));
    wire_add_str(&item, F_KIND, str_from(kind));
    wire_add_str(&item, F_NAME, name);
    if (ok) {
        wire_add_str(&item, F_TEXT, buf_str(&content));
        s->bytes += content.n;
    } else {
        wire_add_str(&item, F_MESSAGE, str_from(err_text(e)));
    }
    wire_add_str(s->out, F_ITEM, buf_str(&item));
}

/* ---- guides ---- */

static bool is_wanted(const struct search *s, struct str name)
{
    struct wire_fields f = {buf_str(&s->call->fields)};
    enum wire_field tag;
    struct str value;
    while (wire_fields_next(&f, &tag, &value, NULL)) {
        if (tag == F_NAME && str_eq_nocase(value, name))
            return true;
    }
    return false;
}

static void guides_add(struct search *s)
{
    autonames names = {0};
    names_read(s, ".", &names);
    for (size_t i = 0; i < names.n; i++) {
        if (is_wanted(s, str_from(names.at[i])))
            file_add(s, "g", names.at[i], str_from(names.at[i]));
    }
}

/* ---- skills ---- */

static bool is_dir(const struct search *s, const char *path, bool follow)
{
    struct place p = {(char *)s->root, (char *)path};
    struct stat st;
    autofd int fd = place_open(&p, O_PATH | (follow ? 0 : O_NOFOLLOW), 0);
    return fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

static void below(struct buf *out, const char *dir, const char *name)
{
    path_join(out, str_from(dir), str_from(name));
}

/* A directory with SKILL.md in it. */
static bool skill_dir_add(struct search *s, const char *dir, const char *name)
{
    autonames names = {0};
    autobuf path = {0};
    names_read(s, dir, &names);
    for (size_t i = 0; i < names.n; i++) {
        if (!str_eq_nocase(str_from(names.at[i]), STR("skill.md")))
            continue;
        below(&path, dir, names.at[i]);
        file_add(s, "s", path.p, str_from(name));
        return true;
    }
    return false;
}

/* Markdown files anywhere below; `prefix` is the way from the directory of skills. */
static void plain_add(struct search *s, const char *dir, struct str prefix, unsigned depth,
                      const name_list *without)
{
    autonames names = {0};
    names_read(s, dir, &names);
    for (size_t i = 0; i < names.n; i++) {
        autobuf path = {0}, called = {0};
        struct str name = str_from(names.at[i]);
        bool skipped = false;
        for (size_t j = 0; without && j < without->n; j++)
            skipped |= strcmp(without->at[j], names.at[i]) == 0;
        if (skipped)
            continue;
        below(&path, dir, names.at[i]);
        path_join(&called, prefix, name);
        if (is_dir(s, path.p, false)) {
            if (depth < DEPTH_MAX)
                plain_add(s, path.p, buf_str(&called), depth + 1, NULL);
        } else if (str_ends(name, STR(".md")) && !str_is(name, "README.md") &&
                   !str_eq_nocase(name, STR("skill.md"))) {
            file_add(s, "m", path.p, str_sub(buf_str(&called), 0, called.n - 3));
        }
    }
}

static void skills_add(struct search *s, const char *dir)
{
    autonames names = {0}, taken = {0};
    names_read(s, dir, &names);
    for (size_t i = 0; i < names.n; i++) {
        autobuf path = {0};
        below(&path, dir, names.at[i]);
        if (is_dir(s, path.p, true) && skill_dir_add(s, path.p, names.at[i]))
            vec_push(&taken, str_dup(str_from(names.at[i])));
    }
    plain_add(s, dir, STR(""), 0, &taken);
}

static void root_search(struct search *s, const char *root, bool guides)
{
    struct wire_fields f = {buf_str(&s->call->fields)};
    enum wire_field tag;
    struct str value;
    s->root = root;
    if (guides) {
        guides_add(s);
        return;
    }
    while (wire_fields_next(&f, &tag, &value, NULL)) {
        autofree char *dir = tag == F_INCLUDE && str_find_char(value, '\0') < 0 ? str_dup(value) : NULL;
        if (dir)
            skills_add(s, dir);
    }
}

/* ---- the roots ---- */

/* The nearest directory above `dir` (or it) that has a .git, or NULL. */
static char *repository_root(const char *dir)
{
    autobuf path = {0};
    buf_add_cstr(&path, dir);
    for (;;) {
        size_t n = path.n;
        buf_add_cstr(&path, n && path.p[n - 1] == '/' ? ".git" : "/.git");
        bool found = access(path.p, F_OK) == 0;
        buf_truncate(&path, n);
        if (found)
            return str_dup(buf_str(&path));
        ssize_t slash = str_rfind_char(buf_str(&path), '/');
        if (n <= 1 || slash < 0)
            return NULL;
        buf_truncate(&path, slash ? (size_t)slash : 1);
    }
}

static enum wire_status skills_job(const struct call *c, struct buf *fields)
{
    struct str message = buf_str(&c->fields), path = wire_get_str(message, F_PATH);
    struct search s = {.call = c, .out = fields};
    autobuf place = {0};
    if (path.n == 0 || path.n >= FILE_PATH_MAX || str_find_char(path, '\0') >= 0)
        return job_fail(fields, WIRE_INVALID, "a path of 1 to %d bytes is needed", FILE_PATH_MAX);
    if (str_is(path, "~"))
        path = str_from(environment_get(hand_environment(c->hand), "HOME"));
    if (path.p) /* without a home there are none of its skills, rather than those of here */
        path_join(&place, wire_get_str(message, F_CWD), path);
    autofree char *dir = place.n ? realpath(place.p, NULL) : NULL;
    if (!dir)
        return job_fail(fields, WIRE_NOT_FOUND, "there is no such directory");
    autofree char *above = wire_get_int(message, F_UPWARD, 0) ? repository_root(dir) : NULL;
    const char *roots[] = {dir, above && strcmp(above, dir) != 0 ? above : NULL};
    for (size_t i = 0; i < 2 * ARRAY_LEN(roots); i++) { /* guides of both, then skills of both */
        if (roots[i % 2])
            root_search(&s, roots[i % 2], i < 2);
    }
    wire_add_int(fields, F_TRUNCATED, s.files > FILES_MAX || s.entries >= ENTRIES_MAX);
    vec_deinit(&s.guides);
    return WIRE_OK;
}

void skills_start(struct call *c)
{
    job_start(c, skills_job, SKILLS_MS);
}
