#include "store/sqlite.h"
#include "base/cleanup.h"

struct page {
    struct arena *arena;
    size_t max, bytes_max;
    size_t bytes;
    VEC(struct store_item) items;
};

static struct store_item item_from(sqlite3_stmt *stmt, struct arena *arena)
{
    int64_t place = sqlite3_column_int64(stmt, 5);
    return (struct store_item){
        .seq = (uint32_t)sqlite3_column_int64(stmt, 0),
        .id = db_column_uuid(stmt, 1),
        .kind = (uint8_t)sqlite3_column_int(stmt, 2),
        .source = (uint8_t)sqlite3_column_int(stmt, 3),
        .time_us = sqlite3_column_int64(stmt, 4),
        .branch = (uint32_t)(place >> 1),
        .on_branch = place & 1,
        .is_reduced = sqlite3_column_int(stmt, 6),
        .json = arena_str(arena, db_column_str(stmt, 7)),
        .side = arena_str(arena, db_column_str(stmt, 8)),
    };
}

/* Adds rows while they fit; the first always does. The texts of a row that does not fit are not copied. */
static bool page_fill(struct page *p, struct db *d, sqlite3_stmt *query, struct err **e)
{
    autostmt stmt = query;
    enum db_step step = stmt ? DB_ROW : DB_FAILED;
    while (step == DB_ROW && p->items.n < p->max && (step = db_step(d, stmt, e)) == DB_ROW) {
        size_t n = (size_t)sqlite3_column_bytes(stmt, 7);
        if (p->items.n > 0 && p->bytes_max > 0 && p->bytes + n > p->bytes_max) {
            p->max = p->items.n;
            break;
        }
        vec_push(&p->items, item_from(stmt, p->arena));
        p->bytes += n;
    }
    return step != DB_FAILED;
}

static bool page_take(struct page *p, bool ok, struct store_item **items, size_t *n)
{
    size_t bytes = p->items.n * sizeof(**items);
    *items = arena_alloc(p->arena, bytes ? bytes : 1);
    if (bytes)
        memcpy(*items, p->items.at, bytes);
    *n = p->items.n;
    vec_deinit(&p->items);
    return ok;
}

bool events_read(struct store *s, int64_t number, uint32_t from, uint32_t to, size_t max, bool whole,
                 struct arena *arena, struct store_item **items, size_t *n, struct err **e)
{
    struct page page = {.arena = arena, .max = max, .bytes_max = STORE_PAGE_BYTES};
    autoreader r = reader_take(sqlite_of(s), e);
    bool ok = r && page_fill(&page, &r->db,
                             db_query(&r->db, e, whole ? STMT_EVENT_PAGE_WHOLE : STMT_EVENT_PAGE, "iii",
                                      event_key(number, from), event_key(number, to), number),
                             e);
    return page_take(&page, ok, items, n);
}

bool events_read_branch(struct store *s, int64_t number, uint32_t branch, uint32_t from, uint32_t to,
                        size_t max, struct arena *arena, struct store_item **items, size_t *n, struct err **e)
{
    struct page page = {.arena = arena, .max = max, .bytes_max = STORE_PAGE_BYTES};
    int64_t place = (int64_t)branch << 1 | 1;
    autoreader r = reader_take(sqlite_of(s), e);
    bool ok = r && page_fill(&page, &r->db,
                             db_query(&r->db, e, STMT_EVENT_PAGE_BRANCH, "iiii", event_key(number, from),
                                      event_key(number, to), number, place),
                             e);
    return page_take(&page, ok, items, n);
}

/* ---- which events a filter means ---- */

/* What one slice looks at. Between two of them the reader is given back: a checkpoint that waits for all readers waits
 * for a slice, however long the log is. */
#define SLICE_EVENTS (16 * BLOCK_EVENTS)
#define SLICE_TEXTS 1000
#define SLICE_TEXT_BYTES (1024 * 1024)

struct match {
    struct db *db; /* of the slice */
    int64_t number;
    const struct store_filter *filter;
    bool begun;
    uint32_t from, to; /* candidates [from, to) that were not looked at yet */
    size_t skip;       /* matches that are still passed over */
    size_t want;       /* stop at so many */
    bool keep;         /* the numbers, not only how many */
    int64_t count;
    VEC(uint32_t) seqs;
    struct block block;  /* the one looked at last */
    int64_t block_first; /* -1: none */
};

static bool match_block(struct match *m, uint32_t seq, struct err **e)
{
    int64_t first = seq - seq % BLOCK_EVENTS;
    if (m->block_first == first)
        return true;
    m->block_first = -1;
    if (!block_load(m->db, m->number, (uint32_t)first, &m->block, e))
        return false;
    m->block_first = first;
    return true;
}

