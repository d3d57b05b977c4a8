#include "hand/patch/files.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/uuid.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#define LINKS_MAX 40                          /* as the kernel */
#define LOADED_MAX ((size_t)64 * 1024 * 1024) /* bytes of all files together */
#define NEW_FILE_MODE 0666                    /* and the umask */
#define NEW_DIRECTORY_MODE 0777

void patch_files_deinit(struct patch_files *f)
{
    for (size_t i = 0; i < f->at.n; i++) {
        struct patch_file *one = &f->at.at[i];
        free(one->name);
        free(one->new_name);
        place_deinit(&one->from);
        free(one->to.path);
        buf_deinit(&one->old_bytes);
        buf_deinit(&one->new_bytes);
        buf_deinit(&one->old_text);
        buf_deinit(&one->new_text);
    }
    for (size_t i = 0; i < f->made.n; i++)
        free(f->made.at[i]);
    vec_deinit(&f->made);
    vec_deinit(&f->at);
}

/* --- finding -------------------------------------------------------------------------------- */

static bool outside(struct str path, struct err **e)
{
    return err_set(e, ERR_FORBIDDEN,
                   "%.*s leads out of the working directory; a patch changes files below it only. Give paths "
                   "relative to it.",
                   STR_ARG(path));
}

/* The path in its normal form, relative to the root. */
static bool find(const struct patch_files *f, struct str path, struct place *out, struct err **e)
{
    autobuf fields = {0}, normal = {0};
    enum wire_status status;
    autoerr why = NULL;
    wire_add_str(&fields, F_ROOT, f->root);
    wire_add_str(&fields, F_PATH, path);
    if (!place_read(out, buf_str(&fields), &status, &why))
        return status == WIRE_REFUSED ? outside(path, e) : err_set(e, ERR_INVALID, "%s.", err_text(why));
    path_normalize(&normal, str_from(out->path));
    free(out->path);
    out->path = str_dup(buf_str(&normal));
    if (str_is(buf_str(&normal), "..") || str_starts(buf_str(&normal), STR("../")))
        return outside(path, e);
    return true;
}

/* A link is changed where it leads, as long as that is below the root. */
static bool follow(struct place *p, struct err **e)
{
    char target[PATH_MAX];
    for (unsigned i = 0; i < LINKS_MAX; i++) {
        const char *name;
        autofd int dir = place_open_parent(p, &name);
        ssize_t n = dir < 0 ? -1 : readlinkat(dir, name, target, sizeof(target));
        if (n < 0)
            return true;
        autobuf joined = {0}, normal = {0};
        path_join(&joined, path_dir(str_from(p->path)), str_make(target, (size_t)n));
        path_normalize(&normal, buf_str(&joined));
        if (path_is_absolute(buf_str(&normal)) || str_starts(buf_str(&normal), STR("..")))
            return outside(str_from(p->path), e);
        free(p->path);
        p->path = str_dup(buf_str(&normal));
    }
    return err_set(e, ERR_INVALID, "%s is a link that leads nowhere.", p->path);
}

static bool unreachable(const struct patch_file *one, struct err **e)
{
    if (errno == EXDEV || errno == ELOOP)
        return outside(str_from(one->name), e);
    if (errno == ENOENT)
        return err_set(e, ERR_NOT_FOUND, "There is no file %s to %s.", one->name,
                       one->action->type == PATCH_DELETE ? "delete" : "update");
    return err_errno(e, ERR_INVALID, "%s cannot be used", one->name);
}

/* --- reading -------------------------------------------------------------------------------- */

static bool read_old(struct patch_file *one, struct err **e)
{
    enum wire_status status;
    autoerr why = NULL;
    autofd int fd = place_open_file(&one->from, &one->st, &status, &why);
    if (fd < 0) {
        if (status != WIRE_NOT_FOUND && why->kind == ERR_INVALID)
            return err_set(e, ERR_INVALID, "%s cannot be used: it is not a regular file, or may not be read.",
                           one->name);
        return unreachable(one, e);
    }
    one->exists = true;
    if (!fd_read_all(fd, EDIT_FILE_MAX, &one->old_bytes, NULL))
        return err_set(e, ERR_TOO_LARGE, "%s cannot be read, or is larger than the 10 MB that a patch takes.",
                       one->name);
    if (text_decode_exact(buf_str(&one->old_bytes), &one->old_text, &one->encoding))
        return true;
    buf_clear(&one->old_text);
    if (one->action->type != PATCH_UPDATE)
        return true; /* what goes away may be anything */
    return err_set(e, ERR_INVALID, "%s is no text that could be updated.", one->name);
}

