/* glob: a pattern, a zero byte, and a path. What matches may be below each of its directories; a name without special
 * characters matches itself. */
#include "hand/search/glob_pattern.h"
#include "hand/search/ignore.h"
#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str path = str_make(data, size), pattern;
    autoerr e = NULL;
    if (size == 0 || !str_split(&path, '\0', &pattern) || !path.p)
        return 0;
    struct ignore *rules = ignore_new(pattern, NULL, STR(""), 0); /* as a .gitignore */
    bool ignored = ignore_has(rules, path, false);
    must(!ignored || ignore_has(rules, path, true) || str_find_char(pattern, '/') >= 0);
    ignore_free(rules);
    struct glob *g = glob_new(pattern, &e);
    if (!g) {
        must(e != NULL);
        return 0;
    }
    bool matches = glob_match(g, path);
    for (size_t i = 0; matches && i < path.n; i++)
        if (path.p[i] == '/' && i > 0 && path.p[i - 1] != '/' && i + 1 < path.n && path.p[path.n - 1] != '/')
            must(glob_may_contain(g, str_sub(path, 0, i)));
    if (pattern.n > 0 && !glob_is_magic(pattern) && str_find_char(pattern, '/') < 0 && !str_is(pattern, "."))
        must(glob_match(g, pattern));
    if (path.n > 0)
        glob_names(g, path);
    glob_free(g);
    return 0;
}
