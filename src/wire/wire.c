#include "wire/wire.h"
#include <assert.h>
#include <stdlib.h>

#define FIELD_HEADER 6 /* u16 tag, u32 length */

/* A frame larger than this lets nobody else speak for a while, so messages are cut before the hard limit only. */
static_assert(WIRE_PAYLOAD_MAX + 8 == WIRE_FRAME_MAX, "the length counts type, flags, zero and call");

static void put_u16(struct buf *out, unsigned v)
{
    unsigned char b[2] = {(unsigned char)v, (unsigned char)(v >> 8)};
    buf_add_bytes(out, b, sizeof(b));
}

static void put_u32(struct buf *out, uint32_t v)
{
    unsigned char b[4] = {(unsigned char)v, (unsigned char)(v >> 8), (unsigned char)(v >> 16),
                          (unsigned char)(v >> 24)};
    buf_add_bytes(out, b, sizeof(b));
}

static unsigned get_u16(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (unsigned)b[0] | (unsigned)b[1] << 8;
}

static uint32_t get_u32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* --- building ------------------------------------------------------------------------------- */

void wire_add_str(struct buf *fields, enum wire_field tag, struct str value)
{
    /* Cut, it still is more than a message may have with the header, so that no part of it is ever sent. */
    value = str_sub(value, 0, WIRE_MESSAGE_MAX);
    put_u16(fields, tag);
    put_u32(fields, (uint32_t)value.n);
    buf_add(fields, value);
}

void wire_add_int(struct buf *fields, enum wire_field tag, int64_t value)
{
    put_u16(fields, tag);
    put_u32(fields, 8);
    put_u32(fields, (uint32_t)(uint64_t)value);
    put_u32(fields, (uint32_t)((uint64_t)value >> 32));
}

static void add_frame(struct buf *out, enum wire_type type, unsigned flags, uint32_t call, struct str payload)
{
    assert(payload.n <= WIRE_PAYLOAD_MAX);
    put_u32(out, (uint32_t)payload.n + 8);
    buf_add_char(out, (char)type);
    buf_add_char(out, (char)flags);
    put_u16(out, 0);
    put_u32(out, call);
    buf_add(out, payload);
}

bool wire_add_message(struct buf *out, enum wire_type type, uint32_t call, struct str fields)
{
    bool may_split = type == WIRE_CALL || type == WIRE_RESULT;
    if (fields.n > (may_split ? WIRE_MESSAGE_MAX : WIRE_PAYLOAD_MAX))
        return false;
    while (may_split && fields.n > WIRE_PAYLOAD_MAX) {
        add_frame(out, type, WIRE_MORE, call, str_make(fields.p, WIRE_PAYLOAD_MAX));
        fields.p += WIRE_PAYLOAD_MAX;
        fields.n -= WIRE_PAYLOAD_MAX;
    }
    add_frame(out, type, 0, call, fields);
    return true;
}

void wire_add_data(struct buf *out, uint32_t call, enum wire_stream stream, struct str data)
{
    add_frame(out, WIRE_DATA, stream, call, data);
}

void wire_add_end(struct buf *out, uint32_t call, enum wire_stream stream)
{
    add_frame(out, WIRE_END, stream, call, STR_NONE);
}

void wire_add_credit(struct buf *out, uint32_t call, enum wire_stream stream, uint32_t bytes)
{
    char b[4] = {(char)bytes, (char)(bytes >> 8), (char)(bytes >> 16), (char)(bytes >> 24)};
    add_frame(out, WIRE_CREDIT, stream, call, str_make(b, sizeof(b)));
}

void wire_add_control(struct buf *out, enum wire_type type, uint32_t call)
{
    add_frame(out, type, 0, call, STR_NONE);
}

uint32_t wire_credit_bytes(const struct wire_frame *frame)
{
    assert(frame->type == WIRE_CREDIT && frame->payload.n == 4);
    return get_u32(frame->payload.p);
}

/* --- reading frames ------------------------------------------------------------------------- */

void wire_reader_deinit(struct wire_reader *r)
{
    buf_deinit(&r->in);
    *r = (struct wire_reader){0};
}

void wire_reader_feed(struct wire_reader *r, struct str data)
{
    if (r->consumed) {
        buf_consume(&r->in, r->consumed);
        r->consumed = 0;
    }
    buf_add(&r->in, data);
}

/* Skips what a login shell or ssh prints before the program starts. */
static bool reader_sync(struct wire_reader *r, struct err **e)
{
    struct str in = str_make(r->in.p + r->consumed, r->in.n - r->consumed);
    const char *magic = in.n ? memmem(in.p, in.n, WIRE_MAGIC, WIRE_MAGIC_LEN) : NULL;
    size_t skip = 0;
    if (magic)
        skip = (size_t)(magic - in.p);
    else if (in.n >= WIRE_MAGIC_LEN)
        skip = in.n - (WIRE_MAGIC_LEN - 1); /* the rest may be the magic's beginning */
    r->skipped += skip;
    r->consumed += skip;
    if (r->skipped > WIRE_BANNER_MAX)
        return err_set(e, ERR_INVALID, "more than %d bytes came before the protocol's magic",
                       WIRE_BANNER_MAX);
    if (!magic)
        return false;
    r->consumed += WIRE_MAGIC_LEN;
    r->synced = true;
    return true;
}

