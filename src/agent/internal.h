/* internal: what the files of this folder share and nobody else needs. */
#pragma once
#include "agent/agent.h"
#include "agent/hook/run.h"
#include "agent/tool.h"
#include "base/cleanup.h"

/* --- events --- */

/* A writer for a draft's body: members of an object whose braces come later. */
struct json_writer event_body_writer(struct event_draft *d);
/* Assistant message: `reasoning` and `response_id` may be STR_NONE. */
void event_answer_body(struct event_draft *d, struct str text, struct str reasoning, struct str response_id);

/* --- masks --- */

/* Adds the masked form of the part of `text` that no secret reaching beyond its end can belong to; returns how many bytes of
 * `text` that was. The rest is to be given again with more behind it. */
size_t mask_apply_head(const struct mask *m, struct str text, struct buf *out);
/* Adds the masked form of the part of `text` that no secret begun before it can belong to. */
void mask_apply_tail(const struct mask *m, struct str text, struct buf *out);
/* For one part of an output that is told in parts: where it was cut, a piece of a secret of at least MASK_VALUE_MIN bytes
 * is hidden too. Without it, and with whatever overlaps it, the text is: */
struct str mask_without_pieces(const struct mask *m, struct str text, bool cut_before, bool cut_behind);
void mask_apply_cut(const struct mask *m, struct str text, bool cut_before, bool cut_behind, struct buf *out);

/* --- view --- */

bool view_call_seen(const struct view *v, struct str call_id); /* was a call with this id ever on the path? */
/* Does the newest user message, still unanswered, hold an image? */
bool view_image_asked(const struct view *v);
bool view_terminal_seen(const struct view *v); /* is there a terminal result on the path? */
struct str view_tasks(
    const struct view *v); /* the newest task list of the path, a JSON array; empty: there is none */
/* What the model reads of an observation: its texts, with the remarks of a terminal. */
void observation_text(const struct json_value *observation, struct buf *out);

/* --- cutting --- */

/* Adds at most `max` characters of `text` (valid UTF-8): its head, `notice`, its tail. False if it fit as it was. */
bool text_cut_middle(struct str text, size_t max, struct str notice, struct buf *out);
/* Writes `v` with each string of more than `limit` bytes cut in its middle. */
void json_reduce(struct json_writer *w, const struct json_value *v, size_t limit);
/* How many bytes of `text` such a cut keeps in front of a notice of `notice_chars` characters. */
struct str text_cut_head(struct str text, size_t max, size_t notice_chars);

/* --- tools --- */

#define TOOL_ARGUMENTS_COUNT_MAX 64 /* members of a call's arguments object */

extern const struct tool tool_terminal, tool_file_editor, tool_task_tracker, tool_glob, tool_grep,
    tool_apply_patch, tool_finish, tool_invoke_skill, tool_think;

/* What a call may name: the tools of an agent's configuration, or those of one step. */
#define TOOL_SET_MAX 256 /* further tools of servers are left out */
struct tool_set {
    const struct tool *at[TOOL_SET_MAX];
    size_t n;
};
const struct tool *tool_set_find(const struct tool_set *set, struct str name); /* by name only */
bool tool_set_add(struct tool_set *set, const struct tool *tool);              /* false if it was there */
/* Finds the tool that a call means, repairing common mistakes in names. `*arguments` may be replaced (in the arena). */
const struct tool *tool_resolve(const struct tool_set *set, struct str name, struct str *arguments,
                                struct arena *arena);
/* The same as tool_parameters, made once and kept. */
struct str tool_parameters_text(const struct tool *tool, bool with_risk);
/* What a provider says may repeat what it was sent. A new error. */
struct err *err_masked(const struct agent_host *host, const struct err *why);
/* Parses JSON from a model: bare control characters inside strings are forgiven. */
struct json_doc *arguments_parse(struct str text, struct err **e);

