/* Which tool a call means: models that were trained elsewhere call our tools by other names. */
#include "agent/internal.h"
#include <ctype.h>

static const struct {
    const char *name, *tool;
    bool prefix; /* the name is the beginning of the command */
} aliases[] = {
    {"bash", "terminal", false},
    {"command", "terminal", false},
    {"execute", "terminal", false},
    {"execute_bash", "terminal", false},
    {"git", "terminal", true},
    {"reset", "terminal", true},
    {"str_replace", "file_editor", false},
    {"str_replace_editor", "file_editor", false},
};

/* Programs that are called like tools, without arguments. */
static const char *const programs[] = {"find", "git", "ls", "pwd"};

static struct str leading_identifier(struct str name)
{
    size_t n = 0;
    name = str_trim(name);
    while (n < name.n && (isalnum((unsigned char)name.p[n]) || name.p[n] == '_' || name.p[n] == '-'))
        n++;
    return str_sub(name, 0, n);
}

/* A terminal call with this command; what else was given (timeout, risk, summary) stays, except for what went into it. */
static struct str command_json(struct arena *arena, struct str command, const struct json_value *root)
{
    static const char *const used[] = {"command", "pattern", "path", "include"};
    autobuf out = {0};
    struct json_writer w = json_writer(&out);
    jw_object(&w);
    jw_member_str(&w, "command", command);
    for (struct json_iter it = json_iter(json_type(root) == JSON_OBJECT ? root : NULL); json_next(&it);) {
        size_t i = 0;
        while (i < ARRAY_LEN(used) && !str_is(it.key, used[i]))
            i++;
        if (i < ARRAY_LEN(used))
            continue;
        jw_key_str(&w, it.key);
        jw_value(&w, it.value);
    }
    if (command.n == 0 && !json_get(root, "reset"))
        jw_member_bool(&w, "reset", true);
    jw_object_end(&w);
    return arena_str(arena, buf_str(&out));
}

static void quote(struct buf *out, struct str s)
{
    buf_add(out, STR(" '"));
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\'')
            buf_add(out, STR("'\\''"));
        else
            buf_add_char(out, s.p[i]);
    }
    buf_add_char(out, '\'');
}

static bool arguments_none(const struct json_value *root)
{
    for (struct json_iter it = json_iter(root); json_next(&it);) {
        if (!str_is(it.key, "summary") && !str_is(it.key, "security_risk"))
            return false;
    }
    return true;
}

/* A program with no arguments, or grep with the arguments of a search tool. */
static bool program_command(struct str name, const struct json_value *root, struct buf *command)
{
    if (str_is(name, "grep") && json_get_str(root, "pattern").n > 0) {
        struct str include = json_get_str(root, "include"), path = json_get_str(root, "path");
        buf_add(command, STR("grep -rn"));
        if (include.n > 0) {
            autobuf option = {0};
            buf_addf(&option, "--include=%.*s", STR_ARG(include));
            quote(command, buf_str(&option));
        }
        buf_add(command, STR(" --"));
        quote(command, json_get_str(root, "pattern"));
        quote(command, path.n > 0 ? path : STR("."));
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        if (str_is(name, programs[i]) && arguments_none(root)) {
            buf_add(command, name);
            return true;
        }
    }
    return false;
}

/* `git` {"command": "status"} is the command "git status"; `reset` alone starts a new shell. */
static struct str prefixed(struct str name, const struct json_value *root, struct arena *arena)
{
    autobuf command = {0};
    struct str rest =
        str_trim(json_type(root) == JSON_STRING ? json_str(root) : json_get_str(root, "command"));
    if (rest.n == 0 && str_is(name, "reset"))
        return command_json(arena, STR(""), root);
    buf_add(&command, name);
    if (str_starts(rest, name) && (rest.n == name.n || rest.p[name.n] == ' '))
        rest = str_trim(str_sub(rest, name.n, rest.n));
    if (rest.n > 0) {
        buf_add_char(&command, ' ');
        buf_add(&command, rest);
    }
    return command_json(arena, buf_str(&command), root);
}

static const struct tool *alias_resolve(const struct tool_set *set, struct str name, struct str *arguments,
                                        struct arena *arena)
{
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++) {
        if (!str_is(name, aliases[i].name))
            continue;
        const struct tool *tool = tool_set_find(set, str_from(aliases[i].tool));
        autojson doc = tool && aliases[i].prefix ? arguments_parse(*arguments, NULL) : NULL;
        if (doc)
            *arguments = prefixed(name, json_root(doc), arena);
        return tool;
    }
    return NULL;
}

const struct tool *tool_resolve(const struct tool_set *set, struct str name, struct str *arguments,
                                struct arena *arena)
{
    const struct tool *tool = tool_set_find(set, name);
    if (tool || arguments->n > LLM_ARGUMENTS_MAX)
        return tool;
    struct str bare = leading_identifier(name);
    if ((tool = tool_set_find(set, bare)))
        return tool;
    if ((tool = tool_set_find(set, STR("terminal")))) {
        autobuf command = {0};
        autojson doc = arguments_parse(*arguments, NULL);
        if (doc && program_command(bare, json_root(doc), &command)) {
            *arguments = command_json(arena, buf_str(&command), json_root(doc));
            return tool;
        }
    }
    return alias_resolve(set, bare, arguments, arena);
}
