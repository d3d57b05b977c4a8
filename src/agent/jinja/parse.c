/* From text to a tree: text, tags and statements. */
#include "agent/jinja/parser.h"
#include "base/cleanup.h"

/* ---- statements ---- */

/* Up to the next tag: its text, without the white space that dashes take away. */
static struct str take_text(struct jinja_parser *p)
{
    size_t from = p->at, end = from;
    while (end < p->text.n && !(p->text.p[end] == '{' && end + 1 < p->text.n &&
                                str_find_char(STR("{%#"), p->text.p[end + 1]) >= 0))
        end++;
    struct str text = str_sub(p->text, from, end);
    if (p->strip) {
        while (text.n > 0 && jinja_is_space(text.p[0]))
            text = str_sub(text, 1, text.n);
    }
    p->strip = false;
    if (end + 2 < p->text.n && p->text.p[end + 2] == '-') {
        while (text.n > 0 && jinja_is_space(text.p[text.n - 1]))
            text.n--;
    }
    jinja_skip(p, end - from);
    return text;
}

static bool skip_comment(struct jinja_parser *p)
{
    ssize_t end = str_find(str_sub(p->text, p->at, p->text.n), STR("#}"));
    if (end < 0)
        return jinja_bad(p, "a comment does not end", STR_NONE);
    p->strip = end > 2 && p->text.p[p->at + (size_t)end - 1] == '-';
    jinja_skip(p, (size_t)end + 2);
    return true;
}

static bool open_tag(struct jinja_parser *p, const char *close)
{
    p->close = close;
    jinja_skip(p, 2);
    if (p->at < p->text.n && (p->text.p[p->at] == '-' || p->text.p[p->at] == '+'))
        jinja_skip(p, 1);
    return jinja_advance(p);
}

static bool close_tag(struct jinja_parser *p)
{
    size_t n;
    if (p->token != T_END || !jinja_at_close(p, &n))
        return jinja_unexpected(p);
    p->strip = p->text.p[p->at] == '-';
    jinja_skip(p, n);
    return true;
}

static struct jinja_statement *statement_new(struct jinja_parser *p, enum jinja_statement_kind kind)
{
    struct jinja_statement *s = ARENA_NEW(p->arena, struct jinja_statement);
    s->kind = kind;
    s->line = p->line;
    return s;
}

static bool parse_block(struct jinja_parser *p, struct jinja_statement **first);

/* The tag that ended a block is at its first word: is it this one? */
static bool take_word(struct jinja_parser *p, const char *word)
{
    return jinja_is_name(p, word) && jinja_advance(p);
}

static bool take_name(struct jinja_parser *p, struct str *name)
{
    if (p->token != T_NAME || p->value.p[0] == '_')
        return jinja_unexpected(p);
    *name = p->value;
    return jinja_advance(p);
}

static bool parse_else(struct jinja_parser *p, struct jinja_statement *s, const char *end)
{
    if (take_word(p, "else") && (!close_tag(p) || !parse_block(p, &s->other)))
        return false;
    if (!jinja_is_name(p, end))
        return *p->e ? false : jinja_bad(p, "this tag was expected: ", str_from(end));
    return jinja_advance(p) && close_tag(p);
}

static bool parse_if(struct jinja_parser *p, struct jinja_statement *s)
{
    for (;;) {
        if (!(s->expr = jinja_parse_expr(p)) || !close_tag(p) || !parse_block(p, &s->body))
            return false;
        if (!jinja_is_name(p, "elif"))
            return parse_else(p, s, "endif");
        s = s->other = statement_new(p, JINJA_IF);
        if (!jinja_advance(p))
            return false;
    }
}

static bool parse_for(struct jinja_parser *p, struct jinja_statement *s)
{
    if (!take_name(p, &s->text))
        return false;
    if (jinja_is_sign(p, ",") && (!jinja_advance(p) || !take_name(p, &s->second)))
        return false;
    if (!jinja_is_name(p, "in"))
        return jinja_unexpected(p);
    if (!jinja_advance(p) || !(s->expr = jinja_parse_or(p)))
        return false;
    if (take_word(p, "if") && !(s->where = jinja_parse_expr(p)))
        return false;
    return close_tag(p) && parse_block(p, &s->body) && parse_else(p, s, "endfor");
}

