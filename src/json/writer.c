#include "json/writer.h"
#include "base/utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct json_writer json_writer(struct buf *out)
{
    return (struct json_writer){.out = out};
}

struct json_writer json_writer_python(struct buf *out)
{
    return (struct json_writer){.out = out, .python = true};
}

static void add_unit(struct buf *out, unsigned unit)
{
    static const char digits[] = "0123456789abcdef";
    const char text[6] = {
        '\\', 'u', digits[unit >> 12], digits[unit >> 8 & 15], digits[unit >> 4 & 15], digits[unit & 15]};
    buf_add_bytes(out, text, sizeof(text));
}

static void add_ascii_escaped(struct buf *out, char c)
{
    switch (c) {
    case '"': buf_add(out, STR("\\\"")); break;
    case '\\': buf_add(out, STR("\\\\")); break;
    case '\b': buf_add(out, STR("\\b")); break;
    case '\f': buf_add(out, STR("\\f")); break;
    case '\n': buf_add(out, STR("\\n")); break;
    case '\r': buf_add(out, STR("\\r")); break;
    case '\t': buf_add(out, STR("\\t")); break;
    default: add_unit(out, (unsigned char)c);
    }
}

static bool is_plain(unsigned char c, bool ascii)
{
    return c >= 0x20 && c != '"' && c != '\\' && c < 0x80 && !(ascii && c == 0x7f);
}

/* Number of bytes at the start that need no escape, eight at a time; may stop a few bytes early. */
static size_t plain_run(const char *p, size_t n)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    size_t at = 0;
    for (; at + 8 <= n; at += 8) {
        uint64_t word;
        memcpy(&word, p + at, 8);
        uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\'), delete = word ^ (ones * 0x7f);
        /* A byte below 0x20, equal to one of the three (its difference is zero), or above 0x7f. */
        if (((word - ones * 0x20) | (quote - ones) | (slash - ones) | (delete - ones) | word) & tops)
            break;
    }
    return at;
}

void json_escape(struct buf *out, struct str s, bool ascii)
{
    size_t done = 0, at = plain_run(s.p, s.n); /* [done, at) goes out as it is */
    buf_reserve(out, s.n);
    while (at < s.n) {
        unsigned char c = (unsigned char)s.p[at];
        if (is_plain(c, ascii)) {
            at++;
            if (at % 8 == 0)
                at += plain_run(s.p + at, s.n - at);
            continue;
        }
        uint32_t code_point = c;
        unsigned used = 1;
        if (c >= 0x80) {
            used = utf8_next(str_sub(s, at, s.n), &code_point);
            if (!ascii && used > 1) {
                at += used;
                continue;
            }
        }
        buf_add(out, str_sub(s, done, at));
        if (c < 0x80)
            add_ascii_escaped(out, (char)c);
        else if (!ascii)
            utf8_add(out, code_point);
        else if (code_point < 0x10000)
            add_unit(out, code_point);
        else {
            add_unit(out, 0xd800 + ((code_point - 0x10000) >> 10));
            add_unit(out, 0xdc00 + ((code_point - 0x10000) & 0x3ff));
        }
        at += used;
        done = at;
    }
    buf_add(out, str_sub(s, done, s.n));
}

/* In front of every value and key. */
static void separate(struct json_writer *w)
{
    if (w->comma)
        buf_add(w->out, w->python ? STR(", ") : STR(","));
    w->comma = true;
}

static void open_with(struct json_writer *w, char c)
{
    separate(w);
    buf_add_char(w->out, c);
    w->comma = false;
    w->depth++;
}

static void close_with(struct json_writer *w, char c)
{
    if (w->depth == 0)
        abort();
    w->depth--;
    buf_add_char(w->out, c);
    w->comma = true;
}

void jw_object(struct json_writer *w)
{
    open_with(w, '{');
}

void jw_object_end(struct json_writer *w)
{
    close_with(w, '}');
}

void jw_array(struct json_writer *w)
{
    open_with(w, '[');
}

void jw_array_end(struct json_writer *w)
{
    close_with(w, ']');
}

void jw_key_str(struct json_writer *w, struct str key)
{
    if (w->depth == 0)
        abort();
    separate(w);
    buf_add_char(w->out, '"');
    json_escape(w->out, key, w->python);
    buf_add(w->out, w->python ? STR("\": ") : STR("\":"));
    w->comma = false;
}

