/* A shell's eye: words without their quotes and escapes, commands behind wrappers, programs inside programs. It reads far more
 * than it has to be sure of; where it cannot know, it says so. It runs nothing and costs time in proportion to the text. */
#include "agent/analyzer.h"
#include "base/utf8.h"
#include "base/vec.h"

#define DEPTH_MAX 8      /* programs in programs that are followed */
#define WRAPPED_MAX 64   /* commands behind one wrapper that are looked at */
#define READ_TIMES 16    /* all programs in a text together are at most so many times as long as it … */
#define READ_MIN 1048576 /* … or this many bytes: what is longer is made to be */

struct word {
    size_t at, n; /* in `bytes` */
    bool dynamic; /* not all of it can be known */
    bool fetched; /* it has the output of a command that fetches or decodes */
    bool herestring;
};

struct shell {
    struct shell_scan *scan;
    unsigned depth;
    struct str s;
    size_t i;
    VEC(struct word) words;
    struct buf bytes;
    struct word *open; /* not owned: the word that is being read, or NULL */
    struct word current;
    bool braced, piped; /* the word began with a brace; the command reads from a pipe … */
    bool fed;           /* … into which something fetched or decoded was put … */
    struct buf echoed;  /* … or these words */
};

static void program_scan(struct shell_scan *scan, struct str text, unsigned depth);

/* --- lexing --- */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool more(const struct shell *h)
{
    return h->i < h->s.n;
}

static char at(const struct shell *h, size_t offset)
{
    return h->i + offset < h->s.n ? h->s.p[h->i + offset] : '\0';
}

static struct word *word_open(struct shell *h)
{
    if (!h->open) {
        h->current = (struct word){.at = h->bytes.n};
        h->open = &h->current;
    }
    return h->open;
}

static void word_char(struct shell *h, char c)
{
    word_open(h);
    buf_add_char(&h->bytes, c);
}

static struct str word_text(const struct shell *h, size_t index)
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
static void word_close(struct shell *h)
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
    struct word *w = word_open(h);
    w->dynamic = true;
    program_scan(h->scan, program, h->depth + 1);
    w->fetched |= h->scan->fetches != before;
    h->i = behind < h->s.n ? behind : h->s.n;
}

static void parenthesis(struct shell *h, size_t skip)
{
    size_t from = h->i + skip, end = closing(h->s, from, '(', ')');
    substitution(h, str_sub(h->s, from, end), end + 1);
}

static void backticks(struct shell *h)
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
    bool braces = at(h, 1) == '{';
    size_t from = h->i + (braces ? 2 : 1), end = from;
    if (braces)
        end = closing(h->s, from, '{', '}');
    else if (end < h->s.n && str_find_char(STR("@*#?!-$0123456789"), h->s.p[end]) >= 0)
        end++;
    else
        while (end < h->s.n && is_name_char(h->s.p[end]))
            end++;
    struct str name = str_sub(h->s, from, end);
    h->i = braces && end < h->s.n ? end + 1 : end;
    if (name.n == 0) {
        word_char(h, '$');
    } else if (str_starts(name, STR("IFS")) && !(name.n > 3 && is_name_char(name.p[3]))) {
        if (quoted)
            word_char(h, ' ');
        else
            word_close(h);
    } else if (name.n == 1 && str_find_char(STR("@*123456789"), name.p[0]) >= 0) {
        word_open(h);
    } else {
        word_open(h)->dynamic = true;
    }
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* An escape of $'…' and printf, behind its backslash. Returns how many bytes it has. */
static size_t escape(struct str s, struct buf *out)
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
    word_open(h);
    for (h->i += 2; more(h) && at(h, 0) != '\'';) {
        if (at(h, 0) == '\\' && h->i + 1 < h->s.n)
            h->i += 1 + escape(str_sub(h->s, h->i + 1, h->s.n), &h->bytes);
        else
            buf_add_char(&h->bytes, h->s.p[h->i++]);
    }
    h->i += more(h);
}

static void single_quoted(struct shell *h)
{
    word_open(h);
    for (h->i++; more(h) && at(h, 0) != '\''; h->i++)
        buf_add_char(&h->bytes, at(h, 0));
    h->i += more(h);
}

