/* problem: recording what is wrong with an input, for decode.c. The list and all its text live in the arena of the
 * request. */
#pragma once
#include "json/schema.h"

/* Where in the input: a chain on the stack, innermost first. A part without a name is an index. */
struct json_path {
    const struct json_path *parent;
    struct str name;
    size_t index;
};

/* What was given there: JSON, or the text of a parameter, or neither. */
struct json_input {
    const struct json_value *value;
    struct str text;
};

/* `context` is a JSON object or STR_NONE. `problems` may be NULL: then nobody asks why. */
void json_problem_at(struct json_problems *problems, const struct json_path *path, const char *type,
                     struct str message, const struct json_input *input, struct str context);

/* json_decode for a part of an input: what is wrong is told below `path` (NULL: the top). */
bool json_decode_at(const struct json_schema *schema, const struct json_value *v,
                    const struct json_path *path, struct arena *arena, void *out,
                    struct json_problems *problems);