/* One execution and what only some tools want to know of it: a tool finds it around its `run`. */
struct execution {
    struct tool_run run;
    bool terminal_seen; /* an earlier call used the terminal */
    struct buf
        *tasks; /* the task list as JSON, shared by the step's calls; for the tool that keeps it alone */
};

/* An open action while it is executed. */
struct job {
    struct view_action action;
    const struct tool *tool;
    struct execution execution;
    struct tool_result result;
    struct err *error;
    struct event_drafts drafts; /* the result if it is `ok`, and what hooks did around it */
    struct buf blocked;         /* why a hook blocked it; empty: none did */
    bool ran, ok, interrupted;
};
void job_run(struct job *j);
/* parallel.c: runs the jobs, at most `limit` at once, those that use the same thing one after the other in their order.
 * Returns when none runs any more; after an interrupt those that were not begun have not run. */
void jobs_run(struct job *const *jobs, size_t n, size_t limit, const struct agent_host *host);

/* A text masked as a whole, valid UTF-8, in the run's arena. */
struct str tool_masked(const struct tool_run *run, struct str text);
/* Turns a RESULT that is not WIRE_OK into an error. */
bool tool_result_check(const struct tool_run *run, struct str fields, struct err **e);
/* The error of a call to the hand, worded for the model. */
bool tool_call_failed(struct err **e, struct err *why);

/* save.c: a file on the hand's side, in a directory outside of the workspace that nobody else can write to; its path is
 * added to `dir`. Adding waits until the hand takes more. Both ends free it. */
struct saving;
struct saving *saving_begin(const struct agent_host *host, struct str name, struct buf *dir, struct err **e);
bool saving_add(struct saving *s, struct str text, struct err **e); /* false: cancelled */
bool saving_end(struct saving *s, struct err **e);
void saving_drop(struct saving *s);

void terminal_name(const struct agent_host *host,
                   struct buf *out); /* of the conversation's shell, on its hand */
/* output.c: keeps an output that is too long for the model, masked: as a file on the hand's side (its folder is added to
 * `dir`) and as blobs of the store. `text` is all of it (masked), or STR_NONE: the terminal is asked for it. ERR_CANCELLED,
 * or why there is no file. */
bool output_keep(const struct tool_run *run, struct str name, struct str text, struct buf *dir,
                 struct err **e);

/* --- step --- */

bool policy_asks(const struct policy *p, enum risk risk);
enum risk risk_parse(struct str name); /* -1 if unknown */

/* The tools of one step, in its arena: the configuration's, then the host's extra ones. */
const struct tool_set *step_tools(const struct agent *a, const struct agent_host *host, struct arena *arena);
/* The same as the model gets them. */
const struct llm_tool *step_llm_tools(const struct tool_set *tools, bool with_risk, struct arena *arena);

/* Masks streamed text: holds back what could be the beginning of a secret. */
struct delta_mask {
    const struct agent_host *host;
    struct mask *mask;
    struct buf content, reasoning; /* held back */
};
void delta_mask_init(struct delta_mask *d, const struct agent_host *host);
void delta_mask_add(void *delta_mask, struct str content, struct str reasoning); /* llm_request.on_delta */
void delta_mask_flush(struct delta_mask *d);                                     /* at the answer's end */
void delta_mask_reset(struct delta_mask *d);                                     /* before another attempt */
void delta_mask_deinit(struct delta_mask *d);

size_t agent_concurrency(const struct agent *a); /* tools run at once */
/* execute.c: runs the open actions and appends their results in one commit. */
bool execute_open(const struct agent *a, const struct tool_set *tools, const struct view *view,
                  const struct agent_host *host, enum step *outcome, struct err **e);
/* answer.c: appends what the model answered. `*run` says whether actions are to be executed now. */
bool answer_append(struct agent *a, const struct tool_set *tools, const struct view *view,
                   const struct agent_host *host, const struct llm_answer *answer, struct arena *arena,
                   enum step *outcome, bool *run, struct err **e);
