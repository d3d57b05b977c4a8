#include "zip/zip.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/utf8.h"
#include "zip/format.h"
#include <sys/stat.h>
#define ZLIB_CONST /* input is only read */
#include <zlib.h>

#define OUT_FILL (32 * 1024)              /* bytes that are collected before they are written */
#define OUT_ROOM (16 * 1024)              /* room for deflate at once */
#define LEVEL 1                           /* speed: a workspace is mostly packed objects, or small */
#define INPUT_MAX ((size_t)1024 * 1024)   /* bytes given to deflate at once */
#define ZIP64_FROM ((uint64_t)0xF0000000) /* deflate adds a little to what does not pack */

/* What the local header and the directory both say. */
struct record {
    struct str name;
    unsigned mode, flags, method;
    bool zip64; /* of the local header and the descriptor */
    int64_t time_s;
    uint32_t crc;
    uint64_t packed, size, offset;
};

struct zip {
    bool (*write)(void *arg, struct str data);
    void *arg;
    uint64_t at; /* bytes before `out` */
    struct buf out, directory;
    uint64_t count, left; /* of the entry's `most` */
    bool failed, deflating;
    z_stream deflate;
    struct buf name; /* of `now` */
    struct record now;
};

/* ---- output ---- */

static void add_u16(struct buf *b, uint64_t v)
{
    const unsigned char bytes[] = {(unsigned char)v, (unsigned char)(v >> 8)};
    buf_add_bytes(b, bytes, sizeof(bytes));
}

static void add_u32(struct buf *b, uint64_t v)
{
    add_u16(b, v & U16_FULL);
    add_u16(b, v >> 16 & U16_FULL);
}

static void add_u64(struct buf *b, uint64_t v)
{
    add_u32(b, v & U32_FULL);
    add_u32(b, v >> 32);
}

static void add_u32_or_full(struct buf *b, uint64_t v)
{
    add_u32(b, v < U32_FULL ? v : U32_FULL);
}

static bool flush(struct zip *z, size_t from)
{
    if (z->failed || z->out.n < from || z->out.n == 0)
        return !z->failed;
    z->failed = !z->write(z->arg, buf_str(&z->out));
    z->at += z->out.n;
    buf_clear(&z->out);
    return !z->failed;
}

static uint64_t position(const struct zip *z)
{
    return z->at + z->out.n;
}

/* ---- time ---- */

#define DAY_S 86400
#define DOS_FIRST_S 315532800         /* 1980-01-01 */
#define DOS_LAST_S (4354819200LL - 2) /* 2107-12-31 23:59:58 */

/* Days since 1970 as a date, by eras of 400 years that begin in March. */
static uint32_t dos_date(int64_t days)
{
    int64_t z = days + 719468, era = z / 146097, of_era = z % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153, day = of_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    year += era * 400 + (month <= 2);
    return (uint32_t)((year - 1980) << 9 | month << 5 | day);
}

static void add_dos_time(struct buf *b, int64_t time_s)
{
    int64_t s = time_s < DOS_FIRST_S ? DOS_FIRST_S : time_s > DOS_LAST_S ? DOS_LAST_S : time_s;
    int64_t of_day = s % DAY_S;
    add_u16(b, (uint64_t)(of_day / 3600 << 11 | of_day / 60 % 60 << 5 | of_day % 60 / 2));
    add_u16(b, dos_date(s / DAY_S));
}

static bool has_time_extra(const struct record *r)
{
    return r->time_s >= INT32_MIN && r->time_s <= INT32_MAX;
}

static void add_time_extra(struct buf *b, const struct record *r)
{
    if (!has_time_extra(r))
        return;
    add_u16(b, EXTRA_TIME);
    add_u16(b, EXTRA_TIME_BYTES - 4);
    buf_add_char(b, 1); /* the last change, and no other */
    add_u32(b, (uint32_t)r->time_s);
}

/* ---- records ---- */

/* From the version to the checksum: the same in both places. */
static void add_common(struct buf *b, const struct record *r, bool zip64)
{
    add_u16(b, zip64 ? VERSION_64 : VERSION_PLAIN);
    add_u16(b, r->flags);
    add_u16(b, r->method);
    add_dos_time(b, r->time_s);
}

