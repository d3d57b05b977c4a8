/* analyzer_shell: what analyzer_words.c (how a shell reads words) and analyzer_shell.c (what commands do) share. */
#pragma once
#include "agent/analyzer/analyzer.h"
#include "base/vec.h"

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

/* ---- analyzer_shell.c ---- */

/* Reads a program that stands in another one, `depth` levels down. */
void shell_program_scan(struct shell_scan *scan, struct str text, unsigned depth);

/* ---- analyzer_words.c ---- */

bool shell_is_name_char(char c);
bool shell_more(const struct shell *h);
char shell_at(const struct shell *h, size_t offset); /* NUL past the end */

struct word *shell_word_open(struct shell *h); /* the word that is being read, a new one if there is none */
void shell_word_char(struct shell *h, char c);
void shell_word_close(struct shell *h);
struct str shell_word_text(const struct shell *h, size_t index);

/* Each takes what begins at its sign off the text and puts it into the word. */
void shell_parenthesis(struct shell *h, size_t skip); /* a program, `skip` bytes behind */
void shell_backticks(struct shell *h);
void shell_single_quoted(struct shell *h);
void shell_double_quoted(struct shell *h);
void shell_dollar(struct shell *h, bool quoted);

/* An escape of $'…' and printf, behind its backslash. Returns how many bytes it has. */
size_t shell_escape(struct str s, struct buf *out);
