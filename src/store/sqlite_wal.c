#include "store/sqlite_wal.h"
#include "base/cleanup.h"
#include <pthread.h>
#include <sqlite3.h>
#include <string.h>

/* Gathered writes. The file layer below takes no more at once than 17 bits can count. */
#define GATHER_MAX 0x1ffff

struct wal_file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this structure */
    bool nosync;
    char *gathered; /* `n` bytes that belong at `at` */
    size_t n;
    sqlite3_int64 at;
    sqlite3_int64 unsynced; /* lowest offset written since the last sync; -1: none */
};

static struct wal_file *wal_of(sqlite3_file *file)
{
    return (struct wal_file *)file;
}

/* The bytes from `unsynced` on belong to no acknowledged commit. If this fails too, it is tried again at the end; a disk
 * that takes nothing at all any more may show a failed commit after a restart. */
static void wal_cut(struct wal_file *w)
{
    w->n = 0;
    if (w->unsynced >= 0 && w->real->pMethods->xTruncate(w->real, w->unsynced) == SQLITE_OK)
        w->unsynced = -1;
}

static int wal_write_real(struct wal_file *w, const void *p, int n, sqlite3_int64 at)
{
    if (w->unsynced < 0 || at < w->unsynced)
        w->unsynced = at;
    int code = w->real->pMethods->xWrite(w->real, p, n, at);
    if (code != SQLITE_OK)
        wal_cut(w);
    return code;
}

static int wal_flush(struct wal_file *w)
{
    size_t n = w->n;
    w->n = 0;
    return n > 0 ? wal_write_real(w, w->gathered, (int)n, w->at) : SQLITE_OK;
}

static int wal_write(sqlite3_file *file, const void *p, int n, sqlite3_int64 at)
{
    struct wal_file *w = wal_of(file);
    if (w->n > 0 && (at != w->at + (sqlite3_int64)w->n || w->n + (size_t)n > GATHER_MAX)) {
        int code = wal_flush(w);
        if (code != SQLITE_OK)
            return code;
    }
    if (n > GATHER_MAX)
        return wal_write_real(w, p, n, at);
    if (!w->gathered)
        w->gathered = xmalloc(GATHER_MAX);
    if (w->n == 0)
        w->at = at;
    memcpy(w->gathered + w->n, p, (size_t)n);
    w->n += (size_t)n;
    return SQLITE_OK;
}

static int wal_read(sqlite3_file *file, void *p, int n, sqlite3_int64 at)
{
    struct wal_file *w = wal_of(file);
    int code = wal_flush(w);
    return code != SQLITE_OK ? code : w->real->pMethods->xRead(w->real, p, n, at);
}

static int wal_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct wal_file *w = wal_of(file);
    int code = wal_flush(w);
    return code != SQLITE_OK ? code : w->real->pMethods->xTruncate(w->real, size);
}

static int wal_sync(sqlite3_file *file, int flags)
{
    struct wal_file *w = wal_of(file);
    int code = wal_flush(w);
    if (code == SQLITE_OK && !w->nosync)
        code = w->real->pMethods->xSync(w->real, flags);
    if (code == SQLITE_OK)
        w->unsynced = -1;
    else
        wal_cut(w);
    return code;
}

static int wal_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct wal_file *w = wal_of(file);
    int code = wal_flush(w);
    return code != SQLITE_OK ? code : w->real->pMethods->xFileSize(w->real, size);
}

static int wal_close(sqlite3_file *file)
{
    struct wal_file *w = wal_of(file);
    wal_cut(w);
    free(w->gathered);
    return w->real->pMethods->xClose(w->real);
}

static int wal_lock(sqlite3_file *file, int level)
{
    sqlite3_file *real = wal_of(file)->real;
    return real->pMethods->xLock(real, level);
}

static int wal_unlock(sqlite3_file *file, int level)
{
    sqlite3_file *real = wal_of(file)->real;
    return real->pMethods->xUnlock(real, level);
}

static int wal_check_lock(sqlite3_file *file, int *result)
{
    sqlite3_file *real = wal_of(file)->real;
    return real->pMethods->xCheckReservedLock(real, result);
}

static int wal_control(sqlite3_file *file, int op, void *arg)
{
    sqlite3_file *real = wal_of(file)->real;
    return real->pMethods->xFileControl(real, op, arg);
}

static int wal_sector(sqlite3_file *file)
{
    sqlite3_file *real = wal_of(file)->real;
    return real->pMethods->xSectorSize(real);
}

static int wal_characteristics(sqlite3_file *file)
{
    sqlite3_file *real = wal_of(file)->real;
    return real->pMethods->xDeviceCharacteristics(real);
}

static const sqlite3_io_methods wal_methods = {
    .iVersion = 1,
    .xClose = wal_close,
    .xRead = wal_read,
    .xWrite = wal_write,
    .xTruncate = wal_truncate,
    .xSync = wal_sync,
    .xFileSize = wal_size,
    .xLock = wal_lock,
    .xUnlock = wal_unlock,
    .xCheckReservedLock = wal_check_lock,
    .xFileControl = wal_control,
    .xSectorSize = wal_sector,
    .xDeviceCharacteristics = wal_characteristics,
};

struct wal_vfs {
    sqlite3_vfs base;
    sqlite3_vfs *real;
    bool nosync;
};

static int wal_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    struct wal_vfs *v = (struct wal_vfs *)vfs;
    if (!(flags & SQLITE_OPEN_WAL))
        return v->real->xOpen(v->real, name, file, flags, out_flags);
    struct wal_file *w = wal_of(file);
    *w = (struct wal_file){.real = (sqlite3_file *)(w + 1), .nosync = v->nosync, .unsynced = -1};
    int code = v->real->xOpen(v->real, name, w->real, flags, out_flags);
    if (code == SQLITE_OK)
        w->base.pMethods = &wal_methods;
    return code;
}

static struct wal_vfs vfs_sync, vfs_nosync;
static bool registered;

static bool wal_vfs_add(struct wal_vfs *v, const char *name, bool nosync, sqlite3_vfs *real)
{
    /* All but open is the real one's; those functions get our pointer, of which they use nothing but pAppData. */
    v->base = *real;
    v->base.pNext = NULL;
    v->base.zName = name;
    v->base.szOsFile = (int)sizeof(struct wal_file) + real->szOsFile;
    v->base.xOpen = wal_open;
    v->real = real;
    v->nosync = nosync;
    return sqlite3_vfs_register(&v->base, 0) == SQLITE_OK;
}

static void wal_vfs_init(void)
{
    /* One thread per connection at a time; no counting of every allocation under one lock. Too late is harmless. */
    sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    if (sqlite3_initialize() != SQLITE_OK)
        return;
    sqlite3_vfs *real = sqlite3_vfs_find("unix-excl");
    registered = real && wal_vfs_add(&vfs_sync, WAL_VFS, false, real) &&
                 wal_vfs_add(&vfs_nosync, WAL_VFS_NOSYNC, true, real);
}

bool wal_vfs_register(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, wal_vfs_init);
    return registered;
}
