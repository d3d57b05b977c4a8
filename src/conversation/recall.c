/* recall: what a user message brings to the agent's mind: skills one of whose
 * words it mentions, and the suffix of all messages. Looking for words takes a
 * while and is done without any lock. */
#include "conversation/internal.h"

bool names_have(const struct bytes *names, struct str name)
{
    autojson doc = names ? json_parse_trusted(bytes_str(names), NULL) : NULL;
    for (struct json_iter it = json_iter(json_root(doc)); json_next(&it);) {
        if (str_eq(json_str(it.value), name))
            return true;
    }
    return false;
}

struct bytes *names_add(const struct bytes *names, struct str name)
{
    autojson doc = names ? json_parse_trusted(bytes_str(names), NULL) : NULL;
    autobuf out = {0};
    struct json_writer w = json_writer(&out);
    jw_array(&w);
    for (struct json_iter it = json_iter(json_root(doc)); json_next(&it);)
        jw_value(&w, it.value);
    jw_str(&w, name);
    jw_array_end(&w);
    return bytes_take(&out);
}

/* The message's texts, one below the other. */
static void message_fold(const struct json_value *message, struct buf *out)
{
    const struct json_value *content = json_get(message, "content");
    skill_fold(out, json_str(content));
    for (struct json_iter it = json_iter(json_type(content) == JSON_ARRAY ? content : NULL);
         json_next(&it);) {
        struct str text = json_get_str(it.value, "text");
        if (text.n > 0 && out->n > 0)
            buf_add_char(out, '\n');
        if (out->n < SKILL_MATCH_MAX)
            skill_fold(out, text);
    }
}

void recall_init(struct recall *r, struct conversation *c, const struct json_value *message)
{
    *r = (struct recall){0};
    WITH_LOCK(&c->lock)
    r->config = config_ref(project_config(c));
    const struct skill_set *set = r->config->agent ? agent_skills(r->config->agent) : NULL;
    if (!set || set->list.n == 0)
        return;
    autobuf text = {0};
    message_fold(message, &text);
    for (size_t i = 0; i < set->list.n; i++) {
        struct str word = skill_match(set->list.at[i], buf_str(&text));
        if (word.p)
            vec_push(&r->found, (struct recalled){set->list.at[i], word});
    }
}

void recall_deinit(struct recall *r)
{
    vec_deinit(&r->found);
    config_unref(r->config);
}

/* The names in the list and those of `r` that were not; only the latter into
 * `w` and `text`. */
static struct bytes *activate(const struct recall *r, const struct bytes *names, struct json_writer *w,
                              struct buf *text)
{
    autojson doc = names ? json_parse_trusted(bytes_str(names), NULL) : NULL;
    struct map *there = map_new();
    autobuf all = {0};
    struct json_writer list = json_writer(&all);
    jw_array(&list);
    for (struct json_iter it = json_iter(json_root(doc)); json_next(&it);) {
        map_put(there, json_str(it.value), there);
        jw_value(&list, it.value);
    }
    for (size_t i = 0; i < r->found.n; i++) {
        const struct skill *s = r->found.at[i].skill;
        if (map_get(there, s->name))
            continue;
        jw_str(&list, s->name);
        jw_str(w, s->name);
        skill_triggered_text(s, r->found.at[i].word, text);
    }
    jw_array_end(&list);
    map_free(there);
    return bytes_take(&all);
}

void recall_write(const struct recall *r, struct doc *doc, struct json_writer *w)
{
    autobuf text = {0};
    struct str suffix = r->config->agent ? agent_user_suffix(r->config->agent) : STR_NONE;
    jw_key(w, "activated_skills");
    jw_array(w);
    if (r->found.n > 0) {
        struct bytes *names = activate(r, doc->activated, w, &text);
        bytes_unref(doc->activated);
        doc->activated = names;
    }
    jw_array_end(w);
    buf_add(&text, suffix);
    jw_key(w, "extended_content");
    jw_array(w);
    if (text.n > 0)
        event_text_content(w, buf_str(&text));
    jw_array_end(w);
}

/* ---- skills that the model loaded ---- */

/* The skill's name in the body of a successful invoke_skill observation. In a
 * body's text an unescaped `"key":` is always that member; the kind and the
 * flag occur once. */
static bool invoked_name(const struct event_draft *d, struct buf *name)
{
    struct str body = buf_str(&d->body), key = STR("\"skill_name\":\"");
    if (d->kind != EVENT_OBSERVATION || str_find(body, STR("\"kind\":\"InvokeSkillObservation\"")) < 0 ||
        str_find(body, STR("\"is_error\":false")) < 0)
        return false;
    ssize_t at = str_find(body, key);
    size_t end = at < 0 ? body.n : (size_t)at + key.n;
    while (end < body.n && body.p[end] != '"')
        end += body.p[end] == '\\' ? 2 : 1;
    if (at < 0 || end >= body.n)
        return false;
    autojson doc = json_parse_trusted(str_sub(body, (size_t)at + key.n - 1, end + 1), NULL);
    buf_add(name, json_str(json_root(doc)));
    return name->n > 0;
}

void recall_note_invoked(struct state *next, const struct event_draft *drafts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        autobuf name = {0};
        if (!invoked_name(&drafts[i], &name) || names_have(next->doc->invoked, buf_str(&name)))
            continue;
        struct doc *doc = doc_copy(next->doc);
        struct bytes *names = names_add(doc->invoked, buf_str(&name));
        bytes_unref(doc->invoked);
        doc->invoked = names;
        state_set_doc(next, doc);
    }
}
