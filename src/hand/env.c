#include "hand/env.h"
#include "base/cleanup.h"
#include "hand/process.h"
#include "wire/environment.h"
#include <fcntl.h>
#include <sys/stat.h>

#define PASSWD_BYTES_MAX (1024 * 1024) /* of /etc/passwd; a user further back stays unnamed */
#define ENVIRONMENT_MAX 4096           /* variables */
#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* --- accounts ------------------------------------------------------------------------------- */

static void read_passwd(struct buf *out)
{
    autofd int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    while (out->n < PASSWD_BYTES_MAX) {
        ssize_t n = read(fd, buf_reserve(out, 4096), 4096);
        if (n <= 0)
            return;
        out->n += (size_t)n;
    }
}

void account_find(struct account *a, uid_t uid)
{
    autobuf text = {0};
    read_passwd(&text);
    *a = (struct account){0};
    struct str rest = buf_str(&text), line;
    while (str_split(&rest, '\n', &line)) {
        struct str field[7] = {0};
        size_t n = 0;
        uint64_t id;
        while (n < 7 && str_split(&line, ':', &field[n]))
            n++;
        if (n < 7 || !str_to_u64(field[2], &id) || id != uid)
            continue;
        buf_add(&a->name, field[0]);
        buf_add(&a->home, field[5]);
        buf_add(&a->shell, str_trim(field[6]));
        return;
    }
}

void account_deinit(struct account *a)
{
    buf_deinit(&a->name);
    buf_deinit(&a->home);
    buf_deinit(&a->shell);
}

/* --- environments --------------------------------------------------------------------------- */

struct env_list {
    VEC(char *) at;
};

static size_t name_length(const char *pair)
{
    return strcspn(pair, "=");
}

static char **env_find(struct env_list *list, const char *name, size_t n)
{
    for (size_t i = 0; i < list->at.n; i++)
        if (name_length(list->at.at[i]) == n && memcmp(list->at.at[i], name, n) == 0)
            return &list->at.at[i];
    return NULL;
}

/* `pair` is NAME=value. One without a name, with a NUL or past the bound is left out. */
static void env_put(struct env_list *list, struct str pair)
{
    ssize_t equals = str_find_char(pair, '=');
    if (equals <= 0 || str_find_char(pair, '\0') >= 0)
        return;
    char **slot = env_find(list, pair.p, (size_t)equals);
    if (slot) {
        free(*slot);
        *slot = str_dup(pair);
    } else if (list->at.n < ENVIRONMENT_MAX) {
        vec_push(&list->at, str_dup(pair));
    }
}

static void env_default(struct env_list *list, const char *name, struct str value)
{
    if (env_find(list, name, strlen(name)) || value.n == 0)
        return;
    autobuf pair = {0};
    buf_addf(&pair, "%s=%.*s", name, STR_ARG(value));
    env_put(list, buf_str(&pair));
}

static void env_put_fields(struct env_list *list, struct str fields)
{
    struct wire_fields f = {fields};
    enum wire_field tag;
    struct str value;
    while (wire_fields_next(&f, &tag, &value, NULL))
        if (tag == F_ENV)
            env_put(list, value);
}

static char **env_finish(struct env_list *list)
{
    vec_push(&list->at, NULL);
    return list->at.at;
}

void environment_free(char **environment)
{
    for (char **p = environment; p && *p; p++)
        free(*p);
    free(environment);
}

void environment_set(struct hand *h, struct str hello)
{
    struct env_list list = {0};
    for (char **p = environ; p && *p; p++)
        if (wire_environment_allows(str_from(*p)))
            env_put(&list, str_from(*p));
    struct account a;
    account_find(&a, getuid());
    env_default(&list, "PATH", STR(PATH_DEFAULT));
    env_default(&list, "HOME", a.home.n ? buf_str(&a.home) : STR("/"));
    env_default(&list, "USER", buf_str(&a.name));
    env_default(&list, "LOGNAME", buf_str(&a.name));
    env_default(&list, "SHELL", buf_str(&a.shell));
    account_deinit(&a);
    if (!env_find(&list, "LC_ALL", 6) && !env_find(&list, "LC_CTYPE", 8))
        env_default(&list, "LANG",
                    STR("C.UTF-8")); /* programs should not take the workspace's text for ASCII */
    env_put(&list, STR("AI_AGENT=openhands"));
    env_put(&list, STR("GIT_PAGER=cat"));
    env_put(&list, STR("PAGER=cat"));
    env_put_fields(&list, hello);
    environment_free(h->environment);
    h->environment = env_finish(&list);
}

char *const *hand_environment(const struct hand *h)
{
    static char *const none[] = {NULL};
    return h->environment ? h->environment : none;
}

char **environment_with(char *const *base, struct str fields)
{
    struct env_list list = {0};
    for (char *const *p = base; *p; p++)
        env_put(&list, str_from(*p));
    env_put_fields(&list, fields);
    return env_finish(&list);
}

const char *environment_get(char *const *environment, const char *name)
{
    size_t n = strlen(name);
    for (char *const *p = environment; *p; p++)
        if (name_length(*p) == n && memcmp(*p, name, n) == 0)
            return *p + n + 1;
    return NULL;
}

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

bool environment_program(char *const *environment, const char *name, struct buf *out)
{
    buf_clear(out);
    if (strchr(name, '/')) {
        buf_add_cstr(out, name);
        return is_program(name);
    }
    const char *path = environment_get(environment, "PATH");
    struct str rest = str_from(path ? path : PATH_DEFAULT), dir;
    while (str_split(&rest, ':', &dir)) {
        buf_clear(out);
        buf_addf(out, "%.*s/%s", STR_ARG(dir.n ? dir : STR(".")), name);
        if (is_program(out->p))
            return true;
    }
    return false;
}
