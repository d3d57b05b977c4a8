#include "net/url.h"
#include "base/cleanup.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t url_decode(char *out, struct str in, bool plus, bool *broken)
{
    size_t n = 0;
    if (broken)
        *broken = false;
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c == '%') {
            int high = i + 2 < in.n ? hex_digit(in.p[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(in.p[i + 2]) : -1;
            if (low >= 0) {
                c = (char)(high << 4 | low);
                i += 2;
            } else if (broken) {
                *broken = true;
            }
        } else if (plus && c == '+') {
            c = ' ';
        }
        out[n++] = c;
    }
    return n;
}

/* Takes the next non-empty `name=value` off `rest`. */
static bool pair_next(struct str *rest, struct str *name, struct str *value)
{
    struct str part;
    while (str_split(rest, '&', &part)) {
        if (part.n == 0)
            continue;
        ssize_t equals = str_find_char(part, '=');
        *name = equals < 0 ? part : str_sub(part, 0, (size_t)equals);
        *value = equals < 0 ? STR("") : str_sub(part, (size_t)equals + 1, part.n);
        return true;
    }
    return false;
}

static struct str decode_into(struct arena *arena, struct str raw)
{
    char *out = arena_alloc(arena, raw.n + 1);
    return str_make(out, url_decode(out, raw, true, NULL));
}

bool url_query_parse(struct str query, struct arena *arena, struct url_pair **pairs, size_t *count)
{
    size_t n = 0;
    struct str rest = query, name, value;
    while (pair_next(&rest, &name, &value))
        if (++n > URL_PAIRS_MAX)
            return false;
    *pairs = n > 0 ? arena_alloc(arena, n * sizeof(**pairs)) : NULL;
    *count = n;
    rest = query;
    for (size_t i = 0; i < n && pair_next(&rest, &name, &value); i++)
        (*pairs)[i] = (struct url_pair){decode_into(arena, name), decode_into(arena, value)};
    return true;
}
