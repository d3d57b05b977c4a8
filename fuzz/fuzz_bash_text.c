/* What a command says, on its way into JSON: in whatever pieces it comes, the text is the same, and JSON. */
#include "bash/internal.h"
#include "base/utf8.h"
#include "json/json.h"
#include <stdlib.h>

static void require(bool what)
{
    if (!what)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte says how large the pieces are. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t step = size > 0 ? data[0] % 7 + 1 : 1;
    struct str all = size > 0 ? str_make(data + 1, size - 1) : STR("");
    struct text t = {0};
    autobuf whole = {0}, pieces = {0}, clean = {0}, quoted = {0};
    text_piece(&t, all, &whole);
    text_end(&t, &whole);
    for (size_t at = 0; at < all.n; at += step) {
        size_t before = pieces.n, held = t.held_n;
        struct str piece = str_sub(all, at, at + step);
        text_piece(&t, piece, &pieces);
        require(t.held_n < sizeof(t.held));
        require(pieces.n - before <= 6 * (held + piece.n));
    }
    text_end(&t, &pieces);
    require(str_eq(buf_str(&pieces), buf_str(&whole)));
    utf8_scrub(&clean, all);
    buf_addf(&quoted, "\"%.*s\"", STR_ARG(buf_str(&whole)));
    autojson doc = json_parse(buf_str(&quoted), NULL, NULL);
    require(doc && str_eq(json_str(json_root(doc)), buf_str(&clean)));
    return 0;
}
