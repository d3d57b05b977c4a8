/* Values of templates: what they are, how they compare and print, and the tables of filters and tests. */
#include "agent/jinja/internal.h"
#include "json/writer.h"
#include "base/cleanup.h"
#include "base/utf8.h"
#include <math.h>

#define PRINT_MAX JINJA_OUTPUT_MAX

struct jinja_value jinja_bool(bool b)
{
    return (struct jinja_value){.type = JINJA_BOOL, .number = b};
}

struct jinja_value jinja_text(struct str s)
{
    return (struct jinja_value){.type = JINJA_STR, .str = s};
}

static struct jinja_value integer(int64_t n)
{
    return (struct jinja_value){.type = JINJA_INT, .number = n};
}

struct jinja_value jinja_from_json(const struct json_value *v)
{
    switch (json_type(v)) {
    case JSON_ABSENT: return (struct jinja_value){.type = JINJA_UNDEFINED};
    case JSON_NULL: return (struct jinja_value){.type = JINJA_NULL};
    case JSON_BOOL: return jinja_bool(json_bool(v, false));
    case JSON_INT: return integer(json_int(v, 0));
    case JSON_FLOAT: return (struct jinja_value){.type = JINJA_FLOAT, .real = json_float(v, 0)};
    case JSON_STRING: return jinja_text(json_str(v));
    case JSON_ARRAY:
    case JSON_OBJECT: break;
    }
    return (struct jinja_value){.type = JINJA_JSON, .json = v};
}

bool jinja_truth(const struct jinja_value *v)
{
    switch (v->type) {
    case JINJA_UNDEFINED:
    case JINJA_NULL: return false;
    case JINJA_BOOL:
    case JINJA_INT: return v->number != 0;
    case JINJA_FLOAT: return v->real != 0;
    case JINJA_STR: return v->str.n > 0;
    case JINJA_ITEMS:
    case JINJA_JSON: return jinja_count(v) > 0;
    }
    return false;
}

size_t jinja_count(const struct jinja_value *v)
{
    return v->type == JINJA_JSON    ? json_count(v->json)
           : v->type == JINJA_ITEMS ? v->n
           : v->type == JINJA_STR   ? utf8_count(v->str)
                                    : 0;
}

struct jinja_value jinja_at(const struct jinja_value *v, size_t index)
{
    if (v->type == JINJA_ITEMS && index < v->n)
        return v->items[index];
    if (v->type == JINJA_JSON) {
        for (struct json_iter it = json_iter(v->json); json_next(&it);) {
            if (it.index == index)
                return it.key.p ? jinja_text(it.key) : jinja_from_json(it.value);
        }
    }
    return (struct jinja_value){.type = JINJA_UNDEFINED};
}

static bool is_number(const struct jinja_value *v)
{
    return v->type == JINJA_BOOL || v->type == JINJA_INT || v->type == JINJA_FLOAT;
}

static double number_of(const struct jinja_value *v)
{
    return v->type == JINJA_FLOAT ? v->real : (double)v->number;
}

bool jinja_equal(const struct jinja_value *a, const struct jinja_value *b)
{
    if (is_number(a) && is_number(b))
        return number_of(a) == number_of(b);
    if (a->type == JINJA_JSON && b->type == JINJA_JSON)
        return json_equal(a->json, b->json);
    if (a->type == JINJA_STR && b->type == JINJA_STR)
        return str_eq(a->str, b->str);
    bool lists = (a->type == JINJA_ITEMS || a->type == JINJA_JSON) &&
                 (b->type == JINJA_ITEMS || b->type == JINJA_JSON);
    if (!lists)
        return a->type == b->type && (a->type == JINJA_NULL || a->type == JINJA_UNDEFINED);
    if (jinja_count(a) != jinja_count(b))
        return false;
    for (size_t i = 0, n = jinja_count(a); i < n; i++) {
        struct jinja_value x = jinja_at(a, i), y = jinja_at(b, i);
        bool deep =
            x.type == JINJA_ITEMS && y.type == JINJA_ITEMS; /* lists of lists made here: not compared */
        if (deep || !jinja_equal(&x, &y))
            return false;
    }
    return true;
}

/* ---- printing ---- */

static void print_quoted(struct str s, struct buf *out)
{
    char quote = str_find_char(s, '\'') >= 0 && str_find_char(s, '"') < 0 ? '"' : '\'';
    buf_add_char(out, quote);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '\\' || c == quote)
            buf_add_char(out, '\\');
        if (c == '\n' || c == '\t' || c == '\r')
            buf_add(out, c == '\n' ? STR("\\n") : c == '\t' ? STR("\\t") : STR("\\r"));
        else
            buf_add_char(out, c);
    }
    buf_add_char(out, quote);
}

