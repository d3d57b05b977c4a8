/* provider: what a model's server speaks. A row of `llm_providers` names a service (its prefix in `model`, its address,
 * its environment variables) and the dialect of its API; a dialect turns messages and tools into one HTTP request and
 * the answer, streamed or whole, back into a draft. A service that speaks a dialect we have is one more row; a new
 * dialect (Anthropic messages, OpenAI responses, prompt-based tool calls) is one more file with a `struct llm_dialect`.
 *
 * Threads: a `struct llm` is immutable but for its count and `refused`. Drafts and readers have one owner at a time:
 * the outward thread while bytes come, then whoever takes the answer. */
#pragma once
#include <stdatomic.h>
#include "base/vec.h"
#include "llm/llm.h"

/* --- configuration ---------------------------------------------------------------------------- */

#define LLM_NAME_MAX 512  /* bytes of a model's name */
#define LLM_TIMEOUT_S 300 /* when the configuration names none */
#define LLM_TIMEOUT_MAX_S 86400
#define LLM_ATTEMPTS_MAX 20
#define LLM_STREAM_PATIENCE 4 /* a stream may take so many timeouts in all, one of them without a byte */
#define LLM_REDIRECTS_MAX 3
#define LLM_TOKENS_MAX INT64_C(1000000000000) /* of one answer, whatever its server says */
#define LLM_TOP_K_MIN (-1)                    /* how some servers write "no limit" */
#define LLM_TOP_K_MAX 1000000                 /* more than any vocabulary has */
#define LLM_ERROR_BODY_MAX 65536              /* bytes kept of an answer that is an error */

/* Optional parts of a request that some servers refuse; see `refused`. */
enum llm_param {
    LLM_PARAM_TEMPERATURE = 1u << 0,
    LLM_PARAM_TOP_P = 1u << 1,
    LLM_PARAM_TOP_K = 1u << 2,
    LLM_PARAM_SEED = 1u << 3,
    LLM_PARAM_EFFORT = 1u << 4,
    LLM_PARAM_MAX_TOKENS = 1u << 5,
    LLM_PARAM_MAX_COMPLETION_TOKENS = 1u << 6,
    LLM_PARAM_STREAM_OPTIONS = 1u << 7,
};

/* What is known of a model by its name. */
enum llm_trait {
    LLM_TAKES_EFFORT = 1u << 0,      /* reasoning_effort */
    LLM_NO_SAMPLING = 1u << 1,       /* refuses temperature and top_p */
    LLM_COMPLETION_TOKENS = 1u << 2, /* max_completion_tokens instead of max_tokens */
    LLM_TEXT_ONLY = 1u << 3,         /* sees no images */
    LLM_WANTS_REASONING = 1u << 4,   /* its earlier reasoning is sent back to it */
    LLM_CACHE_MARKS = 1u << 5,       /* cache_control on parts */
};

struct llm {
    atomic_uint refs;
    struct json_doc *config; /* our copy; the texts below lie in it or in `arena` */
    struct arena *arena;
    const struct llm_provider *provider;
    struct str model, wire_model, usage_id;
    struct str url;       /* of the endpoint; its host appears in errors */
    struct str api_key;   /* STR_NONE: none */
    struct err *unusable; /* why every call fails at once; NULL: none */
    const struct str *headers;
    size_t header_count;
    const struct json_value *extra_body;
    struct str effort;
    unsigned traits; /* enum llm_trait */
    int64_t context_window, max_output_tokens, max_message_chars, top_k, seed;
    bool has_top_k, has_seed, has_temperature, has_top_p, has_prices;
    double temperature, top_p, input_price, output_price;
    double timeout, retry_multiplier, retry_min, retry_max; /* seconds */
    unsigned attempts;
    bool stream, drop_params, native_tools, vision, caching, string_content;
    atomic_uint refused; /* enum llm_param: learnt from refusals, so that each costs one request only */
};

/* --- an attempt ------------------------------------------------------------------------------- */

struct llm_attempt {
    unsigned number;  /* from 1 */
    bool warm;        /* temperature 1.0: the last attempt gave no answer */
    unsigned refused; /* enum llm_param: to be left out */
};

/* What follows from a failure, beside its error. */
struct llm_failure {
    bool retry;
    bool no_answer;     /* the model said nothing at all */
    double retry_after; /* seconds the server asked for; below 0: none */
    unsigned refused;   /* enum llm_param: parts of the request that the server does not take */
};

struct llm_http {
    struct arena *arena;
    VEC(struct str) headers; /* "Name: value" */
    struct buf body;
    unsigned sent; /* enum llm_param */
};
void llm_http_deinit(struct llm_http *h);

/* --- drafts: an answer that is being put together ------------------------------------------------ */

struct llm_progress { /* of the JSON text of a call's arguments */
    size_t depth;     /* open objects */
    bool in_string, escaped;
    bool complete; /* its object was closed */
};

