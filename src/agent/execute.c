/* Running the open actions. Their results are appended together, in call order, when the last one is done: a client that
 * shows a batch gets it whole. What was done before an interrupt is still recorded. */
#include "agent/internal.h"
#include "base/vec.h"

typedef struct event_drafts draft_list;

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

static void image_write(struct json_writer *w, struct str urls)
{
    struct str url;
    jw_object(w);
    jw_member_bool(w, "cache_prompt", false);
    jw_member_cstr(w, "type", "image");
    jw_key(w, "image_urls");
    jw_array(w);
    while (str_split(&urls, '\n', &url))
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

/* What a job leaves in the log. False: no result, or not all of what follows it, since it was interrupted or not begun. */
static bool job_record(const struct agent_host *host, struct job *j, draft_list *drafts)
{
    for (size_t i = 0; i < j->drafts.n; i++)
        vec_push(drafts, j->drafts.at[i]);
    j->drafts.n = 0;
    if (!j->tool) {
        autobuf text = {0};
        buf_addf(&text, "Tool '%.*s' not found: this agent no longer has it.", STR_ARG(j->action.tool_name));
        error_draft(drafts, host, &j->action, buf_str(&text), "agent_action");
    } else if (j->blocked.n > 0) {
        host->blocked(host->arg, HOOK_PRE_TOOL_USE, &j->action.id, buf_str(&j->blocked));
    } else if (j->ran && !j->ok && !j->interrupted) {
        error_draft(drafts, host, &j->action, str_from(err_text(j->error)),
                    classification_of(j->error ? j->error->kind : ERR_INTERNAL));
    }
    return !j->tool || (j->ran && !j->interrupted);
}

void job_run(struct job *j)
{
    struct execution *x = &j->execution;
    x->run.name = j->action.tool_name;
    x->run.tool = j->tool;
    x->run.call_id = j->action.tool_call_id;
    x->run.action_id = j->action.id;
    x->run.action = j->action.action;
    j->interrupted = !hooks_before_tool(x->run.host, &j->action, &j->drafts, &j->blocked, NULL);
    j->ran = !j->interrupted;
    if (j->interrupted || j->blocked.n > 0)
        return;
    j->ok = j->tool->run(&x->run, &j->result, &j->error);
    if (j->ok) {
        observation_draft(&j->drafts, x->run.host, &j->action, j->tool, &j->result);
        j->interrupted = !hooks_after_tool(x->run.host, &j->action, &j->drafts, NULL);
    } else {
        j->interrupted = j->error && j->error->kind == ERR_CANCELLED;
    }
}

static void jobs_deinit(struct job *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_deinit(&jobs[i].result.observation);
        buf_deinit(&jobs[i].result.text);
        buf_deinit(&jobs[i].result.image);
        buf_deinit(&jobs[i].blocked);
        event_drafts_deinit(&jobs[i].drafts);
        err_free(jobs[i].error);
    }
}

/* The open actions as jobs, and those of them that have a tool. */
static void jobs_make(const struct tool_set *tools, const struct view *view, const struct agent_host *host,
                      struct arena *arena, struct buf *tasks, struct job *jobs, size_t n)
{
    buf_add(tasks, view_tasks(view));
    for (size_t i = 0; i < n; i++) {
        struct job *j = &jobs[i];
        view_open_get(view, i, &j->action);
        j->tool = tool_set_find(tools, j->action.tool_name);
        j->execution.run = (struct tool_run){.host = host, .arena = arena};
        j->execution.terminal_seen = view_terminal_seen(view);
        j->execution.tasks = tasks;
    }
}

/* Runs the jobs up to and with the first `finish`; what comes behind it is not executed at all. */
static void jobs_execute(const struct agent *a, struct job *jobs, size_t n, const struct agent_host *host,
                         struct arena *arena)
{
    struct job **runnable = arena_alloc(arena, (n ? n : 1) * sizeof(struct job *));
    struct job *finish = NULL;
    size_t count = 0;
    for (size_t i = 0; i < n && !finish; i++) {
        if (jobs[i].tool == &tool_finish)
            finish = &jobs[i];
        else if (jobs[i].tool)
            runnable[count++] = &jobs[i];
    }
    jobs_run(runnable, count, agent_concurrency(a), host);
    if (finish)
        jobs_run(&finish, 1, 1, host);
}

static bool actions_run(const struct agent *a, const struct tool_set *tools, const struct view *view,
                        const struct agent_host *host, draft_list *drafts, bool *finished)
{
    autoarena arena = arena_new();
    size_t n = view_open(view);
    struct job *jobs = arena_alloc(arena, (n ? n : 1) * sizeof(*jobs));
    memset(jobs, 0, n * sizeof(*jobs));
    autobuf tasks = {0};
    jobs_make(tools, view, host, arena, &tasks, jobs, n);
    bool complete = true, behind = false;
    jobs_execute(a, jobs, n, host, arena);
    for (size_t i = 0; i < n; i++) {
        if (behind)
            error_draft(drafts, host, &jobs[i].action,
                        STR("This call was not executed: it came after `finish` in the same answer."),
                        "agent_action");
        else
            complete &= job_record(host, &jobs[i], drafts);
        *finished |= jobs[i].result.finished;
        behind |= jobs[i].tool == &tool_finish && jobs[i].ran; /* also if a hook did not let it finish */
    }
    jobs_deinit(jobs, n);
    return complete;
}

bool execute_open(const struct agent *a, const struct tool_set *tools, const struct view *view,
                  const struct agent_host *host, enum step *outcome, struct err **e)
{
    draft_list drafts = {0};
    bool finished = false;
    bool complete = actions_run(a, tools, view, host, &drafts, &finished);
    struct agent_update update = {.status = finished ? STATUS_FINISHED : 0};
    bool ok = drafts.n == 0 || host->append(host->arg, drafts.at, drafts.n, &update, e);
    event_drafts_deinit(&drafts);
    if (ok && !complete)
        return err_set(e, ERR_CANCELLED, "interrupted");
    if (ok && finished)
        *outcome = STEP_FINISHED;
    return ok;
}
