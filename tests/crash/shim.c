/* shim.so: an LD_PRELOAD library between a program and the disk, for crash tests. It looks only at files below SHIM_DIR.
 *
 * Power loss.     With SHIM_LOG every change below SHIM_DIR is recorded there. `shim_replay LOG BASE OUT` makes of that,
 *                 and of a copy of the directory from before the run, the directory as a disk would show it after the
 *                 power went: only what was synced, names included.
 * Failing calls.  SHIM_FAIL_AT=n   the n-th call of a kind (from 1) fails with SHIM_ERRNO
 *                 SHIM_FAIL_KIND   write (write, pwrite, writev, ftruncate), sync (fsync, fdatasync), rename (rename,
 *                                  unlink) or any (default)
 *                 SHIM_ERRNO       EIO (default), ENOSPC or a number
 *                 SHIM_FAIL_MODE   once (default) or on: all from the n-th on
 *                 SHIM_FAIL_SHORT  1: a failing write writes its first half
 *                 SHIM_FAIL_FILE   all calls of the kind fail while this file exists: a disk that is full for a while
 * Death.          SHIM_KILL_AT=n   instead of the n-th call of the kind the process kills itself
 * Speed.          SHIM_NOSYNC=1    syncs are recorded but not made
 *
 * Threads: changes are made one at a time, so that the record has their order; syncs are not held up. Known limits: files
 * opened by stdio inside libc, descriptors made by dup, and memory maps are not seen. */
/* Both names of each function are defined here, so neither may stand for the other. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include "shim.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS_MAX 65536

enum kind { KIND_WRITE = 1, KIND_SYNC = 2, KIND_RENAME = 4, KIND_ANY = 7 };

/* What is known of an open descriptor below SHIM_DIR. */
struct tracked {
    atomic_bool used;
    uint64_t file;
    char *path; /* relative */
};

static struct {
    char dir[PATH_MAX];
    size_t dir_n;
    int log;
    long fail_at, kill_at;
    int fail_errno, kinds;
    bool fail_on, fail_short, nosync;
    const char *fail_file;
    atomic_long calls;
    atomic_ulong syncs;
} shim = {.log = -1};
static struct tracked fds[FDS_MAX];
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int parse_errno(const char *text)
{
    if (!text || strcmp(text, "EIO") == 0)
        return EIO;
    return strcmp(text, "ENOSPC") == 0 ? ENOSPC : atoi(text);
}

static int parse_kinds(const char *text)
{
    if (!text || strcmp(text, "any") == 0)
        return KIND_ANY;
    return strcmp(text, "write") == 0 ? KIND_WRITE : strcmp(text, "sync") == 0 ? KIND_SYNC : KIND_RENAME;
}

static void shim_init(void)
{
    const char *dir = getenv("SHIM_DIR"), *log = getenv("SHIM_LOG"), *at;
    if (!dir || !realpath(dir, shim.dir))
        return;
    shim.dir_n = strlen(shim.dir);
    at = getenv("SHIM_FAIL_AT");
    shim.fail_at = at ? atol(at) : 0;
    at = getenv("SHIM_KILL_AT");
    shim.kill_at = at ? atol(at) : 0;
    shim.fail_errno = parse_errno(getenv("SHIM_ERRNO"));
    shim.kinds = parse_kinds(getenv("SHIM_FAIL_KIND"));
    at = getenv("SHIM_FAIL_MODE");
    shim.fail_on = at && strcmp(at, "on") == 0;
    shim.fail_short = getenv("SHIM_FAIL_SHORT") != NULL;
    shim.fail_file = getenv("SHIM_FAIL_FILE");
    shim.nosync = getenv("SHIM_NOSYNC") != NULL;
    if (log)
        shim.log = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static bool shim_on(void)
{
    pthread_once(&once, shim_init);
    return shim.dir_n > 0;
}

/* Counts a call; 0 or the error with which it has to fail. */
static int shim_call(enum kind kind)
{
    if (!(kind & shim.kinds))
        return 0;
    long n = atomic_fetch_add(&shim.calls, 1) + 1;
    if (n == shim.kill_at) {
        syscall(SYS_kill, getpid(), SIGKILL);
        for (;;)
            pause();
    }
    if (shim.fail_at && (n == shim.fail_at || (shim.fail_on && n > shim.fail_at)))
        return shim.fail_errno;
    if (shim.fail_file && access(shim.fail_file, F_OK) == 0)
        return shim.fail_errno;
    return 0;
}

static void shim_record(enum shim_op op, uint64_t file, uint64_t at, const void *data, size_t n)
{
    if (shim.log < 0)
        return;
    struct shim_record head = {.op = op, .n = (uint32_t)n, .file = file, .at = at};
    struct iovec parts[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)data, n}};
    int saved = errno;
    if (syscall(SYS_writev, shim.log, parts, 2) != (long)(sizeof(head) + n))
        abort(); /* the record would be wrong from here on */
    errno = saved;
}

