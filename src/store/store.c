#include "store/backend.h"
#include "base/cleanup.h"

/* The engine stores what it is given; here the sizes are checked that a caller could get wrong. */
/* `state` is rewritten with commits: small by design. Only a first message that is not yet an event makes it large. */
#define STATE_MAX (10 * 1024 * 1024)
#define CONFIG_MAX (32 * 1024 * 1024) /* an agent with its tools and skills */
#define TITLE_MAX (64 * 1024)
#define PLACE_MAX (64 * 1024)
#define OWNER_MAX 256
#define DOC_NAME_MAX 256
/* Whole text of one event. Long text is cut by its maker long before. */
#define EVENT_MAX (STORE_QUEUE_BYTES_MAX / 2)

struct store *store_open(const struct store_config *config, struct err **e)
{
    return sqlite_open(config, e);
}

void store_close(struct store *s)
{
    if (s)
        s->backend->close(s);
}

static bool check_size(const char *what, size_t n, size_t max, struct err **e)
{
    return n <= max || err_set(e, ERR_TOO_LARGE, "%s has %zu bytes, more than %zu", what, n, max);
}

static bool check_create(const struct store_create *c, struct err **e)
{
    return check_size("the state", c->state.n, STATE_MAX, e) &&
           check_size("the configuration", c->config.n, CONFIG_MAX, e) &&
           check_size("the title", c->title.n, TITLE_MAX, e) &&
           check_size("the place", c->place.n, PLACE_MAX, e);
}

void store_create(struct store *s, const struct store_create *c,
                  void (*done)(void *arg, int64_t number, const struct err *e), void *arg)
{
    struct err *e = NULL;
    if (check_create(c, &e))
        s->backend->create(s, c, done, arg);
    else
        s->backend->refuse(s, e, done, NULL, NULL, arg);
}

bool store_get(struct store *s, const struct uuid *id, struct arena *arena, struct store_row *row,
               struct err **e)
{
    return s->backend->get(s, id, arena, row, e);
}

bool store_list(struct store *s, const struct store_list *query, struct arena *arena, struct store_row **rows,
                size_t *n, struct uuid *next, bool *more, struct err **e)
{
    struct store_list bounded = *query;
    if (bounded.limit == 0 || bounded.limit > STORE_LIST_MAX)
        bounded.limit = STORE_LIST_MAX;
    return s->backend->list(s, &bounded, arena, rows, n, next, more, e);
}

bool store_count(struct store *s, enum store_kind kind, int status, int64_t *count, struct err **e)
{
    return s->backend->count(s, kind, status, count, e);
}

bool store_find_place(struct store *s, const struct str *places, size_t n, struct uuid *id, struct err **e)
{
    return s->backend->find_place(s, places, n, id, e);
}

bool store_ids_with_status(struct store *s, int status, struct uuid *ids, size_t max, size_t *n,
                           struct err **e)
{
    return s->backend->ids_with_status(s, status, ids, max, n, e);
}

void store_claim(struct store *s, int64_t number, struct str owner,
                 void (*done)(void *arg, uint64_t token, const struct err *e), void *arg)
{
    struct err *e = NULL;
    if (owner.n == 0)
        err_set(&e, ERR_INVALID, "a claim without an owner");
    else if (check_size("the owner's name", owner.n, OWNER_MAX, &e))
        s->backend->claim(s, number, owner, done, arg);
    if (e)
        s->backend->refuse(s, e, NULL, done, NULL, arg);
}

void store_renew(struct store *s, struct str owner)
{
    s->backend->renew(s, owner);
}

void store_release(struct store *s, int64_t number, uint64_t token)
{
    s->backend->release(s, number, token);
}

static bool check_commit(const struct store_commit *c, struct err **e)
{
    for (size_t i = 0; i < c->event_count; i++) {
        const struct store_event *event = &c->events[i];
        size_t n = event->json->n + bytes_str(event->reduced).n + event->search_text.n + event->side.n;
        if (!check_size("an event", n, EVENT_MAX, e))
            return false;
    }
    return check_size("the state", c->delta.state.n, STATE_MAX, e) &&
           check_size("the configuration", c->delta.config.n, CONFIG_MAX, e) &&
           check_size("the title", c->delta.title.n, TITLE_MAX, e);
}

bool store_commit(struct store *s, struct store_commit *c, struct err **e)
{
    return check_commit(c, e) && s->backend->commit(s, c, e);
}

bool store_read(struct store *s, int64_t number, uint32_t from, uint32_t to, size_t max, bool whole,
                struct arena *arena, struct store_item **items, size_t *n, struct err **e)
{
    return s->backend->read(s, number, from, to, max, whole, arena, items, n, e);
}

bool store_read_branch(struct store *s, int64_t number, uint32_t branch, uint32_t from, uint32_t to,
                       size_t max, struct arena *arena, struct store_item **items, size_t *n, struct err **e)
{
    return s->backend->read_branch(s, number, branch, from, to, max, arena, items, n, e);
}

