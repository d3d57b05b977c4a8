/* handsd doctor: is everything there that a server needs? */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/path.h"
#include "cli/commands.h"
#include "cli/daemon.h"
#include "cli/environment.h"
#include "store/store.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

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
        warning("git", "not in PATH: workspaces are not made repositories, and there are no diffs");
}

static void check_curl(void)
{
    void *curl = dlopen("libcurl.so.4", RTLD_LAZY | RTLD_LOCAL);
    if (curl)
        good("libcurl", "libcurl.so.4");
    else
        warning("libcurl", "libcurl.so.4 is not installed: no model behind HTTP can be reached");
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
    autobuf dir = {0}, url = {0}, path = {0};
    autoerr e = NULL;
    if (!daemon_find_data_dir(config, data, &dir, &e)) {
        bad(r, "data", err_text(e));
        return;
    }
    path_join(&path, buf_str(&dir), STR(DAEMON_URL_FILE));
    /* A server that was killed leaves its file behind, but no lock. */
    if (is_owned(dir.p)) {
        bool told = file_read(path.p, 4096, &url, NULL) && url.n > 1;
        buf_truncate(&url, told ? url.n - 1 : 0);
        good("server", told ? url.p : "a run of its own has the directory");
    }
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
    if (config)
        good("configuration", "read");
    else
        bad(&r, "configuration", err_text(e));
    check_hand(&r);
    check_programs();
    check_curl();
    if (config)
        check_data(&r, config, o.data);
    configuration_free(config);
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
