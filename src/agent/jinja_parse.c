/* From text to a tree. One pass, recursive descent; every rule that calls itself is bounded. */
#include "agent/jinja_internal.h"
#include "base/cleanup.h"

enum token { T_END, T_NAME, T_STRING, T_INT, T_FLOAT, T_SIGN };

struct parser {
    struct str text;
    size_t at;
    unsigned line, blocks, nesting;
    struct arena *arena;
    const char *close; /* of the tag we are in: "}}" or "%}" */
    bool strip;        /* the last tag ended with a dash */
    /* the token that is next */
    enum token token;
    struct str value; /* its text; of a string, what it means */
    struct err **e;
};

static bool fail(struct parser *p, const char *what, struct str which)
{
    return err_set(p->e, ERR_INVALID, "line %u: %s%.*s", p->line, what, STR_ARG(str_sub(which, 0, 60)));
}

/* ---- tokens ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_char(char c)
{
    return c == '_' || is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool starts_with(const struct parser *p, const char *z)
{
    return str_starts(str_sub(p->text, p->at, p->text.n), str_from(z));
}

static void skip(struct parser *p, size_t n)
{
    for (; n > 0 && p->at < p->text.n; n--)
        p->line += p->text.p[p->at++] == '\n';
}

static bool read_string(struct parser *p)
{
    char quote = p->text.p[p->at];
    autobuf out = {0};
    for (skip(p, 1); p->at < p->text.n && p->text.p[p->at] != quote; skip(p, 1)) {
        char c = p->text.p[p->at];
        if (c == '\\' && p->at + 1 < p->text.n) {
            skip(p, 1);
            c = p->text.p[p->at];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        buf_add_char(&out, c);
    }
    if (p->at == p->text.n)
        return fail(p, "a string does not end", STR_NONE);
    skip(p, 1);
    p->token = T_STRING;
    p->value = arena_str(p->arena, buf_str(&out));
    return true;
}

static void read_number(struct parser *p)
{
    size_t from = p->at;
    p->token = T_INT;
    while (p->at < p->text.n && is_digit(p->text.p[p->at]))
        p->at++;
    if (p->at + 1 < p->text.n && p->text.p[p->at] == '.' && is_digit(p->text.p[p->at + 1])) {
        p->token = T_FLOAT;
        for (p->at++; p->at < p->text.n && is_digit(p->text.p[p->at]);)
            p->at++;
    }
    p->value = str_sub(p->text, from, p->at);
}

/* At the end of the tag, its dash included. */
static bool at_close(const struct parser *p, size_t *n)
{
    size_t dash = p->at < p->text.n && (p->text.p[p->at] == '-' || p->text.p[p->at] == '+');
    *n = dash + 2;
    return str_starts(str_sub(p->text, p->at + dash, p->text.n), str_from(p->close));
}

static bool advance(struct parser *p)
{
    static const char *const signs[] = {"==", "!=", "<=", ">=", "//", "**"};
    size_t n;
    while (p->at < p->text.n && is_space(p->text.p[p->at]))
        skip(p, 1);
    if (p->at >= p->text.n)
        return fail(p, "a tag does not end with ", str_from(p->close));
    if (at_close(p, &n)) {
        p->token = T_END;
        p->value = STR_NONE;
        return true;
    }
    char c = p->text.p[p->at];
    if (c == '"' || c == '\'')
        return read_string(p);
    if (is_digit(c)) {
        read_number(p);
        return true;
    }
    size_t from = p->at;
    p->token = is_name_char(c) ? T_NAME : T_SIGN;
    while (p->token == T_NAME && p->at < p->text.n && is_name_char(p->text.p[p->at]))
        p->at++;
    if (p->token == T_SIGN) {
        n = 1;
        for (size_t i = 0; i < ARRAY_LEN(signs); i++)
            n = starts_with(p, signs[i]) ? 2 : n;
        p->at += n;
    }
    p->value = str_sub(p->text, from, p->at);
    return true;
}

static bool is_name(const struct parser *p, const char *name)
{
    return p->token == T_NAME && str_is(p->value, name);
}

