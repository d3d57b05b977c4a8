/* rules: skills with path patterns. One comes in with the first result of a tool that worked on a file it is for. */
#include "base/path.h"
#include "conversation/turn.h"

#define NO_CONTENT "\"extended_content\":[]" /* in a body an unescaped key is always a member */

static bool has_rules(const struct skill_set *set)
{
    for (size_t i = 0; i < set->list.n; i++) {
        if (set->list.at[i]->trigger == SKILL_PATH)
            return true;
    }
    return false;
}

/* The file of an observation, relative to the workspace. False: there is none, or it lies elsewhere. */
static bool touched(const struct event_draft *d, struct str working_dir, struct buf *out)
{
    autobuf json = {0}, whole = {0}, path = {0}, root = {0};
    if (d->kind != EVENT_OBSERVATION)
        return false;
    buf_add_char(&json, '{');
    buf_add(&json, d->reduced.n > 0 ? buf_str(&d->reduced) : buf_str(&d->body));
    buf_add_char(&json, '}');
    autojson doc = json_parse_trusted(buf_str(&json), NULL);
    struct str given = json_get_str(json_get(json_root(doc), "observation"), "path");
    if (given.n == 0)
        return false;
    path_join(&whole, working_dir, given);
    path_normalize(&path, buf_str(&whole));
    path_normalize(&root, working_dir);
    if (!path_is_beneath(buf_str(&root), buf_str(&path)) || path.n <= root.n + 1)
        return false;
    buf_add(out, str_sub(buf_str(&path), root.n + (root.n > 1), path.n));
    return true;
}

static void content_put(struct buf *body, struct str content)
{
    ssize_t at = str_find(buf_str(body), STR(NO_CONTENT));
    if (at >= 0)
        buf_insert(body, (size_t)at + strlen(NO_CONTENT) - 1, content);
}

/* The rules for one file that were not there before; they are noted in `*names`. */
static void rules_find(const struct skill_set *set, struct str path, struct bytes **names, struct buf *text)
{
    unsigned steps = 0;
    for (size_t i = 0; i < set->list.n; i++) {
        const struct skill *s = set->list.at[i];
        struct str pattern = skill_match_path(s, path, &steps);
        if (!pattern.p || names_have(*names, s->name))
            continue;
        struct bytes *more = names_add(*names, s->name);
        bytes_unref(*names);
        *names = more;
        skill_rule_text(s, pattern, text);
    }
}

struct bytes *rules_apply(const struct turn *t, struct event_draft *drafts, size_t n)
{
    const struct skill_set *set = t->agent ? agent_skills(t->agent) : NULL;
    if (!set || !has_rules(set))
        return NULL;
    struct bytes *names = bytes_ref(t->state->doc->rules);
    for (size_t i = 0; i < n; i++) {
        autobuf path = {0}, text = {0}, content = {0};
        if (!touched(&drafts[i], t->config->working_dir, &path))
            continue;
        rules_find(set, buf_str(&path), &names, &text);
        if (text.n == 0)
            continue;
        struct json_writer w = json_writer(&content);
        event_text_content(&w, buf_str(&text));
        content_put(&drafts[i].body, buf_str(&content));
        content_put(&drafts[i].reduced, buf_str(&content));
    }
    if (names == t->state->doc->rules) {
        bytes_unref(names);
        return NULL;
    }
    return names;
}
