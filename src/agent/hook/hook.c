/* Decoding a HookConfig, and which hooks a moment has. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "agent/hook/hook.h"
#include "base/cleanup.h"
#include "base/vec.h"
#include <stdlib.h>

#define MATCHER_MAX 1000         /* characters */
#define REGEX_MATCH_LIMIT 100000 /* steps of one match; past it there is none */
#define REGEX_HEAP_KIB_MAX 1024

struct matcher {
    struct str pattern;
    struct json_list hooks; /* of struct hook */
};

struct lists {
    struct json_list of[HOOK_EVENTS]; /* of struct matcher */
};

struct hook_config {
    struct arena *arena;
    struct buf text;
    struct json_doc *doc; /* of `text`: what the lists borrow from */
    struct lists lists;
};

/* ---- tables ---- */

static const char *const types[] = {
    [HOOK_COMMAND] = "command", [HOOK_PROMPT] = "prompt", [HOOK_AGENT] = "agent", NULL};

#define AT(member) .offset = offsetof(struct hook, member)
static const struct json_field hook_fields[] = {
    {.name = "type", .type = FIELD_ENUM, AT(type), .names = types, .doc = "Only commands are run here."},
    {.name = "name", .type = FIELD_STR, AT(name), .doc = "What it is called."},
    {.name = "command", .type = FIELD_STR, AT(command), .default_str = "", .doc = "For /bin/sh."},
    {.name = "prompt", .type = FIELD_STR, AT(prompt), .doc = "For a model."},
    {.name = "system_prompt", .type = FIELD_STR, AT(system_prompt), .doc = "For an agent."},
    {.name = "tools", .type = FIELD_ARRAY, .item = FIELD_STR, AT(tools), .max = 1000, .doc = "Of an agent."},
    {.name = "timeout",
     .type = FIELD_INT,
     AT(timeout_s),
     .default_int = 60,
     .min = 1,
     .max = HOOK_TIMEOUT_MAX_S,
     .doc = "Seconds that it may take."},
    {.name = "max_iterations",
     .type = FIELD_INT,
     AT(max_iterations),
     .default_int = 3,
     .doc = "Most steps of an agent."},
    {.name = "async_",
     .alias = "async",
     .type = FIELD_BOOL,
     AT(async),
     .doc = "Started, and not waited for."},
};
static const struct json_schema hook_schema = {.name = "HookDefinition",
                                               .size = sizeof(struct hook),
                                               .fields = hook_fields,
                                               .count = ARRAY_LEN(hook_fields)};

static const struct json_field matcher_fields[] = {
    {.name = "matcher",
     .type = FIELD_STR,
     .offset = offsetof(struct matcher, pattern),
     .default_str = "*",
     .min = 0,
     .max = MATCHER_MAX,
     .doc = "Which tools: *, a name or a regular expression."},
    {.name = "hooks",
     .type = FIELD_ARRAY,
     .offset = offsetof(struct matcher, hooks),
     .schema = &hook_schema,
     .max = HOOK_HOOKS_MAX,
     .doc = "What runs, in order."},
};
static const struct json_schema matcher_schema = {.name = "HookMatcher",
                                                  .size = sizeof(struct matcher),
                                                  .fields = matcher_fields,
                                                  .count = ARRAY_LEN(matcher_fields)};

#define EVENT(index, snake, pascal, text)                                          \
    {                                                                              \
        .name = snake, .alias = pascal, .type = FIELD_ARRAY,                       \
        .offset = offsetof(struct lists, of) + (index) * sizeof(struct json_list), \
        .schema = &matcher_schema, .max = HOOK_MATCHERS_MAX, .doc = text           \
    }
