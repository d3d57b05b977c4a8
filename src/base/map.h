/* map: hash table from text to a pointer (keys are copied) and from a 64-bit number to a pointer. Values are borrowed:
 * whoever puts them frees them. Not thread-safe. Iteration order is undefined; the table must not change meanwhile. */
#pragma once
#include "base/str.h"

struct map;

struct map *map_new(void);
void map_free(struct map *m);
void *map_get(const struct map *m, struct str key);        /* NULL when absent */
void *map_put(struct map *m, struct str key, void *value); /* returns the value replaced, or NULL */
void *map_remove(struct map *m, struct str key);           /* returns the value removed, or NULL */
size_t map_count(const struct map *m);
/* `*cursor` starts at 0. False at the end. `key` may be NULL. */
bool map_next(const struct map *m, size_t *cursor, struct str *key, void **value);

struct map_u64;

struct map_u64 *map_u64_new(void);
void map_u64_free(struct map_u64 *m);
void *map_u64_get(const struct map_u64 *m, uint64_t key);
void *map_u64_put(struct map_u64 *m, uint64_t key, void *value);
void *map_u64_remove(struct map_u64 *m, uint64_t key);
size_t map_u64_count(const struct map_u64 *m);
bool map_u64_next(const struct map_u64 *m, size_t *cursor, uint64_t *key, void **value);
