/* arena: memory with one end, for a request or a step. Allocation is a pointer move; everything goes at once.
 * Not thread-safe; it moves between threads together with what it holds. */
#pragma once
#include <stdarg.h>
#include "base/str.h"

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *a);                    /* NULL is allowed */
void *arena_alloc(struct arena *a, size_t n);        /* zeroed, aligned for any type */
struct str arena_str(struct arena *a, struct str s); /* copy, NUL behind; STR_NONE stays STR_NONE */
char *arena_cstr(struct arena *a, struct str s);     /* NUL-terminated copy */
struct str arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
size_t arena_size(const struct arena *a); /* bytes reserved from the system */
void arena_cleanup(struct arena **a);
#define autoarena __attribute__((cleanup(arena_cleanup))) struct arena *
#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
