/* config: what rarely changes in a conversation, from the client's request and from the row. */
#include "base/vec.h"
#include "conversation/secret_walk.h"
#include "conversation/state.h"

struct config *config_ref(struct config *c)
{
    if (c)
        atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void config_unref(struct config *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    bytes_unref(c->stored);
    bytes_unref(c->agent_shown);
    bytes_unref(c->agent_skills);
    bytes_unref(c->registry);
    bytes_unref(c->hook_config);
    hook_config_free(c->hooks);
    bytes_unref(c->client_tools);
    agent_unref(c->agent);
    err_free(c->problem);
    mask_unref(c->mask);
    json_doc_free(c->lookups);
    json_doc_free(c->doc);
    free(c);
}

static struct bytes *bytes_of_json(const struct json_value *v)
{
    if (json_is_null(v))
        return NULL;
    autobuf b = {0};
    json_add(&b, v);
    return bytes_take(&b);
}

/* Today's clients ask for skills if they want them; those of the first documentation, whose skills have a `type`, are
 * shown what they sent. */
static bool skills_are_old(const struct json_value *agent)
{
    const struct json_value *skills = json_get(json_get(agent, "agent_context"), "skills");
    for (struct json_iter it = json_iter(skills); json_next(&it);)
        if (json_get(it.value, "type"))
            return true;
    return false;
}

static struct bytes *shown_agent(const struct json_value *agent, bool with_skills)
{
    struct secret_walk walk = {.mode = SECRET_SHOW, .empty_skills = !with_skills && !skills_are_old(agent)};
    autobuf b = {0};
    struct json_writer w = json_writer(&b);
    secret_walk_agent(&walk, agent, &w);
    return bytes_take(&b);
}

static struct bytes *shown_registry(const struct json_value *registry)
{
    struct secret_walk walk = {.mode = SECRET_SHOW};
    autobuf b = {0};
    struct json_writer w = json_writer(&b);
    jw_object(&w);
    jw_key(&w, "secret_sources");
    secret_walk_registry(&walk, registry, &w, NULL);
    jw_object_end(&w);
    return bytes_take(&b);
}

static bool is_lookup(const struct json_value *source)
{
    return str_is(json_get_str(source, "kind"), "LookupSecret");
}

static struct json_doc *lookups_of(const struct json_value *registry)
{
    autobuf b = {0};
    struct json_writer w = json_writer(&b);
    size_t n = 0;
    jw_object(&w);
    for (struct json_iter it = json_iter(registry); json_next(&it);)
        if (is_lookup(it.value)) {
            jw_key_str(&w, it.key);
            jw_value(&w, it.value);
            n++;
        }
    jw_object_end(&w);
    return n > 0 ? json_parse_trusted(buf_str(&b), NULL) : NULL;
}

/* The opened registry as a mask: what must not be seen, and what commands may ask for by name. */
static struct mask *open_mask(const struct json_value *registry, struct secret_walk *walk,
                              struct json_doc **lookups, struct err **e)
{
    autobuf b = {0};
    struct json_writer w = json_writer(&b);
    if (!secret_walk_registry(walk, registry, &w, e))
        return NULL;
    autojson doc = json_parse_trusted(buf_str(&b), e);
    if (!doc)
        return NULL;
    VEC(struct str) names = {0}, values = {0};
    for (struct json_iter it = json_iter(json_root(doc)); json_next(&it);) {
        struct str value = json_get_str(it.value, "value");
        if (value.n == 0 && !is_lookup(it.value))
            continue;
        vec_push(&names, it.key);
        vec_push(&values, value);
    }
    struct mask *mask = mask_new(names.at, values.at, names.n);
    *lookups = lookups_of(json_root(doc));
    vec_deinit(&names);
    vec_deinit(&values);
    return mask;
}

static struct agent *open_agent(const struct json_value *agent, struct secret_walk *walk,
                                const char *(*env)(const char *), struct err **e)
{
    autobuf b = {0};
    struct json_writer w = json_writer(&b);
    secret_walk_agent(walk, agent, &w);
    autojson doc = json_parse_trusted(buf_str(&b), e);
    return doc ? agent_new(json_root(doc), env, e) : NULL;
}

struct config *config_load(struct str stored, const struct secrets *secrets, const char *(*env)(const char *),
                           struct err **e)
{
    struct json_doc *doc = json_parse_trusted(stored, e);
    if (!doc) {
        err_prefix(e, "stored configuration");
        return NULL;
    }
    const struct json_value *root = json_root(doc);
    struct config *c = xcalloc(1, sizeof *c);
    c->refs = 1;
    c->doc = doc;
    c->stored = bytes_new(stored);
    c->working_dir = json_get_str(root, "working_dir");
    c->max_iterations = json_get_int(root, "max_iterations", 500);
    c->stuck_detection = json_get_bool(root, "stuck_detection", true);
    c->autotitle = json_get_bool(root, "autotitle", true);
    c->has_found = !json_is_null(json_get(root, "found"));
    c->has_parent = uuid_parse(json_get_str(root, "parent"), &c->parent);
    const struct json_value *hooks = json_get(root, "hook_config");
    c->hooks = json_is_null(hooks) ? NULL : hook_config_new(hooks, NULL, NULL);
    c->hook_config = c->hooks ? bytes_new(hook_config_text(c->hooks)) : bytes_of_json(hooks);
    c->client_tools = bytes_of_json(json_get(root, "client_tools"));

