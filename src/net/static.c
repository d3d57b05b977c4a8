#include "net/static.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/map.h"
#include "base/path.h"
#include <dirent.h>
#include <sys/stat.h>

struct file {
    char *path; /* absolute */
    char tag[64];
    struct file *packed; /* NAME.gz */
};

struct static_files {
    struct map *files; /* relative path → struct file */
};

/* ---- media types ---- */

static const struct {
    const char *extension, *type;
} types[] = {
    {".avif", "image/avif"},
    {".css", "text/css; charset=utf-8"},
    {".csv", "text/csv; charset=utf-8"},
    {".gif", "image/gif"},
    {".htm", "text/html; charset=utf-8"},
    {".html", "text/html; charset=utf-8"},
    {".ico", "image/vnd.microsoft.icon"},
    {".jpeg", "image/jpeg"},
    {".jpg", "image/jpeg"},
    {".js", "text/javascript; charset=utf-8"},
    {".json", "application/json"},
    {".map", "application/json"},
    {".md", "text/markdown; charset=utf-8"},
    {".mjs", "text/javascript; charset=utf-8"},
    {".mp3", "audio/mpeg"},
    {".mp4", "video/mp4"},
    {".pdf", "application/pdf"},
    {".png", "image/png"},
    {".svg", "image/svg+xml"},
    {".ttf", "font/ttf"},
    {".txt", "text/plain; charset=utf-8"},
    {".wasm", "application/wasm"},
    {".webm", "video/webm"},
    {".webmanifest", "application/manifest+json"},
    {".webp", "image/webp"},
    {".woff", "font/woff"},
    {".woff2", "font/woff2"},
    {".xml", "text/xml; charset=utf-8"},
};

const char *media_type_of(struct str name)
{
    struct str extension = path_extension(name);
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eq_nocase(extension, str_from(types[i].extension)))
            return types[i].type;
    return "application/octet-stream";
}

/* ---- looking through the directory ---- */

static void file_add(struct static_files *s, const char *path, struct str name, const struct stat *st)
{
    struct file *f = xcalloc(1, sizeof(*f));
    f->path = str_dup(str_from(path));
    snprintf(f->tag, sizeof(f->tag), "W/\"%llx-%llx\"", (unsigned long long)st->st_size,
             (unsigned long long)st->st_mtim.tv_sec * 1000000000ull +
                 (unsigned long long)st->st_mtim.tv_nsec);
    map_put(s->files, name, f);
}

static void walk(struct static_files *s, struct str dir, struct str prefix, unsigned depth)
{
    autofree char *name = str_dup(dir);
    DIR *d = opendir(name);
    if (!d)
        return;
    for (struct dirent *entry; (entry = readdir(d)) && map_count(s->files) < STATIC_FILES_MAX;) {
        autobuf path = {0}, relative = {0};
        struct stat st;
        if (entry->d_name[0] == '.')
            continue;
        path_join(&path, dir, str_from(entry->d_name));
        buf_add(&relative, prefix);
        buf_add_cstr(&relative, entry->d_name);
        if (lstat(path.p, &st) != 0)
            continue;
        if (S_ISREG(st.st_mode) && st.st_size <= STATIC_FILE_MAX) {
            file_add(s, path.p, buf_str(&relative), &st);
        } else if (S_ISDIR(st.st_mode) && depth < STATIC_DEPTH_MAX) {
            buf_add_char(&relative, '/');
            walk(s, buf_str(&path), buf_str(&relative), depth + 1);
        }
    }
    closedir(d);
}

static void packed_find(struct static_files *s)
{
    size_t cursor = 0;
    struct str name;
    void *value;
    while (map_next(s->files, &cursor, &name, &value)) {
        autobuf packed = {0};
        buf_add(&packed, name);
        buf_add(&packed, STR(".gz"));
        ((struct file *)value)->packed = map_get(s->files, buf_str(&packed));
    }
}

struct static_files *static_new(const char *dir, struct err **e)
{
    struct stat st;
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
        err_set(e, ERR_NOT_FOUND, "there is no directory %s", dir);
        return NULL;
    }
    struct static_files *s = xcalloc(1, sizeof(*s));
    s->files = map_new();
    walk(s, str_from(dir), STR(""), 0);
    packed_find(s);
    return s;
}

void static_free(struct static_files *s)
{
    if (!s)
        return;
    size_t cursor = 0;
    void *value;
    while (map_next(s->files, &cursor, NULL, &value)) {
        struct file *f = value;
        free(f->path);
        free(f);
    }
    map_free(s->files);
    free(s);
}

bool static_has(const struct static_files *s, struct str path)
{
    return s && map_get(s->files, path) != NULL;
}

/* ---- answering ---- */

static bool accepts_gzip(const struct request *r)
{
    struct str rest = request_header(r, "Accept-Encoding"), word;
    while (str_split(&rest, ',', &word)) {
        word = str_trim(word);
        if (str_eq_nocase(word, STR("gzip")))
            return true;
        if (str_starts_nocase(word, STR("gzip;")))
            return str_find(word, STR("q=0")) < 0 || str_find(word, STR("q=0.")) >= 0;
    }
    return false;
}

void static_reply(const struct static_files *s, struct request *r, struct str path)
{
    autobuf body = {0};
    const struct file *f = s ? map_get(s->files, path) : NULL;
    if (!f) {
        request_reply_detail(r, 404, NULL);
        return;
    }
    const char *type = media_type_of(path);
    request_set_header(r, STR("cache-control"), STR("no-cache"));
    request_set_header(r, STR("etag"), str_from(f->tag));
    request_set_header(r, STR("vary"), STR("Accept-Encoding"));
    request_set_header(r, STR("x-content-type-options"), STR("nosniff"));
    if (str_is(request_header(r, "If-None-Match"), f->tag)) {
        request_reply_empty(r, 304);
        return;
    }
    if (f->packed && accepts_gzip(r)) {
        request_set_header(r, STR("content-encoding"), STR("gzip"));
        f = f->packed;
    }
    if (file_read(f->path, STATIC_FILE_MAX, &body, NULL))
        request_reply(r, 200, type, &body);
    else
        request_reply_detail(r, 404, NULL);
}
