/* delete: the row first; only when it is gone do sockets, hand, memory and saved outputs follow. */
#include "base/log.h"
#include "conversation/internal.h"
#include "workspace/spawn.h"

#define REMOVE_TIMEOUT_MS 5000 /* for the saved outputs; whoever deletes waits for it */

struct deletion {
    struct conversations *s;
    struct conversation *c; /* a reference, or NULL: it cannot be opened */
    struct uuid id;
    conversation_done done;
    void *arg;
    struct hand_spec hand; /* that removes the saved outputs */
};

static void deletion_end(struct deletion *d, const struct err *e)
{
    d->done(d->arg, e);
    conversation_unref(d->c);
    free(d);
}

static void deleted_sockets(void *arg)
{
    struct conversation *c = arg;
    conversation_mend_stop(c);
    subscriptions_close_all(c, 4004, "Conversation not found");
    conversation_unref(c);
}

/* ---- the saved outputs ---- */

static bool saved_any(struct conversation *c)
{
    struct state *state = committed_get(c);
    bool any = state->doc->saved;
    state_unref(state);
    return any;
}

static void saved_removed(void *arg, struct hand_spawn *spawn, const struct err *e)
{
    struct deletion *d = arg;
    if (e || spawn->exit_code != 0)
        log_warn("saved outputs of a deleted conversation could not be removed: %s",
                 e ? err_text(e) : "rm failed");
    buf_deinit(&spawn->out);
    buf_deinit(&spawn->err);
    hand_end(d->s->config.hands, &d->hand.id);
    deletion_end(d, NULL);
}

/* The conversation's own hand ends, and its id may be used anew at once: another one does it, before that is allowed. */
static void saved_remove(struct deletion *d)
{
    static const struct hand_spawn spawn = {.timeout_ms = REMOVE_TIMEOUT_MS};
    char text[UUID_DASHED_LEN + 1];
    autobuf fields = {0};
    agent_saved_remove(uuid_dashed(&d->id, text), &fields);
    d->hand = (struct hand_spec){.id = uuid_random(), .working_dir = STR("/")};
    hand_spawn_start(d->s->config.hands, &d->hand, &fields, &spawn, saved_removed, d);
}

/* The row is gone, or the store has refused and everything stays as it was. */
static void deletion_stored(void *arg, const struct err *e)
{
    struct deletion *d = arg;
    struct conversation *c = d->c;
    if (!e)
        live_remove(d->s->live, &d->id);
    if (c && e) {
        WITH_LOCK(&c->lock)
        c->deleted = false;
        conversation_mend(c);
    } else if (c) {
        WITH_LOCK(&c->lock)
        c->token = 0; /* nothing is left to release */
        conversations_drop(c);
        conversation_end_session(c);
        loop_call(d->s->config.loop, deleted_sockets, conversation_ref(c));
        if (saved_any(c)) {
            saved_remove(d);
            return;
        }
    }
    deletion_end(d, e);
}

/* One that cannot be opened (damaged, owned elsewhere) can still be deleted. */
static void delete_unopened(void *arg)
{
    struct deletion *d = arg;
    int64_t number;
    autoerr e = NULL;
    if (conversations_number(d->s, &d->id, &number, &e))
        store_delete(d->s->config.store, number, deletion_stored, d);
    else
        deletion_end(d, e);
}

static void delete_opened(void *arg, struct conversation *c, const struct err *e)
{
    struct deletion *d = arg;
    bool twice = false;
    d->c = c;
    if (!c && e->kind == ERR_NOT_FOUND) {
        deletion_end(d, e);
    } else if (!c) {
        pool_submit_always(d->s->config.pool, delete_unopened, d);
    } else {
        WITH_LOCK(&c->lock)
        {
            twice = c->deleted;
            c->deleted = true;
            if (c->run) {
                run_interrupt(c->run);
                c->run->hand_ended = true;
            }
        }
        autoerr gone = NULL;
        if (twice) {
            err_set(&gone, ERR_NOT_FOUND, "the conversation is being deleted");
            deletion_end(d, gone);
        } else {
            store_delete(d->s->config.store, c->number, deletion_stored, d);
        }
    }
}

void conversations_delete(struct conversations *s, const struct uuid *id, conversation_done done, void *arg)
{
    struct deletion *d = xcalloc(1, sizeof(*d));
    *d = (struct deletion){.s = s, .id = *id, .done = done, .arg = arg};
    conversations_open(s, id, delete_opened, d);
}
