/* edit: the file editor's five commands. edit.c decides, edit_file.c reads and writes files, edit_text.c knows encodings
 * and lines, edit_view.c shows, edit_history.c remembers. Everything the model reads is written here, in our words. */
#pragma once
#include "base/err.h"
#include "base/buf.h"
#include "hand/call.h"

#define EDIT_FILE_MAX \
    ((size_t)10 * 1024 * 1024) /* of a file that is viewed or edited, and of what it becomes */
#define EDIT_OUTPUT 16000      /* characters of text for the model, unless the call says otherwise */

/* --- edit_text.c */
enum encoding {
    ENC_UTF8,
    ENC_UTF8_BOM,
    ENC_UTF16_LE, /* with a mark at the beginning */
    ENC_UTF16_BE,
    ENC_UTF16_LE_BARE, /* without */
    ENC_UTF16_BE_BARE,
    ENC_CP1252,
};

/* To UTF-8, with CRLF as LF. False if the bytes are no text, or one in an encoding that is not known here, which would
 * come back broken. CP1252 covers Latin-1. */
bool text_decode(struct str bytes, struct buf *out, enum encoding *encoding);
bool text_decode_exact(struct str bytes, struct buf *out, enum encoding *encoding); /* CRLF stays */
/* Back. What the encoding cannot express makes all of it UTF-8. */
void text_encode(struct str text, enum encoding encoding, struct buf *out);
size_t text_lines(struct str text); /* a newline at the end begins no further line */
/* Byte offset of the beginning of line `line` (from 1), or the length. */
size_t text_line_offset(struct str text, size_t line);
size_t text_line_at(struct str text, size_t offset); /* from 1 */
/* Adds `text` as `cat -n` would, its first line being number `first`. A newline at the end gives an empty last line. */
void text_number(struct buf *out, struct str text, size_t first);
/* Adds `text`; of more than `limit` characters only both ends, with a remark between them. */
void text_clip(struct buf *out, struct str text, size_t limit);

/* --- edit_file.c */
enum file_kind { FILE_MISSING, FILE_REGULAR, FILE_DIRECTORY, FILE_OTHER };
enum file_kind file_kind(const char *path); /* follows links */
/* Reads a regular file; ERR_TOO_LARGE past EDIT_FILE_MAX. */
bool file_load(const char *path, struct buf *out, struct err **e);
/* Writes beside it and renames; links are followed, an old file's mode is kept, a new one gets 0600. */
bool file_save(const char *path, struct str content, struct err **e);

/* --- edit_view.c */
void view_directory(struct buf *out, const char *path, size_t limit);
/* Media type by the first bytes, or NULL. */
const char *image_type(struct str bytes);
bool image_name(struct str path);

/* --- edit_history.c: file contents before edits, in memory, per name. */
void history_push(struct hand *h, struct str name, struct str path, struct str content);
/* Takes the newest; false when there is none. */
bool history_pop(struct hand *h, struct str name, struct str path, struct buf *content);
