#include "api/app.h"
#include "base/cleanup.h"

/* What settings without a list of tools mean. */
#define DEFAULT_TOOLS                                                                  \
    "[{\"name\":\"terminal\",\"params\":{}},{\"name\":\"file_editor\",\"params\":{}}," \
    "{\"name\":\"task_tracker\",\"params\":{}}]"

/* The agent's model under another name in the stats. */
static void write_condenser_llm(struct json_writer *w, const struct json_value *llm)
{
    jw_object(w);
    for (struct json_iter it = json_iter(llm); json_next(&it);) {
        if (str_is(it.key, "usage_id"))
            continue;
        jw_key_str(w, it.key);
        jw_value(w, it.value);
    }
    jw_member_cstr(w, "usage_id", "condenser");
    jw_object_end(w);
}

/* The settings' condenser is a switch and its sizes, on unless it says
 * otherwise; the agent's is the object that does it, with the agent's model. */
static void write_condenser(struct json_writer *w, const struct json_value *settings)
{
    const struct json_value *c = json_get(settings, "condenser");
    struct str kind = json_get_str(c, "condenser_kind");
    if (!json_get_bool(c, "enabled", true) || (kind.n > 0 && !str_is(kind, "llm_summarizing")))
        return;
    jw_key(w, "condenser");
    jw_object(w);
    jw_key(w, "llm");
    write_condenser_llm(w, json_get(settings, "llm"));
    for (struct json_iter it = json_iter(c); json_next(&it);) {
        if (str_is(it.key, "enabled") || str_is(it.key, "condenser_kind") || str_is(it.key, "kind") ||
            json_is_null(it.value))
            continue;
        jw_key_str(w, it.key);
        jw_value(w, it.value);
    }
    jw_member_cstr(w, "kind", "LLMSummarizingCondenser");
    jw_object_end(w);
}

/* `context` with `added` behind its suffix. */
static void write_context(struct json_writer *w, const struct json_value *context, struct str added)
{
    struct str suffix = json_get_str(context, "system_message_suffix");
    autobuf text = {0};
    buf_add(&text, suffix);
    if (suffix.n > 0)
        buf_add(&text, STR("\n\n"));
    buf_add(&text, added);
    jw_key(w, "agent_context");
    jw_object(w);
    for (struct json_iter it = json_iter(context); json_next(&it);) {
        if (str_is(it.key, "system_message_suffix"))
            continue;
        jw_key_str(w, it.key);
        jw_value(w, it.value);
    }
    jw_member_str(w, "system_message_suffix", buf_str(&text));
    jw_object_end(w);
}

/* The members of the agent besides agent_context and kind. */
static void write_from_settings(struct json_writer *w, const struct json_value *settings)
{
    static const char *const same[] = {"mcp_config",
                                       "system_prompt",
                                       "filter_tools_regex",
                                       "include_default_tools",
                                       "tool_concurrency_limit",
                                       "system_prompt_kwargs"};
    jw_member_value(w, "llm", json_get(settings, "llm"));
    jw_key(w, "tools");
    if (json_is_null(json_get(settings, "tools")))
        jw_raw(w, STR(DEFAULT_TOOLS));
    else
        jw_value(w, json_get(settings, "tools"));
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        if (!json_is_null(json_get(settings, same[i])))
            jw_member_value(w, same[i], json_get(settings, same[i]));
    write_condenser(w, settings);
}

static void write_from_agent(struct json_writer *w, const struct json_value *agent)
{
    for (struct json_iter it = json_iter(agent); json_next(&it);) {
        if (str_is(it.key, "agent_context") || str_is(it.key, "kind"))
            continue;
        jw_key_str(w, it.key);
        jw_value(w, it.value);
    }
}

struct json_doc *agent_make(struct str added, const struct json_value *agent,
                            const struct json_value *settings)
{
    const struct json_value *from = agent ? agent : settings;
    const struct json_value *context = json_get(from, "agent_context");
    if (agent && added.n == 0)
        return NULL;
    autobuf text = {0};
    struct json_writer w = json_writer(&text);
    jw_object(&w);
    if (agent)
        write_from_agent(&w, from);
    else
        write_from_settings(&w, from);
    if (added.n > 0)
        write_context(&w, context, added);
    else if (!json_is_null(context))
        jw_member_value(&w, "agent_context", context);
    jw_member_cstr(&w, "kind", "Agent");
    jw_object_end(&w);
    return json_parse_trusted(buf_str(&text), NULL);
}
