/* state: the counted values of state.h, their stored form and what clients see of them. */
#include "conversation/state.h"
#include "base/clock.h"

#define FULL_STATE_REST 2048 /* bytes of a full_state around its value */

/* ---- doc ---- */

struct doc *doc_new(void)
{
    struct doc *d = xcalloc(1, sizeof *d);
    d->refs = 1;
    d->open_from = -1;
    return d;
}

struct doc *doc_copy(const struct doc *d)
{
    struct doc *copy = xmalloc(sizeof *copy);
    *copy = (struct doc){
        .refs = 1,
        .policy = d->policy,
        .analyzer = bytes_ref(d->analyzer),
        .tags = bytes_ref(d->tags),
        .title = bytes_ref(d->title),
        .blocked_actions = bytes_ref(d->blocked_actions),
        .blocked_messages = bytes_ref(d->blocked_messages),
        .initial = bytes_ref(d->initial),
        .activated = bytes_ref(d->activated),
        .invoked = bytes_ref(d->invoked),
        .rules = bytes_ref(d->rules),
        .has_last_user = d->has_last_user,
        .last_user = d->last_user,
        .saved = d->saved,
        .open_from = d->open_from,
    };
    return copy;
}

struct doc *doc_ref(struct doc *d)
{
    atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
    return d;
}

void doc_unref(struct doc *d)
{
    if (!d || atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) != 1)
        return;
    bytes_unref(d->analyzer);
    bytes_unref(d->tags);
    bytes_unref(d->title);
    bytes_unref(d->blocked_actions);
    bytes_unref(d->blocked_messages);
    bytes_unref(d->initial);
    bytes_unref(d->activated);
    bytes_unref(d->invoked);
    bytes_unref(d->rules);
    free(d);
}

static void member_bytes(struct json_writer *w, const char *key, const struct bytes *json,
                         const char *otherwise)
{
    jw_member_raw(w, key, json ? bytes_str(json) : str_from(otherwise));
}

void doc_write(const struct doc *d, struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_object(&w);
    jw_key(&w, "policy");
    policy_write(&d->policy, &w);
    member_bytes(&w, "analyzer", d->analyzer, "null");
    member_bytes(&w, "tags", d->tags, "{}");
    if (d->has_last_user) {
        char text[UUID_DASHED_LEN + 1];
        jw_member_str(&w, "last_user", uuid_dashed(&d->last_user, text));
    }
    if (d->blocked_actions)
        jw_member_raw(&w, "blocked_actions", bytes_str(d->blocked_actions));
    if (d->blocked_messages)
        jw_member_raw(&w, "blocked_messages", bytes_str(d->blocked_messages));
    if (d->initial)
        jw_member_raw(&w, "initial", bytes_str(d->initial));
    member_bytes(&w, "activated", d->activated, "[]");
    member_bytes(&w, "invoked", d->invoked, "[]");
    member_bytes(&w, "rules", d->rules, "[]");
    if (d->saved)
        jw_member_bool(&w, "saved", true);
    jw_member_int(&w, "open_from", d->open_from);
    jw_object_end(&w);
}

static struct bytes *json_bytes(const struct json_value *v)
{
    if (json_is_null(v))
        return NULL;
    autobuf b = {0};
    json_add(&b, v);
    return bytes_take(&b);
}

struct doc *doc_load(struct str text, struct str title, struct err **e)
{
    autojson json = json_parse_trusted(text, e);
    if (!json) {
        err_prefix(e, "stored state");
        return NULL;
    }
    const struct json_value *root = json_root(json);
    struct doc *d = doc_new();
    policy_decode(json_get(root, "policy"), "policy", &d->policy, NULL);
    d->analyzer = json_bytes(json_get(root, "analyzer"));
    d->tags = json_bytes(json_get(root, "tags"));
    d->title = title.p ? bytes_new(title) : NULL;
    d->has_last_user = uuid_parse(json_get_str(root, "last_user"), &d->last_user);
    d->blocked_actions = json_bytes(json_get(root, "blocked_actions"));
    d->blocked_messages = json_bytes(json_get(root, "blocked_messages"));
    d->initial = json_bytes(json_get(root, "initial"));
    d->activated = json_bytes(json_get(root, "activated"));
    d->invoked = json_bytes(json_get(root, "invoked"));
    d->rules = json_bytes(json_get(root, "rules"));
    d->saved = json_get_bool(root, "saved", false);
    d->open_from = json_get_int(root, "open_from", -1);
    return d;
}

/* ---- state ---- */

struct state *state_new(void)
{
    struct state *s = xcalloc(1, sizeof *s);
    s->refs = 1;
    s->leaf_seq = -1;
    return s;
}

struct state *state_copy(const struct state *s)
{
    struct state *copy = xmalloc(sizeof *copy);
    memcpy(copy, s, sizeof *copy);
    copy->refs = 1;
    config_ref(copy->config);
    doc_ref(copy->doc);
    stats_ref(copy->stats);
    return copy;
}

