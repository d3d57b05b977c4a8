#include "cli/export_folder.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/uuid.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define NAME_BYTES_MAX 255
/* Sensitive as the conversation is, it is for its owner alone. */
#define DIR_MODE 0700
#define FILE_MODE 0600

static const char *const parts[] = {"events", "observations"};

bool export_folder_begin(struct export_folder *f, const char *to, struct str name, struct err **e)
{
    struct stat info;
    uint32_t salt;
    *f = (struct export_folder){.parent = -1, .dir = -1};
    random_bytes(&salt, sizeof(salt));
    snprintf(f->final, sizeof(f->final), "%.*s", STR_ARG(name));
    snprintf(f->temporary, sizeof(f->temporary), ".%s.%08x", f->final, salt);
    if (!dir_make(to, DIR_MODE, e))
        return false;
    f->parent = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->parent < 0)
        return err_errno(e, ERR_IO, "%s", to);
    if (fstatat(f->parent, f->final, &info, AT_SYMLINK_NOFOLLOW) == 0)
        return err_set(e, ERR_CONFLICT, "%s/%s is there already", to, f->final);
    if (mkdirat(f->parent, f->temporary, DIR_MODE) != 0)
        return err_errno(e, ERR_IO, "a directory in %s", to);
    f->dir = openat(f->parent, f->temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (f->dir < 0)
        return err_errno(e, ERR_IO, "a directory in %s", to);
    return mkdirat(f->dir, parts[0], DIR_MODE) == 0 || err_errno(e, ERR_IO, "a directory in %s", to);
}

static bool is_plain(struct str name)
{
    return name.n > 0 && name.n <= NAME_BYTES_MAX && name.p[0] != '.' && str_find_char(name, '/') < 0 &&
           !memchr(name.p, 0, name.n);
}

/* The directory that the file is for, and the rest of its name. */
static int place_of(const struct export_folder *f, struct str *name)
{
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        size_t n = strlen(parts[i]);
        if (!str_starts(*name, str_from(parts[i])) || name->n <= n || name->p[n] != '/')
            continue;
        *name = str_sub(*name, n + 1, name->n);
        mkdirat(f->dir, parts[i], DIR_MODE);
        return openat(f->dir, parts[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    return str_is(*name, "meta.json") || str_is(*name, "base_state.json") ? dup(f->dir) : -1;
}

bool export_folder_put(struct export_folder *f, struct str name, struct str content, struct err **e)
{
    char file[NAME_BYTES_MAX + 1];
    autofd int at = place_of(f, &name);
    if (at < 0 || !is_plain(name))
        return err_set(e, ERR_INVALID, "a file with a name that no conversation has");
    memcpy(file, name.p, name.n);
    file[name.n] = 0;
    autofd int fd =
        openat(at, file, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return err_errno(e, ERR_IO, "%s", file);
    return fd_write_all(fd, content, e) || err_prefix(e, "%s", file);
}

bool export_folder_end(struct export_folder *f, struct err **e)
{
    if (syncfs(f->dir) != 0)
        return err_errno(e, ERR_IO, "writing %s", f->final);
    if (renameat2(f->parent, f->temporary, f->parent, f->final, RENAME_NOREPLACE) != 0)
        return errno == EEXIST ? err_set(e, ERR_CONFLICT, "%s is there already", f->final)
                               : err_errno(e, ERR_IO, "renaming to %s", f->final);
    close(f->dir);
    f->dir = -1;
    return true;
}

static void files_remove(int dir)
{
    DIR *d = fdopendir(dup(dir));
    for (struct dirent *entry; d && (entry = readdir(d));)
        unlinkat(dir, entry->d_name, 0);
    if (d)
        closedir(d);
}

void export_folder_free(struct export_folder *f)
{
    if (f->dir >= 0) {
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
            autofd int part = openat(f->dir, parts[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (part >= 0)
                files_remove(part);
            unlinkat(f->dir, parts[i], AT_REMOVEDIR);
        }
        files_remove(f->dir);
        unlinkat(f->parent, f->temporary, AT_REMOVEDIR);
        close(f->dir);
    }
    if (f->parent >= 0)
        close(f->parent);
    *f = (struct export_folder){.parent = -1, .dir = -1};
}
