/* When a skill's trigger fires. */
#include "agent/skill/skill.h"
#include "base/utf8.h"

/* Lower case of the scripts in which texts are written that have cases; there is no locale here. */
static uint32_t lower(uint32_t c)
{
    if ((c >= 'A' && c <= 'Z') || (c >= 0xC0 && c <= 0xDE && c != 0xD7) || (c >= 0x391 && c <= 0x3A9) ||
        (c >= 0x410 && c <= 0x42F))
        return c + 32;
    if (c >= 0x400 && c <= 0x40F)
        return c + 80;
    if ((c >= 0x100 && c <= 0x137) || (c >= 0x14A && c <= 0x177) || (c >= 0x460 && c <= 0x481))
        return c | 1;
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E))
        return c + (c & 1);
    return c;
}

void skill_fold(struct buf *out, struct str text)
{
    text = utf8_prefix_bytes(text, SKILL_MATCH_MAX);
    buf_reserve(out, text.n);
    for (unsigned n; text.n > 0; text = str_sub(text, n, text.n)) {
        uint32_t c = (unsigned char)text.p[0];
        n = 1;
        if (c >= 0x80)
            n = utf8_next(text, &c);
        c = lower(c);
        if (c < 0x80)
            buf_add_char(out, (char)c);
        else
            utf8_add(out, c);
    }
}

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool word_stands_in(struct str word, struct str folded)
{
    size_t from = 0;
    for (ssize_t at; (at = str_find(str_sub(folded, from, folded.n), word)) >= 0;) {
        size_t begin = from + (size_t)at, end = begin + word.n;
        if ((begin == 0 || !is_letter_or_digit(folded.p[begin - 1])) &&
            (end == folded.n || !is_letter_or_digit(folded.p[end])))
            return true;
        from = begin + 1;
    }
    return false;
}

struct str skill_match(const struct skill *s, struct str folded)
{
    if (s->trigger != SKILL_KEYWORD && s->trigger != SKILL_TASK)
        return STR_NONE;
    autobuf word = {0};
    for (size_t i = 0; i < s->word_count; i++) {
        buf_clear(&word);
        skill_fold(&word, s->words[i]);
        if (word.n > 0 && word_stands_in(buf_str(&word), folded))
            return s->words[i];
    }
    return STR_NONE;
}

static bool glob(struct str pattern, struct str path, unsigned *steps)
{
    while (pattern.n > 0) {
        if (++*steps > SKILL_PATH_STEPS_MAX)
            return false;
        if (pattern.p[0] == '*') {
            bool crosses = pattern.n > 1 && pattern.p[1] == '*';
            bool dirs = crosses && pattern.n > 2 && pattern.p[2] == '/';
            struct str rest = str_sub(pattern, dirs ? 3 : crosses ? 2 : 1, pattern.n);
            for (size_t i = 0;; i++) {
                bool may_start = !dirs || i == 0 || path.p[i - 1] == '/';
                if (may_start && glob(rest, str_sub(path, i, path.n), steps))
                    return true;
                if (i == path.n || *steps > SKILL_PATH_STEPS_MAX || (!crosses && path.p[i] == '/'))
                    return false;
            }
        }
        if (path.n == 0 || (pattern.p[0] == '?' ? path.p[0] == '/' : pattern.p[0] != path.p[0]))
            return false;
        unsigned n = 1;
        uint32_t c;
        if (pattern.p[0] == '?' && (unsigned char)path.p[0] >= 0x80)
            n = utf8_next(path, &c);
        pattern = str_sub(pattern, 1, pattern.n);
        path = str_sub(path, n, path.n);
    }
    return path.n == 0;
}

struct str skill_match_path(const struct skill *s, struct str path, unsigned *steps)
{
    if (s->trigger != SKILL_PATH)
        return STR_NONE;
    for (size_t i = 0; i < s->word_count; i++) {
        struct str pattern = s->words[i], name = path;
        if (pattern.n == 0)
            continue;
        if (str_find_char(pattern, '/') < 0) {
            ssize_t slash = str_rfind_char(path, '/');
            name = str_sub(path, (size_t)(slash + 1), path.n);
        }
        if (glob(pattern, name, steps))
            return s->words[i];
    }
    return STR_NONE;
}
