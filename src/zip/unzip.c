#include "zip/unzip.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "zip/format.h"
#include "zip/zip.h"
#include <sys/stat.h>
#define ZLIB_CONST /* input is only read */
#include <zlib.h>

#define INPUT_MAX ((size_t)1024 * 1024) /* bytes given to inflate at once */
#define SHOWN_MAX 100                   /* bytes of a name in an error */

/* What the directory says of an entry. */
struct entry {
    struct str name, extra;
    unsigned made_by, flags, method, mode;
    uint32_t crc;
    uint64_t packed, size, offset;
};

struct unzip {
    struct str files;     /* the archive up to its directory */
    struct str directory; /* what is left of it */
    uint64_t count;       /* entries it should have */
    uint64_t unclaimed;   /* bytes of `files` that no entry has taken */
    uint64_t bytes;       /* unpacked so far */
    bool (*file)(void *arg, struct str name, struct str piece, struct err **e);
    void *arg;
    z_stream inflate;
    char *piece; /* UNZIP_PIECE bytes */
};

/* ---- reading bytes ---- */

/* Takes from the front; `bad` once there was less than wanted, and then all is 0. */
struct reader {
    struct str rest;
    bool bad;
};

static struct str get_bytes(struct reader *r, uint64_t n)
{
    if (r->bad || n > r->rest.n) {
        r->bad = true;
        return STR_NONE;
    }
    struct str got = str_sub(r->rest, 0, (size_t)n);
    r->rest = str_sub(r->rest, (size_t)n, r->rest.n);
    return got;
}

static uint64_t get(struct reader *r, size_t bytes)
{
    struct str from = get_bytes(r, bytes);
    uint64_t v = 0;
    for (size_t i = from.n; i-- > 0;)
        v = v << 8 | (unsigned char)from.p[i];
    return v;
}

static struct reader reader_at(struct str s, uint64_t offset)
{
    struct reader r = {.rest = s};
    get_bytes(&r, offset);
    return r;
}

/* ---- errors ---- */

static bool damaged(struct err **e, const char *why)
{
    return err_set(e, ERR_INVALID, "the archive cannot be read: %s", why);
}

/* A name may hold what a terminal obeys. */
static bool entry_fails(const struct entry *n, struct err **e, const char *why)
{
    char shown[SHOWN_MAX + 1];
    size_t len = n->name.n < SHOWN_MAX ? n->name.n : SHOWN_MAX;
    for (size_t i = 0; i < len; i++)
        shown[i] = n->name.p[i] >= 0x20 && n->name.p[i] < 0x7F ? n->name.p[i] : '?';
    shown[len] = 0;
    return err_set(e, ERR_INVALID, "the archive cannot be read: %s%s %s", shown, len < n->name.n ? "…" : "",
                   why);
}

/* ---- the end of the archive ---- */

struct end {
    uint64_t disk, directory_disk, count_here, count, bytes, offset;
};

/* The record is the same in both formats, but for the widths. */
static void get_end(struct reader *r, bool wide, struct end *end)
{
    end->disk = get(r, wide ? 4 : 2);
    end->directory_disk = get(r, wide ? 4 : 2);
    end->count_here = get(r, wide ? 8 : 2);
    end->count = get(r, wide ? 8 : 2);
    end->bytes = get(r, wide ? 8 : 4);
    end->offset = get(r, wide ? 8 : 4);
}

/* The last place where a record stands whose comment ends with the archive. */
static bool find_end(struct str zip, size_t *at, struct end *end)
{
    size_t most = END_BYTES + ZIP_COMMENT_MAX;
    size_t lowest = zip.n > most ? zip.n - most : 0;
    for (size_t i = zip.n < END_BYTES ? 0 : zip.n - END_BYTES + 1; i-- > lowest;) {
        struct reader r = reader_at(zip, i);
        if (get(&r, 4) != END_MARK)
            continue;
        get_end(&r, false, end);
        if (get(&r, 2) == r.rest.n && !r.bad) {
            *at = i;
            return true;
        }
    }
    return false;
}

static bool is_wide(const struct end *end)
{
    return end->disk == U16_FULL || end->directory_disk == U16_FULL || end->count_here == U16_FULL ||
           end->count == U16_FULL || end->bytes == U32_FULL || end->offset == U32_FULL;
}

/* zip64 has a second end record and, between that and the first, the place of it. An archive of old may have a full field
 * without. */
static bool find_end64(struct str zip, size_t *at, struct end *end, struct err **e)
{
    if (!is_wide(end) || *at < LOCATOR64_BYTES)
        return true;
    size_t locator = *at - LOCATOR64_BYTES;
    struct reader r = reader_at(zip, locator);
    if (get(&r, 4) != LOCATOR64_MARK)
        return true;
    uint64_t disk = get(&r, 4), offset = get(&r, 8), disks = get(&r, 4);
    if (disk != 0 || disks > 1)
        return damaged(e, "it is one of several parts");
    r = reader_at(str_sub(zip, 0, locator), offset);
    uint64_t mark = get(&r, 4), rest = get(&r, 8);
    if (r.bad || mark != END64_MARK || rest < END64_REST || rest > r.rest.n)
        return damaged(e, "its end record for zip64 is not where it should be");
    get(&r, 4); /* versions */
    get_end(&r, true, end);
    *at = (size_t)offset;
    return true;
}

