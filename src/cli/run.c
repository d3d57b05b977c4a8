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
#include "cli/console.h"
#include "cli/daemon.h"
#include "cli/data.h"
#include "cli/environment.h"
#include "cli/ids.h"
#include "cli/notices.h"
#include "cli/run.h"
#include "json/writer.h"
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>

#define TASK_MAX (1024 * 1024) /* bytes of a task */
#define LOOP_STACK (1024 * 1024)

/* ---- the command line ---- */

static const char *const confirm_words[] = {"never", "risky", "always", NULL};

#define MEMBER(name) .offset = offsetof(struct run_options, name)

static const struct option_doc options[] = {
    {.letter = 'f', .kind = OPTION_FILE, MEMBER(file), .value = "FILE", .doc = "read the task from a file"},
    {.name = "workspace",
     .letter = 'w',
     .kind = OPTION_DIRECTORY,
     MEMBER(workspace),
     .value = "DIR",
     .doc = "where the agent works (the current directory)"},
    {.name = "model",
     .letter = 'm',
     .kind = OPTION_TEXT,
     MEMBER(model),
     .value = "MODEL",
     .doc = "which model (LLM_MODEL); its key is LLM_API_KEY"},
    {.name = "base-url",
     .kind = OPTION_TEXT,
     MEMBER(base_url),
     .value = "URL",
     .doc = "where the model is (LLM_BASE_URL)"},
    {.name = "json",
     .kind = OPTION_FLAG,
     MEMBER(json),
     .doc = "print each event as one line of JSON, and nothing else"},
    {.name = "confirm",
     .kind = OPTION_CHOICE,
     MEMBER(confirm),
     .value = "WHEN",
     .choices = confirm_words,
     .doc = "ask before an action: never, risky or always (never)"},
    {.name = "max-iterations",
     .kind = OPTION_NUMBER,
     MEMBER(max_iterations),
     .value = "N",
     .min = 1,
     .max = INT64_MAX,
     .doc = "most steps (500)"},
    {.name = "resume",
     .letter = 'r',
     .kind = OPTION_TEXT,
     MEMBER(resume),
     .value = "ID",
     .doc = "go on with a conversation: its id, how it begins, or `last`"},
    {.name = "data",
     .kind = OPTION_DIRECTORY,
     MEMBER(data),
     .value = "DIR",
     .doc = "directory of the database, as for serve"},
    {.name = "config",
     .kind = OPTION_FILE,
     MEMBER(config),
     .value = "FILE",
     .doc = "configuration, as for serve"},
    {.name = "scripts",
     .kind = OPTION_DIRECTORY,
     MEMBER(scripts),
     .value = "DIR",
     .doc = "scripts of models named scripted/NAME, where no server runs yet"},
};

static int parse_options(int argc, char **argv, struct run_options *o)
{
    int status = options_parse(&command_run, argc, argv, o);
    if (status != OPTIONS_GO_ON)
        return status;
    o->task = optind < argc ? argv[optind] : NULL;
    if (o->task && o->file)
        return options_complain(&command_run, "give the task as an argument or with -f, not both");
    if (o->resume && !ids_is_plausible(str_from(o->resume)))
        return options_complain(
            &command_run, "--resume takes the id of a conversation, its first digits, or `last`, not %s",
            o->resume);
    return OPTIONS_GO_ON;
}

/* `text` stays empty when there is no task, which --resume allows. */
static bool read_task(const struct run_options *o, struct buf *text, struct err **e)
{
    if (o->file)
        return file_read(o->file, TASK_MAX, text, e);
    bool piped = o->task && strcmp(o->task, "-") == 0;
    if (piped && isatty(STDIN_FILENO))
        fputs("What shall the agent do? Ctrl-D on a line of its own ends it.\n", stderr);
    if (piped)
        return fd_read_all(STDIN_FILENO, TASK_MAX, text, e) || err_prefix(e, "standard input");
    if (o->task)
        buf_add_cstr(text, o->task);
    return true;
}

