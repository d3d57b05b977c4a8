/* OP_DIR_LIST: the names in a directory and what they stand for, by name. A job: a directory may be large or far away. */
#include "base/path.h"
#include "base/vec.h"
#include "hand/beneath.h"
#include "hand/job.h"
#include "hand/operations.h"
#include "hand/search/ignore.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define ENTRIES_MAX 100000    /* looked at; the rest of a directory is left out */
#define ENTRIES_DEFAULT 10000 /* answered without F_LIMIT */
#define RESULT_MAX (8 * 1024 * 1024)
#define LIST_MS 25000

struct list {
    struct place dir;
    struct ignore *ignore; /* of the root; NULL: nothing is left out */
    const char *above;     /* of the directory, below the root: "", "a", "a/b" */
    bool follow;           /* links are what they lead to */
    VEC(char *) names;
};

static void list_deinit(struct list *l)
{
    for (size_t i = 0; i < l->names.n; i++)
        free(l->names.at[i]);
    vec_deinit(&l->names);
    ignore_free(l->ignore);
    place_deinit(&l->dir);
}

static const char *kind_of(mode_t mode)
{
    return S_ISREG(mode) ? "f" : S_ISDIR(mode) ? "d" : S_ISLNK(mode) ? "l" : "o";
}

void file_stat_add(struct buf *fields, const struct stat *st)
{
    wire_add_str(fields, F_KIND, str_from(kind_of(st->st_mode)));
    wire_add_int(fields, F_SIZE, st->st_size);
    wire_add_int(fields, F_MODE, st->st_mode & 07777);
    wire_add_int(fields, F_MTIME_US, (int64_t)st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000);
}

static int name_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What a link leads to, as long as that does not leave the root; otherwise it stays a link. False: it leads to nothing. */
static bool follow(const struct list *l, const char *name, struct stat *st)
{
    autobuf path = {0};
    struct stat target;
    buf_addf(&path, "%s/%s", l->dir.path, name);
    struct place place = {l->dir.root, path.p};
    autofd int fd = place_open(&place, O_PATH, 0);
    if (fd < 0)
        return errno != ENOENT;
    if (fstat(fd, &target) == 0)
        *st = target;
    return true;
}

static bool is_ignored(const struct list *l, const char *name, bool is_dir)
{
    autobuf path = {0};
    if (!l->ignore)
        return false;
    buf_addf(&path, "%s%s%s", l->above, *l->above ? "/" : "", name);
    return ignore_has_within(l->ignore, buf_str(&path), is_dir);
}

static void add_items(const struct list *l, int fd, size_t limit, bool truncated, struct buf *fields)
{
    autobuf item = {0};
    size_t i = 0;
    for (size_t n = 0; i < l->names.n && n < limit && fields->n < RESULT_MAX; i++) {
        const char *name = l->names.at[i];
        struct stat st;
        if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue; /* it went away meanwhile */
        if (l->follow && S_ISLNK(st.st_mode) && !follow(l, name, &st))
            continue;
        if (is_ignored(l, name, S_ISDIR(st.st_mode)))
            continue;
        buf_clear(&item);
        wire_add_str(&item, F_NAME, str_from(name));
        file_stat_add(&item, &st);
        wire_add_str(fields, F_ITEM, buf_str(&item));
        n++;
    }
    wire_add_int(fields, F_TRUNCATED, truncated || i < l->names.n);
}

/* The rules at the root, and where the directory is below it. */
static void load_ignore(struct list *l, char *above)
{
    char here[] = ".";
    struct place root = {l->dir.root, here};
    autobuf path = {0}, normal = {0};
    autofd int fd = place_open(&root, O_PATH | O_DIRECTORY, 0);
    path_join(&path, STR("/"), str_from(l->dir.path));
    path_normalize(&normal, buf_str(&path));
    snprintf(above, FILE_PATH_MAX, "%s", normal.p + 1);
    l->above = above;
    l->ignore = fd >= 0 ? ignore_load(fd, NULL, STR(""), 0) : NULL;
}

static bool read_names(struct list *l, DIR *d)
{
    bool all = true;
    // cppcheck-suppress readdirCalled ; the stream is ours alone
    for (const struct dirent *entry; all && (entry = readdir(d));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        all = l->names.n < ENTRIES_MAX;
        if (all)
            vec_push(&l->names, str_dup(str_from(entry->d_name)));
    }
    if (l->names.n)
        qsort(l->names.at, l->names.n, sizeof(char *), name_compare);
    return all;
}

static enum wire_status list_run(const struct call *c, struct buf *fields)
{
    __attribute__((cleanup(list_deinit))) struct list l = {0};
    struct str asked = buf_str(&c->fields);
    char above[FILE_PATH_MAX];
    autoerr e = NULL;
    enum wire_status status;
    int64_t limit = wire_get_int(asked, F_LIMIT, ENTRIES_DEFAULT);
    if (!place_read(&l.dir, asked, &status, &e))
        return job_fail(fields, status, "%s", err_text(e));
    if (limit < 0)
        return job_fail(fields, WIRE_INVALID, "a limit is negative");
    l.follow = wire_get_int(asked, F_FOLLOW, 0) != 0;
    if (l.dir.root && wire_get_int(asked, F_IGNORE, 0) != 0)
        load_ignore(&l, above);
    int fd = place_open(&l.dir, O_RDONLY | O_DIRECTORY, 0);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        status = job_fail(fields, status_of_errno(errno), "%s: %s", l.dir.path, text_of_errno(errno));
        if (fd >= 0)
            close(fd);
        return status;
    }
    bool all = read_names(&l, d);
    add_items(&l, fd, (size_t)limit, !all, fields);
    closedir(d);
    return WIRE_OK;
}

void dir_list_start(struct call *c)
{
    job_start(c, list_run, LIST_MS);
}
