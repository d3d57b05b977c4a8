/* How a shell reads words: without their quotes and escapes, with what it puts in the place of variables and programs. */
#include "agent/analyzer/shell.h"
#include "base/utf8.h"

bool shell_is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool shell_more(const struct shell *h)
{
    return h->i < h->s.n;
}

char shell_at(const struct shell *h, size_t offset)
{
    return h->i + offset < h->s.n ? h->s.p[h->i + offset] : '\0';
}

struct word *shell_word_open(struct shell *h)
{
    if (!h->open) {
        h->current = (struct word){.at = h->bytes.n};
        h->open = &h->current;
    }
    return h->open;
}

void shell_word_char(struct shell *h, char c)
{
    shell_word_open(h);
    buf_add_char(&h->bytes, c);
}

struct str shell_word_text(const struct shell *h, size_t index)
{
    const struct word *w = &h->words.at[index];
    return str_sub(buf_str(&h->bytes), w->at, w->at + w->n);
}

static void word_push(struct shell *h, size_t from, size_t to)
{
    struct word w = h->current;
    w.at = from;
    w.n = to - from;
    vec_push(&h->words, w);
}

/* {rm,-rf,/} is three words. */
void shell_word_close(struct shell *h)
{
    if (!h->open)
        return;
    size_t from = h->current.at, end = h->bytes.n;
    bool list = h->braced && end - from > 2 && h->bytes.p[end - 1] == '}';
    if (list) {
        from++;
        end--;
        for (size_t i = from; i < end; i++)
            if (h->bytes.p[i] == ',') {
                word_push(h, from, i);
                from = i + 1;
            }
    }
    word_push(h, from, end);
    h->open = NULL;
    h->braced = false;
}

/* The end of what a bracket opened, over quotes and inner brackets; the end of the text if it is not closed. */
static size_t closing(struct str s, size_t i, char open, char close)
{
    size_t depth = 1;
    char quote = '\0';
    for (; i < s.n; i++) {
        char c = s.p[i];
        if (c == '\\' && quote != '\'')
            i++;
        else if (quote)
            quote = c == quote ? '\0' : quote;
        else if (c == '\'' || c == '"')
            quote = c;
        else if (c == open)
            depth++;
        else if (c == close && --depth == 0)
            return i;
    }
    return s.n;
}

/* A program whose output becomes part of a word. */
static void substitution(struct shell *h, struct str program, size_t behind)
{
    size_t before = h->scan->fetches;
    struct word *w = shell_word_open(h);
    w->dynamic = true;
    shell_program_scan(h->scan, program, h->depth + 1);
    w->fetched |= h->scan->fetches != before;
    h->i = behind < h->s.n ? behind : h->s.n;
}

void shell_parenthesis(struct shell *h, size_t skip)
{
    size_t from = h->i + skip, end = closing(h->s, from, '(', ')');
    substitution(h, str_sub(h->s, from, end), end + 1);
}

void shell_backticks(struct shell *h)
{
    autobuf program = {0};
    size_t i = h->i + 1;
    for (; i < h->s.n && h->s.p[i] != '`'; i++) {
        if (h->s.p[i] == '\\' && i + 1 < h->s.n)
            i++;
        buf_add_char(&program, h->s.p[i]);
    }
    substitution(h, buf_str(&program), i + 1);
}