struct state *state_ref(struct state *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void state_unref(struct state *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    config_unref(s->config);
    doc_unref(s->doc);
    stats_unref(s->stats);
    free(s);
}

void state_set_doc(struct state *s, struct doc *d)
{
    doc_unref(s->doc);
    s->doc = d;
}

void state_set_config(struct state *s, struct config *c)
{
    config_unref(s->config);
    s->config = c;
}

void state_set_stats(struct state *s, struct stats *t)
{
    stats_unref(s->stats);
    s->stats = t;
}

/* ---- what clients see ---- */

/* Writes one object in two forms: the REST body (nulls included) and the value of `full_state` (nulls left out). */
struct shape {
    struct json_writer *w;
    bool nulls;
};

static void shape_raw(const struct shape *f, const char *key, const struct bytes *json)
{
    if (json)
        jw_member_raw(f->w, key, bytes_str(json));
    else if (f->nulls)
        jw_member_null(f->w, key);
}

static void shape_null(const struct shape *f, const char *key)
{
    if (f->nulls)
        jw_member_null(f->w, key);
}

static void shape_uuid(const struct shape *f, const char *key, const struct uuid *id)
{
    char text[UUID_DASHED_LEN + 1];
    if (id)
        jw_member_str(f->w, key, uuid_dashed(id, text));
    else
        shape_null(f, key);
}

static void write_identity(const struct shape *f, const struct state *s, struct str conversations_path)
{
    char hex[UUID_HEX_LEN + 1];
    autobuf dir = {0};
    shape_uuid(f, "id", &s->id);
    jw_key(f->w, "workspace");
    jw_object(f->w);
    jw_member_str(f->w, "working_dir", s->config->working_dir);
    jw_member_cstr(f->w, "kind", "LocalWorkspace");
    jw_object_end(f->w);
    buf_add(&dir, conversations_path);
    buf_add_char(&dir, '/');
    buf_add(&dir, uuid_hex(&s->id, hex));
    jw_member_str(f->w, "persistence_dir", buf_str(&dir));
    jw_member_int(f->w, "max_iterations", s->config->max_iterations);
    jw_member_bool(f->w, "stuck_detection", s->config->stuck_detection);
}

/* The members that ConversationInfo and the state share, in upstream's order. */
static void write_state(const struct shape *f, const struct state *s, struct str conversations_path)
{
    struct json_writer *w = f->w;
    write_identity(f, s, conversations_path);
    jw_member_cstr(w, "execution_status", status_name(s->status));
    jw_member_cstr(w, "agent_status", status_name(s->status)); /* the name of 1.0.0a5 */
    jw_key(w, "confirmation_policy");
    policy_write(&s->doc->policy, w);
    shape_raw(f, "security_analyzer", s->doc->analyzer);
    member_bytes(w, "activated_knowledge_skills", s->doc->activated, "[]");
    member_bytes(w, "invoked_skills", s->doc->invoked, "[]");
    member_bytes(w, "blocked_actions", s->doc->blocked_actions, "{}");
    member_bytes(w, "blocked_messages", s->doc->blocked_messages, "{}");
    shape_uuid(f, "last_user_message_id", s->doc->has_last_user ? &s->doc->last_user : NULL);
    shape_uuid(f, "leaf_event_id", s->leaf_seq >= 0 ? &s->leaf : NULL);
    jw_key(w, "stats");
    stats_write(s->stats, f->nulls, w);
    jw_member_raw(w, "secret_registry", bytes_str(s->config->registry));
    jw_member_raw(w, "secrets_manager", bytes_str(s->config->registry)); /* the name of 1.0.0a5 */
    jw_member_raw(w, "agent_state", STR("{}"));
    shape_raw(f, "hook_config", s->config->hook_config);
}

static void write_time(struct json_writer *w, const char *key, int64_t us)
{
    char text[CLOCK_TEXT_MAX];
    jw_member_str(w, key, clock_format_utc(us, text));
}

void state_write_info(const struct state *s, struct str conversations_path, bool with_skills, struct buf *out)
{
    struct json_writer writer = json_writer(out), *w = &writer;
    struct shape f = {w, true};
    jw_object(w);
    write_state(&f, s, conversations_path);
    jw_member_str(w, "title", bytes_str(s->doc->title));
    jw_key(w, "metrics");
    stats_write_sum(s->stats, w);
    write_time(w, "created_at", s->created_us);
    write_time(w, "updated_at", s->updated_us);
    jw_member_null(w, "forked_from_conversation_id");
    jw_member_null(w, "forked_from_event_id");
    shape_uuid(&f, "parent_conversation_id", s->config->has_parent ? &s->config->parent : NULL);
    jw_member_raw(w, "sub_conversation_ids", STR("[]"));
    member_bytes(w, "tags", s->doc->tags, "{}");
    jw_member_null(w, "current_model_id");
    jw_member_raw(w, "available_models", STR("[]"));
    jw_member_bool(w, "supports_runtime_model_switch", false);
    jw_member_null(w, "launched_agent_profile");
    jw_member_raw(w, "agent", bytes_str(with_skills ? s->config->agent_skills : s->config->agent_shown));
    member_bytes(w, "client_tools", s->config->client_tools, "[]");
    jw_object_end(w);
}

/* The agent is left out of a full_state that it would make too large for a client: GET has it. */
void state_write_full(const struct state *s, struct str conversations_path, struct buf *out)
{
    struct json_writer writer = json_writer(out), *w = &writer;
    struct shape f = {w, false};
    jw_object(w);
    write_state(&f, s, conversations_path);
    member_bytes(w, "tags", s->doc->tags, "{}");
    if (s->config->agent_shown->n + out->n + FULL_STATE_REST < EVENT_SOCKET_MAX)
        jw_member_raw(w, "agent", bytes_str(s->config->agent_shown));
    jw_object_end(w);
}
