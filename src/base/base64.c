#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char alphabet_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(struct buf *out, struct str data, const char *letters)
{
    const uint8_t *p = (const uint8_t *)data.p;
    size_t size = (data.n / 3 + (data.n % 3 != 0)) * 4;
    char *to = buf_reserve(out, size);
    for (size_t i = 0; i < data.n; i += 3) {
        size_t have = data.n - i < 3 ? data.n - i : 3;
        uint32_t v =
            (uint32_t)p[i] << 16 | (have > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (have > 2 ? p[i + 2] : 0u);
        *to++ = letters[v >> 18];
        *to++ = letters[v >> 12 & 63];
        *to++ = have > 1 ? letters[v >> 6 & 63] : '=';
        *to++ = have > 2 ? letters[v & 63] : '=';
    }
    out->n += size;
}

void base64_encode(struct buf *out, struct str data)
{
    encode(out, data, alphabet);
}

void base64url_encode(struct buf *out, struct str data)
{
    encode(out, data, alphabet_url);
}

/* Value of a letter plus one; 0 for what is no letter. */
static const uint8_t letter_value[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['-'] = 63,
    ['/'] = 64, ['_'] = 64,
};

bool base64_decode(struct buf *out, struct str text)
{
    size_t padding = 0;
    while (padding < 2 && text.n > 0 && text.p[text.n - 1] == '=') {
        text.n--;
        padding++;
    }
    size_t rest = text.n % 4; /* letters in the last group */
    if (rest == 1 || (padding > 0 && rest + padding != 4))
        return false;
    uint8_t *start = (uint8_t *)buf_reserve(out, text.n / 4 * 3 + 3), *to = start;
    uint32_t group = 0;
    for (size_t i = 0; i < text.n; i++) {
        uint32_t value = letter_value[(uint8_t)text.p[i]];
        if (value == 0)
            goto bad;
        group = group << 6 | (value - 1);
        if (i % 4 == 3) {
            *to++ = (uint8_t)(group >> 16);
            *to++ = (uint8_t)(group >> 8);
            *to++ = (uint8_t)group;
            group = 0;
        }
    }
    /* The unused low bits must be zero, so that one content has one text. */
    if ((rest == 2 && (group & 0xf)) || (rest == 3 && (group & 0x3)))
        goto bad;
    if (rest == 2)
        *to++ = (uint8_t)(group >> 4);
    if (rest == 3) {
        *to++ = (uint8_t)(group >> 10);
        *to++ = (uint8_t)(group >> 2);
    }
    out->n += (size_t)(to - start);
    out->p[out->n] = '\0';
    return true;
bad:
    out->p[out->n] = '\0';
    return false;
}

void hex_encode(struct buf *out, struct str data)
{
    static const char digits[] = "0123456789abcdef";
    char *to = buf_reserve(out, data.n * 2);
    for (size_t i = 0; i < data.n; i++) {
        *to++ = digits[(uint8_t)data.p[i] >> 4];
        *to++ = digits[(uint8_t)data.p[i] & 15];
    }
    out->n += data.n * 2;
}
