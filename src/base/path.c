#include "base/path.h"

bool path_is_absolute(struct str path)
{
    return path.n > 0 && path.p[0] == '/';
}

void path_join(struct buf *out, struct str dir, struct str name)
{
    if (!path_is_absolute(name)) {
        buf_add(out, dir);
        if (dir.n > 0 && dir.p[dir.n - 1] != '/')
            buf_add_char(out, '/');
    }
    buf_add(out, name);
}

void path_normalize(struct buf *out, struct str path)
{
    buf_reserve(out, path.n + 1);
    bool absolute = path_is_absolute(path);
    size_t start = out->n; /* what was in the buffer before stays */
    if (absolute)
        buf_add_char(out, '/');
    size_t floor = out->n; /* ".." cannot take anything before this away */
    struct str rest = path, part;
    while (str_split(&rest, '/', &part)) {
        if (part.n == 0 || str_is(part, "."))
            continue;
        if (str_is(part, "..")) {
            if (out->n > floor) {
                struct str done = str_make(out->p + floor, out->n - floor);
                ssize_t slash = str_rfind_char(done, '/');
                buf_truncate(out, floor + (slash < 0 ? 0 : (size_t)slash));
                continue;
            }
            if (absolute)
                continue;
        }
        if (out->n > start && out->p[out->n - 1] != '/')
            buf_add_char(out, '/');
        buf_add(out, part);
        if (str_is(part, ".."))
            floor = out->n;
    }
    if (out->n == start)
        buf_add_char(out, '.');
}

static struct str without_slashes(struct str path)
{
    while (path.n > 0 && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

struct str path_base(struct str path)
{
    path = without_slashes(path);
    ssize_t slash = str_rfind_char(path, '/');
    return str_sub(path, (size_t)(slash + 1), path.n);
}

struct str path_dir(struct str path)
{
    struct str trimmed = without_slashes(path);
    ssize_t slash = str_rfind_char(trimmed, '/');
    if (slash < 0)
        return path_is_absolute(path) ? STR("/") : STR(".");
    trimmed = without_slashes(str_sub(trimmed, 0, (size_t)slash));
    return trimmed.n > 0 ? trimmed : STR("/");
}

struct str path_extension(struct str path)
{
    struct str name = path_base(path);
    ssize_t dot = str_rfind_char(name, '.');
    if (dot <= 0 || (size_t)dot + 1 == name.n)
        return STR("");
    return str_sub(name, (size_t)dot, name.n);
}

bool path_is_beneath(struct str root, struct str path)
{
    root = without_slashes(root);
    return str_starts(path, root) && (path.n == root.n || path.p[root.n] == '/');
}
