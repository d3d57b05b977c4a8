/* llm: a model's turn. Turns messages and tools into one HTTP request, and the (streamed) answer back.
 *
 * A `struct llm` is the immutable, decoded configuration of one model (an LLM object of the API). llm_complete runs on
 * a conversation thread and waits in the run's mailbox; it retries with back-off; a cancelled mailbox ends it within
 * 100 ms. Providers are rows of a static table (provider.h). */
#pragma once
#include "base/mailbox.h"
#include "json/json.h"
#include "json/writer.h"
#include "net/outward.h"

#define LLM_ANSWER_MAX (32 * 1024 * 1024) /* bytes of one answer's body */
#define LLM_ARGUMENTS_MAX \
    (8 * 1024 * 1024)     /* bytes of one call's arguments; more is an error the model is told */
#define LLM_CALLS_MAX 128 /* tool calls in one answer */

enum llm_role { LLM_SYSTEM, LLM_USER, LLM_ASSISTANT, LLM_TOOL };

struct llm_part {
    enum { LLM_TEXT, LLM_IMAGE } type;
    struct str text; /* or an image's URL (data URL) */
    bool cache_prompt;
};

struct llm_call {                   /* a tool call */
    struct str id, name, arguments; /* arguments: the text as given */
};

struct llm_message {
    enum llm_role role;
    const struct llm_part *parts;
    size_t part_count;
    const struct llm_call *calls;
    size_t call_count;
    struct str tool_call_id, name; /* LLM_TOOL */
    struct str reasoning;          /* reasoning_content of an assistant message */
};

struct llm_tool {
    struct str name, description;
    struct str parameters; /* JSON Schema object, as text */
};

struct llm_usage {
    int64_t prompt_tokens, completion_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens;
    int64_t context_window; /* of the model, 0 unknown */
    double cost;    /* dollars; x-litellm-response-cost, or per-token costs of the configuration; 0 unknown */
    double seconds; /* latency */
    struct str response_id;
};

/* In the arena that llm_complete was given. */
struct llm_answer {
    struct str text; /* empty when there is none */
    struct str reasoning;
    const struct llm_call *calls;
    size_t call_count;
    struct str finish_reason;
    struct str id; /* response id; made up if the provider gives none */
    struct llm_usage usage;
};

/* finish_reason of a scripted model that was asked without tools and whose script has no line for it. */
#define SCRIPT_SILENT "script_end"

struct llm;

/* Decodes an LLM object (api_key in clear). Unknown keys are ignored. Environment defaults (OPENAI_BASE_URL …) come
 * from `env`, a lookup that may be NULL. */
struct llm *llm_new(const struct json_value *config, const char *(*env)(const char *name), struct err **e);
struct llm *llm_ref(struct llm *l);
void llm_unref(struct llm *l);
/* Why every call of it fails at once, or NULL. Code LLMAuthenticationError: a key is needed and there is none. */
const struct err *llm_problem(const struct llm *l);
struct str llm_model(const struct llm *l);    /* as configured */
struct str llm_usage_id(const struct llm *l); /* "default" */
bool llm_streams(const struct llm *l);
int64_t llm_max_message_chars(const struct llm *l);
bool llm_vision(const struct llm *l);
int64_t llm_context_window(const struct llm *l); /* tokens of input; 0: not known */

/* What llm calls go out by. One per server; borrowed by every call. */
struct llm_context {
    struct outward *outward;
    struct str scripts_dir; /* of scripted/NAME; STR_NONE: only built-in scripts */
};

struct llm_request {
    const struct llm_message *messages;
    size_t message_count;
    const struct llm_tool *tools;
    size_t tool_count;
    struct str conversation; /* dashed id; a scripted model keeps its place per conversation */
    uint64_t turn;           /* number of assistant answers so far: scripted models answer by it */
    /* Streaming: called on the outward thread for each piece; may be NULL. */
    void (*on_delta)(void *arg, struct str content, struct str reasoning);
    /* Before a retry waits: attempt (from 1), of how many, why, seconds. On the caller's thread; may be NULL. */
    void (*on_retry)(void *arg, unsigned attempt, unsigned attempts, const struct err *why, double seconds);
    void *arg;
};

/* Errors carry err.code, one of the reference's: LLMAuthenticationError, LLMRateLimitError, LLMBadRequestError,
 * LLMContextWindowExceedError, LLMMalformedConversationHistoryError, LLMContentPolicyViolationError,
 * LLMServiceUnavailableError, LLMTimeoutError, LLMNoResponseError, … (llm/failure.c has the table). ERR_CANCELLED has none. */
bool llm_complete(struct llm *l, const struct llm_context *context, const struct llm_request *request,
                  struct mailbox *mailbox, struct arena *arena, struct llm_answer *answer, struct err **e);

/* The same without a conversation thread (titles, ask_agent): `done` on the outward thread (or, for a scripted model or
 * an early error, on the caller's). `answer` is NULL on error, valid during the callback. One attempt. ERR_CONFLICT:
 * the server refused an optional parameter, and the next call leaves it out. The request is not needed after the return,
 * which is the call's number for outward_cancel (0: it has ended already). */
uint64_t llm_start(struct llm *l, const struct llm_context *context, const struct llm_request *request,
                   void (*done)(void *arg, const struct llm_answer *answer, const struct err *e), void *arg);
