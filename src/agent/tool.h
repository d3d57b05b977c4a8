/* tool: the registry of tools, a static table; tools that are made at run time (of an MCP server, of skills) look the same
 * and come with the step's host. A tool turns a decoded action into one observation (or an error text),
 * usually by one call to the hand. */
#pragma once
#include "agent/event.h"
#include "agent/mask.h"
#include "json/schema.h"
#include "workspace/hand.h"

struct agent_host;

struct tool_run { /* one execution */
    const struct agent_host *host;
    struct arena *arena;
    struct str name, call_id;
    struct uuid action_id; /* idempotency key for the hand */
    const struct tool *tool;
    const struct json_value *action; /* validated, with "kind" */
};

struct tool_result {
    /* Own fields of the observation after content and is_error: `"key":value,…`, may be empty. */
    struct buf observation;
    struct buf text;  /* one text content for the model, unmasked: the caller masks; empty: no content */
    struct buf image; /* data URLs, one a line; or empty */
    bool is_error;
    bool finished; /* the finish tool */
};

struct tool {
    const char *name;                     /* "terminal" */
    const char *kind;                     /* "TerminalTool" */
    const char *alias;                    /* old name accepted in agent.tools: "BashTool" */
    const char *action, *observation;     /* kinds: "TerminalAction", "TerminalObservation" */
    const char *description;              /* for the model: our own words */
    const struct json_schema *parameters; /* NULL: made at run time, see `schema` */
    /* JSON Schema as the model gets it, without and with security_risk (tool_schema_text makes it); such a tool's
     * arguments are checked for being an object and no more, and its action is {"data":{…}}. */
    struct str schema[2];
    const void *data;                                    /* what a tool made at run time belongs to */
    bool read_only, destructive, idempotent, open_world; /* annotations */
    bool is_default;                                     /* always there: finish, think */
    bool is_automatic;      /* there when the agent has a use for it: invoke_skill */
    const char *text_param; /* what a bare string argument would mean, or NULL */
    /* What one call at a time may use, for calls that are run side by side: adds its name, such as "terminal" or
     * "file:/path" ("file:*" is every file). NULL: nothing for a tool that only reads, else the tool itself. */
    void (*resource)(const struct tool_run *run, struct buf *name);
    /* May run on a thread of its own beside others; `run->host->mailbox` is then its own, too.
     * False: an AgentErrorEvent with the error's text. ERR_CANCELLED: interrupted. */
    bool (*run)(const struct tool_run *run, struct tool_result *result, struct err **e);
};

const struct tool *tool_find(struct str name); /* by name, alias or kind of definition; NULL if unknown */
const struct tool *tool_at(size_t index);      /* NULL past the end; for GET /api/tools */
/* Validates a call's arguments: parsed, repaired, meta arguments popped. On success `*action` is JSON of the action
 * object with "kind" last. The errors' text begins as reference §7.4 says. */
struct tool_arguments {
    struct str action;     /* JSON */
    struct str normalized; /* json.dumps style, for tool_call.arguments */
    struct str summary;    /* STR_NONE: none given */
    struct str risk;       /* "UNKNOWN", "LOW", … */
};
/* For what will be seen, names and summaries are masked before they are cut; `mask` may be NULL. */
bool tool_decode(const struct tool *tool, struct str arguments, bool with_risk, const struct mask *mask,
                 struct arena *arena, struct tool_arguments *out, struct err **e);
/* The same from a JSON Schema object that somebody else wrote (its properties kept, whatever else it says, too). */
void tool_schema_text(const struct json_value *schema, bool with_risk, struct buf *out);
/* Parameters as the model gets them: `security_risk` (if asked and not read-only) and `summary` first. */
void tool_parameters(const struct tool *tool, bool with_risk, struct buf *out);
