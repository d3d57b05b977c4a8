#include "net/archive_zip.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "net/library.h"
#include <archive.h>
#include <archive_entry.h>

/* The functions used, with the types of libarchive's headers. */
struct archive_table {
    struct archive *(*write_new)(void);
    int (*set_format_zip)(struct archive *);
    int (*set_options)(struct archive *, const char *);
    int (*set_bytes_per_block)(struct archive *, int);
    int (*open)(struct archive *, void *, archive_open_callback *, archive_write_callback *,
                archive_close_callback *);
    int (*write_header)(struct archive *, struct archive_entry *);
    la_ssize_t (*write_data)(struct archive *, const void *, size_t);
    int (*finish_entry)(struct archive *);
    int (*close)(struct archive *);
    int (*free)(struct archive *);
    const char *(*error_string)(struct archive *);
    struct archive_entry *(*entry_new)(void);
    void (*entry_free)(struct archive_entry *);
    void (*entry_set_pathname_utf8)(struct archive_entry *, const char *);
    void (*entry_set_size)(struct archive_entry *, la_int64_t);
    void (*entry_set_filetype)(struct archive_entry *, unsigned);
    void (*entry_set_perm)(struct archive_entry *, __LA_MODE_T);
    void (*entry_set_mtime)(struct archive_entry *, time_t, long);
};

static const struct library_symbol symbols[] = {
    {.name = "archive_write_new", .offset = offsetof(struct archive_table, write_new)},
    {.name = "archive_write_set_format_zip", .offset = offsetof(struct archive_table, set_format_zip)},
    {.name = "archive_write_set_options", .offset = offsetof(struct archive_table, set_options)},
    {.name = "archive_write_set_bytes_per_block",
     .offset = offsetof(struct archive_table, set_bytes_per_block)},
    {.name = "archive_write_open", .offset = offsetof(struct archive_table, open)},
    {.name = "archive_write_header", .offset = offsetof(struct archive_table, write_header)},
    {.name = "archive_write_data", .offset = offsetof(struct archive_table, write_data)},
    {.name = "archive_write_finish_entry", .offset = offsetof(struct archive_table, finish_entry)},
    {.name = "archive_write_close", .offset = offsetof(struct archive_table, close)},
    {.name = "archive_write_free", .offset = offsetof(struct archive_table, free)},
    {.name = "archive_error_string", .offset = offsetof(struct archive_table, error_string)},
    {.name = "archive_entry_new", .offset = offsetof(struct archive_table, entry_new)},
    {.name = "archive_entry_free", .offset = offsetof(struct archive_table, entry_free)},
    {.name = "archive_entry_set_pathname_utf8",
     .offset = offsetof(struct archive_table, entry_set_pathname_utf8)},
    {.name = "archive_entry_set_size", .offset = offsetof(struct archive_table, entry_set_size)},
    {.name = "archive_entry_set_filetype", .offset = offsetof(struct archive_table, entry_set_filetype)},
    {.name = "archive_entry_set_perm", .offset = offsetof(struct archive_table, entry_set_perm)},
    {.name = "archive_entry_set_mtime", .offset = offsetof(struct archive_table, entry_set_mtime)},
};

struct archive_zip {
    const struct archive_table *lib;
    struct archive *archive;
    void (*write)(void *arg, struct str data);
    void *arg;
    bool in_file; /* the last call said that there is more of it */
};

/* ---- the library ---- */

static const struct archive_table *archive_open(struct err **e)
{
    static struct archive_table table;
    static struct library library = {
        .title = "libarchive",
        .without = "archives",
        .names = {"libarchive.so.13"},
        .symbols = symbols,
        .symbol_count = ARRAY_LEN(symbols),
        .table = &table,
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };
    return library_open(&library, e);
}

/* ---- the archive ---- */

static la_ssize_t on_write(struct archive *archive, void *arg, const void *data, size_t n)
{
    (void)archive;
    const struct archive_zip *z = arg;
    if (n > 0)
        z->write(z->arg, str_make(data, n));
    return (la_ssize_t)n;
}

/* ARCHIVE_WARN is success: a name that the old code page lacks, for one. */
static bool check(struct archive_zip *z, la_ssize_t rc, struct err **e)
{
    if (rc >= ARCHIVE_WARN)
        return true;
    const char *why = z->lib->error_string(z->archive);
    return err_set(e, ERR_INTERNAL, "the archive could not be written: %s", why ? why : "unknown error");
}

struct archive_zip *archive_zip_new(void (*write)(void *arg, struct str data), void *arg, struct err **e)
{
    const struct archive_table *lib = archive_open(e);
    if (!lib)
        return NULL;
    struct archive_zip *z = xcalloc(1, sizeof(*z));
    *z = (struct archive_zip){.lib = lib, .write = write, .arg = arg, .archive = lib->write_new()};
    if (!z->archive)
        err_set(e, ERR_INTERNAL, "the archive could not be begun");
    else if (check(z, lib->set_format_zip(z->archive), e) &&
             check(z, lib->set_options(z->archive, "zip:hdrcharset=UTF-8"), e) &&
             check(z, lib->set_bytes_per_block(z->archive, 0), e) &&
             check(z, lib->open(z->archive, z, NULL, on_write, NULL), e))
        return z;
    archive_zip_free(z);
    return NULL;
}

void archive_zip_free(struct archive_zip *z)
{
    if (!z)
        return;
    if (z->archive)
        z->lib->free(z->archive);
    free(z);
}

static bool entry_begin(struct archive_zip *z, struct str name, struct str content, bool more,
                        int64_t time_us, struct err **e)
{
    const struct archive_table *lib = z->lib;
    autofree char *path = str_dup(name);
    bool is_dir = str_ends(name, STR("/"));
    struct archive_entry *entry = lib->entry_new();
    if (!entry)
        return err_set(e, ERR_INTERNAL, "the archive could not be written: out of memory");
    lib->entry_set_pathname_utf8(entry, path);
    lib->entry_set_filetype(entry, is_dir ? AE_IFDIR : AE_IFREG);
    lib->entry_set_perm(entry, is_dir ? 0755 : 0644);
    if (!more) /* otherwise it is told behind the content */
        lib->entry_set_size(entry, (la_int64_t)content.n);
    lib->entry_set_mtime(entry, (time_t)(time_us / 1000000), 0);
    bool ok = check(z, lib->write_header(z->archive, entry), e);
    lib->entry_free(entry);
    return ok;
}

bool archive_zip_add(struct archive_zip *z, struct str name, struct str content, bool more, int64_t time_us,
                     struct err **e)
{
    if (!z->in_file && !entry_begin(z, name, content, more, time_us, e))
        return false;
    z->in_file = more;
    return (content.n == 0 || check(z, z->lib->write_data(z->archive, content.p, content.n), e)) &&
           (more || check(z, z->lib->finish_entry(z->archive), e));
}

bool archive_zip_end(struct archive_zip *z, struct err **e)
{
    return check(z, z->lib->close(z->archive), e);
}
