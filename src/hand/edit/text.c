#include "base/utf8.h"
#include "hand/edit/edit.h"

#define WESTERN_RUN 4 /* characters above ASCII in a row */

/* What CP1252 has at 0x80-0x9f; 0: nothing. */
static const uint16_t cp1252[32] = {
    0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178,
};

/* --- decoding ----------------------------------------------------------------------------------- */

static bool is_text_control(unsigned char c)
{
    return (c >= '\b' && c <= '\r') || c == 0x1b;
}

/* Western texts have single letters above ASCII, seldom three in a row. Where most of them stand in longer runs it is a
 * script of its own, in an encoding of its own. */
static bool is_western(struct str bytes)
{
    size_t all = 0, in_runs = 0, run = 0;
    for (size_t i = 0; i <= bytes.n; i++) {
        if (i < bytes.n && (unsigned char)bytes.p[i] >= 0x80) {
            run++;
            continue;
        }
        all += run;
        in_runs += run >= WESTERN_RUN ? run : 0;
        run = 0;
    }
    return in_runs * 2 <= all;
}

static bool cp1252_decode(struct str bytes, struct buf *out)
{
    if (!is_western(bytes))
        return false;
    for (size_t i = 0; i < bytes.n; i++) {
        unsigned char c = (unsigned char)bytes.p[i];
        uint32_t code_point = c >= 0x80 && c < 0xa0 ? cp1252[c - 0x80] : c;
        if (code_point == 0 || (c < 0x20 && !is_text_control(c)) || c == 0x7f)
            return false;
        utf8_add(out, code_point);
    }
    return true;
}

static unsigned unit(const char *p, bool big)
{
    const unsigned char *b = (const unsigned char *)p;
    return big ? (unsigned)b[0] << 8 | b[1] : (unsigned)b[1] << 8 | b[0];
}

static bool utf16_decode(struct str bytes, bool big, struct buf *out)
{
    if (bytes.n % 2)
        return false;
    for (size_t i = 0; i < bytes.n; i += 2) {
        uint32_t c = unit(bytes.p + i, big);
        if (c >= 0xd800 && c < 0xdc00) {
            uint32_t low = i + 4 <= bytes.n ? unit(bytes.p + i + 2, big) : 0;
            if (low < 0xdc00 || low > 0xdfff)
                return false;
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            i += 2;
        } else if ((c >= 0xdc00 && c < 0xe000) || (c < 0x20 && !is_text_control((unsigned char)c))) {
            return false;
        }
        utf8_add(out, c);
    }
    return true;
}

/* UTF-16 without a mark: nearly every other byte of such a text is zero. */
static bool guess_utf16(struct str bytes, bool *big)
{
    size_t zeros[2] = {0, 0};
    if (bytes.n % 2 || bytes.n < 2)
        return false;
    for (size_t i = 0; i < bytes.n; i++)
        zeros[i % 2] += bytes.p[i] == '\0';
    *big = zeros[0] > zeros[1];
    return zeros[*big ? 0 : 1] > bytes.n / 2 * 7 / 10 && zeros[*big ? 1 : 0] == 0;
}

bool text_decode_exact(struct str bytes, struct buf *out, enum encoding *encoding)
{
    bool big;
    if (str_starts(bytes, STR("\xef\xbb\xbf")) && utf8_valid(bytes) && str_find_char(bytes, '\0') < 0) {
        *encoding = ENC_UTF8_BOM;
        buf_add(out, str_sub(bytes, 3, bytes.n));
        return true;
    }
    if (str_starts(bytes, STR("\xff\xfe")) || str_starts(bytes, STR("\xfe\xff"))) {
        big = bytes.p[0] == '\xfe';
        *encoding = big ? ENC_UTF16_BE : ENC_UTF16_LE;
        return utf16_decode(str_sub(bytes, 2, bytes.n), big, out);
    }
    if (str_find_char(bytes, '\0') >= 0) {
        if (!guess_utf16(bytes, &big))
            return false;
        *encoding = big ? ENC_UTF16_BE_BARE : ENC_UTF16_LE_BARE;
        return utf16_decode(bytes, big, out);
    }
    if (utf8_valid(bytes)) {
        *encoding = ENC_UTF8;
        buf_add(out, bytes);
        return true;
    }
    *encoding = ENC_CP1252;
    return cp1252_decode(bytes, out);
}

