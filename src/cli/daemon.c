#include "cli/daemon.h"
#include "api/api.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/vec.h"
#include "bash/bash.h"
#include "cli/data.h"
#include "cli/environment.h"
#include "cli/process_limit.h"
#include "conversation/conversation.h"
#include <sys/resource.h>

#define COMMAND_OF_IDLE \
    0.9 /* of the time after which an idle runtime is stopped, one command may take this part */
#define URL_FILE_MAX 4096   /* bytes */
#define DRAIN_MS 1000       /* for requests under way at the end */
#define POOL_QUEUE_MAX 4096 /* short jobs waiting; past it requests are refused with 503 */
#define FILES_MAX 65536     /* open files asked of the system: ten thousand sockets, and what hands need */

struct daemon {
    struct loop *loop;
    struct pool *pool;
    struct server *server;
    struct store *store;
    struct secrets *secrets;
    struct hands *hands;
    struct vscodes *vscodes;
    struct outward *outward;
    struct conversations *conversations;
    struct bash *bash;
    struct api *agent_server, *legacy;
    struct static_files *swagger;
    const struct configuration *config;
    struct arena *arena; /* text that the parts borrow */
    struct str data_dir, url, legacy_url;
    struct str *keys;
    size_t key_count;
    uint64_t stop_timer;
    unsigned closing; /* what still has to end: conversations, commands */
    bool stopped;     /* in order: nothing runs any more */
};

/* ---- places ---- */

static bool working_dir(struct buf *out, struct err **e)
{
    autofree char *dir = getcwd(NULL, 0);
    if (!dir)
        return err_errno(e, ERR_IO, "the working directory");
    buf_add_cstr(out, dir);
    return true;
}

bool daemon_find_data_dir(const struct configuration *config, const char *data_dir, struct buf *out,
                          struct err **e)
{
    autobuf cwd = {0}, joined = {0};
    struct str dir = data_dir ? str_from(data_dir) : config->conversations_path;
    struct str url = config->database_url;
    if (!data_dir && url.p) {
        if (!str_starts(url, STR("sqlite:///")) || !str_ends(url, STR("/handsd.db")))
            return err_set(e, ERR_INVALID, "database_url: only sqlite:///DIR/handsd.db is supported");
        dir = str_sub(url, sizeof("sqlite://") - 1, url.n - (sizeof("/handsd.db") - 1));
    }
    if (!working_dir(&cwd, e))
        return false;
    path_join(&joined, buf_str(&cwd), dir);
    path_normalize(out, buf_str(&joined));
    return true;
}

bool daemon_server_url(struct str dir, struct buf *url)
{
    autobuf path = {0};
    path_join(&path, dir, STR(DAEMON_URL_FILE));
    buf_clear(url);
    bool told = file_read(path.p, URL_FILE_MAX, url, NULL);
    buf_truncate(url, told ? str_trim_right(buf_str(url)).n : 0);
    return url->n > 0;
}

/* A file of ours: beside the program where it was built, at `installed` (seen from there) where it was installed. False:
 * `out` has the last place that was looked at. */
static bool find_own(const char *built, const char *installed, struct buf *out)
{
    const char *const places[] = {built, installed};
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self));
    for (size_t i = 0; i < ARRAY_LEN(places) && n > 0 && (size_t)n < sizeof(self); i++) {
        autobuf joined = {0};
        buf_clear(out);
        path_join(&joined, path_dir(str_make(self, (size_t)n)), str_from(places[i]));
        path_normalize(out, buf_str(&joined));
        if (access(out->p, F_OK) == 0)
            return true;
    }
    return false;
}

bool daemon_find_hand(struct buf *out, struct err **e)
{
    const char *named = environment_value("HANDSD_HAND");
    if (named)
        buf_add_cstr(out, named);
    else
        find_own("hand", "../libexec/handsd/hand", out);
    if (out->n == 0)
        return err_set(e, ERR_IO,
                       "the hand program cannot be found without /proc: mount it, or set HANDSD_HAND");
    if (access(out->p, X_OK) != 0)
        return err_errno(e, ERR_IO, "the hand program %s", out->p);
    return true;
}

/* Swagger UI's files. Without them /docs is a plain list. */
static struct static_files *find_swagger(void)
{
    autobuf dir = {0};
    return find_own("swagger-ui", "../share/handsd/swagger-ui", &dir) ? static_new(dir.p, NULL) : NULL;
}

static char *in_data_dir(struct daemon *d, const char *name)
{
    autobuf path = {0};
    path_join(&path, d->data_dir, str_from(name));
    return arena_cstr(d->arena, buf_str(&path));
}

