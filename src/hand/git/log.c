/* OP_GIT_LOG: the newest commits that HEAD leads to. */
#include "base/cleanup.h"
#include "hand/git/git.h"
#include <stdio.h>

#define COMMITS_MAX 1000 /* of one answer */

/* id, short id, author, time, subject: each ended by NUL, the one character that none of them can contain */
#define FORMAT "--format=tformat:%H%x00%h%x00%an%x00%aI%x00%s"

static bool add_commit(struct buf *fields, struct str *rest)
{
    static const enum wire_field tags[] = {F_COMMIT, F_SHORT, F_USER, F_TIME, F_TEXT};
    autobuf item = {0};
    struct str part;
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        if (!str_split(rest, '\0', &part))
            return false;
        wire_add_str(&item, tags[i], part);
    }
    wire_add_str(fields, F_ITEM, buf_str(&item));
    return true;
}

enum wire_status git_log_run(const struct call *c, struct buf *fields)
{
    int64_t limit = wire_get_int(buf_str(&c->fields), F_LIMIT, COMMITS_MAX);
    char count[32];
    autofree char *dir = git_call_path(c, fields);
    autogit g = {0};
    if (!dir)
        return WIRE_INVALID;
    if (limit < 1 || limit > COMMITS_MAX)
        return job_fail(fields, WIRE_INVALID, "a limit is a number from 1 to %d", COMMITS_MAX);
    enum git_open open = git_open(&g, c, dir);
    if (open == GIT_NO_REPOSITORY)
        return job_fail(fields, WIRE_NOT_FOUND, "%s is not in a git repository", dir);
    if (open == GIT_FAILED)
        return git_failed(&g, fields);
    if (!GIT_RUN(&g, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"))
        return g.exit_code == 1 ? WIRE_OK : git_failed(&g, fields); /* nothing was committed yet */
    snprintf(count, sizeof(count), "--max-count=%lld", (long long)limit + 1);
    if (!GIT_RUN(&g, "log", "-z", "--no-show-signature", "--no-decorate", "--no-color", "--encoding=UTF-8",
                 FORMAT, count, "HEAD", "--"))
        return git_failed(&g, fields);
    struct str rest = buf_str(&g.out);
    for (int64_t n = 0; rest.n > 0 && n < limit && add_commit(fields, &rest); n++)
        ;
    wire_add_int(fields, F_TRUNCATED, rest.n > 0);
    return WIRE_OK;
}
