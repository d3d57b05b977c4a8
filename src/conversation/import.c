/* import: the log, event by event, and how it ends. */
#include "conversation/import.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "conversation/import_internal.h"
#include "conversation/internal.h"

#define EVENTS_MAX 2000000 /* of one conversation */

/* ---- events ---- */

static bool batch_push(struct import *m, struct store_event event, struct err **e)
{
    struct import_batch *b = import_batch_get(m);
    b->bytes += event.json->n + bytes_str(event.reduced).n + event.search_text.n;
    vec_push(&b->events, event);
    return (b->events.n < IMPORT_BATCH_EVENTS && b->bytes < IMPORT_BATCH_BYTES) || import_flush(m, e);
}

/* As upstream finds the leaf of a log that has none: what is no node, and errors behind the end, are passed over. */
static void note_tail(struct import *m, enum event_kind kind, uint32_t seq)
{
    if (kind == EVENT_CONVERSATION_ERROR || kind == EVENT_STATE_UPDATE)
        return;
    m->last_node = seq;
}

/* What the dialect of 0.53 asks of an event besides its text: which action a result answers, what the answer cost. */
static void add_side(struct import *m, struct store_event *event, const struct json_value *parsed,
                     uint32_t seq)
{
    struct event_draft d = {.kind = (enum event_kind)event->kind,
                            .source = (enum event_source)event->source,
                            .id = event->id,
                            .body = {.p = event->json->p, .n = event->json->n}};
    struct stats *stats = import_costs_at(m->costs, parsed);
    struct side_commit alone = {&d, 1, STATUS_IDLE, STATUS_IDLE, stats};
    autobuf side = {0};
    side_write(&m->side, &alone, &d, seq, &side);
    stats_unref(stats);
    if (side.n > 0)
        event->side = buf_take(&side);
}

bool import_event(struct import *m, struct str text, struct err **e)
{
    autoitem item;
    struct import_clock before = m->clock;
    uint32_t seq = (uint32_t)m->tree.places.n, branch = 0;
    if (seq == EVENTS_MAX)
        return err_set(e, ERR_TOO_LARGE, "more than %d events", EVENTS_MAX);
    if (!import_item_read(&item, text, &m->clock, e) || import_tree_has(&m->tree, &item.id)) {
        m->clock = before;
        m->notes.repeated += item.json != NULL;
        return item.json != NULL;
    }
    bool is_node = item.kind != EVENT_STATE_UPDATE;
    if (!import_tree_add(&m->tree, &item.id, item.parent, is_node, &branch, e) ||
        !open_actions_note(&m->open, seq, item.kind, item.event, e)) {
        m->broken = true;
        return false;
    }
    note_tail(m, item.kind, seq);
    m->notes.unknown += item.kind == 0;
    m->notes.shortened += item.shortened;
    struct store_event event = {.id = item.id,
                                .kind = (uint8_t)item.kind,
                                .source = (uint8_t)item.source,
                                .time_us = item.us,
                                .branch = branch,
                                .on_branch = is_node};
    event.json = steal(item.json);
    event.reduced = steal(item.reduced);
    if (item.search.n > 0)
        event.search_text = buf_take(&item.search);
    add_side(m, &event, item.event, seq);
    return batch_push(m, event, e) || (m->broken = true, false);
}

bool import_failed(const struct import *m)
{
    return m->broken;
}

/* ---- the end of the log ---- */

/* Where the conversation stands: at the leaf that it names, or else at its last event. */
static int64_t leaf_find(const struct import *m)
{
    struct uuid id;
    struct str named = json_get_str(m->state, "leaf_event_id");
    int64_t seq = uuid_parse(named, &id) ? import_tree_find(&m->tree, &id) : -1;
    if (seq < 0 && !named.p && json_get_bool(m->state, "head_is_empty", false))
        return -1;
    if (seq < 0)
        seq = m->last_node;
    return seq >= 0 ? m->tree.places.at[seq].node : -1;
}

/* Calls on the way to the leaf that have no result. Where nothing branches, that is known; else the way is read again. */
static bool path_open(struct import *m, int64_t leaf, struct open_actions *open, struct err **e)
{
    size_t n = m->tree.places.n;
    autofree bool *on_path = xcalloc(n + 1, sizeof(*on_path));
    for (int64_t at = leaf; at >= 0; at = m->tree.places.at[at].parent)
        on_path[at] = true;
    for (uint32_t from = 0; from < n;) {
        autoarena page = arena_new();
        struct store_item *items;
        size_t got;
        if (!store_read(m->target.store, m->number, from, (uint32_t)n, STORE_LIST_MAX, true, page, &items,
                        &got, e))
            return false;
        if (got == 0)
            return err_set(e, ERR_INTERNAL, "event %u has gone", from);
        for (size_t i = 0; i < got; i++) {
            enum event_kind kind = (enum event_kind)items[i].kind;
            from = items[i].seq + 1;
            if (!on_path[items[i].seq] || !open_actions_concern(kind))
                continue;
            autojson doc = json_parse_trusted(items[i].json, NULL);
            if (!open_actions_note(open, items[i].seq, kind, json_root(doc), e))
                return false;
        }
    }
    return true;
}