static bool is_sign(const struct parser *p, const char *sign)
{
    return p->token == T_SIGN && str_is(p->value, sign);
}

static bool unexpected(struct parser *p)
{
    if (p->token == T_END)
        return fail(p, "the tag ends too early", STR_NONE);
    return fail(p, "this is not understood here: ", p->value);
}

static bool expect_sign(struct parser *p, const char *sign)
{
    return is_sign(p, sign) ? advance(p) : unexpected(p);
}

/* ---- expressions ---- */

static const struct jinja_expr *parse_expr(struct parser *p);

static struct jinja_expr *expr_new(struct parser *p, enum jinja_op op, const struct jinja_expr *a,
                                   const struct jinja_expr *b)
{
    struct jinja_expr *x = ARENA_NEW(p->arena, struct jinja_expr);
    unsigned da = a ? a->depth : 0, db = b ? b->depth : 0;
    *x = (struct jinja_expr){.op = op, .a = a, .b = b, .line = p->line, .depth = (da > db ? da : db) + 1};
    if (x->depth > JINJA_DEPTH_MAX || arena_size(p->arena) > JINJA_MEMORY_MAX) {
        fail(p, "an expression is too long or too deep", STR_NONE);
        return NULL;
    }
    return x;
}

static const struct jinja_expr *literal_new(struct parser *p, struct jinja_value value)
{
    struct jinja_expr *x = expr_new(p, JINJA_LITERAL, NULL, NULL);
    if (x)
        x->literal = value;
    return x;
}

/* Comma-separated expressions up to `close`, which is taken. Of keyword arguments only those of `default` are known. */
static bool parse_args(struct parser *p, const char *close, struct jinja_expr *x)
{
    const struct jinja_expr *args[64];
    size_t n = 0;
    while (!is_sign(p, close)) {
        if (n == ARRAY_LEN(args))
            return fail(p, "there are more than 64 items in a row", STR_NONE);
        if (!(args[n] = parse_expr(p)))
            return false;
        if (is_sign(p, "=") && args[n]->op == JINJA_NAME &&
            (str_is(args[n]->text, "boolean") || str_is(args[n]->text, "default_value")) &&
            (!advance(p) || !(args[n] = parse_expr(p))))
            return false;
        x->depth = args[n]->depth >= x->depth ? args[n]->depth + 1 : x->depth;
        n++;
        if (!is_sign(p, ",") ? !is_sign(p, close) && !unexpected(p) : !advance(p))
            return false;
    }
    const struct jinja_expr **kept = arena_alloc(p->arena, (n + 1) * sizeof(*kept));
    memcpy(kept, args, n * sizeof(*kept));
    x->args = kept;
    x->arg_count = n;
    return advance(p);
}

static const struct jinja_expr *parse_word(struct parser *p)
{
    static const struct {
        const char *word;
        struct jinja_value value;
    } words[] = {
        {"true", {.type = JINJA_BOOL, .number = 1}},
        {"True", {.type = JINJA_BOOL, .number = 1}},
        {"false", {.type = JINJA_BOOL}},
        {"False", {.type = JINJA_BOOL}},
        {"none", {.type = JINJA_NULL}},
        {"None", {.type = JINJA_NULL}},
    };
    static const char *const reserved[] = {"and", "or", "not", "in", "is", "if", "else"};
    struct str word = p->value;
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (str_is(word, reserved[i])) {
            unexpected(p);
            return NULL;
        }
    }
    if (!advance(p))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (str_is(word, words[i].word))
            return literal_new(p, words[i].value);
    }
    struct jinja_expr *x = expr_new(p, JINJA_NAME, NULL, NULL);
    if (x)
        x->text = word;
    return x;
}

static const struct jinja_expr *parse_scalar(struct parser *p)
{
    struct jinja_value v = {.type = JINJA_STR, .str = p->value};
    if (p->token == T_INT) {
        v.type = JINJA_INT;
        if (!str_to_i64(p->value, &v.number)) {
            fail(p, "a number is too large: ", p->value);
            return NULL;
        }
    } else if (p->token == T_FLOAT) {
        v.type = JINJA_FLOAT;
        str_to_f64(p->value, &v.real);
    }
    return advance(p) ? literal_new(p, v) : NULL;
}

