/* json: any bytes go through the parser; what it accepts is written, read again and compared, and decoded by a table
 * with every kind of field, whose answer must be JSON again. */
#include "json/schema.h"
#include "base/uuid.h"
#include <stddef.h>
#include <stdlib.h>

struct leaf {
    int64_t x;
    struct str secret;
};

static const struct json_field leaf_fields[] = {
    {.name = "x",
     .type = FIELD_INT,
     .offset = offsetof(struct leaf, x),
     .flags = FIELD_REQUIRED,
     .min = 1,
     .max = 100},
    {.name = "secret", .type = FIELD_STR, .offset = offsetof(struct leaf, secret), .min = 1, .max = 5},
};
static const struct json_schema leaf_schema = {
    .name = "Leaf", .size = sizeof(struct leaf), .fields = leaf_fields, .count = 2, .forbid_extra = true};

struct tree {
    struct str s;
    bool b, given;
    int64_t i, t;
    double f;
    struct uuid u;
    int e;
    const struct json_value *a, *o;
    const struct leaf *n;
    struct json_list l, m;
};

static const char *const names[] = {"one", "two", NULL};

#define AT(member) .offset = offsetof(struct tree, member)
static const struct json_field tree_fields[] = {
    {.name = "s", .type = FIELD_STR, AT(s), .alias = "z", .flags = FIELD_NOT_NULL},
    {.name = "b", .type = FIELD_BOOL, AT(b), .given = offsetof(struct tree, given)},
    {.name = "i", .type = FIELD_INT, AT(i), .min = -5, .max = 1000},
    {.name = "t", .type = FIELD_TIME, AT(t)},
    {.name = "f", .type = FIELD_FLOAT, AT(f), .min = 0, .max = 9},
    {.name = "u", .type = FIELD_UUID, AT(u)},
    {.name = "e", .type = FIELD_ENUM, AT(e), .names = names},
    {.name = "a", .type = FIELD_ANY, AT(a)},
    {.name = "o", .type = FIELD_OBJECT, AT(o)},
    {.name = "n", .type = FIELD_OBJECT, AT(n), .schema = &leaf_schema},
    {.name = "l", .type = FIELD_ARRAY, AT(l), .schema = &leaf_schema, .max = 3},
    {.name = "m", .type = FIELD_ARRAY, AT(m), .item = FIELD_INT},
};
static const struct json_schema tree_schema = {.name = "Tree",
                                               .size = sizeof(struct tree),
                                               .fields = tree_fields,
                                               .count = sizeof(tree_fields) / sizeof(tree_fields[0])};

static void require(bool what)
{
    if (!what)
        abort();
}

static void check_round_trip(const struct json_value *v, bool python)
{
    autobuf text = {0};
    struct json_writer w = python ? json_writer_python(&text) : json_writer(&text);
    jw_value(&w, v);
    autojson again = json_parse(buf_str(&text), NULL, NULL);
    require(again && json_equal(v, json_root(again)));
}

static void check_decode(const struct json_value *v)
{
    autoarena arena = arena_new();
    struct json_problems problems = {.arena = arena};
    struct tree tree;
    bool ok = json_decode(&tree_schema, v, "body", arena, &tree, &problems);
    require(ok == (problems.count == 0));
    autobuf text = {0};
    json_problems_write(&problems, &text);
    autojson answer = json_parse(buf_str(&text), NULL, NULL);
    require(json_count(json_get(json_root(answer), "detail")) == problems.count);
    buf_clear(&text);
    json_problems_text(&problems, &text);
    require(ok == (text.n == 0));
}

static void check_parameters(struct str text)
{
    autoarena arena = arena_new();
    struct json_problems problems = {.arena = arena};
    struct tree tree = {0};
    for (size_t i = 0; i < tree_schema.count; i++)
        if (tree_fields[i].type != FIELD_ANY && tree_fields[i].type != FIELD_OBJECT && !tree_fields[i].schema)
            json_decode_text(&tree_fields[i], text, "query", arena, &tree, &problems);
    autobuf answer = {0};
    json_problems_write(&problems, &answer);
    autojson doc = json_parse(buf_str(&answer), NULL, NULL);
    require(doc != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_make(data, size);
    size_t offset = 0;
    autoerr e = NULL;
    autojson doc = json_parse(text, &offset, &e);
    require(!doc == !!e);
    require(offset <= size);
    check_parameters(text);
    if (!doc)
        return 0;
    check_round_trip(json_root(doc), false);
    check_round_trip(json_root(doc), true);
    check_decode(json_root(doc));
    return 0;
}
