/* app: what the resource files of the 0.53 dialect share: each file's routes, ids, answers. */
#pragma once
#include "api/app.h"

extern const struct route_table legacy_conversation_routes; /* conversations.c */
extern const struct route_table legacy_create_routes;       /* create.c */
extern const struct route_table legacy_event_routes;        /* events.c */
extern const struct route_table legacy_feedback_routes;     /* feedback.c */
extern const struct route_table legacy_file_routes;         /* files.c */
extern const struct route_table legacy_git_routes;          /* git.c */
extern const struct route_table legacy_runtime_routes;      /* runtime.c */
extern const struct route_table legacy_server_routes;       /* server.c */
extern const struct route_table legacy_trajectory_routes;   /* trajectory.c */
extern const struct route_table legacy_upload_routes;       /* upload.c */
extern const struct route_table legacy_zip_routes;          /* zip.c */

/* Components of the OpenAPI document that no decoding table describes. components.c */
extern const struct openapi_component legacy_components[];

/* ---- ids (reply.c) ----
 * Any text may stand in a path; one that is not 128 bits names nothing. In answers an id is 32 hexadecimal digits. */
extern const struct json_field legacy_id_fields[1]; /* of a struct id_args */
#define LEGACY_ID .path_fields = legacy_id_fields, .path_count = 1
/* As the client wrote it in the path. */
struct str legacy_id_text(const struct request *r);

/* Is it in use: made, started or acted upon since the server's start, and not stopped? Otherwise clients see it as STOPPED,
 * and have to start it before they act on it. Does not block. */
static inline bool legacy_live(const struct request *r, const struct uuid *id)
{
    return conversations_live(conversations_of(r), id, NULL);
}

/* A user's message of 0.53 (text, images by URL, and `more` text behind it if there is any) as conversation_send takes it:
 * {"role":"user","content":[…]}. message.c */
void legacy_message_write(struct str text, struct str more, const struct str *images, size_t n,
                          struct buf *out);

/* ---- answers (reply.c) ---- */

/* 404 {"detail":"Conversation <id> not found"} */
void legacy_reply_missing(struct request *r, const void *args);
/* {"error":"…"}: the form of what goes wrong below a conversation. */
void legacy_reply_error(struct request *r, int status, const char *text);
/* An answer in that form, for the tables of routes. */
#define LEGACY_ERROR(number, text)                                                                          \
    {                                                                                                       \
        .status = number, .description = text, .ref = "{\"type\":\"object\",\"additionalProperties\":true}" \
    }
