#include "hand/beneath.h"
#include "base/path.h"
#include "base/vec.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#define LINKS_MAX 40     /* symbolic links followed in one path: the kernel's own bound */
#define OPENAT2_TRIES 16 /* EAGAIN: a rename elsewhere made the kernel unsure */

void place_deinit(struct place *p)
{
    free(p->root);
    free(p->path);
}

enum wire_status status_of_errno(int error)
{
    switch (error) {
    case ENOENT: return WIRE_NOT_FOUND;
    case ENOTDIR: return WIRE_NOT_DIR;
    case EISDIR: return WIRE_IS_DIR;
    case EEXIST: return WIRE_EXISTS;
    case EXDEV:
    case ELOOP:
    case EACCES:
    case EPERM: return WIRE_REFUSED;
    case ENAMETOOLONG: return WIRE_INVALID;
    default: return WIRE_IO;
    }
}

const char *text_of_errno(int error)
{
    return error == EXDEV ? "leads out of the workspace" : strerror(error);
}

/* --- where a path leads --------------------------------------------------------------------- */

static char *normal(struct str path)
{
    autobuf out = {0};
    path_normalize(&out, path);
    return str_dup(buf_str(&out));
}

/* The part of the normal absolute `path` below `root`, or NULL. */
static const char *below(const char *root, const char *path)
{
    size_t n = strlen(root);
    if (!path_is_beneath(str_from(root), str_from(path)))
        return NULL;
    path += n;
    while (*path == '/')
        path++;
    return path;
}

static bool place_in_root(struct place *p, struct str root, struct str path, struct err **e)
{
    p->root = normal(root);
    if (!path_is_absolute(path)) {
        p->path = str_dup(path.n ? path : STR("."));
        return true;
    }
    autofree char *whole = normal(path);
    autofree char *real = realpath(p->root, NULL);
    const char *rest = below(p->root, whole);
    if (!rest && real)
        rest = below(real, whole);
    if (!rest)
        return err_set(e, ERR_FORBIDDEN, "%s is outside %s", whole, p->root);
    p->path = str_dup(*rest ? str_from(rest) : STR("."));
    return true;
}

bool place_read(struct place *p, struct str fields, enum wire_status *status, struct err **e)
{
    struct str root = wire_get_str(fields, F_ROOT);
    struct str cwd = wire_get_str(fields, F_CWD);
    struct str path = wire_get_str(fields, F_PATH);
    *status = WIRE_INVALID;
    if (!path.p || (path.n == 0 && !root.n))
        return err_set(e, ERR_INVALID, "a path is missing");
    if (path.n + cwd.n >= FILE_PATH_MAX || root.n >= FILE_PATH_MAX)
        return err_set(e, ERR_INVALID, "a path has at most %d bytes", FILE_PATH_MAX);
    if (str_find_char(path, '\0') >= 0 || str_find_char(root, '\0') >= 0 || str_find_char(cwd, '\0') >= 0)
        return err_set(e, ERR_INVALID, "a path contains a NUL");
    if (root.n && !path_is_absolute(root))
        return err_set(e, ERR_INVALID, "the root is not an absolute path");
    if (root.n) {
        *status = WIRE_REFUSED;
        return place_in_root(p, root, path, e);
    }
    autobuf whole = {0};
    path_join(&whole, cwd, path);
    p->path = str_dup(buf_str(&whole));
    return true;
}

/* --- opening -------------------------------------------------------------------------------- */

struct walk {
    const char *root, *real; /* the root's name, and the one without links (may be NULL) */
    VEC(int) dirs;           /* [0] is the root, the last one is where we are */
    struct buf rest;         /* what is still to be resolved */
    unsigned links;
};

static void walk_deinit(struct walk *w)
{
    for (size_t i = 0; i < w->dirs.n; i++)
        close(w->dirs.at[i]);
    vec_deinit(&w->dirs);
    buf_deinit(&w->rest);
}

