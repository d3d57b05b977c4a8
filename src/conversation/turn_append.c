/* turn_append: a run's commits. It waits for each in its mailbox. */
#include "base/clock.h"
#include "conversation/turn.h"

/* ---- waiting for commits ---- */

struct commit_mail {
    struct mail mail;
    struct mailbox *mailbox;
    struct err *e;
};

static void commit_mail_free(struct mail *m)
{
    struct commit_mail *cm = CONTAINER_OF(m, struct commit_mail, mail);
    err_free(cm->e);
    free(cm);
}

static void commit_answered(void *arg, const struct err *e)
{
    struct commit_mail *cm = arg;
    struct mailbox *mailbox = cm->mailbox;
    cm->e = e ? err_copy(e) : NULL;
    mailbox_post(mailbox, &cm->mail);
    mailbox_unref(mailbox);
}

static struct commit_mail *commit_mail_new(struct mailbox *mailbox)
{
    struct commit_mail *cm = xcalloc(1, sizeof *cm);
    cm->mail.tag = mailbox_tag(mailbox);
    cm->mail.free = commit_mail_free;
    cm->mailbox = mailbox_ref(mailbox);
    return cm;
}

static bool commit_wait(struct mailbox *mailbox, uint64_t tag, struct err **e)
{
    struct mail *m = NULL;
    if (mailbox_wait(mailbox, tag, 0, false, &m) != MAILBOX_MAIL)
        return err_set(e, ERR_INTERNAL, "the mailbox was closed");
    struct commit_mail *cm = CONTAINER_OF(m, struct commit_mail, mail);
    bool ok = !cm->e;
    if (!ok && e)
        *e = steal(cm->e);
    commit_mail_free(m);
    return ok;
}

/* ---- what goes with a commit ---- */

/* Is it a call whose action is valid? In the body's text an unescaped `"action":{` can only be that member. */
static bool is_open_action(const struct event_draft *d)
{
    return d->kind == EVENT_ACTION && str_find(buf_str(&d->body), STR("\"action\":{")) >= 0;
}

/* Keeps open_from true: the first action since which there are some without a result, or -1. */
static void track_open(struct turn *t, struct state *next, const struct event_draft *drafts, size_t n)
{
    int64_t open = t->view ? (int64_t)view_open(t->view) : 0, open_from = next->doc->open_from;
    for (size_t i = 0; i < n; i++) {
        enum event_kind kind = drafts[i].kind;
        if (kind == EVENT_ACTION && (open == 0 || open_from < 0) && is_open_action(&drafts[i]))
            open_from = (int64_t)next->next_seq + (int64_t)i;
        if (is_open_action(&drafts[i]))
            open++;
        else if (kind == EVENT_OBSERVATION || kind == EVENT_USER_REJECT)
            open--;
        else if (kind == EVENT_AGENT_ERROR && !(i > 0 && drafts[i - 1].kind == EVENT_ACTION))
            open--; /* one right behind its own invalid call closes nothing */
    }
    if (open <= 0)
        open_from = -1;
    if (open_from == next->doc->open_from)
        return;
    struct doc *doc = doc_copy(next->doc);
    doc->open_from = open_from;
    state_set_doc(next, doc);
}

/* Under the append lock: what `update` makes of the status. A message that this step had not seen asked for a run: then
 * the run does not end here. */
static void apply_status(struct turn *t, struct state *next, enum status status)
{
    struct conversation *c = t->c;
    if (!status)
        return;
    if (status == STATUS_FINISHED && next->status == STATUS_RUNNING && c->wish_seq >= (int64_t)t->step_seq)
        return;
    next->status = status;
}

static bool queue_append(struct turn *t, struct event_draft *drafts, size_t n,
                         const struct agent_update *update, struct bytes *rules, struct commit_mail *cm,
                         struct err **e)
{
    struct state *next = state_copy(t->c->pending);
    struct append_usage usage = {0};
    track_open(t, next, drafts, n);
    turn_hooks_apply(t, next);
    recall_note_invoked(next, drafts, n);
    if (rules) {
        struct doc *doc = doc_copy(next->doc);
        bytes_unref(doc->rules);
        doc->rules = bytes_ref(rules);
        state_set_doc(next, doc);
    }
    if (atomic_load(&t->saved) && !next->doc->saved) {
        struct doc *doc = doc_copy(next->doc);
        doc->saved = true;
        state_set_doc(next, doc);
    }
    if (update) {
        apply_status(t, next, update->status);
        usage = (struct append_usage){update->usage, update->model, update->usage_id};
    }
    return append_locked(t->c, drafts, n, next, &usage, commit_answered, cm, e);
}

#define ROOM_WAIT_MS 20 /* first wait when the store's queue is full; doubles … */
#define ROOM_WAIT_MAX_MS 1000
#define ROOM_WAITS 60 /* … and so often before the run gives up */

static bool append_all(struct turn *t, struct event_draft *drafts, size_t n,
                       const struct agent_update *update, struct err **e)
{
    uint64_t wait_ms = ROOM_WAIT_MS;
    autobytes rules = rules_apply(t, drafts, n);
    for (unsigned attempt = 0;; attempt++) {
        struct commit_mail *cm = commit_mail_new(t->run->mailbox);
        uint64_t tag = cm->mail.tag;
        autoerr why = NULL;
        bool queued = false;
        WITH_LOCK(&t->c->lock)
        queued = queue_append(t, drafts, n, update, rules, cm, &why);
        if (queued)
            return commit_wait(t->run->mailbox, tag, e) && turn_catch_up(t, e);
        mailbox_unref(cm->mailbox);
        commit_mail_free(&cm->mail);
        if (!why || why->kind != ERR_BUSY || attempt == ROOM_WAITS) {
            for (size_t i = 0; i < n; i++) {
                event_draft_deinit(&drafts[i]);
                drafts[i] = (struct event_draft){0};
            }
            if (e)
                *e = steal(why);
            return false;
        }
        struct mail *none = NULL;
        mailbox_wait(t->run->mailbox, mailbox_tag(t->run->mailbox), clock_mono_ns() + wait_ms * NS_PER_MS,
                     false, &none);
        wait_ms = wait_ms * 2 > ROOM_WAIT_MAX_MS ? ROOM_WAIT_MAX_MS : wait_ms * 2;
    }
}

bool turn_append(struct turn *t, struct event_draft *drafts, size_t n, const struct agent_update *update,
                 struct err **e)
{
    struct event_draft updates[2];
    size_t more = turn_hooks_updates(t, updates);
    if (more == 0)
        return append_all(t, drafts, n, update, e);
    autofree struct event_draft *all = xcalloc(n + more, sizeof(*all));
    memcpy(all, updates, more * sizeof(*all));
    if (n > 0) { /* moved: ended either way */
        memcpy(all + more, drafts, n * sizeof(*all));
        memset(drafts, 0, n * sizeof(*drafts));
    }
    bool ok = append_all(t, all, n + more, update, e);
    turn_hooks_clear(t);
    return ok;
}
