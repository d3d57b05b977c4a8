/* options: the command line of each command, declared once. The table reads the arguments, prints --help, and makes the
 * completions of shells; a test holds the man page against it. Main thread only. */
#pragma once
#include "base/str.h"
#include <stdio.h>

enum option_kind {
    OPTION_FLAG,      /* bool */
    OPTION_TEXT,      /* const char *, as are the next three */
    OPTION_FILE,      /* which a shell can complete */
    OPTION_DIRECTORY, /* 〃 */
    OPTION_CHOICE,    /* one of `choices` */
    OPTION_NUMBER,    /* int64_t */
};

struct option_doc {
    const char *name; /* without dashes; NULL where there is a letter only */
    char letter;      /* 0: none */
    enum option_kind kind;
    size_t offset;              /* of its member in the command's struct */
    const char *value;          /* what stands for the value in texts; NULL for a flag */
    const char *const *choices; /* NULL-terminated */
    int64_t min, max;
    const char *doc; /* a line, or several: "\n" */
};

struct command {
    const char *name, *doc;
    const char *arguments;               /* behind the name in the usage line; "" */
    int arguments_max;                   /* that are no options */
    enum option_kind argument_kind;      /* for completion; OPTION_FLAG: nothing can be said of it */
    const char *const *argument_choices; /* with OPTION_CHOICE */
    const struct option_doc *options;
    size_t option_count;
    const char *more;     /* behind the options in --help; NULL */
    const char *examples; /* lines of command and comment; NULL */
    int (*run)(int argc, char **argv);
    bool hidden; /* from the list of commands */
};

#define OPTIONS_GO_ON (-1)

/* Fills `into`; --help is known everywhere. `optind` is then the first argument. OPTIONS_GO_ON, or the exit status after
 * the help or an error was printed. */
int options_parse(const struct command *c, int argc, char **argv, void *into);
void options_print_help(const struct command *c, FILE *to);
/* "handsd NAME: …", where to read more, and EXIT_USAGE. */
int options_complain(const struct command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* How many letters have to change to make one of the other (two neighbours that changed places are one); words of more
 * than OPTIONS_WORD_MAX bytes are far. */
#define OPTIONS_WORD_MAX 32
unsigned options_distance(struct str a, struct str b);
