/* Long outputs. The whole goes in pieces from the terminal through the mask to a file that the model can read and to the
 * store, so that its length costs no memory here. */
#include "agent/internal.h"
#include "base/thread.h"
#include <stdlib.h>

#define OUTPUT_TIMEOUT_MS 120000
/* Bytes that are kept, masked. A hand sends at most KEEP_WHOLE_MAX (64 MiB); one that is none of ours could go on. */
#define OUTPUT_KEPT_MAX ((size_t)128 * 1024 * 1024)

struct uuid output_piece_id(const struct uuid *action, unsigned index)
{
    struct uuid id = *action;
    id.b[14] ^= (uint8_t)(index >> 8);
    id.b[15] ^= (uint8_t)index;
    return id;
}

/* ---- what the terminal sends ---- */

struct incoming {
    pthread_mutex_t lock; /* shared with the loop's callbacks */
    unsigned refs;
    struct buf data; /* at most WIRE_CREDIT_INITIAL: credit is given back as it is taken */
    bool waiting, done;
    struct err *error;
    struct mailbox *mailbox;
    uint64_t tag;
};

static void incoming_unref(struct incoming *in)
{
    unsigned left = 0;
    WITH_LOCK(&in->lock)
    left = --in->refs;
    if (left > 0)
        return;
    buf_deinit(&in->data);
    err_free(in->error);
    mailbox_unref(in->mailbox);
    pthread_mutex_destroy(&in->lock);
    free(in);
}

/* Under the lock. */
static void incoming_wake(struct incoming *in)
{
    if (!in->waiting)
        return;
    in->waiting = false;
    mailbox_notify(in->mailbox, in->tag);
}

static void on_data(void *arg, enum wire_stream stream, struct str data)
{
    struct incoming *in = arg;
    if (stream != WIRE_STDOUT)
        return;
    WITH_LOCK(&in->lock)
    {
        buf_add(&in->data, data);
        incoming_wake(in);
    }
}

static void on_done(void *arg, struct str fields, const struct err *e)
{
    struct incoming *in = arg;
    WITH_LOCK(&in->lock)
    {
        in->done = true;
        if (e)
            in->error = err_copy(e);
        else if (wire_get_int(fields, F_STATUS, WIRE_OK) != WIRE_OK)
            err_set(&in->error, ERR_IO, "the terminal has no longer output");
        incoming_wake(in);
    }
    incoming_unref(in);
}

/* Moves what came to the end of `out`. False without error: that was all. */
static bool incoming_take(struct incoming *in, const struct agent_host *host, uint64_t call, struct buf *out,
                          struct err **e)
{
    for (;;) {
        struct mail *mail = NULL;
        size_t n = 0;
        bool done = false;
        WITH_LOCK(&in->lock)
        {
            n = in->data.n;
            buf_add(out, buf_str(&in->data));
            buf_clear(&in->data);
            done = in->done;
            in->waiting = n == 0 && !done;
        }
        if (n > 0) {
            hand_credit(host->hands, call, WIRE_STDOUT, (uint32_t)n);
            return true;
        }
        if (done)
            return in->error && err_set(e, in->error->kind, "%s", in->error->text);
        if (mailbox_wait(host->mailbox, in->tag, 0, true, &mail) != MAILBOX_MAIL)
            return err_set(e, ERR_CANCELLED, "cancelled");
        free(mail);
    }
}

/* ---- where it goes ---- */

struct keeping {
    const struct tool_run *run;
    struct saving *file;
    size_t bytes;     /* so far */
    struct buf piece; /* of the next blob */
    unsigned pieces;
    bool no_blobs; /* the store refused one: the file is what there is */
};

static bool piece_keep(struct keeping *k, struct err **e)
{
    const struct agent_host *host = k->run->host;
    autoerr why = NULL;
    struct uuid id = output_piece_id(&k->run->action_id, k->pieces++);
    struct bytes *content = bytes_take(&k->piece);
    if (!host->keep || k->no_blobs) {
        bytes_unref(content);
        return true;
    }
    k->no_blobs = !host->keep(host->arg, host->mailbox, &id, content, &why);
    return !why || why->kind != ERR_CANCELLED || err_set(e, ERR_CANCELLED, "cancelled");
}

static bool keeping_add(struct keeping *k, struct str text, struct err **e)
{
    k->bytes += text.n;
    if (k->bytes > OUTPUT_KEPT_MAX)
        return err_set(e, ERR_TOO_LARGE, "the output is longer than any that is kept");
    if (!saving_add(k->file, text, e))
        return false;
    while (text.n > 0) {
        struct str part = str_sub(text, 0, OUTPUT_PIECE - k->piece.n);
        buf_add(&k->piece, part);
        text = str_sub(text, part.n, text.n);
        if (k->piece.n == OUTPUT_PIECE && !piece_keep(k, e))
            return false;
    }
    return true;
}

/* Streams the terminal's output through the mask. */
static bool terminal_copy(struct keeping *k, struct incoming *in, uint64_t call, struct err **e)
{
    const struct agent_host *host = k->run->host;
    const struct mask *mask = host->mask(host->arg);
    autobuf held = {0}, shown = {0};
    autoerr why = NULL;
    bool more = true, ok = true;
    while (ok && more) {
        more = incoming_take(in, host, call, &held, &why);
        buf_clear(&shown);
        if (more)
            buf_consume(&held, mask_apply_head(mask, buf_str(&held), &shown));
        else if (!why)
            mask_apply(mask, buf_str(&held), &shown);
        ok = !why && keeping_add(k, buf_str(&shown), &why);
    }
    return !why || err_set(e, why->kind, "%s", why->text);
}

static bool terminal_fetch(struct keeping *k, struct err **e)
{
    static const struct hand_callbacks callbacks = {.on_data = on_data, .on_done = on_done};
    const struct agent_host *host = k->run->host;
    struct incoming *in = xcalloc(1, sizeof(*in));
    autobuf fields = {0}, name = {0};
    pthread_mutex_init(&in->lock, NULL);
    in->refs = 2;
    in->mailbox = mailbox_ref(host->mailbox);
    in->tag = mailbox_tag(host->mailbox);
    terminal_name(host, &name);
    wire_add_str(&fields, F_NAME, buf_str(&name));
    uint64_t call = hand_call(host->hands, &host->hand, OP_TERMINAL_OUTPUT, &fields, OUTPUT_TIMEOUT_MS, false,
                              &callbacks, in);
    bool ok = terminal_copy(k, in, call, e);
    hand_cancel(host->hands, call);
    mailbox_forget(host->mailbox, in->tag);
    incoming_unref(in);
    return ok;
}

bool output_keep(const struct tool_run *run, struct str name, struct str text, struct buf *dir,
                 struct err **e)
{
    struct keeping k = {.run = run, .file = saving_begin(run->host, name, dir, e)};
    if (!k.file)
        return false;
    bool ok = text.p ? keeping_add(&k, text, e) : terminal_fetch(&k, e);
    ok = ok && (k.piece.n == 0 || piece_keep(&k, e));
    buf_deinit(&k.piece);
    if (ok)
        return saving_end(k.file, e);
    saving_drop(k.file);
    return false;
}
