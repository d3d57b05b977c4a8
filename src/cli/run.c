/* handsd run: one task, watched. The work is done by the server that owns the data directory, or by one that lives as
 * long as this command. */
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/thread.h"
#include "base/utf8.h"
#include "base/uuid.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/daemon.h"
#include "cli/environment.h"
#include "cli/run.h"
#include "json/writer.h"
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>

#define TASK_MAX (1024 * 1024) /* bytes of a task */
#define URL_FILE_MAX 4096
#define LOOP_STACK (1024 * 1024)

/* ---- the command line ---- */

enum {
    OPT_WORKSPACE = 256,
    OPT_MODEL,
    OPT_BASE_URL,
    OPT_JSON,
    OPT_CONFIRM,
    OPT_MAX,
    OPT_RESUME,
    OPT_DATA,
    OPT_CONFIG,
    OPT_SCRIPTS,
    OPT_HELP
};

static const struct option long_options[] = {
    {"workspace", required_argument, NULL, OPT_WORKSPACE},
    {"model", required_argument, NULL, OPT_MODEL},
    {"base-url", required_argument, NULL, OPT_BASE_URL},
    {"json", no_argument, NULL, OPT_JSON},
    {"confirm", required_argument, NULL, OPT_CONFIRM},
    {"max-iterations", required_argument, NULL, OPT_MAX},
    {"resume", required_argument, NULL, OPT_RESUME},
    {"data", required_argument, NULL, OPT_DATA},
    {"config", required_argument, NULL, OPT_CONFIG},
    {"scripts", required_argument, NULL, OPT_SCRIPTS},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static void print_help(FILE *to)
{
    fputs("usage: handsd run [TASK | -f FILE | -] [options]\n"
          "\n"
          "  TASK                   what the agent shall do; - reads it from standard input\n"
          "  -f FILE                reads it from a file\n"
          "  --workspace DIR        where it works (the current directory)\n"
          "  --model MODEL          which model (LLM_MODEL); its key is LLM_API_KEY\n"
          "  --base-url URL         where the model is (LLM_BASE_URL)\n"
          "  --json                 print each event as one line of JSON\n"
          "  --confirm WHEN         ask before an action: never, risky or always (never)\n"
          "  --max-iterations N     most steps (500)\n"
          "  --resume ID            go on with a conversation\n"
          "  --data DIR             directory of the database, as for serve\n"
          "  --config FILE          configuration, as for serve\n"
          "  --scripts DIR          scripts of models named scripted/NAME, where no server runs yet\n"
          "\n"
          "Exit status: 0 finished, 1 failed, 130 interrupted.\n",
          to);
}

static bool bad_option(const char *name, const char *value, const char *wanted)
{
    fprintf(stderr, "handsd: %s takes %s, not %s\n", name, wanted, value);
    return false;
}

static bool parse_one(int option, struct run_options *o)
{
    switch (option) {
    case 'f': o->file = optarg; return true;
    case OPT_WORKSPACE: o->workspace = optarg; return true;
    case OPT_MODEL: o->model = optarg; return true;
    case OPT_BASE_URL: o->base_url = optarg; return true;
    case OPT_JSON: o->json = true; return true;
    case OPT_DATA: o->data = optarg; return true;
    case OPT_CONFIG: o->config = optarg; return true;
    case OPT_SCRIPTS: o->scripts = optarg; return true;
    case OPT_HELP: o->help = true; return true;
    case OPT_CONFIRM:
        o->confirm = optarg;
        return strcmp(optarg, "never") == 0 || strcmp(optarg, "risky") == 0 ||
               strcmp(optarg, "always") == 0 || bad_option("--confirm", optarg, "never, risky or always");
    case OPT_MAX:
        return (str_to_i64(str_from(optarg), &o->max_iterations) && o->max_iterations > 0) ||
               bad_option("--max-iterations", optarg, "a number above 0");
    case OPT_RESUME:
        return uuid_parse(str_from(optarg), &o->resume) ||
               bad_option("--resume", optarg, "the id of a conversation");
    default: print_help(stderr); return false;
    }
}

static bool parse_options(int argc, char **argv, struct run_options *o)
{
    int option;
    while ((option = getopt_long(argc, argv, "f:", long_options, NULL)) != -1)
        if (!parse_one(option, o))
            return false;
    if (optind < argc)
        o->task = argv[optind++];
    if (optind < argc) {
        fprintf(stderr, "handsd: run takes one task; put it into quotes\n");
        return false;
    }
    if (o->task && o->file) {
        fprintf(stderr, "handsd: give the task as an argument or with -f, not both\n");
        return false;
    }
    return true;
}

/* `text` stays empty when there is no task, which --resume allows. */
static bool read_task(const struct run_options *o, struct buf *text, struct err **e)
{
    if (o->file)
        return file_read(o->file, TASK_MAX, text, e);
    if (o->task && strcmp(o->task, "-") == 0)
        return fd_read_all(STDIN_FILENO, TASK_MAX, text, e) || err_prefix(e, "standard input");
    if (o->task)
        buf_add_cstr(text, o->task);
    return true;
}

static bool complete(struct run_options *o, struct buf *task, struct err **e)
{
    if (!read_task(o, task, e))
        return false;
    bool resumes = !uuid_is_zero(&o->resume);
    if (str_trim(buf_str(task)).n == 0 && !resumes)
        return err_set(e, ERR_INVALID, "there is no task: give one, or -f FILE, or - for standard input");
    if (!utf8_valid(buf_str(task)))
        return err_set(e, ERR_INVALID, "the task is not UTF-8 text");
    if (!o->model)
        o->model = environment_value("LLM_MODEL");
    if (!o->base_url)
        o->base_url = environment_value("LLM_BASE_URL");
    if (!o->model && !resumes)
        return err_set(e, ERR_INVALID, "no model: give --model or set LLM_MODEL (and LLM_API_KEY)");
    return true;
}

/* ---- the server ---- */

struct host { /* whoever does the work */
    struct client *client;
    struct configuration *config;
    struct daemon *daemon; /* ours, or NULL */
    pthread_t loop;
    bool ended; /* in order */
};

static void run_loop(void *arg)
{
    struct host *h = arg;
    h->ended = daemon_run(h->daemon);
}

static struct str own_key(const struct configuration *config)
{
    return config->session_api_keys.n > 0 ? config->session_api_keys.at[0] : STR_NONE;
}

/* Another process owns the data directory: a server, which says where it is, or a command like this one. */
static bool find_server(struct host *h, const struct run_options *o, struct err **e)
{
    autobuf dir = {0}, path = {0}, url = {0};
    if (!daemon_find_data_dir(h->config, o->data, &dir, e))
        return false;
    path_join(&path, buf_str(&dir), STR(DAEMON_URL_FILE));
    if (!file_read(path.p, URL_FILE_MAX, &url, NULL))
        return err_set(
            e, ERR_CONFLICT,
            "%s is in use by another command: wait for it, or give another --data, or start `handsd serve`, "
            "which several can use",
            dir.p);
    h->client = client_new(str_trim(buf_str(&url)), own_key(h->config));
    return true;
}

static bool start_server(struct host *h, const struct run_options *o, struct err **e)
{
    char random[16];
    autobuf key = {0};
    random_bytes(random, sizeof(random));
    hex_encode(&key, str_make(random, sizeof(random)));
    h->daemon = daemon_start(
        &(struct daemon_options){
            .config = h->config,
            .host = "127.0.0.1",
            .legacy_port = -1,
            .data_dir = o->data,
            .scripts_dir = o->scripts,
            .extra_key = buf_str(&key),
        },
        e);
    if (!h->daemon)
        return false;
    if (!thread_start(&h->loop, "loop", LOOP_STACK, run_loop, h, e)) {
        daemon_stop(h->daemon); /* here, since it has no other thread to run on */
        if (daemon_run(h->daemon))
            daemon_free(h->daemon);
        h->daemon = NULL;
        return false;
    }
    h->client = client_new(str_from(daemon_url(h->daemon)), buf_str(&key));
    return true;
}

static bool host_open(struct host *h, const struct run_options *o, struct err **e)
{
    autoerr why = NULL;
    h->config = configuration_load(o->config, e);
    if (!h->config)
        return false;
    if (start_server(h, o, &why))
        return true;
    if (why->kind == ERR_CONFLICT)
        return find_server(h, o, e);
    return err_set(e, why->kind, "%s", err_text(why));
}

static void host_close(struct host *h)
{
    if (h->daemon) {
        daemon_stop(h->daemon);
        pthread_join(h->loop, NULL);
        if (!h->ended)
            return; /* something still runs in there; the process ends now anyway */
    }
    client_free(h->client);
    daemon_free(h->daemon);
    configuration_free(h->config);
}

/* ---- the conversation ---- */

/* The server's default agent, which knows what the workspace says of itself. */
static void write_agent(struct json_writer *w, const struct run_options *o)
{
    const char *key = environment_value("LLM_API_KEY");
    jw_object(w);
    jw_key(w, "llm");
    jw_object(w);
    jw_member_cstr(w, "model", o->model);
    if (key)
        jw_member_cstr(w, "api_key", key);
    if (o->base_url)
        jw_member_cstr(w, "base_url", o->base_url);
    jw_member_cstr(w, "usage_id", "default");
    jw_object_end(w);
    jw_member_raw(w, "agent_context", STR("{\"load_project_skills\":true}"));
    jw_object_end(w);
}

static bool write_request(const struct run_options *o, struct buf *out, struct err **e)
{
    autofree char *cwd = getcwd(NULL, 0);
    autobuf joined = {0}, workspace = {0};
    if (!cwd)
        return err_errno(e, ERR_IO, "the working directory");
    path_join(&joined, str_from(cwd), str_from(o->workspace ? o->workspace : "."));
    path_normalize(&workspace, buf_str(&joined));
    struct json_writer w = json_writer(out);
    jw_object(&w);
    jw_key(&w, "agent_settings");
    write_agent(&w, o);
    jw_key(&w, "workspace");
    jw_object(&w);
    jw_member_str(&w, "working_dir", buf_str(&workspace));
    jw_object_end(&w);
    if (strcmp(o->confirm, "always") == 0)
        jw_member_raw(&w, "confirmation_policy", STR("{\"kind\":\"AlwaysConfirm\"}"));
    if (strcmp(o->confirm, "risky") == 0) {
        jw_member_raw(&w, "confirmation_policy", STR("{\"kind\":\"ConfirmRisky\"}"));
        jw_member_raw(&w, "security_analyzer", STR("{\"kind\":\"LLMSecurityAnalyzer\"}"));
    }
    if (o->max_iterations > 0)
        jw_member_int(&w, "max_iterations", o->max_iterations);
    jw_object_end(&w);
    return true;
}

/* A new conversation, or the one to go on with. */
static bool find_conversation(struct client *c, const struct run_options *o, struct buf *id, struct err **e)
{
    autobuf body = {0}, answer = {0};
    if (!uuid_is_zero(&o->resume)) {
        char text[UUID_DASHED_LEN + 1];
        buf_add(id, uuid_dashed(&o->resume, text));
        return true;
    }
    if (!write_request(o, &body, e) ||
        !client_call(c, "POST", "/api/conversations", buf_str(&body), &answer, e))
        return false;
    autojson doc = json_parse(buf_str(&answer), NULL, e);
    buf_add(id, json_get_str(json_root(doc), "id"));
    return id->n > 0 || err_set(e, ERR_UPSTREAM, "the server's answer names no conversation");
}

static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int command_run(int argc, char **argv)
{
    struct run_options o = {.confirm = "never"};
    struct host host = {0};
    autobuf task = {0}, id = {0};
    autoerr e = NULL;
    if (!parse_options(argc, argv, &o))
        return EXIT_USAGE;
    if (o.help) {
        print_help(stdout);
        return 0;
    }
    log_set_level(LOG_WARN);
    autofd int signals = open_signals();
    int status = 1;
    if (complete(&o, &task, &e) && host_open(&host, &o, &e) && find_conversation(host.client, &o, &id, &e))
        status = run_watch(host.client, &o, buf_str(&id), str_trim(buf_str(&task)), signals, &e);
    if (e)
        fprintf(stderr, "handsd: %s\n", err_text(e));
    host_close(&host);
    return status;
}
