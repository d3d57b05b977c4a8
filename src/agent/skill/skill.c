/* Skills as JSON. */
#include "agent/skill/skill.h"
#include "base/utf8.h"
#include <stdlib.h>

#define ASK_FOR_INPUT                                                                                                 \
    "\n\nWhere this text has variables that the user has given no value for, ask for them before you go on with the " \
    "task."

void skill_set_deinit(struct skill_set *set)
{
    vec_deinit(&set->list);
}

const struct skill *skill_set_find(const struct skill_set *set, struct str name)
{
    for (size_t i = 0; i < set->list.n; i++) {
        if (str_eq(set->list.at[i]->name, name))
            return set->list.at[i];
    }
    return NULL;
}

bool skill_set_add(struct skill_set *set, const struct skill *skill, struct err **e)
{
    size_t words = skill->word_count;
    for (size_t i = 0; i < set->list.n; i++)
        words += set->list.at[i]->word_count;
    if (skill_set_find(set, skill->name))
        return err_set(e, ERR_INVALID, "Duplicate skill name found: %.*s", STR_ARG(skill->name));
    if (set->list.n >= SKILLS_MAX)
        return err_set(e, ERR_INVALID, "there are more than %d skills", SKILLS_MAX);
    if (words > SKILL_WORDS_MAX)
        return err_set(e, ERR_INVALID, "the skills have more than %d trigger words", SKILL_WORDS_MAX);
    vec_push(&set->list, skill);
    return true;
}

/* ---- reading ---- */

static bool text_read(const struct json_value *v, const char *key, struct arena *arena, struct str *out,
                      struct err **e)
{
    const struct json_value *text = json_get(v, key);
    if (!json_is_null(text) && json_type(text) != JSON_STRING)
        return err_set(e, ERR_INVALID, "%s should be a string", key);
    *out = arena_str(arena, json_str(text));
    return true;
}

static bool words_read(const struct json_value *list, const char *where, struct arena *arena,
                       struct skill *out, struct err **e)
{
    if (json_is_null(list))
        return true;
    if (json_type(list) != JSON_ARRAY)
        return err_set(e, ERR_INVALID, "%s should be a list of strings", where);
    if (json_count(list) > SKILL_WORDS_MAX)
        return err_set(e, ERR_INVALID, "%s has more than %d items", where, SKILL_WORDS_MAX);
    struct str *words = arena_alloc(arena, (json_count(list) + 1) * sizeof(*words));
    for (struct json_iter it = json_iter(list); json_next(&it);) {
        struct str word = json_str(it.value);
        if (json_type(it.value) != JSON_STRING || word.n > SKILL_NAME_MAX)
            return err_set(e, ERR_INVALID, "%s.%zu should be a string of at most %d bytes", where, it.index,
                           SKILL_NAME_MAX);
        words[out->word_count++] = arena_str(arena, word);
    }
    out->words = words;
    return true;
}

/* {"type":"keyword","keywords":[…]} and the two others. */
static bool trigger_object_read(const struct json_value *v, struct arena *arena, struct skill *out,
                                struct err **e)
{
    static const struct {
        const char *type, *member, *where;
        enum skill_trigger trigger;
    } forms[] = {{"keyword", "keywords", "trigger.keywords", SKILL_KEYWORD},
                 {"task", "triggers", "trigger.triggers", SKILL_TASK},
                 {"path", "paths", "trigger.paths", SKILL_PATH}};
    struct str type = json_get_str(v, "type");
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        const struct json_value *words = json_get(v, forms[i].member);
        if (type.p ? !str_is(type, forms[i].type) : json_is_null(words))
            continue;
        out->trigger = forms[i].trigger;
        return words_read(words, forms[i].where, arena, out, e);
    }
    return err_set(e, ERR_INVALID, "trigger.type should be 'keyword', 'task' or 'path'");
}

/* `trigger` as an object, or as a list or one text (older clients), or `triggers` (as /api/skills answers). */
static bool trigger_read(const struct json_value *v, struct arena *arena, struct skill *out, struct err **e)
{
    const struct json_value *trigger = json_get(v, "trigger"), *triggers = json_get(v, "triggers");
    struct str type = json_get_str(v, "type");
    enum json_type form = json_type(trigger);
    if (str_is(type, "repo"))
        return true;
    if (form == JSON_OBJECT)
        return trigger_object_read(trigger, arena, out, e);
    if (form == JSON_STRING) {
        struct str *word = arena_alloc(arena, sizeof(*word));
        *word = arena_str(arena, json_str(trigger));
        out->words = word;
        out->word_count = 1;
    } else if (!words_read(json_is_null(trigger) ? triggers : trigger, "trigger", arena, out, e)) {
        return false;
    }
    if (out->word_count > 0 || str_is(type, "knowledge"))
        out->trigger = SKILL_KEYWORD;
    return true;
}

