/* A shell's eye: words without their quotes and escapes, commands behind wrappers, programs inside programs. It reads far more
 * than it has to be sure of; where it cannot know, it says so. It runs nothing and costs time in proportion to the text. */
#include "agent/analyzer/shell.h"

#define DEPTH_MAX 8      /* programs in programs that are followed */
#define WRAPPED_MAX 64   /* commands behind one wrapper that are looked at */
#define READ_TIMES 16    /* all programs in a text together are at most so many times as long as it … */
#define READ_MIN 1048576 /* … or this many bytes: what is longer is made to be */

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
    while (i < s.n && shell_is_name_char(s.p[i]))
        i++;
    return i > 0 && i < s.n && s.p[i] == '=' && !(s.p[0] >= '0' && s.p[0] <= '9');
}

static bool has_option(const struct shell *h, size_t from, const char *letters, const char *name)
{
    for (size_t i = from; i < h->words.n; i++) {
        struct str w = shell_word_text(h, i);
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
        buf_add(out, shell_word_text(h, i));
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
        struct str w = shell_word_text(h, i);
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
        shell_program_scan(scan, shell_word_text(h, script), h->depth + 1);
    for (size_t i = name + 1; i < h->words.n; i++)
        if (h->words.at[i].herestring)
            shell_program_scan(scan, shell_word_text(h, i), h->depth + 1);
    scan->feeds |= any_fetched(h, name + 1) || (h->piped && h->fed && !operand);
    if (h->piped && h->echoed.n > 0 && !operand)
        shell_program_scan(scan, buf_str(&h->echoed), h->depth + 1);
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
    struct str what = base_name(shell_word_text(h, name));
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
        shell_program_scan(scan, buf_str(&text), h->depth + 1);
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
    struct str what = base_name(shell_word_text(h, name));
    if (!str_is(what, "echo") && !str_is(what, "printf"))
        return;
    autobuf text = {0};
    joined_words(h, name + 1, &text);
    struct str s = buf_str(&text);
    buf_clear(&h->echoed);
    for (size_t i = 0; i < s.n;) {
        if (s.p[i] == '\\' && i + 1 < s.n)
            i += 1 + shell_escape(str_sub(s, i + 1, s.n), &h->echoed);
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
        if (!h->words.at[i].dynamic && !is_command(base_name(shell_word_text(h, i))))
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
           (is_assignment(shell_word_text(h, i)) || IS_ONE_OF(shell_word_text(h, i), keywords)))
        i++;
    if (i < h->words.n) {
        command_runs(h, i);
        note_echoed(h, i);
        if (IS_ONE_OF(base_name(shell_word_text(h, i)), wrappers))
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
    char c = shell_at(h, 0), next = shell_at(h, 1);
    shell_word_close(h);
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
    char c = shell_at(h, 0);
    if (shell_at(h, 1) == '(') {
        shell_parenthesis(h, 2);
        return;
    }
    shell_word_close(h);
    if (c == '<' && shell_at(h, 1) == '<' && shell_at(h, 2) == '<') {
        h->i += 3;
        while (shell_at(h, 0) == ' ' || shell_at(h, 0) == '\t')
            h->i++;
        shell_word_open(h)->herestring = true;
        return;
    }
    while (shell_at(h, 0) == '<' || shell_at(h, 0) == '>' || shell_at(h, 0) == '&') {
        shell_word_char(h, shell_at(h, 0));
        h->i++;
    }
    shell_word_close(h);
}

static void one_read(struct shell *h)
{
    char c = shell_at(h, 0);
    switch (c) {
    case ' ':
    case '\t':
    case '\r':
        shell_word_close(h);
        h->i++;
        break;
    case '\n':
    case ';':
    case '&':
    case '|':
    case '(':
    case ')': operator_read(h); break;
    case '\'': shell_single_quoted(h); break;
    case '"': shell_double_quoted(h); break;
    case '`': shell_backticks(h); break;
    case '$': shell_dollar(h, false); break;
    case '<':
    case '>': redirection(h); break;
    case '\\':
        if (shell_at(h, 1) != '\n' && h->i + 1 < h->s.n)
            shell_word_char(h, shell_at(h, 1));
        h->i += 2;
        break;
    case '#':
        if (!h->open) {
            while (shell_more(h) && shell_at(h, 0) != '\n')
                h->i++;
            break;
        }
        shell_word_char(h, c);
        h->i++;
        break;
    default:
        h->braced |= c == '{' && !h->open;
        shell_word_char(h, c);
        h->i++;
    }
}

void shell_program_scan(struct shell_scan *scan, struct str text, unsigned depth)
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
    while (shell_more(&h))
        one_read(&h);
    shell_word_close(&h);
    show_words(&h, "\n");
    command_end(&h);
    vec_deinit(&h.words);
    buf_deinit(&h.bytes);
    buf_deinit(&h.echoed);
}

void shell_scan(struct str script, struct shell_scan *out)
{
    *out = (struct shell_scan){.left = script.n * READ_TIMES + READ_MIN};
    shell_program_scan(out, script, 0);
}

void shell_scan_deinit(struct shell_scan *s)
{
    buf_deinit(&s->text);
}
