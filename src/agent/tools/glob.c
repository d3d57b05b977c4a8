/* The glob tool: files by their names. */
#include "agent/tools/search.h"

struct glob_arguments {
    struct str pattern, path;
};

static const struct json_field fields[] = {
    {.name = "pattern",
     .type = FIELD_STR,
     .offset = offsetof(struct glob_arguments, pattern),
     .flags = FIELD_REQUIRED,
     .doc =
         "The pattern of the names, such as `*.js` (anywhere below), `src/**/*.{ts,tsx}` or `**/test_*.py`."},
    {.name = "path",
     .type = FIELD_STR,
     .offset = offsetof(struct glob_arguments, path),
     .doc = "Absolute path of the directory to search; the working directory if it is left out."},
};

static const struct json_schema schema = {
    .name = "GlobAction",
    .size = sizeof(struct glob_arguments),
    .fields = fields,
    .count = ARRAY_LEN(fields),
    .forbid_extra = true,
};

static bool glob_run(const struct tool_run *run, struct tool_result *result, struct err **e)
{
    static const struct search_words words = {
        .list = "files", .found = "match", .single = "matches", .more = STR_INIT("")};
    autobuf call = {0};
    struct json_writer w = json_writer(&result->observation);
    w.depth = 1;
    return search_run(run, OP_GLOB, &call, &words, result, &w, e);
}

const struct tool tool_glob = {
    .name = "glob",
    .kind = "GlobTool",
    .action = "GlobAction",
    .observation = "GlobObservation",
    .description =
        "Finds files by name, newest first, at most 100.\n"
        "* `*` and `?` stand for any characters and any one character of a name, `**` for any directories, `[a-z]` for "
        "one of a set, `{a,b}` for alternatives.\n"
        "* A pattern without `/` is looked for at every depth; one with `/` begins at the directory searched.\n"
        "* Directories that begin with a dot, node_modules and those that .gitignore names are searched only when the pattern "
        "names them.\n"
        "To find files by what is in them use `grep`.",
    .parameters = &schema,
    .read_only = true,
    .idempotent = true,
    .text_param = "pattern",
    .run = glob_run,
};
