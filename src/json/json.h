/* json: a facade over yyjson. A document is parsed once, checked (UTF-8, depth, duplicate keys, size) and read by typed
 * access that never fails: asking a value for what it is not gives the stated default, so that code reads straight and
 * checks only where it matters. Values are borrowed from their document. Documents are not thread-safe to build but may
 * be read by any thread once made. */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#define JSON_DEPTH_MAX 64

struct json_doc;
struct json_value; /* opaque; NULL stands for "absent" everywhere below */

enum json_type {
    JSON_ABSENT,
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,
    JSON_FLOAT,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

/* Parses a whole text (trailing white space allowed, nothing else). Copies what it needs. Errors: ERR_INVALID with the
 * byte offset in the text; `*offset` (may be NULL) too. Depth over JSON_DEPTH_MAX and duplicate keys are errors. */
struct json_doc *json_parse(struct str text, size_t *offset, struct err **e);
/* Like json_parse for what we wrote ourselves: no duplicate check. */
struct json_doc *json_parse_trusted(struct str text, struct err **e);
void json_doc_free(struct json_doc *d); /* NULL is allowed */
void json_doc_cleanup(struct json_doc **d);
#define autojson __attribute__((cleanup(json_doc_cleanup))) struct json_doc *
const struct json_value *json_root(const struct json_doc *d); /* NULL for NULL */

enum json_type json_type(const struct json_value *v);
bool json_is_null(const struct json_value *v); /* absent or null */
/* Member of an object; NULL if `v` is no object or has no such member. */
const struct json_value *json_get(const struct json_value *v, const char *key);
const struct json_value *json_get_str_key(const struct json_value *v, struct str key);
struct str json_str(const struct json_value *v); /* STR_NONE unless a string */
bool json_bool(const struct json_value *v, bool otherwise);
int64_t json_int(const struct json_value *v, int64_t otherwise); /* also from a float without fraction */
double json_float(const struct json_value *v, double otherwise); /* also from an integer */
size_t json_count(const struct json_value *v);                   /* members or elements; 0 otherwise */
/* Short cuts for members. */
struct str json_get_str(const struct json_value *v, const char *key);
bool json_get_bool(const struct json_value *v, const char *key, bool otherwise);
int64_t json_get_int(const struct json_value *v, const char *key, int64_t otherwise);
double json_get_float(const struct json_value *v, const char *key, double otherwise);

/* for (struct json_iter it = json_iter(v); json_next(&it);) { it.key (objects), it.value, it.index } */
struct json_iter {
    const struct json_value *parent, *value;
    struct str key;
    size_t index;
    void *state[4];
};
struct json_iter json_iter(const struct json_value *v);
bool json_next(struct json_iter *it);

bool json_equal(const struct json_value *a, const struct json_value *b); /* object members in any order */
/* Adds `v` as compact JSON ("null" for absent). */
void json_add(struct buf *out, const struct json_value *v);
