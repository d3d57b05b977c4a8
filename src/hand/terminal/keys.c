/* Special keys, and what else is looked up by name for a terminal. */
#include "base/cleanup.h"
#include "base/path.h"
#include "hand/terminal/shell.h"
#include <sys/stat.h>

/* The codes of a VT220 or xterm; cursor keys have others while the program asked for "application" ones. */
static const struct key {
    const char *name, *code, *application;
} keys[] = {
    {"ENTER", "\r", NULL},         {"TAB", "\t", NULL},          {"BS", "\x7f", NULL},
    {"ESC", "\033", NULL},         {"UP", "\033[A", "\033OA"},   {"DOWN", "\033[B", "\033OB"},
    {"RIGHT", "\033[C", "\033OC"}, {"LEFT", "\033[D", "\033OD"}, {"HOME", "\033[H", "\033OH"},
    {"END", "\033[F", "\033OF"},   {"PGUP", "\033[5~", NULL},    {"PGDN", "\033[6~", NULL},
};

/* C-x, CTRL-x, CTRL+x: a letter or one of [ \ ] ^ _ @. */
static bool control_key(struct str name, struct buf *out)
{
    static const char *const prefixes[] = {"C-", "CTRL-", "CTRL+"};
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        struct str prefix = str_from(prefixes[i]);
        if (name.n != prefix.n + 1 || !str_starts_nocase(name, prefix))
            continue;
        char c = name.p[prefix.n];
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        if (c < '@' || c > '_')
            return false;
        buf_add_char(out, (char)(c & 0x1f));
        return true;
    }
    return false;
}

bool shell_key(struct str name, bool application_keys, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (str_eq_nocase(name, str_from(keys[i].name))) {
            buf_add_cstr(out, application_keys && keys[i].application ? keys[i].application : keys[i].code);
            return true;
        }
    return control_key(name, out);
}

static bool find_in_path(struct str path, struct str name, struct buf *out)
{
    struct str dir;
    while (str_split(&path, ':', &dir)) {
        struct stat st;
        if (!path_is_absolute(dir))
            continue;
        buf_clear(out);
        path_join(out, dir, name);
        if (stat(out->p, &st) == 0 && S_ISREG(st.st_mode) && access(out->p, X_OK) == 0)
            return true;
    }
    buf_clear(out);
    return false;
}

void shell_find_python(struct str path, struct buf *out)
{
    if (!find_in_path(path, STR("python"), out))
        find_in_path(path, STR("python3"), out);
}
