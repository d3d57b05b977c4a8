#include "cli/environment.h"
#include "base/cleanup.h"
#include "base/map.h"

static struct map *variables;

static bool is_secret(struct str name)
{
    static const struct str words[] = {
        STR_INIT("KEY"),    STR_INIT("TOKEN"),      STR_INIT("SECRET"),      STR_INIT("PASSWORD"),
        STR_INIT("PASSWD"), STR_INIT("CREDENTIAL"), STR_INIT("OH_WEBHOOKS"), STR_INIT("DATABASE_URL")};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_find_nocase(name, words[i]) >= 0)
            return true;
    return false;
}

void environment_take(void)
{
    if (variables)
        return;
    variables = map_new();
    size_t kept = 0;
    for (char **p = environ; *p; p++) {
        char *equals = strchr(*p, '=');
        struct str name = str_make(*p, equals ? (size_t)(equals - *p) : strlen(*p));
        if (!equals) {
            environ[kept++] = *p;
            continue;
        }
        if (!map_get(variables, name))
            map_put(variables, name, str_dup(str_from(equals + 1)));
        if (is_secret(name))
            explicit_bzero(equals + 1, strlen(equals + 1));
        else
            environ[kept++] = *p;
    }
    environ[kept] = NULL;
}

const char *environment_value(const char *name)
{
    const char *value = variables ? map_get(variables, str_from(name)) : NULL;
    return value && *value ? value : NULL;
}

bool environment_next(struct str prefix, size_t *cursor, struct str *name, struct str *value)
{
    void *text;
    while (variables && map_next(variables, cursor, name, &text)) {
        if (!str_starts(*name, prefix))
            continue;
        *value = str_from(text);
        return true;
    }
    return false;
}
