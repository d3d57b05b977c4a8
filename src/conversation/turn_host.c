/* turn_host: what an agent needs from the conversation that runs it. */
#include "base/clock.h"
#include "base/utf8.h"
#include "conversation/turn.h"

#define DELTA_PIECE (64 * 1024) /* bytes of each of a frame's texts */

static bool host_append(void *arg, struct event_draft *drafts, size_t n, const struct agent_update *update,
                        struct err **e)
{
    struct agent_update held;
    bool hold = turn_hooks_hold(arg, update, &held);
    return turn_append(arg, drafts, n, hold ? &held : update, e);
}

struct delta {
    struct conversation *c;
    struct bytes *frame;
    uint64_t serial;
};

static void delta_arrived(void *arg)
{
    struct delta *d = arg;
    subscriptions_delta(d->c, d->frame, d->serial);
    conversation_unref(d->c);
    free(d);
}

static void delta_send(struct turn *t, struct str content, struct str reasoning)
{
    struct event_draft draft;
    event_draft_init(&draft, EVENT_STREAMING_DELTA, SOURCE_AGENT);
    struct json_writer w = json_writer(&draft.body);
    w.depth = 1;
    if (content.n > 0)
        jw_member_str(&w, "content", content);
    if (reasoning.n > 0)
        jw_member_str(&w, "reasoning_content", reasoning);
    struct uuid id = uuid_random();
    autobuf text = {0};
    event_write(&text, &draft, buf_str(&draft.body), &id, clock_local_us(clock_wall_us()), STR_NONE);
    event_draft_deinit(&draft);
    struct delta *d = xmalloc(sizeof(*d));
    *d = (struct delta){conversation_ref(t->c), bytes_take(&text), t->stats_serial};
    loop_call(t->c->service->config.loop, delta_arrived, d);
}

/* A model may say much at once; no frame may be too large for a client, however its text is escaped. */
static void host_delta(void *arg, struct str content, struct str reasoning)
{
    while (content.n > 0 || reasoning.n > 0) {
        struct str c = utf8_prefix_bytes(content, DELTA_PIECE), r = utf8_prefix_bytes(reasoning, DELTA_PIECE);
        delta_send(arg, c, r);
        content = str_sub(content, c.n, content.n);
        reasoning = str_sub(reasoning, r.n, reasoning.n);
    }
}

/* Any thread that runs a tool. */
static const struct mask *host_mask(void *arg)
{
    return turn_mask(arg);
}

struct kept {
    struct mail mail;
    struct mailbox *mailbox;
    struct err *error;
};

static void kept_free(struct mail *m)
{
    struct kept *k = CONTAINER_OF(m, struct kept, mail);
    err_free(k->error);
    free(k);
}

static void kept_done(void *arg, const struct err *e)
{
    struct kept *k = arg;
    struct mailbox *mailbox = k->mailbox;
    k->error = e ? err_copy(e) : NULL;
    mailbox_post(mailbox, &k->mail);
    mailbox_unref(mailbox);
}

static bool host_keep(void *arg, struct mailbox *mailbox, const struct uuid *id, struct bytes *content,
                      struct err **e)
{
    struct turn *t = arg;
    struct kept *k = xcalloc(1, sizeof(*k));
    struct mail *mail = NULL;
    uint64_t tag = mailbox_tag(mailbox);
    atomic_store(&t->saved, true); /* what is kept in the store lies with the hand, too */
    k->mail = (struct mail){.tag = tag, .free = kept_free};
    k->mailbox = mailbox_ref(mailbox);
    store_blob_put(t->c->service->config.store, t->c->number, id, content, kept_done, k);
    if (mailbox_wait(mailbox, tag, 0, true, &mail) != MAILBOX_MAIL) {
        mailbox_forget(mailbox, tag);
        return err_set(e, ERR_CANCELLED, "cancelled");
    }
    k = CONTAINER_OF(mail, struct kept, mail);
    bool ok = !k->error || err_set(e, k->error->kind, "%s", k->error->text);
    kept_free(mail);
    return ok;
}

static struct str host_last_cwd(void *arg)
{
    struct turn *t = arg;
    return t->cwd.n > 0 ? buf_str(&t->cwd) : t->config->working_dir;
}

void turn_host_init(struct turn *t)
{
    const struct conversations_config *config = &t->c->service->config;
    uint64_t token = 0;
    WITH_LOCK(&t->c->lock)
    token = t->c->token;
    t->host = (struct agent_host){
        .arg = t,
        .mailbox = t->run->mailbox,
        .hands = config->hands,
        .hand = {.id = t->c->id, .owner_token = token, .working_dir = t->config->working_dir},
        .llm = config->llm,
        .command_max_s = config->command_max_s,
        .conversation = uuid_dashed(&t->c->id, t->id),
        .hooks = t->config->hooks,
        .blocked = turn_hooks_blocked,
        .append = host_append,
        .keep = host_keep,
        .delta = host_delta,
        .mask = host_mask,
        .lookup = turn_lookup,
        .last_cwd = host_last_cwd,
    };
}
