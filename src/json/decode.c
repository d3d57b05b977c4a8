#include "base/clock.h"
#include "base/utf8.h"
#include "base/uuid.h"
#include "json/problem.h"
#include <math.h>
#include <stdlib.h>

/* Items of a list whose elements are objects, when its field names no limit: each becomes a C struct, so a few bytes of
 * text could take a hundred times their size. */
#define OBJECT_ITEMS_MAX 10000
/* Values of one repeated query parameter. */
#define TEXT_ITEMS_MAX 1000
/* Numbers in a time field above this are milliseconds since 1970, below it seconds. */
#define TIME_SECONDS_MAX 20000000000.0

/* 2^63, exactly. */
#define INT64_END 9223372036854775808.0

struct decoder {
    struct arena *arena;
    struct json_problems *problems;
};

/* One value on its way into `to`. Exactly one of value and text is given. */
struct slot {
    const struct json_field *field;
    const struct json_path *path;
    struct json_input input;
    void *to;
};

static bool refuse_context(struct decoder *d, const struct slot *slot, const char *type, struct str message,
                           struct str context)
{
    json_problem_at(d->problems, slot->path, type, message, &slot->input, context);
    return false;
}

static bool refuse(struct decoder *d, const struct slot *slot, const char *type, const char *message)
{
    return refuse_context(d, slot, type, str_from(message), STR_NONE);
}

/* With a limit as context, such as {"le":100}. */
__attribute__((format(printf, 6, 7))) static bool refuse_limit(struct decoder *d, const struct slot *slot,
                                                               const char *type, const char *name,
                                                               int64_t limit, const char *fmt, ...)
{
    autobuf message = {0};
    autobuf context = {0};
    va_list args;
    va_start(args, fmt);
    buf_vaddf(&message, fmt, args);
    va_end(args);
    buf_addf(&context, "{\"%s\":%lld}", name, (long long)limit);
    return refuse_context(d, slot, type, buf_str(&message), buf_str(&context));
}

static bool has_bounds(const struct json_field *field)
{
    return field->min < field->max;
}

/* The text of a parameter or of a JSON string; STR_NONE for other JSON. */
static struct str slot_text(const struct slot *slot)
{
    return slot->input.text.p ? slot->input.text : json_str(slot->input.value);
}

/* ---- one function per type ---- */

static bool decode_str(struct decoder *d, const struct slot *slot)
{
    struct str text = slot_text(slot);
    const struct json_field *field = slot->field;
    if (!text.p)
        return refuse(d, slot, "string_type", "Input should be a string");
    if (slot->input.text.p && !utf8_valid(text))
        return refuse(d, slot, "string_unicode", "Input should be valid UTF-8");
    if (has_bounds(field)) {
        size_t count = utf8_count(text);
        if (field->min > 0 && count < (size_t)field->min)
            return refuse_limit(d, slot, "string_too_short", "min_length", field->min,
                                "String should have at least %lld character%s", (long long)field->min,
                                field->min == 1 ? "" : "s");
        if (field->max >= 0 && count > (size_t)field->max)
            return refuse_limit(d, slot, "string_too_long", "max_length", field->max,
                                "String should have at most %lld character%s", (long long)field->max,
                                field->max == 1 ? "" : "s");
    }
    /* A parameter's text may live shorter than the struct; a document's strings do not. */
    *(struct str *)slot->to = slot->input.text.p ? arena_str(d->arena, text) : text;
    return true;
}

static bool decode_bool(struct decoder *d, const struct slot *slot)
{
    static const char *const yes[] = {"true", "1", "on", "yes", "t", "y"};
    static const char *const no[] = {"false", "0", "off", "no", "f", "n"};
    struct str text = slot_text(slot);
    bool *to = slot->to;
    if (json_type(slot->input.value) == JSON_BOOL) {
        *to = json_bool(slot->input.value, false);
        return true;
    }
    if (text.p) {
        for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
            if (!str_eq_nocase(text, str_from(yes[i])) && !str_eq_nocase(text, str_from(no[i])))
                continue;
            *to = str_eq_nocase(text, str_from(yes[i]));
            return true;
        }
        return refuse(d, slot, "bool_parsing", "Input should be true or false");
    }
    int64_t number = json_int(slot->input.value, -1);
    if (number == 0 || number == 1) {
        *to = number == 1;
        return true;
    }
    return refuse(d, slot, "bool_type", "Input should be true or false");
}

