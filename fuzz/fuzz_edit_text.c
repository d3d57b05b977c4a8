/* edit_text: what the editor makes of a file's bytes. A text that is not changed has to come back as it was. */
#include "base/utf8.h"
#include "hand/edit/edit.h"
#include <stdint.h>
#include <stdlib.h>

static void require(bool what)
{
    if (!what)
        abort();
}

static void check_lines(struct str text, size_t at)
{
    struct buf numbered = {0}, clipped = {0};
    size_t lines = text_lines(text), offset = text_line_offset(text, at + 1);
    require(offset <= text.n && (offset == text.n || text_line_at(text, offset) == at + 1));
    require(text_line_offset(text, lines + 2) == text.n);
    text_number(&numbered, text, at + 1);
    text_clip(&clipped, buf_str(&numbered), at);
    require(utf8_valid(buf_str(&clipped)));
    buf_deinit(&numbered);
    buf_deinit(&clipped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_make(data, size);
    struct buf text = {0}, back = {0};
    enum encoding encoding;
    if (text_decode(bytes, &text, &encoding)) {
        require(utf8_valid(buf_str(&text)));
        text_encode(buf_str(&text), encoding, &back);
        require(str_find_char(bytes, '\r') >= 0 || str_eq(buf_str(&back), bytes));
        check_lines(buf_str(&text), size ? data[size - 1] : 0);
        buf_clear(&back);
        buf_add(&text, STR("\xe2\x98\x95"));
        text_encode(buf_str(&text), encoding, &back);
        require(back.n > 0);
    }
    buf_deinit(&text);
    buf_deinit(&back);
    return 0;
}
