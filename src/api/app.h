/* app: what the dialects share: the dialect at work, its tables, and the few ways in which a request acts on a
 * conversation or is told what is wrong. */
#pragma once
#include "api/api.h"
#include "json/problem.h"
#include "net/openapi.h"

struct api {
    struct api_config config;
    const struct dialect *dialect;
    struct route *routes; /* the resources' tables, one behind the other */
    size_t route_count;
    uint64_t started_ns;
    struct bytes *openapi, *docs, *docs_below,
        *list; /* made once: their content depends on the table alone */
};

/* One table per resource. */
struct route_table {
    const struct route *routes;
    size_t count;
};

struct dialect {
    const char *title, *version, *description; /* of its OpenAPI document and pages */
    const struct route_table *const *tables;
    size_t table_count;
    /* Components of that document that no decoding table describes; one without a name ends them. */
    const struct openapi_component *components;
};

static inline struct api *app_of(const struct request *r)
{
    return request_app(r);
}
static inline struct conversations *conversations_of(const struct request *r)
{
    return app_of(r)->config.conversations;
}

/* /openapi.json, /docs and /redoc, from the dialect's tables. docs.c */
extern const struct route_table docs_routes;
/* /swagger-ui/, which the documents of 0.53 link to: the page of /docs. */
extern const struct route_table swagger_ui_routes;
void docs_make(struct api *a); /* once its routes are known */
void docs_free(struct api *a);

/* ---- acting on one conversation (act.c) ---- */

/* How the args of every route below /{conversation_id} begin. */
struct id_args {
    struct uuid id;
};

/* One request that acts on a conversation: it is opened (which may take a commit, so nobody waits for it), then `run`
 * is called on a worker and gives `act_success` (or a function of its own that ends with `act_end`) to a conversation_…
 * function as its continuation. Lives in the request's arena. */
struct act {
    struct request *request;
    const void *args; /* begins with struct id_args */
    struct conversation *conversation;
    struct json_doc *doc; /* what `run` passes on, if anything; freed at the end */
    void (*run)(struct act *a);
    /* Answers when it is done; NULL: {"success": true}. */
    void (*succeeded)(struct request *r, const void *args);
    /* Answers when there is no such conversation; NULL: 404 Not Found. */
    void (*missing)(struct request *r, const void *args);
    /* Answers an error; NULL: reply_error. */
    void (*failed)(struct request *r, const void *args, const struct err *e);
};
void act_start(const struct act *template); /* `conversation` unset */
void act_success(void *arg, const struct err *e);
/* Answers `e`, or success for NULL, and ends the act. */
void act_end(struct act *a, const struct err *e);

/* For GETs with an effect. False, and answered, for what the page of another site makes a browser send on its own, as for an
 * <img>: that has no Origin that could have been refused, and browsers say where it comes from. */
bool effect_allowed(struct request *r);

/* ---- answers ---- */

void reply_success(struct request *r, bool success);
void reply_missing(struct request *r, const void *args);  /* 404 Not Found */
void reply_error(struct request *r, const struct err *e); /* ERR_INVALID is 422 with detail[] here */
/* 422 with one problem at ["body", field]. */
void reply_invalid(struct request *r, const char *field, const char *message);
void problem_value(struct json_problems *problems, const struct json_path *path,
                   const struct json_value *value, const char *message);

/* ---- messages (message.c) ---- */

#define MESSAGE_TOO_LONG "A message has at most 8 MiB." /* CONVERSATION_MESSAGE_MAX */

/* Checks a user message ({role, content[], …}) and adds it to `out` in its one normal form: {"role":"user","content":[…]}
 * (and its `sender`), whose items carry just the keys of an event's. False when there are problems. `text_content`: a plain string stands for
 * one text (what sockets allow). */
bool message_decode(const struct json_value *v, const struct json_path *path, bool text_content,
                    struct json_problems *problems, struct buf *out);

/* ---- agents (agent_make.c) ---- */

/* The agent that `settings` (as a client sends them, or {"llm": …}) ask for, or `agent` with `suffix` behind that of its
 * system message, as a document of its own; NULL when `agent` is to be taken as it stands. Either of the two is NULL. */
struct json_doc *agent_make(struct str added, const struct json_value *agent,
                            const struct json_value *settings);
