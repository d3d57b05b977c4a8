/* filter_tools_regex: which tools of the configuration and of servers an agent has. A client's pattern: bounded. */
#include "agent/agent_config.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define PATTERN_MAX 4096   /* bytes */
#define MATCH_LIMIT 100000 /* steps of one match; past it the name does not match */
#define HEAP_KB 1024       /* of one match */

struct tool_filter {
    pcre2_code *code;
};

struct tool_filter *tool_filter_new(struct str pattern, struct err **e)
{
    int number = 0;
    PCRE2_SIZE at = 0;
    if (pattern.n > PATTERN_MAX) {
        err_set(e, ERR_INVALID, "agent.filter_tools_regex has more than %d bytes", PATTERN_MAX);
        return NULL;
    }
    /* From the beginning of the name, but not to its end: as Python's re.match. */
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, PCRE2_ANCHORED | PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C,
                      &number, &at, NULL);
    if (!code) {
        PCRE2_UCHAR why[200];
        pcre2_get_error_message(number, why, sizeof(why));
        err_set(e, ERR_INVALID, "agent.filter_tools_regex: %s (at byte %zu)", (char *)why, (size_t)at);
        return NULL;
    }
    struct tool_filter *f = xcalloc(1, sizeof(*f));
    f->code = code;
    return f;
}

void tool_filter_free(struct tool_filter *f)
{
    if (!f)
        return;
    pcre2_code_free(f->code);
    free(f);
}

bool agent_filter_passes(const struct agent *a, struct str name)
{
    if (!a->filter)
        return true;
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(context, MATCH_LIMIT);
    pcre2_set_heap_limit(context, HEAP_KB);
    int found = pcre2_match(a->filter->code, (PCRE2_SPTR)name.p, name.n, 0, 0, data, context);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
    return found >= 0;
}
