/* Running the open actions. Their results are appended together, in call order, when the last one is done: a client that
 * shows a batch gets it whole. What was done before an interrupt is still recorded. */
#include "agent/internal.h"
#include "base/vec.h"

typedef VEC(struct event_draft) draft_list;

static void drafts_deinit(draft_list *d)
{
    for (size_t i = 0; i < d->n; i++)
        event_draft_deinit(&d->at[i]);
    vec_deinit(d);
}

static struct event_draft *draft_new(draft_list *drafts, enum event_kind kind, enum event_source source)
{
    struct event_draft d;
    event_draft_init(&d, kind, source);
    vec_push(drafts, d);
    return &drafts->at[drafts->n - 1];
}

static void error_draft(draft_list *drafts, const struct agent_host *host, const struct view_action *action,
                        struct str text, const char *classification)
{
    autobuf masked = {0};
    mask_apply(host->mask(host->arg), text, &masked);
    struct event_draft *d = draft_new(drafts, EVENT_AGENT_ERROR, SOURCE_AGENT);
    event_agent_error_body(d, action->tool_name, action->tool_call_id, buf_str(&masked), classification);
}

static const char *classification_of(enum err_kind kind)
{
    if (kind == ERR_GONE || kind == ERR_TIMEOUT || kind == ERR_BUSY || kind == ERR_IO)
        return "transient";
    return kind == ERR_INTERNAL ? "internal" : "agent_action";
}

static void image_write(struct json_writer *w, struct str url)
{
    jw_object(w);
    jw_member_bool(w, "cache_prompt", false);
    jw_member_cstr(w, "type", "image");
    jw_key(w, "image_urls");
    jw_array(w);
    jw_str(w, url);
    jw_array_end(w);
    jw_object_end(w);
}

static void observation_draft(draft_list *drafts, const struct agent_host *host,
                              const struct view_action *action, const struct tool *tool,
                              const struct tool_result *result)
{
    autobuf text = {0};
    char id[UUID_DASHED_LEN + 1];
    mask_apply(host->mask(host->arg), buf_str(&result->text), &text);
    struct event_draft *d = draft_new(drafts, EVENT_OBSERVATION, SOURCE_ENVIRONMENT);
    struct json_writer w = event_body_writer(d);
    jw_member_str(&w, "tool_name", action->tool_name);
    jw_member_str(&w, "tool_call_id", action->tool_call_id);
    jw_key(&w, "observation");
    jw_object(&w);
    jw_key(&w, "content");
    jw_array(&w);
    if (text.n > 0 || result->image.n == 0)
        event_text_content(&w, buf_str(&text));
    if (result->image.n > 0)
        image_write(&w, buf_str(&result->image));
    jw_array_end(&w);
    jw_member_bool(&w, "is_error", result->is_error);
    if (result->observation.n > 0) {
        buf_add_char(&d->body, ',');
        buf_add(&d->body, buf_str(&result->observation));
    }
    jw_member_cstr(&w, "kind", tool->observation);
    jw_object_end(&w);
    jw_member_str(&w, "action_id", uuid_dashed(&action->id, id));
    jw_member_raw(&w, "extended_content", STR("[]"));
    event_draft_reduce(d);
}

/* One action. False: interrupted, and there is no result. */
static bool action_run(const struct tool_set *tools, const struct view_action *action,
                       const struct agent_host *host, struct execution *execution, draft_list *drafts,
                       bool *finished)
{
    autoerr why = NULL;
    struct tool_result result = {0};
    const struct tool *tool = tool_set_find(tools, action->tool_name);
    if (!tool) {
        err_set(&why, ERR_INVALID, "Tool '%.*s' not found: this agent no longer has it.",
                STR_ARG(action->tool_name));
        error_draft(drafts, host, action, str_from(err_text(why)), "agent_action");
        return true;
    }
    execution->run.name = action->tool_name;
    execution->run.tool = tool;
    execution->run.call_id = action->tool_call_id;
    execution->run.action_id = action->id;
    execution->run.action = action->action;
    bool ok = tool->run(&execution->run, &result, &why), interrupted = false;
    if (ok) {
        observation_draft(drafts, host, action, tool, &result);
        *finished |= result.finished;
        execution->terminal_seen |= tool == &tool_terminal;
    } else if (why && why->kind == ERR_CANCELLED) {
        interrupted = true;
    } else {
        error_draft(drafts, host, action, str_from(err_text(why)),
                    classification_of(why ? why->kind : ERR_INTERNAL));
    }
    buf_deinit(&result.observation);
    buf_deinit(&result.text);
    buf_deinit(&result.image);
    return !interrupted;
}

static bool actions_run(const struct tool_set *tools, const struct view *view, const struct agent_host *host,
                        draft_list *drafts, bool *finished)
{
    autoarena arena = arena_new();
    struct execution execution = {.run = {.host = host, .arena = arena},
                                  .terminal_seen = view_terminal_seen(view)};
    for (size_t i = 0; i < view_open(view); i++) {
        struct view_action action;
        view_open_get(view, i, &action);
        if (*finished) {
            error_draft(drafts, host, &action,
                        STR("This call was not executed: it came after `finish` in the same answer."),
                        "agent_action");
            continue;
        }
        if (mailbox_cancelled(host->mailbox) ||
            !action_run(tools, &action, host, &execution, drafts, finished))
            return false;
    }
    return true;
}

bool execute_open(const struct tool_set *tools, const struct view *view, const struct agent_host *host,
                  enum step *outcome, struct err **e)
{
    draft_list drafts = {0};
    bool finished = false;
    bool complete = actions_run(tools, view, host, &drafts, &finished);
    struct agent_update update = {.status = finished ? STATUS_FINISHED : 0};
    bool ok = drafts.n == 0 || host->append(host->arg, drafts.at, drafts.n, &update, e);
    drafts_deinit(&drafts);
    if (ok && !complete)
        return err_set(e, ERR_CANCELLED, "interrupted");
    if (ok && finished)
        *outcome = STEP_FINISHED;
    return ok;
}
