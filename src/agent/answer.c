/* From a model's answer to events. All calls of an answer are appended at once, with its usage, before the first is run. */
#include "agent/analyzer/analyzer.h"
#include "agent/internal.h"
#include "base/utf8.h"

#define NAME_MAX_BYTES 64 /* of a tool's name as a provider takes it back */
#define NAME_SHOWN 100    /* characters of an unknown name in the error */
#define UNPARSED_MAX 4000 /* bytes of arguments that are too large to be kept */
#define EMPTY_ANSWER                                                                                                   \
    "Your last answer had neither a message nor a tool call. Go on with the task by calling a tool; when it is done, " \
    "call `finish` or write a message."

struct prepared { /* a call of the answer */
    struct uuid id;
    struct str name, call_id, given; /* `given`: arguments as they came, bounded */
    const struct tool *tool;
    struct tool_arguments arguments;
    struct str error; /* why it cannot be run; STR_NONE: it can */
};

struct turn {
    struct agent *agent;
    const struct tool_set *tools;
    const struct view *view;
    const struct agent_host *host;
    const struct llm_answer *answer;
    struct arena *arena;
    struct prepared *calls;
    size_t n, valid;
};

/* --- preparing calls --- */

static struct str masked(const struct turn *t, struct str text)
{
    autobuf out = {0};
    const struct mask *m = t->host->mask(t->host->arg);
    return mask_longest(m) > 0 && mask_apply(m, text, &out) ? arena_str(t->arena, buf_str(&out)) : text;
}

static struct str call_id_new(struct arena *arena)
{
    char hex[UUID_HEX_LEN + 1];
    struct uuid id = uuid_random();
    return arena_printf(arena, "call_%.*s", 24, uuid_hex(&id, hex).p);
}

static bool call_id_taken(const struct turn *t, struct str id, size_t before)
{
    for (size_t i = 0; i < before; i++) {
        if (str_eq(t->calls[i].call_id, id))
            return true;
    }
    return view_call_seen(t->view, id);
}

static struct str name_as_given(struct str name, struct arena *arena)
{
    size_t n = 0;
    while (n < name.n && n < NAME_MAX_BYTES &&
           ((name.p[n] >= 'a' && name.p[n] <= 'z') || (name.p[n] >= 'A' && name.p[n] <= 'Z') ||
            (name.p[n] >= '0' && name.p[n] <= '9') || name.p[n] == '_' || name.p[n] == '-'))
        n++;
    return n > 0 ? arena_str(arena, str_sub(name, 0, n)) : STR("unknown");
}

static struct str unknown_tool(const struct turn *t, struct str name)
{
    autobuf text = {0};
    const struct tool_set *tools = t->tools;
    buf_addf(&text, "Tool '%.*s' not found. The tools are: ", STR_ARG(utf8_prefix(name, NAME_SHOWN)));
    for (size_t i = 0; i < tools->n; i++)
        buf_addf(&text, "%s%s", i ? ", " : "", tools->at[i]->name);
    buf_add_char(&text, '.');
    return arena_str(t->arena, buf_str(&text));
}

/* The call stays in the log as the model made it, so that it sees what was wrong; what is too large only in part. */
static struct str arguments_as_given(struct str given, struct arena *arena)
{
    if (given.n <= LLM_ARGUMENTS_MAX)
        return given.p ? given : STR("");
    autobuf text = {0};
    struct json_writer w = json_writer_python(&text);
    jw_object(&w);
    jw_member_str(&w, "beginning", utf8_prefix_bytes(given, UNPARSED_MAX));
    jw_object_end(&w);
    return arena_str(arena, buf_str(&text));
}

/* The analyzer sees the whole action, and what is said with the answer's first one. */
static void call_judge(const struct turn *t, struct prepared *p, bool first)
{
    struct analyzed analyzed = {
        .action = p->arguments.action,
        .tool = p->name,
        .summary = p->arguments.summary,
        .thought = first ? t->answer->text : STR_NONE,
        .reasoning = first ? t->answer->reasoning : STR_NONE,
        .said = risk_parse(p->arguments.risk),
    };
    if (t->host->analyzer)
        p->arguments.risk = str_from(risk_name(analyzer_judge(t->host->analyzer, &analyzed)));
}

static void call_prepare(struct turn *t, size_t index)
{
    const struct llm_call *call = &t->answer->calls[index];
    struct prepared *p = &t->calls[index];
    struct str arguments = call->arguments;
    autoerr why = NULL;
    p->id = uuid_random();
    p->call_id = call->id.n == 0 || call_id_taken(t, call->id, index) ? call_id_new(t->arena) : call->id;
    p->given = arguments_as_given(call->arguments, t->arena);
    p->tool = tool_resolve(t->tools, call->name, &arguments, t->arena);
    p->name = p->tool ? str_from(p->tool->name) : name_as_given(masked(t, call->name), t->arena);
    if (!p->tool)
        p->error = unknown_tool(t, masked(t, call->name));
    else if (!tool_decode(p->tool, arguments, t->host->has_analyzer, t->host->mask(t->host->arg), t->arena,
                          &p->arguments, &why))
        p->error = arena_str(t->arena, str_from(err_text(why)));
    else
        call_judge(t, p, index == 0);
    t->valid += !p->error.p;
}

