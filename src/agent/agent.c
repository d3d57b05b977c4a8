/* The decoded configuration of one Agent object. */
#include "agent/agent_config.h"
#include "mcp/mcp.h"
#include <stdatomic.h>
#include <stdlib.h>

#define CONCURRENCY_MAX 16 /* tools of one conversation at once, whatever its configuration says */

/* A suffix or prompt of a client that is larger is refused. */
#define PROMPT_MAX (1024 * 1024)

struct agent *agent_ref(struct agent *a)
{
    if (a)
        atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    return a;
}

void agent_unref(struct agent *a)
{
    if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    llm_unref(a->llm);
    condensers_deinit(&a->condensers);
    context_deinit(a);
    buf_deinit(&a->unknown_tool);
    buf_deinit(&a->system_prompt);
    buf_deinit(&a->suffix);
    buf_deinit(&a->current_datetime);
    buf_deinit(&a->mcp_servers);
    tool_filter_free(a->filter);
    free(a);
}

static void tool_add(struct agent *a, struct str name)
{
    const struct tool *tool = tool_find(name);
    bool passes = tool && (tool->is_default || agent_filter_passes(a, str_from(tool->name)));
    if (passes)
        tool_set_add(&a->tools, tool);
    else if (!tool && a->unknown_tool.n == 0)
        buf_add(&a->unknown_tool, str_sub(name, 0, 100));
}

/* A list of {"name", "params"}, of names, or a single one (as an old documentation page prints it). */
static bool tools_read(struct agent *a, const struct json_value *tools, struct err **e)
{
    if (json_type(tools) == JSON_OBJECT) {
        tool_add(a, json_get_str(tools, "name"));
        return true;
    }
    if (!json_is_null(tools) && json_type(tools) != JSON_ARRAY)
        return err_set(e, ERR_INVALID, "agent.tools should be a list");
    for (struct json_iter it = json_iter(tools); json_next(&it);) {
        struct str name =
            json_type(it.value) == JSON_STRING ? json_str(it.value) : json_get_str(it.value, "name");
        if (name.n == 0)
            return err_set(e, ERR_INVALID, "agent.tools.%zu.name is missing", it.index);
        tool_add(a, name);
    }
    return true;
}

static bool defaults_read(struct agent *a, const struct json_value *names, struct err **e)
{
    if (json_is_null(names)) {
        for (size_t i = 0; tool_at(i); i++) {
            if (tool_at(i)->is_default)
                tool_set_add(&a->tools, tool_at(i));
        }
        return true;
    }
    if (json_type(names) != JSON_ARRAY)
        return err_set(e, ERR_INVALID, "agent.include_default_tools should be a list");
    for (struct json_iter it = json_iter(names); json_next(&it);)
        tool_add(a, json_str(it.value));
    return true;
}

static bool text_read(const struct json_value *parent, const char *key, const char *where, struct buf *out,
                      struct err **e)
{
    const struct json_value *v = json_get(parent, key);
    if (json_is_null(v))
        return true;
    if (json_type(v) != JSON_STRING)
        return err_set(e, ERR_INVALID, "%s%s should be a string", where, key);
    if (json_str(v).n > PROMPT_MAX)
        return err_set(e, ERR_TOO_LARGE, "%s%s has more than %d bytes", where, key, PROMPT_MAX);
    buf_add(out, json_str(v));
    return true;
}

static bool concurrency_read(struct agent *a, const struct json_value *v, struct err **e)
{
    int64_t limit = json_int(v, 1);
    if (!json_is_null(v) && (json_type(v) != JSON_INT || limit < 1))
        return err_set(e, ERR_INVALID, "agent.tool_concurrency_limit should be a whole number of at least 1");
    a->concurrency = limit < CONCURRENCY_MAX ? (size_t)limit : CONCURRENCY_MAX;
    return true;
}

