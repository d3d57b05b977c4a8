/* shim_replay LOG BASE OUT [SEED]: makes the directory OUT as a disk would show it if the power had gone at the end of
 * LOG (see shim.c). BASE is a copy of the directory from before the run; it may be missing.
 *
 * Without SEED nothing that was not synced is there: no data, no name, no removal. With SEED a random part of it is: any
 * subset of the writes, the last of them perhaps torn at a sector, and a prefix of the changes of names.
 * A sync of a file does not make its name last; a sync of the directory does. What was dirty at a failed sync is gone.
 *
 * shim_replay -c LOG: prints how many calls of each kind the log has: "write N sync N rename N any N". */
#include "shim.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512

struct file {
    struct file *next;
    uint64_t inode; /* 0: from the base */
    bool directory;
    char *data; /* what is on the disk */
    size_t n, cap;
    size_t *pending; /* offsets in the log of what is not */
    size_t pending_n;
};

struct name {
    char *path;
    struct file *file; /* NULL: removed */
    size_t at;         /* in the log; 0: durable */
    bool done;
};

static struct file *files;
static struct name *names, *lasting; /* changes in order; and what is on the disk */
static size_t names_n, lasting_n;
static const char *text;
static size_t text_n;

static void die(const char *what)
{
    fprintf(stderr, "shim_replay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *must(void *p)
{
    if (!p)
        die("memory");
    return p;
}

static struct file *file_new(uint64_t inode, bool directory)
{
    struct file *f = must(calloc(1, sizeof(*f)));
    f->inode = inode;
    f->directory = directory;
    f->next = files; /* the newest with an inode number is the one that is alive */
    files = f;
    return f;
}

static void file_resize(struct file *f, size_t n)
{
    if (n > f->cap) {
        f->cap = n * 2;
        f->data = must(realloc(f->data, f->cap));
    }
    if (n > f->n)
        memset(f->data + f->n, 0, n - f->n);
    f->n = n;
}

static void file_apply(struct file *f, size_t at, size_t bytes_max)
{
    struct shim_record head;
    memcpy(&head, text + at, sizeof(head));
    if (head.op == SHIM_WRITE) {
        size_t n = head.n < bytes_max ? head.n : bytes_max;
        if (head.at + n > f->n)
            file_resize(f, head.at + n);
        memcpy(f->data + head.at, text + at + sizeof(head), n);
    } else {
        file_resize(f, head.op == SHIM_TRUNCATE ? head.at : 0);
    }
}

static void file_pend(struct file *f, size_t at)
{
    f->pending = must(realloc(f->pending, (f->pending_n + 1) * sizeof(*f->pending)));
    f->pending[f->pending_n++] = at;
}

/* What was written before the sync began: to the disk, or lost. */
static void file_settle(struct file *f, size_t begin, bool apply)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->pending_n; i++) {
        if (f->pending[i] >= begin)
            f->pending[kept++] = f->pending[i];
        else if (apply)
            file_apply(f, f->pending[i], SIZE_MAX);
    }
    f->pending_n = kept;
}

static struct name *lasting_find(const char *path)
{
    for (size_t i = 0; i < lasting_n; i++)
        if (strcmp(lasting[i].path, path) == 0)
            return &lasting[i];
    return NULL;
}

static void lasting_set(const char *path, struct file *f)
{
    struct name *n = lasting_find(path);
    if (!n) {
        lasting = must(realloc(lasting, (lasting_n + 1) * sizeof(*lasting)));
        n = &lasting[lasting_n++];
        n->path = must(strdup(path));
    }
    n->file = f;
}

static void name_change(const char *path, struct file *f, size_t at)
{
    names = must(realloc(names, (names_n + 1) * sizeof(*names)));
    names[names_n++] = (struct name){.path = must(strdup(path)), .file = f, .at = at};
}

/* As the running program sees it. */
static struct file *name_find(const char *path)
{
    for (size_t i = names_n; i-- > 0;)
        if (strcmp(names[i].path, path) == 0)
            return names[i].file;
    struct name *n = lasting_find(path);
    return n ? n->file : NULL;
}

