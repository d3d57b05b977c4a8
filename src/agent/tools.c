/* The table of tools. */
#include "agent/internal.h"
#include <pthread.h>

static const struct tool *const tools[] = {&tool_terminal, &tool_file_editor,  &tool_task_tracker,
                                           &tool_glob,     &tool_grep,         &tool_apply_patch,
                                           &tool_finish,   &tool_invoke_skill, &tool_think};

#define RISK_SCHEMA                                                                                                 \
    "{\"type\":\"string\",\"enum\":[\"UNKNOWN\",\"LOW\",\"MEDIUM\",\"HIGH\"],\"description\":\"How much harm this " \
    "call could do: LOW for reading, MEDIUM for changes inside the workspace, HIGH for anything that reaches "      \
    "outside of it, cannot be undone or sends data away, UNKNOWN if you cannot tell.\"}"
#define SUMMARY_SCHEMA "{\"type\":\"string\",\"description\":\"What this call does, in about ten words.\"}"

const struct tool *tool_at(size_t index)
{
    return index < ARRAY_LEN(tools) ? tools[index] : NULL;
}

const struct tool *tool_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
        const struct tool *t = tools[i];
        if (str_is(name, t->name) || str_is(name, t->kind) || (t->alias && str_is(name, t->alias)))
            return t;
    }
    return NULL;
}

static void meta_write(bool with_risk, struct json_writer *w)
{
    if (with_risk)
        jw_member_raw(w, "security_risk", STR(RISK_SCHEMA));
    jw_member_raw(w, "summary", STR(SUMMARY_SCHEMA));
}

void tool_parameters(const struct tool *tool, bool with_risk, struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_object(&w);
    jw_member_cstr(&w, "type", "object");
    jw_key(&w, "properties");
    jw_object(&w);
    meta_write(with_risk && !tool->read_only, &w);
    for (size_t i = 0; i < tool->parameters->count; i++) {
        jw_key(&w, tool->parameters->fields[i].name);
        json_field_schema_write(&tool->parameters->fields[i], &w);
    }
    jw_object_end(&w);
    jw_key(&w, "required");
    jw_array(&w);
    for (size_t i = 0; i < tool->parameters->count; i++) {
        if (tool->parameters->fields[i].flags & FIELD_REQUIRED)
            jw_cstr(&w, tool->parameters->fields[i].name);
    }
    jw_array_end(&w);
    jw_object_end(&w);
}

void tool_schema_text(const struct json_value *schema, bool with_risk, struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_object(&w);
    jw_member_cstr(&w, "type", "object");
    jw_key(&w, "properties");
    jw_object(&w);
    meta_write(with_risk, &w);
    for (struct json_iter it = json_iter(json_get(schema, "properties")); json_next(&it);) {
        jw_key_str(&w, it.key);
        jw_value(&w, it.value);
    }
    jw_object_end(&w);
    for (struct json_iter it = json_iter(schema); json_next(&it);) {
        if (str_is(it.key, "type") || str_is(it.key, "properties") || str_is(it.key, "$schema"))
            continue;
        jw_key_str(&w, it.key);
        jw_value(&w, it.value);
    }
    jw_object_end(&w);
}

/* Every agent of the process shares these. */
static struct buf parameters[ARRAY_LEN(tools)][2];
static pthread_once_t parameters_once = PTHREAD_ONCE_INIT;

static void parameters_make(void)
{
    for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
        tool_parameters(tools[i], false, &parameters[i][0]);
        tool_parameters(tools[i], true, &parameters[i][1]);
    }
}

struct str tool_parameters_text(const struct tool *tool, bool with_risk)
{
    if (!tool->parameters)
        return tool->schema[with_risk && !tool->read_only];
    pthread_once(&parameters_once, parameters_make);
    for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
        if (tools[i] == tool)
            return buf_str(&parameters[i][with_risk]);
    }
    return STR("{}");
}

const struct tool *tool_set_find(const struct tool_set *set, struct str name)
{
    for (size_t i = 0; i < set->n; i++) {
        if (str_is(name, set->at[i]->name))
            return set->at[i];
    }
    return NULL;
}

bool tool_set_add(struct tool_set *set, const struct tool *tool)
{
    if (set->n == ARRAY_LEN(set->at) || tool_set_find(set, str_from(tool->name)))
        return false;
    set->at[set->n++] = tool;
    return true;
}