/* --- events --- */

static void action_body(const struct turn *t, const struct prepared *p, bool first, struct event_draft *d)
{
    struct json_writer w = event_body_writer(d);
    struct str text = first ? masked(t, str_trim(t->answer->text)) : STR_NONE;
    jw_key(&w, "thought");
    jw_array(&w);
    if (text.n > 0)
        event_text_content(&w, text);
    jw_array_end(&w);
    if (first && t->answer->reasoning.n > 0)
        jw_member_str(&w, "reasoning_content", masked(t, t->answer->reasoning));
    jw_member_raw(&w, "thinking_blocks", STR("[]"));
    if (!p->error.p)
        jw_member_raw(&w, "action", p->arguments.action);
    jw_member_str(&w, "tool_name", p->name);
    jw_member_str(&w, "tool_call_id", p->call_id);
    jw_key(&w, "tool_call");
    jw_object(&w);
    jw_member_str(&w, "id", p->call_id);
    jw_member_str(&w, "name", p->name);
    jw_member_str(&w, "arguments", p->error.p ? p->given : p->arguments.normalized);
    jw_member_cstr(&w, "origin", "completion");
    jw_object_end(&w);
    jw_member_str(&w, "llm_response_id", t->answer->id);
    jw_member_str(&w, "security_risk", p->error.p ? STR("UNKNOWN") : p->arguments.risk);
    if (!p->error.p)
        jw_member_str(&w, "summary", masked(t, p->arguments.summary));
    event_draft_reduce(d);
}

static bool append(const struct turn *t, struct event_draft *drafts, size_t n, enum status status,
                   struct err **e)
{
    struct llm *llm = agent_llm(t->agent);
    struct agent_update update = {
        .status = status, .usage = &t->answer->usage, .model = llm_model(llm), .usage_id = llm_usage_id(llm)};
    bool ok = t->host->append(t->host->arg, drafts, n, &update, e);
    for (size_t i = 0; i < n; i++)
        event_draft_deinit(&drafts[i]);
    return ok;
}

/* One finish or think alone is harmless: it is never asked about. */
static bool asks(const struct turn *t)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct prepared *p = &t->calls[i];
        if (p->error.p || (t->valid == 1 && p->tool->is_default))
            continue;
        if (policy_asks(&t->host->policy, risk_parse(p->arguments.risk)))
            return true;
    }
    return false;
}

static bool append_calls(struct turn *t, enum step *outcome, bool *run, struct err **e)
{
    struct event_draft *drafts = arena_alloc(t->arena, 2 * t->n * sizeof(*drafts));
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        event_draft_init(&drafts[n], EVENT_ACTION, SOURCE_AGENT);
        drafts[n].id = t->calls[i].id;
        action_body(t, &t->calls[i], i == 0, &drafts[n++]);
    }
    for (size_t i = 0; i < t->n; i++) {
        const struct prepared *p = &t->calls[i];
        if (!p->error.p)
            continue;
        event_draft_init(&drafts[n], EVENT_AGENT_ERROR, SOURCE_AGENT);
        event_agent_error_body(&drafts[n++], p->name, p->call_id, masked(t, p->error), "agent_action");
    }
    bool waits = t->valid > 0 && asks(t);
    if (!append(t, drafts, n, waits ? STATUS_WAITING_FOR_CONFIRMATION : 0, e))
        return false;
    *run = t->valid > 0 && !waits;
    *outcome = waits ? STEP_WAITING : STEP_CONTINUE;
    return true;
}

static bool append_message(struct turn *t, enum step *outcome, struct err **e)
{
    struct event_draft drafts[2];
    struct str text = masked(t, str_trim(t->answer->text));
    event_draft_init(&drafts[0], EVENT_MESSAGE, SOURCE_AGENT);
    event_answer_body(&drafts[0], text, masked(t, t->answer->reasoning), t->answer->id);
    if (text.n > 0) {
        *outcome = STEP_FINISHED;
        return append(t, drafts, 1, STATUS_FINISHED, e);
    }
    event_draft_init(&drafts[1], EVENT_MESSAGE, SOURCE_ENVIRONMENT);
    event_message_body(&drafts[1], "user", STR(EMPTY_ANSWER));
    *outcome = STEP_CONTINUE;
    return append(t, drafts, 2, 0, e);
}

bool answer_append(struct agent *a, const struct tool_set *tools, const struct view *view,
                   const struct agent_host *host, const struct llm_answer *answer, struct arena *arena,
                   enum step *outcome, bool *run, struct err **e)
{
    struct turn t = {
        .agent = a, .tools = tools, .view = view, .host = host, .answer = answer, .arena = arena};
    *run = false;
    if (answer->call_count == 0)
        return append_message(&t, outcome, e);
    t.n = answer->call_count < LLM_CALLS_MAX ? answer->call_count : LLM_CALLS_MAX;
    t.calls = arena_alloc(arena, t.n * sizeof(*t.calls));
    for (size_t i = 0; i < t.n; i++)
        call_prepare(&t, i);
    return append_calls(&t, outcome, run, e);
}
