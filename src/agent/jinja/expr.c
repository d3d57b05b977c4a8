/* Tokens and expressions of templates. Recursive descent; every rule that calls itself is bounded. */
#include "agent/jinja/parser.h"
#include "base/cleanup.h"

bool jinja_bad(struct jinja_parser *p, const char *what, struct str which)
{
    return err_set(p->e, ERR_INVALID, "line %u: %s%.*s", p->line, what, STR_ARG(str_sub(which, 0, 60)));
}

/* ---- tokens ---- */

bool jinja_is_space(char c)
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

bool jinja_starts(const struct jinja_parser *p, const char *z)
{
    return str_starts(str_sub(p->text, p->at, p->text.n), str_from(z));
}

void jinja_skip(struct jinja_parser *p, size_t n)
{
    for (; n > 0 && p->at < p->text.n; n--)
        p->line += p->text.p[p->at++] == '\n';
}

static bool read_string(struct jinja_parser *p)
{
    char quote = p->text.p[p->at];
    autobuf out = {0};
    for (jinja_skip(p, 1); p->at < p->text.n && p->text.p[p->at] != quote; jinja_skip(p, 1)) {
        char c = p->text.p[p->at];
        if (c == '\\' && p->at + 1 < p->text.n) {
            jinja_skip(p, 1);
            c = p->text.p[p->at];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        buf_add_char(&out, c);
    }
    if (p->at == p->text.n)
        return jinja_bad(p, "a string does not end", STR_NONE);
    jinja_skip(p, 1);
    p->token = T_STRING;
    p->value = arena_str(p->arena, buf_str(&out));
    return true;
}

static void read_number(struct jinja_parser *p)
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
bool jinja_at_close(const struct jinja_parser *p, size_t *n)
{
    size_t dash = p->at < p->text.n && (p->text.p[p->at] == '-' || p->text.p[p->at] == '+');
    *n = dash + 2;
    return str_starts(str_sub(p->text, p->at + dash, p->text.n), str_from(p->close));
}

bool jinja_advance(struct jinja_parser *p)
{
    static const char *const signs[] = {"==", "!=", "<=", ">=", "//", "**"};
    size_t n;
    while (p->at < p->text.n && jinja_is_space(p->text.p[p->at]))
        jinja_skip(p, 1);
    if (p->at >= p->text.n)
        return jinja_bad(p, "a tag does not end with ", str_from(p->close));
    if (jinja_at_close(p, &n)) {
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
            n = jinja_starts(p, signs[i]) ? 2 : n;
        p->at += n;
    }
    p->value = str_sub(p->text, from, p->at);
    return true;
}

bool jinja_is_name(const struct jinja_parser *p, const char *name)
{
    return p->token == T_NAME && str_is(p->value, name);
}

bool jinja_is_sign(const struct jinja_parser *p, const char *sign)
{
    return p->token == T_SIGN && str_is(p->value, sign);
}

bool jinja_unexpected(struct jinja_parser *p)
{
    if (p->token == T_END)
        return jinja_bad(p, "the tag ends too early", STR_NONE);
    return jinja_bad(p, "this is not understood here: ", p->value);
}

bool jinja_expect(struct jinja_parser *p, const char *sign)
{
    return jinja_is_sign(p, sign) ? jinja_advance(p) : jinja_unexpected(p);
}

/* ---- expressions ---- */

static struct jinja_expr *expr_new(struct jinja_parser *p, enum jinja_op op, const struct jinja_expr *a,
                                   const struct jinja_expr *b)
{
    struct jinja_expr *x = ARENA_NEW(p->arena, struct jinja_expr);
    unsigned da = a ? a->depth : 0, db = b ? b->depth : 0;
    *x = (struct jinja_expr){.op = op, .a = a, .b = b, .line = p->line, .depth = (da > db ? da : db) + 1};
    if (x->depth > JINJA_DEPTH_MAX || arena_size(p->arena) > JINJA_MEMORY_MAX) {
        jinja_bad(p, "an expression is too long or too deep", STR_NONE);
        return NULL;
    }
    return x;
}

static const struct jinja_expr *literal_new(struct jinja_parser *p, struct jinja_value value)
{
    struct jinja_expr *x = expr_new(p, JINJA_LITERAL, NULL, NULL);
    if (x)
        x->literal = value;
    return x;
}

/* Comma-separated expressions up to `close`, which is taken. Of keyword arguments only those of `default` are known. */
static bool parse_args(struct jinja_parser *p, const char *close, struct jinja_expr *x)
{
    const struct jinja_expr *args[64] = {NULL};
    size_t n = 0;
    while (!jinja_is_sign(p, close)) {
        if (n == ARRAY_LEN(args))
            return jinja_bad(p, "there are more than 64 items in a row", STR_NONE);
        if (!(args[n] = jinja_parse_expr(p)))
            return false;
        if (jinja_is_sign(p, "=") && args[n]->op == JINJA_NAME &&
            (str_is(args[n]->text, "boolean") || str_is(args[n]->text, "default_value")) &&
            (!jinja_advance(p) || !(args[n] = jinja_parse_expr(p))))
            return false;
        x->depth = args[n]->depth >= x->depth ? args[n]->depth + 1 : x->depth;
        n++;
        if (!jinja_is_sign(p, ",") ? !jinja_is_sign(p, close) && !jinja_unexpected(p) : !jinja_advance(p))
            return false;
    }
    const struct jinja_expr **kept = arena_alloc(p->arena, (n + 1) * sizeof(*kept));
    memcpy(kept, args, n * sizeof(*kept));
    x->args = kept;
    x->arg_count = n;
    return jinja_advance(p);
}

static const struct jinja_expr *parse_word(struct jinja_parser *p)
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
            jinja_unexpected(p);
            return NULL;
        }
    }
    if (!jinja_advance(p))
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