static const struct jinja_expr *parse_primary(struct parser *p)
{
    if (p->token == T_NAME)
        return parse_word(p);
    if (p->token == T_STRING || p->token == T_INT || p->token == T_FLOAT)
        return parse_scalar(p);
    if (is_sign(p, "(")) {
        const struct jinja_expr *x = advance(p) ? parse_expr(p) : NULL;
        return x && expect_sign(p, ")") ? x : NULL;
    }
    if (is_sign(p, "[")) {
        struct jinja_expr *x = expr_new(p, JINJA_LIST, NULL, NULL);
        return x && advance(p) && parse_args(p, "]", x) ? x : NULL;
    }
    unexpected(p);
    return NULL;
}

static const struct jinja_expr *parse_attribute(struct parser *p, const struct jinja_expr *a)
{
    struct str name;
    if (!advance(p))
        return NULL;
    name = p->value;
    if ((p->token != T_NAME && p->token != T_INT) || name.p[0] == '_') {
        fail(p, "an attribute cannot be called ", name);
        return NULL;
    }
    if (p->token == T_INT) {
        const struct jinja_expr *index = parse_scalar(p);
        return index ? expr_new(p, JINJA_INDEX, a, index) : NULL;
    }
    if (!advance(p))
        return NULL;
    bool pairs = is_sign(p, "(") && (str_is(name, "items") || str_is(name, "keys") || str_is(name, "values"));
    if (pairs && (!advance(p) || !expect_sign(p, ")")))
        return NULL;
    struct jinja_expr *x = expr_new(p, pairs ? JINJA_PAIRS : JINJA_ATTRIBUTE, a, NULL);
    if (x)
        x->text = name;
    return x;
}

static const struct jinja_expr *parse_filter(struct parser *p, const struct jinja_expr *a)
{
    struct jinja_expr *x = expr_new(p, JINJA_FILTER, a, NULL);
    if (!x || !advance(p))
        return NULL;
    x->text = p->value;
    x->filter = p->token == T_NAME ? jinja_filter_find(p->value) : NULL;
    if (!x->filter) {
        fail(p, "there is no filter ", p->value);
        return NULL;
    }
    if (!advance(p) || (is_sign(p, "(") && (!advance(p) || !parse_args(p, ")", x))))
        return NULL;
    if (x->arg_count > x->filter->args_max) {
        fail(p, "too many arguments for the filter ", x->text);
        return NULL;
    }
    return x;
}

static const struct jinja_expr *parse_postfix(struct parser *p)
{
    const struct jinja_expr *x = parse_primary(p);
    while (x) {
        if (is_sign(p, ".")) {
            x = parse_attribute(p, x);
        } else if (is_sign(p, "|")) {
            x = parse_filter(p, x);
        } else if (is_sign(p, "[")) {
            const struct jinja_expr *index = advance(p) ? parse_expr(p) : NULL;
            x = index && expect_sign(p, "]") ? expr_new(p, JINJA_INDEX, x, index) : NULL;
        } else if (is_sign(p, "(")) {
            fail(p, "functions cannot be called", STR_NONE);
            return NULL;
        } else {
            return x;
        }
    }
    return NULL;
}

static const struct jinja_expr *parse_negation(struct parser *p)
{
    if (!is_sign(p, "-"))
        return parse_postfix(p);
    const struct jinja_expr *a = advance(p) ? parse_postfix(p) : NULL;
    return a ? expr_new(p, JINJA_NEGATE, a, NULL) : NULL;
}

struct binary {
    const char *sign;
    enum jinja_op op;
};

