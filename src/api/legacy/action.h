/* action: what a client of 0.53 does to a conversation, by an event in the form of that API: a message, or a change of the
 * agent's state. */
#pragma once
#include "conversation/conversation.h"

enum legacy_wish { WISH_NOTHING, WISH_MESSAGE, WISH_RUN, WISH_PAUSE, WISH_STOP, WISH_CONFIRM, WISH_REJECT };
struct legacy_action {
    enum legacy_wish wish;
    struct json_doc *message; /* of WISH_MESSAGE: {role, content[]}; or NULL */
};

/* ERR_INVALID says what is wrong with it, ERR_TOO_LARGE which limit it passes. Any thread. */
bool legacy_action_decode(const struct json_value *data, struct legacy_action *out, struct err **e);
void legacy_action_deinit(struct legacy_action *a);
/* Does it; `done` as for the functions of conversation.h. ERR_CONFLICT: it does not fit the state. *worker* */
void legacy_action_do(struct conversation *c, const struct legacy_action *a, conversation_done done,
                      void *arg);
