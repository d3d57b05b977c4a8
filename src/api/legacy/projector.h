/* projector: how the files of the projection write one event of the 0.53 dialect. */
#pragma once
#include "api/legacy/projection.h"
#include "json/writer.h"

struct projector {
    struct projection *out;
    const struct json_value *event, *side;
    uint32_t seq;
    const struct projection_log *log;
    struct err **e;
    bool failed; /* the log could not be read: `*e` */
    struct {
        size_t from, to; /* in out->text */
    } at[PROJECTION_MAX];
};

#define PROJECTED_TEXT_MAX \
    30000 /* characters of a command's output; the middle of a longer one is left out */

struct projected_head {
    const char *source, *name;
    bool is_observation;
    bool is_call;   /* tells which tool call it belongs to */
    bool has_usage; /* tells what the conversation has cost so far */
    int64_t cause;  /* id of the action it answers; 0: none, or not known */
    struct str message;
};
/* Writes the keys up to `action` or `observation` and those about the call; the caller goes on with args, or content and
 * extras, and ends it. */
struct json_writer projector_begin(struct projector *p, const struct projected_head *head);
void projector_end(struct projector *p, struct json_writer *w);
/* The whole of one whose args are empty, or of an observation with a content and no extras. */
void projector_observation(struct projector *p, const struct projected_head *head, struct str content);

/* Joins the texts of a list of contents. */
void projector_texts(const struct json_value *contents, const char *between, struct buf *out);
/* Text of a member; "" when it has none. */
struct str projector_text(const struct json_value *v, const char *key);
int64_t projector_cause(const struct projector *p); /* what the event answers; 0: not known */

/* projection_log.c: an earlier event by its seq, NULL when there is none, and its side record (`side` may be NULL; NULL when
 * it has none); and the seq of one by its id, or -1. */
struct json_doc *projector_event(struct projector *p, int64_t seq, struct json_doc **side);
int64_t projector_seq(struct projector *p, struct str id);
/* projection_tools.c */
void project_action(struct projector *p);
/* The command at `seq`, which has waited for the user's word, once more with that: confirmed or rejected. False, and nothing
 * is shown, if it is none. */
bool project_answered(struct projector *p, int64_t seq, const char *answer);
void project_observation(struct projector *p);
/* projection_diff.c: the difference of two texts as one unified hunk; nothing when they are equal. */
void project_diff(struct str path, struct str old_text, struct str new_text, struct buf *out);
