/* agent: what to do next. An agent is the decoded configuration of one Agent object (model, tools, prompt parts):
 * immutable, counted, shared by runs. agent_step is one turn: run the open actions, or ask the model and act on its
 * answer. It runs on the conversation's thread as straight-line code; everything it changes goes through the host's
 * append, so that it keeps nothing that the log does not have. */
#pragma once
#include "agent/event.h"
#include "agent/hook/hook.h"
#include "agent/mask.h"
#include "agent/skill/skill.h"
#include "agent/tool.h"
#include "agent/view/view.h"
#include "json/schema.h"
#include "llm/llm.h"
#include "workspace/hand.h"

struct agent;
struct analyzer; /* agent/analyzer/analyzer.h */

/* `config` is the agent object as the client sent it, secrets in clear. Errors name the field. Unknown tool names are no
 * error here (they fail at first use): see agent_check. `env` as for llm_new. */
struct agent *agent_new(const struct json_value *config, const char *(*env)(const char *name),
                        struct err **e);
struct agent *agent_ref(struct agent *a);
void agent_unref(struct agent *a);
struct llm *agent_llm(const struct agent *a);
/* ERR_INVALID names the first tool of the configuration that does not exist. */
bool agent_check(const struct agent *a, struct err **e);
bool agent_condenses(const struct agent *a); /* it has a condenser that a request can be made to */
/* Its enabled MCP servers, {name: server} as JSON with references to secrets as they are; empty: there are none. */
struct str agent_mcp_servers(const struct agent *a);
/* Does `filter_tools_regex` let a tool of this name pass? */
bool agent_filter_passes(const struct agent *a, struct str name);

/* Files that the configuration asks for; a hand reads them before the first message. */
struct agent_wants {
    bool project_skills;      /* of the workspace */
    bool user_skills;         /* of the home directory of the hand's user */
    struct str template_path; /* of a system prompt; STR_NONE: none */
};
const struct agent_wants *agent_wants(const struct agent *a);
/* Gives a new agent, before it is shared, what was found: {"project":[Skill…],"user":[Skill…],"template":text or null}.
 * Skills of the project go before the configuration's of the same name, the user's behind. ERR_INVALID: the template
 * cannot be used. */
bool agent_give_found(struct agent *a, const struct json_value *found, struct err **e);
const struct skill_set *agent_skills(const struct agent *a);
bool agent_runs_commands(const struct agent *a);     /* has it a terminal? */
struct str agent_user_suffix(const struct agent *a); /* goes behind each user message; may be empty */

enum risk { RISK_UNKNOWN, RISK_LOW, RISK_MEDIUM, RISK_HIGH };
enum policy_kind { POLICY_NEVER, POLICY_ALWAYS, POLICY_RISKY };
struct policy {
    enum policy_kind kind;
    enum risk threshold;
    bool confirm_unknown;
};
/* {"kind":"NeverConfirm"} …; pydantic-like problems go to `problems`. */
bool policy_decode(const struct json_value *v, const char *where, struct policy *out,
                   struct json_problems *problems);
void policy_write(const struct policy *p, struct json_writer *w);

/* What goes together with appended events in one commit. */
struct agent_update {
    enum status status;            /* 0: unchanged; a change also appends its state update event */
    const struct llm_usage *usage; /* one model call, or NULL */
    struct str model, usage_id;
};

/* What a step needs from the conversation that runs it. Conversation thread only. */
struct agent_host {
    void *arg;
    struct mailbox *mailbox;
    struct hands *hands;
    struct hand_spec hand;
    struct llm_context llm;
    struct str conversation;         /* dashed id */
    bool has_analyzer;               /* the model is asked for the risk of its calls */
    const struct analyzer *analyzer; /* judges actions; borrowed for the step; NULL: nothing does */
    struct policy policy;            /* at the step's start */
    /* Commits the drafts in order (stamping ids that are zero), waits for it, adds them to the view. ERR_CANCELLED is
     * never the reason of a failure here: a commit under way is waited for. */
    bool (*append)(void *arg, struct event_draft *drafts, size_t n, const struct agent_update *update,
                   struct err **e);
    /* Keeps a blob with the conversation; waits for it in `mailbox`. NULL: nothing is kept. Any thread that runs a tool. */
    bool (*keep)(void *arg, struct mailbox *mailbox, const struct uuid *id, struct bytes *content,
                 struct err **e);
    void (*delta)(void *arg, struct str content, struct str reasoning); /* any thread */
    const struct mask *(*mask)(void *arg); /* current secrets, valid for the run; any thread */
    const struct skill_set *skills;        /* the agent's, for invoke_skill; may be NULL */
    bool runs_commands;                    /* the agent has a terminal */
    double command_max_s;                  /* a command may not ask for a longer timeout; 0: no limit */
    /* Tools beyond the agent's own that are ready at the step's start (MCP, skills); borrowed for the step. */
    const struct tool *const *extra_tools;
    size_t extra_tool_count;
    /* Waits for those that are still on their way and puts them into extra_tools, which the step reads again; the ones it
     * has seen stay valid. May be NULL. False: cancelled. */
    bool (*late_tools)(void *arg, struct err **e);
    /* Before a command runs: fetches the secrets it names that are not known yet, so that `mask` has them; with `seen` (a
     * terminal was used before) perhaps others, too. What could not be fetched is said in `remarks`. Waits in `mailbox`;
     * false: cancelled. Any thread; may be NULL. */
    bool (*lookup)(void *arg, struct mailbox *mailbox, struct str command, bool seen, struct buf *remarks,
                   struct err **e);
    /* Hooks of the conversation, or NULL; and what happens to be blocked by one: the next append records it. */
    const struct hook_config *hooks;
    void (*blocked)(void *arg, enum hook_event event, const struct uuid *id, struct str reason);
    /* Current working directory and freshness of the terminal as the log knows it: for a shell that starts anew. */
    struct str (*last_cwd)(void *arg);
};

enum step {
    STEP_CONTINUE, /* the loop goes on */
    STEP_FINISHED, /* status FINISHED was appended */
    STEP_WAITING,  /* status WAITING_FOR_CONFIRMATION was appended */
};
/* Errors end the run: status ERROR and a ConversationErrorEvent with err.code (the class name) and text, appended by the
 * caller. ERR_CANCELLED: interrupted; the caller answers open actions. */
bool agent_step(struct agent *a, struct view *view, const struct agent_host *host, enum step *outcome,
                struct err **e);

/* Condenses the view now: CondensationRequest and Condensation in one commit. ERR_INVALID when there is nothing to
 * condense; else as for a model call. Nothing is appended on failure. */
bool agent_condense(struct agent *a, struct view *view, const struct agent_host *host, struct err **e);

/* The request of a question beside the run: the view and one more message, with the agent's tools, so that the model
 * understands the calls it reads. In the arena; texts are borrowed from the view and `question`. */
void agent_ask(struct agent *a, const struct view *view, struct str question, struct arena *arena,
               struct llm_request *out);

/* Outputs that were too long for the model are blobs of at most OUTPUT_PIECE bytes, up to the first that does not exist. */
#define OUTPUT_PIECE (1024 * 1024)
struct uuid output_piece_id(const struct uuid *action, unsigned index);

/* OP_SPAWN's fields for removing the files in which a conversation's long outputs were saved. */
void agent_saved_remove(struct str conversation, struct buf *fields);

/* The SystemPromptEvent, first event of every conversation. `secret_names` for the dynamic part. */
void agent_system_prompt(const struct agent *a, struct str working_dir, const struct mask *secrets,
                         bool has_analyzer, struct event_draft *out);
