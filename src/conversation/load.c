/* load: a conversation's state out of the store. Worker. */
#include "conversation/load.h"
#include "base/clock.h"

/* Id and time of one stored event; false with no error when `seq` is -1. */
static bool read_one(const struct conversations_config *c, int64_t number, int64_t seq, struct arena *arena,
                     struct store_item *item, struct err **e)
{
    struct store_item *items;
    size_t n = 0;
    if (!store_read(c->store, number, (uint32_t)seq, (uint32_t)seq + 1, 1, false, arena, &items, &n, e))
        return false;
    if (n != 1)
        return err_set(e, ERR_INTERNAL, "event %lld of conversation %lld is missing", (long long)seq,
                       (long long)number);
    *item = items[0];
    return true;
}

/* The local clock face in the event's timestamp. */
static int64_t shown_time(const struct store_item *item)
{
    autojson doc = json_parse_trusted(item->json, NULL);
    autobuf text = {0};
    int64_t us = 0;
    buf_add(&text, json_get_str(json_root(doc), "timestamp"));
    buf_add_char(&text, 'Z');
    return clock_parse(buf_str(&text), &us) ? us : clock_local_us(item->time_us);
}

struct state *load_state(const struct conversations_config *c, const struct store_row *row, struct err **e)
{
    autoarena arena = arena_new();
    struct state *state = state_new();
    struct store_usage_sum *sums;
    size_t n = 0;
    struct store_item item = {0};
    state->id = row->id;
    state->status = (enum status)row->status;
    state->next_seq = row->next_seq;
    state->branch = row->branch;
    state->leaf_seq = row->leaf_seq;
    state->created_us = row->created_us;
    state->updated_us = row->updated_us;
    bool ok = store_usage_sums(c->store, row->number, arena, &sums, &n, e);
    if (ok)
        state->stats = stats_from_sums(sums, n);
    ok = ok && (state->doc = doc_load(row->state, row->title, e));
    ok = ok && (state->config = config_load(row->config, c->secrets, c->env, e));
    if (ok && row->leaf_seq >= 0 && (ok = read_one(c, row->number, row->leaf_seq, arena, &item, e)))
        state->leaf = item.id;
    if (ok && row->next_seq > 0 &&
        (ok = read_one(c, row->number, (int64_t)row->next_seq - 1, arena, &item, e)))
        state->last_us = item.time_us, state->last_local_us = shown_time(&item);
    if (ok)
        return state;
    state_unref(state);
    return NULL;
}

bool conversations_number(struct conversations *s, const struct uuid *id, int64_t *number, struct err **e)
{
    struct conversation *c = conversations_peek(s, id);
    if (c) {
        *number = c->number;
        conversation_unref(c);
        return true;
    }
    autoarena arena = arena_new();
    struct store_row row;
    if (!store_get(s->config.store, id, arena, &row, e))
        return false;
    *number = row.number;
    return true;
}

static struct bytes *info_bytes(struct conversations *s, const struct state *state, bool with_skills)
{
    autobuf out = {0};
    state_write_info(state, s->config.conversations_path, with_skills, &out);
    return bytes_take(&out);
}

static struct bytes *row_info(struct conversations *s, const struct store_row *row, bool with_skills,
                              struct err **e)
{
    struct state *state = load_state(&s->config, row, e);
    if (!state)
        return NULL;
    struct bytes *info = info_bytes(s, state, with_skills);
    state_unref(state);
    return info;
}

/* Made without the lock, which the store's writer needs; kept if the state is still the same. */
struct bytes *conversation_info(struct conversation *c)
{
    struct bytes *info = NULL;
    struct state *state = NULL;
    WITH_LOCK(&c->snapshot_lock)
    {
        info = bytes_ref(c->info);
        state = info ? NULL : state_ref(c->committed);
    }
    if (info)
        return info;
    info = info_bytes(c->service, state, false);
    WITH_LOCK(&c->snapshot_lock)
    if (c->committed == state && !c->info)
        c->info = bytes_ref(info);
    state_unref(state);
    return info;
}

struct bytes *conversations_info(struct conversations *s, const struct uuid *id, bool with_skills,
                                 struct err **e)
{
    struct conversation *c = conversations_peek(s, id);
    if (c) {
        struct bytes *info;
        if (with_skills) {
            struct state *state = committed_get(c);
            info = info_bytes(s, state, true);
            state_unref(state);
        } else {
            info = conversation_info(c);
        }
        conversation_unref(c);
        return info;
    }
    autoarena arena = arena_new();
    struct store_row row;
    return store_get(s->config.store, id, arena, &row, e) ? row_info(s, &row, with_skills, e) : NULL;
}

bool conversations_count(struct conversations *s, enum status status, int64_t *count, struct err **e)
{
    return store_count(s->config.store, STORE_CONVERSATION, status ? (int)status : -1, count, e);
}
