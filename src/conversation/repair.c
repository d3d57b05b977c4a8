/* repair: outside a step, an action without a result exists on the active path only while the status is
 * `waiting_for_confirmation`. What breaks this (a crash, a failed commit) is mended by appending, never by running a tool
 * again. `open_from`, written in the commit that opens a batch, says where to look, so that nothing is scanned. */
#include "conversation/internal.h"
#include "conversation/open_actions.h"

void draft_list_deinit(draft_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        event_draft_deinit(&l->at[i]);
    vec_deinit(l);
}

struct str open_end_text(enum open_end how)
{
    switch (how) {
    case OPEN_CRASHED:
        return STR(
            "The server was restarted while this tool call was in progress (perhaps it ran out of memory or was "
            "killed). The call did not complete; parts of it may have taken effect. It was not run again.");
    case OPEN_INTERRUPTED:
        return STR(
            "This tool call was interrupted before it completed, and the conversation was paused. Parts of it "
            "may have taken effect.");
    case OPEN_FAILED:
        return STR("This tool call has no result: the run ended in an error before it could be recorded.");
    case OPEN_REJECTED: break;
    }
    return STR_NONE;
}

static bool read_open(struct conversation *c, int64_t from, uint32_t to, struct open_actions *open,
                      struct err **e)
{
    uint32_t at = (uint32_t)from;
    while (at < to) {
        autoarena page = arena_new();
        struct store_item *items;
        size_t n;
        if (!store_read(c->service->config.store, c->number, at, to, STORE_LIST_MAX, true, page, &items, &n,
                        e))
            return false;
        if (n == 0)
            break;
        for (size_t i = 0; i < n; i++) {
            if (!open_actions_concern((enum event_kind)items[i].kind))
                continue;
            autojson doc = json_parse_trusted(items[i].json, NULL);
            if (!open_actions_note(open, items[i].seq, (enum event_kind)items[i].kind, json_root(doc), e))
                return false;
        }
        at = items[n - 1].seq + 1;
    }
    return true;
}

bool open_actions_end(struct conversation *c, enum open_end how, struct str reason, draft_list *drafts,
                      struct err **e)
{
    struct state *s = committed_get(c);
    int64_t from = s->doc->open_from;
    uint32_t to = s->next_seq;
    state_unref(s);
    if (from < 0)
        return true;
    struct open_actions open;
    open_actions_init(&open);
    bool ok = read_open(c, from, to, &open, e);
    for (size_t i = 0; ok && i < open.list.n; i++) {
        const struct open_action *a = &open.list.at[i];
        struct event_draft d;
        if (how == OPEN_REJECTED) {
            event_draft_init(&d, EVENT_USER_REJECT, SOURCE_ENVIRONMENT);
            event_reject_body(&d, a->tool_name, a->call_id, &a->id, reason, "user");
        } else {
            event_draft_init(&d, EVENT_AGENT_ERROR, SOURCE_AGENT);
            event_agent_error_body(&d, a->tool_name, a->call_id, open_end_text(how), "internal");
        }
        d.answers = a->seq;
        vec_push(drafts, d);
    }
    open_actions_deinit(&open);
    return ok;
}

bool open_actions_track(struct conversation *c, struct err **e)
{
    int64_t from = c->pending->doc->open_from;
    struct open_actions open;
    if (from < 0)
        return true;
    open_actions_init(&open);
    bool ok = read_open(c, from, c->pending->next_seq, &open, e);
    for (size_t i = 0; ok && i < open.list.n; i++)
        side_note_open(&c->side, &open.list.at[i].id, open.list.at[i].call_id, open.list.at[i].tool_name,
                       open.list.at[i].seq);
    open_actions_deinit(&open);
    return ok;
}

static bool is_sound(const struct conversation *c)
{
    const struct state *s = c->pending;
    if (c->run)
        return true;
    return s->status != STATUS_RUNNING &&
           (s->doc->open_from < 0 || s->status == STATUS_WAITING_FOR_CONFIRMATION);
}

/* Under the append lock. */
static bool queue_repair(struct conversation *c, draft_list *drafts, struct err **e)
{
    struct state *next = state_copy(c->pending);
    struct doc *doc = doc_copy(next->doc);
    doc->open_from = -1;
    state_set_doc(next, doc);
    if (next->status == STATUS_RUNNING)
        next->status = STATUS_ERROR;
    return append_locked(c, drafts->at, drafts->n, next, NULL, NULL, NULL, e);
}

/* The disk is read without the lock, so what was read may be old by the time the lock is there: then once more. */
bool lock_sound(struct conversation *c, bool *repaired, struct err **e)
{
    for (;;) {
        thread_lock(&c->lock);
        if (atomic_load(&c->service->closing)) {
            thread_unlock(&c->lock);
            return err_set(e, ERR_BUSY, "the server is shutting down");
        }
        if (is_sound(c))
            return true;
        uint32_t seq = c->pending->next_seq;
        bool settled = c->outstanding == 0;
        thread_unlock(&c->lock);
        if (!settled)
            return err_set(e, ERR_BUSY, "a repair of this conversation is waiting for the store");

        draft_list drafts = {0};
        bool ok = open_actions_end(c, OPEN_CRASHED, STR_NONE, &drafts, e);
        thread_lock(&c->lock);
        if (ok && !is_sound(c) && c->pending->next_seq == seq) {
            ok = queue_repair(c, &drafts, e);
            if (ok && repaired)
                *repaired = true;
        }
        thread_unlock(&c->lock);
        draft_list_deinit(&drafts);
        if (!ok)
            return false;
    }
}

/* ---- repairing without anybody's asking ---- */

#define MEND_AGAIN_MS 1000 /* between attempts while the store refuses */

static void mend_ended(void *arg)
{
    struct conversation *c = arg;
    uint64_t run = 0;
    bool running = false;
    WITH_LOCK(&c->lock)
    {
        run = c->mend_run;
        running = c->run != NULL;
    }
    if (!running)
        subscriptions_run_ended(c, run, 0);
    conversation_unref(c);
}

static void mend_work(void *arg);

static void mend_timer(void *arg)
{
    struct conversation *c = arg;
    c->mend_timer = 0;
    pool_submit_always(c->service->config.pool, mend_work, c);
}

static void mend_arm(void *arg)
{
    struct conversation *c = arg;
    if (atomic_load(&c->service->closing)) /* the next start repairs it */
        conversation_unref(c);
    else
        c->mend_timer = loop_timer(c->service->config.loop, MEND_AGAIN_MS, mend_timer, c);
}

void conversation_mend_stop(struct conversation *c)
{
    if (!c->mend_timer)
        return;
    loop_timer_cancel(c->service->config.loop, c->mend_timer);
    c->mend_timer = 0;
    conversation_unref(c);
}

static void mend_work(void *arg)
{
    struct conversation *c = arg;
    bool done = lock_sound(c, NULL, NULL);
    if (!done)
        thread_lock(&c->lock);
    /* Sound as far as is queued; look again until it is on the disk. */
    done = (done && c->outstanding == 0) || c->lost || c->deleted || atomic_load(&c->service->closing);
    if (done)
        c->mending = false;
    thread_unlock(&c->lock);
    loop_call(c->service->config.loop, done ? mend_ended : mend_arm, c);
}

void conversation_mend(struct conversation *c)
{
    bool begin = false;
    WITH_LOCK(&c->lock)
    {
        begin = !c->mending && !c->lost && !c->deleted;
        c->mending |= begin;
        c->mend_run = atomic_load(&c->run_number);
    }
    if (begin)
        loop_call(c->service->config.loop, mend_arm, conversation_ref(c));
}
