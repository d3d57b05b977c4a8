/* git: what git says about a workspace, asked by jobs (job.h): each function here runs in the fork and may block.
 *
 * A repository's own configuration is a stranger's. Git is never run through a shell, asks nobody, reads no system
 * configuration, takes no lock, writes nothing and reaches no network; hooks, file system monitors, external diffs, text
 * conversions and the clean and smudge filters that the configuration names are switched off for each command. (Without
 * its filter a file that git-lfs keeps is one of plain content: changed when its time stamp says so and its pointer
 * differs.) Names are taken as bytes, ended by NUL. */
#pragma once
#include "base/vec.h"
#include "hand/job.h"

#define GIT_COMMAND_MS 30000                      /* of one git command */
#define GIT_CALL_MS 120000                        /* of all commands of a call */
#define GIT_OUTPUT_MAX ((size_t)12 * 1024 * 1024) /* bytes of names that one command may print */
#define GIT_FILE_MAX ((size_t)1024 * 1024)        /* of a file's content that is shown, on each side */
#define GIT_REF_MAX 1024                          /* bytes of a ref's name */
#define GIT_ID_MAX 64                             /* hexadecimal digits of an object's name */
#define GIT_PATH_MAX 4096
#define GIT_NESTED_MAX 100 /* repositories in directories of the one that is asked about */

/* A repository and the way to ask it; `dir` is where the commands run. */
struct git {
    char *dir;
    char **env;
    uint64_t command_ms;
    bool origin;             /* without a ref the base is what origin has */
    struct buf out;          /* of the last command */
    struct buf failure;      /* why the last one failed, for a person: "Git command failed: …" */
    enum wire_status status; /* WIRE_INVALID, or WIRE_TOO_LARGE, of that */
    int exit_code;           /* of the last one; -1 when it did not end by itself */
};

/* git_run.c */
enum git_open {
    GIT_OPEN,
    GIT_NO_REPOSITORY, /* also: no such directory, no git */
    GIT_FAILED,        /* `failure` says why */
};
/* `call` for its fields and environment. */
enum git_open git_open(struct git *g, const struct call *call, const char *dir);
void git_deinit(struct git *g);
#define autogit __attribute__((cleanup(git_deinit))) struct git
/* git with these arguments (NULL-terminated); its output is in `g->out`. False with `failure` unless it ended with 0. */
bool git_run(struct git *g, const char *const *args);
#define GIT_RUN(g, ...) git_run((g), (const char *const[]){__VA_ARGS__, NULL})
bool git_run_with(struct git *g, const char *const *args, struct str in); /* standard input */
/* The same for a command that prints one name; without its newline, valid until the next command. */
bool git_word(struct git *g, const char *const *args, struct str *word);

/* git_base.c: `id` receives the object name of what is compared with: the commit that `ref` names, or by the policy for
 * showing what was done in a workspace when there is no `ref`. False with `failure`. */
bool git_base(struct git *g, struct str ref, char id[GIT_ID_MAX + 1]);
/* A commit and what it is compared with: its first parent or the empty tree. */
bool git_commit(struct git *g, struct str commit, char id[GIT_ID_MAX + 1], char parent[GIT_ID_MAX + 1]);

/* git_changes.c, git_diff.c, git_log.c: jobs */
enum wire_status git_changes_run(const struct call *c, struct buf *fields);
enum wire_status git_diff_run(const struct call *c, struct buf *fields);
enum wire_status git_log_run(const struct call *c, struct buf *fields);
/* The call's path, made absolute; NULL with F_MESSAGE. */
char *git_call_path(const struct call *c, struct buf *fields);
enum wire_status git_failed(const struct git *g, struct buf *fields);
