/* OP_FILE_READ, OP_FILE_WRITE, OP_FILE_STAT and OP_DIR_MAKE. Paths are F_PATH, relative to F_CWD, or beneath
 * F_ROOT when that is given. */
#include "base/cleanup.h"
#include "base/path.h"
#include "base/uuid.h"
#include "hand/beneath.h"
#include "hand/operations.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define FILE_READ 16384 /* bytes of one piece */

static void fail_errno(struct call *c, const char *path)
{
    int error = errno;
    call_fail(c, status_of_errno(error), "%s: %s", path, text_of_errno(error));
}

static bool call_place(struct call *c, struct place *p)
{
    enum wire_status status;
    autoerr e = NULL;
    if (place_read(p, buf_str(&c->fields), &status, &e))
        return true;
    call_fail(c, status, "%s", err_text(e));
    return false;
}

/* --- reading -------------------------------------------------------------------------------- */

struct reading {
    struct call *call;
    int fd;
    int64_t at;   /* ours: the file's own offset may be another call's, too */
    int64_t left; /* of F_LIMIT */
    bool limited;
};

static void reading_free(struct call *c)
{
    struct reading *r = c->state;
    close(r->fd);
    free(r);
}

/* Sends until credit ends; the mind's next credit goes on here, so a file of any size takes turns with other calls. */
static void reading_go_on(struct call *c)
{
    struct reading *r = c->state;
    char data[FILE_READ];
    for (;;) {
        size_t room = call_credit_left(c, WIRE_STDOUT);
        autobuf fields = {0};
        if (room == 0)
            return;
        room = room < sizeof(data) ? room : sizeof(data);
        if ((uint64_t)r->left < room)
            room = (size_t)r->left;
        ssize_t n = room ? pread(r->fd, data, room, r->at) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(c, "reading");
        if (n == 0) {
            char more;
            if (r->limited && r->left == 0 && pread(r->fd, &more, 1, r->at) == 1)
                wire_add_int(&fields, F_TRUNCATED, 1);
            call_data_end(c, WIRE_STDOUT);
            return call_done(c, WIRE_OK, &fields);
        }
        r->at += n;
        r->left -= n;
        call_data(c, WIRE_STDOUT, str_make(data, (size_t)n));
    }
}

static void reading_init(struct call *c, int fd, int64_t at, int64_t limit)
{
    struct reading *r = xmalloc(sizeof(*r));
    *r = (struct reading){c, fd, at, limit, limit != INT64_MAX};
    c->state = r;
    c->on_credit = reading_go_on;
    c->on_free = reading_free;
}

void file_send(struct call *c, int fd)
{
    reading_init(c, fd, 0, INT64_MAX);
    reading_go_on(c);
}

void file_read_start(struct call *c)
{
    autoplace p = {0};
    autoerr e = NULL;
    struct stat st;
    enum wire_status status;
    struct str fields = buf_str(&c->fields);
    int64_t offset = wire_get_int(fields, F_OFFSET, 0);
    int64_t limit = wire_get_int(fields, F_LIMIT, INT64_MAX);
    if (!call_place(c, &p))
        return;
    if (offset < 0 || limit < 0)
        return call_fail(c, WIRE_INVALID, "an offset or limit is negative");
    int fd = place_open_file(&p, &st, &status, &e);
    if (fd < 0)
        return call_fail(c, status, "%s", err_text(e));
    reading_init(c, fd, offset, limit);
    autobuf note = {0};
    file_stat_add(&note, &st); /* before the data: a download's head tells the size */
    call_note(c, &note);
    reading_go_on(c);
}

/* --- writing -------------------------------------------------------------------------------- */

/* The file has no name until it is whole, so that a hand that is killed leaves nothing behind; where the file system cannot do
 * that, it has one of our own. */
struct writing {
    struct place place;
    int dir, fd;
    const char *name; /* in `place` */
    char temporary[64];
    bool named; /* `temporary` is there */
    int64_t left, size;
};

static void writing_free(struct call *c)
{
    struct writing *w = c->state;
    if (w->named)
        unlinkat(w->dir, w->temporary, 0);
    if (w->fd >= 0)
        close(w->fd);
    if (w->dir >= 0)
        close(w->dir);
    place_deinit(&w->place);
    free(w);
}

static void on_input(struct call *c, struct str data)
{
    struct writing *w = c->state;
    uint32_t taken = (uint32_t)data.n;
    if (w->fd < 0)
        return;
    if ((uint64_t)w->left < data.n)
        return call_fail(c, WIRE_TOO_LARGE, "the file is larger than allowed");
    w->left -= (int64_t)data.n;
    w->size += (int64_t)data.n;
    while (data.n) {
        ssize_t n = write(w->fd, data.p, data.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(c, w->name);
        data.p += n;
        data.n -= (size_t)n;
    }
    call_credit(c, taken);
}

/* What /proc calls an open file of ours. */
#define PROC_FD_LEN (sizeof("/proc/self/fd/") + 12)
static void proc_fd(char path[PROC_FD_LEN], int fd)
{
    snprintf(path, PROC_FD_LEN, "/proc/self/fd/%d", fd);
}

static bool give_name(int fd, int dir, const char *name)
{
    char path[PROC_FD_LEN];
    proc_fd(path, fd);
    return linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW) == 0;
}

static void on_input_end(struct call *c)
{
    struct writing *w = c->state;
    autobuf fields = {0};
    w->named = w->named || give_name(w->fd, w->dir, w->temporary);
    if (!w->named || renameat(w->dir, w->temporary, w->dir, w->name) < 0)
        return fail_errno(c, w->name);
    w->named = false; /* nothing to remove any more */
    wire_add_int(&fields, F_SIZE, w->size);
    call_done(c, WIRE_OK, &fields);
}

