/* Skills as files: markdown with optional YAML front matter. What is in them was written by strangers: everything is bounded,
 * and nothing of YAML is understood but maps, lists and scalars. */
#include "agent/skill/skill.h"
#include "base/utf8.h"
#include <stdlib.h>
#include <yaml.h>

#define YAML_MAX (64 * 1024) /* bytes of front matter */
#define YAML_DEPTH_MAX 16
#define YAML_NODES_MAX 4096
#define AGENTSKILLS_NAME_MAX 64 /* of the AgentSkills specification */

const char *skill_guide_name(struct str file_name)
{
    static const char *const guides[][2] = {{".cursorrules", "cursorrules"},
                                            {"agents.md", "agents"},
                                            {"agent.md", "agents"},
                                            {"claude.md", "claude"},
                                            {"gemini.md", "gemini"}};
    for (size_t i = 0; i < ARRAY_LEN(guides); i++) {
        if (str_eq_nocase(file_name, str_from(guides[i][0])))
            return guides[i][1];
    }
    return NULL;
}

/* ---- YAML ---- */

struct yaml {
    yaml_parser_t parser;
    struct json_writer w;
    unsigned nodes;
};

static bool yaml_next(struct yaml *y, yaml_event_t *event, struct err **e)
{
    if (yaml_parser_parse(&y->parser, event))
        return true;
    return err_set(e, ERR_INVALID, "bad YAML in line %zu of the front matter: %s",
                   y->parser.problem_mark.line + 1,
                   y->parser.problem ? y->parser.problem : "it cannot be parsed");
}

static bool is_null(const yaml_event_t *event, struct str text)
{
    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text.n == 0 || str_is(text, "~") || str_eq_nocase(text, STR("null")));
}

static bool yaml_node(struct yaml *y, yaml_event_t *event, unsigned depth, struct err **e);

static bool yaml_key(struct yaml *y, const yaml_event_t *event, struct err **e)
{
    if (event->type != YAML_SCALAR_EVENT)
        return err_set(e, ERR_INVALID, "a key of the front matter is no plain text");
    jw_key_str(&y->w, str_make(event->data.scalar.value, event->data.scalar.length));
    return true;
}

/* The nodes of a list or map, up to its end. */
static bool yaml_nodes(struct yaml *y, bool is_map, unsigned depth, struct err **e)
{
    for (bool key = is_map;; key = is_map && !key) {
        yaml_event_t event;
        if (!yaml_next(y, &event, e))
            return false;
        bool end = event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT;
        bool ok = end || (key ? yaml_key(y, &event, e) : yaml_node(y, &event, depth, e));
        yaml_event_delete(&event);
        if (end || !ok)
            return ok;
    }
}

static bool yaml_node(struct yaml *y, yaml_event_t *event, unsigned depth, struct err **e)
{
    struct str text;
    bool ok;
    if (++y->nodes > YAML_NODES_MAX || depth > YAML_DEPTH_MAX)
        return err_set(e, ERR_INVALID, "the front matter has more than %d values or %d levels",
                       YAML_NODES_MAX, YAML_DEPTH_MAX);
    switch ((int)event->type) {
    case YAML_SCALAR_EVENT:
        text = str_make(event->data.scalar.value, event->data.scalar.length);
        jw_str(&y->w, is_null(event, text) ? STR_NONE : text);
        return true;
    case YAML_SEQUENCE_START_EVENT:
        jw_array(&y->w);
        ok = yaml_nodes(y, false, depth + 1, e);
        if (ok)
            jw_array_end(&y->w);
        return ok;
    case YAML_MAPPING_START_EVENT:
        jw_object(&y->w);
        ok = yaml_nodes(y, true, depth + 1, e);
        if (ok)
            jw_object_end(&y->w);
        return ok;
    default: return err_set(e, ERR_INVALID, "the front matter has an alias, which is not allowed here");
    }
}

