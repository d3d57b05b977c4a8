/* fake_store: reads, documents and blobs. */
#include "fake_store_rows.h"

static struct store_item item_out(const struct row *row, size_t i, bool whole, struct arena *arena)
{
    struct store_item item = row->events.at[i];
    item.is_reduced = !whole && row->reduced.at[i].p;
    item.json = arena_str(arena, item.is_reduced ? row->reduced.at[i] : item.json);
    item.side = arena_str(arena, item.side);
    return item;
}

static struct store_row row_out(const struct row *row, struct arena *arena)
{
    return (struct store_row){
        .number = row->number,
        .id = row->id,
        .kind = row->kind,
        .status = row->status,
        .created_us = row->created_us,
        .updated_us = row->updated_us,
        .next_seq = row->next_seq,
        .leaf_seq = row->leaf_seq,
        .branch = row->branch,
        .title = arena_str(arena, row->title),
        .state = arena_str(arena, row->state),
        .config = arena_str(arena, row->config),
    };
}

/* Under the lock. */
static bool readable(struct store *s, const struct row *row, struct err **e)
{
    if (s->fail_reads)
        return err_set(e, ERR_IO, "the disk cannot be read (as planned)");
    return row || err_set(e, ERR_NOT_FOUND, "no such conversation");
}

bool store_get(struct store *s, const struct uuid *id, struct arena *arena, struct store_row *row,
               struct err **e)
{
    bool ok = false;
    WITH_LOCK(&s->lock)
    {
        struct row *found = fake_row_by_id(s, id);
        ok = readable(s, found, e);
        if (ok)
            *row = row_out(found, arena);
    }
    return ok;
}

/* In the order of creation or against it; the fake knows no other. */
bool store_list(struct store *s, const struct store_list *query, struct arena *arena, struct store_row **rows,
                size_t *n, struct uuid *next, bool *more, struct err **e)
{
    bool descending = query->order == STORE_CREATED_DESC || query->order == STORE_UPDATED_DESC, ok = false;
    bool begun = !query->from;
    size_t skip = query->skip;
    *n = 0;
    *more = false;
    *rows = arena_alloc(arena, (query->limit + 1) * sizeof(**rows));
    WITH_LOCK(&s->lock)
    {
        ok = !s->fail_reads || err_set(e, ERR_IO, "the disk cannot be read (as planned)");
        for (size_t i = 0; ok && i < s->rows.n && !*more; i++) {
            struct row *row = s->rows.at[descending ? s->rows.n - 1 - i : i];
            if (row->deleted || row->kind != query->kind ||
                (query->status >= 0 && row->status != query->status))
                continue;
            begun = begun || uuid_eq(&row->id, query->from);
            if (!begun || (skip > 0 && skip--))
                continue;
            *more = *n == query->limit;
            if (*more)
                *next = row->id;
            else
                (*rows)[(*n)++] = row_out(row, arena);
        }
    }
    return ok;
}

bool store_count(struct store *s, enum store_kind kind, int status, int64_t *count, struct err **e)
{
    (void)e;
    *count = 0;
    WITH_LOCK(&s->lock)
    for (size_t i = 0; i < s->rows.n; i++) {
        const struct row *row = s->rows.at[i];
        *count += !row->deleted && row->kind == kind && (status < 0 || row->status == status);
    }
    return true;
}

bool store_find_place(struct store *s, const struct str *places, size_t n, struct uuid *id, struct err **e)
{
    bool found = false;
    WITH_LOCK(&s->lock)
    for (size_t i = 0; i < n && !found; i++) {
        for (size_t k = s->rows.n; k-- > 0 && !found;) {
            const struct row *row = s->rows.at[k];
            if (!row->deleted && row->place.p && str_eq(row->place, places[i])) {
                *id = row->id;
                found = true;
            }
        }
    }
    return found || err_set(e, ERR_NOT_FOUND, "no conversation has this place");
}

bool store_ids_with_status(struct store *s, int status, struct uuid *ids, size_t max, size_t *n,
                           struct err **e)
{
    (void)e;
    *n = 0;
    WITH_LOCK(&s->lock)
    for (size_t i = 0; i < s->rows.n && *n < max; i++)
        if (!s->rows.at[i]->deleted && s->rows.at[i]->status == status)
            ids[(*n)++] = s->rows.at[i]->id;
    return true;
}

static bool read_events(struct store *s, int64_t number, int64_t branch, uint32_t from, uint32_t to,
                        size_t max, bool whole, struct arena *arena, struct store_item **items, size_t *n,
                        struct err **e)
{
    bool ok = false;
    *n = 0;
    *items = arena_alloc(arena, (max + 1) * sizeof(**items));
    WITH_LOCK(&s->lock)
    {
        struct row *row = fake_row(s, number);
        ok = readable(s, row, e);
        size_t bytes = 0;
        for (size_t i = from; ok && i < row->events.n && i < to && *n < max && bytes < STORE_PAGE_BYTES;
             i++) {
            if (branch >= 0 && (row->events.at[i].branch != branch || !row->events.at[i].on_branch))
                continue;
            (*items)[*n] = item_out(row, i, whole, arena);
            bytes += (*items)[(*n)++].json.n;
        }
    }
    return ok;
}