bool store_branches(struct store *s, int64_t number, struct arena *arena, struct store_branch **branches,
                    size_t *n, struct err **e)
{
    return s->backend->branches(s, number, arena, branches, n, e);
}

bool store_search(struct store *s, int64_t number, const struct store_filter *filter, struct arena *arena,
                  struct store_item **items, size_t *n, int64_t *next_seq, struct err **e)
{
    struct store_filter bounded = *filter;
    if (bounded.limit == 0 || bounded.limit > STORE_LIST_MAX)
        bounded.limit = STORE_LIST_MAX;
    return s->backend->search(s, number, &bounded, arena, items, n, next_seq, e);
}

bool store_count_events(struct store *s, int64_t number, const struct store_filter *filter, int64_t *count,
                        struct err **e)
{
    return s->backend->count_events(s, number, filter, count, e);
}

bool store_find(struct store *s, int64_t number, const struct uuid *id, bool whole, struct arena *arena,
                struct store_item *item, struct err **e)
{
    return s->backend->find(s, number, id, whole, arena, item, e);
}

bool store_usage_sums(struct store *s, int64_t number, struct arena *arena, struct store_usage_sum **sums,
                      size_t *n, struct err **e)
{
    return s->backend->usage_sums(s, number, arena, sums, n, e);
}

bool store_usage_read(struct store *s, int64_t number, size_t max, struct arena *arena,
                      struct store_usage **calls, size_t *n, struct err **e)
{
    return s->backend->usage_read(s, number, max, arena, calls, n, e);
}

void store_delete(struct store *s, int64_t number, void (*done)(void *arg, const struct err *e), void *arg)
{
    s->backend->delete (s, number, done, arg);
}

void store_copy(struct store *s, int64_t from, uint32_t to, const struct store_create *into,
                void (*done)(void *arg, int64_t number, const struct err *e), void *arg)
{
    struct err *e = NULL;
    if (check_create(into, &e))
        s->backend->copy(s, from, to, into, done, arg);
    else
        s->backend->refuse(s, e, done, NULL, NULL, arg);
}

void store_publish(struct store *s, int64_t number, uint64_t token, const struct uuid *id, struct str place,
                   void (*done)(void *arg, const struct err *e), void *arg)
{
    struct err *e = NULL;
    if (check_size("the place", place.n, PLACE_MAX, &e))
        s->backend->publish(s, number, token, id, place, done, arg);
    else
        s->backend->refuse(s, e, NULL, NULL, done, arg);
}

void store_blob_put(struct store *s, int64_t number, const struct uuid *id, struct bytes *content,
                    void (*done)(void *arg, const struct err *e), void *arg)
{
    struct err *e = NULL;
    if (check_size("a blob", content->n, STORE_BLOB_MAX, &e)) {
        s->backend->blob_put(s, number, id, content, done, arg);
    } else {
        bytes_unref(content);
        s->backend->refuse(s, e, NULL, NULL, done, arg);
    }
}

bool store_blob_get(struct store *s, int64_t number, const struct uuid *id, struct buf *out, struct err **e)
{
    return s->backend->blob_get(s, number, id, out, e);
}

static bool check_doc(struct str space, struct str key, struct err **e)
{
    return check_size("a document's space", space.n, DOC_NAME_MAX, e) &&
           check_size("a document's key", key.n, DOC_NAME_MAX, e);
}

void store_doc_put(struct store *s, struct str space, struct str key, struct str value,
                   void (*done)(void *arg, const struct err *e), void *arg)
{
    struct err *e = NULL;
    if (check_doc(space, key, &e) && check_size("a document", value.n, STORE_DOC_MAX, &e))
        s->backend->doc_put(s, space, key, value, done, arg);
    else
        s->backend->refuse(s, e, NULL, NULL, done, arg);
}

void store_doc_delete(struct store *s, struct str space, struct str key,
                      void (*done)(void *arg, const struct err *e), void *arg)
{
    struct err *e = NULL;
    if (check_doc(space, key, &e))
        s->backend->doc_delete(s, space, key, done, arg);
    else
        s->backend->refuse(s, e, NULL, NULL, done, arg);
}

bool store_doc_get(struct store *s, struct str space, struct str key, struct buf *out, struct err **e)
{
    return check_doc(space, key, e) && s->backend->doc_get(s, space, key, out, e);
}

bool store_doc_keys(struct store *s, struct str space, struct arena *arena, struct str **keys, size_t *n,
                    struct err **e)
{
    return check_doc(space, STR_NONE, e) && s->backend->doc_keys(s, space, arena, keys, n, e);
}

void store_watch(struct store *s, void (*fn)(void *arg, int64_t number, uint32_t next_seq), void *arg)
{
    s->backend->watch(s, fn, arg);
}

void store_stats_get(struct store *s, struct store_stats *out)
{
    s->backend->stats_get(s, out);
}
