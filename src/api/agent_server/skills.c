/* Skills that an agent could be given: those of a project and of the user, found by the hand that serves the project's path,
 * and one that names the hosts of a sandbox. Public and organisation skills are clones of repositories elsewhere, which
 * this server does not make: there are none of them. */
#include "agent/skill/hand.h"
#include "api/agent_server/app.h"
#include "api/hand_request.h"
#include "base/cleanup.h"

#define SKILLS_TIMEOUT_MS 15000 /* the hand's own bound is 10 s */
#define URLS_MAX 1000
#define ORGS_MAX 64
#define PROJECT_DIR_MAX 4096 /* bytes: PATH_MAX */

struct exposed_url {
    struct str name, url;
    int64_t port;
};
struct sandbox_config {
    struct json_list exposed_urls;
};
struct org_config {
    struct str repository, provider, org_repo_url, org_name;
};
struct skills_args {
    bool load_public, load_user, load_project, load_org;
    struct str marketplace_path, project_dir;
    const struct json_value *registered_marketplaces;
    struct json_list org_configs;
    const struct org_config *org_config;
    const struct sandbox_config *sandbox;
};

#define AT(type, member) .offset = offsetof(struct type, member)
#define LOAD(key, what)                                                                               \
    {                                                                                                 \
        .name = #key, .type = FIELD_BOOL, AT(skills_args, key), .default_int = 1, .doc = "With " what \
    }

static const struct json_field url_fields[] = {
    {.name = "name", .type = FIELD_STR, AT(exposed_url, name), .flags = FIELD_REQUIRED, .doc = "Its name."},
    {.name = "url", .type = FIELD_STR, AT(exposed_url, url), .flags = FIELD_REQUIRED, .doc = "Its address."},
    {.name = "port", .type = FIELD_INT, AT(exposed_url, port), .flags = FIELD_REQUIRED, .doc = "Its port."},
};
static const struct json_schema url_schema = {.name = "ExposedUrl",
                                              .size = sizeof(struct exposed_url),
                                              .fields = url_fields,
                                              .count = ARRAY_LEN(url_fields)};

static const struct json_field sandbox_fields[] = {
    {.name = "exposed_urls",
     .type = FIELD_ARRAY,
     AT(sandbox_config, exposed_urls),
     .schema = &url_schema,
     .min = 0,
     .max = URLS_MAX,
     .doc = "Addresses by which the sandbox can be reached."},
};
static const struct json_schema sandbox_schema = {
    .name = "SandboxConfig", .size = sizeof(struct sandbox_config), .fields = sandbox_fields, .count = 1};

#define ORG(key, what)                                                                             \
    {                                                                                              \
        .name = #key, .type = FIELD_STR, AT(org_config, key), .flags = FIELD_REQUIRED, .doc = what \
    }

static const struct json_field org_fields[] = {
    ORG(repository, "The repository that is worked on."),
    ORG(provider, "Where it is kept."),
    ORG(org_repo_url, "Address of the organisation's own repository."),
    ORG(org_name, "The organisation's name."),
};
static const struct json_schema org_schema = {.name = "OrgConfig",
                                              .size = sizeof(struct org_config),
                                              .fields = org_fields,
                                              .count = ARRAY_LEN(org_fields)};

static const struct json_field skills_fields[] = {
    LOAD(load_public, "public skills."),
    LOAD(load_user, "those of the user's home directory."),
    LOAD(load_project, "those of the project."),
    LOAD(load_org, "those of an organisation."),
    {.name = "marketplace_path",
     .type = FIELD_STR,
     AT(skills_args, marketplace_path),
     .default_str = "marketplaces/default.json",
     .doc = "Accepted and not used."},
    {.name = "registered_marketplaces",
     .type = FIELD_ANY,
     AT(skills_args, registered_marketplaces),
     .doc = "Accepted and not used.",
     .json_schema = "{\"type\":\"array\",\"items\":{\"type\":\"object\"}}"},
    {.name = "project_dir",
     .type = FIELD_STR,
     AT(skills_args, project_dir),
     .min = 0,
     .max = PROJECT_DIR_MAX,
     .doc = "The project's directory."},
    {.name = "org_configs",
     .type = FIELD_ARRAY,
     AT(skills_args, org_configs),
     .schema = &org_schema,
     .min = 0,
     .max = ORGS_MAX,
     .doc = "Accepted and not used."},
    {.name = "org_config",
     .type = FIELD_OBJECT,
     AT(skills_args, org_config),
     .schema = &org_schema,
     .doc = "Accepted and not used."},
    {.name = "sandbox_config",
     .type = FIELD_OBJECT,
     AT(skills_args, sandbox),
     .schema = &sandbox_schema,
     .doc = "What the sandbox offers."},
};
static const struct json_schema skills_schema = {.name = "SkillsRequest",
                                                 .size = sizeof(struct skills_args),
                                                 .fields = skills_fields,
                                                 .count = ARRAY_LEN(skills_fields)};

/* ---- the answer ---- */

struct work { /* in the request's arena */
    const struct skills_args *args;
    struct arena *arena;
    struct str dir;
    struct skill_set user, project;
};

static const struct skill *hosts_skill(const struct work *k)
{
    const struct json_list *urls = k->args->sandbox ? &k->args->sandbox->exposed_urls : NULL;
    const struct exposed_url *url = urls ? urls->items : NULL;
    autobuf text = {0};
    for (size_t i = 0; urls && i < urls->n; i++) {
        if (str_starts(url[i].name, STR("WORKER_"))) /* a web application that runs in it */
            buf_addf(&text, "\n* %.*s (port %lld)", STR_ARG(url[i].url), (long long)url[i].port);
    }
    if (text.n == 0)
        return NULL;
    buf_insert(&text, 0,
               STR("A web application that listens on one of these ports can be reached by the user at the "
                   "address beside it:"));
    struct skill *s = ARENA_NEW(k->arena, struct skill);
    *s = (struct skill){.name = STR("work_hosts"), .content = arena_str(k->arena, buf_str(&text))};
    return s;
}

