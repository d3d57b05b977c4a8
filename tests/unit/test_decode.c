/* Decoding tables: what is accepted, what a client is told, and the JSON Schema made from the same table. */
#include "base/clock.h"
#include "base/uuid.h"
#include "json/schema.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

struct inner {
    int64_t x;
    struct str api_key;
};

static const struct json_field inner_fields[] = {
    {.name = "x", .type = FIELD_INT, .offset = offsetof(struct inner, x), .flags = FIELD_REQUIRED},
    {.name = "api_key", .type = FIELD_STR, .offset = offsetof(struct inner, api_key)},
};
static const struct json_schema inner_schema = {
    .name = "Inner", .size = sizeof(struct inner), .fields = inner_fields, .count = 2};

struct outer {
    struct str s, short_text;
    bool b, b_given;
    int64_t i, limit, t;
    double f;
    struct uuid u;
    int e;
    const struct json_value *any, *object;
    const struct inner *inner;
    struct json_list inners, numbers, words;
};

static const char *const colours[] = {"red", "green", "blue", NULL};

#define AT(member) .offset = offsetof(struct outer, member)
static const struct json_field outer_fields[] = {
    {.name = "s", .type = FIELD_STR, AT(s), .default_str = "dflt", .alias = "old_s", .doc = "A text."},
    {.name = "short_text", .type = FIELD_STR, AT(short_text), .min = 2, .max = 3},
    {.name = "b", .type = FIELD_BOOL, AT(b), .given = offsetof(struct outer, b_given)},
    {.name = "i", .type = FIELD_INT, AT(i), .default_int = 7, .flags = FIELD_NOT_NULL},
    {.name = "limit", .type = FIELD_INT, AT(limit), .min = 1, .max = 100, .default_int = 50},
    {.name = "t", .type = FIELD_TIME, AT(t)},
    {.name = "f", .type = FIELD_FLOAT, AT(f), .default_float = 0.5, .min = 0, .max = 2},
    {.name = "u", .type = FIELD_UUID, AT(u)},
    {.name = "e", .type = FIELD_ENUM, AT(e), .names = colours, .default_int = 1},
    {.name = "any", .type = FIELD_ANY, AT(any)},
    {.name = "object", .type = FIELD_OBJECT, AT(object)},
    {.name = "inner", .type = FIELD_OBJECT, AT(inner), .schema = &inner_schema},
    {.name = "inners", .type = FIELD_ARRAY, AT(inners), .schema = &inner_schema, .max = 2},
    {.name = "numbers", .type = FIELD_ARRAY, AT(numbers), .item = FIELD_INT},
    {.name = "words", .type = FIELD_ARRAY, AT(words), .item = FIELD_STR, .min = 1, .max = 3},
};
static const struct json_schema outer_schema = {.name = "Outer",
                                                .size = sizeof(struct outer),
                                                .fields = outer_fields,
                                                .count = sizeof(outer_fields) / sizeof(outer_fields[0]),
                                                .forbid_extra = true,
                                                .doc = "All kinds."};

static const struct json_field *outer_field(const char *name)
{
    for (size_t i = 0; i < outer_schema.count; i++)
        if (strcmp(outer_fields[i].name, name) == 0)
            return &outer_fields[i];
    fail_msg("no field %s", name);
    return NULL;
}

/* One decoding with everything it needs. */
struct round {
    struct arena *arena;
    struct json_doc *doc;
    struct json_problems problems;
    struct outer out;
    bool ok;
};

static struct round *decoded(const char *text)
{
    struct round *r = calloc(1, sizeof(*r));
    autoerr e = NULL;
    r->arena = arena_new();
    r->doc = json_parse(str_from(text), NULL, &e);
    if (!r->doc)
        fail_msg("%s: %s", text, err_text(e));
    memset(&r->out, 0xee, sizeof(r->out)); /* all of it must be overwritten */
    r->ok = json_decode(&outer_schema, json_root(r->doc), "body", r->arena, &r->out, &r->problems);
    assert_int_equal(r->ok, r->problems.count == 0);
    return r;
}