/* A name behind a dollar. $IFS parts words; the arguments of a shell that has none are empty. */
static void variable(struct shell *h, bool quoted)
{
    bool braces = shell_at(h, 1) == '{';
    size_t from = h->i + (braces ? 2 : 1), end = from;
    if (braces)
        end = closing(h->s, from, '{', '}');
    else if (end < h->s.n && str_find_char(STR("@*#?!-$0123456789"), h->s.p[end]) >= 0)
        end++;
    else
        while (end < h->s.n && shell_is_name_char(h->s.p[end]))
            end++;
    struct str name = str_sub(h->s, from, end);
    h->i = braces && end < h->s.n ? end + 1 : end;
    if (name.n == 0) {
        shell_word_char(h, '$');
    } else if (str_starts(name, STR("IFS")) && !(name.n > 3 && shell_is_name_char(name.p[3]))) {
        if (quoted)
            shell_word_char(h, ' ');
        else
            shell_word_close(h);
    } else if (name.n == 1 && str_find_char(STR("@*123456789"), name.p[0]) >= 0) {
        shell_word_open(h);
    } else {
        shell_word_open(h)->dynamic = true;
    }
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

size_t shell_escape(struct str s, struct buf *out)
{
    static const char from[] = "ntrabfve\\'\"?", to[] = "\n\t\r\a\b\f\v\033\\'\"?";
    const char *known = memchr(from, s.p[0], sizeof(from) - 1);
    size_t n = 0;
    uint32_t value = 0;
    if (known) {
        buf_add_char(out, to[known - from]);
        return 1;
    }
    if (s.p[0] == 'x' || s.p[0] == 'u' || s.p[0] == 'U') {
        size_t max = s.p[0] == 'x' ? 2 : s.p[0] == 'u' ? 4 : 8;
        for (n = 1; n < s.n && n <= max && hex_digit(s.p[n]) >= 0; n++)
            value = value * 16 + (uint32_t)hex_digit(s.p[n]);
    } else {
        for (; n < s.n && n < 3 && s.p[n] >= '0' && s.p[n] <= '7'; n++)
            value = value * 8 + (uint32_t)(s.p[n] - '0');
    }
    if (n == 0 || (n == 1 && s.p[0] > '7')) {
        buf_add_char(out, '\\');
        buf_add_char(out, s.p[0]);
        return 1;
    }
    if (value < 0x80)
        buf_add_char(out, (char)value);
    else if (value < 0x110000 && !(value >= 0xD800 && value < 0xE000))
        utf8_add(out, value);
    return n;
}

static void ansi_quoted(struct shell *h)
{
    shell_word_open(h);
    for (h->i += 2; shell_more(h) && shell_at(h, 0) != '\'';) {
        if (shell_at(h, 0) == '\\' && h->i + 1 < h->s.n)
            h->i += 1 + shell_escape(str_sub(h->s, h->i + 1, h->s.n), &h->bytes);
        else
            buf_add_char(&h->bytes, h->s.p[h->i++]);
    }
    h->i += shell_more(h);
}

void shell_single_quoted(struct shell *h)
{
    shell_word_open(h);
    for (h->i++; shell_more(h) && shell_at(h, 0) != '\''; h->i++)
        buf_add_char(&h->bytes, shell_at(h, 0));
    h->i += shell_more(h);
}

void shell_double_quoted(struct shell *h)
{
    shell_word_open(h);
    h->i++;
    while (shell_more(h) && shell_at(h, 0) != '"') {
        char c = shell_at(h, 0), next = shell_at(h, 1);
        if (c == '\\' && next == '\n') {
            h->i += 2;
        } else if (c == '\\' && next && str_find_char(STR("$`\"\\"), next) >= 0) {
            buf_add_char(&h->bytes, next);
            h->i += 2;
        } else if (c == '$') {
            shell_dollar(h, true);
        } else if (c == '`') {
            shell_backticks(h);
        } else {
            buf_add_char(&h->bytes, c);
            h->i++;
        }
    }
    h->i += shell_more(h);
}

void shell_dollar(struct shell *h, bool quoted)
{
    if (shell_at(h, 1) == '(') {
        shell_parenthesis(h, 2);
    } else if (shell_at(h, 1) == '\'' && !quoted) {
        ansi_quoted(h);
    } else if (shell_at(h, 1) == '"' && !quoted) {
        h->i++;
        shell_double_quoted(h);
    } else {
        variable(h, quoted);
    }
}