static const struct json_field config_fields[] = {
    [HOOK_PRE_TOOL_USE] = EVENT(HOOK_PRE_TOOL_USE, "pre_tool_use", "PreToolUse", "Before a tool runs."),
    [HOOK_POST_TOOL_USE] = EVENT(HOOK_POST_TOOL_USE, "post_tool_use", "PostToolUse", "After a tool has run."),
    [HOOK_USER_PROMPT_SUBMIT] =
        EVENT(HOOK_USER_PROMPT_SUBMIT, "user_prompt_submit", "UserPromptSubmit", "For a user's message."),
    [HOOK_SESSION_START] =
        EVENT(HOOK_SESSION_START, "session_start", "SessionStart", "When a conversation first runs."),
    [HOOK_SESSION_END] = EVENT(HOOK_SESSION_END, "session_end", "SessionEnd", "When it ends."),
    [HOOK_STOP] = EVENT(HOOK_STOP, "stop", "Stop", "When the agent wants to finish."),
};
static const struct json_schema config_schema = {.name = "HookConfig",
                                                 .size = sizeof(struct lists),
                                                 .fields = config_fields,
                                                 .count = ARRAY_LEN(config_fields),
                                                 .forbid_extra = true};

const char *hook_event_name(enum hook_event event)
{
    return event < HOOK_EVENTS ? config_fields[event].alias : NULL;
}

/* ---- checks that a table cannot express ---- */

static const char *hook_problem(const struct hook *h)
{
    bool command = h->command.n > 0;
    if (h->type == HOOK_COMMAND)
        return command ? NULL : "Value error, 'command' is required when type is 'command'";
    if (h->type == HOOK_PROMPT && h->prompt.n == 0)
        return "Value error, 'prompt' is required when type is 'prompt'";
    if (command)
        return "Value error, 'command' is for hooks of type 'command'";
    return h->async ? "Value error, 'async' is for hooks of type 'command'" : NULL;
}

static bool check_hooks(const struct lists *lists, const struct json_path *path,
                        struct json_problems *problems)
{
    bool ok = true;
    for (size_t event = 0; event < HOOK_EVENTS; event++) {
        struct json_path list = {.parent = path, .name = str_from(config_fields[event].name)};
        const struct matcher *matchers = lists->of[event].items;
        for (size_t m = 0; m < lists->of[event].n; m++) {
            struct json_path matcher = {.parent = &list, .index = m};
            struct json_path hooks = {.parent = &matcher, .name = STR("hooks")};
            const struct hook *hook = matchers[m].hooks.items;
            for (size_t i = 0; i < matchers[m].hooks.n; i++) {
                struct json_path one = {.parent = &hooks, .index = i};
                const char *problem = hook_problem(&hook[i]);
                if (problem)
                    json_problem_at(problems, &one, "value_error", str_from(problem), NULL, STR_NONE);
                ok &= !problem;
            }
        }
    }
    return ok;
}

static bool check_names(const struct json_value *v, const struct json_path *path,
                        struct json_problems *problems)
{
    bool ok = true;
    for (size_t i = 0; i < HOOK_EVENTS; i++) {
        if (!json_get(v, config_fields[i].name) || !json_get(v, config_fields[i].alias))
            continue;
        struct json_path one = {.parent = path, .name = str_from(config_fields[i].alias)};
        json_problem_at(problems, &one, "value_error",
                        STR("Value error, this kind of hook is given twice, under both of its names"), NULL,
                        STR_NONE);
        ok = false;
    }
    return ok;
}

/* ---- the form that is shown ---- */

static void hook_write(const struct hook *h, struct json_writer *w)
{
    const struct str *tools = h->tools.items;
    jw_object(w);
    jw_member_cstr(w, "type", types[h->type]);
    jw_member_str(w, "name", h->name);
    jw_member_str(w, "command", h->command);
    jw_member_str(w, "prompt", h->prompt);
    jw_member_str(w, "system_prompt", h->system_prompt);
    jw_key(w, "tools");
    jw_array(w);
    for (size_t i = 0; i < h->tools.n; i++)
        jw_str(w, tools[i]);
    jw_array_end(w);
    jw_member_int(w, "timeout", h->timeout_s);
    jw_member_int(w, "max_iterations", h->max_iterations);
    jw_member_bool(w, "async_", h->async);
    jw_object_end(w);
}

static void lists_write(const struct lists *lists, struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_object(&w);
    for (size_t event = 0; event < HOOK_EVENTS; event++) {
        const struct matcher *matchers = lists->of[event].items;
        jw_key(&w, config_fields[event].name);
        jw_array(&w);
        for (size_t m = 0; m < lists->of[event].n; m++) {
            const struct hook *hooks = matchers[m].hooks.items;
            jw_object(&w);
            jw_member_str(&w, "matcher", matchers[m].pattern);
            jw_key(&w, "hooks");
            jw_array(&w);
            for (size_t i = 0; i < matchers[m].hooks.n; i++)
                hook_write(&hooks[i], &w);
            jw_array_end(&w);
            jw_object_end(&w);
        }
        jw_array_end(&w);
    }
    jw_object_end(&w);
}

