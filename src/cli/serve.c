#include "base/cleanup.h"
#include "base/log.h"
#include "base/thread.h"
#include "cli/commands.h"
#include "cli/daemon.h"
#include "cli/environment.h"
#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>

#define DEFAULT_PORT 8000
#define DEFAULT_LEGACY_PORT 3000
#define SIGNAL_STACK (64 * 1024)

/* ---- the command line ---- */

struct serve_options {
    const char *host, *config, *data, *scripts;
    int port, legacy_port; /* the latter -1: off */
    bool legacy_optional;  /* nobody has asked for it: a busy port is no error */
    bool insecure;
};

enum {
    OPT_HOST = 256,
    OPT_PORT,
    OPT_LEGACY_PORT,
    OPT_CONFIG,
    OPT_DATA,
    OPT_SCRIPTS,
    OPT_UI,
    OPT_INSECURE,
    OPT_HELP
};

static const struct option long_options[] = {
    {"host", required_argument, NULL, OPT_HOST},
    {"port", required_argument, NULL, OPT_PORT},
    {"legacy-port", required_argument, NULL, OPT_LEGACY_PORT},
    {"config", required_argument, NULL, OPT_CONFIG},
    {"data", required_argument, NULL, OPT_DATA},
    {"scripts", required_argument, NULL, OPT_SCRIPTS},
    {"ui", required_argument, NULL, OPT_UI},
    {"insecure", no_argument, NULL, OPT_INSECURE},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static void print_help(FILE *to)
{
    fputs(
        "usage: handsd serve [options]\n"
        "\n"
        "  --host HOST          address to listen on (127.0.0.1)\n"
        "  --port PORT          port of the agent-server API (8000; 0: any free one)\n"
        "  --legacy-port PORT   port of the 0.53 API (3000, unless it is busy; 0: any free one; off: none)\n"
        "  --config FILE        JSON configuration (OPENHANDS_AGENT_SERVER_CONFIG_PATH)\n"
        "  --data DIR           directory of the database (conversations_path of the configuration)\n"
        "  --scripts DIR        scripts of models named scripted/NAME\n"
        "  --insecure           listen beyond this machine without a session key\n"
        "\n"
        "Environment and configuration file: docs/configuration.md, or handsd doctor --print-config-docs.\n",
        to);
}

static bool parse_port(const char *text, int *port)
{
    int64_t value;
    if (!str_to_i64(str_from(text), &value) || value < 0 || value > 65535)
        return false;
    *port = (int)value;
    return true;
}

/* -1: go on; otherwise the exit status. */
static int parse_one(int option, struct serve_options *o)
{
    switch (option) {
    case OPT_HOST: o->host = optarg; return -1;
    case OPT_CONFIG: o->config = optarg; return -1;
    case OPT_DATA: o->data = optarg; return -1;
    case OPT_SCRIPTS: o->scripts = optarg; return -1;
    case OPT_INSECURE: o->insecure = true; return -1;
    case OPT_PORT:
        if (parse_port(optarg, &o->port))
            return -1;
        fprintf(stderr, "handsd: --port takes a number from 0 to 65535, not %s\n", optarg);
        return EXIT_USAGE;
    case OPT_LEGACY_PORT:
        o->legacy_optional = false;
        o->legacy_port = -1;
        if (strcmp(optarg, "off") == 0 || parse_port(optarg, &o->legacy_port))
            return -1;
        fprintf(stderr, "handsd: --legacy-port takes off or a number from 0 to 65535, not %s\n", optarg);
        return EXIT_USAGE;
    case OPT_UI: fputs("handsd: --ui: this version does not serve a web interface yet\n", stderr); return 1;
    case OPT_HELP: print_help(stdout); return 0;
    default: print_help(stderr); return EXIT_USAGE;
    }
}

static int parse_options(int argc, char **argv, struct serve_options *o)
{
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        int status = parse_one(option, o);
        if (status >= 0)
            return status;
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "handsd: serve takes no argument %s\n", argv[optind]);
    return EXIT_USAGE;
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
    if (status >= 0)
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
    .run = serve_run,
};
