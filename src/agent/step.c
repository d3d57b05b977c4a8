/* One turn of the agent: run what is open, or ask the model and act on its answer. */
#include "agent/agent_config.h"
#include "agent/view/items.h"
#include "base/log.h"

#define FILTERED \
    "The provider's content filter blocked your last answer. Say it in other words, or take another way to the goal."
#define NO_VISION                                                                                                        \
    "Your message has an image, but the model in use cannot see images. Please describe it in words, or choose a model " \
    "that can."

static bool append_one(const struct agent_host *host, struct event_draft *d, enum status status,
                       struct err **e)
{
    struct agent_update update = {.status = status};
    bool ok = host->append(host->arg, d, 1, &update, e);
    event_draft_deinit(d);
    return ok;
}

static bool explain_no_vision(const struct agent_host *host, enum step *outcome, struct err **e)
{
    struct event_draft d;
    event_draft_init(&d, EVENT_MESSAGE, SOURCE_AGENT);
    event_message_body(&d, "assistant", STR(NO_VISION));
    *outcome = STEP_FINISHED;
    return append_one(host, &d, STATUS_FINISHED, e);
}

struct err *err_masked(const struct agent_host *host, const struct err *why)
{
    autobuf text = {0};
    struct err *shown = NULL;
    mask_apply(host->mask(host->arg), str_from(why->text), &text);
    err_set(&shown, why->kind, "%.*s", STR_ARG(buf_str(&text)));
    if (why->code)
        err_set_code(&shown, why->code);
    return shown;
}

static void on_retry(void *arg, unsigned attempt, unsigned attempts, const struct err *why, double seconds)
{
    struct delta_mask *d = arg;
    autoerr shown = err_masked(d->host, why);
    delta_mask_reset(d);
    log_warn("conversation %.*s: model call failed (attempt %u of %u): %s; next in %.1f s",
             STR_ARG(d->host->conversation), attempt, attempts, err_text(shown), seconds);
}

static bool ask_model(struct agent *a, const struct tool_set *tools, const struct view *view,
                      const struct agent_host *host, struct arena *arena, struct llm_answer *answer,
                      struct err **e)
{
    struct llm *llm = agent_llm(a);
    struct delta_mask deltas;
    struct llm_request request = {
        .tools = step_llm_tools(tools, host->has_analyzer, arena),
        .tool_count = tools->n,
        .conversation = host->conversation,
        .turn = view_turns(view),
        .on_delta = llm_streams(llm) && host->delta ? delta_mask_add : NULL,
        .on_retry = on_retry,
        .arg = &deltas,
    };
    view_messages(view, llm_max_message_chars(llm), arena, &request.messages, &request.message_count);
    delta_mask_init(&deltas, host);
    bool ok = llm_complete(llm, &host->llm, &request, host->mailbox, arena, answer, e);
    if (ok && request.on_delta)
        delta_mask_flush(&deltas);
    delta_mask_deinit(&deltas);
    return ok;
}

/* Some failures are the model's own doing: it is told, and goes on. */
static bool tell_model(const struct agent_host *host, const struct err *why, bool *told, struct err **e)
{
    struct event_draft d;
    bool filtered = why->code && strcmp(why->code, "LLMContentPolicyViolationError") == 0;
    bool invalid = why->code && strcmp(why->code, "FunctionCallValidationError") == 0;
    *told = filtered || invalid;
    if (!*told)
        return true;
    event_draft_init(&d, EVENT_MESSAGE, SOURCE_USER);
    event_message_body(&d, "user", filtered ? STR(FILTERED) : str_from(why->text));
    return append_one(host, &d, 0, e);
}

/* The history does not fit, or the provider cannot read it: with a condenser the next step makes it shorter. */
static bool ask_condensation(const struct agent *a, const struct view *view, const struct agent_host *host,
                             const struct err *why, bool *asked, struct err **e)
{
    struct event_draft d;
    bool too_long = why->code && (strcmp(why->code, "LLMContextWindowExceedError") == 0 ||
                                  strcmp(why->code, "LLMMalformedConversationHistoryError") == 0);
    *asked = too_long && agent_condenses(a) && view->condense_requests < CONDENSE_OVERFLOWS_MAX;
    if (!*asked)
        return true;
    event_draft_init(&d, EVENT_CONDENSATION_REQUEST, SOURCE_ENVIRONMENT);
    return append_one(host, &d, 0, e);
}