struct llm_draft_call {
    int64_t index; /* the provider's; LLM_NO_INDEX when it gives none */
    struct buf id, name, arguments;
    struct llm_progress progress;
    size_t arguments_bytes; /* given; past LLM_ARGUMENTS_MAX they are no longer kept */
};
#define LLM_NO_INDEX (-1)

struct llm_draft {
    struct buf text, reasoning, refusal, finish_reason, id;
    VEC(struct llm_draft_call) calls;
    size_t calls_dropped; /* beyond LLM_CALLS_MAX */
    struct llm_usage usage;
    bool answered; /* a choice was seen */
    bool ended;    /* the stream said that it is complete */
};
void llm_draft_deinit(struct llm_draft *d);
/* A piece of a call. `index` LLM_NO_INDEX: by id, or the last one. Missing pieces are STR_NONE. */
void llm_draft_call_add(struct llm_draft *d, int64_t index, struct str id, struct str name,
                        struct str arguments);
/* Moves the draft into `answer`: ids made up where missing or repeated, arguments never empty. */
bool llm_draft_finish(struct llm_draft *d, const struct llm *l, struct arena *arena,
                      struct llm_answer *answer, struct llm_failure *failure, struct err **e);

/* --- dialects and providers ----------------------------------------------------------------------- */

struct llm_dialect {
    const char *name;
    const char *path; /* behind the base URL: "/chat/completions" */
    bool (*request)(const struct llm *l, const struct llm_request *request, const struct llm_attempt *attempt,
                    struct llm_http *out, struct err **e);
    /* One server-sent event, parsed (NULL: `data` is no JSON, such as "[DONE]"). */
    bool (*event)(struct llm_draft *d, const struct llm *l, struct str name, struct str data,
                  const struct json_value *v, struct llm_failure *failure, struct err **e);
    /* An answer that came whole. */
    bool (*body)(struct llm_draft *d, const struct llm *l, const struct json_value *v,
                 struct llm_failure *failure, struct err **e);
};

struct llm_provider {
    const char *prefix; /* of `model`, without the slash */
    const struct llm_dialect *dialect;
    /* Instead of a dialect: answers without HTTP. `mailbox` NULL: must not wait. */
    bool (*play)(struct llm *l, const struct llm_context *context, const struct llm_request *request,
                 const struct llm_attempt *attempt, struct mailbox *mailbox, struct arena *arena,
                 struct llm_answer *answer, struct llm_failure *failure, struct err **e);
    const char *base; /* when neither configuration nor environment names one */
    const char *env_base[3], *env_key[3];
    const char *bare; /* beginnings of model names that belong here without a prefix, space-separated */
    bool keyless;     /* needs no key at its own address */
};

extern const struct llm_dialect llm_openai_chat;

/* `*wire` is the model's name as the provider knows it. Never NULL. */
const struct llm_provider *llm_provider_find(struct str model, struct str *wire);
/* Traits and context window by name; unknown names have none. */
unsigned llm_model_traits(struct str wire_model, int64_t *context_window);

bool llm_scripted_play(struct llm *l, const struct llm_context *context, const struct llm_request *request,
                       const struct llm_attempt *attempt, struct mailbox *mailbox, struct arena *arena,
                       struct llm_answer *answer, struct llm_failure *failure, struct err **e);

/* --- readers: bytes of one HTTP answer into a draft ------------------------------------------------- */

struct llm_reader;

struct llm_reader *llm_reader_new(const struct llm *l); /* borrows it */
void llm_reader_free(struct llm_reader *r);
void llm_reader_head(struct llm_reader *r, int status);
/* False: no more is wanted; the reason comes from llm_reader_end. `content` and `reasoning` are what this piece added
 * to the answer's text. */
bool llm_reader_feed(struct llm_reader *r, struct str bytes, struct str *content, struct str *reasoning);
/* `transport`: how the connection failed, or NULL. */
bool llm_reader_end(struct llm_reader *r, int status, struct str headers, const struct err *transport,
                    struct arena *arena, struct llm_answer *answer, struct llm_failure *failure,
                    struct err **e);

/* --- failures (failure.c) ------------------------------------------------------------------------- */

/* All set `*failure` and `*e` and return false. */
bool llm_fail_status(const struct llm *l, int status, struct str headers, struct str body,
                     struct llm_failure *failure, struct err **e);
bool llm_fail_transport(const struct llm *l, const struct err *transport, struct llm_failure *failure,
                        struct err **e);
/* An `error` object inside an answer that began well. */
bool llm_fail_object(const struct llm *l, const struct json_value *error, struct llm_failure *failure,
                     struct err **e);
/* The answer cannot be used: `code` is an error code of the reference, with what follows from it. */
bool llm_fail(const struct llm *l, const char *code, struct llm_failure *failure, struct err **e,
              const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* --- cost ------------------------------------------------------------------------------------------ */

/* `headers` may be STR_NONE. */
double llm_cost(const struct llm *l, const struct llm_usage *usage, struct str headers);