/* ---- parts, in the order in which they need each other ---- */

static void raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    rlim_t wanted = limit.rlim_max < FILES_MAX ? limit.rlim_max : FILES_MAX;
    if (limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static unsigned worker_count(const struct configuration *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (config->worker_threads > 0)
        return (unsigned)config->worker_threads;
    return cores < 2 ? 2 : cores > 4 ? 4 : (unsigned)cores;
}

/* First, because it tells whether we may be here at all. */
static bool start_store(struct daemon *d, const struct daemon_options *o, struct err **e)
{
    struct data data;
    bool ok = data_open(&data, o->config, o->data_dir, e);
    d->data_dir = arena_str(d->arena, buf_str(&data.dir));
    d->store = steal(data.store);
    d->secrets = steal(data.secrets);
    data_close(&data);
    return ok;
}

static bool start_machinery(struct daemon *d, const struct daemon_options *o, struct err **e)
{
    const struct configuration *c = o->config;
    struct server_config server = {.limits = {
                                       .head_ms = (uint64_t)(c->request_head_timeout_seconds * 1000),
                                       .body_idle_ms = (uint64_t)(c->request_body_timeout_seconds * 1000),
                                       .keep_alive_ms = (uint64_t)(c->keep_alive_timeout_seconds * 1000),
                                       .body_max = (size_t)c->request_body_max_bytes,
                                       .connections_max = (size_t)c->max_connections,
                                   }};
    autobuf hand = {0};
    if (!(d->loop = loop_new(e)))
        return false;
    d->pool = pool_new(worker_count(c), POOL_QUEUE_MAX);
    server.loop = d->loop;
    server.pool = d->pool;
    d->server = server_new(&server);
    if (o->hand_program)
        buf_add_cstr(&hand, o->hand_program);
    else if (!daemon_find_hand(&hand, e))
        return false;
    d->hands = hands_new(d->loop,
                         &(struct hands_config){
                             .program = hand.p,
                             .idle_ms = (uint64_t)(c->conversation_idle_ttl_seconds * 1000),
                             .host = environment_value("DOCKER_HOST_ADDR"),
                         },
                         e);
    d->outward = outward_new();
    if (d->hands)
        d->vscodes = vscodes_new(d->loop, d->hands);
    return d->hands != NULL;
}

static void hand_for(void *context, struct str path,
                     void (*done)(void *arg, const struct hand_spec *hand, const struct err *e), void *arg)
{
    conversations_hand_for(context, path, done, arg);
}

/* After how long whoever runs this machine stops it when it is idle; 0: never. */
static double runtime_idle_seconds(void)
{
    double seconds = 0;
    str_to_f64(str_from(environment_value("OH_RUNTIME_IDLE_TIMEOUT_SECONDS")), &seconds);
    return seconds > 0 ? seconds : 0;
}

static bool start_conversations(struct daemon *d, const struct daemon_options *o, struct err **e)
{
    autobuf cwd = {0}, scripts = {0};
    if (!working_dir(&cwd, e))
        return false;
    if (o->scripts_dir)
        path_join(&scripts, buf_str(&cwd), str_from(o->scripts_dir));
    d->conversations = conversations_new(&(struct conversations_config){
        .loop = d->loop,
        .pool = d->pool,
        .server = d->server,
        .store = d->store,
        .secrets = d->secrets,
        .hands = d->hands,
        .llm = {.outward = d->outward,
                .scripts_dir = o->scripts_dir ? arena_str(d->arena, buf_str(&scripts)) : STR_NONE},
        .conversations_path = d->data_dir,
        .env = environment_value,
        .command_max_s = runtime_idle_seconds() * COMMAND_OF_IDLE,
        .runs_max = process_limit_runs(),
        .idle_ms = (uint64_t)(o->config->conversation_idle_ttl_seconds * 1000),
    });
    d->bash = bash_new(&(struct bash_config){
        .loop = d->loop,
        .pool = d->pool,
        .server = d->server,
        .store = d->store,
        .hands = d->hands,
        .hand_for = hand_for,
        .hand_context = d->conversations,
        .working_dir = buf_str(&cwd),
    });
    return true;
}

/* "/path" of https://host/path/, or STR_NONE. */
static struct str web_url_path(struct str url)
{
    ssize_t scheme = str_find(url, STR("://"));
    struct str rest = scheme < 0 ? STR_NONE : str_sub(url, (size_t)scheme + 3, url.n);
    ssize_t slash = rest.p ? str_find_char(rest, '/') : -1;
    struct str path = slash < 0 ? STR_NONE : str_sub(rest, (size_t)slash, rest.n);
    while (path.n > 0 && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

static void start_dialects(struct daemon *d)
{
    autobuf cwd = {0}, workspace = {0};
    working_dir(&cwd, NULL);
    path_join(&workspace, buf_str(&cwd), d->config->workspace_path);
    d->swagger = find_swagger();
    struct api_config config = {
        .conversations = d->conversations,
        .bash = d->bash,
        .pool = d->pool,
        .loop = d->loop,
        .server = d->server,
        .outward = d->outward,
        .keys = d->keys,
        .key_count = d->key_count,
        .env = environment_value,
        .working_dir = arena_str(d->arena, buf_str(&cwd)),
        .root_path = web_url_path(d->config->web_url),
        .workspace_path = arena_str(d->arena, buf_str(&workspace)),
        .feedback_url = d->config->feedback_url,
        .swagger_files = d->swagger,
        .build_git_sha = environment_value("OPENHANDS_BUILD_GIT_SHA"),
        .build_git_ref = environment_value("OPENHANDS_BUILD_GIT_REF"),
        .runtime_idle_timeout_seconds = runtime_idle_seconds(),
        .command_max_seconds = runtime_idle_seconds() * COMMAND_OF_IDLE,
        .enable_vscode = d->config->enable_vscode,
        .vscodes = d->vscodes,
        .vscode_port = (int)d->config->vscode_port,
        .vscode_base_path = d->config->vscode_base_path,
        .enable_vnc = d->config->enable_vnc,
    };
    d->agent_server = api_new(&agent_server_dialect, &config);
    d->legacy = api_new(&legacy_dialect, &config);
}

/* ---- listening ---- */

struct names { /* what may call besides ourselves */
    VEC(struct str) origins, hosts;
    struct str root_path;
};

/* https://host:port/path: its pages are ours, its host names us, its path is taken off. */
static void add_web_url(struct names *n, struct str url)
{
    ssize_t scheme = str_find(url, STR("://"));
    if (scheme < 0)
        return;
    n->root_path = web_url_path(url);
    struct str host = str_sub(url, (size_t)scheme + 3, url.n);
    ssize_t slash = str_find_char(host, '/');
    if (slash >= 0)
        host = str_sub(host, 0, (size_t)slash);
    vec_push(&n->origins, str_sub(url, 0, (size_t)scheme + 3 + host.n));
    ssize_t colon = str_rfind_char(host, ':');
    vec_push(&n->hosts, colon > str_rfind_char(host, ']') ? str_sub(host, 0, (size_t)colon) : host);
}

static void names_collect(struct names *n, const struct configuration *c)
{
    const char *docker = environment_value("DOCKER_HOST_ADDR");
    for (size_t i = 0; i < c->allow_cors_origins.n; i++)
        vec_push(&n->origins, c->allow_cors_origins.at[i]);
    for (size_t i = 0; i < c->allowed_hosts.n; i++)
        vec_push(&n->hosts, c->allowed_hosts.at[i]);
    if (c->web_url.p)
        add_web_url(n, c->web_url);
    if (docker) {
        vec_push(&n->origins, str_from(docker));
        vec_push(&n->hosts, str_from(docker));
    }
}

/* Gives its URL. */
static bool listen_at(struct daemon *d, const struct daemon_options *o, const struct api *api,
                      const char *name, int port, struct str *url, struct err **e)
{
    struct names names = {0};
    names_collect(&names, o->config);
    struct listener_config config = {
        .host = o->host,
        .port = port,
        .name = name,
        .app = (void *)api,
        .keys = d->keys,
        .key_count = d->key_count,
        .origins = names.origins.at,
        .origin_count = names.origins.n,
        .origin_regex = o->config->allow_cors_origin_regex,
        .hosts = names.hosts.at,
        .host_count = names.hosts.n,
        .root_path = names.root_path,
    };
    config.routes = api_routes(api, &config.route_count);
    struct listener *l = server_listen(d->server, &config, e);
    vec_deinit(&names.origins);
    vec_deinit(&names.hosts);
    if (!l)
        return false;
    *url = arena_printf(d->arena, strchr(o->host, ':') ? "http://[%s]:%d" : "http://%s:%d", o->host,
                        listener_port(l));
    return true;
}

static bool start_listeners(struct daemon *d, const struct daemon_options *o, struct err **e)
{
    autoerr why = NULL;
    if (!listen_at(d, o, d->agent_server, "agent-server", o->port, &d->url, e))
        return false;
    if (o->legacy_port < 0 || listen_at(d, o, d->legacy, "0.53", o->legacy_port, &d->legacy_url, &why))
        return true;
    if (!o->legacy_optional || why->kind != ERR_CONFLICT)
        return err_set(e, why->kind, "%s", err_text(why));
    log_warn("the 0.53 API is not served: %s", err_text(why));
    return true;
}

static void write_url(struct daemon *d)
{
    autoerr e = NULL;
    autobuf text = {0};
    buf_add(&text, d->url);
    buf_add_char(&text, '\n');
    if (!file_write_atomic(in_data_dir(d, DAEMON_URL_FILE), buf_str(&text), 0600, &e))
        log_warn("`handsd run` will not find this server: %s", err_text(e));
}

/* ---- life ---- */

static void collect_keys(struct daemon *d, const struct daemon_options *o)
{
    const struct text_list *keys = &o->config->session_api_keys;
    d->keys = arena_alloc(d->arena, (keys->n + 1) * sizeof(*d->keys));
    for (size_t i = 0; i < keys->n; i++)
        d->keys[d->key_count++] = keys->at[i];
    if (o->extra_key.p)
        d->keys[d->key_count++] = arena_str(d->arena, o->extra_key);
}

struct daemon *daemon_start(const struct daemon_options *o, struct err **e)
{
    struct daemon *d = xcalloc(1, sizeof(*d));
    d->arena = arena_new();
    d->config = o->config;
    raise_files();
    collect_keys(d, o);
    if (start_store(d, o, e) && start_machinery(d, o, e) && start_conversations(d, o, e)) {
        start_dialects(d);
    }
    if (d->agent_server && start_listeners(d, o, e)) {
        if (o->announce)
            write_url(d);
        conversations_recover(d->conversations);
        return d;
    }
    d->stopped = true;
    daemon_free(d);
    return NULL;
}

const char *daemon_url(const struct daemon *d)
{
    return d->url.p;
}

const char *daemon_legacy_url(const struct daemon *d)
{
    return d->legacy_url.p;
}

static void hands_closed(void *arg)
{
    struct daemon *d = arg;
    loop_timer_cancel(d->loop, d->stop_timer);
    /* A request that is still with its handler goes to and fro between workers and store: neither could end first. */
    d->stopped = server_parked(d->server) == 0;
    loop_stop(d->loop);
}

static void drained(void *arg)
{
    struct daemon *d = arg;
    hands_close(d->hands, hands_closed, d);
}

/* The sockets have been told how runs and commands ended; now they close. */
static void work_closed(void *arg)
{
    struct daemon *d = arg;
    if (--d->closing > 0)
        return;
    server_drain(d->server, DRAIN_MS, drained, d);
}

static void stop_expired(void *arg)
{
    struct daemon *d = arg;
    loop_stop(d->loop);
}

static void stop_begin(void *arg)
{
    struct daemon *d = arg;
    if (d->stop_timer)
        return;
    unlink(in_data_dir(d, DAEMON_URL_FILE));
    d->stop_timer = loop_timer(d->loop, DAEMON_STOP_MS, stop_expired, d);
    d->closing = 2;
    conversations_close(d->conversations, work_closed, d);
    bash_close(d->bash, work_closed, d);
}

void daemon_stop(struct daemon *d)
{
    loop_call(d->loop, stop_begin, d);
}

bool daemon_run(struct daemon *d)
{
    loop_run(d->loop);
    if (!d->stopped)
        log_warn("not everything ended in time");
    return d->stopped;
}

/* Runs are over, and no connection is open. Workers may still commit and call out; the outward thread and the store's
 * writer tell conversations how that went; and all of them leave messages for the loop. So workers end first, the
 * loop's queue is emptied last, and what the callbacks work on is freed after that. */
static void threads_end(struct daemon *d)
{
    if (d->pool)
        pool_free(d->pool);
    if (d->outward)
        outward_free(d->outward);
    store_close(d->store);
    if (d->loop) {
        loop_stop(d->loop);
        loop_run(d->loop);
    }
}

void daemon_free(struct daemon *d)
{
    if (!d)
        return;
    threads_end(d);
    if (d->server)
        server_free(d->server);
    if (d->conversations)
        conversations_free(d->conversations);
    bash_free(d->bash);
    api_free(d->agent_server);
    api_free(d->legacy);
    static_free(d->swagger);
    vscodes_free(d->vscodes);
    if (d->hands)
        hands_free(d->hands);
    if (d->secrets)
        secrets_free(d->secrets);
    if (d->loop)
        loop_free(d->loop);
    arena_free(d->arena);
    free(d);
}