    const struct json_value *agent = json_get(root, "agent"), *registry = json_get(root, "secrets");
    c->agent_shown = shown_agent(agent, false);
    c->agent_skills = shown_agent(agent, true);
    c->registry = shown_registry(registry);

    struct secret_walk walk = {.mode = SECRET_OPEN, .secrets = secrets};
    c->mask = open_mask(registry, &walk, &c->lookups, &c->problem);
    if (c->mask)
        c->agent = open_agent(agent, &walk, env, &c->problem);
    else
        c->mask = mask_new(NULL, NULL, 0);
    if (c->agent && c->has_found && !agent_give_found(c->agent, json_get(root, "found"), &c->problem))
        agent_unref(steal(c->agent));
    if (walk.unopened.n > 0) {
        agent_unref(steal(c->agent));
        err_free(steal(c->problem));
        err_set(&c->problem, ERR_INVALID,
                "no key opens the stored secret %.*s; supply it again or configure the key "
                "it was stored with",
                (int)walk.unopened.n, walk.unopened.p);
    }
    buf_deinit(&walk.unopened);
    return c;
}

/* The conversation's secrets are those of the request and, behind them, those of the agent's context. */
static struct json_doc *all_secrets(const struct config_source *s)
{
    const struct json_value *more = json_get(json_get(s->agent, "agent_context"), "secrets");
    autobuf b = {0};
    struct json_writer w = json_writer(&b);
    jw_object(&w);
    for (struct json_iter it = json_iter(s->secrets); json_next(&it);) {
        jw_key_str(&w, it.key);
        jw_value(&w, it.value);
    }
    for (struct json_iter it = json_iter(json_type(more) == JSON_OBJECT ? more : NULL); json_next(&it);)
        if (!json_get_str_key(s->secrets, it.key) && !json_is_null(it.value)) {
            jw_key_str(&w, it.key);
            jw_value(&w, it.value);
        }
    jw_object_end(&w);
    return json_parse_trusted(buf_str(&b), NULL);
}

static bool write_stored(const struct config_source *s, enum secret_mode mode, const struct secrets *secrets,
                         struct buf *out, struct err **e)
{
    struct secret_walk walk = {.mode = mode, .secrets = secrets};
    struct json_writer w = json_writer(out);
    jw_object(&w);
    jw_key(&w, "agent");
    secret_walk_agent(&walk, s->agent, &w);
    jw_key(&w, "secrets");
    autojson registry = all_secrets(s);
    bool ok = secret_walk_registry(&walk, json_root(registry), &w, e);
    buf_deinit(&walk.unopened);
    if (!ok)
        return false;
    jw_member_str(&w, "working_dir", s->working_dir);
    jw_member_int(&w, "max_iterations", s->max_iterations);
    jw_member_bool(&w, "stuck_detection", s->stuck_detection);
    jw_member_bool(&w, "autotitle", s->autotitle);
    jw_member_value(&w, "hook_config", s->hook_config);
    jw_member_value(&w, "client_tools", s->client_tools);
    if (!json_is_null(s->origin))
        jw_member_value(&w, "origin", s->origin);
    if (s->parent) {
        char text[UUID_DASHED_LEN + 1];
        jw_member_str(&w, "parent", uuid_dashed(s->parent, text));
    }
    jw_object_end(&w);
    return true;
}

struct config *config_make(const struct config_source *source, const struct secrets *secrets,
                           const char *(*env)(const char *), struct err **e)
{
    struct agent *agent = agent_new(source->agent, env, e);
    if (!agent)
        return NULL;
    agent_unref(agent);
    autobuf stored = {0};
    if (!write_stored(source, SECRET_SEAL, secrets, &stored, e))
        return NULL;
    return config_load(buf_str(&stored), secrets, env, e);
}

struct config *config_adopt(const struct config_source *source, const struct secrets *secrets,
                            const char *(*env)(const char *), struct err **e)
{
    autobuf stored = {0};
    if (!write_stored(source, SECRET_ADOPT, secrets, &stored, e))
        return NULL;
    return config_load(buf_str(&stored), secrets, env, e);
}

struct config *config_with_secrets(const struct config *c, const struct json_value *added,
                                   const struct secrets *secrets, const char *(*env)(const char *),
                                   struct err **e)
{
    struct secret_walk walk = {.mode = SECRET_SEAL, .secrets = secrets};
    autobuf sealed = {0};
    struct json_writer sw = json_writer(&sealed);
    if (!secret_walk_registry(&walk, added, &sw, e))
        return NULL;
    autojson doc = json_parse_trusted(buf_str(&sealed), e);
    if (!doc)
        return NULL;
    const struct json_value *news = json_root(doc), *root = json_root(c->doc);

