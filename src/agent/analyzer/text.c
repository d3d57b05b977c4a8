/* Plain text from text that hides something: what is read is what would be run. */
#include "agent/analyzer/analyzer.h"
#include "agent/internal.h"
#include "base/utf8.h"

struct range {
    uint32_t first, last;
};

/* Characters that are not seen: zero width, format, direction, variation, tags, controls. */
static const struct range invisible[] = {
    {0x0001, 0x0008}, {0x000E, 0x001F}, {0x007F, 0x0084}, {0x0086, 0x009F},   {0x00AD, 0x00AD},
    {0x034F, 0x034F}, {0x061C, 0x061C}, {0x115F, 0x1160}, {0x180B, 0x180F},   {0x200B, 0x200F},
    {0x202A, 0x202E}, {0x2060, 0x206F}, {0x2800, 0x2800}, {0x3164, 0x3164},   {0xFE00, 0xFE0F},
    {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xFFF9, 0xFFFC}, {0xE0000, 0xE007F}, {0xE0100, 0xE01EF},
};

static const struct range spaces[] = {
    {0x0009, 0x0009}, {0x000B, 0x000C}, {0x0020, 0x0020}, {0x00A0, 0x00A0}, {0x1680, 0x1680},
    {0x2000, 0x200A}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000},
};

static const struct range newlines[] = {
    {0x000A, 0x000A}, {0x000D, 0x000D}, {0x0085, 0x0085}, {0x2028, 0x2029}};

/* Rows of look-alikes that Unicode folds into ASCII (NFKC): each is a run of `count` characters from `plain`, repeated. */
static const struct {
    uint32_t first, last;
    char plain;
    uint32_t count;
} folded[] = {
    {0xFF01, 0xFF5E, '!', 94}, {0x1D7CE, 0x1D7FF, '0', 10}, {0x24B6, 0x24CF, 'A', 26},
    {0x24D0, 0x24E9, 'a', 26}, {0x2460, 0x2468, '1', 9},    {0x2080, 0x2089, '0', 10},
    {0x2074, 0x2079, '4', 6},
};

static const struct {
    uint32_t from;
    const char *to;
} single[] = {
    {0x210A, "g"},  {0x210B, "H"},   {0x210C, "H"},  {0x210D, "H"},   {0x210E, "h"},   {0x2110, "I"},
    {0x2111, "I"},  {0x2112, "L"},   {0x2113, "l"},  {0x2115, "N"},   {0x2119, "P"},   {0x211A, "Q"},
    {0x211B, "R"},  {0x211C, "R"},   {0x211D, "R"},  {0x2124, "Z"},   {0x2128, "Z"},   {0x212A, "K"},
    {0x212C, "B"},  {0x212D, "C"},   {0x212F, "e"},  {0x2130, "E"},   {0x2131, "F"},   {0x2133, "M"},
    {0x2134, "o"},  {0x2139, "i"},   {0x2102, "C"},  {0x216C, "L"},   {0x216D, "C"},   {0x216E, "D"},
    {0x216F, "M"},  {0x2160, "I"},   {0x2164, "V"},  {0x2169, "X"},   {0x2170, "i"},   {0x2174, "v"},
    {0x2179, "x"},  {0x217C, "l"},   {0x217D, "c"},  {0x217E, "d"},   {0x217F, "m"},   {0x017F, "s"},
    {0xFB00, "ff"}, {0xFB01, "fi"},  {0xFB02, "fl"}, {0xFB03, "ffi"}, {0xFB04, "ffl"}, {0xFE50, ","},
    {0xFE54, ";"},  {0xFE5B, "{"},   {0xFE5C, "}"},  {0xFE60, "&"},   {0xFE63, "-"},   {0xFE68, "\\"},
    {0xFE69, "$"},  {0x00B2, "2"},   {0x00B3, "3"},  {0x00B9, "1"},   {0x2070, "0"},   {0x2024, "."},
    {0x2025, ".."}, {0x2026, "..."},
};

/* Mathematical alphabets: 26 capitals and 26 small letters, thirteen times. */
#define MATH_FIRST 0x1D400
#define MATH_LAST 0x1D6A3

static bool in_ranges(const struct range *ranges, size_t n, uint32_t c)
{
    for (size_t i = 0; i < n; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

static bool fold(uint32_t c, struct buf *out)
{
    if (c >= MATH_FIRST && c <= MATH_LAST) {
        uint32_t letter = (c - MATH_FIRST) % 52;
        buf_add_char(out, (char)(letter < 26 ? 'A' + letter : 'a' + letter - 26));
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(folded); i++)
        if (c >= folded[i].first && c <= folded[i].last) {
            buf_add_char(out, (char)((uint32_t)folded[i].plain + (c - folded[i].first) % folded[i].count));
            return true;
        }
    for (size_t i = 0; i < ARRAY_LEN(single); i++)
        if (c == single[i].from) {
            buf_add_cstr(out, single[i].to);
            return true;
        }
    return false;
}

/* One space for any number; a newline among them stays one. */
static void space_add(struct buf *out, bool newline)
{
    char last = out->n > 0 ? out->p[out->n - 1] : '\n';
    if (newline && last == ' ')
        out->p[out->n - 1] = '\n';
    else if (last != ' ' && last != '\n')
        buf_add_char(out, newline ? '\n' : ' ');
}

static void plain_add(struct str text, struct buf *out)
{
    while (text.n > 0) {
        uint32_t c;
        unsigned n = utf8_next(text, &c);
        if (n == 0) { /* what is no UTF-8 is kept as it is: it hides nothing */
            buf_add_char(out, text.p[0]);
            n = 1;
        } else if (c > ' ' && c < 0x7F) {
            buf_add_char(out, (char)c);
        } else if (in_ranges(newlines, ARRAY_LEN(newlines), c)) {
            space_add(out, true);
        } else if (in_ranges(spaces, ARRAY_LEN(spaces), c)) {
            space_add(out, false);
        } else if (c != 0 && !in_ranges(invisible, ARRAY_LEN(invisible), c) && !fold(c, out)) {
            buf_add(out, str_sub(text, 0, n));
        }
        text = str_sub(text, n, text.n);
    }
}

void analyzer_normalize(struct str text, struct buf *out)
{
    /* A backslash at a line's end joins it with the next one. */
    while (text.n > 0) {
        ssize_t slash = str_find_char(text, '\\');
        size_t end = slash < 0 ? text.n : (size_t)slash, skip = 0;
        plain_add(str_sub(text, 0, end), out);
        text = str_sub(text, end, text.n);
        if (text.n == 0)
            break;
        if (text.n >= 2 && text.p[1] == '\n')
            skip = 2;
        else if (text.n >= 3 && text.p[1] == '\r' && text.p[2] == '\n')
            skip = 3;
        if (skip == 0)
            buf_add_char(out, '\\');
        text = str_sub(text, skip ? skip : 1, text.n);
    }
}
