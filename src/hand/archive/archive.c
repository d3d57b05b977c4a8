/* OP_ARCHIVE: a directory as a zip. Everything below it is in there, names with a dot and .git too: files with their contents,
 * links as links where they stay beneath the root, empty directories. What is none of these is left out without a word; what
 * cannot be read is left out and named in the archive's comment. The walk never follows a link, and passes over file
 * systems that the kernel makes up. It runs in a job that waits while the mind takes nothing. */
#include "hand/archive/archive.h"
#include "base/cleanup.h"
#include "base/utf8.h"
#include "hand/job.h"
#include "hand/operations.h"
#include "hand/search/walk.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#define ARCHIVE_STALL_MS 120000 /* without a byte for a mind that waits: a file system that hangs */

/* ---- what is missing ---- */

/* On one line, so that a name cannot look like the end of the archive either. */
static void missing_add_name(struct buf *out, struct str name)
{
    size_t from = out->n;
    utf8_scrub(out, name);
    for (size_t i = from; i < out->n; i++)
        if ((unsigned char)out->p[i] < 0x20 || out->p[i] == 0x7f)
            out->p[i] = '?';
}

void archive_leave_out(struct archive *a, const char *why)
{
    autobuf line = {0};
    missing_add_name(&line, buf_str(&a->path));
    buf_addf(&line, ": %s\n", why);
    a->missing_n++;
    if (a->missing.n + line.n <= ARCHIVE_LEFT_OUT_MAX)
        buf_add(&a->missing, buf_str(&line));
    else
        a->unnamed_n++;
}

static void comment_write(const struct archive *a, struct buf *out)
{
    if (a->missing_n == 0)
        return;
    buf_add(out, STR("Left out:\n"));
    buf_add(out, buf_str(&a->missing));
    if (a->unnamed_n)
        buf_addf(out, "and %llu more\n", (unsigned long long)a->unnamed_n);
}

/* ---- the walk ---- */

static bool may_go_on(struct archive *a)
{
    if (a->stopped == WIRE_OK &&
        (zip_count(a->zip) > a->entries || zip_directory_bytes(a->zip) > ARCHIVE_DIRECTORY_MAX))
        a->stopped = WIRE_TOO_LARGE;
    return a->stopped == WIRE_OK;
}

static void walk(struct archive *a, int fd, unsigned depth);

static void enter(struct archive *a, int dir, const char *name, unsigned depth)
{
    struct stat above, st;
    if (depth >= ARCHIVE_DEPTH_MAX)
        return archive_leave_out(a, "too deep");
    autofd int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || fstat(dir, &above) < 0)
        return archive_leave_out(a, strerror(errno));
    if (st.st_dev == above.st_dev || !walk_is_made_up(fd))
        walk(a, steal_fd(fd), depth);
}

static unsigned char type_of(int dir, const struct dirent *d)
{
    struct stat st;
    if (d->d_type != DT_UNKNOWN)
        return d->d_type;
    return fstatat(dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? IFTODT(st.st_mode) : DT_UNKNOWN;
}

static void take(struct archive *a, int dir, const struct dirent *d, unsigned depth)
{
    size_t before = a->path.n;
    unsigned char type = type_of(dir, d);
    if (before)
        buf_add_char(&a->path, '/');
    buf_add_cstr(&a->path, d->d_name);
    if (a->path.n >= PATH_MAX)
        archive_leave_out(a, "its path is too long");
    else if (type == DT_REG)
        archive_file(a, dir, d->d_name);
    else if (type == DT_LNK)
        archive_link(a, dir, d->d_name);
    else if (type == DT_DIR)
        enter(a, dir, d->d_name, depth + 1);
    buf_truncate(&a->path, before);
}

/* NULL at the end, or with errno when there may be more; what was removed meanwhile is at its end. */
static const struct dirent *entry_next(struct archive *a, DIR *dir)
{
    errno = 0;
    if (!may_go_on(a))
        return NULL;
    // cppcheck-suppress readdirCalled ; the stream is ours alone
    const struct dirent *d = readdir(dir);
    if (!d && errno == ENOENT)
        errno = 0;
    return d;
}

/* Takes `fd`. */
static void walk(struct archive *a, int fd, unsigned depth)
{
    DIR *dir = fdopendir(fd);
    bool empty = true;
    if (!dir) {
        close(fd);
        return archive_leave_out(a, strerror(errno));
    }
    for (const struct dirent *d; (d = entry_next(a, dir));) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
            continue;
        empty = false;
        take(a, fd, d, depth);
    }
    if (errno)
        archive_leave_out(a, strerror(errno));
    else if (empty && may_go_on(a))
        archive_directory(a, fd);
    closedir(dir);
}

/* ---- the job ---- */

static bool on_bytes(void *arg, struct str data)
{
    (void)arg;
    return job_write(data);
}

static enum wire_status archive_run(struct archive *a, int fd, struct buf *fields)
{
    autobuf comment = {0};
    walk(a, fd, 0);
    comment_write(a, &comment);
    if (a->stopped == WIRE_TOO_LARGE)
        return job_fail(fields, WIRE_TOO_LARGE, "there are more than %llu files, or their names are too long",
                        (unsigned long long)a->entries);
    if (a->stopped != WIRE_OK || !zip_end(a->zip, buf_str(&comment)))
        return WIRE_CANCELLED;
    return WIRE_OK;
}

static enum wire_status archive_job(const struct call *c, struct buf *fields)
{
    autoplace p = {0};
    autoerr e = NULL;
    enum wire_status status;
    struct archive a = {.entries = ARCHIVE_ENTRIES_MAX, .bytes = ARCHIVE_BYTES_MAX};
    int64_t limit = wire_get_int(buf_str(&c->fields), F_LIMIT, ARCHIVE_ENTRIES_MAX);
    if (!place_read(&p, buf_str(&c->fields), &status, &e))
        return job_fail(fields, status, "%s", err_text(e));
    if (limit < 0 || p.root)
        return job_fail(fields, WIRE_INVALID, p.root ? "an archive takes no root" : "a limit is negative");
    int fd = place_open(&p, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0 || !(a.root = realpath(p.path, NULL))) {
        status = status_of_errno(errno);
        return job_fail(fields, status, "%s: %s", p.path, text_of_errno(errno));
    }
    if (limit < ARCHIVE_ENTRIES_MAX)
        a.entries = (uint64_t)limit;
    a.piece = xmalloc(ARCHIVE_PIECE);
    a.zip = zip_new(on_bytes, NULL, 0);
    status = archive_run(&a, fd, fields);
    zip_free(a.zip);
    buf_deinit(&a.path);
    buf_deinit(&a.missing);
    free(a.piece);
    free(a.root);
    return status;
}

void archive_start(struct call *c)
{
    job_start_streaming(c, archive_job, ARCHIVE_STALL_MS);
}
