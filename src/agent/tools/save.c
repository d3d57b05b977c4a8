/* Files that the model is told to read lie on the hand's side, outside of the workspace. Writing one is a call whose data
 * goes out as fast as the hand takes it; the tool waits in its mailbox. */
#include "agent/internal.h"
#include "base/thread.h"
#include <stdlib.h>

#define SAVE_TIMEOUT_MS 60000

struct saving {
    pthread_mutex_t lock; /* what follows is shared with the loop's callbacks */
    unsigned refs;        /* the tool's and the call's */
    uint64_t room;        /* bytes that may be sent in all */
    bool waiting, done;
    struct err *error;
    /* the tool's own */
    const struct agent_host *host;
    struct mailbox *mailbox;
    uint64_t call, tag, sent;
};

static void saving_unref(struct saving *s)
{
    unsigned left = 0;
    WITH_LOCK(&s->lock)
    left = --s->refs;
    if (left > 0)
        return;
    err_free(s->error);
    mailbox_unref(s->mailbox);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Under the lock: wakes the tool if it waits. */
static void saving_wake(struct saving *s)
{
    if (!s->waiting)
        return;
    s->waiting = false;
    mailbox_notify(s->mailbox, s->tag);
}

static void on_writable(void *arg, uint64_t total)
{
    struct saving *s = arg;
    WITH_LOCK(&s->lock)
    {
        s->room = total;
        saving_wake(s);
    }
}

static void on_done(void *arg, struct str fields, const struct err *e)
{
    struct saving *s = arg;
    WITH_LOCK(&s->lock)
    {
        if (e) {
            s->error = err_copy(e);
        } else if (wire_get_int(fields, F_STATUS, WIRE_OK) != WIRE_OK) {
            struct str message = wire_get_str(fields, F_MESSAGE);
            err_set(&s->error, ERR_IO, "%.*s", STR_ARG(message.p ? message : STR("not written")));
        }
        s->done = true;
        saving_wake(s);
    }
    saving_unref(s);
}

/* One directory that only we can write to, or an error. */
static bool private_dir_make(const struct agent_host *host, struct str dir, struct err **e)
{
    autobuf fields = {0}, result = {0};
    wire_add_str(&fields, F_PATH, dir);
    wire_add_int(&fields, F_MODE, 0700);
    wire_add_int(&fields, F_PRIVATE, 1);
    if (!hand_call_wait(host->hands, &host->hand, OP_DIR_MAKE, &fields, SAVE_TIMEOUT_MS, host->mailbox,
                        &result, NULL, 0, e))
        return false;
    if (wire_get_int(buf_str(&result), F_STATUS, WIRE_OK) != WIRE_OK)
        return err_set(e, ERR_IO, "%.*s cannot be made", STR_ARG(dir));
    return true;
}

static void save_dir_name(struct str conversation, struct buf *dir)
{
    buf_addf(dir, "/tmp/handsd-%.*s", STR_ARG(conversation));
}

void agent_saved_remove(struct str conversation, struct buf *fields)
{
    autobuf dir = {0};
    save_dir_name(conversation, &dir);
    /* The second is the name of one whose own name was taken. rm follows no links. */
    wire_add_str(fields, F_ARG, STR("/bin/sh"));
    wire_add_str(fields, F_ARG, STR("-c"));
    wire_add_str(fields, F_ARG, STR("rm -rf -- \"$1\" \"$1\"-*"));
    wire_add_str(fields, F_ARG, STR("sh"));
    wire_add_str(fields, F_ARG, buf_str(&dir));
    wire_add_str(fields, F_CWD, STR("/"));
}

/* In /tmp everybody can guess the name and be there first; then it gets another name, which nobody can. */
static bool save_dir_make(const struct agent_host *host, struct buf *dir, struct err **e)
{
    char hex[UUID_HEX_LEN + 1];
    struct uuid random = uuid_random();
    autoerr why = NULL;
    save_dir_name(host->conversation, dir);
    if (!private_dir_make(host, buf_str(dir), &why)) {
        if (why->kind != ERR_IO)
            return err_set(e, why->kind, "%s", why->text);
        buf_addf(dir, "-%s", uuid_hex(&random, hex).p);
        if (!private_dir_make(host, buf_str(dir), e))
            return false;
    }
    buf_add(dir, STR("/observations"));
    return true;
}

struct saving *saving_begin(const struct agent_host *host, struct str name, struct buf *dir, struct err **e)
{
    static const struct hand_callbacks callbacks = {.on_done = on_done, .on_writable = on_writable};
    if (!save_dir_make(host, dir, e))
        return NULL;
    struct saving *s = xcalloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    s->refs = 2;
    s->room = WIRE_CREDIT_INITIAL;
    s->host = host;
    s->mailbox = mailbox_ref(host->mailbox);
    s->tag = mailbox_tag(host->mailbox);
    autobuf fields = {0}, path = {0};
    buf_addf(&path, "%.*s/%.*s", STR_ARG(buf_str(dir)), STR_ARG(name));
    wire_add_str(&fields, F_PATH, buf_str(&path));
    wire_add_int(&fields, F_MODE, 0600);
    s->call =
        hand_call(host->hands, &host->hand, OP_FILE_WRITE, &fields, SAVE_TIMEOUT_MS, true, &callbacks, s);
    return s;
}

/* Waits until the hand takes more, or with `end` until the call has ended. `*room` is 0 when it has. */
static bool saving_wait(struct saving *s, bool end, uint64_t *room, struct err **e)
{
    for (;;) {
        struct mail *mail = NULL;
        bool done = false;
        WITH_LOCK(&s->lock)
        {
            done = s->done;
            *room = done ? 0 : s->room - s->sent;
            s->waiting = !done && (end || *room == 0);
        }
        if (done || (!end && *room > 0))
            return true;
        if (mailbox_wait(s->mailbox, s->tag, 0, true, &mail) != MAILBOX_MAIL)
            return err_set(e, ERR_CANCELLED, "cancelled");
        free(mail);
    }
}

bool saving_add(struct saving *s, struct str text, struct err **e)
{
    while (text.n > 0) {
        uint64_t room;
        if (!saving_wait(s, false, &room, e))
            return false;
        if (room == 0) /* refused: saving_end says why */
            return true;
        autobuf piece = {0};
        buf_add(&piece, str_sub(text, 0, text.n < room ? text.n : (size_t)room));
        s->sent += piece.n;
        text = str_sub(text, piece.n, text.n);
        hand_send(s->host->hands, s->call, &piece);
    }
    return true;
}

bool saving_end(struct saving *s, struct err **e)
{
    uint64_t room;
    hand_send_end(s->host->hands, s->call);
    bool ok = saving_wait(s, true, &room, e);
    if (ok && s->error)
        ok = err_set(e, s->error->kind, "the output could not be saved: %s", s->error->text);
    saving_drop(s);
    return ok;
}

void saving_drop(struct saving *s)
{
    hand_cancel(s->host->hands, s->call); /* harmless when it has ended */
    mailbox_forget(s->mailbox, s->tag);
    saving_unref(s);
}
