/* The facade's `struct json_doc` and `struct json_value` are yyjson's own objects under another name: no wrapper, no copy. */
#include "json/json.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/utf8.h"
#include "json/writer.h"
#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

/* Longest text that is parsed. Callers have smaller limits of their own; this one keeps sizes from overflowing. */
#define JSON_TEXT_MAX (128u * 1024 * 1024)
/* 2^63, exactly. */
#define INT64_END 9223372036854775808.0
/* Up to this many members keys are compared one by one, past it through a hash table. */
#define FEW_MEMBERS 16

static yyjson_val *raw(const struct json_value *v)
{
    return (yyjson_val *)v;
}

static const struct json_value *wrap(const yyjson_val *v)
{
    return (const struct json_value *)v;
}

static struct str string_of(const yyjson_val *v)
{
    return str_make(unsafe_yyjson_get_str((yyjson_val *)v), unsafe_yyjson_get_len((yyjson_val *)v));
}

/* ---- parsing ---- */

static bool parse_failed(struct err **e, size_t *offset, size_t at, const char *why)
{
    if (offset)
        *offset = at;
    return err_set(e, ERR_INVALID, "invalid JSON at byte %zu: %s", at, why);
}

/* Where nesting goes too deep; found in the text, since values do not know their place. */
static size_t deep_offset(struct str text)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else
                in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH_MAX)
                return i;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return text.n;
}

/* Open containers at once; values lie in one array, each container before its content. */
static bool depth_allowed(const yyjson_doc *doc)
{
    size_t left[JSON_DEPTH_MAX + 1] = {1}; /* values still to come per level */
    size_t depth = 0;
    for (yyjson_val *v = doc->root, *end = v + doc->val_read; v < end; v++) {
        while (left[depth] == 0)
            depth--;
        left[depth]--;
        if (!unsafe_yyjson_is_ctn(v))
            continue;
        if (depth == JSON_DEPTH_MAX)
            return false;
        left[++depth] = unsafe_yyjson_get_len(v) * (yyjson_is_obj(v) ? 2 : 1);
    }
    return true;
}

/* Hash table of the keys of one large object, its memory kept for the next one. */
struct key_table {
    struct str *at;
    size_t cap;
};

static const yyjson_val *duplicate_among_many(yyjson_val *object, size_t count, struct key_table *table)
{
    size_t cap = 64;
    while (cap < count * 2)
        cap *= 2;
    if (cap > table->cap) {
        free(table->at);
        table->at = xmalloc(cap * sizeof(*table->at));
        table->cap = cap;
    }
    memset(table->at, 0, cap * sizeof(*table->at));
    yyjson_val *key = unsafe_yyjson_get_first(object);
    for (size_t i = 0; i < count; i++, key = unsafe_yyjson_get_next(key + 1)) {
        struct str name = string_of(key);
        size_t to = str_hash(name) & (cap - 1);
        for (; table->at[to].p; to = (to + 1) & (cap - 1))
            if (str_eq(table->at[to], name))
                return key;
        table->at[to] = name;
    }
    return NULL;
}

static const yyjson_val *duplicate_among_few(yyjson_val *object, size_t count)
{
    struct str names[FEW_MEMBERS];
    yyjson_val *key = unsafe_yyjson_get_first(object);
    for (size_t i = 0; i < count; i++, key = unsafe_yyjson_get_next(key + 1)) {
        names[i] = string_of(key);
        for (size_t j = 0; j < i; j++)
            if (str_eq(names[j], names[i]))
                return key;
    }
    return NULL;
}

static const yyjson_val *find_duplicate(const yyjson_doc *doc)
{
    struct key_table table = {0};
    const yyjson_val *found = NULL;
    for (yyjson_val *v = doc->root, *end = v + doc->val_read; v < end && !found; v++) {
        if (!yyjson_is_obj(v))
            continue;
        size_t count = unsafe_yyjson_get_len(v);
        found = count <= FEW_MEMBERS ? duplicate_among_few(v, count) : duplicate_among_many(v, count, &table);
    }
    free(table.at);
    return found;
}

static void duplicate_failed(const yyjson_doc *doc, const yyjson_val *key, size_t *offset, struct err **e)
{
    struct str name = string_of(key), shown = utf8_prefix_bytes(name, 80);
    /* Strings are decoded in place in the document's copy of the text, so their address tells the place. */
    size_t at = (size_t)(name.p - doc->str_pool);
    autobuf why = {0};
    buf_add(&why, STR("the key \""));
    json_escape(&why, shown, false);
    buf_add(&why, shown.n < name.n ? STR("...\" is given twice") : STR("\" is given twice"));
    parse_failed(e, offset, at, why.p);
}

