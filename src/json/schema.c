#include "json/schema.h"

/* Schemas are written in place; a table that contains itself ends here. */
#define SCHEMA_DEPTH_MAX 8

static void write_object(const struct json_schema *schema, struct json_writer *w, unsigned depth);

static void write_names(const struct json_field *field, struct json_writer *w)
{
    jw_key(w, "enum");
    jw_array(w);
    for (size_t i = 0; field->names[i]; i++)
        jw_cstr(w, field->names[i]);
    jw_array_end(w);
}

/* The members that say what type it is. */
static void write_type(const struct json_field *field, enum json_field_type type, struct json_writer *w,
                       unsigned depth)
{
    switch (type) {
    case FIELD_STR: jw_member_cstr(w, "type", "string"); break;
    case FIELD_BOOL: jw_member_cstr(w, "type", "boolean"); break;
    case FIELD_INT: jw_member_cstr(w, "type", "integer"); break;
    case FIELD_FLOAT: jw_member_cstr(w, "type", "number"); break;
    case FIELD_UUID:
        jw_member_cstr(w, "type", "string");
        jw_member_cstr(w, "format", "uuid");
        break;
    case FIELD_TIME:
        jw_member_cstr(w, "type", "string");
        jw_member_cstr(w, "format", "date-time");
        break;
    case FIELD_ENUM:
        jw_member_cstr(w, "type", "string");
        write_names(field, w);
        break;
    case FIELD_OBJECT:
        if (field->schema)
            write_object(field->schema, w, depth);
        else
            jw_member_cstr(w, "type", "object");
        break;
    case FIELD_ARRAY:
        jw_member_cstr(w, "type", "array");
        jw_key(w, "items");
        jw_object(w);
        if (field->schema)
            write_object(field->schema, w, depth);
        else
            write_type(field, field->item, w, depth);
        jw_object_end(w);
        break;
    case FIELD_ANY: break;
    }
}

static void write_bounds(const struct json_field *field, struct json_writer *w)
{
    static const char *const names[][2] = {
        [FIELD_STR] = {"minLength", "maxLength"},
        [FIELD_INT] = {"minimum", "maximum"},
        [FIELD_FLOAT] = {"minimum", "maximum"},
        [FIELD_ARRAY] = {"minItems", "maxItems"},
    };
    if (field->min >= field->max || (size_t)field->type >= sizeof(names) / sizeof(names[0]) ||
        !names[field->type][0])
        return;
    bool is_count = field->type == FIELD_STR || field->type == FIELD_ARRAY;
    if (is_count ? field->min > 0 : field->min != INT64_MIN)
        jw_member_int(w, names[field->type][0], field->min);
    if (field->max != INT64_MAX)
        jw_member_int(w, names[field->type][1], field->max);
}

/* A field whose struct says whether it was given has no default: its absence means something. */
static void write_default(const struct json_field *field, struct json_writer *w)
{
    if ((field->flags & FIELD_REQUIRED) || field->given)
        return;
    if (field->type == FIELD_BOOL)
        jw_member_bool(w, "default", field->default_int != 0);
    else if (field->type == FIELD_ENUM && field->default_int >= 0)
        jw_member_cstr(w, "default", field->names[field->default_int]);
    else if (field->type == FIELD_INT && field->default_int != 0)
        jw_member_int(w, "default", field->default_int);
    else if (field->type == FIELD_FLOAT && field->default_float != 0)
        jw_member_float(w, "default", field->default_float);
    else if (field->type == FIELD_STR && field->default_str)
        jw_member_cstr(w, "default", field->default_str);
}

static void write_field(const struct json_field *field, struct json_writer *w, unsigned depth)
{
    if (field->json_schema) {
        jw_raw(w, str_from(field->json_schema));
        return;
    }
    jw_object(w);
    write_type(field, field->type, w, depth);
    if (field->doc)
        jw_member_cstr(w, "description", field->doc);
    write_bounds(field, w);
    write_default(field, w);
    jw_object_end(w);
}

static void write_object(const struct json_schema *schema, struct json_writer *w, unsigned depth)
{
    bool required = false;
    jw_member_cstr(w, "type", "object");
    if (depth >= SCHEMA_DEPTH_MAX)
        return;
    jw_key(w, "properties");
    jw_object(w);
    for (size_t i = 0; i < schema->count; i++) {
        jw_key(w, schema->fields[i].name);
        write_field(&schema->fields[i], w, depth + 1);
        required |= (schema->fields[i].flags & FIELD_REQUIRED) != 0;
    }
    jw_object_end(w);
    if (required) {
        jw_key(w, "required");
        jw_array(w);
        for (size_t i = 0; i < schema->count; i++)
            if (schema->fields[i].flags & FIELD_REQUIRED)
                jw_cstr(w, schema->fields[i].name);
        jw_array_end(w);
    }
    if (schema->forbid_extra)
        jw_member_bool(w, "additionalProperties", false);
}

void json_schema_write(const struct json_schema *schema, struct json_writer *w)
{
    jw_object(w);
    if (schema->doc)
        jw_member_cstr(w, "description", schema->doc);
    write_object(schema, w, 0);
    jw_object_end(w);
}

void json_field_schema_write(const struct json_field *field, struct json_writer *w)
{
    write_field(field, w, 0);
}