/* "7", "+7", " 7 " and "7.0". */
static bool int_from_text(struct str text, int64_t *out)
{
    text = str_trim(text);
    ssize_t dot = str_find_char(text, '.');
    if (dot > 0) {
        for (size_t i = (size_t)dot + 1; i < text.n; i++)
            if (text.p[i] != '0')
                return false;
        text = str_sub(text, 0, (size_t)dot);
    }
    if (text.n > 1 && text.p[0] == '+' && text.p[1] != '-')
        text = str_sub(text, 1, text.n);
    return str_to_i64(text, out);
}

static bool check_bounds(struct decoder *d, const struct slot *slot, double value)
{
    const struct json_field *field = slot->field;
    if (!has_bounds(field))
        return true;
    if (value < (double)field->min) {
        /* "At least one" is worded as "more than zero" by the servers that clients know. */
        if (field->type == FIELD_INT && field->min == 1)
            return refuse_limit(d, slot, "greater_than", "gt", 0, "Input should be greater than 0");
        return refuse_limit(d, slot, "greater_than_equal", "ge", field->min, "Input should be %lld or more",
                            (long long)field->min);
    }
    if (value > (double)field->max)
        return refuse_limit(d, slot, "less_than_equal", "le", field->max, "Input should be %lld or less",
                            (long long)field->max);
    return true;
}

static bool decode_int(struct decoder *d, const struct slot *slot)
{
    enum json_type type = json_type(slot->input.value);
    struct str text = slot_text(slot);
    int64_t value;
    if (text.p) {
        if (!int_from_text(text, &value))
            return refuse(d, slot, "int_parsing", "Input should be a whole number");
    } else if (type == JSON_BOOL) {
        value = json_bool(slot->input.value, false);
    } else if (type == JSON_INT || type == JSON_FLOAT) {
        value = json_int(slot->input.value, INT64_MIN);
        if (value == INT64_MIN && json_float(slot->input.value, 0) != -INT64_END)
            return type == JSON_INT || fabs(json_float(slot->input.value, INFINITY)) >= INT64_END
                       ? refuse(d, slot, "int_parsing_size", "Input should fit into 64 bits")
                       : refuse(d, slot, "int_from_float", "Input should be a whole number");
    } else {
        return refuse(d, slot, "int_type", "Input should be a whole number");
    }
    const struct json_field *field = slot->field;
    /* As integers first: large ones are not exact as doubles. */
    if (has_bounds(field) && (value < field->min || value > field->max))
        return check_bounds(d, slot, value < field->min ? -INFINITY : INFINITY);
    *(int64_t *)slot->to = value;
    return true;
}

static bool decode_float(struct decoder *d, const struct slot *slot)
{
    enum json_type type = json_type(slot->input.value);
    struct str text = slot_text(slot);
    double value;
    if (text.p) {
        if (!str_to_f64(str_trim(text), &value))
            return refuse(d, slot, "float_parsing", "Input should be a number");
    } else if (type == JSON_BOOL) {
        value = json_bool(slot->input.value, false);
    } else if (type == JSON_INT || type == JSON_FLOAT) {
        value = json_float(slot->input.value, NAN);
        if (isnan(value))
            return refuse(d, slot, "finite_number", "Input should be a finite number");
    } else {
        return refuse(d, slot, "float_type", "Input should be a number");
    }
    if (!check_bounds(d, slot, value))
        return false;
    *(double *)slot->to = value;
    return true;
}

static bool decode_uuid(struct decoder *d, const struct slot *slot)
{
    struct str text = slot_text(slot);
    if (!text.p)
        return refuse(d, slot, "uuid_type", "Input should be a UUID as text");
    if (uuid_parse(text, slot->to))
        return true;
    if (!(slot->field->flags & FIELD_LENIENT))
        return refuse(d, slot, "uuid_parsing",
                      "Input should be a UUID: 32 hexadecimal digits, with or without dashes");
    *(struct uuid *)slot->to = (struct uuid){{0}};
    return true;
}

