/* A stranger's bytes through the frame reader: whole and in two pieces they must give the same frames, fields never
 * reach outside their payload, and what was read can be built again bit by bit. */
#include "base/cleanup.h"
#include "wire/wire.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void use_fields(struct str payload)
{
    struct wire_fields f = {payload};
    enum wire_field tag;
    struct str value;
    size_t sum = 0;
    autobuf again = {0};
    while (wire_fields_next(&f, &tag, &value, NULL)) {
        check(value.p >= payload.p && value.p + value.n <= payload.p + payload.n);
        sum += value.n + 6;
        wire_add_str(&again, tag, value);
    }
    check(wire_fields_valid(payload) == (sum == payload.n));
    check(str_eq(buf_str(&again), str_sub(payload, 0, sum)));
    (void)wire_get_int(payload, F_OP, 0);
    (void)wire_has(payload, F_KEY);
}

/* Writes a frame again as it was read. */
static void rebuild(struct buf *out, const struct wire_frame *f)
{
    size_t at = out->n;
    if (f->type == WIRE_DATA)
        wire_add_data(out, f->call, (enum wire_stream)f->flags, f->payload);
    else if (f->type == WIRE_END)
        wire_add_end(out, f->call, (enum wire_stream)f->flags);
    else if (f->type == WIRE_CREDIT)
        wire_add_credit(out, f->call, (enum wire_stream)f->flags, wire_credit_bytes(f));
    else if (f->type == WIRE_CANCEL || f->type == WIRE_PING || f->type == WIRE_PONG)
        wire_add_control(out, f->type, f->call);
    else
        wire_add_message(out, f->type, f->call, f->payload);
    if (f->flags & WIRE_MORE)
        out->p[at + 5] = (char)WIRE_MORE;
}

/* Feeds in pieces of `step`; adds the frames to `out`. True if an error ended it. */
static bool read_all(struct str in, size_t step, struct buf *out)
{
    struct wire_reader r = {0};
    struct wire_frame f;
    autoerr e = NULL;
    for (size_t at = 0; at < in.n && !e; at += step) {
        wire_reader_feed(&r, str_sub(in, at, at + step));
        while (wire_reader_next(&r, &f, &e)) {
            check(f.payload.n <= WIRE_PAYLOAD_MAX);
            use_fields(f.payload);
            rebuild(out, &f);
        }
    }
    wire_reader_deinit(&r);
    return e != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    autobuf in = {0}, whole = {0}, pieces = {0};
    if (n == 0)
        return 0;
    /* The first byte chooses the size of the pieces and whether the magic is there already. */
    if (data[0] & 1)
        buf_add(&in, str_make(WIRE_MAGIC, WIRE_MAGIC_LEN));
    buf_add_bytes(&in, data + 1, n - 1);
    bool failed = read_all(buf_str(&in), in.n ? in.n : 1, &whole);
    check(read_all(buf_str(&in), 1 + data[0] / 2, &pieces) == failed);
    check(str_eq(buf_str(&whole), buf_str(&pieces)));
    if (data[0] & 1)
        check(str_eq(buf_str(&whole), str_sub(buf_str(&in), WIRE_MAGIC_LEN, WIRE_MAGIC_LEN + whole.n)));
    return 0;
}
