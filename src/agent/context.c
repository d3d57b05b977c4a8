/* What an agent is taught: its skills, and its system prompt where that is the client's own. */
#include "agent/agent_config.h"
#include "agent/jinja/jinja.h"
#include "base/log.h"
#include "base/path.h"

#define TEMPLATE_PATH_MAX 4096 /* bytes: PATH_MAX */

/* ---- system prompts ---- */

/* Names of prompts that come with a server. Those of earlier servers mean ours, too. */
static const char *const default_names[] = {"system_prompt.j2", "system_prompt_interactive.j2",
                                            "system_prompt_long_horizon.j2",
                                            "system_prompt_tech_philosophy.j2"};
#define PLANNING_NAME "system_prompt_planning.j2"

static bool is_default_name(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(default_names); i++) {
        if (str_is(name, default_names[i]))
            return true;
    }
    return name.n == 0;
}

static bool file_name_read(struct agent *a, struct err **e)
{
    struct str name = buf_str(&a->template_path);
    a->planning = str_is(name, PLANNING_NAME);
    if (!is_default_name(name) && a->has_prompt)
        return err_set(e, ERR_INVALID,
                       "agent.system_prompt and agent.system_prompt_filename cannot be given both");
    if (is_default_name(name) || a->planning)
        return true;
    if (!path_is_absolute(name) || name.n > TEMPLATE_PATH_MAX || str_find_char(name, '\0') >= 0)
        return err_set(
            e, ERR_INVALID,
            "agent.system_prompt_filename '%.*s' is not known here: it should be 'system_prompt.j2', "
            "'" PLANNING_NAME "' or an absolute path",
            STR_ARG(str_sub(name, 0, 100)));
    a->wants.template_path = name;
    return true;
}

/* What a template may use: the client's system_prompt_kwargs, and what it does not say of what templates expect. */
static struct json_doc *variables_make(const struct agent *a, const struct json_value *config)
{
    const struct json_value *given = json_get(config, "system_prompt_kwargs");
    struct str policy = json_get_str(config, "security_policy_filename");
    autobuf text = {0};
    struct json_writer w = json_writer(&text);
    jw_object(&w);
    for (struct json_iter it = json_iter(given); json_next(&it);) {
        jw_key_str(&w, it.key);
        jw_value(&w, it.value);
    }
    if (!json_get(given, "model_name"))
        jw_member_str(&w, "model_name", llm_model(a->llm));
    if (!json_get(given, "security_policy_filename"))
        jw_member_str(&w, "security_policy_filename", policy.p ? policy : STR("security_policy.j2"));
    if (!json_get(given, "soul_content"))
        jw_member_cstr(&w, "soul_content", "");
    if (!json_get(given, "enable_browser"))
        jw_member_bool(&w, "enable_browser", false);
    if (!json_get(given, "memory_enabled"))
        jw_member_bool(&w, "memory_enabled", false);
    jw_object_end(&w);
    return json_parse_trusted(buf_str(&text), NULL);
}

static bool template_render(struct agent *a, struct str template, const char *where, struct err **e)
{
    autobuf out = {0};
    if (!jinja_render(template, json_root(a->variables), &out, e))
        return err_prefix(e, "%s", where);
    buf_clear(&a->system_prompt);
    buf_add(&a->system_prompt, buf_str(&out));
    a->has_prompt = true;
    return true;
}

/* A text is taken as it stands, as other servers do; with variables for it, it is a template. */
static bool prompt_read(struct agent *a, const struct json_value *config, struct err **e)
{
    const struct json_value *given = json_get(config, "system_prompt_kwargs");
    if (!json_is_null(given) && json_type(given) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "agent.system_prompt_kwargs should be an object");
    if (!file_name_read(a, e))
        return false;
    bool is_template = a->has_prompt && json_count(given) > 0;
    if (is_template || a->wants.template_path.p)
        a->variables = variables_make(a, config);
    if (!is_template)
        return true;
    autobuf template = {0};
    buf_add(&template, buf_str(&a->system_prompt));
    return template_render(a, buf_str(&template), "agent.system_prompt", e);
}

/* ---- skills ---- */

static bool is_disabled(const struct agent *a, struct str name)
{
    for (struct json_iter it = json_iter(json_root(a->disabled)); json_next(&it);) {
        if (str_eq(json_str(it.value), name))
            return true;
    }
    return false;
}

