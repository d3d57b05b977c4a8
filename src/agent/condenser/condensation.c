/* Condensations: the view forgets some events and reads a summary in their place. */
#include "agent/view/items.h"
#include <stdlib.h>

struct str item_name(const struct item *i, char text[ITEM_NAME_MAX])
{
    struct str id = uuid_dashed(&i->id, text);
    if (i->kind != EVENT_CONDENSATION)
        return id;
    memcpy(text + id.n, SUMMARY_ENDING, sizeof(SUMMARY_ENDING));
    return str_make(text, id.n + sizeof(SUMMARY_ENDING) - 1);
}

static bool is_forgotten(const struct map *ids, const struct item *i)
{
    char text[ITEM_NAME_MAX];
    return map_get(ids, item_name(i, text)) != NULL;
}

/* Marks what is forgotten; pointers to it are cleared before it goes. */
static void mark_forgotten(struct view *v, const struct json_value *ids)
{
    struct map *set = map_new();
    for (struct json_iter it = json_iter(ids); json_next(&it);)
        map_put(set, json_str(it.value), v);
    for (size_t at = 0; at < v->items.n; at++)
        v->items.at[at]->forgotten = is_forgotten(set, v->items.at[at]);
    map_free(set);
    for (size_t at = 0; at < v->items.n; at++) {
        struct item *i = v->items.at[at];
        if (i->result && i->result->forgotten)
            i->result = NULL;
        if (i->of && i->of->forgotten) {
            i->of = NULL;
            i->forgotten = true; /* a result without its call cannot be shown */
        }
        i->next = NULL;
        i->head = false;
    }
    size_t kept = 0;
    for (size_t at = 0; at < v->open.n; at++) {
        if (!v->open.at[at]->forgotten)
            v->open.at[kept++] = v->open.at[at];
    }
    v->open.n = kept;
}

static void drop_forgotten(struct view *v)
{
    size_t kept = 0;
    for (size_t at = 0; at < v->items.n; at++) {
        struct item *i = v->items.at[at];
        if (!i->forgotten) {
            v->items.at[kept++] = i;
            continue;
        }
        v->has_system &= i->kind != EVENT_SYSTEM_PROMPT;
        item_free(i);
    }
    v->items.n = kept;
}

static void summary_insert(struct view *v, struct json_doc *doc)
{
    const struct json_value *event = json_root(doc);
    struct str summary = json_get_str(event, "summary");
    int64_t offset = json_get_int(event, "summary_offset", -1);
    if (summary.n == 0 || offset < 0) {
        json_doc_free(doc);
        return;
    }
    struct item *i = xcalloc(1, sizeof(*i));
    i->kind = EVENT_CONDENSATION;
    i->role = LLM_USER;
    i->doc = doc;
    i->event = event;
    uuid_parse(json_get_str(event, "id"), &i->id);
    i->parts = xcalloc(1, sizeof(*i->parts));
    i->parts[0] = (struct llm_part){.type = LLM_TEXT, .text = summary};
    i->part_count = 1;
    size_t place = (uint64_t)offset < v->items.n ? (size_t)offset : v->items.n;
    vec_push(&v->items, NULL);
    memmove(v->items.at + place + 1, v->items.at + place, (v->items.n - 1 - place) * sizeof(*v->items.at));
    v->items.at[place] = i;
}

/* Which calls belong to one answer, again from the start. */
static void relink(struct view *v)
{
    struct item *last = NULL;
    for (size_t at = 0; at < v->items.n; at++) {
        struct item *i = v->items.at[at];
        if (i->kind != EVENT_ACTION) {
            last = NULL;
            continue;
        }
        if (last && str_eq(last->response_id, i->response_id))
            last->next = i;
        else
            i->head = true;
        last = i;
    }
    v->last = last;
}

void view_condense(struct view *v, struct json_doc *doc)
{
    mark_forgotten(v, json_get(json_root(doc), "forgotten_event_ids"));
    drop_forgotten(v);
    summary_insert(v, doc);
    relink(v);
    v->condense_requested = false;
    v->built->settled_items = v->built->settled_messages = 0;
}
