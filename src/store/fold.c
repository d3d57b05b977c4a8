#include "store/backend.h"
#include "base/utf8.h"

/* Upper-case letters from `first` to `last`. `step` 0: alternating pairs, upper case where (code & 1) == `odd`; else the
 * distance to the lower-case letter. Written from the Unicode character tables; locale functions are not used, so that
 * a database means the same everywhere. */
struct range {
    uint16_t first, last, step;
    uint8_t odd;
};

static const struct range ranges[] = {
    {0x00C0, 0x00D6, 32, 0}, {0x00D8, 0x00DE, 32, 0}, {0x0100, 0x012F, 0, 0},  {0x0132, 0x0137, 0, 0},
    {0x0139, 0x0148, 0, 1},  {0x014A, 0x0177, 0, 0},  {0x0179, 0x017E, 0, 1},  {0x01CD, 0x01DC, 0, 1},
    {0x01DE, 0x01EF, 0, 0},  {0x01F8, 0x021F, 0, 0},  {0x0222, 0x0233, 0, 0},  {0x0386, 0x0386, 38, 0},
    {0x0388, 0x038A, 37, 0}, {0x038C, 0x038C, 64, 0}, {0x038E, 0x038F, 63, 0}, {0x0391, 0x03A1, 32, 0},
    {0x03A3, 0x03AB, 32, 0}, {0x0400, 0x040F, 80, 0}, {0x0410, 0x042F, 32, 0}, {0x0460, 0x0481, 0, 0},
    {0x048A, 0x04BF, 0, 0},  {0x04C1, 0x04CE, 0, 1},  {0x04D0, 0x052F, 0, 0},  {0x0531, 0x0556, 48, 0},
    {0x1E00, 0x1E95, 0, 0},  {0x1EA0, 0x1EFF, 0, 0},  {0xFF21, 0xFF3A, 32, 0},
};

static uint32_t fold_code(uint32_t code)
{
    if (code == 0x0178) /* Y with diaeresis is far from its small form */
        return 0x00FF;
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]) && ranges[i].first <= code; i++) {
        const struct range *r = &ranges[i];
        if (code > r->last)
            continue;
        if (r->step)
            return code + r->step;
        return (code & 1) == r->odd ? code + 1 : code;
    }
    return code;
}

void fold_text(struct buf *out, struct str s)
{
    while (s.n > 0) {
        unsigned char c = (unsigned char)s.p[0];
        if (c < 0x80) {
            buf_add_char(out, (char)(c >= 'A' && c <= 'Z' ? c + 32 : c));
            s = str_sub(s, 1, s.n);
            continue;
        }
        uint32_t code;
        unsigned n = utf8_next(s, &code);
        uint32_t folded = fold_code(code);
        /* A bad byte stays what it is, so that a search for it still finds it. */
        if (folded == code)
            buf_add(out, str_sub(s, 0, n));
        else
            utf8_add(out, folded);
        s = str_sub(s, n, s.n);
    }
}