static void round_free(struct round *r)
{
    json_doc_free(r->doc);
    arena_free(r->arena);
    free(r);
}

static void defaults(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}", "{\"s\":null,\"b\":null,\"limit\":null,\"u\":null,\"inner\":null,\"words\":null,\"any\":null}"};
    for (size_t k = 0; k < 2; k++) {
        struct round *r = decoded(texts[k]);
        assert_true(r->ok);
        assert_true(str_is(r->out.s, "dflt"));
        assert_null(r->out.short_text.p);
        assert_false(r->out.b || r->out.b_given);
        assert_int_equal(r->out.i, 7);
        assert_int_equal(r->out.limit, 50);
        assert_true(r->out.f == 0.5);
        assert_int_equal(r->out.e, 1);
        assert_true(uuid_is_zero(&r->out.u));
        assert_null(r->out.any);
        assert_null(r->out.inner);
        assert_int_equal(r->out.words.n, 0);
        round_free(r);
    }
}

static void all_given(void **state)
{
    (void)state;
    struct round *r = decoded(
        "{\"old_s\":\"x\",\"short_text\":\"\xc3\xa4\xc3\xb6\xc3\xbc\",\"b\":false,\"i\":-3,\"limit\":100,"
        "\"t\":\"2026-08-22T12:00:00Z\",\"f\":1,\"u\":\"01234567-89ab-cdef-0123-456789abcdef\",\"e\":\"blue\","
        "\"any\":[1],\"object\":{\"k\":2},\"inner\":{\"x\":5,\"more\":1},\"inners\":[{\"x\":1},{\"x\":2}],"
        "\"numbers\":[1,2.0,\"3\"],\"words\":[\"a\",\"b\"]}");
    assert_true(r->ok);
    assert_true(str_is(r->out.s, "x"));
    assert_true(!r->out.b && r->out.b_given);
    assert_int_equal(r->out.i, -3);
    assert_true(r->out.t == 1787400000000000);
    assert_int_equal(r->out.u.b[15], 0xef);
    assert_int_equal(r->out.e, 2);
    assert_int_equal(json_count(r->out.any), 1);
    assert_int_equal(json_get_int(r->out.object, "k", 0), 2);
    assert_int_equal(r->out.inner->x, 5);
    assert_null(r->out.inner->api_key.p);
    const struct inner *inners = r->out.inners.items;
    assert_int_equal(r->out.inners.n, 2);
    assert_int_equal(inners[1].x, 2);
    const int64_t *numbers = r->out.numbers.items;
    assert_int_equal(numbers[0] + numbers[1] + numbers[2], 6);
    const struct str *words = r->out.words.items;
    assert_true(str_is(words[1], "b"));
    round_free(r);
}

/* Clients send the right thing in the wrong clothes. */
static void lenient_forms(void **state)
{
    (void)state;
    static const char *const trues[] = {"true",  "1",      "1.0",     "\"true\"", "\"True\"",
                                        "\"1\"", "\"on\"", "\"YES\"", "\"y\""};
    for (size_t i = 0; i < sizeof(trues) / sizeof(trues[0]); i++) {
        autobuf text = {0};
        buf_addf(&text, "{\"b\":%s}", trues[i]);
        struct round *r = decoded(text.p);
        assert_true(r->ok && r->out.b);
        round_free(r);
    }
    static const char *const sevens[] = {"7", "7.0", "\"7\"", "\" 7 \"", "\"+7\"", "\"7.00\""};
    for (size_t i = 0; i < sizeof(sevens) / sizeof(sevens[0]); i++) {
        autobuf text = {0};
        buf_addf(&text, "{\"limit\":%s}", sevens[i]);
        struct round *r = decoded(text.p);
        assert_true(r->ok && r->out.limit == 7);
        round_free(r);
    }
    struct round *r = decoded("{\"t\":1700000000,\"f\":\" 1.5 \"}");
    assert_true(r->ok && r->out.t == 1700000000000000 && r->out.f == 1.5);
    round_free(r);
    r = decoded("{\"t\":1700000000123}");
    assert_true(r->ok && r->out.t == 1700000000123000);
    round_free(r);
}

