#include "hand/search/walk.h"
#include "base/buf.h"
#include "hand/call.h"
#include "hand/search/ignore.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define LOOK_EVERY 256 /* entries between looks at the clock */

/* A directory on the way. */
struct level {
    struct walk *walk;
    int fd;
    dev_t device;
    unsigned depth;
    struct buf *path; /* below the root; one for the whole walk */
    const struct ignore *ignore;
    bool in_repository;
};

void walk_deinit(struct walk *w)
{
    for (size_t i = 0; i < w->files.n; i++)
        free(w->files.at[i].path);
    vec_deinit(&w->files);
}

static bool may_go_on(struct walk *w)
{
    if (w->stopped)
        return false;
    if (++w->entries > WALK_ENTRIES_MAX)
        w->stopped = "there are too many files";
    else if (w->files.n >= WALK_FOUND_MAX || w->bytes > WALK_BYTES_MAX)
        w->stopped = "too many files match";
    else if (w->entries % LOOK_EVERY == 0 && hand_now_ms() > w->deadline_ms)
        w->stopped = "it took too long";
    return !w->stopped;
}

bool walk_is_made_up(int fd)
{
    static const long kinds[] = {PROC_SUPER_MAGIC,   SYSFS_MAGIC,        DEBUGFS_MAGIC,
                                 TRACEFS_MAGIC,      CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
                                 DEVPTS_SUPER_MAGIC, BPF_FS_MAGIC,       SECURITYFS_MAGIC};
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if ((long)fs.f_type == kinds[i])
            return true;
    return false;
}

static void take_file(struct level *l, const char *name, bool is_link)
{
    struct walk *w = l->walk;
    struct stat st;
    if (name[0] == '.' && !w->dot_files)
        return;
    if (w->glob ? !glob_match(w->glob, buf_str(l->path)) : ignore_has(l->ignore, buf_str(l->path), false))
        return;
    if (fstatat(l->fd, name, &st, is_link ? 0 : AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return;
    struct walk_file f = {str_dup(buf_str(l->path)),
                          (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec};
    w->bytes += l->path->n + 1;
    vec_push(&w->files, f);
}

static bool wants_directory(const struct level *l, const char *name)
{
    const struct walk *w = l->walk;
    struct str text = str_from(name);
    bool named = w->glob && glob_names(w->glob, text);
    if (name[0] == '.' && !(w->dot_dirs && named))
        return false;
    if (!named && (str_is(text, "node_modules") || ignore_has(l->ignore, buf_str(l->path), true)))
        return false;
    return l->depth < WALK_DEPTH_MAX && (!w->glob || glob_may_contain(w->glob, buf_str(l->path)));
}

static void walk_directory(const struct level *at);

static void enter(const struct level *l, const char *name)
{
    struct stat st;
    struct level below = *l;
    below.fd = openat(l->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (below.fd < 0)
        return; /* not ours to read, or gone */
    if (fstat(below.fd, &st) < 0 || (st.st_dev != l->device && walk_is_made_up(below.fd))) {
        close(below.fd);
        return;
    }
    below.device = st.st_dev;
    below.depth++;
    walk_directory(&below);
}

static unsigned char type_of(int dir, const struct dirent *d)
{
    struct stat st;
    if (d->d_type != DT_UNKNOWN)
        return d->d_type;
    return fstatat(dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? IFTODT(st.st_mode) : DT_UNKNOWN;
}

static void take_entry(struct level *l, const struct dirent *d)
{
    size_t before = l->path->n;
    unsigned char type = type_of(l->fd, d);
    if (before)
        buf_add_char(l->path, '/');
    buf_add_cstr(l->path, d->d_name);
    if (l->path->n >= PATH_MAX)
        ; /* nobody could open it by name */
    else if (type == DT_REG || (type == DT_LNK && l->walk->links))
        take_file(l, d->d_name, type == DT_LNK);
    else if (type == DT_DIR && wants_directory(l, d->d_name))
        enter(l, d->d_name);
    buf_truncate(l->path, before);
}

/* The rules that begin here, if any. */
static struct ignore *level_rules(struct level *l)
{
    if (ignore_begins(l->fd)) {
        l->ignore = NULL;
        l->in_repository = true;
    }
    if (!l->in_repository)
        return NULL;
    struct ignore *own = ignore_load(l->fd, l->ignore, STR(""), l->path->n ? l->path->n + 1 : 0);
    if (own)
        l->ignore = own;
    return own;
}

/* Takes `fd`. */
static void walk_directory(const struct level *at)
{
    struct level l = *at;
    DIR *dir = fdopendir(l.fd);
    if (!dir) {
        close(l.fd);
        return;
    }
    struct ignore *own = level_rules(&l);
    // cppcheck-suppress readdirCalled ; the stream is ours alone
    for (const struct dirent *d; may_go_on(l.walk) && (d = readdir(dir));)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            take_entry(&l, d);
    closedir(dir);
    ignore_free(own);
}

static int newer_first(const void *a, const void *b)
{
    const struct walk_file *left = a, *right = b;
    if (left->mtime_ns != right->mtime_ns)
        return left->mtime_ns > right->mtime_ns ? -1 : 1;
    return strcmp(left->path, right->path);
}

/* The rules of the repository that the root lies in: from the directory with the .git down to above the root. */
static void rules_above(struct level *l, const char *root, struct ignore *made[WALK_DEPTH_MAX], size_t *n)
{
    size_t levels[WALK_DEPTH_MAX], count = 0, length = strlen(root);
    bool found = false;
    for (size_t at = length; at > 1 && !found && count < WALK_DEPTH_MAX;) {
        while (at > 0 && root[at - 1] != '/')
            at--;
        autofree char *dir = str_dup(at > 1 ? str_make(root, at - 1) : STR("/"));
        autofd int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        found = fd >= 0 && ignore_begins(fd);
        levels[count++] = at--;
    }
    for (size_t i = count; found && i-- > 0;) {
        autofree char *dir = str_dup(levels[i] > 1 ? str_make(root, levels[i] - 1) : STR("/"));
        autofd int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        autobuf prefix = {0};
        buf_addf(&prefix, "%s/", root + levels[i]);
        struct ignore *own = fd >= 0 ? ignore_load(fd, l->ignore, buf_str(&prefix), 0) : NULL;
        if (own)
            l->ignore = made[(*n)++] = own;
    }
    l->in_repository = found;
}

void walk_run(struct walk *w, int root)
{
    autobuf path = {0};
    struct stat st = {0};
    struct ignore *above[WALK_DEPTH_MAX];
    size_t above_n = 0;
    int fd = fcntl(root, F_DUPFD_CLOEXEC, 3);
    if (fd < 0 || fstat(fd, &st) < 0) {
        w->stopped = "the directory cannot be read";
        return;
    }
    struct level l = {.walk = w, .fd = fd, .device = st.st_dev, .path = &path};
    if (!ignore_begins(fd))
        rules_above(&l, w->root, above, &above_n);
    walk_directory(&l);
    while (above_n > 0)
        ignore_free(above[--above_n]);
    if (w->files.n)
        qsort(w->files.at, w->files.n, sizeof(*w->files.at), newer_first);
}