static void add_local(struct zip *z, const struct record *r)
{
    struct buf *b = &z->out;
    bool later = r->flags & FLAG_DESCRIPTOR;
    add_u32(b, LOCAL_MARK);
    add_common(b, r, r->zip64);
    add_u32(b, later ? 0 : r->crc);
    add_u32(b, r->zip64 ? U32_FULL : later ? 0 : r->packed);
    add_u32(b, r->zip64 ? U32_FULL : later ? 0 : r->size);
    add_u16(b, r->name.n);
    add_u16(b, (r->zip64 ? 20u : 0u) + (has_time_extra(r) ? EXTRA_TIME_BYTES : 0u));
    buf_add(b, r->name);
    if (r->zip64) {
        add_u16(b, EXTRA_64);
        add_u16(b, 16);
        add_u64(b, 0);
        add_u64(b, 0);
    }
    add_time_extra(b, r);
}

static void add_descriptor(struct zip *z, const struct record *r)
{
    void (*add_size)(struct buf * b, uint64_t v) = r->zip64 ? add_u64 : add_u32;
    add_u32(&z->out, DESCRIPTOR_MARK);
    add_u32(&z->out, r->crc);
    add_size(&z->out, r->packed);
    add_size(&z->out, r->size);
}

static void add_central(struct zip *z, const struct record *r)
{
    struct buf *b = &z->directory;
    const uint64_t wide[] = {r->size, r->packed, r->offset};
    size_t wide_n = 0;
    for (size_t i = 0; i < ARRAY_LEN(wide); i++)
        wide_n += wide[i] >= U32_FULL;
    bool zip64 = r->zip64 || wide_n > 0;
    add_u32(b, CENTRAL_MARK);
    add_u16(b, MADE_BY_UNIX | (zip64 ? VERSION_64 : VERSION_PLAIN));
    add_common(b, r, zip64);
    add_u32(b, r->crc);
    add_u32_or_full(b, r->packed);
    add_u32_or_full(b, r->size);
    add_u16(b, r->name.n);
    add_u16(b, (wide_n ? 4 + 8 * wide_n : 0) + (has_time_extra(r) ? EXTRA_TIME_BYTES : 0));
    add_u16(b, 0); /* no comment, one disk, not known to be text */
    add_u16(b, 0);
    add_u16(b, 0);
    add_u32(b, (uint64_t)r->mode << 16 | (S_ISDIR(r->mode) ? DOS_DIRECTORY : 0));
    add_u32_or_full(b, r->offset);
    buf_add(b, r->name);
    if (wide_n) {
        add_u16(b, EXTRA_64);
        add_u16(b, 8 * wide_n);
        for (size_t i = 0; i < ARRAY_LEN(wide); i++)
            if (wide[i] >= U32_FULL)
                add_u64(b, wide[i]);
    }
    add_time_extra(b, r);
}

/* ---- entries ---- */

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return false;
    return true;
}

static struct record record_of(const struct zip *z, const struct zip_entry *entry)
{
    struct str name = str_sub(entry->name, 0, ZIP_NAME_MAX);
    return (struct record){
        .name = name,
        .mode = entry->mode & 0xFFFF,
        .flags = !is_ascii(name) && utf8_valid(name) ? FLAG_UTF8 : 0,
        .time_s = entry->time_s,
        .offset = position(z),
    };
}

bool zip_add(struct zip *z, const struct zip_entry *entry, struct str content)
{
    struct record r = record_of(z, entry);
    if (z->failed)
        return false;
    r.method = METHOD_STORED;
    r.crc = (uint32_t)crc32_z(0, (const unsigned char *)content.p, content.n);
    r.packed = r.size = content.n;
    add_local(z, &r);
    buf_add(&z->out, content);
    add_central(z, &r);
    z->count++;
    return flush(z, OUT_FILL);
}

