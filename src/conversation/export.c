#include "conversation/export.h"
#include "base/cleanup.h"
#include "conversation/internal.h"
#include "conversation/load.h"

/* Members of ConversationInfo that make up each file; nulls are left out. */
static const char *const meta_members[] = {
    "workspace",
    "confirmation_policy",
    "security_analyzer",
    "max_iterations",
    "stuck_detection",
    "tags",
    "hook_config",
    "client_tools",
    "title",
    "metrics",
    "created_at",
    "updated_at",
    "forked_from_conversation_id",
    "forked_from_event_id",
    "parent_conversation_id",
    "launched_agent_profile",
};
static const char *const state_members[] = {
    "id",
    "agent",
    "workspace",
    "persistence_dir",
    "max_iterations",
    "stuck_detection",
    "execution_status",
    "confirmation_policy",
    "security_analyzer",
    "activated_knowledge_skills",
    "invoked_skills",
    "blocked_actions",
    "blocked_messages",
    "last_user_message_id",
    "leaf_event_id",
    "stats",
    "secret_registry",
    "tags",
    "agent_state",
    "hook_config",
};

enum part { PART_META, PART_STATE, PART_EVENTS };

struct export
{
    struct store *store;
    struct state *state;
    int64_t number;
    struct json_doc *info;
    enum part part;
    uint32_t next, end; /* seq */
    struct arena *page;
    struct store_item *items;
    size_t at, n;
    struct buf name, content;
    struct uuid output; /* of an event: the action whose output is next */
    bool has_output;
    unsigned piece;
};

static struct state *stored_state(struct export *x, const struct conversations_config *config,
                                  const struct uuid *id, struct err **e)
{
    autoarena arena = arena_new();
    struct store_row row;
    if (!store_get(config->store, id, arena, &row, e))
        return NULL;
    x->number = row.number;
    return load_state(config, &row, e);
}

/* Takes the state; NULL: there is an error already. */
static struct export *export_of(struct export *x, const struct conversations_config *config,
                                struct state *state, struct err **e)
{
    autobuf info = {0};
    x->store = config->store;
    x->state = state;
    if (state) {
        x->end = state->next_seq;
        state_write_info(state, config->conversations_path, true, &info);
        x->info = json_parse_trusted(buf_str(&info), e);
    }
    if (x->info)
        return x;
    export_free(x);
    return NULL;
}

/* The state as it is in memory, or else in the store. */
struct export *export_new(struct conversations *s, const struct uuid *id, struct err **e)
{
    struct export *x = xcalloc(1, sizeof(*x));
    struct conversation *c = conversations_peek(s, id);
    if (!c)
        return export_of(x, &s->config, stored_state(x, &s->config, id, e), e);
    x->number = c->number;
    struct state *state = committed_get(c);
    conversation_unref(c);
    return export_of(x, &s->config, state, e);
}

struct export *export_new_stored(const struct conversations_config *config, const struct uuid *id,
                                 struct err **e)
{
    struct export *x = xcalloc(1, sizeof(*x));
    return export_of(x, config, stored_state(x, config, id, e), e);
}

void export_free(struct export *x)
{
    if (!x)
        return;
    state_unref(x->state);
    json_doc_free(x->info);
    arena_free(x->page);
    buf_deinit(&x->name);
    buf_deinit(&x->content);
    free(x);
}

int64_t export_time_us(const struct export *x)
{
    return x->state->updated_us;
}

static void write_without_nulls(struct json_writer *w, const struct json_value *v)
{
    enum json_type type = json_type(v);
    if (type != JSON_OBJECT && type != JSON_ARRAY) {
        jw_value(w, v);
        return;
    }
    (type == JSON_OBJECT ? jw_object : jw_array)(w);
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        if (type == JSON_OBJECT && json_is_null(it.value))
            continue;
        if (type == JSON_OBJECT)
            jw_key_str(w, it.key);
        write_without_nulls(w, it.value);
    }
    (type == JSON_OBJECT ? jw_object_end : jw_array_end)(w);
}