static const struct jinja_expr *parse_scalar(struct jinja_parser *p)
{
    struct jinja_value v = {.type = JINJA_STR, .str = p->value};
    if (p->token == T_INT) {
        v.type = JINJA_INT;
        if (!str_to_i64(p->value, &v.number)) {
            jinja_bad(p, "a number is too large: ", p->value);
            return NULL;
        }
    } else if (p->token == T_FLOAT) {
        v.type = JINJA_FLOAT;
        str_to_f64(p->value, &v.real);
    }
    return jinja_advance(p) ? literal_new(p, v) : NULL;
}

static const struct jinja_expr *parse_primary(struct jinja_parser *p)
{
    if (p->token == T_NAME)
        return parse_word(p);
    if (p->token == T_STRING || p->token == T_INT || p->token == T_FLOAT)
        return parse_scalar(p);
    if (jinja_is_sign(p, "(")) {
        const struct jinja_expr *x = jinja_advance(p) ? jinja_parse_expr(p) : NULL;
        return x && jinja_expect(p, ")") ? x : NULL;
    }
    if (jinja_is_sign(p, "[")) {
        struct jinja_expr *x = expr_new(p, JINJA_LIST, NULL, NULL);
        return x && jinja_advance(p) && parse_args(p, "]", x) ? x : NULL;
    }
    jinja_unexpected(p);
    return NULL;
}

static const struct jinja_expr *parse_attribute(struct jinja_parser *p, const struct jinja_expr *a)
{
    struct str name;
    if (!jinja_advance(p))
        return NULL;
    name = p->value;
    if ((p->token != T_NAME && p->token != T_INT) || name.p[0] == '_') {
        jinja_bad(p, "an attribute cannot be called ", name);
        return NULL;
    }
    if (p->token == T_INT) {
        const struct jinja_expr *index = parse_scalar(p);
        return index ? expr_new(p, JINJA_INDEX, a, index) : NULL;
    }
    if (!jinja_advance(p))
        return NULL;
    bool pairs =
        jinja_is_sign(p, "(") && (str_is(name, "items") || str_is(name, "keys") || str_is(name, "values"));
    if (pairs && (!jinja_advance(p) || !jinja_expect(p, ")")))
        return NULL;
    struct jinja_expr *x = expr_new(p, pairs ? JINJA_PAIRS : JINJA_ATTRIBUTE, a, NULL);
    if (x)
        x->text = name;
    return x;
}

static const struct jinja_expr *parse_filter(struct jinja_parser *p, const struct jinja_expr *a)
{
    struct jinja_expr *x = expr_new(p, JINJA_FILTER, a, NULL);
    if (!x || !jinja_advance(p))
        return NULL;
    x->text = p->value;
    x->filter = p->token == T_NAME ? jinja_filter_find(p->value) : NULL;
    if (!x->filter) {
        jinja_bad(p, "there is no filter ", p->value);
        return NULL;
    }
    if (!jinja_advance(p) || (jinja_is_sign(p, "(") && (!jinja_advance(p) || !parse_args(p, ")", x))))
        return NULL;
    if (x->arg_count > x->filter->args_max) {
        jinja_bad(p, "too many arguments for the filter ", x->text);
        return NULL;
    }
    return x;
}

static const struct jinja_expr *parse_postfix(struct jinja_parser *p)
{
    const struct jinja_expr *x = parse_primary(p);
    while (x) {
        if (jinja_is_sign(p, ".")) {
            x = parse_attribute(p, x);
        } else if (jinja_is_sign(p, "|")) {
            x = parse_filter(p, x);
        } else if (jinja_is_sign(p, "[")) {
            const struct jinja_expr *index = jinja_advance(p) ? jinja_parse_expr(p) : NULL;
            x = index && jinja_expect(p, "]") ? expr_new(p, JINJA_INDEX, x, index) : NULL;
        } else if (jinja_is_sign(p, "(")) {
            jinja_bad(p, "functions cannot be called", STR_NONE);
            return NULL;
        } else {
            return x;
        }
    }
    return NULL;
}