bool store_read(struct store *s, int64_t number, uint32_t from, uint32_t to, size_t max, bool whole,
                struct arena *arena, struct store_item **items, size_t *n, struct err **e)
{
    return read_events(s, number, -1, from, to, max, whole, arena, items, n, e);
}

bool store_read_branch(struct store *s, int64_t number, uint32_t branch, uint32_t from, uint32_t to,
                       size_t max, struct arena *arena, struct store_item **items, size_t *n, struct err **e)
{
    return read_events(s, number, branch, from, to, max, true, arena, items, n, e);
}

bool store_branches(struct store *s, int64_t number, struct arena *arena, struct store_branch **branches,
                    size_t *n, struct err **e)
{
    bool ok = false;
    WITH_LOCK(&s->lock)
    {
        struct row *row = fake_row(s, number);
        ok = readable(s, row, e);
        *n = ok ? row->branches.n : 0;
        *branches = arena_alloc(arena, (*n + 1) * sizeof(**branches));
        for (size_t i = 0; i < *n; i++)
            (*branches)[i] = row->branches.at[i];
    }
    return ok;
}

static bool filter_matches(const struct row *row, size_t i, const struct store_filter *f)
{
    const struct store_item *item = &row->events.at[i];
    return (f->kind < 0 || item->kind == f->kind) && (f->source < 0 || item->source == f->source) &&
           item->time_us >= f->since_us && item->time_us < f->until_us &&
           (!f->body.p || str_find_nocase(row->search.at[i], f->body) >= 0);
}

bool store_search(struct store *s, int64_t number, const struct store_filter *filter, struct arena *arena,
                  struct store_item **items, size_t *n, int64_t *next_seq, struct err **e)
{
    bool ok = false;
    *n = 0;
    *next_seq = -1;
    *items = arena_alloc(arena, (filter->limit + 1) * sizeof(**items));
    WITH_LOCK(&s->lock)
    {
        struct row *row = fake_row(s, number);
        ok = readable(s, row, e);
        size_t total = ok ? row->events.n : 0, skip = filter->skip;
        for (size_t k = 0; k < total && *next_seq < 0; k++) {
            size_t i = filter->descending ? total - 1 - k : k;
            bool before = filter->from_seq >= 0 && (filter->descending ? (int64_t)i > filter->from_seq
                                                                       : (int64_t)i < filter->from_seq);
            if (before || !filter_matches(row, i, filter))
                continue;
            if (skip > 0)
                skip--;
            else if (*n == filter->limit)
                *next_seq = (int64_t)i;
            else
                (*items)[(*n)++] = item_out(row, i, false, arena);
        }
    }
    return ok;
}

bool store_count_events(struct store *s, int64_t number, const struct store_filter *filter, int64_t *count,
                        struct err **e)
{
    bool ok = false;
    *count = 0;
    WITH_LOCK(&s->lock)
    {
        struct row *row = fake_row(s, number);
        ok = readable(s, row, e);
        for (size_t i = 0; ok && i < row->events.n; i++)
            *count += filter_matches(row, i, filter);
    }
    return ok;
}

bool store_find(struct store *s, int64_t number, const struct uuid *id, bool whole, struct arena *arena,
                struct store_item *item, struct err **e)
{
    bool found = false;
    WITH_LOCK(&s->lock)
    {
        struct row *row = fake_row(s, number);
        for (size_t i = 0; row && i < row->events.n && !found; i++) {
            found = uuid_eq(&row->events.at[i].id, id);
            if (found)
                *item = item_out(row, i, whole, arena);
        }
    }
    return found || err_set(e, ERR_NOT_FOUND, "no such event");
}

/* ---- usage ---- */

static struct store_usage_sum *sum_of(struct store_usage_sum *sums, size_t *n, struct str usage_id,
                                      struct arena *arena)
{
    for (size_t i = 0; i < *n; i++)
        if (str_eq(sums[i].usage_id, usage_id))
            return &sums[i];
    sums[*n].usage_id = arena_str(arena, usage_id);
    return &sums[(*n)++];
}

