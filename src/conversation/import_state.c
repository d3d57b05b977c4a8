/* import_state: what base_state.json and meta.json say of a conversation. Both are a stranger's: what is of the wrong type
 * counts as absent, and what the conversation cannot be without is an error. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "conversation/import_internal.h"

#define TITLE_MAX 16384          /* bytes; longer ones are cut */
#define TOKENS_MAX 1000000000000 /* a count past it is none */

/* The name of today, or the one of 1.0.0a5. */
static const struct json_value *either(const struct json_value *v, const char *name, const char *older)
{
    const struct json_value *found = json_get(v, name);
    return json_is_null(found) ? json_get(v, older) : found;
}

/* meta.json comes first where upstream, too, lets it overrule the state. */
static const struct json_value *member(const struct import *m, const char *name)
{
    const struct json_value *v = json_get(m->meta, name);
    return json_is_null(v) ? json_get(m->state, name) : v;
}

static const struct json_value *typed(const struct json_value *v, enum json_type type)
{
    return json_type(v) == type ? v : NULL;
}

static struct json_doc *file_parse(const char *name, struct str text, struct err **e)
{
    struct json_doc *doc = json_parse(text, NULL, e);
    if (!doc) {
        err_prefix(e, "%s", name);
    } else if (json_type(json_root(doc)) != JSON_OBJECT) {
        json_doc_free(steal(doc));
        err_set(e, ERR_INVALID, "%s is not an object", name);
    }
    return doc;
}

static bool id_read(struct import *m, struct err **e)
{
    struct uuid other;
    if (!uuid_parse(json_get_str(m->state, "id"), &m->id))
        return err_set(e, ERR_INVALID, "base_state.json has no id that is a UUID");
    if (uuid_parse(json_get_str(m->meta, "id"), &other) && !uuid_eq(&other, &m->id))
        return err_set(e, ERR_INVALID, "meta.json and base_state.json are of two conversations");
    return true;
}

static bool status_read(struct import *m, struct err **e)
{
    m->status = status_parse(json_str(either(m->state, "execution_status", "agent_status")));
    if (m->status == STATUS_DELETING)
        return err_set(e, ERR_INVALID, "it was being deleted");
    if (!m->status)
        m->status = STATUS_IDLE;
    return true;
}

static bool config_read(struct import *m, struct err **e)
{
    const struct json_value *agent = typed(json_get(m->state, "agent"), JSON_OBJECT), *workspace;
    struct uuid parent;
    bool has_parent = uuid_parse(json_get_str(m->meta, "parent_conversation_id"), &parent);
    if (!agent)
        agent = typed(json_get(m->meta, "agent"), JSON_OBJECT); /* older servers kept it there */
    workspace = member(m, "workspace");
    struct str dir =
        json_type(workspace) == JSON_STRING ? json_str(workspace) : json_get_str(workspace, "working_dir");
    if (!agent)
        return err_set(e, ERR_INVALID, "base_state.json has no agent");
    if (dir.n == 0)
        return err_set(e, ERR_INVALID, "it has no workspace");
    const struct json_value *registry = either(m->state, "secret_registry", "secrets_manager");
    int64_t most = json_int(member(m, "max_iterations"), 500);
    struct config_source source = {
        .agent = agent,
        .secrets = typed(json_get(registry, "secret_sources"), JSON_OBJECT),
        .hook_config = typed(member(m, "hook_config"), JSON_OBJECT),
        .client_tools = typed(json_get(m->meta, "client_tools"), JSON_ARRAY),
        .working_dir = dir,
        .max_iterations = most > 0 ? most : 500,
        .stuck_detection = json_bool(member(m, "stuck_detection"), true),
        .autotitle = json_get_bool(m->meta, "autotitle", true),
        .parent = has_parent ? &parent : NULL,
    };
    m->config = config_adopt(&source, m->target.secrets, m->target.env, e);
    if (m->config && m->config->problem)
        buf_add_cstr(&m->problem, m->config->problem->text);
    return m->config != NULL;
}

