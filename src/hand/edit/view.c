#include "base/cleanup.h"
#include "base/path.h"
#include "base/vec.h"
#include "hand/edit/edit.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define DEPTH 2
#define ENTRIES_MAX 20000 /* looked at in one view; the rest is left out with a remark */

/* --- directories -------------------------------------------------------------------------------- */

struct listing {
    VEC(char *) paths;
    size_t seen, hidden;
    bool cut;
};

static bool is_directory(int at, const struct dirent *d)
{
    struct stat st;
    if (d->d_type != DT_LNK && d->d_type != DT_UNKNOWN)
        return d->d_type == DT_DIR;
    return fstatat(at, d->d_name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

static void list(struct listing *l, int parent, const char *name, struct str path, unsigned depth);

static void list_entry(struct listing *l, int dir, const struct dirent *d, struct str path, unsigned depth)
{
    autobuf full = {0};
    if (d->d_name[0] == '.') {
        bool is_self = str_is(STR("."), d->d_name) || str_is(STR(".."), d->d_name);
        l->hidden += !is_self && depth == 1;
        return;
    }
    path_join(&full, path, str_from(d->d_name));
    bool directory = is_directory(dir, d);
    if (directory && depth < DEPTH)
        list(l, dir, d->d_name, buf_str(&full), depth + 1);
    if (directory)
        buf_add_char(&full, '/');
    vec_push(&l->paths, str_dup(buf_str(&full)));
}

static void list(struct listing *l, int parent, const char *name, struct str path, unsigned depth)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    // cppcheck-suppress readdirCalled ; the stream is ours alone
    for (const struct dirent *d; (d = readdir(dir));) {
        if (l->seen++ >= ENTRIES_MAX) {
            l->cut = true;
            break;
        }
        list_entry(l, fd, d, path, depth);
    }
    closedir(dir);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void view_directory(struct buf *out, const char *path, size_t limit)
{
    struct listing l = {0};
    autobuf lines = {0};
    struct str shown = str_from(path);
    while (shown.n > 1 && shown.p[shown.n - 1] == '/')
        shown.n--;
    list(&l, AT_FDCWD, path, shown, 1);
    buf_addf(out, "Files and directories in %.*s, two levels deep, without hidden ones:\n", STR_ARG(shown));
    buf_add(&lines, shown);
    if (!str_is(shown, "/"))
        buf_add_char(&lines, '/');
    if (l.paths.n)
        qsort(l.paths.at, l.paths.n, sizeof(*l.paths.at), compare);
    for (size_t i = 0; i < l.paths.n; i++) {
        buf_add_char(&lines, '\n');
        buf_add_cstr(&lines, l.paths.at[i]);
        free(l.paths.at[i]);
    }
    vec_deinit(&l.paths);
    text_clip(out, buf_str(&lines), limit);
    if (l.cut)
        buf_addf(out, "\n\n(There is more: only the first %d entries were looked at.)", ENTRIES_MAX);
    if (l.hidden)
        buf_addf(out, "\n\n(%zu hidden %s left out; `ls -la %.*s` shows %s.)", l.hidden,
                 l.hidden == 1 ? "entry was" : "entries were", STR_ARG(shown), l.hidden == 1 ? "it" : "them");
}

/* --- images ------------------------------------------------------------------------------------- */

bool image_name(struct str path)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp"};
    for (size_t i = 0; i < ARRAY_LEN(endings); i++)
        if (str_eq_nocase(path_extension(path), str_from(endings[i])))
            return true;
    return false;
}

const char *image_type(struct str bytes)
{
    static const struct {
        const char *magic;
        size_t n;
        const char *type;
    } kinds[] = {
        {"\x89PNG\r\n\x1a\n", 8, "image/png"},
        {"\xff\xd8\xff", 3, "image/jpeg"},
        {"GIF87a", 6, "image/gif"},
        {"GIF89a", 6, "image/gif"},
        {"BM", 2, "image/bmp"},
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_starts(bytes, str_make(kinds[i].magic, kinds[i].n)))
            return kinds[i].type;
    if (str_starts(bytes, STR("RIFF")) && str_eq(str_sub(bytes, 8, 12), STR("WEBP")))
        return "image/webp";
    return NULL;
}