static bool disabled_read(struct agent *a, const struct json_value *context, struct err **e)
{
    const struct json_value *names = json_get(context, "disabled_skills");
    autobuf text = {0};
    if (json_is_null(names))
        return true;
    if (json_type(names) != JSON_ARRAY)
        return err_set(e, ERR_INVALID, "agent.agent_context.disabled_skills should be a list");
    json_add(&text, names);
    a->disabled = json_parse_trusted(buf_str(&text), NULL);
    return true;
}

static bool skills_read(struct agent *a, const struct json_value *context, struct err **e)
{
    const struct json_value *skills = json_get(context, "skills");
    if (!json_is_null(skills) && json_type(skills) != JSON_ARRAY)
        return err_set(e, ERR_INVALID, "agent.agent_context.skills should be a list");
    for (struct json_iter it = json_iter(skills); json_next(&it);) {
        struct skill *s = ARENA_NEW(a->arena, struct skill);
        if (!skill_decode(it.value, a->arena, s, e) || !skill_set_add(&a->own_skills, s, e))
            return err_prefix(e, "agent.agent_context.skills.%zu", it.index);
    }
    return true;
}

/* One that cannot be used, or whose name is taken, is left out. */
static void skills_add(struct agent *a, const struct json_value *skills)
{
    for (struct json_iter it = json_iter(skills); json_next(&it);) {
        struct skill *s = ARENA_NEW(a->arena, struct skill);
        autoerr e = NULL;
        bool ok = skill_decode(it.value, a->arena, s, &e) &&
                  (is_disabled(a, s->name) || skill_set_find(&a->skills, s->name) ||
                   skill_set_add(&a->skills, s, &e));
        if (!ok)
            log_warn("a skill of the workspace is left out: %s", err_text(e));
    }
}

static void skills_combine(struct agent *a, const struct json_value *project, const struct json_value *user)
{
    a->skills.list.n = 0;
    skills_add(a, project);
    for (size_t i = 0; i < a->own_skills.list.n; i++) {
        const struct skill *s = a->own_skills.list.at[i];
        if (!is_disabled(a, s->name))
            skill_set_add(&a->skills, s, NULL);
    }
    skills_add(a, user);
    if (skill_set_invocable(&a->skills))
        tool_set_add(&a->tools, &tool_invoke_skill);
}

/* ---- the whole ---- */

bool context_read(struct agent *a, const struct json_value *config, struct err **e)
{
    const struct json_value *context = json_get(config, "agent_context");
    if (!json_is_null(context) && json_type(context) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "agent.agent_context should be an object");
    a->arena = arena_new();
    a->wants.project_skills = json_get_bool(context, "load_project_skills", false);
    a->wants.user_skills = json_get_bool(context, "load_user_skills", false);
    if (!prompt_read(a, config, e) || !disabled_read(a, context, e) || !skills_read(a, context, e))
        return false;
    skills_combine(a, NULL, NULL);
    return true;
}

void context_deinit(struct agent *a)
{
    skill_set_deinit(&a->own_skills);
    skill_set_deinit(&a->skills);
    json_doc_free(a->variables);
    json_doc_free(a->disabled);
    buf_deinit(&a->user_suffix);
    buf_deinit(&a->template_path);
    arena_free(a->arena);
}

bool agent_give_found(struct agent *a, const struct json_value *found, struct err **e)
{
    skills_combine(a, json_get(found, "project"), json_get(found, "user"));
    if (!a->wants.template_path.p)
        return true;
    struct str template = json_get_str(found, "template");
    return template.p ? template_render(a, template, "agent.system_prompt_filename", e)
                      : err_set(e, ERR_INVALID, "agent.system_prompt_filename cannot be read");
}

const struct agent_wants *agent_wants(const struct agent *a)
{
    return &a->wants;
}

const struct skill_set *agent_skills(const struct agent *a)
{
    return &a->skills;
}

bool agent_runs_commands(const struct agent *a)
{
    return tool_set_find(&a->tools, str_from(tool_terminal.name)) != NULL;
}

struct str agent_user_suffix(const struct agent *a)
{
    return str_trim(buf_str(&a->user_suffix));
}