/* The 16-bit unit of the escape "\uXXXX" at `at`, or -1. */
static int32_t escaped_unit(struct str text, size_t at)
{
    if (at + 6 > text.n || text.p[at] != '\\' || text.p[at + 1] != 'u')
        return -1;
    int32_t unit = 0;
    for (size_t i = at + 2; i < at + 6; i++) {
        char c = text.p[i], folded = c | 0x20;
        int digit = c >= '0' && c <= '9' ? c - '0' : folded >= 'a' && folded <= 'f' ? folded - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* Writes \ufffd over each escaped half of a surrogate pair that stands alone. The length stays, so places do, too. */
static void replace_lone_surrogates(struct buf *text)
{
    for (size_t i = 0; i < text->n; i++) {
        if (text->p[i] != '\\')
            continue;
        int32_t unit = escaped_unit(buf_str(text), i);
        if (unit < 0xd800 || unit > 0xdfff) {
            i++; /* whatever is escaped */
            continue;
        }
        int32_t next = escaped_unit(buf_str(text), i + 6);
        if (unit < 0xdc00 && next >= 0xdc00 && next <= 0xdfff)
            i += 6;
        else
            memcpy(text->p + i + 2, "fffd", 4);
        i += 5;
    }
}

/* Numbers outside of 64 bits stay text, so that what a client sent is what it gets back. */
static yyjson_doc *read_text(struct str text, yyjson_read_err *why)
{
    /* Without YYJSON_READ_INSITU the text is not written to. */
    char *input = (char *)text.p;
    yyjson_doc *doc = yyjson_read_opts(input, text.n, YYJSON_READ_BIGNUM_AS_RAW, NULL, why);
    /* JSON allows lone surrogates in escapes, and clients and models cut emoji in half; UTF-8 has no such thing. */
    if (!doc && why->code == YYJSON_READ_ERROR_INVALID_STRING && strstr(why->msg, "surrogate")) {
        autobuf repaired = {0};
        buf_add(&repaired, text);
        replace_lone_surrogates(&repaired);
        doc = yyjson_read_opts(repaired.p, repaired.n, YYJSON_READ_BIGNUM_AS_RAW, NULL, why);
    }
    if (!doc && why->code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        abort();
    return doc;
}

static struct json_doc *parse(struct str text, bool trusted, size_t *offset, struct err **e)
{
    if (text.n == 0) {
        parse_failed(e, offset, 0, "the text is empty");
        return NULL;
    }
    if (text.n > JSON_TEXT_MAX) {
        if (offset)
            *offset = JSON_TEXT_MAX;
        err_set(e, ERR_TOO_LARGE, "the JSON text has more than %u bytes", JSON_TEXT_MAX);
        return NULL;
    }
    yyjson_read_err why;
    yyjson_doc *doc = read_text(text, &why);
    if (!doc) {
        parse_failed(e, offset, why.pos, why.msg);
        return NULL;
    }
    if (!depth_allowed(doc)) {
        yyjson_doc_free(doc);
        char text_why[64];
        snprintf(text_why, sizeof(text_why), "nested deeper than %d levels", JSON_DEPTH_MAX);
        parse_failed(e, offset, deep_offset(text), text_why);
        return NULL;
    }
    const yyjson_val *duplicate = trusted ? NULL : find_duplicate(doc);
    if (duplicate) {
        duplicate_failed(doc, duplicate, offset, e);
        yyjson_doc_free(doc);
        return NULL;
    }
    return (struct json_doc *)doc;
}

struct json_doc *json_parse(struct str text, size_t *offset, struct err **e)
{
    return parse(text, false, offset, e);
}

struct json_doc *json_parse_trusted(struct str text, struct err **e)
{
    return parse(text, true, NULL, e);
}

void json_doc_free(struct json_doc *d)
{
    yyjson_doc_free((yyjson_doc *)d);
}

void json_doc_cleanup(struct json_doc **d)
{
    json_doc_free(*d);
}

const struct json_value *json_root(const struct json_doc *d)
{
    return d ? wrap(((const yyjson_doc *)d)->root) : NULL;
}

/* ---- access ---- */

/* A number that did not fit 64 bits: an integer if its text has digits only. */
static enum json_type big_type(const yyjson_val *v)
{
    struct str text = string_of(v);
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '.' || text.p[i] == 'e' || text.p[i] == 'E')
            return JSON_FLOAT;
    return JSON_INT;
}

enum json_type json_type(const struct json_value *v)
{
    switch (yyjson_get_type(raw(v))) {
    case YYJSON_TYPE_NULL: return JSON_NULL;
    case YYJSON_TYPE_BOOL: return JSON_BOOL;
    case YYJSON_TYPE_NUM: return yyjson_is_real(raw(v)) ? JSON_FLOAT : JSON_INT;
    case YYJSON_TYPE_RAW: return big_type(raw(v));
    case YYJSON_TYPE_STR: return JSON_STRING;
    case YYJSON_TYPE_ARR: return JSON_ARRAY;
    case YYJSON_TYPE_OBJ: return JSON_OBJECT;
    default: return JSON_ABSENT;
    }
}

bool json_is_null(const struct json_value *v)
{
    return !v || yyjson_is_null(raw(v));
}

const struct json_value *json_get_str_key(const struct json_value *v, struct str key)
{
    return key.p ? wrap(yyjson_obj_getn(raw(v), key.p, key.n)) : NULL;
}

const struct json_value *json_get(const struct json_value *v, const char *key)
{
    return json_get_str_key(v, str_from(key));
}

struct str json_str(const struct json_value *v)
{
    return yyjson_is_str(raw(v)) ? string_of(raw(v)) : STR_NONE;
}

bool json_bool(const struct json_value *v, bool otherwise)
{
    return yyjson_is_bool(raw(v)) ? yyjson_get_bool(raw(v)) : otherwise;
}

int64_t json_int(const struct json_value *v, int64_t otherwise)
{
    yyjson_val *number = raw(v);
    if (yyjson_is_sint(number))
        return unsafe_yyjson_get_sint(number);
    if (yyjson_is_uint(number)) {
        uint64_t value = unsafe_yyjson_get_uint(number);
        return value <= INT64_MAX ? (int64_t)value : otherwise;
    }
    if (yyjson_is_real(number)) {
        double value = unsafe_yyjson_get_real(number);
        /* 2^63 itself is no int64_t. */
        if (value >= -INT64_END && value < INT64_END && value == (double)(int64_t)value)
            return (int64_t)value;
    }
    return otherwise;
}

double json_float(const struct json_value *v, double otherwise)
{
    double value;
    if (yyjson_is_num(raw(v)))
        return yyjson_get_num(raw(v));
    if (yyjson_is_raw(raw(v)) && str_to_f64(string_of(raw(v)), &value))
        return value;
    return otherwise;
}

size_t json_count(const struct json_value *v)
{
    return yyjson_is_ctn(raw(v)) ? unsafe_yyjson_get_len(raw(v)) : 0;
}

struct str json_get_str(const struct json_value *v, const char *key)
{
    return json_str(json_get(v, key));
}

bool json_get_bool(const struct json_value *v, const char *key, bool otherwise)
{
    return json_bool(json_get(v, key), otherwise);
}

int64_t json_get_int(const struct json_value *v, const char *key, int64_t otherwise)
{
    return json_int(json_get(v, key), otherwise);
}

double json_get_float(const struct json_value *v, const char *key, double otherwise)
{
    return json_float(json_get(v, key), otherwise);
}

/* state[0]: the next element, or the next key. */
struct json_iter json_iter(const struct json_value *v)
{
    struct json_iter it = {.parent = v, .index = SIZE_MAX};
    if (json_count(v) > 0)
        it.state[0] = unsafe_yyjson_get_first(raw(v));
    return it;
}

bool json_next(struct json_iter *it)
{
    if (it->index + 1 >= json_count(it->parent)) {
        it->value = NULL;
        it->key = STR_NONE;
        return false;
    }
    it->index++;
    yyjson_val *at = it->state[0];
    if (yyjson_is_obj(raw(it->parent))) {
        it->key = string_of(at);
        at++;
    }
    it->value = wrap(at);
    it->state[0] = unsafe_yyjson_get_next(at);
    return true;
}

/* ---- comparison ---- */

static bool numbers_equal(const struct json_value *a, const struct json_value *b)
{
    if (yyjson_is_raw(raw(a)) || yyjson_is_raw(raw(b)))
        return yyjson_is_raw(raw(a)) && yyjson_is_raw(raw(b)) && str_eq(string_of(raw(a)), string_of(raw(b)));
    if (json_type(a) == JSON_INT && json_type(b) == JSON_INT)
        /* A negative number and one past INT64_MAX may share their bits, but not their subtype. */
        return unsafe_yyjson_get_uint(raw(a)) == unsafe_yyjson_get_uint(raw(b)) &&
               (yyjson_is_sint(raw(a)) && unsafe_yyjson_get_sint(raw(a)) < 0) ==
                   (yyjson_is_sint(raw(b)) && unsafe_yyjson_get_sint(raw(b)) < 0);
    return yyjson_get_num(raw(a)) == yyjson_get_num(raw(b));
}

static bool is_number(enum json_type type)
{
    return type == JSON_INT || type == JSON_FLOAT;
}

static bool objects_equal(const struct json_value *a, const struct json_value *b)
{
    struct map *members = NULL; /* of `b`, made when a search one by one would be long */
    bool equal = true;
    struct json_iter in_b = json_iter(b);
    for (struct json_iter it = json_iter(a); equal && json_next(&it);) {
        /* Most often both have one order. */
        const struct json_value *other = NULL;
        if (json_next(&in_b) && str_eq(in_b.key, it.key)) {
            other = in_b.value;
        } else if (members) {
            other = map_get(members, it.key);
        } else if (json_count(b) <= FEW_MEMBERS) {
            other = json_get_str_key(b, it.key);
        } else {
            members = map_new();
            for (struct json_iter all = json_iter(b); json_next(&all);)
                map_put(members, all.key, (void *)all.value);
            other = map_get(members, it.key);
        }
        equal = other && json_equal(it.value, other);
    }
    map_free(members);
    return equal;
}

bool json_equal(const struct json_value *a, const struct json_value *b)
{
    enum json_type type = json_type(a), other = json_type(b);
    if (is_number(type) && is_number(other))
        return numbers_equal(a, b);
    if (type != other || json_count(a) != json_count(b))
        return false;
    switch (type) {
    case JSON_BOOL: return json_bool(a, false) == json_bool(b, false);
    case JSON_STRING: return str_eq(json_str(a), json_str(b));
    case JSON_OBJECT: return objects_equal(a, b);
    case JSON_ARRAY: {
        struct json_iter in_b = json_iter(b);
        for (struct json_iter it = json_iter(a); json_next(&it) && json_next(&in_b);)
            if (!json_equal(it.value, in_b.value))
                return false;
        return true;
    }
    case JSON_ABSENT:
    case JSON_NULL:
    case JSON_INT:
    case JSON_FLOAT: break;
    }
    return true;
}

/* ---- writing ---- */

static void write_number(struct json_writer *w, const struct json_value *v)
{
    yyjson_val *number = raw(v);
    if (yyjson_is_raw(number)) {
        jw_raw(w, string_of(number));
    } else if (yyjson_is_real(number)) {
        jw_float(w, unsafe_yyjson_get_real(number));
    } else if (yyjson_is_uint(number)) {
        char digits[24];
        int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)unsafe_yyjson_get_uint(number));
        jw_raw(w, str_make(digits, (size_t)n));
    } else {
        jw_int(w, unsafe_yyjson_get_sint(number));
    }
}

void jw_value(struct json_writer *w, const struct json_value *v)
{
    switch (json_type(v)) {
    case JSON_ABSENT:
    case JSON_NULL: jw_null(w); break;
    case JSON_BOOL: jw_bool(w, json_bool(v, false)); break;
    case JSON_INT:
    case JSON_FLOAT: write_number(w, v); break;
    case JSON_STRING: jw_str(w, json_str(v)); break;
    case JSON_ARRAY:
        jw_array(w);
        for (struct json_iter it = json_iter(v); json_next(&it);)
            jw_value(w, it.value);
        jw_array_end(w);
        break;
    case JSON_OBJECT:
        jw_object(w);
        for (struct json_iter it = json_iter(v); json_next(&it);) {
            jw_key_str(w, it.key);
            jw_value(w, it.value);
        }
        jw_object_end(w);
        break;
    }
}

void json_add(struct buf *out, const struct json_value *v)
{
    struct json_writer w = json_writer(out);
    jw_value(&w, v);
}
