/* Open addressing with linear probing; removal shifts the followers back, so there are no tombstones. */
#include "base/map.h"
#include "base/cleanup.h"

#define CAP_MIN 16
/* Grows past 3/4 full, shrinks below 1/8 full: a burst of keys does not keep its memory for ever. */
#define GROW_AT(cap) ((cap) / 4 * 3)
#define SHRINK_AT(cap) ((cap) / 8)

struct entry {
    char *key; /* NULL: free place */
    size_t key_n;
    uint64_t hash;
    void *value;
};

struct map {
    struct entry *at;
    size_t n, cap; /* cap is 0 or a power of two */
};

struct map *map_new(void)
{
    return xcalloc(1, sizeof(struct map));
}

void map_free(struct map *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->cap; i++)
        free(m->at[i].key);
    free(m->at);
    free(m);
}

size_t map_count(const struct map *m)
{
    return m->n;
}

/* Place of the key, or the free place where it belongs. The table is never full. */
static struct entry *map_find(const struct map *m, struct str key, uint64_t hash)
{
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct entry *entry = &m->at[i];
        if (!entry->key)
            return entry;
        if (entry->hash == hash && str_eq(str_make(entry->key, entry->key_n), key))
            return entry;
    }
}

static void map_resize(struct map *m, size_t cap)
{
    struct entry *old = m->at;
    size_t old_cap = m->cap;
    m->at = xcalloc(cap, sizeof(*m->at));
    m->cap = cap;
    for (size_t i = 0; i < old_cap; i++) {
        if (!old[i].key)
            continue;
        size_t to = old[i].hash & (cap - 1);
        while (m->at[to].key)
            to = (to + 1) & (cap - 1);
        m->at[to] = old[i];
    }
    free(old);
}

void *map_get(const struct map *m, struct str key)
{
    return m->n ? map_find(m, key, str_hash(key))->value : NULL;
}

void *map_put(struct map *m, struct str key, void *value)
{
    if (m->n + 1 > GROW_AT(m->cap))
        map_resize(m, m->cap ? m->cap * 2 : CAP_MIN);
    uint64_t hash = str_hash(key);
    struct entry *entry = map_find(m, key, hash);
    void *old = entry->value;
    if (!entry->key) {
        *entry = (struct entry){.key = str_dup(key), .key_n = key.n, .hash = hash};
        m->n++;
    }
    entry->value = value;
    return old;
}

void *map_remove(struct map *m, struct str key)
{
    if (!m->n)
        return NULL;
    struct entry *entry = map_find(m, key, str_hash(key));
    if (!entry->key)
        return NULL;
    void *old = entry->value;
    free(entry->key);
    size_t mask = m->cap - 1, hole = (size_t)(entry - m->at);
    for (size_t i = (hole + 1) & mask; m->at[i].key; i = (i + 1) & mask) {
        /* May move back only if its own place is not between the hole and it. */
        if (((i - m->at[i].hash) & mask) >= ((i - hole) & mask)) {
            m->at[hole] = m->at[i];
            hole = i;
        }
    }
    m->at[hole] = (struct entry){0};
    m->n--;
    if (m->cap > CAP_MIN && m->n < SHRINK_AT(m->cap))
        map_resize(m, m->cap / 2);
    return old;
}

bool map_next(const struct map *m, size_t *cursor, struct str *key, void **value)
{
    while (*cursor < m->cap) {
        const struct entry *entry = &m->at[(*cursor)++];
        if (!entry->key)
            continue;
        if (key)
            *key = str_make(entry->key, entry->key_n);
        if (value)
            *value = entry->value;
        return true;
    }
    return false;
}

/* ---- numbers ---- */

struct entry_u64 {
    uint64_t key;
    void *value;
    bool used;
};

struct map_u64 {
    struct entry_u64 *at;
    size_t n, cap;
};

struct map_u64 *map_u64_new(void)
{
    return xcalloc(1, sizeof(struct map_u64));
}

void map_u64_free(struct map_u64 *m)
{
    if (!m)
        return;
    free(m->at);
    free(m);
}

size_t map_u64_count(const struct map_u64 *m)
{
    return m->n;
}

/* The numbers are drawn by ourselves, so a fixed mixing function is enough. */
static uint64_t mix(uint64_t v)
{
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9u;
    v = (v ^ v >> 27) * 0x94d049bb133111ebu;
    return v ^ v >> 31;
}

static struct entry_u64 *map_u64_find(const struct map_u64 *m, uint64_t key)
{
    for (size_t i = mix(key) & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct entry_u64 *entry = &m->at[i];
        if (!entry->used || entry->key == key)
            return entry;
    }
}

static void map_u64_resize(struct map_u64 *m, size_t cap)
{
    struct entry_u64 *old = m->at;
    size_t old_cap = m->cap;
    m->at = xcalloc(cap, sizeof(*m->at));
    m->cap = cap;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].used)
            *map_u64_find(m, old[i].key) = old[i];
    free(old);
}

void *map_u64_get(const struct map_u64 *m, uint64_t key)
{
    return m->n ? map_u64_find(m, key)->value : NULL;
}

void *map_u64_put(struct map_u64 *m, uint64_t key, void *value)
{
    if (m->n + 1 > GROW_AT(m->cap))
        map_u64_resize(m, m->cap ? m->cap * 2 : CAP_MIN);
    struct entry_u64 *entry = map_u64_find(m, key);
    void *old = entry->value;
    m->n += !entry->used;
    *entry = (struct entry_u64){.key = key, .value = value, .used = true};
    return old;
}

void *map_u64_remove(struct map_u64 *m, uint64_t key)
{
    if (!m->n)
        return NULL;
    struct entry_u64 *entry = map_u64_find(m, key);
    if (!entry->used)
        return NULL;
    void *old = entry->value;
    size_t mask = m->cap - 1, hole = (size_t)(entry - m->at);
    for (size_t i = (hole + 1) & mask; m->at[i].used; i = (i + 1) & mask) {
        if (((i - mix(m->at[i].key)) & mask) >= ((i - hole) & mask)) {
            m->at[hole] = m->at[i];
            hole = i;
        }
    }
    m->at[hole] = (struct entry_u64){0};
    m->n--;
    if (m->cap > CAP_MIN && m->n < SHRINK_AT(m->cap))
        map_u64_resize(m, m->cap / 2);
    return old;
}

bool map_u64_next(const struct map_u64 *m, size_t *cursor, uint64_t *key, void **value)
{
    while (*cursor < m->cap) {
        const struct entry_u64 *entry = &m->at[(*cursor)++];
        if (!entry->used)
            continue;
        if (key)
            *key = entry->key;
        if (value)
            *value = entry->value;
        return true;
    }
    return false;
}