static struct bytes *kept(const struct json_value *v, enum json_type type)
{
    autobuf json = {0};
    if (json_type(v) != type)
        return NULL;
    json_add(&json, v);
    return bytes_take(&json);
}

static struct bytes *title_read(const struct import *m)
{
    struct str title = json_get_str(m->meta, "title");
    size_t n = title.n < TITLE_MAX ? title.n : TITLE_MAX;
    while (n > 0 && n < title.n && ((unsigned char)title.p[n] & 0xc0) == 0x80)
        n--;
    return title.p ? bytes_new(str_sub(title, 0, n)) : NULL;
}

static void doc_read(struct import *m)
{
    struct doc *d = m->doc = doc_new();
    const struct json_value *policy = json_get(m->state, "confirmation_policy");
    /* Of a policy that is not known only one thing is certain: it was not "never". */
    if (!policy_decode(policy, "", &d->policy, NULL) && !json_is_null(policy))
        d->policy.kind = POLICY_ALWAYS;
    d->analyzer = kept(json_get(m->state, "security_analyzer"), JSON_OBJECT);
    d->tags = kept(member(m, "tags"), JSON_OBJECT);
    d->title = title_read(m);
    d->blocked_actions = kept(json_get(m->state, "blocked_actions"), JSON_OBJECT);
    d->blocked_messages = kept(json_get(m->state, "blocked_messages"), JSON_OBJECT);
    d->activated = kept(json_get(m->state, "activated_knowledge_skills"), JSON_ARRAY);
    d->invoked = kept(json_get(m->state, "invoked_skills"), JSON_ARRAY);
    d->rules = kept(json_get(m->state, "activated_path_rules"), JSON_ARRAY);
    d->has_last_user = uuid_parse(json_get_str(m->state, "last_user_message_id"), &d->last_user);
}

/* Without a zone it is UTC: the server writes these so. */
static int64_t time_read(const struct json_value *meta, const char *name)
{
    autobuf text = {0};
    int64_t us = 0;
    struct str stamp = json_get_str(meta, name);
    buf_add(&text, stamp);
    buf_add_char(&text, 'Z');
    return clock_parse(buf_str(&text), &us) || clock_parse(stamp, &us) ? us : 0;
}

bool import_state_read(struct import *m, int64_t changed_us, struct err **e)
{
    if (!id_read(m, e) || !status_read(m, e) || !config_read(m, e))
        return false;
    doc_read(m);
    m->created_us = time_read(m->meta, "created_at");
    m->updated_us = time_read(m->meta, "updated_at");
    if (m->updated_us == 0)
        m->updated_us = changed_us;
    return true;
}

struct import *import_begin(const struct import_target *target, struct str state, struct str meta,
                            int64_t changed_us, struct err **e)
{
    struct import *m = xcalloc(1, sizeof(*m));
    m->target = *target;
    m->last_node = -1;
    pthread_mutex_init(&m->lock, NULL);
    thread_cond_init(&m->changed);
    import_tree_init(&m->tree);
    open_actions_init(&m->open);
    bool ok = (m->state_doc = file_parse("base_state.json", state, e)) &&
              (!meta.p || (m->meta_doc = file_parse("meta.json", meta, e)));
    m->state = json_root(m->state_doc);
    m->meta = json_root(m->meta_doc);
    if (ok && import_state_read(m, changed_us, e)) {
        autoarena arena = arena_new();
        struct store_row row;
        autoerr why = NULL;
        if (!store_get(target->store, &m->id, arena, &row, &why) && why->kind == ERR_NOT_FOUND) {
            m->costs = import_costs_new(m->state);
            return m;
        }
        if (why)
            err_set(e, why->kind, "%s", why->text);
        else
            err_set(e, ERR_CONFLICT, "it is there already");
    }
    import_free(m);
    return NULL;
}

