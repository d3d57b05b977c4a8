/* queue: events on their way to the store, in order, one commit at a time. */
#include "bash/internal.h"
#include "base/log.h"
#include "json/writer.h"

/* ---- the state of the row: which commands have no last output in the log ---- */

static const struct entry *batch_find(const struct bash *b, const struct uuid *command, enum bash_kind kind,
                                      bool final)
{
    for (const struct entry *i = b->batch; i; i = i->next)
        if (i->kind == kind && i->final == final && uuid_eq(&i->command_id, command))
            return i;
    return NULL;
}

/* Of the first output that the log will not have. */
static int64_t order_after_batch(const struct bash *b, const struct command *c)
{
    for (const struct entry *i = b->first; i; i = i->next)
        if (i->command == c && i->kind == BASH_OUTPUT)
            return i->order;
    return c->order;
}

static void running_add(struct json_writer *w, const char *hex, int64_t order)
{
    jw_object(w);
    jw_member_cstr(w, "id", hex);
    jw_member_int(w, "order", order);
    jw_object_end(w);
}

/* As it will be once the batch is stored. What a dead server left and is not mended yet comes after it in the queue, or is
 * in the batch. */
void queue_state(const struct bash *b, struct buf *out)
{
    struct json_writer w = json_writer(out);
    jw_object(&w);
    jw_key(&w, "running");
    jw_array(&w);
    for (const struct command *c = b->commands; c; c = c->next)
        if ((c->logged || batch_find(b, &c->id, BASH_COMMAND, false)) &&
            !batch_find(b, &c->id, BASH_OUTPUT, true))
            running_add(&w, c->hex, order_after_batch(b, c));
    for (const struct entry *i = b->first; i; i = i->next)
        if (!i->command)
            running_add(&w, i->command_hex, i->order);
    jw_array_end(&w);
    jw_object_end(&w);
}

bool queue_has_repair(const struct bash *b, const struct uuid *command)
{
    for (const struct entry *i = b->first; i; i = i->next)
        if (!i->command && uuid_eq(&i->command_id, command))
            return true;
    return false;
}

/* ---- committing ---- */

static void batch_settled(void *arg);

/* Writer thread. */
static void batch_committed(struct store_commit *commit, enum store_result result, const struct err *e)
{
    struct bash *b = commit->arg;
    b->result = result;
    b->error = e ? err_copy(e) : NULL;
    loop_call(b->config.loop, batch_settled, b);
}

static size_t batch_take(struct bash *b)
{
    struct entry **end = &b->batch;
    size_t n = 0, bytes = 0;
    while (b->first && n < BATCH_EVENTS_MAX && (n == 0 || bytes + b->first->json->n <= BATCH_BYTES_MAX)) {
        struct entry *entry = b->first;
        b->first = entry->next;
        entry->next = NULL;
        bytes += entry->json->n;
        *end = entry;
        end = &entry->next;
        n++;
    }
    if (!b->first)
        b->last = &b->first;
    return n;
}

static void batch_put_back(struct bash *b)
{
    struct entry **end = &b->batch;
    while (*end)
        end = &(*end)->next;
    *end = b->first;
    if (!b->first)
        b->last = end == &b->batch ? &b->first : end;
    b->first = steal(b->batch);
}

static void batch_fill(struct bash *b, size_t n)
{
    size_t at = 0;
    b->events = xcalloc(n, sizeof(*b->events));
    for (struct entry *i = b->batch; i; i = i->next)
        b->events[at++] = (struct store_event){
            .id = i->id,
            .kind = (uint8_t)i->kind,
            .time_us = i->time_us,
            .json = i->json, /* ours until the commit is done */
            .search_text = i->kind == BASH_OUTPUT ? str_make(i->command_hex, UUID_HEX_LEN) : STR_NONE,
            .side = i->kind == BASH_OUTPUT ? str_from(i->side) : STR_NONE,
        };
    queue_state(b, &b->state);
    b->commit = (struct store_commit){
        .number = b->stream,
        .token = b->token,
        .expected_seq = b->next_seq,
        .events = b->events,
        .event_count = n,
        .delta = {.set = STORE_SET_STATE | STORE_TOUCH,
                  .state = buf_str(&b->state),
                  .updated_us = b->last_us},
        .done = batch_committed,
        .arg = b,
    };
    random_bytes(&b->commit.commit_id, sizeof(b->commit.commit_id));
}

static void batch_release(struct bash *b)
{
    free(steal(b->events));
    buf_deinit(&b->state);
    b->committing = false;
}

static void batch_failed(struct bash *b, const struct err *e)
{
    batch_put_back(b);
    queue_refuse(b, e);
}

void queue_pump(struct bash *b)
{
    autoerr e = NULL;
    if (b->committing || b->clearing || !b->first)
        return;
    if (b->stage != STAGE_OPEN) {
        open_begin(b);
        return;
    }
    size_t n = batch_take(b);
    batch_fill(b, n);
    b->committing = true;
    if (!store_commit(b->config.store, &b->commit, &e)) {
        batch_release(b);
        batch_failed(b, e);
    }
}

static void entry_stored(struct bash *b, struct entry *entry)
{
    b->queued -= entry->json->n;
    if (entry->command)
        command_stored(entry);
    else
        b->repairs--;
    entry_free(entry);
}

static void batch_done(struct bash *b)
{
    struct entry *entry = steal(b->batch);
    uint32_t seq = b->next_seq;
    if (b->refusing)
        log_info("events of commands are stored again");
    b->refusing = false;
    b->next_seq += (uint32_t)b->commit.event_count;
    while (entry) {
        struct entry *next = entry->next;
        followers_tell(b, seq++, entry->json);
        entry_stored(b, entry);
        entry = next;
    }
    followers_wake(b);
    commands_credit(b);
    open_settle(b, NULL);
}

static void batch_settled(void *arg)
{
    struct bash *b = arg;
    autoerr e = steal(b->error);
    batch_release(b);
    if (b->result == STORE_DONE || b->result == STORE_ALREADY_DONE) {
        batch_done(b);
    } else if (b->result ==
               STORE_LOST) { /* another owner, or the row is gone: find it again, or make a new one */
        batch_put_back(b);
        atomic_store(&b->readable, 0);
        b->stage = STAGE_CLOSED;
    } else {
        batch_failed(b, e);
    }
    clear_begin(b);
    if (!b->retry)
        queue_pump(b);
    close_check(b);
}

/* ---- the queue ---- */

void queue_add(struct bash *b, struct entry *entry)
{
    *b->last = entry;
    b->last = &entry->next;
    b->queued += entry->json->n;
    queue_pump(b);
}

static void retry_fired(void *arg)
{
    struct bash *b = arg;
    b->retry = 0;
    queue_pump(b);
}

void queue_refuse(struct bash *b, const struct err *e)
{
    struct entry **at = &b->first;
    if (b->first && !b->refusing)
        log_warn("events of commands cannot be stored, and are tried again: %s", err_text(e));
    b->refusing = b->refusing || b->first;
    while (*at) {
        struct entry *entry = *at;
        bool keep = entry->command ? command_refused(entry, e) : !b->closing;
        if (keep) {
            at = &entry->next;
            continue;
        }
        *at = entry->next;
        b->queued -= entry->json->n;
        b->repairs -= !entry->command;
        entry_free(entry);
    }
    b->last = at;
    if (b->first && !b->retry)
        b->retry = loop_timer(b->config.loop, RETRY_MS, retry_fired, b);
    open_settle(b, e);
    close_check(b);
}