static void dollar(struct shell *h, bool quoted);

static void double_quoted(struct shell *h)
{
    word_open(h);
    h->i++;
    while (more(h) && at(h, 0) != '"') {
        char c = at(h, 0), next = at(h, 1);
        if (c == '\\' && next == '\n') {
            h->i += 2;
        } else if (c == '\\' && next && str_find_char(STR("$`\"\\"), next) >= 0) {
            buf_add_char(&h->bytes, next);
            h->i += 2;
        } else if (c == '$') {
            dollar(h, true);
        } else if (c == '`') {
            backticks(h);
        } else {
            buf_add_char(&h->bytes, c);
            h->i++;
        }
    }
    h->i += more(h);
}

static void dollar(struct shell *h, bool quoted)
{
    if (at(h, 1) == '(') {
        parenthesis(h, 2);
    } else if (at(h, 1) == '\'' && !quoted) {
        ansi_quoted(h);
    } else if (at(h, 1) == '"' && !quoted) {
        h->i++;
        double_quoted(h);
    } else {
        variable(h, quoted);
    }
}

/* --- commands --- */

static bool is_one_of(struct str s, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_is(s, names[i]))
            return true;
    return false;
}
#define IS_ONE_OF(s, names) is_one_of((s), (names), ARRAY_LEN(names))

static const char *const shells[] = {"sh", "bash", "dash", "zsh", "ksh", "ash", "fish"};
static const char *const interpreters[] = {"python", "python2", "python3", "perl",
                                           "ruby",   "node",    "php",     "lua"};
static const char *const fetchers[] = {"curl", "wget", "fetch", "aria2c", "nc", "ncat", "netcat"};
static const char *const keywords[] = {"if",    "then", "else", "elif", "do",    "while",
                                       "until", "!",    "{",    "time", "coproc"};
/* What runs the command that stands among its arguments. */
static const char *const wrappers[] = {"sudo",    "doas",     "env",     "nohup",   "exec",   "command",
                                       "builtin", "nice",     "ionice",  "timeout", "setsid", "stdbuf",
                                       "xargs",   "busybox",  "chroot",  "unshare", "strace", "watch",
                                       "flock",   "parallel", "runuser", "su",      "find",   "time"};

static struct str base_name(struct str path)
{
    ssize_t slash = str_rfind_char(path, '/');
    return slash < 0 ? path : str_sub(path, (size_t)slash + 1, path.n);
}

static bool is_assignment(struct str s)
{
    size_t i = 0;
    while (i < s.n && is_name_char(s.p[i]))
        i++;
    return i > 0 && i < s.n && s.p[i] == '=' && !(s.p[0] >= '0' && s.p[0] <= '9');
}

static bool has_option(const struct shell *h, size_t from, const char *letters, const char *name)
{
    for (size_t i = from; i < h->words.n; i++) {
        struct str w = word_text(h, i);
        if (h->words.at[i].dynamic || w.n < 2 || w.p[0] != '-')
            continue;
        if (str_is(w, "--"))
            return false;
        if (w.p[1] == '-') {
            /* Long options may be cut short. */
            if (w.n > 3 && str_starts(str_from(name), str_sub(w, 2, w.n)))
                return true;
            continue;
        }
        for (const char *l = letters; *l; l++)
            if (str_find_char(w, *l) > 0)
                return true;
    }
    return false;
}

static void joined_words(const struct shell *h, size_t from, struct buf *out)
{
    for (size_t i = from; i < h->words.n; i++) {
        if (i > from)
            buf_add_char(out, ' ');
        buf_add(out, word_text(h, i));
    }
}

static bool any_fetched(const struct shell *h, size_t from)
{
    for (size_t i = from; i < h->words.n; i++)
        if (h->words.at[i].fetched)
            return true;
    return false;
}