static void write_members(struct export *x, struct json_writer *w, const char *const *members, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct json_value *v = json_get(json_root(x->info), members[i]);
        if (json_is_null(v))
            continue;
        jw_key(w, members[i]);
        write_without_nulls(w, v);
    }
}

static void make_state_file(struct export *x, bool meta)
{
    struct json_writer w = json_writer(&x->content);
    char hex[UUID_HEX_LEN + 1];
    buf_add_cstr(&x->name, meta ? "meta.json" : "base_state.json");
    jw_object(&w);
    if (meta)
        jw_member_str(&w, "id", uuid_hex(&x->state->id, hex));
    if (meta)
        write_members(x, &w, meta_members, ARRAY_LEN(meta_members));
    else
        write_members(x, &w, state_members, ARRAY_LEN(state_members));
    jw_object_end(&w);
}

void export_rest(struct export *x)
{
    buf_deinit(&x->content);
    if (x->at < x->n)
        return;
    arena_free(x->page);
    x->page = NULL;
    x->at = x->n = 0;
}

static bool page_read(struct export *x, struct err **e)
{
    arena_free(x->page);
    x->page = arena_new();
    x->at = x->n = 0;
    if (!store_read(x->store, x->number, x->next, x->end, STORE_LIST_MAX, true, x->page, &x->items, &x->n, e))
        return false;
    if (x->n == 0) /* deleted meanwhile */
        return err_set(e, ERR_NOT_FOUND, "the conversation has gone");
    return true;
}

/* Was this event's output too long for it? Then it was kept beside the log. */
static void output_find(struct export *x, const struct store_item *item)
{
    if (item->kind != EVENT_OBSERVATION || str_find(item->json, STR("\"full_output_save_dir\"")) < 0)
        return;
    autojson doc = json_parse_trusted(item->json, NULL);
    const struct json_value *root = doc ? json_root(doc) : NULL;
    x->has_output = json_get_str(json_get(root, "observation"), "full_output_save_dir").n > 0 &&
                    uuid_parse(json_get_str(root, "action_id"), &x->output);
    x->piece = 0;
}

/* The next part of an output. False: there is none, or no more. */
static bool output_next(struct export *x, struct export_file *file, struct err **e)
{
    char hex[UUID_HEX_LEN + 1];
    struct uuid id = output_piece_id(&x->output, x->piece);
    autoerr why = NULL;
    if (!x->has_output)
        return false;
    bool found = store_blob_get(x->store, x->number, &id, &x->content, &why);
    if (!found && why && why->kind != ERR_NOT_FOUND)
        return err_set(e, why->kind, "%s", why->text);
    x->has_output = found && x->content.n == OUTPUT_PIECE;
    if (!found && x->piece == 0)
        return false;
    buf_addf(&x->name, "observations/terminal_output_%.*s.txt", 8, uuid_hex(&x->output, hex).p);
    file->content = buf_str(&x->content);
    file->more = x->has_output;
    x->piece++;
    return true;
}

bool export_next(struct export *x, struct export_file *file, struct err **e)
{
    buf_clear(&x->name);
    buf_clear(&x->content);
    *file = (struct export_file){.time_us = x->state->updated_us};
    if (x->part != PART_EVENTS) {
        make_state_file(x, x->part == PART_META);
        x->part++;
        file->content = buf_str(&x->content);
    } else if (!output_next(x, file, e)) {
        if ((e && *e) || x->next == x->end || (x->at == x->n && !page_read(x, e)))
            return false;
        const struct store_item *item = &x->items[x->at++];
        char dashed[UUID_DASHED_LEN + 1];
        uuid_dashed(&item->id, dashed);
        buf_addf(&x->name, "events/event-%05u-%s.json", item->seq, dashed);
        file->content = item->json;
        file->time_us = item->time_us;
        x->next = item->seq + 1;
        output_find(x, item);
    }
    file->name = buf_str(&x->name);
    return true;
}