static bool find_directory(struct unzip *u, struct str zip, struct err **e)
{
    struct end end;
    size_t at;
    if (!find_end(zip, &at, &end))
        return damaged(e, "it has no end record, so it is cut or no zip archive");
    if (!find_end64(zip, &at, &end, e))
        return false;
    if (end.disk != 0 || end.directory_disk != 0 || end.count_here != end.count)
        return damaged(e, "it is one of several parts");
    if (end.offset > at || end.bytes > at - end.offset)
        return damaged(e, "its directory does not lie in it");
    if (end.count > UNZIP_FILES_MAX)
        return err_set(e, ERR_TOO_LARGE, "the archive has more than %d files", UNZIP_FILES_MAX);
    u->files = str_sub(zip, 0, (size_t)end.offset);
    u->directory = str_sub(zip, u->files.n, u->files.n + (size_t)end.bytes);
    u->unclaimed = u->files.n;
    u->count = end.count;
    return true;
}

/* ---- an entry of the directory ---- */

/* What is full stands wide in a field of its own, in this order. */
static bool widen(struct entry *n)
{
    uint64_t *const values[] = {&n->size, &n->packed, &n->offset};
    if (n->size != U32_FULL && n->packed != U32_FULL && n->offset != U32_FULL)
        return true;
    for (struct reader r = {.rest = n->extra}; r.rest.n > 0 && !r.bad;) {
        uint64_t kind = get(&r, 2), bytes = get(&r, 2);
        struct reader field = {.rest = get_bytes(&r, bytes)};
        if (kind != EXTRA_64 || r.bad)
            continue;
        for (size_t i = 0; i < ARRAY_LEN(values); i++)
            if (*values[i] == U32_FULL)
                *values[i] = get(&field, 8);
        return !field.bad;
    }
    return false;
}

static bool next_entry(struct unzip *u, struct entry *n, struct err **e)
{
    struct reader r = {.rest = u->directory};
    uint64_t mark = get(&r, 4);
    n->made_by = (unsigned)get(&r, 2);
    get(&r, 2); /* the version that is needed: the method and the flags say it better */
    n->flags = (unsigned)get(&r, 2);
    n->method = (unsigned)get(&r, 2);
    get(&r, 4); /* time */
    n->crc = (uint32_t)get(&r, 4);
    n->packed = get(&r, 4);
    n->size = get(&r, 4);
    uint64_t name = get(&r, 2), extra = get(&r, 2), comment = get(&r, 2);
    get(&r, 4); /* disk; what the file is inside */
    n->mode = (unsigned)(get(&r, 4) >> 16);
    n->offset = get(&r, 4);
    n->name = get_bytes(&r, name);
    n->extra = get_bytes(&r, extra);
    get_bytes(&r, comment);
    if (r.bad || mark != CENTRAL_MARK)
        return damaged(e, "its directory is damaged");
    if (n->name.n == 0 || !widen(n))
        return damaged(e, "an entry of its directory is damaged");
    if (n->name.n > UNZIP_NAME_MAX)
        return err_set(e, ERR_TOO_LARGE, "the archive has a name of more than %d bytes", UNZIP_NAME_MAX);
    u->directory = r.rest;
    return true;
}

/* Modes are those of Unix where that has made it; elsewhere a slash tells a directory. */
static bool is_file(const struct entry *n)
{
    unsigned kind = n->made_by >> 8 == MADE_BY_UNIX >> 8 ? n->mode & S_IFMT : 0;
    return n->name.p[n->name.n - 1] != '/' && (kind == 0 || kind == S_IFREG);
}

static const char *method_name(unsigned method)
{
    static const struct {
        unsigned method;
        const char *name;
    } names[] = {
        {1, "shrink"}, {6, "implode"}, {9, "deflate64"}, {12, "bzip2"}, {14, "LZMA"},
        {93, "zstd"},  {95, "xz"},     {98, "PPMd"},     {99, "AES"},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].method == method)
            return names[i].name;
    return "an unknown method";
}

static bool check_readable(const struct entry *n, struct err **e)
{
    autobuf why = {0};
    if (n->flags & (FLAG_ENCRYPTED | FLAG_ENCRYPTED_STRONGLY | FLAG_ENCRYPTED_DIRECTORY))
        return entry_fails(n, e, "is encrypted");
    if (n->flags & FLAG_PATCH)
        return entry_fails(n, e, "is a patch of another file");
    if (n->method == METHOD_STORED || n->method == METHOD_DEFLATED)
        return true;
    buf_addf(&why, "is packed with %s (%u); only stored and deflated files are read", method_name(n->method),
             n->method);
    return entry_fails(n, e, why.p);
}

/* The packed bytes of an entry, behind its local header. That has to say the same, and no bytes can serve all entries: where
 * they would, the entries are longer than all there is. */
