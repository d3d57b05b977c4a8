/* The think tool: room to reason, with no effect. */
#include "agent/internal.h"

struct think_arguments {
    struct str thought;
};

static const struct json_field fields[] = {
    {.name = "thought",
     .type = FIELD_STR,
     .offset = offsetof(struct think_arguments, thought),
     .flags = FIELD_REQUIRED,
     .doc = "What you are thinking."},
};

static const struct json_schema schema = {
    .name = "ThinkAction",
    .size = sizeof(struct think_arguments),
    .fields = fields,
    .count = ARRAY_LEN(fields),
    .forbid_extra = true,
};

static bool think_run(const struct tool_run *run, struct tool_result *result, struct err **e)
{
    (void)run;
    (void)e;
    buf_add(&result->text, STR("Your thought has been noted."));
    return true;
}

const struct tool tool_think = {
    .name = "think",
    .kind = "ThinkTool",
    .action = "ThinkAction",
    .observation = "ThinkObservation",
    .description =
        "Writes a thought down. It changes nothing and tells you nothing new; use it to reason through something "
        "complicated: weigh the possible causes of a failure, compare designs, plan a larger change, or check what "
        "you know before acting.",
    .parameters = &schema,
    .read_only = true,
    .idempotent = true,
    .is_default = true,
    .text_param = "thought",
    .run = think_run,
};