static bool decode_time(struct decoder *d, const struct slot *slot)
{
    enum json_type type = json_type(slot->input.value);
    struct str text = slot_text(slot);
    double number;
    if (text.p) {
        if (clock_parse(text, slot->to))
            return true;
        if (!str_to_f64(text, &number))
            return refuse(d, slot, "datetime_from_date_parsing",
                          "Input should be a time such as 2026-08-22T16:34:54Z");
    } else if (type == JSON_INT || type == JSON_FLOAT) {
        number = json_float(slot->input.value, INFINITY);
    } else {
        return refuse(d, slot, "datetime_type", "Input should be a time such as 2026-08-22T16:34:54Z");
    }
    if (fabs(number) > TIME_SECONDS_MAX)
        number /= 1000;
    if (!(fabs(number) <= TIME_SECONDS_MAX))
        return refuse(d, slot, "datetime_parsing", "Input is too far from the present");
    *(int64_t *)slot->to = (int64_t)(number * 1e6 + (number < 0 ? -0.5 : 0.5));
    return true;
}

/* 'a', 'b' or 'c' */
static void add_names(struct buf *out, const char *const *names)
{
    for (size_t i = 0; names[i]; i++) {
        if (i > 0)
            buf_add(out, names[i + 1] ? STR(", ") : STR(" or "));
        buf_addf(out, "'%s'", names[i]);
    }
}

static bool decode_enum(struct decoder *d, const struct slot *slot)
{
    struct str text = slot_text(slot);
    const char *const *names = slot->field->names;
    for (int i = 0; text.p && names[i]; i++) {
        if (str_is(text, names[i])) {
            *(int *)slot->to = i;
            return true;
        }
    }
    autobuf message = {0};
    autobuf context = {0};
    buf_add(&message, STR("Input should be "));
    size_t start = message.n;
    add_names(&message, names);
    struct json_writer w = json_writer(&context);
    jw_object(&w);
    jw_member_str(&w, "expected", str_sub(buf_str(&message), start, message.n));
    jw_object_end(&w);
    return refuse_context(d, slot, "enum", buf_str(&message), buf_str(&context));
}

static bool decode_members(struct decoder *d, const struct json_schema *schema, const struct json_value *v,
                           const struct json_path *path, void *out);

static bool decode_object(struct decoder *d, const struct slot *slot)
{
    const struct json_schema *schema = slot->field->schema;
    if (json_type(slot->input.value) != JSON_OBJECT)
        return refuse(d, slot, schema ? "model_attributes_type" : "dict_type", "Input should be an object");
    if (!schema) {
        *(const struct json_value **)slot->to = slot->input.value;
        return true;
    }
    void *object = arena_alloc(d->arena, schema->size);
    *(void **)slot->to = object;
    return decode_members(d, schema, slot->input.value, slot->path, object);
}

size_t json_item_size(enum json_field_type type)
{
    switch (type) {
    case FIELD_STR: return sizeof(struct str);
    case FIELD_BOOL: return sizeof(bool);
    case FIELD_INT:
    case FIELD_TIME: return sizeof(int64_t);
    case FIELD_FLOAT: return sizeof(double);
    case FIELD_UUID: return sizeof(struct uuid);
    case FIELD_ENUM: return sizeof(int);
    case FIELD_ANY:
    case FIELD_OBJECT: return sizeof(const struct json_value *);
    case FIELD_ARRAY: break; /* a list of lists is FIELD_ANY */
    }
    abort();
}

static bool check_count(struct decoder *d, const struct slot *slot, size_t count)
{
    const struct json_field *field = slot->field;
    bool bounded = has_bounds(field);
    if (bounded && field->min > 0 && count < (size_t)field->min)
        return refuse_limit(d, slot, "too_short", "min_length", field->min,
                            "List should have at least %lld item%s, not %zu", (long long)field->min,
                            field->min == 1 ? "" : "s", count);
    int64_t max = bounded ? field->max : field->schema ? OBJECT_ITEMS_MAX : INT64_MAX;
    if (count > (uint64_t)max)
        return refuse_limit(d, slot, "too_long", "max_length", max,
                            "List should have at most %lld item%s, not %zu", (long long)max,
                            max == 1 ? "" : "s", count);
    return true;
}