static bool parse_set(struct jinja_parser *p, struct jinja_statement *s)
{
    return take_name(p, &s->text) && jinja_expect(p, "=") && (s->expr = jinja_parse_expr(p)) && close_tag(p);
}

/* Text up to {% endraw %} as it stands. */
static bool parse_raw(struct jinja_parser *p, struct jinja_statement *s)
{
    if (!close_tag(p))
        return false;
    size_t from = p->at;
    for (p->strip = false; p->at < p->text.n; jinja_skip(p, 1)) {
        size_t end = p->at;
        if (!jinja_starts(p, "{%"))
            continue;
        struct jinja_parser look = *p;
        autoerr none = NULL;
        look.e = &none;
        if (!open_tag(&look, "%}") || !jinja_is_name(&look, "endraw"))
            continue;
        s->text = str_sub(p->text, from, end);
        return open_tag(p, "%}") && jinja_advance(p) && close_tag(p);
    }
    return jinja_bad(p, "this tag was expected: ", STR("endraw"));
}

enum tag { TAG_STATEMENT, TAG_END_OF_BLOCK, TAG_BAD };

/* One {% tag %}. Those that end a block are left to whoever began it. */
static enum tag parse_tag(struct jinja_parser *p, struct jinja_statement **out)
{
    static const struct {
        const char *word;
        enum jinja_statement_kind kind;
        bool (*parse)(struct jinja_parser *p, struct jinja_statement *s);
    } tags[] = {{"if", JINJA_IF, parse_if},
                {"for", JINJA_FOR, parse_for},
                {"set", JINJA_SET, parse_set},
                {"raw", JINJA_TEXT, parse_raw}};
    static const char *const ends[] = {"elif", "else", "endif", "endfor"};
    if (!open_tag(p, "%}"))
        return TAG_BAD;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        if (jinja_is_name(p, ends[i]) && p->blocks > 0)
            return TAG_END_OF_BLOCK;
    }
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        if (!jinja_is_name(p, tags[i].word))
            continue;
        *out = statement_new(p, tags[i].kind);
        return jinja_advance(p) && tags[i].parse(p, *out) ? TAG_STATEMENT : TAG_BAD;
    }
    jinja_bad(p, "there is no tag ", p->value);
    return TAG_BAD;
}

static bool parse_out(struct jinja_parser *p, struct jinja_statement **out)
{
    *out = statement_new(p, JINJA_OUT);
    return open_tag(p, "}}") && ((*out)->expr = jinja_parse_expr(p)) && close_tag(p);
}

/* Statements up to the end of the text (outside of all blocks) or to the first word of the tag that ends the block. */
static bool parse_statements(struct jinja_parser *p, struct jinja_statement **end)
{
    for (;;) {
        struct str text = take_text(p);
        struct jinja_statement *s = NULL;
        if (arena_size(p->arena) > JINJA_MEMORY_MAX)
            return jinja_bad(p, "the template is too large", STR_NONE);
        if (text.n > 0) {
            s = statement_new(p, JINJA_TEXT);
            s->text = text;
            *end = s;
            end = &s->next;
        }
        if (p->at >= p->text.n)
            return p->blocks == 0 || jinja_bad(p, "a block does not end", STR_NONE);
        enum tag tag = TAG_STATEMENT;
        s = NULL;
        if (jinja_starts(p, "{#"))
            tag = skip_comment(p) ? TAG_STATEMENT : TAG_BAD;
        else if (jinja_starts(p, "{{"))
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

static bool parse_block(struct jinja_parser *p, struct jinja_statement **first)
{
    if (p->blocks == JINJA_BLOCKS_MAX)
        return jinja_bad(p, "blocks are too deep", STR_NONE);
    p->blocks++;
    bool ok = parse_statements(p, first);
    p->blocks--;
    return ok;
}

bool jinja_parse(struct str text, struct arena *arena, struct jinja_statement **first, struct err **e)
{
    autoerr why = NULL;
    struct jinja_parser p = {.text = text, .line = 1, .arena = arena, .e = &why};
    *first = NULL;
    if (text.n > JINJA_TEMPLATE_MAX)
        return err_set(e, ERR_INVALID, "line 1: the template has more than %d bytes", JINJA_TEMPLATE_MAX);
    if (parse_statements(&p, first))
        return true;
    return err_set(e, ERR_INVALID, "%s", why ? why->text : "the template cannot be read");
}
