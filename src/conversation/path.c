/* path: what a run sees of the log: the active path from the store at first, then what is committed, as it comes. */
#include "conversation/turn.h"
#include <limits.h>

void turn_note_cwd(struct turn *t, enum event_kind kind, struct str json)
{
    if (kind != EVENT_OBSERVATION || str_find(json, STR("\"TerminalObservation\"")) < 0)
        return;
    autojson doc = json_parse_trusted(json, NULL);
    const struct json_value *observation = json_get(json_root(doc), "observation");
    struct str dir = json_get_str(json_get(observation, "metadata"), "working_dir");
    if (!str_is(json_get_str(observation, "kind"), "TerminalObservation") || dir.n == 0 ||
        dir.n >= PATH_MAX || dir.p[0] != '/')
        return;
    buf_clear(&t->cwd);
    buf_add(&t->cwd, dir);
}

static bool view_take(struct turn *t, enum event_kind kind, struct str json, struct err **e)
{
    turn_note_cwd(t, kind, json);
    return view_add(t->view, kind, json, e);
}

/* Events of one branch from the store, in pages. */
static bool view_read(struct turn *t, uint32_t branch, uint32_t from, uint32_t to, struct err **e)
{
    while (from < to) {
        autoarena arena = arena_new();
        struct store_item *items;
        size_t n;
        if (!store_read_branch(t->c->service->config.store, t->c->number, branch, from, to, STORE_LIST_MAX,
                               arena, &items, &n, e))
            return false;
        for (size_t i = 0; i < n; i++)
            if (!view_take(t, (enum event_kind)items[i].kind, items[i].json, e))
                return false;
        if (n == 0)
            break;
        from = items[n - 1].seq + 1;
    }
    return true;
}

/* The active path is a handful of ranges: each ancestor branch up to where the next one leaves it. */
bool turn_read_path(struct turn *t, uint32_t branch, uint32_t to, struct err **e)
{
    if (branch == 0)
        return view_read(t, 0, 0, to, e);
    autoarena arena = arena_new();
    struct store_branch *all;
    size_t n;
    if (!store_branches(t->c->service->config.store, t->c->number, arena, &all, &n, e))
        return false;
    struct {
        uint32_t branch, to;
    } *ranges = arena_alloc(arena, (n + 1) * sizeof *ranges);
    size_t depth = 0;
    ranges[depth].branch = branch;
    ranges[depth++].to = to;
    for (bool found = true; branch != 0 && found && depth <= n;) {
        found = false;
        for (size_t i = 0; i < n && !found; i++) {
            if (all[i].branch != branch)
                continue;
            ranges[depth].branch = branch = all[i].parent;
            ranges[depth++].to = (uint32_t)(all[i].at_seq + 1);
            found = true;
        }
    }
    while (depth-- > 0)
        if (!view_read(t, ranges[depth].branch, 0, ranges[depth].to, e))
            return false;
    return true;
}

/* One event from the tail, as a reference. */
static struct bytes *tail_get(struct conversation *c, uint32_t seq, enum event_kind *kind, bool *on_branch)
{
    struct bytes *json = NULL;
    WITH_LOCK(&c->snapshot_lock)
    {
        const struct tail_item *i = tail_find(&c->tail, seq);
        if (i) {
            json = bytes_ref(i->json);
            *kind = i->kind;
            *on_branch = i->on_branch;
        }
    }
    return json;
}

bool turn_catch_up(struct turn *t, struct err **e)
{
    state_unref(t->state);
    t->state = committed_get(t->c);
    if (!t->view) /* the run could not even begin */
        return true;
    while (t->view_seq < t->state->next_seq) {
        enum event_kind kind;
        bool on_branch;
        autobytes json = tail_get(t->c, t->view_seq, &kind, &on_branch);
        if (!json) {
            if (!view_read(t, t->state->branch, t->view_seq, t->state->next_seq, e))
                return false;
            t->view_seq = t->state->next_seq;
            break;
        }
        if (on_branch && !view_take(t, kind, bytes_str(json), e))
            return false;
        t->view_seq++;
    }
    return true;
}
