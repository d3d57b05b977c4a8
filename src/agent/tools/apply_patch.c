/* The apply_patch tool: one OP_PATCH call; the hand finds the places, and changes all files or none. */
#include "agent/internal.h"

#define PATCH_TIMEOUT_MS 60000
#define PATCH_TEXT_MAX 16000           /* characters of a result */
#define PATCH_CONTENT_MAX (256 * 1024) /* bytes; larger file contents are left out of observations */
#define PATCH_CHANGES_MAX 1000         /* files in an observation: what the hand allows */
#define PATCH_NAME_MAX 4096            /* bytes of a file's name in it */

struct patch_arguments {
    struct str patch;
};

static const struct json_field fields[] = {
    {.name = "patch",
     .type = FIELD_STR,
     .offset = offsetof(struct patch_arguments, patch),
     .flags = FIELD_REQUIRED,
     .alias = "input",
     .doc = "The patch, from `*** Begin Patch` to `*** End Patch`."},
};

static const struct json_schema schema = {
    .name = "ApplyPatchAction",
    .size = sizeof(struct patch_arguments),
    .fields = fields,
    .count = ARRAY_LEN(fields),
    .forbid_extra = true,
};

static char kind_of(struct str item)
{
    struct str kind = wire_get_str(item, F_KIND);
    return kind.n == 1 ? kind.p[0] : '\0';
}

/* --- what was done, in words ----------------------------------------------------------------- */

static void summary_add(struct str answer, struct buf *text)
{
    struct wire_fields f = {answer};
    enum wire_field tag;
    struct str item;
    int64_t fuzz = wire_get_int(answer, F_SIZE, 0);
    buf_add(text, STR("The patch was applied:"));
    while (wire_fields_next(&f, &tag, &item, NULL)) {
        if (tag != F_ITEM)
            continue;
        char kind = kind_of(item);
        struct str moved = wire_get_str(item, F_NAME);
        const char *what = moved.p ? "moved" : kind == 'a' ? "added" : kind == 'd' ? "deleted" : "changed";
        buf_addf(text, "\n%s %.*s", what, STR_ARG(wire_get_str(item, F_PATH)));
        if (moved.p)
            buf_addf(text, " to %.*s", STR_ARG(moved));
    }
    if (fuzz > 0)
        buf_addf(
            text,
            "\nSome lines of the patch are not in the files exactly as given, and the most similar place was "
            "taken (fuzz %lld): look at the result.",
            (long long)fuzz);
}

/* --- the observation ------------------------------------------------------------------------- */

static void content_member(const struct tool_run *run, struct json_writer *w, const char *key,
                           struct str item, enum wire_field tag)
{
    struct str content = wire_get_str(item, tag);
    if (!content.p || content.n > PATCH_CONTENT_MAX)
        return;
    content = tool_masked(run, content);
    if (content.n <= PATCH_CONTENT_MAX)
        jw_member_str(w, key, content);
}

static void change_write(const struct tool_run *run, struct str item, struct json_writer *w)
{
    char kind = kind_of(item);
    struct str moved = wire_get_str(item, F_NAME);
    jw_object(w);
    jw_member_cstr(w, "type", kind == 'a' ? "add" : kind == 'd' ? "delete" : "update");
    content_member(run, w, "old_content", item, F_OLD);
    content_member(run, w, "new_content", item, F_NEW);
    if (moved.p && moved.n <= PATCH_NAME_MAX)
        jw_member_str(w, "move_path", tool_masked(run, moved));
    jw_object_end(w);
}

static bool name_seen(const struct str *names, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(names[i], name))
            return true;
    return false;
}

