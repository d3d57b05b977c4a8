/* A stream of frames from a client. The same bytes must give the same messages however they are cut into pieces. */
#include "base/utf8.h"
#include "base/cleanup.h"
#include "net/websocket.h"
#include <stdlib.h>

#define MESSAGE_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void events_write(struct str data, size_t step, struct buf *out)
{
    struct ws_reader reader;
    struct ws_event event = {0};
    ws_reader_init(&reader, MESSAGE_MAX);
    for (size_t at = 0; at < data.n && event.kind != WS_EVENT_ERROR;) {
        size_t n = data.n - at < step ? data.n - at : step, used = 0;
        char *piece = malloc(n);
        memcpy(piece, data.p + at, n);
        do {
            used += ws_read(&reader, piece + used, n - used, &event);
            if (used > n || event.payload.n > MESSAGE_MAX)
                abort();
            if (event.kind == WS_EVENT_MESSAGE && !utf8_valid(event.payload))
                abort();
            if (event.kind != WS_EVENT_MORE) {
                buf_addf(out, "%d %d ", (int)event.kind, event.code);
                buf_add(out, event.payload);
            }
        } while (event.kind != WS_EVENT_MORE && event.kind != WS_EVENT_ERROR);
        free(piece);
        at += n;
    }
    ws_reader_deinit(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 32 * 1024)
        return 0;
    autobuf whole = {0}, pieces = {0}, accept = {0};
    struct str frames = str_make(data + 1, size - 1);
    events_write(frames, frames.n, &whole);
    events_write(frames, data[0] % 64 + 1, &pieces);
    if (!str_eq(buf_str(&whole), buf_str(&pieces)))
        abort();
    ws_accept_write(&accept, frames);
    return 0;
}
