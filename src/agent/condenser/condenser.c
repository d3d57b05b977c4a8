/* The condenser's configuration, and the step that asks whether the view has to be shorter and makes it so. */
#include "agent/condenser/condenser.h"
#include "agent/view/items.h"
#include "base/log.h"

/* --- configuration --- */

/* Defaults and bounds are upstream's. */
static const struct {
    const char *key;
    int64_t otherwise, least, most;
    size_t offset;
} integers[] = {
    {"max_size", 240, 1, INT32_MAX, offsetof(struct condenser, max_size)},
    {"max_tokens", 0, 1, INT64_MAX / 4, offsetof(struct condenser, max_tokens)},
    {"keep_first", 2, 0, INT32_MAX, offsetof(struct condenser, keep_first)},
    {"hard_context_reset_max_retries", 5, 1, INT32_MAX, offsetof(struct condenser, attempts)},
};
static const struct {
    const char *key;
    double otherwise;
    size_t offset;
} fractions[] = {
    {"minimum_progress", 0.1, offsetof(struct condenser, minimum_progress)},
    {"hard_context_reset_context_scaling", 0.8, offsetof(struct condenser, scaling)},
};

static bool numbers_read(struct condenser *c, const struct json_value *config, struct err **e)
{
    for (size_t i = 0; i < ARRAY_LEN(integers); i++) {
        int64_t *out = (int64_t *)((char *)c + integers[i].offset);
        *out = integers[i].otherwise;
        if (json_is_null(json_get(config, integers[i].key)))
            continue;
        *out = json_get_int(config, integers[i].key, INT64_MIN);
        if (*out < integers[i].least || *out > integers[i].most)
            return err_set(e, ERR_INVALID, "%s should be a whole number of at least %lld", integers[i].key,
                           (long long)integers[i].least);
    }
    for (size_t i = 0; i < ARRAY_LEN(fractions); i++) {
        void *at = (char *)c + fractions[i].offset;
        double *out = at;
        *out = fractions[i].otherwise;
        if (json_is_null(json_get(config, fractions[i].key)))
            continue;
        *out = json_get_float(config, fractions[i].key, -1);
        if (!(*out > 0 && *out < 1))
            return err_set(e, ERR_INVALID, "%s should be between 0 and 1", fractions[i].key);
    }
    if (c->attempts > CONDENSE_ATTEMPTS_MAX)
        c->attempts = CONDENSE_ATTEMPTS_MAX;
    if (c->max_size / 2 - c->keep_first - 1 <= 0)
        return err_set(e, ERR_INVALID,
                       "keep_first (%lld) must be less than max_size / 2 - 1, or nothing could be condensed",
                       (long long)c->keep_first);
    return true;
}

static bool summarizing_read(struct condenser_list *list, const struct json_value *config,
                             const char *(*env)(const char *), struct err **e)
{
    if (list->n == CONDENSERS_MAX)
        return err_set(e, ERR_INVALID, "more than %d condensers", CONDENSERS_MAX);
    struct condenser *c = &list->at[list->n];
    if (!numbers_read(c, config, e))
        return false;
    if (json_type(json_get(config, "llm")) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "llm is missing");
    if (!(c->llm = llm_new(json_get(config, "llm"), env, e)))
        return err_prefix(e, "llm");
    list->n++;
    return true;
}

static bool one_read(struct condenser_list *list, const struct json_value *config, unsigned depth,
                     const char *(*env)(const char *), struct err **e)
{
    struct str kind = json_get_str(config, "kind");
    if (json_is_null(config) || str_is(kind, "NoOpCondenser"))
        return true;
    if (json_type(config) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "an object is expected");
    if (kind.n == 0 || str_is(kind, "LLMSummarizingCondenser"))
        return summarizing_read(list, config, env, e);
    if (!str_is(kind, "PipelineCondenser"))
        return err_set(e, ERR_INVALID,
                       "kind '%.*s' is not known; it should be LLMSummarizingCondenser, NoOpCondenser or "
                       "PipelineCondenser",
                       STR_ARG(str_sub(kind, 0, 60)));
    const struct json_value *all = json_get(config, "condensers");
    if (json_type(all) != JSON_ARRAY)
        return err_set(e, ERR_INVALID, "condensers should be a list");
    if (depth == CONDENSER_DEPTH_MAX)
        return err_set(e, ERR_INVALID, "pipelines are nested too deeply");
    for (struct json_iter it = json_iter(all); json_next(&it);)
        if (!one_read(list, it.value, depth + 1, env, e))
            return false;
    return true;
}