/* Takes the first part off `rest`. */
static bool walk_part(struct walk *w, char part[NAME_MAX + 1])
{
    size_t from = 0, to;
    while (from < w->rest.n && w->rest.p[from] == '/')
        from++;
    for (to = from; to < w->rest.n && w->rest.p[to] != '/'; to++)
        ;
    if (to == from || to - from > NAME_MAX) {
        errno = to == from ? 0 : ENAMETOOLONG;
        return false;
    }
    memcpy(part, w->rest.p + from, to - from);
    part[to - from] = '\0';
    buf_consume(&w->rest, to);
    return true;
}

static bool walk_is_last(const struct walk *w)
{
    for (size_t i = 0; i < w->rest.n; i++)
        if (w->rest.p[i] != '/')
            return false;
    return true;
}

/* The part of an absolute link's target that is below the root, by either of its names; then we are at the root again. */
static const char *walk_restart(struct walk *w, const char *target)
{
    const char *rest = below(w->root, target);
    if (!rest && w->real)
        rest = below(w->real, target);
    while (rest && w->dirs.n > 1)
        close(w->dirs.at[--w->dirs.n]);
    return rest;
}

/* Puts a link's target in front of the rest. */
static bool walk_follow(struct walk *w, int dir, const char *part)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(dir, part, target, sizeof(target) - 1);
    if (n < 0) {
        errno = errno == EINVAL ? ELOOP : errno; /* it is no link any more */
        return false;
    }
    target[n] = '\0';
    if (n == 0 || ++w->links > LINKS_MAX || w->rest.n + (size_t)n >= 2 * PATH_MAX) {
        errno = ELOOP;
        return false;
    }
    const char *rest = target[0] == '/' ? walk_restart(w, target) : target;
    if (!rest) {
        errno = EXDEV;
        return false;
    }
    buf_insert(&w->rest, 0, STR("/"));
    buf_insert(&w->rest, 0, str_from(rest));
    return true;
}

