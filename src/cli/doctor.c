/* handsd doctor: is everything there that a server needs? */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/path.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/daemon.h"
#include "cli/environment.h"
#include "store/store.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#define DEFAULT_PORT 8000 /* as serve has them */
#define DEFAULT_LEGACY_PORT 3000
#define FREE_BYTES_MIN (100ull * 1024 * 1024) /* below it a warning */
#define TMPFS_FS 0x01021994
#define OVERLAY_FS 0x794c7630

struct report {
    unsigned wrong;
};

static void good(const char *what, const char *detail)
{
    printf("ok       %-14s %s\n", what, detail);
}

static void warning(const char *what, const char *detail)
{
    printf("warning  %-14s %s\n", what, detail);
}

static void bad(struct report *r, const char *what, const char *detail)
{
    printf("WRONG    %-14s %s\n", what, detail);
    r->wrong++;
}

static bool find_program(const char *name, struct buf *out)
{
    const char *path = environment_value("PATH");
    struct str rest = path ? str_from(path) : STR("/usr/local/bin:/usr/bin:/bin"), dir;
    while (str_split(&rest, ':', &dir)) {
        buf_clear(out);
        path_join(out, dir.n > 0 ? dir : STR("."), str_from(name));
        if (access(out->p, X_OK) == 0)
            return true;
    }
    return false;
}

static void check_hand(struct report *r)
{
    autobuf path = {0};
    autoerr e = NULL;
    if (daemon_find_hand(&path, &e))
        good("hand", path.p);
    else
        bad(r, "hand", err_text(e));
}

static void check_programs(void)
{
    autobuf path = {0};
    if (find_program("bash", &path))
        good("bash", path.p);
    else
        warning("bash", "not in PATH: terminals use sh");
    if (find_program("git", &path))
        good("git", path.p);
    else
        warning("git", "not in PATH: the server makes no repositories of workspaces, and has no diffs");
}

static void check_curl(void)
{
    void *curl = dlopen("libcurl.so.4", RTLD_LAZY | RTLD_LOCAL);
    if (curl)
        good("libcurl", "libcurl.so.4");
    else
        warning("libcurl", "libcurl.so.4 is not installed: no model behind HTTP can be reached");
}

/* ---- the model ---- */

/* For handsd run, and for conversations whose client names none. */
static void check_model(void)
{
    autobuf text = {0};
    const char *model = environment_value("LLM_MODEL"), *url = environment_value("LLM_BASE_URL");
    bool key = environment_value("LLM_API_KEY") != NULL;
    if (!model) {
        warning("model", "LLM_MODEL is not set: handsd run needs --model");
        return;
    }
    buf_addf(&text, "%s%s%s, %s", model, url ? " at " : "", url ? url : "",
             key ? "with a key" : "LLM_API_KEY is not set");
    bool local = url != NULL || str_starts(str_from(model), STR("scripted/"));
    (key || local ? good : warning)("model", text.p);
}

