/* schema: tables that describe JSON (and query and path parameters). One table serves decoding into a C struct, the 422
 * answer, the OpenAPI document and the parameters of a tool. */
#pragma once
#include "json/json.h"
#include "json/writer.h"

enum json_field_type {
    FIELD_STR,   /* struct str */
    FIELD_BOOL,  /* bool */
    FIELD_INT,   /* int64_t */
    FIELD_FLOAT, /* double */
    FIELD_UUID,  /* struct uuid */
    FIELD_ENUM,  /* int: index into `names` */
    FIELD_ANY,   /* const struct json_value * */
    FIELD_OBJECT, /* with `schema`: const struct <schema's> * (in the arena); without: const struct json_value * */
    FIELD_ARRAY, /* struct json_list: items of `schema`'s struct, or of `item` type when schema is NULL */
    FIELD_TIME,  /* int64_t microseconds UTC, from ISO 8601 text */
};

struct json_list {
    const void *items; /* array of the item's C type */
    size_t n;
};
size_t json_item_size(enum json_field_type type); /* of items without a schema */

#define FIELD_REQUIRED 1u
#define FIELD_LENIENT 4u  /* UUID: text that is none becomes the zero id, which nothing has */
#define FIELD_NOT_NULL 2u /* an explicit null is an error; otherwise null means absent (clients send nulls) */

struct json_schema;

struct json_field {
    const char *name;
    enum json_field_type type;
    size_t offset; /* in the C struct */
    unsigned flags;
    /* Where a bool is stored that says whether the field was given (not null); 0: nowhere. Must not be offset 0. */
    size_t given;
    int64_t default_int; /* INT, BOOL, ENUM, TIME when absent */
    double default_float;
    const char *default_str;
    int64_t min, max;         /* INT and FLOAT: inclusive bounds; STR: length in code points; ARRAY: items.
                                  Used when min < max */
    const char *const *names; /* ENUM: NULL-terminated */
    const struct json_schema *schema;
    enum json_field_type item; /* ARRAY without schema */
    const char *alias;         /* another name that is accepted */
    const char *doc;           /* one line for OpenAPI or the model; may be NULL */
    const char *json_schema;   /* overrides the generated JSON Schema of the field; may be NULL */
};

struct json_schema {
    const char *name; /* for OpenAPI components */
    size_t size;      /* of the C struct */
    const struct json_field *fields;
    size_t count;
    bool forbid_extra; /* unknown members are an error (extra_forbidden) */
    const char *doc;
};

/* One problem, as pydantic words its kinds. */
struct json_problem {
    struct json_problem *next;
    const char *type; /* "missing", "string_type", "int_parsing", "uuid_parsing", "enum", … */
    struct str loc;   /* a JSON array such as ["body","workspace"] */
    struct str message;
    struct str input;   /* JSON, shortened, secrets redacted; STR_NONE: left out */
    struct str context; /* JSON object or STR_NONE */
};
struct json_problems {
    struct arena *arena;
    struct json_problem *first, *last;
    size_t count; /* at most JSON_PROBLEMS_MAX are kept */
};
#define JSON_PROBLEMS_MAX 50

/* Decodes an object into `*out` (schema->size bytes, overwritten). Strings are borrowed from the document, the rest is
 * in the arena. False when there were problems. `where` is the first element of loc ("body"). */
bool json_decode(const struct json_schema *schema, const struct json_value *v, const char *where,
                 struct arena *arena, void *out, struct json_problems *problems);
/* Decodes one parameter given as text (query, path). `value` STR_NONE: absent. */
bool json_decode_text(const struct json_field *field, struct str value, const char *where,
                      struct arena *arena, void *out, struct json_problems *problems);
void json_problem_add(struct json_problems *problems, const char *type, const char *where, const char *field,
                      const char *message);
/* Writes {"detail":[…]}. */
void json_problems_write(const struct json_problems *problems, struct buf *out);
/* One line for a person or a model: "field: message; …". */
void json_problems_text(const struct json_problems *problems, struct buf *out);
/* JSON Schema of an object: {"type":"object","properties":…,"required":…}. */
void json_schema_write(const struct json_schema *schema, struct json_writer *w);
void json_field_schema_write(const struct json_field *field, struct json_writer *w);
