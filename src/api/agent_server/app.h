/* app: what the resource files of this dialect share besides what all dialects do: each file's routes, ids, answers. */
#pragma once
#include "api/app.h"

#define PAGE_LIMIT 100                 /* items of a page, and ids of a batch */
#define PAGE_BYTES (8 * 1024 * 1024)   /* a page ends early past this much text; its successor goes on */
#define BATCH_BYTES (16 * 1024 * 1024) /* of a batch's answer; past it 413 */

extern const struct route_table bash_routes;         /* bash.c */
extern const struct route_table bash_socket_routes;  /* bash_socket.c */
extern const struct route_table server_routes;       /* server.c */
extern const struct route_table start_routes;        /* start.c */
extern const struct route_table conversation_routes; /* conversations.c */
extern const struct route_table control_routes;      /* control.c */
extern const struct route_table ask_routes;          /* ask.c */
extern const struct route_table event_routes;        /* events.c */
extern const struct route_table file_routes;         /* files.c */
extern const struct route_table git_routes;          /* git.c */
extern const struct route_table hook_routes;         /* hooks.c */
extern const struct route_table skill_routes;        /* skills.c */
extern const struct route_table tool_routes;         /* tools.c */
extern const struct route_table trajectory_routes;   /* trajectory.c */
extern const struct route_table socket_routes;       /* sockets.c */
extern const struct route_table vscode_routes;       /* vscode.c */
extern const struct route_table workspace_routes;    /* workspace.c */

/* Components of the OpenAPI document that no decoding table describes. components.c */
extern const struct openapi_component agent_server_components[];

/* ---- arguments that most routes share ---- */

extern const struct json_field id_path_fields[1];
#define ID_PATH .path_fields = id_path_fields, .path_count = 1

/* 200 {"success": true}, and what else such a route answers. */
extern const struct route_response success_or_404[2], success_or_400[2], success_only[1];

/* ---- answers (reply.c) ---- */

void reply_missing_400(struct request *r, const void *args);   /* 400 Bad Request */
void reply_missing_named(struct request *r, const void *args); /* 404 Conversation not found: <id> */
/* 422: what `page_id` names does not exist. */
void reply_page_missing(struct request *r, struct str page, const char *what);

/* ---- several by their ids (batch.c) ---- */

/* A text that is no id becomes the zero id: neither names an event. */
struct uuid id_or_zero(struct str text);
/* The ids that the body lists; answers the request if it does not. */
bool batch_ids(struct request *r, struct uuid list[PAGE_LIMIT], size_t *n);
/* Adds the JSON of the one with this id. ERR_NOT_FOUND: null stands for it. */
typedef bool batch_item(struct request *r, const void *arg, const struct uuid *id, struct buf *out,
                        struct err **e);
/* Answers with an array in the order of `ids` (at most PAGE_LIMIT). One that is named again is not fetched again. */
void reply_batch(struct request *r, const struct uuid *ids, size_t n, batch_item *item, const void *arg);