static void check_certificates(void)
{
    static const char *const stores[] = {"/etc/ssl/certs/ca-certificates.crt",
                                         "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};
    const char *own = environment_value("SSL_CERT_FILE");
    if (own && access(own, R_OK) == 0) {
        good("certificates", own);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(stores); i++)
        if (access(stores[i], R_OK) == 0) {
            good("certificates", stores[i]);
            return;
        }
    warning("certificates",
            "no CA certificates were found (package ca-certificates): no https model can be reached");
}

/* ---- the server ---- */

static bool port_is_free(int port)
{
    autofd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        return true;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    return bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 || errno != EADDRINUSE;
}

/* `url` of the server that owns the data directory, or empty: it may be the one that has the port. */
static void check_port(int port, const char *option, struct str url)
{
    char name[32], text[128], tail[16];
    snprintf(name, sizeof(name), "port %d", port);
    snprintf(tail, sizeof(tail), ":%d", port);
    snprintf(text, sizeof(text), "another program listens there: serve needs another %s", option);
    if (port_is_free(port))
        good(name, "free");
    else if (str_ends(url, str_from(tail)))
        good(name, "the server's");
    else
        warning(name, text);
}

static void check_server(const struct configuration *config, const char *url)
{
    autobuf answer = {0}, text = {0};
    autoerr e = NULL;
    int status = 0;
    struct client *c =
        client_new(str_from(url), config->session_api_keys.n > 0 ? config->session_api_keys.at[0] : STR_NONE);
    if (client_request(c, "GET", "/ready", STR_NONE, &status, &answer, &e)) {
        buf_addf(&text, "%s answers %d", url, status);
        (status == 200 ? good : warning)("server", text.p);
    } else {
        buf_addf(&text, "%s does not answer: %s", url, err_text(e));
        warning("server", text.p);
    }
    client_free(c);
}

static void check_vscode(void)
{
    autobuf path = {0};
    if (find_program("openvscode-server", &path) || find_program("code-server", &path))
        good("VS Code", path.p);
    else
        good("VS Code", "no openvscode-server or code-server in PATH: conversations have no editor page");
}

static void check_file_system(const char *dir)
{
    struct statvfs room;
    struct statfs fs;
    char text[64];
    if (statvfs(dir, &room) == 0) {
        unsigned long long bytes = (unsigned long long)room.f_bavail * room.f_frsize;
        snprintf(text, sizeof(text), "%llu MiB free", bytes >> 20);
        (bytes < FREE_BYTES_MIN ? warning : good)("disk", text);
    }
    if (statfs(dir, &fs) == 0 && (fs.f_type == TMPFS_FS || fs.f_type == OVERLAY_FS))
        warning("file system", fs.f_type == TMPFS_FS
                                   ? "tmpfs: conversations are lost at a restart of the machine"
                                   : "overlay: conversations are lost with the container");
}

/* As the store does it: the owner holds a lock on the directory. */
static bool is_owned(const char *dir)
{
    autofd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

/* Without changing anything: the directory is not made, and an owner is not disturbed. */
static void check_data(struct report *r, const struct configuration *config, const char *data)
{
    autobuf dir = {0}, url = {0};
    autoerr e = NULL;
    if (!daemon_find_data_dir(config, data, &dir, &e)) {
        bad(r, "data", err_text(e));
        return;
    }
    /* A server that was killed leaves its file behind, but no lock. */
    if (is_owned(dir.p)) {
        if (daemon_server_url(buf_str(&dir), &url))
            check_server(config, url.p);
        else
            good("server", "a command of its own has the directory");
    }
    check_port(DEFAULT_PORT, "--port", buf_str(&url));
    check_port(DEFAULT_LEGACY_PORT, "--legacy-port", buf_str(&url));
    if (access(dir.p, F_OK) != 0) {
        good("data", "made at the first start:");
        printf("         %-14s %s\n", "", dir.p);
        return;
    }
    if (access(dir.p, R_OK | W_OK | X_OK) != 0) {
        bad(r, "data", "the directory cannot be written to:");
        printf("         %-14s %s\n", "", dir.p);
        return;
    }
    good("data", dir.p);
    check_file_system(dir.p);
}

/* ---- the command ---- */

struct doctor_options {
    const char *config, *data;
    bool print_config_docs;
};

static const struct option_doc options[] = {
    {.name = "config",
     .kind = OPTION_FILE,
     .offset = offsetof(struct doctor_options, config),
     .value = "FILE",
     .doc = "configuration, as for serve"},
    {.name = "data",
     .kind = OPTION_DIRECTORY,
     .offset = offsetof(struct doctor_options, data),
     .value = "DIR",
     .doc = "directory of the database, as for serve"},
    {.name = "print-config-docs",
     .kind = OPTION_FLAG,
     .offset = offsetof(struct doctor_options, print_config_docs),
     .doc = "print what can be configured, as Markdown, and look at nothing"},
};

static int print_docs(void)
{
    autobuf text = {0};
    configuration_write_docs(&text);
    fwrite(text.p, 1, text.n, stdout);
    return 0;
}

static int doctor_run(int argc, char **argv)
{
    struct doctor_options o = {0};
    struct report r = {0};
    autoerr e = NULL;
    int status = options_parse(&command_doctor, argc, argv, &o);
    if (status != OPTIONS_GO_ON)
        return status;
    if (o.print_config_docs)
        return print_docs();
    struct configuration *config = configuration_load(o.config, &e);
    good("version", "handsd " HANDSD_VERSION);
    if (config)
        good("configuration", "read");
    else
        bad(&r, "configuration", err_text(e));
    check_hand(&r);
    check_programs();
    check_curl();
    check_certificates();
    check_vscode();
    check_model();
    if (config)
        check_data(&r, config, o.data);
    configuration_free(config);
    if (r.wrong > 0)
        printf("\n%u thing%s wrong.\n", r.wrong, r.wrong == 1 ? " is" : "s are");
    return r.wrong > 0 ? 1 : 0;
}

const struct command command_doctor = {
    .name = "doctor",
    .doc = "check that everything is in place",
    .arguments = "",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .more = "Exit status: 0 if nothing is wrong (warnings are not), else 1.\n",
    .run = doctor_run,
};