static bool is_missing(const struct patch_file *one)
{
    autofd int fd = place_open(&one->from, O_PATH, 0);
    return fd < 0 && errno == ENOENT;
}

static bool make_new(struct patch_files *f, struct patch_file *one, bool (*stop)(void), struct err **e)
{
    if (one->type == PATCH_DELETE)
        return true;
    if (one->action->type == PATCH_ADD) {
        patch_added(one->action, &one->new_text);
        buf_add(&one->new_bytes, buf_str(&one->new_text));
        return true;
    }
    if (!patch_apply(one->action, buf_str(&one->old_text), stop, &one->new_text, &f->fuzz, e))
        return false;
    text_encode(buf_str(&one->new_text), one->encoding, &one->new_bytes);
    if (one->new_bytes.n > EDIT_FILE_MAX)
        return err_set(e, ERR_TOO_LARGE, "%s would become larger than the 10 MB that a patch takes.",
                       one->name);
    return true;
}

static bool load_move(struct patch_files *f, struct patch_file *one, struct err **e)
{
    struct place to = {0};
    bool ok = find(f, one->action->move, &to, e);
    free(to.root);
    one->to = (struct place){one->from.root, to.path};
    if (!ok)
        return false;
    one->new_name = str_dup(str_from(to.path));
    if (strcmp(to.path, one->from.path) == 0)
        return true;
    autofd int there = place_open(&one->to, O_PATH | O_NOFOLLOW, 0);
    if (there >= 0)
        return err_set(e, ERR_INVALID, "%s cannot be moved to %s: something is there already.", one->name,
                       to.path);
    return true;
}

static bool load_one(struct patch_files *f, struct patch_file *one, bool (*stop)(void), struct err **e)
{
    const struct patch_action *a = one->action;
    if (!find(f, a->path, &one->from, e))
        return false;
    one->name = str_dup(str_from(one->from.path));
    if (a->type != PATCH_DELETE && !follow(&one->from, e))
        return false;
    bool is_new = a->type == PATCH_ADD && is_missing(one);
    if (!is_new && !read_old(one, e))
        return false;
    if (a->type == PATCH_ADD && one->exists)
        one->type = PATCH_UPDATE;
    if (a->move.p ? !load_move(f, one, e) : false)
        return false;
    if (!one->to.path)
        one->to = (struct place){one->from.root, str_dup(str_from(one->from.path))};
    return make_new(f, one, stop, e);
}

static bool is_same(const struct patch_file *a, const struct patch_file *b)
{
    if (a->exists && b->exists && a->st.st_dev == b->st.st_dev && a->st.st_ino == b->st.st_ino)
        return true;
    return strcmp(a->from.path, b->from.path) == 0 || strcmp(a->to.path, b->to.path) == 0 ||
           strcmp(a->from.path, b->to.path) == 0 || strcmp(a->to.path, b->from.path) == 0;
}

bool patch_files_load(struct patch_files *f, const struct patch *p, bool (*stop)(void), struct err **e)
{
    size_t loaded = 0;
    for (size_t i = 0; i < p->actions.n; i++) {
        const struct patch_action *a = &p->actions.at[i];
        vec_push(&f->at, (struct patch_file){.action = a, .type = a->type, .dir = -1});
        struct patch_file *one = &f->at.at[i];
        if (!load_one(f, one, stop, e))
            return false;
        loaded += one->old_bytes.n + one->new_bytes.n;
        if (loaded > LOADED_MAX)
            return err_set(e, ERR_TOO_LARGE, "The files of the patch are too large together; split it.");
        for (size_t k = 0; k < i; k++)
            if (is_same(one, &f->at.at[k]))
                return err_set(e, ERR_INVALID,
                               "The patch names %s twice, or by two names; change each file once.",
                               one->name);
    }
    return true;
}

/* --- writing -------------------------------------------------------------------------------- */

/* Makes what is missing above the file, and remembers it. */
static bool make_parents(struct patch_files *f, const struct place *to)
{
    for (size_t i = 1; to->path[i]; i++) {
        if (to->path[i] != '/')
            continue;
        autofree char *path = str_dup(str_make(to->path, i));
        struct place dir = {to->root, path};
        autofd int there = place_open(&dir, O_PATH | O_DIRECTORY, 0);
        if (there >= 0)
            continue;
        if (errno != ENOENT || !place_make_dirs(&dir, false, NEW_DIRECTORY_MODE))
            return false;
        vec_push(&f->made, steal(path));
    }
    return true;
}