/* One error per call, in their order, each behind the one before. */
static void end_calls(struct import *m, const struct open_actions *open, int64_t *leaf, uint32_t branch)
{
    struct import_batch *b = import_batch_get(m);
    for (size_t i = 0; i < open->list.n; i++) {
        const struct open_action *a = &open->list.at[i];
        struct event_draft d;
        struct uuid parent = m->leaf_id, id = uuid_random();
        char parent_text[UUID_DASHED_LEN + 1];
        autobuf text = {0};
        event_draft_init(&d, EVENT_AGENT_ERROR, SOURCE_AGENT);
        event_agent_error_body(&d, a->tool_name, a->call_id, open_end_text(OPEN_CRASHED), "internal");
        m->clock.us = append_later_than(m->clock.us, clock_wall_us());
        m->clock.local_us = append_later_than(m->clock.local_us, clock_local_us(m->clock.us));
        event_write(&text, &d, buf_str(&d.body), &id, m->clock.local_us, uuid_dashed(&parent, parent_text));
        event_draft_deinit(&d);
        struct store_event event = {.id = id,
                                    .kind = EVENT_AGENT_ERROR,
                                    .source = SOURCE_AGENT,
                                    .time_us = m->clock.us,
                                    .branch = branch,
                                    .on_branch = true,
                                    .json = bytes_take(&text)};
        add_side(m, &event, NULL, m->next_seq + (uint32_t)b->events.n);
        vec_push(&b->events, event);
        m->leaf_id = id;
        *leaf = (int64_t)m->next_seq + (int64_t)b->events.n - 1;
    }
    m->notes.ended = (unsigned)open->list.n;
}

/* Outside a step no call is open, unless somebody is being asked about it. */
static bool settle_calls(struct import *m, int64_t *leaf, uint32_t branch, struct err **e)
{
    struct open_actions path;
    open_actions_init(&path);
    bool branches = m->tree.branches.n > 0;
    bool ok = !branches || path_open(m, *leaf, &path, e);
    const struct open_actions *open = branches ? &path : &m->open;
    if (ok && open->list.n > 0 && m->status == STATUS_WAITING_FOR_CONFIRMATION)
        m->doc->open_from = open->list.at[0].seq;
    else if (ok && open->list.n > 0)
        end_calls(m, open, leaf, branch);
    if (m->status == STATUS_RUNNING)
        m->status = STATUS_ERROR;
    else if (m->status == STATUS_WAITING_FOR_CONFIRMATION && open->list.n == 0)
        m->status = STATUS_IDLE;
    open_actions_deinit(&path);
    return ok;
}

static bool finish(struct import *m, struct err **e)
{
    autobuf state = {0};
    uint32_t branch;
    int64_t leaf = leaf_find(m);
    if (!import_usage(m, e) || !import_flush(m, e) || !import_settle(m, e) ||
        !import_tree_grow(&m->tree, leaf, &branch, e))
        return false;
    if (leaf >= 0) {
        autoarena arena = arena_new();
        struct store_item *items;
        size_t n;
        if (!store_read(m->target.store, m->number, (uint32_t)leaf, (uint32_t)leaf + 1, 1, false, arena,
                        &items, &n, e) ||
            n != 1)
            return err_set(e, ERR_INTERNAL, "the last event has gone");
        m->leaf_id = items[0].id;
    }
    if (!settle_calls(m, &leaf, branch, e))
        return false;
    doc_write(m->doc, &state);
    struct import_batch *b = import_batch_get(m);
    b->commit.delta = (struct store_delta){
        .set = STORE_SET_STATUS | STORE_SET_LEAF | STORE_SET_TITLE | STORE_SET_STATE | STORE_TOUCH,
        .status = (int)m->status,
        .leaf_seq = leaf,
        .branch = branch,
        .title = bytes_str(m->doc->title),
        .state = buf_str(&state),
        .updated_us = m->updated_us,
    };
    return import_flush(m, e) && import_settle(m, e) && import_publish(m, e);
}

bool import_end(struct import *m, const struct import_notes **notes, struct err **e)
{
    if (!finish(m, e))
        return false;
    m->notes.events = m->next_seq;
    m->notes.orphans = m->tree.orphans;
    m->notes.problem = m->problem.n > 0 ? buf_str(&m->problem) : STR_NONE;
    *notes = &m->notes;
    return true;
}