static bool yaml_document(struct yaml *y, struct err **e)
{
    for (;;) {
        yaml_event_t event;
        if (!yaml_next(y, &event, e))
            return false;
        bool wait = event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_START_EVENT;
        bool empty = event.type == YAML_STREAM_END_EVENT || event.type == YAML_DOCUMENT_END_EVENT;
        bool ok = wait || empty || yaml_node(y, &event, 0, e);
        yaml_event_delete(&event);
        if (empty)
            jw_null(&y->w);
        if (!wait)
            return ok;
    }
}

bool skill_yaml_to_json(struct str yaml, struct buf *out, struct err **e)
{
    struct yaml y = {.w = json_writer(out)};
    if (yaml.n > YAML_MAX)
        return err_set(e, ERR_INVALID, "the front matter has more than %d bytes", YAML_MAX);
    if (!yaml_parser_initialize(&y.parser))
        abort();
    yaml_parser_set_encoding(&y.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&y.parser, (const unsigned char *)yaml.p, yaml.n);
    bool ok = yaml_document(&y, e);
    yaml_parser_delete(&y.parser);
    return ok;
}

/* ---- front matter ---- */

/* Takes the front matter off `*text`; STR_NONE if there is none. */
static struct str front_matter_take(struct str *text)
{
    struct str rest = *text, line;
    if (str_starts(rest, STR("\xEF\xBB\xBF")))
        rest = str_sub(rest, 3, rest.n);
    if (!str_split(&rest, '\n', &line) || !str_is(str_trim_right(line), "---") || !rest.p)
        return STR_NONE;
    const char *begin = rest.p;
    while (str_split(&rest, '\n', &line)) {
        if (!str_is(str_trim_right(line), "---"))
            continue;
        *text = rest.p ? rest : STR("");
        return str_make(begin, (size_t)(line.p - begin));
    }
    return STR_NONE;
}

static bool is_true(struct str s)
{
    return str_eq_nocase(s, STR("true")) || str_eq_nocase(s, STR("yes")) || str_eq_nocase(s, STR("on"));
}

/* A member under its name with dashes or with underscores. */
static const struct json_value *either(const struct json_value *meta, const char *dashed, const char *other)
{
    const struct json_value *v = json_get(meta, dashed);
    return v ? v : json_get(meta, other);
}

/* `paths` is a list, or one text with commas. */
static void paths_write(const struct json_value *paths, struct json_writer *w)
{
    jw_array(w);
    struct str text = json_str(paths), part;
    while (str_split(&text, ',', &part)) {
        if (str_trim(part).n > 0)
            jw_str(w, str_trim(part));
    }
    for (struct json_iter it = json_iter(json_type(paths) == JSON_ARRAY ? paths : NULL); json_next(&it);)
        jw_str(w, json_str(it.value).p ? str_trim(json_str(it.value)) : STR(""));
    jw_array_end(w);
}

static void triggers_write(const struct json_value *triggers, struct str more, struct json_writer *w)
{
    bool there = false;
    jw_array(w);
    for (struct json_iter it = json_iter(triggers); json_next(&it);) {
        jw_value(w, it.value);
        there |= str_eq(json_str(it.value), more);
    }
    if (more.p && !there)
        jw_str(w, more);
    jw_array_end(w);
}

/* The trigger that the front matter asks for: paths, else inputs, else words. */
static void trigger_write(const struct json_value *meta, struct str name, struct json_writer *w)
{
    const struct json_value *paths = json_get(meta, "paths"), *triggers = json_get(meta, "triggers");
    autobuf command = {0};
    bool task = json_get(meta, "inputs") != NULL;
    bool path = json_type(paths) == JSON_ARRAY ? json_count(paths) > 0 : str_trim(json_str(paths)).n > 0;
    if (!path && !task && json_count(triggers) == 0)
        return;
    buf_add_char(&command, '/');
    buf_add(&command, name);
    jw_key(w, "trigger");
    jw_object(w);
    jw_member_cstr(w, "type", path ? "path" : task ? "task" : "keyword");
    jw_key(w, path ? "paths" : task ? "triggers" : "keywords");
    if (path)
        paths_write(paths, w);
    else
        triggers_write(triggers, task ? buf_str(&command) : STR_NONE, w);
    jw_object_end(w);
}