static bool name_is_in(const char *path, const char *dir)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    return strlen(dir) == n && strncmp(path, dir, n) == 0;
}

static void names_settle(const char *dir, size_t begin)
{
    for (size_t i = 0; i < names_n; i++) {
        if (names[i].done || names[i].at >= begin)
            continue;
        /* The two halves of a rename go together. */
        bool mate_before = i > 0 && names[i - 1].at == names[i].at,
             mate = i + 1 < names_n && names[i + 1].at == names[i].at;
        if (name_is_in(names[i].path, dir) || (mate_before && name_is_in(names[i - 1].path, dir)) ||
            (mate && name_is_in(names[i + 1].path, dir))) {
            lasting_set(names[i].path, names[i].file);
            names[i].done = true;
        }
    }
}

static struct file *file_of(uint64_t inode)
{
    for (struct file *f = files; f; f = f->next)
        if (f->inode == inode)
            return f;
    return NULL;
}

static void replay_open(const struct shim_record *head, const char *path, size_t at)
{
    struct file *f = name_find(path);
    if (head->at == 1 || !f) {
        if (path[0] == '\0')
            return;
        f = file_new(head->file, false);
        name_change(path, f, at);
    }
    f->inode = head->file;
    if (head->at == 2)
        file_pend(f, at);
}

static size_t sync_began(uint64_t number, size_t end)
{
    struct shim_record head;
    for (size_t at = 0; at < end; at += sizeof(head) + head.n) {
        memcpy(&head, text + at, sizeof(head));
        if (head.op == SHIM_SYNC_BEGIN && head.at == number)
            return at;
    }
    return 0;
}

/* The last syncs' places, so that none is searched for from the start. */
#define BEGAN 64
static struct {
    uint64_t number;
    size_t at;
} began[BEGAN];

static void replay_sync(const struct shim_record *head, const char *path, size_t at)
{
    struct file *f = file_of(head->file);
    size_t begin =
        began[head->at % BEGAN].number == head->at ? began[head->at % BEGAN].at : sync_began(head->at, at);
    if (f && !f->directory)
        file_settle(f, begin, head->op == SHIM_SYNC_END);
    else if (head->op == SHIM_SYNC_END)
        names_settle(path, begin);
}

static void replay_one(const struct shim_record *head, const char *data, size_t at)
{
    struct file *f;
    switch ((enum shim_op)head->op) {
    case SHIM_OPEN: replay_open(head, data, at); break;
    case SHIM_WRITE:
    case SHIM_TRUNCATE:
        if ((f = file_of(head->file)))
            file_pend(f, at);
        break;
    case SHIM_SYNC_BEGIN:
        began[head->at % BEGAN].number = head->at;
        began[head->at % BEGAN].at = at;
        break;
    case SHIM_SYNC_END:
    case SHIM_SYNC_FAIL: replay_sync(head, data, at); break;
    case SHIM_RENAME:
        f = name_find(data);
        name_change(data, NULL, at);
        name_change(data + strlen(data) + 1, f, at);
        break;
    case SHIM_UNLINK: name_change(data, NULL, at); break;
    case SHIM_MKDIR: name_change(data, file_new(0, true), at); break;
    }
}

static void replay(void)
{
    struct shim_record head;
    for (size_t at = 0; at + sizeof(head) <= text_n; at += sizeof(head) + head.n) {
        memcpy(&head, text + at, sizeof(head));
        if (at + sizeof(head) + head.n > text_n)
            break; /* the process died while it wrote this */
        replay_one(&head, text + at + sizeof(head), at);
    }
}