    autobuf stored = {0};
    struct json_writer w = json_writer(&stored);
    jw_object(&w);
    for (struct json_iter it = json_iter(root); json_next(&it);)
        if (!str_is(it.key, "secrets")) {
            jw_key_str(&w, it.key);
            jw_value(&w, it.value);
        }
    jw_key(&w, "secrets");
    jw_object(&w);
    for (struct json_iter it = json_iter(json_get(root, "secrets")); json_next(&it);)
        if (!json_get_str_key(news, it.key)) {
            jw_key_str(&w, it.key);
            jw_value(&w, it.value);
        }
    for (struct json_iter it = json_iter(news); json_next(&it);) {
        jw_key_str(&w, it.key);
        jw_value(&w, it.value);
    }
    jw_object_end(&w);
    jw_object_end(&w);
    return config_load(buf_str(&stored), secrets, env, e);
}

struct config *config_with_found(const struct config *c, struct str found, const struct secrets *secrets,
                                 const char *(*env)(const char *), struct err **e)
{
    autobuf stored = {0};
    struct json_writer w = json_writer(&stored);
    jw_object(&w);
    for (struct json_iter it = json_iter(json_root(c->doc)); json_next(&it);) {
        if (str_is(it.key, "found"))
            continue;
        jw_key_str(&w, it.key);
        jw_value(&w, it.value);
    }
    jw_member_raw(&w, "found", found);
    jw_object_end(&w);
    return config_load(buf_str(&stored), secrets, env, e);
}
