/* handsd import: conversations of the Python server, into the database. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "base/uuid.h"
#include "cli/commands.h"
#include "cli/daemon.h"
#include "cli/data.h"
#include "cli/environment.h"
#include "cli/import_files.h"
#include "cli/notices.h"
#include "conversation/import.h"
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>

#define PROGRESS_NS (200 * NS_PER_MS) /* between two looks of a person */
#define WHY_MAX 500                   /* bytes of a reason that are shown */

struct import_options {
    const char *config, *data;
    bool quiet;
};

static const struct option_doc options[] = {
    {.name = "data",
     .kind = OPTION_DIRECTORY,
     .offset = offsetof(struct import_options, data),
     .value = "DIR",
     .doc = "directory of the database, as for serve"},
    {.name = "config",
     .kind = OPTION_FILE,
     .offset = offsetof(struct import_options, config),
     .value = "FILE",
     .doc = "configuration, as for serve: its secret_key opens what was stored with it"},
    {.name = "quiet",
     .letter = 'q',
     .kind = OPTION_FLAG,
     .offset = offsetof(struct import_options, quiet),
     .doc = "say only what failed, and the sum"},
};

struct importing {
    const struct import_options *options;
    struct data data;
    struct import_target target;
    size_t folders, done; /* all, and looked at */
    unsigned imported, skipped, failed;
    uint64_t events, shown_ns;
    bool terminal, line; /* a line of progress stands there */
};

/* ---- what is said ---- */

static void line_clear(struct importing *im)
{
    if (im->line)
        fputs("\r\033[K", stderr);
    im->line = false;
}

static void progress(struct importing *im, uint64_t events)
{
    uint64_t now = clock_mono_ns();
    if (!im->terminal || now < im->shown_ns + PROGRESS_NS)
        return;
    im->shown_ns = now;
    im->line = true;
    fprintf(stderr, "\r\033[K%zu of %zu conversations, %llu events", im->done, im->folders,
            (unsigned long long)(im->events + events));
    fflush(stderr);
}

/* Names and reasons come from strangers' files: control characters would reach the terminal. */
static void say(struct importing *im, const char *what, const char *name, struct str why)
{
    autobuf line = {0};
    buf_addf(&line, "%-9s %s", what, name);
    if (why.n > 0) {
        buf_add(&line, STR(": "));
        buf_add(&line, str_sub(why, 0, WHY_MAX));
    }
    for (size_t i = 0; i < line.n; i++)
        if ((unsigned char)line.p[i] < 0x20 || line.p[i] == 0x7f)
            line.p[i] = '?';
    line_clear(im);
    fwrite(line.p, 1, line.n, stdout);
    putchar('\n');
}

static void add_note(struct buf *out, uint64_t n, const char *one, const char *many)
{
    if (n > 0)
        buf_addf(out, "; %llu %s", (unsigned long long)n, n == 1 ? one : many);
}

static void say_imported(struct importing *im, const char *name, const struct import_notes *n,
                         uint64_t missing, uint64_t unreadable)
{
    autobuf text = {0};
    buf_addf(&text, "%u event%s", n->events, n->events == 1 ? "" : "s");
    add_note(&text, missing, "is missing", "are missing");
    add_note(&text, unreadable, "could not be read and is left out", "could not be read and are left out");
    add_note(&text, n->repeated, "was there twice", "were there twice");
    add_note(&text, n->shortened, "was too large and is shortened", "were too large and are shortened");
    add_note(&text, n->orphans, "has no parent there and follows the one before",
             "have no parent there and follow the one before");
    add_note(&text, n->unknown, "is of a kind that handsd does not know",
             "are of kinds that handsd does not know");
    add_note(&text, n->ended, "call had no result and got an error", "calls had no result and got an error");
    if (n->problem.p)
        buf_addf(&text, "; its agent cannot run yet: %.*s", STR_ARG(n->problem));
    if (!im->options->quiet)
        say(im, "imported", name, buf_str(&text));
}

/* ---- one conversation ---- */

struct reading {
    struct importing *im;
    struct import *import;
    const char *name;
    int dir;
    uint64_t unreadable;
    struct buf first; /* why the first of them could not be read */
};

static bool read_state(const struct reading *r, struct buf *state, struct buf *meta, int64_t *changed_us,
                       struct err **e)
{
    autoerr why = NULL;
    if (!import_file_read(r->dir, "base_state.json", IMPORT_STATE_MAX, state, changed_us, e))
        return false;
    if (import_file_read(r->dir, "meta.json", IMPORT_STATE_MAX, meta, NULL, &why) ||
        why->kind == ERR_NOT_FOUND)
        return true;
    return err_set(e, why->kind, "%s", why->text);
}

static bool read_event(struct reading *r, int events, const char *name, struct err **e)
{
    autobuf text = {0};
    autoerr why = NULL;
    if (import_file_read(events, name, IMPORT_EVENT_MAX, &text, NULL, &why) &&
        import_event(r->import, buf_str(&text), &why))
        return true;
    if (import_failed(r->import) || (why->kind == ERR_IO))
        return err_set(e, why->kind, "%s: %s", name, why->text);
    if (r->unreadable++ == 0)
        buf_addf(&r->first, "%s: %s", name, why->text);
    return true;
}

static bool read_events(struct reading *r, uint64_t *missing, struct err **e)
{
    if (!import_file_exists(r->dir, "events")) /* nothing has happened yet */
        return true;
    autofd int events = import_dir_open(r->dir, "events", e);
    struct import_names names = {0};
    bool ok = events >= 0 && import_names_list(events, &names, e);
    for (size_t i = 0; ok && i < names.list.n; i++) {
        ok = read_event(r, events, names.list.at[i].name, e);
        progress(r->im, i);
    }
    *missing = names.gaps;
    import_names_deinit(&names);
    return ok;
}