/* What each type allows, so that the two ends need not check it again. */
static bool frame_valid(const struct wire_frame *f, struct err **e)
{
    bool ok = false;
    bool stream = f->flags <= WIRE_STDERR && f->call != 0;
    switch (f->type) {
    case WIRE_HELLO: ok = f->flags == 0 && f->call == 0; break;
    case WIRE_CALL:
    case WIRE_RESULT: ok = (f->flags & ~(unsigned)WIRE_MORE) == 0 && f->call != 0; break;
    case WIRE_DATA: ok = stream; break;
    case WIRE_END: ok = stream && f->payload.n == 0; break;
    case WIRE_CREDIT: ok = stream && f->payload.n == 4; break;
    case WIRE_CANCEL: ok = f->flags == 0 && f->call != 0 && f->payload.n == 0; break;
    case WIRE_NOTE: ok = f->flags == 0; break;
    case WIRE_PING:
    case WIRE_PONG: ok = f->flags == 0 && f->call == 0 && f->payload.n == 0; break;
    }
    if (!ok)
        return err_set(e, ERR_INVALID, "malformed frame: type %d, flags %u, call %u, %zu bytes", (int)f->type,
                       f->flags, f->call, f->payload.n);
    return true;
}

bool wire_reader_next(struct wire_reader *r, struct wire_frame *frame, struct err **e)
{
    if (!r->synced && !reader_sync(r, e))
        return false;
    size_t left = r->in.n - r->consumed;
    if (left < 4)
        return false;
    const char *p = r->in.p + r->consumed;
    uint32_t length = get_u32(p);
    if (length < WIRE_HEADER - 4 || length > WIRE_FRAME_MAX)
        return err_set(e, ERR_INVALID, "a frame of %u bytes; %d to %d are allowed", length, WIRE_HEADER - 4,
                       WIRE_FRAME_MAX);
    if (left < 4 + (size_t)length)
        return false;
    struct wire_frame f = {
        .type = (enum wire_type)(unsigned char)p[4],
        .flags = (unsigned char)p[5],
        .call = get_u32(p + 8),
        .payload = {p + WIRE_HEADER, length - (WIRE_HEADER - 4)},
    };
    if (get_u16(p + 6) != 0)
        return err_set(e, ERR_INVALID, "malformed frame: a reserved field is not zero");
    if (!frame_valid(&f, e))
        return false;
    r->consumed += 4 + (size_t)length;
    *frame = f;
    return true;
}

/* --- reading fields ------------------------------------------------------------------------- */

bool wire_fields_next(struct wire_fields *f, enum wire_field *tag, struct str *value, struct err **e)
{
    if (f->rest.n == 0)
        return false;
    if (f->rest.n < FIELD_HEADER)
        return err_set(e, ERR_INVALID, "a field is cut off");
    uint32_t length = get_u32(f->rest.p + 2);
    if (length > f->rest.n - FIELD_HEADER)
        return err_set(e, ERR_INVALID, "a field of %u bytes is cut off", length);
    *tag = (enum wire_field)get_u16(f->rest.p);
    *value = str_make(f->rest.p + FIELD_HEADER, length);
    f->rest.p += FIELD_HEADER + (size_t)length;
    f->rest.n -= FIELD_HEADER + (size_t)length;
    return true;
}

bool wire_fields_valid(struct str fields)
{
    struct wire_fields f = {fields};
    enum wire_field tag;
    struct str value;
    while (wire_fields_next(&f, &tag, &value, NULL))
        ;
    return f.rest.n == 0; /* a cut-off field is left where it stands */
}

struct str wire_get_str(struct str fields, enum wire_field tag)
{
    struct wire_fields f = {fields};
    enum wire_field found = (enum wire_field)0;
    struct str value = STR_NONE;
    while (wire_fields_next(&f, &found, &value, NULL))
        if (found == tag)
            return value;
    return STR_NONE;
}

int64_t wire_get_int(struct str fields, enum wire_field tag, int64_t otherwise)
{
    struct str value = wire_get_str(fields, tag);
    if (value.n != 8)
        return otherwise;
    return (int64_t)((uint64_t)get_u32(value.p) | (uint64_t)get_u32(value.p + 4) << 32);
}

enum wire_status wire_get_status(struct str fields)
{
    int64_t status = wire_get_int(fields, F_STATUS, WIRE_STATUSES);
    return status >= 0 && status < WIRE_STATUSES ? (enum wire_status)status : WIRE_STATUSES;
}

bool wire_has(struct str fields, enum wire_field tag)
{
    return wire_get_str(fields, tag).p != NULL;
}