/* Those of `over` take the place of those with the same name. */
static void merge(struct skill_set *all, const struct skill_set *over)
{
    for (size_t i = 0; i < over->list.n; i++) {
        const struct skill *s = over->list.at[i];
        size_t at = 0;
        while (at < all->list.n && !str_eq(all->list.at[at]->name, s->name))
            at++;
        if (at < all->list.n)
            all->list.at[at] = s;
        else
            skill_set_add(all, s, NULL);
    }
}

static void answer(struct request *r, struct work *k)
{
    struct skill_set all = {0};
    const struct skill *hosts = hosts_skill(k);
    if (hosts)
        skill_set_add(&all, hosts, NULL);
    merge(&all, &k->user);
    merge(&all, &k->project);
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_key(&w, "skills");
    jw_array(&w);
    for (size_t i = 0; i < all.list.n; i++)
        skill_info_write(all.list.at[i], &w);
    jw_array_end(&w);
    jw_key(&w, "sources");
    jw_object(&w);
    jw_member_int(&w, "sandbox", hosts != NULL);
    jw_member_int(&w, "registered_marketplaces", 0);
    jw_member_int(&w, "sdk_base", (int64_t)k->user.list.n);
    jw_member_int(&w, "org", 0);
    jw_member_int(&w, "project", (int64_t)k->project.list.n);
    jw_object_end(&w);
    jw_object_end(&w);
    skill_set_deinit(&all);
    skill_set_deinit(&k->user);
    skill_set_deinit(&k->project);
    request_reply_json(r, 200, &body);
}

/* ---- asking the hand ---- */

static void user_answered(struct hand_request *h, struct str fields, struct str data)
{
    struct work *k = (struct work *)h->args;
    (void)data;
    skill_hand_decode(fields, k->arena, &k->user);
    answer(h->request, k);
}

static void user_refused(struct hand_request *h, enum wire_status status, struct str message)
{
    (void)status, (void)message;
    answer(h->request, (struct work *)h->args);
}

static void user_ask(struct hand_request *h)
{
    static const struct hand_answer found = {
        .timeout_ms = SKILLS_TIMEOUT_MS, .done = user_answered, .refused = user_refused};
    struct work *k = (struct work *)h->args;
    struct buf fields = {0};
    if (!k->args->load_user) {
        answer(h->request, k);
        return;
    }
    skill_hand_fields(SKILL_PLACE_USER, STR_NONE, &fields);
    hand_request_call(h, OP_SKILLS, &fields, &found);
}

static void project_answered(struct hand_request *h, struct str fields, struct str data)
{
    struct work *k = (struct work *)h->args;
    (void)data;
    skill_hand_decode(fields, k->arena, &k->project);
    user_ask(h);
}

/* A directory that does not exist, or may not be read, has no skills. */
static void project_refused(struct hand_request *h, enum wire_status status, struct str message)
{
    (void)status, (void)message;
    user_ask(h);
}

static void project_ask(struct hand_request *h)
{
    static const struct hand_answer found = {
        .timeout_ms = SKILLS_TIMEOUT_MS, .done = project_answered, .refused = project_refused};
    struct work *k = (struct work *)h->args;
    struct buf fields = {0};
    if (!k->args->load_project || k->args->project_dir.n == 0) {
        user_ask(h);
        return;
    }
    skill_hand_fields(SKILL_PLACE_PROJECT, k->dir, &fields);
    hand_request_call(h, OP_SKILLS, &fields, &found);
}

static void list_skills(struct request *r, const void *args)
{
    struct work *k = ARENA_NEW(request_arena(r), struct work);
    k->args = args;
    k->arena = request_arena(r);
    k->dir = k->args->project_dir.n ? hand_request_path(r, k->args->project_dir, false) : STR("/");
    hand_request_start(r, k, k->dir, project_ask);
}

static void sync_skills(struct request *r, const void *args)
{
    (void)args;
    autobuf body = {0};
    struct json_writer w = json_writer(&body);
    jw_object(&w);
    jw_member_cstr(&w, "status", "success");
    jw_member_cstr(&w, "message", "This server keeps no public skills, so there is nothing to fetch.");
    jw_object_end(&w);
    request_reply_json(r, 200, &body);
}

/* ---- the table ---- */

static const struct route_response skills_responses[] = {
    {.status = 200, .description = "Skills, and how many came from where.", .ref = "SkillsResponse"}};
static const struct route_response sync_responses[] = {
    {.status = 200, .description = "How it went.", .ref = "SyncResponse"}};

static const struct route routes[] = {
    {.method = HTTP_POST_,
     .path = "/api/skills",
     .handle = list_skills,
     .summary = "List the skills that an agent could be given",
     .tag = "Skills",
     .operation = "get_skills_api_skills_post",
     .args_size = sizeof(struct skills_args),
     .body = &skills_schema,
     .responses = skills_responses,
     .response_count = 1},
    {.method = HTTP_POST_,
     .path = "/api/skills/sync",
     .handle = sync_skills,
     .summary = "Fetch public skills anew",
     .tag = "Skills",
     .operation = "sync_skills_api_skills_sync_post",
     .flags = ROUTE_INLINE,
     .responses = sync_responses,
     .response_count = 1},
};
const struct route_table skill_routes = {routes, ARRAY_LEN(routes)};
