/* sse: any bytes in any pieces give the same events as in one piece, within the limit. The first byte is the size of
 * the pieces. */
#include <stdint.h>
#include <stdlib.h>
#include "net/sse.h"

#define DATA_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool on_event(void *arg, struct str event, struct str data)
{
    struct buf *log = arg;
    if (data.n > DATA_MAX)
        abort();
    buf_addf(log, "%zu %zu ", event.n, data.n);
    buf_add(log, event);
    buf_add(log, data);
    return true;
}

static bool run(struct str input, size_t piece, struct buf *log)
{
    struct sse s = {.data_max = DATA_MAX};
    bool ok = true;
    for (size_t at = 0; ok && at < input.n; at += piece)
        ok = sse_feed(&s, str_sub(input, at, at + piece), on_event, log, NULL);
    ok = ok && sse_end(&s, on_event, log, NULL);
    sse_deinit(&s);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct str input = str_make(data + 1, size - 1);
    autobuf pieces = {0}, whole = {0};
    bool ok = run(input, 1 + data[0] % 64, &pieces);
    if (ok != run(input, input.n, &whole))
        abort();
    if (ok && !str_eq(buf_str(&pieces), buf_str(&whole)))
        abort();
    return 0;
}