/* The index of the script that `sh -c` runs; 0: there is none. `*operand`: it runs a file, or a script. */
static size_t script_of(const struct shell *h, size_t from, bool *operand)
{
    bool script = false, ended = false;
    *operand = false;
    for (size_t i = from; i < h->words.n; i++) {
        struct str w = word_text(h, i);
        if (h->words.at[i].herestring)
            continue;
        if (!ended && (str_is(w, "--") || str_is(w, "-"))) {
            ended = true;
        } else if (!ended && w.n > 1 && (w.p[0] == '-' || w.p[0] == '+')) {
            bool is_long = w.p[1] == '-';
            script |= !is_long && w.p[0] == '-' && str_find_char(w, 'c') > 0;
            i += is_long ? str_is(w, "--rcfile") || str_is(w, "--init-file")
                         : w.p[w.n - 1] == 'o' || w.p[w.n - 1] == 'O';
        } else {
            *operand = true;
            return script ? i : 0;
        }
    }
    return 0;
}

static void shell_runs(struct shell *h, size_t name)
{
    bool operand;
    size_t script = script_of(h, name + 1, &operand);
    struct shell_scan *scan = h->scan;
    if (script > 0)
        program_scan(scan, word_text(h, script), h->depth + 1);
    for (size_t i = name + 1; i < h->words.n; i++)
        if (h->words.at[i].herestring)
            program_scan(scan, word_text(h, i), h->depth + 1);
    scan->feeds |= any_fetched(h, name + 1) || (h->piped && h->fed && !operand);
    if (h->piped && h->echoed.n > 0 && !operand)
        program_scan(scan, buf_str(&h->echoed), h->depth + 1);
}

static bool decodes(const struct shell *h, size_t name, struct str what)
{
    if (str_is(what, "base64") || str_is(what, "base32"))
        return has_option(h, name + 1, "dD", "decode");
    if (str_is(what, "xxd"))
        return has_option(h, name + 1, "r", "revert");
    return str_is(what, "openssl") || str_is(what, "uudecode");
}

static void command_runs(struct shell *h, size_t name)
{
    struct str what = base_name(word_text(h, name));
    struct shell_scan *scan = h->scan;
    bool unknown = h->words.at[name].dynamic || str_find_char(what, '*') >= 0 ||
                   str_find_char(what, '?') >= 0 || str_find_char(what, '[') > 0;
    bool forced = has_option(h, name + 1, "rR", "recursive") && has_option(h, name + 1, "f", "force");
    scan->destroys |= forced && str_is(what, "rm");
    scan->uncertain |= forced && unknown;
    if (IS_ONE_OF(what, shells)) {
        shell_runs(h, name);
    } else if (IS_ONE_OF(what, interpreters)) {
        scan->feeds |= h->piped && h->fed && h->words.n == name + 1;
        scan->feeds |= any_fetched(h, name + 1);
    } else if (str_is(what, "eval") || str_is(what, "trap")) {
        autobuf text = {0};
        joined_words(h, name + 1, &text);
        scan->feeds |= any_fetched(h, name + 1);
        program_scan(scan, buf_str(&text), h->depth + 1);
    } else if (str_is(what, "source") || str_is(what, ".")) {
        scan->feeds |= any_fetched(h, name + 1);
    }
    if (IS_ONE_OF(what, fetchers) || decodes(h, name, what)) {
        scan->fetches++;
        h->fed = true;
    }
}

/* printf and echo in front of a pipe may spell a program, with escapes or without. */
static void note_echoed(struct shell *h, size_t name)
{
    struct str what = base_name(word_text(h, name));
    if (!str_is(what, "echo") && !str_is(what, "printf"))
        return;
    autobuf text = {0};
    joined_words(h, name + 1, &text);
    struct str s = buf_str(&text);
    buf_clear(&h->echoed);
    for (size_t i = 0; i < s.n;) {
        if (s.p[i] == '\\' && i + 1 < s.n)
            i += 1 + escape(str_sub(s, i + 1, s.n), &h->echoed);
        else
            buf_add_char(&h->echoed, s.p[i++]);
    }
}

static bool is_command(struct str what)
{
    return str_is(what, "rm") || str_is(what, "eval") || IS_ONE_OF(what, shells) ||
           IS_ONE_OF(what, interpreters) || IS_ONE_OF(what, fetchers);
}

