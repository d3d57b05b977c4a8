/* vec: a growable array of any type. `VEC(int) v = {0}; vec_push(&v, 3); v.at[0]; v.n; vec_deinit(&v);`
 * Owns the array, not what the elements point to. */
#pragma once
#include "base/cleanup.h"
#include <string.h>

#define VEC(type)      \
    struct {           \
        type *at;      \
        size_t n, cap; \
    }
#define vec_reserve(v, more)                                                  \
    do {                                                                      \
        if ((v)->n + (more) > (v)->cap) {                                     \
            (v)->cap = ((v)->n + (more)) * 2 < 8 ? 8 : ((v)->n + (more)) * 2; \
            (v)->at = xrealloc((v)->at, (v)->cap * sizeof(*(v)->at));         \
        }                                                                     \
    } while (0)
#define vec_push(v, ...)                   \
    do {                                   \
        vec_reserve(v, 1);                 \
        (v)->at[(v)->n++] = (__VA_ARGS__); \
    } while (0)
#define vec_remove(v, index)                                                              \
    do {                                                                                  \
        size_t at_ = (index);                                                             \
        memmove((v)->at + at_, (v)->at + at_ + 1, ((v)->n - at_ - 1) * sizeof(*(v)->at)); \
        (v)->n--;                                                                         \
    } while (0)
#define vec_deinit(v)          \
    do {                       \
        free((v)->at);         \
        (v)->at = NULL;        \
        (v)->n = (v)->cap = 0; \
    } while (0)
