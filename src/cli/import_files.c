#include "cli/import_files.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#define INDEX_DIGITS_MIN 5
#define INDEX_DIGITS_MAX 12
#define ID_MIN 8

void import_names_deinit(struct import_names *n)
{
    vec_deinit(&n->list);
}

static bool is_link(int at, const char *name)
{
    struct stat info;
    return fstatat(at, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode);
}

static bool refuse(int at, const char *name, const char *wanted, struct err **e)
{
    if (is_link(at, name))
        return err_set(e, ERR_INVALID, "%s is a symbolic link, which import does not follow", name);
    if (errno == ENOTDIR || errno == ENXIO)
        return err_set(e, ERR_INVALID, "%s is not a %s", name, wanted);
    return err_errno(e, ERR_IO, "%s", name);
}

int import_dir_open(int at, const char *name, struct err **e)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        refuse(at, name, "directory", e);
    return fd;
}

bool import_file_read(int at, const char *name, size_t max, struct buf *out, int64_t *changed_us,
                      struct err **e)
{
    struct stat info;
    autofd int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return refuse(at, name, "file", e);
    if (fstat(fd, &info) != 0)
        return err_errno(e, ERR_IO, "%s", name);
    if (!S_ISREG(info.st_mode))
        return err_set(e, ERR_INVALID, "%s is not a regular file", name);
    if (changed_us)
        *changed_us = (int64_t)info.st_mtim.tv_sec * 1000000 + info.st_mtim.tv_nsec / 1000;
    return fd_read_all(fd, max, out, e) || err_prefix(e, "%s", name);
}

bool import_file_exists(int at, const char *name)
{
    struct stat info;
    return fstatat(at, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* event-00012-<id>.json */
static bool name_parse(const char *name, struct import_name *out)
{
    struct str rest = str_from(name);
    size_t digits = 0, id = 0;
    if (rest.n >= sizeof(out->name) || !str_starts(rest, STR("event-")) || !str_ends(rest, STR(".json")))
        return false;
    rest = str_sub(rest, sizeof("event-") - 1, rest.n - (sizeof(".json") - 1));
    while (digits < rest.n && is_digit(rest.p[digits]))
        digits++;
    if (digits < INDEX_DIGITS_MIN || digits > INDEX_DIGITS_MAX || digits == rest.n || rest.p[digits] != '-')
        return false;
    for (size_t i = digits + 1; i < rest.n; i++, id++) {
        char c = rest.p[i];
        if (!is_digit(c) && !(c >= 'a' && c <= 'f') && !(c >= 'A' && c <= 'F') && c != '-')
            return false;
    }
    memcpy(out->name, name, strlen(name) + 1);
    return id >= ID_MIN && str_to_u64(str_sub(rest, 0, digits), &out->index);
}

static int name_cmp(const void *a, const void *b)
{
    const struct import_name *x = a, *y = b;
    return x->index != y->index ? (x->index < y->index ? -1 : 1) : strcmp(x->name, y->name);
}

static void dir_cleanup(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}
#define autodir __attribute__((cleanup(dir_cleanup))) DIR *

/* On a descriptor of its own, since closedir closes it. */
static DIR *dir_read(int fd, struct err **e)
{
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = own >= 0 ? fdopendir(own) : NULL;
    if (!dir) {
        err_errno(e, ERR_IO, "reading a directory");
        if (own >= 0)
            close(own);
    }
    return dir;
}

bool import_names_list(int fd, struct import_names *out, struct err **e)
{
    autodir dir = dir_read(fd, e);
    struct import_name one;
    if (!dir)
        return false;
    for (struct dirent *d; (errno = 0, d = readdir(dir));) {
        if (!name_parse(d->d_name, &one))
            continue;
        if (out->list.n == IMPORT_FILES_MAX)
            return err_set(e, ERR_TOO_LARGE, "more than %d events", IMPORT_FILES_MAX);
        vec_push(&out->list, one);
    }
    if (errno)
        return err_errno(e, ERR_IO, "reading the events");
    if (out->list.n > 0)
        qsort(out->list.at, out->list.n, sizeof(one), name_cmp);
    for (size_t i = 0; i < out->list.n; i++) {
        uint64_t next = i > 0 ? out->list.at[i - 1].index + 1 : 0, at = out->list.at[i].index;
        out->gaps += at > next ? at - next : 0;
    }
    return true;
}

static int folder_cmp(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool import_folders_list(int fd, import_folders *out, struct err **e)
{
    autodir dir = dir_read(fd, e);
    if (!dir)
        return false;
    for (struct dirent *d; (errno = 0, d = readdir(dir));) {
        struct stat info;
        if (d->d_name[0] == '.' || fstatat(fd, d->d_name, &info, 0) != 0 || !S_ISDIR(info.st_mode))
            continue;
        if (out->n == IMPORT_FOLDERS_MAX)
            return err_set(e, ERR_TOO_LARGE, "more than %d folders", IMPORT_FOLDERS_MAX);
        vec_push(out, str_dup(str_from(d->d_name)));
    }
    if (errno)
        return err_errno(e, ERR_IO, "reading the folder");
    if (out->n > 0)
        qsort(out->at, out->n, sizeof(out->at[0]), folder_cmp);
    return true;
}