/* A file with the content, beside where it belongs, with mode and owner of what it takes the place of. */
static bool write_temporary(struct patch_file *one, struct str content)
{
    char hex[UUID_HEX_LEN + 1];
    struct uuid random = uuid_random();
    uuid_hex(&random, hex);
    snprintf(one->temporary, sizeof(one->temporary), ".hand-%.24s.tmp", hex);
    autofd int fd =
        openat(one->dir, one->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, NEW_FILE_MODE);
    if (fd < 0) {
        one->temporary[0] = '\0';
        return false;
    }
    if (!fd_write_all(fd, content, NULL))
        return false;
    if (one->exists) {
        mode_t mode = one->st.st_mode & 07777;
        if ((one->st.st_uid != geteuid() || one->st.st_gid != getegid()) &&
            fchown(fd, one->st.st_uid, one->st.st_gid) < 0)
            mode &= (mode_t)~06000; /* not our owner's bits to give */
        fchmod(fd, mode);
    }
    return true;
}

static bool stage(struct patch_files *f, struct patch_file *one, struct err **e)
{
    const char *name;
    if (one->type != PATCH_DELETE && !make_parents(f, &one->to))
        return err_errno(e, ERR_INVALID, "The directory of %s cannot be made", one->name);
    one->dir = place_open_parent(&one->to, &name);
    if (one->dir < 0 || (one->type != PATCH_DELETE && !write_temporary(one, buf_str(&one->new_bytes))))
        return errno == EXDEV || errno == ELOOP
                   ? outside(str_from(one->name), e)
                   : err_errno(e, ERR_INVALID, "%s cannot be written", one->name);
    return true;
}

static bool remove_old(struct patch_file *one)
{
    const char *name;
    autofd int dir = place_open_parent(&one->from, &name);
    one->removed = dir >= 0 && unlinkat(dir, name, 0) == 0;
    return one->removed;
}

static bool commit(struct patch_file *one, struct err **e)
{
    bool moves = strcmp(one->from.path, one->to.path) != 0;
    if (one->type != PATCH_DELETE) {
        one->written = renameat(one->dir, one->temporary, one->dir, path_base(str_from(one->to.path)).p) == 0;
        if (!one->written)
            return err_errno(e, ERR_IO, "%s cannot be written", one->name);
        one->temporary[0] = '\0';
    }
    if ((one->type == PATCH_DELETE || moves) && !remove_old(one))
        return err_errno(e, ERR_IO, "%s cannot be taken away", one->name);
    return true;
}

/* Puts the old bytes back at `p`, as well as it can be done. */
static void put_back(struct patch_file *one, const struct place *p)
{
    const char *name;
    if (one->dir >= 0)
        close(one->dir);
    one->dir = place_open_parent(p, &name);
    if (one->dir >= 0 && write_temporary(one, buf_str(&one->old_bytes)) &&
        renameat(one->dir, one->temporary, one->dir, name) == 0)
        one->temporary[0] = '\0';
}

static void take_back(struct patch_file *one)
{
    bool in_place = strcmp(one->from.path, one->to.path) == 0;
    if (one->written && !(one->exists && in_place))
        unlinkat(one->dir, path_base(str_from(one->to.path)).p, 0);
    if (one->removed || (one->written && one->exists && in_place))
        put_back(one, &one->from);
}

static void clean_up(struct patch_files *f, bool failed)
{
    for (size_t i = 0; i < f->at.n; i++) {
        struct patch_file *one = &f->at.at[i];
        if (one->temporary[0])
            unlinkat(one->dir, one->temporary, 0);
        if (one->dir >= 0)
            close(one->dir);
        one->dir = -1;
    }
    for (size_t i = f->made.n; failed && i-- > 0;) {
        const char *name;
        struct place dir = {f->at.at[0].from.root, f->made.at[i]};
        autofd int parent = place_open_parent(&dir, &name);
        if (parent >= 0)
            unlinkat(parent, name, AT_REMOVEDIR);
    }
}

bool patch_files_write(struct patch_files *f, bool (*stop)(void), struct err **e)
{
    bool ok = true;
    size_t done = 0;
    for (size_t i = 0; i < f->at.n && ok; i++) {
        ok = stage(f, &f->at.at[i], e);
        if (ok && stop && stop())
            ok = err_set(e, ERR_CANCELLED, "cancelled");
    }
    for (; done < f->at.n && ok; done++) /* from here on nothing stops us */
        ok = commit(&f->at.at[done], e);
    while (!ok && done-- > 0)
        take_back(&f->at.at[done]);
    clean_up(f, !ok);
    return ok;
}