static bool meta_check(const struct json_value *meta, struct err **e)
{
    static const struct {
        const char *key;
        enum json_type type;
        const char *what;
    } members[] = {{"name", JSON_STRING, "a text"},
                   {"description", JSON_STRING, "a text"},
                   {"triggers", JSON_ARRAY, "a list"},
                   {"inputs", JSON_ARRAY, "a list"},
                   {"metadata", JSON_OBJECT, "a map"}};
    if (!json_is_null(meta) && json_type(meta) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "the front matter is no map");
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        const struct json_value *v = json_get(meta, members[i].key);
        if (!json_is_null(v) && json_type(v) != members[i].type)
            return err_set(e, ERR_INVALID, "%s in the front matter is not %s", members[i].key,
                           members[i].what);
    }
    const struct json_value *paths = json_get(meta, "paths");
    if (!json_is_null(paths) && json_type(paths) == JSON_OBJECT)
        return err_set(e, ERR_INVALID, "paths in the front matter is no text or list");
    return true;
}

/* Lower-case letters and digits, with single dashes between them. */
static bool agentskills_name_is_good(struct str name)
{
    bool dash = true;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (c == '-' ? dash : !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            return false;
        dash = c == '-';
    }
    return !dash && name.n <= AGENTSKILLS_NAME_MAX;
}

static bool name_check(enum skill_file kind, struct str name, struct str directory, struct err **e)
{
    if (kind != SKILL_FILE_AGENT)
        return true;
    if (!agentskills_name_is_good(name))
        return err_set(e, ERR_INVALID,
                       "the name '%.*s' is not made of lower-case letters, digits and single dashes",
                       STR_ARG(str_sub(name, 0, AGENTSKILLS_NAME_MAX)));
    if (!str_eq(name, directory))
        return err_set(e, ERR_INVALID, "the name '%.*s' is not that of its directory", STR_ARG(name));
    return true;
}

bool skill_file_decode(enum skill_file kind, struct str path, struct str name, struct str text,
                       struct arena *arena, struct skill *out, struct err **e)
{
    autobuf meta_text = {0}, whole = {0};
    struct str content = text;
    if (text.n > SKILL_FILE_MAX)
        return err_set(e, ERR_INVALID, "the file has more than %d bytes", SKILL_FILE_MAX);
    if (!utf8_valid(text))
        return err_set(e, ERR_INVALID, "the file is not valid UTF-8");
    struct str yaml = kind == SKILL_FILE_GUIDE ? STR_NONE : front_matter_take(&content);
    if (yaml.p && !skill_yaml_to_json(yaml, &meta_text, e))
        return false;
    autojson doc = yaml.p ? json_parse_trusted(buf_str(&meta_text), e) : NULL;
    const struct json_value *meta = json_root(doc);
    if ((yaml.p && !doc) || !meta_check(meta, e))
        return false;
    struct str own = json_get_str(meta, "name");
    if (!name_check(kind, own.p ? own : name, name, e))
        return false;
    name = own.n > 0 ? own : name;

    struct json_writer w = json_writer(&whole);
    jw_object(&w);
    jw_member_str(&w, "name", name);
    jw_member_str(&w, "content", kind == SKILL_FILE_GUIDE ? content : str_trim(content));
    jw_member_str(&w, "source", path);
    jw_member_str(&w, "description", json_get_str(meta, "description"));
    jw_member_bool(&w, "is_agentskills_format", kind == SKILL_FILE_AGENT);
    jw_member_bool(&w, "disable_model_invocation",
                   is_true(json_str(either(meta, "disable-model-invocation", "disable_model_invocation"))));
    jw_member_value(&w, "inputs", json_get(meta, "inputs"));
    trigger_write(meta, name, &w);
    jw_object_end(&w);
    autojson skill = json_parse_trusted(buf_str(&whole), e);
    return skill && skill_decode(json_root(skill), arena, out, e);
}