/* Operators of one rank, from left to right. */
static const struct jinja_expr *parse_binary(struct parser *p, const struct binary *ops, size_t n,
                                             const struct jinja_expr *(*below)(struct parser *))
{
    const struct jinja_expr *x = below(p);
    for (size_t i = 0; x && i < n;) {
        if (!(p->token == T_SIGN || p->token == T_NAME) || !str_is(p->value, ops[i].sign)) {
            i++;
            continue;
        }
        const struct jinja_expr *right = advance(p) ? below(p) : NULL;
        x = right ? expr_new(p, ops[i].op, x, right) : NULL;
        i = 0;
    }
    return x;
}

static const struct jinja_expr *parse_sum(struct parser *p)
{
    static const struct binary ops[] = {{"+", JINJA_ADD}, {"-", JINJA_SUBTRACT}, {"~", JINJA_CONCAT}};
    return parse_binary(p, ops, ARRAY_LEN(ops), parse_negation);
}

static const struct jinja_expr *inverted(struct parser *p, const struct jinja_expr *x, bool invert)
{
    return x && invert ? expr_new(p, JINJA_NOT, x, NULL) : x;
}

/* `is [not] TEST` */
static const struct jinja_expr *parse_test(struct parser *p, const struct jinja_expr *a)
{
    if (!advance(p))
        return NULL;
    bool invert = is_name(p, "not");
    if (invert && !advance(p))
        return NULL;
    struct jinja_expr *x = expr_new(p, JINJA_TEST, a, NULL);
    if (!x)
        return NULL;
    x->text = p->value;
    if (p->token != T_NAME || !jinja_test_exists(p->value)) {
        fail(p, "there is no test ", p->value);
        return NULL;
    }
    return advance(p) ? inverted(p, x, invert) : NULL;
}

static const struct jinja_expr *parse_comparison(struct parser *p)
{
    static const struct binary ops[] = {{"==", JINJA_EQ}, {"!=", JINJA_NE}, {"<=", JINJA_LE},
                                        {">=", JINJA_GE}, {"<", JINJA_LT},  {">", JINJA_GT},
                                        {"in", JINJA_IN}};
    const struct jinja_expr *x = parse_binary(p, ops, ARRAY_LEN(ops), parse_sum);
    while (x && is_name(p, "is"))
        x = parse_test(p, x);
    if (!x || !is_name(p, "not"))
        return x;
    if (!advance(p))
        return NULL;
    if (!is_name(p, "in")) {
        unexpected(p);
        return NULL;
    }
    const struct jinja_expr *right = advance(p) ? parse_sum(p) : NULL;
    return right ? inverted(p, expr_new(p, JINJA_IN, x, right), true) : NULL;
}

static const struct jinja_expr *parse_not(struct parser *p)
{
    bool invert = false;
    while (is_name(p, "not")) {
        invert = !invert;
        if (!advance(p))
            return NULL;
    }
    return inverted(p, parse_comparison(p), invert);
}

static const struct jinja_expr *parse_and(struct parser *p)
{
    static const struct binary ops[] = {{"and", JINJA_AND}};
    return parse_binary(p, ops, 1, parse_not);
}

static const struct jinja_expr *parse_or(struct parser *p)
{
    static const struct binary ops[] = {{"or", JINJA_OR}};
    return parse_binary(p, ops, 1, parse_and);
}

static const struct jinja_expr *parse_choice(struct parser *p)
{
    const struct jinja_expr *a = parse_or(p), *b, *c = NULL;
    if (!a || !is_name(p, "if"))
        return a;
    if (!advance(p) || !(b = parse_or(p)))
        return NULL;
    if (is_name(p, "else") && (!advance(p) || !(c = parse_expr(p))))
        return NULL;
    struct jinja_expr *x = expr_new(p, JINJA_CHOICE, a, b);
    if (!x)
        return NULL;
    x->c = c;
    x->depth = c && c->depth >= x->depth ? c->depth + 1 : x->depth;
    return x;
}

static const struct jinja_expr *parse_expr(struct parser *p)
{
    const struct jinja_expr *x = NULL;
    if (++p->nesting > JINJA_NESTING_MAX)
        fail(p, "an expression is too deep", STR_NONE);
    else
        x = parse_choice(p);
    p->nesting--;
    return x;
}

/* ---- statements ---- */

