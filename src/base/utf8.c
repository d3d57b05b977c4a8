#include "base/utf8.h"

#define REPLACEMENT 0xfffdu
#define STATE_BAD UINT32_MAX

/* What may follow a first byte: how many bytes, and the range of the first of them. The ranges exclude overlong forms,
 * surrogates and numbers past U+10FFFF (table 3-7 of the Unicode standard). */
struct lead {
    uint8_t follow, low, high;
};

static bool lead_of(uint8_t byte, struct lead *lead)
{
    if (byte < 0x80)
        *lead = (struct lead){0, 0, 0};
    else if (byte < 0xc2 || byte > 0xf4)
        return false;
    else if (byte < 0xe0)
        *lead = (struct lead){1, 0x80, 0xbf};
    else if (byte < 0xf0)
        *lead = (struct lead){2, byte == 0xe0 ? 0xa0 : 0x80, byte == 0xed ? 0x9f : 0xbf};
    else
        *lead = (struct lead){3, byte == 0xf0 ? 0x90 : 0x80, byte == 0xf4 ? 0x8f : 0xbf};
    return true;
}

/* Reads the character at the start of a non-empty `s`. On success *used is its length; otherwise the length of the bad
 * sequence: the longest that could have begun a character, or one byte. */
static bool decode(struct str s, uint32_t *code_point, size_t *used)
{
    const uint8_t *p = (const uint8_t *)s.p;
    struct lead lead;
    *used = 1;
    if (!lead_of(p[0], &lead))
        return false;
    uint32_t value = lead.follow ? p[0] & (0x3fu >> lead.follow) : p[0];
    for (unsigned i = 1; i <= lead.follow; i++) {
        if (i >= s.n || p[i] < lead.low || p[i] > lead.high)
            return false;
        value = value << 6 | (p[i] & 0x3f);
        lead.low = 0x80;
        lead.high = 0xbf;
        *used = i + 1;
    }
    *code_point = value;
    return true;
}

/* Number of ASCII bytes at the start, found a word at a time; may stop a few bytes early. */
static size_t ascii_run(const char *p, size_t n)
{
    size_t at = 0;
    for (; at + 8 <= n; at += 8) {
        uint64_t word;
        memcpy(&word, p + at, 8);
        if (word & 0x8080808080808080u)
            break;
    }
    return at;
}

/* The state is 0 between characters, otherwise bytes still wanted << 16 | low << 8 | high for the next one. */
bool utf8_check(uint32_t *state, struct str s)
{
    uint32_t now = *state;
    if (now == STATE_BAD)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (now == 0) {
            i += ascii_run(s.p + i, s.n - i);
            if (i >= s.n)
                break;
        }
        uint8_t byte = (uint8_t)s.p[i];
        if (now != 0) {
            if (byte < (now >> 8 & 0xff) || byte > (now & 0xff)) {
                *state = STATE_BAD;
                return false;
            }
            uint32_t wanted = (now >> 16) - 1;
            now = wanted ? wanted << 16 | 0x80bf : 0;
            continue;
        }
        struct lead lead;
        if (!lead_of(byte, &lead)) {
            *state = STATE_BAD;
            return false;
        }
        if (lead.follow)
            now = (uint32_t)lead.follow << 16 | (uint32_t)lead.low << 8 | lead.high;
    }
    *state = now;
    return true;
}

bool utf8_valid(struct str s)
{
    uint32_t state = 0;
    return utf8_check(&state, s) && UTF8_CHECK_DONE(state);
}

void utf8_scrub(struct buf *out, struct str s)
{
    size_t good = 0, at = 0; /* [good, at) is valid and not yet copied */
    while (at < s.n) {
        at += ascii_run(s.p + at, s.n - at);
        if (at >= s.n)
            break;
        uint32_t code_point;
        size_t used;
        if (!decode(str_sub(s, at, s.n), &code_point, &used)) {
            buf_add(out, str_sub(s, good, at));
            buf_add(out, STR("\xef\xbf\xbd"));
            good = at + used;
        }
        at += used;
    }
    buf_add(out, str_sub(s, good, s.n));
}

static bool is_continuation(char c)
{
    return ((uint8_t)c & 0xc0) == 0x80;
}

size_t utf8_count(struct str s)
{
    size_t count = 0;
    for (size_t i = 0; i < s.n; i++)
        count += !is_continuation(s.p[i]);
    return count;
}

struct str utf8_prefix(struct str s, size_t max)
{
    if (s.n <= max)
        return s;
    size_t count = 0;
    for (size_t i = 0; i < s.n; i++)
        if (!is_continuation(s.p[i]) && count++ == max)
            return str_sub(s, 0, i);
    return s;
}

struct str utf8_suffix(struct str s, size_t max)
{
    if (s.n <= max)
        return s;
    size_t at = s.n;
    for (size_t count = 0; at > 0 && count < max; at--)
        count += !is_continuation(s.p[at - 1]);
    return str_sub(s, at, s.n);
}

struct str utf8_prefix_bytes(struct str s, size_t max)
{
    size_t n = s.n < max ? s.n : max;
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        uint8_t byte = (uint8_t)s.p[n - back];
        if (is_continuation((char)byte))
            continue;
        struct lead lead;
        if (lead_of(byte, &lead) && lead.follow + 1u > back)
            n -= back;
        break;
    }
    return str_sub(s, 0, n);
}

void utf8_add(struct buf *out, uint32_t c)
{
    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        c = REPLACEMENT;
    if (c < 0x80) {
        buf_add_char(out, (char)c);
        return;
    }
    char bytes[4];
    unsigned n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (unsigned i = n - 1; i > 0; i--, c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3f));
    bytes[0] = (char)((0xf00u >> n & 0xff) | c);
    buf_add_bytes(out, bytes, n);
}

unsigned utf8_next(struct str s, uint32_t *code_point)
{
    size_t used;
    if (s.n == 0)
        return 0;
    if (decode(s, code_point, &used))
        return (unsigned)used;
    *code_point = REPLACEMENT;
    return 1;
}
