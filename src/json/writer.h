/* writer: JSON text straight into a buf. Separators are placed by the writer; nesting mistakes abort. */
#pragma once
#include "json/json.h"

struct json_writer {
    struct buf *out;
    bool python; /* json.dumps style: ", " and ": ", ASCII-escaped */
    bool comma;
    unsigned depth;
};

struct json_writer json_writer(struct buf *out);        /* compact, UTF-8 as is */
struct json_writer json_writer_python(struct buf *out); /* as Python's json.dumps writes */
void jw_object(struct json_writer *w);                  /* { */
void jw_object_end(struct json_writer *w);
void jw_array(struct json_writer *w);
void jw_array_end(struct json_writer *w);
void jw_key(struct json_writer *w, const char *key);
void jw_key_str(struct json_writer *w, struct str key);
void jw_str(struct json_writer *w, struct str s); /* STR_NONE gives null; bad UTF-8 becomes U+FFFD */
void jw_cstr(struct json_writer *w, const char *z);
void jw_int(struct json_writer *w, int64_t v);
/* The shortest form that reads back the same, with ".0" like Python; not finite: null. */
void jw_float(struct json_writer *w, double v);
void jw_bool(struct json_writer *w, bool v);
void jw_null(struct json_writer *w);
void jw_value(struct json_writer *w, const struct json_value *v);
void jw_raw(struct json_writer *w, struct str json); /* a value that is JSON already */
/* key and value in one call */
void jw_member_str(struct json_writer *w, const char *key, struct str s);
void jw_member_cstr(struct json_writer *w, const char *key, const char *z);
void jw_member_int(struct json_writer *w, const char *key, int64_t v);
void jw_member_float(struct json_writer *w, const char *key, double v);
void jw_member_bool(struct json_writer *w, const char *key, bool v);
void jw_member_null(struct json_writer *w, const char *key);
void jw_member_raw(struct json_writer *w, const char *key, struct str json);
void jw_member_value(struct json_writer *w, const char *key, const struct json_value *v);
/* Adds only the escaped content of a string, without quotes. */
void json_escape(struct buf *out, struct str s, bool ascii);