static void print_inside(const struct jinja_value *v, struct buf *out)
{
    if (v->type == JINJA_STR)
        print_quoted(v->str, out);
    else
        jinja_print(v, out);
}

/* Lists and objects as Python shows them. */
static void print_list(const struct jinja_value *v, struct buf *out)
{
    bool object = v->type == JINJA_JSON && json_type(v->json) == JSON_OBJECT;
    buf_add_char(out, object ? '{' : '[');
    for (size_t i = 0; v->type == JINJA_ITEMS && i < v->n && out->n < PRINT_MAX; i++) {
        buf_add(out, i ? STR(", ") : STR(""));
        print_inside(&v->items[i], out);
    }
    for (struct json_iter it = json_iter(v->type == JINJA_JSON ? v->json : NULL); json_next(&it);) {
        struct jinja_value item = jinja_from_json(it.value);
        buf_add(out, it.index ? STR(", ") : STR(""));
        if (object) {
            print_quoted(it.key, out);
            buf_add(out, STR(": "));
        }
        print_inside(&item, out);
        if (out->n > PRINT_MAX)
            break;
    }
    buf_add_char(out, object ? '}' : ']');
}

void jinja_print(const struct jinja_value *v, struct buf *out)
{
    struct json_writer w = json_writer(out);
    switch (v->type) {
    case JINJA_UNDEFINED: return;
    case JINJA_NULL: buf_add(out, STR("None")); return;
    case JINJA_BOOL: buf_add(out, v->number ? STR("True") : STR("False")); return;
    case JINJA_INT: buf_add_i64(out, v->number); return;
    case JINJA_FLOAT: jw_float(&w, v->real); return;
    case JINJA_STR: buf_add(out, v->str); return;
    case JINJA_ITEMS:
    case JINJA_JSON: print_list(v, out); return;
    }
}

/* ---- filters ---- */

static bool text_of(struct jinja_run *r, const struct jinja_value *v, struct str *out, struct err **e)
{
    autobuf text = {0};
    if (v->type == JINJA_STR) {
        *out = v->str;
        return jinja_spend(r, v->str.n, e);
    }
    jinja_print(v, &text);
    if (text.n > JINJA_OUTPUT_MAX)
        return jinja_fail(r, e, "a text has more than %d bytes", JINJA_OUTPUT_MAX);
    *out = arena_str(r->arena, buf_str(&text));
    return jinja_spend(r, text.n, e);
}

#define FILTER(name)                                                                                   \
    static bool name(struct jinja_run *r, const struct jinja_value *v, const struct jinja_value *args, \
                     size_t n, struct jinja_value *out, struct err **e)

FILTER(filter_trim)
{
    (void)args, (void)n;
    struct str s = STR_NONE;
    if (!text_of(r, v, &s, e))
        return false;
    *out = jinja_text(str_trim(s));
    return true;
}

/* Letters of ASCII only: templates are English, and there is no locale here. */
static bool change_case(struct jinja_run *r, const struct jinja_value *v, bool first, bool rest,
                        struct jinja_value *out, struct err **e)
{
    struct str s = STR_NONE;
    if (!text_of(r, v, &s, e))
        return false;
    char *p = arena_cstr(r->arena, s);
    for (size_t i = 0; i < s.n; i++) {
        bool upper = i == 0 ? first : rest;
        if (upper && p[i] >= 'a' && p[i] <= 'z')
            p[i] -= 32;
        else if (!upper && p[i] >= 'A' && p[i] <= 'Z')
            p[i] += 32;
    }
    *out = jinja_text(str_make(p, s.n));
    return true;
}

FILTER(filter_upper)
{
    (void)args, (void)n;
    return change_case(r, v, true, true, out, e);
}

FILTER(filter_lower)
{
    (void)args, (void)n;
    return change_case(r, v, false, false, out, e);
}

FILTER(filter_capitalize)
{
    (void)args, (void)n;
    return change_case(r, v, true, false, out, e);
}

FILTER(filter_default)
{
    (void)r, (void)e;
    bool use = v->type == JINJA_UNDEFINED || (n > 1 && jinja_truth(&args[1]) && !jinja_truth(v));
    *out = !use ? *v : n > 0 ? args[0] : jinja_text(STR(""));
    return true;
}