static bool filter_read(struct agent *a, const struct json_value *v, struct err **e)
{
    if (!json_is_null(v) && json_type(v) != JSON_STRING)
        return err_set(e, ERR_INVALID, "agent.filter_tools_regex should be a string");
    return json_str(v).n == 0 || (a->filter = tool_filter_new(json_str(v), e));
}

static bool mcp_read(struct agent *a, const struct json_value *v, struct err **e)
{
    return mcp_config_check(v, &a->mcp_servers, e) || err_prefix(e, "agent");
}

static bool config_read(struct agent *a, const struct json_value *config,
                        const char *(*env)(const char *name), struct err **e)
{
    const struct json_value *context = json_get(config, "agent_context");
    struct str kind = json_get_str(config, "kind");
    if (json_type(config) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "agent should be an object");
    if (kind.n > 0 && !str_is(kind, "Agent"))
        return err_set(e, ERR_INVALID, "agent.kind '%.*s' is not supported; it should be 'Agent'",
                       STR_ARG(str_sub(kind, 0, 60)));
    if (json_type(json_get(config, "llm")) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "agent.llm is missing");
    if (!(a->llm = llm_new(json_get(config, "llm"), env, e)))
        return err_prefix(e, "agent.llm");
    a->has_analyzer = !json_is_null(json_get(config, "security_analyzer"));
    a->has_prompt = !json_is_null(json_get(config, "system_prompt"));
    return filter_read(a, json_get(config, "filter_tools_regex"), e) &&
           mcp_read(a, json_get(config, "mcp_config"), e) && tools_read(a, json_get(config, "tools"), e) &&
           concurrency_read(a, json_get(config, "tool_concurrency_limit"), e) &&
           condensers_read(&a->condensers, json_get(config, "condenser"), env, e) &&
           defaults_read(a, json_get(config, "include_default_tools"), e) &&
           text_read(config, "system_prompt", "agent.", &a->system_prompt, e) &&
           text_read(context, "system_message_suffix", "agent.agent_context.", &a->suffix, e) &&
           text_read(context, "user_message_suffix", "agent.agent_context.", &a->user_suffix, e) &&
           text_read(context, "current_datetime", "agent.agent_context.", &a->current_datetime, e) &&
           text_read(config, "system_prompt_filename", "agent.", &a->template_path, e) &&
           context_read(a, config, e);
}

struct agent *agent_new(const struct json_value *config, const char *(*env)(const char *name), struct err **e)
{
    struct agent *a = xcalloc(1, sizeof(*a));
    a->refs = 1;
    if (!config_read(a, config, env, e)) {
        agent_unref(a);
        return NULL;
    }
    return a;
}

struct llm *agent_llm(const struct agent *a)
{
    return a->llm;
}

size_t agent_concurrency(const struct agent *a)
{
    return a->concurrency;
}

struct str agent_mcp_servers(const struct agent *a)
{
    return buf_str(&a->mcp_servers);
}

const struct tool_set *step_tools(const struct agent *a, const struct agent_host *host, struct arena *arena)
{
    struct tool_set *set = arena_alloc(arena, sizeof(*set));
    *set = a->tools;
    for (size_t i = 0; i < host->extra_tool_count; i++)
        tool_set_add(set, host->extra_tools[i]);
    return set;
}

const struct llm_tool *step_llm_tools(const struct tool_set *tools, bool with_risk, struct arena *arena)
{
    struct llm_tool *out = arena_alloc(arena, tools->n * sizeof(*out));
    for (size_t i = 0; i < tools->n; i++) {
        const struct tool *t = tools->at[i];
        out[i] = (struct llm_tool){str_from(t->name), str_from(t->description),
                                   tool_parameters_text(t, with_risk)};
    }
    return out;
}

bool agent_check(const struct agent *a, struct err **e)
{
    if (a->unknown_tool.n == 0)
        return true;
    err_set(e, ERR_INVALID, "The agent's configuration names the tool '%.*s', which does not exist here.",
            STR_ARG(buf_str(&a->unknown_tool)));
    err_set_code(e, "KeyError");
    return false;
}
