/* Entries of an archive: a file as far as it reached when it was opened, a link as a link, an empty directory. */
#include "hand/archive/archive.h"
#include "base/cleanup.h"
#include "base/path.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

static struct zip_entry entry_of(const struct archive *a, const struct stat *st)
{
    return (struct zip_entry){.name = buf_str(&a->path), .mode = st->st_mode, .time_s = st->st_mtim.tv_sec};
}

/* Nobody reads any more, if not. */
static void written(struct archive *a, bool ok)
{
    if (!ok && a->stopped == WIRE_OK)
        a->stopped = WIRE_CANCELLED;
}

/* ---- files ---- */

/* Only a regular one is opened: opening alone already acts on some devices. */
static int file_open(int dir, const char *name, struct stat *st)
{
    if (fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    autofd int fd = -1;
    errno = EINVAL; /* it was one when its directory was read */
    if (S_ISREG(st->st_mode))
        fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, st) < 0)
        return -1;
    errno = EINVAL;
    return S_ISREG(st->st_mode) ? steal_fd(fd) : -1;
}

static void file_copy(struct archive *a, int fd, uint64_t left)
{
    while (left > 0 && a->stopped == WIRE_OK) {
        ssize_t n = read(fd, a->piece, left < ARCHIVE_PIECE ? (size_t)left : ARCHIVE_PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return archive_leave_out(a, n < 0 ? strerror(errno) : "shorter than it was, in the archive too");
        left -= (uint64_t)n;
        written(a, zip_data(a->zip, str_make(a->piece, (size_t)n)));
    }
}

void archive_file(struct archive *a, int dir, const char *name)
{
    struct stat st;
    autofd int fd = file_open(dir, name, &st);
    if (fd < 0)
        return archive_leave_out(a, strerror(errno));
    uint64_t size = st.st_size > 0 ? (uint64_t)st.st_size : 0;
    if (size > a->bytes)
        return archive_leave_out(a, "too large for an archive");
    a->bytes -= size;
    struct zip_entry entry = entry_of(a, &st);
    entry.most = size;
    if (size == 0)
        return written(a, zip_add(a->zip, &entry, STR("")));
    written(a, zip_begin(a->zip, &entry));
    file_copy(a, fd, size);
    written(a, zip_finish(a->zip));
}

/* ---- links ---- */

/* Does it stay beneath the root, wherever that may be unpacked? The kernel says where the target is, asked by the very text
 * that is stored. One that leads to nothing has to stay there by its words as well: what is missing may be made later, and
 * be a link, too. */
static bool link_stays(const struct archive *a, struct str target)
{
    autobuf path = {0};
    int depth = 0;
    if (path_is_absolute(target))
        return false;
    path_join(&path, path_dir(buf_str(&a->path)), target);
    const struct place place = {a->root, path.p};
    autofd int fd = place_open(&place, O_PATH, 0);
    if (fd >= 0)
        return true;
    if (errno != ENOENT)
        return false;
    for (struct str rest = buf_str(&path), part; depth >= 0 && str_split(&rest, '/', &part);)
        depth += str_is(part, "..") ? -1 : part.n > 0 && !str_is(part, ".");
    return depth >= 0;
}

void archive_link(struct archive *a, int dir, const char *name)
{
    char target[PATH_MAX];
    struct stat st;
    ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);
    if (n <= 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISLNK(st.st_mode))
        return archive_leave_out(a, n < 0 ? strerror(errno) : "it changed meanwhile");
    target[n] = '\0';
    if (!link_stays(a, str_from(target)))
        return archive_leave_out(a, "a link that leads out of the workspace, or may");
    const struct zip_entry entry = entry_of(a, &st);
    written(a, zip_add(a->zip, &entry, str_from(target)));
}

/* ---- directories ---- */

void archive_directory(struct archive *a, int fd)
{
    struct stat st;
    if (a->path.n == 0)
        return; /* the workspace itself has no name there */
    if (fstat(fd, &st) < 0)
        return archive_leave_out(a, strerror(errno));
    size_t before = a->path.n;
    buf_add_char(&a->path, '/');
    const struct zip_entry entry = entry_of(a, &st);
    written(a, zip_add(a->zip, &entry, STR("")));
    buf_truncate(&a->path, before);
}
