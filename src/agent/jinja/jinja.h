/* jinja: the part of the Jinja template language that system prompts use. A template is text of a stranger: it can read the
 * variables it is given and nothing else, and it is bounded in size, nesting, steps, memory and output.
 *
 * Understood: text, {# comments #}, {{ expressions }}, if/elif/else, for (with else, with a condition, over .items()), set,
 * raw, `-` for white space; names, a.b, a["b"], a[0], literals, lists, and/or/not, comparisons, in, is TEST, ~, + and -,
 * `x if c else y`, and the filters of the table in jinja_value.c. Anything else is an error that names it and its line. */
#pragma once
#include "json/json.h"

#define JINJA_TEMPLATE_MAX (1024 * 1024)
#define JINJA_OUTPUT_MAX (1024 * 1024)
#define JINJA_BLOCKS_MAX 32     /* if and for inside each other */
#define JINJA_NESTING_MAX 32    /* brackets inside each other */
#define JINJA_DEPTH_MAX 100     /* of one expression */
#define JINJA_STEPS_MAX 1000000 /* statements and expressions carried out */
#define JINJA_MEMORY_MAX (32 * 1024 * 1024)

/* Adds what `text` becomes with the members of the object `variables`, without white space at both ends. All errors are
 * ERR_INVALID and begin with "line N: ". */
bool jinja_render(struct str text, const struct json_value *variables, struct buf *out, struct err **e);
