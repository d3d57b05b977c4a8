/* What the working tree is compared with. */
#include "base/cleanup.h"
#include "hand/git/git.h"

/* Takes one object name; anything else that git may have printed is no id. */
static bool id_take(struct str word, char id[GIT_ID_MAX + 1])
{
    if (word.n < 40 || word.n > GIT_ID_MAX)
        return false;
    for (size_t i = 0; i < word.n; i++)
        if (!strchr("0123456789abcdef", word.p[i]) || word.p[i] == '\0')
            return false;
    memcpy(id, word.p, word.n);
    id[word.n] = '\0';
    return true;
}

/* The commit that `name` means. */
static bool commit_of(struct git *g, struct str name, char id[GIT_ID_MAX + 1])
{
    autobuf spec = {0};
    struct str word;
    buf_add(&spec, name);
    buf_add(&spec, STR("^{commit}"));
    const char *const args[] = {"rev-parse", "--verify", "--quiet", spec.p, NULL};
    return git_word(g, args, &word) && id_take(word, id);
}

static bool commit_of_ref(struct git *g, const char *before, const char *branch, char id[GIT_ID_MAX + 1])
{
    autobuf name = {0};
    buf_addf(&name, "%s%s", before, branch);
    return commit_of(g, buf_str(&name), id);
}

/* A repository may name its objects by another hash than SHA-1. */
static bool empty_tree(struct git *g, char id[GIT_ID_MAX + 1])
{
    static const char *const args[] = {"hash-object", "-t", "tree", "/dev/null", NULL};
    struct str word;
    return git_word(g, args, &word) && id_take(word, id);
}

static bool merge_base(struct git *g, const char *a, const char *b, char id[GIT_ID_MAX + 1])
{
    const char *const args[] = {"merge-base", a, b, NULL};
    struct str word;
    return git_word(g, args, &word) && id_take(str_sub(word, 0, (size_t)GIT_ID_MAX), id);
}

/* What a symbolic ref leads to below `prefix`: its name, to be freed, or NULL. */
static char *branch_of(struct git *g, const char *symbolic, struct str prefix)
{
    const char *const args[] = {"symbolic-ref", "--quiet", symbolic, NULL};
    struct str word;
    if (!git_word(g, args, &word) || !str_starts(word, prefix) || word.n == prefix.n)
        return NULL;
    return str_dup(str_sub(word, prefix.n, word.n));
}

static bool has_commits(struct git *g)
{
    return GIT_RUN(g, "rev-list", "--max-count=1", "--all") && g->out.n > 0;
}

/* Is every tracked file, in the index and the working tree, as in HEAD? When git cannot say, no. */
static bool is_clean(struct git *g)
{
    return GIT_RUN(g, "status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=dirty") &&
           g->out.n == 0;
}

#define LOCAL "refs/heads/"
#define ORIGIN "refs/remotes/origin/"

/* What origin calls its default branch; without that, by the usual names. Its network is not asked. */
static char *origin_default(struct git *g)
{
    static const char *const usual[] = {"main", "master"};
    char id[GIT_ID_MAX + 1];
    char *branch = branch_of(g, ORIGIN "HEAD", STR(ORIGIN));
    for (size_t i = 0; !branch && i < ARRAY_LEN(usual); i++)
        if (commit_of_ref(g, ORIGIN, usual[i], id))
            branch = str_dup(str_from(usual[i]));
    return branch;
}

/* The fork point from a local default branch that is an ancestor and not the current one: a working tree that was made
 * for a task. */
static bool local_fork(struct git *g, const char *current, char id[GIT_ID_MAX + 1])
{
    static const char *const usual[] = {"main", "master"};
    char tip[GIT_ID_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        if (!commit_of_ref(g, LOCAL, usual[i], tip))
            continue;
        if (current && strcmp(current, usual[i]) == 0)
            return false;
        return merge_base(g, "HEAD", tip, id) && strcmp(id, tip) == 0;
    }
    return false;
}

/* The base that shows what was done here, committed and even pushed work included (reference 9.2). */
static bool display_base(struct git *g, char id[GIT_ID_MAX + 1])
{
    char head[GIT_ID_MAX + 1], tip[GIT_ID_MAX + 1];
    bool has_head = commit_of(g, STR("HEAD"), head);
    autofree char *current = branch_of(g, "HEAD", STR(LOCAL));
    if (has_head && current && commit_of_ref(g, ORIGIN, current, id) &&
        (strcmp(id, head) != 0 || !is_clean(g)))
        return true;
    autofree char *standard = origin_default(g);
    if (has_head && standard && commit_of_ref(g, ORIGIN, standard, tip)) {
        if (!merge_base(g, "HEAD", tip, id))
            memcpy(id, tip, sizeof(tip));
        return true;
    }
    if (has_head && !standard && local_fork(g, current, id))
        return true;
    if (!has_head)
        return empty_tree(g, id);
    memcpy(id, head, sizeof(head));
    return true;
}

/* What origin has of the current branch, else where HEAD left its default branch, else that branch; nothing without an
 * origin. So what was committed here, and not yet pushed, shows. */
static bool origin_base(struct git *g, char id[GIT_ID_MAX + 1])
{
    char tip[GIT_ID_MAX + 1];
    autofree char *current = branch_of(g, "HEAD", STR(LOCAL));
    if (current && commit_of_ref(g, ORIGIN, current, id))
        return true;
    autofree char *standard = origin_default(g);
    if (!standard || !commit_of_ref(g, ORIGIN, standard, tip))
        return empty_tree(g, id);
    if (!merge_base(g, "HEAD", tip, id))
        memcpy(id, tip, sizeof(tip));
    return true;
}

bool git_base(struct git *g, struct str ref, char id[GIT_ID_MAX + 1])
{
    if (ref.n == 0 && g->origin)
        return origin_base(g, id);
    if (ref.n == 0)
        return has_commits(g) ? display_base(g, id) : empty_tree(g, id);
    if (ref.n <= GIT_REF_MAX && ref.p[0] != '-' && str_find_char(ref, '\0') < 0 && commit_of(g, ref, id))
        return true;
    if (str_is(ref, "HEAD") && g->exit_code >= 0)
        return empty_tree(g, id); /* nothing was committed here yet */
    g->status = WIRE_INVALID;
    buf_clear(&g->failure);
    buf_addf(&g->failure, "Git command failed: there is no commit %.*s",
             STR_ARG(str_sub(ref, 0, GIT_REF_MAX)));
    return false;
}

bool git_commit(struct git *g, struct str commit, char id[GIT_ID_MAX + 1], char parent[GIT_ID_MAX + 1])
{
    return git_base(g, commit, id) && (commit_of_ref(g, id, "^", parent) || empty_tree(g, parent));
}