void import_free(struct import *m)
{
    if (!m)
        return;
    import_discard(m);
    import_batch_free(m->batch);
    config_unref(m->config);
    doc_unref(m->doc);
    json_doc_free(m->state_doc);
    json_doc_free(m->meta_doc);
    import_tree_deinit(&m->tree);
    open_actions_deinit(&m->open);
    side_deinit(&m->side);
    import_costs_free(m->costs);
    buf_deinit(&m->problem);
    err_free(m->failed);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->changed);
    free(m);
}

/* ---- statistics ---- */

static const struct {
    const char *name;
    size_t offset;
} tokens[] = {
    {"prompt_tokens", offsetof(struct store_usage, prompt)},
    {"completion_tokens", offsetof(struct store_usage, completion)},
    {"cache_read_tokens", offsetof(struct store_usage, cache_read)},
    {"cache_write_tokens", offsetof(struct store_usage, cache_write)},
    {"reasoning_tokens", offsetof(struct store_usage, reasoning)},
};

static int64_t *token_of(struct store_usage *u, size_t i)
{
    return (int64_t *)((char *)u + tokens[i].offset);
}

static int64_t token_read(const struct json_value *v, size_t i)
{
    int64_t n = json_get_int(v, tokens[i].name, 0);
    return n < 0 || n > TOKENS_MAX ? 0 : n;
}

void import_tokens_read(const struct json_value *v, struct store_usage *u)
{
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++)
        *token_of(u, i) = token_read(v, i);
}

static bool usage_push(struct import *m, struct store_usage *u, struct err **e)
{
    u->time_us = m->updated_us;
    struct import_batch *b = import_batch_get(m);
    vec_push(&b->usage, *u);
    return b->usage.n < IMPORT_BATCH_EVENTS || import_flush(m, e);
}

/* Of one usage id: its calls, and in front of them what the sums have more than these. */
static bool metrics_read(struct import *m, struct str usage_id, const struct json_value *metrics,
                         struct err **e)
{
    const struct json_value *total = json_get(metrics, "accumulated_token_usage");
    struct store_usage calls = {0}, rest = {.usage_id = usage_id,
                                            .model = json_get_str(metrics, "model_name"),
                                            .context_window = json_get_int(total, "context_window", 0)};
    double cost = json_get_float(metrics, "accumulated_cost", 0);
    for (struct json_iter it = json_iter(json_get(metrics, "token_usages")); json_next(&it);)
        for (size_t i = 0; i < ARRAY_LEN(tokens); i++)
            *token_of(&calls, i) += token_read(it.value, i);
    bool more = cost > 0;
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        int64_t left = token_read(total, i) - *token_of(&calls, i);
        *token_of(&rest, i) = left > 0 ? left : 0;
        more |= left > 0;
    }
    rest.cost = cost > 0 ? cost : 0; /* costs are not told apart by call */
    if ((more || json_count(json_get(metrics, "token_usages")) == 0) && !usage_push(m, &rest, e))
        return false;
    for (struct json_iter it = json_iter(json_get(metrics, "token_usages")); json_next(&it);) {
        struct store_usage u = {.usage_id = usage_id,
                                .model = json_get_str(it.value, "model"),
                                .response_id = json_get_str(it.value, "response_id"),
                                .context_window = json_get_int(it.value, "context_window", 0)};
        import_tokens_read(it.value, &u);
        if (!usage_push(m, &u, e))
            return false;
    }
    return true;
}

bool import_usage(struct import *m, struct err **e)
{
    const struct json_value *all = json_get(json_get(m->state, "stats"), "usage_to_metrics");
    for (struct json_iter it = json_iter(json_type(all) == JSON_OBJECT ? all : NULL); json_next(&it);)
        if (!metrics_read(m, it.key, it.value, e))
            return false;
    return true;
}
