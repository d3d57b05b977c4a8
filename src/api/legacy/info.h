/* info: how this dialect shows a conversation, and how it says what became of one. Everything lives as long as its call;
 * any thread. */
#pragma once
#include "api/legacy/app.h"

#define LEGACY_STARTING "STARTING"
#define LEGACY_RUNNING "RUNNING"
#define LEGACY_STOPPED "STOPPED"

extern const char *const legacy_providers[]; /* git hosts, by their names on the wire */
extern const char *const legacy_triggers[];  /* why a conversation was made */
enum {
    LEGACY_TRIGGER_GUI = 1,
    LEGACY_TRIGGER_TASK = 2,
    LEGACY_TRIGGER_API = 3,
    LEGACY_TRIGGER_MICROAGENT = 5
};

/* What is kept with a conversation that was made here; of others the trigger is openhands_api. */
struct legacy_origin {
    struct json_doc *doc; /* holds the texts */
    struct str trigger, repository, branch, provider;
};
void legacy_origin_read(const struct store_row *row, struct legacy_origin *out);
void legacy_origin_deinit(struct legacy_origin *o);

void legacy_info_write(struct json_writer *w, struct conversations *all, const struct store_row *row,
                       const struct legacy_origin *origin);

/* {"status":"ok|error", "conversation_id", "message", "msg_id", "conversation_status"}: those that are given, in this order;
 * a success has a message in any case. */
struct legacy_outcome {
    struct str id;
    const char *message, *msg_id, *state;
};
void legacy_reply_outcome(struct request *r, int status, const struct legacy_outcome *o);
/* The same for a failure: "Failed to <what> conversation: …". `msg_id` and `id` may be missing. */
void legacy_reply_failed(struct request *r, const char *what, const char *msg_id, struct str id,
                         const struct err *e);