static bool complete(struct run_options *o, struct buf *task, struct err **e)
{
    if (!read_task(o, task, e))
        return false;
    bool resumes = o->resume != NULL;
    if (str_trim(buf_str(task)).n == 0 && !resumes)
        return err_set(e, ERR_INVALID,
                       "there is no task: say what the agent shall do, as in\n"
                       "  handsd run 'Fix the failing test'\n"
                       "or give -f FILE, or - to read it from standard input, or --resume ID to go on");
    if (!utf8_valid(buf_str(task)))
        return err_set(e, ERR_INVALID, "the task is not UTF-8 text");
    if (!o->model)
        o->model = environment_value("LLM_MODEL");
    if (!o->base_url)
        o->base_url = environment_value("LLM_BASE_URL");
    if ((!o->model || !*o->model) && !resumes)
        return err_set(
            e, ERR_INVALID,
            "there is no model: give --model MODEL, or set LLM_MODEL (and LLM_API_KEY); --model scripted/demo "
            "needs none of them");
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
    autobuf dir = {0}, url = {0};
    if (!daemon_find_data_dir(h->config, o->data, &dir, e))
        return false;
    if (!daemon_server_url(buf_str(&dir), &url))
        return err_set(
            e, ERR_CONFLICT,
            "%s is in use by another command: wait for it, or give another --data, or start `handsd serve`, "
            "which several can use",
            dir.p);
    h->client = client_new(buf_str(&url), own_key(h->config));
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
    if (!h->config || (o->resume && !data_check(h->config, o->data, e)))
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
    if (!o->json && console_would_live(STDOUT_FILENO))
        jw_member_bool(w, "stream", true); /* only a terminal shows an answer that is half there */
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
    jw_member_bool(&w, "git_init", false); /* somebody's directory, maybe their home */
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

static bool find_resumed(struct client *c, const char *which, struct buf *id, struct err **e)
{
    char dashed[UUID_DASHED_LEN + 1];
    struct uuid uuid;
    if (!ids_find(&(struct ids_source){.client = c}, str_from(which), &uuid, e))
        return false;
    buf_add(id, uuid_dashed(&uuid, dashed));
    return true;
}

/* A new conversation, or the one to go on with. */
static bool find_conversation(struct client *c, const struct run_options *o, struct buf *id, struct err **e)
{
    autobuf body = {0}, answer = {0};
    if (o->resume)
        return find_resumed(c, o->resume, id, e);
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
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGWINCH);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* A user who leaves while the server does not answer is no failure. */
static int work(struct host *h, const struct run_options *o, struct str task, int signals, struct err **e)
{
    autobuf id = {0};
    client_heed(h->client, signals);
    int status = 1;
    if (find_conversation(h->client, o, &id, e))
        status = run_watch(h->client, o, buf_str(&id), str_trim(task), signals, e);
    return *e && (*e)->kind == ERR_CANCELLED ? EXIT_INTERRUPTED : status;
}

static int run_run(int argc, char **argv)
{
    struct run_options o = {.confirm = "never"};
    struct host host = {0};
    autobuf task = {0};
    autoerr e = NULL;
    int status = parse_options(argc, argv, &o);
    if (status != OPTIONS_GO_ON)
        return status;
    log_set_level(LOG_WARN);
    autofd int signals = -1;
    status = 1;
    if (complete(&o, &task, &e)) {
        signals = open_signals(); /* not before: Ctrl-C ends a task that is being typed */
        notices_hold();
        status = host_open(&host, &o, &e) ? work(&host, &o, buf_str(&task), signals, &e) : 1;
    }
    notices_release();
    if (e)
        fprintf(stderr, "handsd: %s\n", err_text(e));
    host_close(&host);
    return status;
}

const struct command command_run = {
    .name = "run",
    .doc = "let an agent do a task, and watch it",
    .arguments = "[TASK | -f FILE | -]",
    .arguments_max = 1,
    .options = options,
    .option_count = ARRAY_LEN(options),
    .more =
        "TASK is what the agent shall do; - reads it from standard input. The work is done by the server that\n"
        "owns the data directory, or by one that lives as long as this command.\n"
        "\n"
        "Ctrl-C pauses: the step in flight ends, then you can type a message, go on or leave. Once more stops\n"
        "at once. Where standard input is no terminal, the first one stops at once, as SIGTERM does.\n"
        "\n"
        "Exit status: 0 finished, 1 failed, 130 interrupted.\n",
    .examples = "  handsd run 'Fix the failing test' --model openai/gpt-4o-mini\n"
                "  handsd run -f task.md --workspace ~/src/project --confirm risky\n"
                "  git diff | handsd run - --json | jq -r .kind\n"
                "  handsd run --resume last 'Now write the changelog'\n"
                "  handsd run 'Show me' --model scripted/demo               without a model\n",
    .run = run_run,
};
