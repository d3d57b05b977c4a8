/* app: what the resource files of this dialect share: the app itself, each file's routes, and the few ways in which a
 * request acts on a conversation or is told what is wrong. */
#pragma once
#include "api/api.h"
#include "json/problem.h"
#include "net/openapi.h"

#define PAGE_LIMIT 100               /* items of a page, and ids of a batch */
#define PAGE_BYTES (8 * 1024 * 1024) /* a page ends early past this much text; its successor goes on */
#define MESSAGE_TOO_LONG "A message has at most 8 MiB." /* CONVERSATION_MESSAGE_MAX */
#define BATCH_BYTES (16 * 1024 * 1024)                  /* of a batch's answer; past it 413 */

struct agent_server {
    struct agent_server_config config;
    struct route *routes; /* the resources' tables, one behind the other */
    size_t route_count;
    uint64_t started_ns;
    struct bytes *openapi, *docs, *list; /* made once: their content depends on the table alone */
};

static inline struct agent_server *app_of(const struct request *r)
{
    return request_app(r);
}
static inline struct conversations *conversations_of(const struct request *r)
{
    return app_of(r)->config.conversations;
}

/* One table per resource. */
struct route_table {
    const struct route *routes;
    size_t count;
};
extern const struct route_table bash_routes;         /* bash.c */
extern const struct route_table bash_socket_routes;  /* bash_socket.c */
extern const struct route_table server_routes;       /* server.c */
extern const struct route_table start_routes;        /* start.c */
extern const struct route_table conversation_routes; /* conversations.c */
extern const struct route_table control_routes;      /* control.c */
extern const struct route_table ask_routes;          /* ask.c */
extern const struct route_table docs_routes;         /* docs.c */
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

/* The pages, once the routes are known. docs.c */
void docs_make(struct agent_server *a);
void docs_free(struct agent_server *a);

/* Components of the OpenAPI document that no decoding table describes. components.c */
extern const struct openapi_component agent_server_components[];
extern const size_t agent_server_component_count;

/* ---- arguments that most routes share ---- */

struct id_args { /* every args struct of a route below /{conversation_id} starts like this */
    struct uuid id;
};
extern const struct json_field id_path_fields[1];
#define ID_PATH .path_fields = id_path_fields, .path_count = 1

/* 200 {"success": true}, and what else such a route answers. */
extern const struct route_response success_or_404[2], success_or_400[2], success_only[1];

/* ---- acting on one conversation (act.c) ---- */

/* One request that acts on a conversation: it is opened (which may take a commit, so nobody waits for it), then `run`
 * is called on a worker and gives `act_success` (or a function of its own that ends with `act_end`) to a conversation_…
 * function as its continuation. Lives in the request's arena. */
struct act {
    struct request *request;
    const void *args;
    struct conversation *conversation;
    struct json_doc *doc; /* what `run` passes on, if anything; freed at the end */
    void (*run)(struct act *a);
    /* Answers when there is no such conversation; NULL: 404. */
    void (*missing)(struct request *r, const void *args);
};
void act_start(const struct act *template); /* `conversation` unset */
void act_success(void *arg, const struct err *e);
/* Answers `e`, or {"success": true} for NULL, and ends the act. */
void act_end(struct act *a, const struct err *e);

/* ---- answers ---- */

void reply_success(struct request *r, bool success);
void reply_missing(struct request *r, const void *args);       /* 404 Not Found */
void reply_missing_400(struct request *r, const void *args);   /* 400 Bad Request */
void reply_missing_named(struct request *r, const void *args); /* 404 Conversation not found: <id> */
void reply_error(struct request *r, const struct err *e);      /* ERR_INVALID is 422 with detail[] here */
/* 422 with one problem at ["body", field]. */
void reply_invalid(struct request *r, const char *field, const char *message);
void problem_value(struct json_problems *problems, const struct json_path *path,
                   const struct json_value *value, const char *message);

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

/* ---- messages (message.c) ---- */

/* Checks a user message ({role, content[], …}) and adds it to `out` in its one normal form: {"role":"user","content":[…]}
 * (and its `sender`), whose items carry just the keys of an event's. False when there are problems. `text_content`: a plain string stands for
 * one text (what sockets allow). */
bool message_decode(const struct json_value *v, const struct json_path *path, bool text_content,
                    struct json_problems *problems, struct buf *out);