/* One step. 1: `*fd` is the result; 0: go on; -1: errno. */
static int walk_step(struct walk *w, int flags, unsigned mode, int *fd)
{
    char part[NAME_MAX + 1];
    int dir = w->dirs.at[w->dirs.n - 1];
    if (!walk_part(w, part)) {
        if (errno)
            return -1;
        *fd = openat(dir, ".", flags & ~(O_CREAT | O_EXCL));
        return *fd < 0 ? -1 : 1;
    }
    if (strcmp(part, ".") == 0)
        return 0;
    if (strcmp(part, "..") == 0) {
        if (w->dirs.n == 1) {
            errno = EXDEV;
            return -1;
        }
        close(dir);
        w->dirs.n--;
        return 0;
    }
    int next = openat(dir, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st = {0};
    if (next >= 0 && fstat(next, &st) == 0 && S_ISLNK(st.st_mode)) {
        close(next);
        if (!(walk_is_last(w) && (flags & O_NOFOLLOW)))
            return walk_follow(w, dir, part) ? 0 : -1;
    } else if (next >= 0 && !walk_is_last(w)) {
        vec_push(&w->dirs, next);
        errno = ENOTDIR;
        return S_ISDIR(st.st_mode) ? 0 : -1;
    } else if (next >= 0) {
        close(next);
    } else if (!walk_is_last(w) || errno != ENOENT) {
        return -1;
    }
    *fd = openat(dir, part, flags | O_NOFOLLOW, mode); /* a link put there meanwhile gives ELOOP */
    return *fd < 0 ? -1 : 1;
}

/* For kernels and seccomp profiles without openat2, and for links with an absolute target, which it always refuses. */
static int open_by_parts(int root, const struct place *p, int flags, unsigned mode)
{
    autofree char *real = realpath(p->root, NULL);
    __attribute__((cleanup(walk_deinit))) struct walk w = {.root = p->root, .real = real};
    int fd = -1, step = 0;
    int start = fcntl(root, F_DUPFD_CLOEXEC, 3);
    if (start < 0)
        return -1;
    vec_push(&w.dirs, start);
    buf_add_cstr(&w.rest, p->path);
    while (step == 0)
        step = walk_step(&w, flags, mode, &fd);
    return step < 0 ? -1 : fd;
}

static int open_beneath(int root, const struct place *p, int flags, unsigned mode)
{
    struct open_how how = {
        .flags = (unsigned)flags,
        .mode = flags & O_CREAT ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd = -1;
    for (int i = 0; i < OPENAT2_TRIES; i++) {
        fd = syscall(SYS_openat2, root, p->path, &how, sizeof(how));
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    if (fd < 0 && (errno == ENOSYS || errno == EPERM || errno == EAGAIN || errno == EXDEV))
        return open_by_parts(root, p, flags, mode);
    return (int)fd;
}

static int open_root(const struct place *p)
{
    return open(p->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int place_open(const struct place *p, int flags, unsigned mode)
{
    flags |= O_CLOEXEC;
    if (!(flags & O_PATH))
        flags |= O_NONBLOCK | O_NOCTTY;
    if (!p->root)
        return open(p->path, flags, mode);
    autofd int root = open_root(p);
    return root < 0 ? -1 : open_beneath(root, p, flags, mode);
}

/* Looked at before it is opened: opening alone already acts on some devices. */
int place_open_file(const struct place *p, struct stat *st, enum wire_status *status, struct err **e)
{
    autofd int seen = place_open(p, O_PATH, 0);
    autofd int fd = -1;
    bool regular = seen >= 0 && fstat(seen, st) == 0 && S_ISREG(st->st_mode);
    if (regular)
        fd = place_open(p, O_RDONLY, 0);
    if (seen < 0 || (regular && (fd < 0 || fstat(fd, st) < 0))) {
        *status = status_of_errno(errno);
        err_set(e, ERR_IO, "%s: %s", p->path, text_of_errno(errno));
        return -1;
    }
    if (!S_ISREG(st->st_mode)) {
        bool is_dir = S_ISDIR(st->st_mode);
        *status = is_dir ? WIRE_IS_DIR : WIRE_REFUSED;
        err_set(e, ERR_INVALID, is_dir ? "%s is a directory" : "%s is not a regular file", p->path);
        return -1;
    }
    return steal_fd(fd);
}

int place_open_parent(const struct place *p, const char **name)
{
    const char *slash = strrchr(p->path, '/');
    *name = slash ? slash + 1 : p->path;
    if (**name == '\0' || strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0) {
        errno = EISDIR;
        return -1;
    }
    size_t n = slash ? (size_t)(slash - p->path) : 0;
    autofree char *dir = str_dup(slash ? str_make(p->path, n ? n : 1) : STR("."));
    struct place parent = {p->root, dir};
    return place_open(&parent, O_PATH | O_DIRECTORY, 0);
}

static bool make_dir(const struct place *p, size_t n, unsigned mode)
{
    autofree char *path = str_dup(str_make(p->path, n));
    struct place dir = {p->root, path};
    const char *name;
    autofd int there = place_open(&dir, O_PATH | O_DIRECTORY, 0);
    if (there >= 0)
        return true;
    if (errno != ENOENT)
        return false;
    autofd int parent = place_open_parent(&dir, &name);
    return parent >= 0 && (mkdirat(parent, name, mode) == 0 || errno == EEXIST);
}

bool place_make_dirs(const struct place *p, bool parent_only, unsigned mode)
{
    size_t n = strlen(p->path);
    while (n > 1 && p->path[n - 1] == '/')
        n--;
    for (size_t i = 1; i < n; i++)
        if (p->path[i] == '/' && p->path[i - 1] != '/' && !make_dir(p, i, mode))
            return false;
    return parent_only || make_dir(p, n, mode);
}