bool condensers_read(struct condenser_list *list, const struct json_value *config,
                     const char *(*env)(const char *name), struct err **e)
{
    return one_read(list, config, 0, env, e) || err_prefix(e, "agent.condenser");
}

void condensers_deinit(struct condenser_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        llm_unref(list->at[i].llm);
    list->n = 0;
}

/* --- asking the summarising model --- */

struct work {
    const struct condenser *condenser;
    const struct agent_host *host;
    struct view *view;
    bool asked;
};

static bool is_cancelled(const struct err *e)
{
    return e && e->kind == ERR_CANCELLED;
}

static bool summary_get(const struct work *k, size_t from, size_t to, size_t event_chars, struct arena *arena,
                        struct llm_answer *answer, struct err **e)
{
    autobuf prompt = {0};
    condense_prompt(k->view, from, to, event_chars, &prompt);
    struct llm_part part = {.type = LLM_TEXT, .text = buf_str(&prompt)};
    struct llm_message message = {.role = LLM_USER, .parts = &part, .part_count = 1};
    struct llm_request request = {
        .messages = &message,
        .message_count = 1,
        .conversation = k->host->conversation,
        .turn = view_turns(k->view),
    };
    autoerr why = NULL;
    if (!llm_complete(k->condenser->llm, &k->host->llm, &request, k->host->mailbox, arena, answer, &why)) {
        if (e && !*e)
            *e = err_masked(k->host, why);
        return false;
    }
    if (str_trim(answer->text).n > 0)
        return true;
    err_set(e, ERR_UPSTREAM, "the summarising model answered without a text");
    err_set_code(e, "LLMNoResponseError");
    return false;
}

/* The Condensation, with what its model call cost; a request that was made by hand goes in front of it. */
static bool condensation_append(const struct work *k, size_t from, size_t to, const struct llm_answer *answer,
                                struct err **e)
{
    struct event_draft drafts[2];
    size_t n = 0;
    autobuf summary = {0};
    mask_apply(k->host->mask(k->host->arg), str_trim(answer->text), &summary);
    if (k->asked)
        event_draft_init(&drafts[n++], EVENT_CONDENSATION_REQUEST, SOURCE_ENVIRONMENT);
    condensation_draft(k->view, from, to, buf_str(&summary), answer->id, &drafts[n++]);
    struct llm *llm = k->condenser->llm;
    struct agent_update update = {
        .usage = &answer->usage, .model = llm_model(llm), .usage_id = llm_usage_id(llm)};
    bool ok = k->host->append(k->host->arg, drafts, n, &update, e);
    for (size_t i = 0; i < n; i++)
        event_draft_deinit(&drafts[i]);
    return ok;
}

static bool condense_part(const struct work *k, size_t from, size_t to, size_t event_chars, bool *asked_model,
                          struct err **e)
{
    autoarena arena = arena_new();
    struct llm_answer answer = {0};
    if (!summary_get(k, from, to, event_chars, arena, &answer, e))
        return false;
    *asked_model = true;
    return condensation_append(k, from, to, &answer, e);
}

/* Could the same request with less in it succeed? */
static bool less_helps(const struct err *why)
{
    static const char *const codes[] = {"LLMContextWindowExceedError", "LLMBadRequestError",
                                        "LLMNoResponseError", "LLMMalformedConversationHistoryError",
                                        "LLMContentPolicyViolationError"};
    for (size_t i = 0; why->code && i < ARRAY_LEN(codes); i++)
        if (strcmp(why->code, codes[i]) == 0)
            return true;
    return false;
}

/* The last resort: everything becomes one summary. If even that is too much for the summarising model, it is shown less of
 * each event, until it answers. */