/* Up to the next tag: its text, without the white space that dashes take away. */
static struct str take_text(struct parser *p)
{
    size_t from = p->at, end = from;
    while (end < p->text.n && !(p->text.p[end] == '{' && end + 1 < p->text.n &&
                                str_find_char(STR("{%#"), p->text.p[end + 1]) >= 0))
        end++;
    struct str text = str_sub(p->text, from, end);
    if (p->strip) {
        while (text.n > 0 && is_space(text.p[0]))
            text = str_sub(text, 1, text.n);
    }
    p->strip = false;
    if (end + 2 < p->text.n && p->text.p[end + 2] == '-') {
        while (text.n > 0 && is_space(text.p[text.n - 1]))
            text.n--;
    }
    skip(p, end - from);
    return text;
}

static bool skip_comment(struct parser *p)
{
    ssize_t end = str_find(str_sub(p->text, p->at, p->text.n), STR("#}"));
    if (end < 0)
        return fail(p, "a comment does not end", STR_NONE);
    p->strip = end > 2 && p->text.p[p->at + (size_t)end - 1] == '-';
    skip(p, (size_t)end + 2);
    return true;
}

static bool open_tag(struct parser *p, const char *close)
{
    p->close = close;
    skip(p, 2);
    if (p->at < p->text.n && (p->text.p[p->at] == '-' || p->text.p[p->at] == '+'))
        skip(p, 1);
    return advance(p);
}

static bool close_tag(struct parser *p)
{
    size_t n;
    if (p->token != T_END || !at_close(p, &n))
        return unexpected(p);
    p->strip = p->text.p[p->at] == '-';
    skip(p, n);
    return true;
}

static struct jinja_statement *statement_new(struct parser *p, enum jinja_statement_kind kind)
{
    struct jinja_statement *s = ARENA_NEW(p->arena, struct jinja_statement);
    s->kind = kind;
    s->line = p->line;
    return s;
}

static bool parse_block(struct parser *p, struct jinja_statement **first);

/* The tag that ended a block is at its first word: is it this one? */
static bool take_word(struct parser *p, const char *word)
{
    return is_name(p, word) && advance(p);
}

static bool take_name(struct parser *p, struct str *name)
{
    if (p->token != T_NAME || p->value.p[0] == '_')
        return unexpected(p);
    *name = p->value;
    return advance(p);
}

static bool parse_else(struct parser *p, struct jinja_statement *s, const char *end)
{
    if (take_word(p, "else") && (!close_tag(p) || !parse_block(p, &s->other)))
        return false;
    if (!is_name(p, end))
        return *p->e ? false : fail(p, "this tag was expected: ", str_from(end));
    return advance(p) && close_tag(p);
}

static bool parse_if(struct parser *p, struct jinja_statement *s)
{
    for (;;) {
        if (!(s->expr = parse_expr(p)) || !close_tag(p) || !parse_block(p, &s->body))
            return false;
        if (!is_name(p, "elif"))
            return parse_else(p, s, "endif");
        s = s->other = statement_new(p, JINJA_IF);
        if (!advance(p))
            return false;
    }
}

static bool parse_for(struct parser *p, struct jinja_statement *s)
{
    if (!take_name(p, &s->text))
        return false;
    if (is_sign(p, ",") && (!advance(p) || !take_name(p, &s->second)))
        return false;
    if (!is_name(p, "in"))
        return unexpected(p);
    if (!advance(p) || !(s->expr = parse_or(p)))
        return false;
    if (take_word(p, "if") && !(s->where = parse_expr(p)))
        return false;
    return close_tag(p) && parse_block(p, &s->body) && parse_else(p, s, "endfor");
}

static bool parse_set(struct parser *p, struct jinja_statement *s)
{
    return take_name(p, &s->text) && expect_sign(p, "=") && (s->expr = parse_expr(p)) && close_tag(p);
}

