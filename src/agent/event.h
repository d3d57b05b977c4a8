/* event: the kinds of events, and drafts of new ones. A draft holds the event's own fields as JSON; the conversation
 * stamps id, timestamp, source and parent at append and from then on the event is immutable text.
 *
 * Numbers of kinds, sources and statuses are stored: never renumber. Nulls are left out everywhere in events; unknown
 * keys make the official Python client raise, so only what reference §5.2 lists is ever written. */
#pragma once
#include "base/bytes.h"
#include "base/uuid.h"
#include "json/writer.h"

enum event_kind {
    EVENT_SYSTEM_PROMPT = 1,
    EVENT_MESSAGE,
    EVENT_ACTION,
    EVENT_OBSERVATION,
    EVENT_AGENT_ERROR,
    EVENT_USER_REJECT,
    EVENT_PAUSE,
    EVENT_INTERRUPT,
    EVENT_CONDENSATION,
    EVENT_CONDENSATION_REQUEST,
    EVENT_STATE_UPDATE,
    EVENT_CONVERSATION_ERROR,
    EVENT_HOOK_EXECUTION,
    EVENT_LLM_COMPLETION_LOG,
    EVENT_TOKEN,
    EVENT_STREAMING_DELTA, /* live only */
    EVENT_SERVER_ERROR,    /* live only */
    EVENT_ACP_TOOL_CALL,
    EVENT_KINDS,
};

enum event_source { SOURCE_AGENT = 1, SOURCE_USER, SOURCE_ENVIRONMENT, SOURCE_HOOK };

/* execution_status; `deleting` appears in webhooks only. */
enum status {
    STATUS_IDLE = 1,
    STATUS_RUNNING,
    STATUS_PAUSED,
    STATUS_WAITING_FOR_CONFIRMATION,
    STATUS_FINISHED,
    STATUS_ERROR,
    STATUS_STUCK,
    STATUS_DELETING,
};

const char *event_kind_name(enum event_kind kind);       /* "ActionEvent" */
enum event_kind event_kind_parse(struct str name);       /* bare or qualified name; 0 when unknown */
const char *event_source_name(enum event_source source); /* "agent" */
enum event_source event_source_parse(struct str name);   /* 0 when unknown */
const char *status_name(enum status status);
enum status status_parse(struct str name); /* 0 when unknown */

/* Largest event on a socket; larger ones get a reduced text (Python's client closes at 1 MiB). */
#define EVENT_SOCKET_MAX (900 * 1000)

struct event_draft {
    enum event_kind kind;
    enum event_source source;
    struct uuid id;  /* zero: made at append */
    struct buf body; /* own fields: `"key":value,…` without braces and without "kind"; owned */
    /* The same for sockets and pages if the whole could exceed EVENT_SOCKET_MAX; may be empty. */
    struct buf reduced;
    struct buf search_text; /* of messages; may be empty */
    bool on_branch;         /* false for state updates: never the head, no place on the path */
    uint32_t answers;       /* seq of the action that it is a result of, where its maker knows; 0 */
};
void event_draft_init(struct event_draft *d, enum event_kind kind, enum event_source source);
void event_draft_deinit(struct event_draft *d);
/* Makes `reduced` if the body is too large for a socket: each long string is cut in its middle; where that does not do,
 * lists are cut too. */
void event_draft_reduce(struct event_draft *d);

/* Whole text of an event. `local_us`: its timestamp on the local clock face (clock_local_us). `parent` STR_NONE: left
 * out. */
void event_write(struct buf *out, const struct event_draft *d, struct str body, const struct uuid *id,
                 int64_t local_us, struct str parent);

/* Bodies. */
/* {"cache_prompt":false,"type":"text","text":…} */
void event_text_content(struct json_writer *w, struct str text);
/* A user-role or assistant message with one text. `sender` may be STR_NONE. */
void event_message_body(struct event_draft *d, const char *role, struct str text);
void event_state_update_body(struct event_draft *d, const char *key, struct str json_value);
/* classification by reference §5.2 (exact tables, then substrings, then transient codes). */
void event_error_body(struct event_draft *d, const char *code, struct str detail);
/* AgentErrorEvent. `classification` is "agent_action" (retryable), "internal" (not), … */
void event_agent_error_body(struct event_draft *d, struct str tool_name, struct str tool_call_id,
                            struct str error, const char *classification);
void event_reject_body(struct event_draft *d, struct str tool_name, struct str tool_call_id,
                       const struct uuid *action_id, struct str reason,
                       const char *source /* "user", "hook" */);
