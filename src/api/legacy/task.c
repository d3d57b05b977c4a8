/* A suggested task in words. */
#include "api/legacy/create.h"
#include "api/legacy/info.h"

/* In the order of the wire's names. */
static const struct {
    const char *subject, *work;
} tasks[] = {
    {"Pull request",
     "It has merge conflicts. Check out its branch, merge the target branch into it, resolve the conflicts "
     "so that what both sides wanted still holds, run the tests, and push the result."},
    {"Pull request",
     "Some of its checks fail. Find out from their logs why, check out its branch, repair what is wrong, "
     "see the checks pass here as far as they can run here, and push the result."},
    {"Pull request",
     "It has review comments that nobody has answered. Read them, check out its branch, do what they ask "
     "for, run the tests, and push the result."},
    {"Issue",
     "Read it with all its comments, find the place in the code that it is about, solve it on a new branch with "
     "a test, and open a pull request that refers to it."},
    {"Pull request",
     "Read what it wants to do and how far it is, check out its branch, finish it, run the tests, and "
     "push the result."},
    {"Repository note",
     "Read the repository and write a file of .openhands/microagents that tells an agent what it has to know "
     "about it; then open a pull request with it."},
};

void legacy_task_write(const struct legacy_task *t, struct buf *out)
{
    buf_addf(out, "%s #%lld of the repository %.*s (%s): %.*s\n\n%s", tasks[t->type].subject,
             (long long)t->number, STR_ARG(t->repo), legacy_providers[t->provider], STR_ARG(t->title),
             tasks[t->type].work);
}