static void problem_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *text, *type, *loc, *context;
    } cases[] = {
        {"{\"s\":1}", "string_type", "[\"body\",\"s\"]", NULL},
        {"{\"old_s\":1}", "string_type", "[\"body\",\"old_s\"]", NULL},
        {"{\"short_text\":\"a\"}", "string_too_short", "[\"body\",\"short_text\"]", "{\"min_length\":2}"},
        {"{\"short_text\":\"abcd\"}", "string_too_long", "[\"body\",\"short_text\"]", "{\"max_length\":3}"},
        {"{\"b\":\"x\"}", "bool_parsing", "[\"body\",\"b\"]", NULL},
        {"{\"b\":2}", "bool_type", "[\"body\",\"b\"]", NULL},
        {"{\"b\":[]}", "bool_type", "[\"body\",\"b\"]", NULL},
        {"{\"i\":null}", "int_type", "[\"body\",\"i\"]", NULL},
        {"{\"i\":\"x\"}", "int_parsing", "[\"body\",\"i\"]", NULL},
        {"{\"i\":\"+-1\"}", "int_parsing", "[\"body\",\"i\"]", NULL},
        {"{\"i\":\"\"}", "int_parsing", "[\"body\",\"i\"]", NULL},
        {"{\"i\":\".0\"}", "int_parsing", "[\"body\",\"i\"]", NULL},
        {"{\"i\":1.5}", "int_from_float", "[\"body\",\"i\"]", NULL},
        {"{\"i\":9223372036854775808}", "int_parsing_size", "[\"body\",\"i\"]", NULL},
        {"{\"i\":1e300}", "int_parsing_size", "[\"body\",\"i\"]", NULL},
        {"{\"limit\":0}", "greater_than", "[\"body\",\"limit\"]", "{\"gt\":0}"},
        {"{\"limit\":101}", "less_than_equal", "[\"body\",\"limit\"]", "{\"le\":100}"},
        {"{\"t\":\"yesterday\"}", "datetime_from_date_parsing", "[\"body\",\"t\"]", NULL},
        {"{\"t\":true}", "datetime_type", "[\"body\",\"t\"]", NULL},
        {"{\"t\":1e300}", "datetime_parsing", "[\"body\",\"t\"]", NULL},
        {"{\"f\":\"x\"}", "float_parsing", "[\"body\",\"f\"]", NULL},
        {"{\"f\":[]}", "float_type", "[\"body\",\"f\"]", NULL},
        {"{\"f\":1e999}", "finite_number", "[\"body\",\"f\"]", NULL},
        {"{\"f\":2.5}", "less_than_equal", "[\"body\",\"f\"]", "{\"le\":2}"},
        {"{\"f\":-0.5}", "greater_than_equal", "[\"body\",\"f\"]", "{\"ge\":0}"},
        {"{\"u\":\"x\"}", "uuid_parsing", "[\"body\",\"u\"]", NULL},
        {"{\"u\":5}", "uuid_type", "[\"body\",\"u\"]", NULL},
        {"{\"e\":\"pink\"}", "enum", "[\"body\",\"e\"]", "{\"expected\":\"'red', 'green' or 'blue'\"}"},
        {"{\"e\":0}", "enum", "[\"body\",\"e\"]", "{\"expected\":\"'red', 'green' or 'blue'\"}"},
        {"{\"object\":[]}", "dict_type", "[\"body\",\"object\"]", NULL},
        {"{\"inner\":5}", "model_attributes_type", "[\"body\",\"inner\"]", NULL},
        {"{\"inner\":{}}", "missing", "[\"body\",\"inner\",\"x\"]", NULL},
        {"{\"inner\":{\"x\":null}}", "missing", "[\"body\",\"inner\",\"x\"]", NULL},
        {"{\"inners\":{}}", "list_type", "[\"body\",\"inners\"]", NULL},
        {"{\"inners\":[{\"x\":1},{\"x\":[]}]}", "int_type", "[\"body\",\"inners\",1,\"x\"]", NULL},
        {"{\"inners\":[null]}", "model_attributes_type", "[\"body\",\"inners\",0]", NULL},
        {"{\"inners\":[{},{},{}]}", "too_long", "[\"body\",\"inners\"]", "{\"max_length\":2}"},
        {"{\"words\":[]}", "too_short", "[\"body\",\"words\"]", "{\"min_length\":1}"},
        {"{\"words\":[\"a\",null]}", "string_type", "[\"body\",\"words\",1]", NULL},
        {"{\"numbers\":[1,\"x\"]}", "int_parsing", "[\"body\",\"numbers\",1]", NULL},
        {"{\"extra\":1}", "extra_forbidden", "[\"body\",\"extra\"]", NULL},
        {"[]", "model_attributes_type", "[\"body\"]", NULL},
        {"null", "model_attributes_type", "[\"body\"]", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct round *r = decoded(cases[i].text);
        const struct json_problem *p = r->problems.first;
        if (r->ok || r->problems.count != 1)
            fail_msg("%s: %zu problems", cases[i].text, r->problems.count);
        if (strcmp(p->type, cases[i].type) != 0)
            fail_msg("%s: %s", cases[i].text, p->type);
        assert_string_equal(p->loc.p, cases[i].loc);
        assert_true(p->message.n > 0);
        if (cases[i].context)
            assert_string_equal(p->context.p, cases[i].context);
        else
            assert_null(p->context.p);
        round_free(r);
    }
}

