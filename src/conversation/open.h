/* open: what opening and creating share. Lock: the registry's where it says so. */
#pragma once
#include "conversation/internal.h"

struct conversation *conversation_new(struct conversations *s, const struct uuid *id);
struct str conversation_key(const struct uuid *id);               /* of the registry's map; borrowed */
void open_set_state(struct conversation *c, struct state *state); /* takes the reference */

struct waiter *open_waiter(void (*done)(void *, struct conversation *, const struct err *), void *arg);
/* Under the registry lock: the open conversation, with a reference, or NULL with `waiter` queued (and `*fresh` set, with
 * the open's own reference, when this caller has to start the open). */
struct conversation *open_enter(struct conversations *s, const struct uuid *id, struct waiter *waiter,
                                struct conversation **fresh);
/* The steps, each on a worker; `arg` is the conversation with the open's own reference. */
void open_claim(void *arg);  /* of one that is stored */
void open_finish(void *arg); /* claimed, loaded and sound */
/* The next of them, or the end if the server is ending. */
void open_go_on(struct conversation *c, void (*step)(void *arg));
/* The last step: answers everybody who waits. `e` NULL: it is ready. */
void open_end(struct conversation *c, const struct err *e);
