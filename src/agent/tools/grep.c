/* The grep tool: files by what is in them. */
#include "agent/tools/search.h"

struct grep_arguments {
    struct str pattern, path, include;
};

static const struct json_field fields[] = {
    {.name = "pattern",
     .type = FIELD_STR,
     .offset = offsetof(struct grep_arguments, pattern),
     .flags = FIELD_REQUIRED,
     .doc = "The regular expression, such as `log.*Error` or `function\\s+\\w+`."},
    {.name = "path",
     .type = FIELD_STR,
     .offset = offsetof(struct grep_arguments, path),
     .doc = "Absolute path of the directory to search; the working directory if it is left out."},
    {.name = "include",
     .type = FIELD_STR,
     .offset = offsetof(struct grep_arguments, include),
     .doc = "Search only files whose names match this pattern, such as `*.js` or `*.{ts,tsx}`."},
};

static const struct json_schema schema = {
    .name = "GrepAction",
    .size = sizeof(struct grep_arguments),
    .fields = fields,
    .count = ARRAY_LEN(fields),
    .forbid_extra = true,
};

static bool grep_run(const struct tool_run *run, struct tool_result *result, struct err **e)
{
    autobuf call = {0}, more = {0};
    struct str include = json_get_str(run->action, "include");
    struct json_writer w = json_writer(&result->observation);
    w.depth = 1;
    if (include.n > 0) {
        wire_add_str(&call, F_INCLUDE, include);
        buf_addf(&more, " (files named `%.*s`)", STR_ARG(include));
    }
    struct search_words words = {
        .list = "matches", .found = "contain", .single = "contains", .more = buf_str(&more)};
    if (!search_run(run, OP_GREP, &call, &words, result, &w, e))
        return false;
    if (include.n > 0)
        jw_member_str(&w, "include_pattern", tool_masked(run, include));
    return true;
}

const struct tool tool_grep = {
    .name = "grep",
    .kind = "GrepTool",
    .action = "GrepAction",
    .observation = "GrepObservation",
    .description =
        "Finds the files that contain a match of a regular expression and answers their paths, newest first, at most "
        "100; the lines themselves are for `file_editor` or the terminal to show.\n"
        "* Upper and lower case are the same. A match lies within one line; `^` and `$` are its ends.\n"
        "* `include` narrows the search to files by name.\n"
        "* Binary and hidden files, directories that begin with a dot, node_modules and what .gitignore names are passed "
        "over.\n"
        "To find files by their names use `glob`.",
    .parameters = &schema,
    .read_only = true,
    .idempotent = true,
    .text_param = "pattern",
    .run = grep_run,
};