static void absent_body(void **state)
{
    (void)state;
    autoarena arena = arena_new();
    struct json_problems problems = {.arena = arena};
    struct outer out;
    assert_false(json_decode(&outer_schema, NULL, "body", arena, &out, &problems));
    autobuf text = {0};
    json_problems_write(&problems, &text);
    assert_string_equal(
        text.p,
        "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\"],\"msg\":\"Field required\",\"input\":null}]}");
    assert_false(json_decode(&outer_schema, NULL, "body", arena, &out, NULL)); /* nobody asks why */
}

static void answer_text(void **state)
{
    (void)state;
    struct round *r = decoded("{\"inner\":{\"api_key\":\"sk-SECRET\",\"y\":1},\"u\":\"zz\"}");
    autobuf text = {0};
    json_problems_write(&r->problems, &text);
    assert_string_equal(
        text.p, "{\"detail\":[{\"type\":\"uuid_parsing\",\"loc\":[\"body\",\"u\"],\"msg\":\"Input should be "
                "a UUID: 32 hexadecimal digits, with or without dashes\",\"input\":\"zz\"},"
                "{\"type\":\"missing\",\"loc\":[\"body\",\"inner\",\"x\"],\"msg\":\"Field required\","
                "\"input\":{\"api_key\":\"**********\",\"y\":1}}]}");
    buf_clear(&text);
    json_problems_text(&r->problems, &text);
    assert_string_equal(text.p, "u: Input should be a UUID: 32 hexadecimal digits, with or without dashes; "
                                "inner.x: Field required");
    round_free(r);
}

static void secrets_are_not_shown(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"inner\":{\"x\":1,\"api_key\":[\"SECRET\"]}}",
        "{\"secrets\":{\"A\":\"SECRET\"}}",
        "{\"s\":{\"Authorization\":\"SECRET\",\"deep\":[{\"password\":{\"x\":\"SECRET\"}}]}}",
        "{\"s\":{\"name\":\"n\",\"value\":\"SECRET\",\"env\":{\"A\":\"SECRET\"},\"headers\":[\"SECRET\"]}}",
        "{\"session_api_key\":\"SECRET\"}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct round *r = decoded(texts[i]);
        autobuf text = {0};
        json_problems_write(&r->problems, &text);
        assert_false(r->ok);
        if (strstr(text.p, "SECRET"))
            fail_msg("shown: %s", text.p);
        round_free(r);
    }
}