static bool condense(struct agent *a, const struct tool_set *tools, struct view *view,
                     const struct agent_host *host, struct arena *arena, bool asked, bool *condensed,
                     struct err **e)
{
    const struct llm_tool *offered = step_llm_tools(tools, host->has_analyzer, arena);
    autoerr why = NULL;
    if (condense_step(&a->condensers, a->llm, offered, tools->n, view, host, asked, condensed, &why))
        return true;
    if (!why)
        return err_set(e, ERR_INTERNAL, "the condensation failed without a reason");
    if (e && !*e)
        *e = why->kind == ERR_CANCELLED ? steal(why) : err_masked(host, why);
    return false;
}

bool agent_condenses(const struct agent *a)
{
    return a->condensers.n > 0;
}

bool agent_condense(struct agent *a, struct view *view, const struct agent_host *host, struct err **e)
{
    autoarena arena = arena_new();
    bool condensed = false;
    if (!condense(a, step_tools(a, host, arena), view, host, arena, true, &condensed, e))
        return false;
    return condensed || err_set(e, ERR_INVALID, "there is nothing to condense yet");
}

/* What is named and not there may belong to a server that is still starting: that is waited for. */
static bool late_tools(const struct agent *a, const struct agent_host *host, struct arena *arena,
                       const struct tool_set **tools, struct err **e)
{
    if (!host->late_tools)
        return true;
    if (!host->late_tools(host->arg, e))
        return false;
    *tools = step_tools(a, host, arena);
    return true;
}

static bool answer_names_unknown(const struct tool_set *tools, const struct llm_answer *answer,
                                 struct arena *arena)
{
    for (size_t i = 0; i < answer->call_count; i++) {
        struct str arguments = answer->calls[i].arguments;
        if (!tool_resolve(tools, answer->calls[i].name, &arguments, arena))
            return true;
    }
    return false;
}

static bool open_names_unknown(const struct tool_set *tools, const struct view *view)
{
    for (size_t i = 0; i < view_open(view); i++) {
        struct view_action action;
        view_open_get(view, i, &action);
        if (!tool_set_find(tools, action.tool_name))
            return true;
    }
    return false;
}

bool agent_step(struct agent *a, struct view *view, const struct agent_host *host, enum step *outcome,
                struct err **e)
{
    *outcome = STEP_CONTINUE;
    if (!agent_check(a, e))
        return false;
    autoarena arena = arena_new();
    const struct tool_set *tools = step_tools(a, host, arena);
    if (open_names_unknown(tools, view) && !late_tools(a, host, arena, &tools, e))
        return false;
    if (view_open(view) > 0)
        return execute_open(a, tools, view, host, outcome, e);
    bool condensed = false;
    if (!condense(a, tools, view, host, arena, false, &condensed, e))
        return false;
    if (condensed)
        return true;
    if (view_image_asked(view) && !llm_vision(agent_llm(a)))
        return explain_no_vision(host, outcome, e);

    autoerr why = NULL;
    struct llm_answer answer = {0};
    bool told = false, asked = false, run = false;
    if (!ask_model(a, tools, view, host, arena, &answer, &why)) {
        if (!why)
            return err_set(e, ERR_INTERNAL, "the model call failed for an unknown reason");
        autoerr shown = err_masked(host, why);
        if (!tell_model(host, shown, &told, e) || !ask_condensation(a, view, host, shown, &asked, e))
            return false;
        if (!told && !asked && e)
            *e = steal(shown);
        return told || asked;
    }
    if (answer_names_unknown(tools, &answer, arena) && !late_tools(a, host, arena, &tools, e))
        return false;
    if (!answer_append(a, tools, view, host, &answer, arena, outcome, &run, e))
        return false;
    return !run || execute_open(a, tools, view, host, outcome, e);
}