static void wrapped_run(struct shell *h, size_t wrapper)
{
    size_t seen = 0;
    for (size_t i = wrapper + 1; i < h->words.n; i++) {
        if (!h->words.at[i].dynamic && !is_command(base_name(word_text(h, i))))
            continue;
        if (seen++ == WRAPPED_MAX) {
            h->scan->too_much = true;
            return;
        }
        command_runs(h, i);
    }
}

/* The words of one simple command are complete. */
static void command_end(struct shell *h)
{
    size_t i = 0;
    while (i < h->words.n && !h->words.at[i].dynamic &&
           (is_assignment(word_text(h, i)) || IS_ONE_OF(word_text(h, i), keywords)))
        i++;
    if (i < h->words.n) {
        command_runs(h, i);
        note_echoed(h, i);
        if (IS_ONE_OF(base_name(word_text(h, i)), wrappers))
            wrapped_run(h, i);
    }
    h->words.n = 0;
    buf_clear(&h->bytes);
}

static void show_words(struct shell *h, const char *behind)
{
    struct buf *out = &h->scan->text;
    joined_words(h, 0, out);
    buf_add_cstr(out, behind);
}

static void operator_read(struct shell *h)
{
    char c = at(h, 0), next = at(h, 1);
    word_close(h);
    bool pipe = c == '|' && next != '|';
    show_words(h, pipe ? " | " : "\n");
    command_end(h);
    h->piped = pipe;
    if (!pipe && c != '(' && c != ')') {
        h->fed = false;
        buf_clear(&h->echoed);
    }
    h->i += (c == next && (c == '|' || c == '&' || c == ';')) || (pipe && next == '&') ? 2 : 1;
}

static void redirection(struct shell *h)
{
    char c = at(h, 0);
    if (at(h, 1) == '(') {
        parenthesis(h, 2);
        return;
    }
    word_close(h);
    if (c == '<' && at(h, 1) == '<' && at(h, 2) == '<') {
        h->i += 3;
        while (at(h, 0) == ' ' || at(h, 0) == '\t')
            h->i++;
        word_open(h)->herestring = true;
        return;
    }
    while (at(h, 0) == '<' || at(h, 0) == '>' || at(h, 0) == '&') {
        word_char(h, at(h, 0));
        h->i++;
    }
    word_close(h);
}

static void one_read(struct shell *h)
{
    char c = at(h, 0);
    switch (c) {
    case ' ':
    case '\t':
    case '\r':
        word_close(h);
        h->i++;
        break;
    case '\n':
    case ';':
    case '&':
    case '|':
    case '(':
    case ')': operator_read(h); break;
    case '\'': single_quoted(h); break;
    case '"': double_quoted(h); break;
    case '`': backticks(h); break;
    case '$': dollar(h, false); break;
    case '<':
    case '>': redirection(h); break;
    case '\\':
        if (at(h, 1) != '\n' && h->i + 1 < h->s.n)
            word_char(h, at(h, 1));
        h->i += 2;
        break;
    case '#':
        if (!h->open) {
            while (more(h) && at(h, 0) != '\n')
                h->i++;
            break;
        }
        word_char(h, c);
        h->i++;
        break;
    default:
        h->braced |= c == '{' && !h->open;
        word_char(h, c);
        h->i++;
    }
}

static void program_scan(struct shell_scan *scan, struct str text, unsigned depth)
{
    if (depth > DEPTH_MAX) {
        scan->uncertain |= str_trim(text).n > 0;
        return;
    }
    if (text.n >= scan->left) {
        scan->too_much = true;
        return;
    }
    scan->left -= text.n;
    struct shell h = {.scan = scan, .depth = depth, .s = text};
    while (more(&h))
        one_read(&h);
    word_close(&h);
    show_words(&h, "\n");
    command_end(&h);
    vec_deinit(&h.words);
    buf_deinit(&h.bytes);
    buf_deinit(&h.echoed);
}

void shell_scan(struct str script, struct shell_scan *out)
{
    *out = (struct shell_scan){.left = script.n * READ_TIMES + READ_MIN};
    program_scan(out, script, 0);
}

void shell_scan_deinit(struct shell_scan *s)
{
    buf_deinit(&s->text);
}