/* However large and wrong the input: a small answer that is JSON. */
static void answers_are_bounded(void **state)
{
    (void)state;
    autobuf text = {0};
    buf_add_cstr(&text, "{\"numbers\":[");
    for (int i = 0; i < 5000; i++)
        buf_add_cstr(&text, "\"\xc3\xa4\",");
    buf_add_cstr(&text, "0],\"s\":[");
    for (int i = 0; i < 5000; i++)
        buf_add_cstr(&text, "[[[[[\"x\"]]]]],");
    buf_add_cstr(&text, "0],\"");
    for (int i = 0; i < 50000; i++)
        buf_add_cstr(&text, "k");
    buf_add_cstr(&text, "\":1,\"u\":");
    for (int i = 0; i < 50000; i++)
        buf_add_cstr(&text, "9");
    buf_add_cstr(&text, "}");
    struct round *r = decoded(text.p);
    assert_int_equal(r->problems.count, JSON_PROBLEMS_MAX);
    autobuf answer = {0};
    json_problems_write(&r->problems, &answer);
    assert_true(answer.n < 20000);
    autojson back = json_parse(buf_str(&answer), NULL, NULL);
    assert_int_equal(json_count(json_get(json_root(back), "detail")), JSON_PROBLEMS_MAX);
    round_free(r);
}

static void problems_by_hand(void **state)
{
    (void)state;
    autoarena arena = arena_new();
    struct json_problems problems = {.arena = arena};
    json_problem_add(&problems, "json_invalid", "body", "17", "JSON decode error");
    json_problem_add(&problems, "value_error", "body", NULL, "neither nor");
    json_problem_add(&problems, "value_error", NULL, "name", "odd");
    autobuf text = {0};
    json_problems_write(&problems, &text);
    assert_string_equal(
        text.p,
        "{\"detail\":[{\"type\":\"json_invalid\",\"loc\":[\"body\",17],\"msg\":\"JSON decode error\"},"
        "{\"type\":\"value_error\",\"loc\":[\"body\"],\"msg\":\"neither nor\"},"
        "{\"type\":\"value_error\",\"loc\":[\"name\"],\"msg\":\"odd\"}]}");
    for (int i = 0; i < 100; i++)
        json_problem_add(&problems, "value_error", "body", "x", "again");
    assert_int_equal(problems.count, JSON_PROBLEMS_MAX);
    json_problem_add(NULL, "value_error", "body", "x", "nobody asks");
}

static void parameters(void **state)
{
    (void)state;
    autoarena arena = arena_new();
    struct json_problems problems = {.arena = arena};
    struct outer out = {0};
    assert_true(json_decode_text(outer_field("limit"), STR("20"), "query", arena, &out, &problems));
    assert_int_equal(out.limit, 20);
    assert_true(json_decode_text(outer_field("limit"), STR_NONE, "query", arena, &out, &problems));
    assert_int_equal(out.limit, 50);
    assert_true(json_decode_text(outer_field("b"), STR("true"), "query", arena, &out, &problems));
    assert_true(out.b && out.b_given);
    assert_true(json_decode_text(outer_field("e"), STR("red"), "query", arena, &out, &problems));
    assert_int_equal(out.e, 0);
    assert_true(json_decode_text(outer_field("u"), STR("0123456789abcdef0123456789abcdef"), "path", arena,
                                 &out, &problems));
    char text[] = "copied";
    assert_true(json_decode_text(outer_field("s"), str_from(text), "query", arena, &out, &problems));
    memset(text, 'x', 6);
    assert_true(str_is(out.s, "copied"));
    for (int i = 0; i < 3; i++)
        assert_true(json_decode_text(outer_field("words"), STR("w"), "query", arena, &out, &problems));
    assert_int_equal(out.words.n, 3);
    assert_int_equal(problems.count, 0);

    assert_false(json_decode_text(outer_field("words"), STR("w"), "query", arena, &out, &problems));
    assert_string_equal(problems.last->type, "too_long");
    assert_false(json_decode_text(outer_field("limit"), STR("0"), "query", arena, &out, &problems));
    assert_string_equal(problems.last->type, "greater_than");
    assert_string_equal(problems.last->loc.p, "[\"query\",\"limit\"]");
    assert_string_equal(problems.last->input.p, "\"0\"");
    assert_false(json_decode_text(outer_field("limit"), STR(""), "query", arena, &out, &problems));
    assert_string_equal(problems.last->type, "int_parsing");
    assert_false(json_decode_text(outer_field("s"), STR("\xff"), "query", arena, &out, &problems));
    assert_string_equal(problems.last->type, "string_unicode");
    assert_false(json_decode_text(outer_field("u"), STR("1"), "path", arena, &out, &problems));
    struct inner inner = {0};
    assert_false(json_decode_text(&inner_fields[0], STR_NONE, "query", arena, &inner, &problems));
    assert_string_equal(problems.last->type, "missing");
}

