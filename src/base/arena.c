#include "base/arena.h"
#include "base/cleanup.h"
#include <stdio.h>

/* First piece: most requests fit. Later ones double up to the maximum; what is larger gets a piece of its own. */
#define CHUNK_MIN 2048
#define CHUNK_MAX (64 * 1024)
#define ALIGN _Alignof(max_align_t)

struct chunk {
    struct chunk *next;
    size_t size, used;
    _Alignas(max_align_t) char p[];
};

struct arena {
    struct chunk *chunks; /* the first is the one that is being filled */
    size_t reserved, next_size;
};

struct arena *arena_new(void)
{
    struct arena *a = xcalloc(1, sizeof(*a));
    a->next_size = CHUNK_MIN;
    return a;
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    for (struct chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(a);
}

void arena_cleanup(struct arena **a)
{
    arena_free(*a);
}

static struct chunk *chunk_new(struct arena *a, size_t size)
{
    struct chunk *c = xmalloc(sizeof(*c) + size);
    *c = (struct chunk){.size = size};
    a->reserved += sizeof(*c) + size;
    return c;
}

static void *arena_take(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 2)
        abort();
    n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    struct chunk *c = a->chunks;
    if (!c || c->size - c->used < n) {
        if (n > a->next_size / 2 && c) {
            /* Large: goes behind the current piece, whose rest stays in use. */
            struct chunk *own = chunk_new(a, n);
            own->next = c->next;
            own->used = n;
            c->next = own;
            return own->p;
        }
        c = chunk_new(a, n > a->next_size ? n : a->next_size);
        c->next = a->chunks;
        a->chunks = c;
        if (a->next_size < CHUNK_MAX)
            a->next_size *= 2;
    }
    void *p = c->p + c->used;
    c->used += n;
    return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
    void *p = arena_take(a, n);
    memset(p, 0, n);
    return p;
}

char *arena_cstr(struct arena *a, struct str s)
{
    char *copy = arena_take(a, s.n + 1);
    if (s.n)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return copy;
}

struct str arena_str(struct arena *a, struct str s)
{
    return s.p ? str_make(arena_cstr(a, s), s.n) : STR_NONE;
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    if (n < 0)
        abort();
    char *text = arena_take(a, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
    return str_make(text, (size_t)n);
}

size_t arena_size(const struct arena *a)
{
    return a->reserved;
}