/* A disk that had begun to write the rest. */
static void keep_some(unsigned seed)
{
    srandom(seed);
    for (struct file *f = files; f; f = f->next) {
        for (size_t i = 0; i < f->pending_n; i++) {
            long dice = random() % 8;
            if (dice < 4)
                file_apply(f, f->pending[i], SIZE_MAX);
            else if (dice == 4)
                file_apply(f, f->pending[i], (size_t)(random() % 16) * SECTOR);
        }
    }
    size_t left = 0;
    for (size_t i = 0; i < names_n; i++)
        left += !names[i].done;
    size_t keep = (size_t)random() % (left + 1);
    for (size_t i = 0; i < names_n; i++) {
        if (names[i].done)
            continue;
        bool second_half = i > 0 && names[i - 1].at == names[i].at && names[i - 1].done;
        if (keep == 0 && !second_half)
            break;
        keep -= keep > 0;
        lasting_set(names[i].path, names[i].file);
        names[i].done = true;
    }
}

static char *file_load(const char *path, size_t *n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0)
        die(path);
    char *p = must(malloc((size_t)info.st_size + 1));
    for (*n = 0; *n < (size_t)info.st_size;) {
        ssize_t got = read(fd, p + *n, (size_t)info.st_size - *n);
        if (got <= 0)
            die(path);
        *n += (size_t)got;
    }
    close(fd);
    return p;
}

static void base_load(const char *base, const char *relative)
{
    char path[8192], inner[4096];
    snprintf(path, sizeof(path), "%s/%s", base, relative);
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof(inner), "%.2000s%s%s", relative, relative[0] ? "/" : "", entry->d_name);
        snprintf(path, sizeof(path), "%s/%s", base, inner);
        if (lstat(path, &info) != 0 || !(S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)))
            continue;
        struct file *f = file_new(0, S_ISDIR(info.st_mode));
        if (f->directory)
            base_load(base, inner);
        else
            f->data = file_load(path, &f->n);
        f->cap = f->n;
        lasting_set(inner, f);
    }
    closedir(dir);
}

static bool parent_lasts(const char *path)
{
    char parent[4096];
    const char *slash = strrchr(path, '/');
    if (!slash)
        return true;
    snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
    struct name *n = lasting_find(parent);
    return n && n->file && parent_lasts(parent);
}

static void image_write(const char *out)
{
    char path[8192];
    if (mkdir(out, 0700) != 0 && errno != EEXIST)
        die(out);
    for (int directories = 1; directories >= 0; directories--) {
        for (size_t i = 0; i < lasting_n; i++) {
            struct file *f = lasting[i].file;
            if (!f || f->directory != directories || !parent_lasts(lasting[i].path))
                continue;
            snprintf(path, sizeof(path), "%s/%s", out, lasting[i].path);
            if (directories) {
                if (mkdir(path, 0700) != 0)
                    die(path);
                continue;
            }
            int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
            for (size_t at = 0; fd >= 0 && at < f->n;) {
                ssize_t n = write(fd, f->data + at, f->n - at);
                if (n <= 0)
                    die(path);
                at += (size_t)n;
            }
            if (fd < 0 || close(fd) != 0)
                die(path);
        }
    }
}

static void count(void)
{
    struct shim_record head;
    long writes = 0, syncs = 0, renames = 0;
    for (size_t at = 0; at + sizeof(head) <= text_n; at += sizeof(head) + head.n) {
        memcpy(&head, text + at, sizeof(head));
        writes += head.op == SHIM_WRITE || head.op == SHIM_TRUNCATE;
        syncs += head.op == SHIM_SYNC_BEGIN;
        renames += head.op == SHIM_RENAME || head.op == SHIM_UNLINK;
    }
    printf("write %ld sync %ld rename %ld any %ld\n", writes, syncs, renames, writes + syncs + renames);
}

int main(int argc, char **argv)
{
    bool counting = argc == 3 && strcmp(argv[1], "-c") == 0;
    if (!counting && argc != 4 && argc != 5) {
        fprintf(stderr, "usage: shim_replay LOG BASE OUT [SEED] | -c LOG\n");
        return 2;
    }
    text = file_load(argv[counting ? 2 : 1], &text_n);
    if (counting) {
        count();
        return 0;
    }
    base_load(argv[2], "");
    replay();
    if (argc == 5)
        keep_some((unsigned)strtoul(argv[4], NULL, 10));
    image_write(argv[3]);
    return 0;
}