static int unnamed_open(int dir, mode_t mode)
{
    return openat(dir, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, mode);
}

/* Not every file system has files without a name, or can give them one afterwards; without /proc we cannot. So it is tried once
 * before the first. */
static bool unnamed_works(int dir, const char *name)
{
    static dev_t known;
    static bool any;
    struct stat st;
    if (fstat(dir, &st) < 0)
        return false;
    if (any && known == st.st_dev)
        return true;
    autofd int fd = unnamed_open(dir, 0600);
    if (fd < 0 || !give_name(fd, dir, name))
        return false;
    unlinkat(dir, name, 0);
    known = st.st_dev;
    any = true;
    return true;
}

static void writing_open_temporary(struct writing *w, mode_t mode)
{
    if (unnamed_works(w->dir, w->temporary))
        w->fd = unnamed_open(w->dir, mode);
    if (w->fd >= 0)
        return;
    w->fd = openat(w->dir, w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    w->named = w->fd >= 0;
}

/* What is replaced has to be a regular file; its mode, and its owner where we may, stay. */
static bool writing_open(struct writing *w, mode_t mode)
{
    struct stat st;
    bool exists = fstatat(w->dir, w->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (exists && !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EPERM;
        return false;
    }
    struct uuid random = uuid_random();
    char hex[UUID_HEX_LEN + 1];
    uuid_hex(&random, hex);
    snprintf(w->temporary, sizeof(w->temporary), ".hand-%s.tmp", hex);
    writing_open_temporary(w, mode);
    if (w->fd < 0)
        return false;
    if (exists && S_ISREG(st.st_mode)) {
        if (st.st_uid != geteuid() || st.st_gid != getegid())
            (void)!fchown(w->fd, st.st_uid, st.st_gid);
        fchmod(w->fd, st.st_mode & 07777);
    }
    return true;
}

/* The name, without links, of what `fd` is a link's way to; without one, or without /proc, the link's own stays. */
static void follow_in_root(struct place *p, int fd)
{
    char link[PROC_FD_LEN], target[FILE_PATH_MAX];
    autofree char *root = realpath(p->root, NULL);
    if (!root)
        return;
    proc_fd(link, fd);
    ssize_t n = readlink(link, target, sizeof(target));
    struct str real = str_make(target, n > 0 ? (size_t)n : 0);
    if (n <= 0 || n == sizeof(target) || !path_is_beneath(str_from(root), real))
        return;
    free(p->path);
    p->path = str_dup(str_sub(real, strlen(root) + (strcmp(root, "/") != 0), real.n));
}

/* Through a link to what it names. False with errno for one that leads out of the root; one to nothing is replaced. */
static bool place_follow(struct place *p)
{
    if (!p->root) {
        char *real = realpath(p->path, NULL);
        if (real) {
            free(p->path);
            p->path = real;
        }
        return true;
    }
    struct stat st;
    autofd int itself = place_open(p, O_PATH | O_NOFOLLOW, 0);
    if (itself < 0 || fstat(itself, &st) < 0 || !S_ISLNK(st.st_mode))
        return true;
    autofd int target = place_open(p, O_PATH, 0);
    if (target >= 0)
        follow_in_root(p, target);
    return target >= 0 || errno == ENOENT;
}

void file_write_start(struct call *c)
{
    struct str fields = buf_str(&c->fields);
    struct writing *w = xcalloc(1, sizeof(*w));
    w->dir = w->fd = -1;
    c->state = w;
    c->on_free = writing_free;
    w->left = wire_get_int(fields, F_LIMIT, INT64_MAX);
    mode_t mode = (mode_t)wire_get_int(fields, F_MODE, 0666) & 0777;
    if (!call_place(c, &w->place))
        return;
    if (w->left < 0)
        return call_fail(c, WIRE_INVALID, "a limit is negative");
    if (!place_follow(&w->place) || !place_make_dirs(&w->place, true, 0777) ||
        (w->dir = place_open_parent(&w->place, &w->name)) < 0 || !writing_open(w, mode))
        return fail_errno(c, w->place.path);
    c->on_input = on_input;
    c->on_input_end = on_input_end;
}

/* --- the rest ------------------------------------------------------------------------------- */

void file_stat_start(struct call *c)
{
    autoplace p = {0};
    autobuf fields = {0};
    struct stat st;
    if (!call_place(c, &p))
        return;
    autofd int fd = place_open(&p, O_PATH, 0);
    if (fd < 0 || fstat(fd, &st) < 0)
        return fail_errno(c, p.path);
    file_stat_add(&fields, &st);
    call_done(c, WIRE_OK, &fields);
}

/* Made by us or not: is it a directory, and no link to one, that is ours and that no other can write to? */
static bool dir_is_private(const struct place *p)
{
    struct stat st;
    autofd int fd = place_open(p, O_PATH | O_NOFOLLOW | O_DIRECTORY, 0);
    return fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
           (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

void dir_make_start(struct call *c)
{
    autoplace p = {0};
    bool private = wire_get_int(buf_str(&c->fields), F_PRIVATE, 0) != 0;
    if (!call_place(c, &p))
        return;
    if (!place_make_dirs(&p, false, (unsigned)wire_get_int(buf_str(&c->fields), F_MODE, 0777) & 0777))
        return fail_errno(c, p.path);
    if (private && !dir_is_private(&p))
        return call_fail(c, WIRE_REFUSED, "%s is not a directory of our own", p.path);
    call_done(c, WIRE_OK, NULL);
}
