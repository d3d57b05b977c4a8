/* cleanup: scope exits clean up. `autofree char *p` is freed, `autofd int fd` closed at the end of the scope;
 * `steal(p)` moves the value out so that nothing is cleaned up. */
#pragma once
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}
static inline void cleanup_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define autofree __attribute__((cleanup(cleanup_free)))
#define autofd __attribute__((cleanup(cleanup_fd)))
#define steal(pointer)                           \
    ({                                           \
        __typeof__(pointer) stolen_ = (pointer); \
        (pointer) = NULL;                        \
        stolen_;                                 \
    })
#define steal_fd(fd)        \
    ({                      \
        int stolen_ = (fd); \
        (fd) = -1;          \
        stolen_;            \
    })
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* malloc family that aborts when memory is out. */
void *xmalloc(size_t n);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t n);