static bool decode_value(struct decoder *d, const struct slot *slot);

static bool decode_array(struct decoder *d, const struct slot *slot)
{
    const struct json_field *field = slot->field;
    const struct json_value *v = slot->input.value;
    if (json_type(v) != JSON_ARRAY)
        return refuse(d, slot, "list_type", "Input should be a list");
    if (!check_count(d, slot, json_count(v)))
        return false;
    /* Items have the field's names but not its bounds, which count the items. */
    struct json_field item = {.type = field->schema ? FIELD_OBJECT : field->item, .names = field->names};
    size_t size = field->schema ? field->schema->size : json_item_size(field->item);
    char *items = arena_alloc(d->arena, json_count(v) * size);
    bool ok = true;
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        struct json_path path = {.parent = slot->path, .index = it.index};
        struct slot one = {
            .field = &item, .path = &path, .input = {.value = it.value}, .to = items + it.index * size};
        if (!field->schema)
            ok &= decode_value(d, &one);
        else if (json_type(it.value) != JSON_OBJECT)
            ok &= refuse(d, &one, "model_attributes_type", "Input should be an object");
        else
            ok &= decode_members(d, field->schema, it.value, &path, one.to);
    }
    *(struct json_list *)slot->to = (struct json_list){.items = items, .n = json_count(v)};
    return ok;
}

static bool decode_value(struct decoder *d, const struct slot *slot)
{
    switch (slot->field->type) {
    case FIELD_STR: return decode_str(d, slot);
    case FIELD_BOOL: return decode_bool(d, slot);
    case FIELD_INT: return decode_int(d, slot);
    case FIELD_FLOAT: return decode_float(d, slot);
    case FIELD_UUID: return decode_uuid(d, slot);
    case FIELD_ENUM: return decode_enum(d, slot);
    case FIELD_TIME: return decode_time(d, slot);
    case FIELD_OBJECT: return decode_object(d, slot);
    case FIELD_ARRAY: return decode_array(d, slot);
    case FIELD_ANY: *(const struct json_value **)slot->to = slot->input.value; return true;
    }
    abort();
}

/* ---- fields ---- */

static void *field_place(const struct json_field *field, void *out)
{
    return (char *)out + field->offset;
}

static void set_given(const struct json_field *field, void *out, bool given)
{
    if (field->given)
        *(bool *)((char *)out + field->given) = given;
}

/* The struct is zero already; only what differs is written. */
static void set_default(const struct json_field *field, void *out)
{
    void *to = field_place(field, out);
    switch (field->type) {
    case FIELD_STR: *(struct str *)to = str_from(field->default_str); break;
    case FIELD_BOOL: *(bool *)to = field->default_int != 0; break;
    case FIELD_INT:
    case FIELD_TIME: *(int64_t *)to = field->default_int; break;
    case FIELD_FLOAT: *(double *)to = field->default_float; break;
    case FIELD_ENUM: *(int *)to = (int)field->default_int; break;
    case FIELD_UUID: *(struct uuid *)to = (struct uuid){{0}}; break;
    case FIELD_ARRAY: *(struct json_list *)to = (struct json_list){0}; break;
    case FIELD_ANY:
    case FIELD_OBJECT: *(void **)to = NULL; break;
    }
}

static bool decode_field(struct decoder *d, const struct json_field *field, const struct json_value *parent,
                         const struct json_path *parent_path, void *out)
{
    struct str name = str_from(field->name);
    const struct json_value *v = json_get_str_key(parent, name);
    if (!v && field->alias && (v = json_get(parent, field->alias)))
        name = str_from(field->alias);
    struct json_path path = {.parent = parent_path, .name = name};
    set_default(field, out);
    if (json_is_null(v) && !(v && (field->flags & FIELD_NOT_NULL))) {
        if (!(field->flags & FIELD_REQUIRED))
            return true;
        json_problem_at(d->problems, &path, "missing", STR("Field required"),
                        &(struct json_input){.value = parent}, STR_NONE);
        return false;
    }
    struct slot slot = {.field = field, .path = &path, .input = {.value = v}, .to = field_place(field, out)};
    if (!decode_value(d, &slot))
        return false;
    set_given(field, out, !json_is_null(v));
    return true;
}

