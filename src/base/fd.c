#include "base/fd.h"
#include "base/cleanup.h"
#include "base/path.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

#define READ_PIECE (64u * 1024)

/* EAGAIN is waited out: "whole" reads and writes are for callers that may block. */
static bool wait_ready(int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    return poll(&poll_fd, 1, -1) >= 0 || errno == EINTR;
}

bool fd_write_all(int fd, struct str data, struct err **e)
{
    while (data.n > 0) {
        ssize_t n = write(fd, data.p, data.n);
        if (n >= 0) {
            data = str_sub(data, (size_t)n, data.n);
            continue;
        }
        if (errno == EINTR || (errno == EAGAIN && wait_ready(fd, POLLOUT)))
            continue;
        return err_errno(e, ERR_IO, "write");
    }
    return true;
}

bool fd_read_all(int fd, size_t max, struct buf *out, struct err **e)
{
    size_t start = out->n;
    for (;;) {
        size_t left = max - (out->n - start);
        /* One byte more than allowed tells "exactly the limit" from "over it". */
        size_t want = left < READ_PIECE ? left + 1 : READ_PIECE;
        ssize_t n = read(fd, buf_reserve(out, want), want);
        if (n < 0) {
            if (errno == EINTR || (errno == EAGAIN && wait_ready(fd, POLLIN)))
                continue;
            return err_errno(e, ERR_IO, "read");
        }
        if (n == 0)
            return true;
        out->n += (size_t)n;
        out->p[out->n] = '\0';
        if (out->n - start > max) {
            buf_truncate(out, start + max);
            return err_set(e, ERR_TOO_LARGE, "more than %zu bytes", max);
        }
    }
}

bool fd_set_nonblocking(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return false;
    int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return wanted == flags || fcntl(fd, F_SETFL, wanted) == 0;
}

bool file_read(const char *path, size_t max, struct buf *out, struct err **e)
{
    /* O_NONBLOCK: opening a FIFO must not hang. */
    autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) < 0)
        return err_errno(e, ERR_INVALID, "%s", path);
    if (!S_ISREG(info.st_mode))
        return err_set(e, ERR_INVALID, "%s: not a regular file", path);
    if (fd_read_all(fd, max, out, e))
        return true;
    return err_prefix(e, "%s", path);
}

static bool sync_dir(const char *path, struct err **e)
{
    autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return err_errno(e, ERR_IO, "%s", path);
    return true;
}

static bool write_synced(int fd, struct str data, unsigned mode, const char *path, struct err **e)
{
    if (!fd_write_all(fd, data, e))
        return err_prefix(e, "%s", path);
    if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
        return err_errno(e, ERR_IO, "%s", path);
    return true;
}

bool file_write_atomic(const char *path, struct str data, unsigned mode, struct err **e)
{
    autofree char *dir = str_dup(path_dir(str_from(path)));
    autobuf temporary = {0};
    path_join(&temporary, str_from(dir), STR(".write-XXXXXX"));
    autofd int fd = mkostemp(temporary.p, O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, ERR_IO, "%s", path);
    if (!write_synced(fd, data, mode, path, e)) {
        unlink(temporary.p);
        return false;
    }
    if (rename(temporary.p, path) < 0) {
        err_errno(e, ERR_IO, "%s", path);
        unlink(temporary.p);
        return false;
    }
    return sync_dir(dir, e);
}

static bool make_one(const char *path, unsigned mode, struct err **e)
{
    struct stat info;
    if (mkdir(path, mode) == 0)
        return true;
    int why = errno;
    /* EEXIST, but also EROFS or EACCES on a parent that is there. */
    if (stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode))
            return true;
        why = ENOTDIR;
    }
    errno = why;
    return err_errno(e, ERR_INVALID, "%s", path);
}

bool dir_make(const char *path, unsigned mode, struct err **e)
{
    autofree char *copy = str_dup(str_from(path));
    if (!*copy)
        return err_set(e, ERR_INVALID, "empty directory name");
    for (char *slash = copy + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (!make_one(copy, mode | 0300, e))
            return false;
        *slash = '/';
    }
    return make_one(copy, mode, e);
}
