#include "store/sqlite.h"
#include "base/cleanup.h"

/* A block's row: hash[256], kind[256], source[256], time_us[256], little-endian. With 4 kB pages it fills one. */
#define BLOCK_BYTES (BLOCK_EVENTS * (4 + 1 + 1 + 8))

/* FNV-1a over the id, folded. It is stored, so it must not be keyed; hits are compared with the event itself. */
uint32_t block_hash(const struct uuid *id)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof(id->b); i++)
        hash = (hash ^ id->b[i]) * 0x100000001b3u;
    return (uint32_t)(hash ^ hash >> 32);
}

static void put_u(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_u(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static bool block_from_events(struct db *d, int64_t number, uint32_t first, struct block *b, struct err **e)
{
    int64_t from = event_key(number, first);
    autostmt stmt = db_query(d, e, STMT_EVENT_META, "ii", from, from + BLOCK_EVENTS);
    enum db_step step = stmt ? DB_ROW : DB_FAILED;
    b->n = 0;
    while (step == DB_ROW && (step = db_step(d, stmt, e)) == DB_ROW) {
        uint32_t i = (uint32_t)(sqlite3_column_int64(stmt, 0) - from);
        if (i != b->n)
            return err_set(e, ERR_INTERNAL, "conversation %lld has a gap at event %u", (long long)number,
                           first + b->n);
        struct uuid id = db_column_uuid(stmt, 1);
        b->hash[i] = block_hash(&id);
        b->kind[i] = (uint8_t)sqlite3_column_int(stmt, 2);
        b->source[i] = (uint8_t)sqlite3_column_int(stmt, 3);
        b->time_us[i] = sqlite3_column_int64(stmt, 4);
        b->n++;
    }
    return step == DB_END;
}

bool block_write(struct db *d, int64_t number, uint32_t first, struct err **e)
{
    struct block b;
    uint8_t data[BLOCK_BYTES];
    if (!block_from_events(d, number, first, &b, e))
        return false;
    if (b.n != BLOCK_EVENTS)
        return err_set(e, ERR_INTERNAL, "conversation %lld lacks event %u", (long long)number, first + b.n);
    for (size_t i = 0; i < BLOCK_EVENTS; i++) {
        put_u(data + i * 4, b.hash[i], 4);
        data[BLOCK_EVENTS * 4 + i] = b.kind[i];
        data[BLOCK_EVENTS * 5 + i] = b.source[i];
        put_u(data + BLOCK_EVENTS * 6 + i * 8, (uint64_t)b.time_us[i], 8);
    }
    return db_run(d, e, STMT_BLOCK_INSERT, "ib", event_key(number, first), str_make(data, sizeof(data)));
}

bool block_load(struct db *d, int64_t number, uint32_t first, struct block *b, struct err **e)
{
    autostmt stmt = db_query(d, e, STMT_BLOCK_GET, "i", event_key(number, first));
    enum db_step step = stmt ? db_step(d, stmt, e) : DB_FAILED;
    if (step != DB_ROW)
        return step == DB_END && block_from_events(d, number, first, b, e);
    struct str row = db_column_str(stmt, 0);
    if (row.n != BLOCK_BYTES)
        return err_set(e, ERR_INTERNAL, "conversation %lld has a damaged block at event %u",
                       (long long)number, first);
    const uint8_t *data = (const uint8_t *)row.p;
    b->n = BLOCK_EVENTS;
    for (size_t i = 0; i < BLOCK_EVENTS; i++) {
        b->hash[i] = (uint32_t)get_u(data + i * 4, 4);
        b->time_us[i] = (int64_t)get_u(data + BLOCK_EVENTS * 6 + i * 8, 8);
    }
    memcpy(b->kind, data + BLOCK_EVENTS * 4, BLOCK_EVENTS);
    memcpy(b->source, data + BLOCK_EVENTS * 5, BLOCK_EVENTS);
    return true;
}
