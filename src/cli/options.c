#include "cli/options.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "cli/commands.h"
#include <getopt.h>
#include <stdarg.h>

#define OPTIONS_MAX 32     /* of a command */
#define HELP_COLUMN_MAX 26 /* where the texts of --help begin, at most */
#define NEAR_ENOUGH 2      /* changed letters of a word that may have been meant */

enum { CODE_HELP = 256, CODE_FIRST };

/* ---- words that look alike ---- */

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned options_distance(struct str a, struct str b)
{
    unsigned row[3][OPTIONS_WORD_MAX + 1];
    if (a.n > OPTIONS_WORD_MAX || b.n > OPTIONS_WORD_MAX)
        return OPTIONS_WORD_MAX + 1;
    for (unsigned j = 0; j <= b.n; j++)
        row[0][j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            now[j] = last[j - 1] + (a.p[i - 1] != b.p[j - 1]);
            now[j] = least(now[j], least(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
    }
    return row[a.n % 3][b.n];
}

static const char *nearest_option(const struct command *c, struct str word)
{
    const char *best = NULL;
    unsigned distance = NEAR_ENOUGH + 1;
    for (size_t i = 0; c->options && i < c->option_count; i++) {
        if (!c->options[i].name)
            continue;
        unsigned d = options_distance(word, str_from(c->options[i].name));
        if (d < distance) {
            distance = d;
            best = c->options[i].name;
        }
    }
    return best;
}

/* ---- complaints ---- */

int options_complain(const struct command *c, const char *fmt, ...)
{
    autobuf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vaddf(&text, fmt, args);
    va_end(args);
    fprintf(stderr, "handsd %s: %s\nhandsd %s --help says what it takes.\n", c->name, text.p, c->name);
    return EXIT_USAGE;
}

static int complain_unknown(const struct command *c, const char *word, char letter)
{
    if (letter)
        return options_complain(c, "there is no option -%c", letter);
    struct str name = str_from(word);
    while (name.n > 0 && name.p[0] == '-')
        name = str_sub(name, 1, name.n);
    ssize_t equals = str_find_char(name, '=');
    name = str_sub(name, 0, equals >= 0 ? (size_t)equals : name.n);
    const char *meant = nearest_option(c, name);
    if (meant)
        return options_complain(c, "there is no option --%.*s; is it --%s?", STR_ARG(name), meant);
    return options_complain(c, "there is no option --%.*s", STR_ARG(name));
}

static void add_label(struct buf *out, const struct option_doc *o)
{
    if (o->name)
        buf_addf(out, "--%s", o->name);
    else
        buf_addf(out, "-%c", o->letter);
}

static int complain_value(const struct command *c, const struct option_doc *o, const char *value)
{
    autobuf text = {0};
    add_label(&text, o);
    if (o->kind == OPTION_NUMBER) {
        buf_addf(&text, " takes a number from %lld", (long long)o->min);
        if (o->max < INT64_MAX)
            buf_addf(&text, " to %lld", (long long)o->max);
        else
            buf_addf(&text, " up");
    } else {
        buf_addf(&text, " takes ");
        for (size_t i = 0; o->choices[i]; i++)
            buf_addf(&text, "%s%s", i == 0 ? "" : o->choices[i + 1] ? ", " : " or ", o->choices[i]);
    }
    return options_complain(c, "%s, not %s", text.p, value);
}

/* ---- reading ---- */

static int take(const struct command *c, const struct option_doc *o, const char *value, void *into)
{
    void *member = (char *)into + o->offset;
    switch (o->kind) {
    case OPTION_FLAG: *(bool *)member = true; return OPTIONS_GO_ON;
    case OPTION_NUMBER:
        if (!str_to_i64(str_from(value), member) || *(int64_t *)member < o->min ||
            *(int64_t *)member > o->max)
            return complain_value(c, o, value);
        return OPTIONS_GO_ON;
    case OPTION_CHOICE:
        for (size_t i = 0; o->choices[i]; i++)
            if (strcmp(value, o->choices[i]) == 0) {
                *(const char **)member = o->choices[i];
                return OPTIONS_GO_ON;
            }
        return complain_value(c, o, value);
    case OPTION_TEXT:
    case OPTION_FILE:
    case OPTION_DIRECTORY: *(const char **)member = value; return OPTIONS_GO_ON;
    }
    return OPTIONS_GO_ON;
}

struct getopt_tables {
    char letters[2 * OPTIONS_MAX + 4];
    struct option names[OPTIONS_MAX + 2];
};

static void fill_tables(const struct command *c, struct getopt_tables *t)
{
    size_t letters = 0, names = 0;
    t->letters[letters++] = ':'; /* tells a missing value from an unknown option */
    t->letters[letters++] = 'h';
    t->names[names++] = (struct option){"help", no_argument, NULL, CODE_HELP};
    for (size_t i = 0; i < c->option_count && i < OPTIONS_MAX; i++) {
        const struct option_doc *o = &c->options[i];
        if (o->name)
            t->names[names++] = (struct option){o->name, o->value ? required_argument : no_argument, NULL,
                                                CODE_FIRST + (int)i};
        if (o->letter) {
            t->letters[letters++] = o->letter;
            if (o->value)
                t->letters[letters++] = ':';
        }
    }
    t->letters[letters] = '\0';
    t->names[names] = (struct option){0};
}

static const struct option_doc *find_option(const struct command *c, int code)
{
    for (size_t i = 0; i < c->option_count; i++)
        if (code == CODE_FIRST + (int)i || (code < CODE_HELP && code == c->options[i].letter && code != 0))
            return &c->options[i];
    return NULL;
}

static int take_code(const struct command *c, int code, char **argv, void *into)
{
    if (code == CODE_HELP || code == 'h') {
        options_print_help(c, stdout);
        return 0;
    }
    const struct option_doc *o = find_option(c, code == ':' || code == '?' ? optopt : code);
    autobuf label = {0};
    if (o)
        add_label(&label, o);
    if (code == ':' && o)
        return options_complain(c, "%s needs a value: %s", label.p, o->value);
    if (code == '?' && o)
        return options_complain(c, "%s takes no value", label.p);
    if (!o)
        return complain_unknown(c, argv[optind - 1], (char)(optopt < CODE_HELP ? optopt : 0));
    return take(c, o, optarg, into);
}

int options_parse(const struct command *c, int argc, char **argv, void *into)
{
    struct getopt_tables tables;
    int code;
    fill_tables(c, &tables);
    opterr = 0;
    while ((code = getopt_long(argc, argv, tables.letters, tables.names, NULL)) != -1) {
        int status = take_code(c, code, argv, into);
        if (status != OPTIONS_GO_ON)
            return status;
    }
    if (argc - optind <= c->arguments_max)
        return OPTIONS_GO_ON;
    if (c->arguments_max == 0)
        return options_complain(c, "it takes no argument, such as %s", argv[optind]);
    return options_complain(c, "there is an argument too many: %s (what has spaces needs quotes)",
                            argv[optind + c->arguments_max]);
}

/* ---- --help ---- */

static void add_left(struct buf *out, const struct option_doc *o)
{
    buf_addf(out, "  ");
    if (o->letter)
        buf_addf(out, o->name ? "-%c, " : "-%c", o->letter);
    else
        buf_addf(out, "    ");
    if (o->name)
        buf_addf(out, "--%s", o->name);
    if (o->value)
        buf_addf(out, " %s", o->value);
}

static size_t help_column(const struct command *c)
{
    size_t column = strlen("  -h, --help") + 2;
    for (size_t i = 0; i < c->option_count; i++) {
        autobuf left = {0};
        add_left(&left, &c->options[i]);
        if (left.n + 2 > column && left.n + 2 <= HELP_COLUMN_MAX)
            column = left.n + 2;
    }
    return column;
}

static void print_row(FILE *to, struct str left, size_t column, const char *doc)
{
    struct str rest = str_from(doc), line;
    fprintf(to, "%.*s", STR_ARG(left));
    size_t at = left.n;
    if (at + 2 > column) {
        fputc('\n', to);
        at = 0;
    }
    while (str_split(&rest, '\n', &line)) {
        fprintf(to, "%*s%.*s\n", (int)(column - at), "", STR_ARG(line));
        at = 0;
    }
}

void options_print_help(const struct command *c, FILE *to)
{
    size_t column = help_column(c);
    fprintf(to, "usage: handsd %s%s%s%s\n\n%c%s.\n\n", c->name, *c->arguments ? " " : "", c->arguments,
            c->option_count > 0 ? " [options]" : "", *c->doc & ~0x20, c->doc + 1);
    for (size_t i = 0; i < c->option_count; i++) {
        autobuf left = {0};
        add_left(&left, &c->options[i]);
        print_row(to, buf_str(&left), column, c->options[i].doc);
    }
    print_row(to, STR("  -h, --help"), column, "this text");
    if (c->more)
        fprintf(to, "\n%s", c->more);
    if (c->examples)
        fprintf(to, "\nExamples:\n%s", c->examples);
}
