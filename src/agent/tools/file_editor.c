/* The file_editor tool: one OP_EDIT call; the hand does the work and words its result. */
#include "agent/internal.h"
#include "base/path.h"
#include "base/base64.h"
#include "base/utf8.h"

#define EDIT_TIMEOUT_MS 120000
#define EDIT_ANSWER_MAX 1000000       /* characters asked of the hand: the whole is masked before it is cut */
#define EDIT_TEXT_MAX 16000           /* characters of a result */
#define EDIT_CONTENT_MAX (256 * 1024) /* bytes; larger file contents are left out of observations */
#define EDIT_IMAGE_MAX (10 * 1024 * 1024)
#define EDIT_RANGE_MAX 16 /* numbers in a view_range; two are right, the hand says so */

enum { COMMAND_VIEW, COMMAND_CREATE, COMMAND_STR_REPLACE, COMMAND_INSERT, COMMAND_UNDO };
static const char *const commands[] = {"view", "create", "str_replace", "insert", "undo_edit", NULL};

struct edit_arguments {
    int command;
    bool insert_line_given, view_range_given;
    struct str path, file_text, old_str, new_str;
    int64_t insert_line;
    struct json_list view_range;
};

static const struct json_field fields[] = {
    {.name = "command",
     .type = FIELD_ENUM,
     .offset = offsetof(struct edit_arguments, command),
     .flags = FIELD_REQUIRED,
     .names = commands,
     .doc = "What to do."},
    {.name = "path",
     .type = FIELD_STR,
     .offset = offsetof(struct edit_arguments, path),
     .flags = FIELD_REQUIRED,
     .doc = "Absolute path of the file, or of a directory for `view`."},
    {.name = "file_text",
     .type = FIELD_STR,
     .offset = offsetof(struct edit_arguments, file_text),
     .doc = "`create`: the content of the new file."},
    {.name = "old_str",
     .type = FIELD_STR,
     .offset = offsetof(struct edit_arguments, old_str),
     .doc = "`str_replace`: the text to be replaced, exactly as it stands in the file and occurring once."},
    {.name = "new_str",
     .type = FIELD_STR,
     .offset = offsetof(struct edit_arguments, new_str),
     .doc = "`str_replace`: the text to put there. `insert`: the text to insert."},
    {.name = "insert_line",
     .type = FIELD_INT,
     .offset = offsetof(struct edit_arguments, insert_line),
     .given = offsetof(struct edit_arguments, insert_line_given),
     .min = 0,
     .max = INT64_MAX,
     .doc = "`insert`: the line after which the text goes; 0 is before the first."},
    {.name = "view_range",
     .type = FIELD_ARRAY,
     .item = FIELD_INT,
     .offset = offsetof(struct edit_arguments, view_range),
     .given = offsetof(struct edit_arguments, view_range_given),
     .min = 0,
     .max = EDIT_RANGE_MAX,
     .doc = "`view`: first and last line, such as [11, 20]; -1 as the last means the end."},
};

static const struct json_schema schema = {
    .name = "FileEditorAction",
    .size = sizeof(struct edit_arguments),
    .fields = fields,
    .count = ARRAY_LEN(fields),
    .forbid_extra = true,
};

static void text_member(struct buf *out, enum wire_field tag, const struct json_value *action,
                        const char *key)
{
    struct str text = json_get_str(action, key);
    if (text.p)
        wire_add_str(out, tag, text);
}

static bool range_read(const struct json_value *action, int64_t range[2])
{
    const struct json_value *list = json_get(action, "view_range");
    range[0] = range[1] = 0;
    for (struct json_iter it = json_iter(list); json_next(&it) && it.index < 2;)
        range[it.index] = json_int(it.value, 0);
    return json_count(list) == 2;
}

/* The wire has room for a range of two numbers only. */
static bool refuse_range(const struct tool_run *run, struct tool_result *result)
{
    const struct json_value *list = json_get(run->action, "view_range");
    if (json_is_null(list) || json_count(list) == 2)
        return false;
    buf_add(&result->text, STR("Invalid `view_range` "));
    json_add(&result->text, list);
    buf_add(&result->text, STR(": it must be a list of two whole numbers, such as [11, 20]."));
    result->is_error = true;
    return true;
}

