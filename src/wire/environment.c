#include "wire/environment.h"
#include "base/cleanup.h"

bool wire_environment_allows(struct str pair)
{
    static const char *const allowed[] = {"PATH", "HOME", "USER", "LOGNAME", "SHELL",
                                          "TERM", "LANG", "TZ",   "TMPDIR"};
    ssize_t equals = str_find_char(pair, '=');
    if (equals < 0)
        return false;
    struct str name = str_sub(pair, 0, (size_t)equals);
    if (str_starts(name, STR("LC_")))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
        if (str_is(name, allowed[i]))
            return true;
    return false;
}