static const char *shim_relative(const char *path)
{
    if (strncmp(path, shim.dir, shim.dir_n) != 0)
        return NULL;
    if (path[shim.dir_n] == '\0')
        return path + shim.dir_n;
    return path[shim.dir_n] == '/' ? path + shim.dir_n + 1 : NULL;
}

/* Relative path of a name that may not exist; false when it lies elsewhere. */
static bool shim_name(int dir_fd, const char *path, char out[PATH_MAX])
{
    char folder[PATH_MAX], full[2 * PATH_MAX], link[64];
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    int fd = (int)syscall(SYS_openat, dir_fd, folder, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, folder, sizeof(folder) - 1);
    syscall(SYS_close, fd);
    if (n < 0)
        return false;
    folder[n] = '\0';
    snprintf(full, sizeof(full), "%s/%s", folder, name);
    const char *relative = shim_relative(full);
    if (!relative)
        return false;
    snprintf(out, PATH_MAX, "%s", relative);
    return true;
}

static struct tracked *shim_fd(int fd)
{
    if (!shim_on() || fd < 0 || fd >= FDS_MAX || !atomic_load(&fds[fd].used))
        return NULL;
    return &fds[fd];
}

static void shim_forget(int fd)
{
    if (fd >= 0 && fd < FDS_MAX)
        atomic_store(&fds[fd].used, false);
}

static void shim_opened(int fd, int flags, bool existed)
{
    char link[64], path[PATH_MAX];
    struct stat info;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    if (n < 0 || fd >= FDS_MAX || fstat(fd, &info) != 0)
        return;
    path[n] = '\0';
    const char *relative = shim_relative(path);
    if (!relative)
        return;
    struct tracked *t = &fds[fd];
    free(t->path);
    t->path = strdup(relative);
    t->file = info.st_ino;
    uint64_t what = !existed ? 1 : flags & O_TRUNC ? 2 : 0;
    shim_record(SHIM_OPEN, t->file, what, relative, strlen(relative) + 1);
    atomic_store(&t->used, true);
}

static int shim_open(int dir_fd, const char *path, int flags, mode_t mode)
{
    if (!shim_on())
        return (int)syscall(SYS_openat, dir_fd, path, flags, mode);
    pthread_mutex_lock(&order);
    struct stat info;
    bool existed = !(flags & O_CREAT) || fstatat(dir_fd, path, &info, 0) == 0;
    int fd = (int)syscall(SYS_openat, dir_fd, path, flags, mode);
    int saved = errno;
    if (fd >= 0)
        shim_opened(fd, flags, existed);
    pthread_mutex_unlock(&order);
    errno = saved;
    return fd;
}

static mode_t mode_argument(int flags, va_list args)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

#define OPEN_BODY(dir_fd)                     \
    va_list args;                             \
    va_start(args, flags);                    \
    mode_t mode = mode_argument(flags, args); \
    va_end(args);                             \
    return shim_open(dir_fd, path, flags, mode)

int open(const char *path, int flags, ...)
{
    OPEN_BODY(AT_FDCWD);
}

int open64(const char *path, int flags, ...)
{
    OPEN_BODY(AT_FDCWD);
}

int openat(int dir_fd, const char *path, int flags, ...)
{
    OPEN_BODY(dir_fd);
}

int openat64(int dir_fd, const char *path, int flags, ...)
{
    OPEN_BODY(dir_fd);
}

/* What fortified callers are compiled to. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir_fd, const char *path, int flags);
int __openat64_2(int dir_fd, const char *path, int flags);

int __open_2(const char *path, int flags)
{
    return shim_open(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
    return shim_open(AT_FDCWD, path, flags, 0);
}

int __openat_2(int dir_fd, const char *path, int flags)
{
    return shim_open(dir_fd, path, flags, 0);
}

int __openat64_2(int dir_fd, const char *path, int flags)
{
    return shim_open(dir_fd, path, flags, 0);
}

int close(int fd)
{
    shim_forget(fd);
    return (int)syscall(SYS_close, fd);
}

/* `at` -1: at the descriptor's position. */
static ssize_t shim_write(struct tracked *t, int fd, const void *p, size_t n, off_t at)
{
    pthread_mutex_lock(&order);
    int failure = shim_call(KIND_WRITE);
    if (failure && shim.fail_short)
        n /= 2;
    ssize_t wrote = -1;
    if (!failure || (shim.fail_short && n > 0)) {
        wrote = at < 0 ? syscall(SYS_write, fd, p, n) : syscall(SYS_pwrite64, fd, p, n, at);
        if (wrote > 0)
            shim_record(SHIM_WRITE, t->file, (uint64_t)(at < 0 ? lseek(fd, 0, SEEK_CUR) - wrote : at), p,
                        (size_t)wrote);
    }
    if (failure) {
        errno = failure;
        wrote = -1;
    }
    pthread_mutex_unlock(&order);
    return wrote;
}

