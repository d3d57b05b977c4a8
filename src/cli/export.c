/* handsd export: conversations as the folders in which the Python server keeps them. From the database, or from the server
 * that owns it. */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/uuid.h"
#include "base/vec.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/daemon.h"
#include "cli/data.h"
#include "cli/environment.h"
#include "cli/export_folder.h"
#include "cli/ids.h"
#include "cli/notices.h"
#include "conversation/export.h"
#include "zip/unzip.h"
#include <getopt.h>
#include <signal.h>

struct export_options {
    const char *config, *data, *to;
    bool all;
};

static const struct option_doc options[] = {
    {.name = "to",
     .kind = OPTION_DIRECTORY,
     .offset = offsetof(struct export_options, to),
     .value = "DIR",
     .doc = "where the folders are written (the current directory)"},
    {.name = "all",
     .kind = OPTION_FLAG,
     .offset = offsetof(struct export_options, all),
     .doc = "all conversations"},
    {.name = "data",
     .kind = OPTION_DIRECTORY,
     .offset = offsetof(struct export_options, data),
     .value = "DIR",
     .doc = "directory of the database, as for serve"},
    {.name = "config",
     .kind = OPTION_FILE,
     .offset = offsetof(struct export_options, config),
     .value = "FILE",
     .doc = "configuration, as for serve"},
};

struct exporting {
    struct export_options options;
    struct configuration *config;
    struct data data;      /* if it is ours, or else … */
    struct client *client; /* … of the server that has it */
    VEC(struct uuid) ids;
    struct str root; /* "<hex>/" of the archive that is being read */
    struct export_folder *folder;
    unsigned exported, failed;
};

/* ---- from whom ---- */

static bool source_open(struct exporting *x, struct err **e)
{
    autobuf url = {0};
    autoerr why = NULL;
    if (!data_check(x->config, x->options.data, e))
        return false;
    if (data_open(&x->data, x->config, x->options.data, &why))
        return true;
    if (why->kind != ERR_CONFLICT)
        return err_set(e, why->kind, "%s", why->text);
    if (!daemon_server_url(buf_str(&x->data.dir), &url))
        return err_set(e, ERR_CONFLICT, "another command uses %s: wait for it", x->data.dir.p);
    const struct text_list *keys = &x->config->session_api_keys;
    x->client = client_new(buf_str(&url), keys->n > 0 ? keys->at[0] : STR_NONE);
    return true;
}

static bool add_id(void *arg, const struct uuid *id, struct err **e)
{
    struct exporting *x = arg;
    (void)e;
    vec_push(&x->ids, *id);
    return true;
}

static bool find_ids(struct exporting *x, const char *named, struct err **e)
{
    const struct ids_source source = {.client = x->client, .store = x->data.store};
    struct uuid id;
    if (x->options.all)
        return ids_each(&source, STORE_CREATED_ASC, IDS_PAGE, add_id, x, e);
    return ids_find(&source, str_from(named), &id, e) && add_id(x, &id, e);
}

/* ---- one conversation ---- */

static bool write_stored(struct exporting *x, const struct uuid *id, struct export_folder *f, struct err **e)
{
    const struct conversations_config source = {.store = x->data.store,
                                                .secrets = x->data.secrets,
                                                .env = environment_value,
                                                .conversations_path = buf_str(&x->data.dir)};
    autoerr why = NULL;
    struct export_file file;
    struct export *export = export_new_stored(&source, id, e);
    if (!export)
        return false;
    bool ok = true;
    while (ok && export_next(export, &file, &why))
        ok = export_folder_put(f, file.name, file.content, e);
    if (why)
        ok = err_set(e, why->kind, "%s", why->text);
    export_free(export);
    return ok;
}

/* Everything in the archive lies below the conversation's own name. */
static bool put_unpacked(void *arg, struct str name, struct str piece, struct err **e)
{
    struct exporting *x = arg;
    if (!str_starts(name, x->root))
        return err_set(e, ERR_INVALID, "a file with a name that no conversation has");
    return export_folder_put(x->folder, str_sub(name, x->root.n, name.n), piece, e);
}

static bool write_served(struct exporting *x, const char *hex, struct export_folder *f, struct err **e)
{
    autobuf path = {0}, zip = {0}, root = {0};
    buf_addf(&path, "/api/file/download-trajectory/%s", hex);
    buf_addf(&root, "%s/", hex);
    x->root = buf_str(&root);
    x->folder = f;
    bool ok = client_call(x->client, "GET", path.p, STR_NONE, &zip, e) &&
              unzip_files(buf_str(&zip), put_unpacked, x, e);
    x->root = STR_NONE;
    x->folder = NULL;
    return ok;
}

static void export_one(struct exporting *x, const struct uuid *id)
{
    char hex[UUID_HEX_LEN + 1];
    struct export_folder f;
    const char *to = x->options.to ? x->options.to : ".";
    autoerr e = NULL;
    uuid_hex(id, hex);
    if (export_folder_begin(&f, to, str_from(hex), &e) &&
        (x->client ? write_served(x, hex, &f, &e) : write_stored(x, id, &f, &e)) &&
        export_folder_end(&f, &e)) {
        printf("%s/%s\n", to, hex);
        x->exported++;
    } else {
        fprintf(stderr, "handsd: %s: %s\n", hex, err_text(e));
        x->failed++;
    }
    export_folder_free(&f);
}

/* ---- the command ---- */

static bool export_all(struct exporting *x, const char *named, struct err **e)
{
    if (!source_open(x, e) || !find_ids(x, named, e))
        return false;
    for (size_t i = 0; i < x->ids.n; i++)
        export_one(x, &x->ids.at[i]);
    return true;
}

static int export_run(int argc, char **argv)
{
    struct exporting x = {0};
    autoerr e = NULL;
    int status = options_parse(&command_export, argc, argv, &x.options);
    if (status != OPTIONS_GO_ON)
        return status;
    const char *named = optind < argc ? argv[optind] : NULL;
    if (!named == !x.options.all)
        return options_complain(&command_export, "which conversation? Give its id, or --all");
    if (named && !ids_is_plausible(str_from(named)))
        return options_complain(&command_export,
                                "give the id of a conversation, its first digits, or `last`, not %s", named);
    signal(SIGPIPE, SIG_IGN);
    notices_plain();
    x.config = configuration_load(x.options.config, &e);
    bool ok = x.config && configuration_apply_log_level(x.config) && export_all(&x, named, &e);
    if (!ok)
        fprintf(stderr, "handsd: %s\n", err_text(e));
    client_free(x.client);
    data_close(&x.data);
    configuration_free(x.config);
    vec_deinit(&x.ids);
    return ok && x.failed == 0 ? 0 : 1;
}

const struct command command_export = {
    .name = "export",
    .doc = "write conversations as folders of the Python server",
    .arguments = "ID | --all",
    .arguments_max = 1,
    .options = options,
    .option_count = ARRAY_LEN(options),
    .more =
        "ID is that of a conversation, how it begins, or `last`, the one that changed last.\n"
        "Each conversation becomes a folder named by its id, which must not be there yet. Secrets are left out: they\n"
        "stand as asterisks. A server that runs is asked for it; without one the database is read.\n",
    .examples = "  handsd export 0badcafe-0bad-cafe-0bad-cafe0badcafe --to backup\n",
    .run = export_run,
};