static void schema_text(void **state)
{
    (void)state;
    autobuf out = {0};
    struct json_writer w = json_writer(&out);
    json_schema_write(&outer_schema, &w);
    static const char expected[] =
        "{\"description\":\"All kinds.\",\"type\":\"object\",\"properties\":{"
        "\"s\":{\"type\":\"string\",\"description\":\"A text.\",\"default\":\"dflt\"},"
        "\"short_text\":{\"type\":\"string\",\"minLength\":2,\"maxLength\":3},"
        "\"b\":{\"type\":\"boolean\"},"
        "\"i\":{\"type\":\"integer\",\"default\":7},"
        "\"limit\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":100,\"default\":50},"
        "\"t\":{\"type\":\"string\",\"format\":\"date-time\"},"
        "\"f\":{\"type\":\"number\",\"minimum\":0,\"maximum\":2,\"default\":0.5},"
        "\"u\":{\"type\":\"string\",\"format\":\"uuid\"},"
        "\"e\":{\"type\":\"string\",\"enum\":[\"red\",\"green\",\"blue\"],\"default\":\"green\"},"
        "\"any\":{},"
        "\"object\":{\"type\":\"object\"},"
        "\"inner\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"integer\"},\"api_key\":{\"type\":\"string\"}},"
        "\"required\":[\"x\"]},"
        "\"inners\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"integer\"},"
        "\"api_key\":{\"type\":\"string\"}},\"required\":[\"x\"]},\"maxItems\":2},"
        "\"numbers\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}},"
        "\"words\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"minItems\":1,\"maxItems\":3}},"
        "\"additionalProperties\":false}";
    assert_string_equal(out.p, expected);
    autojson doc = json_parse(buf_str(&out), NULL, NULL);
    assert_non_null(doc);
    buf_clear(&out);
    w = json_writer(&out);
    struct json_field given = {
        .name = "x", .type = FIELD_STR, .json_schema = "{\"type\":\"string\",\"pattern\":\"^a\"}"};
    json_field_schema_write(&given, &w);
    assert_string_equal(out.p, given.json_schema);
}

static const struct json_schema endless_schema;
static const struct json_field endless_fields[] = {
    {.name = "next", .type = FIELD_OBJECT, .schema = &endless_schema}};
static const struct json_schema endless_schema = {
    .name = "Endless", .size = sizeof(void *), .fields = endless_fields, .count = 1};

static void recursive_tables_end(void **state)
{
    (void)state;
    autobuf out = {0};
    struct json_writer w = json_writer(&out);
    json_schema_write(&endless_schema, &w);
    assert_true(out.n < 1000);
    autojson schema = json_parse(buf_str(&out), NULL, NULL);
    assert_non_null(schema);
    autoarena arena = arena_new();
    void *decoded_struct;
    autojson doc = json_parse(STR("{\"next\":{\"next\":{\"next\":{}}}}"), NULL, NULL);
    assert_true(json_decode(&endless_schema, json_root(doc), "body", arena, &decoded_struct, NULL));
    assert_non_null(**(void ***)decoded_struct);
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    clock_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(all_given),
        cmocka_unit_test(lenient_forms),
        cmocka_unit_test(problem_kinds),
        cmocka_unit_test(absent_body),
        cmocka_unit_test(answer_text),
        cmocka_unit_test(parameters),
        cmocka_unit_test(secrets_are_not_shown),
        cmocka_unit_test(answers_are_bounded),
        cmocka_unit_test(schema_text),
        cmocka_unit_test(problems_by_hand),
        cmocka_unit_test(recursive_tables_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