/* By the block that holds `seq`. */
static bool match_fits(const struct match *m, uint32_t seq)
{
    const struct store_filter *f = m->filter;
    uint32_t i = seq % BLOCK_EVENTS;
    if (i >= m->block.n)
        return false;
    return (f->kind < 0 || m->block.kind[i] == f->kind) &&
           (f->source < 0 || m->block.source[i] == f->source) && m->block.time_us[i] >= f->since_us &&
           (f->until_us == INT64_MAX || m->block.time_us[i] < f->until_us);
}

static void match_add(struct match *m, uint32_t seq)
{
    if (m->skip > 0) {
        m->skip--;
        return;
    }
    m->count++;
    if (m->keep)
        vec_push(&m->seqs, seq);
}

static bool match_goes_on(const struct match *m)
{
    return m->from < m->to && (size_t)m->count < m->want;
}

static uint32_t match_next(struct match *m)
{
    return m->filter->descending ? --m->to : m->from++;
}

static bool match_by_block(struct match *m, struct err **e)
{
    for (int i = 0; i < SLICE_EVENTS && match_goes_on(m); i++) {
        uint32_t seq = match_next(m);
        if (!match_block(m, seq, e))
            return false;
        if (match_fits(m, seq))
            match_add(m, seq);
    }
    return true;
}

/* Everything up to `seq` has been looked at. */
static void match_skip(struct match *m, uint32_t seq)
{
    if (m->filter->descending)
        m->to = seq;
    else
        m->from = seq + 1;
}

static bool match_by_text(struct match *m, struct err **e)
{
    const struct store_filter *f = m->filter;
    bool by_block = f->kind >= 0 || f->source >= 0 || f->since_us != INT64_MIN || f->until_us != INT64_MAX;
    autobuf needle = {0};
    fold_text(&needle, f->body);
    autostmt stmt = db_query(m->db, e, f->descending ? STMT_SEARCH_DESC : STMT_SEARCH_ASC, "ii",
                             event_key(m->number, m->from), event_key(m->number, m->to));
    enum db_step step = DB_ROW;
    size_t bytes = 0;
    if (!stmt)
        return false;
    for (int i = 0; i < SLICE_TEXTS && bytes < SLICE_TEXT_BYTES && match_goes_on(m); i++) {
        if ((step = db_step(m->db, stmt, e)) != DB_ROW)
            break;
        struct str text = db_column_str(stmt, 1);
        uint32_t seq = (uint32_t)sqlite3_column_int64(stmt, 0);
        match_skip(m, seq);
        bytes += text.n;
        if (needle.n > 0 && !memmem(text.p, text.n, needle.p, needle.n))
            continue;
        if (by_block && !match_block(m, seq, e))
            return false;
        if (!by_block || match_fits(m, seq))
            match_add(m, seq);
    }
    if (step == DB_END)
        m->from = m->to;
    return step != DB_FAILED;
}

static bool filter_is_open(const struct store_filter *f)
{
    return f->kind < 0 && f->source < 0 && f->since_us == INT64_MIN && f->until_us == INT64_MAX && !f->body.p;
}

static bool next_seq_get(struct db *d, int64_t number, uint32_t *next_seq, bool *found, struct err **e)
{
    autostmt stmt = db_query(d, e, STMT_NEXT_SEQ, "i", number);
    enum db_step step = stmt ? db_step(d, stmt, e) : DB_FAILED;
    *found = step == DB_ROW;
    return *found ? db_column_u32(d, stmt, 0, next_seq, e) : step == DB_END;
}

/* The candidates' range. */
static bool match_range(struct match *m, struct err **e)
{
    const struct store_filter *f = m->filter;
    uint32_t next_seq;
    bool found;
    if (!next_seq_get(m->db, m->number, &next_seq, &found, e))
        return false;
    if (!found)
        return err_set(e, ERR_NOT_FOUND, "no such conversation");
    if (m->begun) /* it is still there; what came since is not looked for */
        return true;
    m->begun = true;
    m->from = 0;
    m->to = next_seq;
    if (f->from_seq < 0)
        return true;
    if (f->descending)
        m->to = f->from_seq < next_seq ? (uint32_t)f->from_seq + 1 : m->to;
    else
        m->from = f->from_seq < next_seq ? (uint32_t)f->from_seq : m->to;
    return true;
}

static bool match_slice(struct match *m, struct err **e)
{
    const struct store_filter *f = m->filter;
    if (f->body.p)
        return match_by_text(m, e);
    if (!filter_is_open(f))
        return match_by_block(m, e);
    if (!m->keep) { /* seq is dense */
        m->count = m->to - m->from;
        m->from = m->to;
    }
    while (match_goes_on(m))
        match_add(m, match_next(m));
    return true;
}

static bool match_run(struct sqlite_store *s, struct match *m, struct err **e)
{
    do {
        autoreader r = reader_take(s, e);
        if (!r)
            return false;
        m->db = &r->db;
        if (!match_range(m, e) || !match_slice(m, e))
            return false;
    } while (match_goes_on(m));
    return true;
}

