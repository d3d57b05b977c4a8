/* Files that the model is told to read lie on the hand's side, outside of the workspace. Writing one is a call whose data
 * goes out as fast as the hand takes it; the run waits in its mailbox. */
#include "agent/internal.h"
#include "base/thread.h"
#include <stdlib.h>

#define SAVE_TIMEOUT_MS 30000
#define SAVE_FILE_MAX (16 * 1024 * 1024)

struct saving {
    struct mail
        mail; /* first; posted by on_done, the last callback, and from then on the owner of all this */
    pthread_mutex_t lock; /* the first piece is sent by the run's thread, the others by the loop */
    struct mailbox *mailbox;
    struct hands *hands;
    uint64_t call;
    struct buf text;
    size_t sent;
    bool ended;
    struct err *error;
};

static void saving_free(struct mail *mail)
{
    struct saving *s = (struct saving *)mail;
    buf_deinit(&s->text);
    err_free(s->error);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static void saving_send(struct saving *s, size_t room)
{
    size_t left = s->text.n - s->sent;
    autobuf piece = {0};
    buf_add(&piece, str_sub(buf_str(&s->text), s->sent, s->sent + (left < room ? left : room)));
    s->sent += piece.n;
    if (piece.n > 0)
        hand_send(s->hands, s->call, &piece);
    if (s->sent == s->text.n && !s->ended) {
        s->ended = true;
        hand_send_end(s->hands, s->call);
    }
}

static void on_writable(void *arg, uint64_t total)
{
    struct saving *s = arg;
    WITH_LOCK(&s->lock)
    {
        uint64_t room = total > s->sent ? total - s->sent : 0;
        saving_send(s, room < WIRE_CREDIT_INITIAL ? (size_t)room : WIRE_CREDIT_INITIAL);
    }
}

static void on_done(void *arg, struct str fields, const struct err *e)
{
    struct saving *s = arg;
    if (e) {
        s->error = err_copy(e);
    } else if (wire_get_int(fields, F_STATUS, WIRE_OK) != WIRE_OK) {
        struct str message = wire_get_str(fields, F_MESSAGE);
        err_set(&s->error, ERR_IO, "%.*s", STR_ARG(message.p ? message : STR("not written")));
    }
    WITH_LOCK(&s->lock)
    { /* the run's thread may still be sending */
    }
    struct mailbox *mailbox = s->mailbox;
    mailbox_post(mailbox, &s->mail); /* frees it if nobody waits any more */
    mailbox_unref(mailbox);
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

/* In /tmp everybody can guess the name and be there first; then it gets another name, which nobody can. */
static bool save_dir_make(const struct agent_host *host, struct buf *dir, struct err **e)
{
    char hex[UUID_HEX_LEN + 1];
    struct uuid random = uuid_random();
    autoerr why = NULL;
    buf_addf(dir, "/tmp/handsd-%.*s", STR_ARG(host->conversation));
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

static bool saving_wait(struct saving *s, struct mailbox *mailbox, struct err **e)
{
    static const char failed[] = "the output could not be saved";
    struct mail *mail = NULL;
    struct hands *hands = s->hands;
    uint64_t call = s->call, tag = s->mail.tag;
    if (mailbox_wait(mailbox, tag, 0, true, &mail) != MAILBOX_MAIL) {
        hand_cancel(hands, call);
        mailbox_forget(mailbox, tag);
        return err_set(e, ERR_CANCELLED, "cancelled");
    }
    s = (struct saving *)mail;
    bool ok = !s->error;
    if (!ok)
        err_set(e, s->error->kind, "%s: %s", failed, s->error->text);
    saving_free(mail);
    return ok;
}

bool agent_save(const struct agent_host *host, struct str name, struct str text, struct buf *dir,
                struct err **e)
{
    static const struct hand_callbacks callbacks = {.on_done = on_done, .on_writable = on_writable};
    if (!save_dir_make(host, dir, e))
        return false;
    struct saving *s = xcalloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    s->mailbox = mailbox_ref(host->mailbox);
    s->mail = (struct mail){.tag = mailbox_tag(host->mailbox), .free = saving_free};
    s->hands = host->hands;
    buf_add(&s->text, str_sub(text, 0, SAVE_FILE_MAX));

    autobuf fields = {0}, path = {0};
    buf_addf(&path, "%.*s/%.*s", STR_ARG(buf_str(dir)), STR_ARG(name));
    wire_add_str(&fields, F_PATH, buf_str(&path));
    wire_add_int(&fields, F_MODE, 0600);
    WITH_LOCK(&s->lock)
    {
        s->call =
            hand_call(host->hands, &host->hand, OP_FILE_WRITE, &fields, SAVE_TIMEOUT_MS, true, &callbacks, s);
        saving_send(s, WIRE_CREDIT_INITIAL);
    }
    return saving_wait(s, host->mailbox, e);
}
