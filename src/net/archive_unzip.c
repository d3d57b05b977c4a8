#include "net/archive_unzip.h"
#include "base/cleanup.h"
#include "net/library.h"
#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

struct unzip_table {
    struct archive *(*read_new)(void);
    int (*support_format_zip)(struct archive *);
    int (*open_memory)(struct archive *, const void *, size_t);
    int (*next_header)(struct archive *, struct archive_entry **);
    la_ssize_t (*read_data)(struct archive *, void *, size_t);
    int (*free)(struct archive *);
    const char *(*error_string)(struct archive *);
    const char *(*pathname_utf8)(struct archive_entry *);
    __LA_MODE_T (*filetype)(struct archive_entry *);
};

static const struct library_symbol symbols[] = {
    {.name = "archive_read_new", .offset = offsetof(struct unzip_table, read_new)},
    {.name = "archive_read_support_format_zip_seekable",
     .offset = offsetof(struct unzip_table, support_format_zip)},
    {.name = "archive_read_open_memory", .offset = offsetof(struct unzip_table, open_memory)},
    {.name = "archive_read_next_header", .offset = offsetof(struct unzip_table, next_header)},
    {.name = "archive_read_data", .offset = offsetof(struct unzip_table, read_data)},
    {.name = "archive_read_free", .offset = offsetof(struct unzip_table, free)},
    {.name = "archive_error_string", .offset = offsetof(struct unzip_table, error_string)},
    {.name = "archive_entry_pathname_utf8", .offset = offsetof(struct unzip_table, pathname_utf8)},
    {.name = "archive_entry_filetype", .offset = offsetof(struct unzip_table, filetype)},
};

static const struct unzip_table *unzip_open(struct err **e)
{
    static struct unzip_table table;
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

static bool fail(const struct unzip_table *t, struct archive *a, struct err **e)
{
    const char *why = t->error_string(a);
    return err_set(e, ERR_INVALID, "the archive cannot be read: %s", why ? why : "it is damaged");
}

static bool entry_read(const struct unzip_table *t, struct archive *a, struct str name, char *piece,
                       bool (*file)(void *arg, struct str name, struct str piece, struct err **e), void *arg,
                       struct err **e)
{
    for (bool first = true;; first = false) {
        la_ssize_t n = t->read_data(a, piece, UNZIP_PIECE);
        if (n < 0)
            return fail(t, a, e);
        if (n == 0 && !first)
            return true;
        if (!file(arg, name, str_make(piece, (size_t)n), e))
            return false;
        if (n == 0)
            return true;
    }
}

bool archive_unzip(struct str zip, bool (*file)(void *arg, struct str name, struct str piece, struct err **e),
                   void *arg, struct err **e)
{
    const struct unzip_table *t = unzip_open(e);
    struct archive_entry *entry;
    if (!t)
        return false;
    struct archive *a = t->read_new();
    autofree char *piece = xmalloc(UNZIP_PIECE);
    int rc = t->support_format_zip(a);
    if (rc >= ARCHIVE_WARN)
        rc = t->open_memory(a, zip.p, zip.n);
    bool ok = rc >= ARCHIVE_WARN || fail(t, a, e);
    for (size_t files = 0; ok && (rc = t->next_header(a, &entry)) != ARCHIVE_EOF; files++) {
        const char *name = rc >= ARCHIVE_WARN ? t->pathname_utf8(entry) : NULL;
        if (rc < ARCHIVE_WARN)
            ok = fail(t, a, e);
        else if (files == UNZIP_FILES_MAX)
            ok = err_set(e, ERR_TOO_LARGE, "the archive has more than %d files", UNZIP_FILES_MAX);
        else if (name && t->filetype(entry) == S_IFREG)
            ok = entry_read(t, a, str_from(name), piece, file, arg, e);
    }
    t->free(a);
    return ok;
}