void jw_key(struct json_writer *w, const char *key)
{
    jw_key_str(w, str_from(key));
}

void jw_str(struct json_writer *w, struct str s)
{
    if (!s.p) {
        jw_null(w);
        return;
    }
    separate(w);
    buf_add_char(w->out, '"');
    json_escape(w->out, s, w->python);
    buf_add_char(w->out, '"');
}

void jw_cstr(struct json_writer *w, const char *z)
{
    jw_str(w, str_from(z));
}

void jw_int(struct json_writer *w, int64_t v)
{
    separate(w);
    buf_add_i64(w->out, v);
}

/* The shortest digits that read back as the same number, as "d.ddde±x". The usual 15 to 17 digits miss that for a few
 * numbers (5e-324), so fewer are tried first only where the range of double loses digits. */
static void shortest(double v, char out[32])
{
    int first = fabs(v) < 0x1p-1022 ? 0 : 14;
    for (int precision = first; precision <= 16; precision++) {
        snprintf(out, 32, "%.*e", precision, v);
        if (strtod(out, NULL) == v)
            return;
    }
}

/* Python's repr: plain between 1e-4 and 1e16, else with an exponent of at least two digits. */
void jw_float(struct json_writer *w, double v)
{
    if (!isfinite(v)) {
        jw_null(w);
        return;
    }
    separate(w);
    char text[32], digits[20] = "0";
    shortest(v, text);
    struct str rest = str_from(text);
    if (rest.p[0] == '-') {
        buf_add_char(w->out, '-');
        rest = str_sub(rest, 1, rest.n);
    }
    size_t n = 0;
    ssize_t mark = str_find_char(rest, 'e');
    for (size_t i = 0; i < (size_t)mark; i++)
        if (rest.p[i] != '.')
            digits[n++] = rest.p[i];
    while (n > 1 && digits[n - 1] == '0')
        n--;
    int exponent = atoi(rest.p + mark + 1);
    struct str d = str_make(digits, n);

    if (exponent < -4 || exponent >= 16) {
        buf_add_char(w->out, digits[0]);
        if (n > 1)
            buf_add_char(w->out, '.');
        buf_add(w->out, str_sub(d, 1, n));
        buf_addf(w->out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        buf_add(w->out, str_sub(STR("0.000"), 0, (size_t)(1 - exponent)));
        buf_add(w->out, d);
    } else {
        size_t whole = (size_t)exponent + 1;
        buf_add(w->out, str_sub(d, 0, whole));
        for (size_t i = n; i < whole; i++)
            buf_add_char(w->out, '0');
        buf_add_char(w->out, '.');
        buf_add(w->out, n > whole ? str_sub(d, whole, n) : STR("0"));
    }
}

void jw_bool(struct json_writer *w, bool v)
{
    separate(w);
    buf_add(w->out, v ? STR("true") : STR("false"));
}

void jw_null(struct json_writer *w)
{
    separate(w);
    buf_add(w->out, STR("null"));
}

void jw_raw(struct json_writer *w, struct str json)
{
    separate(w);
    buf_add(w->out, json.n ? json : STR("null"));
}

void jw_member_str(struct json_writer *w, const char *key, struct str s)
{
    jw_key(w, key);
    jw_str(w, s);
}

void jw_member_cstr(struct json_writer *w, const char *key, const char *z)
{
    jw_key(w, key);
    jw_cstr(w, z);
}

void jw_member_int(struct json_writer *w, const char *key, int64_t v)
{
    jw_key(w, key);
    jw_int(w, v);
}

void jw_member_float(struct json_writer *w, const char *key, double v)
{
    jw_key(w, key);
    jw_float(w, v);
}

void jw_member_bool(struct json_writer *w, const char *key, bool v)
{
    jw_key(w, key);
    jw_bool(w, v);
}

void jw_member_null(struct json_writer *w, const char *key)
{
    jw_key(w, key);
    jw_null(w);
}

void jw_member_raw(struct json_writer *w, const char *key, struct str json)
{
    jw_key(w, key);
    jw_raw(w, json);
}

void jw_member_value(struct json_writer *w, const char *key, const struct json_value *v)
{
    jw_key(w, key);
    jw_value(w, v);
}