static const struct jinja_expr *parse_negation(struct jinja_parser *p)
{
    if (!jinja_is_sign(p, "-"))
        return parse_postfix(p);
    const struct jinja_expr *a = jinja_advance(p) ? parse_postfix(p) : NULL;
    return a ? expr_new(p, JINJA_NEGATE, a, NULL) : NULL;
}

struct binary {
    const char *sign;
    enum jinja_op op;
};

/* Operators of one rank, from left to right. */
static const struct jinja_expr *parse_binary(struct jinja_parser *p, const struct binary *ops, size_t n,
                                             const struct jinja_expr *(*below)(struct jinja_parser *))
{
    const struct jinja_expr *x = below(p);
    for (size_t i = 0; x && i < n;) {
        if (!(p->token == T_SIGN || p->token == T_NAME) || !str_is(p->value, ops[i].sign)) {
            i++;
            continue;
        }
        const struct jinja_expr *right = jinja_advance(p) ? below(p) : NULL;
        x = right ? expr_new(p, ops[i].op, x, right) : NULL;
        i = 0;
    }
    return x;
}

static const struct jinja_expr *parse_sum(struct jinja_parser *p)
{
    static const struct binary ops[] = {{"+", JINJA_ADD}, {"-", JINJA_SUBTRACT}, {"~", JINJA_CONCAT}};
    return parse_binary(p, ops, ARRAY_LEN(ops), parse_negation);
}

static const struct jinja_expr *inverted(struct jinja_parser *p, const struct jinja_expr *x, bool invert)
{
    return x && invert ? expr_new(p, JINJA_NOT, x, NULL) : x;
}

/* `is [not] TEST` */
static const struct jinja_expr *parse_test(struct jinja_parser *p, const struct jinja_expr *a)
{
    if (!jinja_advance(p))
        return NULL;
    bool invert = jinja_is_name(p, "not");
    if (invert && !jinja_advance(p))
        return NULL;
    struct jinja_expr *x = expr_new(p, JINJA_TEST, a, NULL);
    if (!x)
        return NULL;
    x->text = p->value;
    if (p->token != T_NAME || !jinja_test_exists(p->value)) {
        jinja_bad(p, "there is no test ", p->value);
        return NULL;
    }
    return jinja_advance(p) ? inverted(p, x, invert) : NULL;
}

static const struct jinja_expr *parse_comparison(struct jinja_parser *p)
{
    static const struct binary ops[] = {{"==", JINJA_EQ}, {"!=", JINJA_NE}, {"<=", JINJA_LE},
                                        {">=", JINJA_GE}, {"<", JINJA_LT},  {">", JINJA_GT},
                                        {"in", JINJA_IN}};
    const struct jinja_expr *x = parse_binary(p, ops, ARRAY_LEN(ops), parse_sum);
    while (x && jinja_is_name(p, "is"))
        x = parse_test(p, x);
    if (!x || !jinja_is_name(p, "not"))
        return x;
    if (!jinja_advance(p))
        return NULL;
    if (!jinja_is_name(p, "in")) {
        jinja_unexpected(p);
        return NULL;
    }
    const struct jinja_expr *right = jinja_advance(p) ? parse_sum(p) : NULL;
    return right ? inverted(p, expr_new(p, JINJA_IN, x, right), true) : NULL;
}

static const struct jinja_expr *parse_not(struct jinja_parser *p)
{
    bool invert = false;
    while (jinja_is_name(p, "not")) {
        invert = !invert;
        if (!jinja_advance(p))
            return NULL;
    }
    return inverted(p, parse_comparison(p), invert);
}

static const struct jinja_expr *parse_and(struct jinja_parser *p)
{
    static const struct binary ops[] = {{"and", JINJA_AND}};
    return parse_binary(p, ops, 1, parse_not);
}

const struct jinja_expr *jinja_parse_or(struct jinja_parser *p)
{
    static const struct binary ops[] = {{"or", JINJA_OR}};
    return parse_binary(p, ops, 1, parse_and);
}

static const struct jinja_expr *parse_choice(struct jinja_parser *p)
{
    const struct jinja_expr *a = jinja_parse_or(p), *b, *c = NULL;
    if (!a || !jinja_is_name(p, "if"))
        return a;
    if (!jinja_advance(p) || !(b = jinja_parse_or(p)))
        return NULL;
    if (jinja_is_name(p, "else") && (!jinja_advance(p) || !(c = jinja_parse_expr(p))))
        return NULL;
    struct jinja_expr *x = expr_new(p, JINJA_CHOICE, a, b);
    if (!x)
        return NULL;
    x->c = c;
    x->depth = c && c->depth >= x->depth ? c->depth + 1 : x->depth;
    return x;
}

const struct jinja_expr *jinja_parse_expr(struct jinja_parser *p)
{
    const struct jinja_expr *x = NULL;
    if (++p->nesting > JINJA_NESTING_MAX)
        jinja_bad(p, "an expression is too deep", STR_NONE);
    else
        x = parse_choice(p);
    p->nesting--;
    return x;
}
