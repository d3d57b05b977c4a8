/* jinja_parser: what jinja_expr.c (tokens and expressions) and jinja_parse.c (statements) share. */
#pragma once
#include "agent/jinja/internal.h"

enum jinja_token { T_END, T_NAME, T_STRING, T_INT, T_FLOAT, T_SIGN };

struct jinja_parser {
    struct str text;
    size_t at;
    unsigned line, blocks, nesting;
    struct arena *arena;
    const char *close; /* of the tag we are in: "}}" or "%}" */
    bool strip;        /* the last tag ended with a dash */
    /* the token that is next */
    enum jinja_token token;
    struct str value; /* its text; of a string, what it means */
    struct err **e;
};

/* Sets the error, with the line; false. */
bool jinja_bad(struct jinja_parser *p, const char *what, struct str which);
bool jinja_unexpected(struct jinja_parser *p);
bool jinja_is_space(char c);
bool jinja_starts(const struct jinja_parser *p, const char *z);
void jinja_skip(struct jinja_parser *p, size_t n);
/* At the end of the tag, its dash included; `*n` is its length. */
bool jinja_at_close(const struct jinja_parser *p, size_t *n);
bool jinja_advance(struct jinja_parser *p); /* to the next token of the tag */
bool jinja_is_name(const struct jinja_parser *p, const char *name);
bool jinja_is_sign(const struct jinja_parser *p, const char *sign);
bool jinja_expect(struct jinja_parser *p, const char *sign); /* takes it */
/* NULL with an error. */
const struct jinja_expr *jinja_parse_expr(struct jinja_parser *p);
const struct jinja_expr *jinja_parse_or(struct jinja_parser *p); /* without `if` */
