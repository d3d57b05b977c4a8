/* multipart: any bytes in any pieces give the same parts as in one piece. The first byte is the size of the pieces; the
 * first line behind it is the Content-Type. */
#include <stdint.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "net/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool on_part(void *arg, const struct multipart_part *part)
{
    buf_addf(arg, "[%zu %zu %zu ", part->name.n, part->file_name.n, part->content_type.n);
    buf_add(arg, part->name);
    buf_add(arg, part->file_name);
    buf_add(arg, part->content_type);
    return part->name.n != 99;
}

static bool on_data(void *arg, struct str data)
{
    if (data.n == 0)
        abort();
    buf_add(arg, data);
    return true;
}

static bool on_part_end(void *arg)
{
    buf_add(arg, STR("]"));
    return true;
}

static const struct multipart_callbacks callbacks = {on_part, on_data, on_part_end};

static bool run(struct str type, struct str input, size_t piece, struct buf *log)
{
    struct multipart m;
    bool ok = multipart_init(&m, type, &callbacks, log, NULL);
    for (size_t at = 0; ok && at < input.n; at += piece)
        ok = multipart_feed(&m, str_sub(input, at, at + piece), NULL);
    ok = ok && multipart_end(&m, NULL);
    multipart_deinit(&m);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct str input = str_make(data + 1, size - 1), type;
    str_split(&input, '\n', &type);
    autobuf pieces = {0}, whole = {0};
    bool ok = run(type, input, 1 + data[0] % 64, &pieces);
    if (ok != run(type, input, input.n + 1, &whole))
        abort();
    if (ok && !str_eq(buf_str(&pieces), buf_str(&whole)))
        abort();
    return 0;
}