/* Masked names may have become equal; a key must not be there twice. */
static void commit_write(const struct tool_run *run, struct str answer, struct json_writer *w)
{
    struct wire_fields f = {answer};
    enum wire_field tag;
    struct str item, *names = arena_alloc(run->arena, PATCH_CHANGES_MAX * sizeof(*names));
    jw_key(w, "commit");
    jw_object(w);
    jw_key(w, "changes");
    jw_object(w);
    for (size_t n = 0; n < PATCH_CHANGES_MAX && wire_fields_next(&f, &tag, &item, NULL);) {
        if (tag != F_ITEM || !wire_fields_valid(item))
            continue;
        struct str name = tool_masked(run, wire_get_str(item, F_PATH));
        if (name.n == 0 || name.n > PATCH_NAME_MAX || name_seen(names, n, name))
            continue;
        names[n++] = name;
        jw_key_str(w, name);
        change_write(run, item, w);
    }
    jw_object_end(w);
    jw_object_end(w);
}

static void result_write(const struct tool_run *run, struct str answer, struct tool_result *result)
{
    static const struct str notice = STR_INIT("\n[… clipped …]\n");
    autobuf text = {0};
    struct json_writer w = json_writer(&result->observation);
    w.depth = 1;
    result->is_error = wire_get_int(answer, F_IS_ERROR, 0) == 1;
    if (result->is_error)
        buf_add(&text, wire_get_str(answer, F_TEXT));
    else
        summary_add(answer, &text);
    text_cut_middle(tool_masked(run, buf_str(&text)), PATCH_TEXT_MAX, notice, &result->text);
    jw_member_str(&w, "message", buf_str(&result->text));
    jw_member_int(&w, "fuzz", wire_get_int(answer, F_SIZE, 0));
    if (!result->is_error)
        commit_write(run, answer, &w);
}

static bool patch_run(const struct tool_run *run, struct tool_result *result, struct err **e)
{
    char key[UUID_DASHED_LEN + 1];
    autobuf call = {0}, answer = {0};
    autoerr why = NULL;
    wire_add_str(&call, F_KEY, uuid_dashed(&run->action_id, key));
    wire_add_str(&call, F_ROOT, run->host->hand.working_dir);
    wire_add_str(&call, F_TEXT, json_get_str(run->action, "patch"));
    if (!hand_call_wait(run->host->hands, &run->host->hand, OP_PATCH, &call, PATCH_TIMEOUT_MS,
                        run->host->mailbox, &answer, NULL, 0, &why))
        return tool_call_failed(e, why);
    if (!tool_result_check(run, buf_str(&answer), e))
        return false;
    result_write(run, buf_str(&answer), result);
    return true;
}

static void patch_resource(const struct tool_run *run, struct buf *name)
{
    (void)run;
    buf_add(name, STR("file:*"));
}

const struct tool tool_apply_patch = {
    .name = "apply_patch",
    .kind = "ApplyPatchTool",
    .action = "ApplyPatchAction",
    .observation = "ApplyPatchObservation",
    .description =
        "Changes files by a patch: all that it names, or, when one place is not found, none. Paths are relative to the "
        "working directory and stay below it. The form:\n"
        "*** Begin Patch\n"
        "*** Update File: src/main.py\n"
        "@@ def main():\n"
        "     first = 1\n"
        "-    second = 2\n"
        "+    second = 3\n"
        "     return first\n"
        "*** Add File: notes.txt\n"
        "+one line\n"
        "*** Delete File: old.txt\n"
        "*** End Patch\n"
        "* In an update each hunk begins with `@@`, if need be with a line above the change behind it (a class, a "
        "function) that makes the place unique. In its lines a blank stands before what stays, `-` before what goes and "
        "`+` before what comes; give about three lines around a change, exactly as they are in the file.\n"
        "* Hunks of a file are in its order. `*** End of File` behind a hunk: it is the file's end.\n"
        "* `*** Move to: NEW/PATH` directly below `*** Update File:` moves the file.\n"
        "* Each line of an added file begins with `+`.",
    .parameters = &schema,
    .destructive = true,
    .text_param = "patch",
    .resource = patch_resource,
    .run = patch_run,
};
