/* The task_tracker tool: the agent's list of what is to be done. The list is in the log alone: the newest observation of
 * the path holds it, so that it outlives everything. */
#include "agent/internal.h"

enum { COMMAND_VIEW, COMMAND_PLAN };
static const char *const commands[] = {"view", "plan", NULL};
static const char *const statuses[] = {"todo", "in_progress", "done", NULL};

struct task {
    struct str title, notes;
    int status;
};

struct tracker_arguments {
    int command;
    struct json_list task_list;
};

static const struct json_field task_fields[] = {
    {.name = "title",
     .type = FIELD_STR,
     .offset = offsetof(struct task, title),
     .flags = FIELD_REQUIRED,
     .doc = "What is to be done, in a few words."},
    {.name = "notes",
     .type = FIELD_STR,
     .offset = offsetof(struct task, notes),
     .default_str = "",
     .doc = "Details worth keeping."},
    {.name = "status", .type = FIELD_ENUM, .offset = offsetof(struct task, status), .names = statuses},
};
static const struct json_schema task_schema = {
    .name = "TaskItem", .size = sizeof(struct task), .fields = task_fields, .count = ARRAY_LEN(task_fields)};

static const struct json_field fields[] = {
    {.name = "command",
     .type = FIELD_ENUM,
     .offset = offsetof(struct tracker_arguments, command),
     .names = commands,
     .doc = "`view` shows the list, `plan` replaces it with `task_list`."},
    {.name = "task_list",
     .type = FIELD_ARRAY,
     .offset = offsetof(struct tracker_arguments, task_list),
     .schema = &task_schema,
     .doc = "`plan`: the whole list as it is to be from now on, done tasks included."},
};

static const struct json_schema schema = {
    .name = "TaskTrackerAction",
    .size = sizeof(struct tracker_arguments),
    .fields = fields,
    .count = ARRAY_LEN(fields),
    .forbid_extra = true,
};

static void list_write(const struct tool_run *run, const struct json_value *list, struct json_writer *w)
{
    jw_array(w);
    for (struct json_iter it = json_iter(list); json_next(&it);) {
        struct str notes = json_get_str(it.value, "notes");
        jw_object(w);
        jw_member_str(w, "title", tool_masked(run, json_get_str(it.value, "title")));
        jw_member_str(w, "notes", notes.n > 0 ? tool_masked(run, notes) : STR(""));
        jw_member_str(w, "status", json_get_str(it.value, "status"));
        jw_object_end(w);
    }
    jw_array_end(w);
}

static const char *sign_of(struct str status)
{
    return str_is(status, "done") ? "[x]" : str_is(status, "in_progress") ? "[>]" : "[ ]";
}

static void list_show(const struct json_value *list, struct buf *text)
{
    buf_add(text, STR("The tasks ([ ] to do, [>] in progress, [x] done):"));
    for (struct json_iter it = json_iter(list); json_next(&it);) {
        struct str notes = str_trim(json_get_str(it.value, "notes")), line;
        buf_addf(text, "\n\n%zu. %s %.*s", it.index + 1, sign_of(json_get_str(it.value, "status")),
                 STR_ARG(json_get_str(it.value, "title")));
        while (notes.n > 0 && str_split(&notes, '\n', &line))
            buf_addf(text, "\n   %.*s", STR_ARG(line));
    }
}

static bool tracker_run(const struct tool_run *run, struct tool_result *result, struct err **e)
{
    struct buf *tasks = CONTAINER_OF(run, struct execution, run)->tasks;
    bool plans = str_is(json_get_str(run->action, "command"), commands[COMMAND_PLAN]);
    autojson kept = plans || tasks->n == 0 ? NULL : json_parse_trusted(buf_str(tasks), NULL);
    const struct json_value *list = plans ? json_get(run->action, "task_list") : json_root(kept);
    size_t n = json_count(list);
    (void)e;
    if (plans)
        buf_addf(&result->text, "The task list was updated; it has %zu item%s.", n, n == 1 ? "" : "s");
    else if (n == 0)
        buf_add(&result->text, STR("There is no task list yet; the `plan` command makes one."));
    else
        list_show(list, &result->text);

    struct json_writer w = json_writer(&result->observation);
    w.depth = 1;
    jw_member_cstr(&w, "command", commands[plans ? COMMAND_PLAN : COMMAND_VIEW]);
    jw_key(&w, "task_list");
    list_write(run, list, &w);
    if (plans) { /* for later calls of the same answer */
        buf_clear(tasks);
        struct json_writer kept_writer = json_writer(tasks);
        list_write(run, list, &kept_writer);
    }
    return true;
}

const struct tool tool_task_tracker = {
    .name = "task_tracker",
    .kind = "TaskTrackerTool",
    .action = "TaskTrackerAction",
    .observation = "TaskTrackerObservation",
    .description =
        "Keeps a list of the tasks of your work, which you and the user can see.\n"
        "* Use it when the work has several steps or parts, or when the user asks for several things or for a plan; "
        "not for what takes one or two steps.\n"
        "* `plan` replaces the list: give all of it each time. `view` shows it; look before you change it.\n"
        "* Set a task to `in_progress` before you begin it, one at a time, and to `done` as soon as it is really "
        "finished and checked; one that failed or is blocked is not done. Add what turns out to be necessary, drop what "
        "is no longer.",
    .parameters = &schema,
    .idempotent = true,
    .run = tracker_run,
};