static bool condense_hard(const struct work *k, struct err **e)
{
    size_t from, to, chars = CONDENSE_EVENT_CHARS;
    if (!condense_everything(k->view, &from, &to))
        return err_set(e, ERR_INVALID, "there is nothing to condense");
    for (int64_t attempt = 1;; attempt++) {
        autoerr why = NULL;
        bool answered = false;
        if (condense_part(k, from, to, chars, &answered, &why))
            return true;
        if (attempt == k->condenser->attempts || answered || !less_helps(why)) {
            if (e && !*e)
                *e = steal(why);
            return false;
        }
        if (attempt == 1)
            chars = condense_longest(k->view, from, to);
        chars = (size_t)((double)chars * k->condenser->scaling);
        log_info(
            "conversation %.*s: condensing everything failed, the next try shows %zu characters of each event: %s",
            STR_ARG(k->host->conversation), chars, err_text(why));
    }
}

/* --- the step --- */

static int64_t smaller_limit(int64_t a, int64_t b)
{
    return a > 0 && b > 0 ? (a < b ? a : b) : a > 0 ? a : b;
}

static int64_t tool_tokens(const struct llm_tool *tools, size_t n)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += (int64_t)(tools[i].name.n + tools[i].description.n + tools[i].parameters.n);
    return bytes / 4;
}

static bool failed(struct err **e, struct err *why)
{
    autobuf text = {0};
    struct err *shown = NULL;
    if (!is_cancelled(why) && why->kind != ERR_INVALID && why->code) {
        buf_addf(&text, "The history has to be condensed, and that failed: %s", err_text(why));
        err_set(&shown, why->kind, "%.*s", STR_ARG(buf_str(&text)));
        err_set_code(&shown, why->code);
    }
    if (e && !*e)
        *e = shown ? steal(shown) : err_copy(why);
    err_free(shown);
    return false;
}

static bool condense_with(const struct work *k, const struct condense_limits *limits, bool *condensed,
                          struct err **e)
{
    unsigned reasons = condense_reasons(k->view, limits, k->asked);
    bool hard = (reasons & (CONDENSE_REQUEST | CONDENSE_TOKENS)) != 0, answered = false;
    size_t from, to;
    autoerr why = NULL;
    if (!reasons || (!hard && k->view->items.n < k->view->condense_wait))
        return true;
    bool has_range = condense_range(k->view, limits, reasons, &from, &to);
    *condensed = has_range && condense_part(k, from, to, CONDENSE_EVENT_CHARS, &answered, &why);
    if (*condensed)
        return true;
    if (answered || is_cancelled(why)) /* the model has done its part: what failed is the log, or the run */
        return failed(e, why);
    if (hard && why && !less_helps(why))
        return failed(e, why);
    if (hard) {
        err_free(steal(why));
        *condensed = condense_hard(k, &why);
        return *condensed || failed(e, why);
    }
    /* It would have been better, but the agent can go on; not every step has to pay for another try. */
    k->view->condense_wait = k->view->items.n + 1 + (size_t)limits->condenser->max_size / 10;
    if (why)
        log_warn("conversation %.*s: the history could not be condensed: %s", STR_ARG(k->host->conversation),
                 err_text(why));
    return true;
}

bool condense_step(const struct condenser_list *list, struct llm *agent_llm, const struct llm_tool *tools,
                   size_t tool_count, struct view *view, const struct agent_host *host, bool asked,
                   bool *condensed, struct err **e)
{
    *condensed = false;
    for (size_t i = 0; i < list->n && !*condensed; i++) {
        const struct condenser *c = &list->at[i];
        struct work work = {.condenser = c, .host = host, .view = view, .asked = asked};
        struct condense_limits limits = {
            .condenser = c,
            .max_tokens = smaller_limit(c->max_tokens, llm_context_window(agent_llm)),
            .max_chars = llm_max_message_chars(agent_llm),
            .tool_tokens = tool_tokens(tools, tool_count),
        };
        if (!condense_with(&work, &limits, condensed, e))
            return false;
    }
    return true;
}
