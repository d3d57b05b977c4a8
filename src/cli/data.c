#include "cli/data.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/path.h"
#include "cli/daemon.h"

static char *path_in(const struct data *d, const char *name)
{
    struct buf path = {0};
    path_join(&path, buf_str(&d->dir), str_from(name));
    return (char *)buf_take(&path).p;
}

/* A data directory often lies in the project that an agent works on, and holds a key: `git add` shall pass it over. That
 * the file cannot be written spoils nothing else. */
static void hide_from_git(const struct data *d)
{
    autofree char *path = path_in(d, ".gitignore");
    file_write_atomic(path, STR("*\n"), 0600, NULL);
}

bool data_open(struct data *d, const struct configuration *config, const char *dir, struct err **e)
{
    *d = (struct data){0};
    if (!daemon_find_data_dir(config, dir, &d->dir, e))
        return false;
    autofree char *database = path_in(d, "handsd.db"), *url = path_in(d, DAEMON_URL_FILE),
                  *key = path_in(d, "handsd.key");
    bool made = access(d->dir.p, F_OK) != 0;
    d->store = store_open(&(struct store_config){.path = database}, e);
    if (!d->store)
        return false;
    unlink(url); /* of a server that was killed */
    if (made)
        hide_from_git(d);
    d->secrets = secrets_new(
        &(struct secrets_config){
            .configured = config->secret_key,
            .session_key = config->session_key,
            .generated_path = key,
        },
        e);
    return d->secrets != NULL;
}

bool data_check(const struct configuration *config, const char *dir, struct err **e)
{
    struct data d = {0};
    bool ok = daemon_find_data_dir(config, dir, &d.dir, e);
    autofree char *database = path_in(&d, "handsd.db");
    if (ok && access(database, F_OK) != 0)
        ok = err_set(e, ERR_NOT_FOUND, "there are no conversations in %s: is it another --data?", d.dir.p);
    buf_deinit(&d.dir);
    return ok;
}

void data_close(struct data *d)
{
    store_close(d->store);
    secrets_free(d->secrets);
    buf_deinit(&d->dir);
    *d = (struct data){0};
}