ssize_t write(int fd, const void *p, size_t n)
{
    struct tracked *t = shim_fd(fd);
    return t ? shim_write(t, fd, p, n, -1) : syscall(SYS_write, fd, p, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    struct tracked *t = shim_fd(fd);
    return t ? shim_write(t, fd, p, n, at) : syscall(SYS_pwrite64, fd, p, n, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    return pwrite(fd, p, n, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    struct tracked *t = shim_fd(fd);
    if (!t)
        return syscall(SYS_writev, fd, parts, count);
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t n = shim_write(t, fd, parts[i].iov_base, parts[i].iov_len, -1);
        if (n < 0)
            return total ? total : -1;
        total += n;
    }
    return total;
}

int ftruncate(int fd, off_t size)
{
    struct tracked *t = shim_fd(fd);
    if (!t)
        return (int)syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&order);
    int failure = shim_call(KIND_WRITE);
    int result = failure ? -1 : (int)syscall(SYS_ftruncate, fd, size);
    if (failure)
        errno = failure;
    else if (result == 0)
        shim_record(SHIM_TRUNCATE, t->file, (uint64_t)size, NULL, 0);
    pthread_mutex_unlock(&order);
    return result;
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

static int shim_sync(struct tracked *t, int fd, long call)
{
    uint64_t number = (uint64_t)getpid() << 32 | (atomic_fetch_add(&shim.syncs, 1) + 1);
    size_t n = strlen(t->path) + 1;
    pthread_mutex_lock(&order);
    int failure = shim_call(KIND_SYNC);
    shim_record(SHIM_SYNC_BEGIN, t->file, number, t->path, n);
    pthread_mutex_unlock(&order);
    int result = failure ? -1 : shim.nosync ? 0 : (int)syscall(call, fd);
    if (failure)
        errno = failure;
    shim_record(result == 0 ? SHIM_SYNC_END : SHIM_SYNC_FAIL, t->file, number, t->path, n);
    return result;
}

int fsync(int fd)
{
    struct tracked *t = shim_fd(fd);
    return t ? shim_sync(t, fd, SYS_fsync) : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    struct tracked *t = shim_fd(fd);
    return t ? shim_sync(t, fd, SYS_fdatasync) : (int)syscall(SYS_fdatasync, fd);
}

int renameat2(int old_dir, const char *old_path, int new_dir, const char *new_path, unsigned flags)
{
    char names[2 * PATH_MAX], to[PATH_MAX];
    if (!shim_on() || !shim_name(old_dir, old_path, names) || !shim_name(new_dir, new_path, to))
        return (int)syscall(SYS_renameat2, old_dir, old_path, new_dir, new_path, flags);
    pthread_mutex_lock(&order);
    int failure = shim_call(KIND_RENAME);
    int result = failure ? -1 : (int)syscall(SYS_renameat2, old_dir, old_path, new_dir, new_path, flags);
    size_t n = strlen(names) + 1;
    memcpy(names + n, to, strlen(to) + 1);
    if (failure)
        errno = failure;
    else if (result == 0)
        shim_record(SHIM_RENAME, 0, 0, names, n + strlen(to) + 1);
    pthread_mutex_unlock(&order);
    return result;
}

int renameat(int old_dir, const char *old_path, int new_dir, const char *new_path)
{
    return renameat2(old_dir, old_path, new_dir, new_path, 0);
}

int rename(const char *old_path, const char *new_path)
{
    return renameat2(AT_FDCWD, old_path, AT_FDCWD, new_path, 0);
}

int unlinkat(int dir_fd, const char *path, int flags)
{
    char name[PATH_MAX];
    if (!shim_on() || !shim_name(dir_fd, path, name))
        return (int)syscall(SYS_unlinkat, dir_fd, path, flags);
    pthread_mutex_lock(&order);
    int failure = shim_call(KIND_RENAME);
    int result = failure ? -1 : (int)syscall(SYS_unlinkat, dir_fd, path, flags);
    if (failure)
        errno = failure;
    else if (result == 0)
        shim_record(SHIM_UNLINK, 0, 0, name, strlen(name) + 1);
    pthread_mutex_unlock(&order);
    return result;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int mkdirat(int dir_fd, const char *path, mode_t mode)
{
    char name[PATH_MAX];
    int result = (int)syscall(SYS_mkdirat, dir_fd, path, mode);
    if (result == 0 && shim_on() && shim_name(dir_fd, path, name))
        shim_record(SHIM_MKDIR, 0, 0, name, strlen(name) + 1);
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}
