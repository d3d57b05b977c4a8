/* condenser: shortens what the model reads. One step of a run asks it first: where a limit is passed or somebody asked for
 * it, a part of the view is summarised by a model and a Condensation takes its place in the log; the view then hides what
 * was summarised. Conversation thread only; waits for its model in the run's mailbox. Internal to this folder. */
#pragma once
#include "agent/internal.h"

#define CONDENSERS_MAX 16     /* of a pipeline */
#define CONDENSER_DEPTH_MAX 4 /* pipelines in pipelines */
#define CONDENSE_ATTEMPTS_MAX 20
#define CONDENSE_EVENT_CHARS 1000 /* of one event as the summarising model gets it */

/* Context overflows in a row, each followed by a condensation, that end the run: what is left does not get shorter. */
#define CONDENSE_OVERFLOWS_MAX 3

struct condenser { /* LLMSummarizingCondenser; NoOpCondenser leaves nothing behind */
    struct llm *llm;
    int64_t max_size, max_tokens, keep_first; /* max_tokens 0: only the model's own limit */
    int64_t attempts;
    double minimum_progress, scaling;
};

struct condenser_list {
    struct condenser at[CONDENSERS_MAX];
    size_t n;
};

/* `config` may be null: none. Errors name the field below "agent.condenser". */
bool condensers_read(struct condenser_list *list, const struct json_value *config,
                     const char *(*env)(const char *name), struct err **e);
void condensers_deinit(struct condenser_list *list);

/* Why a view should be shorter. TOKENS and REQUEST are hard: without it the agent cannot go on. */
enum condense_reason { CONDENSE_EVENTS = 1u << 0, CONDENSE_TOKENS = 1u << 1, CONDENSE_REQUEST = 1u << 2 };

struct condense_limits {
    const struct condenser *condenser;
    int64_t max_tokens;  /* the smaller of the condenser's and the model's; 0: none */
    int64_t max_chars;   /* of a tool's result as the model gets it */
    int64_t tool_tokens; /* that the offered tools take */
};
/* Estimates count a token for each four bytes of text; what a model reported may be of another model and another view. */
int64_t condense_tokens(const struct view *v, size_t from, size_t to, int64_t max_chars);
unsigned condense_reasons(const struct view *v, const struct condense_limits *limits, bool asked);
/* Items [from, to) to be forgotten; false when there is no such range or it is too short to be worth it. */
bool condense_range(const struct view *v, const struct condense_limits *limits, unsigned reasons,
                    size_t *from, size_t *to);
/* All but the system prompt and what is still open; false when there is nothing. */
bool condense_everything(const struct view *v, size_t *from, size_t *to);

/* The question to the summarising model; no event takes more than `event_chars` characters. */
void condense_prompt(const struct view *v, size_t from, size_t to, size_t event_chars, struct buf *out);
/* Longest event of the range as the prompt would show it whole. */
size_t condense_longest(const struct view *v, size_t from, size_t to);
void condensation_draft(const struct view *v, size_t from, size_t to, struct str summary,
                        struct str response_id, struct event_draft *d);

/* Condenses the view if it has to be. With `asked`, it has to be, and the request goes to the log in the same commit. */
bool condense_step(const struct condenser_list *list, struct llm *agent_llm, const struct llm_tool *tools,
                   size_t tool_count, struct view *view, const struct agent_host *host, bool asked,
                   bool *condensed, struct err **e);