static void newlines_unify(struct buf *text)
{
    size_t to = 0;
    for (size_t from = 0; from < text->n; from++)
        if (text->p[from] != '\r' || from + 1 == text->n || text->p[from + 1] != '\n')
            text->p[to++] = text->p[from];
    buf_truncate(text, to);
}

bool text_decode(struct str bytes, struct buf *out, enum encoding *encoding)
{
    if (!text_decode_exact(bytes, out, encoding))
        return false;
    if (str_find_char(bytes, '\r') >= 0)
        newlines_unify(out);
    return true;
}

/* --- encoding ----------------------------------------------------------------------------------- */

static bool cp1252_encode(struct str text, struct buf *out)
{
    uint32_t c;
    for (unsigned n; (n = utf8_next(text, &c)) > 0; text = str_sub(text, n, text.n)) {
        unsigned i = 0;
        if (c >= 0x80 && c < 0xa0)
            return false;
        if (c >= 0x100) {
            while (i < 32 && cp1252[i] != c)
                i++;
            if (i == 32)
                return false;
            c = 0x80 + i;
        }
        buf_add_char(out, (char)c);
    }
    return true;
}

static void utf16_unit(struct buf *out, unsigned value, bool big)
{
    buf_add_char(out, (char)(big ? value >> 8 : value));
    buf_add_char(out, (char)(big ? value : value >> 8));
}

static void utf16_encode(struct str text, bool big, struct buf *out)
{
    uint32_t c;
    for (unsigned n; (n = utf8_next(text, &c)) > 0; text = str_sub(text, n, text.n)) {
        if (c >= 0x10000) {
            utf16_unit(out, 0xd800 + ((c - 0x10000) >> 10), big);
            c = 0xdc00 + ((c - 0x10000) & 0x3ff);
        }
        utf16_unit(out, c, big);
    }
}

void text_encode(struct str text, enum encoding encoding, struct buf *out)
{
    switch (encoding) {
    case ENC_UTF16_LE:
    case ENC_UTF16_BE:
        utf16_unit(out, 0xfeff, encoding == ENC_UTF16_BE);
        utf16_encode(text, encoding == ENC_UTF16_BE, out);
        return;
    case ENC_UTF16_LE_BARE:
    case ENC_UTF16_BE_BARE: utf16_encode(text, encoding == ENC_UTF16_BE_BARE, out); return;
    case ENC_CP1252:
        if (cp1252_encode(text, out))
            return;
        buf_clear(out);
        break;
    case ENC_UTF8_BOM: buf_add(out, STR("\xef\xbb\xbf")); break;
    case ENC_UTF8: break;
    }
    buf_add(out, text);
}

/* --- lines -------------------------------------------------------------------------------------- */

size_t text_lines(struct str text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '\n';
    return n + (text.n > 0 && text.p[text.n - 1] != '\n');
}

size_t text_line_offset(struct str text, size_t line)
{
    const char *p = text.p, *end = text.p + text.n;
    for (; line > 1 && p < end; line--) {
        p = memchr(p, '\n', (size_t)(end - p));
        if (!p)
            return text.n;
        p++;
    }
    return (size_t)(p - text.p);
}

size_t text_line_at(struct str text, size_t offset)
{
    size_t line = 1;
    for (size_t i = 0; i < offset; i++)
        line += text.p[i] == '\n';
    return line;
}

void text_number(struct buf *out, struct str text, size_t first)
{
    struct str line;
    if (!text.p)
        text = STR("");
    while (str_split(&text, '\n', &line)) {
        buf_addf(out, "%6zu\t", first++);
        buf_add(out, line);
        buf_add_char(out, '\n');
    }
}

#define CLIPPED \
    "\n[… clipped: the whole text is longer than %zu characters; view a part of it with view_range, or search …]\n"

void text_clip(struct buf *out, struct str text, size_t limit)
{
    /* Characters are at most bytes: most texts need no counting. */
    if (text.n <= limit || utf8_count(text) <= limit) {
        buf_add(out, text);
        return;
    }
    struct buf remark = {0};
    buf_addf(&remark, CLIPPED, limit);
    size_t room = limit > remark.n ? limit - remark.n : 0;
    buf_add(out, utf8_prefix(text, room - room / 2));
    buf_add(out, buf_str(&remark));
    buf_add(out, utf8_suffix(text, room / 2));
    buf_deinit(&remark);
}