/* Does it have a variable such as ${name}? */
static bool has_variables(struct str text)
{
    for (ssize_t at; (at = str_find(text, STR("${"))) >= 0;) {
        size_t n = 0;
        text = str_sub(text, (size_t)at + 2, text.n);
        while (n < text.n &&
               (text.p[n] == '_' || (text.p[n] >= 'a' && text.p[n] <= 'z') ||
                (text.p[n] >= 'A' && text.p[n] <= 'Z') || (n > 0 && text.p[n] >= '0' && text.p[n] <= '9')))
            n++;
        if (n > 0 && n < text.n && text.p[n] == '}')
            return true;
    }
    return false;
}

static void complete(struct skill *s, bool has_inputs, struct arena *arena)
{
    if (s->trigger == SKILL_PATH)
        s->trigger_only = true;
    if (s->description.p)
        s->description = utf8_prefix(s->description, SKILL_DESCRIPTION_MAX);
    if (s->trigger != SKILL_TASK || (!has_inputs && !has_variables(s->content)) ||
        str_find(s->content, STR(ASK_FOR_INPUT)) >= 0)
        return;
    autobuf text = {0};
    buf_add(&text, s->content);
    buf_add(&text, STR(ASK_FOR_INPUT));
    s->content = arena_str(arena, buf_str(&text));
}

bool skill_decode(const struct json_value *v, struct arena *arena, struct skill *out, struct err **e)
{
    *out = (struct skill){0};
    if (json_type(v) != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "a skill should be an object");
    if (!text_read(v, "name", arena, &out->name, e) || !text_read(v, "content", arena, &out->content, e) ||
        !text_read(v, "source", arena, &out->source, e) ||
        !text_read(v, "description", arena, &out->description, e) || !trigger_read(v, arena, out, e))
        return false;
    if (out->name.n == 0 || out->name.n > SKILL_NAME_MAX)
        return err_set(e, ERR_INVALID, "name should have 1 to %d bytes", SKILL_NAME_MAX);
    if (!out->content.p)
        out->content = STR("");
    out->is_agentskills =
        json_get_bool(v, "is_agentskills_format", false) || str_is(json_get_str(v, "type"), "agentskills");
    out->trigger_only = json_get_bool(v, "disable_model_invocation", false);
    complete(out, json_count(json_get(v, "inputs")) > 0, arena);
    return true;
}

/* ---- writing ---- */

static void words_write(const struct skill *s, const char *key, struct json_writer *w)
{
    jw_key(w, key);
    jw_array(w);
    for (size_t i = 0; i < s->word_count; i++)
        jw_str(w, s->words[i]);
    jw_array_end(w);
}

void skill_write(const struct skill *s, struct json_writer *w)
{
    static const char *const types[] = {NULL, "keyword", "task", "path"};
    static const char *const members[] = {NULL, "keywords", "triggers", "paths"};
    jw_object(w);
    jw_member_str(w, "name", s->name);
    jw_member_str(w, "content", s->content);
    if (s->trigger != SKILL_ALWAYS) {
        jw_key(w, "trigger");
        jw_object(w);
        jw_member_cstr(w, "type", types[s->trigger]);
        words_write(s, members[s->trigger], w);
        jw_object_end(w);
    }
    if (s->source.p)
        jw_member_str(w, "source", s->source);
    if (s->description.p)
        jw_member_str(w, "description", s->description);
    jw_member_bool(w, "is_agentskills_format", s->is_agentskills);
    jw_member_bool(w, "disable_model_invocation", s->trigger_only);
    jw_object_end(w);
}

void skill_info_write(const struct skill *s, struct json_writer *w)
{
    static const struct skill no_words = {0};
    jw_object(w);
    jw_member_str(w, "name", s->name);
    jw_member_cstr(w, "type",
                   s->is_agentskills            ? "agentskills"
                   : s->trigger == SKILL_ALWAYS ? "repo"
                                                : "knowledge");
    jw_member_str(w, "content", s->content);
    words_write(s->trigger == SKILL_PATH ? &no_words : s, "triggers", w);
    jw_member_str(w, "source", s->source);
    jw_member_str(w, "description", s->description);
    jw_member_bool(w, "is_agentskills_format", s->is_agentskills);
    jw_member_bool(w, "disable_model_invocation", s->trigger_only);
    jw_object_end(w);
}