bool store_usage_sums(struct store *s, int64_t number, struct arena *arena, struct store_usage_sum **sums,
                      size_t *n, struct err **e)
{
    bool ok = false;
    *n = 0;
    WITH_LOCK(&s->lock)
    {
        struct row *row = fake_row(s, number);
        ok = readable(s, row, e);
        *sums = arena_alloc(arena, (ok ? row->usage.n + 1 : 1) * sizeof(**sums));
        for (size_t i = 0; ok && i < row->usage.n; i++) {
            const struct store_usage *u = &row->usage.at[i];
            struct store_usage_sum *sum = sum_of(*sums, n, u->usage_id, arena);
            sum->model = arena_str(arena, u->model);
            sum->last_response_id = arena_str(arena, u->response_id);
            sum->cost += u->cost;
            sum->calls++;
            sum->prompt += u->prompt;
            sum->completion += u->completion;
            sum->cache_read += u->cache_read;
            sum->cache_write += u->cache_write;
            sum->reasoning += u->reasoning;
            sum->context_window = u->context_window;
            sum->last_prompt = u->prompt;
            sum->last_completion = u->completion;
        }
    }
    return ok;
}

bool store_usage_read(struct store *s, int64_t number, size_t max, struct arena *arena,
                      struct store_usage **calls, size_t *n, struct err **e)
{
    bool ok = false;
    *n = 0;
    *calls = arena_alloc(arena, (max + 1) * sizeof(**calls));
    WITH_LOCK(&s->lock)
    {
        struct row *row = fake_row(s, number);
        ok = readable(s, row, e);
        for (size_t i = 0; ok && i < row->usage.n && *n < max; i++)
            (*calls)[(*n)++] = row->usage.at[i]; /* texts live as long as the store */
    }
    return ok;
}

/* ---- blobs and documents ---- */

static void blob_run(struct store *s, struct job *job)
{
    WITH_LOCK(&s->lock)
    vec_push(&s->blobs, (struct blob_entry){job->number, job->id, job->content});
    job->done(job->arg, NULL);
}

void store_blob_put(struct store *s, int64_t number, const struct uuid *id, struct bytes *content,
                    void (*done)(void *arg, const struct err *e), void *arg)
{
    fake_job_add(
        s, (struct job){
               .run = blob_run, .number = number, .id = *id, .content = content, .done = done, .arg = arg});
}

bool store_blob_get(struct store *s, int64_t number, const struct uuid *id, struct buf *out, struct err **e)
{
    bool found = false;
    WITH_LOCK(&s->lock)
    for (size_t i = 0; i < s->blobs.n && !found; i++) {
        const struct blob_entry *b = &s->blobs.at[i];
        found = b->number == number && uuid_eq(&b->id, id);
        if (found)
            buf_add(out, bytes_str(b->content));
    }
    return found || err_set(e, ERR_NOT_FOUND, "no such blob");
}

/* Under the lock. */
static struct doc_entry *doc_find(struct store *s, struct str space, struct str key)
{
    for (size_t i = 0; i < s->docs.n; i++)
        if (str_eq(s->docs.at[i].space, space) && str_eq(s->docs.at[i].key, key))
            return &s->docs.at[i];
    return NULL;
}

static void doc_run(struct store *s, struct job *job)
{
    WITH_LOCK(&s->lock)
    {
        struct doc_entry *d = doc_find(s, job->space, job->key);
        if (d)
            d->value = job->value;
        else
            vec_push(&s->docs, (struct doc_entry){job->space, job->key, job->value});
    }
    job->done(job->arg, NULL);
}

void store_doc_put(struct store *s, struct str space, struct str key, struct str value,
                   void (*done)(void *arg, const struct err *e), void *arg)
{
    struct job job = {.run = doc_run, .done = done, .arg = arg};
    WITH_LOCK(&s->lock)
    {
        job.space = fake_keep(s, space);
        job.key = fake_keep(s, key);
        job.value = fake_keep(s, value);
    }
    fake_job_add(s, job);
}

void store_doc_delete(struct store *s, struct str space, struct str key,
                      void (*done)(void *arg, const struct err *e), void *arg)
{
    store_doc_put(s, space, key, STR_NONE, done, arg);
}

bool store_doc_get(struct store *s, struct str space, struct str key, struct buf *out, struct err **e)
{
    bool found = false;
    WITH_LOCK(&s->lock)
    {
        const struct doc_entry *d = doc_find(s, space, key);
        found = d && d->value.p;
        if (found)
            buf_add(out, d->value);
    }
    return found || err_set(e, ERR_NOT_FOUND, "no such document");
}

bool store_doc_keys(struct store *s, struct str space, struct arena *arena, struct str **keys, size_t *n,
                    struct err **e)
{
    (void)e;
    *n = 0;
    WITH_LOCK(&s->lock)
    {
        *keys = arena_alloc(arena, (s->docs.n + 1) * sizeof(**keys));
        for (size_t i = 0; i < s->docs.n; i++)
            if (str_eq(s->docs.at[i].space, space) && s->docs.at[i].value.p)
                (*keys)[(*n)++] = arena_str(arena, s->docs.at[i].key);
    }
    return true;
}