static bool is_known(const struct json_schema *schema, struct str name)
{
    for (size_t i = 0; i < schema->count; i++)
        if (str_is(name, schema->fields[i].name) ||
            (schema->fields[i].alias && str_is(name, schema->fields[i].alias)))
            return true;
    return false;
}

static bool decode_members(struct decoder *d, const struct json_schema *schema, const struct json_value *v,
                           const struct json_path *path, void *out)
{
    bool ok = true;
    memset(out, 0, schema->size);
    for (size_t i = 0; i < schema->count; i++)
        ok &= decode_field(d, &schema->fields[i], v, path, out);
    if (!schema->forbid_extra)
        return ok;
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        if (is_known(schema, it.key))
            continue;
        struct json_path extra = {.parent = path, .name = it.key};
        json_problem_at(d->problems, &extra, "extra_forbidden", STR("Extra inputs are not permitted"),
                        &(struct json_input){.value = it.value}, STR_NONE);
        ok = false;
    }
    return ok;
}

bool json_decode_at(const struct json_schema *schema, const struct json_value *v,
                    const struct json_path *path, struct arena *arena, void *out,
                    struct json_problems *problems)
{
    struct decoder d = {.arena = arena, .problems = problems};
    struct json_input input = {.value = v};
    if (problems && !problems->arena)
        problems->arena = arena;
    if (json_type(v) == JSON_OBJECT)
        return decode_members(&d, schema, v, path, out);
    memset(out, 0, schema->size);
    if (!v)
        json_problem_at(problems, path, "missing", STR("Field required"), NULL, STR_NONE);
    else
        json_problem_at(problems, path, "model_attributes_type", STR("Input should be an object"), &input,
                        STR_NONE);
    return false;
}

bool json_decode(const struct json_schema *schema, const struct json_value *v, const char *where,
                 struct arena *arena, void *out, struct json_problems *problems)
{
    struct json_path root = {.name = str_from(where)};
    return json_decode_at(schema, v, where ? &root : NULL, arena, out, problems);
}

/* ---- parameters ---- */

/* A repeated parameter makes a list: each call adds one item to what the struct holds. */
static bool decode_text_item(struct decoder *d, const struct slot *slot)
{
    struct json_list *list = slot->to;
    const struct json_field *field = slot->field;
    int64_t max = has_bounds(field) ? field->max : TEXT_ITEMS_MAX;
    if (list->n >= (uint64_t)max)
        return refuse_limit(d, slot, "too_long", "max_length", max, "List should have at most %lld item%s",
                            (long long)max, max == 1 ? "" : "s");
    struct json_field item = {.type = field->item, .names = field->names};
    size_t size = json_item_size(field->item);
    char *items = arena_alloc(d->arena, (list->n + 1) * size);
    if (list->n > 0)
        memcpy(items, list->items, list->n * size);
    struct json_path path = {.parent = slot->path, .index = list->n};
    struct slot one = {.field = &item, .path = &path, .input = slot->input, .to = items + list->n * size};
    if (!decode_value(d, &one))
        return false;
    *list = (struct json_list){.items = items, .n = list->n + 1};
    return true;
}

bool json_decode_text(const struct json_field *field, struct str value, const char *where,
                      struct arena *arena, void *out, struct json_problems *problems)
{
    struct decoder d = {.arena = arena, .problems = problems};
    struct json_path root = {.name = str_from(where)};
    struct json_path path = {.parent = where ? &root : NULL, .name = str_from(field->name)};
    struct slot slot = {
        .field = field, .path = &path, .input = {.text = value}, .to = field_place(field, out)};
    if (problems && !problems->arena)
        problems->arena = arena;
    if (!value.p) {
        if (field->flags & FIELD_REQUIRED)
            return refuse(&d, &slot, "missing", "Field required");
        set_default(field, out);
        set_given(field, out, false);
        return true;
    }
    if (field->type == FIELD_ARRAY) {
        if (!decode_text_item(&d, &slot))
            return false;
    } else {
        set_default(field, out);
        /* There is no JSON in a parameter. */
        if (field->type == FIELD_ANY || field->type == FIELD_OBJECT)
            abort();
        if (!decode_value(&d, &slot))
            return false;
    }
    set_given(field, out, true);
    return true;
}
