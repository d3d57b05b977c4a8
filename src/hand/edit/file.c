#include "hand/edit/edit.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/uuid.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define LINKS_MAX 40 /* as the kernel */
#define NEW_MODE 0600
#define TEMP_TRIES 8
#define TEMP_NAME_MAX 200 /* bytes of the file's own name in the temporary one */

enum file_kind file_kind(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return FILE_MISSING;
    if (S_ISREG(st.st_mode))
        return FILE_REGULAR;
    return S_ISDIR(st.st_mode) ? FILE_DIRECTORY : FILE_OTHER;
}

bool file_load(const char *path, struct buf *out, struct err **e)
{
    /* O_NONBLOCK: a FIFO or a device would hang the open, and some files of /proc the read. */
    autofd int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, ERR_INVALID, "cannot read it");
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INVALID, "it is not a regular file");
    if (st.st_size > (off_t)EDIT_FILE_MAX)
        return err_set(e, ERR_TOO_LARGE, "its size is %.1f MB, and the editor takes at most 10 MB",
                       (double)st.st_size / (1024 * 1024));
    if (fd_read_all(fd, EDIT_FILE_MAX, out, NULL))
        return true;
    if (out->n > EDIT_FILE_MAX) /* it grew, or it is one of those that have no size */
        return err_set(e, ERR_TOO_LARGE, "it is larger than the 10 MB that the editor takes");
    return err_errno(e, ERR_INVALID, "cannot read it");
}

/* Follows links at the end of `path`, to a target that need not exist. */
static bool resolve(const char *path, struct buf *out, struct err **e)
{
    char target[PATH_MAX];
    buf_clear(out);
    buf_add_cstr(out, path);
    for (unsigned i = 0; i < LINKS_MAX; i++) {
        ssize_t n = readlink(out->p, target, sizeof(target));
        if (n < 0)
            return true; /* no link */
        autobuf next = {0};
        path_join(&next, path_dir(buf_str(out)), str_make(target, (size_t)n));
        buf_clear(out);
        buf_add(out, buf_str(&next));
    }
    errno = ELOOP;
    return err_errno(e, ERR_INVALID, "cannot write %s", path);
}

/* `.NAME.RANDOM.tmp` in the same directory. */
static int temp_open(struct str target, struct buf *name)
{
    for (unsigned i = 0; i < TEMP_TRIES; i++) {
        char hex[UUID_HEX_LEN + 1];
        struct uuid id = uuid_random();
        autobuf base = {0};
        uuid_hex(&id, hex);
        buf_addf(&base, ".%.*s.%.12s.tmp", STR_ARG(str_sub(path_base(target), 0, TEMP_NAME_MAX)), hex);
        buf_clear(name);
        path_join(name, path_dir(target), buf_str(&base));
        int fd = open(name->p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, NEW_MODE);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

/* Where nothing can be renamed (a single file mounted into a container, a directory that is not ours). */
static bool save_in_place(const char *path, struct str content, struct err **e)
{
    autofd int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, ERR_INVALID, "cannot write %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INVALID, "cannot write %s: it is not a regular file", path);
    if (!fd_write_all(fd, content, e) || ftruncate(fd, (off_t)content.n) < 0)
        return err_errno(e, ERR_IO, "cannot write %s", path);
    return true;
}

bool file_save(const char *path, struct str content, struct err **e)
{
    autobuf target = {0}, temp = {0};
    struct stat st;
    if (!resolve(path, &target, e))
        return false;
    bool exists = stat(target.p, &st) == 0;
    autofd int fd = temp_open(buf_str(&target), &temp);
    if (fd < 0) {
        if (exists && (errno == EACCES || errno == EPERM || errno == EROFS))
            return save_in_place(target.p, content, e);
        return err_errno(e, ERR_INVALID, "cannot write %s", path);
    }
    bool written = fd_write_all(fd, content, NULL);
    if (written && exists) {
        if ((st.st_uid != getuid() || st.st_gid != getgid()) && fchown(fd, st.st_uid, st.st_gid) < 0)
            st.st_mode &= (mode_t)~06000; /* not our owner's bits to give */
        fchmod(fd, st.st_mode & 07777);
    }
    if (written && rename(temp.p, target.p) == 0)
        return true;
    int why = errno;
    unlink(temp.p);
    if (written && exists && (why == EBUSY || why == EPERM || why == EXDEV))
        return save_in_place(target.p, content, e);
    errno = why;
    return err_errno(e, ERR_IO, "cannot write %s", path);
}
