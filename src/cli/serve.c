#include "base/cleanup.h"
#include "base/log.h"
#include "base/thread.h"
#include "cli/commands.h"
#include "cli/daemon.h"
#include "cli/environment.h"
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>

#define DEFAULT_PORT 8000
#define DEFAULT_LEGACY_PORT 3000
#define SIGNAL_STACK (64 * 1024)

/* ---- the command line ---- */

struct serve_options {
    const char *host, *config, *data, *scripts;
    const char *port_text, *legacy_port_text, *ui;
    int port, legacy_port; /* the latter -1: off */
    bool legacy_optional;  /* nobody has asked for it: a busy port is no error */
    bool insecure;
};

#define MEMBER(name) .offset = offsetof(struct serve_options, name)

static const struct option_doc options[] = {
    {.name = "host",
     .kind = OPTION_TEXT,
     MEMBER(host),
     .value = "HOST",
     .doc = "address to listen on (127.0.0.1)"},
    {.name = "port",
     .kind = OPTION_TEXT,
     MEMBER(port_text),
     .value = "PORT",
     .doc = "port of the agent-server API (8000; 0: any free one)"},
    {.name = "legacy-port",
     .kind = OPTION_TEXT,
     MEMBER(legacy_port_text),
     .value = "PORT",
     .doc = "port of the 0.53 API (3000, unless it is busy; 0: any free one; off: none)"},
    {.name = "config",
     .kind = OPTION_FILE,
     MEMBER(config),
     .value = "FILE",
     .doc = "JSON configuration (OPENHANDS_AGENT_SERVER_CONFIG_PATH)"},
    {.name = "data",
     .kind = OPTION_DIRECTORY,
     MEMBER(data),
     .value = "DIR",
     .doc = "directory of the database (conversations_path of the configuration)"},
    {.name = "scripts",
     .kind = OPTION_DIRECTORY,
     MEMBER(scripts),
     .value = "DIR",
     .doc = "scripts of models named scripted/NAME"},
    {.name = "ui",
     .kind = OPTION_DIRECTORY,
     MEMBER(ui),
     .value = "DIR",
     .doc = "files of a web interface (none is served by this version yet)"},
    {.name = "insecure",
     .kind = OPTION_FLAG,
     MEMBER(insecure),
     .doc = "listen beyond this machine without a session key"},
};

static bool parse_port(const char *text, int *port)
{
    int64_t value;
    if (!str_to_i64(str_from(text), &value) || value < 0 || value > 65535)
        return false;
    *port = (int)value;
    return true;
}

static int parse_options(int argc, char **argv, struct serve_options *o)
{
    int status = options_parse(&command_serve, argc, argv, o);
    if (status != OPTIONS_GO_ON)
        return status;
    if (o->port_text && !parse_port(o->port_text, &o->port))
        return options_complain(&command_serve, "--port takes a number from 0 to 65535, not %s",
                                o->port_text);
    if (o->legacy_port_text) {
        o->legacy_optional = false;
        o->legacy_port = -1;
        if (strcmp(o->legacy_port_text, "off") != 0 && !parse_port(o->legacy_port_text, &o->legacy_port))
            return options_complain(&command_serve,
                                    "--legacy-port takes off or a number from 0 to 65535, not %s",
                                    o->legacy_port_text);
    }
    if (!o->ui)
        return OPTIONS_GO_ON;
    fputs("handsd serve: --ui: this version does not serve a web interface yet\n", stderr);
    return 1;
}

/* ---- who may reach it ---- */

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static bool check_exposure(const struct serve_options *o, const struct configuration *config)
{
    if (is_loopback(o->host) || config->session_api_keys.n > 0)
        return true;
    if (o->insecure) {
        log_warn("whoever reaches %s can run commands as this user: no session key is configured", o->host);
        return true;
    }
    fprintf(
        stderr,
        "handsd: %s can be reached from other machines and no session key is configured, so anybody there could run "
        "commands here.\nSet SESSION_API_KEY, or give --insecure if something else keeps strangers out.\n",
        o->host);
    return false;
}

/* ---- signals ---- */

static sigset_t ends; /* signals that end the server: set before threads start */

/* In order for the first of them, at once for the second. They are blocked in all threads and taken by this one. */
static void wait_signals(void *arg)
{
    int number;
    while (sigwait(&ends, &number) != 0)
        ;
    log_info("ending");
    daemon_stop(arg);
    while (sigwait(&ends, &number) != 0)
        ;
    _exit(128 + number);
}

static void block_signals(void)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    struct sigaction now;
    sigemptyset(&ends);
    /* nohup and a shell's background ignore some for us, and mean it; a blocked one would be taken all the same. */
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (numbers[i] == SIGTERM || (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN))
            sigaddset(&ends, numbers[i]);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- the command ---- */

static int fail(const struct err *e)
{
    fprintf(stderr, "handsd: %s\n", err_text(e));
    return 1;
}

static int serve_run(int argc, char **argv)
{
    struct serve_options o = {.host = "127.0.0.1",
                              .port = DEFAULT_PORT,
                              .legacy_port = DEFAULT_LEGACY_PORT,
                              .legacy_optional = true};
    autoerr e = NULL;
    int status = parse_options(argc, argv, &o);
    if (status != OPTIONS_GO_ON)
        return status;
    struct configuration *config = configuration_load(o.config, &e);
    if (!config)
        return fail(e);
    configuration_apply_log_level(config);
    configuration_log(config);
    if (!check_exposure(&o, config)) {
        configuration_free(config);
        return 1;
    }
    block_signals();
    struct daemon *d = daemon_start(&(struct daemon_options){.config = config,
                                                             .host = o.host,
                                                             .port = o.port,
                                                             .legacy_port = o.legacy_port,
                                                             .legacy_optional = o.legacy_optional,
                                                             .data_dir = o.data,
                                                             .scripts_dir = o.scripts,
                                                             .announce = true},
                                    &e);
    if (!d || !thread_start(NULL, "signals", SIGNAL_STACK, wait_signals, d, &e)) {
        configuration_free(config);
        return fail(e);
    }
    printf("listening on %s (agent-server)\n", daemon_url(d));
    if (daemon_legacy_url(d))
        printf("listening on %s (0.53)\n", daemon_legacy_url(d));
    fflush(stdout);
    if (!daemon_run(d))
        _exit(0);
    daemon_free(d);
    configuration_free(config);
    return 0;
}

const struct command command_serve = {
    .name = "serve",
    .doc = "start the server",
    .arguments = "",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .more =
        "When it is ready it prints a line for each address it listens on. SIGTERM ends it in order, a second one\n"
        "at once.\n"
        "Environment and configuration file: docs/configuration.md, or handsd doctor --print-config-docs.\n",
    .examples = "  handsd serve --data ~/.handsd\n"
                "  SESSION_API_KEY=secret handsd serve --host 0.0.0.0 --legacy-port off\n",
    .run = serve_run,
};