FILTER(filter_length)
{
    (void)args, (void)n;
    if (v->type != JINJA_STR && v->type != JINJA_ITEMS && v->type != JINJA_JSON && v->type != JINJA_UNDEFINED)
        return jinja_fail(r, e, "this has no length");
    *out = integer((int64_t)jinja_count(v));
    return jinja_spend(r, v->str.n, e);
}

FILTER(filter_join)
{
    struct str between = STR("");
    autobuf text = {0};
    if (v->type != JINJA_ITEMS && v->type != JINJA_JSON && v->type != JINJA_UNDEFINED)
        return jinja_fail(r, e, "only a list can be joined");
    if (n > 0 && !text_of(r, &args[0], &between, e))
        return false;
    for (size_t i = 0; v->type == JINJA_ITEMS && i < v->n && text.n <= JINJA_OUTPUT_MAX; i++) {
        buf_add(&text, i ? between : STR(""));
        jinja_print(&v->items[i], &text);
    }
    for (struct json_iter it = json_iter(v->type == JINJA_JSON ? v->json : NULL);
         text.n <= JINJA_OUTPUT_MAX && json_next(&it);) {
        struct jinja_value item = it.key.p ? jinja_text(it.key) : jinja_from_json(it.value);
        buf_add(&text, it.index ? between : STR(""));
        jinja_print(&item, &text);
    }
    if (text.n > JINJA_OUTPUT_MAX)
        return jinja_fail(r, e, "a text has more than %d bytes", JINJA_OUTPUT_MAX);
    *out = jinja_text(arena_str(r->arena, buf_str(&text)));
    return jinja_spend(r, text.n + jinja_count(v) * JINJA_ITEM_BYTES, e);
}

FILTER(filter_first)
{
    (void)r, (void)args, (void)n, (void)e;
    *out = jinja_at(v, 0);
    return true;
}

FILTER(filter_last)
{
    (void)args, (void)n;
    size_t count = v->type == JINJA_STR ? 0 : jinja_count(v);
    *out = count ? jinja_at(v, count - 1) : (struct jinja_value){.type = JINJA_UNDEFINED};
    return jinja_spend(r, count * JINJA_ITEM_BYTES, e);
}

FILTER(filter_safe)
{
    (void)r, (void)args, (void)n, (void)e;
    *out = *v;
    return true;
}

static const struct jinja_filter filters[] = {
    {"trim", 0, filter_trim},       {"upper", 0, filter_upper},
    {"lower", 0, filter_lower},     {"capitalize", 0, filter_capitalize},
    {"default", 2, filter_default}, {"d", 2, filter_default},
    {"length", 0, filter_length},   {"count", 0, filter_length},
    {"join", 1, filter_join},       {"first", 0, filter_first},
    {"last", 0, filter_last},       {"safe", 0, filter_safe},
};

const struct jinja_filter *jinja_filter_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        if (str_is(name, filters[i].name))
            return &filters[i];
    }
    return NULL;
}

/* ---- tests ---- */

static const struct {
    const char *name;
    unsigned types; /* bits of enum jinja_type */
} tests[] = {
    {"undefined", 1u << JINJA_UNDEFINED},
    {"none", 1u << JINJA_NULL},
    {"boolean", 1u << JINJA_BOOL},
    {"integer", 1u << JINJA_INT},
    {"float", 1u << JINJA_FLOAT},
    {"number", 1u << JINJA_BOOL | 1u << JINJA_INT | 1u << JINJA_FLOAT},
    {"string", 1u << JINJA_STR},
    {"iterable", 1u << JINJA_STR | 1u << JINJA_ITEMS | 1u << JINJA_JSON | 1u << JINJA_UNDEFINED},
    {"defined", ~(1u << JINJA_UNDEFINED)},
};

bool jinja_test_exists(struct str name)
{
    return str_is(name, "mapping") || str_is(name, "sequence") || jinja_test(name, NULL);
}

bool jinja_test(struct str name, const struct jinja_value *v)
{
    for (size_t i = 0; i < ARRAY_LEN(tests); i++) {
        if (str_is(name, tests[i].name))
            return !v || (tests[i].types >> v->type) & 1;
    }
    bool object = v && v->type == JINJA_JSON && json_type(v->json) == JSON_OBJECT;
    if (str_is(name, "mapping"))
        return object;
    return v && (v->type == JINJA_ITEMS || v->type == JINJA_STR || v->type == JINJA_JSON);
}