/* ---- the configuration ---- */

struct hook_config *hook_config_new(const struct json_value *v, const struct json_path *path,
                                    struct json_problems *problems)
{
    const struct json_value *wrapped = json_get(v, "hooks");
    struct lists lists;
    autoarena arena = arena_new();
    if (wrapped)
        v = wrapped;
    if (!json_decode_at(&config_schema, v, path, arena, &lists, problems) ||
        !check_names(v, path, problems) || !check_hooks(&lists, path, problems))
        return NULL;
    struct hook_config *c = xcalloc(1, sizeof(*c));
    c->arena = arena_new();
    lists_write(&lists, &c->text);
    c->doc = json_parse_trusted(buf_str(&c->text), NULL);
    if (c->doc && json_decode_at(&config_schema, json_root(c->doc), NULL, c->arena, &c->lists, NULL))
        return c;
    hook_config_free(c);
    return NULL;
}

void hook_config_free(struct hook_config *c)
{
    if (!c)
        return;
    json_doc_free(c->doc);
    buf_deinit(&c->text);
    arena_free(c->arena);
    free(c);
}

struct str hook_config_text(const struct hook_config *c)
{
    return buf_str(&c->text);
}

bool hook_config_is_empty(const struct hook_config *c)
{
    bool empty = true;
    for (size_t i = 0; i < HOOK_EVENTS; i++)
        empty &= c->lists.of[i].n == 0;
    return empty;
}

/* ---- matching ---- */

/* 1 match, 0 none, -1 no regular expression. */
static int regex_match(struct str pattern, struct str text)
{
    int code, found = 0;
    PCRE2_SIZE offset;
    pcre2_code *regex = pcre2_compile(
        (PCRE2_SPTR)pattern.p, pattern.n,
        PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &offset, NULL);
    if (!regex)
        return -1;
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(limits, REGEX_MATCH_LIMIT);
    pcre2_set_heap_limit(limits, REGEX_HEAP_KIB_MAX);
    found = pcre2_match(regex, (PCRE2_SPTR)text.p, text.n, 0, 0, data, limits) >= 0;
    pcre2_match_context_free(limits);
    pcre2_match_data_free(data);
    pcre2_code_free(regex);
    return found;
}

bool hook_matches(struct str matcher, struct str tool)
{
    if (matcher.n == 0 || str_is(matcher, "*"))
        return true;
    if (!tool.p)
        return false;
    if (matcher.n > 2 && matcher.p[0] == '/' && matcher.p[matcher.n - 1] == '/')
        return regex_match(str_sub(matcher, 1, matcher.n - 1), tool) == 1;
    bool is_regex = false;
    for (size_t i = 0; i < matcher.n && !is_regex; i++)
        is_regex = str_find_char(STR("|.*+?[]()^$\\"), matcher.p[i]) >= 0;
    int found = is_regex ? regex_match(matcher, tool) : -1;
    return found >= 0 ? found == 1 : str_eq(matcher, tool);
}

const struct hook *const *hook_config_select(const struct hook_config *c, enum hook_event event,
                                             struct str tool, struct arena *arena, size_t *n)
{
    VEC(const struct hook *) found = {0};
    const struct json_list none = {0}, *list = c ? &c->lists.of[event] : &none;
    const struct matcher *matchers = list->items;
    for (size_t m = 0; m < list->n; m++) {
        const struct hook *hooks = matchers[m].hooks.items;
        if (!hook_matches(matchers[m].pattern, tool))
            continue;
        for (size_t i = 0; i < matchers[m].hooks.n; i++)
            vec_push(&found, &hooks[i]);
    }
    const struct hook **out = arena_alloc(arena, (found.n + 1) * sizeof(struct hook *));
    if (found.n > 0)
        memcpy(out, found.at, found.n * sizeof(struct hook *));
    *n = found.n;
    vec_deinit(&found);
    return out;
}