/* Text up to {% endraw %} as it stands. */
static bool parse_raw(struct parser *p, struct jinja_statement *s)
{
    if (!close_tag(p))
        return false;
    size_t from = p->at;
    for (p->strip = false; p->at < p->text.n; skip(p, 1)) {
        size_t end = p->at;
        if (!starts_with(p, "{%"))
            continue;
        struct parser look = *p;
        autoerr none = NULL;
        look.e = &none;
        if (!open_tag(&look, "%}") || !is_name(&look, "endraw"))
            continue;
        s->text = str_sub(p->text, from, end);
        return open_tag(p, "%}") && advance(p) && close_tag(p);
    }
    return fail(p, "this tag was expected: ", STR("endraw"));
}

enum tag { TAG_STATEMENT, TAG_END_OF_BLOCK, TAG_BAD };

/* One {% tag %}. Those that end a block are left to whoever began it. */
static enum tag parse_tag(struct parser *p, struct jinja_statement **out)
{
    static const struct {
        const char *word;
        enum jinja_statement_kind kind;
        bool (*parse)(struct parser *p, struct jinja_statement *s);
    } tags[] = {{"if", JINJA_IF, parse_if},
                {"for", JINJA_FOR, parse_for},
                {"set", JINJA_SET, parse_set},
                {"raw", JINJA_TEXT, parse_raw}};
    static const char *const ends[] = {"elif", "else", "endif", "endfor"};
    if (!open_tag(p, "%}"))
        return TAG_BAD;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        if (is_name(p, ends[i]) && p->blocks > 0)
            return TAG_END_OF_BLOCK;
    }
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        if (!is_name(p, tags[i].word))
            continue;
        *out = statement_new(p, tags[i].kind);
        return advance(p) && tags[i].parse(p, *out) ? TAG_STATEMENT : TAG_BAD;
    }
    fail(p, "there is no tag ", p->value);
    return TAG_BAD;
}

static bool parse_out(struct parser *p, struct jinja_statement **out)
{
    *out = statement_new(p, JINJA_OUT);
    return open_tag(p, "}}") && ((*out)->expr = parse_expr(p)) && close_tag(p);
}

/* Statements up to the end of the text (outside of all blocks) or to the first word of the tag that ends the block. */
static bool parse_statements(struct parser *p, struct jinja_statement **end)
{
    for (;;) {
        struct str text = take_text(p);
        struct jinja_statement *s = NULL;
        if (arena_size(p->arena) > JINJA_MEMORY_MAX)
            return fail(p, "the template is too large", STR_NONE);
        if (text.n > 0) {
            s = statement_new(p, JINJA_TEXT);
            s->text = text;
            *end = s;
            end = &s->next;
        }
        if (p->at >= p->text.n)
            return p->blocks == 0 || fail(p, "a block does not end", STR_NONE);
        enum tag tag = TAG_STATEMENT;
        s = NULL;
        if (starts_with(p, "{#"))
            tag = skip_comment(p) ? TAG_STATEMENT : TAG_BAD;
        else if (starts_with(p, "{{"))
            tag = parse_out(p, &s) ? TAG_STATEMENT : TAG_BAD;
        else
            tag = parse_tag(p, &s);
        if (tag != TAG_STATEMENT)
            return tag == TAG_END_OF_BLOCK;
        if (s) {
            *end = s;
            end = &s->next;
        }
    }
}

static bool parse_block(struct parser *p, struct jinja_statement **first)
{
    if (p->blocks == JINJA_BLOCKS_MAX)
        return fail(p, "blocks are too deep", STR_NONE);
    p->blocks++;
    bool ok = parse_statements(p, first);
    p->blocks--;
    return ok;
}

bool jinja_parse(struct str text, struct arena *arena, struct jinja_statement **first, struct err **e)
{
    autoerr why = NULL;
    struct parser p = {.text = text, .line = 1, .arena = arena, .e = &why};
    *first = NULL;
    if (text.n > JINJA_TEMPLATE_MAX)
        return err_set(e, ERR_INVALID, "line 1: the template has more than %d bytes", JINJA_TEMPLATE_MAX);
    if (parse_statements(&p, first))
        return true;
    return err_set(e, ERR_INVALID, "%s", why ? why->text : "the template cannot be read");
}