static void call_write(const struct tool_run *run, struct buf *out)
{
    char key[UUID_DASHED_LEN + 1];
    wire_add_str(out, F_KEY, uuid_dashed(&run->action_id, key));
    wire_add_str(out, F_NAME, run->host->conversation);
    wire_add_str(out, F_CWD, run->host->hand.working_dir);
    text_member(out, F_COMMAND, run->action, "command");
    text_member(out, F_PATH, run->action, "path");
    text_member(out, F_TEXT, run->action, "file_text");
    text_member(out, F_OLD, run->action, "old_str");
    text_member(out, F_NEW, run->action, "new_str");
    if (!json_is_null(json_get(run->action, "insert_line")))
        wire_add_int(out, F_LINE, json_get_int(run->action, "insert_line", 0));
    /* In a view of a range its ends take the places of offset and limit. */
    int64_t range[2];
    bool ranged = range_read(run->action, range);
    wire_add_int(out, ranged ? F_SIZE : F_LIMIT, EDIT_ANSWER_MAX);
    if (ranged) {
        wire_add_int(out, F_OFFSET, range[0]);
        wire_add_int(out, F_LIMIT, range[1]);
    }
}

static void content_member(const struct tool_run *run, struct json_writer *w, const char *key,
                           struct str answer, enum wire_field tag)
{
    struct str content = wire_get_str(answer, tag);
    if (!content.p || content.n > EDIT_CONTENT_MAX)
        return;
    content = tool_masked(run, content);
    if (content.n <= EDIT_CONTENT_MAX)
        jw_member_str(w, key, content);
}

static void observation_write(const struct tool_run *run, struct str answer, struct tool_result *result)
{
    struct json_writer w = json_writer(&result->observation);
    w.depth = 1;
    jw_member_str(&w, "command", json_get_str(run->action, "command"));
    if (!result->is_error)
        jw_member_str(&w, "path", tool_masked(run, json_get_str(run->action, "path")));
    jw_member_bool(&w, "prev_exist", wire_get_int(answer, F_PREV_EXIST, 1) != 0);
    content_member(run, &w, "old_content", answer, F_OLD);
    content_member(run, &w, "new_content", answer, F_NEW);
}

static void image_write(struct str answer, const struct buf *data, struct tool_result *result)
{
    struct str type = wire_get_str(answer, F_IMAGE_TYPE);
    if (!str_starts(type, STR("image/")) || type.n > 32 || data->n == 0)
        return;
    buf_add(&result->image, STR("data:"));
    buf_add(&result->image, type);
    buf_add(&result->image, STR(";base64,"));
    base64_encode(&result->image, buf_str(data));
}

static bool edit_run(const struct tool_run *run, struct tool_result *result, struct err **e)
{
    static const struct str notice =
        STR_INIT("\n[… clipped: the text is too long; view a part with `view_range` …]\n");
    autobuf call = {0}, answer = {0}, data = {0};
    autoerr why = NULL;
    if (refuse_range(run, result)) {
        observation_write(run, STR(""), result);
        return true;
    }
    call_write(run, &call);
    if (call.n > WIRE_MESSAGE_MAX)
        return err_set(e, ERR_TOO_LARGE,
                       "The texts of this call are too large; edit the file in smaller steps.");
    if (!hand_call_wait(run->host->hands, &run->host->hand, OP_EDIT, &call, EDIT_TIMEOUT_MS,
                        run->host->mailbox, &answer, &data, EDIT_IMAGE_MAX, &why))
        return tool_call_failed(e, why);
    struct str facts = buf_str(&answer);
    if (!tool_result_check(run, facts, e))
        return false;
    result->is_error = wire_get_int(facts, F_IS_ERROR, 0) == 1;
    struct str text = wire_get_str(facts, F_TEXT);
    text_cut_middle(tool_masked(run, text.p ? text : STR("")), EDIT_TEXT_MAX, notice, &result->text);
    image_write(facts, &data, result);
    observation_write(run, facts, result);
    return true;
}

static void file_editor_resource(const struct tool_run *run, struct buf *name)
{
    buf_add(name, STR("file:"));
    path_normalize(name, json_get_str(run->action, "path"));
}

const struct tool tool_file_editor = {
    .name = "file_editor",
    .kind = "FileEditorTool",
    .alias = "FileEditorTool",
    .action = "FileEditorAction",
    .observation = "FileEditorObservation",
    .description =
        "Views, creates and edits files. Paths are absolute; what was done lasts between calls.\n"
        "* `view` shows a file with line numbers (all of it or `view_range`), an image, or a directory two levels deep.\n"
        "* `create` makes a new file; it does not overwrite, and the directory must exist.\n"
        "* `str_replace` replaces `old_str`, which must match the file exactly, white space included, and occur only once: "
        "take enough lines around the change to make it unique. `new_str` must be given and differ.\n"
        "* `insert` puts `new_str` behind line `insert_line`.\n"
        "* `undo_edit` takes the last edit of the file back.\n"
        "Look at a file before you edit it, and leave it in a working state after each change.",
    .parameters = &schema,
    .destructive = true,
    .resource = file_editor_resource,
    .run = edit_run,
};
