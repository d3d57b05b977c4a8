/* The finish tool: the agent says that it is done. */
#include "agent/internal.h"

struct finish_arguments {
    struct str message;
};

static const struct json_field fields[] = {
    {.name = "message",
     .type = FIELD_STR,
     .offset = offsetof(struct finish_arguments, message),
     .flags = FIELD_REQUIRED,
     .doc = "The final message to the user."},
};

static const struct json_schema schema = {
    .name = "FinishAction",
    .size = sizeof(struct finish_arguments),
    .fields = fields,
    .count = ARRAY_LEN(fields),
    .forbid_extra = true,
};

static bool finish_run(const struct tool_run *run, struct tool_result *result, struct err **e)
{
    (void)e;
    buf_add(&result->text, json_get_str(run->action, "message"));
    result->finished = true;
    return true;
}

const struct tool tool_finish = {
    .name = "finish",
    .kind = "FinishTool",
    .action = "FinishAction",
    .observation = "FinishObservation",
    .description =
        "Ends the work on the current task. Call it when the task is done, or when you cannot get further without the "
        "user. In `message` say what was done and with what result, what was left out and why, and what the user has "
        "to do or decide next. Calls that follow it in the same answer are not executed.",
    .parameters = &schema,
    .read_only = true,
    .idempotent = true,
    .is_default = true,
    .text_param = "message",
    .run = finish_run,
};