static bool import_one(struct reading *r, struct err **e)
{
    autobuf state = {0}, meta = {0};
    const struct import_notes *notes;
    int64_t changed_us = 0;
    uint64_t missing = 0;
    if (!read_state(r, &state, &meta, &changed_us, e))
        return false;
    r->import =
        import_begin(&r->im->target, buf_str(&state), meta.n > 0 ? buf_str(&meta) : STR_NONE, changed_us, e);
    if (!r->import || !read_events(r, &missing, e) || !import_end(r->import, &notes, e))
        return false;
    r->im->imported++;
    r->im->events += notes->events;
    say_imported(r->im, r->name, notes, missing, r->unreadable);
    if (r->unreadable > 0)
        say(r->im, "", r->name, buf_str(&r->first));
    return true;
}

static void import_folder(struct importing *im, int at, const char *name, const char *shown)
{
    autoerr e = NULL;
    struct reading r = {.im = im, .name = shown, .dir = import_dir_open(at, name, &e)};
    bool ok = r.dir >= 0;
    if (ok && !import_file_exists(r.dir, "base_state.json") && !import_file_exists(r.dir, "meta.json") &&
        !import_file_exists(r.dir, "events")) {
        close(r.dir); /* something else */
        return;
    }
    ok = ok && import_one(&r, &e);
    if (!ok && e->kind == ERR_CONFLICT) {
        im->skipped++;
        if (!im->options->quiet)
            say(im, "skipped", shown, str_from(e->text));
    } else if (!ok) {
        im->failed++;
        say(im, "failed", shown, str_from(err_text(e)));
    }
    import_free(r.import);
    buf_deinit(&r.first);
    if (r.dir >= 0)
        close(r.dir);
}

/* ---- all of them ---- */

static bool import_all(struct importing *im, int dir, const char *path, struct err **e)
{
    import_folders folders = {0};
    if (import_file_exists(dir, "base_state.json")) {
        im->folders = 1;
        import_folder(im, dir, ".", path);
        im->done = 1;
        return true;
    }
    bool ok = import_folders_list(dir, &folders, e);
    im->folders = folders.n;
    for (size_t i = 0; i < folders.n; i++) {
        if (ok)
            import_folder(im, dir, folders.at[i], folders.at[i]);
        im->done++;
        progress(im, 0);
        free(folders.at[i]);
    }
    vec_deinit(&folders);
    if (ok && im->imported + im->skipped + im->failed == 0)
        return err_set(e, ERR_NOT_FOUND,
                       "%s has no conversations: a folder with base_state.json and events/ is one", path);
    return ok;
}

/* The database is there, and ours while we import. */
static bool open_data(struct data *d, const struct configuration *config, const char *dir, struct err **e)
{
    autobuf url = {0};
    autoerr why = NULL;
    if (data_open(d, config, dir, &why))
        return true;
    if (why->kind != ERR_CONFLICT)
        return err_set(e, why->kind, "%s", err_text(why));
    if (daemon_server_url(buf_str(&d->dir), &url))
        return err_set(e, ERR_CONFLICT, "the server at %s uses %s: stop it, import, and start it again",
                       url.p, d->dir.p);
    return err_set(e, ERR_CONFLICT, "another command uses %s: wait for it, or give another --data", d->dir.p);
}

static int sum_print(struct importing *im)
{
    line_clear(im);
    printf("imported %u", im->imported);
    if (im->skipped > 0)
        printf(", skipped %u", im->skipped);
    if (im->failed > 0)
        printf(", failed %u", im->failed);
    printf(" (%llu events)\n", (unsigned long long)im->events);
    return im->failed > 0;
}

static int import_run(int argc, char **argv)
{
    struct import_options o = {0};
    struct importing im = {.options = &o, .terminal = isatty(STDERR_FILENO)};
    autoerr e = NULL;
    int status = options_parse(&command_import, argc, argv, &o);
    if (status != OPTIONS_GO_ON)
        return status;
    if (optind == argc)
        return options_complain(&command_import, "which folder? Give the one that has the conversations");
    signal(SIGPIPE, SIG_IGN);
    notices_plain();
    autofd int dir = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = dir >= 0 || err_errno(&e, ERR_INVALID, "%s", argv[optind]);
    struct configuration *config = ok ? configuration_load(o.config, &e) : NULL;
    if (config)
        configuration_apply_log_level(config);
    ok = config && open_data(&im.data, config, o.data, &e);
    im.target =
        (struct import_target){.store = im.data.store, .secrets = im.data.secrets, .env = environment_value};
    ok = ok && import_all(&im, dir, argv[optind], &e);
    status = ok ? sum_print(&im) : 1;
    if (!ok) {
        line_clear(&im);
        fprintf(stderr, "handsd: %s\n", err_text(e));
    }
    data_close(&im.data);
    configuration_free(config);
    return status;
}

const struct command command_import = {
    .name = "import",
    .doc = "take over conversations of the Python server",
    .arguments = "DIR",
    .arguments_max = 1,
    .argument_kind = OPTION_DIRECTORY,
    .options = options,
    .option_count = ARRAY_LEN(options),
    .more =
        "DIR is the Python server's conversations folder, or the folder of one conversation. It is only read.\n"
        "A conversation that is there already is skipped; one that cannot be read is reported, and the others go on.\n"
        "The exit status is 0 when nothing failed.\n",
    .examples = "  handsd import workspace/conversations --data ~/.handsd\n",
    .run = import_run,
};