static bool find_packed(struct unzip *u, const struct entry *n, struct str *packed, struct err **e)
{
    struct reader r = reader_at(u->files, n->offset);
    uint64_t mark = get(&r, 4);
    get(&r, 4); /* the version that is needed; flags */
    uint64_t method = get(&r, 2);
    get(&r, 16); /* time, checksum and sizes: maybe not known then */
    uint64_t name_n = get(&r, 2), extra_n = get(&r, 2);
    struct str name = get_bytes(&r, name_n);
    get_bytes(&r, extra_n);
    *packed = get_bytes(&r, n->packed);
    if (r.bad || mark != LOCAL_MARK || method != n->method || !str_eq(name, n->name))
        return entry_fails(n, e, "is not where the directory says");
    uint64_t claimed = LOCAL_BYTES + name_n + extra_n + n->packed;
    if (claimed > u->unclaimed)
        return entry_fails(n, e, "overlaps with another file");
    u->unclaimed -= claimed;
    return true;
}

/* ---- content ---- */

static bool give_stored(struct unzip *u, const struct entry *n, struct str content, struct err **e)
{
    if (content.n != n->size)
        return entry_fails(n, e, "is not as long as the directory says");
    uLong crc = crc32_z(0, (const unsigned char *)content.p, content.n);
    if (crc != n->crc)
        return entry_fails(n, e, "has not the checksum that the directory says");
    do {
        if (!u->file(u->arg, n->name, str_sub(content, 0, UNZIP_PIECE), e))
            return false;
        content = str_sub(content, UNZIP_PIECE, content.n);
    } while (content.n > 0);
    return true;
}

/* The next bytes of the content; `*ended` when they are the last. */
static bool inflate_piece(struct unzip *u, const struct entry *n, struct str *packed, struct str *piece,
                          bool *ended, struct err **e)
{
    z_stream *s = &u->inflate;
    s->next_out = (unsigned char *)u->piece;
    s->avail_out = (unsigned)UNZIP_PIECE;
    int rc = Z_OK;
    while (rc == Z_OK && s->avail_out > 0) {
        if (s->avail_in == 0) {
            struct str input = str_sub(*packed, 0, INPUT_MAX);
            *packed = str_sub(*packed, input.n, packed->n);
            s->next_in = (const unsigned char *)input.p;
            s->avail_in = (unsigned)input.n;
        }
        rc = inflate(s, Z_NO_FLUSH);
    }
    if (rc == Z_MEM_ERROR)
        abort();
    *ended = rc == Z_STREAM_END;
    *piece = str_make(u->piece, UNZIP_PIECE - s->avail_out);
    if (rc != Z_OK && rc != Z_STREAM_END)
        return entry_fails(n, e, "is damaged");
    if (*ended && (s->avail_in > 0 || packed->n > 0))
        return entry_fails(n, e, "ends before its packed bytes do");
    return true;
}

static bool give_deflated(struct unzip *u, const struct entry *n, struct str packed, struct err **e)
{
    uint64_t left = n->size;
    uLong crc = 0;
    struct str piece;
    inflateReset(&u->inflate);
    u->inflate.avail_in = 0;
    for (bool first = true, ended = false; !ended; first = false) {
        if (!inflate_piece(u, n, &packed, &piece, &ended, e))
            return false;
        if (piece.n > left || (ended && piece.n < left))
            return entry_fails(n, e, "is not as long as the directory says");
        left -= piece.n;
        crc = crc32_z(crc, (const unsigned char *)piece.p, piece.n);
        if ((first || piece.n > 0) && !u->file(u->arg, n->name, piece, e))
            return false;
    }
    return crc == n->crc || entry_fails(n, e, "has not the checksum that the directory says");
}

static bool give_entry(struct unzip *u, const struct entry *n, struct err **e)
{
    struct str packed;
    if (!check_readable(n, e) || !find_packed(u, n, &packed, e))
        return false;
    if (!is_file(n))
        return true;
    if (n->size > UNZIP_BYTES_MAX - u->bytes)
        return err_set(e, ERR_TOO_LARGE, "the archive unpacks to more than %d GB",
                       (int)(UNZIP_BYTES_MAX >> 30));
    u->bytes += n->size;
    return n->method == METHOD_STORED ? give_stored(u, n, packed, e) : give_deflated(u, n, packed, e);
}

bool unzip_files(struct str zip, bool (*file)(void *arg, struct str name, struct str piece, struct err **e),
                 void *arg, struct err **e)
{
    struct unzip u = {.file = file, .arg = arg};
    struct entry entry;
    if (!find_directory(&u, zip, e))
        return false;
    if (inflateInit2(&u.inflate, -MAX_WBITS) != Z_OK)
        abort(); /* out of memory, or another library than the one compiled for */
    u.piece = xmalloc(UNZIP_PIECE);
    bool ok = true;
    for (uint64_t i = 0; ok && i < u.count; i++)
        ok = next_entry(&u, &entry, e) && give_entry(&u, &entry, e);
    if (ok && u.directory.n > 0)
        ok = damaged(e, "its directory has more entries than it says");
    inflateEnd(&u.inflate);
    free(u.piece);
    return ok;
}
