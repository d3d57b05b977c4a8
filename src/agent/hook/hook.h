/* hook: what a conversation's hooks are. Commands of the client's that run in the workspace at certain moments, told by
 * JSON on their standard input what happens, and answering by exit code and JSON whether it may (reference §9.5). A
 * hook_config is the decoded, immutable configuration; running one is hook_run.c, which waits in the run's mailbox.
 *
 * Limits: HOOK_MATCHERS_MAX matchers a moment, HOOK_HOOKS_MAX hooks a matcher; a hook's input and output are bounded. */
#pragma once
#include "agent/event.h"
#include "json/problem.h"

#define HOOK_MATCHERS_MAX 100
#define HOOK_HOOKS_MAX 100
#define HOOK_TIMEOUT_MAX_S (24 * 3600)
#define HOOK_TEXT_MAX 50000           /* characters of each text of a HookExecutionEvent */
#define HOOK_CUT_MARK "\n<TRUNCATED>" /* marker: ends a text that was cut */
#define HOOK_INPUT_MAX \
    (192 * 1024) /* bytes on a hook's standard input, less than a hand takes at once; longer texts are cut */
#define HOOK_OUTPUT_MAX (256 * 1024) /* bytes kept of each of a hook's outputs */

/* In the order of HookConfig's fields. */
enum hook_event {
    HOOK_PRE_TOOL_USE,
    HOOK_POST_TOOL_USE,
    HOOK_USER_PROMPT_SUBMIT,
    HOOK_SESSION_START,
    HOOK_SESSION_END,
    HOOK_STOP,
    HOOK_EVENTS,
};
const char *hook_event_name(enum hook_event event); /* "PreToolUse" */

enum hook_type { HOOK_COMMAND, HOOK_PROMPT, HOOK_AGENT }; /* only commands are run */

struct hook {
    int type; /* enum hook_type */
    struct str name, command, prompt, system_prompt;
    struct json_list tools; /* of struct str */
    int64_t timeout_s, max_iterations;
    bool async; /* started, and not waited for */
};

struct hook_config;

/* From {"pre_tool_use":[…]}, {"PreToolUse":[…]} or either in {"hooks":…}. NULL when it is wrong; what is, goes to
 * `problems` (may be NULL) below `path`. */
struct hook_config *hook_config_new(const struct json_value *v, const struct json_path *path,
                                    struct json_problems *problems);
void hook_config_free(struct hook_config *c); /* NULL is allowed */
struct str hook_config_text(
    const struct hook_config *c); /* the JSON of it that clients see: all fields, one naming */
bool hook_config_is_empty(const struct hook_config *c);
/* The hooks that run at `event`, in order; `tool` STR_NONE: there is none. `c` may be NULL. An array in the arena. */
const struct hook *const *hook_config_select(const struct hook_config *c, enum hook_event event,
                                             struct str tool, struct arena *arena, size_t *n);
/* "*" or "": all; /RE/, or what has a metacharacter: a regular expression for the whole name; else the name itself. */
bool hook_matches(struct str matcher, struct str tool);

/* How one execution went. Texts are masked. */
struct hook_result {
    bool success, blocked;
    int64_t exit_code;
    struct buf out, err;
    struct buf reason, context, error; /* empty: none */
};
void hook_result_deinit(struct hook_result *r);
/* Reads exit code and standard output: what they say about blocking, reason and context. */
void hook_result_read(struct hook_result *r);

/* What happens, for the hooks that look at it. */
struct hook_call {
    enum hook_event event;
    struct str tool_name;                      /* STR_NONE: none */
    const struct json_value *input, *response; /* of a tool */
    struct str message, reason;                /* of a prompt; of a stop */
    const struct uuid *action_id, *message_id; /* for the log; may be NULL */
};
/* The JSON on a hook's standard input. */
void hook_input_write(const struct hook_call *call, struct str conversation, struct str working_dir,
                      struct buf *out);
void hook_label(const struct hook *h, struct buf *out); /* its command, or what it is instead */
/* The HookExecutionEvent. `label` is masked. */
void hook_event_body(struct event_draft *d, const struct hook_call *call, struct str label,
                     const struct hook_result *r);
