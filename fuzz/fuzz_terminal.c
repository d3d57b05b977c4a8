/* What comes out of a terminal: any bytes, cut anywhere, must become bounded, valid UTF-8 without control characters. */
#include "base/utf8.h"
#include "hand/terminal/vt.h"
#include <stdlib.h>

#define NONCE "0123456789abcdef0123456789abcdef"
#define OUTPUT_MAX (KEEP_HEAD + KEEP_TAIL + 8)

struct seen {
    struct screen *screen;
    unsigned marks;
};

static void check(struct str text)
{
    if (!utf8_valid(text) || text.n > OUTPUT_MAX)
        abort();
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < 0x20 && text.p[i] != '\n' && text.p[i] != '\t')
            abort();
}

static void take(struct screen *screen)
{
    struct output out = {0};
    screen_take(screen, &out);
    check(buf_str(&out.head));
    check(buf_str(&out.tail));
    output_deinit(&out);
}

static void on_mark(void *arg, char kind, struct str body)
{
    struct seen *seen = arg;
    seen->marks++;
    if (body.n > 64 * 1024)
        abort();
    if (kind == 'T')
        take(seen->screen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct seen seen = {screen_new(), 0};
    struct vt *vt = vt_new(seen.screen, NONCE, on_mark, &seen);
    struct str rest = str_make(data + 1, size - 1);
    size_t piece = data[0] ? data[0] : rest.n + 1;
    while (rest.n) {
        struct str now = str_sub(rest, 0, piece);
        vt_feed(vt, now);
        rest = str_sub(rest, now.n, rest.n);
    }
    take(seen.screen);
    vt_feed(vt, STR("\033[2Jafter\033]6973;" NONCE ";E0;" NONCE "\a"));
    vt_flush(vt);
    take(seen.screen);
    vt_free(vt);
    screen_free(seen.screen);
    return 0;
}