bool zip_begin(struct zip *z, const struct zip_entry *entry)
{
    if (z->failed)
        return false;
    if (!z->deflating &&
        deflateInit2(&z->deflate, LEVEL, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort(); /* out of memory, or another library than the one compiled for */
    z->deflating = true;
    deflateReset(&z->deflate);
    z->now = record_of(z, entry);
    buf_clear(&z->name);
    buf_add(&z->name, z->now.name);
    z->now.name = buf_str(&z->name);
    z->now.method = METHOD_DEFLATED;
    z->now.flags |= FLAG_DESCRIPTOR;
    z->now.zip64 = entry->most >= ZIP64_FROM;
    z->left = entry->most;
    add_local(z, &z->now);
    z->count++;
    return flush(z, OUT_FILL);
}

/* What deflate has been given, into the archive. */
static bool pack(struct zip *z, int how)
{
    int rc;
    do {
        z->deflate.next_out = (unsigned char *)buf_reserve(&z->out, OUT_ROOM);
        z->deflate.avail_out = OUT_ROOM;
        rc = deflate(&z->deflate, how);
        size_t n = OUT_ROOM - z->deflate.avail_out;
        z->out.n += n;
        z->now.packed += n;
        if (!flush(z, OUT_FILL))
            return false;
    } while (how == Z_FINISH ? rc == Z_OK : z->deflate.avail_out == 0);
    return true;
}

bool zip_data(struct zip *z, struct str data)
{
    data = str_sub(data, 0, z->left < data.n ? (size_t)z->left : data.n);
    z->left -= data.n;
    while (data.n > 0 && !z->failed) {
        struct str piece = str_sub(data, 0, INPUT_MAX);
        const unsigned char *p = (const unsigned char *)piece.p;
        data = str_sub(data, piece.n, data.n);
        z->now.crc = (uint32_t)crc32_z(z->now.crc, p, piece.n);
        z->now.size += piece.n;
        z->deflate.next_in = p;
        z->deflate.avail_in = (unsigned)piece.n;
        pack(z, Z_NO_FLUSH);
    }
    return !z->failed;
}

bool zip_finish(struct zip *z)
{
    z->deflate.avail_in = 0;
    if (z->failed || !pack(z, Z_FINISH))
        return false;
    add_descriptor(z, &z->now);
    add_central(z, &z->now);
    return flush(z, OUT_FILL);
}

/* ---- the archive ---- */

struct zip *zip_new(bool (*write)(void *arg, struct str data), void *arg, uint64_t at)
{
    struct zip *z = xcalloc(1, sizeof(*z));
    z->write = write;
    z->arg = arg;
    z->at = at;
    return z;
}

void zip_free(struct zip *z)
{
    if (!z)
        return;
    if (z->deflating)
        deflateEnd(&z->deflate);
    buf_deinit(&z->out);
    buf_deinit(&z->directory);
    buf_deinit(&z->name);
    free(z);
}

static void add_end64(struct buf *b, uint64_t count, uint64_t bytes, uint64_t offset)
{
    add_u32(b, END64_MARK);
    add_u64(b, END64_REST);
    add_u16(b, MADE_BY_UNIX | VERSION_64);
    add_u16(b, VERSION_64);
    add_u32(b, 0);
    add_u32(b, 0);
    add_u64(b, count);
    add_u64(b, count);
    add_u64(b, bytes);
    add_u64(b, offset);
    add_u32(b, LOCATOR64_MARK);
    add_u32(b, 0);
    add_u64(b, offset + bytes);
    add_u32(b, 1);
}

bool zip_end(struct zip *z, struct str comment)
{
    uint64_t offset = position(z), bytes = z->directory.n;
    comment = str_sub(comment, 0, ZIP_COMMENT_MAX);
    if (!flush(z, 0))
        return false;
    for (struct str rest = buf_str(&z->directory); rest.n > 0 && !z->failed;
         rest = str_sub(rest, OUT_FILL, rest.n)) {
        buf_add(&z->out, str_sub(rest, 0, OUT_FILL));
        flush(z, 0);
    }
    if (z->count >= U16_FULL || bytes >= U32_FULL || offset >= U32_FULL)
        add_end64(&z->out, z->count, bytes, offset);
    uint64_t count = z->count < U16_FULL ? z->count : U16_FULL;
    add_u32(&z->out, END_MARK);
    add_u32(&z->out, 0);
    add_u16(&z->out, count);
    add_u16(&z->out, count);
    add_u32_or_full(&z->out, bytes);
    add_u32_or_full(&z->out, offset);
    add_u16(&z->out, comment.n);
    buf_add(&z->out, comment);
    return flush(z, 0);
}

uint64_t zip_count(const struct zip *z)
{
    return z->count;
}

size_t zip_directory_bytes(const struct zip *z)
{
    return z->directory.n;
}