/* Fetches the matches in runs of neighbours. `*taken` of them fit into the page. */
static bool match_fetch(struct sqlite_store *s, struct match *m, struct page *page, size_t *taken,
                        struct err **e)
{
    bool down = m->filter->descending;
    autoreader r = reader_take(s, e);
    if (!r)
        return false;
    size_t n = m->seqs.n < page->max ? m->seqs.n : page->max;
    for (size_t i = 0, run; i < n; i += run) {
        const uint32_t *at = m->seqs.at + i;
        for (run = 1; i + run < n; run++)
            if (at[run] != (down ? at[0] - (uint32_t)run : at[0] + (uint32_t)run))
                break;
        uint32_t low = down ? at[run - 1] : at[0];
        if (!page_fill(page, &r->db,
                       db_query(&r->db, e, down ? STMT_EVENT_PAGE_DESC : STMT_EVENT_PAGE, "iii",
                                event_key(m->number, low), event_key(m->number, low + (int64_t)run),
                                m->number),
                       e))
            return false;
        if (page->items.n < i + run)
            break; /* full */
    }
    *taken = page->items.n;
    return true;
}

bool events_search(struct store *s, int64_t number, const struct store_filter *filter, struct arena *arena,
                   struct store_item **items, size_t *n, int64_t *next_seq, struct err **e)
{
    struct page page = {.arena = arena, .max = filter->limit, .bytes_max = filter->bytes_max};
    struct match m = {.number = number,
                      .filter = filter,
                      .skip = filter->skip,
                      .want = filter->limit + 1,
                      .keep = true,
                      .block_first = -1};
    size_t taken = 0;
    bool ok = match_run(sqlite_of(s), &m, e) && match_fetch(sqlite_of(s), &m, &page, &taken, e);
    *next_seq = ok && taken < m.seqs.n ? (int64_t)m.seqs.at[taken] : -1;
    vec_deinit(&m.seqs);
    return page_take(&page, ok, items, n);
}

bool events_count(struct store *s, int64_t number, const struct store_filter *filter, int64_t *count,
                  struct err **e)
{
    struct match m = {.number = number, .filter = filter, .want = SIZE_MAX, .block_first = -1};
    bool ok = match_run(sqlite_of(s), &m, e);
    *count = m.count;
    return ok;
}

/* ---- by id ---- */

static bool find_at(struct db *d, int64_t number, uint32_t seq, const struct uuid *id, bool *found,
                    struct err **e)
{
    autostmt stmt = db_query(d, e, STMT_EVENT_ID, "i", event_key(number, seq));
    enum db_step step = stmt ? db_step(d, stmt, e) : DB_FAILED;
    if (step == DB_ROW) {
        struct uuid stored = db_column_uuid(stmt, 0);
        *found = uuid_eq(&stored, id);
    }
    return step != DB_FAILED;
}

/* From the end: what is asked for is mostly recent. */
static bool find_seq(struct db *d, int64_t number, uint32_t next_seq, const struct uuid *id, uint32_t *seq,
                     bool *found, struct err **e)
{
    struct block block;
    uint32_t hash = block_hash(id);
    for (int64_t first = (int64_t)next_seq - 1 - (next_seq - 1) % BLOCK_EVENTS; next_seq > 0 && first >= 0;
         first -= BLOCK_EVENTS) {
        if (!block_load(d, number, (uint32_t)first, &block, e))
            return false;
        for (uint32_t i = 0; i < block.n; i++) {
            *seq = (uint32_t)first + i;
            if (block.hash[i] == hash && !find_at(d, number, *seq, id, found, e))
                return false;
            if (*found)
                return true;
        }
    }
    return true;
}

bool events_find(struct store *s, int64_t number, const struct uuid *id, bool whole, struct arena *arena,
                 struct store_item *item, struct err **e)
{
    bool row = false, found = false;
    uint32_t next_seq = 0, seq = 0;
    autoreader r = reader_take(sqlite_of(s), e);
    if (!r || !next_seq_get(&r->db, number, &next_seq, &row, e))
        return false;
    if (row && !find_seq(&r->db, number, next_seq, id, &seq, &found, e))
        return false;
    if (!found)
        return err_set(e, ERR_NOT_FOUND, "no such event");
    autostmt stmt = db_query(&r->db, e, whole ? STMT_EVENT_PAGE_WHOLE : STMT_EVENT_PAGE, "iii",
                             event_key(number, seq), event_key(number, seq) + 1, number);
    enum db_step step = stmt ? db_step(&r->db, stmt, e) : DB_FAILED;
    if (step == DB_ROW)
        *item = item_from(stmt, arena);
    else if (step == DB_END)
        err_set(e, ERR_NOT_FOUND, "no such event");
    return step == DB_ROW;
}
